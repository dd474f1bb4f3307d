"""Finished runs on disk: a small pair of files each while a stage runs, packed by task when it ends.

    runs/loose/<run>.parquet, .json      what a run predicted and, written after it, what it says of itself
    runs/<task>.parquet                  packed: a row per text, a column per run with the labels that it predicted
    runs/<task>.probabilities.parquet    in three decimals, of the grid's runs alone
    runs/runs.jsonl.gz                   a line per packed run with what it says of itself; written last
    runs/grid.csv, curve.csv, mixes.csv  which runs make up the grid, the learning curves and the mixes
    runs/decision.csv                    and the strategies of 10

A run is believed only under the name that its identity gives, and with the digest of its name and its predictions.
"""

import contextlib
import gzip
import hashlib
import itertools
import json
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from synthgap.core.config import Name
from synthgap.core.files import atomic, digest, read_json, remembered, write_json, write_parquet

# of a predicted text: "test", "annotated" or a further test set, its id, its label ("" where it has none)
KEY = ["items", "id", "label"]
INDEXES = ("grid", "curve", "mixes", "decision")
MISSING = -1000  # in a table of thousandths, for a text that the run did not predict
INDEX_COLUMNS = ["comparison", "task", "classifier", "corpus", "recording", "seed", "run", "n_train", "texts_per_label"]
LINES = "runs.jsonl.gz"
UNREADABLE = (
    *(OSError, EOFError, zlib.error, pa.ArrowException, pd.errors.InvalidIndexError),
    *(KeyError, TypeError, ValueError, RecursionError),
)


class RunIdentity(BaseModel):
    """What the readers of a run's identity rely on."""

    task: str
    labels: list[str]


class RunRecord(BaseModel):
    """What the readers of a run rely on, of all that it says of itself."""

    model_config = ConfigDict(strict=True)

    run: str
    task: Name
    classifier: str
    corpus: str
    seed: int
    n_train: int
    scores: dict[str, float]
    identity: RunIdentity


def is_run_record(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether this is what a run says of itself; its task, which becomes a path, has a task's name."""
    try:
        about = RunRecord.model_validate(value)
    except ValidationError:
        return False
    return about.task == about.identity.task


@dataclass(frozen=True, eq=False)
class Items:
    """Texts that runs predicted.

    Attributes:
        keys: columns as in KEY; a row per text.
    """

    keys: pd.DataFrame

    @cached_property
    def index(self) -> pd.MultiIndex:
        return pd.MultiIndex.from_frame(self.keys)

    @cached_property
    def order(self) -> np.ndarray:
        """Places of the texts, sorted by their keys."""
        return np.lexsort([self.keys[name].to_numpy(str) for name in reversed(KEY)])

    @cached_property
    def digest(self) -> str:
        """Of the keys, whatever their order."""
        return digest(self.keys.iloc[self.order].to_numpy().tolist())


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A trained run.

    Attributes:
        about: what it says of itself: name, identity, settings, scores, times, ...; JSON.
        predicted: shape (items,), places of labels.
        probabilities: shape (items, labels); None where they were not kept.
    """

    about: dict[str, Any] = field(repr=False)
    items: Items = field(repr=False)
    predicted: np.ndarray = field(repr=False)
    probabilities: np.ndarray | None = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.about["run"])

    @property
    def labels(self) -> list[str]:
        return list(self.about["identity"]["labels"])

    def table(self) -> pd.DataFrame:
        """Columns items, id, label, predicted and, where they were kept, `p <label>` for each label; no text."""
        table = self.items.keys.assign(predicted=pd.Categorical.from_codes(self.predicted, self.labels))
        if self.probabilities is not None:
            table[[f"p {label}" for label in self.labels]] = self.probabilities
        return table

    def digests(self) -> dict[str, str]:
        """Of the name, the items and what was predicted for them; probabilities count to three decimals."""
        values = {"predictions_sha256": self.predicted}
        if self.probabilities is not None:
            values["probabilities_sha256"] = thousandths(self.probabilities)
        start = f"{self.name} {self.items.digest} ".encode()
        order = self.items.order
        return {
            key: hashlib.sha256(start + rows[order].astype("<i2").tobytes()).hexdigest() for key, rows in values.items()
        }

    def is_sound(self, name: str) -> bool:
        """Whether this is the run of that name, as it was written."""
        same_name = name == self.name == run_name(self.about["identity"])
        return same_name and self.digests().items() <= self.about.items()


def thousandths(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities as whole numbers; MISSING for what a table lacks."""
    return np.rint(1000 * np.nan_to_num(probabilities.astype(np.float64), nan=MISSING / 1000))


def run_name(identity: Mapping[str, Any]) -> str:
    """A run's name: a digest of what determines it."""
    return digest(identity, 20)


# ------------------------------------------------------------------------------------------------------------ finding


def find(folder: Path, name: str, probabilities: bool = False) -> FinishedRun | None:
    """A finished run, from a folder `runs` or from that of the base profile or one of its variants.

    Args:
        probabilities: whether to read those of packed runs, too.

    Returns:
        None where there is none; what is torn, or is not the run of that name, counts as none.
    """
    for place in (folder, *related(folder)):
        if run := _loose_run(place, name) or _packed_run(place, name, probabilities):
            return run
    return None


def finished_runs(folder: Path) -> list[str]:
    """The names of the runs in a folder, loose or packed, without a look at what they predicted."""
    return sorted({*packed_lines(folder), *(path.stem for path in (folder / "loose").glob("*.json"))})


def is_torn(folder: Path, name: str) -> bool:
    """Whether there is something of a run, but not the whole of it."""
    something = name in packed_lines(folder) or any(path.exists() for path in loose_files(folder, name))
    return something and find(folder, name) is None


def related(folder: Path) -> list[Path]:
    """The folders `runs` of the same profile's other outputs: outputs/<profile> and outputs/<profile>-<variant>."""
    if folder.name != "runs":
        return []
    base = folder.parent.name.partition("-")[0]
    places = [folder.parent.with_name(base), *sorted(folder.parent.parent.glob(f"{base}-*"))]
    return [place / folder.name for place in places if place != folder.parent]


def lock(folder: Path, name: str) -> FileLock:
    """The lock that a process holds while it trains the run of that name, or while it packs ("pack")."""
    (folder / ".locks").mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".locks" / f"{name}.lock")


# ------------------------------------------------------------------------------------------------------------ reading


class RunTable:
    """A table with a row per text, and for each run a column with the labels that it predicted."""

    def __init__(self, path: Path) -> None:
        labels = [name for name in pq.read_schema(path).names if name not in KEY]
        self.table = pq.read_table(path, read_dictionary=labels).to_pandas()
        self._items: dict[bytes, Items] = {}  # runs share the texts that they predicted

    def run(self, name: str, about: dict[str, Any], probabilities: pd.DataFrame | None) -> FinishedRun | None:
        """The run of that name; None where it is not the one that says this of itself.

        Args:
            probabilities: a table with columns `<run> <label>`, of floats or, as they are packed, of thousandths; None,
                or without the run's: they are left out.

        Raises:
            KeyError: it is not in the table.
        """
        places = pd.Index(about["identity"]["labels"]).get_indexer(self.table[name])
        rows, columns, values = places >= 0, _columns(about), None
        if (mask := rows.tobytes()) not in self._items:
            self._items[mask] = Items(self.table.loc[rows, KEY].reset_index(drop=True))
        items = self._items[mask]
        if probabilities is not None and set(columns) <= set(probabilities.columns):
            values = items.keys.merge(probabilities[[*KEY, *columns]], how="left")[columns].to_numpy()
            if (probabilities[columns].dtypes == np.int16).all():
                values = np.where(values < 0, np.nan, values / 1000).astype(np.float32)
        run = FinishedRun(about, items, places[rows], values)
        return run if run.is_sound(name) else None


_packed_labels = remembered(64)(RunTable)
_packed_probabilities = remembered(64)(pd.read_parquet)


def _columns(about: Mapping[str, Any]) -> list[str]:
    return [f"{about['run']} {label}" for label in about["identity"]["labels"]]


def loose_files(folder: Path, name: str) -> tuple[Path, Path]:
    """The two files of a run that is not packed, in the order in which they are written."""
    return folder / "loose" / f"{name}.parquet", folder / "loose" / f"{name}.json"


def packed_files(folder: Path, task: str) -> tuple[Path, Path]:
    """The files with the labels and with the probabilities that a task's packed runs predicted."""
    return folder / f"{task}.parquet", folder / f"{task}.probabilities.parquet"


def _loose_run(folder: Path, name: str) -> FinishedRun | None:
    predictions, about = loose_files(folder, name)
    with contextlib.suppress(*UNREADABLE):
        if is_run_record(record := read_json(about)):
            runs = RunTable(predictions)
            return runs.run(name, record, runs.table)
    return None


def _packed_run(folder: Path, name: str, probabilities: bool = False) -> FinishedRun | None:
    with contextlib.suppress(*UNREADABLE):
        about = packed_lines(folder)[name]
        labels, kept = packed_files(folder, about["task"])
        table = _packed_probabilities(kept) if probabilities and kept.is_file() else None
        return _packed_labels(labels).run(name, about, table)
    return None


def packed_lines(folder: Path) -> dict[str, dict[str, Any]]:
    """{name: what the run says of itself} of a folder's packed runs."""
    path = folder / LINES
    return _read_lines(path) if path.is_file() else {}


@remembered(64)
def _read_lines(path: Path) -> dict[str, dict[str, Any]]:
    """Those of all whole lines, also of a torn file."""
    lines = {}
    with contextlib.suppress(*UNREADABLE), gzip.open(path) as file:
        for line in file:
            with contextlib.suppress(*UNREADABLE):
                if is_run_record(about := json.loads(line)):
                    lines[about["run"]] = about
    return lines


# ------------------------------------------------------------------------------------------------------------ writing


def save(folder: Path, run: FinishedRun) -> None:
    """Write a run's two files, with its digests."""
    predictions, about = loose_files(folder, run.name)
    columns = [*KEY, run.name, *_columns(run.about)]
    write_parquet(predictions, run.table().set_axis(columns, axis=1))
    write_json(about, run.about | run.digests())


def pack(folder: Path) -> list[Path]:
    """Pack all loose runs, and those of related folders that an index names; gives the files that the folder then has.

    Probabilities are kept of the main comparison's grid. Packed runs that no index names any more are kept.
    The file of lines is written after the tables, and loose files are removed after that: wherever a kill comes, each
    run is there, loose or packed. Processes pack one after another.
    """
    with lock(folder, "pack"):
        for path in (*folder.glob(".*.parquet.tmp"), *folder.glob(".*.gz.tmp")):
            path.unlink()  # of a process that was killed while it packed
        indexes = {index: index_rows(folder, index) for index in INDEXES}
        grid = indexes["grid"]
        main = set(grid.loc[grid["comparison"].isin(grid["comparison"].head(1)), "run"])
        loose = _whole_loose_runs(folder)
        names = list(dict.fromkeys(itertools.chain(*(rows["run"] for rows in indexes.values()), loose)))
        unpacked = [name for name in names if not _packed_run(folder, name)]
        missing = [run for name in unpacked if (run := loose.get(name) or find(folder, name, True))]
        lines = packed_lines(folder)
        for task in dict.fromkeys(run.about["task"] for run in missing):
            before = [name for name, about in lines.items() if about["task"] == task]
            kept = [_packed_run(folder, name, True) or _packed_run(folder, name) for name in before]
            runs = [*filter(None, kept), *(run for run in missing if run.about["task"] == task)]
            write_packed(folder, task, runs, {*main, *before}, names)
            lines = {name: about for name, about in lines.items() if about["task"] != task}
            lines |= {run.name: run.about for run in runs}
        if missing:
            write_lines(folder, lines.values())
        for path in itertools.chain(*(loose_files(folder, name) for name in loose)):
            path.unlink()
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _whole_loose_runs(folder: Path) -> dict[str, FinishedRun]:
    """{name: loose run}; what killed processes left of others is removed."""
    whole = {}
    for name in sorted({path.name.strip(".").partition(".")[0] for path in (folder / "loose").glob("*")}):
        with contextlib.suppress(Timeout), lock(folder, name).acquire(timeout=0):  # else it is being trained
            if run := _loose_run(folder, name):
                whole[name] = run
            else:
                for path in [*(folder / "loose").glob(f"{name}.*"), *(folder / "loose").glob(f".{name}.*")]:
                    path.unlink()
    return whole


def write_packed(
    folder: Path, task: str, runs: Sequence[FinishedRun], probable: Container[str], first: Sequence[str]
) -> None:
    """Write a task's packed files anew.

    Args:
        probable: names of the runs whose probabilities are written, where they have some.
        first: names of the runs whose texts come first, in the order in which they have them.
    """
    rank = {name: place for place, name in enumerate(first)}
    texts = [run.items.index for run in sorted(runs, key=lambda run: rank.get(run.name, len(rank)))]
    rows = texts[0].append(texts[1:]).unique()
    labels, probabilities = [], []
    for run in sorted(runs, key=lambda run: _order(run.about)):
        predicted = pd.Categorical.from_codes(run.predicted, run.labels)
        labels.append(pd.Series(predicted, run.items.index, name=run.name).reindex(rows))
        if run.probabilities is not None and run.name in probable:
            packed = pd.DataFrame(thousandths(run.probabilities), run.items.index, _columns(run.about)).reindex(rows)
            probabilities.append(packed.fillna(MISSING).astype(np.int16))
    for path, columns in zip(packed_files(folder, task), (labels, probabilities), strict=True):
        if columns:
            write_parquet(
                path, pd.concat([rows.to_frame(index=False), *(one.reset_index(drop=True) for one in columns)], axis=1)
            )


def write_lines(folder: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write what all packed runs say of themselves."""
    texts = (json.dumps(about, ensure_ascii=False, separators=(",", ":")) for about in sorted(lines, key=_order))
    with atomic(folder / LINES) as temporary:
        temporary.write_bytes(gzip.compress("".join(f"{text}\n" for text in texts).encode(), mtime=0))


def _order(about: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(about[key] for key in ("task", "classifier", "corpus", "n_train", "seed", "run"))


def index_rows(folder: Path, index: str) -> pd.DataFrame:
    """An index as it stands in its file, columns as in INDEX_COLUMNS; empty where there is no file."""
    if not (path := index_file(folder, index)).is_file():
        return pd.DataFrame(columns=INDEX_COLUMNS)
    return pd.read_csv(path, dtype={"run": str}, keep_default_na=False)


def index_file(folder: Path, index: str) -> Path:
    return folder / f"{index}.csv"
