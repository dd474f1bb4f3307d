"""All figures that a profile can have, drawn from its saved tables: for the report, and one by one for a paper."""

import warnings
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from synthgap.causes.figures import DRAWINGS as CAUSES
from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError, unknown
from synthgap.core.files import atomic
from synthgap.decision.figures import DRAWINGS as DECISION
from synthgap.diversity.figures import DRAWINGS as DIVERSITY
from synthgap.evaluation.figures import DRAWINGS as EVALUATION
from synthgap.figures import CaptionedFigure, Drawing, Look, as_bytes
from synthgap.generation.figures import DRAWINGS as GENERATION
from synthgap.llms.figures import DRAWINGS as LLMS
from synthgap.pipeline.stages import saved_table
from synthgap.pipeline.validity import STAGES, products_of
from synthgap.prompting.figures import DRAWINGS as PROMPTING
from synthgap.subjectivity.figures import DRAWINGS as SUBJECTIVITY
from synthgap.tables import ReadTable, footer, source
from synthgap.your_task.figures import DRAWINGS as YOUR_TASK

DRAWINGS = (*GENERATION, *EVALUATION, *SUBJECTIVITY, *DIVERSITY, *CAUSES, *LLMS, *PROMPTING, *DECISION, *YOUR_TASK)

LOWEST = 0.2  # inches that a panel is high at least


def figure_names(profile: Profile, stage: str) -> list[str]:
    """The figures that a finished stage saved, in the order of DRAWINGS."""
    paths = [path for path in products_of(stage, profile) if path.startswith("figures/") and path.endswith(".png")]
    return sorted((path[len("figures/") : -len(".png")] for path in paths), key=_order)


def draw(name: str, profile: Profile, width: float | None = None, read: ReadTable | None = None) -> CaptionedFigure:
    """One of the profile's figures, drawn anew from its saved tables; to be closed by the caller.

    Args:
        width: in inches; None: as wide as it is made for.
        read: gives the tables; None: as they are saved.

    Raises:
        SynthgapError: the profile has no such figure.
    """
    stages = {known: stage for stage in STAGES for known in figure_names(profile, stage)}
    if name not in stages:
        raise unknown(f"figure of profile {profile.folder_name}", name, stages)
    drawing, part = drawing_of(name)
    said = source(profile, stages[name]), part, footer(profile, stages[name])
    return drawing.drawn(read or partial(saved_table, profile=profile), Look.of(profile, width), *said)


def drawing_of(name: str) -> tuple[Drawing, str]:
    """The drawing whose name a figure's name begins with (the longest that does), and the rest: its part.

    Raises:
        SynthgapError: there is none; the figure was made by other code.
    """
    fitting = [one for one in DRAWINGS if name == one.name or name.startswith(f"{one.name}_")]
    if not fitting:
        raise SynthgapError(f"nothing here draws a figure '{name}'; run its stage again")
    best = max(fitting, key=lambda one: len(one.name))
    return best, name[len(best.name) + 1 :]


def _order(name: str) -> tuple[int, str]:
    return DRAWINGS.index(drawing_of(name)[0]), name


def write_figure(name: str, profile: Profile, target: Path, form: str, size: tuple[float, float] | None = None) -> Path:
    """Write one of the profile's figures to a file.

    Args:
        form: one of FORMS.
        size: width and height in inches, kept exactly; None: as in notebooks.

    Raises:
        SynthgapError: there is no room for the figure.
    """
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # matplotlib's, that panels have no room
        figure = draw(name, profile, size[0] if size else None)
    if size:
        figure.set_layout_engine("constrained")
        figure.set_size_inches(size)
        _needs_room(name, figure)
    with atomic(target) as temporary:
        temporary.write_bytes(as_bytes(figure, form, exact=size is not None))
    plt.close(figure)
    return target


def _needs_room(name: str, figure: Figure) -> None:
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        figure.draw_without_rendering()
    if min(ax.get_window_extent().height for ax in figure.axes) < LOWEST * figure.dpi:
        plt.close(figure)
        width, height = figure.get_size_inches()
        raise SynthgapError(f"{name} has no room on {width:g} x {height:g} inches; give it more height")
