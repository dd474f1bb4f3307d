"""Distances within a set of embeddings, in blocks: what Remote-Clique and Chamfer are means of.

Embeddings have shape (texts, dimensions) and are float32. Cosine distance (1 - cosine similarity, 0 to 2) is meant
unless `distance` says "euclidean". A text is never compared with itself; a second copy of it is another text.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils import gen_batches

from synthgap.core.errors import SynthgapError, unknown

BLOCK = 2048  # rows and columns of the distances held at a time: 16 MiB
DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cosine": lambda first, second: 1 - first @ second.T,  # of rows at length 1
    "euclidean": euclidean_distances,
}


def unit(embeddings: np.ndarray) -> np.ndarray:
    """Rows at length 1, float32; a row of zeros stays."""
    rows = np.ascontiguousarray(embeddings, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return rows / np.where(lengths > 0, lengths, 1)[:, None]


@dataclass(frozen=True)
class Spread:
    """What the distances within a set of texts say.

    Attributes:
        mean: shape (n,), mean distance of each text to the others.
        nearest: shape (n,), distance of each text to the nearest other.
    """

    mean: np.ndarray
    nearest: np.ndarray

    @property
    def remote_clique(self) -> float:
        """Mean over texts of the mean distance to the others."""
        return float(self.mean.mean())

    @property
    def chamfer(self) -> float:
        """Mean over texts of the distance to the nearest other."""
        return float(self.nearest.mean())


def spread(embeddings: np.ndarray, distance: str = "cosine", block: int = BLOCK) -> Spread:
    """Both distances of every text in one pass over blocks of the upper triangle; memory grows with n alone.

    Raises:
        SynthgapError: fewer than two texts, or an unknown distance.
    """
    if len(embeddings) < 2:
        raise SynthgapError(f"distances need at least two texts; there are {len(embeddings)}")
    if distance not in DISTANCES:
        raise unknown("distance", distance, DISTANCES)
    rows = unit(embeddings) if distance == "cosine" else np.ascontiguousarray(embeddings, dtype=np.float32)
    nearest, total = np.full(len(rows), np.inf, dtype=np.float32), np.zeros(len(rows))
    for first, second in combinations_with_replacement(gen_batches(len(rows), block), 2):
        apart = DISTANCES[distance](rows[first], rows[second])
        if first == second:
            np.fill_diagonal(apart, 0)
        else:
            total[second] += apart.sum(axis=0)
        total[first] += apart.sum(axis=1)
        if first == second:
            np.fill_diagonal(apart, np.inf)
        nearest[first] = np.minimum(nearest[first], apart.min(axis=1))
        nearest[second] = np.minimum(nearest[second], apart.min(axis=0))
    return Spread(total / (len(rows) - 1), np.maximum(nearest.astype(float), 0))


def bootstrap_spread(found: Spread, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Resampled Remote-Clique and Chamfer, each of shape (resamples,); texts are drawn anew, no distance is computed.

    Remote-Clique is a mean over pairs, so a text moves it twice, as itself and as the others' neighbour: the resampled
    mean's deviation counts double (first order of Hoeffding's decomposition). Chamfer resamples the distances to the
    nearest among all texts: with the neighbours drawn anew too, a text's nearest would be its own copy.
    """
    random = np.random.default_rng(seed)
    n = len(found.mean)
    weights = random.multinomial(n, np.full(n, 1 / n), size=resamples) / n
    clique = found.remote_clique
    return {"remote_clique": clique + 2 * (weights @ found.mean - clique), "chamfer": weights @ found.nearest}
