"""The figures of 10_decision, each drawn from saved tables."""

from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from synthgap.decision.costs import LLM
from synthgap.decision.rule import RULES
from synthgap.decision.winners import TITLES
from synthgap.evaluation.scores import METRIC
from synthgap.figures import (
    INK,
    REFERENCE,
    Drawn,
    Look,
    Series,
    drawing,
    interval_panels,
    others_of,
    panels_by,
    plot_line,
    series_of,
    task_panels,
)
from synthgap.tables import ReadTable, matching
from synthgap.training.strategies import ALONE


def strategies_look(look: Look) -> Look:
    """How strategies look, the same in every figure."""
    others = {name: title for name, title in TITLES.items() if name != ALONE}
    own = {ALONE: Series(TITLES[ALONE], *REFERENCE), **series_of(others), LLM: Series("the LLM itself", INK, "*")}
    return replace(look, corpora=own)


@drawing("strategies", "Score by task against real labels spent, a line for each strategy.")
def strategies(read: ReadTable, look: Look, classifier: str) -> Drawn:
    table = matching(read("strategies"), {"classifier": classifier}).rename(columns={"strategy": "corpus"})
    figure = task_panels(table, strategies_look(look), plot_strategies, 1.5, x="real labels", y="macro-F1")
    note = f"Classifier: {look.classifier(classifier)}. Across: real labels of each class."
    return figure, f"{note} Strategies that need none go on unchanged."


def plot_strategies(rows: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """One task's scores; the numbers of labels stand at equal distances."""
    numbers = sorted(rows["real_labels"].unique())
    for own, series in look.by_corpus(rows.sort_values("real_labels")):
        places = [numbers.index(n) for n in own["real_labels"]]
        plot_line(ax, places, own[METRIC], series)
    ax.set_xticks(range(len(numbers)), numbers)
    return ax


@drawing("strategy_gains", "What strategies gain over real texts alone, means over tasks.")
def gains(read: ReadTable, look: Look, _: str) -> Drawn:
    """Gains over real texts alone, means over tasks: a panel for each classifier, a row for each number of labels."""
    table = read("strategies_over_tasks")
    table = table[(table["real_labels"] > 0) & (table["strategy"] != ALONE)]
    table = table.sort_values("real_labels", kind="stable")
    table = table.assign(corpus=table["strategy"], row=[f"{n} labels" for n in table["real_labels"]])
    shown: dict[str, Any] = {"row": "row", "label": "points of macro-F1 over real texts alone", "line": 0}
    figure = interval_panels(table, strategies_look(look), value="gain", **shown)
    return figure, "Means over the tasks that have all strategies; lines: 95 % intervals over tasks."


@drawing("decision_regret", "What a choice without a test set loses against the best, by task.")
def regret(read: ReadTable, look: Look, _: str) -> Drawn:
    """What the choices lose by task, a panel for each number of labels; of the first classifier."""
    table = read("decision_regret")
    classifier = look.classifiers_in(table)[0]
    rows = matching(table, {"classifier": classifier}).melt(["task", "real_labels"], list(RULES), "rule_", "lost")
    rows = rows.assign(panel=[f"{n} labels a class" for n in rows["real_labels"]], low=rows["lost"], high=rows["lost"])
    series = {"never": Series(RULES["never"], *REFERENCE)}
    series |= others_of({name: title for name, title in RULES.items() if name not in series})
    shown: dict[str, Any] = {"series": series, "by": "rule_", "panel": "panel", "label": "points lost", "line": 0}
    figure = interval_panels(rows, look, value="lost", **shown)
    return figure, f"Points of macro-F1 that a choice loses against the best strategy, {look.classifier(classifier)}."


@drawing("costs", "Score against cost, by strategy, number of real labels and classifier.")
def costs(read: ReadTable, look: Look, _: str) -> Drawn:
    """Score against cost, a panel for each classifier and for what is counted."""
    table, own = read("costs"), strategies_look(look)
    table = table[table["tasks"] == table["tasks"].max()]
    parts = []
    for classifier in [name for name in look.classifiers_in(table) if name != LLM]:
        rows, title = table[table["classifier"].isin([classifier, LLM])], look.classifier(classifier)
        rows = rows.assign(corpus=rows["strategy"])
        parts += [
            rows.assign(spent=rows["cost"], panel=f"{title}\nuntil it is trained"),
            rows.assign(spent=rows["cost"] + rows["million"], panel=f"{title}\nwith a million predictions"),
        ]
    options: dict[str, Any] = {"columns": 2, "sharey": True, "x": "cost at example prices", "y": "macro-F1"}
    figure = panels_by("panel", pd.concat(parts), own, plot_costs, 1.9, **options)
    note = f"Means over {table['tasks'].max()} tasks, at those numbers of labels that all of them have."
    return figure, f"{note} Along a line more real labels are bought."


def plot_costs(rows: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """Score against money, on a scale that has a place for what costs nothing."""
    positive = rows.loc[rows["spent"] > 0, "spent"]
    ax.set_xscale("symlog", linthresh=float(positive.min()) if len(positive) else 1.0)
    for own, series in look.by_corpus(rows.sort_values("real_labels")):
        shown = own.drop_duplicates("spent")
        plot_line(ax, shown["spent"], shown[METRIC], series, ms=4)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    return ax


DRAWINGS = (strategies, gains, regret, costs)
