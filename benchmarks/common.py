"""What the benchmarks share: texts, planned runs, timing several ways in turns, work on all cores, rows of CSV."""

import csv
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from synthgap.core.config import Comparison, FinetuneSettings, GenerationSettings, ProbeSettings
from synthgap.data.real import load_real
from synthgap.generation.corpora import from_recording
from synthgap.llm.backends import connect
from synthgap.tasks import load_profile, load_task, paper_tasks
from synthgap.training.runs import PlannedRun, TaskTexts, plan_task
from synthgap.training.workers import cores, limit_threads


def recorded_texts(tasks: tuple[str, ...] | None = None, setting: str = "zero_shot") -> list[tuple[str, int]]:
    """(text, number of its label) of the recorded synthetic texts of some tasks, or of all."""
    pairs, demo = [], load_profile("demo")
    for name in tasks or paper_tasks():
        task = load_task(name)
        data = load_real(task, demo)
        made = from_recording(data, setting, setting, connect(demo.llms["claude"]), GenerationSettings()).texts
        labels = list(task.labels)
        pairs += [(row.text, labels.index(row.label)) for row in made.itertuples()]
    return pairs


def train_texts(per_task: int) -> list[str]:
    """The first real train texts of each task of `recorded`."""
    profile = load_profile("recorded")
    frames = [load_real(load_task(name), profile).split("train") for name in profile.tasks]
    return [text for frame in frames for text in frame["text"].head(per_task)]


def planned_runs(task: str, settings: ProbeSettings | FinetuneSettings, **training: Any) -> list[PlannedRun]:
    """Runs of one classifier on a task's real texts.

    Args:
        training: what differs from the training of `recorded`.
    """
    profile = load_profile("recorded")
    alone = settings.model_copy(update={"seeds": None, "seeds_per_recording": None, "tasks": None})
    changed = profile.training.model_copy(update={"classifiers": {"alone": alone}} | training)
    return plan_task(changed, "real", Comparison(corpora=()), TaskTexts(load_real(load_task(task), profile), {}))


def in_turns(
    ways: Mapping[str, Callable[[int], object]], rounds: int = 3, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """{way: its median seconds}; the ways take turns, so that a busy machine slows them all.

    Args:
        ways: each is given the number of the round.
        clock: processor time, unless said otherwise, and then on one thread.
    """
    if clock is time.process_time:
        threadpool_limits(1)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, work in ways.items():
            start = clock()
            work(number)
            seconds[way].append(clock() - start)
    return {way: statistics.median(taken) for way, taken in seconds.items()}


def on_all_cores(function: Callable[..., Any], given: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
    """What a function makes of each of some arguments, in order; a process of one thread for each core."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores(), context, limit_threads, (1,)) as pool:
        yield from pool.map(function, *zip(*given, strict=True)) if given else ()


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where there is no file yet."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows that have the same keys as CSV."""
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows(rows)
