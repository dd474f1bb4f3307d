"""How near the texts of the reference corpus lie to those of the other corpora."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import gaussian_kde
from sklearn.utils import gen_batches

from synthgap.core.config import REAL
from synthgap.core.errors import SynthgapError
from synthgap.diversity.distances import unit
from synthgap.diversity.texts import EmbeddedTexts
from synthgap.evaluation.scores import percentile_interval

ROWS = 2048  # texts compared at a time
POINTS = 80  # of a density's curve


def similarity_to(real: np.ndarray, synthetic: np.ndarray, neighbours: int = 5) -> np.ndarray:
    """For each real text the mean cosine similarity (-1 to 1) to its nearest synthetic texts, shape (real texts,).

    Raises:
        SynthgapError: there are no synthetic texts, or fewer than `neighbours`.
    """
    if len(synthetic) < neighbours:
        raise SynthgapError(f"similarity needs {neighbours} synthetic texts at least; there are {len(synthetic)}")
    found = np.empty(len(real))
    for rows, block in similarities(real, synthetic):
        found[rows] = np.partition(block, -neighbours, axis=1)[:, -neighbours:].mean(axis=1)
    return found


def similarities(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Cosine similarities of `first` with all of `second`, some rows at a time."""
    one, other = unit(first), unit(second)
    for rows in gen_batches(len(one), ROWS):
        yield rows, one[rows] @ other.T


def similarity_values(texts: Sequence[EmbeddedTexts], neighbours: int, reference: str = REAL) -> pd.DataFrame:
    """Columns task, corpus, id (of the reference's text), similarity to its `neighbours` nearest texts of the corpus.

    A corpus of fewer texts has no rows.
    """
    references = {one.task: one for one in texts if one.corpus == reference}
    rows = []
    for one in texts:
        base = references.get(one.task)
        if base is not None and one.corpus != reference and len(one.texts) >= neighbours:
            values = similarity_to(base.embeddings, one.embeddings, neighbours)
            rows += [(one.task, one.corpus, *row) for row in zip(base.texts["id"], values, strict=True)]
    return pd.DataFrame(rows, columns=["task", "corpus", "id", "similarity"])


def similarity_summary(values: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Columns task, corpus, texts, median, low, high: the median with a 95 % bootstrap interval over texts."""
    random = np.random.default_rng(seed)
    rows = []
    for (task, corpus), part in values.groupby(["task", "corpus"], sort=False):
        found = part["similarity"].to_numpy()
        draws = np.median(found[random.integers(len(found), size=(resamples, len(found)))], axis=1)
        rows.append((task, corpus, len(found), np.median(found), *percentile_interval(draws)))
    return pd.DataFrame(rows, columns=["task", "corpus", "texts", "median", "low", "high"])


def similarity_density(values: pd.DataFrame) -> pd.DataFrame:
    """The distribution of the similarities as a curve, a Gaussian kernel's of Scott's width.

    Columns task, corpus, similarity, density; no rows where all values are equal.
    """
    rows = []
    for (task, corpus), part in values.groupby(["task", "corpus"], sort=False):
        found = part["similarity"].to_numpy()
        if np.ptp(found) > 0:
            kernel = gaussian_kde(found)
            margin = 3 * np.sqrt(kernel.covariance.item())
            grid = np.linspace(found.min() - margin, found.max() + margin, POINTS)
            rows += [(task, corpus, *row) for row in zip(grid, kernel(grid), strict=True)]
    return pd.DataFrame(rows, columns=["task", "corpus", "similarity", "density"])
