"""How many recordings and texts per label tell a difference of so many points, from variances that were measured."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import stats

from synthgap.core.config import Profile
from synthgap.evaluation.gaps import Scored, TaskScores, add_spreads, scores_of
from synthgap.evaluation.scores import METRIC
from synthgap.training.predictions import Predictions

POWER, SIGNIFICANCE = 0.8, 0.05
POINTS = 2.0  # of macro-F1, that one would like to tell
RECORDINGS, TEXTS = (1, 2, 3, 5, 10, 20, 40), (50, 100, 200, 500)
MOST = 1000  # recordings that are looked at


@dataclass(frozen=True)
class Variances:
    """What a corpus's score on one task varies with, in squared points of macro-F1; means over tasks and corpora.

    Attributes:
        recording: with another recording, trained on `texts` texts per label.
        sampling: the part of it that more texts of the same recording would take away, in proportion to their number.
        items: of the difference of two corpora on the same test items.
        texts: per label, that the others were measured at.
        df: degrees of freedom that `recording` is known with.
    """

    recording: float
    sampling: float
    items: float
    texts: int
    df: float

    def at(self, texts: int) -> float:
        """The variance of a recording from which so many texts per label are trained on."""
        sampling = min(self.sampling, self.recording)
        return self.recording - sampling + sampling * self.texts / texts


def measured(predictions: Sequence[Predictions], curve: Sequence[Predictions] = (), seed: int = 0) -> Variances | None:
    """The variances of corpora that were recorded several times; None where there are none.

    Args:
        predictions: the grid's; of several classifiers the first counts.
        curve: of the learning curves, whose smaller draws tell what more texts would change; without any it is taken
            that more texts of the same recording change nothing.
    """
    predictions = [one for one in predictions if one.classifier == predictions[0].classifier]
    tasks = [scores_of(one, 500, seed) for one in predictions]
    add_spreads(tasks)
    several = [(task, key) for task in tasks for key in task if key[1] == METRIC and task[key].spreads.new]
    if not several:
        return None
    recording = [_of_recording(task[key]) for task, key in several]
    items = [_of_items(task, corpus) for task, (corpus, _) in several]
    texts = [one.n_train[corpus] / len(one.labels) for one in predictions for corpus in one.predicted]
    n = int(np.median(texts))
    names = {corpus for _, (corpus, _) in several}
    own = [one for one in curve if one.classifier == predictions[0].classifier]
    sampling = [value for one in own for value in _of_sampling(one, names)]
    df = sum(task[key].n_recordings - 1 for task, key in several)
    return Variances(
        float(np.mean(recording)), float(np.mean(sampling)) / n if sampling else 0.0, float(np.mean(items)), n, df
    )


def _of_recording(scored: Scored) -> float:
    means = [scored.runs[scored.recordings == number].mean() for number in np.unique(scored.recordings)]
    return float(np.var(means, ddof=1))


def _of_items(task: TaskScores, corpus: str) -> float:
    """Of the difference to the task's other corpora, mean over these."""
    others = [key for key in task if key[1] == METRIC and key[0] != corpus]
    own = task[corpus, METRIC].resampled
    return float(np.mean([np.var(own - task[key].resampled, ddof=1) for key in others])) if others else 0.0


def _of_sampling(curve: Predictions, corpora: set[str]) -> list[float]:
    """The variance that one text per label would have, from draws of at most half of a recording's texts.

    A draw of n of N texts varies as sampling / n (1 - n / N).
    """
    found = []
    scored = scores_of(curve, 2, 0)
    for corpus in corpora:
        sizes = {int(name.rsplit(" ", 1)[1]): name for name in curve.predicted if name.rsplit(" ", 1)[0] == corpus}
        for size in sizes:
            runs = scored[sizes[size], METRIC].runs
            if 25 <= size <= max(sizes) / 2 and len(runs) > 1:  # below, learning itself is another
                found.append(float(np.var(runs, ddof=1)) * size / (1 - size / max(sizes)))
    return found


def detectable(variances: Variances, recordings: int, texts: int, tasks: int = 1) -> float:
    """The difference of two corpora, in points, that studies of this size find in 80 of 100 cases (p < 0.05).

    Both corpora have so many recordings, each task in a context of its own; the mean over so many tasks is meant. The
    variance is taken as known from the measured ones and from the study's own recordings.
    """
    variance = (2 * variances.at(texts) / recordings + variances.items) / tasks
    df = variances.df + 2 * tasks * (recordings - 1)
    return float((stats.t.ppf(1 - SIGNIFICANCE / 2, df) + stats.t.ppf(POWER, df)) * math.sqrt(variance))


def needed_recordings(variances: Variances, texts: int, tasks: int = 1, points: float = POINTS) -> float:
    """Recordings of each corpus that tell a difference of so many points; infinite where no number does."""
    for number in range(1, MOST + 1):
        if detectable(variances, number, texts, tasks) <= points:
            return number
    return math.inf


def power_table(variances: Variances, tasks: int) -> pd.DataFrame:
    """What so many recordings and texts per label tell: columns tasks, texts_per_label, recordings, detectable, enough.

    Args:
        tasks: a number that is asked about beside one.
    """
    rows = [
        (over, texts, number, found, found <= POINTS)
        for over in sorted({1, max(tasks, 1)})
        for texts in TEXTS
        for number in RECORDINGS
        for found in [detectable(variances, number, texts, over)]
    ]
    return pd.DataFrame(rows, columns=["tasks", "texts_per_label", "recordings", "detectable", "enough"])


def sentence(variances: Variances, tasks: int, recordings: int = 1, texts: int | None = None) -> str:
    """What so many recordings can tell, and how many would tell a difference of POINTS."""
    said, texts = [], texts or variances.texts
    for over, where in ((1, "on one task"), (tasks, f"in the mean over {tasks} tasks")):
        if over == 1 or tasks > 1:
            number = needed_recordings(variances, texts, over)
            many = f"{number:.0f} recordings of each corpus" if math.isfinite(number) else "no number of recordings"
            found = detectable(variances, recordings, texts, over)
            said.append(f"{where} a difference of {found:.1f} points ({POINTS:g} points need {many})")
    word = "recording" if recordings == 1 else "recordings"
    return f"With {recordings} {word} of {texts} texts per label, 80 of 100 studies would tell {' and '.join(said)}."


# of the profile `recorded`: probe, zero-shot and few-shot texts of one LLM in three recordings, ten tasks
RECORDED = Variances(recording=4.3, sampling=4.1, items=1.0, texts=100, df=40)


def planned(profile: Profile) -> str:
    """What a profile's comparisons of prompts will tell, before anything was asked; "" where it has none.

    A sentence, and below it the points that other numbers of recordings and texts would tell.
    """
    comparisons = profile.comparisons_on("prompts").values()
    if not comparisons:
        return ""
    corpora = [name for one in comparisons for name in one.corpora]
    tasks = max(len(profile.tasks_of(one)) for one in comparisons)
    texts = profile.training.texts_per_label or profile.generation.texts_per_label or RECORDED.texts
    said = sentence(RECORDED, tasks, min(map(profile.recordings, corpora)), texts)
    about = f"variances of {', '.join(f'{k} {v:g}' for k, v in asdict(RECORDED).items())}"
    table = wide_table(power_table(RECORDED, tasks)).round(1).to_string(index=False)
    return f"{said} ({about}). Points that are told, by number of recordings:\n{table}"


def wide_table(power: pd.DataFrame) -> pd.DataFrame:
    """`power_table` with a column for each number of recordings."""
    wide = power.pivot_table(index=["tasks", "texts_per_label"], columns="recordings", values="detectable")
    return wide.rename(columns=str).rename_axis(columns=None).reset_index()
