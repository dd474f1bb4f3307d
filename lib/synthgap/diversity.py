"""How diverse the texts of a task are: Remote-Clique, Chamfer, Vendi score, distinct n-grams, rarefaction.

Embeddings have shape (texts, dimensions). `distance` is "cosine" or "euclidean", see `distances`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthgap.distances import bootstrap_spread, spread, unit
from synthgap.errors import SynthgapError
from synthgap.evaluation import INTERVAL, rank_correlation

if TYPE_CHECKING:
    import pandas as pd

    from synthgap.config import Profile
    from synthgap.data import RealData

SIZES = (25, 50, 100, 200, 400, 800, 1600, 3200, 6400)
TITLES = {
    "remote_clique": "Remote-Clique",
    "chamfer": "Chamfer",
    "vendi": "Vendi score",
    "distinct_1": "distinct words",
    "distinct_2": "distinct word pairs",
}


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
    values = np.clip(np.linalg.eigvalsh(matrix / len(rows)), 0, None)
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def distinct(texts: Sequence[str], n: int) -> float:
    """Share of n-grams of words that are different (Li et al. 2016), 0 to 1; falls with the number of words.

    Raises:
        SynthgapError: no text has n words.
    """
    grams = Counter(gram for text in texts for gram in _grams(text, n))
    if not grams:
        raise SynthgapError(f"no text has {n} words")
    return len(grams) / grams.total()


def _grams(text: str, n: int) -> Iterable[tuple[str, ...]]:
    from synthgap.generation import normalised

    words = normalised(text).split()
    return zip(*(words[start:] for start in range(n)), strict=False)


# ------------------------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class Corpus:
    """Texts of one task and regime with their embeddings.

    Attributes:
        texts: columns id, text, label.
        embeddings: shape (texts, dimensions), unit length.
    """

    task: str
    regime: str
    texts: pd.DataFrame
    embeddings: np.ndarray

    def of_label(self, label: str) -> Corpus:
        if label == "all":
            return self
        chosen = (self.texts["label"] == label).to_numpy()
        return Corpus(self.task, self.regime, self.texts[chosen], self.embeddings[chosen])


def corpora_of(profile: Profile, data: RealData, synthetic: Mapping[str, pd.DataFrame]) -> list[Corpus]:
    """The texts that classifiers of a task train on with the profile's first seed, real ones first: equal n by label.

    Args:
        synthetic: {"zero_shot": texts, "few_shot": texts}.

    Raises:
        SynthgapError: a regime has no text of some label.
    """
    from synthgap.data import draw_equal
    from synthgap.encoders import embed
    from synthgap.runs import training_sizes

    everything = {"real": data.split("train"), **synthetic}
    chosen: dict[str, pd.DataFrame] = {regime: everything[regime] for regime in profile.training.regimes}
    sizes = training_sizes(profile, data, chosen)
    found = []
    for regime, texts in chosen.items():
        drawn = draw_equal(texts, sizes, profile.training.seeds[0])[["id", "text", "label"]]
        embeddings = embed(drawn["text"].tolist(), profile.diversity.encoder)
        found.append(Corpus(data.task.name, regime, drawn, embeddings))
    return found


def measure(corpora: Sequence[Corpus], distance: str, resamples: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Diversity of every corpus, overall and by label, and its difference from the regime `real`.

    Returns:
        table: task, regime, label ("all" for overall), metric, n, value, low, high.
        differences: task, regime, label, metric, difference, low, high; against real, at the same n.
    The intervals (95 %) resample texts; the two sets of a difference share no texts and are resampled each on its
    own. Vendi score and distinct n-grams have none: a text drawn twice would count as lost diversity.
    """
    import pandas as pd

    rows, differences, draws = [], [], {}
    for number, corpus in enumerate(corpora):
        for label in ("all", *dict.fromkeys(corpus.texts["label"])):
            part = corpus.of_label(label)
            key = {"task": corpus.task, "regime": corpus.regime, "label": label}
            values, resampled = _measured(part, distance, resamples, seed + number)
            draws[(corpus.task, corpus.regime, label)] = values, resampled
            for metric, value in values.items():
                rows.append(
                    {**key, "metric": metric, "n": len(part.texts), "value": value, **_ends(resampled.get(metric))}
                )
    for (task, regime, label), (values, resampled) in draws.items():
        real = draws.get((task, "real", label))
        if regime == "real" or real is None:
            continue
        for metric in values.keys() & real[0].keys():
            gap = resampled[metric] - real[1][metric] if metric in resampled else None
            entry = {"task": task, "regime": regime, "label": label, "metric": metric}
            differences.append({**entry, "difference": values[metric] - real[0][metric], **_ends(gap)})
    columns = ["task", "regime", "label", "metric"]
    table = pd.DataFrame(rows, columns=[*columns, "n", "value", "low", "high"])
    gaps = pd.DataFrame(differences, columns=[*columns, "difference", "low", "high"])
    return table, gaps.sort_values(columns).reset_index(drop=True)


def _measured(
    corpus: Corpus, distance: str, resamples: int, seed: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    texts = corpus.texts["text"].tolist()
    values, draws = {}, {}
    if len(texts) >= 2:
        found = spread(corpus.embeddings, distance)
        values = {"remote_clique": found.remote_clique, "chamfer": found.chamfer}
        draws = bootstrap_spread(found, resamples, seed)
    else:
        values = {"remote_clique": np.nan, "chamfer": np.nan}
    values["vendi"] = vendi(corpus.embeddings)
    for n in (1, 2):
        with contextlib.suppress(SynthgapError):
            values[f"distinct_{n}"] = distinct(texts, n)
    return values, draws


def _ends(draws: np.ndarray | None) -> dict[str, float]:
    if draws is None:
        return {"low": np.nan, "high": np.nan}
    low, high = np.percentile(draws, INTERVAL)
    return {"low": float(low), "high": float(high)}


def rarefaction(corpora: Sequence[Corpus], distance: str, draws: int, seed: int) -> pd.DataFrame:
    """Chamfer and Vendi score of random parts of every corpus, against their size.

    Columns task, regime, metric, n, value (mean over draws without replacement), low, high (the middle 95 % of them;
    without width at the whole corpus, of which there is one draw).
    """
    import pandas as pd

    rows = []
    for corpus in corpora:
        total = len(corpus.texts)
        random = np.random.default_rng(seed)
        for n in [*(size for size in SIZES if size < total), total]:
            if n < 2:
                continue
            parts = [random.choice(total, n, replace=False) for _ in range(draws if n < total else 1)]
            values = {
                "chamfer": [spread(corpus.embeddings[part], distance).chamfer for part in parts],
                "vendi": [vendi(corpus.embeddings[part]) for part in parts],
            }
            for metric, found in values.items():
                low, high = np.percentile(found, INTERVAL)
                key = {"task": corpus.task, "regime": corpus.regime, "metric": metric, "n": n}
                rows.append({**key, "value": np.mean(found), "low": low, "high": high})
    return pd.DataFrame(rows, columns=["task", "regime", "metric", "n", "value", "low", "high"])


def diversity_and_gap(differences: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rho over tasks of the difference in diversity and the gap in macro-F1, both synthetic less real.

    Columns classifier, regime, metric, n, rho, low, high, p, detectable;
    no row where fewer than 4 tasks can be compared.

    Args:
        differences: as `measure` gives them.
        gaps: as `evaluation.evaluate` gives them.
    """
    import pandas as pd

    performance = gaps[(gaps["metric"] == "macro_f1") & (gaps["baseline"] == "real")][
        ["task", "regime", "classifier", "gap"]
    ]
    overall = differences[differences["label"] == "all"].drop(columns=["low", "high"])
    both = overall.merge(performance, on=["task", "regime"]).dropna(subset=["difference", "gap"])
    rows = []
    for (classifier, regime, metric), part in both.groupby(["classifier", "regime", "metric"], sort=False):
        with contextlib.suppress(SynthgapError):
            found = rank_correlation(part["difference"].to_numpy(), part["gap"].to_numpy())
            rows.append({"classifier": classifier, "regime": regime, "metric": metric, **vars(found)})
    columns = ["classifier", "regime", "metric", "n", "rho", "low", "high", "p", "detectable"]
    return pd.DataFrame(rows, columns=columns)


def over_tasks(differences: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """The mean difference from real over tasks (paired by task), with a 95 % interval that resamples tasks.

    Columns regime, metric, tasks, difference, low, high, lower_in (tasks whose synthetic texts are less diverse).
    """
    import pandas as pd

    random = np.random.default_rng(seed)
    rows = []
    overall = differences[(differences["label"] == "all") & differences["difference"].notna()]
    for (regime, metric), part in overall.groupby(["regime", "metric"], sort=False):
        values = part["difference"].to_numpy()
        means = values[random.integers(len(values), size=(resamples, len(values)))].mean(axis=1)
        key = {"regime": regime, "metric": metric, "tasks": len(values), "difference": values.mean()}
        rows.append({**key, **_ends(means), "lower_in": int((values < 0).sum())})
    return pd.DataFrame(rows, columns=["regime", "metric", "tasks", "difference", "low", "high", "lower_in"])
