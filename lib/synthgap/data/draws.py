"""Which texts: draws that depend on ids and a seed alone, equal sizes, and fingerprints of tables of texts."""

import hashlib
from collections.abc import Mapping, Sequence

import pandas as pd

from synthgap.core.errors import SynthgapError


def fingerprint(frame: pd.DataFrame) -> str:
    """SHA-256 (hex) over split, id, label and text of every row, in the order of the ids."""
    total = hashlib.sha256()
    columns = [column for column in ("split", "id", "label", "text") if column in frame.columns]
    for row in sorted(zip(*(frame[column].astype(str) for column in columns), strict=True)):
        for value in row:
            raw = value.encode("utf-8", "surrogatepass")
            total.update(len(raw).to_bytes(8, "big"))
            total.update(raw)
    return total.hexdigest()


def draw(frame: pd.DataFrame, n: int, seed: int, purpose: str) -> pd.DataFrame:
    """Draw `n` rows by id; see `draw_places`. Of a pool, whose column `member` names corpora, as many of each."""
    if "member" not in frame:
        return frame.iloc[draw_places(frame["id"].tolist(), n, seed, purpose)]
    shuffled = frame.iloc[draw_places(frame["id"].tolist(), len(frame), seed, purpose)]
    return shuffled.iloc[shuffled.groupby("member").cumcount().argsort(kind="stable")].head(n)


def draw_places(ids: Sequence[str], n: int, seed: int, purpose: str) -> list[int]:
    """The places of `n` of the ids: those with the smallest hash of (seed, purpose, id).

    The draw does not depend on the order of the ids, and a smaller draw is part of a larger one.
    """
    if n > len(ids):
        raise SynthgapError(f"cannot draw {n} texts from {len(ids)} ({purpose})")
    keys = [hashlib.sha256(f"{seed}|{purpose}|{key}".encode()).digest() for key in ids]
    return sorted(range(len(ids)), key=keys.__getitem__)[:n]


def at_most(frame: pd.DataFrame, most: int | None) -> pd.DataFrame:
    """At most so many texts of each label, always the same ones, by label; None: all, as they are."""
    if most is None:
        return frame
    kept = [draw(rows, min(most, len(rows)), 0, "test cap") for _, rows in frame.groupby("label")]
    return pd.concat(kept, ignore_index=True)


def draw_in_proportion(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many texts, always the same ones, of each label in proportion to its share."""
    share = min(1.0, most / len(frame)) if len(frame) else 0.0
    parts = [draw(rows, int(share * len(rows)), 0, "watched") for _, rows in frame.groupby("label")]
    return pd.concat(parts) if parts else frame


def equal_sizes(counts: Mapping[str, Mapping[str, int]], cap: int | None = None) -> dict[str, int]:
    """How many texts of each label every corpus trains on: the smallest that any corpus has, or `cap`.

    Args:
        counts: {corpus: {label: number of texts}}.
    """
    labels = sorted({label for corpus in counts.values() for label in corpus})
    smallest = {label: min(corpus.get(label, 0) for corpus in counts.values()) for label in labels}
    return {label: n if cap is None else min(n, cap) for label, n in smallest.items()}


def draw_equal(frame: pd.DataFrame, sizes: Mapping[str, int], seed: int) -> pd.DataFrame:
    """`sizes[label]` texts of each label, drawn without replacement; labels in the order of `sizes`."""
    parts = [draw(frame[frame["label"] == label], n, seed, f"train {label}") for label, n in sizes.items()]
    return pd.concat(parts, ignore_index=True)
