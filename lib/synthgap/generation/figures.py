"""The figures of 01: lengths and numbers of texts, and LLMs side by side."""

import pandas as pd

from synthgap.figures import Drawn, Look, drawing, interval_panels, log_axis
from synthgap.generation.design import design
from synthgap.tables import ReadTable

TICKS = [digit * 10**power for power in range(7) for digit in (1, 3)]
MEASURES = {"yield": "Usable share of those received", "words": "Words per text"}
BOX = {"quartile_1": "low", "quartile_3": "high", "whisker_low": "new_low", "whisker_high": "new_high"}
BOX_LINES = ("middle half of the texts", "all but outliers")


@drawing("text_lengths", "Words per text by task and corpus: median, quartiles and whiskers.")
def text_lengths(read: ReadTable, look: Look, _: str) -> Drawn:
    lengths = read("text_lengths").rename(columns=BOX).assign(panel="Length of the texts")
    label = "words per text, and their median"
    figure = interval_panels(lengths, look, value="median", panel="panel", label=label, lines=BOX_LINES)
    log_axis(figure.axes[0], TICKS)
    return figure, "Thick: from quartile to quartile; thin: all but outliers, as in a box plot."


@drawing("text_counts", "Number of texts that can be trained on, by task and corpus.")
def text_counts(read: ReadTable, look: Look, _: str) -> Drawn:
    counts = read("text_lengths").assign(panel="Texts that can be trained on")
    counts = counts[["task", "corpus", "texts", "panel"]]
    figure = interval_panels(counts, look, value="texts", panel="panel", label="training texts (log scale)")
    log_axis(figure.axes[0], TICKS)
    return figure, ""


@drawing("llms", "Usable share of the texts and their length, by task and corpus, with 95 % intervals over turns.")
def llms(read: ReadTable, look: Look, _: str) -> Drawn:
    """A panel for each measure of MEASURES, with 95 % intervals."""
    llms, key = read("llms"), ["task", "corpus"]
    parts = [
        llms[[*key, measure, f"{measure}_low", f"{measure}_high"]]
        .set_axis([*key, "value", "low", "high"], axis=1)
        .assign(measure=title)
        for measure, title in MEASURES.items()
    ]
    figure = interval_panels(pd.concat(parts), look, value="value", panel="measure", sharex=False, label="mean")
    share = figure.axes[0]
    share.set_xlim(min(0.89, share.get_xlim()[0]), 1.01)
    return figure, "Lines: 95 % intervals over turns."


DRAWINGS = (design, text_lengths, text_counts, llms)
