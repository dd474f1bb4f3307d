"""How far annotators agree: on each item, and over all items as Krippendorff's alpha.

Rows of annotations are `item_id, annotator, label`, checked by `data.annotated.check_annotations`. Agreement of an
item is the share of its annotators who chose its most frequent label, from 1/labels to 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class Estimate:
    """A number from annotations, and how it changes with the weight of each of them: its infinitesimal jackknife.

    Attributes:
        changes: an annotation a row; columns item_id, annotator; as_item and as_person: how the number changes with
            the weight of this annotation when all of its item, or all of its annotator, get another weight.
    """

    value: float
    changes: pd.DataFrame = field(repr=False)

    def parts(self, persons: bool = True) -> list[Part]:
        """The parts of its variance: over items and, unless annotators are no persons, over annotators."""
        items = self.changes.groupby("item_id")["as_item"].sum().to_numpy()
        of_items = _spread(items, len(items))
        if not persons:
            return [of_items]
        people = self.changes.groupby("annotator")[["as_item", "as_person"]].sum()
        judged = self.changes["annotator"].value_counts().to_numpy()
        as_many = judged.sum() ** 2 / float(judged @ judged)  # as so many people who judged as much each
        between = _spread(people["as_person"].to_numpy(), as_many)
        own, twice = (float(self.changes[name] @ self.changes[name]) for name in ("as_item", "as_person"))
        least = _spread(people["as_item"].to_numpy(), as_many).variance
        return [of_items, Part(max(between.variance - twice + own, least), between.df)]


def weighted_sum(estimates: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """The sum of estimates that may share items and annotators, each times its weight."""
    value = sum(weight * one.value for one, weight in zip(estimates, weights, strict=True))
    scaled = [
        one.changes.assign(as_item=weight * one.changes["as_item"], as_person=weight * one.changes["as_person"])
        for one, weight in zip(estimates, weights, strict=True)
    ]
    return Estimate(value, pd.concat(scaled).groupby(["item_id", "annotator"], as_index=False, sort=False).sum())


def _spread(changes: np.ndarray, n: float) -> Part:
    return Part(float(changes @ changes) * n / (n - 1), n - 1) if n > 1 else Part(math.nan, 1)


@dataclass(frozen=True)
class _Counted:
    """Annotations of items with two or more, counted.

    Attributes:
        counts: shape (items, labels).
        item, label: places in `counts`, of each annotation.
        m, same: annotations of the annotation's item, and those of them with its label; shape (annotations,).
    """

    rows: pd.DataFrame
    counts: np.ndarray
    item: np.ndarray
    label: np.ndarray
    m: np.ndarray
    same: np.ndarray

    @classmethod
    def of(cls, annotations: pd.DataFrame) -> "_Counted":
        rows = annotations[annotations.groupby("item_id")["label"].transform("size") >= 2]
        item, label = (pd.factorize(rows[name])[0] for name in ("item_id", "label"))
        counts = np.zeros((item.max(initial=-1) + 1, label.max(initial=-1) + 1))
        np.add.at(counts, (item, label), 1)
        return cls(rows[["item_id", "annotator"]], counts, item, label, counts.sum(axis=1)[item], counts[item, label])

    def estimate(self, value: float, as_item: np.ndarray, as_person: np.ndarray) -> Estimate:
        return Estimate(float(value), self.rows.assign(as_item=as_item, as_person=as_person))


def mean_agreement(annotations: pd.DataFrame) -> Estimate:
    """The mean over items of the share of annotators who chose the most frequent label.

    A person's weight counts in the items that the person judged, and in the share of each.

    Raises:
        SynthgapError: no item has two annotations.
    """
    counted = _Counted.of(annotations)
    if not len(counted.counts):
        raise SynthgapError("agreement needs items with at least two annotations, and there are none")
    most = counted.counts.max(axis=1, keepdims=True)
    share = (most[:, 0] / counted.counts.sum(axis=1))[counted.item]
    modes = counted.counts == most
    with_most = (modes / modes.sum(axis=1, keepdims=True))[counted.item, counted.label]
    n, m = len(counted.counts), counted.m
    mean = float((share / m).sum() / n)
    as_item = (share - mean) / (m * n)
    as_person = 2 * as_item + (with_most - share) / (m * n)
    return counted.estimate(mean, as_item, as_person)


def krippendorff_alpha(annotations: pd.DataFrame, persons: bool = True) -> Alpha:
    """Nominal alpha = 1 - observed / expected disagreement.

    Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability". Items with one annotation count for nothing, and
    annotators need not have seen the same items. Where every value is the same label, no disagreement can be expected
    and alpha is undefined; where annotators are unanimous on every item and labels differ between items, it is 1.

    Args:
        persons: whether an annotator is the same one on every item, so that other annotators might have agreed more or
            less and the interval is over items and annotators. Else the interval is over items alone.
    """
    found = log_disagreement(annotations)
    if not isinstance(found, Estimate):
        return found
    low, high = 1 - np.exp(interval(found.value, found.parts(persons))[::-1])
    items = found.changes["item_id"].nunique()
    return Alpha(1 - math.exp(found.value), float(low), float(high), items)


def log_disagreement(annotations: pd.DataFrame) -> Estimate | Alpha:
    """log(1 - alpha), of observed over expected disagreement; where it has no value, the alpha that says why."""
    counted = _Counted.of(annotations)
    counts, item, label, m, same = counted.counts, counted.item, counted.label, counted.m, counted.same
    if not len(counts):
        return Alpha(note="undefined: no item has two annotations")
    annotated, values = counts.sum(axis=1), counts.sum(axis=0)
    differing = annotated**2 - (counts**2).sum(axis=1)  # pairs of annotations of an item
    observed, total = (differing / (annotated - 1)).sum(), values.sum()
    if not (pairs := total**2 - values @ values):
        return Alpha(items=len(counts), note="undefined: every annotation is the same label")
    if not observed:
        return Alpha(1.0, items=len(counts), note="1: unanimous on every item")
    as_item = (2 * m * (m - same) - differing[item]) / (m * (m - 1)) / observed - 2 * (total - values[label]) / pairs
    # a person's weight counts in every pair with another: the pair's share of its item's values goes with it
    others = ((counts[item] @ values) - values[label]) / (m - 1)  # what the item's other annotations weigh in `values`
    as_person = 2 * (m - same) / (m - 1) / observed - 2 * (2 * total - values[label] - others) / pairs
    value = math.log(observed * (total - 1) / pairs)
    return counted.estimate(value, as_item - as_item.mean(), as_person - as_person.mean())
