"""The figures of 04_subjectivity, drawn from its saved tables. Functions that plot take an `ax` and return it.

Figures of agreement are made per kind of source, a key of KINDS.
"""

from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import networkx as nx
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, MonthLocator

from synthgap.core.config import REAL
from synthgap.core.errors import unknown
from synthgap.figures import (
    DOUBLE,
    INK,
    QUIET,
    ROW_TITLES,
    SMALLEST,
    Drawn,
    Look,
    Series,
    drawing,
    grey_keys,
    legend_above,
    log_axis,
    panels_by,
    plot_intervals,
    plot_line,
    row_titles,
    rows_height,
    set_title,
    short_title,
    task_order,
)
from synthgap.subjectivity.accuracy_by_agreement import STEP
from synthgap.subjectivity.agreement_sources import BANDS, KINDS, kind_of, kinds_in
from synthgap.subjectivity.over_time import FEWEST_ITEMS, MONTHS
from synthgap.subjectivity.predicted_agreement import reach_note
from synthgap.subjectivity.ranking import main_ranking, majority_graph, stars
from synthgap.tables import ReadTable, matching, signed

FINE_ODDS = (0.5, 0.6, 0.7, 0.85, 1, 1.2, 1.5, 1.75, 2)  # ticks of odds ratios
COARSE_ODDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
EFFECTS = {"effect": "points of accuracy", "odds_ratio": "odds ratio"}


@drawing(
    "task_levels",
    "Levels of subjectivity as a graph: arrows lead to the task that most judges call more subjective.",
)
def task_levels(read: ReadTable, look: Look, _: str) -> Drawn:
    """The majority graph, levels from top (most objective) to bottom; edges that follow from others are left out."""
    ranking = main_ranking(read("task_ranking")).sort_values("task")
    source, task, level = ranking["source"].iloc[0], ranking["task"], ranking["level"]
    graph = majority_graph(matching(read("task_pairs"), {"source": source}), task)
    shown = nx.transitive_reduction(graph) if nx.is_directed_acyclic_graph(graph) else graph
    across = ranking.groupby("level").cumcount() + 0.3 * (level % 2)
    points = dict(zip(task, zip(across, -level, strict=True), strict=True))
    figure, (ax,) = look.panels(1, 0.3 + 0.32 * level.max())
    size = 2.7 * plt.rcParams["font.size"] ** 2
    nx.draw_networkx_edges(graph, points, shown.edges, ax=ax, edge_color="#999999", node_size=size, arrowsize=6)
    nx.draw_networkx_nodes(graph, points, ax=ax, node_size=size, node_color="white", edgecolors=INK, linewidths=0.8)
    for name, (x, y) in points.items():
        ax.annotate(str(-y), (x, y), ha="center", va="center")
        ax.annotate(short_title(name), (x, y), (1.1 * size**0.5 / 2 + 2, 0), textcoords="offset points", va="center")
    ax.set(xlim=(-0.3, level.value_counts().max() + 0.3), ylim=(-level.max() - 0.6, -0.4))
    set_title(ax, f"Levels of subjectivity (1: most objective)\n{source}")
    ax.axis("off")
    return figure, f"Source: {source}."


@drawing("task_scores", "Bradley-Terry scores of subjectivity by task, with 95 % intervals over judges.")
def task_scores(read: ReadTable, look: Look, _: str) -> Drawn:
    ranking = main_ranking(read("task_ranking"))
    source, highest = ranking["source"].iloc[0], ranking["level"].max()
    figure, (ax,) = look.panels(1, 0.6 + 0.21 * len(ranking), left=1.8)
    rows = ranking.set_index("task").loc[task_order(ranking)].reset_index()
    titles = [f"{short_title(row.task)}  {stars(row.level, highest)}" for row in rows.itertuples()]
    series = {source: Series(source, INK, "o")}
    plot_intervals(rows, ax, series, rows=rows["task"], titles=titles, value="bradley_terry", by="source")
    ax.set_xlabel("Bradley–Terry score")
    set_title(ax, f"Subjectivity of tasks\n{source}")
    note = "Tasks in the paper's order (unverified). Right: more subjective, in logits; 95 % intervals over judges. "
    note += "Stars: the level, from the most objective (one) to the most subjective (five)."
    return figure, f"Source: {source}. {note}"


def of_kind(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The rows of one kind of source, tasks in the paper's order, with a column `row`: what stands beside them.

    Raises:
        SynthgapError: the table has no such kind.
    """
    chosen = table[table["source"].map(kind_of) == kind]
    if chosen.empty:
        raise unknown("kind of source", kind, kinds_in(table))
    order = task_order(chosen)
    titles = [row_title(row.task, row.source) for row in chosen.itertuples()]
    return chosen.assign(row=titles).sort_values("task", key=lambda tasks: tasks.map(order.index), kind="stable")


def row_title(task: str, source: str) -> str:
    """A task's title, and the people who said it where the source is no simulation."""
    return f"{short_title(task)} ({source.partition(': ')[2]})" if kind_of(source) == "human" else short_title(task)


@drawing("agreement_by_source", "Share of items by agreement of their annotators, by kind of source.")
def agreement_by_source(read: ReadTable, look: Look, _: str) -> Drawn:
    """A panel for each kind of source, people first."""
    table = read("agreement_shares")
    panels = {kind: of_kind(table, kind) for kind in kinds_in(table)}
    heights = [rows["row"].nunique() + 2 for rows in panels.values()]
    height = (0.3 + 0.19 * sum(heights)) / len(panels)
    figure, axes = look.panels(len(panels), height, columns=1, left=ROW_TITLES, height_ratios=heights)
    for ax, (kind, rows) in zip(axes, panels.items(), strict=True):
        plot_agreement(rows, ax)
        set_title(ax, f"Agreement, {KINDS[kind]}")
    axes[-1].set_xlabel("share of items, percent")
    legend_above(figure)
    return figure, "Shares of the items on which so large a part of the annotators chose the most frequent label."


def plot_agreement(shares: pd.DataFrame, ax: Axes) -> Axes:
    """Stacked bars of `agreement_shares`, a bar per row."""
    widths = shares.pivot_table("share", "row", "band", sort=False)[list(BANDS)]
    widths.index = pd.Index(row_titles(widths.index))
    widths.plot.barh(
        stacked=True, color=sns.color_palette("blend:#1f3b4d,#d5e8e4", len(BANDS)), width=0.7, legend=False, ax=ax
    )
    ax.set(xlim=(0, 100), ylim=(len(widths) - 0.5, -0.5), ylabel="")
    ax.grid(visible=False)
    return ax


def who(kind: str) -> str:
    """Whether agreement of a kind is that of people or simulated."""
    return KINDS[kind].partition(":")[0]


def curves_of(read: ReadTable, kind: str) -> pd.DataFrame:
    """Threshold curves of a kind of source with their fits, of the last of the classifiers that most tasks have."""
    key, fits = ["task", "source", "classifier", "corpus"], read("threshold_fits")
    fits = fits[[*key, "slope", "r2", "rho", "above_chance", "p_holm"]].rename(columns={"above_chance": "height"})
    curves = of_kind(read("threshold_curves").merge(fits, on=key), kind)
    tasks = curves.groupby("classifier", sort=False)["task"].nunique()
    return matching(curves, {"classifier": tasks.index[tasks == tasks.max()][-1]})


@drawing("accuracy_by_agreement", "Accuracy by agreement of people or a simulation, with bands of chance.")
def accuracy_by_agreement(read: ReadTable, look: Look, kind: str) -> Drawn:
    """Threshold curves, a panel per task and source."""
    curves = curves_of(read, kind)
    options: dict[str, Any] = {"columns": 5, "x": f"agreement at least ({who(kind)})", "y": "accuracy, percent"}
    figure = panels_by("row", curves, look, plot_threshold_curve, 1.85, **options)
    note = (
        f"{_about(curves, look)} Dashed, with 95 % bands: chance, as agreement reassigned within each class. Numbers "
        "above: how many points each curve runs above chance, in the legend's order; *: p < 0.05, Holm-corrected over "
        "all curves of the table; below them, how many items the lowest and the highest threshold leave."
    )
    return figure, note


def _about(curves: pd.DataFrame, look: Look) -> str:
    """What the curves are of."""
    (classifier,) = curves["classifier"].unique()
    about = f"Across: agreement at least; up: accuracy of {look.classifier(classifier)} in percent."
    return f"{about} Source: {'; '.join(curves['source'].unique())}."


def plot_threshold_curve(curve: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """Accuracy of the items with at least some agreement, by corpus: points, and chance's mean and band.

    `curve` holds one task's, source's and classifier's rows of the curves, with `height` and `p_holm` of their fits.
    """
    heights = []
    for part, series in look.by_corpus(curve):
        x, y, fit = part["threshold"], part["accuracy"], part.iloc[0]
        ax.fill_between(x, part["null_low"], part["null_high"], color=series.colour, alpha=0.15, linewidth=0)
        ax.plot(x, y - part["above_chance"], color=series.colour, linewidth=0.7, linestyle="--")
        plot_line(ax, x, y, series)
        heights.append("–" if pd.isna(fit["height"]) else signed(fit["height"]) + "*" * bool(fit["p_holm"] < 0.05))
    ax.set_title(f"{' '.join(heights)}\n{curve['items'].max()} to {curve['items'].min()} items", loc="left")
    ax.locator_params(nbins=4)
    return ax


@drawing(
    "threshold_fits",
    "Accuracy against the least agreement of an item's annotators as the paper draws it, with straight lines.",
)
def threshold_fits(read: ReadTable, look: Look, kind: str) -> Drawn:
    """The paper's own form of accuracy against agreement: points, straight lines, R^2 and Spearman's rho."""
    curves = curves_of(read, kind)
    curves = curves[curves["corpus"] != REAL]
    options: dict[str, Any] = {"columns": 5, "x": f"agreement at least ({who(kind)})", "y": "accuracy, percent"}
    figure = panels_by("row", curves, look, plot_threshold_fit, 1.85, **options)
    note = "Lines: least squares; above: R² and Spearman's rho, in the legend's order."
    return figure, f"{_about(curves, look)} {note} Points of a curve share most items: both are high even by chance."


def plot_threshold_fit(curve: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """The points of threshold curves with the lines of their fits."""
    r2, rho = [], []
    for part, series in look.by_corpus(curve):
        x, y, fit = part["threshold"], part["accuracy"], part.iloc[0]
        plot_line(ax, x, y, series, ls="")
        ax.plot(x, y.mean() + fit["slope"] / STEP * (x - x.mean()), color=series.colour, ls=series.dash, lw=0.9)
        r2.append("–" if pd.isna(fit["r2"]) else f"{fit['r2']:.2f}")
        rho.append("–" if pd.isna(fit["rho"]) else f"{fit['rho']:.2f}".replace("-", "−"))
    ax.set_title(f"R² {', '.join(r2)}\nrho {', '.join(rho)}", loc="left")
    ax.set_xlim(right=min(ax.get_xlim()[1], 1.02))  # nobody agrees more than wholly
    ax.locator_params(nbins=4)
    return ax


@drawing(
    "agreement_effects",
    "What more agreement of people or a simulation does to being right, in points and as odds ratios.",
)
def agreement_effects(read: ReadTable, look: Look, kind: str) -> Drawn:
    """Effects of agreement on being right, a line of panels per classifier: in points, and as odds ratios.

    No value, no mark.
    """
    models = read("agreement_models")
    fitted = models.groupby(["task", "source"])["odds_ratio"].transform("count") > 0
    models = of_kind(models[fitted], kind)
    parts = {name: matching(models, {"classifier": name}) for name in look.classifiers_in(models)}
    panels = [(*part, scale) for part in parts.items() for scale in EFFECTS]
    heights = [rows_height(row_titles(rows["row"].unique()), rows["term"].nunique()) for rows in parts.values()]
    options: dict[str, Any] = {"columns": len(EFFECTS), "left": ROW_TITLES, "sharey": "row"}
    if not look.width or look.width >= DOUBLE:  # else they stand one below another
        options["height_ratios"] = heights
    figure, axes = look.panels(len(panels), sum(heights) / len(heights), **options)
    for ax, (classifier, rows, scale) in zip(axes, panels, strict=True):
        plot_agreement_effects(rows, look, ax, scale)
        set_title(ax, f"{look.classifier(classifier)} ({who(kind)})")
        ax.set_xlabel(EFFECTS[scale])
    legend_above(figure, keys=grey_keys("over all marks of its kind here"))
    held = "Intervals hold items, draws and seeds, and new recordings of corpora that have several."
    held += " A row without marks: no model could be fitted, as the table says." if _has_gaps(models) else ""
    return figure, f"For 0.1 more agreement. {held} Source: {'; '.join(models['source'].unique())}."


def _has_gaps(models: pd.DataFrame) -> bool:
    """Whether a row of a panel has no mark."""
    return bool((models.groupby(["classifier", "row"])["odds_ratio"].count() == 0).any())


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
    models, rows = models.assign(filled=models[p] < 0.05), list(models["row"].unique())
    columns = {"row": "row", "value": scale, "by": "term", "low": low, "high": high, "filled": "filled"}
    ax.axvline(1 if odds else 0, color=QUIET, linewidth=0.7)
    plot_intervals(models, ax, series, rows=rows, titles=row_titles(rows), **columns)
    if not odds:
        return ax
    ax.set_xscale("log")
    left, right = ax.get_xlim()
    return log_axis(ax, FINE_ODDS if right < 4 * left else COARSE_ODDS)


@drawing(
    "predicted_agreement",
    "Human agreement against the agreement that an LLM estimated, and the lift in accuracy from either.",
)
def predicted_agreement(read: ReadTable, look: Look, task: str) -> Drawn:
    """For each human source of a task: its agreement where the LLM estimated about the same, and the lift by either."""
    bands, lifts = (matching(read(f"predicted_agreement_{name}"), {"task": task}) for name in ("bands", "recovered"))
    panels: list[tuple[Any, str, pd.DataFrame]] = []
    for source, own in bands.groupby("source", sort=False):
        panels.append((plot_reliability, row_title(task, str(source)), own))
        for classifier, rows in matching(lifts, {"source": str(source)}).groupby("classifier", sort=False):
            panels.append((plot_lifts, f"Lift, {look.classifier(str(classifier))}", rows))
    figure, axes = look.panels(len(panels), 1.9, columns=4, left=1.8)
    for ax, (plot, title, rows) in zip(axes, panels, strict=True):
        plot(rows, look, ax)
        set_title(ax, title)
    legend_above(figure)
    bounds = "Where a set names bands of agreement, human agreement is their lower bound."
    note = f"Dots: means of items, their number beside; dashed: as estimated. {bounds}"
    return figure, f"{note} Lift: from keeping agreed items first. {reach_note(read('predicted_agreement'))}"


def plot_reliability(bands: pd.DataFrame, _: Look, ax: Axes) -> Axes:
    """Human agreement where the LLM estimated about the same; `bands` has one source's rows of `agreement_bands`."""
    ax.plot([0.4, 1], [0.4, 1], color="#999999", linestyle="--", linewidth=0.7)
    ax.vlines(bands["estimated"], bands["low"], bands["high"], color=INK)
    ax.scatter(bands["estimated"], bands["human"], color=INK, s=14, zorder=3)
    for row in bands.itertuples():
        ax.annotate(f"  {row.items}", (row.estimated, row.human), va="center", fontsize=SMALLEST)
    ax.set(xlabel="estimated by the LLM", ylabel="human agreement")
    return ax


def plot_lifts(table: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """Lift by human and by estimated agreement; `table` has one source's and classifier's rows of `recovered_lift`."""
    titles = [look.title(corpus) for corpus in table["corpus"]]
    series = {"human": Series("human agreement", INK, "o"), "estimated": Series("estimated agreement", QUIET, "D")}
    lifts = [
        table.filter(regex=f"^{name}_").set_axis(["lift", "low", "high"], axis=1).assign(row=titles, agreement=name)
        for name in series
    ]
    ax.axvline(0, color=QUIET, linewidth=0.7)
    plot_intervals(pd.concat(lifts), ax, series, rows=titles, titles=titles, row="row", value="lift", by="agreement")
    ax.set_xlabel("points of accuracy")
    return ax


@drawing("agreement_over_time", "Krippendorff's alpha of each label by month, with 95 % intervals.")
def over_time(read: ReadTable, look: Look, _: str) -> Drawn:
    """Alpha by month, a panel for each label of the first dated set."""
    table = read("agreement_over_time")
    months = matching(table, {"source": table["source"].iloc[0], "windows": MONTHS})
    months = months[months["items"] >= FEWEST_ITEMS]
    options: dict[str, Any] = {"columns": 4, "y": "alpha", "sharex": True, "sharey": True}
    figure = panels_by("label", months, look, plot_months, 1.1, **options)
    note = "A label is present or absent; intervals are over items and people, and cut at −0.5."
    return figure, f"{note} Who judged differs by month. Source: {months['source'].iloc[0]}."


def plot_months(rows: pd.DataFrame, _: Look, ax: Axes) -> Axes:
    """One label's alpha by month."""
    middle = pd.to_datetime(rows["first"]) + (pd.to_datetime(rows["last"]) - pd.to_datetime(rows["first"])) / 2
    ax.axhline(0, color=QUIET, linewidth=0.7)
    ax.vlines(middle, rows["alpha_low"], rows["alpha_high"], color=INK)
    ax.plot(middle, rows["alpha"], "o", color=INK)
    ax.set_ylim(-0.5, 1)
    ax.xaxis.set_major_locator(MonthLocator(interval=2))
    ax.xaxis.set_major_formatter(DateFormatter("%b"))
    return ax


@drawing(
    "panel_sizes",
    "How far an item's agreement by a few annotators is from that by many, and how often they have one majority.",
)
def panel_sizes(read: ReadTable, look: Look, _: str) -> Drawn:
    """How far panels of some size are from all who judged: two panels, error and the majority's label."""
    table = read("panel_sizes")
    table = matching(table, {"source": table["source"].iloc[0]})
    shown = {"error": "error of an item's agreement", "same_majority": "same majority label, percent"}
    figure, axes = look.panels(len(shown), 1.6, columns=2)
    for ax, (name, title) in zip(axes, shown.items(), strict=True):
        size = table["annotators"]
        ax.vlines(size, table[f"{name}_low"], table[f"{name}_high"], color=INK)
        ax.plot(size, table[name], "o-", color=INK, linewidth=0.8)
        set_title(ax, title)
        ax.set_xlabel("annotators of an item")
        log_axis(ax, size.tolist())
    first = table.iloc[0]
    panels = f"{first['items']} items, each judged by {first['fewest']} to {first['most']} of {first['people']} people"
    note = f"Panels of a few against all: {panels}; 95 % intervals over items and people. Source: {first['source']}."
    return figure, note


DRAWINGS = (
    *(task_levels, task_scores, agreement_by_source, accuracy_by_agreement, threshold_fits, agreement_effects),
    *(predicted_agreement, over_time, panel_sizes),
)
