"""Learning curves: the score against the number of training texts, and how many real texts a synthetic one is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthgap.evaluation import INTERVAL, Outcome, bootstrap, load_outcome, score_runs
from synthgap.runs import CURVE, read_index

if TYPE_CHECKING:
    import pandas as pd

METRIC = "macro_f1"
POINT_COLUMNS = [
    *("task", "classifier", "regime", "texts_per_label", "n_train", "seeds", "macro_f1", "macro_f1_low"),
    "macro_f1_high",
]
WORTH_COLUMNS = [
    *("task", "classifier", "regime", "texts_per_label", "seeds", "worth", "low", "high", "least", "most", "bound")
]


@dataclass(frozen=True)
class Curve:
    """The learning curves of one task and classifier.

    Attributes:
        outcome: its "regimes" are (regime, texts a label), written as "real 25"; all share the test items.
        sizes: {"real 25": ("real", 25)}.
    """

    outcome: Outcome
    sizes: Mapping[str, tuple[str, int]]

    def scores(self, regime: str, values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Sizes, shape (points,), ascending, and the values at them, shape (points, ...)."""
        points = sorted((size, name) for name, (one, size) in self.sizes.items() if one == regime)
        return np.array([size for size, _ in points]), np.stack([values[name] for _, name in points])


def load_curves(folder: Path) -> list[Curve]:
    """The curves of each task and classifier, in the index's order; none where the profile asks for none.

    Raises:
        SynthgapError: the stage 02_training has not been run, or a run is torn.
    """
    index = read_index(folder, CURVE)
    if index.empty:
        return []
    index["point"] = index["regime"] + " " + index["texts_per_label"].astype(str)
    curves = []
    for (task, classifier), rows in index.groupby(["task", "classifier"], sort=False):
        outcome = load_outcome(folder, str(task), str(classifier), rows.assign(regime=rows["point"]))
        points = rows.drop_duplicates("point")
        names = zip(points["point"], points["regime"], points["texts_per_label"], strict=True)
        curves.append(Curve(outcome, {point: (regime, int(size)) for point, regime, size in names}))
    return curves


def curve_tables(curves: list[Curve], resamples: int = 2000, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The curves' points, and what a synthetic text is worth at each size; both tidy, with 95 % percentile intervals.

    The first has POINT_COLUMNS, the second WORTH_COLUMNS: `worth` is 0 or infinite where the real curve, which can tell
    it from `least` to `most`, does not reach the score; `bound` says so in words. Intervals resample test items, the
    same for all points of a task, and each point's seeds; where there is one seed, test items alone.
    """
    import pandas as pd

    points, worths = [], []
    for curve in curves:
        draws = {name: values[METRIC] for name, values in bootstrap(curve.outcome, resamples, seed).items()}
        points += [_point(curve, name, draws[name]) for name in curve.sizes]
        for regime in dict.fromkeys(one for one, _ in curve.sizes.values() if one != "real"):
            worths += _worths(curve, regime, draws)
    return pd.DataFrame(points, columns=POINT_COLUMNS), pd.DataFrame(worths, columns=WORTH_COLUMNS)


def _point(curve: Curve, name: str, draws: np.ndarray) -> dict[str, object]:
    outcome, (regime, size) = curve.outcome, curve.sizes[name]
    low, high = np.percentile(draws, INTERVAL)
    values = (outcome.task, outcome.classifier, regime, size, outcome.n_train[name], len(outcome.predicted[name]))
    return dict(zip(POINT_COLUMNS, (*values, score_runs(outcome, name)[METRIC].mean(), low, high), strict=True))


def _worths(curve: Curve, regime: str, draws: Mapping[str, np.ndarray]) -> list[dict[str, object]]:
    if not any(one == "real" for one, _ in curve.sizes.values()):
        return []
    means = {name: score_runs(curve.outcome, name)[METRIC].mean() for name in curve.sizes}
    sizes, real = curve.scores("real", means)
    _, real_draws = curve.scores("real", draws)
    rows = []
    for size, synthetic, drawn in zip(*curve.scores(regime, means), curve.scores(regime, draws)[1], strict=True):
        value = real_texts(sizes, real, float(synthetic)) / size
        found = [real_texts(sizes, real_draws[:, place], drawn[place]) for place in range(len(drawn))]
        low, high = np.percentile(np.array(found) / size, INTERVAL, method="inverted_cdf")
        seeds = len(curve.outcome.predicted[f"{regime} {size}"])
        place = (curve.outcome.task, curve.outcome.classifier, regime, int(size), seeds)
        limits = (sizes[0] / size, sizes[-1] / size)
        cells = (*place, value, low, high, *limits, bound(value * size, sizes))
        rows.append(dict(zip(WORTH_COLUMNS, cells, strict=True)))
    return rows


def real_texts(sizes: np.ndarray, scores: np.ndarray, score: float) -> float:
    """How many real texts a label give this score, on the real curve made monotone; linear in the size's logarithm.

    Below the curve's first point the answer is 0, above its last one infinity: the curve does not say more.

    Args:
        sizes: shape (points,), ascending; scores: the real curve's, same shape.
    """
    from sklearn.isotonic import isotonic_regression

    rising = isotonic_regression(scores)
    if score < rising[0]:
        return 0.0
    if score > rising[-1]:
        return float("inf")
    after = int(np.searchsorted(rising, score, side="left"))  # the fewest texts that reach it
    if after == 0:
        return float(sizes[0])
    share = (score - rising[after - 1]) / (rising[after] - rising[after - 1])
    return float(np.exp(np.log(sizes[after - 1]) + share * (np.log(sizes[after]) - np.log(sizes[after - 1]))))


def at_middle_size(worth: pd.DataFrame) -> pd.DataFrame:
    """The rows of each task and classifier at the size in the middle of its curve, which leaves room on both sides."""
    distance = np.log(worth["least"] * worth["most"]).abs().round(9)
    sizes = worth.assign(distance=distance).sort_values(["distance", "texts_per_label"], kind="stable")
    chosen = sizes.groupby(["task", "classifier"], sort=False)["texts_per_label"].transform("first")
    return worth[worth["texts_per_label"] == chosen.reindex(worth.index)].reset_index(drop=True)


def shown(worth: pd.DataFrame) -> pd.DataFrame:
    """The worth for people: "0.56 [0.31, 1.20]", and "< 0.20" or "> 4.00" where the real curve says no more."""
    import pandas as pd

    def number(value: float, row: Any) -> str:
        if value == 0:
            return f"< {row.least:.2f}"
        return f"> {row.most:.2f}" if np.isinf(value) else f"{value:.2f}"

    rows = [
        {
            **{name: getattr(row, name) for name in WORTH_COLUMNS[:5]},
            "worth [95 % interval]": f"{number(row.worth, row)} [{number(row.low, row)}, {number(row.high, row)}]",
            "bound": row.bound or "–",
        }
        for row in worth.itertuples()
    ]
    return pd.DataFrame(rows, columns=[*WORTH_COLUMNS[:5], "worth [95 % interval]", "bound"])


def bound(texts: float, sizes: np.ndarray) -> str:
    """What is known where the real curve does not reach the score."""
    if texts == 0:
        return f"worse than {sizes[0]} real texts a label"
    return f"better than {sizes[-1]} real texts a label" if np.isinf(texts) else ""
