"""Intervals of 10 tasks x 3 regimes x 3 seeds with 2,000 resamples at once, against one resample after another."""

import time

import numpy as np

from synthgap.evaluation import Outcome, bootstrap, confusion, score_confusions

RESAMPLES = 2000
PLAIN_RESAMPLES = 20
ITEMS = 5000
LABELS = 4


def outcome(seed: int) -> Outcome:
    random = np.random.default_rng(seed)
    truth = random.integers(LABELS, size=ITEMS)
    wrong = [random.integers(LABELS, size=ITEMS) for _ in range(9)]
    runs = np.stack([np.where(random.random(ITEMS) < 0.7, truth, one) for one in wrong])
    predicted = dict(zip(("real", "zero_shot", "few_shot"), runs.reshape(3, 3, ITEMS), strict=True))
    return Outcome(f"task {seed}", "probe", tuple("abcd"), truth, predicted, {})


def plain(one: Outcome, resamples: int) -> None:
    random = np.random.default_rng(0)
    for _ in range(resamples):
        items = random.integers(ITEMS, size=ITEMS)
        for runs in one.predicted.values():
            for run in runs[random.integers(3, size=3)]:
                score_confusions(confusion(one.truth[items], run[items], LABELS))


def main() -> None:
    outcomes = [outcome(seed) for seed in range(10)]
    start = time.perf_counter()
    for one in outcomes:
        bootstrap(one, RESAMPLES, 0)
    ours = time.perf_counter() - start
    start = time.perf_counter()
    for one in outcomes:
        plain(one, PLAIN_RESAMPLES)
    slow = (time.perf_counter() - start) * RESAMPLES / PLAIN_RESAMPLES
    print(
        f"intervals of 10 tasks x 3 regimes x 3 seeds, {RESAMPLES} resamples of {ITEMS} items: ours {ours:.1f} s, "
        f"one after another {slow:.1f} s (from {PLAIN_RESAMPLES}), ratio {slow / ours:.1f}"
    )


if __name__ == "__main__":
    main()
