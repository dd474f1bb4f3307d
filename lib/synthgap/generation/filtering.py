"""Answers of an LLM -> the texts that are accepted, and a ledger of every text that was rejected, with the reason."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from synthgap.data.duplicates import close_pairs, closest, normalised, sharing_runs
from synthgap.generation.conversations import Turn
from synthgap.llm.base import RECORDING
from synthgap.llm.refusals import is_refusal
from synthgap.tasks import Task

LONGEST_TEXT = 20_000  # letters; no task has longer ones
COMPARED = 5_000  # letters of a text that are compared with others: what two take grows with the product of theirs

REASONS = {
    "refused": "the LLM declined to answer, or to write this text",
    "not_numbered": "a line outside the list that was asked for",
    "empty": "a number without a text",
    "more_than_asked": "more texts than the turn asked for",
    "truncated": "the answer was cut off within this text",
    "copy_of_example": "copies a few-shot example that was shown",
    "exact_duplicate": "repeats an earlier text, but for case and punctuation",
    "near_duplicate": "nearly repeats an earlier text",
}
RARE_REASONS = {  # in the tables where they occur
    "reasoning": "what the LLM thought before it answered; no text, and not counted as received",
    "too_long": f"more than {LONGEST_TEXT:,} letters, of which the ledger keeps the beginning",
    "label_word": 'names a label as a tag does ("#irony", "(spam)"), and generation.reject_label_words is set',
}
ORIGIN = ["label", "recording", "turn", "position"]
TEXT_COLUMNS = ["id", "text", *ORIGIN]
LEDGER_COLUMNS = ["task", "corpus", *ORIGIN, "reason", "text", "matches", "similarity"]

RUN = 5  # words in a row that two texts do not share by chance


@dataclass(frozen=True)
class Rejection:
    """Why a text is rejected; where it repeats another, the id of that and the similarity in percent."""

    reason: str
    matches: str = ""
    similarity: float = float("nan")


def filter_answers(
    task: Task, corpus: str, turns: Sequence[Turn], near_duplicate: float, reject_label_words: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The accepted texts of one recording and the ledger of the others; together they are all that was received.

    Similarity is rapidfuzz's normalised Indel similarity of the texts in lower case and without punctuation. An example
    counts as shown from its turn on, for its label; repeats are looked for in the whole task and corpus. Of a longer
    text the first COMPARED letters are compared.

    Args:
        near_duplicate: similarity in percent from which two texts are one.
        reject_label_words: whether texts are rejected that name a label; see `label_words`.
    """
    labels = label_words(task) if reject_label_words else None
    accepted: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    examples: dict[str, dict[str, str]] = {label: {} for label in task.labels}
    faults = [_faults(turn, task.texts_per_turn, labels) for turn in turns]
    plain_texts = [
        normalised(text)[:COMPARED]
        for turn, of_turn in zip(turns, faults, strict=True)
        for text, fault in zip(turn.answer.parsed.texts, of_turn, strict=True)
        if not fault
    ]
    compared = enumerate(close_pairs(plain_texts, near_duplicate))
    kept: dict[int, str] = {}  # {number in plain_texts: id}
    for turn, of_turn in zip(turns, faults, strict=True):
        label = turn.conversation.label
        examples[label] |= {key: normalised(text)[:COMPARED] for key, text in turn.examples.items()}
        recording, place = turn.conversation.recording, turn.conversation.place
        origin = {"task": task.name, "corpus": corpus, "label": label, "recording": recording, "turn": place}
        for piece, reason in _outside_the_list(turn):
            rejected.append({**origin, "position": -1, "text": piece[:LONGEST_TEXT], **vars(Rejection(reason))})
        for position, (text, fault) in enumerate(zip(turn.answer.parsed.texts, of_turn, strict=True)):
            entry = {**origin, "position": position, "text": text[:LONGEST_TEXT]}
            rejection = Rejection(fault) if fault else None
            if not rejection:
                number, near = next(compared)
                earlier = {kept[one]: plain_texts[one] for one in near if one in kept}
                rejection = _repeat(plain_texts[number], examples[label], earlier, near_duplicate)
            if rejection:
                rejected.append({**entry, **vars(rejection)})
            else:
                kept[number] = _text_id(corpus, turn, position)
                accepted.append({"id": kept[number], **entry})
    ledger = pd.DataFrame(rejected, columns=LEDGER_COLUMNS).astype({"similarity": float})
    return pd.DataFrame(accepted, columns=TEXT_COLUMNS), ledger


def _outside_the_list(turn: Turn) -> Iterator[tuple[str, str]]:
    """The pieces of an answer that are no texts, with the reason; the last one of a torn list is half a text.

    How the LLM thinks is one block for each time that it does.
    """
    parsed = turn.answer.parsed
    yield from ((block, "reasoning") for block in parsed.reasoning)
    for piece in parsed.leftovers:
        if parsed.torn and piece is parsed.leftovers[-1]:
            yield piece, "truncated"
        elif parsed.refused or is_refusal(piece):
            yield piece, "refused"
        else:
            yield piece, "too_long" if len(piece) > LONGEST_TEXT else "not_numbered"


def _faults(turn: Turn, asked: int, labels: re.Pattern[str] | None) -> list[str]:
    """For each text of an answer the reason to reject it by itself; "" where there is none."""
    parsed = turn.answer.parsed
    last = len(parsed.texts) - 1
    cut_off = turn.answer.finish_reason == "length" and not parsed.torn

    def fault(position: int, text: str) -> str:
        if not text:
            return "empty"
        if len(text) > LONGEST_TEXT:
            return "too_long"
        if cut_off and position == last:
            return "truncated"
        if position >= asked:
            return "more_than_asked"
        if is_refusal(text):
            return "refused"
        return "label_word" if labels and labels.search(text) else ""

    return [fault(position, text) for position, text in enumerate(parsed.texts)]


def label_words(task: Task) -> re.Pattern[str]:
    """Finds a label of a task that a text names as a tag does; see `label_pattern`."""
    return label_pattern(task.labels)


def label_pattern(labels: Mapping[str, str]) -> re.Pattern[str]:
    """Finds a label that a text names as a tag does: "#irony", "label: spam", or "(spam)" and "spam:" at its ends.

    A label goes by its name, and by the phrase that stands for it in the prompts where that has at most three words.

    Args:
        labels: {name: phrase}.
    """
    phrases = [re.split("[:,]", phrase)[0] for phrase in labels.values()]
    words = [re.findall(r"[^\W_]+", name) for name in (*labels, *phrases) if re.search(r"[^\W\d_]", name)]
    short = sorted({r"[\W_]?".join(one) for one in words if len(one) <= 3}, key=len, reverse=True)
    name = rf"(?:{'|'.join(short) or '(?!)'})(?!\w)"
    tag = rf"[(\[<{{]\W?{name}\W?[)\]>}}]"
    kind = r"\b(?:label|class|category|sentiment|emotion|topic|tag|type) ?[:=]"
    begins, ends = rf"^\W{{0,3}}(?:{tag}|{name}\W{{0,3}}:)", rf"(?:{tag}|[-–—|]\W?{name})\W{{0,3}}$"
    return re.compile(rf"#{name}|{kind}\W{{0,3}}{name}|{begins}|{ends}", re.IGNORECASE)


def _repeat(plain: str, examples: Mapping[str, str], earlier: Mapping[str, str], cutoff: float) -> Rejection | None:
    """Which few-shot example a text copies, else which earlier text it repeats; both {id: plain text}."""
    if match := closest(plain, examples, cutoff):
        return Rejection("copy_of_example", *match)
    if match := closest(plain, earlier, cutoff):
        return Rejection("exact_duplicate" if match[1] == 100 else "near_duplicate", *match)
    return None


def _text_id(corpus: str, turn: Turn, position: int) -> str:
    """Task, corpus, label, turn and position; recording and conversation stand there where they are not the first."""
    asked = turn.conversation
    number = asked.number % RECORDING
    recording, conversation = f"r{asked.recording}-" * (asked.recording > 1), f"{number}." * (number > 0)
    return f"{asked.task}-{corpus}-{asked.label}-{recording}{conversation}{asked.turn}-{position}"


def are_real(texts: Iterable[str], examples: Collection[str], real: Iterable[str] = ()) -> np.ndarray:
    """Which texts repeat a real one, but for case and punctuation, or RUN words in a row of an example.

    Args:
        examples: real texts that were shown to the LLM.
        real: further ones.
    """
    texts, whole = list(texts), {normalised(text) for text in (*examples, *real)}
    return np.array([normalised(text) in whole for text in texts], bool) | sharing_runs(texts, examples, RUN)


# ------------------------------------------------------------------------------------------------------------- tables


def rejects_table(provenances: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns task, corpus, reason, texts: how many texts were rejected for every reason, the usual ones 0 included."""
    rows = [
        (about["task"], about["corpus"], reason, about["rejected"].get(reason, 0))
        for about in provenances
        for reason in {**REASONS, **about["rejected"]}
    ]
    return pd.DataFrame(rows, columns=["task", "corpus", "reason", "texts"])


def rejects_by_reason(rejects: pd.DataFrame) -> pd.DataFrame:
    """The same for people: a row for each task and corpus, a column for each reason."""
    if rejects.empty:
        return rejects[["task", "corpus"]]
    wide = rejects.pivot_table(index=["task", "corpus"], columns="reason", values="texts", sort=False, fill_value=0)
    return wide.astype(int).reset_index().rename_axis(columns=None)
