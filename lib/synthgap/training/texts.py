"""The texts that a profile's runs train on and predict, read from where they are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from synthgap.core.config import REAL, Comparison, GeneratedCorpus, LabelledCorpus, Profile
from synthgap.core.errors import SynthgapError
from synthgap.data.annotated import load_annotated
from synthgap.data.further import load_further
from synthgap.data.real import load_real
from synthgap.generation.conversations import texts_wanted
from synthgap.generation.corpora import corpora_of_task, labels_of_test_items, load_corpus, provenance
from synthgap.tables import matching
from synthgap.tasks import load_task
from synthgap.training.runs import TaskTexts


def load_texts(profile: Profile, synthetic: Path, stand_ins: bool = False) -> dict[str, TaskTexts]:
    """{task: its texts} for all tasks of a profile.

    Args:
        synthetic: folder of the synthetic texts.
        stand_ins: whether real texts stand for those that are not written yet, as many as are wanted: an estimate
            needs no more than their number and their length.

    Raises:
        SynthgapError: some texts are missing, or not as they are needed.
    """
    return {name: _task_texts(profile, name, synthetic, stand_ins) for name in profile.tasks}


def comparison_texts(profile: Profile, synthetic: Path, comparison: Comparison, task: str) -> TaskTexts:
    """The real texts of a task, and those of a comparison's corpora; see `load_texts`."""
    names = [name for name in comparison.members if name != REAL]
    real = load_real(load_task(task), profile)
    return TaskTexts(real, {name: load_corpus(synthetic, profile, name, task) for name in names})


def _task_texts(profile: Profile, name: str, synthetic: Path, stand_ins: bool) -> TaskTexts:
    task = load_task(name)
    real, corpora, examples, asked, shown = load_real(task, profile), {}, {}, {}, {}
    for corpus in corpora_of_task(profile, name):
        settings = profile.corpora[corpus]
        try:
            corpora[corpus] = load_corpus(synthetic, profile, corpus, name)
            recordings = provenance(synthetic, corpus, name)["recordings"]
            examples[corpus], shown[corpus] = recordings[0]["example_ids"], _shown(recordings)
        except SynthgapError:
            if not stand_ins:
                raise
            train = real.split("train").assign(id=lambda rows, corpus=corpus: f"{corpus} " + rows["id"].astype(str))
            train["turn"] = train.groupby("label").cumcount() // task.texts_per_turn
            corpora[corpus] = train.groupby("label", sort=False).head(texts_wanted(task, profile.generation))
            if isinstance(settings, GeneratedCorpus) and settings.setting == "few_shot":
                examples[corpus] = {label: real.pool_ids(label) for label in task.labels}
                each = task.few_shot.examples_per_turn
                turns = {label: [place // each for place in range(len(ids))] for label, ids in examples[corpus].items()}
                shown[corpus] = _shown([{"recording": 1, "example_ids": examples[corpus], "first_shown": turns}])
        if isinstance(settings, LabelledCorpus):
            found = labels_of_test_items(synthetic, profile)
            asked[corpus] = matching(found, {"corpus": corpus, "task": name})["id"].tolist()
    annotated, further = load_annotated(task, profile, real), load_further(task, profile, real).texts
    return TaskTexts(real, corpora, annotated, examples, asked, further, shown)


def _shown(recordings: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The examples of a corpus's recordings, see `TaskTexts.shown`; all from turn 0 on where nobody says more."""
    rows = [
        (one["recording"], label, key, turn)
        for one in recordings
        for label, ids in one["example_ids"].items()
        for key, turn in zip(ids, one.get("first_shown", {}).get(label) or [0] * len(ids), strict=True)
    ]
    return pd.DataFrame(rows, columns=["recording", "label", "id", "turn"])
