"""Accuracy against agreement: the paper's threshold curves, what chance alone would give, and a model of both causes.

Agreement lies between 0 and 1, accuracy is in percent. Arrays `agreement`, `gold` and `correct` have shape (items,);
`correct` is 1 where a run was right, averaged over seeds.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthgap.errors import SynthgapError
from synthgap.evaluation import BLOCK, INTERVAL, holm_corrected
from synthgap.sources import Source, kind_of

if TYPE_CHECKING:
    import pandas as pd

FEWEST_ITEMS = 20  # for a fit that is worth printing
STEP = 0.1  # odds ratios are for so much more agreement
NO_ROOM = 15.0  # logits over the whole range of agreement, beyond which the data are separable


@dataclass(frozen=True)
class Judged:
    """Items with agreement, and whether each classifier and regime was right about them.

    Attributes:
        ids: shape (items,).
        correct: {(classifier, regime): shape (items,), mean over seeds}.
        seeds: {classifier: runs that the mean is over}.
        not_predicted: items of the source that no run predicted; they are left out.
    """

    source: Source
    ids: np.ndarray
    agreement: np.ndarray
    gold: np.ndarray
    correct: Mapping[tuple[str, str], np.ndarray] = field(repr=False)
    seeds: Mapping[str, int]
    not_predicted: int

    @property
    def classifiers(self) -> list[str]:
        return list(dict.fromkeys(classifier for classifier, _ in self.correct))

    def regimes(self, classifier: str) -> list[str]:
        return [regime for name, regime in self.correct if name == classifier]


def judge(folder: Path, index: pd.DataFrame, source: Source) -> Judged | None:
    """Look up what the runs in `folder` predicted for a source's items; None where they predicted none of them.

    Args:
        index: the grid's index, see `runs.read_index`.

    Raises:
        SynthgapError: runs of the task predicted different items.
    """
    from synthgap.runs import annotated_file, prediction_file

    file = prediction_file if source.own else annotated_file
    rows = index[index["task"] == source.task]
    ids, right, seeds = None, {}, {}
    for (classifier, regime), runs in rows.groupby(["classifier", "regime"], sort=False):
        seeds[str(classifier)] = len(runs)
        known = []
        for run in runs["run"]:
            if not file(folder, run).is_file():
                return None
            predicted = _predicted(file(folder, run))
            found = predicted.index.intersection(source.items.index, sort=False).sort_values()
            if ids is not None and not found.equals(ids):
                raise SynthgapError(f"run {run}: it predicted other items than the first run of task '{source.task}'")
            ids = found
            known.append((predicted[found] == source.items.loc[found, "gold"]).to_numpy(float))
        right[(str(classifier), str(regime))] = np.mean(known, axis=0)
    if ids is None or not len(ids):
        return None
    items = source.items.loc[ids]
    return Judged(
        source,
        ids.to_numpy(),
        items["agreement"].to_numpy(float),
        items["gold"].to_numpy(),
        right,
        seeds,
        len(source.items) - len(ids),
    )


def _predicted(path: Path) -> pd.Series:
    import pandas as pd

    return pd.read_parquet(path, columns=["id", "predicted"]).set_index("id")["predicted"]


# ------------------------------------------------------------------------------------------------------------- curves


def threshold_curve(agreement: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
    """Columns threshold, items, accuracy: for each distinct agreement, of the items with at least that agreement."""
    import pandas as pd

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
    thresholds = np.unique(agreement)
    chosen = (agreement >= thresholds[:, None]).astype(float)
    weights = np.vstack([chosen / chosen.sum(axis=1, keepdims=True), (agreement - agreement.mean())[None, :]])
    sizes = [min(BLOCK, permutations - start) for start in range(0, permutations, BLOCK)]
    results = np.concatenate([_reassigned(correct, gold, size, random) @ weights.T for size in sizes])
    low, high = np.percentile(100 * results[:, :-1], INTERVAL, axis=0)
    centre = results[:, -1].mean()
    as_far = np.abs(results[:, -1] - centre) >= abs(weights[-1] @ correct - centre) - 1e-9
    return Band(low, high, float((1 + as_far.sum()) / (permutations + 1)))


def _reassigned(correct: np.ndarray, gold: np.ndarray, times: int, random: np.random.Generator) -> np.ndarray:
    """`correct` in another order within each class, shape (times, items): the same as other agreement for each item."""
    shuffled = np.empty((times, len(correct)))
    for label in np.unique(gold):
        place = np.flatnonzero(gold == label)
        shuffled[:, place] = random.permuted(np.tile(correct[place], (times, 1)), axis=1)
    return shuffled


@dataclass(frozen=True)
class Fit:
    """A straight line through a curve's points, and their rank correlation; NaN where fewer than 3 points differ.

    Attributes:
        slope: points of accuracy for 0.1 of agreement.
    """

    points: int
    slope: float
    r2: float
    rho: float


def fit_curve(threshold: np.ndarray, accuracy: np.ndarray) -> Fit:
    """Least squares and Spearman's rho, as in the paper's figure.

    A curve's points share most of their items, so R^2 and rho are high even by chance: the band is the test.
    """
    from scipy.stats import spearmanr

    if len(threshold) < 3 or np.ptp(accuracy) == 0:
        return Fit(len(threshold), np.nan, np.nan, np.nan)
    slope, intercept = np.polyfit(threshold, accuracy, 1)
    residual = accuracy - slope * threshold - intercept
    r2 = 1 - residual @ residual / np.sum((accuracy - accuracy.mean()) ** 2)
    rho = spearmanr(threshold, accuracy)[0]
    # what arithmetic leaves of a 0 has another sign on another machine; adding 0.0 makes -0.0 a plain 0
    return Fit(len(threshold), *(round(float(value), 10) + 0.0 for value in (STEP * slope, r2, rho)))


def curves_and_fits(
    judged: Sequence[Judged], permutations: int = 2000, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every curve with its band, and a fit for each.

    Returns:
        curves: task, source, classifier, regime, threshold, items, accuracy, null_low, null_high.
        fits: task, source, classifier, regime, items, points, slope, r2, rho, p, p_holm, note. p_holm is corrected
            over the tasks of a kind of source within classifier and regime.
    """
    import pandas as pd

    curves, fits = [], []
    for one in judged:
        for (classifier, regime), correct in one.correct.items():
            key = {"task": one.source.task, "source": one.source.name, "classifier": classifier, "regime": regime}
            curve = threshold_curve(one.agreement, correct)
            band = null_band(one.agreement, correct, one.gold, permutations, seed)
            fit = fit_curve(curve["threshold"].to_numpy(), curve["accuracy"].to_numpy())
            curves.append(curve.assign(**key, null_low=band.low, null_high=band.high))
            p = band.p if len(curve) > 1 else np.nan
            fits.append({**key, "items": len(one.ids), **vars(fit), "p": p, "note": _why_no_fit(fit, curve)})
    names = ["task", "source", "classifier", "regime"]
    curve_columns = [*names, "threshold", "items", "accuracy", "null_low", "null_high"]
    table = pd.concat(curves, ignore_index=True)[curve_columns] if curves else pd.DataFrame(columns=curve_columns)
    fit_columns = [*names, "items", "points", "slope", "r2", "rho", "p", "p_holm", "note"]
    return table, _holm(pd.DataFrame(fits, columns=fit_columns), ["classifier", "regime"])


def _why_no_fit(fit: Fit, curve: pd.DataFrame) -> str:
    if len(curve) == 1:
        return "all items have the same agreement"
    if fit.points < 3:
        return "two thresholds only: a line through them always fits"
    return "" if fit.slope == fit.slope else "the same accuracy at every threshold"


def _holm(rows: pd.DataFrame, family: list[str]) -> pd.DataFrame:
    """Add p_holm over the rows of a kind of source ("human", or one simulated source) within `family`."""
    corrected = holm_corrected(rows.assign(_kind=rows["source"].map(kind_of)), ["_kind", *family])
    return corrected.drop(columns="_kind")


# -------------------------------------------------------------------------------------------------------------- model


def agreement_models(judged: Sequence[Judged]) -> pd.DataFrame:
    """A logistic model of being right for every source and classifier: agreement, regime and their interaction.

    Items are clusters (robust covariance): each was predicted by every regime. Every class has its own level in every
    regime, since classes differ in agreement and classifiers favour classes. Columns task, source, classifier,
    items, term, odds_ratio, low, high, p, p_holm, note. Terms: "agreement" is the effect in the regime real, for 0.1
    of agreement: above 1, unanimous items are easier for a classifier trained on real texts. "<regime> x agreement"
    is how much more that is in a synthetic regime: above 1, it loses more on items that people disagree on.
    """
    import pandas as pd

    rows = []
    for one in judged:
        for classifier in one.classifiers:
            key = {"task": one.source.task, "source": one.source.name, "classifier": classifier}
            rows += [{**key, "items": len(one.ids), **row} for row in _model(one, classifier)]
    columns = ["task", "source", "classifier", "items", "term", "odds_ratio", "low", "high", "p", "p_holm", "note"]
    return _holm(pd.DataFrame(rows, columns=columns), ["classifier", "term"])


def _model(one: Judged, classifier: str) -> list[dict[str, Any]]:
    """Rows of the table for one source and classifier; NaN and a note where the model cannot be fitted."""
    regimes = one.regimes(classifier)
    synthetic = [regime for regime in regimes if regime != "real"]
    terms = ["agreement", *(f"{regime} x agreement" for regime in synthetic)]
    right = [one.correct[(classifier, regime)] for regime in regimes]
    if "real" not in regimes or not synthetic:
        return []
    if note := _why_no_model(one, right):
        return _no_terms(terms, note)
    names = np.unique(one.gold)
    centred = (one.agreement - one.agreement.mean()) / STEP
    agreement = np.tile(centred, len(regimes))
    is_regime = np.repeat(np.array([[name == regime for name in synthetic] for regime in regimes]), len(centred), 0)
    is_class = np.tile(one.gold[:, None] == names[1:], (len(regimes), 1))
    class_in_regime = [is_regime[:, [place]] * is_class for place in range(len(synthetic))]
    design = np.column_stack(
        [agreement, is_regime * agreement[:, None], np.ones(len(agreement)), is_regime, is_class, *class_in_regime]
    )
    groups = np.tile(np.arange(len(centred)), len(regimes))
    estimate, error = _logistic(np.concatenate(right), design, groups, one.seeds[classifier])
    span = np.ptp(one.agreement) / STEP
    own, errors = estimate[: len(terms)], error[: len(terms)]
    if not np.isfinite(errors).all() or (np.abs(own) * span > NO_ROOM).any() or (errors * span > NO_ROOM).any():
        return _no_terms(terms, "separable: being right follows from agreement")
    return [_term(*values) for values in zip(terms, own, errors, strict=True)]


def _no_terms(terms: Sequence[str], note: str) -> list[dict[str, Any]]:
    nothing = dict.fromkeys(("odds_ratio", "low", "high", "p"), np.nan)
    return [{"term": term, **nothing, "note": note} for term in terms]


def _why_no_model(one: Judged, right: Sequence[np.ndarray]) -> str:
    if len(one.ids) < FEWEST_ITEMS:
        return f"fewer than {FEWEST_ITEMS} items"
    if np.ptp(one.agreement) == 0:
        return "all items have the same agreement"
    if any(values.min() == values.max() for values in right):
        return "a regime is right, or wrong, on every item"
    return ""


def _logistic(y: np.ndarray, design: np.ndarray, groups: np.ndarray, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and cluster-robust standard errors; `y` is a share of `seeds` runs."""
    import statsmodels.api as sm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # separation is told by the size of the coefficients
        model = sm.GLM(y, design, family=sm.families.Binomial(), freq_weights=np.full(len(y), seeds))
        fitted = model.fit(cov_type="cluster", cov_kwds={"groups": groups})
    return fitted.params, fitted.bse


def _term(term: str, estimate: float, error: float) -> dict[str, Any]:
    from scipy.stats import norm

    half = norm.ppf(0.975) * error
    low, middle, high = np.exp([estimate - half, estimate, estimate + half])
    return {
        "term": term,
        "odds_ratio": middle,
        "low": low,
        "high": high,
        "p": float(2 * norm.sf(abs(estimate / error))),
        "note": "",
    }
