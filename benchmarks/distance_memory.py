"""Time and extra memory of Remote-Clique, Chamfer and Vendi score at n = 100,000, d = 384."""

import time

import numpy as np

from synthgap.diversity.distances import spread, unit
from synthgap.diversity.measures import vendi
from synthgap.training.base import peak_memory_mb, reset_peak_memory

N, DIMENSIONS = 100_000, 384


def main() -> None:
    embeddings = unit(np.random.default_rng(0).standard_normal((N, DIMENSIONS), dtype=np.float32))
    spread(embeddings[:2000])  # libraries and threads are there
    reset_peak_memory()
    before = peak_memory_mb()
    start = time.perf_counter()
    spread(embeddings)
    seconds, extra = time.perf_counter() - start, peak_memory_mb() - before
    start = time.perf_counter()
    vendi(embeddings)
    print(
        f"both distances of {N} embeddings of {DIMENSIONS}: {seconds:.0f} s, {extra:.0f} MiB beyond the "
        f"{embeddings.nbytes / 2**20:.0f} MiB of the embeddings (their whole matrix: {N**2 * 4 / 2**30:.0f} GiB); "
        f"Vendi score through the {DIMENSIONS} x {DIMENSIONS} matrix {time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
