"""Real texts from the Hugging Face Hub in the project's shape; no code from the hub is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from synthgap.data import without_repeats
from synthgap.errors import SynthgapError
from synthgap.tasks import SPLITS, HubSource, Task

if TYPE_CHECKING:
    import pandas as pd

OWN_SPLIT = {"train": 0.70, "validation": 0.05, "test": 0.25}
CARVED_VALIDATION = 0.05


def read_hub(task: Task) -> tuple[pd.DataFrame, dict[str, int]]:
    """The task's set from the Hugging Face Hub in the project's shape, and how many rows were dropped and why.

    `task.hub.path` may also be a local folder of the same shape. No code from the hub is run.

    Raises:
        SynthgapError: no hub source, or the hub or a split or column is out of reach.
    """
    import pandas as pd

    if task.hub is None:
        raise SynthgapError(f"task '{task.name}' has no hub source; take its texts from a folder (data.source: folder)")
    hub, parts, dropped = task.hub, [], 0
    for split, hub_split in hub.splits.items():
        rows = _hub_split(hub, hub_split)
        labels = rows["label"].map(_label_of(hub))
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
    from datasets import load_dataset

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
    return rows.assign(text=text, label=rows[hub.label])[["text", "label"]].reset_index(drop=True)


def _label_of(hub: HubSource) -> Callable[[Any], str | None]:
    names = {value: name for name, value in hub.label_values.items()}

    def label(value: Any) -> str | None:
        if isinstance(value, str | int | bool) or not hasattr(value, "__len__"):
            return names.get(value.item() if hasattr(value, "item") else value)
        return names.get(int(value[0])) if len(value) == 1 else None

    return label


def _agreement(hub: HubSource, texts: pd.Series) -> pd.Series:
    """The strictest agreement level whose config holds a text; "50" where none does."""
    import pandas as pd

    level = pd.Series("50", index=texts.index)
    for name, config in sorted(hub.agreement_configs.items(), key=lambda item: int(item[0])):
        agreed = set(_hub_split(hub, hub.splits["train"], config)["text"])
        level[texts.isin(agreed)] = name
    return level


def split_where_needed(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Own 70/5/25 split where the source has train only; validation from train (5 %) where only that is missing.

    Both are stratified by label, and the ids then name the new split.
    """
    import pandas as pd
    from sklearn.model_selection import train_test_split

    present = set(frame["split"])
    if present >= set(SPLITS):
        return frame
    train = frame[frame["split"] == "train"]
    share = OWN_SPLIT["validation"] / (1 - OWN_SPLIT["test"]) if "test" not in present else CARVED_VALIDATION
    parts = {"test": frame[frame["split"] == "test"]}
    try:
        if "test" not in present:
            train, parts["test"] = train_test_split(
                train, test_size=OWN_SPLIT["test"], random_state=seed, stratify=train["label"]
            )
        parts["validation"] = frame[frame["split"] == "validation"]
        if "validation" not in present:
            train, parts["validation"] = train_test_split(
                train, test_size=share, random_state=seed, stratify=train["label"]
            )
    except ValueError as error:
        raise SynthgapError(f"too few texts to split them 70/5/25 by label: {error}") from error
    parts["train"] = train
    return pd.concat([parts[name].assign(split=name) for name in SPLITS], ignore_index=True)
