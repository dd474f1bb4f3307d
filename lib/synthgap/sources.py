"""Where judgements of single texts come from. What people said and what an LLM made up are never put together.

Every source begins with its kind, "human: ..." or "simulated: ...", wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthgap.annotations import COLUMNS, Alpha, checked, item_agreement, krippendorff_alpha
from synthgap.errors import SynthgapError

if TYPE_CHECKING:
    import pandas as pd

    from synthgap.config import Profile
    from synthgap.data import RealData
    from synthgap.tasks import Task

LEAK = 90.0  # similarity in percent from which an annotated text is one that classifiers were trained on
TABLE_2 = (
    *("task", "source", "items", "annotations_per_item", "agreement"),
    *("alpha", "alpha_low", "alpha_high", "level", "note"),
)
BANDS = "human: the set's own annotators"
COLLECTED = "human: collected with synthgap annotate"
PANEL = "simulated: panel of 7 personas"
ESTIMATED = "simulated: shares an LLM estimated"
STAND_IN = "simulated: 10 stand-in annotators"
KINDS = {"human": "human", PANEL: "panel", ESTIMATED: "estimated", STAND_IN: "stand_in"}  # as files call them


@dataclass(frozen=True)
class Source:
    """Agreement on the items of one task by one source.

    Attributes:
        items: index item_id; columns agreement (0 to 1), gold (label that predictions are compared with).
        own: whether the items are of the task's test split; else texts of another set.
        judgements: item_id, annotator, label; None where the source has no table of annotators.
        annotations_per_item: NaN where unknown.
        left_out: counts by reason.
    """

    task: str
    name: str
    own: bool
    items: pd.DataFrame = field(repr=False)
    judgements: pd.DataFrame | None = field(repr=False)
    annotations_per_item: float
    left_out: Mapping[str, int]

    @property
    def human(self) -> bool:
        return self.name.startswith("human")


def agreement_sources(task: Task, profile: Profile, data: RealData, collected: Path | None = None) -> list[Source]:
    """All sources of agreement for a task, human ones first.

    Args:
        collected: a table of annotations that people made with `synthgap annotate`, where there is one.
    """
    found = [
        _bands(task, data),
        _annotated(task, profile, data),
        _collected(task, data, collected),
        _of_annotators(task, data, PANEL, ("recordings", "judgements", "annotations_real_test.csv")),
        _estimated(task, data),
        _of_annotators(task, data, STAND_IN, ("demo", "annotations.csv")),
    ]
    return [source for source in found if source is not None]


def _bands(task: Task, data: RealData) -> Source | None:
    """The column of the task's own data that says how many of its annotators chose the label."""
    import pandas as pd

    if task.agreement is None or task.agreement.column not in data.frame.columns:
        return None
    test = data.split("test")
    values = test[task.agreement.column].astype(str)
    unknown = sorted(set(values) - set(task.agreement.shares))
    if unknown:
        raise SynthgapError(
            f"data of task '{task.name}': agreement '{unknown[0]}' is unknown; "
            f"known: {', '.join(task.agreement.shares)}"
        )
    items = pd.DataFrame(
        {"agreement": values.map(task.agreement.shares).to_numpy(float), "gold": test["label"].to_numpy()},
        index=pd.Index(test["id"], name="item_id"),
    )
    return Source(task.name, BANDS, True, items, None, np.nan, {})


def _annotated(task: Task, profile: Profile, data: RealData) -> Source | None:
    """Texts beside the task's own; the majority of the annotators is the gold label, ties are left out."""
    texts = load_annotated(task, profile, data)
    if texts is None or task.annotated is None:
        return None
    agreement = _agreement(texts.judgements, list(task.labels))
    tied = agreement["majority"] == ""
    items = agreement[~tied].rename(columns={"majority": "gold"})[["agreement", "gold"]]
    left_out = {
        **texts.left_out,
        "items with one annotation": len(texts.texts) - len(agreement),
        "items whose annotators tie": int(tied.sum()),
    }
    per_item = float(agreement["annotations"].mean())
    name = f"human: {task.annotated.name}"
    return Source(task.name, name, False, items, texts.judgements, per_item, _positive(left_out))


def _of_annotators(task: Task, data: RealData, name: str, file: tuple[str, ...]) -> Source | None:
    import pandas as pd

    from synthgap.data import bundled

    rows = pd.read_csv(bundled(*file), dtype=str, keep_default_na=False)
    return _of_table(task, data, name, rows[rows["task"] == task.name])


def _collected(task: Task, data: RealData, path: Path | None) -> Source | None:
    import pandas as pd

    if path is None or not path.is_file():
        return None
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    try:
        return _of_table(task, data, COLLECTED, rows[rows["task"] == task.name])
    except SynthgapError as error:
        raise SynthgapError(f"'{path.name}': {error}") from error


def _of_table(task: Task, data: RealData, name: str, rows: pd.DataFrame) -> Source | None:
    """Annotations of the task's own test items; items that are not there (no run predicted them) are counted."""
    judgements, left_out = checked(rows, list(task.labels))
    gold = data.split("test").set_index("id")["label"]
    here = judgements["item_id"].isin(gold.index)
    judgements = judgements[here]
    if judgements.empty:
        return None
    agreement = _agreement(judgements, list(task.labels))
    items = agreement[["agreement"]].assign(gold=gold.loc[agreement.index].to_numpy())
    left_out = {
        **left_out,
        "items that are not in the test split": int(rows["item_id"].nunique() - judgements["item_id"].nunique()),
        "items with one annotation": int(judgements["item_id"].nunique() - len(agreement)),
    }
    per_item = float(agreement["annotations"].mean())
    return Source(task.name, name, True, items, judgements[list(COLUMNS)], per_item, _positive(left_out))


def _agreement(judgements: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """As `item_agreement`; no rows where no item has two annotations."""
    import pandas as pd

    if judgements.duplicated("item_id").any():
        return item_agreement(judgements, labels)
    nothing = pd.DataFrame({"agreement": [], "annotations": []}, index=pd.Index([], name="item_id"), dtype=float)
    return nothing.assign(majority="")


def _estimated(task: Task, data: RealData) -> Source | None:
    """An LLM's estimate of how many of ten people would choose each label: agreement is the largest mean share."""
    import pandas as pd

    from synthgap.data import bundled

    rows = pd.read_csv(bundled("recordings", "judgements", "estimated_shares_real_test.csv"))
    gold = data.split("test").set_index("id")["label"]
    rows = rows[(rows["task"] == task.name) & rows["item_id"].isin(gold.index)]
    if rows.empty:
        return None
    shares = rows.groupby(["item_id", "label"])["people"].mean().unstack("label").div(10)
    items = pd.DataFrame({"agreement": shares.max(axis=1), "gold": gold.loc[shares.index].to_numpy()})
    return Source(task.name, ESTIMATED, True, items, None, np.nan, {})


def kind_of(source: str) -> str:
    """ "human" for whatever people said; each simulated source is a kind of its own."""
    return "human" if source.startswith("human") else source


def agreement_items(sources: Sequence[Source]) -> pd.DataFrame:
    """Columns task, source, kind, agreement: an item with agreement a row, of all sources."""
    import pandas as pd

    parts = [one.items[["agreement"]].assign(task=one.task, source=one.name) for one in sources]
    items = pd.concat(parts) if parts else pd.DataFrame(columns=["agreement", "task", "source"])
    return items.assign(kind=items["source"].map(kind_of))[["task", "source", "kind", "agreement"]]


def kinds_in(table: pd.DataFrame) -> list[str]:
    """The kinds of a table's column `source`, in the order of KINDS."""
    there = set(table["source"].map(kind_of))
    return [kind for kind in KINDS if kind in there]


def _positive(counts: Mapping[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if count}


# ------------------------------------------------------------------------------------------------------------ Table 2


def table_2(sources: Sequence[Source], level: Mapping[str, int], resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Columns task, source, items, annotations_per_item, agreement, alpha, alpha_low, alpha_high, level, note.

    Agreement is the mean over items, 0 to 1. What is undefined or unknown is empty, and `note` says why.

    Args:
        level: {task: level of subjectivity}.
    """
    import pandas as pd

    rows = []
    for source in sources:
        alpha = Alpha(np.nan, np.nan, np.nan, 0, note="no table of annotators, so no alpha")
        if source.judgements is not None:
            alpha = krippendorff_alpha(source.judgements, resamples, seed)
        notes = [alpha.note] if alpha.note else []
        if source.items.empty:
            notes.append("no agreement: no item has two annotators")
        if alpha.undefined_resamples:
            notes.append(f"alpha undefined in {alpha.undefined_resamples} of {resamples} resamples")
        if source.task not in level:
            notes.append("not ranked")
        notes += [f"left out: {reason}: {count}" for reason, count in source.left_out.items()]
        rows.append(
            {
                "task": source.task,
                "source": source.name,
                "items": len(source.items),
                "annotations_per_item": source.annotations_per_item,
                "agreement": source.items["agreement"].mean(),
                "alpha": alpha.alpha,
                "alpha_low": alpha.low,
                "alpha_high": alpha.high,
                "level": level.get(source.task, np.nan),
                "note": "; ".join(notes),
            }
        )
    return pd.DataFrame(rows, columns=list(TABLE_2)).astype({"level": "Int64"})


# ----------------------------------------------------------------------------------------- texts that people annotated


@dataclass(frozen=True)
class AnnotatedTexts:
    """Texts that several people labelled, other than the task's own.

    Attributes:
        texts: columns id, text; one row an item.
        judgements: columns item_id, annotator, label; the task's labels.
        left_out: counts by reason, of judgements and of items.
    """

    about: str
    texts: pd.DataFrame = field(repr=False)
    judgements: pd.DataFrame = field(repr=False)
    left_out: Mapping[str, int]


def load_annotated(task: Task, profile: Profile, data: RealData) -> AnnotatedTexts | None:
    """The texts beside the task's own that people annotated: `annotations/<file>` of the data folder.

    None where the task names no such texts, the folder lacks them, or the "real" texts are the bundled stand-in.

    A text that (nearly) stands in the task's train or validation split is left out: a classifier trained on it has
    seen it.

    Raises:
        SynthgapError: the file is there and not as the task says.
    """
    from synthgap.data import read_file

    path = annotated_file(task, profile)
    if task.annotated is None or path is None:
        return None
    rows = read_file(path)
    needed = {*COLUMNS, "text", *task.annotated.only}
    if missing := sorted(needed - set(rows.columns)):
        raise SynthgapError(f"annotations of task '{task.name}' ({path.name}): no column {', '.join(missing)}")
    for column, values in task.annotated.only.items():
        rows = rows[rows[column].isin(values)]
    none_of_ours = rows["label"].isin(task.annotated.left_out)
    rows = rows[~none_of_ours]
    judgements, left_out = checked(
        rows.assign(label=rows["label"].map(lambda label: task.annotated.labels.get(label, label))),
        list(task.labels),
    )
    texts = judgements.drop_duplicates("item_id").sort_values("item_id").rename(columns={"item_id": "id"})
    seen = seen_in_training(texts["text"].tolist(), data)
    texts = texts[~seen][["id", "text"]].reset_index(drop=True)
    judgements = judgements[judgements["item_id"].isin(texts["id"])][list(COLUMNS)].reset_index(drop=True)
    left_out |= {
        f"judgements: {', '.join(task.annotated.left_out)}": int(none_of_ours.sum()),
        "items (nearly) in the train or validation split": int(seen.sum()),
    }
    return AnnotatedTexts(
        task.annotated.about, texts, judgements, {reason: count for reason, count in left_out.items() if count}
    )


def annotated_file(task: Task, profile: Profile) -> Path | None:
    """The file of the annotated texts that a task names, where there is one."""
    from synthgap.data import SUFFIXES, data_folder

    if task.annotated is None or profile.stand_in:
        return None
    folder = data_folder() / "annotations"
    files = [folder / f"{task.annotated.file}{suffix}" for suffix in SUFFIXES]
    return next((path for path in files if path.is_file()), None)


def seen_in_training(texts: Sequence[str], data: RealData, cutoff: float = LEAK) -> np.ndarray:
    """Which texts (nearly) stand in the train or validation split: similarity in percent of at least `cutoff`."""
    from rapidfuzz import fuzz, process

    from synthgap.generation import normalised

    known = [normalised(text) for name in ("train", "validation") for text in data.split(name)["text"]]
    similarity = process.cdist(
        [normalised(text) for text in texts], known, scorer=fuzz.ratio, score_cutoff=cutoff, dtype=np.uint8, workers=-1
    )
    return similarity.max(axis=1, initial=0) >= cutoff
