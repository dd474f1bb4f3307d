"""A notebook's view of its stage: where it reads and writes, what it shows, and its success marker.

The marker is written by the notebook's last cell, so nothing but a full run of the notebook makes it.
"""

import html
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, Markdown

from synthgap import tables
from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.files import file_digest, parquet_about, read_json, write_json, write_parquet
from synthgap.core.paths import base_folder, command, outputs_folder
from synthgap.core.versions import versions
from synthgap.figures import CaptionedFigure, Drawing, Look, save_figure
from synthgap.pipeline import validity
from synthgap.pipeline.failures import prepare_notebook
from synthgap.tasks import load_profile

WRITTEN_BY = {"synthetic": "01_generation", "runs": "02_training", "tables": "03_evaluation"}


@dataclass(frozen=True)
class Stage:
    """A notebook's view of its stage; shown in a notebook, it is the resolved profile and the versions.

    Attributes:
        show_real_texts: whether texts of the real sets may be shown.
        has_texts: whether the real texts are in reach; else `measured` gives what was measured on them before.
    """

    name: str
    profile: Profile
    has_texts: bool
    _began_with: Mapping[str, str] = field(default_factory=dict, repr=False)  # as `validity.determined_by` gives it
    _products: set[Path] = field(default_factory=set, repr=False)
    _shown: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    @property
    def show_real_texts(self) -> bool:
        return self.profile.show_real_texts

    @property
    def folder(self) -> Path:
        return outputs_folder(self.profile)

    @property
    def synthetic(self) -> Path:
        """Where the synthetic texts are: written here by 01, or by the base profile's."""
        return self.folder_of("01_generation") / "synthetic"

    @property
    def runs(self) -> Path:
        """Where the runs are: trained here by 02, or by the base profile's."""
        return self.folder_of("02_training") / "runs"

    def folder_of(self, stage: str) -> Path:
        """Where a stage's results are: this one's in the variant's own folder, earlier ones' maybe in the base's."""
        return self.folder if stage == self.name else validity.finished_in(stage, self.profile)

    @cached_property
    def look(self) -> Look:
        return Look.of(self.profile)

    @cached_property
    def footer(self) -> str:
        return tables.footer(self.profile, self.name)

    def notice(self) -> HTML:
        """What a reader must know of the evidence, before anything else."""
        return tables.notice(" ".join([self.footer, *tables.left_out(self.profile)]))

    def wrote(self, paths: Iterable[Path]) -> None:
        """Note files that the stage wrote, as its products."""
        self._products.update(paths)

    def table(self, name: str) -> pd.DataFrame:
        """A table that this stage has saved, or one of an earlier stage that it says it reads; any other is refused."""
        path = f"tables/{name}.csv"
        if self.folder / path in self._products:
            return tables.read_csv(self.folder / "tables", name)
        if not path.startswith(validity.STAGES[self.name].products):
            raise SynthgapError(
                f"stage {self.name} has not saved table '{name}', and says of no other that it reads it"
            )
        return saved_table(name, self.profile, validity.stages_before(self.name))

    def save_table(
        self,
        name: str,
        tidy: pd.DataFrame,
        caption: str = "",
        shown: pd.DataFrame | None = None,
        notes: Sequence[str] = (),
    ) -> Markdown:
        """Save `name`.csv, and with a caption the table as people read it, which it gives to look at.

        Args:
            tidy: for programs.
            caption: "" saves the CSV file alone.
            shown: for people; None: the tidy one, rounded.
            notes: said below the table, before the stage's footer.
        """
        self.wrote([tables.write_csv(self.folder / "tables" / f"{name}.csv", tidy)])
        if not caption:
            return Markdown(f"`tables/{name}.csv`: {len(tidy)} rows")
        return self.save_shown(name, tables.rounded(tidy) if shown is None else shown, caption, notes)

    def save_shown(self, name: str, shown: pd.DataFrame, caption: str, notes: Sequence[str] = ()) -> Markdown:
        """Add a table for people to the stage's Markdown and LaTeX files, under a name, and give it to look at.

        Files have the stage's footer below it; a notebook, which shows that in full above, has the short source line.
        """
        in_files = [*notes, self.footer]
        self._shown[name] = tables.to_markdown(shown, caption, in_files), tables.to_latex(shown, caption, in_files)
        self.wrote(tables.write_shown(self.folder / "tables", self.name, self._shown))
        return tables.to_look_at(shown, caption, [*notes, tables.source(self.profile, self.name)])

    def save_figure(self, drawing: Drawing, part: str = "") -> CaptionedFigure:
        """Draw a figure from the saved tables, save it as PDF and PNG, and give it to look at with its caption.

        Args:
            part: of a drawing that is made for several classifiers or sources, which of them.
        """
        figure = drawing.drawn(self.table, self.look, tables.source(self.profile, self.name), part, self.footer)
        self.wrote(save_figure(figure, self.folder / "figures", drawing.file_name(part)))
        plt.close(figure)  # it is shown as the cell's value, and not once more by the notebook
        return figure

    def measured(self, name: str, measure: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """What is measured on real texts, and kept in `measured/`, so that it is there without them.

        The kept table must hold nothing from which a real text could be read.

        Args:
            measure: makes the table; it is called only where the real texts are in reach.

        Raises:
            SynthgapError: the real texts are out of reach, and it was not measured before with the same settings.
        """
        path = self.folder / "measured" / f"{name}.parquet"
        about = {"settings": validity.settings_digest(self.name, self.profile)}
        if self.has_texts:
            write_parquet(path, measure(), about)
        elif path != (kept := self._measured_before(name, about)):
            write_parquet(path, pd.read_parquet(kept), about)
        self.wrote([path])
        return pd.read_parquet(path)

    def _measured_before(self, name: str, about: Mapping[str, str]) -> Path:
        for folder in (base_folder(self.profile), self.folder):
            path = folder / "measured" / f"{name}.parquet"
            if path.is_file() and parquet_about(path) == about:
                return path
        raise SynthgapError(
            f"stage {self.name} needs the real texts for '{name}', which was not measured on them before with these "
            "settings; name their folder with --data"
        )

    def finish(self) -> str:
        """Write the success marker; the notebook's last act.

        Tables and figures that the stage wrote before, and not this time, are removed: they are of other settings.

        Raises:
            SynthgapError: a product is not there, or an input is not what it was when the notebook began.
        """
        determined_by = validity.determined_by(self.name, self.profile)
        changed = [name for name, value in self._began_with.items() if determined_by.get(name) != value]
        if changed := [name for name in changed if name != "notebook"]:  # which JupyterLab saves while its cells run
            raise SynthgapError(
                f"stage {self.name}: {', '.join(changed)} changed since this notebook began; run it again from its "
                "first cell, in a new kernel"
            )
        listed = {}
        for path in sorted(self._products):
            if not path.is_file():
                raise SynthgapError(f"stage {self.name}: its product '{path.name}' was not written")
            listed[path.relative_to(self.folder).as_posix()] = file_digest(path)
        for name in self._written_before() - listed.keys():
            (self.folder / name).unlink(missing_ok=True)
        about = {"stage": self.name, "determined_by": determined_by, "products": listed}
        write_json(validity.marker_file(self.profile, self.name), about)
        return f"{self.name}: finished, {len(listed)} files"

    def _written_before(self) -> set[str]:
        """Tables and figures that the success marker of the stage names so far."""
        marker = read_json(validity.marker_file(self.profile, self.name))
        names = marker["products"] if isinstance(marker, dict) and validity.is_marker(marker) else {}
        return {name for name in names if name.startswith(("tables/", "figures/"))}

    def _repr_html_(self) -> str:
        settings = {key: setting_text(value) for key, value in self.profile.shown().items()}
        title = f"<b>Profile {html.escape(self.profile.name)}</b>: {html.escape(self.profile.title)}"
        return title + tables.facts("its settings", settings) + tables.facts("versions", versions())


def saved_table(name: str, profile: Profile, stages: Iterable[str] = validity.STAGES) -> pd.DataFrame:
    """A table that one of the finished stages saved; refused where none of them did."""
    for stage in stages:
        if f"tables/{name}.csv" in validity.products_of(stage, profile):
            return tables.read_csv(validity.finished_in(stage, profile) / "tables", name)
    raise SynthgapError(f"no finished stage of profile '{profile.folder_name}' saved a table '{name}'")


def setting_text(value: Any) -> str:
    """A value of a profile as people read it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace('"', "")


def check_earlier_stages(stage: str, profile: Profile) -> None:
    """Refuse to open a notebook before those that write what it reads, as later cells would only fail one by one."""
    for folder in dict.fromkeys(path.partition("/")[0] for path in validity.STAGES[stage].products):
        if validity.read_marker(writer := WRITTEN_BY[folder], profile) is None:
            raise SynthgapError(
                f"notebook {stage} reads what {writer} writes, and that has not been run to its end with profile "
                f"'{profile.folder_name}': run notebook {writer} first, or in a terminal: "
                f"{command('run', profile, *validity.stages_before(stage))}"
            )


def open_stage(
    name: str, profile: str, overrides: Mapping[str, Any] | None = None, show_real_texts: bool | None = None
) -> Stage:
    """Open a stage in its notebook.

    Args:
        profile: a name in configs/ or the path of a profile.
        overrides: profile keys to set anew, for example {"training.seeds": [0]}; results go into a folder of their own.
        show_real_texts: None for what the profile says.
    """
    prepare_notebook()
    warnings.filterwarnings("ignore", message="IProgress not found")  # progress bars are plain text here
    resolved = validity.with_what_is_there(load_profile(profile, overrides))
    if show_real_texts is not None:
        resolved = resolved.changed({"show_real_texts": show_real_texts})
    stage = validity.stage_name(name)
    check_earlier_stages(stage, resolved)
    return Stage(stage, resolved, validity.texts_in_reach(resolved), validity.determined_by(stage, resolved))
