"""The figure of own files: the real learning curve, and where each corpus lies beside it."""

from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from synthgap.core.config import REAL
from synthgap.figures import REFERENCE, Drawn, Look, Series, drawing, panels_by, plot_curves, series_of
from synthgap.tables import ReadTable


@drawing("own_curve", "Macro-F1 against real training texts per label, and of each synthetic corpus, by classifier.")
def own_curve(read: ReadTable, look: Look, _: str) -> Drawn:
    """Macro-F1 against training texts per label, a panel for each classifier."""
    points = read("own_curve")
    options: dict[str, Any] = {"columns": 3, "sharey": True, "x": "training texts per label", "y": "macro-F1"}
    figure = panels_by("classifier", points, own_look(points, look), plot_own, 2.0, **options)
    return figure, "Across: training texts per label. Bands and bars: 95 % intervals, for these files."


def own_look(points: pd.DataFrame, look: Look) -> Look:
    """How the corpora of a table with the column title look."""
    titles = points[points["corpus"] != REAL].drop_duplicates("corpus").set_index("corpus")["title"]
    return replace(look, corpora={REAL: Series("Real", *REFERENCE), **series_of(dict(titles))})


def plot_own(points: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """The real curve with its band, and every other corpus with its bar."""
    columns = {"texts_per_label": "n", "macro_f1": "value", "macro_f1_low": "low", "macro_f1_high": "high"}
    curves = points.rename(columns=columns)
    for rows, series in look.by_corpus(curves[curves["corpus"] != REAL]):
        ax.vlines(rows["n"], rows["low"], rows["high"], color=series.colour)
    return plot_curves(curves, look, ax)


DRAWINGS = (own_curve,)
