"""The figures of 05_diversity, each drawn from saved tables."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from synthgap.diversity.measures import with_gaps
from synthgap.figures import (
    INK,
    QUIET,
    Drawn,
    Look,
    drawing,
    interval_panels,
    panels_by,
    plot_curves,
    rows_beside,
    task_order,
    task_panels,
)
from synthgap.tables import ReadTable, matching

TITLES = {"remote_clique": "Remote-Clique", "chamfer": "Chamfer", "vendi": "Vendi score"}
DISTANCES = ("remote_clique", "chamfer")
MOST_POINTS = 100  # of a corpus on a map


@drawing("diversity", "Remote-Clique, Chamfer and Vendi score by task and corpus, with 95 % intervals over texts.")
def diversity(read: ReadTable, look: Look, _: str) -> Drawn:
    """A panel for each measure: the corpora's values by task."""
    table = matching(read("diversity"), {"label": "all"})
    table = table.assign(measure=table["metric"].map(TITLES)).dropna(subset="measure")
    figure = interval_panels(table, look, value="value", panel="measure", sharex=False)
    return figure, ""


@drawing("diversity_by_label", "Remote-Clique and Chamfer of each label's texts, by task and corpus.")
def diversity_by_label(read: ReadTable, look: Look, _: str) -> Drawn:
    """Either distance by task and label: a small dot for each label, a line from the lowest to the highest."""
    table = read("diversity").query("label != 'all'")
    table = table[table["metric"].isin(DISTANCES)].assign(measure=table["metric"].map(TITLES))
    over = table.groupby(["task", "corpus", "measure"], sort=False)["value"].agg(["mean", "min", "max"]).reset_index()
    over = over.rename(columns={"min": "low", "max": "high"})
    figure = interval_panels(over, look, value="mean", panel="measure", sharex=False)
    tasks, corpora = task_order(table), look.present(table)
    for ax, measure in zip(figure.axes, over["measure"].unique(), strict=False):
        for rows, series in look.by_corpus(matching(table, {"measure": measure})):
            heights = rows_beside(len(tasks), corpora.index(rows["corpus"].iloc[0]), len(corpora))
            at = [heights[tasks.index(task)] for task in rows["task"]]
            ax.scatter(rows["value"], at, color="white", edgecolor=series.colour, s=4, lw=0.5, zorder=4)
    return figure, "Small dots: the texts of each label; marks: their mean; lines: from the lowest to the highest."


@drawing("rarefaction", "Chamfer distance or Vendi score of random parts of each corpus against their size.")
def rarefaction(read: ReadTable, look: Look, metric: str) -> Drawn:
    table = matching(read("rarefaction"), {"metric": metric})
    figure = task_panels(table, look, plot_curves, 1.25, x="texts", y=TITLES[metric], sharey=True)
    return figure, f"Here: {TITLES[metric]}."


@drawing(
    "similarity",
    "Distribution of the similarity of the reference's texts to their nearest texts of each other corpus, by task.",
)
def similarity(read: ReadTable, look: Look, _: str) -> Drawn:
    table = read("similarity_density").merge(read("similarity")[["task", "corpus", "median"]])
    figure = task_panels(table, look, plot_similarity, 1.1, x="similarity", sharex=True)
    return figure, "Similarity of each text of the reference to its nearest texts of the corpus (vertical: median)."


def plot_similarity(density: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """One task of `similarity_density`'s table, with the medians beside it."""
    for rows, series in look.by_corpus(density):
        ax.plot(rows["similarity"], rows["density"], color=series.colour, ls=series.dash, label=series.title)
        ax.axvline(rows["median"].iloc[0], color=series.colour, linewidth=0.7, linestyle=series.dash)
    ax.locator_params(axis="x", nbins=4)
    ax.set(yticks=[], ylim=(0, None))
    return ax


@drawing("maps", "Maps (t-SNE) of the texts of each task, by corpus.")
def maps(read: ReadTable, look: Look, _: str) -> Drawn:
    """At most MOST_POINTS of each task and corpus, so that no point hides others."""
    points = read("map_points").sample(frac=1, random_state=0).groupby(["task", "corpus"]).head(MOST_POINTS)
    figure = task_panels(points, look, plot_map, 1.4)
    return figure, f"At most {MOST_POINTS} texts of each corpus, drawn at random."


def plot_map(points: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """One task of `map_texts`'s table."""
    for rows, series in look.by_corpus(points):
        marks: dict[str, Any] = {"color": series.colour, "marker": series.marker}
        ax.scatter(rows["x"], rows["y"], s=5, lw=0, rasterized=True, **marks)
        ax.scatter([], [], label=series.title, s=14, **marks)
    ax.set(xticks=[], yticks=[])
    return ax


@drawing("diversity_and_gap", "Gap in macro-F1 against the difference in diversity, a point for each task and corpus.")
def diversity_and_gap(read: ReadTable, look: Look, _: str) -> Drawn:
    """A line of panels for each distance, a panel for each classifier: the gap against the difference in distance."""
    both = with_gaps(read("diversity_differences"), read("gaps"))
    classifiers = look.classifiers_in(both)
    places = both["metric"].map({name: len(classifiers) * at for at, name in enumerate(DISTANCES)})
    both = both.assign(place=places + both["classifier"].map(classifiers.index)).dropna(subset="place")
    both = both.sort_values("place", kind="stable")
    both["panel"] = both["classifier"].map(look.classifier) + "\n" + both["metric"].map(TITLES)
    options: dict[str, Any] = {"x": "difference in the distance", "y": "gap (macro-F1)", "sharey": True}
    figure = panels_by("panel", both, look, plot_diversity_and_gap, 1.8, columns=len(classifiers), **options)
    return figure, "A line joins a task's corpora. All as differences from the reference; macro-F1 in points."


def plot_diversity_and_gap(both: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """One classifier and measure of `with_gaps`'s table: a point for each task and corpus; a line joins a task's."""
    ax.axhline(0, color=INK, linewidth=plt.rcParams["axes.linewidth"])
    ax.axvline(0, color=INK, linewidth=plt.rcParams["axes.linewidth"])
    for _, rows in both.groupby("task", sort=False):
        ax.plot(rows["difference"], rows["gap"], color=QUIET, linewidth=0.5, zorder=1)
    for rows, series in look.by_corpus(both):
        marks: dict[str, Any] = {"color": series.colour, "marker": series.marker, "zorder": 3, "s": 14}
        ax.scatter(rows["difference"], rows["gap"], label=series.title, **marks)
    ax.locator_params(axis="x", nbins=4)
    return ax


DRAWINGS = (diversity, diversity_by_label, rarefaction, similarity, maps, diversity_and_gap)
