"""Corpora as tables and files: a task's texts, where they come from, and how they are kept and read again.

`synthetic/<corpus>.parquet` holds all tasks of a corpus, each with its provenance inside the file, and
`synthetic/all.rejected.parquet` the ledger of all corpora. Of an imported or labelled corpus ids and digests are kept,
no texts; `synthetic/labels/<corpus>.parquet` holds what an LLM took test items for.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from synthgap.core.config import (
    GeneratedCorpus,
    GenerationSettings,
    ImportedCorpus,
    LabelledCorpus,
    PooledCorpus,
    Profile,
)
from synthgap.core.errors import SynthgapError
from synthgap.core.files import digest, parquet_about, write_parquet
from synthgap.core.settings import ProtocolName, Setting
from synthgap.data.imported import read_imported
from synthgap.data.labelled import read_labelled
from synthgap.data.real import RealData, load_real
from synthgap.generation.conversations import (
    Turn,
    begin_conversation,
    first_number,
    run_conversation,
    take_samples,
    texts_wanted,
    with_prompt,
)
from synthgap.generation.filtering import LEDGER_COLUMNS, TEXT_COLUMNS, are_real, filter_answers, label_words
from synthgap.llm.base import LLM
from synthgap.llm.recorded import RecordedLLM
from synthgap.tables import stacked
from synthgap.tasks import Task, load_task

TEST_LABELS = ["corpus", "task", "condition", "id", "label"]
NOTHING_REJECTED = pd.DataFrame(columns=LEDGER_COLUMNS)


@dataclass(frozen=True)
class CorpusTexts:
    """The texts of one task in one corpus.

    Attributes:
        texts: columns id, text, label; of a generated corpus also recording, turn and position.
        ledger: the texts that were rejected; columns as in LEDGER_COLUMNS. Imported texts have none.
        turns: all requests and answers of a generated corpus, in order.
        provenance: who wrote the texts, under which prompts and settings, and how many were kept.
        test_labels: of a labelled corpus, what the LLM took test items for: columns condition, id, label.
    """

    texts: pd.DataFrame
    ledger: pd.DataFrame
    turns: Sequence[Turn]
    provenance: dict[str, Any]
    test_labels: pd.DataFrame = field(default_factory=pd.DataFrame)


ByTaskAndCorpus = Mapping[tuple[str, str], CorpusTexts]


def corpora_of_task(profile: Profile, task: str) -> list[str]:
    """The corpora that a profile needs for a task, in its order; without `real`."""
    return [name for name in profile.corpora if task in profile.tasks_of_corpus(name)]


def from_recording(
    data: RealData,
    corpus: str,
    setting: Setting,
    llm: RecordedLLM,
    settings: GenerationSettings,
    repeats: Sequence[int] = (1,),
    protocol: ProtocolName = "conversation",
) -> CorpusTexts:
    """A task's texts as a recorded LLM wrote them: one conversation for each label and recording, or completions."""
    if protocol == "completion":
        data = with_prompt(data, settings, protocol=protocol)
        return all_recordings([_from_samples(data, corpus, setting, llm, settings, number) for number in repeats])
    texts, made = texts_wanted(data.task, settings), []
    for number in repeats:
        turns = [
            turn for label in data.task.labels for turn in run_conversation(data, setting, label, llm, texts, number)
        ]
        made.append(from_answers(data, corpus, setting, llm, settings, turns))
    return all_recordings(made)


def _from_samples(
    data: RealData, corpus: str, setting: Setting, llm: RecordedLLM, settings: GenerationSettings, recording: int
) -> CorpusTexts:
    """The texts in a recording's completions: of each label as many of these as its texts take, or all there are."""
    wanted, first = texts_wanted(data.task, settings), first_number(recording)
    begun = {label: begin_conversation(data.task, setting, label, first, "completion") for label in data.task.labels}
    for conversation in begun.values():
        llm.check_turns(conversation, 1)
    samples, taken = {label: llm.turns(one) for label, one in begun.items()}, dict.fromkeys(begun, 0)
    accepted = dict(taken)
    while (more := {label: min(n + wanted - accepted[label], samples[label]) for label, n in taken.items()}) != taken:
        taken = more
        turns = [
            turn
            for label, n in taken.items()
            for turn in take_samples(data, setting, label, llm, range(first, first + n))
        ]
        made = from_answers(data, corpus, setting, llm, settings, turns)
        accepted = made.provenance["accepted_by_label"]
    return made


def all_recordings(made: Sequence[CorpusTexts]) -> CorpusTexts:
    """A corpus's recordings as one; repeats and near-repeats were looked for within each of them."""
    if len(made) == 1:
        return made[0]
    abouts = [one.provenance for one in made]
    recordings = [recording for about in abouts for recording in about["recordings"]]
    summed = {key: sum(about[key] for about in abouts) for key in ("accepted", "label_words", "asked", "received")}
    rejected = sum((Counter(about["rejected"]) for about in abouts), Counter())
    labels = abouts[0]["accepted_by_label"]
    by_label = {
        "accepted_by_label": {label: sum(about["accepted_by_label"][label] for about in abouts) for label in labels},
        "example_ids": {
            label: sorted({key for about in abouts for key in about["example_ids"][label]}) for label in labels
        },
    }
    about = abouts[0] | summed | by_label | {"rejected": dict(sorted(rejected.items())), "recordings": recordings}
    about["requests"] = digest([one["requests"] for one in abouts])
    about["examples"] = ", ".join(dict.fromkeys(one["examples"] for one in abouts))
    texts, ledger = (pd.concat([getattr(one, name) for one in made], ignore_index=True) for name in ("texts", "ledger"))
    return CorpusTexts(texts, ledger, [turn for one in made for turn in one.turns], about)


def from_answers(
    data: RealData, corpus: str, setting: Setting, llm: LLM, settings: GenerationSettings, turns: Sequence[Turn]
) -> CorpusTexts:
    """The texts in the answers of all turns of a task, with their ledger and provenance."""
    task, few_shot = data.task, setting == "few_shot"
    completion = any(turn.conversation.protocol == "completion" for turn in turns)
    texts, ledger = filter_answers(task, corpus, turns, settings.near_duplicate, settings.reject_label_words)
    about = {
        "setting": setting,
        "llm_fingerprint": llm.fingerprint,
        "prompts": (task.completion if completion else task.prompts).model_dump(),
        **({"variant": task.variant.model_dump(mode="json")} if task.variant else {}),
        "settings": settings.model_dump(mode="json"),
        "requests": digest([[message.content for message in turn.conversation.messages] for turn in turns]),
        "real_data": data.fingerprint if few_shot else None,
        "examples": "none" if not few_shot else "drawn here" if any(turn.drawn for turn in turns) else "as recorded",
        "asked": len(turns) * task.texts_per_turn,
        "received": len(texts) + int((ledger["reason"] != "reasoning").sum()),
        "rejected": dict(sorted(Counter(ledger["reason"]).items())),
    }
    return CorpusTexts(texts, ledger, turns, _provenance(task, corpus, llm.model, texts, turns) | about)


def from_file(settings: ImportedCorpus, corpus: str, task: Task, written_by: str) -> CorpusTexts:
    """A task's texts of an imported corpus."""
    texts, dropped = read_imported(settings, task, corpus)
    about = {
        "imported": settings.model_dump(mode="json", include={"file", "rows", "text_column", "label_column"}),
        "received": len(texts) + sum(dropped.values()),
        "rejected": dropped,
    }
    return CorpusTexts(texts, NOTHING_REJECTED, [], _provenance(task, corpus, written_by, texts, []) | about)


def from_labels(settings: LabelledCorpus, corpus: str, data: RealData, written_by: str) -> CorpusTexts:
    """A task's texts of a labelled corpus."""
    found = read_labelled(settings, data, corpus)
    about = {
        "labelled": settings.labels,
        "real_data": data.fingerprint,
        "received": len(found.texts) + sum(found.dropped.values()),
        "rejected": {reason: count for reason, count in found.dropped.items() if count},
    }
    about = _provenance(data.task, corpus, written_by, found.texts, []) | about
    return CorpusTexts(found.texts, NOTHING_REJECTED, [], about, found.test)


def from_pool(corpus: str, task: Task, members: Mapping[str, CorpusTexts], written_by: str) -> CorpusTexts:
    """A task's texts of a pool: all texts of its members, {corpus: its texts}."""
    texts = pooled({name: one.texts for name, one in members.items()})
    received = sum(len(one.texts) for one in members.values())
    rejected = {"exact_duplicate": received - len(texts)}
    about = {"pool": list(members), "received": received, "rejected": rejected}
    return CorpusTexts(texts, NOTHING_REJECTED, [], _provenance(task, corpus, written_by, texts, []) | about)


def pooled(members: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The texts of several corpora as one table: columns id, text, label, member."""
    parts = [frame[["id", "text", "label"]].assign(member=name) for name, frame in members.items()]
    return pd.concat(parts, ignore_index=True).drop_duplicates("text", ignore_index=True)


def _provenance(task: Task, corpus: str, written_by: str, texts: pd.DataFrame, turns: Sequence[Turn]) -> dict[str, Any]:
    """What is stored about every corpus.

    `example_ids` are those of the real texts shown for each label, `label_words` how many accepted texts name a label,
    `recordings` holds examples and accepted texts of each recording of the conditions, and `first_shown` the turn in
    which each of these examples was shown first.
    """
    named, examples = label_words(task), {label: dict[str, int]() for label in task.labels}
    for turn in turns:
        own = examples[turn.conversation.label]
        own |= {key: min(turn.conversation.place, own.get(key, turn.conversation.place)) for key in turn.examples}
    by_label = {
        "accepted_by_label": {label: int((texts["label"] == label).sum()) for label in task.labels},
        "example_ids": {label: sorted(ids) for label, ids in examples.items()},
    }
    number = turns[0].conversation.recording if turns else 1
    first_shown = {label: [ids[key] for key in sorted(ids)] for label, ids in examples.items()}
    return {
        **{"task": task.name, "corpus": corpus, "written_by": written_by},
        **{"setting": None, "real_data": None, "examples": "none", "asked": None},
        "accepted": len(texts),
        "label_words": sum(bool(named.search(text)) for text in texts["text"]),
        **by_label,
        "recordings": [{"recording": number, **by_label, "first_shown": first_shown}],
    }


# ------------------------------------------------------------------------------------------------------------- files


def corpus_file(folder: Path, corpus: str) -> Path:
    return folder / f"{corpus}.parquet"


def ledger_file(folder: Path) -> Path:
    return folder / "all.rejected.parquet"  # no corpus has a name with a dot


def _labels_file(folder: Path, corpus: str) -> Path:
    return folder / "labels" / f"{corpus}.parquet"


def save_corpora(folder: Path, profile: Profile, made: ByTaskAndCorpus, real: Mapping[str, RealData]) -> list[Path]:
    """Write every corpus that has texts; no imported or real text, and no rejected one that repeats a real text.

    Args:
        real: {task: its real texts}.
    """
    written, ledgers = [], []
    for corpus, settings in profile.corpora.items():
        by_task = {task: one for (task, name), one in made.items() if name == corpus}
        if not by_task:
            continue
        about = {"corpus": corpus, "tasks": {task: one.provenance for task, one in by_task.items()}}
        texts = pd.concat([one.texts.assign(task=task) for task, one in by_task.items()], ignore_index=True)
        if not isinstance(settings, GeneratedCorpus):
            kept = texts.assign(sha256=_digests(texts))[["id", "task", "label", "sha256"]]
        else:
            kept = texts[["task", *TEXT_COLUMNS]]
            ledgers += [_without_real_texts(one, real[task]) for task, one in by_task.items()]
        written.append(write_parquet(corpus_file(folder, corpus), kept, about))
        if isinstance(settings, LabelledCorpus):
            test = [one.test_labels.assign(corpus=corpus, task=task) for task, one in by_task.items()]
            written.append(write_parquet(_labels_file(folder, corpus), pd.concat(test)[TEST_LABELS], about))
    if ledgers:
        written.append(write_parquet(ledger_file(folder), pd.concat(ledgers, ignore_index=True)))
    return written


def _digests(texts: pd.DataFrame) -> list[str]:
    """The first 16 digits of each text's SHA-256: enough to tell that a file has changed."""
    return [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] for text in texts["text"]]


def _without_real_texts(made: CorpusTexts, data: RealData) -> pd.DataFrame:
    """The ledger, "" in place of each text that repeats a real one."""
    ledger, examples = made.ledger, {text for turn in made.turns for text in turn.examples.values()}
    hidden = (ledger["reason"] == "copy_of_example") | are_real(ledger["text"], examples, data.frame["text"])
    return ledger.assign(text=ledger["text"].mask(hidden, ""))


def load_corpus(folder: Path, profile: Profile, corpus: str, task: str) -> pd.DataFrame:
    """The texts of a task in a corpus: columns id, text, label; of a generated one also recording, turn and position.

    Imported texts are read from their file, labelled ones from the real texts, and those of a pool, which has a column
    `member`, from its corpora; all must be as when 01 read them.

    Raises:
        SynthgapError: the generation stage has not written them, or a file has changed since.
    """
    provenance(folder, corpus, task)  # refuses what is not there
    kept = pd.read_parquet(corpus_file(folder, corpus), filters=[("task", "==", task)])
    settings = profile.corpora[corpus]
    if isinstance(settings, LabelledCorpus):
        texts = read_labelled(settings, load_real(load_task(task), profile), corpus).texts
    elif isinstance(settings, ImportedCorpus):
        texts, _ = read_imported(settings, load_task(task), corpus)
    elif isinstance(settings, PooledCorpus):
        texts = pooled({member: load_corpus(folder, profile, member, task) for member in settings.pool})
    else:
        return kept.drop(columns="task")
    if texts["id"].tolist() != kept["id"].tolist() or _digests(texts) != kept["sha256"].tolist():
        raise SynthgapError(
            f"the file of corpus '{corpus}' has other texts of task '{task}' than when 01_generation read it; put the "
            "old file back, or run the stage 01_generation again"
        )
    return texts


def labels_of_test_items(folder: Path, profile: Profile) -> pd.DataFrame:
    """What LLMs took test items for, of all labelled corpora: columns TEST_LABELS."""
    files = [_labels_file(folder, name) for name, one in profile.corpora.items() if isinstance(one, LabelledCorpus)]
    return stacked([pd.read_parquet(path) for path in files if path.is_file()], TEST_LABELS)


def provenance(folder: Path, corpus: str, task: str) -> dict[str, Any]:
    """Where a task's texts in a corpus come from; refused where 01 has not written any."""
    path = corpus_file(folder, corpus)
    about = parquet_about(path)["tasks"] if path.is_file() else {}
    if task not in about or not about[task]["accepted"]:
        raise SynthgapError(f"'{path.name}' has no texts of task '{task}' yet; run the stage 01_generation first")
    return about[task]
