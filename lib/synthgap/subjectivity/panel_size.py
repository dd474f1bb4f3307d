"""How many annotators does an agreement need? Panels of a few against the many who judged the same items.

Those who judged an item stand for all people: a panel is drawn from them with replacement, anew for every item, as
crowdsourcing does. What panels give on average follows from the multinomial distribution and needs no drawing.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import gammaln, xlogy

from synthgap.data.annotated import Judgements
from synthgap.evaluation.inference import Part, interval
from synthgap.subjectivity.agreement import label_counts
from synthgap.tables import stacked

SIZES = (2, 3, 5, 10, 30)
FEWEST_ITEMS = 20
COLUMNS = [
    *("task", "source", "annotators", "items", "people", "fewest", "most", "agreement", "agreement_of_all"),
    *("error", "error_low", "error_high", "correlation", "correlation_low", "correlation_high"),
    *("same_majority", "same_majority_low", "same_majority_high", "tied"),
]


def panels_of(size: int, labels: int) -> np.ndarray:
    """Every way in which `size` people can choose among the labels: how many chose each, shape (ways, labels)."""
    bars = np.array(list(itertools.combinations(range(size + labels - 1), labels - 1)), int)
    edges = np.column_stack([np.full(len(bars), -1), bars, np.full(len(bars), size + labels - 1)])
    return np.diff(edges, axis=1) - 1


def expected(counts: np.ndarray, size: int) -> pd.DataFrame:
    """What panels of one size give on each item, on average over all panels.

    Columns all (agreement of all), mean and square (of the panel's agreement), error (its absolute difference from that
    of all), same (whether its majority label is that of all; empty where all tie), tied (whether it has none).

    Args:
        counts: how many people chose each label, shape (items, labels).
    """
    share = counts / counts.sum(axis=1, keepdims=True)
    ways = panels_of(size, counts.shape[1])
    logs = gammaln(size + 1) - gammaln(ways + 1).sum(axis=1) + xlogy(ways, share[:, None, :]).sum(axis=2)
    chance, agreement, of_all = np.exp(logs), ways.max(axis=1) / size, share.max(axis=1)
    majority, tied = ways.argmax(axis=1), (ways == ways.max(axis=1, keepdims=True)).sum(axis=1) > 1
    same = (chance * (majority == share.argmax(axis=1)[:, None])) @ ~tied
    all_tie = (counts == counts.max(axis=1, keepdims=True)).sum(axis=1) > 1
    return pd.DataFrame(
        {
            "all": of_all,
            "mean": chance @ agreement,
            "square": chance @ agreement**2,
            "error": (chance * np.abs(agreement - of_all[:, None])).sum(axis=1),
            "same": np.where(all_tie, np.nan, same),
            "tied": chance @ tied,
        }
    )


def summary(items: pd.DataFrame) -> np.ndarray:
    """Mean error, correlation with the agreement of all, and percent of items with the same majority."""
    covariance = ((items["mean"] - items["mean"].mean()) * items["all"]).mean()
    spread = (items["square"].mean() - items["mean"].mean() ** 2) * items["all"].var(ddof=0)
    correlation = covariance / np.sqrt(spread) if spread > 1e-12 else np.nan
    return np.array([items["error"].mean(), correlation, 100 * items["same"].mean()])


def panel_sizes(judged: Sequence[Judgements]) -> pd.DataFrame:
    """A row for each size of panel, of tables with one label a person and enough items that enough people judged.

    Agreement is a mean over items; intervals are of a jackknife over items and one over people. Columns as COLUMNS.
    """
    parts = []
    for one in judged:
        rows = one.by_label.get("", pd.DataFrame({"item_id": [], "annotator": [], "label": []}))
        rows = rows[rows.groupby("item_id")["label"].transform("size") >= max(SIZES)]
        if rows["item_id"].nunique() >= FEWEST_ITEMS:
            parts.append(_of_table(rows).assign(task=one.task, source=one.source))
    return stacked(parts, COLUMNS)


def _of_table(rows: pd.DataFrame) -> pd.DataFrame:
    labels = sorted(rows["label"].unique())
    of_all = label_counts(rows, labels)
    people = rows["annotator"].unique()
    without = [
        of_all - pd.crosstab(own["item_id"], own["label"]).reindex(index=of_all.index, columns=labels, fill_value=0)
        for _, own in rows.groupby("annotator")
    ]
    judged = of_all.sum(axis=1)
    table = []
    for size in SIZES:
        items = expected(of_all.to_numpy(), size)
        found = summary(items)
        row = {"annotators": size, "items": len(items), "people": len(people), "fewest": judged.min()}
        row |= {"most": judged.max(), "agreement": items["mean"].mean(), "agreement_of_all": items["all"].mean()}
        row |= {"tied": 100 * items["tied"].mean()}
        left = (
            np.array([summary(items.drop(index=place)) for place in items.index]),
            np.array([summary(expected(counts.to_numpy(), size)) for counts in without]),
        )
        for number, name in enumerate(("error", "correlation", "same_majority")):
            low, high = interval(found[number], [_jackknife(values[:, number]) for values in left])
            row |= {name: found[number], f"{name}_low": low, f"{name}_high": high}
        table.append(row)
    return pd.DataFrame(table)


def _jackknife(values: np.ndarray) -> Part:
    n = len(values)
    return Part((n - 1) * float(np.var(values)), n - 1)


def panel_answer(table: pd.DataFrame) -> str:
    """How far small panels are from all, in a sentence for each source; or that nothing tells."""
    sentences = []
    for source, rows in table.groupby("source", sort=False):
        first = rows.iloc[0]
        said = [
            f"{row.annotators} annotators: off by {row.error:.2f} [{row.error_low:.2f}, {row.error_high:.2f}], the "
            f"majority's label on {row.same_majority:.0f} % [{row.same_majority_low:.0f}, {row.same_majority_high:.0f}]"
            for row in rows[rows["annotators"].isin([3, 10, 30])].itertuples()
        ]
        about = f"{first['items']} items judged by {first['fewest']} to {first['most']} of {first['people']} people"
        sentences.append(f"{source.partition(': ')[2]}: {'; '.join(said)}; {about}.")
    lacking = f"No task of this profile has items that {max(SIZES)} people and more judged, so nobody can tell."
    return " ".join(sentences) or lacking
