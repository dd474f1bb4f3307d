"""Conversations with an LLM, their answers parsed into texts, and a ledger of every text that was turned down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.config import GenerationSettings
from synthgap.data import RealData, draw_places
from synthgap.files import digest, parquet_about, write_parquet
from synthgap.llm import LLM, Answer, AnswersAtOnce, Conversation, Message
from synthgap.parsing import parse
from synthgap.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

REASONS = {
    "refused": "the LLM declined to answer",
    "not_numbered": "a line outside the list that was asked for",
    "empty": "a number without a text",
    "more_than_asked": "more texts than the turn asked for",
    "truncated": "the answer was cut off within this text",
    "copy_of_example": "copies a few-shot example that was shown",
    "exact_duplicate": "repeats an earlier text, but for case and punctuation",
    "near_duplicate": "nearly repeats an earlier text",
}
LETTERS = "abcdefghijklmnopqrstuvwxyz 0123456789"
LEVELS = 32  # of one letter in one text that are told apart; further ones may all be shared
BLOCK = 256  # texts compared with all earlier ones at once
TEXT_COLUMNS = ["id", "text", "label", "turn", "position"]
LEDGER_COLUMNS = ["task", "setting", "label", "turn", "position", "reason", "text", "matches", "similarity"]


@dataclass(frozen=True)
class Turn:
    """One request and its answer.

    Attributes:
        conversation: everything up to and including the request.
        examples: {id: text as shown} of the few-shot examples; empty for zero-shot.
        drawn: whether the examples were drawn here; False where the recording names them.
    """

    conversation: Conversation
    answer: Answer
    examples: dict[str, str] = field(default_factory=dict)
    drawn: bool = True


NO_ANSWER = Answer("", "", None, "")  # of a turn that waits for it


@dataclass(frozen=True)
class Generated:
    """The synthetic texts of one task and setting.

    Attributes:
        texts: columns id, text, label, turn, position.
        ledger: the texts turned down; columns as in LEDGER_COLUMNS.
        turns: all requests and answers, in order.
        provenance: who wrote the texts, under which prompts and settings, and how many were kept.
    """

    texts: pd.DataFrame
    ledger: pd.DataFrame
    turns: list[Turn]
    provenance: dict[str, Any]


def as_asked(
    task: Task, data: RealData, settings: GenerationSettings, answer_format: str | None = None
) -> tuple[Task, RealData]:
    """The task and its data with the few-shot pool, number of examples and prompts that the settings name.

    Args:
        answer_format: in place of the task's own `format`; for structured output.
    """
    few_shot = {"pool_share": settings.pool_share, "examples_per_turn": settings.examples_per_turn}
    prompts = {"diversity": settings.diversity_prompt, "format": answer_format}
    changed = task.model_copy(
        update={
            name: getattr(task, name).model_copy(update={key: value for key, value in new.items() if value is not None})
            for name, new in (("few_shot", few_shot), ("prompts", prompts))
        }
    )
    return changed, replace(data, task=changed)


def talk(
    task: Task, setting: str, label: str, data: RealData, llm: LLM, number: int = 0
) -> Generator[Turn, Answer, None]:
    """The paper's conversation for one label, without an end: yields a turn without its answer, is sent the answer.

    What `send` gives back is the whole turn; `next` then gives the following one.

    Context and first request; then, with the history so far, the diversity prompt and the request again, few-shot
    with fresh examples in every turn.
    """
    conversation = Conversation(task.name, setting, label, (Message("system", task.prompts.context),), number)
    for turn in count():
        examples: dict[str, str] = {}
        drawn = True
        if setting == "few_shot":
            examples, drawn = few_shot_examples(task, label, data, llm, conversation)
        shown = list(examples.values()) if setting == "few_shot" else None
        conversation = conversation.then("user", task.request(label, turn, shown))
        answer = yield Turn(conversation, NO_ANSWER, examples, drawn)
        yield Turn(conversation, answer, examples, drawn)
        conversation = conversation.then("assistant", answer.text)


def converse(task: Task, setting: str, label: str, data: RealData, llm: AnswersAtOnce, texts: int) -> Iterator[Turn]:
    """Hold the conversation for one label until `texts` texts were asked for."""
    conversation = talk(task, setting, label, data, llm)
    for _ in range(turns_needed(task, texts)):
        request = next(conversation)
        yield conversation.send(llm.answer(request.conversation))


def texts_wanted(task: Task, settings: GenerationSettings) -> int:
    """How many texts of each label are asked for."""
    return settings.texts_per_label or task.texts_per_label


def turns_needed(task: Task, texts: int) -> int:
    """Requests of one conversation that asks for `texts` texts."""
    return ceil(texts / task.texts_per_turn)


def few_shot_examples(
    task: Task, label: str, data: RealData, llm: LLM, conversation: Conversation
) -> tuple[dict[str, str], bool]:
    """{id: text as shown} for the next turn, and whether they were drawn here.

    A recording names the examples it was answered to. Where these data do not have them (the stand-in does not),
    examples are drawn from the label's pool, afresh for every turn.
    """
    train = data.train_texts
    named = llm.example_ids(conversation)
    if named and all(key in train for key in named):
        return {key: task.shown_example(train[key]) for key in named}, False
    pool = data.pool_ids(label)
    purpose = f"examples {label}" + (f" {conversation.number}" if conversation.number else "")
    chosen = draw_places(pool, task.few_shot.examples_per_turn, conversation.turn, purpose)
    return {pool[place]: task.shown_example(train[pool[place]]) for place in chosen}, True


def generate(task: Task, setting: str, data: RealData, llm: AnswersAtOnce, settings: GenerationSettings) -> Generated:
    """All conversations of a task in one setting, one a label, filtered."""
    asked = texts_wanted(task, settings)
    turns = [turn for label in task.labels for turn in converse(task, setting, label, data, llm, asked)]
    return filtered(task, setting, data, llm, settings, turns)


def filtered(
    task: Task, setting: str, data: RealData, llm: LLM, settings: GenerationSettings, turns: list[Turn]
) -> Generated:
    """The texts of all turns of a task and setting, with their ledger and provenance."""
    texts, ledger = filter_answers(task, turns, settings.near_duplicate)
    return Generated(texts, ledger, turns, _provenance(task, setting, data, llm, settings, turns, texts, ledger))


def filter_answers(task: Task, turns: list[Turn], near_duplicate: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The accepted texts and the ledger of the others; together they are everything that was received.

    Similarity is rapidfuzz's normalised Indel similarity in percent, of texts in lower case without punctuation. An
    example counts as shown from its turn on, for its label; duplicates are looked for in the whole task and setting.
    """
    import pandas as pd

    accepted: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    kept: dict[int, tuple[str, str]] = {}  # {place: key and plain text}
    shown: dict[str, dict[str, str]] = {label: {} for label in task.labels}
    plain_texts = [normalised(text) for turn in turns for text in parse(turn.answer.text).texts]
    earlier = close_pairs(plain_texts, near_duplicate)
    place = -1
    for turn in turns:
        talk = turn.conversation
        shown[talk.label] |= {key: normalised(text) for key, text in turn.examples.items()}
        answer = parse(turn.answer.text)
        texts, cut_off = answer.texts, turn.answer.finish_reason == "length" and not answer.torn
        origin = {"task": talk.task, "setting": talk.setting, "label": talk.label, "turn": talk.turn}
        for line in answer.leftovers:
            reason = "refused" if answer.refused else "not_numbered"
            if answer.torn and line is answer.leftovers[-1]:
                reason = "truncated"
            rejected.append({**origin, "position": -1, "reason": reason, "text": line})
        for position, text in enumerate(texts):
            place += 1
            plain, before = plain_texts[place], next(earlier)
            entry = {**origin, "position": position, "text": text}
            last = position == len(texts) - 1
            if not plain:
                rejected.append({**entry, "reason": "empty"})
            elif cut_off and last:
                rejected.append({**entry, "reason": "truncated"})
            elif position >= task.texts_per_turn:
                rejected.append({**entry, "reason": "more_than_asked"})
            elif match := closest(plain, shown[talk.label], near_duplicate):
                rejected.append({**entry, "reason": "copy_of_example", "matches": match[0], "similarity": match[1]})
            elif match := closest(plain, dict(kept[one] for one in before if one in kept), near_duplicate):
                reason = "exact_duplicate" if match[1] == 100 else "near_duplicate"
                rejected.append({**entry, "reason": reason, "matches": match[0], "similarity": match[1]})
            else:
                number = f"{talk.number}." if talk.number else ""
                key = f"{talk.task}-{talk.setting}-{talk.label}-{number}{talk.turn}-{position}"
                kept[place] = (key, plain)
                accepted.append({"id": key, **entry})
    unmatched = {"matches": "", "similarity": float("nan")}
    ledger = pd.DataFrame([{**unmatched, **entry} for entry in rejected], columns=LEDGER_COLUMNS)
    ledger["similarity"] = ledger["similarity"].astype(float)
    return pd.DataFrame(accepted, columns=TEXT_COLUMNS), ledger


def normalised(text: str) -> str:
    """Lower case, letters and digits only, single spaces; text in signs alone (emoji) stays as it is."""
    from rapidfuzz.utils import default_process

    return " ".join(default_process(text).split()) or text.strip()


def close_pairs(texts: Sequence[str], cutoff: float) -> Iterator[list[int]]:
    """For each text the places of the earlier ones that could be similar to it from `cutoff` percent on.

    The similarity is twice the letters that two texts share in order, by the letters of both. They share no more than
    without the order, which a product of matrices tells for many pairs at once and which leaves few to be compared.
    """
    import numpy as np

    counts = np.array([_letter_counts(text) for text in texts], dtype=np.int32).reshape(len(texts), len(LETTERS) + 1)
    needed = (counts.sum(axis=1) * cutoff / 200).astype(np.float32)  # the letters that one of a similar pair brings
    beyond = np.maximum(counts - LEVELS, 0).sum(axis=1).astype(np.float32)
    # one column for the first a, one for the second, ...: the product of two rows counts what they share
    unary = (counts[:, :, None] > np.arange(LEVELS, dtype=np.int32)).reshape(len(texts), counts.shape[1] * LEVELS)
    unary = unary[:, unary.any(axis=0)].astype(np.float32)
    for start in range(0, len(texts), BLOCK):
        stop = min(start + BLOCK, len(texts))
        shared = unary[start:stop] @ unary[:stop].T
        if beyond.any():
            shared = shared + np.minimum(beyond[start:stop, None], beyond[None, :stop])
        near = shared - needed[start:stop, None] >= needed[None, :stop] - np.float32(0.01)
        for number, row in enumerate(near):
            yield np.flatnonzero(row[: start + number]).tolist()


def _letter_counts(text: str) -> list[int]:
    """How often each of LETTERS is there, and all other signs together."""
    known = [text.count(letter) for letter in LETTERS]
    return [*known, len(text) - sum(known)]


def closest(plain: str, others: dict[str, str], cutoff: float) -> tuple[str, float] | None:
    """Key and similarity (percent) of the most similar of `others` from `cutoff` on."""
    from rapidfuzz import fuzz, process

    found = process.extractOne(plain, others, scorer=fuzz.ratio, score_cutoff=cutoff)
    return (found[2], round(found[1], 1)) if found else None


def _provenance(
    task: Task,
    setting: str,
    data: RealData,
    llm: LLM,
    settings: GenerationSettings,
    turns: list[Turn],
    texts: pd.DataFrame,
    ledger: pd.DataFrame,
) -> dict[str, Any]:
    few_shot = setting == "few_shot"
    examples = "none" if not few_shot else "drawn here" if any(turn.drawn for turn in turns) else "as recorded"
    return {
        "task": task.name,
        "setting": setting,
        "written_by": llm.model,
        "llm_fingerprint": llm.fingerprint,
        "prompts": task.prompts.model_dump(),
        "settings": settings.model_dump(mode="json"),
        "requests": digest([[message.content for message in turn.conversation.messages] for turn in turns]),
        "real_data": data.fingerprint if few_shot else None,
        "examples": examples,
        "example_ids": _shown_ids(task, turns),
        "asked": len(turns) * task.texts_per_turn,
        "received": len(texts) + len(ledger),
        "accepted": len(texts),
        "accepted_by_label": {label: int((texts["label"] == label).sum()) for label in task.labels},
        "rejected": dict(sorted(Counter(ledger["reason"]).items())),
    }


def _shown_ids(task: Task, turns: list[Turn]) -> dict[str, list[str]]:
    """{label: ids of the real texts that were shown as examples}."""
    shown: dict[str, set[str]] = {label: set() for label in task.labels}
    for turn in turns:
        shown[turn.conversation.label] |= set(turn.examples)
    return {label: sorted(ids) for label, ids in shown.items()}


# ------------------------------------------------------------------------------------------------------------- files


def synthetic_file(folder: Path, task: str, setting: str) -> Path:
    return folder / f"{task}.{setting}.parquet"


def ledger_file(folder: Path, task: str, setting: str) -> Path:
    return folder / f"{task}.{setting}.rejected.parquet"


def save_generated(folder: Path, generated: Generated, keep_copies: bool) -> list[Path]:
    """Write the texts (with their provenance inside the file) and the ledger.

    Args:
        keep_copies: whether the ledger may hold the text of a copied example, which is a real text; else its id only.
    """
    about = generated.provenance
    ledger = generated.ledger
    if not keep_copies:
        ledger = ledger.assign(text=ledger["text"].where(ledger["reason"] != "copy_of_example", ""))
    return [
        write_parquet(synthetic_file(folder, about["task"], about["setting"]), generated.texts, about),
        write_parquet(ledger_file(folder, about["task"], about["setting"]), ledger, about),
    ]


def load_synthetic(folder: Path, task: str, setting: str) -> pd.DataFrame:
    """The synthetic texts of a task and setting.

    Raises:
        SynthgapError: the generation stage has not written them.
    """
    import pandas as pd

    from synthgap.errors import SynthgapError

    path = synthetic_file(folder, task, setting)
    if not path.is_file():
        raise SynthgapError(f"'{path.name}' is not there yet; run the stage 01_generation first")
    return pd.read_parquet(path)


def provenance(folder: Path, task: str, setting: str) -> dict[str, Any]:
    return parquet_about(synthetic_file(folder, task, setting))


def rejects_table(provenances: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Columns task, setting, reason, texts: how many texts were turned down for every reason, 0 included."""
    import pandas as pd

    rows = [
        {
            "task": about["task"],
            "setting": about["setting"],
            "reason": reason,
            "texts": about["rejected"].get(reason, 0),
        }
        for about in provenances
        for reason in REASONS
    ]
    return pd.DataFrame(rows, columns=["task", "setting", "reason", "texts"])


def rejects_by_reason(rejects: pd.DataFrame) -> pd.DataFrame:
    """The same for people: a row a task and setting, a column a reason."""
    if rejects.empty:
        return rejects[["task", "setting"]]
    wide = rejects.pivot_table(index=["task", "setting"], columns="reason", values="texts", sort=False)
    return wide.astype(int).reset_index().rename_axis(columns=None)
