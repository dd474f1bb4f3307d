"""Remote-Clique and Chamfer of 6,000 embeddings: one blocked float32 pass against scikit-learn's whole matrix."""

import numpy as np
from common import in_turns
from sklearn.metrics import pairwise_distances

from synthgap.diversity.distances import spread, unit

N, DIMENSIONS, ROUNDS = 6000, 384, 9


def whole_matrix(embeddings: np.ndarray) -> tuple[float, float]:
    """pairwise_distances followed by means; a text's distance to itself is left out of both."""
    table = pairwise_distances(embeddings, metric="cosine")
    clique = table.sum() / (len(table) * (len(table) - 1))
    np.fill_diagonal(table, np.inf)
    return float(clique), float(table.min(axis=1).mean())


def main() -> None:
    single = unit(np.random.default_rng(0).standard_normal((N, DIMENSIONS)))
    double = single.astype(float)
    found, (clique, chamfer) = spread(single), whole_matrix(double)
    apart = max(abs(found.remote_clique - clique), abs(found.chamfer - chamfer))
    if apart > 1e-4:
        raise SystemExit(f"the two results differ by {apart}")
    ways = {
        "ours": lambda _: spread(single),
        "float64": lambda _: whole_matrix(double),
        "float32": lambda _: whole_matrix(single),
    }
    ours, in_double, in_single = in_turns(ways, ROUNDS).values()
    print(
        f"both distances of {N} embeddings of {DIMENSIONS}: ours {1000 * ours:.0f} ms, scikit-learn and means "
        f"{1000 * in_double:.0f} ms in float64 (ratio {in_double / ours:.1f}), {1000 * in_single:.0f} ms in float32 "
        f"(ratio {in_single / ours:.1f}); results differ by {apart:.0e} (medians of {ROUNDS})"
    )


if __name__ == "__main__":
    main()
