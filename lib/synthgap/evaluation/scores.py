"""Scores of trained classifiers, and their resampling over test items and seeds.

Arrays follow one convention: `truth` has shape (items,), `predicted` has shape (seeds, items), both hold the places
of labels in the task's list. Scores are in percent.
"""

import math
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from synthgap.training.predictions import Predictions

METRICS = ("macro_f1", "accuracy")
METRIC = METRICS[0]  # where one alone is told
INTERVAL = (2.5, 97.5)
without_threads = threadpool_limits.wrap(limits=1)  # these products are small: threads would only wait


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


def score_runs(predictions: Predictions, corpus: str) -> dict[str, np.ndarray]:
    """{metric: the score of every seed, shape (seeds,)}."""
    size, runs = len(predictions.labels), predictions.predicted[corpus]
    return score_confusions(np.stack([confusion(predictions.truth, run, size) for run in runs]))


def merge_items(
    predictions: Predictions, corpora: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Items that every run of these corpora treats alike, merged into one pattern each.

    Resampling items is resampling patterns by their counts, and there are far fewer of these.

    Returns:
        Counts and truth of the patterns, shape (patterns,), and {corpus: predicted, shape (seeds, patterns)}.
    """
    runs = [predictions.predicted[corpus] for corpus in corpora]
    patterns, counts = np.unique(np.vstack([predictions.truth, *runs]), axis=1, return_counts=True)
    parts = np.split(patterns[1:], np.cumsum([len(part) for part in runs])[:-1])
    return counts, patterns[0], dict(zip(corpora, parts, strict=True))


def confusion_cells(truth: np.ndarray, predicted: np.ndarray, n_labels: int) -> np.ndarray:
    """Which cell of a run's confusion matrix each item falls into, one-hot, shape (seeds, items, labels * labels)."""
    return np.eye(n_labels**2, dtype=np.float32)[truth * n_labels + predicted]


def score_cells(cells: np.ndarray) -> dict[str, np.ndarray]:
    """`score_confusions` of matrices that are written in a line, shape (..., labels * labels)."""
    size = math.isqrt(cells.shape[-1])
    return score_confusions(cells.reshape(*cells.shape[:-1], size, size).astype(float, copy=False))


@without_threads
def bootstrap(predictions: Predictions, resamples: int, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """{corpus: {metric: shape (resamples, runs)}}: the score of every run, with test items drawn anew.

    The items of a resample are the same for all corpora, so differences between them are paired.
    """
    random = np.random.default_rng(seed)
    counts, truth, predicted = merge_items(predictions, list(predictions.predicted))
    weights = random.multinomial(counts.sum(), counts / counts.sum(), size=resamples)
    weights = weights.astype(np.float32)  # counts of items, exact below 2^24
    draws = {}
    for corpus, runs in predicted.items():
        scores = score_cells(weights @ confusion_cells(truth, runs, len(predictions.labels)))
        draws[corpus] = {metric: values.T for metric, values in scores.items()}
    return draws


def percentile_interval(draws: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of resampled values."""
    low, high = np.percentile(draws, INTERVAL)
    return float(low), float(high)
