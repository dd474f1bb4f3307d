"""Gaps between corpora on the same test items: paired tests, their correction, and the gap against subjectivity."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata, zscore

from synthgap.core.config import REAL
from synthgap.core.errors import SynthgapError
from synthgap.core.terminal import Progress
from synthgap.evaluation.inference import (
    NOTHING_KNOWN,
    Part,
    Spreads,
    interval,
    over_tasks,
    p_value,
    recording_means,
    shared_part,
    total,
    training_spreads,
)
from synthgap.evaluation.scores import (
    METRICS,
    bootstrap,
    confusion_cells,
    merge_items,
    score_cells,
    score_runs,
    without_threads,
)
from synthgap.tasks import paper_order
from synthgap.training.predictions import Predictions

BLOCK = 1000  # permutations held in memory at a time
NO_INTERVAL = (np.nan, np.nan)
GAP_COLUMNS = [
    *("task", "classifier", "corpus", "baseline", "metric", "recordings", "gap"),
    *("low", "high", "p", "new_low", "new_high", "new_p", "p_conditional"),
]
OVER_TASKS_COLUMNS = ["classifier", "corpus", "baseline", "metric", "tasks", *GAP_COLUMNS[5:-1]]


@dataclass(frozen=True)
class Evaluated:
    """The scores of Table 1, the gaps between corpora, and their means over tasks, all tidy.

    Intervals and p-values speak of these recordings, and those that begin with new_ of new recordings under the same
    conditions, of which these are a sample; a corpus with one recording has none of these. See `inference`.

    Attributes:
        table: task, classifier, corpus, n_train, n_test, seeds, recordings, then score, _sd, _low, _high, _new_low,
            _new_high of each metric. `seeds` are all runs, `_sd` is over them.
        gaps: GAP_COLUMNS, p_holm and new_p_holm. A gap is the corpus's score less the baseline's, in points.
            p_conditional is of an exchange of predictions, for these trained classifiers, where runs come in pairs.
        over_tasks: OVER_TASKS_COLUMNS, the tasks being a sample; no row of fewer than 2 tasks.
    """

    table: pd.DataFrame
    gaps: pd.DataFrame
    over_tasks: pd.DataFrame


@dataclass(frozen=True)
class Scored:
    """The scores of one metric, of one corpus on one task.

    Attributes:
        runs: shape (runs,).
        recordings: of each run, shape (runs,).
        resampled: the mean over runs with test items drawn anew, shape (resamples,).
        spreads: what it varies with beside the items.
    """

    runs: np.ndarray
    recordings: np.ndarray
    resampled: np.ndarray
    spreads: Spreads = NOTHING_KNOWN

    @property
    def mean(self) -> float:
        return float(self.runs.mean())

    @property
    def n_recordings(self) -> int:
        return len(np.unique(self.recordings))


TaskScores = dict[tuple[str, str], Scored]  # {(corpus, metric): scores} of one task and classifier


def corpus_pairs(corpora: Sequence[str]) -> list[tuple[str, str]]:
    """(corpus, baseline) of every gap: of each corpus and the first, the reference, then of later and earlier ones."""
    return [(later, earlier) for earlier, later in combinations(corpora, 2)]


def evaluate(
    predictions: Sequence[Predictions],
    resamples: int = 2000,
    permutations: int = 10000,
    seed: int = 0,
    pairs: Callable[[Sequence[str]], Sequence[tuple[str, str]]] = corpus_pairs,
    lent: Mapping[tuple[str, str], list[Part]] | None = None,
    like: Mapping[str, str] | None = None,
) -> Evaluated:
    """Scores, differences paired on the test items, and means over tasks, with 95 % intervals and Holm-corrected tests.

    Args:
        pairs: the (corpus, baseline) of every gap, of the corpora that were trained on.
        lent: {(task, classifier): what the macro-F1 of one recording varies with}, for corpora with one recording, of
            which nothing else is known; see `one_recording`.
        like: {corpus with one recording: one with several, as whose recordings its own would vary}; unlike `lent` in
            both metrics, and over tasks, too.
    """
    like = like or {}
    scored = {id(one): scores_of(one, resamples, seed) for one in Progress(predictions, desc="scores")}
    rows: list[dict[str, Any]] = []
    gaps: list[tuple[Any, ...]] = []
    over: list[tuple[Any, ...]] = []
    for classifier in dict.fromkeys(one.classifier for one in predictions):
        own = [one for one in predictions if one.classifier == classifier]
        add_spreads([scored[id(one)] for one in own], like)
        for one in own:
            scored[id(one)] = _with_lent(scored[id(one)], (lent or {}).get((one.task, classifier)))
        rows += [_score_row(one, corpus, scored[id(one)]) for one in own for corpus in one.predicted]
        for one in Progress(own, desc="tests"):
            for pair in pairs(list(one.predicted)):
                gaps += _gap_rows(one, pair, scored[id(one)], _conditional_p(one, pair, permutations, seed))
        every = list(dict.fromkeys(corpus for one in own for corpus in one.predicted))
        for pair, metric in product(pairs(every), METRICS):
            both = [scored[id(one)] for one in own if set(pair) <= set(one.predicted)]
            over += over_tasks_rows(classifier, pair, metric, both, like)
    return Evaluated(
        pd.DataFrame(rows),
        holm_corrected(holm_corrected(pd.DataFrame(gaps, columns=GAP_COLUMNS)), p="new_p"),
        pd.DataFrame(over, columns=OVER_TASKS_COLUMNS),
    )


def scores_of(one: Predictions, resamples: int, seed: int) -> TaskScores:
    """The scores of one task and classifier."""
    draws, found = bootstrap(one, resamples, seed), {}
    for corpus, runs in one.predicted.items():
        recordings = one.recordings.get(corpus, np.ones(len(runs), int))
        for metric, values in score_runs(one, corpus).items():
            found[corpus, metric] = Scored(values, recordings, draws[corpus][metric].mean(axis=1))
    return found


def add_spreads(tasks: Sequence[TaskScores], like: Mapping[str, str] | None = None) -> None:
    """Give scores of a classifier's tasks what they vary with, as tasks tell of each other; `like` as of `evaluate`."""
    for key in dict.fromkeys(key for task in tasks for key in task):
        having = [task for task in tasks if key in task]
        spreads = training_spreads([task[key].runs for task in having], [task[key].recordings for task in having])
        for task, spread in zip(having, spreads, strict=True):
            task[key] = replace(task[key], spreads=spread)
    for task, (corpus, other) in product(tasks, (like or {}).items()):
        for key in [key for key in task if key[0] == corpus and task[key].n_recordings == 1]:
            if lender := task.get((other, key[1])):
                lent = [part.times(lender.n_recordings) for part in lender.spreads.new or ()]
                task[key] = replace(task[key], spreads=replace(task[key].spreads, new=lent or None))


def one_recording(predictions: Sequence[Predictions]) -> dict[tuple[str, str], list[Part]]:
    """{(task, classifier): what the macro-F1 of one recording varies with beyond its draws and seeds}.

    The mean variance of the corpora with several recordings; nothing of tasks and classifiers without any.
    """
    found: dict[tuple[str, str], list[list[Part]]] = {}
    for classifier, corpus in dict.fromkeys((one.classifier, name) for one in predictions for name in one.predicted):
        own = [one for one in predictions if one.classifier == classifier and corpus in one.predicted]
        numbers = [one.recordings[corpus] for one in own]
        spreads = training_spreads([score_runs(one, corpus)["macro_f1"] for one in own], numbers)
        for one, of_task, spread in zip(own, numbers, spreads, strict=True):
            if spread.new:
                recordings = len(np.unique(of_task))
                parts = [*(part.times(recordings) for part in spread.new)]
                parts += [part.times(-recordings) for part in spread.these]
                found.setdefault((one.task, classifier), []).append(parts if total(parts).variance else [])
    return {key: [part.times(1 / len(many)) for parts in many for part in parts] for key, many in found.items()}


def _with_lent(scored: TaskScores, parts: list[Part] | None) -> TaskScores:
    """The scores; those in macro-F1 of corpora with one recording vary as others' recordings do, too.

    `real` was not recorded.
    """
    lent = {
        (corpus, metric): replace(one, spreads=Spreads(one.spreads.these, [*one.spreads.these, *parts]))
        for (corpus, metric), one in scored.items()
        if parts is not None and metric == "macro_f1" and corpus != REAL and one.spreads.new is None
    }
    return scored | lent


def parts_of(scored: Sequence[Scored], new: bool) -> list[Part] | None:
    """The parts of the variance of a score, or of the difference of two; None for new recordings that there are not."""
    if new and not any(one.spreads.new for one in scored):
        return None
    resampled = scored[0].resampled if len(scored) == 1 else scored[0].resampled - scored[1].resampled
    parts = [Part(float(np.var(resampled, ddof=1)))]
    varying = [(one.spreads.new if new else None) or one.spreads.these for one in scored]
    both = {id(part) for part in varying[0]} & {id(part) for part in varying[-1]} if len(varying) > 1 else set()
    parts += [part for each in varying for part in each if id(part) not in both]
    # lent to both: one estimate, which is known no better for standing twice
    return [*parts, *(part.times(2) for part in varying[0] if id(part) in both)]


def _score_row(one: Predictions, corpus: str, scored: TaskScores) -> dict[str, Any]:
    of_metric = {metric: scored[corpus, metric] for metric in METRICS}
    row = {"task": one.task, "classifier": one.classifier, "corpus": corpus, "n_train": one.n_train[corpus]}
    row |= {"n_test": len(one.truth), "seeds": len(one.predicted[corpus])}
    row["recordings"] = of_metric[METRICS[0]].n_recordings
    for metric, own in of_metric.items():
        row |= {metric: own.mean, f"{metric}_sd": pd.Series(own.runs).std()}  # of one run there is none
        for target, new in (("", False), ("_new", True)):
            parts = parts_of([own], new)
            low, high = NO_INTERVAL if parts is None else np.clip(interval(own.mean, parts), 0, 100)
            row |= {f"{metric}{target}_low": low, f"{metric}{target}_high": high}
    return row


def _gap_rows(
    one: Predictions,
    pair: tuple[str, str],
    scored: TaskScores,
    conditional: Mapping[str, float],
) -> Iterator[tuple[Any, ...]]:
    """Rows of GAP_COLUMNS of a corpus and its baseline."""
    for metric in METRICS:
        both = [scored[corpus, metric] for corpus in pair]
        gap, recordings = both[0].mean - both[1].mean, max(each.n_recordings for each in both)
        found = [*inferred(gap, parts_of(both, new=False)), *inferred(gap, parts_of(both, new=True))]
        yield (one.task, one.classifier, *pair, metric, recordings, gap, *found, conditional.get(metric, np.nan))


def inferred(estimate: float, parts: Sequence[Part] | None) -> tuple[float, float, float]:
    """Low, high and p of an estimate; NaN where there is no such target."""
    return (*NO_INTERVAL, np.nan) if parts is None else (*interval(estimate, parts), p_value(estimate, parts))


def _conditional_p(one: Predictions, pair: tuple[str, str], permutations: int, seed: int) -> dict[str, float]:
    """`paired_p_values` where each run of a corpus has its fellow in the other: as many of them, of one recording."""
    first, second = (one.predicted[corpus] for corpus in pair)
    if len(first) != len(second) or any(len(np.unique(one.recordings.get(corpus, 1))) > 1 for corpus in pair):
        return {}
    return paired_p_values(one, *pair, permutations, seed)


def over_tasks_rows(
    classifier: str,
    pair: tuple[str, str],
    metric: str,
    tasks: Sequence[TaskScores],
    like: Mapping[str, str] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """The row of OVER_TASKS_COLUMNS of a corpus and its baseline; none of fewer than 2 tasks."""
    if len(tasks) < 2:
        return
    differences = np.array([task[pair[0], metric].mean - task[pair[1], metric].mean for task in tasks])
    means = [means_of(tasks, corpus, metric) for corpus in pair]
    several = [each for each in means if each is not None and each.shape[1] > 1]
    alone = [corpus for corpus, each in zip(pair, means, strict=True) if each is not None and each.shape[1] == 1]
    found = [means_of(tasks, like[corpus], metric) for corpus in alone if like and corpus in like]
    lenders = [each for each in found if each is not None and each.shape[1] > 1]
    lent = [part.times(each.shape[1]) for each in lenders for part in shared_part(each)]
    new = [*over_tasks(differences, several), *lent] if several or lenders else None
    recordings = max((each.shape[1] for each in means if each is not None), default=1)
    mean = float(differences.mean())
    intervals = [*inferred(mean, over_tasks(differences)), *inferred(mean, new)]
    yield (classifier, *pair, metric, len(tasks), recordings, mean, *intervals)


def means_of(tasks: Sequence[TaskScores], corpus: str, metric: str) -> np.ndarray | None:
    """A corpus's mean score of each recording, see `recording_means`; None where a task does not have it."""
    if any((corpus, metric) not in task for task in tasks):
        return None
    own = [task[corpus, metric] for task in tasks]
    return recording_means([one.runs for one in own], [one.recordings for one in own])


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


def holm_corrected(tests: pd.DataFrame, family: Sequence[str] = ("metric",), p: str = "p") -> pd.DataFrame:
    """Add <p>_holm (Holm 1979), corrected over the rows that agree in the columns of `family`, all rows without any.

    A row without a p has none.
    """
    corrected = tests.assign(**{f"{p}_holm": np.nan})
    tested = tests[tests[p].notna()]
    for _, rows in tested.groupby(list(family), sort=False) if family else [((), tested)]:
        values = rows[p].astype(float).sort_values()  # statsmodels' function collects all garbage at each call: 0.2 s
        corrected.loc[values.index, f"{p}_holm"] = (values * np.arange(len(values), 0, -1)).cummax().clip(upper=1)
    return corrected


# ------------------------------------------------------------------------------------------------ gap and subjectivity


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho with a 95 % interval and a two-sided permutation p-value.

    Attributes:
        detectable: the smallest |rho| that n points can tell from 0 at the 5 % level; infinite where none is.
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
    null = np.sort(null)
    as_large = 1 + permutations - np.searchsorted(null, null - 1e-9)  # counted as for p
    detectable = null[as_large <= 0.05 * (permutations + 1)].min(initial=np.inf)
    return RankCorrelation(n, rho, float(low), float(high), float(p), float(detectable))


def gap_by_subjectivity(gaps: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """Spearman's rho of the macro-F1 gap to the reference and the paper's order of subjectivity.

    Columns classifier, corpus, n, rho, low, high, p, detectable, p_holm; no row where fewer than 4 tasks are ordered.
    """
    chosen = gaps_to_reference(gaps)
    placed = chosen.assign(place=chosen["task"].map(paper_order(tasks))).dropna(subset="place")
    return holm_corrected(rank_correlations(placed, ["classifier", "corpus"], "place", "gap"), family=())


def rank_correlations(table: pd.DataFrame, by: Sequence[str], x: str, y: str) -> pd.DataFrame:
    """`rank_correlation` of two columns by the values of others; no row where it is undefined."""
    rows = []
    for key, part in table.groupby(by, sort=False):
        with contextlib.suppress(SynthgapError):
            rows.append((*key, *astuple(rank_correlation(part[x].to_numpy(float), part[y].to_numpy(float)))))
    return pd.DataFrame(rows, columns=[*by, *(field.name for field in fields(RankCorrelation))])


def power_note(correlations: pd.DataFrame, other: str = "an order of subjectivity") -> str:
    """A sentence on how little a rank correlation over a handful of tasks can show, of those over the most tasks.

    Args:
        other: what the gap is correlated with.
    """
    if correlations.empty:
        return f"Too few tasks to correlate the gap with {other}: at least 4 are needed that have both."
    n = int(correlations["n"].max())
    correlations = correlations[correlations["n"] == n]
    detectable = correlations["detectable"].max()
    narrowest = (correlations["high"] - correlations["low"]).min()
    told = f"only when it is ±{detectable:.2f} or beyond" if np.isfinite(detectable) else "at no size"
    return (
        f"{n} tasks can tell a rank correlation from 0 {told}, and the narrowest interval here is {narrowest:.2f} "
        "wide: a weaker relation would go unseen, and one that is seen could be due to anything else in which these "
        "tasks differ (length of texts, number of labels, test size)."
    )
