"""Runs: one classifier trained on one draw from one corpus with one seed. How they are planned and how one is trained.

A run's name is a digest of what determines it (texts, labels, classifier, weights, seed), so that a finished run is
found again by any comparison and any profile, and is never trained twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import Timeout
from sklearn.metrics import accuracy_score, f1_score

from synthgap.core.config import REAL, ClassifierSettings, Comparison, FinetuneSettings, Profile, TrainingSettings
from synthgap.core.errors import SynthgapError
from synthgap.core.versions import versions
from synthgap.data.annotated import AnnotatedItems
from synthgap.data.draws import at_most, draw, draw_equal, draw_in_proportion, equal_sizes, fingerprint
from synthgap.data.further import COLUMNS as FURTHER
from synthgap.data.real import RealData
from synthgap.training import store
from synthgap.training.base import numbered, peak_memory_mb, reset_peak_memory
from synthgap.training.classifiers import WHERE_TRAINED, classifier_identity, fit_predict

WATCHED = 500  # test texts at most that fine-tuning scores after every epoch
RUN_FORMAT = 2  # raised whenever code, or a default, changes what a run of unchanged settings computes
TEXTS = ["id", "text", "label"]


@dataclass(frozen=True)
class PlannedRun:
    """A run, ready to be trained.

    Attributes:
        corpus: how its training texts are called in its comparison: a corpus, or a mix of corpora.
        recording: of the corpus, from which its training texts come; 1 where there is but one.
        identity: what determines the result; its digest is the run's name.
        train, validation, test: columns id, text, label.
        annotated: columns id, text; texts that people annotated, to be predicted beside the test split (or no rows).
        watched: test texts that fine-tuning scores after every epoch; they decide nothing.
        further: columns items, id, text, label; texts of further test sets.
        data: where the task's real texts come from, as the run shall say it.
    """

    comparison: str
    task: str
    classifier: str
    corpus: str
    recording: int
    seed: int
    identity: dict[str, Any]
    train: pd.DataFrame = field(repr=False, compare=False)
    validation: pd.DataFrame = field(repr=False, compare=False)
    test: pd.DataFrame = field(repr=False, compare=False)
    annotated: pd.DataFrame = field(repr=False, compare=False)
    watched: pd.DataFrame = field(repr=False, compare=False)
    further: pd.DataFrame = field(repr=False, compare=False)
    settings: ClassifierSettings = field(repr=False, compare=False)
    data: Mapping[str, str] = field(repr=False, compare=False)

    @cached_property
    def name(self) -> str:
        return store.run_name(self.identity)

    @property
    def title(self) -> str:
        recording = f" {self.recording}" if self.recording > 1 else ""
        return f"{self.task} / {self.corpus}{recording} / {self.classifier} / seed {self.seed}"

    @property
    def texts_per_label(self) -> int:
        """Training texts of the label that has the fewest."""
        return int(self.train["label"].value_counts().min())


@dataclass(frozen=True)
class TaskTexts:
    """All texts that the runs of one task train on or predict.

    Attributes:
        corpora: {corpus: columns id, text, label, of a generated one recording and turn}, without `real`, which is the
            train split of `real`.
        annotated: texts of another source that people annotated; every classifier of the task labels them, too.
        examples: {corpus: {label: ids of the real texts that its LLM was shown}}, where it was shown some in the
            corpus's first recording.
        further: texts of further test sets, columns items, id, text, label; the runs of some comparisons label them.
        shown: {corpus: the real texts that its LLM was shown, and from which turn on; columns recording, label, id,
            turn}.
        asked: {labelled corpus: ids of the test items that its LLM labelled}, which runs of its comparisons predict.
    """

    real: RealData
    corpora: Mapping[str, pd.DataFrame]
    annotated: AnnotatedItems | None = None
    examples: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    asked: Mapping[str, Sequence[str]] = field(default_factory=dict)
    further: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=FURTHER))
    shown: Mapping[str, pd.DataFrame] = field(default_factory=dict)

    def corpus(self, name: str) -> pd.DataFrame:
        return self.real.split("train") if name == REAL else self.corpora[name]

    def recordings(self, name: str) -> dict[int, pd.DataFrame]:
        """{recording: its texts} of a corpus: of several recordings the turns that all of them have."""
        frame = self.corpus(name)
        if frame.get("recording", pd.Series(1)).nunique() < 2:
            return {1: frame}
        turns = frame.groupby("recording")["turn"].max().min()
        return {int(number): part for number, part in frame[frame["turn"] <= turns].groupby("recording")}

    def first_recordings(self) -> "TaskTexts":
        """The same with the first recording of every corpus alone, whole."""
        firsts = {
            name: frame[frame["recording"] == frame["recording"].min()] if "recording" in frame else frame
            for name, frame in self.corpora.items()
        }
        return replace(self, corpora=firsts)


# ----------------------------------------------------------------------------------------------------------- planning


def plan_grid(profile: Profile, texts: Mapping[str, TaskTexts]) -> list[PlannedRun]:
    """The runs of all comparisons; in each of them, all corpora train on the same number of texts of each label.

    Args:
        texts: {task: its texts}.

    Raises:
        SynthgapError: a corpus has no text of some label.
    """
    planned = []
    for name, comparison in profile.comparisons.items():
        for task in profile.tasks_of(comparison):
            planned += plan_task(profile.training, name, comparison, texts[task])
    return planned


def plan_curves(profile: Profile, texts: Mapping[str, TaskTexts]) -> list[PlannedRun]:
    """The runs of the main comparison's learning curves: the grid at each smaller size, then at the full one.

    A smaller draw of a seed is part of its larger one. Sizes at which some label has no more texts are left out, and
    so is everything where the profile asks for no curve. At the smaller sizes no annotated texts are labelled. Of
    corpora with several recordings the first is taken, up to the largest size that is named.
    """
    curve, name = profile.training.curve, next(iter(profile.comparisons))
    if curve is None:
        return []
    planned = []
    for task in profile.tasks_of(profile.main):
        training, first = profile.training.further(curve, task), texts[task].first_recordings()
        if training.texts_per_label and any(profile.recordings(corpus) > 1 for corpus in profile.main.members):
            most = max(training.texts_per_label, *curve.texts_per_label)
            training = training.model_copy(update={"texts_per_label": most})
        full = plan_task(training, name, profile.main, first)
        alone = replace(first, annotated=None)
        for size in sorted(size for size in set(curve.texts_per_label) if size < full[0].texts_per_label):
            smaller = training.model_copy(update={"texts_per_label": size})
            planned += plan_task(smaller, name, profile.main, alone)
        planned += full
    return planned


def plan_task(training: TrainingSettings, name: str, comparison: Comparison, texts: TaskTexts) -> list[PlannedRun]:
    """The runs of one comparison, of that name, on one task, at equal size."""
    corpora = {corpus: texts.recordings(corpus) for corpus in comparison.members}
    sizes, planned = comparison_sizes(training, comparison, texts), []
    for classifier in training.classifiers_of(texts.real.task.name, comparison):
        planner = RunPlanner(training, name, classifier, texts, comparison.members, comparison.further_tests)
        for corpus, recordings in corpora.items():
            seeds = training.seeds_of(classifier, len(recordings), comparison)
            for recording, frame in recordings.items():
                planned += [planner.run(corpus, seed, draw_equal(frame, sizes, seed), recording) for seed in seeds]
    return planned


def comparison_sizes(training: TrainingSettings, comparison: Comparison, texts: TaskTexts) -> dict[str, int]:
    """{label: texts} of every run of a comparison, see `training_sizes`; each recording counts as a corpus."""
    parts = {
        f"{corpus} {recording}" if len(recordings) > 1 else corpus: frame
        for corpus in comparison.members
        for recordings in [texts.recordings(corpus)]
        for recording, frame in recordings.items()
    }
    return training_sizes(texts.real, parts, training.texts_per_label)


def training_sizes(data: RealData, corpora: Mapping[str, pd.DataFrame], cap: int | None) -> dict[str, int]:
    """{label: texts that every corpus trains on}: the smallest number that any has, or `cap`; refused where it is 0."""
    counts = {corpus: texts["label"].value_counts().to_dict() for corpus, texts in corpora.items()}
    sizes = equal_sizes(counts, cap)
    for label in data.task.labels:
        if not sizes.get(label):
            corpus = next(name for name, count in counts.items() if not count.get(label))
            raise SynthgapError(
                f"task '{data.task.name}': the corpus '{corpus}' has no text of label '{label}', "
                "so there is no equal size to train at; generate or add some, or leave the corpus out"
            )
    return {label: sizes[label] for label in data.task.labels}


class RunPlanner:
    """Plans the runs of one task and classifier, which see the same validation, test and annotated texts."""

    def __init__(
        self,
        training: TrainingSettings,
        comparison: str,
        classifier: str,
        texts: TaskTexts,
        members: Sequence[str] = (),
        further: bool = False,
    ) -> None:
        data, settings = texts.real, training.classifiers[classifier]
        validation = data.split("validation")
        most = settings.validation_texts if isinstance(settings, FinetuneSettings) else 0
        annotated = texts.annotated.texts if texts.annotated else data.frame.iloc[:0]
        test = at_most(data.split("test"), training.test_texts_per_label)
        asked = [key for corpus in members for key in texts.asked.get(corpus, ())]
        if not set(asked) <= set(test["id"]):
            whole = data.split("test")
            test = whole[whole["id"].isin([*test["id"], *asked])]
        self.frames = {
            "validation": draw(validation, min(most, len(validation)), 0, "validation"),
            "test": test,
            "annotated": annotated[["id", "text"]],
            "watched": draw_in_proportion(test, WATCHED),
            "further": texts.further if further else texts.further.iloc[:0],
        }
        self.settings, self.names = settings, (comparison, data.task.name, classifier)
        self.data = {"data_source": data.source, "data_fingerprint": data.fingerprint}
        self.identity = {
            "format": RUN_FORMAT,
            "task": data.task.name,
            "labels": list(data.task.labels),
            "classifier": classifier_identity(settings),
            "validation": fingerprint(self.frames["validation"][TEXTS]),
            "test": fingerprint(self.frames["test"][TEXTS]),
        }
        if len(self.frames["annotated"]):
            self.identity["annotated"] = fingerprint(self.frames["annotated"])
        if len(asked_further := self.frames["further"]):
            self.identity["further"] = fingerprint(asked_further.rename(columns={"items": "split"}))

    def run(self, corpus: str, seed: int, train: pd.DataFrame, recording: int = 1) -> PlannedRun:
        """A run on these training texts, which the comparison calls so."""
        identity = self.identity | {"seed": seed, "train": fingerprint(train[TEXTS])}
        return PlannedRun(
            *self.names, corpus, recording, seed, identity, train, **self.frames, settings=self.settings, data=self.data
        )


def sizes_table(planned: Iterable[PlannedRun]) -> pd.DataFrame:
    """Training texts of every comparison, task and label (rows) from every corpus (columns): equal in each row."""
    counts = [
        {"comparison": run.comparison, "task": run.task, "label": label, "corpus": run.corpus, "texts": texts}
        for run in planned
        for label, texts in run.train["label"].value_counts().items()
    ]
    rows = ["comparison", "task", "label"]
    return pd.DataFrame(counts).pivot_table(index=rows, columns="corpus", values="texts", sort=False).astype("Int64")


# ------------------------------------------------------------------------------------------------------ training one


def train_once(planned: PlannedRun, folder: Path, wait: bool) -> bool | None:
    """Train a run unless it is finished: True after training, False for a finished run.

    Args:
        wait: what to do while another process trains it; False: give None at once.
    """
    try:
        with store.lock(folder, planned.name).acquire(blocking=wait):
            if store.find(folder, planned.name):
                return False
            store.save(folder, train(planned))
            return True
    except Timeout:
        return None


def train(planned: PlannedRun) -> store.FinishedRun:
    """Train a run and predict its texts."""
    labels, test = planned.identity["labels"], planned.test
    reset_peak_memory()
    train_texts, validation, watched = (
        numbered(frame, labels) for frame in (planned.train, planned.validation, planned.watched)
    )
    texts = [*test["text"], *planned.annotated["text"], *planned.further["text"]]
    fitted = fit_predict(planned.settings, train_texts, validation, texts, len(labels), planned.seed, watched)
    predicted = fitted.probabilities.argmax(axis=1)
    about = {
        "run": planned.name,
        "task": planned.task,
        "classifier": planned.classifier,
        "corpus": planned.corpus,
        "recording": planned.recording,
        "seed": planned.seed,
        "settings": planned.settings.model_dump(mode="json", exclude=WHERE_TRAINED),
        "identity": planned.identity,
        **planned.data,
        "n_train": len(planned.train),
        "n_train_by_label": {label: int((planned.train["label"] == label).sum()) for label in labels},
        "n_test": len(test),
        "n_annotated": len(planned.annotated),
        "scores": scores(test["label"].tolist(), [labels[place] for place in predicted[: len(test)]], labels),
        "train_seconds": round(fitted.train_seconds, 3),
        "predict_seconds": round(fitted.predict_seconds, 3),
        "train_texts_per_second": round(fitted.trained_texts / max(fitted.train_seconds, 1e-9), 1),
        "predict_texts_per_second": round(len(texts) / max(fitted.predict_seconds, 1e-9), 1),
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "details": fitted.details,
        "versions": versions(),
    }
    beside = planned.annotated.assign(items="annotated", label="")
    keys = pd.concat([test.assign(items="test"), beside, planned.further])
    items = store.Items(keys[store.KEY].reset_index(drop=True))
    return store.FinishedRun(about, items, predicted, fitted.probabilities)


def scores(label: list[str], predicted: list[str], labels: list[str]) -> dict[str, float]:
    """Macro-F1 and accuracy in percent; a label neither present nor predicted counts as F1 = 0."""
    macro = f1_score(label, predicted, labels=labels, average="macro", zero_division=0)
    return {"macro_f1": round(100 * macro, 4), "accuracy": round(100 * accuracy_score(label, predicted), 4)}
