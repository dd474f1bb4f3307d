"""Further test sets of a task, of another time or place; the files stay where they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import data_folder
from synthgap.data.draws import at_most
from synthgap.data.duplicates import normalised, one_row_an_id
from synthgap.data.real import SUFFIXES, RealData, as_word, read_file
from synthgap.tasks import FurtherTest, Task

COLUMNS = ["items", "id", "text", "label"]


@dataclass(frozen=True)
class FurtherTests:
    """The texts of all further test sets of a task.

    Attributes:
        texts: columns items (the set's name), id, text, label; one row for each text of a set.
        left_out: {set: {reason: rows}}.
    """

    texts: pd.DataFrame = field(repr=False)
    left_out: Mapping[str, Mapping[str, int]]


def further_files(task: Task, profile: Profile) -> dict[str, Path]:
    """{further test set: its file}, of those that the data folder has; the bundled stand-in has none."""
    wanted = any(one.further_tests and task.name in profile.tasks_of(one) for one in profile.comparisons.values())
    if profile.stand_in or not wanted:
        return {}
    places = {
        name: [data_folder() / f"{one.file}{suffix}" for suffix in SUFFIXES] for name, one in task.further_tests.items()
    }
    found = {name: next((path for path in paths if path.is_file()), None) for name, paths in places.items()}
    return {name: path for name, path in found.items() if path}


def load_further(task: Task, profile: Profile, data: RealData) -> FurtherTests:
    """The further test sets of a task that there are, each with the test split's cap; see `further_rows`."""
    parts, left_out = [pd.DataFrame(columns=COLUMNS)], {}
    trained_on = {normalised(text) for split in ("train", "validation") for text in data.split(split)["text"]}
    for name, path in further_files(task, profile).items():
        rows, dropped = further_rows(read_file(path), task.further_tests[name], task, path.name)
        rows = rows.assign(text=rows["text"].map(task.without_removed))
        seen = rows["text"].map(normalised).isin(trained_on)
        kept = at_most(rows[~seen], profile.training.test_texts_per_label)
        parts.append(kept.assign(items=name)[COLUMNS])
        counts = {**dropped, "stands in the train or validation split": int(seen.sum())}
        left_out[name] = {reason: count for reason, count in counts.items() if count}
    return FurtherTests(pd.concat(parts, ignore_index=True), left_out)


def further_rows(frame: pd.DataFrame, asked: FurtherTest, task: Task, file: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """A set's texts, and how many rows were left out and why: one text an id, and none of an id with two labels.

    Returns:
        Columns id, text, label, and {reason: rows}.

    Raises:
        SynthgapError: a column is missing, or no text is left.
    """
    frame = frame.rename(columns={"item_id": "id"})
    needed = ["id", "text", "label", *asked.only, *(["date"] if asked.year else [])]
    if missing := [column for column in needed if column not in frame.columns]:
        raise SynthgapError(f"further test of task '{task.name}' ({file}): no column {', '.join(missing)}")
    counts = {}
    for column, values in asked.only.items():
        frame = frame[frame[column].map(as_word).isin(values)]
    if asked.year:
        dates = pd.to_datetime(frame["date"], errors="coerce", format="ISO8601")
        counts["has no date that can be read"] = int(dates.isna().sum())
        frame = frame[dates.dt.year == asked.year]
    filled = np.array([isinstance(text, str) and bool(text.strip()) for text in frame["text"]], bool)
    fitting = frame[frame["label"].isin(task.labels) & filled]
    counts["has no text, or none of the task's labels"] = len(frame) - len(fitting)
    once, dropped = one_row_an_id(fitting)
    if once.empty:
        raise SynthgapError(f"further test of task '{task.name}' ({file}): no text is left of those asked for")
    return once[["id", "text", "label"]], counts | dropped
