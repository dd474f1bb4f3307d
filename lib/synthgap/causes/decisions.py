"""What classifiers decide too often, and how sure they are of it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from synthgap.causes.draws import VALUE_COLUMNS, Draw, probabilities
from synthgap.training.predictions import read_index
from synthgap.training.store import find

BINS = 10
ROUNDS = 100  # of scaling columns and rows
SMALLEST = 5e-4  # probabilities are kept in thousandths
RELIABILITY = ["classifier", "corpus", "bin", "confidence", "accuracy", "share"]


def with_shares(guessed: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Probabilities scaled so that the labels' mean probabilities are these shares; shape (items, labels).

    Columns and rows are scaled in turn, as in raking (Deming and Stephan 1940); which item is likelier than which
    stays as it is.
    """
    scaled = np.clip(guessed, SMALLEST, None)
    for _ in range(ROUNDS):
        scaled = scaled * (shares / scaled.mean(axis=0))
        scaled = scaled / scaled.sum(axis=1, keepdims=True)
    return scaled


def bias(draw: Draw) -> dict[str, float]:
    """A draw's gap as it is and after both classifiers are told the test's class shares, in points.

    off, off_real: the share of decisions that would have to change for the decided classes to be as frequent as the
    true ones (half the sum of differences), in percent.
    """
    n_labels = len(draw.labels)
    shares = _shares(draw.test.labels, n_labels)
    scores, off = [], []
    for sample in (draw.made, draw.real):
        guessed = probabilities(sample.probe, draw.test.vectors, n_labels)
        scores.append(draw.score_of(with_shares(guessed, shares).argmax(axis=1)))
        off.append(50 * float(np.abs(_shares(guessed.argmax(axis=1), n_labels) - shares).sum()))
    told = scores[0] - scores[1]
    return {"gap": draw.gap, "told": told, "told_real": scores[1] - draw.real_score, "off": off[0], "off_real": off[1]}


def class_shares(draw: Draw) -> dict[str, float]:
    """{label: decided less true share, in points}, of the classifier trained on a draw's synthetic texts."""
    decided = _shares(draw.made.probe.predict(draw.test.vectors), len(draw.labels))
    true = _shares(draw.test.labels, len(draw.labels))
    return dict(zip(draw.labels, 100 * (decided - true), strict=True))


def _shares(places: np.ndarray, n_labels: int) -> np.ndarray:
    return np.bincount(places, minlength=n_labels) / len(places)


# --------------------------------------------------------------------------------------------------------- calibration


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """The expected calibration error in percent: the mean distance of confidence and accuracy over ten equal bins.

    Naeini, Cooper and Hauskrecht, AAAI 2015; Guo, Pleiss, Sun and Weinberger, ICML 2017.

    Args:
        confidence: the probability of the label that is decided for, shape (items,).
        right: whether it is the true one.
    """
    return _error(reliability(confidence, right))


def _error(bins: pd.DataFrame) -> float:
    return 100 * float((bins["share"] * (bins["confidence"] - bins["accuracy"]).abs()).sum())


def reliability(confidence: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """Columns bin, confidence, accuracy, share: means of the items in each of ten equal bins of confidence."""
    bins = np.minimum((np.asarray(confidence) * BINS).astype(int), BINS - 1)
    items = pd.DataFrame({"bin": bins, "confidence": confidence, "accuracy": np.asarray(right, float)})
    bins_of = items.groupby("bin")
    return bins_of.mean().assign(share=bins_of.size() / len(items)).reset_index()


def calibration(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How well the runs of the main comparison know how sure they may be.

    Returns:
        The calibration error of every run whose probabilities were kept: columns classifier, then VALUE_COLUMNS with
        measure "ece" and "sure", the mean confidence less the accuracy, in points. And reliability curves, means over
        runs and tasks: columns RELIABILITY.
    """
    rows, curves = [], []
    for about, confidence, right in _confidences(folder):
        key, bins = (about.classifier, about.task, about.corpus), reliability(confidence, right)
        sure = 100 * float(confidence.mean() - right.mean())
        for measure, value in (("ece", _error(bins)), ("sure", sure)):
            rows.append((*key, measure, about.recording, about.seed, value))
        curves.append(bins.assign(classifier=about.classifier, corpus=about.corpus))
    values = pd.DataFrame(rows, columns=["classifier", *VALUE_COLUMNS])
    if not curves:
        return values, pd.DataFrame(columns=RELIABILITY)
    bins = pd.concat(curves).groupby(["classifier", "corpus", "bin"], sort=False, as_index=False)
    means = bins.apply(_mean_bin, include_groups=False)
    return values, means.sort_values(["classifier", "corpus", "bin"], kind="stable", ignore_index=True)[RELIABILITY]


def _mean_bin(rows: pd.DataFrame) -> pd.Series:
    weights = rows["share"]
    means = {name: np.average(rows[name], weights=weights) for name in ("confidence", "accuracy")}
    return pd.Series(means | {"share": weights.mean()})


def _confidences(folder: Path) -> Iterator[tuple[pd.Series, np.ndarray, np.ndarray]]:
    """Of each run with probabilities its row of the index, how sure it is of each test item, whether it is right."""
    index = read_index(folder)
    for row in index[index["comparison"] == index["comparison"].iloc[0]].itertuples():
        run = find(folder, row.run, probabilities=True)
        if run is None or run.probabilities is None:
            continue
        test = (run.items.keys["items"] == "test").to_numpy()
        guessed = run.probabilities[test]
        truth = pd.Index(run.labels).get_indexer(run.items.keys.loc[test, "label"])
        kept = np.isfinite(guessed).all(axis=1)
        if kept.any():
            yield row, guessed[kept].max(axis=1), run.predicted[test][kept] == truth[kept]
