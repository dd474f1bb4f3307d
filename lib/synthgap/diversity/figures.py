"""The figures of 05_diversity, each drawn from saved tables; narrow ones do not name their points."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from synthgap.diversity.measures import with_gaps
from synthgap.figures import (
    INK,
    QUIET,
    Drawing,
    Drawn,
    Look,
    classifiers_of,
    interval_panels,
    legend_above,
    plot_curves,
    short_title,
    task_panels,
)
from synthgap.tables import ReadTable, matching

TITLES = {"remote_clique": "Remote-Clique", "chamfer": "Chamfer", "vendi": "Vendi score"}
DISTANCES = ("remote_clique", "chamfer")


def draw_diversity(read: ReadTable, look: Look, _: str) -> Drawn:
    """A panel for each measure: the corpora's values by task."""
    table = matching(read("diversity"), {"label": "all"})
    table = table.assign(measure=table["metric"].map(TITLES)).dropna(subset="measure")
    figure, axes = interval_panels(table, look, value="value", panel="measure", sharex=False)
    legend_above(figure, axes[0])
    return figure, ""


def draw_rarefaction(read: ReadTable, look: Look, metric: str) -> Drawn:
    table = matching(read("rarefaction"), {"metric": metric})
    figure = task_panels(table, look, plot_curves, 2.2, sharey=True)
    return figure, f"{TITLES[metric]} of random parts, against the number of texts."


def draw_similarity(read: ReadTable, look: Look, _: str) -> Drawn:
    table = read("similarity_density").merge(read("similarity")[["task", "corpus", "median"]])
    figure = task_panels(table, look, plot_similarity, 1.9, sharex=True)
    return figure, "Similarity of each text of the reference to its nearest texts of the corpus (dashed: median)."


def plot_similarity(density: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """One task of `similarity_density`'s table, with the medians beside it."""
    for rows, series in look.by_corpus(density):
        ax.fill_between(rows["similarity"], rows["density"], color=series.colour, alpha=0.25, lw=0)
        ax.plot(rows["similarity"], rows["density"], color=series.colour, label=series.title)
        ax.axvline(rows["median"].iloc[0], color=series.colour, linewidth=1, linestyle="--")
    if look.narrow:
        ax.xaxis.set_major_locator(MultipleLocator(0.4))
    ax.tick_params(labelbottom=True)
    ax.set(yticks=[], ylim=(0, None))
    return ax


def draw_maps(read: ReadTable, look: Look, _: str) -> Drawn:
    return task_panels(read("map_points"), look, plot_map, 2.5), ""


def plot_map(points: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """One task of `map_texts`'s table."""
    for rows, series in look.by_corpus(points):
        marks: dict[str, Any] = {"color": series.colour, "marker": series.marker}
        ax.scatter(rows["x"], rows["y"], s=1.5 if look.narrow else 9, alpha=0.65, lw=0, rasterized=True, **marks)
        ax.scatter([], [], label=series.title, **marks)
    ax.set(xticks=[], yticks=[])
    return ax


def draw_diversity_and_gap(read: ReadTable, look: Look, _: str) -> Drawn:
    """A line of panels for each classifier: the gap against the difference in either distance."""
    both = with_gaps(read("diversity_differences"), read("gaps"))
    panels = [(classifier, metric) for classifier in classifiers_of(both) for metric in DISTANCES]
    figure, axes = look.panels(len(panels), 4.2, columns=len(DISTANCES))
    figure.supylabel("macro-F1", fontsize="medium")
    for ax, (classifier, metric) in zip(axes, panels, strict=True):
        plot_diversity_and_gap(matching(both, {"classifier": classifier, "metric": metric}), look, ax)
        ax.set_xlabel(TITLES[metric])
        ax.set_title(classifier, fontsize="small")
    legend_above(figure, axes[0])
    return figure, "All as differences from the reference; macro-F1 in points."


def plot_diversity_and_gap(both: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """One classifier and measure of `with_gaps`'s table: a point for each task and corpus; a line joins a task's."""
    ax.axhline(0, color=INK, linewidth=plt.rcParams["axes.linewidth"])
    ax.axvline(0, color=INK, linewidth=plt.rcParams["axes.linewidth"])
    for task, rows in both.groupby("task", sort=False):
        ax.plot(rows["difference"], rows["gap"], color=QUIET, linewidth=0.7, zorder=1)
        lowest = rows.loc[rows["gap"].idxmin(), ["difference", "gap"]]
        if not look.narrow:
            ax.annotate(short_title(task), lowest, (6, -3), textcoords="offset points", fontsize="xx-small")
    for rows, series in look.by_corpus(both):
        marks: dict[str, Any] = {"color": series.colour, "marker": series.marker, "zorder": 3}
        ax.scatter(rows["difference"], rows["gap"], label=series.title, **marks)
    ax.locator_params(axis="x", nbins=4)
    return ax


DIVERSITY = Drawing(
    "diversity",
    "Remote-Clique, Chamfer and Vendi score by task and corpus, with 95 % intervals over texts.",
    draw_diversity,
)
RAREFACTION = Drawing(  # of a measure
    "rarefaction",
    "Chamfer distance or Vendi score of random parts of each corpus against their size.",
    draw_rarefaction,
)
SIMILARITY = Drawing(
    "similarity",
    "Distribution of the similarity of the reference's texts to their nearest texts of each other corpus, by task.",
    draw_similarity,
)
MAPS = Drawing("maps", "Maps (t-SNE) of the texts of each task, by corpus.", draw_maps)
DIVERSITY_AND_GAP = Drawing(
    "diversity_and_gap",
    "Gap in macro-F1 against the difference in diversity, a point for each task and corpus.",
    draw_diversity_and_gap,
)
DRAWINGS = (DIVERSITY, RAREFACTION, SIMILARITY, MAPS, DIVERSITY_AND_GAP)
