"""A probe's fits on many draws from shared texts: from embeddings, as it is done, and from their shared Gram matrix.

A draw's rows of a factor of the Gram matrix have as many columns as the draw has texts, and give the same fit, as a
penalised logistic regression sees the texts through their products alone. Processor time of one thread, with cutting
out and factoring; the Gram matrix itself is made once before and not counted.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from synthgap.training.base import logistic_regression

TEXTS, WIDTH, LABELS, SIZES, ROUNDS = 2000, 384, 4, (50, 100, 200, 400), 9


def factor(gram: np.ndarray) -> np.ndarray:
    """A matrix whose rows have these products."""
    values, vectors = np.linalg.eigh(gram)
    return vectors * np.sqrt(np.clip(values, 0, None))


def main() -> None:
    rng, found = np.random.default_rng(0), []
    labels = rng.integers(0, LABELS, TEXTS)
    vectors = rng.normal(size=(TEXTS, WIDTH)) + rng.normal(size=(LABELS, WIDTH))[labels] / 4
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    gram = vectors @ vectors.T
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "vectors": lambda draw: vectors[draw],
        "gram": lambda draw: factor(gram[np.ix_(draw, draw)]),
    }
    for size in SIZES:
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            draw = rng.choice(TEXTS, size, replace=False)
            for way, features in ways.items():
                start = time.process_time()
                logistic_regression(3.0).fit(features(draw), labels[draw])
                taken[way].append(time.process_time() - start)
        one, other = (1000 * statistics.median(values) for values in taken.values())
        found.append(f"{size} texts {one:.0f} and {other:.0f} ms")
    print(f"a fit from embeddings and from the Gram matrix: {', '.join(found)} (medians of {ROUNDS})")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
