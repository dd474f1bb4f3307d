"""The figures of 04_subjectivity, drawn from its saved tables. Functions that plot take an `ax` and return it.

Figures of agreement are made per kind of source, a key of KINDS. Narrow ones show less.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace

import matplotlib.pyplot as plt
import networkx as nx
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, MonthLocator

from synthgap.core.errors import unknown
from synthgap.figures import (
    INK,
    QUIET,
    Drawing,
    Drawn,
    Look,
    Series,
    classifiers_of,
    legend_above,
    log_axis,
    plot_intervals,
    short_title,
    task_order,
)
from synthgap.subjectivity.agreement_sources import BANDS, KINDS, kind_of, kinds_in
from synthgap.subjectivity.over_time import FEWEST_ITEMS, MONTHS
from synthgap.subjectivity.predicted_agreement import reach_note
from synthgap.subjectivity.ranking import main_ranking, majority_graph, stars
from synthgap.tables import ReadTable, format_p, matching, signed

FINE_ODDS = (0.5, 0.6, 0.7, 0.85, 1, 1.2, 1.5, 1.75, 2)  # ticks of odds ratios
COARSE_ODDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
EFFECTS = {"effect": "points of accuracy", "odds_ratio": "odds ratio"}
MOST_COUNTS = 12  # thresholds beyond which item counts would run into each other


def draw_task_levels(read: ReadTable, look: Look, _: str) -> Drawn:
    """The majority graph, levels from top (most objective) to bottom; edges that follow from others are left out."""
    ranking = main_ranking(read("task_ranking")).sort_values("task")
    source, task, level = ranking["source"].iloc[0], ranking["task"], ranking["level"]
    graph = majority_graph(matching(read("task_pairs"), {"source": source}), task)
    shown = nx.transitive_reduction(graph) if nx.is_directed_acyclic_graph(graph) else graph
    across = ranking.groupby("level").cumcount() + 0.3 * (level % 2)
    points = dict(zip(task, zip(across, -level, strict=True), strict=True))
    figure, (ax,) = look.panels(1, 0.2 + 0.6 * level.max())
    size = 2.7 * plt.rcParams["font.size"] ** 2
    nx.draw_networkx_edges(graph, points, shown.edges, ax=ax, edge_color="#999999", node_size=size)
    nx.draw_networkx_nodes(graph, points, ax=ax, node_size=size, node_color="white", edgecolors=INK, linewidths=1.5)
    for name, (x, y) in points.items():
        ax.annotate(str(-y), (x, y), ha="center", va="center")
        ax.annotate(short_title(name), (x, y), (1.1 * size**0.5 / 2 + 3, 0), textcoords="offset points", va="center")
    ax.set(xlim=(-0.3, level.value_counts().max() + 0.3), ylim=(-level.max() - 0.6, -0.4))
    ax.set_title("Levels of subjectivity (1: most objective)")
    ax.axis("off")
    return figure, f"Source: {source}."


def draw_task_scores(read: ReadTable, look: Look, _: str) -> Drawn:
    ranking = main_ranking(read("task_ranking"))
    source, highest = ranking["source"].iloc[0], ranking["level"].max()
    figure, (ax,) = look.panels(1, 0.4 + 0.4 * len(ranking))
    titles = [f"{short_title(row.task)}  {stars(row.level, highest)}" for row in ranking.itertuples()]
    series = {source: Series(source, INK, "o")}
    plot_intervals(ranking, ax, series, rows=ranking["task"], titles=titles, value="bradley_terry", by="source")
    ax.set(xlabel="Bradley–Terry score", title="Subjectivity of tasks")
    return figure, f"Source: {source}. Right: more subjective, in logits; 95 % intervals over judges."


def of_kind(table: pd.DataFrame, kind: str, look: Look) -> pd.DataFrame:
    """The rows of one kind of source, tasks in the paper's order, with a column `row`: what stands beside them.

    Of several classifiers, a narrow figure has the last one alone.

    Raises:
        SynthgapError: the table has no such kind.
    """
    chosen = table[table["source"].map(kind_of) == kind]
    if chosen.empty:
        raise unknown("kind of source", kind, kinds_in(table))
    if look.narrow and "classifier" in chosen:
        chosen = matching(chosen, {"classifier": classifiers_of(chosen)[-1]})
    order, who = task_order(chosen), "\n(" if look.narrow else " ("
    titles = [row_title(row.task, row.source).replace(" (", who) for row in chosen.itertuples()]
    return chosen.assign(row=titles).sort_values("task", key=lambda tasks: tasks.map(order.index), kind="stable")


def row_title(task: str, source: str) -> str:
    """A task's title, and the people who said it where the source is no simulation."""
    return f"{short_title(task)} ({source.partition(': ')[2]})" if kind_of(source) == "human" else short_title(task)


def draw_agreement(read: ReadTable, look: Look, _: str) -> Drawn:
    """A panel for each kind of source, people first."""
    table = read("agreement_shares")
    panels = {kind: of_kind(table, kind, look) for kind in kinds_in(table)[: 1 if look.narrow else None]}
    heights = [rows["row"].nunique() + 1.5 for rows in panels.values()]
    height = (0.5 + 0.36 * sum(heights)) / len(panels)
    figure, axes = look.panels(len(panels), height, columns=1, height_ratios=heights)
    for ax, (kind, rows) in zip(axes, panels.items(), strict=True):
        plot_agreement(rows, ax).set_title(f"Agreement, {KINDS[kind]}")
    axes[-1].set_xlabel("share of items, percent")
    legend_above(figure, axes[0], "agreement")
    return figure, ""


def plot_agreement(shares: pd.DataFrame, ax: Axes) -> Axes:
    """Stacked bars of `agreement_shares`, a bar per row."""
    widths = shares.pivot_table("share", "row", "band", sort=False)[list(BANDS)]
    widths.plot.barh(stacked=True, color=sns.color_palette("crest_r", len(BANDS)), width=0.7, legend=False, ax=ax)
    ax.set(xlim=(0, 100), ylim=(len(widths) - 0.5, -0.5), ylabel="")
    ax.grid(visible=False)
    return ax


def draw_accuracy(read: ReadTable, look: Look, kind: str) -> Drawn:
    """Threshold curves, a panel per task, source and classifier."""
    key = ["task", "source", "classifier", "corpus"]
    fits = read("threshold_fits")[[*key, "above_chance", "p_holm"]].rename(columns={"above_chance": "height"})
    curves = of_kind(read("threshold_curves").merge(fits, on=key), kind, look)
    panels = curves.groupby(["task", "row", "classifier"], sort=False)
    figure, axes = look.panels(len(panels), 3.2, columns=5 if look.narrow else 2)
    for ax, ((task, row, classifier), curve) in zip(axes, panels, strict=True):
        plot_threshold_curve(curve, look, ax)
        if look.narrow:
            ax.set_title(textwrap.fill(short_title(task), 11, break_long_words=False), fontsize="x-small")
            ax.locator_params(nbins=2)
            ax.tick_params(labelsize="x-small", pad=0)
        else:
            title = textwrap.fill(f"{row}, {classifier}", 40)
            ax.legend(title=title, loc=(-0.02, 1), frameon=False, alignment="left", fontsize="x-small")
    note = (
        f"Across: agreement at least; up: accuracy of {' and '.join(classifiers_of(curves))} in percent. Dashed, with "
        "95 % bands: chance, as agreement reassigned within each class."
    )
    if look.narrow:
        legend_above(figure, axes[0])
    else:
        note += (
            " In brackets: items left. Points: how far a curve runs above chance; p: of that, Holm-corrected over all "
            "curves of this figure."
        )
    return figure, f"{note} Source: {'; '.join(curves['source'].unique())}."


def plot_threshold_curve(curve: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """Accuracy of the items with at least some agreement, by corpus: points, and chance's mean and band.

    `curve` holds one task's, source's and classifier's rows of the curves, with `height` and `p_holm` of their fits.
    """
    for part, series in look.by_corpus(curve):
        x, y, colour, fit = part["threshold"], part["accuracy"], series.colour, part.iloc[0]
        ax.fill_between(x, part["null_low"], part["null_high"], color=colour, alpha=0.15, linewidth=0)
        ax.plot(x, y - part["above_chance"], color=colour, linewidth=0.9, linestyle="--")
        title = series.title
        if pd.notna(fit["p_holm"]) and not look.narrow:
            title += f": {signed(fit['height'])} points, {format_p(float(fit['p_holm']))}"
        ax.plot(x, y, label=title, color=colour, marker=series.marker, markersize=3 if look.width else 5)
    counts = curve.drop_duplicates("threshold")
    if len(counts) <= MOST_COUNTS and not look.narrow:
        titles = [f"{row.threshold:.2f} ({row.items})" for row in counts.itertuples()]
        ax.set_xticks(counts["threshold"], titles, rotation=90, fontsize="x-small")
    return ax


def draw_effects(read: ReadTable, look: Look, kind: str) -> Drawn:
    """Effects of agreement on being right, a line of panels per classifier: in points, and as odds ratios.

    A narrow figure has the points alone. No value, no mark.
    """
    models = read("agreement_models")
    fitted = models.groupby(["task", "source"])["odds_ratio"].transform("count") > 0
    models = of_kind(models[fitted], kind, look)
    scales = list(EFFECTS)[: 1 if look.narrow else None]
    panels = [(*group, scale) for group in models.groupby("classifier", sort=False) for scale in scales]
    height = 0.9 + 0.5 * models["row"].nunique()
    figure, axes = look.panels(len(panels), height, columns=len(scales), sharey="row")
    for ax, (classifier, rows, scale) in zip(axes, panels, strict=True):
        plot_agreement_effects(rows, look, ax, scale)
        ax.set(title=f"Being right, {classifier}", xlabel=EFFECTS[scale])
    legend_above(figure, axes[0], "Filled: p < 0.05 (Holm), over all marks of its kind here")
    held = "Intervals hold items, draws and seeds, and new recordings of corpora that have several."
    return figure, f"For 0.1 more agreement. {held} Source: {'; '.join(models['source'].unique())}."


def plot_agreement_effects(models: pd.DataFrame, look: Look, ax: Axes, scale: str = "odds_ratio") -> Axes:
    """Effects on one of the scales with 95 % intervals; `models` has one classifier's rows of the table, and `row`."""
    if models[scale].isna().all():
        ax.text(0.5, 0.5, "no model could be fitted", transform=ax.transAxes, ha="center")
    series = {"agreement": Series("agreement", INK, "p")}
    for name, corpus in look.corpora.items():
        if (term := f"{name} x agreement") in set(models["term"]):
            series[term] = replace(corpus, title=f"more so: {corpus.title}")
    odds = scale == "odds_ratio"
    low, high, p = (name if odds else f"effect_{name}" for name in ("low", "high", "p_holm"))
    models, rows = models.assign(filled=models[p] < 0.05), models["row"].unique()
    columns = {"row": "row", "value": scale, "by": "term", "low": low, "high": high, "filled": "filled"}
    ax.axvline(1 if odds else 0, color=QUIET, linewidth=1.2)
    plot_intervals(models, ax, series, rows=rows, titles=rows, **columns)
    if not odds:
        return ax
    ax.set_xscale("log")
    left, right = ax.get_xlim()
    return log_axis(ax, FINE_ODDS if right < 4 * left else COARSE_ODDS)


def draw_predicted_agreement(read: ReadTable, look: Look, task: str) -> Drawn:
    """For each human source of a task: its agreement where the LLM estimated about the same, and the lift by either.

    A narrow figure has the first panel alone.
    """
    bands, lifts = (read(f"predicted_agreement_{name}") for name in ("bands", "recovered"))
    panels = []
    for source in matching(bands, {"task": task})["source"].unique():
        own = {"task": task, "source": source}
        panels += [(plot_reliability, matching(bands, own)), (plot_lifts, matching(lifts, own))]
    panels = panels[: 1 if look.narrow else None]
    figure, axes = look.panels(len(panels), 4.0, columns=2)
    for ax, (plot, rows) in zip(axes, panels, strict=True):
        plot(rows, look, ax)
    if not look.narrow:
        legend_above(figure, axes[1])
    bounds = "Where a set names bands of agreement, human agreement is their lower bound."
    note = f"Dots: means of items, their number beside; dashed: as estimated. {bounds}"
    return figure, f"{note} {reach_note(read('predicted_agreement'))}"


def plot_reliability(bands: pd.DataFrame, _: Look, ax: Axes) -> Axes:
    """Human agreement where the LLM estimated about the same; `bands` has one source's rows of `agreement_bands`."""
    ax.plot([0.4, 1], [0.4, 1], color="#999999", linestyle="--", linewidth=1)
    ax.vlines(bands["estimated"], bands["low"], bands["high"], color=INK, linewidth=2)
    ax.scatter(bands["estimated"], bands["human"], color=INK, s=42, zorder=3)
    for row in bands.itertuples():
        ax.annotate(f"    {row.items}", (row.estimated, row.human), va="center", fontsize="x-small")
    ax.set(xlabel="agreement that the LLM estimated", ylabel="human agreement")
    ax.set_title(row_title(bands["task"].iloc[0], bands["source"].iloc[0]), fontsize="small")
    return ax


def plot_lifts(table: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """Lift by human and by estimated agreement, side by side; `table` has one source's rows of `recovered_lift`."""
    titles = [f"{row.classifier}, {look.title(row.corpus)}" for row in table.itertuples()]
    series = {"human": Series("human agreement", INK, "o"), "estimated": Series("estimated agreement", QUIET, "D")}
    lifts = [
        table.filter(regex=f"^{name}_").set_axis(["lift", "low", "high"], axis=1).assign(row=titles, agreement=name)
        for name in series
    ]
    ax.axvline(0, color=QUIET, linewidth=1.2)
    plot_intervals(pd.concat(lifts), ax, series, rows=titles, titles=titles, row="row", value="lift", by="agreement")
    ax.set_xlabel("lift in accuracy, points")
    ax.set_title("Lift from keeping agreed items first", fontsize="small")
    return ax


def draw_over_time(read: ReadTable, look: Look, _: str) -> Drawn:
    """Alpha by month, a panel for each label of the first dated set."""
    table = read("agreement_over_time")
    months = matching(table, {"source": table["source"].iloc[0], "windows": MONTHS})
    months = months[months["items"] >= FEWEST_ITEMS]
    panels = months.groupby("label", sort=False)
    figure, axes = look.panels(len(panels), 1.8, sharex=True, sharey=True)
    for ax, (label, rows) in zip(axes, panels, strict=True):
        middle = pd.to_datetime(rows["first"]) + (pd.to_datetime(rows["last"]) - pd.to_datetime(rows["first"])) / 2
        ax.axhline(0, color=QUIET, linewidth=1)
        ax.vlines(middle, rows["alpha_low"], rows["alpha_high"], color=INK, linewidth=1.5)
        ax.plot(middle, rows["alpha"], "o", color=INK, markersize=4)
        ax.set_title(str(label), fontsize="small")
        ax.set_ylim(-0.5, 1)
        ax.xaxis.set_major_locator(MonthLocator(interval=2))
        ax.xaxis.set_major_formatter(DateFormatter("%b"))
    axes[0].set_ylabel("alpha", fontsize="small")
    note = "Alpha of present or absent by month, with 95 % intervals over items and people (cut at -0.5)."
    return figure, f"{note} Who judged differs by month. Source: {months['source'].iloc[0]}."


def draw_panel_sizes(read: ReadTable, look: Look, _: str) -> Drawn:
    """How far panels of some size are from all who judged: two panels, error and the majority's label."""
    table = read("panel_sizes")
    table = matching(table, {"source": table["source"].iloc[0]})
    shown = {"error": "error of an item's agreement", "same_majority": "same majority label, percent"}
    figure, axes = look.panels(len(shown), 2.4, columns=2)
    for ax, (name, title) in zip(axes, shown.items(), strict=True):
        size, low, high = table["annotators"], table[f"{name}_low"], table[f"{name}_high"]
        ax.vlines(size, low, high, color=INK, linewidth=1.5)
        ax.plot(size, table[name], "o-", color=INK, markersize=4, linewidth=0.8)
        ax.set_title(title, fontsize="small")
        ax.set_xlabel("annotators of an item", fontsize="small")
        log_axis(ax, size.tolist())
    first = table.iloc[0]
    who = f"{first['items']} items, each judged by {first['fewest']} to {first['most']} of {first['people']} people"
    return (
        figure,
        f"Panels of a few against all: {who}; 95 % intervals over items and people. Source: {first['source']}.",
    )


DRAWINGS = (
    Drawing(
        "task_levels",
        "Levels of subjectivity as a graph: arrows lead to the task that most judges call more subjective.",
        draw_task_levels,
    ),
    Drawing(
        "task_scores",
        "Bradley-Terry scores of subjectivity by task, with 95 % intervals over judges.",
        draw_task_scores,
    ),
    Drawing(
        "agreement_by_source", "Share of items by agreement of their annotators, by kind of source.", draw_agreement
    ),
    Drawing(
        "accuracy_by_agreement", "Accuracy by agreement of people or a simulation, with bands of chance.", draw_accuracy
    ),
    Drawing(
        "agreement_effects",
        "What more agreement of people or a simulation does to being right, in points and as odds ratios.",
        draw_effects,
    ),
    Drawing(
        "predicted_agreement",
        "Human agreement against the agreement that an LLM estimated, and the lift in accuracy from either.",
        draw_predicted_agreement,
    ),
    Drawing("agreement_over_time", "Krippendorff's alpha of each label by month, with 95 % intervals.", draw_over_time),
    Drawing(
        "panel_sizes",
        "How far an item's agreement by a few annotators is from that by many, and how often they have one majority.",
        draw_panel_sizes,
    ),
)
TASK_LEVELS, TASK_SCORES, AGREEMENT_BY_SOURCE, ACCURACY_BY_AGREEMENT, AGREEMENT_EFFECTS, *_ = DRAWINGS
PREDICTED_AGREEMENT, OVER_TIME, PANEL_SIZES = DRAWINGS[5:]
