"""The texts that are compared, with their embeddings; nothing is read or embedded before it is asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm.contrib.concurrent import thread_map

from synthgap.core.config import REAL, Profile
from synthgap.core.terminal import Progress
from synthgap.data.draws import draw_equal
from synthgap.data.real import RealData, load_real
from synthgap.generation.corpora import load_corpus
from synthgap.tasks import load_task
from synthgap.training.embeddings import embed
from synthgap.training.runs import training_sizes
from synthgap.training.workers import cores

COLUMNS = ["id", "text", "label"]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class EmbeddedTexts:
    """Texts of one task and corpus with their embeddings.

    Attributes:
        texts: columns id, text, label.
        embeddings: shape (texts, dimensions), unit length.
    """

    task: str
    corpus: str
    texts: pd.DataFrame
    embeddings: np.ndarray

    def take(self, chosen: Sequence[int] | np.ndarray) -> "EmbeddedTexts":
        """Some of the texts, by their places or a mask."""
        return replace(self, texts=self.texts.iloc[chosen], embeddings=self.embeddings[chosen])


@dataclass(frozen=True)
class TaskTexts:
    """The texts of one task, for the profile's main comparison.

    Attributes:
        folder: where the synthetic texts are.
    """

    profile: Profile
    folder: Path
    task: str

    @cached_property
    def real(self) -> RealData:
        return load_real(load_task(self.task), self.profile)

    @cached_property
    def synthetic(self) -> dict[str, pd.DataFrame]:
        """All texts of every corpus but `real`."""
        names = [name for name in self.profile.main.members if name != REAL]
        return {name: load_corpus(self.folder, self.profile, name, self.task) for name in names}

    @cached_property
    def compared(self) -> list[EmbeddedTexts]:
        """The texts that classifiers train on with the profile's first seed, equal n by label; the reference first.

        Raises:
            SynthgapError: a corpus has no text of some label.
        """
        everything = {REAL: self.real.split("train"), **self.synthetic}
        chosen = {name: everything[name] for name in self.profile.main.members}
        sizes = training_sizes(self.real, chosen, self.profile.training.texts_per_label)
        seed = self.profile.training.seeds[0]
        return [self.embedded(name, draw_equal(texts, sizes, seed)) for name, texts in chosen.items()]

    def embedded(self, corpus: str, texts: pd.DataFrame) -> EmbeddedTexts:
        embeddings = embed(texts["text"].tolist(), self.profile.diversity.encoder)
        return EmbeddedTexts(self.task, corpus, texts[COLUMNS], embeddings)


def compared(texts: Sequence[TaskTexts]) -> list[EmbeddedTexts]:
    """The texts that classifiers of all tasks train on; see `TaskTexts.compared`."""
    return [one for task in Progress(texts, desc="embedding", leave=False) for one in task.compared]


def on_all_cores(function: Callable[[Item], Result], items: Sequence[Item], description: str) -> list[Result]:
    """The results in the order of the items, one thread for each core; linear algebra keeps to its thread."""
    with threadpool_limits(1):
        return thread_map(function, items, max_workers=cores(), tqdm_class=Progress, desc=description)
