"""The texts that a profile's runs train on and predict, read from where they are."""

from __future__ import annotations

from pathlib import Path

from synthgap.core.config import GeneratedCorpus, LabelledCorpus, Profile
from synthgap.core.errors import SynthgapError
from synthgap.data.annotated import load_annotated
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


def _task_texts(profile: Profile, name: str, synthetic: Path, stand_ins: bool) -> TaskTexts:
    task = load_task(name)
    real, corpora, examples, shown, asked = load_real(task, profile), {}, {}, {}, {}
    for corpus in corpora_of_task(profile, name):
        settings = profile.corpora[corpus]
        try:
            corpora[corpus] = load_corpus(synthetic, profile, corpus, name)
            recordings = provenance(synthetic, corpus, name)["recordings"]
            examples[corpus] = recordings[0]["example_ids"]
            shown[corpus] = {one["recording"]: one["example_ids"] for one in recordings}
        except SynthgapError:
            if not stand_ins:
                raise
            train = real.split("train").assign(id=lambda rows, corpus=corpus: f"{corpus} " + rows["id"].astype(str))
            corpora[corpus] = train.groupby("label", sort=False).head(texts_wanted(task, profile.generation))
            if isinstance(settings, GeneratedCorpus) and settings.setting == "few_shot":
                examples[corpus] = {label: real.pool_ids(label) for label in task.labels}
        if isinstance(settings, LabelledCorpus):
            found = labels_of_test_items(synthetic, profile)
            asked[corpus] = matching(found, {"corpus": corpus, "task": name})["id"].tolist()
    return TaskTexts(real, corpora, load_annotated(task, profile, real), examples, shown, asked)
