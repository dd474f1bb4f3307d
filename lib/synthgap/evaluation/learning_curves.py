"""Learning curves: the score against the number of training texts, and how many real texts a synthetic one is worth.

The predictions of a learning curve are named by corpus and texts per label, as in "real 25"; all share the test items.
What the worth is counted in are the texts of the comparison's reference, whose points come first.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import isotonic_regression

from synthgap.core.terminal import Progress
from synthgap.evaluation.gaps import Scored, add_spreads, inferred, parts_of, scores_of
from synthgap.evaluation.inference import LEVEL, Part, interval
from synthgap.evaluation.scores import METRIC
from synthgap.tables import bounded
from synthgap.training.predictions import Predictions

STEPS = 40  # sizes that are tried between two points of the reference's curve
PLACE = ["task", "classifier", "corpus", "texts_per_label"]
INTERVALS = ["low", "high", "new_low", "new_high"]
POINT_COLUMNS = [*PLACE, "n_train", "seeds", "recordings", METRIC, *(f"{METRIC}_{end}" for end in INTERVALS)]
WORTH_COLUMNS = [*PLACE, "seeds", "recordings", "worth", *INTERVALS, "least", "most", "bound"]
OVER_TASKS_COLUMNS = ["classifier", "corpus", "tasks", "median_least", "median_most", "low", "high"]


def curve_tables(
    predictions: Sequence[Predictions], resamples: int = 2000, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The curves' points, and what a synthetic text is worth at each size; both tidy, with 95 % intervals.

    The first has POINT_COLUMNS, the second WORTH_COLUMNS: `worth` is 0 or infinite where the reference's curve, which
    can tell it from `least` to `most`, does not reach the score, and so are ends of its intervals; `bound` says so in
    words. Its `seeds` are the fewest runs of a point that it rests on. Intervals are made as those of Table 1 are.
    """
    curves = [_points(one, resamples, seed) for one in Progress(predictions, desc="learning curves")]
    for classifier in dict.fromkeys(one.classifier for one in predictions):
        _add_spreads([curve for one, curve in zip(predictions, curves, strict=True) if one.classifier == classifier])
    points, worths = [], []
    for one, curve in zip(predictions, curves, strict=True):
        for (corpus, size), scored in curve.items():
            row = (one.n_train[f"{corpus} {size}"], len(scored.runs), scored.n_recordings, scored.mean)
            ends = [inferred(scored.mean, parts_of([scored], new))[:2] for new in (False, True)]
            points.append((one.task, one.classifier, corpus, size, *row, *np.clip(ends, 0, 100).ravel()))
        worths += [(one.task, one.classifier, *row) for row in _worths(curve)]
    return pd.DataFrame(points, columns=POINT_COLUMNS), pd.DataFrame(worths, columns=WORTH_COLUMNS)


Curve = dict[tuple[str, int], Scored]  # by corpus and texts per label


def _points(one: Predictions, resamples: int, seed: int) -> Curve:
    curve = {}
    for (name, metric), scored in scores_of(one, resamples, seed).items():
        corpus, _, size = name.rpartition(" ")
        if metric == METRIC:
            curve[corpus, int(size)] = scored
    return curve


def _add_spreads(curves: Sequence[Curve]) -> None:
    """Give the points what they vary with; tasks tell of each other at the same place in their order of sizes."""
    ranked = []
    for curve in curves:
        sizes = sorted({size for _, size in curve})
        ranked.append({(corpus, str(sizes.index(size))): scored for (corpus, size), scored in curve.items()})
    add_spreads(ranked)
    for curve, tasks in zip(curves, ranked, strict=True):
        curve.update(zip(list(curve), tasks.values(), strict=True))


# -------------------------------------------------------------------------------------------------------------- worth


def _worths(curve: Mapping[tuple[str, int], Scored]) -> Iterator[tuple[Any, ...]]:
    """Rows of WORTH_COLUMNS from the corpus on, for the points of the other corpora than the reference, by size."""
    reference = next(iter(curve))[0] if curve else ""
    sizes = np.array(sorted(size for corpus, size in curve if corpus == reference))
    real = [curve[reference, size] for size in sizes]
    for corpus in dict.fromkeys(name for name, _ in curve if name != reference):
        for size in sorted(size for name, size in curve if name == corpus):
            point = curve[corpus, size]
            texts = float(real_texts(sizes, np.array([one.mean for one in real]), point.mean))
            new = real_texts_interval(sizes, real, point, new=True) if point.spreads.new else (np.nan, np.nan)
            found = np.array([texts, *real_texts_interval(sizes, real, point), *new, sizes[0], sizes[-1]]) / size
            seeds = min(len(one.runs) for one in (*real, point))
            yield corpus, size, seeds, point.n_recordings, *found, _bound(texts, sizes, reference)


def real_texts(sizes: np.ndarray, scores: np.ndarray, wanted: float) -> float:
    """How many real texts per label give the wanted score, on the real curve made monotone; linear in the size's log.

    Below the curve's first point the answer is 0, above its last one infinity: the curve does not say more.

    Args:
        sizes: shape (points,), ascending.
        scores: the real curve's, shape (points,).
    """
    rising = isotonic_regression(scores).x
    if wanted < rising[0]:
        return 0.0
    if wanted > rising[-1]:
        return math.inf
    at = int(np.searchsorted(rising, wanted))  # the first point that reaches it
    around = slice(max(at - 1, 0), at + 1)
    return float(np.exp(np.interp(wanted, rising[around], np.log(sizes)[around])))


def real_texts_interval(
    sizes: np.ndarray, real: Sequence[Scored], point: Scored, new: bool = False
) -> tuple[float, float]:
    """From how few to how many real texts per label give a score that cannot be told from the point's.

    A test is inverted, as in Fieller (1954): sizes are tried one by one, and the real score at each, on the curve made
    monotone, is compared with the point's by the t interval of their difference. Where the curve's first point cannot
    be told from it the answer begins at 0, where its last one cannot it has no end.

    Args:
        sizes: shape (points,), ascending; `real` are the scores at them.
        new: for new recordings of the point's corpus, which has several.
    """
    scores, places, logs = np.array([one.mean for one in real]), np.arange(len(sizes)), np.log(sizes)
    tried = np.interp(np.linspace(0, places[-1], STEPS * places[-1] + 1), places, logs)
    shares = np.stack([np.interp(tried, logs, corner) for corner in np.eye(len(sizes))], axis=1)
    differences = shares @ isotonic_regression(scores).x - point.mean
    items = np.cov([one.resampled for one in (*real, point)])
    spreads = [*(one.spreads.these for one in real), (point.spreads.new if new else None) or point.spreads.these]

    def alike(difference: float, weights: np.ndarray) -> bool:
        training = [part.times(weight**2) for weight, own in zip(weights, spreads, strict=True) for part in own]
        low, high = interval(difference, [Part(float(weights @ items @ weights)), *training])
        return low <= 0 <= high

    same = [alike(*one) for one in zip(differences, np.insert(shares, len(sizes), -1, axis=1), strict=True)]
    found = [real_texts(sizes, scores, point.mean), *np.exp(tried[same])]
    return 0.0 if same[0] else float(min(found)), math.inf if same[-1] else float(max(found))


def _bound(texts: float, sizes: np.ndarray, reference: str) -> str:
    """What is known where the reference's curve does not reach the score."""
    if texts == 0:
        return f"worse than {sizes[0]} {reference} texts per label"
    return f"better than {sizes[-1]} {reference} texts per label" if np.isinf(texts) else ""


# ---------------------------------------------------------------------------------------------------------- over tasks


def at_one_size(worth: pd.DataFrame) -> pd.DataFrame:
    """The rows of each task and classifier at one size, at which they may be compared; none that rests on one seed.

    It is the size at which the corpora have the most recordings and, of several, the one in the middle of the curve,
    which leaves room on both sides.
    """
    known = worth[worth["seeds"] > 1]
    distance = np.log(known["least"] * known["most"]).abs().round(9)
    order, ascending = ["recordings", "distance", "texts_per_label"], [False, True, True]
    sizes = known.assign(distance=distance).sort_values(order, ascending=ascending, kind="stable")
    chosen = sizes.groupby(["task", "classifier"], sort=False)["texts_per_label"].transform("first")
    return known[known["texts_per_label"] == chosen.reindex(known.index)].reset_index(drop=True)


def worth_over_tasks(worth: pd.DataFrame) -> pd.DataFrame:
    """The median over tasks of each classifier's and corpus's worth, with a 95 % interval; OVER_TASKS_COLUMNS.

    Where only bounds of some tasks are known, the median lies from median_least to median_most. The interval is that
    of the sign test, from one place in the order of tasks to another: it takes tasks for a sample and needs 6 of them.

    Args:
        worth: one row for each task, as `at_one_size` gives them.
    """
    rows = []
    for key, of_tasks in worth.groupby(["classifier", "corpus"], sort=False):
        least, most = (np.sort(end) for end in _known(of_tasks["worth"], of_tasks["least"], of_tasks["most"]))
        at = int(stats.binom.ppf((1 - LEVEL) / 2, len(of_tasks), 0.5))
        ends = (least[at - 1], most[-at]) if at else (np.nan, np.nan)
        rows.append((*key, len(of_tasks), np.median(least), np.median(most), *ends))
    return pd.DataFrame(rows, columns=OVER_TASKS_COLUMNS)


def _known(values: pd.Series, least: pd.Series, most: pd.Series) -> tuple[pd.Series, pd.Series]:
    """From where to where values lie; beyond `least` and `most` they are known as 0 and infinity."""
    return values.mask(values == np.inf, most), values.mask(values == 0, least)


# ------------------------------------------------------------------------------------------------------------ in words


def worth_in_words(worth: pd.DataFrame) -> pd.DataFrame:
    """The worth for people: "0.56 [0.31, 1.20]", and "< 0.20" or "> 4.00" where the real curve says no more."""
    limits = worth["least"], worth["most"]
    words = {
        name: [bounded(*ends) for ends in zip(*_known(worth[name], *limits), strict=True)]
        for name in ("worth", *INTERVALS)
    }
    shown = worth[[*PLACE, "seeds", "recordings"]].copy()
    cells = zip(words["worth"], words["low"], words["high"], strict=True)
    shown["worth [95 % interval]"] = [f"{value} [{low}, {high}]" for value, low, high in cells]
    if worth["new_low"].notna().any():
        cells = zip(worth["new_low"].isna(), words["new_low"], words["new_high"], strict=True)
        shown["for new recordings"] = ["–" if unknown else f"[{low}, {high}]" for unknown, low, high in cells]
    return shown.assign(bound=worth["bound"].replace("", "–"))


def over_tasks_in_words(medians: pd.DataFrame) -> pd.DataFrame:
    """`worth_over_tasks` for people: "0.35 [0.10, 0.80]"; a dash where too few tasks give no interval."""
    cells = []
    for row in medians.itertuples():
        low, high = ({0: "0", np.inf: "no end"}.get(end, f"{end:.2f}") for end in (row.low, row.high))
        within = f"[{low}, {high}]" if row.low == row.low else "–"
        cells.append(f"{bounded(row.median_least, row.median_most)} {within}")
    return medians[OVER_TASKS_COLUMNS[:3]].assign(**{"median worth [95 % interval]": cells})
