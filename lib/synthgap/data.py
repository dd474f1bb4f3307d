"""Real texts of a task from the package, a folder or the hub: checked, fingerprinted, drawn at equal size."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from synthgap.errors import SynthgapError
from synthgap.tasks import SPLITS, Task

if TYPE_CHECKING:
    import pandas as pd

    from synthgap.config import Profile

COLUMNS = ("id", "text", "label", "split")
SUFFIXES = (".parquet", ".csv", ".jsonl")


@dataclass(frozen=True)
class RealData:
    """The real texts of one task.

    Attributes:
        frame: columns id, text, label, split and whatever else the source has; one row a text.
        fingerprint: SHA-256 over every split, id, label and text, independent of the order of rows.
        dropped: how many rows were left out, by reason.
    """

    task: Task
    source: str
    frame: pd.DataFrame = field(repr=False)
    fingerprint: str
    dropped: Mapping[str, int]

    def split(self, name: str) -> pd.DataFrame:
        return self.frame[self.frame["split"] == name]

    def few_shot_pool(self, label: str, seed: int = 0) -> pd.DataFrame:
        """The train texts of a label from which few-shot examples are drawn, always the same ones for a seed.

        Raises:
            SynthgapError: fewer texts than one turn shows.
        """
        train = self.split("train")
        train = train[train["label"] == label]
        needed = self.task.few_shot.examples_per_turn
        if len(train) < needed:
            raise SynthgapError(
                f"task '{self.task.name}': label '{label}' has {len(train)} train texts, too few for the {needed} "
                "few-shot examples of a turn; add texts or leave few_shot out of generation.settings"
            )
        return draw(train, max(needed, self.task.pool_size(len(train))), seed, "few-shot pool")

    @functools.cached_property
    def train_texts(self) -> dict[str, str]:
        """{id: text} of the train split."""
        train = self.split("train")
        return dict(zip(train["id"], train["text"], strict=True))

    def pool_ids(self, label: str) -> list[str]:
        """Ids of the label's few-shot pool."""
        if label not in self._pools:
            self._pools[label] = self.few_shot_pool(label)["id"].tolist()
        return self._pools[label]

    @functools.cached_property
    def _pools(self) -> dict[str, list[str]]:
        return {}


def data_folder() -> Path:
    """The folder of the source `folder`: SYNTHGAP_DATA (set by --data), or data/ in the project."""
    from synthgap.config import root

    return Path(os.environ.get("SYNTHGAP_DATA") or root() / "data")


def bundled(*parts: str) -> Path:
    """A file of the package's bundled data."""
    return Path(__file__).parent.joinpath("bundled", *parts)


def load_real(task: Task, profile: Profile) -> RealData:
    """The real texts of `task` from the profile's source, checked.

    Raises:
        SynthgapError: the data are missing, unreadable or not as the task needs them.
    """
    source = profile.data.source
    if source == "hub":
        from synthgap.hub import read_hub

        frame, dropped = read_hub(task)
        name = f"hub {task.hub.path if task.hub else ''}"
    else:
        path = data_file(task, bundled("demo") if source == "bundled" else data_folder())
        frame, dropped, name = read_file(path), {}, path.name
    return checked(task, frame, name, dropped, profile.data.test_texts_per_label)


def data_file(task: Task, folder: Path) -> Path:
    """The one file of a task in a folder, whichever of the known formats it has."""
    if not folder.is_dir():
        raise SynthgapError(f"the data folder '{folder}' does not exist; name another with --data (make: DATA=...)")
    found = [folder / f"{task.name}{suffix}" for suffix in SUFFIXES if (folder / f"{task.name}{suffix}").is_file()]
    if not found:
        names = ", ".join(f"{task.name}{suffix}" for suffix in SUFFIXES)
        raise SynthgapError(f"task '{task.name}': no data file in '{folder}'; it needs one of {names}")
    if len(found) > 1:
        raise SynthgapError(
            f"task '{task.name}': {' and '.join(path.name for path in found)} both hold its data; keep one of them"
        )
    return found[0]


def read_file(path: Path) -> pd.DataFrame:
    """A Parquet, CSV or JSON Lines file as a table of texts; nothing is guessed, so "NA" stays a word."""
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if path.suffix == ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        return pd.read_json(path, lines=True, dtype=False)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SynthgapError(f"data file '{path.name}' cannot be read: {reason}; replace it by a whole file") from error


def checked(
    task: Task,
    frame: pd.DataFrame,
    source: str,
    dropped: Mapping[str, int] | None = None,
    test_texts_per_label: int | None = None,
) -> RealData:
    """Check a table of texts against its task; repeated texts are dropped and counted, anything else is refused."""
    missing = [column for column in COLUMNS if column not in frame.columns]
    if missing:
        raise SynthgapError(
            f"data of task '{task.name}' ({source}): column {', '.join(repr(name) for name in missing)} is missing; "
            f"it has {', '.join(map(str, frame.columns)) or 'none'} and needs {', '.join(COLUMNS)}"
        )
    _check_rows(task, frame, source)
    frame = frame.reset_index(drop=True)
    frame, repeats = without_repeats(frame)
    _check_classes(task, frame, source)
    if test_texts_per_label is not None:
        frame = _capped_test(frame, test_texts_per_label)
    counts = {reason: count for reason, count in {**(dropped or {}), **repeats}.items() if count}
    return RealData(task, source, frame, fingerprint(frame), counts)


def _check_rows(task: Task, frame: pd.DataFrame, source: str) -> None:
    def refuse(rows: pd.Series, message: str) -> None:
        if rows.any():
            first = frame.loc[rows, "id"].iloc[0]
            raise SynthgapError(
                f"data of task '{task.name}' ({source}): {message} (first: '{first}', {rows.sum()} in all)"
            )

    refuse(frame["id"].isna() | frame["id"].duplicated(), "every row needs an id of its own; repeated or empty ids")
    refuse(~frame["text"].map(lambda text: isinstance(text, str) and bool(text.strip())), "empty texts; remove them")
    unknown_labels = sorted(set(map(str, frame.loc[~frame["label"].isin(task.labels), "label"])))
    refuse(
        ~frame["label"].isin(task.labels),
        f"label {', '.join(repr(label) for label in unknown_labels[:3])} is unknown to the task; "
        f"known: {', '.join(task.labels)}",
    )
    refuse(~frame["split"].isin(SPLITS), f"unknown split; known: {', '.join(SPLITS)}")


def _check_classes(task: Task, frame: pd.DataFrame, source: str) -> None:
    counts = frame.groupby(["split", "label"]).size()
    for split in SPLITS:
        for label in task.labels:
            if counts.get((split, label), 0) == 0:
                raise SynthgapError(
                    f"data of task '{task.name}' ({source}): label '{label}' has no row in the split '{split}'; "
                    "every label needs texts in train, validation and test"
                )


def without_repeats(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop texts that repeat inside a split or stand in two splits; the test split keeps its copy, then validation."""
    priority = frame["split"].map({"test": 0, "validation": 1, "train": 2})
    ordered = frame.assign(_text=frame["text"].str.strip(), _priority=priority).sort_values("_priority", kind="stable")
    inside = ordered.duplicated(["split", "_text"])
    across = ordered.duplicated("_text") & ~inside
    kept = frame.loc[sorted(ordered.index[~(inside | across)])]
    return kept.reset_index(drop=True), {
        "repeats a text of its split": int(inside.sum()),
        "stands in another split": int(across.sum()),
    }


def _capped_test(frame: pd.DataFrame, cap: int) -> pd.DataFrame:
    import pandas as pd

    test = frame[frame["split"] == "test"]
    kept = [draw(rows, min(cap, len(rows)), 0, "test cap") for _, rows in test.groupby("label")]
    return pd.concat([frame[frame["split"] != "test"], *kept], ignore_index=True)


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
    """Draw `n` rows by id; see `draw_places`."""
    return frame.iloc[draw_places(frame["id"].tolist(), n, seed, purpose)]


def draw_places(ids: Sequence[str], n: int, seed: int, purpose: str) -> list[int]:
    """The places of `n` of the ids: those with the smallest hash of (seed, purpose, id).

    The draw does not depend on the order of the ids, and a smaller draw is part of a larger one.
    """
    if n > len(ids):
        raise SynthgapError(f"cannot draw {n} texts from {len(ids)} ({purpose})")
    keys = [hashlib.sha256(f"{seed}|{purpose}|{key}".encode()).digest() for key in ids]
    return sorted(range(len(ids)), key=keys.__getitem__)[:n]


def equal_sizes(counts: Mapping[str, Mapping[str, int]], cap: int | None = None) -> dict[str, int]:
    """How many texts of each label every regime trains on: the smallest that any regime has, or `cap`.

    Args:
        counts: {regime: {label: number of texts}}.
    """
    regimes = list(counts.values())
    labels = sorted({label for regime in regimes for label in regime})
    smallest = {label: min(regime.get(label, 0) for regime in regimes) for label in labels}
    return {label: n if cap is None else min(n, cap) for label, n in smallest.items()}


def draw_equal(frame: pd.DataFrame, sizes: Mapping[str, int], seed: int) -> pd.DataFrame:
    """`sizes[label]` texts of each label, drawn without replacement; labels in the order of `sizes`."""
    import pandas as pd

    parts = [draw(frame[frame["label"] == label], n, seed, f"train {label}") for label, n in sizes.items()]
    return pd.concat(parts, ignore_index=True)
