"""What the fine-tunings that are missing will take on this machine, from a short timing here.

Figures for other machines are in docs/training_time.md.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from synthgap.core.config import FinetuneSettings, Profile
from synthgap.tables import format_hours
from synthgap.training.mixes import plan_mixes
from synthgap.training.runs import PlannedRun, plan_curves, plan_grid
from synthgap.training.store import find
from synthgap.training.strategies import plan_decision
from synthgap.training.texts import load_texts

PILOT = 128  # texts that are timed


class Pace(NamedTuple):
    """How fast this machine fine-tunes an encoder: seconds to load it, of a trained and of a predicted token."""

    load: float
    train: float
    predict: float


def plan_training(profile: Profile, synthetic: Path, runs: Path) -> str:
    """A sentence on the fine-tunings that are missing; real texts stand for those that are not written yet.

    Args:
        synthetic, runs: folders of the profile's outputs.

    Raises:
        SynthgapError: an encoder cannot be had.
    """
    texts = load_texts(profile, synthetic, stand_ins=True)
    plans = (plan_grid, plan_curves, plan_mixes, plan_decision)
    planned = {run.name: run for plan in plans for run in plan(profile, texts)}
    missing = [run for name, run in planned.items() if find(runs, name) is None]
    fine_tunings, seconds = 0, 0.0
    for name, settings in profile.training.classifiers.items():
        tuned = [run for run in missing if run.classifier == name]
        if isinstance(settings, FinetuneSettings) and tuned:
            fine_tunings += len(tuned)
            seconds += expected_seconds(settings, tuned)
    others = len(missing) - fine_tunings
    also = f"; {others} runs of other classifiers are missing and take seconds each" if others else ""
    if not fine_tunings:
        return f"training: no fine-tuning is missing{also}"
    return (
        f"training: {fine_tunings} fine-tunings are missing, at most {format_hours(seconds / 3600)} one after another "
        f"here, as busy as this machine is now; less where some stop early or run side by side on a GPU{also}"
    )


def expected_seconds(settings: FinetuneSettings, runs: Sequence[PlannedRun]) -> float:
    """What runs of a fine-tuned classifier take, one after another, if none stops before its last epoch."""
    from synthgap.training.finetuning import load_tokenizer, tokenised  # which load torch

    frames = [frame for run in runs for frame in (run.train, run.validation, run.test, run.annotated, run.further)]
    texts = list(dict.fromkeys(text for frame in frames for text in frame["text"]))
    rows = tokenised(load_tokenizer(settings.encoder), settings.encoder, texts, settings.max_tokens)
    length = dict(zip(texts, map(len, rows), strict=True))
    trained = list(dict.fromkeys(text for run in runs for text in run.train["text"]))
    pace = measure_pace(settings, trained[:: max(1, len(trained) // PILOT)][:PILOT])
    seconds = 0.0
    for run in runs:
        train, validation, *predicted = (
            sum(length[text] for text in frame["text"])
            for frame in (run.train, run.validation, run.test, run.annotated, run.further)
        )
        embedded = train if settings.head == "probe" else 0  # once, for the head to start from
        epoch = train * pace.train + validation * pace.predict
        seconds += pace.load + settings.epochs * epoch + (sum(predicted) + embedded) * pace.predict
    return settings.members * seconds


def measure_pace(settings: FinetuneSettings, texts: Sequence[str]) -> Pace:
    """Train and predict a few texts twice, and time the second time."""
    from synthgap.training import finetuning

    started = time.perf_counter()
    tokenizer, model = finetuning.load_classifier(settings.encoder, 2, settings.attention_dropout, settings.head)
    load, pad = time.perf_counter() - started, int(tokenizer.pad_token_id)
    rows = finetuning.tokenised(tokenizer, settings.encoder, texts, settings.max_tokens)
    with finetuning.only_used_tokens(model, rows, pad) as renumbered:
        items = [{"input_ids": renumbered(row), "labels": place % 2} for place, row in enumerate(rows)]
        arguments = finetuning.training_arguments(settings.model_copy(update={"epochs": 1}), 0)
        train = _second_time(finetuning.new_trainer(model, arguments, items, pad).train)
    predict = _second_time(lambda: finetuning.predict(model, rows, pad))
    tokens = sum(map(len, rows))
    return Pace(load, train / tokens, predict / tokens)


def _second_time(work: Callable[[], object]) -> float:
    """Seconds of some work after it was done once."""
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
