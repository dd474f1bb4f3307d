"""Gaps between corpora on the same test items: paired tests, their correction, and the gap against subjectivity."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import rankdata, zscore
from tqdm import tqdm

from synthgap.core.errors import SynthgapError
from synthgap.evaluation.scores import (
    METRICS,
    bootstrap,
    confusion_cells,
    interval,
    merge_items,
    score_cells,
    score_runs,
    without_threads,
)
from synthgap.tasks import paper_order
from synthgap.training.predictions import Predictions

BLOCK = 1000  # permutations held in memory at a time
GAP_COLUMNS = ["task", "classifier", "corpus", "baseline", "metric", "gap", "low", "high", "p"]


@dataclass(frozen=True)
class Evaluated:
    """The scores of Table 1 and the gaps between corpora, both tidy.

    Attributes:
        table: task, classifier, corpus, n_train, n_test, seeds, then score, _sd, _low, _high of each metric.
        gaps: task, classifier, corpus, baseline, metric, gap, low, high, p, p_holm. A gap is the corpus's score less
            the baseline's, in points; p_holm is corrected over the tasks of one classifier, pair and metric.
    """

    table: pd.DataFrame
    gaps: pd.DataFrame


def corpus_pairs(corpora: Sequence[str]) -> list[tuple[str, str]]:
    """(corpus, baseline) of every gap: each corpus and the reference, then each later corpus and each earlier one.

    Args:
        corpora: the reference first.
    """
    return [(later, earlier) for earlier, later in combinations(corpora, 2)]


def evaluate(
    predictions: Sequence[Predictions],
    resamples: int = 2000,
    permutations: int = 10000,
    seed: int = 0,
    pairs: Callable[[Sequence[str]], Sequence[tuple[str, str]]] = corpus_pairs,
) -> Evaluated:
    """Scores, 95 % percentile intervals, paired differences and Holm-corrected tests.

    Args:
        pairs: the (corpus, baseline) of every gap, of the corpora that were trained on.
    """
    rows, gaps = [], []
    for one in tqdm(predictions, desc="scores and tests", mininterval=2):
        place = {"task": one.task, "classifier": one.classifier}
        draws = bootstrap(one, resamples, seed)
        scores = {corpus: score_runs(one, corpus) for corpus in one.predicted}
        for corpus, by_metric in scores.items():
            sizes = {"n_train": one.n_train[corpus], "n_test": len(one.truth), "seeds": len(one.predicted[corpus])}
            row = {**place, "corpus": corpus, **sizes}
            for metric, values in by_metric.items():
                low, high = interval(draws[corpus][metric])
                deviation = pd.Series(values).std()  # of one seed there is none
                row |= {metric: values.mean(), f"{metric}_sd": deviation, f"{metric}_low": low, f"{metric}_high": high}
            rows.append(row)
        for corpus, baseline in pairs(list(scores)):
            tests = paired_p_values(one, corpus, baseline, permutations, seed)
            for metric in METRICS:
                gap = scores[corpus][metric].mean() - scores[baseline][metric].mean()
                limits = interval(draws[corpus][metric] - draws[baseline][metric])
                gaps.append((*place.values(), corpus, baseline, metric, gap, *limits, tests[metric]))
    return Evaluated(pd.DataFrame(rows), holm_corrected(pd.DataFrame(gaps, columns=GAP_COLUMNS)))


def gaps_to_reference(gaps: pd.DataFrame, metric: str = "macro_f1") -> pd.DataFrame:
    """The gaps of one metric to the comparison's reference, which is the baseline of the table's first row."""
    return gaps[(gaps["metric"] == metric) & gaps["baseline"].isin(gaps["baseline"].head(1))]


# ------------------------------------------------------------------------------------------------------------- tests


@without_threads
def paired_p_values(
    predictions: Predictions, first: str, second: str, permutations: int, seed: int
) -> dict[str, float]:
    """Two-sided p-value of each metric's difference, by approximate randomisation (Noreen 1989; Yeh 2000).

    Under the null hypothesis the two corpora's predictions of an item may be exchanged. The whole column of an item
    (all its seeds) is exchanged at once, so items are the unit; the trained classifiers are taken as given.

    Raises:
        SynthgapError: the corpora have different numbers of seeds.
    """
    if len(predictions.predicted[first]) != len(predictions.predicted[second]):
        raise SynthgapError(f"task '{predictions.task}': {first} and {second} have different numbers of seeds")
    scores = [score_runs(predictions, corpus) for corpus in (first, second)]
    observed = {metric: abs((scores[0][metric] - scores[1][metric]).sum()) for metric in METRICS}
    counts, truth, predicted = merge_items(predictions, (first, second))
    ours, theirs = (confusion_cells(truth, runs, len(predictions.labels)) for runs in predicted.values())
    totals = [(counts @ cells)[:, None] for cells in (ours, theirs)]
    move = theirs - ours  # what an exchanged item changes
    differing = move.any(axis=(0, 2))  # only these items change anything
    counts, move = counts[differing], move[:, differing]
    as_large = dict.fromkeys(METRICS, 1)  # the data as they are count as one of the permutations
    random = np.random.default_rng(seed)
    for start in range(0, permutations, BLOCK):
        shape = (min(BLOCK, permutations - start), len(counts))
        moved = random.binomial(counts, 0.5, size=shape).astype(np.float32) @ move
        one, other = score_cells(totals[0] + moved), score_cells(totals[1] - moved)
        for metric in METRICS:
            differences = np.abs((one[metric] - other[metric]).sum(axis=0))
            as_large[metric] += int(np.sum(differences >= observed[metric] - 1e-9))
    return {metric: count / (permutations + 1) for metric, count in as_large.items()}


def holm_corrected(
    tests: pd.DataFrame, family: Sequence[str] = ("classifier", "corpus", "baseline", "metric")
) -> pd.DataFrame:
    """Add p_holm (Holm 1979): corrected over the rows that agree in the columns of `family`; none where p has none."""
    corrected = tests.assign(p_holm=np.nan)
    for _, rows in tests[tests["p"].notna()].groupby(list(family), sort=False):
        p = rows["p"].astype(float).sort_values()  # statsmodels' function collects all garbage at each call: 0.2 s
        corrected.loc[p.index, "p_holm"] = (p * np.arange(len(p), 0, -1)).cummax().clip(upper=1)
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
    n = len(x)
    if n < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise SynthgapError(f"a rank correlation needs at least 4 points that differ; there are {n}")
    ranks = [zscore(rankdata(values)) for values in (x, y)]
    rho = float(np.clip(ranks[0] @ ranks[1] / n, -1, 1))
    random = np.random.default_rng(seed)
    null = np.abs(random.permuted(np.tile(ranks[1], (permutations, 1)), axis=1) @ ranks[0] / n)
    p = (1 + np.sum(null >= abs(rho) - 1e-9)) / (permutations + 1)
    half = 1.959964 * np.sqrt((1 + rho**2 / 2) / (n - 3))
    with np.errstate(divide="ignore"):  # artanh of 1 is infinite
        low, high = np.tanh(np.arctanh(rho) + np.array([-half, half]))
    return RankCorrelation(n, rho, float(low), float(high), float(p), float(np.quantile(null, 0.95, method="higher")))


def gap_by_subjectivity(gaps: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """Spearman's rho of the macro-F1 gap to the reference and the paper's order of subjectivity.

    Columns classifier, corpus, n, rho, low, high, p, detectable; no row where fewer than 4 tasks are ordered.
    """
    chosen = gaps_to_reference(gaps)
    placed = chosen.assign(place=chosen["task"].map(paper_order(tasks))).dropna(subset="place")
    return rank_correlations(placed, ["classifier", "corpus"], "place", "gap")


def rank_correlations(table: pd.DataFrame, by: Sequence[str], x: str, y: str) -> pd.DataFrame:
    """`rank_correlation` of two columns by the values of others; no row where it is undefined."""
    rows = []
    for key, part in table.groupby(by, sort=False):
        with contextlib.suppress(SynthgapError):
            rows.append((*key, *astuple(rank_correlation(part[x].to_numpy(float), part[y].to_numpy(float)))))
    return pd.DataFrame(rows, columns=[*by, *(field.name for field in fields(RankCorrelation))])


def power_note(correlations: pd.DataFrame, other: str = "an order of subjectivity") -> str:
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
