"""Learning curves: the score against the number of training texts, and how many real texts a synthetic one is worth.

The predictions of a learning curve are named by corpus and texts per label, as in "real 25"; all share the test items.
What the worth is counted in are the texts of the comparison's reference, whose points come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from synthgap.evaluation.scores import INTERVAL, bootstrap, interval, means_over_seeds, score_runs
from synthgap.training.predictions import Predictions

METRIC = "macro_f1"
PLACE = ["task", "classifier", "corpus", "texts_per_label"]
POINT_COLUMNS = [*PLACE, "n_train", "seeds", "macro_f1", "macro_f1_low", "macro_f1_high"]
WORTH_COLUMNS = [*PLACE, "seeds", "worth", "low", "high", "least", "most", "bound"]


def curve_tables(
    predictions: Sequence[Predictions], resamples: int = 2000, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The curves' points, and what a synthetic text is worth at each size; both tidy, with 95 % percentile intervals.

    The first has POINT_COLUMNS, the second WORTH_COLUMNS: `worth` is 0 or infinite where the reference's curve, which
    can tell it from `least` to `most`, does not reach the score; `bound` says so in words. Intervals resample test
    items, the same for all points of a task, and each point's seeds; where there is one seed, test items alone.
    """
    rows = []
    for one in tqdm(predictions, desc="learning curves", mininterval=2):
        resampled = bootstrap(one, resamples, seed)
        for number, (name, runs) in enumerate(one.predicted.items(), start=1):
            corpus, _, size = name.rpartition(" ")
            place = (one.task, one.classifier, corpus, int(size))
            mean = score_runs(one, name)[METRIC].mean()
            draws = means_over_seeds(resampled[name][METRIC], seed + number)
            rows.append((*place, one.n_train[name], len(runs), mean, *interval(draws), draws))
    points = pd.DataFrame(rows, columns=[*POINT_COLUMNS, "draws"])
    worths = [row for _, part in points.groupby(["task", "classifier"], sort=False) for row in _worths(part)]
    return points[POINT_COLUMNS], pd.DataFrame(worths, columns=WORTH_COLUMNS)


def _worths(points: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Rows of WORTH_COLUMNS for one task's and classifier's points of the other corpora than the reference, by size."""
    reference, *others = points["corpus"].unique()
    curves = {corpus: part.sort_values("texts_per_label") for corpus, part in points.groupby("corpus")}
    real = curves[reference]
    sizes, scores, draws = real["texts_per_label"].to_numpy(), real["macro_f1"].to_numpy(), np.stack(real["draws"])
    for corpus in others:
        for point in curves[corpus].itertuples():
            size = point.texts_per_label
            texts = float(real_texts(sizes, scores, point.macro_f1))
            drawn = real_texts(sizes, draws, point.draws)
            low, high = np.percentile(drawn / size, INTERVAL, method="inverted_cdf")
            worth = (texts / size, low, high, sizes[0] / size, sizes[-1] / size)
            yield point.task, point.classifier, corpus, size, point.seeds, *worth, _bound(texts, sizes, reference)


def real_texts(sizes: np.ndarray, scores: np.ndarray, wanted: float | np.ndarray) -> np.ndarray:
    """How many real texts per label give the wanted score, on the real curve made monotone; linear in the size's log.

    Below the curve's first point the answer is 0, above its last one infinity: the curve does not say more.

    Args:
        sizes: shape (points,), ascending.
        scores: the real curve's, shape (points, ...).
        wanted: shape (...).
    """
    rising = isotonic(scores)
    after = (rising < wanted).sum(axis=0)  # the fewest texts that reach it
    around = np.stack([np.maximum(after - 1, 0), np.minimum(after, len(sizes) - 1)])
    low, high = np.take_along_axis(rising, around, axis=0)
    share = np.divide(wanted - low, high - low, out=np.zeros_like(low), where=high > low)
    log_low, log_high = np.log(sizes)[around]
    texts = np.exp(log_low + share * (log_high - log_low))
    return np.where(wanted < rising[0], 0.0, np.where(wanted > rising[-1], np.inf, texts))


def isotonic(scores: np.ndarray) -> np.ndarray:
    """The rising curve that is nearest in least squares, for many short curves at once, shape (points, ...).

    At each point it is the largest, over the starts before it, of the smallest, over the ends after it, of the mean
    from start to end (Barlow, Bartholomew, Bremner and Brunk 1972).
    """
    places = range(len(scores))
    means = {(start, end): scores[start : end + 1].mean(axis=0) for start in places for end in places[start:]}
    return np.stack(
        [
            np.max([np.min([means[start, end] for end in places[at:]], axis=0) for start in places[: at + 1]], axis=0)
            for at in places
        ]
    )


def _bound(texts: float, sizes: np.ndarray, reference: str) -> str:
    """What is known where the reference's curve does not reach the score."""
    if texts == 0:
        return f"worse than {sizes[0]} {reference} texts per label"
    return f"better than {sizes[-1]} {reference} texts per label" if np.isinf(texts) else ""


def at_middle_size(worth: pd.DataFrame) -> pd.DataFrame:
    """The rows of each task and classifier at the size in the middle of its curve, which leaves room on both sides."""
    distance = np.log(worth["least"] * worth["most"]).abs().round(9)
    sizes = worth.assign(distance=distance).sort_values(["distance", "texts_per_label"], kind="stable")
    chosen = sizes.groupby(["task", "classifier"], sort=False)["texts_per_label"].transform("first")
    return worth[worth["texts_per_label"] == chosen.reindex(worth.index)].reset_index(drop=True)


def worth_in_words(worth: pd.DataFrame) -> pd.DataFrame:
    """The worth for people: "0.56 [0.31, 1.20]", and "< 0.20" or "> 4.00" where the real curve says no more."""

    def number(value: float, least: float, most: float) -> str:
        if value == 0:
            return f"< {least:.2f}"
        return f"> {most:.2f}" if np.isinf(value) else f"{value:.2f}"

    cells = [
        f"{number(value, *limits)} [{number(low, *limits)}, {number(high, *limits)}]"
        for value, low, high, *limits in worth[["worth", "low", "high", "least", "most"]].to_numpy(float)
    ]
    places = worth[WORTH_COLUMNS[:5]]
    return places.assign(**{"worth [95 % interval]": cells, "bound": worth["bound"].replace("", "–")})
