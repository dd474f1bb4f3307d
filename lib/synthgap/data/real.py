"""Real texts of a task from the package, a folder or the hub: checked, fingerprinted, drawn at equal size."""

import csv
import functools
import io
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError, refuse
from synthgap.core.paths import bundled, data_folder
from synthgap.data.draws import at_most, draw, fingerprint
from synthgap.data.duplicates import one_row_an_id, without_repeats
from synthgap.data.text_files import HALF_CHARACTER, read_text
from synthgap.tasks import SPLITS, FileSource, Task, paper_tasks

COLUMNS = ("id", "text", "label", "split")
SUFFIXES = (".parquet", ".csv", ".jsonl")
WORDS = ("id", "item_id", "annotator", "label", "split")  # columns that are words whatever they look like
LONGEST_CELL = 2**31 - 1  # signs; the csv module's own limit is below the longest texts
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
ONE_ROW = "a line holds one row, {...}, and an array is written as one object a line"


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
    _pools: dict[tuple[str, int], list[str]] = field(default_factory=dict, init=False, repr=False)

    def split(self, name: str) -> pd.DataFrame:
        return self.frame[self.frame["split"] == name]

    @functools.cached_property
    def train_texts(self) -> dict[str, str]:
        """{id: text} of the train split."""
        train = self.split("train")
        return dict(zip(train["id"], train["text"], strict=True))

    def few_shot_pool(self, label: str, recording: int = 1) -> pd.DataFrame:
        """The train texts of a label from which a recording's few-shot examples are drawn, always the same ones.

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
        return draw(train, max(needed, self.task.pool_size(len(train))), recording - 1, "few-shot pool")

    def pool_ids(self, label: str, recording: int = 1) -> list[str]:
        """Ids of a recording's few-shot pool of a label."""
        if (label, recording) not in self._pools:
            self._pools[label, recording] = self.few_shot_pool(label, recording)["id"].tolist()
        return self._pools[label, recording]


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
        if task.source:
            frame, left_out = resplit(frame, task.source)
            dropped |= left_out
    return checked(task, frame, name, dropped, profile.data.test_texts_per_label)


def resplit(frame: pd.DataFrame, source: FileSource) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows of a task's source in our splits, and {reason: rows left out}: one row an id, none of two labels."""
    frame, dropped = one_row_an_id(frame.rename(columns={"item_id": "id"}))
    lines = read_text(bundled(source.shown)).splitlines() if source.shown else []
    shown = frame["id"].isin({key for line in lines for key in json.loads(line)["example_ids"]})
    split = frame["split"].map(source.splits).mask(shown, "train")
    free = frame[(split == "train") & ~shown]
    left = draw(free, len(free), 0, "held out").index
    for name, share in source.held_out.items():
        taken, left = np.split(left, [int(share * len(free))])
        split[taken] = name
    dropped["is of a split that the task leaves out"] = int(split.isna().sum())
    return frame.assign(split=split)[split.notna()].reset_index(drop=True), dropped


def data_file(task: Task, folder: Path) -> Path:
    """The one file of a task in a folder, whichever of the known formats it has."""
    if not folder.is_dir():
        raise SynthgapError(f"the data folder '{folder}' does not exist; name another with --data (make: DATA=...)")
    stem = task.source.file if task.source else task.name
    names = [f"{stem}{suffix}" for suffix in SUFFIXES]
    if folder == bundled("demo") and task.name not in paper_tasks():
        raise SynthgapError(
            f"task '{task.name}': the package has a stand-in for the paper's tasks alone; take its texts from a folder "
            "(data.source: folder, and --data)"
        )
    there = [name for name in names if (folder / name).is_file()]
    if not there:
        others = " and ".join(sorted(repr(path.name) for path in folder.glob(f"{stem}.*")))
        raise SynthgapError(
            f"task '{task.name}': no data file in '{folder}'; it needs one of {', '.join(names)}"
            + (f", and {others} is no such file" if others else "")
        )
    if len(there) > 1:
        raise SynthgapError(f"task '{task.name}': {' and '.join(there)} both hold its data; keep one of them")
    return folder / there[0]


def read_file(path: Path) -> pd.DataFrame:
    """A Parquet, CSV or JSON Lines file as a table of texts; nothing is guessed, so "NA" stays a word, and an id text.

    The index of a CSV and of JSON Lines is the line that a row starts in. Lines of JSON that hold half a character are
    left out, and counted in the table's `attrs` under HALF_CHARACTER.
    """
    try:
        if (suffix := path.suffix.lower()) == ".parquet":
            frame = pd.read_parquet(path)
            frame = frame.reset_index() if any(frame.index.names) else frame
            for name in frame.select_dtypes("str"):
                frame[name].array.__arrow_array__().validate(full=True)  # that bytes are UTF-8; pandas would fail later
        else:
            frame = (_read_json_lines if suffix == ".jsonl" else _read_csv)(read_text(path))
        categories = {name: frame[name].cat.categories.dtype for name in frame.select_dtypes("category")}
        return in_words(frame.astype(categories))
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:300]
        raise SynthgapError(f"data file '{path.name}' cannot be read: {reason}; mend it or write it anew") from error


def in_words(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its columns of WORDS as words, see `as_word`."""
    columns = {name: frame[name] for name in WORDS if name in frame}
    return frame.assign(
        **{
            name: column.str.strip().fillna("") if column.dtype == "str" else column.map(as_word)  # the first is faster
            for name, column in columns.items()
        }
    )


def as_word(value: Any) -> str:
    """A cell as a word without spaces around it: 1 and 1.0 are "1", and nothing, a list or bytes are ""."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, Number) and value == value else ""


def csv_rows(text: str) -> tuple[list[str], dict[int, list[str]]]:
    """The names of a CSV text's columns, and the cells of its rows by the line in which each starts; no empty rows.

    The sign between cells is what a first line `sep=;` says, as Excel writes it, else the one of comma, semicolon, tab
    and | that makes most cells of the header.

    Raises:
        ValueError: a quote is out of place, or two columns have one name.
    """
    csv.field_size_limit(LONGEST_CELL)
    declared = re.match(r'\s*"?sep=(.)"?(?=[\r\n])', text)
    text = text[declared.end() :] if declared else text
    header = text.lstrip().partition("\n")[0].partition("\r")[0]
    sign = declared[1] if declared else max(",;\t|", key=re.sub('"[^"]*"', "", header).count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
    rows: dict[int, list[str]] = {}
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows[line] = cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f'line {line} has a quote out of place; a quote within a quoted cell is written twice (""), without a '
            "backslash before it, and the last one of a cell stands before a separator"
        ) from error
    names = [name.strip() for name in rows.pop(min(rows))] if rows else []
    if repeated := [name for name, count in Counter(names).items() if name and count > 1]:
        raise ValueError(f"its header has the column '{repeated[0]}' more than once; rename or remove one of them")
    return names, rows


def _read_csv(text: str) -> pd.DataFrame:
    header, rows = csv_rows(text)
    if not header:
        raise ValueError("it is empty")
    if wrong := [line for line, cells in rows.items() if len(cells) != len(header)]:
        raise ValueError(
            f"line {wrong[0]} has {len(rows[wrong[0]])} cells and the header {len(header)} ({len(wrong)} such rows); "
            "a cell that holds a separator, a quote or a new line stands in quotes"
        )
    frame = pd.DataFrame(list(rows.values()), pd.Index(rows, name="line"), header, dtype=str)
    return frame.loc[:, [bool(name) for name in header]]


def _read_json_lines(text: str) -> pd.DataFrame:
    rows: dict[int, dict[str, Any]] = {}
    halves = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_json_object)
        except ValueError as error:
            raise ValueError(f"line {number} is no JSON ({error}); {ONE_ROW}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object; {ONE_ROW}")
        if any(isinstance(value, str) and LONE_SURROGATE.search(value) for item in row.items() for value in item):
            halves += 1
        else:
            rows[number] = row
    frame = pd.DataFrame(list(rows.values()), pd.Index(rows, name="line"))
    frame.attrs = {HALF_CHARACTER: halves}
    return frame


def _json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return row


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
            f"it has {column_names(frame)} and needs {', '.join(COLUMNS)}"
        )
    frame = in_words(frame)
    refuse_faults(where, frame["id"], _faults(task, frame))
    frame = frame.assign(text=frame["text"].map(task.without_removed))
    nothing_left = frame["text"] == ""
    frame, repeats = without_repeats(frame[~nothing_left].reset_index(drop=True))
    there = set(zip(frame["split"], frame["label"], strict=True))
    refuse(
        f"{where}: label '{label}' has no row in the split '{split}'; every label needs texts in train, validation and "
        "test"
        for split, label in product(SPLITS, task.labels)
        if (split, label) not in there
    )
    if test_texts_per_label is not None:
        test = frame["split"] == "test"
        frame = pd.concat([frame[~test], at_most(frame[test], test_texts_per_label)], ignore_index=True)
    repeats["holds nothing but what the task removes"] = int(nothing_left.sum())
    counts = {reason: count for reason, count in {**(dropped or {}), **repeats}.items() if count}
    return RealData(task, source, frame, fingerprint(frame), counts)


def column_names(frame: pd.DataFrame) -> str:
    """The names of a table's columns for a message, each cut to 30 signs: without a header they are texts."""
    return ", ".join(str(name)[:30] for name in frame.columns) or "none"


def refuse_faults(where: str, ids: pd.Series, faults: Mapping[str, pd.Series]) -> None:
    """Raise a SynthgapError for {what can be wrong with a row: whether it is}, naming the first row of each fault."""
    said = []
    for fault, rows in faults.items():
        if rows.any():
            first = int(rows.to_numpy().argmax())
            place = f"line {ids.index[first]}" if ids.index.name == "line" else f"row {first + 1}"
            said.append(f"{where}: {fault} (first: {place}, id '{ids.iloc[first]}'; {rows.sum()} in all)")
    refuse(said)


def text_faults(texts: pd.Series) -> dict[str, pd.Series]:
    """{what can be wrong with a text: whether it is}."""
    kinds = texts.map(_kind_of_text)
    others = ~kinds.isin(["text", "empty"])
    return {
        "empty texts; remove them": kinds.eq("empty"),
        f"texts that are no text but {', '.join(sorted(set(kinds[others])))}; write them as text": others,
    }


def _kind_of_text(value: Any) -> str:
    """Either "text", or "empty", or the name of the type that it has instead."""
    if isinstance(value, str):
        return "text" if value.strip() else "empty"
    return "empty" if pd.api.types.is_scalar(value) and pd.isna(value) else type(value).__name__


def _faults(task: Task, frame: pd.DataFrame) -> dict[str, pd.Series]:
    """{what can be wrong with a row: whether it is}."""
    faults = text_faults(frame["text"]) | {
        "every row needs an id of its own, a word or a number; repeated or empty ids": (
            frame["id"].eq("") | frame["id"].duplicated()
        )
    }
    message = {"label": "label {} is unknown to the task; known: {}", "split": "{} is an unknown split; known: {}"}
    for column, known in {"label": task.labels, "split": SPLITS}.items():
        unknown = ~frame[column].isin(known)
        names = [
            repr(name) if name else "'' (an empty cell, or a list)" for name in sorted(set(frame[column][unknown]))
        ]
        faults[message[column].format(", ".join(names[:3]), ", ".join(known))] = unknown
    return faults
