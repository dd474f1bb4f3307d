"""Which strategy is best at so many real labels of each class, by how much, and how sure that is.

Predictions are named "<strategy> <n>". What can be done without a label can be done with n of them, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from synthgap.core.terminal import Progress
from synthgap.evaluation.gaps import Scored, add_spreads, inferred, parts_of, scores_of
from synthgap.evaluation.inference import Part, Spreads, over_tasks, total
from synthgap.evaluation.scores import METRIC
from synthgap.tables import signed, signed_interval, wide
from synthgap.training.predictions import Predictions
from synthgap.training.strategies import ALONE, JOIN, LABELS

TITLES = {
    "real": "real texts alone",
    "zero_shot": "zero-shot texts alone",
    "few_shot": "few-shot texts alone",
    "labels": "texts with LLM labels",
    "zero_shot + labels": "zero-shot + LLM labels",
    "real + zero_shot": "real + zero-shot",
    "real + few_shot": "real + few-shot",
    "real + labels": "real + LLM labels",
    "real + few_shot + labels": "real + few-shot + LLM labels",
}
BY_TASK = ["classifier", "task", "real_labels", "strategy", METRIC, "gain", "low", "high", "chance"]
OVER_TASKS = ["classifier", "real_labels", "strategy", "tasks", METRIC, "gain", "low", "high", "wins", "chance"]
Options = dict[str, Scored]  # {strategy: its scores} on one task, with so many real labels


def strategy_tables(
    predictions: Sequence[Predictions], resamples: int = 2000, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of the strategies by task, and over tasks; BY_TASK and OVER_TASKS, in points, with 95 % intervals.

    `gain` is over as many real texts alone, for new recordings under the same conditions where there are several.
    `chance` is the probability of being the best of all strategies, when test items, draws, recordings and, over tasks,
    tasks are drawn anew; `wins` counts the tasks on which the mean is the best. Over tasks are the tasks that have all
    strategies with so many labels.
    """
    by_task, means, random = list[tuple[object, ...]](), list[tuple[object, ...]](), np.random.default_rng(seed)
    for classifier in dict.fromkeys(one.classifier for one in predictions):
        own = [one for one in predictions if one.classifier == classifier]
        scored = [scored_of(one, resamples, seed) for one in Progress(own, desc=f"strategies {classifier}")]
        add_all_spreads(scored)
        for n in sorted({int(key.rpartition(" ")[2]) for keys in scored for key in keys}):
            options = {one.task: options_at(keys, n) for one, keys in zip(own, scored, strict=True)}
            options = {task: found for task, found in options.items() if found}
            drawn = {task: _drawn_anew(found, random) for task, found in options.items()}
            for task, found in options.items():
                chances = shares_of_best(np.stack(list(drawn[task].values())))
                for (strategy, one), chance in zip(found.items(), chances, strict=True):
                    by_task.append((classifier, task, n, strategy, one.mean, *_gain(one, found.get(ALONE)), chance))
            means += [(classifier, n, *row) for row in _over_tasks(options, drawn, random)]
    return pd.DataFrame(by_task, columns=BY_TASK), pd.DataFrame(means, columns=OVER_TASKS)


def scored_of(one: Predictions, resamples: int, seed: int) -> Options:
    """{"<strategy> <n>": scores} of one task and classifier."""
    return {key: found for (key, metric), found in scores_of(one, resamples, seed).items() if metric == METRIC}


def options_at(keys: Mapping[str, Scored], n: int) -> Options:
    """{strategy: scores} of all that can be done with n real labels; nothing where real texts alone are missing."""
    found = {}
    for key, one in keys.items():
        strategy, _, spent = key.rpartition(" ")
        if int(spent) in {0, n}:
            found[strategy] = one
    return found if ALONE in found or n == 0 else {}


def add_all_spreads(tasks: Sequence[Options]) -> None:
    """Give the scores what they vary with; where a task has one recording, what others vary by between recordings.

    Tasks may have another number of recordings for the same strategy, where prompts differ in how often they were
    recorded: tasks of like number tell of each other.
    """
    for key in dict.fromkeys(key for task in tasks for key in task):
        having = [task for task in tasks if key in task]
        for number in {task[key].n_recordings for task in having}:
            alike = [task for task in having if task[key].n_recordings == number]
            parts = [{(key, METRIC): task[key]} for task in alike]
            add_spreads(parts)
            for task, part in zip(alike, parts, strict=True):
                task[key] = part[key, METRIC]
        several = [task[key] for task in having if task[key].spreads.new]
        for task in having if several else ():
            if not task[key].spreads.new:
                one = np.mean([one.n_recordings * total(one.spreads.new or []).variance for one in several])
                borrowed = Part(float(one), sum(one.n_recordings - 1 for one in several))
                task[key] = replace(task[key], spreads=Spreads(task[key].spreads.these, [borrowed]))


def _gain(one: Scored, alone: Scored | None) -> tuple[float, float, float]:
    if alone is None or one is alone:
        return (np.nan if alone is None else 0.0, np.nan, np.nan)
    pair, gain = [one, alone], one.mean - alone.mean
    low, high, _ = inferred(gain, parts_of(pair, new=True) or parts_of(pair, new=False))
    return gain, low, high


def _drawn_anew(options: Options, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Scores with items, draws and recordings drawn anew, shape (resamples,) each; all see the same items."""
    found = {}
    for strategy, one in options.items():
        spread = total(one.spreads.new or one.spreads.these).variance
        found[strategy] = one.resampled + np.sqrt(spread) * random.standard_normal(len(one.resampled))
    return found


def shares_of_best(drawn: np.ndarray) -> np.ndarray:
    """How often each row is the largest; drawn: shape (strategies, resamples)."""
    return np.bincount(drawn.argmax(axis=0), minlength=len(drawn)) / drawn.shape[1]


def _over_tasks(
    options: Mapping[str, Options], drawn: Mapping[str, Mapping[str, np.ndarray]], random: np.random.Generator
) -> list[tuple[object, ...]]:
    """Rows of OVER_TASKS from `strategy` on, of the tasks that have all strategies; none of fewer than two."""
    every = list(dict.fromkeys(strategy for found in options.values() for strategy in found))
    tasks = [task for task, found in options.items() if set(found) == set(every)]
    if len(tasks) < 2:
        return []
    scores = np.array([[options[task][strategy].mean for strategy in every] for task in tasks])
    anew = np.array([[drawn[task][strategy] for strategy in every] for task in tasks])
    resamples = anew.shape[2]
    chosen = random.integers(len(tasks), size=(len(tasks), resamples))
    chances = shares_of_best(anew[chosen, :, np.arange(resamples)].mean(axis=0).T)
    wins = np.bincount(scores.argmax(axis=1), minlength=len(every))
    rows = list[tuple[object, ...]]()
    for place, strategy in enumerate(every):
        gains = scores[:, place] - scores[:, every.index(ALONE)] if ALONE in every else np.full(len(tasks), np.nan)
        low, high, _ = inferred(float(gains.mean()), over_tasks(gains)) if gains.any() else (np.nan,) * 3
        row = (len(tasks), scores[:, place].mean(), gains.mean(), low, high, int(wins[place]), chances[place])
        rows.append((strategy, *row))
    return rows


# ------------------------------------------------------------------------------------------------------------ in words


def best_in_words(over: pd.DataFrame, n: int, classifier: str) -> str:
    """What to do with n real labels of each class, in a sentence."""
    rows = over[(over["real_labels"] == n) & (over["classifier"] == classifier)]
    if rows.empty:
        return f"Not known for {n} real labels a class: it takes two tasks at least that have all strategies."
    ordered = list(rows.sort_values(METRIC, ascending=False).itertuples())
    first, second = ordered[:2]
    said = (
        f"With {n} real labels a class ({classifier}, mean over {first.tasks} tasks): {_scores(first)}; it is the best "
        f"with a chance of {100 * first.chance:.0f} %, and on {first.wins} of the {first.tasks} tasks; next is "
        f"{TITLES[second.strategy]}, {first.macro_f1 - second.macro_f1:.1f} points behind"
    )
    without = [row for row in ordered if LABELS not in row.strategy.split(JOIN)]
    if not without or without[0] is first:
        return f"{said}."
    return f"{said}. Where there are no other texts for the LLM to label, {_scores(without[0])} is the best."


def _scores(row: Any) -> str:
    """A strategy, its score, and what it gains over the real labels alone."""
    gain = f", {signed(row.gain)} points {signed_interval(row.low, row.high)} over these labels alone"
    return f"{TITLES[row.strategy]} ({row.macro_f1:.1f}{'' if pd.isna(row.low) else gain})"


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each number of labels (and task), a column for each strategy: score and chance of being the best."""
    cells = table.assign(
        title=table["strategy"].map(TITLES),
        cell=[f"{row.macro_f1:.1f} ({100 * row.chance:.0f} %)" for row in table.itertuples()],
    )
    key = [name for name in ("classifier", "task", "real_labels", "tasks") if name in table]
    return wide(cells, key, [title for title in TITLES.values() if title in set(cells["title"])])
