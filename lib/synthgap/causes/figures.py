"""The figures of 07_causes, each drawn from saved tables."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from synthgap.causes.summary import FEW
from synthgap.figures import INK, Drawing, Drawn, Look, drawing, interval_panels, panels_by, plot_line
from synthgap.tables import ReadTable

RARE = 0.005  # share of the decisions below which a bin says nothing
VIEWS = {"length": "length", "surface": "surface", "embedding": "embedding"}
REMEDIES = {  # {(section, measure): what was done}
    ("length", "gap"): "nothing done",
    ("length", "left"): "length matched",
    ("recitation", "without"): "without recited texts",
    ("bias", "told"): "class shares told",
    ("cleaning", "own_folds"): "cleaned by its own folds",
    ("cleaning", "classifiers"): "cleaned by two classifiers",
    ("cleaning", "recordings"): "cleaned by other recordings",
    ("cleaning", "teacher_few"): f"cleaned, {FEW} real labels each",
    ("cleaning", "few_real"): f"those {FEW} real texts each alone",
    ("cleaning", "teacher"): "cleaned, all real labels",
    ("cleaning", "weighted"): "weighted, all real labels",
    ("cleaning", "relabelled"): "relabelled, all real labels",
}


def remedies(means: pd.DataFrame) -> pd.DataFrame:
    """Of `summary.all_sections` what is left of the gap after each of REMEDIES, which the column `remedy` names."""
    named = [REMEDIES.get(key) for key in zip(means["section"], means["measure"], strict=True)]
    order = {title: place for place, title in enumerate(REMEDIES.values())}
    rows = means.assign(remedy=named).dropna(subset="remedy")
    return rows.sort_values("remedy", key=lambda titles: titles.map(order), kind="stable", ignore_index=True)


def _by_task(name: str, alt: str, titles: Mapping[str, str], label: str, line: float = 0) -> Drawing:
    """A drawing with a panel for each measure of the table of its name: the corpora's values by task."""

    def draw(read: ReadTable, look: Look, _: str) -> Drawn:
        rows = read(name)
        rows = rows.assign(part=rows["measure"].map(titles)).dropna(subset="part")
        rows = rows.sort_values("measure", key=lambda names: names.map(list(titles).index), kind="stable")
        shown: dict[str, Any] = {"label": label, "lines": ("95 % interval over draws of texts", "over recordings, too")}
        figure = interval_panels(rows, look, value="value", panel="part", line=line, **shown)
        return figure, "Lines: 95 % intervals over draws of texts; thin ones, where there are any: over recordings too."

    return Drawing(name, alt, draw)


@drawing("reliability", "Accuracy against confidence, by classifier and corpus.")
def reliability(read: ReadTable, look: Look, _: str) -> Drawn:
    options: dict[str, Any] = {"columns": 3, "sharey": True, "x": "confidence", "y": "accuracy"}
    figure = panels_by("classifier", read("reliability"), look, plot_reliability, 1.9, **options)
    note = "Ten bins of confidence, all tasks together, without rare ones."
    return figure, f"{note} Below the line a classifier is surer than it may be."


def plot_reliability(bins: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """One classifier of `decisions.calibration`'s curves."""
    ax.plot([0, 1], [0, 1], color=INK, linewidth=plt.rcParams["axes.linewidth"])
    bins = bins[bins["share"] >= RARE]
    for rows, series in look.by_corpus(bins):
        plot_line(ax, rows["confidence"], rows["accuracy"], series)
    ax.set(xlim=(bins["confidence"].min() - 0.05, 1.02), ylim=(0, 1.02))
    return ax


@drawing("remedies", "What is left of the gap after each remedy, mean over tasks with intervals.")
def remedies_figure(read: ReadTable, look: Look, _: str) -> Drawn:
    table = remedies(read("causes_over_tasks")).assign(panel="Mean over tasks")
    label, lines = "what is left of the gap (macro-F1)", ("95 % interval over tasks", "over recordings, too")
    shown: dict[str, Any] = {"row": "remedy", "panel": "panel", "label": label, "lines": lines}
    figure = interval_panels(table, look, value="value", line=0, **shown)
    return figure, "Lines: 95 % intervals over tasks; thin ones, where there are any: over recordings, too."


POINTS = "points of macro-F1"
length_gap = _by_task(
    "length_gap",
    "The gap to real texts by task: of all texts, of texts of like length, and of as many random ones.",
    {"gap": "the gap", "matched": "like length", "random": "as many at random"},
    POINTS,
)
telling_apart = _by_task(
    "telling_apart",
    "How well synthetic texts can be told from real ones by length, surface and embedding, by task.",
    VIEWS,
    "AUC",
    line=0.5,
)
label_gap = _by_task(
    "label_gap",
    "The gap to real texts by task, and what of it inputs and labels account for, with intervals.",
    {"gap": "the gap", "inputs": "of it: inputs", "labels": "of it: labels"},
    POINTS,
)
class_bias = _by_task(
    "class_bias",
    "The gap by task, as it is and after both classifiers are told the test's class shares.",
    {"gap": "the gap", "told": "class shares told"},
    POINTS,
)
cleaning = _by_task(
    "cleaning",
    "The gap by task, without texts that a teacher doubts, and without as many at random.",
    {"gap": "the gap", "teacher": "without doubted ones", "teacher_random": "as many at random"},
    POINTS,
)
recitation = _by_task(
    "recitation",
    "The share of texts that share six words in a row with a real train or test text, by task and corpus.",
    {"train": "with a train text", "test": "with a test text"},
    "percent of texts",
)
DRAWINGS = (
    *(length_gap, telling_apart, label_gap, class_bias, reliability),
    *(cleaning, recitation, remedies_figure),
)
