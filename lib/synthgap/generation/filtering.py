"""Answers of an LLM -> the texts that are accepted, and a ledger of every text that was rejected, with the reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from synthgap.data.duplicates import close_pairs, closest, normalised
from synthgap.generation.conversations import Turn
from synthgap.tasks import Task

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
TEXT_COLUMNS = ["id", "text", "label", "turn", "position"]
LEDGER_COLUMNS = ["task", "corpus", "label", "turn", "position", "reason", "text", "matches", "similarity"]

RUN = 5  # words in a row that two texts do not share by chance


@dataclass(frozen=True)
class Rejection:
    """Why a text is rejected; where it repeats another, the id of that and the similarity in percent."""

    reason: str
    matches: str = ""
    similarity: float = float("nan")


def filter_answers(
    task: Task, corpus: str, turns: Sequence[Turn], near_duplicate: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The accepted texts and the ledger of the others; together they are everything that was received.

    Similarity is rapidfuzz's normalised Indel similarity of the texts in lower case and without punctuation. An example
    counts as shown from its turn on, for its label; repeats are looked for in the whole task and corpus.

    Args:
        near_duplicate: similarity in percent from which two texts are one.
    """
    accepted: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    examples: dict[str, dict[str, str]] = {label: {} for label in task.labels}
    plain_texts = [normalised(text) for turn in turns for text in turn.answer.parsed.texts]
    places = enumerate(close_pairs(plain_texts, near_duplicate))
    kept: dict[int, str] = {}  # {place: id}
    for turn in turns:
        label = turn.conversation.label
        examples[label] |= {key: normalised(text) for key, text in turn.examples.items()}
        origin = {"task": task.name, "corpus": corpus, "label": label, "turn": turn.conversation.turn}
        for piece, reason in _outside_the_list(turn):
            rejected.append({**origin, "position": -1, "text": piece, **vars(Rejection(reason))})
        for position, text in enumerate(turn.answer.parsed.texts):
            place, near = next(places)
            plain, earlier = plain_texts[place], {kept[one]: plain_texts[one] for one in near if one in kept}
            rejection = _unusable(turn, position, plain, task.texts_per_turn)
            rejection = rejection or _repeat(plain, examples[label], earlier, near_duplicate)
            entry = {**origin, "position": position, "text": text}
            if rejection:
                rejected.append({**entry, **vars(rejection)})
            else:
                kept[place] = _text_id(corpus, turn, position)
                accepted.append({"id": kept[place], **entry})
    ledger = pd.DataFrame(rejected, columns=LEDGER_COLUMNS).astype({"similarity": float})
    return pd.DataFrame(accepted, columns=TEXT_COLUMNS), ledger


def _outside_the_list(turn: Turn) -> Iterator[tuple[str, str]]:
    """The pieces of an answer that are no texts, with the reason; the last one of a torn list is half a text."""
    parsed = turn.answer.parsed
    for piece in parsed.leftovers:
        torn = parsed.torn and piece is parsed.leftovers[-1]
        yield piece, "truncated" if torn else "refused" if parsed.refused else "not_numbered"


def _unusable(turn: Turn, position: int, plain: str, asked: int) -> Rejection | None:
    """What is wrong with a text by itself: nothing in it, cut off with its answer, or beyond what was asked for."""
    parsed = turn.answer.parsed
    if not plain:
        return Rejection("empty")
    if turn.answer.finish_reason == "length" and not parsed.torn and position == len(parsed.texts) - 1:
        return Rejection("truncated")
    return Rejection("more_than_asked") if position >= asked else None


def _repeat(plain: str, examples: Mapping[str, str], earlier: Mapping[str, str], cutoff: float) -> Rejection | None:
    """Which few-shot example a text copies, else which earlier text it repeats; both {id: plain text}."""
    if match := closest(plain, examples, cutoff):
        return Rejection("copy_of_example", *match)
    if match := closest(plain, earlier, cutoff):
        return Rejection("exact_duplicate" if match[1] == 100 else "near_duplicate", *match)
    return None


def _text_id(corpus: str, turn: Turn, position: int) -> str:
    """Task, corpus, label, turn and position; before the turn the conversation's number, where it is not the first."""
    asked = turn.conversation
    number = f"{asked.number}." if asked.number else ""
    return f"{asked.task}-{corpus}-{asked.label}-{number}{asked.turn}-{position}"


def are_real(texts: Iterable[str], examples: Collection[str], real: Iterable[str] = ()) -> np.ndarray:
    """Which texts repeat a real one, but for case and punctuation, or RUN words in a row of an example.

    Args:
        examples: real texts that were shown to the LLM.
        real: further ones.
    """
    whole = {normalised(text) for text in (*examples, *real)}
    runs = {run for text in examples for run in _runs(text)}
    return np.array([normalised(text) in whole or not runs.isdisjoint(_runs(text)) for text in texts], dtype=bool)


def _runs(text: str) -> set[tuple[str, ...]]:
    words = normalised(text).split()
    return set(zip(*(words[start:] for start in range(RUN)), strict=False))


# ------------------------------------------------------------------------------------------------------------- tables


def rejects_table(provenances: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Columns task, corpus, reason, texts: how many texts were rejected for every reason, 0 included."""
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
