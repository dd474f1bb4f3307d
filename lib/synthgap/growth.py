"""What fine-tuning will take: seconds and memory of the runs that are missing, from a pilot of a few texts here.

A run takes its start, and then so much for every text by its length. That is measured for the tasks with the shortest,
the middle and the longest texts, and lies on straight lines between them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.config import FinetuneSettings, Profile
from synthgap.engine import Engine, cores, visible_gpus, workers_here
from synthgap.errors import SynthgapError
from synthgap.runs import Cell, is_finished, plan_curve, plan_task, read_run
from synthgap.tables import hours_shown

if TYPE_CHECKING:
    import pandas as pd

    from synthgap.data import RealData

PILOT_LETTERS = 24_000  # of each of the three tasks' texts, about
FEWEST, MOST = 32, 512  # texts of a task for that
SHARING = 0.07  # by which each run slows every other on a GPU: 4, 8 and 14 did the work of 3.3, 5.7, 7.0 on an H200
COLUMNS = ["classifier", "runs", "finished", "tokens", "tokens_at_most", "hours", "hours_at_most", "memory_mb"]


@dataclass(frozen=True)
class Times:
    """Seconds a text, measured at some lengths.

    Attributes:
        points: (tokens of a text, seconds a text), by rising length.
    """

    points: tuple[tuple[float, float], ...]

    def seconds(self, tokens: float, texts: int) -> float:
        """For so many tokens in so many texts; beyond the lengths measured, in proportion to the tokens."""
        import numpy as np

        if not texts:
            return 0.0
        lengths, times = zip(*self.points, strict=True)
        nearest = min(max(tokens / texts, lengths[0]), lengths[-1])
        return float(texts * np.interp(nearest, lengths, times) * (tokens / texts) / nearest)


@dataclass(frozen=True)
class Pace:
    """How fast this machine fine-tunes one encoder.

    Attributes:
        start: seconds until a run computes.
        train, predict: seconds a text.
        memory_mb: peak memory of the process, in MiB.
    """

    start: float
    train: Times
    predict: Times
    memory_mb: float

    def seconds(self, work: Work, epochs: float, members: int = 1) -> float:
        """Of one run: `epochs` are those of all its members together."""
        each = self.train.seconds(work.train_tokens, work.train_texts)
        each += self.predict.seconds(work.validation_tokens, work.validation_texts)
        test = self.predict.seconds(work.test_tokens, work.test_texts)
        return epochs * each + members * (self.start + test)


@dataclass(frozen=True)
class Work:
    """Texts of one run, and their tokens."""

    train_texts: int
    train_tokens: int
    validation_texts: int
    validation_tokens: int
    test_texts: int
    test_tokens: int

    def tokens(self, epochs: float, members: int = 1) -> float:
        return epochs * (self.train_tokens + self.validation_tokens) + members * self.test_tokens


def measure_pace(settings: FinetuneSettings, lots: Sequence[Sequence[str]]) -> Pace:
    """Train and predict lots of texts, and time what follows the first epoch and the first prediction.

    Raises:
        SynthgapError: the encoder cannot be had.
    """
    from synthgap.classifiers import peak_memory_mb, reset_peak_memory
    from synthgap.finetuning import load_classifier, tokenised

    reset_peak_memory()
    started = time.perf_counter()
    tokenizer, model = load_classifier(settings.encoder, 2, settings.attention_dropout, settings.head)
    loaded = time.perf_counter() - started
    starts, trained, predicted = [], [], []
    for texts in lots:
        rows = tokenised(tokenizer, settings.encoder, texts, settings.max_tokens)
        start, train, predict = time_training(settings, model, rows, int(tokenizer.pad_token_id))
        length = sum(map(len, rows)) / len(rows)
        starts.append(loaded + start)
        trained.append((length, train / len(rows)))
        predicted.append((length, predict / len(rows)))
    return Pace(min(starts), Times(tuple(sorted(trained))), Times(tuple(sorted(predicted))), peak_memory_mb())


def time_training(
    settings: FinetuneSettings, model: Any, rows: list[list[int]], pad: int
) -> tuple[float, float, float]:
    """Seconds of the first epoch beyond those of the second, of the second, and of the second prediction."""
    import tempfile

    from transformers import TrainerCallback

    from synthgap.finetuning import new_trainer, only_used_tokens, predict, training_arguments

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            ends.append(time.perf_counter())

    with only_used_tokens(model, rows, pad) as renumbered, tempfile.TemporaryDirectory() as scratch:
        items = [{"input_ids": renumbered(row), "labels": place % 2} for place, row in enumerate(rows)]
        arguments = training_arguments(settings.model_copy(update={"epochs": 2}), 0, scratch)
        started = time.perf_counter()
        new_trainer(model, arguments, items, pad, Clock()).train()
    epoch = ends[1] - ends[0]
    predict(model, rows, pad)
    again = time.perf_counter()
    predict(model, rows, pad)
    return max(0.0, ends[0] - started - epoch), epoch, time.perf_counter() - again


# ------------------------------------------------------------------------------------------------------------- plan


@dataclass(frozen=True, repr=False)
class TrainingPlan:
    """What fine-tuning will take on this machine.

    Attributes:
        table: columns as in COLUMNS, a row a fine-tuned classifier; tokens and hours are of runs that are missing, with
            the epochs that finished runs took; "at most": where no run stops before its last epoch.
        side_by_side: how many times as fast as one run after another the engine trains here; 1 without a GPU, whose
            cores one run keeps busy.
        others: runs of other classifiers that are missing; they take seconds each.
    """

    machine: str
    table: pd.DataFrame
    side_by_side: float
    others: int

    def __str__(self) -> str:
        missing = int((self.table["runs"] - self.table["finished"]).sum())
        others = f"; {self.others} runs of other classifiers are missing and take seconds each" if self.others else ""
        if not missing:
            return f"training: no fine-tuning is missing{others}"
        hours, most = (float(self.table[name].sum()) / self.side_by_side for name in ("hours", "hours_at_most"))
        spread = ", ".join(f"{hours_shown(hours / count)} on {count} such machines" for count in (2, 4, 8))
        memory = f"{self.table['memory_mb'].max():,.0f} MiB a process"
        return (
            f"training: {missing} fine-tunings are missing, about {hours_shown(hours)} here ({self.machine}, as busy "
            f"as now), at most {hours_shown(most)} where none stops early; {spread}; {memory}{others}"
        )

    __repr__ = __str__


def plan_training(profile: Profile, real: Mapping[str, RealData], synthetic: Path, runs: Path) -> TrainingPlan:
    """Measure this machine's pace for each fine-tuned classifier, and estimate all runs that are missing.

    Texts that are not generated yet are taken to be as long as the real ones.

    Args:
        real: {task: its real texts}.
        synthetic, runs: folders of the profile's outputs.

    Raises:
        SynthgapError: an encoder cannot be had.
    """
    import pandas as pd

    cells = planned_cells(profile, real, synthetic)
    finished = {cell.name for cell in cells if is_finished(runs, cell.name)}
    rows = []
    for name, settings in profile.training.classifiers.items():
        if isinstance(settings, FinetuneSettings):
            mine = [cell for cell in cells if cell.classifier == name]
            rows.append(_row(name, settings, mine, finished, runs))
    others = sum(not isinstance(cell.settings, FinetuneSettings) for cell in cells if cell.name not in finished)
    gpus = visible_gpus()
    here = f"{len(gpus)} GPUs" if gpus else f"{cores()} cores"
    side_by_side = sharing(workers_here(Engine.from_environment(), gpus), len(gpus)) if gpus else 1
    return TrainingPlan(here, pd.DataFrame(rows, columns=COLUMNS), side_by_side, others)


def sharing(processes: int, gpus: int) -> float:
    """How many times as fast as one run after another so many processes are on so many GPUs."""
    if processes <= gpus:
        return processes
    on_each = processes / gpus
    return processes / (1 + SHARING * (on_each - 1))


def _row(
    name: str, settings: FinetuneSettings, cells: list[Cell], finished: Iterable[str], runs: Path
) -> dict[str, Any]:
    missing = [cell for cell in cells if cell.name not in finished]
    row: dict[str, Any] = {"classifier": name, "runs": len(cells), "finished": len(cells) - len(missing)}
    if not missing:
        return row | dict.fromkeys(COLUMNS[3:], 0)
    pace = measure_pace(settings, pilot_texts({cell.task: cell.train["text"] for cell in missing}))
    done = [read_run(runs, cell.name)["details"]["epochs_run"] for cell in cells if cell.name in finished]
    members = settings.members
    most = members * settings.epochs
    epochs = statistics.fmean(done) if done else most
    count = TokenCounter(settings)
    works = [count.work(cell) for cell in missing]
    row |= {"tokens": round(sum(work.tokens(epochs, members) for work in works)), "memory_mb": round(pace.memory_mb)}
    row["tokens_at_most"] = round(sum(work.tokens(most, members) for work in works))
    row["hours"] = sum(pace.seconds(work, epochs, members) for work in works) / 3600
    return row | {"hours_at_most": sum(pace.seconds(work, most, members) for work in works) / 3600}


def planned_cells(profile: Profile, real: Mapping[str, RealData], synthetic: Path) -> list[Cell]:
    """The runs of 02 and 06, each once; where a task's synthetic texts are not there yet, real ones stand for them."""
    from synthgap.augmentation import plan_augmentation
    from synthgap.generation import load_synthetic, texts_wanted
    from synthgap.sources import load_annotated

    cells: dict[str, Cell] = {}
    for name, data in real.items():
        texts: dict[str, pd.DataFrame] = {}
        for setting in profile.generation.settings:
            try:
                texts[setting] = load_synthetic(synthetic, name, setting)
            except SynthgapError:
                wanted = texts_wanted(data.task, profile.generation)
                texts[setting] = data.split("train").groupby("label", sort=False).head(wanted)
        annotated = load_annotated(data.task, profile, data)
        given = (profile, data, texts, annotated.texts if annotated else None)
        found = [*plan_task(*given), *plan_curve(*given)]
        if profile.training.augmentation:
            found += plan_augmentation(profile, data, texts["few_shot"], _examples(profile, data, synthetic))
        cells |= {cell.name: cell for cell in found}
    return list(cells.values())


def _examples(profile: Profile, data: RealData, synthetic: Path) -> dict[str, list[str]]:
    """{label: ids of the few-shot examples}; before generation, of the pool, as many as the fewest turns show."""
    from synthgap.generation import provenance, synthetic_file, texts_wanted, turns_needed

    task = data.task
    if synthetic_file(synthetic, task.name, "few_shot").is_file():
        return provenance(synthetic, task.name, "few_shot")["example_ids"]
    a_turn = profile.generation.examples_per_turn or task.few_shot.examples_per_turn
    number = a_turn * turns_needed(task, texts_wanted(task, profile.generation))
    return {label: data.pool_ids(label)[:number] for label in task.labels}


def pilot_texts(by_task: Mapping[str, pd.Series]) -> list[list[str]]:
    """Texts of the tasks with the shortest, the middle and the longest ones, by letters; of fewer where there are."""
    letters = {task: float(texts.str.len().mean()) for task, texts in by_task.items()}
    ordered = sorted(letters, key=lambda task: (letters[task], task))
    chosen = dict.fromkeys(ordered[place] for place in (0, len(ordered) // 2, -1))
    numbers = {task: min(MOST, max(FEWEST, round(PILOT_LETTERS / letters[task]))) for task in chosen}
    return [by_task[task].head(number).tolist() for task, number in numbers.items()]


class TokenCounter:
    """Counts the tokens of runs, each text once."""

    def __init__(self, settings: FinetuneSettings) -> None:
        from synthgap.finetuning import load_tokenizer

        self.settings = settings
        self.tokenizer = load_tokenizer(settings.encoder)
        self.known: dict[str, int] = {}

    def tokens(self, texts: Iterable[str]) -> int:
        from synthgap.finetuning import tokenised

        listed = list(texts)
        if new := list(dict.fromkeys(text for text in listed if text not in self.known)):
            rows = tokenised(self.tokenizer, self.settings.encoder, new, self.settings.max_tokens)
            self.known |= dict(zip(new, map(len, rows), strict=True))
        return sum(self.known[text] for text in listed)

    def work(self, cell: Cell) -> Work:
        train, validation = cell.train["text"], cell.validation["text"]
        embedded = train if self.settings.head == "probe" else ()
        test = [*cell.test["text"], *cell.annotated["text"], *embedded]
        return Work(
            len(train), self.tokens(train), len(validation), self.tokens(validation), len(test), self.tokens(test)
        )
