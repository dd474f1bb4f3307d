"""Strategies at equal number of real labels spent: what to do with n labelled texts of each class.

Texts that an LLM wrote have spent the examples that it was shown until then; its labels of other real texts cost none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import pandas as pd

from synthgap.core.config import DecisionSettings, Profile
from synthgap.data.draws import draw_equal
from synthgap.training.mixes import NOTHING_SHOWN, fewest
from synthgap.training.runs import TEXTS, PlannedRun, RunPlanner, TaskTexts

ALONE, ZERO_SHOT, FEW_SHOT, LABELS = "real", "zero_shot", "few_shot", "labels"  # the parts of strategies
JOIN = " + "


class Written(NamedTuple):
    """Texts that an LLM wrote, as many of each label, and the ids of the real texts that it had been shown by then."""

    recording: int
    texts: pd.DataFrame
    examples: Sequence[str]


def plan_decision(profile: Profile, texts: Mapping[str, TaskTexts]) -> list[PlannedRun]:
    """The runs of all strategies on the main comparison's tasks, called "<strategy> <n>", with the grid's test texts.

    One seed is one draw, and takes one recording of every corpus. There is no run where the profile asks for none.
    """
    asked, name = profile.training.decision, next(iter(profile.comparisons))
    if asked is None:
        return []
    planned, as_grid = [], {"test_texts_per_label": profile.training.test_texts_per_label}
    for task in profile.tasks_of(profile.main):
        training, alone = profile.training.further(asked, task), replace(texts[task], annotated=None)
        draws = cache(lambda seed, own=alone: [*strategies(own, asked, profile.training.texts_per_label, seed)])
        for classifier in training.classifiers_of(task):
            planner = RunPlanner(training.model_copy(update=as_grid), name, classifier, alone)
            for seed in training.seeds_of(classifier):
                planned += [planner.run(strategy, seed, frame, number) for strategy, frame, number in draws(seed)]
    return planned


def strategies(
    texts: TaskTexts, asked: DecisionSettings, most: int | None, seed: int
) -> Iterator[tuple[str, pd.DataFrame, int]]:
    """(name and n, training texts, recording) of what can be done without a real label, then with n of each class.

    Real texts beside few-shot ones are the examples that these have spent, and others up to n. Texts that the LLM
    labelled are left out where their real label is spent. Numbers that a label has no more texts for are left out.

    Args:
        most: texts of each label that the LLM wrote or labelled; None: all.
    """
    train, names = texts.real.split("train"), list(texts.real.task.labels)
    drawn = draw_equal(train, train["label"].value_counts()[names].to_dict(), seed)  # fewer are the first of these
    labelled, free = texts.corpora.get(asked.labels or ""), affordable(texts, asked.corpora, 0, most, seed)

    def real(n: int, examples: Sequence[str] = ()) -> pd.DataFrame:
        spent = drawn["id"].isin(examples)
        ordered = pd.concat([drawn[spent], drawn[~spent]])
        return ordered.groupby("label", sort=False).head(n)

    def mix(n: int, recording: int, **parts: pd.DataFrame) -> tuple[str, pd.DataFrame, int]:
        if LABELS in parts:
            others = [frame for name, frame in parts.items() if name != LABELS]
            known = pd.concat([train[:0], *others])["id"]
            rest = parts[LABELS][~parts[LABELS]["id"].isin(known)]
            parts[LABELS] = _equal(rest, names, most, seed)
        return f"{JOIN.join(parts)} {n}", pd.concat([frame[TEXTS] for frame in parts.values()]), recording

    from_llm = {} if labelled is None else {LABELS: labelled}
    if free:
        yield mix(0, free.recording, zero_shot=free.texts)
    if from_llm:
        yield mix(0, 1, **from_llm)
    if free and from_llm:
        yield mix(0, free.recording, zero_shot=free.texts, **from_llm)
    for n in sorted({n for n in asked.real_texts_per_label if n <= fewest(train, names)}):
        alone, shown = real(n), affordable(texts, asked.corpora, n, most, seed)
        yield mix(n, 1, real=alone)
        if free:
            yield mix(n, free.recording, real=alone, zero_shot=free.texts)
        if from_llm:
            yield mix(n, 1, real=alone, **from_llm)
        if shown:
            both = {ALONE: real(n, shown.examples), FEW_SHOT: shown.texts}
            yield mix(n, shown.recording, few_shot=shown.texts)
            yield mix(n, shown.recording, **both)
            if from_llm:
                yield mix(n, shown.recording, **both, **from_llm)


def affordable(texts: TaskTexts, corpora: Sequence[str], n: int, most: int | None, seed: int) -> Written | None:
    """The texts that were written before an example too many was shown; None where there are none.

    With n real labels spent at most, of the corpora whose LLM was shown some, and of 0 of those whose LLM was shown
    none. Of several corpora the one that has the most texts by then, of these the one with the most examples.
    """
    names, found = list(texts.real.task.labels), list[Written]()
    for corpus in [name for name in corpora if name in texts.corpora]:
        recordings = texts.recordings(corpus)
        number = sorted(recordings)[seed % len(recordings)]
        shown, frame = texts.shown.get(corpus, NOTHING_SHOWN), recordings[number]
        if len(recordings) > 1:
            shown = shown[shown["recording"] == number]
        if (n == 0) != shown.empty:
            continue
        too_many = [turns.sort_values().iloc[n] for _, turns in shown.groupby("label")["turn"] if len(turns) > n]
        if too_many:
            frame, shown = frame[frame["turn"] < min(too_many)], shown[shown["turn"] < min(too_many)]
        if fewest(frame, names):
            found.append(Written(number, _equal(frame, names, most, seed), shown["id"].tolist()))
    return max(found, key=lambda one: (len(one.texts), len(one.examples)), default=None)


def _equal(frame: pd.DataFrame, labels: Sequence[str], most: int | None, seed: int) -> pd.DataFrame:
    size = fewest(frame, labels)
    return draw_equal(frame, dict.fromkeys(labels, size if most is None else min(size, most)), seed)
