"""How every figure looks: colours, sizes, intervals by task, and the files it is saved as.

A room's figures are `Drawing`s: each is drawn from saved tables alone, so that a notebook, the report and
`synthgap figure` show the same. Functions that plot take an `ax` and return it.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from synthgap.core.config import REAL, Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.files import atomic
from synthgap.tables import ReadTable, matching
from synthgap.tasks import load_task, tasks_in_paper_order

INK, QUIET = "#262626", "#767676"
# Okabe and Ito's colours but for black and yellow, then two of Tol's muted ones: safe for colour-blind readers.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#332288", "#999933")
MARKERS = ("o", "D", "^", "P", "v", "X", "<", ">")
WIDTH, WIDE = 8.0, 12.0  # inches of a figure with one panel in a line and of one with four
NARROW = 5.0  # narrower ones say less
SVG_PLACES = re.compile(r'\s(?:d|x|y)="[^"]*"')
SVG_FONT = re.compile(r"font-family: [^;\"]*; ")
SVG_UNTURNED = re.compile(r'\stransform="rotate\(-0 [^)]*\)"')
FORMS = {"pdf": ["CreationDate"], "png": ["Software"], "svg": ["Date", "Creator"]}  # without what differs by the day


@dataclass(frozen=True)
class Series:
    """How one series of marks looks, the same in every figure."""

    title: str
    colour: str
    marker: str


@dataclass(frozen=True)
class Look:
    """How the corpora of a profile look, and how large a figure is to be.

    Attributes:
        corpora: {corpus: its look}, in the order in which they are shown; `real` first.
        width: in inches; None: as the figure is best read on a screen.
    """

    corpora: Mapping[str, Series]
    width: float | None = None

    @classmethod
    def of(cls, profile: Profile, width: float | None = None) -> Look:
        looks = {REAL: Series("Real", "#4d4d4d", "s")}
        for number, (name, corpus) in enumerate(profile.corpora.items()):
            colour = COLOURS[number % len(COLOURS)]
            marker = MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]
            looks[name] = Series(corpus.title or name.replace("_", " ").capitalize(), colour, marker)
        return cls(looks, width)

    @property
    def narrow(self) -> bool:
        """Whether so narrow a figure is asked for that it has to say less."""
        return self.width is not None and self.width < NARROW

    def title(self, corpus: str) -> str:
        return self.corpora[corpus].title

    def present(self, table: pd.DataFrame) -> list[str]:
        """The corpora of a table's column, in the order in which they are shown."""
        return [name for name in self.corpora if name in set(table["corpus"])]

    def among(self, names: Sequence[str]) -> dict[str, Series]:
        return {name: self.corpora[name] for name in names}

    def by_corpus(self, table: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, Series]]:
        """The rows of each corpus of a table, and how it looks, in the order in which they are shown."""
        for name in self.present(table):
            yield matching(table, {"corpus": name}), self.corpora[name]

    def panels(self, count: int, height: float, columns: int = 4, **options: Any) -> tuple[Figure, list[Axes]]:
        """A figure with `count` small panels, as many in a line as are legible at the figure's width.

        Args:
            height: of a line of panels, in inches; another inch is for what stands around them.
            columns: panels in a line at most.
            options: further ones of `plt.subplots`.

        Raises:
            SynthgapError: there are no panels.
        """
        if not count:
            raise SynthgapError("there is nothing to draw: the table has no rows")
        columns = min(columns, count, max(1, int(((self.width or WIDE) - 0.5) / 0.55)))
        width = self.width or float(np.interp(columns, (1, 4), (WIDTH, WIDE)))
        lines = -(-count // columns)
        size = (width, height * lines + 1)
        figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained", **options)
        for ax in axes.flat[count:]:
            ax.set_axis_off()
        return figure, list(axes.flat[:count])


Drawn = tuple[Figure, str]  # a figure, and the note below it


@dataclass(frozen=True)
class Drawing:
    """One kind of figure.

    Attributes:
        name: of its files; figures of several classifiers or sources add `_<part>`.
        alt: what it shows, in a sentence, for those who do not see it.
        draw: from (reader of saved tables, look, part), a figure and its note; part is "" where there are none.
    """

    name: str
    alt: str
    draw: Callable[[ReadTable, Look, str], Drawn]

    def file_name(self, part: str = "") -> str:
        return f"{self.name}_{part}" if part else self.name

    def drawn(self, read: ReadTable, look: Look, footer: str, part: str = "") -> Figure:
        """The figure with its note and the footer below it."""
        with style(look.width):
            figure, note = self.draw(read, look, part)
            text = " ".join(filter(None, (note, footer)))
            lines = textwrap.wrap(text, int(figure.get_figwidth() * (16 if not look.width else 26)))
            figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.5 if not look.width else 5, color="0.35")
        return figure


@contextmanager
def style(width: float | None = None) -> Iterator[None]:
    """The look of all figures within the block: white, quiet grid; small and light where a width is asked for."""
    settings = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.dpi": 72,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold" if width is None else "normal",
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "synthgap",
    }
    scale = 1.0 if width is None else 7 / 12
    context: dict[Any, Any] = {key: scale * value for key, value in sns.plotting_context("notebook").items()}
    context |= settings | {f"{axis}.major.pad": scale * 3.5 for axis in ("xtick", "ytick")}
    with sns.axes_style("whitegrid", rc=settings), plt.rc_context(context):
        yield


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name`.pdf and `name`.png; the same figure gives the same bytes."""
    paths = [folder / f"{name}.pdf", folder / f"{name}.png"]
    for path in paths:
        with atomic(path) as temporary:
            temporary.write_bytes(as_bytes(figure, path.suffix[1:]))
    return paths


def as_bytes(figure: Figure, form: str, exact: bool = False) -> bytes:
    """The figure in one of FORMS; the same figure gives the same bytes.

    Args:
        exact: of the figure's own size and in all its colours, for print.
    """
    options: dict[str, Any] = {"dpi": 300} if exact else {"dpi": 160, "bbox_inches": "tight"}
    written = io.BytesIO()
    fonts = ["DejaVu Sans", "Verdana"]  # which an SVG names at each of its texts
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "synthgap", "font.sans-serif": fonts}):
        figure.savefig(written, format=form, metadata=dict.fromkeys(FORMS[form]), **options)
    smaller = {"png": smaller_png, "svg": smaller_svg}
    return smaller[form](written.getvalue()) if form in smaller and not exact else written.getvalue()


def smaller_png(picture: bytes) -> bytes:
    """The same picture in at most 64 colours: much smaller, and nothing that a reader would miss."""
    smaller = io.BytesIO()
    few = Image.open(io.BytesIO(picture)).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    few.save(smaller, "PNG", optimize=True)
    return min(smaller.getvalue(), picture, key=len)


def smaller_svg(drawing: bytes) -> bytes:
    """The same drawing: places to a tenth of a point, the font said once, no blanks between elements."""
    text = SVG_PLACES.sub(lambda found: re.sub(r"(\.\d)\d+|\n", r"\1", found[0]), drawing.decode())
    if font := SVG_FONT.search(text):  # said once, for all
        text = SVG_FONT.sub("", text).replace("<svg ", f'<svg style="{font[0].strip()}" ', 1)
    return re.sub(r">\s+<", "><", SVG_UNTURNED.sub("", text)).encode()


# ----------------------------------------------------------------------------------------------------- what is plotted


def interval_panels(
    table: pd.DataFrame,
    look: Look,
    *,
    value: str,
    series: Mapping[Any, Series] | None = None,
    by: str = "corpus",
    panel: str = "classifier",
    label: str = "",
    line: float | None = None,
    sharex: bool = True,
) -> tuple[Figure, list[Axes]]:
    """Dots with bars in a row for each task, and a panel for each value of the column `panel`, which is its title.

    Marks are hollow where the table has a column `filled` and that is false; where it has columns new_low and new_high,
    a thinner line stands for these.

    Args:
        series, by: as of `plot_intervals`; None: the table's corpora.
        line: where a vertical line marks that nothing is lost or gained.
    """
    tasks, panels = task_order(table), table[panel].unique()
    filled = "filled" if "filled" in table else None
    height = 0.45 * len(tasks) + 0.5
    figure, axes = look.panels(len(panels), height, sharex=sharex, sharey=True)
    series, titles = series or look.among(look.present(table)), [short_title(task) for task in tasks]
    for ax, name in zip(axes, panels, strict=True):
        if line is not None:
            ax.axvline(line, color=INK, linewidth=plt.rcParams["axes.linewidth"])
        rows = matching(table, {panel: name})
        plot_intervals(rows, ax, series, rows=tasks, titles=titles, value=value, by=by, filled=filled)
        ax.set_title(name, fontsize="small")
        ax.set_xlabel(label, fontsize="small")
    return figure, axes


def plot_intervals(
    table: pd.DataFrame,
    ax: Axes,
    series: Mapping[Any, Series],
    *,
    rows: Sequence[str],
    titles: Sequence[str],
    value: str,
    row: str = "task",
    by: str = "corpus",
    low: str = "low",
    high: str = "high",
    filled: str | None = None,
) -> Axes:
    """Dots with bars: a line for each of `rows` from top to bottom, in it a mark for each series.

    Args:
        table: at most one line for each row and series; columns named by the other arguments.
        series: {value in the column `by`: how it looks}; other values are left out.
        titles: what stands beside the rows.
        filled: a column of booleans; marks where it is false are hollow. None: all are filled.
    """
    line, size = plt.rcParams["lines.linewidth"] * 4 / 3, plt.rcParams["lines.markersize"] ** 2 * 7 / 6
    for number, (name, look) in enumerate(series.items()):
        part = table[table[by] == name].set_index(row).reindex(rows)
        heights = rows_beside(len(rows), number, len(series))
        ax.hlines(heights, part[low], part[high], color=look.colour, linewidth=line)
        if "new_low" in part:
            ax.hlines(heights, part["new_low"], part["new_high"], color=look.colour, linewidth=line / 3)
        faces = np.where(part[filled].eq(True), look.colour, "white") if filled else look.colour
        marks: dict[str, Any] = {"marker": look.marker, "s": size}
        ax.scatter(part[value], heights, color=faces, edgecolor=look.colour, linewidth=0.8 * line, zorder=3, **marks)
        ax.scatter([], [], color=look.colour, label=look.title, **marks)
    ax.set_yticks(range(len(rows)), titles)
    ax.set(ylabel="", ylim=(len(rows) - 0.5, -0.5))
    return ax


def rows_beside(rows: int, number: int, count: int, step: float | None = None) -> list[float]:
    """Where the marks of the `number`-th of `count` series stand: around their row (0, 1, ...), `step` apart."""
    step = step or min(0.32, 0.7 / count)
    return [place + step * (number - (count - 1) / 2) for place in range(rows)]


def task_panels(
    table: pd.DataFrame, look: Look, plot: Callable[[pd.DataFrame, Look, Axes], Axes], height: float, **options: Any
) -> Figure:
    """A small panel for each task, in which `plot` draws the task's rows of the table; see `Look.panels`."""
    tasks = task_order(table)
    figure, axes = look.panels(len(tasks), height, columns=5 if look.narrow else 4, **options)
    for ax, task in zip(axes, tasks, strict=True):
        plot(matching(table, {"task": task}), look, ax)
        title = textwrap.fill(short_title(task), 11 if look.narrow else 40, break_long_words=False)
        ax.set_title(title, fontsize="small")
    legend_above(figure, axes[0])
    return figure


def plot_curves(table: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """A curve with its band for each corpus; columns corpus, n (a logarithmic axis), value, low, high."""
    for rows, series in look.by_corpus(table.sort_values("n")):
        ax.fill_between(rows["n"], rows["low"], rows["high"], color=series.colour, alpha=0.15, linewidth=0)
        size = plt.rcParams["lines.markersize"] * 0.6
        ax.plot(rows["n"], rows["value"], series.marker, ls="-", color=series.colour, label=series.title, ms=size)
    sizes = sorted(table["n"].unique())
    apart = [size for size, after in zip(sizes, [*sizes[1:], np.inf], strict=True) if after > 1.6 * size]
    return log_axis(ax, [sizes[0], sizes[-1]] if look.narrow else apart)


def legend_above(figure: Figure, ax: Axes, title: str | None = None) -> None:
    """A panel's keys for the whole figure, above it, as many in a line as fit."""
    handles, labels = ax.get_legend_handles_labels()
    key = (max(map(len, labels)) + 7) * 0.5 * plt.rcParams["font.size"] / 72  # inches, about
    options: dict[str, Any] = {"loc": "outside upper left", "frameon": False, "alignment": "left"}
    figure.legend(handles, labels, title=title, ncols=max(1, int(figure.get_figwidth() / key)), **options)


def log_axis(ax: Axes, ticks: Sequence[float]) -> Axes:
    """A logarithmic x-axis that names those of the ticks that lie within its limits."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    inside = [tick for tick in ticks if low <= tick <= high]
    ax.set_xticks(inside, [f"{tick:,g}" for tick in inside])
    ax.minorticks_off()
    return ax


def short_title(task: str) -> str:
    """A task's title without what stands in brackets."""
    return load_task(task).title.split(" (")[0]


def task_order(table: pd.DataFrame) -> list[str]:
    """A table's tasks as figures show them: in the paper's order."""
    return tasks_in_paper_order(table["task"].unique())


def classifiers_of(table: pd.DataFrame) -> list[str]:
    """A table's classifiers, in its order."""
    return list(dict.fromkeys(table["classifier"]))
