"""The figures of 01: lengths and numbers of texts, and LLMs side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
from matplotlib.axes import Axes

from synthgap.figures import (
    Drawing,
    Drawn,
    Look,
    Series,
    legend_above,
    log_axis,
    plot_intervals,
    rows_beside,
    short_title,
    task_order,
)
from synthgap.generation.design import DESIGN
from synthgap.generation.llms import BOX
from synthgap.tables import ReadTable

TICKS = [digit * 10**power for power in range(7) for digit in (1, 3)]
MEASURES = {"yield": ("Usable share", "of those received"), "words": ("Length", "words per text")}
SHARE_OF_ROW = 0.8  # that the boxes or bars of a task take


def draw_text_lengths(read: ReadTable, look: Look, part: str) -> Drawn:
    return _one_panel(read("text_lengths"), look, plot_lengths)


def draw_text_counts(read: ReadTable, look: Look, part: str) -> Drawn:
    return _one_panel(read("text_lengths"), look, plot_counts)


def _one_panel(lengths: pd.DataFrame, look: Look, plot: Callable[[pd.DataFrame, Look, Axes], Axes]) -> Drawn:
    figure, (ax,) = look.panels(1, _height(lengths))
    legend_above(figure, plot(lengths, look, ax))
    return figure, ""


def draw_llms(read: ReadTable, look: Look, part: str) -> Drawn:
    """A panel for each measure of MEASURES, with 95 % intervals."""
    llms = read("llms")
    tasks, series = task_order(llms), look.among(look.present(llms))
    titles = [short_title(task) for task in tasks]
    figure, axes = look.panels(len(MEASURES), _height(llms), sharey=True)
    for (measure, (title, axis)), ax in zip(MEASURES.items(), axes, strict=True):
        low, high = f"{measure}_low", f"{measure}_high"
        plot_intervals(llms, ax, series, rows=tasks, titles=titles, value=measure, low=low, high=high)
        ax.set(title=title, xlabel=axis)
    axes[0].set_xlim(min(0.89, axes[0].get_xlim()[0]), 1.01)
    legend_above(figure, axes[0])
    return figure, ""


def _height(table: pd.DataFrame) -> float:
    """Of a panel with a row for each task, in inches."""
    return 1.2 + 0.45 * table["task"].nunique()


def plot_lengths(lengths: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """Words per text by task and corpus, as boxes; `lengths` as `llms.text_lengths` gives it."""
    for rows, series, places, height in _beside(lengths, look, ax):
        ax.bxp(
            rows.rename(columns=BOX).to_dict("records"),
            positions=places,
            widths=0.9 * height,
            orientation="horizontal",
            showfliers=False,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": series.colour, "linewidth": 0.8},
            medianprops={"color": "white"},
            label=series.title,
        )
    ax.set(xlabel="words per text (boxes: quartiles)", title="Length of the texts")
    return log_axis(ax, TICKS)


def plot_counts(lengths: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """Number of texts by task and corpus; `lengths` as `llms.text_lengths` gives it."""
    for rows, series, places, height in _beside(lengths, look, ax):
        ax.barh(places, rows["texts"], height, color=series.colour, label=series.title)
    ax.set(xlabel="training texts (log scale)", title="Texts that can be trained on")
    return log_axis(ax, TICKS)


def _beside(table: pd.DataFrame, look: Look, ax: Axes) -> Iterator[tuple[pd.DataFrame, Series, list[float], float]]:
    """For each corpus its rows by task, its look, where the marks of these stand on `ax`, and how high one may be."""
    tasks, corpora = task_order(table), list(look.by_corpus(table))
    height = SHARE_OF_ROW / len(corpora)
    ax.set_yticks(range(len(tasks)), [short_title(task) for task in tasks])
    ax.set(ylim=(len(tasks) - 0.5, -0.5))
    ax.grid(visible=False, axis="y")
    for number, (rows, series) in enumerate(corpora):
        places = rows_beside(len(tasks), number, len(corpora), height)
        yield rows.set_index("task").reindex(tasks), series, places, height


TEXT_LENGTHS = Drawing(
    "text_lengths", "Words per text by task and corpus, as boxes from quartile to quartile.", draw_text_lengths
)
TEXT_COUNTS = Drawing("text_counts", "Number of texts that can be trained on, by task and corpus.", draw_text_counts)
LLMS = Drawing(
    "llms", "Usable share of the texts and their length, by task and corpus, with 95 % intervals over turns.", draw_llms
)
DRAWINGS = (DESIGN, TEXT_LENGTHS, TEXT_COUNTS, LLMS)
