"""Whether a finished stage still holds: what determines a stage, as digests, and what it wrote.

A stage is finished when its success marker is there. It holds as long as the sections of the profile that it reads,
its tasks, its data, its notebook's code, the code that this imports, and what earlier stages wrote for it all mean the
same. Docstrings, comments, formatting and modules that it does not import do not matter.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pandas as pd

from synthgap.core.config import GeneratedCorpus, ImportedCorpus, LabelledCorpus, Profile, RecordedSettings
from synthgap.core.errors import SynthgapError, unknown
from synthgap.core.files import digest, file_digest, read_json, remembered
from synthgap.core.paths import base_folder, bundled, data_folder, outputs_folder, root
from synthgap.data.annotated import annotated_file, judged_file
from synthgap.data.further import further_files
from synthgap.data.imported import imported_file, part_is_there
from synthgap.data.labelled import labels_files
from synthgap.data.real import data_file
from synthgap.llm.recorded import answers_folder, recording_folder
from synthgap.pipeline.code_digest import imports_digest, notebook_digest
from synthgap.tables import OWN_FILES, footer
from synthgap.tasks import load_task
from synthgap.tasks.registry import prompt_files

digest_of = remembered(4096)(file_digest)


@dataclass(frozen=True)
class StageInputs:
    """What a stage reads.

    Attributes:
        sections: of the profile.
        products: of earlier stages, by how their paths begin.
        texts: whether it reads real texts; where these are out of reach, a stage that needs them cannot run, and one
            that measures them shows what was measured on them before.
        answers: whether it reads what people answered with `synthgap annotate`.
        bundled: tables of the package; of their rows only those on the profile's tasks matter.
    """

    sections: tuple[str, ...]
    products: tuple[str, ...] = ()
    texts: Literal["needed", "measured"] | None = None
    answers: bool = False
    bundled: tuple[str, ...] = ()


COMPARED = ("tasks", "corpora", "comparisons")
JUDGEMENTS = ("annotations_real_test.csv", "estimated_shares_real_test.csv", "task_pairs.csv")
STAGES = {
    "01_generation": StageInputs((*COMPARED, "data", "llms", "generation"), texts="needed"),
    "02_training": StageInputs((*COMPARED, "data", "training"), ("synthetic/",), texts="needed"),
    "03_evaluation": StageInputs(
        (*COMPARED, "evaluation"), ("synthetic/labels/", "runs/"), bundled=("reference/paper_table1.csv",)
    ),
    "04_subjectivity": StageInputs(
        (*COMPARED, "data", "evaluation"),
        ("runs/",),
        texts="measured",
        answers=True,
        bundled=(*(f"recordings/judgements/{name}" for name in JUDGEMENTS), "demo/annotations.csv"),
    ),
    "05_diversity": StageInputs(
        (*COMPARED, "data", "diversity", "evaluation"), ("synthetic/", "runs/", "tables/gaps"), texts="measured"
    ),
    "06_augmentation": StageInputs((*COMPARED, "evaluation"), ("runs/",)),
    "07_causes": StageInputs(
        (*COMPARED, "data", "llms", "training"),
        ("synthetic/", "runs/"),
        texts="measured",
        bundled=("recordings/labels/synthetic.csv",),
    ),
    "08_llms": StageInputs((*COMPARED, "data", "evaluation", "training"), ("synthetic/", "runs/"), texts="measured"),
    "09_prompts": StageInputs(
        (*COMPARED, "data", "llms", "training", "diversity", "evaluation"), ("synthetic/", "runs/"), texts="measured"
    ),
    "10_decision": StageInputs(
        (*COMPARED, "data", "llms", "training", "evaluation"),
        ("synthetic/", "runs/", "tables/worth", "tables/llm_as_classifier"),
        texts="measured",
    ),
    OWN_FILES: StageInputs(("own_files",), bundled=("your_task/real.csv", "your_task/synthetic.csv")),
}


def stage_name(name: str) -> str:
    """The stage that "02", "training" or "02_training" names."""
    for stage in STAGES:
        if name in {stage, *stage.split("_", 1)}:
            return stage
    raise unknown("stage", name, STAGES)


def stages_of(profile: Profile) -> list[str]:
    """The stages that there are to run: of a profile without tasks, that of its own files alone.

    That one is also run, on its small example, by profiles whose real texts are a stand-in, as the example's are.
    """
    if not profile.tasks:
        return [OWN_FILES]
    return [stage for stage in STAGES if stage != OWN_FILES or profile.stand_in]


def stages_before(stage: str) -> list[str]:
    names = list(STAGES)
    return names[: names.index(stage)]


def notebook_file(stage: str) -> Path:
    return root() / "notebooks" / f"{stage}.ipynb"


# ------------------------------------------------------------------------------------------------------------ markers


def marker_file(profile: Profile, stage: str) -> Path:
    return outputs_folder(profile) / "stages" / f"{stage}.json"


def finished_in(stage: str, profile: Profile) -> Path:
    """The folder with a stage's results: a variant that has not run the stage itself reads its base profile's."""
    return outputs_folder(profile) if marker_file(profile, stage).is_file() else base_folder(profile)


def read_marker(stage: str, profile: Profile) -> dict[str, Any] | None:
    """The success marker of a stage, the variant's own or its base profile's; None where there is no whole one."""
    marker = read_json(finished_in(stage, profile) / "stages" / f"{stage}.json")
    return marker if is_marker(marker) else None


def is_marker(marker: Any) -> bool:
    """Whether this is what a stage's end writes: digests, of files below its folder and of what determines them."""
    if not isinstance(marker, dict):
        return False
    for part in (marker.get("determined_by"), marker.get("products")):
        if not isinstance(part, dict) or not all(isinstance(one, str) for one in part.values()):
            return False
    return not any(path.is_absolute() or ".." in path.parts for path in map(PurePosixPath, marker["products"]))


def products_of(stage: str, profile: Profile) -> Mapping[str, str]:
    """{path below the stage's folder: digest} of what a finished stage wrote; empty where it is not finished."""
    marker = read_marker(stage, profile)
    return marker["products"] if marker else {}


# ------------------------------------------------------------------------------------------------------------- states


def texts_in_reach(profile: Profile) -> bool:
    """Whether the real texts can be read: not with --no-data, nor where a file of them is missing."""
    if os.environ.get("SYNTHGAP_NO_DATA"):
        return False
    try:
        return all(path.is_file() for path in _data_files(profile))
    except SynthgapError:
        return False


def with_what_is_there(profile: Profile) -> Profile:
    """The profile without the imported corpora whose folder is lacking, where the data folder has all else.

    The main comparison is never changed: without its corpora nothing can run.
    """
    imported = {name: one for name, one in profile.corpora.items() if isinstance(one, ImportedCorpus)}
    if gone := [name for name, one in imported.items() if not part_is_there(one)]:
        with contextlib.suppress(SynthgapError):  # another section names one of them
            fewer = profile.without(gone)
            if fewer.main == profile.main and texts_in_reach(fewer):
                return fewer
    return profile


def cannot_run(stage: str, profile: Profile) -> bool:
    """Whether a stage needs the real texts while they are out of reach; what it wrote before is kept."""
    return STAGES[stage].texts == "needed" and not texts_in_reach(profile)


def stage_state(stage: str, profile: Profile) -> str:
    """ "done", or why the stage has to run.

    A stage that cannot run is done as long as it was asked for the same and its products are as it wrote them.
    """
    marker = read_marker(stage, profile)
    if marker is None:
        return "not finished"
    then = marker["determined_by"]
    now = _asked_for(stage, profile) if cannot_run(stage, profile) else determined_by(stage, profile)
    if changed := [name for name, value in now.items() if then.get(name) != value]:
        return f"changed since it ran: {', '.join(changed)}"
    for name, expected in marker["products"].items():
        path = finished_in(stage, profile) / name
        if not path.is_file():
            return f"'{name}' is missing"
        if digest_of(path) != expected:
            return f"'{name}' is not as it was written"
    return "done"


def determined_by(stage: str, profile: Profile) -> dict[str, str]:
    """{what determines a stage: its digest}; without "data" where the real texts are out of reach."""
    inputs, notebook = STAGES[stage], notebook_file(stage)
    parts = {
        **_asked_for(stage, profile),
        "notebook": notebook_digest(notebook),
        "code": imports_digest(notebook),
        "evidence": digest([footer(profile), profile.show_real_texts if inputs.texts else None]),
        "bundled tables": digest([_rows_on(profile.tasks, bundled(name)) for name in inputs.bundled]),
        "earlier stages": digest(_earlier_products(stage, profile)),
    }
    if profile.own_files and stage == OWN_FILES:
        files = _named_digests(map(Path, profile.own_files.paths))
        parts["own files"] = digest([files, profile.training.model_dump(mode="json")])
    if inputs.answers:
        parts["answers"] = digest(_named_digests(sorted((base_folder(profile) / "annotations").glob("*.csv"))))
    if "llms" in inputs.sections:
        parts["recordings"] = digest(_named_digests(_recordings(profile)))
    if inputs.texts and texts_in_reach(profile):
        parts["data"] = digest(data_digests(profile))
    return parts


def _asked_for(stage: str, profile: Profile) -> dict[str, str]:
    tasks = {name: load_task(name).model_dump(mode="json", exclude_unset=True) for name in profile.tasks}
    return {"profile": settings_digest(stage, profile), "tasks": digest(tasks)}


def settings_digest(stage: str, profile: Profile) -> str:
    """Digest of the sections of the profile that a stage reads, with the order of their keys.

    A key that a profile does not set does not matter, so that new ones can be added.
    """
    sections = profile.model_dump(mode="json", include=set(STAGES[stage].sections), exclude_defaults=True)
    return digest(json.dumps(sections))


# ------------------------------------------------------------------------------------------------------------- inputs


def data_digests(profile: Profile) -> dict[str, str]:
    """{name: SHA-256} of each file that a profile's texts are read from: tasks, annotated texts, corpora, labels."""
    return {path.name: digest_of(path) for path in sorted(set(_data_files(profile)))}


def _data_files(profile: Profile) -> Iterator[Path]:
    tasks = [load_task(name) for name in profile.tasks]
    if profile.data.source != "hub":
        folder = bundled("demo") if profile.stand_in else data_folder()
        yield from (data_file(task, folder) for task in tasks)
    for task in tasks:
        yield from filter(None, (annotated_file(task, profile), judged_file(task, profile)))
    yield from (path for task in tasks for path in further_files(task, profile).values())
    for name, corpus in profile.corpora.items():
        if isinstance(corpus, ImportedCorpus):
            yield from (imported_file(corpus, task) for task in profile.tasks_of_corpus(name))
        elif isinstance(corpus, LabelledCorpus):
            yield from (path for task in profile.tasks_of_corpus(name) for path in labels_files(corpus, task).values())


def _recordings(profile: Profile) -> Iterator[Path]:
    """The recorded answers that a profile names, of its LLMs, settings and tasks alone; and its prompt variants."""
    for name, corpus in profile.corpora.items():
        if isinstance(corpus, GeneratedCorpus) and corpus.prompt in prompt_files():
            yield prompt_files()[corpus.prompt]
        if isinstance(corpus, GeneratedCorpus) and isinstance(settings := profile.llms[corpus.llm], RecordedSettings):
            folder = recording_folder(settings)
            for recording in corpus.repeats:
                answers = folder / answers_folder(corpus.conditions, recording)
                yield from (answers / f"{task}.jsonl" for task in profile.tasks_of_corpus(name))


def _earlier_products(stage: str, profile: Profile) -> dict[str, str]:
    products: dict[str, str] = {}
    for earlier in stages_before(stage):
        products |= products_of(earlier, profile)
    return {name: value for name, value in products.items() if name.startswith(STAGES[stage].products)}


def _rows_on(tasks: Iterable[str], path: Path) -> list[list[str]]:
    """A CSV table's rows on these tasks, which its columns task, task_a, ... name."""
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in rows.columns[rows.columns.str.startswith("task")]:
        rows = rows[rows[column].isin(list(tasks))]
    return rows.to_numpy().tolist()


def _named_digests(paths: Iterable[Path]) -> list[tuple[str, str]]:
    """Names and digests of those of the files that are there."""
    return [(f"{path.parent.name}/{path.name}", digest_of(path)) for path in paths if path.is_file()]
