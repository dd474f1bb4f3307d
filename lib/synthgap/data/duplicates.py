"""Texts that repeat others, exactly or nearly."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from rapidfuzz import fuzz, process
from rapidfuzz.utils import default_process
from scipy.spatial.distance import cdist

LETTERS = "abcdefghijklmnopqrstuvwxyz 0123456789"
RUN = 6  # words that a text shares with another one from which on it recites that
BLOCK = 256  # texts compared with all earlier ones at once


def without_repeats(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop texts that repeat inside a split or stand in two splits; the test split keeps its copy, then validation."""
    priority = frame["split"].map({"test": 0, "validation": 1, "train": 2}).astype(int)
    ordered = frame.assign(_text=frame["text"].str.strip(), _priority=priority).sort_values("_priority", kind="stable")
    inside = ordered.duplicated(["split", "_text"])
    across = ordered.duplicated("_text") & ~inside
    kept = frame.loc[sorted(ordered.index[~(inside | across)])]
    return kept.reset_index(drop=True), {
        "repeats a text of its split": int(inside.sum()),
        "stands in another split": int(across.sum()),
    }


def one_row_an_id(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop rows that repeat an id, and all rows of an id that has two labels; {reason: rows}."""
    labels = frame.groupby("id")["label"].transform("nunique")
    once = frame[labels == 1].drop_duplicates("id")
    contradicting = int((labels > 1).sum())
    repeats = len(frame) - contradicting - len(once)
    return once, {"has an id with two labels": contradicting, "repeats an id": repeats}


def normalised(text: str) -> str:
    """Lower case, letters and digits only, single spaces; text in signs alone (emoji) stays as it is."""
    return " ".join(default_process(text).split()) or text.strip()


def sharing_runs(texts: Sequence[str], others: Iterable[str], words: int = RUN) -> np.ndarray:
    """Whether each text holds a run of so many words, letter case and punctuation aside, that one of the others holds.

    A text that is among the others shares its runs with itself.
    """
    own = [word_runs(text, words) for text in texts]
    wanted = set().union(*own)
    shared = {run for text in others for run in word_runs(text, words) if run in wanted}
    return np.array([not runs.isdisjoint(shared) for runs in own], dtype=bool)


def word_runs(text: str, words: int = RUN) -> set[tuple[str, ...]]:
    """All runs of so many words of a text, letter case and punctuation aside."""
    split = normalised(text).split()
    return {tuple(split[at : at + words]) for at in range(len(split) - words + 1)}


def close_pairs(texts: Sequence[str], cutoff: float) -> Iterator[list[int]]:
    """For each text the places of the earlier ones that could be similar to it from `cutoff` percent on.

    rapidfuzz's similarity is 1 less the letters to insert or delete by the letters of both texts. Each such edit
    changes how often one letter is there by one, so that texts whose letter counts are too far apart need no
    comparison: nearly all pairs.
    """
    counts = np.array([_letter_counts(text) for text in texts], dtype=float).reshape(len(texts), len(LETTERS) + 1)
    sizes = counts.sum(axis=1)
    for start in range(0, len(texts), BLOCK):
        stop = min(start + BLOCK, len(texts))
        apart = cdist(counts[start:stop], counts[:stop], "cityblock")
        near = apart <= (1 - cutoff / 100) * (sizes[start:stop, None] + sizes[:stop]) + 1e-6
        for number, row in enumerate(near):
            yield np.flatnonzero(row[: start + number]).tolist()


def _letter_counts(text: str) -> list[int]:
    """How often each of LETTERS is there, and all other signs together."""
    known = [text.count(letter) for letter in LETTERS]
    return [*known, len(text) - sum(known)]


def closest(plain: str, others: Mapping[str, str], cutoff: float) -> tuple[str, float] | None:
    """Key and similarity (percent) of the most similar of `others` from `cutoff` on."""
    found = process.extractOne(plain, others, scorer=fuzz.ratio, score_cutoff=cutoff)
    return (found[2], round(found[1], 1)) if found else None
