"""How sure so many tasks can be: the power to see a rank correlation, and a mean gap, by the number of tasks."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

SIGNIFICANCE, WANTED = 0.05, 80  # of a test; and in how many of 100 studies one would like to see what is there
NUMBERS = (5, 6, 8, 10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 80)
ORDER, MEAN = "Spearman's rho of gap and order", "mean gap in points"
EFFECTS = {ORDER: (0.3, 0.5, 0.7), MEAN: (2.0, 4.0, 8.0)}
POWER_COLUMNS = ["question", "effect", "spread", "tasks", "power"]


def power_table(tasks: int, gaps: pd.DataFrame, experiments: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """In how many of 100 studies of so many tasks p would be below 0.05; POWER_COLUMNS.

    Gaps are taken to scatter over tasks normally, with the standard deviation `spread` that `gaps` have (root mean
    square over classifiers and corpora); where they have none there are no rows of their mean.

    Args:
        tasks: a number that is asked about beside NUMBERS.
        gaps: to the reference; columns task, classifier, corpus, gap.
        experiments: that are simulated; 10,000 give a power to half a point.
    """
    random = np.random.default_rng(seed)
    spread = float(np.sqrt(gaps.groupby(["classifier", "corpus"])["gap"].var().mean()))
    rows = []
    for number in sorted({*NUMBERS, max(tasks, 4)}):
        powers = power_of_order(EFFECTS[ORDER], number, experiments, random)
        rows += [(ORDER, rho, np.nan, number, power) for rho, power in zip(EFFECTS[ORDER], powers, strict=True)]
        if spread > 0:
            powers = power_of_mean([gap / spread for gap in EFFECTS[MEAN]], number, experiments, random)
            rows += [(MEAN, gap, spread, number, power) for gap, power in zip(EFFECTS[MEAN], powers, strict=True)]
    return pd.DataFrame(rows, columns=POWER_COLUMNS)


def power_of_order(rhos: Sequence[float], tasks: int, experiments: int, random: np.random.Generator) -> list[float]:
    """In percent, of the permutation test of Spearman's rho, as `gaps.rank_correlation` makes it.

    Gap and order have a normal distribution with Pearson's correlation 2 sin(pi rho / 6), which gives that rho.
    """
    order, noise = random.normal(size=(2, experiments, tasks))
    null = np.sort(np.abs(_spearman(order, noise)))
    found = []
    for rho in rhos:
        pearson = 2 * np.sin(np.pi * rho / 6)
        noise = random.normal(size=order.shape)
        seen = np.abs(_spearman(order, pearson * order + np.sqrt(1 - pearson**2) * noise))
        as_large = len(null) - np.searchsorted(null, seen - 1e-9)
        found.append(float(100 * np.mean((1 + as_large) / (1 + len(null)) < SIGNIFICANCE)))
    return found


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho of each row of two arrays without ties, shape (experiments, tasks)."""
    apart = x.argsort(axis=1).argsort(axis=1) - y.argsort(axis=1).argsort(axis=1)
    tasks = x.shape[1]
    return 1 - 6 * (apart**2).sum(axis=1) / (tasks * (tasks**2 - 1))


def power_of_mean(effects: Sequence[float], tasks: int, experiments: int, random: np.random.Generator) -> list[float]:
    """In percent, of the t test of a mean over tasks, whose units are standard deviations over tasks."""
    draws = random.normal(size=(experiments, tasks))
    error = draws.std(axis=1, ddof=1) / np.sqrt(tasks)
    beyond = special.stdtrit(tasks - 1, 1 - SIGNIFICANCE / 2) * error
    return [float(100 * np.mean(np.abs(draws.mean(axis=1) + effect) > beyond)) for effect in effects]


def power_sentence(power: pd.DataFrame, tasks: int) -> str:
    """What so many tasks can show, and how many would be needed, for the middle one of the effects."""
    said = []
    for question, rows in power.groupby("question", sort=False):
        effect, spread = EFFECTS[str(question)][1], rows["spread"].iloc[0]
        middle = rows[rows["effect"] == effect].set_index("tasks")["power"]
        enough = middle.index[middle >= WANTED]
        needed = f"about {enough[0]}" if len(enough) else f"more than {middle.index[-1]}"
        found = f"{middle[tasks]:.0f}" if tasks in middle.index else "none"
        scatter = f", where gaps scatter by {spread:.1f} over tasks," if spread > 0 else ""
        said.append(f"for a {question} of {effect:g}{scatter} in {found} of 100 studies ({WANTED} need {needed} tasks)")
    return f"With {tasks} task{'s' * (tasks != 1)}, p < {SIGNIFICANCE} is found " + "; ".join(said) + "."
