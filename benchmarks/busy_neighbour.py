"""Fits of a probe beside busy processes, one on every core: BLAS on one thread, as probes are fitted, and on all."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator

import numpy as np
from common import in_turns
from threadpoolctl import threadpool_limits

from synthgap.training.base import logistic_regression
from synthgap.training.workers import cores

TEXTS, WIDTH, ROUNDS = 1000, 384, 9


def spin() -> None:
    while True:
        pass


@contextlib.contextmanager
def busy(number: int) -> Iterator[None]:
    """Processes that compute without end."""
    neighbours = [multiprocessing.Process(target=spin, daemon=True) for _ in range(number)]
    for one in neighbours:
        one.start()
    yield
    for one in neighbours:
        one.kill()
        one.join()


def median_seconds(vectors: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Wall-clock seconds of a fit on one thread and on all."""

    def fit(threads: int) -> None:
        with threadpool_limits(threads, "blas"):
            logistic_regression(3.0).fit(vectors, labels)

    ways = {"one": lambda _: fit(1), "all": lambda _: fit(cores())}
    return in_turns(ways, ROUNDS, time.perf_counter)


def main() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, TEXTS)
    vectors = rng.normal(size=(TEXTS, WIDTH)) + rng.normal(size=(4, WIDTH))[labels] / 4
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    load, found = f"{os.getloadavg()[0]:.0f}", []
    for number in (0, cores()):
        with busy(number):
            one, all_of_them = median_seconds(vectors, labels).values()
        found.append(
            f"beside {number} busy processes one thread {1000 * one:.0f} ms, {cores()} threads "
            f"{1000 * all_of_them:.0f} ms, ratio {all_of_them / one:.1f}"
        )
    told = f"medians of {ROUNDS}; {load} other processes wanted a core"
    print(f"a probe of {TEXTS} texts: {'; '.join(found)} ({told})")


if __name__ == "__main__":
    main()
