"""Can an LLM foresee where people disagree? Its estimates against people's agreement on the same items.

Agreement lies between 0 and 1; lifts are in points of accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from synthgap.errors import SynthgapError
from synthgap.evaluation import INTERVAL, rank_correlation
from synthgap.sources import ESTIMATED, Source
from synthgap.thresholds import Judged

if TYPE_CHECKING:
    import pandas as pd

RECOVERED = (
    *("task", "source", "classifier", "regime", "items", "human_lift", "human_low", "human_high"),
    *("estimated_lift", "estimated_low", "estimated_high", "share", "share_low", "share_high", "note"),
)


@dataclass(frozen=True)
class Foresight:
    """Human and estimated agreement of the same items of one task.

    Attributes:
        source: of the human agreement.
        items: index item_id; columns human, estimated.
    """

    task: str
    source: str
    items: pd.DataFrame = field(repr=False)


def foresee(human: Source, estimated: Source) -> Foresight | None:
    """The items that both sources speak of; None where there are fewer than four."""
    import pandas as pd

    columns = {"human": human.items["agreement"], "estimated": estimated.items["agreement"]}
    both = pd.concat(columns, axis=1, join="inner")
    return Foresight(human.task, human.name, both) if len(both) >= 4 else None


def foresights(found: Sequence[Source]) -> list[Foresight]:
    """Every human source of own test items with the LLM's estimates of the same items."""
    estimated = {source.task: source for source in found if source.name == ESTIMATED}
    human = [source for source in found if source.human and source.own and source.task in estimated]
    pairs = [foresee(source, estimated[source.task]) for source in human]
    return [pair for pair in pairs if pair is not None]


def what_foresight_can_show(found: Sequence[Foresight]) -> str:
    """A sentence on how far the comparison reaches."""
    if not found:
        return (
            "No task of this profile has both human agreement and the LLM's estimates of the same items, so whether "
            "an LLM foresees disagreement cannot be looked at here."
        )
    items = " and ".join(f"{len(one.items)} items of {one.task}" for one in found)
    return (
        f"This rests on {items}, and on estimates that were made under a stated range of how much people disagree on "
        "such tasks: their level was given to the LLM, only their order is its own. The LLM may know the data. Other "
        "tasks may differ."
    )


def foresight_table(found: Sequence[Foresight]) -> pd.DataFrame:
    """Spearman's rho of estimated and human agreement: task, source, n, rho, low, high, p, detectable, note."""
    import pandas as pd

    rows = []
    for one in found:
        try:
            rho = rank_correlation(one.items["human"].to_numpy(), one.items["estimated"].to_numpy())
            rows.append({"task": one.task, "source": one.source, **vars(rho), "note": ""})
        except SynthgapError as error:
            rows.append({"task": one.task, "source": one.source, "n": len(one.items), "note": str(error)})
    columns = ["task", "source", "n", "rho", "low", "high", "p", "detectable", "note"]
    return pd.DataFrame(rows, columns=columns)


def reliability(items: pd.DataFrame, bins: int = 5) -> pd.DataFrame:
    """Mean human agreement where the LLM estimated about the same: estimated, human, low, high, items.

    Bins hold about equally many items; the interval is the mean -+ 1.96 standard errors.
    """
    import pandas as pd

    place = pd.qcut(items["estimated"].rank(method="average"), bins, labels=False, duplicates="drop")
    groups = items.groupby(place)
    mean, half = groups["human"].mean(), 1.96 * groups["human"].std(ddof=1) / np.sqrt(groups.size())
    return pd.DataFrame(
        {
            "estimated": groups["estimated"].mean(),
            "human": mean,
            "low": mean - half,
            "high": mean + half,
            "items": groups.size(),
        }
    ).reset_index(drop=True)


def lift(agreement: np.ndarray, correct: np.ndarray) -> float:
    """How much accuracy rises by keeping the most agreed items first, in points.

    The mean over k = 1..n of the accuracy of the k items with the highest agreement, less the accuracy of all; tied
    items count with the mean of their group. 0 where the order says nothing.
    """
    _, group = np.unique(-agreement, return_inverse=True)
    even = (np.bincount(group, correct) / np.bincount(group))[np.sort(group)]
    kept = np.cumsum(even) / np.arange(1, len(even) + 1)
    return float(100 * (kept.mean() - correct.mean()))


def recovered_table(
    found: Sequence[Foresight], judged: Sequence[Judged], resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """`recovered` for every pair of sources whose items were predicted."""
    import pandas as pd

    human = {(one.source.task, one.source.name): one for one in judged}
    pairs = [(one, human[(one.task, one.source)]) for one in found if (one.task, one.source) in human]
    parts = [recovered(one, runs, resamples, seed) for one, runs in pairs]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(RECOVERED))


def recovered(one: Foresight, judged: Judged, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How much of the human curve's lift the LLM's estimates give on the same items.

    Columns task, source, classifier, regime, items, human_lift, _low, _high, estimated_lift, _low, _high, share,
    share_low, share_high, note; lifts in points of accuracy with 95 % bootstrap intervals over items. The share has no
    value where the human lift cannot be told from 0.
    """
    import pandas as pd

    items = one.items[one.items.index.isin(judged.ids)]
    place = pd.Index(judged.ids).get_indexer(items.index)
    random = np.random.default_rng(seed)
    samples = random.integers(len(items), size=(resamples, len(items)))
    rows = []
    for (classifier, regime), values in judged.correct.items():
        correct = values[place]
        key = {"task": one.task, "source": one.source, "classifier": classifier, "regime": regime}
        row: dict[str, Any] = {**key, "items": len(items)}
        draws = {}
        for name in ("human", "estimated"):
            agreement = items[name].to_numpy()
            draws[name] = np.array([lift(agreement[chosen], correct[chosen]) for chosen in samples])
            low, high = np.percentile(draws[name], INTERVAL)
            row |= {f"{name}_lift": lift(agreement, correct), f"{name}_low": low, f"{name}_high": high}
        rows.append(row | _share(row, draws))
    return pd.DataFrame(rows)


def _share(row: Mapping[str, Any], draws: Mapping[str, np.ndarray]) -> dict[str, Any]:
    if row["human_low"] <= 0 <= row["human_high"]:
        note = "the human lift itself cannot be told from 0"
        return {"share": np.nan, "share_low": np.nan, "share_high": np.nan, "note": note}
    low, high = np.percentile(draws["estimated"] / draws["human"], INTERVAL)
    return {"share": row["estimated_lift"] / row["human_lift"], "share_low": low, "share_high": high, "note": ""}
