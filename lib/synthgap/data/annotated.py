"""Texts that several people labelled one by one, and tables of such annotations: item_id, annotator, label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from rapidfuzz import fuzz, process

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import data_folder
from synthgap.data.duplicates import normalised
from synthgap.data.real import SUFFIXES, RealData, read_file, refuse_faults, text_faults
from synthgap.data.text_files import HALF_CHARACTER
from synthgap.tasks import Task
from synthgap.tasks.schema import AnnotatedTexts, JudgedTexts

ANNOTATION_COLUMNS = ["item_id", "annotator", "label"]
LEAK = 90.0  # similarity in percent from which an annotated text is one that classifiers were trained on


@dataclass(frozen=True)
class AnnotatedItems:
    """Texts other than the task's own, and what people said of them.

    Attributes:
        about: where they come from.
        texts: columns id, text; one row per item.
        judgements: columns item_id, annotator, label; the task's labels.
        left_out: counts by reason, of judgements and of items.
    """

    about: str
    texts: pd.DataFrame = field(repr=False)
    judgements: pd.DataFrame = field(repr=False)
    left_out: Mapping[str, int]


def annotated_file(task: Task, profile: Profile) -> Path | None:
    """The file of the annotated texts that a task names; None where it names none or the data folder lacks them.

    The bundled stand-in has no such texts, so there is no file beside it either.
    """
    return _file_of(task.annotated, profile)


def judged_file(task: Task, profile: Profile) -> Path | None:
    """The file of the judgements for 04 that a task names; None as of `annotated_file`."""
    return _file_of(task.judged, profile)


def _file_of(section: AnnotatedTexts | JudgedTexts | None, profile: Profile) -> Path | None:
    if section is None or profile.stand_in:
        return None
    files = [data_folder() / "annotations" / f"{section.file}{suffix}" for suffix in SUFFIXES]
    return next((path for path in files if path.is_file()), None)


def load_annotated(task: Task, profile: Profile, data: RealData) -> AnnotatedItems | None:
    """The annotated texts of a task; None where there is no file of them, see `annotated_file`.

    A text that (nearly) stands in the task's train or validation split is left out: a classifier trained on it has
    seen it.

    Raises:
        SynthgapError: the file is there and not as the task says.
    """
    path, section = annotated_file(task, profile), task.annotated
    if path is None or section is None:
        return None
    rows = read_file(path)
    if missing := sorted({*ANNOTATION_COLUMNS, "text", *section.only} - set(rows.columns)):
        raise SynthgapError(f"annotations of task '{task.name}' ({path.name}): no column {', '.join(missing)}")
    for column, values in section.only.items():
        rows = rows[rows[column].isin(values)]
    none_of_ours = rows["label"].isin(section.left_out)
    rows = rows[~none_of_ours].assign(label=rows["label"].replace(section.labels))
    judgements, left_out = check_annotations(rows, list(task.labels))
    refuse_faults(f"annotations of task '{task.name}' ({path.name})", rows["item_id"], text_faults(rows["text"]))
    texts = judgements.drop_duplicates("item_id").sort_values("item_id").rename(columns={"item_id": "id"})
    seen = seen_in_training(texts["text"].tolist(), data)
    texts = texts.loc[~seen, ["id", "text"]].reset_index(drop=True)
    judgements = judgements.loc[judgements["item_id"].isin(texts["id"]), ANNOTATION_COLUMNS].reset_index(drop=True)
    left_out |= {
        f"judgements: {', '.join(section.left_out)}": int(none_of_ours.sum()),
        f"judgements: a line {HALF_CHARACTER}": rows.attrs.get(HALF_CHARACTER, 0),
        "items (nearly) in the train or validation split": int(seen.sum()),
    }
    return AnnotatedItems(section.about, texts, judgements, positive(left_out))


@dataclass(frozen=True)
class Judgements:
    """What people said of texts that no classifier labels.

    Attributes:
        by_label: {label: item_id, annotator, label}, the latter "present" or "absent", where a person may give several;
            else {"": item_id, annotator, label}.
        dates: of items, index item_id; those whose date cannot be read are not there.
        left_out: counts by reason.
    """

    task: str
    source: str
    by_label: Mapping[str, pd.DataFrame] = field(repr=False)
    dates: pd.Series = field(repr=False)
    left_out: Mapping[str, int]


def load_judgements(task: Task, profile: Profile) -> Judgements | None:
    """The judgements that a task names for 04; None where there is no file of them.

    Raises:
        SynthgapError: the file is there and not as the task says.
    """
    path, section = judged_file(task, profile), task.judged
    if path is None or section is None:
        return None
    rows, where = read_file(path).reset_index(drop=True), f"judgements of task '{task.name}' ({path.name})"
    if missing := sorted({*ANNOTATION_COLUMNS, *filter(None, [section.date])} - set(rows.columns)):
        raise SynthgapError(f"{where}: no column {', '.join(missing)}")
    try:
        refuse_empty_cells(rows)
    except SynthgapError as error:
        raise SynthgapError(f"{where}: {error}") from error
    left_out: dict[str, int] = {}
    if section.several:
        by_label = present_or_absent(rows)
    else:
        checked, left_out = check_annotations(rows, list(rows["label"].unique()))
        by_label = {"": checked[ANNOTATION_COLUMNS]}
    dates = pd.Series(dtype="datetime64[ns]")
    if section.date:
        read = pd.to_datetime(rows[section.date], errors="coerce", format="mixed", utc=True).dt.tz_localize(None)
        dates = read.groupby(rows["item_id"]).min().dropna()
        left_out["items whose date cannot be read"] = rows["item_id"].nunique() - len(dates)
    return Judgements(task.name, f"human: {section.name}", by_label, dates, positive(left_out))


def present_or_absent(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{label: item_id, annotator, label} of people who may each give an item several labels, the most frequent first.

    The label is "present" where the person gave it and "absent" where the person gave the item others alone.
    """
    key = ["item_id", "annotator"]
    asked = rows[key].drop_duplicates(ignore_index=True)
    given = {label: pd.MultiIndex.from_frame(rows.loc[rows["label"] == label, key]) for label in rows["label"].unique()}
    order = sorted(given, key=lambda label: (-len(given[label].unique()), label))
    every = pd.MultiIndex.from_frame(asked)
    return {label: asked.assign(label=np.where(every.isin(given[label]), "present", "absent")) for label in order}


def seen_in_training(texts: Sequence[str], data: RealData, cutoff: float = LEAK) -> np.ndarray:
    """Which texts (nearly) stand in the train or validation split: similarity in percent of at least `cutoff`."""
    trained_on = [normalised(text) for split in ("train", "validation") for text in data.split(split)["text"]]
    asked = [normalised(text) for text in texts]
    similarity = process.cdist(asked, trained_on, scorer=fuzz.ratio, score_cutoff=cutoff, dtype=np.uint8, workers=-1)
    return similarity.max(axis=1, initial=0) >= cutoff


def check_annotations(annotations: pd.DataFrame, labels: Sequence[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Annotations without repeats and contradictions, and how many were left out, by reason.

    An annotator's second identical answer counts once. An annotator who gives an item two different labels has given
    none: all answers of that annotator to that item are left out and counted.

    Raises:
        SynthgapError: a column is missing, a cell is empty, or a label is none of the task's.
    """
    if missing := [name for name in ANNOTATION_COLUMNS if name not in annotations.columns]:
        needed = ", ".join(ANNOTATION_COLUMNS)
        raise SynthgapError(f"annotations need the columns {needed}; missing: {', '.join(missing)}")
    rows = annotations.reset_index(drop=True)
    refuse_empty_cells(rows)
    unknown = rows[~rows["label"].isin(labels)]
    if len(unknown):
        names = ", ".join(sorted(set(map(repr, unknown["label"].astype(str))))[:3])
        raise SynthgapError(
            f"annotations: label {names} is unknown to the task (first: item '{unknown['item_id'].iloc[0]}', "
            f"{len(unknown)} rows); known: {', '.join(labels)}"
        )
    once = rows.drop_duplicates(ANNOTATION_COLUMNS)
    contradicted = once.duplicated(["item_id", "annotator"], keep=False)
    left_out = {
        "repeats an answer": len(rows) - len(once),
        "contradicts the annotator's other answer": int(contradicted.sum()),
    }
    return once[~contradicted].reset_index(drop=True), positive(left_out)


def refuse_empty_cells(rows: pd.DataFrame) -> None:
    """Raise a SynthgapError that names the first row of annotations with an empty cell; rows are numbered from 0."""
    cells = rows[ANNOTATION_COLUMNS]
    empty = cells.map(lambda cell: pd.isna(cell) or not str(cell).strip())
    if empty.any(axis=None):
        first = int(empty.any(axis=1).idxmax())
        raise SynthgapError(f"annotations: row {first + 1} has an empty {' or '.join(cells.columns[empty.loc[first]])}")


def positive(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts by reason that are not 0."""
    return {reason: count for reason, count in counts.items() if count}
