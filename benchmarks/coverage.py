"""How often the intervals of scores, gaps and means over tasks hold what they are for, in simulated experiments.

Ten tasks, six runs on real texts, three recordings of two runs each of two synthetic corpora. What recordings do to all
tasks alike (SHARED) is beside what they do to one. Items vary by an amount that is known to the interval, as the
bootstrap over items gives it nearly. `--write` puts the table into docs/statistics.md.
"""

import argparse
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from common import on_all_cores

from synthgap.evaluation.inference import Part, interval, over_tasks, recording_means, training_spreads
from synthgap.tables import to_markdown

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
BETWEEN = re.compile(r"(?<=<!-- coverage: made by benchmarks/coverage.py -->\n).*?(?=<!-- end of coverage -->)", re.S)
TASKS, RECORDINGS, RUNS, REAL_RUNS = 10, 3, 2, 6
NUMBERS = [np.repeat(np.arange(RECORDINGS), RUNS)] * TASKS
SCENES = {  # points: what recordings share, what they do to one task, seeds, and how tasks differ
    "as measured": (1.6, 1.6, 1.5, 6.0),
    "nothing shared": (0.0, 1.6, 1.5, 6.0),
    "much shared": (3.0, 1.6, 1.5, 6.0),
    "seeds dominate": (1.6, 1.0, 4.0, 6.0),
    "tasks alike": (1.6, 1.6, 1.5, 2.0),
}


def experiment(scene: tuple[float, ...], random: np.random.Generator, held: dict[str, list[bool]]) -> None:
    """One experiment: whether each interval held its truth."""
    shared, own, seeds, tasks = scene
    items = np.exp(random.normal(0.3, 0.5, TASKS))  # deviation of a score over items, on each task
    of_runs, of_recordings = (deviation * np.exp(random.normal(0, 0.4, TASKS)) for deviation in (seeds, own))

    def runs(truth: np.ndarray, effects: np.ndarray) -> list[np.ndarray]:
        noise = items * random.normal(size=TASKS)
        each = random.normal(size=effects.shape) * of_runs[:, None]
        return list((truth + noise)[:, None] + effects + each)

    def recorded(truth: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        effects = (
            random.normal(0, shared, RECORDINGS) + random.normal(size=(TASKS, RECORDINGS)) * of_recordings[:, None]
        )
        return runs(truth, np.repeat(effects, RUNS, axis=1)), effects.mean(axis=1)

    def note(name: str, estimate: float, parts: list[Part], truth: float) -> None:
        low, high = interval(estimate, parts)
        held[name].append(bool(low <= truth <= high))

    real = runs(np.zeros(TASKS), np.zeros((TASKS, REAL_RUNS)))
    zero_truth = -8 + random.normal(0, tasks, TASKS)
    few_truth = zero_truth + 4 + random.normal(0, tasks / 2, TASKS)
    (zero, zero_effect), (few, _) = recorded(zero_truth), recorded(few_truth)
    of_real = training_spreads(real, [np.zeros(REAL_RUNS, int)] * TASKS)
    of_zero, of_few = training_spreads(zero, NUMBERS), training_spreads(few, NUMBERS)
    for k in range(TASKS):
        one, both, estimate = Part(items[k] ** 2), Part(2 * items[k] ** 2), float(zero[k].mean())
        gap, these = estimate - float(real[k].mean()), zero_truth[k] + zero_effect[k]
        note("score, these recordings", estimate, [one, *of_zero[k].these], these)
        note("score, new recordings", estimate, [one, *of_zero[k].new], zero_truth[k])
        note("gap, these recordings", gap, [both, *of_zero[k].these, *of_real[k].these], these)
        note("gap, new recordings", gap, [both, *of_zero[k].new, *of_real[k].these], zero_truth[k])
        rise = float(few[k].mean()) - estimate
        note(
            "gap of two corpora, new recordings",
            rise,
            [both, *of_few[k].new, *of_zero[k].new],
            few_truth[k] - zero_truth[k],
        )
    gaps = np.array([one.mean() - other.mean() for one, other in zip(zero, real, strict=True)])
    rises = np.array([one.mean() - other.mean() for one, other in zip(few, zero, strict=True)])
    means = [recording_means(each, NUMBERS) for each in (few, zero)]
    note("gap over tasks, these recordings", gaps.mean(), over_tasks(gaps), -8 + zero_effect.mean())
    note("gap over tasks, new recordings", gaps.mean(), over_tasks(gaps, means[1:]), -8)
    note("gap of two corpora over tasks, new recordings", rises.mean(), over_tasks(rises, means), 4)


def coverage(scene: str, experiments: int) -> dict[str, float]:
    """{interval: how often it held its truth, in percent}."""
    random, held = np.random.default_rng(0), defaultdict[str, list[bool]](list)
    for _ in range(experiments):
        experiment(SCENES[scene], random, held)
    return {name: 100 * float(np.mean(each)) for name, each in held.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=2000)
    parser.add_argument("--write", action="store_true", help="put the table into docs/statistics.md")
    given = parser.parse_args()
    found = on_all_cores(coverage, [(scene, given.experiments) for scene in SCENES])
    table = pd.DataFrame(dict(zip(SCENES, found, strict=True))).rename_axis("95 % interval of a").reset_index()
    error = 100 * (0.95 * 0.05 / given.experiments) ** 0.5
    note = f"{given.experiments} experiments each; one standard error of an entry over tasks is {error:.1f}."
    page = to_markdown(table.round(1).astype(str), "How often intervals hold the truth, in percent", [note])
    print(page)
    if given.write:
        PAGE.write_text(BETWEEN.sub(lambda _: f"\n{page}\n", PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
