"""Texts that several people labelled one by one, and tables of such annotations: item_id, annotator, label."""

from __future__ import annotations

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
from synthgap.data.real import HALF_CHARACTER, SUFFIXES, RealData, read_file, refuse_faults, text_faults
from synthgap.tasks import Task

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
    if task.annotated is None or profile.stand_in:
        return None
    files = [data_folder() / "annotations" / f"{task.annotated.file}{suffix}" for suffix in SUFFIXES]
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
    cells = rows[ANNOTATION_COLUMNS]
    empty = cells.map(lambda cell: pd.isna(cell) or not str(cell).strip())
    if empty.any(axis=None):
        first = int(empty.any(axis=1).idxmax())
        raise SynthgapError(f"annotations: row {first + 1} has an empty {' or '.join(cells.columns[empty.loc[first]])}")
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


def positive(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts by reason that are not 0."""
    return {reason: count for reason, count in counts.items() if count}
