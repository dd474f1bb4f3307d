"""Synthetic against real texts: how near they lie, which test texts are (nearly) repeated, and a map of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthgap.distances import unit
from synthgap.diversity import Corpus
from synthgap.errors import SynthgapError
from synthgap.evaluation import INTERVAL

if TYPE_CHECKING:
    import pandas as pd

    from synthgap.config import DiversitySettings
    from synthgap.data import RealData
    from synthgap.evaluation import Outcome

ROWS = 2048  # texts compared at a time
CANDIDATE = 0.7  # cosine similarity from which two texts are compared letter by letter
PAIR_COLUMNS = ("task", "regime", "synthetic_id", "test_id", "letters", "cosine")
SUMMARY_COLUMNS = ("task", "regime", "synthetic_texts", "test_texts", "pairs", "repeated_test_texts", "closest_cosine")


def similarity_to(real: np.ndarray, synthetic: np.ndarray, neighbours: int = 5) -> np.ndarray:
    """For each real text the mean cosine similarity (-1 to 1) to its nearest synthetic texts, shape (real texts,).

    Raises:
        SynthgapError: there are no synthetic texts, or fewer than `neighbours`.
    """
    if len(synthetic) < neighbours:
        raise SynthgapError(f"similarity needs {neighbours} synthetic texts at least; there are {len(synthetic)}")
    found = np.empty(len(real))
    for rows, block in _similarities(real, synthetic):
        found[rows] = np.partition(block, -neighbours, axis=1)[:, -neighbours:].mean(axis=1)
    return found


def _similarities(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Cosine similarities of `first` with all of `second`, some rows at a time."""
    one, other = unit(first), unit(second)
    for start in range(0, len(one), ROWS):
        rows = slice(start, min(start + ROWS, len(one)))
        yield rows, one[rows] @ other.T


def similarity_table(corpora: Sequence[Corpus], neighbours: int) -> pd.DataFrame:
    """Columns task, regime (a synthetic one), id (of the real text), similarity.

    No rows for a task without the regime `real`, and for a corpus with fewer texts than `neighbours`.
    """
    import pandas as pd

    real = {corpus.task: corpus for corpus in corpora if corpus.regime == "real"}
    parts = [
        pd.DataFrame(
            {
                "task": corpus.task,
                "regime": corpus.regime,
                "id": real[corpus.task].texts["id"].to_numpy(),
                "similarity": similarity_to(real[corpus.task].embeddings, corpus.embeddings, neighbours),
            }
        )
        for corpus in corpora
        if corpus.regime != "real" and corpus.task in real and len(corpus.texts) >= neighbours
    ]
    columns = ["task", "regime", "id", "similarity"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def similarity_summary(table: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Columns task, regime, texts, median, low, high: the median with a 95 % bootstrap interval over texts."""
    import pandas as pd

    random = np.random.default_rng(seed)
    rows = []
    for (task, regime), part in table.groupby(["task", "regime"], sort=False):
        values = part["similarity"].to_numpy()
        draws = np.median(values[random.integers(len(values), size=(resamples, len(values)))], axis=1)
        low, high = np.percentile(draws, INTERVAL)
        key = {"task": task, "regime": regime, "texts": len(values)}
        rows.append({**key, "median": np.median(values), "low": low, "high": high})
    return pd.DataFrame(rows, columns=["task", "regime", "texts", "median", "low", "high"])


# ------------------------------------------------------------------------------------------------------ contamination


def embedded(task: str, regime: str, texts: pd.DataFrame, encoder: str) -> Corpus:
    """Texts (columns id, text, label) with their embeddings."""
    from synthgap.encoders import embed

    return Corpus(task, regime, texts[["id", "text", "label"]], embed(texts["text"].tolist(), encoder))


@dataclass(frozen=True)
class Contamination:
    """What of a task's test split the synthetic texts (nearly) repeat.

    Attributes:
        pairs: task, regime, synthetic_id, test_id, letters (rapidfuzz's normalised Indel similarity, percent), cosine.
        summary: task, regime, synthetic_texts, test_texts, pairs, repeated_test_texts, closest_cosine; a row a regime.
    """

    pairs: pd.DataFrame
    summary: pd.DataFrame


def contamination(data: RealData, synthetic: Mapping[str, pd.DataFrame], settings: DiversitySettings) -> Contamination:
    """Compare all synthetic texts of a task with its test split, whether they are trained on or not.

    Args:
        synthetic: {regime: texts}.
    """
    import pandas as pd

    name = data.task.name
    test = embedded(name, "test", data.split("test"), settings.encoder)
    found, rows = [], []
    for regime, texts in synthetic.items():
        pairs, closest = near_duplicates(embedded(name, regime, texts, settings.encoder), test, settings)
        found.append(pairs)
        counts = {"pairs": len(pairs), "repeated_test_texts": pairs["test_id"].nunique(), "closest_cosine": closest}
        sizes = {"synthetic_texts": len(texts), "test_texts": len(test.texts)}
        rows.append({"task": name, "regime": regime, **sizes, **counts})
    pairs = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(PAIR_COLUMNS))
    return Contamination(pairs, pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS)))


def near_duplicates(corpus: Corpus, test: Corpus, settings: DiversitySettings) -> tuple[pd.DataFrame, float]:
    """Pairs of a synthetic and a test text that (nearly) repeat each other, and the highest cosine similarity of all.

    A pair counts from `near_duplicate` percent of letters or `near_duplicate_cosine` on; letters are compared where the
    embeddings are similar at all (cosine of 0.7).
    """
    import pandas as pd
    from rapidfuzz import fuzz

    from synthgap.generation import normalised

    synthetic_ids, test_ids = corpus.texts["id"].to_numpy(), test.texts["id"].to_numpy()
    synthetic_texts, test_texts = corpus.texts["text"].to_numpy(), test.texts["text"].to_numpy()
    pairs, closest = [], np.nan
    for rows, block in _similarities(corpus.embeddings, test.embeddings):
        closest = float(np.fmax(closest, block.max()))
        for row, column in np.argwhere(block >= min(CANDIDATE, settings.near_duplicate_cosine)):
            first, cosine = rows.start + row, float(block[row, column])
            letters = fuzz.ratio(normalised(synthetic_texts[first]), normalised(test_texts[column]))
            if letters >= settings.near_duplicate or cosine >= settings.near_duplicate_cosine:
                pairs.append((corpus.task, corpus.regime, synthetic_ids[first], test_ids[column], letters, cosine))
    table = pd.DataFrame(pairs, columns=list(PAIR_COLUMNS)).sort_values(list(PAIR_COLUMNS[:4]))
    return table.reset_index(drop=True), closest


def scores_without(outcomes: Sequence[Outcome], repeated: Mapping[str, set[str]]) -> pd.DataFrame:
    """Macro-F1 in percent before and after test items leave the test: mean over seeds, by task, classifier, regime.

    Classifiers are not trained anew. Columns task, classifier, regime, test_items, removed, before, after, change.

    Args:
        repeated: {task: ids of test items to leave out}, the same for every regime.
    """
    import pandas as pd

    from synthgap.evaluation import score_runs

    rows = []
    for outcome in outcomes:
        kept = outcome.without(repeated.get(outcome.task, set()))
        for regime in outcome.predicted:
            key = {"task": outcome.task, "classifier": outcome.classifier, "regime": regime}
            before = score_runs(outcome, regime)["macro_f1"].mean()
            after = score_runs(kept, regime)["macro_f1"].mean() if len(kept.truth) else np.nan
            removed = len(outcome.truth) - len(kept.truth)
            sizes = {"test_items": len(outcome.truth), "removed": removed}
            rows.append({**key, **sizes, "before": before, "after": after, "change": after - before})
    return pd.DataFrame(rows)


# ---------------------------------------------------------------------------------------------------------------- map


def map_texts(corpora: Sequence[Corpus], most: int, seed: int = 0) -> pd.DataFrame:
    """A t-SNE map (van der Maaten and Hinton 2008) of one task's texts, at most `most` of each regime.

    Columns task, regime, id, label, text, x, y. Neighbours on the map are neighbours in meaning; the size of gaps and
    clusters says little.
    """
    import pandas as pd
    from sklearn.manifold import TSNE

    from synthgap.data import draw

    parts, embeddings = [], []
    for corpus in corpora:
        chosen = draw(corpus.texts, min(most, len(corpus.texts)), seed, "map")
        place = corpus.texts.index.get_indexer(chosen.index)
        parts.append(chosen[["id", "label", "text"]].assign(task=corpus.task, regime=corpus.regime))
        embeddings.append(corpus.embeddings[place])
    points = np.concatenate(embeddings)
    model = TSNE(metric="cosine", init="random", perplexity=min(30, (len(points) - 1) / 3), random_state=seed, n_jobs=1)
    places = model.fit_transform(points)
    table = pd.concat(parts, ignore_index=True).assign(x=places[:, 0], y=places[:, 1])
    return table[["task", "regime", "id", "label", "text", "x", "y"]]
