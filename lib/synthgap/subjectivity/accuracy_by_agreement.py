"""Accuracy against agreement: the paper's threshold curves, what chance alone would give, and a model of both causes.

Agreement lies between 0 and 1, accuracy is in percent. Arrays `agreement`, `gold` and `correct` have shape (items,);
`correct` is the share of seeds whose run was right.
"""

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import linregress, sem, spearmanr
from statsmodels.genmod.families import Binomial, Gaussian
from statsmodels.genmod.generalized_linear_model import GLM

from synthgap.evaluation.gaps import holm_corrected
from synthgap.evaluation.inference import Part, interval, p_value, training_spreads
from synthgap.evaluation.scores import INTERVAL
from synthgap.subjectivity.agreement_sources import kind_of
from synthgap.tables import stacked
from synthgap.training.predictions import Predictions

FEWEST_ITEMS = 20  # for a model that is worth printing
STEP = 0.1  # slopes, effects and odds ratios are for so much more agreement
NO_ROOM = 15.0  # logits over the whole range of agreement, beyond which the data are separable
BLOCK = 1000  # reassignments held in memory at a time
ONE_AGREEMENT = "all items have the same agreement"
KEY = ["task", "source", "classifier"]
CURVE_COLUMNS = [*KEY, "corpus", "threshold", "items", "accuracy", "null_low", "null_high", "above_chance"]
FIT_COLUMNS = [*KEY, "corpus", "items", "points", "slope", "r2", "rho", "above_chance", "p", "p_holm", "note"]
MODEL_COLUMNS = [
    *(*KEY, "items", "term", "odds_ratio", "low", "high", "p", "p_holm"),
    *("effect", "effect_low", "effect_high", "effect_p", "effect_p_holm", "recordings", "note"),
]


@dataclass(frozen=True)
class PredictedItems:
    """Items of one source with their agreement, and which runs of one classifier were right about them.

    Attributes:
        ids: shape (items,), sorted.
        gold: the label that counts as right.
        right: {corpus: shape (seeds, items)}, 1 or 0; the reference first.
        not_predicted: how many items of the source no run predicted; they are left out.
        recordings: {corpus: which recording each run was trained on, shape (seeds,)}; all of one where it is not named.
    """

    task: str
    source: str
    classifier: str
    ids: np.ndarray
    agreement: np.ndarray
    gold: np.ndarray
    right: Mapping[str, np.ndarray] = field(repr=False)
    not_predicted: int = 0
    recordings: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def correct(self) -> dict[str, np.ndarray]:
        return {corpus: runs.mean(axis=0) for corpus, runs in self.right.items()}

    def recording_of(self, corpus: str) -> np.ndarray:
        """The recording of each run, shape (seeds,)."""
        return self.recordings.get(corpus, np.ones(len(self.right[corpus]), int))

    def row(self, **columns: Any) -> dict[str, Any]:
        """A row of a table about these items."""
        return {"task": self.task, "source": self.source, "classifier": self.classifier, **columns}


def match_predictions(items: pd.DataFrame, predictions: Mapping[str, Sequence[Predictions]]) -> list[PredictedItems]:
    """What every classifier predicted for the items of every source; sources without a predicted item are left out.

    `items` is made by `item_table`; the predictions are {"test": ..., "annotated": ...}, of `load_predictions`.
    """
    matched = []
    for (task, source, kind), rows in items.groupby(["task", "source", "predictions"], sort=False):
        for one in predictions[kind]:
            own = rows[rows["item_id"].isin(one.ids)].sort_values("item_id")
            if one.task == task and len(own):
                ids, agreement, gold = (own[name].to_numpy() for name in ("item_id", "agreement", "gold"))
                places, labels = pd.Index(one.ids).get_indexer(ids), own["gold"].map(one.labels.index).to_numpy()
                right = {corpus: (runs[:, places] == labels).astype(float) for corpus, runs in one.predicted.items()}
                about = (task, source, one.classifier)
                counts = len(rows) - len(own)
                matched.append(PredictedItems(*about, ids, agreement, gold, right, counts, one.recordings))
    return matched


def threshold_curve(agreement: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
    """Columns threshold, items, accuracy: for each distinct agreement, of the items with at least that agreement."""
    thresholds = np.unique(agreement)
    chosen = agreement >= thresholds[:, None]
    items = chosen.sum(axis=1)
    return pd.DataFrame({"threshold": thresholds, "items": items, "accuracy": 100 * (chosen @ correct) / items})


@dataclass(frozen=True)
class Band:
    """What a threshold curve does where agreement says nothing beyond the class of an item, and how far it is from it.

    Attributes:
        low, high: shape (thresholds,); 95 % of curves with agreement reassigned at random within each class.
        expected: shape (thresholds,); the mean of all such curves.
        above: how high the curve runs above `expected`, in points: the mean over the range of agreement, each threshold
            counting with the items that are left.
        p: two-sided; of `above`, against the same reassignments.
    """

    low: np.ndarray
    high: np.ndarray
    expected: np.ndarray
    above: float
    p: float


def null_band(agreement: np.ndarray, correct: np.ndarray, gold: np.ndarray, permutations: int, seed: int) -> Band:
    """The band of curves under random reassignment of agreement within each class.

    Summed over thresholds with the items that are left, a curve is the covariance of agreement and being right.
    """
    random = np.random.default_rng(seed)
    chosen = (agreement >= np.unique(agreement)[:, None]).astype(float)
    weights = np.vstack([chosen / chosen.sum(axis=1, keepdims=True), agreement - agreement.min()])
    weights[-1] /= weights[-1].sum() or 1
    *expected, centre = weights @ pd.Series(correct).groupby(gold).transform("mean").to_numpy()
    parts = []
    for start in range(0, permutations, BLOCK):
        # `correct` in another order within each class: the same as other agreement for each item
        shuffled = np.empty((min(BLOCK, permutations - start), len(correct)))
        for label in np.unique(gold):
            own = correct[gold == label]
            shuffled[:, gold == label] = random.permuted(np.tile(own, (len(shuffled), 1)), axis=1)
        parts.append(shuffled @ weights.T)
    *curves, heights = np.concatenate(parts).T
    low, high = np.percentile(100 * np.array(curves), INTERVAL, axis=1)
    above = float(weights[-1] @ correct - centre)
    as_far = np.abs(heights - centre) >= abs(above) - 1e-9
    p = (1 + as_far.sum()) / (permutations + 1)
    return Band(low, high, 100 * np.array(expected), _plain(100 * above), float(p))


def _plain(value: float) -> float:
    """Without what arithmetic leaves of a 0, which has another sign on another machine, and without a -0.0."""
    return round(float(value), 10) + 0.0


@dataclass(frozen=True)
class Fit:
    """A straight line through a curve's points, and their rank correlation; NaN where there is none.

    Attributes:
        slope: points of accuracy for 0.1 of agreement.
        note: why there is no line; else empty.
    """

    points: int
    slope: float = np.nan
    r2: float = np.nan
    rho: float = np.nan
    note: str = ""


def fit_curve(threshold: np.ndarray, accuracy: np.ndarray) -> Fit:
    """Least squares and Spearman's rho, as in the paper's figure.

    A curve's points share most of their items, so R^2 and rho are high even by chance: the band is the test.
    """
    points = len(threshold)
    too_few = {1: ONE_AGREEMENT, 2: "two thresholds only: a line through them always fits"}
    if points in too_few or np.ptp(accuracy) == 0:
        return Fit(points, note=too_few.get(points, "the same accuracy at every threshold"))
    line = linregress(threshold, accuracy)
    values = (STEP * line.slope, line.rvalue**2, spearmanr(threshold, accuracy)[0])
    slope, r2, rho = map(_plain, values)
    return Fit(points, slope, r2, rho)


def curves_and_fits(
    matched: Sequence[PredictedItems], permutations: int = 2000, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every curve with its band, and a fit for each; columns as CURVE_COLUMNS and FIT_COLUMNS.

    above_chance is, of curves, the accuracy less what random reassignment of agreement within each class gives, and, of
    fits, how high the curve runs above that; p is of the latter, and p_holm corrected over a kind of source.
    """
    curves, fits = [], []
    for one in matched:
        for corpus, correct in one.correct.items():
            curve = threshold_curve(one.agreement, correct)
            band = null_band(one.agreement, correct, one.gold, permutations, seed)
            fit = fit_curve(curve["threshold"].to_numpy(), curve["accuracy"].to_numpy())
            key = one.row(corpus=corpus)
            above = (curve["accuracy"] - band.expected).map(_plain)
            curves.append(curve.assign(**key, null_low=band.low, null_high=band.high, above_chance=above))
            test = {"above_chance": band.above, "p": band.p} if fit.points > 1 else {}
            fits.append({**key, "items": len(one.ids), **vars(fit), **test})
    return stacked(curves, CURVE_COLUMNS), _holm(fits, FIT_COLUMNS)


def _holm(rows: Sequence[Mapping[str, Any]], columns: list[str], tests: Sequence[str] = ("p",)) -> pd.DataFrame:
    """The rows as a table whose p-values are Holm-corrected: all tests of a kind of source are one family."""
    table = pd.DataFrame(rows, columns=columns)
    table["kind"] = table["source"].map(kind_of)
    for p in tests:
        table = holm_corrected(table, ["kind"], p)
    return table[columns]


# -------------------------------------------------------------------------------------------------------------- models


@dataclass(frozen=True)
class _Scale:
    """A scale that effects are told on.

    Attributes:
        name: of the column of estimates.
        prefix: of the columns of their intervals and p.
        shown: the number that is shown of a slope.
    """

    name: str
    prefix: str
    family: Any
    shown: Callable[[float], float]


SCALES = (
    _Scale("odds_ratio", "", Binomial(), np.exp),
    _Scale("effect", "effect_", Gaussian(), lambda slope: 100 * slope),  # points of accuracy
)


@dataclass(frozen=True)
class _Slope:
    """How being right rises with agreement within the classes, of one corpus, and what that varies with.

    Attributes:
        items: what each item adds to it, shape (items,); the sum of their squares is its variance over items, in which
            that over runs item by item (`noise`) is contained.
        runs: that of every run alone, shape (runs,); their mean is `value`.
        recordings: which recording each run was trained on, shape (runs,).
        parts: of its variance, beside that over items.
    """

    value: float
    items: np.ndarray
    runs: np.ndarray
    recordings: np.ndarray
    noise: float
    parts: Sequence[Part] = ()

    def steeper_than(self, other: "_Slope") -> "_Slope":
        """The difference, paired on the items."""
        value, items, noise = self.value - other.value, self.items - other.items, self.noise + other.noise
        return replace(self, value=value, items=items, noise=noise, parts=(*self.parts, *other.parts))

    def tested(self, scale: _Scale) -> dict[str, float]:
        """Columns of a table: the slope with its interval and p."""
        of_items = max(0.0, float(self.items @ self.items) - self.noise)
        parts, shown = [Part(of_items), *self.parts], scale.shown
        low, high = map(shown, interval(self.value, parts))
        columns = {"low": low, "high": high, "p": p_value(self.value, parts)}
        return {scale.name: shown(self.value), **{scale.prefix + name: value for name, value in columns.items()}}


_Slopes = dict[tuple[str, str], _Slope]  # by scale and corpus


def agreement_models(matched: Sequence[PredictedItems]) -> pd.DataFrame:
    """How much more often items with more agreement are predicted right, for every source and classifier.

    Odds ratios are of a logistic model; effects, in points of accuracy, of a linear one. Every class has its own level
    in every corpus, since classes differ in agreement and classifiers favour classes. Columns as MODEL_COLUMNS, for 0.1
    more agreement. "agreement" is of the reference corpus: above 1, or above 0 points, unanimous items are easier for
    a classifier trained on it. "<corpus> x agreement" is how much more so in another corpus: above 1, or above 0
    points, it loses more on items that people disagree on. Intervals hold items, draws and seeds, and new recordings
    of a corpus that has several.
    """
    notes = [_no_model(one) for one in matched]
    fitted = _with_parts(matched, [{} if note else _fit(one) for one, note in zip(matched, notes, strict=True)])
    rows = []
    for one, slopes, reason in zip(matched, fitted, notes, strict=True):
        note = reason or ("" if slopes else "separable: being right follows from agreement")
        reference = next(iter(one.right))
        for corpus in one.right:
            term = "agreement" if corpus == reference else f"{corpus} x agreement"
            row = one.row(items=len(one.ids), term=term, recordings=len(np.unique(one.recording_of(corpus))), note=note)
            for scale in SCALES if slopes else ():
                slope, base = slopes[scale.name, corpus], slopes[scale.name, reference]
                row |= (slope if corpus == reference else slope.steeper_than(base)).tested(scale)
            rows.append(row)
    return _holm(rows, MODEL_COLUMNS, ("p", "effect_p"))


def _no_model(one: PredictedItems) -> str:
    """Why no model can be had of these items; empty where nothing is in its way."""
    if len(one.ids) < FEWEST_ITEMS:
        return f"fewer than {FEWEST_ITEMS} items"
    if np.ptp(one.agreement) == 0:
        return ONE_AGREEMENT
    if any(np.ptp(correct) == 0 for correct in one.correct.values()):
        return "trained on one corpus, a classifier is right, or wrong, on every item"
    return ""


def _fit(one: PredictedItems) -> _Slopes:
    """The slopes on every scale for every corpus; none where the data are separable."""
    slopes = {(scale.name, corpus): _slope(one, corpus, scale.family) for scale in SCALES for corpus in one.right}
    logits = [slope for (scale, _), slope in slopes.items() if scale == "odds_ratio"]
    steepest = max(max(abs(slope.value), float(np.linalg.norm(slope.items))) for slope in logits)
    return slopes if steepest <= NO_ROOM * STEP / np.ptp(one.agreement) else {}


def _slope(one: PredictedItems, corpus: str, family: Any) -> _Slope:
    """The slope of a generalised linear model of being right with a level for each class.

    What each item of each run adds to it is its residual times what the model makes of one; summed over the items of a
    run it is, in a linear model, how far that run's own slope is from that of all, and in a logistic one nearly.
    """
    right = one.right[corpus]
    step = (one.agreement - one.agreement.mean()) / STEP
    design = np.column_stack([step, pd.get_dummies(one.gold, dtype=float)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # separation is told by the size of the coefficients
        fitted = GLM(right.mean(axis=0), design, family).fit()
    slope, (n_items, n_levels) = float(fitted.params[0]), design.shape
    added = (right - fitted.fittedvalues) * (design @ fitted.normalized_cov_params[0])
    few = (n_items / (n_items - n_levels)) ** 0.5
    items = few * added.mean(axis=0)
    noise = float((few * sem(added)) @ (few * sem(added))) if len(added) > 1 else 0.0
    return _Slope(slope, items, slope + added.sum(axis=1), one.recording_of(corpus), noise)


def _with_parts(matched: Sequence[PredictedItems], fitted: Sequence[_Slopes]) -> list[_Slopes]:
    """The slopes with what they vary with beside the items, moderated over the tasks of a kind of source.

    Slopes on few items vary more with the runs, too, so they are compared in units of their standard error over items.
    """
    groups = defaultdict[tuple[str, str, str, str], list[int]](list)
    for place, (one, slopes) in enumerate(zip(matched, fitted, strict=True)):
        for scale, corpus in slopes:
            groups[kind_of(one.source), one.classifier, scale, corpus].append(place)
    complete: list[_Slopes] = [{} for _ in fitted]
    for (_, _, scale, corpus), places in groups.items():
        own = [fitted[place][scale, corpus] for place in places]
        errors = [float(np.linalg.norm(slope.items)) for slope in own]
        runs = [slope.runs / error for slope, error in zip(own, errors, strict=True)]
        spreads = training_spreads(runs, [slope.recordings for slope in own])
        for place, slope, error, spread in zip(places, own, errors, spreads, strict=True):
            parts = [part.times(error**2) for part in (spread.these if spread.new is None else spread.new)]
            complete[place][scale, corpus] = replace(slope, parts=parts)
    return complete
