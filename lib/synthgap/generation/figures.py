"""The figures of 01: lengths and numbers of texts, and LLMs side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from synthgap.figures import (
    Drawing,
    Drawn,
    Look,
    Series,
    log_axis,
    plot_intervals,
    rows_beside,
    short_title,
    task_order,
)
from synthgap.generation.llms import BOX
from synthgap.tables import ReadTable

TICKS = [digit * 10**power for power in range(7) for digit in (1, 3)]
MEASURES = {"yield": ("Usable share", "of those received"), "words": ("Length", "words per text")}
Plot = Callable[[pd.DataFrame, Mapping[str, Series], Axes], Axes]
SHARE_OF_ROW = 0.8  # that the boxes or bars of a task take


def draw_by_corpus(plot: Plot, read: ReadTable, look: Look, part: str) -> Drawn:
    """One panel of the lengths or numbers of texts."""
    lengths = read("text_lengths")
    figure, (ax,) = look.panels(1, _height(lengths))
    return _with_legend(figure, plot(lengths, look.among(look.present(lengths)), ax)), ""


def draw_llms(read: ReadTable, look: Look, part: str) -> Drawn:
    """A panel for each measure of MEASURES."""
    llms = read("llms")
    figure, axes = look.panels(len(MEASURES), _height(llms), sharey=True)
    for measure, ax in zip(MEASURES, axes, strict=True):
        plot_llms(llms, measure, look.among(look.present(llms)), ax)
    return _with_legend(figure, axes[0]), ""


def plot_lengths(lengths: pd.DataFrame, series: Mapping[str, Series], ax: Axes) -> Axes:
    """Words per text by task and corpus, as boxes; `lengths` as `llms.text_lengths` gives it."""
    for look, rows, places, height in _beside(lengths, series, ax):
        ax.bxp(
            rows.rename(columns=BOX).to_dict("records"),
            positions=places,
            widths=0.9 * height,
            orientation="horizontal",
            showfliers=False,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": look.colour, "linewidth": 0.8},
            medianprops={"color": "white"},
            label=look.title,
        )
    ax.set(xlabel="words per text (boxes: quartiles)", title="Length of the texts")
    return log_axis(ax, TICKS)


def plot_counts(lengths: pd.DataFrame, series: Mapping[str, Series], ax: Axes) -> Axes:
    """Number of texts by task and corpus; `lengths` as `llms.text_lengths` gives it."""
    for look, rows, places, height in _beside(lengths, series, ax):
        ax.barh(places, rows["texts"], height, color=look.colour, label=look.title)
    ax.set(xlabel="training texts (log scale)", title="Texts that can be trained on")
    return log_axis(ax, TICKS)


def plot_llms(llms: pd.DataFrame, measure: str, series: Mapping[str, Series], ax: Axes) -> Axes:
    """One of MEASURES by task and corpus, with 95 % intervals; `llms` as `llms.compare_llms` gives it."""
    tasks = task_order(llms)
    titles, low, high = [short_title(task) for task in tasks], f"{measure}_low", f"{measure}_high"
    plot_intervals(llms, ax, series, rows=tasks, titles=titles, value=measure, low=low, high=high)
    title, axis = MEASURES[measure]
    ax.set(title=title, xlabel=axis)
    if measure == "yield":
        ax.set_xlim(min(0.89, ax.get_xlim()[0]), 1.01)
    return ax


def _beside(
    table: pd.DataFrame, series: Mapping[str, Series], ax: Axes
) -> Iterator[tuple[Series, pd.DataFrame, list[float], float]]:
    """For each corpus its look, its rows by task, where the marks of these stand on `ax`, and how high one may be."""
    tasks, height = task_order(table), SHARE_OF_ROW / len(series)
    ax.set_yticks(range(len(tasks)), [short_title(task) for task in tasks])
    ax.set(ylim=(len(tasks) - 0.5, -0.5))
    ax.grid(visible=False, axis="y")
    for number, (corpus, look) in enumerate(series.items()):
        rows = table[table["corpus"] == corpus].set_index("task").reindex(tasks)
        yield look, rows, rows_beside(len(tasks), number, len(series), height), height


def _height(table: pd.DataFrame) -> float:
    """Of a panel with a row for each task, in inches."""
    return 1.8 + 0.45 * table["task"].nunique()


def _with_legend(figure: Figure, ax: Axes) -> Figure:
    """The figure with a panel's keys above it."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", frameon=False, ncols=min(4, len(labels)))
    return figure


TEXT_LENGTHS = Drawing(
    "text_lengths",
    "Words per text by task and corpus, as boxes from quartile to quartile.",
    partial(draw_by_corpus, plot_lengths),
)
TEXT_COUNTS = Drawing(
    "text_counts",
    "Number of texts that can be trained on, by task and corpus.",
    partial(draw_by_corpus, plot_counts),
)
LLMS = Drawing(
    "llms", "Usable share of the texts and their length, by task and corpus, with 95 % intervals over turns.", draw_llms
)
DRAWINGS = (TEXT_LENGTHS, TEXT_COUNTS, LLMS)
