"""The figures of 05_diversity. Functions draw on an `ax` and return it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from synthgap.diversity import TITLES
from synthgap.figures import COLOURS, MARKERS, by_regime, regime_legend, short_title, task_ticks
from synthgap.tables import REGIME_TITLES, regimes_in, tasks_in_paper_order

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import HTML
    from matplotlib.axes import Axes

HOVER_WORDS = 40


def plot_diversity(table: pd.DataFrame, metric: str, ax: Axes) -> Axes:
    """One measure by task and regime with 95 % intervals; `table` is `measure`'s."""
    rows = table[(table["metric"] == metric) & (table["label"] == "all")]
    order = tasks_in_paper_order(rows["task"].unique())
    for regime, part, y in by_regime(rows, order, 0.2):
        ax.hlines(y, part["low"], part["high"], color=COLOURS[regime], linewidth=2)
        marks: dict[str, Any] = {"color": COLOURS[regime], "marker": MARKERS[regime], "s": 36, "zorder": 3}
        ax.scatter(part["value"], y, label=REGIME_TITLES[regime], **marks)
    task_ticks(ax, order)
    ax.set(xlabel=TITLES[metric], ylim=(len(order) - 0.5, -0.5), title=TITLES[metric])
    return regime_legend(ax)


def plot_similarity(table: pd.DataFrame, task: str, ax: Axes) -> Axes:
    """How near the real texts of a task have synthetic ones, as densities; `table` is `similarity_table`'s."""
    import seaborn as sns

    rows = table[table["task"] == task]
    regimes = regimes_in(rows)
    shown: dict[str, Any] = {
        "data": rows,
        "x": "similarity",
        "hue": "regime",
        "hue_order": regimes,
        "palette": COLOURS,
        "gridsize": 80,
    }
    sns.kdeplot(
        **shown, common_norm=False, fill=True, alpha=0.25, linewidth=1.5, legend=False, warn_singular=False, ax=ax
    )
    for regime in regimes:
        median = rows.loc[rows["regime"] == regime, "similarity"].median()
        ax.axvline(median, color=COLOURS[regime], linewidth=1, linestyle="--")
    ax.tick_params(labelbottom=True)
    ax.set(title=short_title(task), xlabel="", ylabel="", yticks=[])
    return ax


def regime_handles(table: pd.DataFrame) -> tuple[list[Any], list[str]]:
    """Handles and titles for one legend of several axes."""
    from matplotlib.patches import Patch

    regimes = regimes_in(table)
    return [Patch(color=COLOURS[regime]) for regime in regimes], [REGIME_TITLES[regime] for regime in regimes]


def plot_rarefaction(table: pd.DataFrame, task: str, metric: str, ax: Axes) -> Axes:
    """A measure of random parts against their size, with the middle 95 % of draws; `table` is `rarefaction`'s."""
    rows = table[(table["task"] == task) & (table["metric"] == metric)]
    for regime in regimes_in(rows):
        part = rows[rows["regime"] == regime]
        ax.fill_between(part["n"], part["low"], part["high"], color=COLOURS[regime], alpha=0.2, lw=0)
        line: dict[str, Any] = {"color": COLOURS[regime], "marker": MARKERS[regime], "markersize": 4, "linewidth": 1.5}
        ax.plot(part["n"], part["value"], label=REGIME_TITLES[regime], **line)
    ax.set_xscale("log")
    ax.set_xticks(sorted(set(rows["n"])), [str(n) for n in sorted(set(rows["n"]))], fontsize=7, rotation=45)
    ax.minorticks_off()
    ax.set(title=short_title(task), xlabel="", ylabel="")
    return ax


def plot_diversity_and_gap(differences: pd.DataFrame, gaps: pd.DataFrame, metric: str, title: str, ax: Axes) -> Axes:
    """Gap in macro-F1 against the difference in diversity, a point a task and regime; a line joins those of a task.

    `differences` is `measure`'s, `gaps` has one classifier's rows of `evaluate`.
    """
    performance = gaps[(gaps["metric"] == "macro_f1") & (gaps["baseline"] == "real")]
    overall = differences[(differences["label"] == "all") & (differences["metric"] == metric)]
    both = overall.merge(performance[["task", "regime", "gap"]], on=["task", "regime"])
    ax.axhline(0, color=COLOURS["real"], linewidth=1)
    ax.axvline(0, color=COLOURS["real"], linewidth=1)
    for task, part in both.groupby("task", sort=False):
        ax.plot(part["difference"], part["gap"], color="#999999", linewidth=0.7, zorder=1)
        first = part.iloc[part["gap"].argmin()]
        place = (first["difference"], first["gap"])
        ax.annotate(short_title(str(task)), place, xytext=(6, -3), textcoords="offset points", fontsize=7.5)
    for regime, part in both.groupby("regime", sort=False):
        marks: dict[str, Any] = {"color": COLOURS[str(regime)], "marker": MARKERS[str(regime)], "s": 36, "zorder": 3}
        ax.scatter(part["difference"], part["gap"], label=REGIME_TITLES[str(regime)], **marks)
    ax.set(xlabel=f"{TITLES[metric]}, synthetic − real", ylabel="macro-F1, synthetic − real, points", title=title)
    return regime_legend(ax)


def plot_map(points: pd.DataFrame, ax: Axes) -> Axes:
    """A map of one task's texts; `points` is `map_texts`'s table."""
    for regime in regimes_in(points):
        part = points[points["regime"] == regime]
        marks: dict[str, Any] = {
            "color": COLOURS[regime],
            "marker": MARKERS[regime],
            "s": 9,
            "alpha": 0.65,
            "linewidth": 0,
        }
        ax.scatter(part["x"], part["y"], label=REGIME_TITLES[regime], rasterized=True, **marks)
    ax.set(title=short_title(str(points["task"].iloc[0])), xticks=[], yticks=[], xlabel="", ylabel="")
    ax.grid(visible=False)
    return ax


def hover_map(points: pd.DataFrame, show_real_texts: bool, size: int = 640) -> HTML:
    """The same map for a notebook: pointing at a dot shows its text (real ones: the id unless allowed)."""
    from IPython.display import HTML

    from synthgap.show import first_words, shown_text

    low, span = points[["x", "y"]].min(), points[["x", "y"]].max() - points[["x", "y"]].min()
    dots = []
    for row in points.itertuples():
        shown = shown_text(str(row.id), str(row.text), row.regime != "real" or show_real_texts)
        text = first_words(shown, HOVER_WORDS)
        x, y = ((getattr(row, axis) - low[axis]) / (span[axis] or 1) for axis in ("x", "y"))
        title = html.escape(f"{REGIME_TITLES[str(row.regime)]}, {row.label}: {text}")
        dots.append(
            f"<circle cx='{10 + x * (size - 20):.0f}' cy='{10 + (1 - y) * (size - 20):.0f}' r='4' "
            f"fill='{COLOURS[str(row.regime)]}' fill-opacity='0.65'><title>{title}</title></circle>"
        )
    legend = " ".join(
        f"<span style='color:{COLOURS[regime]}'>●</span> {html.escape(REGIME_TITLES[regime])}"
        for regime in REGIME_TITLES
        if regime in set(points["regime"])
    )
    picture = (
        f"<svg viewBox='0 0 {size} {size}' width='{size}' style='max-width:100%;border:1px solid #bbb' role='img' "
        f"aria-label='Map of texts; pointing at a dot shows its text'>{''.join(dots)}</svg>"
    )
    return HTML(f"<div>{legend}<br>{picture}</div>")
