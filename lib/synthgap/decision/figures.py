"""The figures of 10_decision, each drawn from saved tables."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from synthgap.decision.costs import LLM
from synthgap.decision.rule import RULES
from synthgap.decision.winners import TITLES
from synthgap.evaluation.scores import METRIC
from synthgap.figures import (
    COLOURS,
    INK,
    MARKERS,
    Drawing,
    Drawn,
    Look,
    Series,
    classifiers_of,
    interval_panels,
    legend_above,
    plot_intervals,
    task_panels,
)
from synthgap.tables import ReadTable, matching
from synthgap.training.strategies import ALONE

GREY = "#4d4d4d"


def strategies_look(look: Look) -> Look:
    """How strategies look, the same in every figure."""
    others = [name for name in TITLES if name != ALONE]
    marks = {
        name: Series(TITLES[name], COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)])
        for at, name in enumerate(others)
    }
    own = {ALONE: Series(TITLES[ALONE], GREY, "s"), **marks, LLM: Series("the LLM itself", INK, "*")}
    return Look(own, look.width)


def draw_strategies(read: ReadTable, look: Look, classifier: str) -> Drawn:
    """A panel for each task: score against real labels spent, a line for each strategy."""
    table = matching(read("strategies"), {"classifier": classifier}).rename(columns={"strategy": "corpus"})
    figure = task_panels(table, strategies_look(look), plot_strategies, 1.8)
    return figure, "Across: real labels of each class. Strategies that need none go on unchanged."


def plot_strategies(rows: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """One task's scores; the numbers of labels stand at equal distances."""
    numbers = sorted(rows["real_labels"].unique())
    for own, series in look.by_corpus(rows.sort_values("real_labels")):
        places = [numbers.index(n) for n in own["real_labels"]]
        size = plt.rcParams["lines.markersize"] * 0.6
        ax.plot(places, own[METRIC], series.marker, ls="-", lw=1, color=series.colour, label=series.title, ms=size)
    ax.set_xticks(range(len(numbers)), numbers)
    return ax


def draw_gains(read: ReadTable, look: Look, _: str) -> Drawn:
    """Gains over real texts alone, means over tasks: a panel for each classifier, a row for each number of labels."""
    table = read("strategies_over_tasks")
    table = table[(table["real_labels"] > 0) & (table["strategy"] != ALONE)]
    numbers, classifiers = sorted(table["real_labels"].unique()), classifiers_of(table)
    own = strategies_look(look)
    series = {name: one for name, one in own.corpora.items() if name in set(table["strategy"])}
    figure, axes = own.panels(len(classifiers), 0.95 * len(numbers) + 0.5, columns=2, sharey=True)
    for ax, classifier in zip(axes, classifiers, strict=True):
        ax.axvline(0, color=INK, linewidth=plt.rcParams["axes.linewidth"])
        rows, titles = matching(table, {"classifier": classifier}), [f"{n} labels" for n in numbers]
        plot_intervals(rows, ax, series, rows=numbers, titles=titles, value="gain", row="real_labels", by="strategy")
        ax.set_title(classifier, fontsize="small")
        ax.set_xlabel("points of macro-F1 over real texts alone", fontsize="small")
    legend_above(figure, axes[0])
    return figure, "Means over the tasks that have all strategies; lines: 95 % intervals over tasks."


def draw_regret(read: ReadTable, look: Look, _: str) -> Drawn:
    """What the choices lose by task, a panel for each number of labels; of the first classifier."""
    table = read("decision_regret")
    classifier = classifiers_of(table)[0]
    rows = matching(table, {"classifier": classifier}).melt(["task", "real_labels"], list(RULES), "rule_", "lost")
    rows = rows.assign(panel=[f"{n} labels a class" for n in rows["real_labels"]], low=rows["lost"], high=rows["lost"])
    series = {name: Series(title, COLOURS[at], MARKERS[at]) for at, (name, title) in enumerate(RULES.items())}
    figure, axes = interval_panels(
        rows, look, value="lost", series=series, by="rule_", panel="panel", label="points lost", line=0
    )
    legend_above(figure, axes[0])
    return figure, f"Points of macro-F1 that a choice loses against the best strategy, {classifier}."


def draw_costs(read: ReadTable, look: Look, _: str) -> Drawn:
    """Score against cost, a panel for each classifier and for what is counted."""
    table, own = read("costs"), strategies_look(look)
    table = table[table["tasks"] == table["tasks"].max()]
    classifiers = [name for name in classifiers_of(table) if name != LLM]
    figure, axes = own.panels(2 * len(classifiers), 3.2, columns=2, sharey=True)
    for place, classifier in enumerate(classifiers):
        rows = table[table["classifier"].isin([classifier, LLM])]
        for ax, (cost, title) in zip(
            axes[2 * place :],
            [(rows["cost"], "until it is there"), (rows["cost"] + rows["million"], "and a million predictions")],
            strict=False,
        ):
            plot_costs(rows.assign(spent=cost, corpus=rows["strategy"]), own, ax)
            ax.set_title(f"{classifier}, {title}", fontsize="small")
    axes[0].set_ylabel("macro-F1")
    legend_above(figure, axes[0])
    note = f"Means over {table['tasks'].max()} tasks, at those numbers of labels that all of them have; example prices."
    return figure, f"{note} Along a line more real labels are bought."


def plot_costs(rows: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """Score against money, on a scale that has a place for what costs nothing."""
    positive = rows.loc[rows["spent"] > 0, "spent"]
    ax.set_xscale("symlog", linthresh=float(positive.min()) if len(positive) else 1.0)
    for own, series in look.by_corpus(rows.sort_values("real_labels")):
        shown = own.drop_duplicates("spent")
        size = plt.rcParams["lines.markersize"]
        ax.plot(
            shown["spent"], shown[METRIC], series.marker, ls="-", lw=1, color=series.colour, label=series.title, ms=size
        )
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_xlabel("cost", fontsize="small")
    return ax


STRATEGIES = Drawing(
    "strategies", "Score by task against real labels spent, a line for each strategy.", draw_strategies
)
GAINS = Drawing("strategy_gains", "What strategies gain over real texts alone, means over tasks.", draw_gains)
REGRET = Drawing("decision_regret", "What a choice without a test set loses against the best, by task.", draw_regret)
COSTS = Drawing("costs", "Score against cost, by strategy, number of real labels and classifier.", draw_costs)
DRAWINGS = (STRATEGIES, GAINS, REGRET, COSTS)
