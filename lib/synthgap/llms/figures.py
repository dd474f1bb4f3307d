"""The figures of 08_llms, each drawn from saved tables."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from synthgap.core.config import REAL
from synthgap.core.errors import SynthgapError
from synthgap.figures import INK, QUIET, ROW_TITLES, WINE, Drawn, Look, drawing, grey_keys, legend_above, panels_by
from synthgap.llms.transfer import KINDS, further_sets
from synthgap.tables import ReadTable, matching

THESE = ("these texts", "if other recordings vary as the main ones do")


def plot_by_pipeline(table: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """A row for each corpus with its gap and interval, a line between two pipelines; one task and classifier."""
    rows, width = table.reset_index(drop=True), plt.rcParams["lines.linewidth"]
    ax.axvline(0, color=INK, linewidth=plt.rcParams["axes.linewidth"])
    middles = {}
    for name, own in rows.groupby("comparison", sort=False):
        middles[str(name)] = own.index.to_numpy().mean()
        ax.hlines(own.index, own["low"], own["high"], color=INK, linewidth=4 / 3 * width)
        if "new_low" in own:
            ax.hlines(own.index, own["new_low"], own["new_high"], color=INK, linewidth=width / 2)
        ax.scatter(own["gap"], own.index, color=INK, marker="o", s=14, zorder=3)
        if own.index[0]:
            ax.axhline(own.index[0] - 0.5, color=QUIET, linewidth=0.6)
    ax.set_yticks(rows.index, [look.title(corpus) for corpus in rows["corpus"]])
    ax.set(ylim=(len(rows) - 0.5, -0.5))
    ax.grid(visible=False, axis="y")
    beside = ax.get_shared_y_axes().get_siblings(ax)
    if ax is max(beside, key=lambda one: one.get_position().x1):
        pipelines = ax.secondary_yaxis("right")
        pipelines.set_yticks([*middles.values()], [*middles], color=QUIET)
        pipelines.tick_params(length=0)
        pipelines.spines["right"].set_visible(False)
    return ax


@drawing("llms_side_by_side", "The gap to real texts of each LLM's corpus, by task, pipelines apart, with intervals.")
def llms(read: ReadTable, look: Look, classifier: str) -> Drawn:
    """A panel for each task on which several pipelines stand, or for all tasks where there is no such one."""
    table = matching(read("llms_side_by_side"), {"classifier": classifier})
    counts = table.groupby("task")["comparison"].nunique()
    several = counts[counts > 2].index if (counts > 2).any() else counts.index
    chosen = table[table["task"].isin(several)]
    height = 0.15 * chosen.groupby("task").size().max() + 0.4
    options: dict[str, Any] = {
        "columns": 2,
        "left": 2 * ROW_TITLES,
        "sharex": True,
        "x": "gap to real texts (macro-F1)",
    }
    keys = grey_keys(lines=THESE) if chosen["new_low"].notna().any() else ()
    figure = panels_by("task", chosen, look, plot_by_pipeline, height, keys=keys, **options)
    note = f"Classifier: {look.classifier(classifier)}. Right: the pipelines; compare within one alone."
    if left_out := sorted(set(counts.index) - set(several)):
        note += f" In the table alone, as two pipelines are all that they have: {', '.join(left_out)}."
    return figure, f"{note} Lines: 95 % intervals, thin ones if other recordings vary as the main ones do."


@drawing("forecast", "The gap against its forecast from other tasks, with the band.")
def forecast(read: ReadTable, look: Look, _: str) -> Drawn:
    table = read("forecast")
    if table.empty:
        raise SynthgapError("no gap was foretold")
    figure, (ax,) = look.panels(1, 2.5)
    ends = [table["forecast"].min() - 2, table["forecast"].max() + 2]
    ax.plot(ends, ends, color=INK, linewidth=plt.rcParams["axes.linewidth"])
    inside = table["gap"].between(table["low"].fillna(-np.inf), table["high"].fillna(np.inf))
    half = (table["high"] - table["low"]) / 2
    if np.isfinite(half).all():
        ax.fill_between(ends, np.array(ends) - half.median(), np.array(ends) + half.median(), color=QUIET, alpha=0.15)
    for covered, colour, marker, label in ((True, INK, "o", "within its band"), (False, WINE, "X", "outside")):
        own = table[inside == covered]
        ax.scatter(own["forecast"], own["gap"], color=colour, marker=marker, label=label, s=12)
    ax.set(xlabel="gap as the other tasks foretell it (macro-F1)", ylabel="gap", xlim=ends)
    legend_above(figure)
    return figure, "A mark is a corpus of a task; its task's corpora are left out of the fit. Shaded: the median band."


@drawing("transfer", "The gap to real texts on the test split and on a further test set, and its change.")
def transfer(read: ReadTable, look: Look, items: str) -> Drawn:
    """Panels with the gaps before, after and their change, a row for each corpus."""
    table = matching(read("transfer"), {"items": items})
    table = table[table["corpus"] != REAL]
    classifier = table["classifier"].iloc[0]
    table = matching(table, {"classifier": classifier})
    kinds = [kind for kind in KINDS if kind in set(table["kind"])]
    height = 0.15 * len(matching(table, {"kind": kinds[0]})) + 0.5
    table = table.assign(panel=table["kind"].map(KINDS))
    table = table.sort_values("kind", key=lambda names: names.map(kinds.index), kind="stable")
    options: dict[str, Any] = {"columns": 3, "left": ROW_TITLES + 0.8, "sharey": True, "x": "points of macro-F1"}
    figure = panels_by("panel", table, look, plot_by_pipeline, height, **options)
    about = further_sets(table["task"].unique())[items].about
    note = f"Classifier: {look.classifier(classifier)}. Gaps to real texts. {about} Transfer, not ageing."
    return figure, f"{note} Lines: 95 % intervals. Right: the pipelines; compare within one alone."


DRAWINGS = (llms, forecast, transfer)
