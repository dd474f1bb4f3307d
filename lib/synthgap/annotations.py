"""Judgements of single texts: checked, and how far annotators agree, item by item and over all.

Rows of annotations are `item_id, annotator, label`. Agreement of an item is the share of its annotators who chose its
most frequent label, from 1/labels to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthgap.errors import SynthgapError
from synthgap.evaluation import INTERVAL

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("item_id", "annotator", "label")


# ----------------------------------------------------------------------------------------------------------- checking


def checked(annotations: pd.DataFrame, labels: Sequence[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Annotations without repeats and contradictions, and how many were left out, by reason.

    An annotator's second identical answer counts once. An annotator who gives an item two different labels has given
    none: all answers of that annotator to that item are left out and counted.

    Raises:
        SynthgapError: a column is missing, a cell is empty, or a label is none of the task's.
    """
    missing = [name for name in COLUMNS if name not in annotations.columns]
    if missing:
        raise SynthgapError(f"annotations need the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
    rows = annotations.reset_index(drop=True)
    empty = rows[list(COLUMNS)].isna() | rows[list(COLUMNS)].astype(str).apply(lambda cells: cells.str.strip().eq(""))
    if empty.any(axis=None):
        place = int(np.flatnonzero(empty.any(axis=1))[0]) + 1
        raise SynthgapError(
            f"annotations: row {place} has an empty {' or '.join(empty.columns[empty.iloc[place - 1]])}"
        )
    unknown = rows[~rows["label"].isin(labels)]
    if len(unknown):
        names = ", ".join(sorted({repr(str(label)) for label in unknown["label"]})[:3])
        raise SynthgapError(
            f"annotations: label {names} is unknown to the task (first: item '{unknown['item_id'].iloc[0]}', "
            f"{len(unknown)} rows); known: {', '.join(labels)}"
        )
    once = rows.drop_duplicates(list(COLUMNS))
    twice = once.duplicated(["item_id", "annotator"], keep=False)
    counts = {
        "repeats an answer": len(rows) - len(once),
        "contradicts the annotator's other answer": int(twice.sum()),
    }
    return once[~twice].reset_index(drop=True), {reason: count for reason, count in counts.items() if count}


# ---------------------------------------------------------------------------------------------------------- agreement


def label_counts(annotations: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """How many annotators chose each label (columns, in the order of `labels`) for each item (rows, sorted)."""
    import pandas as pd

    counts = pd.crosstab(annotations["item_id"], annotations["label"])
    return counts.reindex(columns=list(labels), fill_value=0).rename_axis(columns=None)


def item_agreement(annotations: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Index item_id; columns agreement, majority (the most frequent label; empty where two tie), annotations.

    Items with fewer than two annotations have no agreement and no row.

    Raises:
        SynthgapError: no item has two annotations, as with one annotator only.
    """
    import pandas as pd

    counts = label_counts(annotations, labels)
    counts = counts[counts.sum(axis=1) >= 2]
    if counts.empty:
        raise SynthgapError(
            f"agreement needs items with at least two annotations; there are {annotations['item_id'].nunique()} items "
            f"by {annotations['annotator'].nunique()} annotators, and none has two"
        )
    values = counts.to_numpy()
    best = values.max(axis=1)
    tied = (values == best[:, None]).sum(axis=1) > 1
    majority = np.where(tied, "", np.array(counts.columns, dtype=object)[values.argmax(axis=1)])
    total = values.sum(axis=1)
    return pd.DataFrame({"agreement": best / total, "majority": majority, "annotations": total}, index=counts.index)


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha (nominal) with a 95 % bootstrap interval over items.

    Attributes:
        alpha: NaN where it is undefined, see `note`.
        undefined_resamples: bootstrap samples in which every value was the same; they have no alpha.
        note: why alpha is undefined or 1; else empty.
    """

    alpha: float
    low: float
    high: float
    items: int
    undefined_resamples: int = 0
    note: str = ""


def krippendorff_alpha(annotations: pd.DataFrame, resamples: int = 2000, seed: int = 0) -> Alpha:
    """Nominal alpha = 1 - observed / expected disagreement (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability").

    Items with one annotation count for nothing, and annotators need not have seen the same items. Where every value
    is the same label, no disagreement can be expected and alpha is undefined; where annotators are unanimous on
    every item and labels differ between items, it is 1.
    """  # noqa: E501
    counts = label_counts(annotations, sorted(set(annotations["label"]))).to_numpy(float)
    counts = counts[counts.sum(axis=1) >= 2]
    if not len(counts):
        return Alpha(np.nan, np.nan, np.nan, 0, note="undefined: no item has two annotations")
    value = _alpha(np.ones((1, len(counts))), counts)[0]
    if np.isnan(value):
        return Alpha(np.nan, np.nan, np.nan, len(counts), note="undefined: every annotation is the same label")
    random = np.random.default_rng(seed)
    weights = random.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples).astype(float)
    draws = _alpha(weights, counts)
    low, high = np.nanpercentile(draws, INTERVAL)
    note = "1: unanimous on every item" if value == 1 else ""
    return Alpha(float(value), float(low), float(high), len(counts), int(np.isnan(draws).sum()), note)


def _alpha(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Alpha of items counted `weights` times, shape (resamples, items); `counts` has shape (items, labels)."""
    annotated = counts.sum(axis=1)
    disagreeing = (annotated**2 - (counts**2).sum(axis=1)) / (annotated - 1)  # pairs of an item that differ
    values = weights @ counts
    n = values.sum(axis=1)
    expected = (n**2 - (values**2).sum(axis=1)) / (n - 1)
    return np.where(expected > 0, 1 - (weights @ disagreeing) / np.where(expected > 0, expected, 1), np.nan)
