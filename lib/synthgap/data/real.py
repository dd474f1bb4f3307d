"""Real texts of a task from the package, a folder or the hub: checked, fingerprinted, drawn at equal size."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pandas as pd

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import bundled, data_folder
from synthgap.data.draws import draw, fingerprint
from synthgap.data.duplicates import without_repeats
from synthgap.tasks import SPLITS, Task

COLUMNS = ("id", "text", "label", "split")
SUFFIXES = (".parquet", ".csv", ".jsonl")


@dataclass(frozen=True)
class RealData:
    """The real texts of one task.

    Attributes:
        frame: columns id, text, label, split and whatever else the source has; one row a text.
        fingerprint: SHA-256 over every split, id, label and text, independent of the order of rows.
        dropped: how many rows were left out, by reason.
    """

    task: Task
    source: str
    frame: pd.DataFrame = field(repr=False)
    fingerprint: str
    dropped: Mapping[str, int]
    _pools: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False)

    def split(self, name: str) -> pd.DataFrame:
        return self.frame[self.frame["split"] == name]

    @functools.cached_property
    def train_texts(self) -> dict[str, str]:
        """{id: text} of the train split."""
        train = self.split("train")
        return dict(zip(train["id"], train["text"], strict=True))

    def few_shot_pool(self, label: str) -> pd.DataFrame:
        """The train texts of a label from which few-shot examples are drawn, always the same ones.

        Raises:
            SynthgapError: fewer texts than one turn shows.
        """
        train = self.frame[(self.frame["split"] == "train") & (self.frame["label"] == label)]
        needed = self.task.few_shot.examples_per_turn
        if len(train) < needed:
            raise SynthgapError(
                f"task '{self.task.name}': label '{label}' has {len(train)} train texts, too few for the {needed} "
                "few-shot examples of a turn; add texts, or leave the task out of comparisons with few-shot corpora"
            )
        return draw(train, max(needed, self.task.pool_size(len(train))), 0, "few-shot pool")

    def pool_ids(self, label: str) -> list[str]:
        """Ids of the label's few-shot pool."""
        if label not in self._pools:
            self._pools[label] = self.few_shot_pool(label)["id"].tolist()
        return self._pools[label]


def load_real(task: Task, profile: Profile) -> RealData:
    """The real texts of `task` from the profile's source, checked.

    Raises:
        SynthgapError: the data are missing, unreadable or not as the task needs them.
    """
    source = profile.data.source
    if source == "hub":
        from synthgap.data.hub import read_hub  # which loads datasets

        frame, dropped = read_hub(task)
        name = f"hub {task.hub.path if task.hub else ''}"
    else:
        path = data_file(task, bundled("demo") if source == "bundled" else data_folder())
        frame, dropped, name = read_file(path), {}, path.name
    return checked(task, frame, name, dropped, profile.data.test_texts_per_label)


def data_file(task: Task, folder: Path) -> Path:
    """The one file of a task in a folder, whichever of the known formats it has."""
    if not folder.is_dir():
        raise SynthgapError(f"the data folder '{folder}' does not exist; name another with --data (make: DATA=...)")
    names = [f"{task.name}{suffix}" for suffix in SUFFIXES]
    there = [name for name in names if (folder / name).is_file()]
    if not there:
        raise SynthgapError(f"task '{task.name}': no data file in '{folder}'; it needs one of {', '.join(names)}")
    if len(there) > 1:
        raise SynthgapError(f"task '{task.name}': {' and '.join(there)} both hold its data; keep one of them")
    return folder / there[0]


def read_file(path: Path) -> pd.DataFrame:
    """A Parquet, CSV or JSON Lines file as a table of texts; nothing is guessed, so "NA" stays a word."""
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix == ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        return pd.read_json(path, lines=True, dtype=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SynthgapError(f"data file '{path.name}' cannot be read: {reason}; replace it by a whole file") from error


def checked(
    task: Task,
    frame: pd.DataFrame,
    source: str,
    dropped: Mapping[str, int] | None = None,
    test_texts_per_label: int | None = None,
) -> RealData:
    """Check a table of texts against its task; repeated texts are dropped and counted, anything else is refused."""
    where = f"data of task '{task.name}' ({source})"
    if missing := [column for column in COLUMNS if column not in frame.columns]:
        raise SynthgapError(
            f"{where}: column {', '.join(map(repr, missing))} is missing; "
            f"it has {', '.join(map(str, frame.columns)) or 'none'} and needs {', '.join(COLUMNS)}"
        )
    for fault, rows in _faults(task, frame).items():
        if rows.any():
            raise SynthgapError(f"{where}: {fault} (first: '{frame.loc[rows, 'id'].iloc[0]}', {rows.sum()} in all)")
    frame, repeats = without_repeats(frame.assign(id=frame["id"].astype(str)).reset_index(drop=True))
    for split, label in product(SPLITS, task.labels):
        if not ((frame["split"] == split) & (frame["label"] == label)).any():
            raise SynthgapError(
                f"{where}: label '{label}' has no row in the split '{split}'; every label needs texts in train, "
                "validation and test"
            )
    if test_texts_per_label is not None:
        test = frame["split"] == "test"
        by_label = frame[test].groupby("label")
        kept = [draw(rows, min(test_texts_per_label, len(rows)), 0, "test cap") for _, rows in by_label]
        frame = pd.concat([frame[~test], *kept], ignore_index=True)
    counts = {reason: count for reason, count in {**(dropped or {}), **repeats}.items() if count}
    return RealData(task, source, frame, fingerprint(frame), counts)


def _faults(task: Task, frame: pd.DataFrame) -> dict[str, pd.Series]:
    """{what can be wrong with a row: whether it is}."""
    unknown = ~frame["label"].isin(task.labels)
    names = sorted(set(map(str, frame.loc[unknown, "label"])))[:3]
    return {
        "every row needs an id of its own; repeated or empty ids": frame["id"].isna() | frame["id"].duplicated(),
        "empty texts; remove them": ~frame["text"].map(lambda text: isinstance(text, str) and bool(text.strip())),
        f"label {', '.join(map(repr, names))} is unknown to the task; known: {', '.join(task.labels)}": unknown,
        f"unknown split; known: {', '.join(SPLITS)}": ~frame["split"].isin(SPLITS),
    }
