"""The figure of own files: the real learning curve, and where each corpus lies beside it."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from synthgap.core.config import REAL
from synthgap.figures import COLOURS, MARKERS, Drawing, Drawn, Look, Series, classifiers_of, legend_above, plot_curves
from synthgap.tables import ReadTable, matching


def draw_curve(read: ReadTable, look: Look, _: str) -> Drawn:
    """Macro-F1 against training texts per label, a panel for each classifier."""
    points = read("own_curve")
    own = own_look(points, look)
    classifiers = classifiers_of(points)
    figure, axes = own.panels(len(classifiers), 3.5, columns=3, sharey=True)
    for ax, classifier in zip(axes, classifiers, strict=True):
        plot_own(matching(points, {"classifier": classifier}), own, ax)
        ax.set_title(classifier, fontsize="small")
    axes[0].set_ylabel("macro-F1")
    legend_above(figure, axes[0])
    return figure, "Across: training texts per label. Bands and bars: 95 % intervals, for these files."


def own_look(points: pd.DataFrame, look: Look) -> Look:
    """How the corpora of a table with the column title look."""
    titles = points[points["corpus"] != REAL].drop_duplicates("corpus").set_index("corpus")["title"]
    series = {
        name: Series(title, COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)])
        for at, (name, title) in enumerate(titles.items())
    }
    return Look({REAL: Series("Real", "#4d4d4d", "s"), **series}, look.width)


def plot_own(points: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """The real curve with its band, and every other corpus with its bar."""
    columns = {"texts_per_label": "n", "macro_f1": "value", "macro_f1_low": "low", "macro_f1_high": "high"}
    curves = points.rename(columns=columns)
    for rows, series in look.by_corpus(curves[curves["corpus"] != REAL]):
        ax.vlines(rows["n"], rows["low"], rows["high"], color=series.colour)
    return plot_curves(curves, look, ax)


CURVE = Drawing(
    "own_curve",
    "Macro-F1 against real training texts per label, and of each synthetic corpus, by classifier.",
    draw_curve,
)
DRAWINGS = (CURVE,)
