"""How far annotators agree: on each item, and over all items as Krippendorff's alpha.

Rows of annotations are `item_id, annotator, label`, checked by `data.annotated.check_annotations`. Agreement of an
item is the share of its annotators who chose its most frequent label, from 1/labels to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthgap.core.errors import SynthgapError
from synthgap.evaluation.inference import Part, interval


def label_counts(annotations: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """How many annotators chose each label (columns, in the order of `labels`) for each item (rows, sorted).

    Items with fewer than two annotations are left out: nobody can agree or disagree on them.
    """
    counts = pd.crosstab(annotations["item_id"], annotations["label"])
    counts = counts.reindex(columns=list(labels), fill_value=0).rename_axis(columns=None)
    return counts[counts.sum(axis=1) >= 2]


def item_agreement(annotations: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """Index item_id; columns agreement, majority (the most frequent label; empty where two tie), annotations.

    Raises:
        SynthgapError: no item has two annotations, as with one annotator only.
    """
    counts = label_counts(annotations, labels)
    if counts.empty:
        raise SynthgapError(
            f"agreement needs items with at least two annotations; there are {annotations['item_id'].nunique()} items "
            f"by {annotations['annotator'].nunique()} annotators, and none has two"
        )
    most, total = counts.max(axis=1), counts.sum(axis=1)
    majority = counts.idxmax(axis=1).mask(counts.eq(most, axis=0).sum(axis=1) > 1, "")
    return pd.DataFrame({"agreement": most / total, "majority": majority, "annotations": total})


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha (nominal) with a 95 % interval.

    Attributes:
        alpha: NaN where it is undefined, see `note`.
        low, high: NaN where alpha is undefined or 1.
        note: why alpha is undefined or 1; else empty.
    """

    alpha: float = np.nan
    low: float = np.nan
    high: float = np.nan
    items: int = 0
    note: str = ""


def krippendorff_alpha(annotations: pd.DataFrame, persons: bool = True) -> Alpha:
    """Nominal alpha = 1 - observed / expected disagreement.

    Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability". Items with one annotation count for nothing, and
    annotators need not have seen the same items. Where every value is the same label, no disagreement can be expected
    and alpha is undefined; where annotators are unanimous on every item and labels differ between items, it is 1.

    Args:
        persons: whether an annotator is the same one on every item, so that other annotators might have agreed more or
            less and the interval is over items and annotators. Else the interval is over items alone.
    """
    rows = annotations[annotations.groupby("item_id")["label"].transform("size") >= 2]
    if rows.empty:
        return Alpha(note="undefined: no item has two annotations")
    item, annotator, label = (pd.factorize(rows[name])[0] for name in ("item_id", "annotator", "label"))
    counts = np.zeros((item.max() + 1, label.max() + 1))
    np.add.at(counts, (item, label), 1)
    annotated, values = counts.sum(axis=1), counts.sum(axis=0)
    differing = annotated**2 - (counts**2).sum(axis=1)  # pairs of annotations of an item
    observed, total = (differing / (annotated - 1)).sum(), values.sum()
    expected = (total**2 - values @ values) / (total - 1)
    if not expected:
        return Alpha(items=len(counts), note="undefined: every annotation is the same label")
    if not observed:
        return Alpha(1.0, items=len(counts), note="1: unanimous on every item")
    # how the logarithm of 1 - alpha changes with the weight of each annotation: its infinitesimal jackknife
    m, others = annotated[item], annotated[item] - counts[item, label]
    change = (2 * m * others - differing[item]) / (m * (m - 1)) / observed
    change -= 2 * (total - values[label]) / (total**2 - values @ values)
    change -= change.mean()
    parts = [_spread(change, item), *([_spread(change, annotator)] if persons else [])]
    low, high = 1 - np.exp(interval(math.log(observed / expected), parts)[::-1])
    return Alpha(1 - observed / expected, float(low), float(high), len(counts))


def _spread(change: np.ndarray, group: np.ndarray) -> Part:
    """The variance over items, or over annotators, from what each annotation has to do with an estimate."""
    sums = np.bincount(group, change)
    n = len(sums)
    return Part(float(sums @ sums) * n / (n - 1), n - 1) if n > 1 else Part(math.nan, 1)
