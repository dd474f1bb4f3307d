"""Whose judgements of single texts there are. What people said and what an LLM made up are never put together.

Every source begins with its kind, "human: ..." or "simulated: ...", wherever it is shown. What is kept of real texts
are ids, labels and numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError, unknown
from synthgap.core.paths import bundled
from synthgap.data.annotated import ANNOTATION_COLUMNS, check_annotations, load_annotated, positive
from synthgap.data.real import RealData, load_real, read_file
from synthgap.subjectivity.agreement import Alpha, item_agreement, krippendorff_alpha, label_counts
from synthgap.tables import stacked
from synthgap.tasks import load_task

OWN_BANDS = "human: the set's own annotators"
COLLECTED = "human: collected with synthgap annotate"
PANEL = "simulated: panel of 7 personas"
ESTIMATED = "simulated: shares an LLM estimated"
STAND_IN = "simulated: 10 stand-in annotators"
KINDS = {"human": "people", "panel": PANEL, "estimated": ESTIMATED, "stand_in": STAND_IN}  # as files and figures say
POSITIONS = "annotators are places in a list and no persons: alpha's interval holds items alone"
BANDS = ("unanimous", "0.8 to 1", "0.6 to 0.8", "below 0.6")  # of agreement
ITEM_COLUMNS = ["task", "source", "predictions", "item_id", "agreement", "gold"]
TABLE_2 = ["task", "source", "items", "annotations_per_item", "agreement", "alpha", "alpha_low", "alpha_high", "note"]


@dataclass(frozen=True)
class Source:
    """Agreement on the items of one task by one source.

    Attributes:
        own: whether the items are of the task's test split; else they are texts of another set.
        items: index item_id; columns agreement (0 to 1), gold (label that predictions are compared with).
        judgements: item_id, annotator, label; no rows where the source has no table of annotators.
        persons: whether an annotator is the same one on every item; else only the place of a judgement in a list.
        left_out: counts by reason.
    """

    task: str
    name: str
    own: bool
    items: pd.DataFrame = field(repr=False)
    judgements: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=ANNOTATION_COLUMNS), repr=False)
    left_out: Mapping[str, int] = field(default_factory=dict)
    persons: bool = True

    @property
    def annotations_per_item(self) -> float:
        """Of the items that two or more judged; NaN where it is unknown."""
        counts = self.judgements["item_id"].value_counts()
        return float(counts[counts > 1].mean())


def kind_of(source: str) -> str:
    """One of KINDS: "human" for whatever people said; each simulated source is a kind of its own."""
    return next((kind for kind, name in KINDS.items() if name == source), source.split(":")[0])


def kinds_in(table: pd.DataFrame) -> list[str]:
    """The kinds of sources of a table, people first."""
    there = set(table["source"].map(kind_of))
    return [kind for kind in KINDS if kind in there]


def all_sources(profile: Profile, collected: Path | None = None) -> list[Source]:
    """The sources of agreement for every task of a profile; it reads the real texts."""
    data = (load_real(load_task(name), profile) for name in profile.tasks)
    return [source for texts in data for source in agreement_sources(texts, profile, collected)]


def agreement_sources(data: RealData, profile: Profile, collected: Path | None = None) -> list[Source]:
    """All sources of agreement for a task, human ones first; `collected` is the file that `synthgap annotate` wrote."""
    test = _test_items(data)
    gold = test["label"]
    found = [
        _bands(data, test),
        _annotated(data, profile),
        collected_source(data, collected),
        _of_file(data, gold, PANEL, bundled("recordings", "judgements", "annotations_real_test.csv")),
        _estimated(data, gold),
        _of_file(data, gold, STAND_IN, bundled("demo", "annotations.csv")),
    ]
    return [source for source in found if source is not None]


def collected_source(data: RealData, path: Path | None) -> Source | None:
    """What people answered with `synthgap annotate` on a task's items; None where they answered on none of them."""
    return _of_file(data, _test_items(data)["label"], COLLECTED, path)


def _test_items(data: RealData) -> pd.DataFrame:
    return data.split("test").set_index("id").rename_axis("item_id")


def _bands(data: RealData, test: pd.DataFrame) -> Source | None:
    """The column of the task's own data that says how many of its annotators chose the label."""
    column = data.task.agreement
    if column is None or column.column not in test.columns:
        return None
    values = test[column.column].astype(str)
    if strange := sorted(set(values) - set(column.shares)):
        raise unknown(f"data of task '{data.task.name}': agreement", strange[0], column.shares)
    items = pd.DataFrame({"agreement": values.map(column.shares).astype(float), "gold": test["label"]})
    return Source(data.task.name, OWN_BANDS, True, items)


def _annotated(data: RealData, profile: Profile) -> Source | None:
    """Texts beside the task's own; the majority of the annotators is the gold label, ties are left out."""
    annotated, section = load_annotated(data.task, profile, data), data.task.annotated
    if annotated is None or section is None:
        return None
    agreement = pd.DataFrame({"agreement": [], "majority": []}, index=pd.Index([], name="item_id"))
    if annotated.judgements.duplicated("item_id").any():
        agreement = item_agreement(annotated.judgements, list(data.task.labels))
    items = agreement[agreement["majority"] != ""].rename(columns={"majority": "gold"})[["agreement", "gold"]]
    left_out = {
        **annotated.left_out,
        "items with one annotation": len(annotated.texts) - len(agreement),
        "items whose annotators tie": len(agreement) - len(items),
    }
    name = f"human: {section.name}"
    judgements, persons = annotated.judgements, section.annotators == "persons"
    return Source(data.task.name, name, False, items, judgements, positive(left_out), persons)


def _of_file(data: RealData, gold: pd.Series, name: str, path: Path | None) -> Source | None:
    """Annotations of the task's own test items; items that are not there (no run predicted them) are counted."""
    if path is None or not path.is_file():
        return None
    labels, rows = list(data.task.labels), read_file(path)
    rows = rows[rows["task"] == data.task.name]
    try:
        checked, left_out = check_annotations(rows, labels)
    except SynthgapError as error:
        raise SynthgapError(f"'{path.name}': {error}") from error
    judgements = checked.loc[checked["item_id"].isin(gold.index), ANNOTATION_COLUMNS]
    if judgements.empty:
        return None
    counts, judged = label_counts(judgements, labels), judgements["item_id"].nunique()
    left_out |= {
        "items that are not in the test split": rows["item_id"].nunique() - judged,
        "items with one annotation": judged - len(counts),
    }
    agreement = counts.max(axis=1) / counts.sum(axis=1)
    items = pd.DataFrame({"agreement": agreement, "gold": gold.reindex(counts.index)})
    return Source(data.task.name, name, True, items, judgements, positive(left_out), persons=name != STAND_IN)


def _estimated(data: RealData, gold: pd.Series) -> Source | None:
    """An LLM's estimate of how many of ten people would choose each label: agreement is the largest mean share."""
    rows = pd.read_csv(bundled("recordings", "judgements", "estimated_shares_real_test.csv"))
    rows = rows[(rows["task"] == data.task.name) & rows["item_id"].isin(gold.index)]
    if rows.empty:
        return None
    shares = rows.groupby(["item_id", "label"])["people"].mean().unstack("label").div(10)
    items = pd.DataFrame({"agreement": shares.max(axis=1), "gold": gold.loc[shares.index]})
    return Source(data.task.name, ESTIMATED, True, items)


def item_table(sources: Sequence[Source]) -> pd.DataFrame:
    """Columns task, source, predictions, item_id, agreement (0 to 1), gold; an item a row.

    `predictions` says which predictions speak of the items: "test" or "annotated", as `load_predictions` calls them.
    """
    parts = []
    for one in sources:
        about = {"task": one.task, "source": one.name, "predictions": "test" if one.own else "annotated"}
        parts.append(one.items.rename_axis("item_id").reset_index().assign(**about))
    return stacked(parts, ITEM_COLUMNS)


def agreement_shares(items: pd.DataFrame) -> pd.DataFrame:
    """How many of `item_table`'s items fall into each band of agreement: task, source, band, items, share (percent)."""
    bands = pd.cut(items["agreement"].astype(float).round(6), [0, 0.6, 0.8, 1, np.inf], right=False, labels=BANDS[::-1])
    groups = items.assign(band=bands).groupby(["task", "source", "band"], sort=False, observed=False)
    table = groups.size().reset_index(name="items")
    table["share"] = 100 * table["items"] / table.groupby(["task", "source"])["items"].transform("sum")
    return table


def table_2(sources: Sequence[Source]) -> pd.DataFrame:
    """Columns as TABLE_2; agreement is the mean over items, 0 to 1. Where a cell is empty, `note` says why."""
    rows = []
    for one in sources:
        alpha = Alpha(note="no table of annotators, so no alpha")
        if len(one.judgements):
            alpha = krippendorff_alpha(one.judgements, one.persons)
        notes = [
            alpha.note,
            "no agreement: no item has two annotators" if one.items.empty else "",
            "" if one.persons else POSITIONS,
            *(f"left out: {reason}: {count}" for reason, count in one.left_out.items()),
        ]
        agreement = (len(one.items), one.annotations_per_item, one.items["agreement"].mean())
        note = "; ".join(filter(None, notes))
        rows.append((one.task, one.name, *agreement, alpha.alpha, alpha.low, alpha.high, note))
    return pd.DataFrame(rows, columns=TABLE_2)


def with_levels(table: pd.DataFrame, ranking: pd.DataFrame) -> pd.DataFrame:
    """Table 2 with the levels of a ranking's tasks before its notes, which say where a task has none."""
    level = table["task"].map(ranking.set_index("task")["level"]).astype("Int64")
    note = (table["note"] + np.where(level.isna(), "; not ranked", "")).str.removeprefix("; ")
    return table.assign(level=level, note=note)[[*TABLE_2[:-1], "level", "note"]]
