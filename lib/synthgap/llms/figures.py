"""The figures of 08_llms, each drawn from saved tables."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from synthgap.core.config import REAL
from synthgap.core.errors import SynthgapError
from synthgap.figures import COLOURS, INK, MARKERS, QUIET, Drawing, Drawn, Look, Series, legend_above, short_title
from synthgap.llms.transfer import KINDS, further_sets
from synthgap.tables import ReadTable, matching


def _pipeline_series(table: pd.DataFrame) -> dict[str, Series]:
    """How each pipeline looks, in the table's order."""
    names = table["comparison"].unique()
    return {
        name: Series(
            f"pipeline {name}", COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]
        )
        for place, name in enumerate(names)
    }


def plot_by_pipeline(table: pd.DataFrame, look: Look, series: Mapping[str, Series], ax: Axes) -> Axes:
    """A row for each corpus with its gap and interval, a line between two pipelines; one task and classifier."""
    rows = table.reset_index(drop=True)
    ax.axvline(0, color=INK, linewidth=plt.rcParams["axes.linewidth"])
    for name, own in rows.groupby("comparison", sort=False):
        colour, marker, width = series[name].colour, series[name].marker, plt.rcParams["lines.linewidth"]
        ax.hlines(own.index, own["low"], own["high"], color=colour, linewidth=4 / 3 * width)
        if "new_low" in own:
            ax.hlines(own.index, own["new_low"], own["new_high"], color=colour, linewidth=width / 2)
        ax.scatter(own["gap"], own.index, color=colour, marker=marker, zorder=3)
        if own.index[0]:
            ax.axhline(own.index[0] - 0.5, color=QUIET, linewidth=0.6)
    ax.set_yticks(rows.index, [look.title(corpus) for corpus in rows["corpus"]], fontsize="small")
    ax.set(ylim=(len(rows) - 0.5, -0.5))
    ax.grid(visible=False, axis="y")
    for name, one in series.items():
        if name in set(rows["comparison"]):
            ax.scatter([], [], color=one.colour, marker=one.marker, label=one.title)
    return ax


def draw_llms(read: ReadTable, look: Look, classifier: str) -> Drawn:
    """A panel for each task on which several pipelines stand, or for all tasks where there is no such one."""
    table = matching(read("llms_side_by_side"), {"classifier": classifier})
    counts = table.groupby("task")["comparison"].nunique()
    several = counts[counts > 2].index if (counts > 2).any() else counts.index
    chosen = table[table["task"].isin(several)]
    tasks, series = list(chosen["task"].unique()), _pipeline_series(chosen)
    most = chosen.groupby("task").size().max()
    figure, axes = look.panels(len(tasks), 0.22 * most + 0.6, columns=2, sharex=True)
    for ax, task in zip(axes, tasks, strict=True):
        plot_by_pipeline(matching(chosen, {"task": task}), look, series, ax)
        ax.set_title(short_title(task), fontsize="small")
        ax.set_xlabel("gap to real texts (macro-F1)", fontsize="small")
    _legend(figure, axes[0], series)
    note = "Compare within a pipeline alone. Thick: these texts; thin: if other recordings vary as the main ones do."
    return figure, note


def _legend(figure: plt.Figure, ax: Axes, series: Mapping[str, Series]) -> None:
    """A key for every pipeline, whether or not the first panel has it."""
    shown = set(ax.get_legend_handles_labels()[1])
    for one in series.values():
        if one.title not in shown:
            ax.scatter([], [], color=one.colour, marker=one.marker, label=one.title)
    legend_above(figure, ax)


def draw_forecast(read: ReadTable, look: Look, _: str) -> Drawn:
    """The gap against what the other tasks foretell of it, with the band."""
    table = read("forecast")
    if table.empty:
        raise SynthgapError("no gap was foretold")
    figure, (ax,) = look.panels(1, 4)
    ends = [min(table["gap"].min(), table["forecast"].min()) - 2, max(table["gap"].max(), table["forecast"].max()) + 2]
    ax.plot(ends, ends, color=INK, linewidth=plt.rcParams["axes.linewidth"])
    inside = table["gap"].between(table["low"].fillna(-np.inf), table["high"].fillna(np.inf))
    half = (table["high"] - table["low"]) / 2
    if np.isfinite(half).all():
        ax.fill_between(ends, np.array(ends) - half.median(), np.array(ends) + half.median(), color=QUIET, alpha=0.15)
    for covered, colour in ((True, COLOURS[1]), (False, COLOURS[0])):
        own = table[inside == covered]
        label = "within its band" if covered else "outside"
        ax.scatter(own["forecast"], own["gap"], color=colour, marker=MARKERS[int(covered)], label=label)
    ax.set(xlabel="gap as the other tasks foretell it (macro-F1)", ylabel="gap", xlim=ends)
    legend_above(figure, ax)
    return figure, "A mark is a corpus of a task; its task's corpora are left out of the fit. Shaded: the median band."


def draw_transfer(read: ReadTable, look: Look, items: str) -> Drawn:
    """Panels with the gaps before, after and their change, a row for each corpus."""
    table = matching(read("transfer"), {"items": items})
    table = table[table["corpus"] != REAL]
    classifier = table["classifier"].iloc[0]
    table, series = matching(table, {"classifier": classifier}), _pipeline_series(table)
    kinds = [kind for kind in KINDS if kind in set(table["kind"])]
    most = matching(table, {"kind": kinds[0]}).shape[0]
    figure, axes = look.panels(len(kinds), 0.27 * most + 0.7, columns=3, sharey=True)
    for ax, kind in zip(axes, kinds, strict=True):
        plot_by_pipeline(matching(table, {"kind": kind}), look, series, ax)
        ax.set_title(KINDS[kind], fontsize="small")
        ax.set_xlabel("gap to real texts (macro-F1)" if kind != "change" else "points", fontsize="small")
    _legend(figure, axes[0], series)
    about = further_sets(table["task"].unique())[items].about
    return figure, f"{classifier}. {about} Transfer, not ageing. Lines: 95 % intervals."


LLMS = Drawing(
    "llms_side_by_side",
    "The gap to real texts of each LLM's corpus, by task, pipelines apart, with intervals.",
    draw_llms,
)
FORECAST = Drawing("forecast", "The gap against its forecast from other tasks, with the band.", draw_forecast)
TRANSFER = Drawing(
    "transfer", "The gap to real texts on the test split and on a further test set, and its change.", draw_transfer
)
DRAWINGS = (LLMS, FORECAST, TRANSFER)
