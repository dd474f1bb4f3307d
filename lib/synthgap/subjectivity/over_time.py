"""Does disagreement change? Agreement and Krippendorff's alpha by window of time, and their change per month.

A window's alpha varies with its items and its people, and the same people judge in several windows: a trend is a
weighted sum of the windows' values, with the variance of that sum over items and over people.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from synthgap.core.config import Profile
from synthgap.data.annotated import Judgements, load_judgements
from synthgap.evaluation.gaps import holm_corrected
from synthgap.evaluation.inference import interval, p_value
from synthgap.subjectivity.agreement import (
    Alpha,
    Estimate,
    krippendorff_alpha,
    log_disagreement,
    mean_agreement,
    weighted_sum,
)
from synthgap.tables import matching, signed, signed_interval, stacked
from synthgap.tasks import load_task

MONTHS, EQUAL = "months", 6  # windows: calendar months, or so many of about equally many items
FEWEST_ITEMS = 20  # of a window that counts in a trend
A_MONTH = pd.Timedelta(days=365.25 / 12)
ALL_LABELS = "mean of"
ALPHA, _, SAME_PEOPLE = MEASURES = ("alpha", "agreement", "agreement, same people")
TOO_FEW = f"fewer than {FEWEST_ITEMS} items: not in the trend"
WINDOW_COLUMNS = [
    *("task", "source", "windows", "label", "window", "first", "last", "items", "people", "people_kept"),
    *("agreement", "agreement_low", "agreement_high", "alpha", "alpha_low", "alpha_high", "note"),
]
TREND_COLUMNS = [
    *("task", "source", "windows", "measure", "label", "used", "items", "change", "low", "high", "p", "p_holm", "note")
]


@dataclass(frozen=True)
class Window:
    """Judgements of the items of one window, of one label.

    Attributes:
        dates: of its items, index item_id.
        months: the mean of its dates, in months since the first date of all.
    """

    name: str
    rows: pd.DataFrame = field(repr=False)
    dates: pd.Series = field(repr=False)
    months: float


def all_judgements(profile: Profile) -> list[Judgements]:
    """What people said of other texts than the tasks' own, of every task that names such a table which is there."""
    found = (load_judgements(load_task(name), profile) for name in profile.tasks)
    return [one for one in found if one is not None]


def left_out_in_words(judged: Sequence[Judgements]) -> list[str]:
    """What was left out of each table of judgements and why, in a sentence where something was."""
    return [
        f"Left out of {one.source.partition(': ')[2]}: "
        + ", ".join(f"{reason}: {count}" for reason, count in one.left_out.items())
        + "."
        for one in judged
        if one.left_out
    ]


def time_windows(dates: pd.Series, windows: str | int = MONTHS) -> pd.Series:
    """The window of each item: a month as "2021-08", or "1 of 6": about equally many items; no date is divided."""
    if windows == MONTHS:
        return dates.dt.strftime("%Y-%m")
    place = pd.qcut(dates.rank(), int(windows), labels=False, duplicates="drop").fillna(0)
    return (place + 1).astype(int).astype(str) + f" of {place.nunique()}"


def split(rows: pd.DataFrame, dates: pd.Series, windows: str | int = MONTHS) -> list[Window]:
    """Judgements by window, in the order of time; items without two judgements or without a date are left out."""
    rows = rows[rows.groupby("item_id")["label"].transform("size") >= 2]
    dates = dates[dates.index.isin(rows["item_id"])]
    window = time_windows(dates, windows)
    judged = dict(list(rows.groupby(rows["item_id"].map(window))))
    found = [
        Window(str(name), judged[name], own, (own.mean() - dates.min()) / A_MONTH)
        for name, own in dates.groupby(window)
    ]
    return sorted(found, key=lambda window: window.months)


def agreement_over_time(judged: Sequence[Judgements]) -> pd.DataFrame:
    """Agreement and alpha of every label in every window, with 95 % intervals over items and people.

    people_kept: which share of the judgements (percent) would be by the same people if the window before had been
    judged by as many. Columns as WINDOW_COLUMNS.
    """
    rows = []
    for one, windows, label, found in _split_ways(judged):
        before = pd.Series(dtype=float)
        for window in found:
            mean, alpha = mean_agreement(window.rows), krippendorff_alpha(window.rows)
            people = window.rows["annotator"].value_counts(normalize=True)
            kept = 100 * pd.concat([before, people], axis=1).min(axis=1, skipna=False).sum()
            row = {
                **{"task": one.task, "source": one.source, "windows": windows, "label": label, "window": window.name},
                **{"first": window.dates.min().date(), "last": window.dates.max().date(), "items": len(window.dates)},
                **{"people": len(people), "people_kept": kept if len(before) else np.nan},
                "note": "; ".join(filter(None, [alpha.note, TOO_FEW if len(window.dates) < FEWEST_ITEMS else ""])),
                **dict(zip(("agreement_low", "agreement_high"), interval(mean.value, mean.parts()), strict=True)),
                **{"agreement": mean.value, "alpha": alpha.alpha, "alpha_low": alpha.low, "alpha_high": alpha.high},
            }
            rows.append(row)
            before = people
    return pd.DataFrame(rows, columns=WINDOW_COLUMNS)


def _split_ways(judged: Sequence[Judgements]) -> Iterator[tuple[Judgements, str, str, list[Window]]]:
    """Every dated table, kind of windows and label, with its windows."""
    for one in judged:
        if len(one.dates):
            for windows in (MONTHS, EQUAL):
                name = windows if isinstance(windows, str) else f"{windows} of equal size"
                for label, rows in one.by_label.items():
                    yield one, name, label, split(rows, one.dates, windows)


# -------------------------------------------------------------------------------------------------------------- trends


def alpha_estimate(rows: pd.DataFrame) -> Estimate | None:
    """Alpha as an estimate that can be added to others; None where it has no value or nothing varies."""
    found = log_disagreement(rows)
    if isinstance(found, Alpha):
        return None
    share = math.exp(found.value)  # 1 - alpha
    return Estimate(1 - share, weighted_sum([found], [-share]).changes)


@dataclass(frozen=True)
class Cell:
    """What one group of people judged in one window; the group is "" where it does not matter who."""

    group: str
    months: float
    items: int
    estimate: Estimate


def cells_of(windows: Sequence[Window], measure: str) -> list[Cell]:
    """The windows as cells; of SAME_PEOPLE each divided by who judged. Those with few items are left out."""
    cells = []
    for window in windows:
        item, who = window.rows["item_id"], pd.Series("", index=window.dates.index)
        if measure == SAME_PEOPLE:
            who = window.rows.sort_values("annotator").groupby("item_id")["annotator"].agg(" and ".join)
        for group, rows in window.rows.groupby(item.map(who)):
            items = rows["item_id"].nunique()
            estimate = None
            if items >= FEWEST_ITEMS:
                estimate = alpha_estimate(rows) if measure == ALPHA else mean_agreement(rows)
            if estimate is not None:
                cells.append(Cell(str(group), window.months, items, estimate))
    several = pd.Series([cell.group for cell in cells], dtype=str).value_counts()
    return [cell for cell in cells if several[cell.group] > 1]


def trend(cells: Sequence[Cell]) -> Estimate | None:
    """The slope per month: least squares with items as weights and a level for every group; None below 3 windows."""
    table = pd.DataFrame(
        [(cell.group, cell.months, cell.items) for cell in cells], columns=["group", "months", "items"]
    )
    if len(table) - table["group"].nunique() < 2:
        return None
    sums = table.assign(months=table["months"] * table["items"]).groupby("group")[["months", "items"]].transform("sum")
    centred = table["months"] - sums["months"] / sums["items"]
    weights = table["items"] * centred / (table["items"] @ centred**2)
    return weighted_sum([cell.estimate for cell in cells], weights.tolist())


def agreement_trends(judged: Sequence[Judgements]) -> pd.DataFrame:
    """The change per month of alpha and of agreement, of every label and of the mean over them; as TREND_COLUMNS.

    "agreement, same people" sets only that against each other which the same people judged together in several
    windows. p is of a trend of 0; p_holm is corrected over the labels of a measure.
    """
    rows, slopes = [], defaultdict[tuple[str, ...], list[Estimate]](list)
    for one, windows, label, found in _split_ways(judged):
        for measure in MEASURES:
            cells = cells_of(found, measure)
            key, slope = (one.task, one.source, windows, measure), trend(cells)
            row = {"label": label, "used": len(cells), "items": sum(cell.items for cell in cells)}
            rows.append({**dict(zip(TREND_COLUMNS, key, strict=False)), **row, **_tested(slope)})
            if slope is not None and len(one.by_label) > 1:
                slopes[key].append(slope)
    table = holm_corrected(pd.DataFrame(rows, columns=TREND_COLUMNS), TREND_COLUMNS[:4])
    means = [
        {**dict(zip(TREND_COLUMNS, key, strict=False)), "label": f"{ALL_LABELS} {len(of_labels)}"}
        | _tested(weighted_sum(of_labels, [1 / len(of_labels)] * len(of_labels)))
        for key, of_labels in slopes.items()
    ]
    return stacked([pd.DataFrame(means), table], TREND_COLUMNS).astype({"used": "Int64", "items": "Int64"})


def _tested(slope: Estimate | None) -> dict[str, object]:
    if slope is None:
        return {"note": "fewer than three windows with enough items"}
    parts = slope.parts()
    low, high = interval(slope.value, parts)
    return {"change": slope.value, "low": low, "high": high, "p": p_value(slope.value, parts), "note": ""}


def over_time_answer(trends: pd.DataFrame) -> str:
    """Whether disagreement changes by month, in a sentence for each dated set; or that nothing tells."""
    sentences = []
    for source, rows in trends[trends["windows"] == MONTHS].groupby("source", sort=False):
        alpha, same = (matching(rows, {"measure": measure}).iloc[0] for measure in (ALPHA, SAME_PEOPLE))
        said = "too few months with enough items for a trend"
        if pd.notna(alpha["change"]):
            said = f"alpha changed by {_told(alpha)} a month; less than about "
            said += f"{(alpha['high'] - alpha['low']) / 2:.2f} a month would not be seen"
        if pd.notna(same["change"]):
            said += f"; agreement of the same people changed by {_told(same)}"
        sentences.append(f"{source.partition(': ')[2]}: {said}; a few months do not speak of years.")
    return " ".join(sentences) or "No task of this profile has dated judgements of several people, so nobody can tell."


def _told(row: pd.Series) -> str:
    return f"{signed(row['change'], 3)} {signed_interval(row['low'], row['high'], 3)}"
