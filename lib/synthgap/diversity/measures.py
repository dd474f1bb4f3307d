"""How diverse the texts of a task are: Remote-Clique, Chamfer, Vendi score, distinct n-grams, rarefaction.

Embeddings have shape (texts, dimensions). `distance` is "cosine" or "euclidean", see `distances`.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import entr

from synthgap.core.config import REAL
from synthgap.core.errors import SynthgapError
from synthgap.data.duplicates import normalised
from synthgap.diversity.distances import bootstrap_spread, spread, unit
from synthgap.diversity.texts import EmbeddedTexts, on_all_cores
from synthgap.evaluation.gaps import gaps_to_reference, rank_correlations
from synthgap.evaluation.scores import percentile_interval

SIZES = (25, 50, 100, 200, 400, 800, 1600, 3200, 6400)
KEY = ["task", "corpus", "label", "metric"]
NO_DRAWS = np.array([np.nan])


# ------------------------------------------------------------------------------------------- Vendi score and n-grams


def vendi(embeddings: np.ndarray) -> float:
    """The effective number of different texts, 1 to n: exp of the entropy of the eigenvalues of the similarities / n.

    Friedman and Dieng 2023, with cosine similarity. Of the n x n similarities and the d x d matrix with the same
    eigenvalues the smaller is taken.
    """
    rows = unit(embeddings).astype(float)
    if not len(rows):
        raise SynthgapError("the Vendi score needs at least one text")
    matrix = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    return float(np.exp(entr(np.linalg.eigvalsh(matrix / len(rows)).clip(0)).sum()))


def distinct(texts: Sequence[str], n: int) -> float:
    """Share of n-grams of words that are different (Li et al. 2016), 0 to 1; refused where no text has n words."""
    split = [normalised(text).split() for text in texts]
    grams = [tuple(words[at : at + n]) for words in split for at in range(len(words) - n + 1)]
    if not grams:
        raise SynthgapError(f"no text has {n} words")
    return len(set(grams)) / len(grams)


# ------------------------------------------------------------------------------------------------- values, differences


def measure(
    texts: Sequence[EmbeddedTexts], distance: str, resamples: int, seed: int, reference: str = REAL
) -> pd.DataFrame:
    """Diversity of every corpus, overall and by label, and its difference from the reference corpus of its task.

    Columns task, corpus, baseline ("" where the row is a value, else the reference that a difference is from),
    label ("all" for overall), metric, n, value, low, high. The intervals (95 %) resample texts; the two sets of a
    difference share no texts and are resampled each on its own. Vendi score and distinct n-grams have none: a text
    drawn twice would count as lost diversity.
    """
    parts = on_all_cores(
        lambda place: _measured(texts[place], distance, resamples, seed + place), range(len(texts)), "measures"
    )
    measured = {key: found for part in parts for key, found in part.items()}
    rows = []
    for (task, corpus, label, metric), (n, value, draws) in measured.items():
        rows.append((task, corpus, "", label, metric, n, value, *percentile_interval(draws)))
        if corpus != reference and (task, reference, label, metric) in measured:
            _, base, base_draws = measured[task, reference, label, metric]
            ends = percentile_interval(draws - base_draws)
            rows.append((task, corpus, reference, label, metric, n, value - base, *ends))
    columns = ["task", "corpus", "baseline", "label", "metric", "n", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _measured(one: EmbeddedTexts, distance: str, resamples: int, seed: int) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """{(task, corpus, label, metric): (n, value, resampled values)}; no n-grams where no text has so many words."""
    found: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for label in ("all", *dict.fromkeys(one.texts["label"])):
        part = one if label == "all" else one.take((one.texts["label"] == label).to_numpy())
        key, n = (one.task, one.corpus, label), len(part.texts)
        values, draws = {"remote_clique": np.nan, "chamfer": np.nan}, {}
        if n > 1:
            apart = spread(part.embeddings, distance)
            values = {metric: getattr(apart, metric) for metric in values}
            draws = bootstrap_spread(apart, resamples, seed)
        values["vendi"] = vendi(part.embeddings)
        for words in (1, 2):
            with contextlib.suppress(SynthgapError):
                values[f"distinct_{words}"] = distinct(part.texts["text"].tolist(), words)
        found |= {(*key, metric): (n, value, draws.get(metric, NO_DRAWS)) for metric, value in values.items()}
    return found


def diversity_values(measured: pd.DataFrame) -> pd.DataFrame:
    """Of `measure`'s table the values: columns task, corpus, label, metric, n, value, low, high."""
    return measured[measured["baseline"] == ""].drop(columns="baseline").reset_index(drop=True)


def diversity_differences(measured: pd.DataFrame) -> pd.DataFrame:
    """Of `measure`'s table the differences from the reference: task, corpus, label, metric, difference, low, high."""
    rows = measured[measured["baseline"] != ""].rename(columns={"value": "difference"})
    return rows[[*KEY, "difference", "low", "high"]].sort_values(KEY).reset_index(drop=True)


def over_tasks(differences: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """The mean difference from the reference over tasks (paired by task), with a 95 % interval that resamples tasks.

    Columns corpus, metric, tasks, difference, low, high, lower_in (tasks whose texts are less diverse); no row where
    there is one task alone.
    """
    random = np.random.default_rng(seed)
    rows = []
    overall = differences[(differences["label"] == "all") & differences["difference"].notna()]
    for (corpus, metric), part in overall.groupby(["corpus", "metric"], sort=False):
        values = part["difference"].to_numpy()
        if len(values) > 1:
            means = values[random.integers(len(values), size=(resamples, len(values)))].mean(axis=1)
            ends = percentile_interval(means)
            rows.append((corpus, metric, len(values), values.mean(), *ends, int((values < 0).sum())))
    return pd.DataFrame(rows, columns=["corpus", "metric", "tasks", "difference", "low", "high", "lower_in"])


# --------------------------------------------------------------------------------------------------------- rarefaction


def rarefaction(texts: Sequence[EmbeddedTexts], distance: str, draws: int, seed: int) -> pd.DataFrame:
    """Chamfer and Vendi score of random parts of every corpus, against their size.

    Columns task, corpus, metric, n, value (mean over draws without replacement), low, high (the middle 95 % of them;
    without width at the whole corpus, of which there is one draw). A corpus of one text has no rows.
    """
    curves = on_all_cores(lambda one: _rarefied(one, distance, draws, seed), texts, "rarefaction")
    columns = ["task", "corpus", "metric", "n", "value", "low", "high"]
    return pd.DataFrame([row for curve in curves for row in curve], columns=columns)


def _rarefied(one: EmbeddedTexts, distance: str, draws: int, seed: int) -> list[tuple[Any, ...]]:
    rows, total, random = [], len(one.texts), np.random.default_rng(seed)
    measures = {"chamfer": lambda part: spread(part, distance).chamfer, "vendi": vendi}
    for n in [size for size in SIZES if size < total] + [total] * (total > 1):
        parts = [one.embeddings[random.choice(total, n, replace=False)] for _ in range(draws if n < total else 1)]
        for metric, function in measures.items():
            values = np.array([function(part) for part in parts])
            rows.append((one.task, one.corpus, metric, n, values.mean(), *percentile_interval(values)))
    return rows


# ------------------------------------------------------------------------------------------------- diversity and scores


def with_gaps(differences: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """Overall differences in diversity beside the gaps in macro-F1 of every classifier, both from the reference.

    Columns task, corpus, metric, difference, classifier, gap.

    Args:
        differences: as `diversity_differences` gives them.
        gaps: as `evaluation.gaps.evaluate` gives them.
    """
    overall = differences[differences["label"] == "all"][["task", "corpus", "metric", "difference"]]
    both = overall.merge(gaps_to_reference(gaps)[["task", "corpus", "classifier", "gap"]], on=["task", "corpus"])
    return both.dropna(subset=["difference", "gap"])


def diversity_and_gap(differences: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rho over tasks of the difference in diversity and the gap in macro-F1, both from the reference.

    Columns classifier, corpus, metric, n, rho, low, high, p, detectable; no row where fewer than 4 tasks can be
    compared. Arguments as of `with_gaps`.
    """
    return rank_correlations(with_gaps(differences, gaps), ["classifier", "corpus", "metric"], "difference", "gap")
