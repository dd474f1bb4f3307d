"""Figures of scores: gaps by task and by subjectivity, learning curves, worth, mixes and what they gain."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.path import Path

from synthgap.core.config import REAL
from synthgap.core.errors import SynthgapError, unknown
from synthgap.evaluation.gaps import gaps_to_reference
from synthgap.evaluation.learning_curves import INTERVALS, at_one_size
from synthgap.evaluation.mixes import AS_MANY, EXAMPLES, mixed_corpus
from synthgap.evaluation.table_1 import name_in_sentence
from synthgap.figures import (
    INK,
    QUIET,
    SMALLEST,
    Drawn,
    Look,
    Series,
    drawing,
    interval_panels,
    log_axis,
    others_of,
    panels_by,
    plot_curves,
    plot_line,
    rows_beside,
    short_title,
    task_order,
    task_panels,
)
from synthgap.tables import ReadTable, format_p, matching, seeds_note, signed, signed_interval
from synthgap.tasks import paper_order

ONE_RECORDING = "Hollow: of one recording, so nothing is known of another; lines: 95 % intervals for this one."
INTERVALS_SAID = "Lines: 95 % intervals, thick ones for these recordings and thin ones for new ones."
FILLED = "Filled: p < 0.05 with Holm's correction, for {}."
NEW, THIS = "new recordings", "this recording"  # for which filled marks hold
OTHER_MARKERS = "hpd8*"  # none of a corpus; a star, which does not show whether it is hollow, comes last
ARROW = [(-1, 0), (-0.2, 0.6), (-0.2, 0.2), (1, 0.2), (1, -0.2), (-0.2, -0.2), (-0.2, -0.6)]  # to the left
LEFT, RIGHT = Path(ARROW), Path([(-x, y) for x, y in ARROW])
WORTH_TICKS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 10.0)


# --------------------------------------------------------------------------------------------------------------- gaps


@drawing("gap_by_task", "Gap in macro-F1 between each corpus and real training texts, by task, with 95 % intervals.")
def gap_by_task(read: ReadTable, look: Look, comparison: str) -> Drawn:
    """The gap of every corpus to the reference, in points; of a further comparison where one is named."""
    gaps = gaps_to_reference(read(f"gaps_{comparison}" if comparison else "gaps"))
    if gaps.empty:
        raise SynthgapError("there is no gap to draw: the comparison has one corpus")
    gaps = gaps.assign(filled=gaps["new_p_holm"] < 0.05)
    one = bool(gaps["new_p"].isna().all())
    label, significant = _gap_label(gaps, look), "" if one else NEW
    hollow = Line2D([], [], ls="", marker="o", mec=QUIET, mfc="white", label="one recording: no p for new ones")
    keys = [hollow] if one else []
    figure = interval_panels(gaps, look, value="gap", label=label, line=0, significant=significant, keys=keys)
    return figure, ONE_RECORDING if one else f"{INTERVALS_SAID} {FILLED.format(NEW)}"


@drawing("gap_by_subjectivity", "Gap in macro-F1 against the paper's order of subjectivity (unverified).")
def gap_by_subjectivity(read: ReadTable, look: Look, _: str) -> Drawn:
    """The gap to the reference against the tasks' place in the paper's order, a panel for each classifier."""
    gaps, correlations = gaps_to_reference(read("gaps")), read("gap_by_subjectivity")
    order = paper_order(gaps["task"].unique())
    gaps = gaps.assign(place=gaps["task"].map(order)).dropna(subset="place")
    if gaps.empty:
        raise SynthgapError("no task has both a gap and a place in the paper's order of subjectivity")
    titles, places = [short_title(task) for task in order], list(order.values())

    def plot(own: pd.DataFrame, look: Look, ax: Axes) -> None:
        plot_gap_by_subjectivity(own, matching(correlations, {"classifier": own["classifier"].iloc[0]}), look, ax)
        ax.set_xticks(places, titles, rotation=90)

    label = _gap_label(gaps, look)
    figure = panels_by("classifier", gaps, look, plot, 3.3, y=label, columns=3, sharex=True, sharey=True)
    note = "Across: tasks, the least subjective first (the paper, unverified). Lines: intervals for these recordings."
    return figure, f"{note} rho: Spearman's, with its 95 % interval; p: Holm's, over all of them."


def plot_gap_by_subjectivity(gaps: pd.DataFrame, correlations: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """Gap against the task's place in an order of subjectivity (1 = least), with Spearman's rho of each corpus.

    Args:
        gaps: one classifier's rows of `gaps_to_reference`, with the column place.
        correlations: the classifier's rows of `gap_by_subjectivity`.
    """
    rho, corpora, said = correlations.set_index("corpus"), look.present(gaps), []
    ax.axhline(0, color=INK, linewidth=plt.rcParams["axes.linewidth"])
    for number, (rows, series) in enumerate(look.by_corpus(gaps)):
        if corpora[number] in rho.index:
            found = rho.loc[corpora[number]]
            values = f"{signed(found['rho'], 2)} {signed_interval(found['low'], found['high'], 2)}"
            said.append(f"{series.title}: rho {values}, {format_p(found['p_holm'])}")
        x = rows["place"] + rows_beside(1, number, len(corpora))[0]
        ax.vlines(x, rows["low"], rows["high"], color=series.colour)
        ax.scatter(x, rows["gap"], color=series.colour, marker=series.marker, label=series.title, zorder=3, s=14)
    ax.set_title("\n".join(said), loc="left")
    return ax


def _gap_label(gaps: pd.DataFrame, look: Look) -> str:
    return f"gap to {name_in_sentence(look, gaps['baseline'].iloc[0])} (macro-F1)"


@drawing(
    "llm_as_classifier",
    "Macro-F1 of classifiers less that of the LLM on the same test items, by task and corpus, with 95 % intervals.",
)
def llm_as_classifier(read: ReadTable, look: Look, _: str) -> Drawn:
    """What training on each corpus gives beyond the LLM itself, on the items that the LLM was asked."""
    gaps = read("llm_as_classifier").dropna(subset="gap")
    gaps = gaps[gaps["corpus"].isin(look.main)]
    gaps = gaps.assign(filled=gaps["p_holm"] < 0.05, panel=gaps["classifier"].map(look.classifier))
    if len(set(gaps["labels"])) > 1:
        gaps["panel"] += ", " + gaps["labels"].map(look.title)
    label = "less the LLM's score (macro-F1)"
    figure = interval_panels(gaps, look, value="gap", panel="panel", label=label, line=0, significant=THIS)
    note = "On the test items that the LLM was asked; left of the line the LLM itself does better."
    return figure, f"{note} {FILLED.format(THIS)}"


# ---------------------------------------------------------------------------------------------------- learning curves


@drawing("learning_curves", "Macro-F1 against training texts per label, by task and corpus, with 95 % intervals.")
def learning_curves(read: ReadTable, look: Look, classifier: str) -> Drawn:
    """A small panel for each task: macro-F1 against training texts per label."""
    points = _of_classifier(read("learning_curves"), classifier)
    columns = {"texts_per_label": "n", "macro_f1": "value", "macro_f1_low": "low", "macro_f1_high": "high"}
    curves = points.rename(columns=columns)
    figure = task_panels(curves, look, plot_curves, 1.35, x="texts per label", y="macro-F1")
    note = f"Classifier: {look.classifier(classifier)}. Across: training texts per label."
    return figure, f"{note} Bands: 95 % intervals, these recordings. {seeds_note(points)}"


@drawing("worth", "How many real texts one synthetic text is worth, by task and corpus, with 95 % intervals.")
def worth(read: ReadTable, look: Look, classifier: str) -> Drawn:
    """How many texts of the reference one text of each other corpus is worth; arrows where only a bound is known."""
    of_classifier = _of_classifier(read("worth"), classifier)
    worth = at_one_size(of_classifier)
    if worth.empty:
        raise SynthgapError(f"no worth to compare: the learning curves of '{classifier}' rest on one seed")
    values = ["worth", *INTERVALS]
    shown = worth.assign(**{name: worth[name].clip(worth["least"], worth["most"]) for name in values})
    bounded = shown["worth"] != worth["worth"]
    dots = shown.assign(worth=shown["worth"].mask(bounded))
    reference = name_in_sentence(look, read("learning_curves")["corpus"].iloc[0])
    label = f"{reference} texts that one synthetic text is worth"
    bound = Line2D([], [], ls="", marker=LEFT, ms=9, color=QUIET, label="only a bound is known")
    figure = interval_panels(dots, look, value="worth", label=label, line=1, keys=[bound])
    _plot_bounds(worth, look, figure.axes[0])
    log_axis(figure.axes[0], WORTH_TICKS)
    note = "Arrows: only a bound is known, of the worth (large) or of an end of its interval (small)."
    note += " At the size with the most recordings, of several in the middle of the curve."
    if worth["new_low"].notna().any():
        note += " Thick: these recordings; thin: new ones."
    if left_out := sorted(set(of_classifier["task"]) - set(worth["task"])):
        note += f" Not compared, as some points have one seed: {', '.join(left_out)}."
    return figure, f"{note} {seeds_note(worth)}"


def _plot_bounds(worth: pd.DataFrame, look: Look, ax: Axes) -> None:
    """Arrows where the reference's curve says no more: a large one for the worth, a small one at an interval's end."""
    tasks, corpora = task_order(worth), look.present(worth)
    size = plt.rcParams["lines.markersize"] ** 2
    for row in worth.itertuples():
        height = rows_beside(len(tasks), corpora.index(row.corpus), len(corpora))[tasks.index(row.task)]
        ends = (row.low, row.high, row.new_low, row.new_high)
        for end, place, arrow in ((0, row.least, LEFT), (np.inf, row.most, RIGHT)):
            if end in (row.worth, *ends):
                scale = 5 if row.worth == end else 2.5
                ax.scatter(place, height, marker=arrow, color=look.corpora[row.corpus].colour, s=scale * size, zorder=3)


# ---------------------------------------------------------------------------------------------------- training curves


@drawing(
    "training_curves",
    "Macro-F1 on test texts and training loss of fine-tuned classifiers by epoch, by task and corpus.",
)
def training_curves(read: ReadTable, look: Look, classifier: str) -> Drawn:
    """A small panel for each task: the score after each epoch and below it the loss."""
    epochs = _of_classifier(read("training_epochs"), classifier)
    figure = task_panels(epochs, look, plot_training_curves, 1.9, y="macro-F1")
    panels = figure.axes[: epochs["task"].nunique()]
    titles = [ax.get_title(loc="left") for ax in panels]
    most = max(title.count("\n") for title in titles)
    for ax, title in zip(panels, titles, strict=True):  # in a grid of its own each: a longer one would move its panel
        ax.set_title("\n" * (most - title.count("\n")) + title, loc="left")
    runs = epochs.groupby(["task", "corpus"])["run"].nunique()
    number = f"{runs.min()}" if runs.min() == runs.max() else f"{runs.min()} to {runs.max()}"
    note = f"Classifier: {look.classifier(classifier)}. Across: epochs, as far as all runs of a corpus were trained."
    note += f" Mean of {number} runs; bands: ± 1 SD of runs."
    if len(runs) < epochs["task"].nunique() * epochs["corpus"].nunique():
        note += " A corpus that a panel lacks was trained before runs noted their epochs."
    return figure, f"{note} Scores: a fixed sample of at most 500 test texts, which chose nothing."


def plot_training_curves(epochs: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """Score and, in a panel of its own below, loss by epoch, mean and standard deviation over runs, for each corpus."""
    panels = {"score": ax}
    grid = ax.get_subplotspec().subgridspec(2, 1, height_ratios=(3, 2))  # type: ignore[union-attr]
    ax.set_subplotspec(grid[0])
    panels["loss"] = ax.figure.add_subplot(grid[1], sharex=ax)
    panels["loss"].set_title("loss, by epoch", fontsize=SMALLEST)
    for rows, series in look.by_corpus(epochs):
        by_epoch = rows[rows["epoch"] <= rows.groupby("run")["epoch"].max().min()].groupby("epoch")
        for name, panel in panels.items():
            mean, spread = by_epoch[name].mean(), by_epoch[name].std()
            panel.fill_between(mean.index, mean - spread, mean + spread, color=series.colour, alpha=0.15, linewidth=0)
            plot_line(panel, mean.index, mean, series)
    ax.set_xticks(range(1, int(ax.get_xlim()[1]) + 1))
    return ax


# --------------------------------------------------------------------------------------------------------------- power


@drawing(
    "power",
    "The power to see a rank correlation over tasks, and a mean gap over tasks, against the number of tasks.",
)
def power(read: ReadTable, look: Look, _: str) -> Drawn:
    """In how many of 100 studies p is below 0.05, against the number of tasks, a panel for each question."""
    power, tasks = read("power"), gaps_to_reference(read("gaps"))["task"].nunique()
    effects = [sorted(rows["effect"].unique()) for _, rows in power.groupby("question", sort=False)]
    of_all = zip_longest(*effects, fillvalue=np.nan)
    named = [f"rho {rho:g}, gap {gap[0]:g} points" if gap else f"effect {rho:g}" for rho, *gap in of_all]

    def plot(own: pd.DataFrame, _: Look, ax: Axes) -> None:
        for at, (_, rows) in enumerate(own.groupby("effect")):
            series = Series(named[at], f"{0.65 - 0.3 * at:.2f}", OTHER_MARKERS[at])
            plot_line(ax, rows["tasks"], rows["power"], series, ms=4)
        if tasks in set(power["tasks"]):
            ax.axvline(tasks, color=INK, ls=":", label="tasks here")
        log_axis(ax, [5, 10, 20, 40, 80]).set_ylim(0, 103)

    y = "studies of 100 with p < 0.05"
    figure = panels_by("question", power, look, plot, 2.2, columns=2, x="tasks", y=y, sharex=True, sharey=True)
    spread = power["spread"].max()
    scatter = f" Gaps scatter over tasks by {spread:.1f} points (SD), as they do here." if spread > 0 else ""
    return figure, f"Simulated studies of tasks with normal gaps and order. Lines: the true effect.{scatter}"


# -------------------------------------------------------------------------------------------------------------- mixes


@drawing("mixes", "Macro-F1 of few-shot examples, synthetic texts, both, and as many real texts, with 95 % intervals.")
def mixes(read: ReadTable, look: Look, classifier: str) -> Drawn:
    scores = _of_classifier(read("mixes"), classifier)
    series = mix_series(scores["mix"].unique(), look)
    if not series:
        raise SynthgapError("no examples were mixed: the corpus was written without any")
    figure = interval_panels(scores, look, value="macro_f1", series=series, by="mix", label="macro-F1")
    fewer = "As many real texts as both, or all that a task has." if AS_MANY in series else ""
    return figure, " ".join(filter(None, [fewer, seeds_note(scores)]))


def mix_series(mixes: Sequence[str], look: Look) -> dict[str, Series]:
    """How the mixes look that are compared with each other, those of the four that there are.

    Texts of a corpus alone look as the corpus does everywhere; what is no corpus has no corpus's colour or marker.
    """
    corpus = mixed_corpus(mixes)
    own, real = look.corpora[corpus], look.corpora[REAL]
    both = f"{EXAMPLES} + {corpus}"
    others = others_of({EXAMPLES: "Examples alone", both: f"Examples and {own.title}"})
    series = {
        EXAMPLES: others[EXAMPLES],
        corpus: Series(f"{own.title} alone", own.colour, own.marker),
        both: others[both],
        AS_MANY: Series("Real, as many as both", real.colour, real.marker),
    }
    return {mix: one for mix, one in series.items() if mix in mixes}


@drawing("augmentation", "What synthetic texts add to growing amounts of real ones, in macro-F1, with 95 % intervals.")
def augmentation(read: ReadTable, look: Look, classifier: str) -> Drawn:
    gains = _of_classifier(read("augmentation").query("real_texts > 0"), classifier)
    gains = gains.assign(filled=gains["p_holm"] < 0.05)
    amounts = sorted(gains["real_texts"].unique())
    series = {
        texts: Series(f"{texts} real texts per label", f"{0.7 - 0.7 * at / len(amounts):.2f}", OTHER_MARKERS[at % 5])
        for at, texts in enumerate(amounts)  # the more, the darker a grey
    }
    label = f"gain from {look.title(mixed_corpus(gains['mix'].unique()))} texts (macro-F1)"
    shown: dict[str, Any] = {"label": label, "line": 0, "significant": THIS}
    figure = interval_panels(gains, look, value="gain", series=series, by="real_texts", **shown)
    seeds = seeds_note(_of_classifier(read("mixes"), classifier))
    return figure, f"{FILLED.format(THIS)} {seeds}"


def _of_classifier(table: pd.DataFrame, classifier: str) -> pd.DataFrame:
    rows = matching(table, {"classifier": classifier})
    if rows.empty:
        raise unknown("classifier", classifier, table["classifier"].unique())
    return rows


DRAWINGS = (
    *(gap_by_task, gap_by_subjectivity, learning_curves, worth, training_curves, power, mixes, augmentation),
    llm_as_classifier,
)
