"""What was found on single draws, as means with intervals: over draws and recordings, and over tasks."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from synthgap.evaluation.inference import Part, interval, over_tasks, recording_means, training_spreads
from synthgap.tables import told_interval, wide

FEW = 10  # real labels of each kind that the cheapest teacher has
FOUND = ["value", "low", "high", "new_low", "new_high"]
OF_DRAWS = {"task", "recording", "draw", "value"}
LIMITS = {  # {measure: the least and the most that it can be}; no interval goes beyond
    **dict.fromkeys(("kept", "doubted", "doubted_real", "off", "off_real", "train", "test", "ece"), (0, 100)),
    **dict.fromkeys(("surface", "embedding"), (0, 1)),
}


def by_task(values: pd.DataFrame) -> pd.DataFrame:
    """The mean of each measure on each task, with 95 % intervals, the test items being given.

    Columns are those of `values` that say what was measured, then task, draws, recordings, FOUND: `low` and `high`
    speak of these recordings, `new_low` and `new_high` of new ones under the same conditions. What cannot be known
    from one draw, or from one recording, is missing.

    Args:
        values: columns task, corpus, measure (and maybe classifier), recording, draw, value.
    """
    rows = []
    for key, tasks in _measures(values):
        numbers, recordings = list(_of_tasks(tasks, "value")), list(_of_tasks(tasks, "recording"))
        for task, runs, of_runs, spread in zip(
            tasks["task"].unique(), numbers, recordings, training_spreads(numbers, recordings), strict=True
        ):
            found = _found(values, key, runs.mean(), spread.these, spread.new)
            rows.append((task, *key, len(runs), len(np.unique(of_runs)), *found))
    return pd.DataFrame(rows, columns=["task", *_columns(values), "draws", "recordings", *FOUND])


def means_over_tasks(values: pd.DataFrame) -> pd.DataFrame:
    """The mean of each measure over tasks, which are taken to be a sample of tasks; no row of fewer than two.

    Columns as of `by_task`, with `tasks` in place of task and draws.
    """
    rows = []
    for key, tasks in _measures(values):
        numbers, recordings = list(_of_tasks(tasks, "value")), list(_of_tasks(tasks, "recording"))
        if len(numbers) < 2:
            continue
        means = np.array([runs.mean() for runs in numbers])
        by_recording = recording_means(numbers, recordings)
        several = 1 if by_recording is None else by_recording.shape[1]
        new = over_tasks(means, [by_recording]) if several > 1 else None
        found = _found(values, key, means.mean(), over_tasks(means), new)
        rows.append((*key, len(numbers), several, *found))
    return pd.DataFrame(rows, columns=[*_columns(values), "tasks", "recordings", *FOUND])


def all_sections(means: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The means over tasks of several sections as one table, the section's name in its first column."""
    tables = [rows.assign(section=section) for section, rows in means.items()]
    table = pd.concat(tables, ignore_index=True)
    return table[["section", *(name for name in table if name != "section")]]


def _columns(values: pd.DataFrame) -> list[str]:
    return [name for name in values.columns if name not in OF_DRAWS]


def _measures(values: pd.DataFrame) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    """The values of each measure, without those that could not be measured."""
    yield from values.dropna(subset="value").groupby(_columns(values), sort=False)


def _of_tasks(values: pd.DataFrame, column: str) -> Iterator[np.ndarray]:
    return (rows[column].to_numpy() for _, rows in values.groupby("task", sort=False))


def _found(values: pd.DataFrame, key: Sequence[str], estimate: float, *targets: list[Part] | None) -> Iterator[float]:
    """FOUND: the estimate, and its interval for each target; unknown where nothing is known of what varies."""
    limits = LIMITS.get(dict(zip(_columns(values), key, strict=True))["measure"], (-np.inf, np.inf))
    yield estimate
    for parts in targets:
        yield from np.clip(interval(estimate, parts), *limits) if parts else (np.nan, np.nan)


# ------------------------------------------------------------------------------------------------------ as people read


def shown(summary: pd.DataFrame, titles: Mapping[str, str], digits: int = 1) -> pd.DataFrame:
    """A summary as people read it: a row for each task and corpus, a column for each of {measure: its title}."""
    rows = summary[summary["measure"].isin(titles)]
    cells = rows.assign(cell=[cell(row, digits) for row in rows.itertuples()], title=rows["measure"].map(titles))
    key = [name for name in ("task", "classifier", "corpus", "tasks") if name in cells]
    return wide(cells, key, [*titles.values()])


def cell(row: pd.Series, digits: int = 1) -> str:
    """A value with its interval: of new recordings where there are several, else of these."""
    low, high = told_interval(row)
    text = f"{row.value:.{digits}f}" + ("" if pd.isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")
    return text.replace("-", "−")


def answers(labels: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """What the report's first screen says of why there is a gap: columns question, answer.

    Args:
        labels: means over tasks of the section on labels.
        names: {corpus: its title}.
    """
    parts = {"gap": "gap in points", "inputs": "left of it under a real teacher's labels", "labels": "the labels' part"}
    said = sentence(labels, parts, names)
    return pd.DataFrame(
        [("Why?", f"{said} By probes; consistent with that, no proof.")], columns=["question", "answer"]
    )


def sentence(means: pd.DataFrame, titles: Mapping[str, str], names: Mapping[str, str], digits: int = 1) -> str:
    """A summary over tasks in words: of each corpus the measures with their intervals.

    Args:
        titles: {measure: how a sentence calls it}.
        names: {corpus: its title}.
    """
    parts = []
    for corpus, rows in means[means["measure"].isin(titles)].groupby("corpus", sort=False):
        found = {row.measure: cell(row, digits) for row in rows.itertuples()}
        said = ", ".join(f"{title} {found[measure]}" for measure, title in titles.items() if measure in found)
        parts.append(f"{names[corpus]}: {said}.")
    if not parts:
        return "No mean over tasks: it takes a corpus beside the real texts, and two tasks at least."
    several = means["recordings"].max() > 1
    target = "new recordings under the same conditions" if several else "this recording alone"
    return " ".join(parts) + f" Means over {means['tasks'].max()} tasks, with 95 % intervals for {target}."
