"""What is drawn of prompts, from saved tables alone."""

import math
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from synthgap.figures import INK, QUIET, Drawing, Drawn, Look, drawing, interval_panels, panels_by
from synthgap.prompting.effects import ALL, MEASURES
from synthgap.tables import ReadTable

NEW = "Lines: 95 % intervals; of new recordings, a variant's single one taken to vary as its control's do."


def _by_task(name: str, alt: str, label: str, chosen: Callable[[pd.DataFrame], pd.Series]) -> Drawing:
    """Changes by task, tasks in the paper's order, of those rows of a table that `chosen` marks."""

    def draw(read: ReadTable, look: Look, _: str) -> Drawn:
        rows = read(name)
        rows = rows[rows["task"].ne(ALL) & chosen(rows)]
        return interval_panels(rows, look, value="change", label=label, line=0), NEW

    return Drawing(name, alt, draw)


@drawing("diversity_prompts", "Change in diversity and change in macro-F1 of each diversity prompt, by task.")
def diversity(read: ReadTable, look: Look, _: str) -> Drawn:
    """A panel for each measure: its change and that of the score, a mark for each task and variant."""
    scores, texts = read("diversity_prompts"), read("diversity_prompts_texts")
    both = texts.merge(scores, on=["task", "corpus", "control"], suffixes=("_texts", ""))
    both = both[both["task"].ne(ALL)]
    both = both.assign(panel=both["measure"].map({name: f"change in {title}" for name, title in MEASURES.items()}))
    options: dict[str, Any] = {"columns": 3, "sharey": True, "y": "change in macro-F1, points"}
    figure = panels_by("panel", both, look, plot_diversity, 1.8, **options)
    note = "A mark for each task. Grey: a task's median margin, within which nothing is told from the control."
    return figure, note


def plot_diversity(rows: pd.DataFrame, look: Look, ax: Axes) -> None:
    """One measure: the change in macro-F1 against that in diversity."""
    ax.axhspan(*_band(rows["margin"]), color=QUIET, alpha=0.15, linewidth=0)
    ax.axvspan(*_band(rows["margin_texts"]), color=QUIET, alpha=0.15, linewidth=0)
    for part, series in look.by_corpus(rows):
        ax.plot(part["change_texts"], part["change"], series.marker, color=series.colour, label=series.title)
    ax.axhline(0, color=INK, linewidth=plt.rcParams["axes.linewidth"])


def _band(margins: pd.Series) -> tuple[float, float]:
    half = float(margins.median())
    return (0.0, 0.0) if math.isnan(half) else (-half, half)


examples = _by_task(
    "examples_against_none",
    "The change in macro-F1 by task and number of real examples, against none.",
    "points against no examples",
    lambda rows: rows["corpus"].ne(""),
)
guideline = _by_task(
    "guideline",
    "The gap to the reference by task: zero-shot, with a guideline, and few-shot.",
    "gap in points",
    lambda rows: rows["control"].eq(rows["control"].iloc[0]),
)
DRAWINGS = (examples, guideline, diversity)
