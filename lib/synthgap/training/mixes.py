"""Mixes of real and synthetic texts: shown examples alone, synthetic texts alone, both, and as many real ones.

And growing numbers of real texts, without and with all synthetic ones. The examples are the real texts that the LLM was
shown while it wrote; a corpus that was written without any has the growing numbers alone. Comparisons of prompts have
the examples alone, and with the texts that the LLM wrote after them, of each corpus that was shown some.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from synthgap.core.config import Comparison, Profile, TrainingSettings
from synthgap.core.errors import SynthgapError
from synthgap.data.draws import draw_equal
from synthgap.training.runs import TEXTS, PlannedRun, RunPlanner, TaskTexts, comparison_sizes

EXAMPLES, AS_MANY = "examples", "real, as many"
NOTHING_SHOWN = pd.DataFrame(columns=["recording", "label", "id", "turn"])


def plan_mixes(profile: Profile, texts: Mapping[str, TaskTexts]) -> list[PlannedRun]:
    """The runs of all mixes with the corpus that the profile names, on the main comparison's tasks.

    Of a corpus with several recordings the first is taken. No annotated texts are labelled. There is no run where the
    profile asks for no mixes.
    """
    asked, name = profile.training.augmentation, next(iter(profile.comparisons))
    if asked is None:
        return []
    planned = []
    for task in profile.tasks_of(profile.main):
        training, first = profile.training.further(asked, task), replace(texts[task].first_recordings(), annotated=None)
        for classifier in training.classifiers_of(task):
            planner = RunPlanner(training, name, classifier, first)
            for seed in training.seeds_of(classifier):
                mixes = mixes_of(first, asked.corpus, asked.real_texts_per_label, seed)
                planned += [planner.run(mix, seed, frame) for mix, frame in mixes.items()]
    for name, comparison in profile.comparisons_on("prompts").items():
        for task in profile.tasks_of(comparison):
            planned += _with_examples(profile.training, name, comparison, replace(texts[task], annotated=None))
    return planned


def _with_examples(
    training: TrainingSettings, name: str, comparison: Comparison, texts: TaskTexts
) -> Iterator[PlannedRun]:
    """Runs on the examples that each few-shot recording's LLM was shown, and on these and the texts that it wrote.

    The texts are the very draws of the comparison's own runs. Recordings longer than the shortest one of their corpus
    are left out: of their examples some were shown after the turns that are trained on.
    """
    labels, train = list(texts.real.task.labels), texts.real.split("train")
    sizes = comparison_sizes(training, comparison, texts)
    for classifier in training.classifiers_of(texts.real.task.name, comparison):
        planner = RunPlanner(training, name, classifier, texts, comparison.members)
        for corpus in comparison.corpora:
            recordings = texts.recordings(corpus)
            for recording, frame in recordings.items():
                shown = texts.shown.get(corpus, NOTHING_SHOWN)
                examples = train[train["id"].isin(shown.loc[shown["recording"] == recording, "id"])]
                if len(frame) < _texts_of(texts, corpus, recording) or not (size := fewest(examples, labels)):
                    continue
                for seed in training.seeds_of(classifier, len(recordings), comparison):
                    given = draw_equal(examples, dict.fromkeys(labels, size), seed)[TEXTS]
                    written = draw_equal(frame, sizes, seed)[TEXTS]
                    together = pd.concat([given, written], ignore_index=True)
                    yield planner.run(alone(corpus), seed, given, recording)
                    yield planner.run(both(corpus), seed, together, recording)


def _texts_of(texts: TaskTexts, corpus: str, recording: int) -> int:
    """How many texts a whole recording holds."""
    frame = texts.corpus(corpus)
    return int((frame["recording"] == recording).sum()) if "recording" in frame else len(frame)


def mixes_of(texts: TaskTexts, corpus: str, real_texts: Iterable[int], seed: int) -> dict[str, pd.DataFrame]:
    """The mixes of one task, each with the same number of texts of each label.

    "real, as many" has the size of examples and synthetic texts together, or all real texts where there are fewer.

    Args:
        real_texts: the growing numbers per label; those that are larger than the train split are left out.

    Raises:
        SynthgapError: a label has no synthetic text, or no example while others have some.
    """
    data, synthetic = texts.real, texts.corpora[corpus]
    shown = {key for ids in texts.examples.get(corpus, {}).values() for key in ids}
    train, labels = data.split("train"), list(data.task.labels)
    examples = train[train["id"].isin(shown)]
    n_examples, n_synthetic, n_real = (fewest(frame, labels) for frame in (examples, synthetic, train))
    if not n_synthetic or (len(examples) and not n_examples):
        raise SynthgapError(
            f"task '{data.task.name}': a label has no example or no text of the corpus '{corpus}', so nothing can be "
            "mixed; generate some, or set training.augmentation to null"
        )

    def drawn(frame: pd.DataFrame, size: int) -> pd.DataFrame:
        return draw_equal(frame, dict.fromkeys(labels, size), seed)[TEXTS]

    def with_synthetic(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([frame, written], ignore_index=True)

    written = drawn(synthetic, n_synthetic)
    mixes: dict[str, pd.DataFrame] = {}
    if n_examples:
        given = drawn(examples, n_examples)
        mixes = {EXAMPLES: given, corpus: written, both(corpus): with_synthetic(given)}
        mixes[AS_MANY] = drawn(train, min(n_examples + n_synthetic, n_real))
    for size in sorted({size for size in real_texts if size <= n_real}):
        few = drawn(train, size)
        mixes |= {f"real {size}": few, f"real {size} + {corpus}": with_synthetic(few)}
    return mixes


def alone(corpus: str) -> str:
    """The name of the examples alone that were shown for a corpus, in a comparison of prompts."""
    return f"{EXAMPLES} of {corpus}"


def both(corpus: str) -> str:
    """The name of the mix of examples and synthetic texts."""
    return f"{EXAMPLES} + {corpus}"


def fewest(frame: pd.DataFrame, labels: Sequence[str]) -> int:
    """Texts of the label that has the fewest."""
    counts = frame["label"].value_counts()
    return min(int(counts.get(label, 0)) for label in labels)
