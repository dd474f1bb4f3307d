"""Can the gap be foretold, from what needs no label of the test and no label of a real text?

Fixed before any gap was looked at: the six FEATURES, a ridge regression on standardised features with the penalty
PENALTY, each task weighing the same, judged by leaving one task out (all of its corpora), with a band of the 90 %
quantile of the absolute errors on tasks left out. The LLM's blind agreement with itself, which would need no label
either, is no feature: of found texts there is none, and recorded ones the LLM confirms nearly always
(`benchmarks/forecast_blind.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from synthgap.causes.draws import PROBE, Draw, Sample
from synthgap.causes.texts import auc, words
from synthgap.diversity.distances import spread
from synthgap.diversity.measures import vendi
from synthgap.diversity.similarity import similarity_to
from synthgap.evaluation.scores import confusion, score_confusions
from synthgap.generation.filtering import label_pattern
from synthgap.tables import signed, stacked
from synthgap.tasks import load_task
from synthgap.training.base import logistic_regression

FEATURES = {
    "told_apart": "AUC of telling the corpus's texts from real ones by their embeddings",
    "similarity": "of real texts to their nearest in the corpus, less that to as many other real texts",
    "diversity": "Chamfer distance within the corpus less that within as many real texts",
    "length": "absolute logarithm of the ratio of median words",
    "label_words": "share of texts that name their label, in percent",
    "own_folds": "macro-F1 of the corpus's own labels, cross-validated",
}
PENALTY = 10.0
COVERAGE = 0.9
NEIGHBOURS = 5


# ------------------------------------------------------------------------------------------------------------ features


def features(made: Sample, real: Sample, labels: Mapping[str, str]) -> dict[str, float]:
    """FEATURES of labelled synthetic texts beside real ones, whose labels are not used; NaN where there are too few.

    Args:
        labels: of the task, {name: phrase}.
    """
    random, n = np.random.default_rng(0), min(len(made.vectors), len(real.vectors))
    ours, theirs = (one.vectors[random.permutation(len(one.vectors))[:n]] for one in (made, real))
    asked, others = theirs[: n // 2], theirs[n // 2 :]
    enough = len(asked) and len(others) >= NEIGHBOURS
    near = [similarity_to(asked, some[: len(others)], NEIGHBOURS).mean() for some in (ours, others)] if enough else []
    guessed = made.fold_probabilities(len(labels)).argmax(axis=1)
    medians = [max(1.0, float(np.median(words(one.texts)))) for one in (made, real)]
    named = label_pattern(labels)
    return {
        "told_apart": auc(theirs, ours, logistic_regression(PROBE.inverse_regularisation)),
        "similarity": float(near[0] - near[1]) if near else np.nan,
        "diversity": spread(ours).chamfer - spread(theirs).chamfer if n > 1 else np.nan,
        "length": abs(float(np.log(medians[0] / medians[1]))),
        "label_words": 100 * float(np.mean([bool(named.search(text)) for text in made.texts["text"]])),
        "own_folds": float(score_confusions(confusion(made.labels, guessed, len(labels)))["macro_f1"]),
    }


def properties(draw: Draw) -> dict[str, float]:
    """What a draw's texts are like: FEATURES, Chamfer distance, Vendi score, median words, and the share in percent of
    labels that a teacher doubts who learned from real texts."""
    found = features(draw.made, draw.real, load_task(draw.task).labels)
    doubted = 100 * float(np.mean(draw.teacher.argmax(axis=1) != draw.made.labels))
    return found | {
        "chamfer": spread(draw.made.vectors).chamfer,
        "vendi": vendi(draw.made.vectors),
        "words": float(np.median(words(draw.made.texts))),
        "doubted": doubted,
    }


def examples(properties: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """What a forecast is fitted to: columns task, corpus, FEATURES, gap; a row for each pair that has all of them.

    Args:
        properties: means over draws, as `summary.by_task` gives them.
        gaps: columns task, corpus, gap; of one classifier, without pools, whose texts are those of other rows.
    """
    wide = properties.pivot_table(index=["task", "corpus"], columns="measure", values="value", sort=False)
    table = wide.reindex(columns=list(FEATURES)).reset_index().merge(gaps[["task", "corpus", "gap"]])
    return table.dropna().reset_index(drop=True).rename_axis(columns=None)


# ------------------------------------------------------------------------------------------------------------ forecast


@dataclass(frozen=True)
class Forecast:
    """A fitted forecast.

    Attributes:
        half: half the width of its band, in points; infinite where too few tasks tell.
    """

    model: Pipeline
    half: float

    def __call__(self, found: Mapping[str, float]) -> tuple[float, float, float]:
        """The gap in points that these features foretell, and the ends of its 90 % band; NaN where a feature is."""
        values = np.array([[found[name] for name in FEATURES]], dtype=float)
        if not np.isfinite(values).all():
            return np.nan, np.nan, np.nan
        gap = float(self.model.predict(values)[0])
        return gap, gap - self.half, gap + self.half


def fit(table: pd.DataFrame) -> Forecast:
    """The forecast that these examples give; its band is of errors on tasks left out."""
    return Forecast(_model(table), half_width((table["gap"] - _on_tasks_left_out(table)).abs().to_numpy()))


def half_width(errors: np.ndarray, coverage: float = COVERAGE) -> float:
    """The conformal quantile of absolute errors (Vovk et al. 2005); infinite where there are too few for it."""
    rank = int(np.ceil((len(errors) + 1) * coverage))
    return float(np.sort(errors)[rank - 1]) if 0 < rank <= len(errors) else np.inf


def _model(table: pd.DataFrame) -> Pipeline:
    model = make_pipeline(StandardScaler(), Ridge(PENALTY))
    weights = 1 / table.groupby("task")["task"].transform("size")
    weights = weights * len(table) / weights.sum()
    return model.fit(table[list(FEATURES)].to_numpy(), table["gap"], ridge__sample_weight=weights)


def _on_tasks_left_out(table: pd.DataFrame) -> pd.Series:
    """For each row what is foretold by the other tasks' rows; NaN where there is no other task."""
    foretold = pd.Series(np.nan, table.index)
    for task, own in table.groupby("task"):
        others = table[table["task"] != task]
        if len(others):
            foretold[own.index] = _model(others).predict(own[list(FEATURES)].to_numpy())
    return foretold


def leave_one_task_out(table: pd.DataFrame) -> pd.DataFrame:
    """Each row's gap as the other tasks foretell it: columns task, corpus, gap, forecast, low, high, mean.

    mean: what foretells without features, the mean gap of the other tasks. Neither the forecast nor its band has seen
    anything of the task.
    """
    parts = []
    for task, own in table.groupby("task", sort=False):
        others = table[table["task"] != task]
        if others["task"].nunique() < 2:
            continue
        fitted = fit(others)
        bands = [fitted(row) for row in own[list(FEATURES)].to_dict("records")]
        found = pd.DataFrame(bands, own.index, ["forecast", "low", "high"])
        mean = others.groupby("task")["gap"].mean().mean()
        parts.append(own[["task", "corpus", "gap"]].join(found).assign(mean=mean))
    return stacked(parts, ["task", "corpus", "gap", "forecast", "low", "high", "mean"])


def judged(found: pd.DataFrame) -> pd.Series:
    """Of `leave_one_task_out` the mean absolute errors of forecast and mean in points, each task weighing the same, and
    the share of gaps in the band in percent."""
    errors = found.assign(
        forecast=(found["gap"] - found["forecast"]).abs(),
        mean=(found["gap"] - found["mean"]).abs(),
        covered=100.0 * found["gap"].between(found["low"], found["high"]),
    )
    means = errors.groupby("task")[["forecast", "mean", "covered"]].mean().mean()
    return means.rename({"forecast": "error", "mean": "error_of_mean"})


def judged_in_words(found: pd.DataFrame) -> str:
    """The forecast's errors in a sentence."""
    if found.empty:
        return "The gap is not foretold here: that takes corpora of three tasks at least."
    means = judged(found)
    width = (found["high"] - found["low"]).median() / 2
    band = "without end" if np.isinf(width) else f"of ±{width:.1f} points"
    return (
        f"Leaving one task out ({found['task'].nunique()} tasks, {len(found)} corpora), the forecast is off by "
        f"{means['error']:.1f} points on average and the mean of the other tasks by {means['error_of_mean']:.1f} "
        f"({signed(means['error'] - means['error_of_mean'])}); the 90 % band {band} covers {means['covered']:.0f} %."
    )
