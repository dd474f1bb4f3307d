"""A probe's fits on many draws from shared texts: from embeddings, as it is done, and from their shared Gram matrix.

A draw's rows of a factor of the Gram matrix have as many columns as the draw has texts, and give the same fit, as a
penalised logistic regression sees the texts through their products alone. Processor time of one thread, with cutting
out and factoring; the Gram matrix itself is made once before and not counted.
"""

import numpy as np
from common import in_turns

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

    def fit(draw: np.ndarray, features: np.ndarray) -> None:
        logistic_regression(3.0).fit(features, labels[draw])

    for size in SIZES:
        draws = [rng.choice(TEXTS, size, replace=False) for _ in range(ROUNDS)]
        ways = {
            "embeddings": lambda n, draws=draws: fit(draws[n], vectors[draws[n]]),
            "Gram matrix": lambda n, draws=draws: fit(draws[n], factor(gram[np.ix_(draws[n], draws[n])])),
        }
        one, other = (1000 * seconds for seconds in in_turns(ways, ROUNDS).values())
        found.append(f"{size} texts {one:.0f} and {other:.0f} ms")
    print(f"a fit from embeddings and from the Gram matrix: {', '.join(found)} (medians of {ROUNDS})")


if __name__ == "__main__":
    main()
