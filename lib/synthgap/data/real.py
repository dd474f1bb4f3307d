"""Real texts of a task from the package, a folder or the hub: checked, fingerprinted, drawn at equal size."""

from __future__ import annotations

import codecs
import functools
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import bundled, data_folder
from synthgap.data.draws import draw, fingerprint
from synthgap.data.duplicates import without_repeats
from synthgap.tasks import SPLITS, Task

COLUMNS = ("id", "text", "label", "split")
SUFFIXES = (".parquet", ".csv", ".jsonl")
IDS = ("id", "item_id", "annotator")  # columns that are text whatever they look like
ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}  # by their mark
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
HALF_CHARACTER = "holds half a character (a lone surrogate)"


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
        frame, name = read_file(path), path.name
        dropped = dict(frame.attrs)
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
    """A Parquet, CSV or JSON Lines file as a table of texts; nothing is guessed, so "NA" stays a word, and an id text.

    Lines of JSON that hold half a character are left out, and counted in the table's `attrs` under HALF_CHARACTER.
    """
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif path.suffix == ".csv":
            text = read_text(path)
            frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, sep=separator(text))
        else:
            frame = _read_json_lines(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SynthgapError(f"data file '{path.name}' cannot be read: {reason}; replace it by a whole file") from error
    categories = {name: frame[name].cat.categories.dtype for name in frame.select_dtypes("category")}
    ids = {name: frame[name].map(str, na_action="ignore") for name in IDS if name in frame}
    return frame.astype(categories).assign(**ids)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its mark.

    Raises:
        SynthgapError: it is in another encoding.
    """
    raw = path.read_bytes()
    encoding = next((name for mark, name in ENCODINGS.items() if raw.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in raw[:1000]:
        raise SynthgapError(f"'{path.name}' is UTF-16 without its mark, or no text; save it as UTF-8 (\"CSV UTF-8\")")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise SynthgapError(
            f"'{path.name}' is no {encoding.upper().removesuffix('-SIG')} text but cp1252 perhaps (byte "
            f'{error.start + 1}); save it as UTF-8, which spreadsheets call "CSV UTF-8"'
        ) from error


def separator(text: str) -> str:
    """What stands between the columns of a CSV text: a comma, else what its first line has of semicolons and tabs."""
    header = text.partition("\n")[0]
    return next((sign for sign in ",;\t" if sign in header), ",")


def _read_json_lines(text: str) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    halves = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object; a line holds one row, {{...}}")
        if any(isinstance(value, str) and LONE_SURROGATE.search(value) for value in row.values()):
            halves += 1
        else:
            rows.append(row)
    frame = pd.DataFrame(rows)
    frame.attrs = {HALF_CHARACTER: halves}
    return frame


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
