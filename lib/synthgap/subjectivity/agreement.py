"""How far annotators agree: on each item, and over all items as Krippendorff's alpha.

Rows of annotations are `item_id, annotator, label`, checked by `data.annotated.check_annotations`. Agreement of an
item is the share of its annotators who chose its most frequent label, from 1/labels to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthgap.core.errors import SynthgapError
from synthgap.evaluation.scores import INTERVAL


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
    """Krippendorff's alpha (nominal) with a 95 % bootstrap interval over items.

    Attributes:
        alpha: NaN where it is undefined, see `note`.
        undefined_resamples: bootstrap samples in which every value was the same; they have no alpha.
        note: why alpha is undefined or 1; else empty.
    """

    alpha: float = np.nan
    low: float = np.nan
    high: float = np.nan
    items: int = 0
    undefined_resamples: int = 0
    note: str = ""


def krippendorff_alpha(annotations: pd.DataFrame, resamples: int = 2000, seed: int = 0) -> Alpha:
    """Nominal alpha = 1 - observed / expected disagreement.

    Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability". Items with one annotation count for nothing, and
    annotators need not have seen the same items. Where every value is the same label, no disagreement can be expected
    and alpha is undefined; where annotators are unanimous on every item and labels differ between items, it is 1.
    """
    counts = label_counts(annotations, sorted(set(annotations["label"]))).to_numpy(float)
    n = len(counts)
    if not n:
        return Alpha(note="undefined: no item has two annotations")
    resampled = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    weights = np.vstack([np.ones(n), resampled])  # how often each item counts; first the items as they are
    annotated, values = counts.sum(axis=1), weights @ counts
    disagreeing = (annotated**2 - (counts**2).sum(axis=1)) / (annotated - 1)  # pairs of an item that differ
    total = values.sum(axis=1)
    with np.errstate(invalid="ignore"):  # 0 / 0 where every value is the same
        value, *draws = 1 - (weights @ disagreeing) / ((total**2 - (values**2).sum(axis=1)) / (total - 1))
    if np.isnan(value):
        return Alpha(items=n, note="undefined: every annotation is the same label")
    low, high = np.nanpercentile(draws, INTERVAL)
    note = "1: unanimous on every item" if value == 1 else ""
    return Alpha(float(value), float(low), float(high), n, int(np.isnan(draws).sum()), note)
