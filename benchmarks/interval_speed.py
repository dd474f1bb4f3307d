"""Intervals of the scores of 10 tasks, 3 corpora and 3 seeds on 5,000 items: at once, against one after another."""

import numpy as np
from common import in_turns

from synthgap.evaluation.scores import bootstrap, confusion, score_confusions
from synthgap.training.predictions import Predictions

RESAMPLES = 2000
PLAIN_RESAMPLES = 20
ITEMS = 5000
LABELS = 4


def predictions(seed: int) -> Predictions:
    random = np.random.default_rng(seed)
    truth = random.integers(LABELS, size=ITEMS)
    wrong = [random.integers(LABELS, size=ITEMS) for _ in range(9)]
    runs = np.stack([np.where(random.random(ITEMS) < 0.7, truth, one) for one in wrong])
    predicted = dict(zip(("real", "zero_shot", "few_shot"), runs.reshape(3, 3, ITEMS), strict=True))
    return Predictions(f"task {seed}", "probe", tuple("abcd"), np.arange(ITEMS).astype(str), truth, predicted, {})


def plain_scores(one: Predictions) -> None:
    random = np.random.default_rng(0)
    for _ in range(PLAIN_RESAMPLES):
        items = random.integers(ITEMS, size=ITEMS)
        for runs in one.predicted.values():
            for run in runs[random.integers(3, size=3)]:
                score_confusions(confusion(one.truth[items], run[items], LABELS))


def main() -> None:
    tasks = [predictions(seed) for seed in range(10)]
    ways = {
        "ours": lambda _: [bootstrap(one, RESAMPLES, 0) for one in tasks],
        "plain": lambda _: [plain_scores(one) for one in tasks],
    }
    ours, some = in_turns(ways).values()
    slow = some * RESAMPLES / PLAIN_RESAMPLES
    print(
        f"intervals of 10 tasks x 3 corpora x 3 seeds, {RESAMPLES} resamples of {ITEMS} items: ours {ours:.1f} s of "
        f"processor time, one after another {slow:.1f} s (from {PLAIN_RESAMPLES}), ratio {slow / ours:.1f}"
    )


if __name__ == "__main__":
    main()
