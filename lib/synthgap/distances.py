"""Distances within a set of embeddings, in blocks: what Remote-Clique and Chamfer are means of.

Embeddings have shape (texts, dimensions) and are float32. Cosine distance (1 - cosine similarity, 0 to 2) is meant
unless `distance` says "euclidean". A text is never compared with itself; a second copy of it is another text.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthgap.errors import SynthgapError

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

BLOCK = 512  # rows and columns of the distances held at a time: 1 MiB, which fits a processor's cache
DISTANCES = ("cosine", "euclidean")


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
    if distance == "cosine":
        rows = unit(embeddings)
        similarity = _over_pairs(rows, block, _most_similar, -np.inf, np.maximum)[0]
        return Spread(_mean_cosine_distance(rows), np.clip(1 - similarity.astype(float), 0, 2))
    if distance == "euclidean":
        rows = np.ascontiguousarray(embeddings, dtype=np.float32)
        nearest, total = _over_pairs(rows, block, _euclidean, np.inf, np.minimum)
        return Spread(total / (len(rows) - 1), nearest.astype(float))
    raise SynthgapError(f"distance '{distance}' is unknown; known: {', '.join(DISTANCES)}")


def _mean_cosine_distance(rows: np.ndarray) -> np.ndarray:
    """Mean of 1 - cosine to the others: their sum needs no pairs, for unit rows it is n - 1 - x_i (sum - x_i)."""
    total = rows.sum(axis=0, dtype=float).astype(np.float32)
    with_others = rows @ total - np.einsum("ij,ij->i", rows, rows)
    return 1 - with_others.astype(float) / (len(rows) - 1)


def _over_pairs(
    rows: np.ndarray, block: int, visit: Callable, start: float, best: np.ufunc
) -> tuple[np.ndarray, np.ndarray]:
    """Visit every block of the upper triangle of rows @ rows.T once, stripes shared out to threads.

    `visit(products, rows, first, second, nearest, total)` brings a block into both arrays of shape (n,).
    """
    from concurrent.futures import ThreadPoolExecutor

    blocks = [slice(at, min(at + block, len(rows))) for at in range(0, len(rows), block)]
    workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, len(blocks))

    stripes = iter(range(len(blocks)))  # shared: whoever is free takes the next, the long ones come first

    def work(_: int) -> tuple[np.ndarray, np.ndarray]:
        nearest, total = np.full(len(rows), start, dtype=np.float32), np.zeros(len(rows))
        buffer = np.empty((block, block), dtype=np.float32)
        for place in stripes:
            for second in blocks[place:]:
                first = blocks[place]
                products = buffer[: first.stop - first.start, : second.stop - second.start]
                np.matmul(rows[first], rows[second].T, out=products)
                visit(products, rows, first, second, nearest, total)
        return nearest, total

    with _thread_pools().limit(limits=1), ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(work, range(workers)))
    return best.reduce([nearest for nearest, _ in parts]), np.sum([total for _, total in parts], axis=0)


@functools.cache
def _thread_pools() -> ThreadpoolController:
    """The libraries whose own threads would get in the way of ours."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _most_similar(
    products: np.ndarray, rows: np.ndarray, first: slice, second: slice, nearest: np.ndarray, total: np.ndarray
) -> None:
    if first == second:
        np.fill_diagonal(products, -np.inf)
    else:
        nearest[second] = np.maximum(nearest[second], products.max(axis=0))
    nearest[first] = np.maximum(nearest[first], products.max(axis=1))


def _euclidean(
    products: np.ndarray, rows: np.ndarray, first: slice, second: slice, nearest: np.ndarray, total: np.ndarray
) -> None:
    """Distances in place of the products; copies of a text differ by what float32 can tell, not by 0 alone."""
    products *= -2
    products += np.einsum("ij,ij->i", rows[first], rows[first])[:, None]
    products += np.einsum("ij,ij->i", rows[second], rows[second])[None, :]
    np.sqrt(np.maximum(products, 0, out=products), out=products)
    if first == second:
        np.fill_diagonal(products, 0)
    else:
        total[second] += products.sum(axis=0)
    total[first] += products.sum(axis=1)
    if first == second:
        np.fill_diagonal(products, np.inf)
    else:
        nearest[second] = np.minimum(nearest[second], products.min(axis=0))
    nearest[first] = np.minimum(nearest[first], products.min(axis=1))


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
