"""What finished runs predicted: the one reader for all notebooks."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthgap.core.errors import SynthgapError
from synthgap.training.store import FinishedRun, Items, find, index_file, index_rows


@dataclass(frozen=True)
class Predictions:
    """Everything that was predicted for the texts of one task by one classifier.

    Attributes:
        ids: shape (items,).
        truth: shape (items,), places of labels; -1 where there is none, as of annotated texts.
        predicted: {corpus: shape (seeds, items), places of labels}, in the index's order: the reference comes first.
            In learning curves the keys are "<corpus> <texts per label>", in mixes the mixes' names.
        recordings: {corpus: which recording each row of `predicted` was trained on, shape (seeds,)}.
        n_train: {corpus: texts trained on}; keys as of `predicted`.
    """

    task: str
    classifier: str
    labels: tuple[str, ...]
    ids: np.ndarray
    truth: np.ndarray
    predicted: Mapping[str, np.ndarray]
    n_train: Mapping[str, int]
    recordings: Mapping[str, np.ndarray] = field(default_factory=dict)

    def without(self, ids: Collection[str]) -> "Predictions":
        """The same with some items left out."""
        kept = ~np.isin(self.ids, list(ids))
        predicted = {corpus: runs[:, kept] for corpus, runs in self.predicted.items()}
        return replace(self, ids=self.ids[kept], truth=self.truth[kept], predicted=predicted)


def load_predictions(
    folder: Path, index: str = "grid", comparison: str | None = None, items: str = "test"
) -> list[Predictions]:
    """What the runs of an index predicted, for each task and classifier in the index's order.

    Args:
        folder: `runs`.
        index: "grid", "curve", "mixes" or "decision".
        comparison: None: the first of the index.
        items: "test", "annotated" or a further test set; tasks without such items are left out.

    Raises:
        SynthgapError: the runs have not been trained, one is torn, or runs of a task predicted different items; those
            of a curve may predict more than the grid does, whose items count.
    """
    rows = _index(folder, index)
    if index == "curve":
        rows = _with_all_recordings(rows, index_rows(folder, "grid"))
        rows["corpus"] = rows["corpus"] + " " + rows["texts_per_label"].astype(str)
    chosen = rows["comparison"] == (comparison or next(iter(rows["comparison"]), ""))
    groups = rows[chosen].groupby(["task", "classifier"], sort=False)
    may_have_further = index == "curve"
    loaded = (
        _predictions(folder, str(task), str(name), group, items, may_have_further) for (task, name), group in groups
    )
    return [predictions for predictions in loaded if predictions]


def _with_all_recordings(curve: pd.DataFrame, grid: pd.DataFrame) -> pd.DataFrame:
    """A curve's runs, at the grid's size the grid's own, which may be of more recordings and have more seeds."""
    same = ["comparison", "task", "classifier", "corpus"]
    at_full_size = grid.merge(curve[same].drop_duplicates())
    point = [*same, "texts_per_label"]
    smaller = curve[~pd.MultiIndex.from_frame(curve[point]).isin(pd.MultiIndex.from_frame(at_full_size[point]))]
    return pd.concat([at_full_size, smaller], ignore_index=True)


def _predictions(
    folder: Path, task: str, classifier: str, rows: pd.DataFrame, items: str, may_have_further: bool
) -> Predictions | None:
    """Those of runs that predicted the items of the first run, and these alone or maybe further ones."""
    first, labels = pd.DataFrame(), list[str]()
    predicted: dict[str, list[np.ndarray]] = {}
    n_train: dict[str, int] = {}
    recordings: dict[str, list[int]] = {}
    for row in rows.itertuples():
        run = finished_run(folder, row)
        own = _of_kind(run.items, items)
        if own.empty:
            continue  # smaller runs of a learning curve label no annotated texts
        if first.empty:
            first, labels = own, run.labels
        places = run.predicted[own.index].astype(int)
        if own is not first:
            order = pd.Index(own["id"]).get_indexer(first["id"])
            if (len(own) != len(first) and not may_have_further) or (order < 0).any():
                raise SynthgapError(f"run {run.name}: it predicted other items than the first run of task '{task}'")
            places = places[order]
        predicted.setdefault(str(row.corpus), []).append(places)
        n_train.setdefault(str(row.corpus), int(row.n_train))
        recordings.setdefault(str(row.corpus), []).append(int(row.recording))
    if first.empty:
        return None
    truth = pd.Index(labels).get_indexer(first["label"])
    stacked = {corpus: np.stack(runs) for corpus, runs in predicted.items()}
    of_runs = {corpus: np.array(numbers) for corpus, numbers in recordings.items()}
    return Predictions(task, classifier, tuple(labels), first["id"].to_numpy(), truth, stacked, n_train, of_runs)


@lru_cache(maxsize=128)
def _of_kind(items: Items, kind: str) -> pd.DataFrame:
    """The keys of texts of a kind, such as "test" or "annotated"; the index says where among the items they are."""
    return items.keys[items.keys["items"] == kind]


def read_index(folder: Path, index: str = "grid") -> pd.DataFrame:
    """An index, columns as in `store.INDEX_COLUMNS`; refused where it, or one of its runs, is missing or torn."""
    rows = _index(folder, index)
    for row in rows.itertuples():
        finished_run(folder, row)
    return rows


def runs_table(folder: Path) -> pd.DataFrame:
    """The grid's index with what its runs say of themselves: scores in percent, seconds, memory in MiB, ..."""
    rows = _index(folder, "grid")
    about = pd.DataFrame([{**(one := finished_run(folder, row).about), **one["scores"]} for row in rows.itertuples()])
    return rows.join(about[about.columns.difference(rows.columns, sort=False)])


def _index(folder: Path, index: str) -> pd.DataFrame:
    if not index_file(folder, index).is_file():
        raise SynthgapError(f"'{index}.csv' is not in '{folder.name}/' yet; run the stage 02_training first")
    return index_rows(folder, index)


def finished_run(folder: Path, row: Any) -> FinishedRun:
    """The run that a row of an index names; refused where it is missing or torn."""
    if run := find(folder, row.run):
        return run
    raise SynthgapError(
        f"run {row.run} ({row.task} / {row.corpus} / {row.classifier} / seed {row.seed}) is missing or torn; "
        "run the stage 02_training again: it trains this one anew and keeps the others"
    )
