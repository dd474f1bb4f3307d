"""Figures as a reviewer looks at them: what stands in them is legible, apart, and in one order everywhere.

Looked at is a sample of the figures of `recorded`, one of each kind, drawn from its committed tables.
"""

import io
import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from synthgap.figures import DOUBLE, SINGLE, SMALLEST, Look, as_bytes, legend_above, short_title, style
from synthgap.pipeline.drawings import draw
from synthgap.tasks import load_profile, tasks_in_paper_order

mpl.use("Agg")
PROFILE = load_profile("recorded")
LOOK = Look.of(PROFILE)
SAMPLE = (  # one of each kind: intervals, with ranks, bounds, curves, a graph, thresholds, two scales, rows in groups
    *("gap_by_task", "gap_by_subjectivity", "worth_probe", "learning_curves_probe", "task_levels"),
    *("accuracy_by_agreement_human", "agreement_effects_human", "llms_side_by_side_probe"),
)
TOLERANCE = 0.4  # points by which boxes of texts may touch
ORDERS = {
    "tasks": [short_title(task) for task in tasks_in_paper_order(PROFILE.tasks)],
    "corpora": [one.title for one in LOOK.corpora.values()],
    "classifiers": list(LOOK.classifiers.values()),
}


def drawn_texts(figure):
    """{text: its box in points}, of every text that is really drawn."""
    found, real = [], Text.draw

    def draw_and_note(self, *args, **options):
        if self.get_visible() and self.get_text().strip():
            found.append(self)
        return real(self, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", draw_and_note)
        figure.canvas.draw()
    return {text: np.array(text.get_window_extent().extents) * 72 / figure.dpi for text in dict.fromkeys(found)}


def overlapping(texts):
    """Pairs of texts whose boxes overlap."""
    for (one, a), (other, b) in itertools.combinations(texts.items(), 2):
        if (np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) > TOLERANCE).all():
            yield one.get_text(), other.get_text()


def outside(texts, figure):
    width, height = figure.get_size_inches() * 72
    for text, (left, bottom, right, top) in texts.items():
        if min(left, bottom, width - right, height - top) < -TOLERANCE:
            yield text.get_text()


def looks_of(handle):
    """What tells a legend's key from others without its colour: marker, dash, fill, width; and its lightness."""
    if isinstance(handle, mpl.lines.Line2D):
        form = (handle.get_marker(), handle.get_linestyle(), str(handle._dash_pattern), handle.get_linewidth())
        face = mpl.colors.to_rgb(handle.get_markerfacecolor())
        return (*map(str, form), face == (1, 1, 1)), mpl.colors.to_rgb(handle.get_color())
    if isinstance(handle, mpl.patches.Patch):
        return handle.get_hatch(), mpl.colors.to_rgb(handle.get_facecolor())
    return str(handle.get_paths()[0].vertices.tolist()), mpl.colors.to_rgb(handle.get_facecolor()[0])


def alike_in_grey(figure):
    """Pairs of keys of one legend that a grey print does not tell apart."""
    for legend in (*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())):
        keys = [
            (text.get_text(), *looks_of(key))
            for text, key in zip(legend.get_texts(), legend.legend_handles, strict=True)
        ]
        for (one, form, colour), (other, other_form, other_colour) in itertools.combinations(keys, 2):
            grey, other_grey = (np.dot(rgb, (0.2126, 0.7152, 0.0722)) for rgb in (colour, other_colour))
            if form == other_form and abs(grey - other_grey) < 0.1:
                yield one, other


def disordered(figure):
    """Titles of rows, panels and keys that do not stand in the one order of their kind."""
    shown = [[text.get_text() for text in ax.get_yticklabels()] for ax in figure.axes]
    shown += [[text.get_text() for text in ax.get_xticklabels()] for ax in figure.axes]
    shown += [[text.get_text() for text in legend.get_texts()] for legend in figure.legends]
    shown += [[ax.get_title(loc="left") for ax in figure.axes]]
    for kind, order in ORDERS.items():
        for titles in shown:
            plain = [" ".join(title.replace("★", "").split()) for title in titles]
            places = [order.index(title) for title in dict.fromkeys(plain) if title in order]
            if places != sorted(places):
                yield kind, [title for title in plain if title in order]


def faults(figure):
    texts = drawn_texts(figure)
    found = {
        "width": [] if figure.get_figwidth() in {SINGLE, DOUBLE} else [figure.get_figwidth()],
        "overlapping": list(overlapping(texts)),
        "outside": list(outside(texts, figure)),
        "small": [text.get_text() for text in texts if text.get_fontsize() < SMALLEST],
        "alike in grey": list(alike_in_grey(figure)),
        "disordered": list(disordered(figure)),
        "without numbers": [
            ax.get_title(loc="left")
            for ax in figure.axes
            if ax.axison and ax.get_xticks().size and not any(text in texts for text in ax.get_xticklabels())
        ],
    }
    return {kind: cases for kind, cases in found.items() if cases}


@pytest.mark.parametrize("name", SAMPLE)
def test_a_figure_is_legible_at_the_width_it_is_made_for(name):
    figure = draw(name, PROFILE)
    assert faults(figure) == {}
    plt.close(figure)


def test_a_small_picture_keeps_the_colours_of_the_corpora():
    """With few colours, the bands of curves left none for their lines."""
    figure = draw("learning_curves_probe", PROFILE)
    picture = Image.open(io.BytesIO(as_bytes(figure, "png"))).convert("RGB")
    there = np.unique(np.asarray(picture).reshape(-1, 3), axis=0).astype(int)
    for corpus in ("real", "zero_shot", "few_shot"):
        colour = 255 * np.array(mpl.colors.to_rgb(LOOK.corpora[corpus].colour))
        assert np.abs(there - colour).max(axis=1).min() <= 4, corpus
    plt.close(figure)


def test_faults_are_found():
    with style():
        figure, axes = LOOK.panels(2, 1.5)
        for at, ax in enumerate(axes):
            ax.plot([0, 1], label="one", color="#777777")
            ax.set_yticks([0, 1], ["Humor speech", "AG's News"])
            ax.text(0.5, 0.5, "small", fontsize=5)
            ax.text(0.52, 0.5, f"over {at}")
        axes[1].plot([1, 0], label="another", color="#7a7a7a")
        axes[1].set_xticks([0, 1], ["", ""])
        figure.text(0.9, 0.1, "far beyond the edge of the figure")
        legend_above(figure)
        figure.set_figwidth(5)
        found = faults(figure)
    assert found["width"] == [5]
    assert {("small", "over 0"), ("small", "over 1")} <= set(found["overlapping"])
    assert found["outside"] == ["far beyond the edge of the figure"]
    assert found["small"] == ["small"] * 2
    assert found["alike in grey"] == [("one", "another")]
    assert found["disordered"] == [("tasks", ["Humor speech", "AG's News"])] * 2
    assert found["without numbers"] == [""]
    plt.close(figure)
