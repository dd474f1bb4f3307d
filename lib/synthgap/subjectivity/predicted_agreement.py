"""Can an LLM tell beforehand where people disagree? Its estimates against people's agreement on the same items.

Agreement lies between 0 and 1; lifts are in points of accuracy.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from synthgap.core.errors import SynthgapError
from synthgap.evaluation.gaps import rank_correlation
from synthgap.evaluation.scores import INTERVAL
from synthgap.subjectivity.accuracy_by_agreement import PredictedItems
from synthgap.subjectivity.agreement_sources import ESTIMATED
from synthgap.tables import stacked

FEWEST_ITEMS = 4
CORRELATION_COLUMNS = ["task", "source", "n", "rho", "low", "high", "p", "detectable", "note"]
BAND_COLUMNS = ["task", "source", "estimated", "human", "low", "high", "items"]
RECOVERED_COLUMNS = [
    *("task", "source", "classifier", "corpus", "items", "human_lift", "human_low", "human_high"),
    *("estimated_lift", "estimated_low", "estimated_high", "share", "share_low", "share_high", "note"),
]


def paired_agreement(items: pd.DataFrame) -> pd.DataFrame:
    """Test items that both people and the LLM's estimates speak of: task, source, item_id, human, estimated.

    A human source that shares fewer than four items with the estimates is left out. `items` is made by `item_table`.
    """
    own = items.loc[items["predictions"] == "test", ["task", "source", "item_id", "agreement"]]
    human = own[own["source"].astype(str).str.startswith("human")].rename(columns={"agreement": "human"})
    estimated = own[own["source"] == ESTIMATED].rename(columns={"agreement": "estimated"}).drop(columns="source")
    pairs = human.merge(estimated, on=["task", "item_id"])
    return pairs[pairs.groupby(["task", "source"])["item_id"].transform("size") >= FEWEST_ITEMS]


def agreement_correlations(pairs: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rho of estimated and human agreement: task, source, n, rho, low, high, p, detectable, note."""
    rows = []
    for (task, source), items in pairs.groupby(["task", "source"], sort=False):
        row: dict[str, Any] = {"task": task, "source": source, "n": len(items), "note": ""}
        try:
            row |= vars(rank_correlation(items["human"].to_numpy(), items["estimated"].to_numpy()))
        except SynthgapError as error:
            row["note"] = str(error)
        rows.append(row)
    return pd.DataFrame(rows, columns=CORRELATION_COLUMNS)


def reach_note(correlations: pd.DataFrame) -> str:
    """A sentence on how far the comparison reaches, from the table of `agreement_correlations`."""
    if correlations.empty:
        return (
            "No task of this profile has both human agreement and the LLM's estimates of the same items, so whether an "
            "LLM foresees disagreement cannot be looked at here."
        )
    items = " and ".join(f"{row.n} items of {row.task}" for row in correlations.itertuples())
    return (
        f"This rests on {items}, and on estimates that were made under a stated range of how much people disagree on "
        "such tasks: their level was given to the LLM, only their order is its own. The LLM may know the data. Other "
        "tasks may differ."
    )


def agreement_bands(pairs: pd.DataFrame, bins: int = 5) -> pd.DataFrame:
    """Mean human agreement where the LLM estimated about the same: task, source, estimated, human, low, high, items.

    Bins hold about equally many items; the interval is the mean -+ 1.96 standard errors.
    """
    parts = []
    for (task, source), items in pairs.groupby(["task", "source"], sort=False):
        number = pd.qcut(items["estimated"].rank(method="average"), bins, labels=False, duplicates="drop")
        groups = items.groupby(number)
        part, half = groups[["estimated", "human"]].mean(), 1.96 * groups["human"].sem()
        part = part.assign(low=part["human"] - half, high=part["human"] + half, items=groups.size())
        parts.append(part.assign(task=task, source=source))
    return stacked(parts, BAND_COLUMNS)


def lift(agreement: np.ndarray, correct: np.ndarray) -> float:
    """How much accuracy rises by keeping the most agreed items first, in points.

    The mean over k = 1..n of the accuracy of the k items with the highest agreement, less the accuracy of all; tied
    items count with the mean of their group. 0 where the order says nothing.
    """
    _, group = np.unique(-agreement, return_inverse=True)
    even = (np.bincount(group, correct) / np.bincount(group))[np.sort(group)]
    kept = np.cumsum(even) / np.arange(1, len(even) + 1)
    return float(100 * (kept.mean() - correct.mean()))


def recovered_lift(
    pairs: pd.DataFrame, matched: Sequence[PredictedItems], resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """How much of the lift by human agreement the LLM's estimates give on the same items.

    Columns as RECOVERED_COLUMNS; lifts in points of accuracy with 95 % bootstrap intervals over items. The share has
    no value where the human lift cannot be told from 0.
    """
    rows = []
    for one in matched:
        items = pairs[(pairs["task"] == one.task) & (pairs["source"] == one.source) & pairs["item_id"].isin(one.ids)]
        if items.empty:
            continue
        places = pd.Index(one.ids).get_indexer(items["item_id"])
        samples = np.random.default_rng(seed).integers(len(items), size=(resamples, len(items)))
        for corpus, correct in one.correct.items():
            row, draws = one.row(corpus=corpus, items=len(items), note=""), {}
            for name in ("human", "estimated"):
                agreement, right = items[name].to_numpy(), correct[places]
                draws[name] = np.array([lift(agreement[chosen], right[chosen]) for chosen in samples])
                low, high = np.percentile(draws[name], INTERVAL)
                row |= {f"{name}_lift": lift(agreement, right), f"{name}_low": low, f"{name}_high": high}
            if row["human_low"] <= 0 <= row["human_high"]:
                row["note"] = "the human lift itself cannot be told from 0"
            else:
                row["share"] = row["estimated_lift"] / row["human_lift"]
                row["share_low"], row["share_high"] = np.percentile(draws["estimated"] / draws["human"], INTERVAL)
            rows.append(row)
    return pd.DataFrame(rows, columns=RECOVERED_COLUMNS)
