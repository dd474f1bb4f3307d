"""The picture of the whole design: boxes and arrows, and which notebook does what."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from synthgap.figures import INK, QUIET, Drawn, Look, drawing
from synthgap.tables import ReadTable

STEPS = {  # {box of the design: its place along and across the way, and what it says}
    "task": (0, 0, "Task\nlabels, prompts"),
    "llm": (1, 0, "01 LLM\nconversations"),
    "synthetic": (2, 0, "01 Synthetic\ncorpora"),
    "real": (0, 1, "Real texts\ntrain split"),
    "draws": (2, 1, "02 Draws of\nequal size"),
    "runs": (3, 1, "02 Runs\nof classifiers"),
    "texts": (3, 0, "05 Diversity\nof the draws"),
    "test": (0, 2, "Real texts\ntest split"),
    "comparison": (3, 2, "03 Comparison\nTable 1"),
    "more": (4, 1, "04 subjectivity\n06 augmentation\n07 causes"),
    "questions": (4, 2, "08 LLMs\n09 prompts\n10 decision"),
}
FILLED = {"synthetic": "#fbdcc8", "real": "#e0e0e0", "test": "#e0e0e0"}  # boxes that hold texts
ARROWS = {  # {(from, to): what goes along}
    **dict.fromkeys([("task", "llm"), ("llm", "synthetic"), ("synthetic", "draws"), ("real", "draws")], ""),
    **dict.fromkeys([("draws", "texts"), ("draws", "runs"), ("runs", "comparison"), ("test", "comparison")], ""),
    **dict.fromkeys([("runs", "more"), ("comparison", "questions")], ""),
    ("real", "llm"): "examples",
}

LABEL = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # of what goes along an arrow
WIDTH, NARROW, LETTERS = 6.9, 5.0, 8.0  # inches, as it is made and below which it goes downwards; points at most


@drawing(
    "design",
    "The whole design: a task's prompts, an LLM and its corpora; real texts; draws of equal size, runs, and what "
    "notebooks make of them.",
)
def design(read: ReadTable, look: Look, part: str) -> Drawn:
    """Boxes and arrows: from left to right and, in a narrow figure, from top to bottom."""
    narrow, size = (look.width or WIDTH) < NARROW, min(LETTERS, plt.rcParams["font.size"])
    figure, (ax,) = replace(look, width=look.width or WIDTH).panels(1, 4.0 if narrow else 2.2)
    places = {name: (across, -along) if narrow else (along, -across) for name, (along, across, _) in STEPS.items()}
    boxes = {}
    for name, (*_, text) in STEPS.items():
        frame = {"boxstyle": "round", "facecolor": FILLED.get(name, "white"), "edgecolor": QUIET}
        boxes[name] = ax.text(*places[name], text, ha="center", va="center", fontsize=size, bbox=frame).get_bbox_patch()
    for (start, end), text in ARROWS.items():
        arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1, "patchA": boxes[start], "patchB": boxes[end]}
        ax.annotate("", places[end], places[start], arrowprops=arrow)
        x, y = np.mean([places[start], places[end]], axis=0)
        ax.text(x, y, text, ha="center", va="center", fontsize=size, color=QUIET, bbox=LABEL)
    along, across = (-0.5, 4.5), (-0.5, 2.5)
    ax.set(xlim=across if narrow else along, ylim=[-end for end in (along if narrow else across)[::-1]])
    ax.set_axis_off()
    return figure, "A number says which notebook it is; 11 goes the same way with files of your own."
