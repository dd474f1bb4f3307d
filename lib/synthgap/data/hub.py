"""Real texts from the Hugging Face Hub in the project's shape; no code from the hub is run."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from datasets import load_dataset
from sklearn.model_selection import train_test_split

from synthgap.core.errors import SynthgapError
from synthgap.data.duplicates import without_repeats
from synthgap.tasks import SPLITS, HubSource, Task

TEST_SHARE = 0.25  # of all texts, where the source has no test split
VALIDATION_SHARE = 0.05  # of all texts where it has none either; of its train split where it has a test split


def read_hub(task: Task) -> tuple[pd.DataFrame, dict[str, int]]:
    """The task's set from the Hugging Face Hub in the project's shape, and how many rows were dropped and why.

    `task.hub.path` may also be a local folder of the same shape.

    Raises:
        SynthgapError: no hub source, or the hub or a split or column is out of reach.
    """
    if task.hub is None:
        raise SynthgapError(f"task '{task.name}' has no hub source; take its texts from a folder (data.source: folder)")
    hub, parts, dropped = task.hub, [], 0
    names = {value: name for name, value in hub.label_values.items()}
    for split, hub_split in hub.splits.items():
        rows = _hub_split(hub, hub_split)
        labels = rows["label"].map(lambda value: _label(value, names))
        usable = labels.notna() & rows["text"].str.strip().ne("")
        dropped += int((~usable).sum())
        kept = rows[usable].assign(label=labels[usable], split=split)
        parts.append(kept.assign(id=[f"{task.name}-{split}-{number}" for number in kept.index]))
    frame, repeats = without_repeats(pd.concat(parts, ignore_index=True))
    frame = split_where_needed(frame)
    if hub.agreement_configs:
        frame = frame.assign(agreement=_agreement(hub, frame["text"]))
    return frame, {"has another label, several labels or no text": dropped, **repeats}


def _hub_split(hub: HubSource, split: str, config: str | None = None) -> pd.DataFrame:
    """Columns text and label of one split of the hub's set."""
    try:
        rows = load_dataset(hub.path, config or hub.config, split=split, revision=hub.revision).to_pandas()
    except Exception as error:  # the hub client raises many kinds, all of them "it cannot be had"
        reason = " ".join(str(error).split())[:200]
        raise SynthgapError(
            f"'{hub.path}' cannot be loaded from the hub ({type(error).__name__}: {reason}); "
            "check the network, or take the texts from a folder (data.source: folder, --data)"
        ) from error
    for column in (hub.text, hub.label):
        if column not in rows.columns:
            raise SynthgapError(f"'{hub.path}' has no column '{column}'; it has {', '.join(map(str, rows.columns))}")
    text = rows[hub.text].map(lambda value: value if isinstance(value, str) else " ".join(map(str, value)))
    return pd.DataFrame({"text": text, "label": rows[hub.label]}).reset_index(drop=True)


def _label(value: Any, names: Mapping[bool | int | str, str]) -> str | None:
    """The task's label for a value of the hub's; a list counts where it has one value."""
    if pd.api.types.is_list_like(value):
        return names.get(int(value[0])) if len(value) == 1 else None
    return names.get(value)


def _agreement(hub: HubSource, texts: pd.Series) -> pd.Series:
    """The strictest agreement level whose config holds a text; "50" where none does."""
    level = pd.Series("50", index=texts.index)
    for name, config in sorted(hub.agreement_configs.items(), key=lambda item: int(item[0])):
        agreed = set(_hub_split(hub, hub.splits["train"], config)["text"])
        level[texts.isin(agreed)] = name
    return level


def split_where_needed(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Own 70/5/25 split where the source has train only; validation from train (5 %) where only that is missing.

    Both are stratified by label; a text keeps its id.
    """
    parts = {split: frame[frame["split"] == split] for split in SPLITS}
    validation_share = VALIDATION_SHARE / (1 - TEST_SHARE) if parts["test"].empty else VALIDATION_SHARE
    shares = {"test": TEST_SHARE, "validation": validation_share}
    missing = [split for split in shares if parts[split].empty]
    if not missing:
        return frame
    try:
        for split in missing:
            train = parts["train"]
            parts["train"], parts[split] = train_test_split(
                train, test_size=shares[split], random_state=seed, stratify=train["label"]
            )
    except ValueError as error:
        raise SynthgapError(f"too few texts to split them 70/5/25 by label: {error}") from error
    return pd.concat([rows.assign(split=split) for split, rows in parts.items()], ignore_index=True)
