"""Scores with intervals, paired differences and their tests, all from the predictions of finished runs.

Arrays follow one convention: `truth` has shape (items,), `predicted` has shape (seeds, items), both hold the places
of labels in the task's list. Scores are in percent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthgap.errors import SynthgapError
from synthgap.runs import GRID, read_index, read_predictions, read_run

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("macro_f1", "accuracy")
INTERVAL = (2.5, 97.5)
BLOCK = 1000  # permutations held in memory at a time
COMPARISONS = (("zero_shot", "real"), ("few_shot", "real"), ("few_shot", "zero_shot"))


@dataclass(frozen=True)
class Outcome:
    """Everything that was predicted for one task by one classifier.

    Attributes:
        truth: shape (items,).
        predicted: {regime: shape (seeds, items)}.
        n_train: {regime: texts trained on}.
        ids: shape (items,); the test items, where they are known.
    """

    task: str
    classifier: str
    labels: tuple[str, ...]
    truth: np.ndarray
    predicted: Mapping[str, np.ndarray]
    n_train: Mapping[str, int]
    ids: np.ndarray | None = None

    def without(self, ids: Collection[str]) -> Outcome:
        """The same with some test items left out."""
        if self.ids is None:
            raise ValueError("the items of this outcome are not known")
        kept = ~np.isin(self.ids, list(ids))
        predicted = {regime: runs[:, kept] for regime, runs in self.predicted.items()}
        return Outcome(
            self.task, self.classifier, self.labels, self.truth[kept], predicted, self.n_train, self.ids[kept]
        )


def load_outcomes(folder: Path, index_name: str = GRID) -> list[Outcome]:
    """What the runs of an index predicted, one outcome for each task and classifier, in the index's order.

    Args:
        index_name: of the file that names the runs, such as the grid's.

    Raises:
        SynthgapError: the grid has not been trained, a run is torn, or runs of a task tested on different items.
    """
    index = read_index(folder, index_name)
    groups = index.groupby(["task", "classifier"], sort=False)
    return [load_outcome(folder, str(task), str(classifier), rows) for (task, classifier), rows in groups]


def load_outcome(folder: Path, task: str, classifier: str, rows: pd.DataFrame) -> Outcome:
    labels = tuple(read_run(folder, rows["run"].iloc[0])["identity"]["labels"])
    place = {label: number for number, label in enumerate(labels)}
    items: list[str] = []
    truth = np.empty(0, dtype=int)
    predicted: dict[str, list[np.ndarray]] = {}
    for row in rows.itertuples():
        frame = read_predictions(folder, row.run)
        if items and frame["id"].tolist() != items:
            raise SynthgapError(f"run {row.run}: it was tested on other items than the first run of task '{task}'")
        items, truth = frame["id"].tolist(), frame["label"].map(place).to_numpy()
        predicted.setdefault(str(row.regime), []).append(frame["predicted"].map(place).to_numpy())
    sizes = rows.groupby("regime")["n_train"].first().to_dict()
    stacked = {regime: np.stack(runs) for regime, runs in predicted.items()}
    return Outcome(task, classifier, labels, truth, stacked, sizes, np.array(items))


# ------------------------------------------------------------------------------------------------------------ scores


def confusion(truth: np.ndarray, predicted: np.ndarray, n_labels: int) -> np.ndarray:
    """Counts, shape (labels, labels): rows are true, columns predicted."""
    return np.bincount(truth * n_labels + predicted, minlength=n_labels**2).reshape(n_labels, n_labels)


def score_confusions(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Macro-F1 and accuracy in percent of confusion matrices of shape (..., labels, labels).

    As scikit-learn's with zero_division=0: a label neither present nor predicted has F1 = 0.
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    either = counts.sum(axis=-1) + counts.sum(axis=-2)
    f1 = np.divide(2 * hits, either, out=np.zeros(hits.shape), where=either > 0)
    return {"macro_f1": 100 * f1.mean(axis=-1), "accuracy": 100 * hits.sum(axis=-1) / counts.sum(axis=(-2, -1))}


def score_runs(outcome: Outcome, regime: str) -> dict[str, np.ndarray]:
    """Scores of every seed, shape (seeds,)."""
    size = len(outcome.labels)
    return score_confusions(np.stack([confusion(outcome.truth, run, size) for run in outcome.predicted[regime]]))


@dataclass(frozen=True)
class _Patterns:
    """Items that every run treats alike, merged: resampling items is resampling these with their counts."""

    counts: np.ndarray  # (patterns,)
    truth: np.ndarray  # (patterns,)
    predicted: dict[str, np.ndarray]  # (seeds, patterns)


def _patterns(outcome: Outcome, regimes: Sequence[str]) -> _Patterns:
    stacked = np.vstack([outcome.truth, *(outcome.predicted[regime] for regime in regimes)])
    unique, counts = np.unique(stacked, axis=1, return_counts=True)
    bounds = np.cumsum([1, *(len(outcome.predicted[regime]) for regime in regimes)])
    parts = [unique[start:stop] for start, stop in pairwise(bounds)]
    return _Patterns(counts, unique[0], dict(zip(regimes, parts, strict=True)))


def _cells(truth: np.ndarray, predicted: np.ndarray, n_labels: int) -> np.ndarray:
    """Which cell of the confusion matrix a pattern falls into, one-hot, shape (patterns, labels * labels)."""
    cells = np.zeros((len(truth), n_labels**2), dtype=np.float32)
    cells[np.arange(len(truth)), truth * n_labels + predicted] = 1
    return cells


def bootstrap(outcome: Outcome, resamples: int, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """{regime: {metric: shape (resamples,)}}: mean over seeds, with test items and seeds drawn anew.

    The items of a resample are the same for all regimes, so differences between them are paired; the seeds of each
    regime are drawn on their own, since its runs share nothing but a number with those of another.
    """
    random = np.random.default_rng(seed)
    patterns, size = _patterns(outcome, list(outcome.predicted)), len(outcome.labels)
    weights = random.multinomial(patterns.counts.sum(), patterns.counts / patterns.counts.sum(), size=resamples)
    weights = weights.astype(np.float32)  # counts of items, exact below 2^24
    results = {}
    for regime, runs in patterns.predicted.items():
        cells = np.stack([weights @ _cells(patterns.truth, run, size) for run in runs])
        counts = cells.reshape(len(runs), resamples, size, size).astype(float)
        chosen = random.integers(len(runs), size=(resamples, len(runs)))
        results[regime] = {
            metric: np.take_along_axis(values.T, chosen, axis=1).mean(axis=1)
            for metric, values in score_confusions(counts).items()
        }
    return results


def paired_p_values(outcome: Outcome, first: str, second: str, permutations: int, seed: int) -> dict[str, float]:
    """Two-sided p-value of each metric's difference, by approximate randomisation (Noreen 1989; Yeh 2000).

    Under the null hypothesis the two regimes' predictions of an item may be exchanged. The whole column of an item
    (all its seeds) is exchanged at once, so items are the unit; the trained classifiers are taken as given.

    Raises:
        SynthgapError: the regimes have different numbers of seeds.
    """
    if len(outcome.predicted[first]) != len(outcome.predicted[second]):
        raise SynthgapError(f"task '{outcome.task}': regimes {first} and {second} have different numbers of seeds")
    patterns, size = _patterns(outcome, (first, second)), len(outcome.labels)
    moves = []
    for one, other in zip(patterns.predicted[first], patterns.predicted[second], strict=True):
        ours, theirs = (_cells(patterns.truth, run, size) for run in (one, other))
        moves.append((patterns.counts @ ours, patterns.counts @ theirs, theirs - ours))
    differing = np.any([move.any(axis=1) for _, _, move in moves], axis=0)  # only these items change anything
    counts = patterns.counts[differing]
    moves = [(ours, theirs, move[differing]) for ours, theirs, move in moves]
    observed = _differences(moves, np.zeros((1, len(counts)), np.float32), size)
    as_large = dict.fromkeys(METRICS, 1)  # the data as they are count as one of the permutations
    random = np.random.default_rng(seed)
    for start in range(0, permutations, BLOCK):
        shape = (min(BLOCK, permutations - start), len(counts))
        exchanged = random.binomial(counts, 0.5, size=shape).astype(np.float32)
        for metric, values in _differences(moves, exchanged, size).items():
            as_large[metric] += int(np.sum(np.abs(values) >= abs(observed[metric][0]) - 1e-9))
    return {metric: count / (permutations + 1) for metric, count in as_large.items()}


def _differences(
    moves: list[tuple[np.ndarray, np.ndarray, np.ndarray]], exchanged: np.ndarray, n_labels: int
) -> dict[str, np.ndarray]:
    """Sum over seeds of first less second regime's scores after exchanging items, shape (permutations,)."""
    total = {metric: np.zeros(len(exchanged)) for metric in METRICS}
    for ours, theirs, move in moves:
        moved = (exchanged @ move).astype(float)
        first, second = (
            score_confusions(cells.reshape(-1, n_labels, n_labels)) for cells in (ours + moved, theirs - moved)
        )
        for metric in METRICS:
            total[metric] += first[metric] - second[metric]
    return total


# ------------------------------------------------------------------------------------------------------------ tables


@dataclass(frozen=True)
class Evaluated:
    """Table 1 and the gaps between regimes, both tidy.

    Attributes:
        table: task, classifier, regime, n_train, n_test, seeds, then score, _sd, _low, _high of each metric.
        gaps: task, classifier, regime, baseline, metric, gap, low, high, p, p_holm. A gap is the regime's score less
            the baseline's, in points; p_holm is corrected over the tasks of one classifier, comparison and metric.
    """

    table: pd.DataFrame
    gaps: pd.DataFrame


def evaluate(outcomes: list[Outcome], resamples: int = 2000, permutations: int = 10000, seed: int = 0) -> Evaluated:
    """Scores, 95 % percentile intervals, paired differences and Holm-corrected tests of all outcomes."""
    import pandas as pd

    rows, gaps = [], []
    for outcome in outcomes:
        draws = bootstrap(outcome, resamples, seed)
        rows += [_table_row(outcome, regime, draws[regime]) for regime in outcome.predicted]
        for regime, baseline in COMPARISONS:
            if regime in draws and baseline in draws:
                tests = paired_p_values(outcome, regime, baseline, permutations, seed)
                gaps += [_gap_row(outcome, regime, baseline, metric, draws, tests[metric]) for metric in METRICS]
    columns = ["task", "classifier", "regime", "baseline", "metric", "gap", "low", "high", "p"]
    return Evaluated(pd.DataFrame(rows), holm_corrected(pd.DataFrame(gaps, columns=columns)))


def _table_row(outcome: Outcome, regime: str, draws: Mapping[str, np.ndarray]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "task": outcome.task,
        "classifier": outcome.classifier,
        "regime": regime,
        "n_train": outcome.n_train[regime],
        "n_test": len(outcome.truth),
        "seeds": len(outcome.predicted[regime]),
    }
    for metric, values in score_runs(outcome, regime).items():
        low, high = np.percentile(draws[metric], INTERVAL)
        row[metric] = values.mean()
        row[f"{metric}_sd"] = values.std(ddof=1) if len(values) > 1 else np.nan
        row[f"{metric}_low"], row[f"{metric}_high"] = low, high
    return row


def _gap_row(
    outcome: Outcome, regime: str, baseline: str, metric: str, draws: Mapping[str, Mapping[str, np.ndarray]], p: float
) -> dict[str, Any]:
    gap = score_runs(outcome, regime)[metric].mean() - score_runs(outcome, baseline)[metric].mean()
    low, high = np.percentile(draws[regime][metric] - draws[baseline][metric], INTERVAL)
    return {
        "task": outcome.task,
        "classifier": outcome.classifier,
        "regime": regime,
        "baseline": baseline,
        "metric": metric,
        "gap": gap,
        "low": low,
        "high": high,
        "p": p,
    }


def holm_corrected(
    tests: pd.DataFrame, family: Sequence[str] = ("classifier", "regime", "baseline", "metric")
) -> pd.DataFrame:
    """Add p_holm (Holm 1979): corrected over the rows that agree in the columns of `family`; none where p has none."""
    from statsmodels.stats.multitest import multipletests

    corrected = tests.assign(p_holm=np.nan)
    for _, rows in tests[tests["p"].notna()].groupby(list(family), sort=False):
        corrected.loc[rows.index, "p_holm"] = multipletests(rows["p"].to_numpy(float), method="holm")[1]
    return corrected


# ------------------------------------------------------------------------------------------------ gap and subjectivity


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho with a 95 % interval and a two-sided permutation p-value.

    Attributes:
        detectable: the smallest |rho| that n points can tell from 0 at the 5 % level.
    """

    n: int
    rho: float
    low: float
    high: float
    p: float
    detectable: float


def rank_correlation(x: np.ndarray, y: np.ndarray, permutations: int = 10000, seed: int = 0) -> RankCorrelation:
    """Spearman's rho of two arrays of shape (n,), n >= 4.

    The interval is Bonett and Wright's (2000, Psychometrika 65):
    tanh(artanh(rho) -+ 1.96 sqrt((1 + rho^2 / 2) / (n - 3))).
    The p-value permutes y. Where rho is +-1 the interval has no width; where an array is constant rho is undefined.

    Raises:
        SynthgapError: fewer than 4 points, or an array that is constant.
    """
    from scipy.stats import rankdata

    n = len(x)
    if n < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise SynthgapError(f"a rank correlation needs at least 4 points that differ; there are {n}")
    ranks = [(ranked - ranked.mean()) / ranked.std() for ranked in (rankdata(x), rankdata(y))]
    rho = float(np.clip(ranks[0] @ ranks[1] / n, -1, 1))
    random = np.random.default_rng(seed)
    null = np.abs(random.permuted(np.tile(ranks[1], (permutations, 1)), axis=1) @ ranks[0] / n)
    p = (1 + np.sum(null >= abs(rho) - 1e-9)) / (permutations + 1)
    low, high = rho, rho
    if abs(rho) < 1:
        half = 1.959964 * np.sqrt((1 + rho**2 / 2) / (n - 3))
        low, high = np.tanh(np.arctanh(rho) - half), np.tanh(np.arctanh(rho) + half)
    return RankCorrelation(n, rho, float(low), float(high), float(p), float(np.quantile(null, 0.95, method="higher")))


def gap_by_subjectivity(gaps: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """Spearman's rho of the macro-F1 gap and the paper's order of subjectivity, by classifier and regime.

    Columns classifier, regime, n, rho, low, high, p, detectable; no row where fewer than 4 tasks are ordered.
    """
    import pandas as pd

    from synthgap.tables import paper_order

    order = paper_order(tasks)
    rows = []
    chosen = gaps[(gaps["metric"] == "macro_f1") & (gaps["baseline"] == "real") & gaps["task"].isin(order)]
    for (classifier, regime), part in chosen.groupby(["classifier", "regime"], sort=False):
        with contextlib.suppress(SynthgapError):
            found = rank_correlation(part["task"].map(order).to_numpy(float), part["gap"].to_numpy(float))
            rows.append({"classifier": classifier, "regime": regime, **vars(found)})
    return pd.DataFrame(rows, columns=["classifier", "regime", "n", "rho", "low", "high", "p", "detectable"])


def what_points_can_prove(correlations: pd.DataFrame, other: str = "an order of subjectivity") -> str:
    """A sentence on how little a rank correlation over a handful of tasks can show.

    Args:
        other: what the gap is correlated with.
    """
    if correlations.empty:
        return f"Too few tasks to correlate the gap with {other}: at least 4 are needed that have both."
    n, detectable = int(correlations["n"].max()), correlations["detectable"].max()
    narrowest = (correlations["high"] - correlations["low"]).min()
    return (
        f"{n} tasks can tell a rank correlation from 0 only when it is beyond about ±{detectable:.2f}, and the "
        f"narrowest interval here is {narrowest:.2f} wide: a weaker relation would go unseen, and one "
        "that is seen could be due to anything else in which these tasks differ (length of texts, number of labels, "
        "test size)."
    )


def published_table() -> pd.DataFrame:
    """Table 1 of arXiv 2310.07849 as written down in the package; UNVERIFIED, see bundled/reference/README.md.

    Columns task, order, encoder, regime, macro_f1, accuracy; one cell is empty.
    """
    import pandas as pd

    from synthgap.data import bundled

    return pd.read_csv(bundled("reference", "paper_table1.csv"))
