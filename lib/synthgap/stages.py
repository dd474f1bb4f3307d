"""What a notebook and the runner share: where a stage writes, what determines it, and its success marker.

A stage is done when its marker is there, holds the key of what determines the stage now, and every product is as the
marker says. The marker is written by the notebook's last cell, so nothing but a full run of the notebook makes it.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from synthgap.config import Profile, load_profile, root
from synthgap.data import data_file, data_folder
from synthgap.errors import SynthgapError, unknown
from synthgap.files import digest, file_digest, read_json, write_json

STAGES = ("01_generation", "02_training", "03_evaluation", "04_subjectivity", "05_diversity", "06_augmentation")
READS_ANSWERS = "04_subjectivity"  # the stage that reads what people answered, see annotate.py


def stage_name(name: str) -> str:
    """The stage that "02", "training" or "02_training" names."""
    for stage in STAGES:
        if name in {stage, *stage.split("_", 1)}:
            return stage
    raise unknown("stage", name, STAGES)


def outputs_folder(profile: Profile) -> Path:
    """outputs/<profile>, below SYNTHGAP_OUTPUTS (set by --output) or in the project."""
    return Path(os.environ.get("SYNTHGAP_OUTPUTS") or root() / "outputs") / profile.name


def notebook_file(stage: str) -> Path:
    return root() / "notebooks" / f"{stage}.ipynb"


def marker_file(profile: Profile, stage: str) -> Path:
    return outputs_folder(profile) / "stages" / f"{stage}.json"


@dataclass(frozen=True)
class Stage:
    """A notebook's view of its stage; its HTML is the resolved profile and the versions."""

    name: str
    profile: Profile
    show_real_texts: bool

    @property
    def folder(self) -> Path:
        return outputs_folder(self.profile)

    @property
    def synthetic(self) -> Path:
        return self.folder / "synthetic"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def tables(self) -> Path:
        return self.folder / "tables"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    def finish(self, products: Iterable[Path]) -> str:
        """Write the success marker; the notebook's last act.

        Raises:
            SynthgapError: a product is not there.
        """
        listed = {}
        for path in sorted(set(products)):
            if not path.is_file():
                raise SynthgapError(f"stage {self.name}: its product '{path.name}' was not written")
            listed[path.relative_to(self.folder).as_posix()] = file_digest(path)
        key = stage_key(self.name, self.profile)
        write_json(marker_file(self.profile, self.name), {"stage": self.name, "key": key, "products": listed})
        return f"{self.name}: finished, {len(listed)} files"

    def _repr_html_(self) -> str:
        from synthgap.runs import versions
        from synthgap.show import facts

        settings = {key: shown_setting(value) for key, value in self.profile.model_dump(mode="json").items()}
        return facts(f"Profile {self.profile.name}", settings) + facts("Versions", versions())


def shown_setting(value: Any) -> str:
    """A value of a profile as people read it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace('"', "")


def open_stage(
    name: str, profile: str, overrides: dict[str, Any] | None = None, show_real_texts: bool | None = None
) -> Stage:
    """Open a stage in its notebook.

    Args:
        profile: a name in configs/ or the path of a profile.
        overrides: profile keys to set anew, for example {"training.seeds": [0]}.
        show_real_texts: None for what the profile says.
    """
    warnings.filterwarnings("ignore", message="IProgress not found")  # progress bars are plain text here
    resolved = load_profile(profile, overrides)
    shown = resolved.show_real_texts if show_real_texts is None else show_real_texts
    if show_real_texts is not None:
        resolved = resolved.changed({"show_real_texts": shown})
    return Stage(stage_name(name), resolved, shown)


# ---------------------------------------------------------------------------------------------------------- validity


def stage_key(stage: str, profile: Profile) -> str:
    """Digest of what determines a stage: profile, data, library, its notebook, and what the stages before it wrote."""
    before = STAGES[: STAGES.index(stage)]
    return digest(
        {
            "profile": profile.model_dump(mode="json"),
            "data": data_digests(profile),
            "library": library_digest(),
            "notebook": notebook_digest(notebook_file(stage)),
            **({"answers": answer_digests(profile)} if stage == READS_ANSWERS else {}),
            **({"compared": compared_texts(profile)} if stage == STAGES[0] and profile.generation.compare_with else {}),
            "before": [read_json(marker_file(profile, name)) for name in before],
        }
    )


def data_digests(profile: Profile) -> dict[str, str]:
    """SHA-256 of each task's data file (source `folder`) and of its annotated texts; bundled data are the library's."""
    from synthgap.sources import annotated_file
    from synthgap.tasks import load_task

    tasks = {name: load_task(name) for name in profile.tasks}
    files = {}
    if profile.data.source == "folder":
        files = {name: data_file(task, data_folder()) for name, task in tasks.items()}
    annotated = {f"{name} annotations": annotated_file(task, profile) for name, task in tasks.items()}
    files |= {name: path for name, path in annotated.items() if path}
    return {name: _digest_of_state(path, path.stat().st_mtime_ns, path.stat().st_size) for name, path in files.items()}


def answer_digests(profile: Profile) -> dict[str, str]:
    """SHA-256 of the answers that people gave with `synthgap annotate`."""
    folder = outputs_folder(profile) / "annotations"
    return {path.name: file_digest(path) for path in sorted(folder.glob("*.csv"))}


def compared_texts(profile: Profile) -> dict[str, str]:
    """SHA-256 of the texts and costs of the profiles whose LLMs are compared with this one's."""
    outputs = outputs_folder(profile).parent
    folders = [outputs / name for name in profile.generation.compare_with]
    found = [path for folder in folders for path in (folder / "synthetic").glob("*.parquet")]
    found += [path for folder in folders if (path := folder / "tables" / "generation_costs.csv").is_file()]
    return {path.relative_to(outputs).as_posix(): file_digest(path) for path in sorted(found)}


@lru_cache
def _digest_of_state(path: Path, modified: int, size: int) -> str:
    return file_digest(path)


@lru_cache
def library_digest() -> str:
    """SHA-256 over the package's code, tasks and bundled data."""
    here = Path(__file__).parent
    files = [path for path in here.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return digest({path.relative_to(here).as_posix(): file_digest(path) for path in sorted(files)})


def notebook_digest(path: Path) -> str:
    """SHA-256 over a notebook's cells, but for the one tagged `parameters`: the profile stands for these."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return digest(
        [
            [cell["cell_type"], "".join(cell["source"])]
            for cell in cells
            if "parameters" not in cell.get("metadata", {}).get("tags", [])
        ]
    )


def stage_state(stage: str, profile: Profile) -> str:
    """ "done", or why the stage has to run: "never run", "its inputs or code changed", "<file> is missing/changed"."""
    marker = read_json(marker_file(profile, stage))
    if not isinstance(marker, dict):
        return "not finished"
    if marker.get("key") != stage_key(stage, profile):
        return "its profile, data, code or input changed since it ran"
    for name, expected in marker["products"].items():
        path = outputs_folder(profile) / name
        if not path.is_file():
            return f"'{name}' is missing"
        if file_digest(path) != expected:
            return f"'{name}' is not as it was written"
    return "done"
