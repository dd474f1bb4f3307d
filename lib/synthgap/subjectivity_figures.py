"""The figures of 04_subjectivity. Functions draw on an `ax` and return it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synthgap.figures import COLOURS, MARKERS, legend_of_tests, rows_beside, short_title, shown_p
from synthgap.subjectivity import stars
from synthgap.tables import REGIME_TITLES, regimes_in, tasks_in_paper_order

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd
    from matplotlib.axes import Axes

INK = "#262626"
BANDS = {"unanimous": "#0072b2", "0.8 to 1": "#56b4e9", "0.6 to 0.8": "#e69f00", "below 0.6": "#d55e00"}
TERM_COLOURS = {"agreement": COLOURS["real"]} | {
    f"{regime} x agreement": COLOURS[regime] for regime in ("zero_shot", "few_shot")
}
TERM_TITLES = {
    "agreement": "agreement, regime real",
    "zero_shot x agreement": "more so in zero-shot",
    "few_shot x agreement": "more so in few-shot",
}
FINE_ODDS = (0.5, 0.6, 0.7, 0.85, 1, 1.2, 1.5, 1.75, 2)  # ticks of odds ratios
COARSE_ODDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
MOST_COUNTS = 12  # thresholds beyond which item counts would run into each other


def plot_task_graph(graph: nx.DiGraph, level: Mapping[str, int], ax: Axes) -> Axes:
    """The majority graph, levels from left (most objective) to right; edges that follow from others are left out."""
    import networkx as nx

    shown = nx.transitive_reduction(graph) if nx.is_directed_acyclic_graph(graph) else graph
    columns: dict[int, list[str]] = {}
    for task in sorted(graph.nodes, key=lambda name: (level[name], name)):
        columns.setdefault(level[task], []).append(task)
    places = {
        task: (number, (len(column) - 1) / 2 - row + 0.35 * (number % 2))
        for number, column in columns.items()
        for row, task in enumerate(column)
    }
    nx.draw_networkx_edges(graph, places, shown.edges, ax=ax, edge_color="#999999", node_size=500, arrowsize=14)
    nx.draw_networkx_nodes(
        graph, places, ax=ax, node_size=420, node_color="#ffffff", edgecolors=COLOURS["few_shot"], linewidths=1.8
    )
    for number, (x, y) in ((level[task], place) for task, place in places.items()):
        ax.text(x, y, str(number), ha="center", va="center", fontsize=10, color=INK)
    for task, (x, y) in places.items():
        label = "\n".join(short_title(task).split(" ", 1))
        ax.text(x, y - 0.22, label, ha="center", va="top", fontsize=9, color=INK)
    heights = [y for _, y in places.values()]
    ax.set(xlim=(0.4, max(columns) + 0.6), ylim=(min(heights) - 0.8, max(heights) + 0.4))
    ax.set_title("Levels of subjectivity (1: most objective)")
    ax.axis("off")
    return ax


def plot_task_scores(ranking: pd.DataFrame, ax: Axes) -> Axes:
    """Bradley-Terry scores with 95 % intervals over judges, and levels as stars. `ranking` is `rank_tasks`' table."""
    highest = ranking["level"].max()
    y = range(len(ranking))
    ax.hlines(y, ranking["low"], ranking["high"], color=COLOURS["few_shot"], linewidth=2)
    ax.scatter(ranking["bradley_terry"], y, color=COLOURS["few_shot"], s=42, zorder=3)
    titles = [f"{short_title(row.task)}  {stars(row.level, highest)}" for row in ranking.itertuples()]
    ax.set_yticks(y, titles)
    ax.set(xlabel="Bradley–Terry score (logits; right: more subjective)", ylim=(len(ranking) - 0.5, -0.5))
    ax.set_title("How subjective the tasks are judged to be")
    return ax


def plot_agreement(items: pd.DataFrame, title: str, ax: Axes) -> Axes:
    """Shares of items by their agreement, a bar a task and source. `items` has columns task, source, agreement."""
    bars = task_sources(items)
    left = [0.0] * len(bars)
    for name, chosen in _bands(items["agreement"]).items():
        share = [100 * float(chosen[(items["task"] == t) & (items["source"] == s)].mean()) for t, s in bars]
        ax.barh(range(len(bars)), share, left=left, color=BANDS[name], label=name, height=0.7)
        left = [start + width for start, width in zip(left, share, strict=True)]
    _ticks(ax, bars)
    ax.set(xlabel="share of items, percent", xlim=(0, 100), ylim=(len(bars) - 0.5, -0.5), title=title)
    ax.grid(visible=False)
    return ax


def task_sources(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Every task and source of a table, tasks in the paper's order."""
    order = tasks_in_paper_order(rows["task"].unique())
    return [(task, source) for task in order for source in rows.loc[rows["task"] == task, "source"].unique()]


def row_title(task: str, source: str) -> str:
    """A task's title, with the people who said it where the source is no simulation."""
    who = source.partition(": ")[2]
    return f"{short_title(task)} ({who})" if source.startswith("human") else short_title(task)


def _ticks(ax: Axes, rows: Sequence[tuple[str, str]]) -> None:
    ax.set_yticks(range(len(rows)), [row_title(task, source) for task, source in rows])


def _bands(agreement: pd.Series) -> dict[str, pd.Series]:
    rounded = agreement.round(6)
    return {
        "unanimous": rounded >= 1,
        "0.8 to 1": (rounded >= 0.8) & (rounded < 1),
        "0.6 to 0.8": (rounded >= 0.6) & (rounded < 0.8),
        "below 0.6": rounded < 0.6,
    }


def plot_threshold_curve(curve: pd.DataFrame, fits: pd.DataFrame, title: str, ax: Axes) -> Axes:
    """Accuracy of the items with at least some agreement, by regime: points, fitted line, and the band of chance.

    `curve` and `fits` hold one task's, source's and classifier's rows of `curves_and_fits`.
    """
    found = fits.set_index("regime")
    for regime in regimes_in(curve):
        part = curve[curve["regime"] == regime]
        ax.fill_between(part["threshold"], part["null_low"], part["null_high"], color=COLOURS[regime], alpha=0.15, lw=0)
        label, fit = REGIME_TITLES[regime], found.loc[regime]
        if fit["slope"] == fit["slope"]:
            label += f", R² = {fit['r2']:.2f}, rho = {fit['rho']:+.2f}".replace("-", "−")
            slope, intercept = np.polyfit(part["threshold"], part["accuracy"], 1)
            ends = part["threshold"].iloc[[0, -1]]
            ax.plot(ends, slope * ends + intercept, color=COLOURS[regime], linewidth=0.9, linestyle="--")
        if fit["p"] == fit["p"]:
            label += f", {shown_p(float(fit['p']))}"
        line: dict[str, Any] = {"color": COLOURS[regime], "marker": MARKERS[regime], "markersize": 5, "linewidth": 1.5}
        ax.plot(part["threshold"], part["accuracy"], label=label, **line)
    counts = curve.drop_duplicates("threshold")
    if len(counts) <= MOST_COUNTS:
        low, high = ax.get_ylim()
        ax.set_ylim(low - 0.22 * (high - low), high)
        for row in counts.itertuples():
            ax.text(row.threshold, low - 0.2 * (high - low), f"{row.items}", rotation=90, ha="center", fontsize=7)
        ax.set_xticks(counts["threshold"], [f"{value:.2f}" for value in counts["threshold"]], rotation=90, fontsize=8)
    ax.set(xlabel="agreement at least (below: items left)", ylabel="accuracy, percent", title=title)
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def plot_agreement_effects(models: pd.DataFrame, title: str, ax: Axes) -> Axes:
    """Odds ratios of being right for 0.1 more agreement, with 95 % intervals.

    `models` has one classifier's rows of `agreement_models`; terms without a value are left out, and where none has
    one the axes say so.
    """
    rows = models[models["odds_ratio"].notna()]
    if rows.empty:
        ax.set_axis_off()
        ax.set_title(f"{title}: no model could be fitted")
        return ax
    order = task_sources(rows)
    terms = [term for term in TERM_TITLES if term in set(rows["term"])]
    ax.axvline(1, color=COLOURS["real"], linewidth=1.2)
    for number, term in enumerate(terms):
        part = rows[rows["term"] == term].set_index(["task", "source"]).reindex(order)
        y = rows_beside(order, number, len(terms), 0.22)
        ax.hlines(y, part["low"], part["high"], color=TERM_COLOURS[term], linewidth=2)
        faces = [TERM_COLOURS[term] if p < 0.05 else "white" for p in part["p_holm"]]
        marks: dict[str, Any] = {"edgecolor": TERM_COLOURS[term], "s": 40, "linewidth": 1.6, "zorder": 3}
        ax.scatter(part["odds_ratio"], y, color=faces, label=TERM_TITLES[term], **marks)
    _ticks(ax, order)
    ax.set(xscale="log", xlabel="odds ratio for 0.1 more agreement (log scale)", ylim=(len(order) - 0.5, -0.5))
    low, high = ax.get_xlim()
    ticks = FINE_ODDS if high < 4 * low else COARSE_ODDS
    ax.set_xticks([ratio for ratio in ticks if low <= ratio <= high])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.set_title(title)
    legend_of_tests(ax)
    return ax


def plot_reliability(bins: pd.DataFrame, title: str, ax: Axes) -> Axes:
    """Human agreement where the LLM estimated about the same; `bins` is `reliability`'s table."""
    ax.plot([0.4, 1], [0.4, 1], color="#999999", linestyle="--", linewidth=1, label="as estimated")
    ax.vlines(bins["estimated"], bins["low"], bins["high"], color=COLOURS["few_shot"], linewidth=2)
    ax.scatter(bins["estimated"], bins["human"], color=COLOURS["few_shot"], s=42, zorder=3, label="mean of the items")
    for row in bins.itertuples():
        ax.annotate(f"{row.items}", (row.estimated, row.human), xytext=(7, -3), textcoords="offset points", fontsize=8)
    ax.set(xlabel="agreement that the LLM estimated", ylabel="human agreement (bands: lower bounds)", title=title)
    ax.legend(frameon=False, loc="upper left")
    return ax


def plot_recovered(table: pd.DataFrame, title: str, ax: Axes) -> Axes:
    """Lift by human and by estimated agreement, side by side; `table` is `recovered`'s."""
    labels = [f"{row.classifier}, {REGIME_TITLES[row.regime].lower()}" for row in table.itertuples()]
    ax.axvline(0, color=COLOURS["real"], linewidth=1.2)
    for name, colour, shift in (("human", COLOURS["zero_shot"], -0.14), ("estimated", COLOURS["few_shot"], 0.14)):
        y = [place + shift for place in range(len(table))]
        ax.hlines(y, table[f"{name}_low"], table[f"{name}_high"], color=colour, linewidth=2)
        ax.scatter(table[f"{name}_lift"], y, color=colour, s=42, zorder=3, label=f"{name} agreement")
    ax.set_yticks(range(len(table)), labels)
    ax.set(xlabel="lift in accuracy, points", ylim=(len(table) - 0.5, -0.5), title=title)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
