"""How sure a score, a difference of scores, or a mean over tasks is: variance components, and intervals from them.

An estimate varies with the test items, with the draws of training texts and the seeds, and with the recordings that a
generated corpus consists of. Its variance is the sum of these components, and its interval a t interval with
Satterthwaite's degrees of freedom. Two targets are told apart: *these recordings*, whose scores vary with items and
seeds alone, and *new recordings* under the same conditions, of which these are a sample. The mathematics are in
docs/statistics.md, and benchmarks/coverage.py shows how often the intervals hold what they are for.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import optimize, special, stats

LEVEL = 0.95


class Part(NamedTuple):
    """A part of an estimate's variance, in squared points.

    Attributes:
        df: degrees of freedom that it is known with; infinite where it is as good as known.
    """

    variance: float
    df: float = math.inf

    def times(self, factor: float) -> "Part":
        """The part with its variance multiplied, as that of a mean or a difference needs."""
        return Part(factor * self.variance, self.df)


NOTHING = Part(0.0)


def total(parts: Iterable[Part]) -> Part:
    """The sum of independent parts; its degrees of freedom are Satterthwaite's (1946).

    A part with a negative factor, as a mean square that is subtracted, counts towards the degrees of freedom as any
    other; a sum below 0 is 0.
    """
    parts = [part for part in parts if part.variance != 0]
    variance = sum(part.variance for part in parts)
    spread = sum(part.variance**2 / part.df for part in parts)
    if variance <= 0:
        return NOTHING
    return Part(variance, variance**2 / spread if spread else math.inf)


def interval(estimate: float, parts: Iterable[Part]) -> tuple[float, float]:
    """The 95 % t interval of an estimate whose variance is the sum of these parts; NaN where a part is unknown."""
    spread = total(parts)
    half = special.stdtrit(spread.df, (1 + LEVEL) / 2) * math.sqrt(spread.variance)  # as stats.t.ppf, and much faster
    return estimate - half, estimate + half


def p_value(estimate: float, parts: Iterable[Part]) -> float:
    """Two-sided p of an estimate that is 0 under the null hypothesis; see `interval`, with which it agrees."""
    spread = total(parts)
    if spread.variance == 0:
        return 1.0 if estimate == 0 else 0.0
    return float(2 * stats.t.sf(abs(estimate) / math.sqrt(spread.variance), spread.df))


# ---------------------------------------------------------------------------------------------------------- moderation


def moderated(parts: Sequence[Part]) -> list[Part]:
    """Variances of like kind on several tasks, each drawn towards what all of them say.

    Empirical Bayes, as in Smyth, Linear models and empirical Bayes methods for assessing differential expression in
    microarray experiments, 2004, section 6.2: true variances are taken to be scattered as an inverse chi-squared
    distribution is, which is fitted by the moments of the logarithms. Variances of 0 stay as they are and fit nothing:
    where all runs are the same there is nothing that could vary. A part without degrees of freedom gets the prior's.
    """
    known = [part for part in parts if part.df > 0 and part.variance > 0]
    if len(known) < 2:
        return list(parts)
    prior = _prior(np.array([part.variance for part in known]), np.array([part.df for part in known]))
    pooled = sum(part.df for part in known)
    return [part if part.df > 0 and part.variance == 0 else _posterior(part, prior, pooled) for part in parts]


def _prior(variances: np.ndarray, df: np.ndarray) -> Part:
    """The variance and the degrees of freedom that the prior is worth; infinite where all variances are alike."""
    logs = np.log(variances) - special.digamma(df / 2) + np.log(df / 2)
    excess = np.var(logs, ddof=1) - special.polygamma(1, df / 2).mean()
    if excess <= 0:
        return Part(float(np.average(variances, weights=df)))
    half = optimize.brentq(lambda x: special.polygamma(1, x) - excess, 1e-8, 1e8)
    return Part(float(np.exp(logs.mean() + special.digamma(half) - np.log(half))), 2 * half)


def _posterior(part: Part, prior: Part, pooled: float) -> Part:
    """Both together, known no better than all tasks' variances would be if they were one (`pooled`)."""
    if math.isinf(prior.df):
        return Part(prior.variance, pooled)
    df = part.df + prior.df
    variance = (part.df * part.variance + prior.df * prior.variance) / df if part.df else prior.variance
    return Part(variance, min(df, pooled))


# ---------------------------------------------------------------------------------------------------------- components


@dataclass(frozen=True)
class Spreads:
    """How a corpus's mean score on one task varies with what it was trained on.

    Attributes:
        these: with draws and seeds, the recordings being given.
        new: with recordings, draws and seeds; None where the corpus has one recording.
    """

    these: list[Part]
    new: list[Part] | None


NOTHING_KNOWN = Spreads([], None)


def training_spreads(scores: Sequence[np.ndarray], recordings: Sequence[np.ndarray]) -> list[Spreads]:
    """The components of a corpus's mean score on each task, moderated over the tasks.

    What a recording does to all tasks (one context wrote several) is one component that they share; what it does to
    one task beyond that is another. Where no task has two runs of a recording, nobody knows what seeds do, and nothing
    stands for them.

    Args:
        scores: of every run, for each task; shape (runs,).
        recordings: which recording each run was trained on; of the same shapes. A corpus that nobody wrote anew, as
            `real`, has one.
    """
    within = moderated([_within(of_task, number) for of_task, number in zip(scores, recordings, strict=True)])
    these = [
        [] if math.isnan(part.variance) else [part.times(1 / len(of_task))]
        for part, of_task in zip(within, scores, strict=True)
    ]
    means = recording_means(scores, recordings)
    if means is None or means.shape[1] < 2:
        return [Spreads(parts, None) for parts in these]
    n_tasks, n_recordings = means.shape
    shared, own = shared_part(means), _own_parts(means)
    if n_tasks > 1:
        own = moderated(own)
    return [Spreads(parts, [*shared, beyond.times(1 / n_recordings)]) for parts, beyond in zip(these, own, strict=True)]


def recording_means(scores: Sequence[np.ndarray], recordings: Sequence[np.ndarray]) -> np.ndarray | None:
    """The mean score of each recording, shape (tasks, recordings); None where tasks have different recordings."""
    numbers = [tuple(np.unique(of_task)) for of_task in recordings]
    if len(set(numbers)) != 1:
        return None
    return np.array(
        [
            [of_task[which == number].mean() for number in numbers[0]]
            for of_task, which in zip(scores, recordings, strict=True)
        ]
    )


def shared_part(means: np.ndarray) -> list[Part]:
    """What recordings do to all tasks alike, in the mean over recordings: of a two-way layout, (MS_R - MS_E) / (K R).

    Args:
        means: shape (K tasks, R recordings).
    """
    n_tasks, n_recordings = means.shape
    if n_tasks < 2:
        return []
    df = (n_tasks - 1) * (n_recordings - 1)
    between = Part(float(n_tasks * np.var(means.mean(axis=0), ddof=1)), n_recordings - 1)
    rest = Part(float((_residuals(means) ** 2).sum() / df), df)
    scale = 1 / means.size
    return [between.times(scale), rest.times(-scale)] if between.variance > rest.variance else []


def _residuals(means: np.ndarray) -> np.ndarray:
    """What is neither a task's nor a recording's in a two-way layout, shape (tasks, recordings)."""
    return means - means.mean(axis=1, keepdims=True) - means.mean(axis=0) + means.mean()


def _own_parts(means: np.ndarray) -> list[Part]:
    """The variance of recordings on each task, beyond what they do to all tasks."""
    n_tasks, n_recordings = means.shape
    if n_tasks < 2:
        return [Part(float(np.var(row, ddof=1)), n_recordings - 1) for row in means]
    df = (n_recordings - 1) * (n_tasks - 1) / n_tasks
    return [Part(float(squares / df), df) for squares in (_residuals(means) ** 2).sum(axis=1)]


def _within(scores: np.ndarray, recordings: np.ndarray) -> Part:
    """The variance of runs about the mean of their recording."""
    squares, df = 0.0, 0
    for number in np.unique(recordings):
        own = scores[recordings == number]
        squares, df = squares + float(((own - own.mean()) ** 2).sum()), df + len(own) - 1
    return Part(squares / df, df) if df else Part(math.nan, 0)


# ---------------------------------------------------------------------------------------------------------- over tasks


def over_tasks(differences: np.ndarray, means: Iterable[np.ndarray | None] = ()) -> list[Part]:
    """The parts of the variance of a mean over tasks, which are themselves a sample.

    Args:
        differences: on each task, shape (tasks,), tasks >= 2.
        means: of each corpus that has recordings and enters the differences, shape (tasks, recordings), where the
            target is new recordings; none where it is these.
    """
    spread = Part(float(np.var(differences, ddof=1)) / len(differences), len(differences) - 1)
    shared = [part for each in means if each is not None and each.shape[1] > 1 for part in shared_part(each)]
    return [spread, *shared]
