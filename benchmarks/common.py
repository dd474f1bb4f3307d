"""What the benchmarks share: texts that come with the package, and timing two ways in turns, and work on all cores."""

import csv
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from synthgap.core.config import GenerationSettings
from synthgap.data.real import load_real
from synthgap.generation.corpora import from_recording
from synthgap.llm.backends import connect
from synthgap.tasks import load_profile, load_task, paper_tasks
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


def alternate(ours: Callable[[], None], plain: Callable[[], None], rounds: int = 3) -> tuple[float, float]:
    """Median seconds of two ways, run in turns so that a busy machine slows both."""
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(rounds):
        for name, way in (("ours", ours), ("plain", plain)):
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return statistics.median(seconds["ours"]), statistics.median(seconds["plain"])


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
