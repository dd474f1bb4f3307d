"""Draws of a corpus's texts beside draws of as many real ones, and the probe that is fitted to either."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import cross_val_predict
from threadpoolctl import threadpool_limits

from synthgap.core.config import REAL, Comparison, ProbeSettings, Profile
from synthgap.core.terminal import Progress
from synthgap.data.draws import at_most, draw_equal
from synthgap.data.real import RealData
from synthgap.evaluation.scores import confusion, score_confusions
from synthgap.training.base import logistic_regression, numbered
from synthgap.training.embeddings import embed
from synthgap.training.runs import TaskTexts, comparison_sizes
from synthgap.training.texts import comparison_texts

PROBE = ProbeSettings(kind="probe")
DRAWS, DRAWS_OF_RECORDINGS = 3, 2  # of a corpus with one recording, and of each of several; at most
FOLDS = 5
COLUMNS = ["id", "text", "label"]
VALUE_COLUMNS = ["task", "corpus", "measure", "recording", "draw", "value"]


@dataclass(frozen=True)
class Sample:
    """Labelled texts of one task with their embeddings.

    Attributes:
        texts: columns id, text, label.
        labels: places of the labels in the task's list.
        vectors: embeddings, shape (texts, dimensions).
    """

    texts: pd.DataFrame
    labels: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, texts: pd.DataFrame, labels: Sequence[str]) -> "Sample":
        places = np.array(numbered(texts, labels).labels, dtype=int)
        return cls(texts[COLUMNS].reset_index(drop=True), places, embed(texts["text"].tolist(), PROBE.encoder))

    def take(self, chosen: np.ndarray) -> "Sample":
        """Some of the texts, by their places or a mask."""
        return Sample(self.texts.iloc[chosen], self.labels[chosen], self.vectors[chosen])

    def labelled(self, labels: np.ndarray) -> "Sample":
        """The same texts under other labels."""
        return replace(self, labels=labels)

    @cached_property
    def probe(self) -> ClassifierMixin:
        """The probe trained on these texts."""
        return fit(self)

    @property
    def folds(self) -> int:
        """Of cross-validation: five, or as many as the rarest label has texts; 1 stands for none."""
        return int(min(FOLDS, np.unique_counts(self.labels).counts.min()))

    @cached_property
    def _of_held_out(self) -> np.ndarray:
        model = logistic_regression(PROBE.inverse_regularisation)
        return cross_val_predict(model, self.vectors, self.labels, cv=self.folds, method="predict_proba")

    def fold_probabilities(self, n_labels: int) -> np.ndarray:
        """For each text the probabilities of the probe that was trained on the other folds.

        Shape (texts, labels). With one text of some label there are no folds, and the texts' own labels stand there.
        """
        if self.folds < 2:
            return np.eye(n_labels)[self.labels]
        found = np.zeros((len(self.labels), n_labels))
        found[:, np.unique(self.labels)] = self._of_held_out
        return found


def fit(sample: Sample, weights: np.ndarray | None = None) -> ClassifierMixin:
    """The probe trained on a sample; where all its texts have one label, a classifier that gives this one."""
    single = len(np.unique(sample.labels)) < 2
    model = DummyClassifier() if single else logistic_regression(PROBE.inverse_regularisation)
    return model.fit(sample.vectors, sample.labels, weights)


def probabilities(model: ClassifierMixin, vectors: np.ndarray, n_labels: int) -> np.ndarray:
    """Of every label of the task, shape (texts, labels); 0 for labels that the model never saw."""
    found = np.zeros((len(vectors), n_labels))
    found[:, model.classes_] = model.predict_proba(vectors)
    return found


@dataclass(frozen=True)
class Draw:
    """A draw of a corpus's texts beside a draw of as many real texts of each label.

    Attributes:
        recording: of the corpus, from which its texts come.
        number: of the draw within the recording.
        labels: the task's.
        others: texts of the corpus's other recordings; None where it has one.
        test: the real test texts.
    """

    task: str
    corpus: str
    recording: int
    number: int
    labels: tuple[str, ...]
    real: Sample
    made: Sample
    others: Sample | None
    test: Sample

    def score(self, sample: Sample, weights: np.ndarray | None = None) -> float:
        """Macro-F1 in percent, on the test texts, of the probe trained on a sample."""
        model = sample.probe if weights is None else fit(sample, weights)
        return self.score_of(model.predict(self.test.vectors))

    def score_of(self, predicted: np.ndarray) -> float:
        counts = confusion(self.test.labels, predicted, len(self.labels))
        return float(score_confusions(counts)["macro_f1"])

    @cached_property
    def real_score(self) -> float:
        return self.score(self.real)

    @cached_property
    def gap(self) -> float:
        """What is lost by training on the corpus's texts."""
        return self.gap_of(self.made)

    def gap_of(self, sample: Sample, weights: np.ndarray | None = None) -> float:
        """The score of training on a sample less that of the real texts; arguments as of `score`."""
        return self.score(sample, weights) - self.real_score

    @cached_property
    def teacher(self) -> np.ndarray:
        """The labels' probabilities for the corpus's texts, by the probe that learned from real ones."""
        return probabilities(self.real.probe, self.made.vectors, len(self.labels))

    def at_random(self, left_out: np.ndarray) -> Sample:
        """The corpus's texts without as many of each label as this mask leaves out, chosen at random."""
        random, kept = np.random.default_rng(self.number), np.ones(len(left_out), bool)
        for label in np.unique(self.made.labels):
            own = np.flatnonzero(self.made.labels == label)
            kept[random.choice(own, left_out[own].sum(), replace=False)] = False
        return self.made.take(kept)


@dataclass(frozen=True)
class TaskDraws:
    """The draws of one task, of all corpora of a comparison; nothing is read before it is asked for.

    Attributes:
        comparison: None: the main one.
    """

    profile: Profile
    folder: Path
    task: str
    comparison: str | None = None
    _real: dict[int, Sample] = field(default_factory=dict, repr=False, compare=False)

    @property
    def real(self) -> RealData:
        return self.texts.real

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.real.task.labels)

    @property
    def compared(self) -> Comparison:
        """The comparison, real texts being a corpus in any case."""
        compared = self.profile.comparisons[self.comparison] if self.comparison else self.profile.main
        return compared.model_copy(update={"corpora": (*compared.corpora, REAL)})

    @cached_property
    def texts(self) -> TaskTexts:
        return comparison_texts(self.profile, self.folder, self.compared, self.task)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """{label: texts of every draw}: as for the runs of the comparison."""
        return comparison_sizes(self.profile.training, self.compared, self.texts)

    @cached_property
    def test(self) -> Sample:
        return Sample.of(at_most(self.real.split("test"), self.profile.training.test_texts_per_label), self.labels)

    def real_draw(self, number: int) -> Sample:
        if number not in self._real:
            self._real[number] = Sample.of(draw_equal(self.real.split("train"), self.sizes, number), self.labels)
        return self._real[number]

    @cached_property
    def draws(self) -> list[Draw]:
        """Each draw of a corpus has a draw of real texts of its own, the same one for all corpora."""
        found = []
        for corpus in self.texts.corpora:
            frames = self.texts.recordings(corpus)
            several = len(frames) > 1
            whole = {number: Sample.of(frame, self.labels) for number, frame in frames.items() if several}
            seeds = self.profile.training.seeds[: DRAWS_OF_RECORDINGS if several else DRAWS]
            for place, (recording, frame) in enumerate(frames.items()):
                rest = [one for other, one in whole.items() if other != recording]
                for number, seed in enumerate(seeds):
                    made = Sample.of(draw_equal(frame, self.sizes, seed), self.labels)
                    real = self.real_draw(place * len(seeds) + number)
                    pair = (recording, number, self.labels, real, made, joined(rest) if rest else None, self.test)
                    found.append(Draw(self.task, corpus, *pair))
        return found


def joined(samples: Sequence[Sample]) -> Sample:
    """Several samples of a task as one."""
    texts = pd.concat([one.texts for one in samples], ignore_index=True)
    labels, vectors = (np.concatenate([getattr(one, name) for one in samples]) for name in ("labels", "vectors"))
    return Sample(texts, labels, vectors)


def on_draws(tasks: Sequence[TaskDraws], measure: Callable[[Draw], Mapping[str, float]], title: str) -> pd.DataFrame:
    """What a function that gives {measure: value} finds on each draw: columns VALUE_COLUMNS, a row for each measure."""
    draws = [one for task in tasks for one in task.draws]
    with threadpool_limits(1):  # these fits are small: threads would only wait
        rows = [
            (one.task, one.corpus, name, one.recording, one.number, value)
            for one in Progress(draws, desc=title)
            for name, value in measure(one).items()
        ]
    return pd.DataFrame(rows, columns=VALUE_COLUMNS)
