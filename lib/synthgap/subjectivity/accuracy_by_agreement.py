"""Accuracy against agreement: the paper's threshold curves, what chance alone would give, and a model of both causes.

Agreement lies between 0 and 1, accuracy is in percent. Arrays `agreement`, `gold` and `correct` have shape (items,);
`correct` is the share of seeds whose run was right.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from scipy.stats import linregress, spearmanr
from statsmodels.genmod.families import Binomial

from synthgap.evaluation.gaps import holm_corrected
from synthgap.evaluation.scores import INTERVAL
from synthgap.subjectivity.agreement_sources import kind_of
from synthgap.subjectivity.tables import stacked
from synthgap.training.predictions import Predictions

FEWEST_ITEMS = 20  # for a model that is worth printing
STEP = 0.1  # slopes and odds ratios are for so much more agreement
NO_ROOM = 15.0  # logits over the whole range of agreement, beyond which the data are separable
BLOCK = 1000  # reassignments held in memory at a time
ONE_AGREEMENT = "all items have the same agreement"
KEY = ["task", "source", "classifier"]
CURVE_COLUMNS = [*KEY, "corpus", "threshold", "items", "accuracy", "null_low", "null_high"]
FIT_COLUMNS = [*KEY, "corpus", "items", "points", "slope", "r2", "rho", "p", "p_holm", "note"]
MODEL_COLUMNS = [*KEY, "items", "term", "odds_ratio", "low", "high", "p", "p_holm", "note"]


@dataclass(frozen=True)
class PredictedItems:
    """Items of one source with their agreement, and which runs of one classifier were right about them.

    Attributes:
        ids: shape (items,), sorted.
        gold: the label that counts as right.
        right: {corpus: shape (seeds, items)}, 1 or 0; the reference first.
        not_predicted: how many items of the source no run predicted; they are left out.
    """

    task: str
    source: str
    classifier: str
    ids: np.ndarray
    agreement: np.ndarray
    gold: np.ndarray
    right: Mapping[str, np.ndarray] = field(repr=False)
    not_predicted: int = 0

    @property
    def correct(self) -> dict[str, np.ndarray]:
        return {corpus: runs.mean(axis=0) for corpus, runs in self.right.items()}

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
                matched.append(PredictedItems(*about, ids, agreement, gold, right, len(rows) - len(own)))
    return matched


def threshold_curve(agreement: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
    """Columns threshold, items, accuracy: for each distinct agreement, of the items with at least that agreement."""
    thresholds = np.unique(agreement)
    chosen = agreement >= thresholds[:, None]
    items = chosen.sum(axis=1)
    return pd.DataFrame({"threshold": thresholds, "items": items, "accuracy": 100 * (chosen @ correct) / items})


@dataclass(frozen=True)
class Band:
    """What a threshold curve does where agreement says nothing.

    Attributes:
        low, high: shape (thresholds,); 95 % of curves with agreement reassigned at random within each class.
        p: two-sided; of the covariance of agreement and being right, against the same reassignments.
    """

    low: np.ndarray
    high: np.ndarray
    p: float


def null_band(agreement: np.ndarray, correct: np.ndarray, gold: np.ndarray, permutations: int, seed: int) -> Band:
    """The band of curves under random reassignment of agreement within each class."""
    random = np.random.default_rng(seed)
    chosen = (agreement >= np.unique(agreement)[:, None]).astype(float)
    weights = np.vstack([chosen / chosen.sum(axis=1, keepdims=True), agreement - agreement.mean()])
    parts = []
    for start in range(0, permutations, BLOCK):
        # `correct` in another order within each class: the same as other agreement for each item
        shuffled = np.empty((min(BLOCK, permutations - start), len(correct)))
        for label in np.unique(gold):
            own = correct[gold == label]
            shuffled[:, gold == label] = random.permuted(np.tile(own, (len(shuffled), 1)), axis=1)
        parts.append(shuffled @ weights.T)
    *curves, covariance = np.concatenate(parts).T
    low, high = np.percentile(100 * np.array(curves), INTERVAL, axis=1)
    centre = covariance.mean()
    as_far = np.abs(covariance - centre) >= abs(weights[-1] @ correct - centre) - 1e-9
    return Band(low, high, float((1 + as_far.sum()) / (permutations + 1)))


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
    # what arithmetic leaves of a 0 has another sign on another machine; adding 0.0 makes -0.0 a plain 0
    slope, r2, rho = (round(float(value), 10) + 0.0 for value in values)
    return Fit(points, slope, r2, rho)


def curves_and_fits(
    matched: Sequence[PredictedItems], permutations: int = 2000, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every curve with its band, and a fit for each; columns as CURVE_COLUMNS and FIT_COLUMNS.

    p_holm is corrected over the tasks of a kind of source within classifier and corpus.
    """
    curves, fits = [], []
    for one in matched:
        for corpus, correct in one.correct.items():
            curve = threshold_curve(one.agreement, correct)
            band = null_band(one.agreement, correct, one.gold, permutations, seed)
            fit = fit_curve(curve["threshold"].to_numpy(), curve["accuracy"].to_numpy())
            key = one.row(corpus=corpus)
            curves.append(curve.assign(**key, null_low=band.low, null_high=band.high))
            fits.append({**key, "items": len(one.ids), **vars(fit), "p": band.p if fit.points > 1 else np.nan})
    return stacked(curves, CURVE_COLUMNS), _holm(fits, FIT_COLUMNS, "corpus")


def _holm(rows: Sequence[Mapping[str, Any]], columns: list[str], tested: str) -> pd.DataFrame:
    """The rows as a table with p_holm, corrected over a kind of source within classifier and what is tested."""
    table = pd.DataFrame(rows, columns=columns)
    kinds = table["source"].map(kind_of)
    return holm_corrected(table.assign(kind=kinds), ["kind", "classifier", tested])[columns]


def agreement_models(matched: Sequence[PredictedItems]) -> pd.DataFrame:
    """A logistic model of being right for every source and classifier: agreement, corpus and their interaction.

    Items are clusters (robust covariance): each was predicted after training on every corpus. Every class has its own
    level in every corpus, since classes differ in agreement and classifiers favour classes. Columns as MODEL_COLUMNS.
    Terms: "agreement" is the effect in the reference corpus, for 0.1 of agreement: above 1, unanimous items are easier
    for a classifier trained on it. "<corpus> x agreement" is how much more that is in another corpus: above 1, it
    loses more on items that people disagree on.
    """
    effects = [(one, term, effect) for one in matched for term, effect in _effects(one).items()]
    rows = [one.row(items=len(one.ids), term=term, **effect) for one, term, effect in effects]
    return _holm(rows, MODEL_COLUMNS, "term")


def _effects(one: PredictedItems) -> dict[str, dict[str, Any]]:
    """{term: odds_ratio, low, high, p, or a note on why they cannot be had}."""
    terms = {"agreement": "agreement"}
    terms |= {f"{corpus} x agreement": f"corpus[T.{corpus}]:agreement" for corpus in list(one.right)[1:]}
    if len(one.ids) < FEWEST_ITEMS:
        note = f"fewer than {FEWEST_ITEMS} items"
    elif np.ptp(one.agreement) == 0:
        note = ONE_AGREEMENT
    elif any(np.ptp(correct) == 0 for correct in one.correct.values()):
        note = "trained on one corpus, a classifier is right, or wrong, on every item"
    else:
        fitted, own = _fit_model(one), list(terms.values())
        estimates, errors = fitted.params[own], fitted.bse[own]
        if (np.maximum(estimates.abs(), errors) <= NO_ROOM * STEP / np.ptp(one.agreement)).all():  # false where NaN
            low, high = np.exp(fitted.conf_int().loc[own].to_numpy().T)
            columns = {"odds_ratio": np.exp(estimates), "low": low, "high": high, "p": fitted.pvalues[own]}
            return pd.DataFrame(columns).assign(note="").set_axis(list(terms)).to_dict("index")
        note = "separable: being right follows from agreement"
    return {term: {"note": note} for term in terms}


def _fit_model(one: PredictedItems) -> Any:
    """The fitted model of statsmodels; each item counts once per seed."""
    step = (one.agreement - one.agreement.mean()) / STEP
    about = {"agreement": step, "gold": one.gold, "item": np.arange(len(one.ids))}
    parts = [
        pd.DataFrame({"right": correct, "corpus": corpus, "seeds": len(one.right[corpus]), **about})
        for corpus, correct in one.correct.items()
    ]
    rows = pd.concat(parts, ignore_index=True)
    rows["corpus"] = pd.Categorical(rows["corpus"], list(one.right))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # separation is told by the size of the coefficients
        model = smf.glm("right ~ corpus * (agreement + gold)", rows, family=Binomial(), freq_weights=rows["seeds"])
        return model.fit(cov_type="cluster", cov_kwds={"groups": rows["item"]})
