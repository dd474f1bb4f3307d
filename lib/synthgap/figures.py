"""How figures look. Functions draw on an `ax` and return it; `save_figure` writes PDF, PNG and SVG with the footer."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.files import atomic
from synthgap.tables import REGIME_TITLES, regimes_in, tasks_in_paper_order
from synthgap.tasks import load_task

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"real": "#4d4d4d", "zero_shot": "#d55e00", "few_shot": "#0072b2"}  # Okabe and Ito, safe for colour-blind
MARKERS = {"real": "s", "zero_shot": "o", "few_shot": "D"}


def set_style() -> None:
    """The look of all figures: white, quiet grid, sizes that can be read on a slide and in a column."""
    import seaborn as sns

    sns.set_theme(
        context="notebook",
        style="whitegrid",
        rc={
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.dpi": 72,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "text.parse_math": False,
            "svg.fonttype": "none",
            "svg.hashsalt": "synthgap",
        },
    )


def save_figure(figure: Figure, folder: Path, name: str, footer: str) -> list[Path]:
    """Write `name`.pdf, .png and .svg, the footer below the picture; the same figure gives the same bytes."""
    figure.set_layout_engine("constrained")
    width = int(figure.get_figwidth() * 16)
    figure.supxlabel("\n".join(textwrap.wrap(footer, width)), x=0.01, ha="left", fontsize=7.5, color="0.35")
    paths = []
    forms: tuple[tuple[str, int, dict[str, Any]], ...] = (
        (".pdf", 200, {"CreationDate": None}),
        (".png", 160, {"Software": None}),
        (".svg", 110, {"Date": None, "Creator": None}),  # the resolution of what is no vector: clouds of points
    )
    for suffix, dpi, metadata in forms:
        with atomic(folder / f"{name}{suffix}") as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=dpi, metadata=metadata, bbox_inches="tight")
            if suffix == ".png":
                temporary.write_bytes(smaller_png(temporary.read_bytes()))
        paths.append(folder / f"{name}{suffix}")
    return paths


def smaller_png(picture: bytes) -> bytes:
    """The same picture in at most 256 colours: a quarter of the size, and nothing that a reader would miss."""
    import io

    from PIL import Image

    smaller = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(smaller, "PNG")
    return min(smaller.getvalue(), picture, key=len)


def plot_lengths(words: pd.DataFrame, ax: Axes) -> Axes:
    """Words a text by task and regime. `words` has columns task, regime, words."""
    import seaborn as sns

    sns.boxplot(**_by_task_and_regime(words), x="words", showfliers=False, linewidth=0.8, ax=ax)
    ax.set(xlabel="words a text (log scale; boxes: quartiles)", title="Length of the texts")
    return _regimes_on_log_axis(ax, words)


def plot_counts(counts: pd.DataFrame, ax: Axes) -> Axes:
    """Texts by task and regime. `counts` has columns task, regime, texts."""
    import seaborn as sns

    sns.barplot(**_by_task_and_regime(counts), x="texts", ax=ax)
    ax.set(xlabel="training texts (log scale)", title="Texts that can be trained on")
    return _regimes_on_log_axis(ax, counts)


def plot_llms(table: pd.DataFrame, setting: str, measure: str, ax: Axes) -> Axes:
    """One measure of several LLMs by task, with 95 % intervals.

    Args:
        table: columns profile, task, setting, the measure, and it with `_low` and `_high`.
        measure: "yield" or "words".
    """
    import seaborn as sns

    chosen = table[table["setting"] == setting]
    tasks, names = tasks_in_paper_order(chosen["task"].unique()), list(dict.fromkeys(table["profile"]))
    colours = sns.color_palette("colorblind", len(names))
    for number, name in enumerate(names):
        rows = chosen[chosen["profile"] == name].set_index("task").reindex(tasks)
        places = rows_beside(tasks, number, len(names), 0.6 / len(names))
        low, high = (rows[measure] - rows[f"{measure}_low"]).abs(), (rows[f"{measure}_high"] - rows[measure]).abs()
        label = f"{table.loc[table['profile'] == name, 'llm'].iloc[0]}\n(profile {name})"
        ax.errorbar(rows[measure], places, xerr=[low, high], fmt="o", color=colours[number], label=label, markersize=5)
    task_ticks(ax, tasks)
    label = {"yield": "share of use (accepted of received)", "words": "words of an accepted text"}[measure]
    ax.set(xlabel=label, title=REGIME_TITLES[setting], ylim=(len(tasks) - 0.5, -0.5))
    if measure == "yield":
        ax.set_xlim(min(0.89, ax.get_xlim()[0]), 1.01)
    if (place := ax.get_subplotspec()) is None or place.is_last_col():
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def _by_task_and_regime(data: pd.DataFrame) -> dict[str, Any]:
    return {
        "data": data,
        "y": "task",
        "order": tasks_in_paper_order(data["task"].unique()),
        "hue": "regime",
        "hue_order": regimes_in(data),
        "palette": COLOURS,
        "saturation": 1,
    }


def _regimes_on_log_axis(ax: Axes, data: pd.DataFrame) -> Axes:
    ax.set(ylabel="")
    _log_axis(ax)
    task_ticks(ax, tasks_in_paper_order(data["task"].unique()))
    return regime_legend(ax)


def plot_gap_by_task(gaps: pd.DataFrame, ax: Axes, metric: str = "macro_f1", title: str = "") -> Axes:
    """Synthetic less real, in points, with 95 % intervals; tasks from least (top) to most subjective.

    `gaps` has one classifier's rows of `Evaluated.gaps`; a filled marker says Holm-corrected p < 0.05.
    """
    rows = gaps[(gaps["metric"] == metric) & (gaps["baseline"] == "real")]
    order = tasks_in_paper_order(rows["task"].unique())
    ax.axvline(0, color=COLOURS["real"], linewidth=1.2)
    for regime, part, y in by_regime(rows, order, 0.32):
        ax.hlines(y, part["low"], part["high"], color=COLOURS[regime], linewidth=2)
        faces = [COLOURS[regime] if p < 0.05 else "white" for p in part["p_holm"]]
        ax.scatter(
            part["gap"],
            y,
            color=faces,
            edgecolor=COLOURS[regime],
            marker=MARKERS[regime],
            s=42,
            linewidth=1.6,
            zorder=3,
            label=REGIME_TITLES[regime],
        )
    ax.set(xlabel="synthetic − real, points of macro-F1" if metric == "macro_f1" else f"synthetic − real, {metric}")
    ax.set(ylabel="", title=title or "Gap to real data, by task", ylim=(len(order) - 0.5, -0.5))
    task_ticks(ax, order)
    legend_of_tests(ax)
    return ax


def legend_of_tests(ax: Axes) -> None:
    """A legend beside the plot that says which markers are filled."""
    filled = "filled: p < 0.05 (Holm),\nfor these classifiers"
    ax.legend(title=filled, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), alignment="left")


def plot_curve(points: pd.DataFrame, ax: Axes) -> Axes:
    """Macro-F1 against training texts a label, with 95 % intervals.

    `points` has the rows of one task and classifier of `curves.curve_tables`.
    """
    for regime in regimes_in(points):
        part = points[points["regime"] == regime].sort_values("texts_per_label")
        sizes, colour = part["texts_per_label"], COLOURS[regime]
        ax.fill_between(sizes, part["macro_f1_low"], part["macro_f1_high"], color=colour, alpha=0.15, linewidth=0)
        title = REGIME_TITLES[regime]
        ax.plot(sizes, part["macro_f1"], color=colour, marker=MARKERS[regime], markersize=5, label=title)
    sizes = sorted(points["texts_per_label"].unique())
    named = [size for size, after in zip(sizes, [*sizes[1:], 10**9], strict=True) if after > 1.4 * size]
    ax.set_xscale("log")
    ax.set_xticks(named, [str(size) for size in named])
    ax.minorticks_off()
    ax.set_title(load_task(points["task"].iloc[0]).title, fontsize=11)
    return ax


def plot_worth(worth: pd.DataFrame, ax: Axes, title: str) -> Axes:
    """Real texts that a synthetic one is worth, by task, with 95 % intervals; arrows where only a bound is known.

    `worth` has one classifier's rows of `curves.at_middle_size`.
    """
    order = tasks_in_paper_order(worth["task"].unique())
    ax.axvline(1, color=COLOURS["real"], linewidth=1.2)
    for regime, part, y in by_regime(worth, order, 0.32):
        low, high, value = (part[name].clip(part["least"], part["most"]) for name in ("low", "high", "worth"))
        ax.hlines(y, low, high, color=COLOURS[regime], linewidth=2, label=REGIME_TITLES[regime])
        for x, place, known, said in zip(value, y, part["worth"], part["bound"], strict=True):
            marker = MARKERS[regime] if not said else ">" if known > 1 else "<"
            ax.plot(x, place, marker=marker, color=COLOURS[regime], linestyle="none", markersize=7)
    ax.set_xscale("log")
    ticks = [
        tick for tick in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 10.0) if ax.get_xlim()[0] <= tick <= ax.get_xlim()[1]
    ]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set(xlabel="real texts that one synthetic text is worth", title=title, ylim=(len(order) - 0.5, -0.5))
    task_ticks(ax, order)
    ax.legend(title="arrow: only a bound is known", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def plot_mixes(scores: pd.DataFrame, titles: Mapping[str, str], ax: Axes, title: str) -> Axes:
    """Macro-F1 of mixes of texts by task, with 95 % intervals.

    Args:
        scores: one classifier's rows of `augmentation.mix_tables`.
        titles: {mix: its title}; other mixes are left out.
    """
    order = tasks_in_paper_order(scores["task"].unique())
    looks = (("0.35", "o"), (COLOURS["few_shot"], "D"), (COLOURS["zero_shot"], "^"), (COLOURS["real"], "s"))
    for number, ((mix, name), (colour, marker)) in enumerate(zip(titles.items(), looks, strict=True)):
        part = scores[scores["mix"] == mix].set_index("task").reindex(order)
        y = rows_beside(order, number, len(titles), 0.18)
        ax.hlines(y, part["low"], part["high"], color=colour, linewidth=1.6)
        ax.plot(part["macro_f1"], y, marker=marker, color=colour, linestyle="none", markersize=6, label=name)
    ax.set(xlabel="macro-F1", title=title, ylim=(len(order) - 0.5, -0.5))
    task_ticks(ax, order)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def plot_gain(gains: pd.DataFrame, ax: Axes) -> Axes:
    """What synthetic texts add to so many real ones, with 95 % intervals; filled where Holm-corrected p < 0.05.

    `gains` has the rows of one task and classifier of `augmentation.mix_tables`.
    """
    rows = gains[gains["real_texts"] > 0].sort_values("real_texts")
    colour = COLOURS["few_shot"]
    ax.axhline(0, color=COLOURS["real"], linewidth=1.2)
    ax.vlines(rows["real_texts"], rows["low"], rows["high"], color=colour, linewidth=2)
    faces = [colour if p < 0.05 else "white" for p in rows["p_holm"]]
    ax.scatter(rows["real_texts"], rows["gain"], color=faces, edgecolor=colour, marker="D", s=36, zorder=3)
    ax.set_xscale("log")
    ax.set_xticks(rows["real_texts"].tolist(), [str(size) for size in rows["real_texts"]])
    ax.minorticks_off()
    ax.margins(x=0.15)
    ax.set_title(load_task(gains["task"].iloc[0]).title, fontsize=11)
    return ax


def plot_gap_by_subjectivity(
    gaps: pd.DataFrame, order: Mapping[str, int], correlations: pd.DataFrame, ax: Axes, classifier: str
) -> Axes:
    """Gap against the task's place in an order of subjectivity (1 = least), with Spearman's rho by regime.

    Tasks that have no place are left out.

    `gaps` and `correlations` hold one classifier's rows of `evaluate` and `gap_by_subjectivity`.
    """
    found = correlations.set_index("regime")
    rows = gaps[(gaps["metric"] == "macro_f1") & (gaps["baseline"] == "real") & gaps["task"].isin(order)]
    ax.axhline(0, color=COLOURS["real"], linewidth=1.2)
    for regime in regimes_in(rows):
        part = rows[rows["regime"] == regime]
        x = part["task"].map(order) + (0.12 if regime == "few_shot" else -0.12)
        legend = REGIME_TITLES[regime]
        if regime in found.index:
            rho, low, high, p = found.loc[regime, ["rho", "low", "high", "p"]]
            legend += f": rho = {rho:+.2f} [{low:+.2f}, {high:+.2f}], {shown_p(p)}".replace("-", "−")
        ax.vlines(x, part["low"], part["high"], color=COLOURS[regime], linewidth=2)
        ax.scatter(x, part["gap"], color=COLOURS[regime], marker=MARKERS[regime], s=42, label=legend, zorder=3)
    places = sorted(order.items(), key=lambda item: item[1])
    titles = [short_title(task) for task, _ in places]
    ax.set_xticks([place for _, place in places], titles, rotation=35, ha="right")
    ax.set_title(f"The gap against subjectivity ({classifier}): Spearman's rho [95 % interval]", pad=48)
    ax.set_ylabel("synthetic − real, points of macro-F1")
    ax.set_xlabel("tasks, from least to most subjective (the paper's order, unverified)")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1), alignment="left")
    return ax


def _log_axis(ax: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def shown_p(p: float) -> str:
    """A p-value as people read it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def short_title(task: str) -> str:
    """A task's title without what stands in brackets."""
    return load_task(task).title.split(" (")[0]


def rows_beside(rows: Sequence[Any], number: int, count: int, step: float) -> list[float]:
    """Where the marks of the `number`-th of `count` series stand: around their row (0, 1, ...), `step` apart."""
    return [place + step * (number - (count - 1) / 2) for place in range(len(rows))]


def by_regime(
    table: pd.DataFrame, tasks: Sequence[str], step: float
) -> Iterator[tuple[str, pd.DataFrame, list[float]]]:
    """Each regime with its rows of a table, a row a task, and where their marks stand."""
    regimes = regimes_in(table)
    for number, regime in enumerate(regimes):
        rows = table[table["regime"] == regime].set_index("task").reindex(tasks)
        yield regime, rows, rows_beside(tasks, number, len(regimes), step)


def small_axes(tasks: Sequence[str], height: float, extra: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure with small axes for each task, four in a line.

    Args:
        height: of a line, in inches; `extra` is that of what stands around them.
        options: further ones of `plt.subplots`.
    """
    import matplotlib.pyplot as plt

    lines = -(-len(tasks) // 4)
    size = (12, height * lines + extra)
    figure, axes = plt.subplots(lines, 4, figsize=size, squeeze=False, layout="constrained", **options)
    for ax in axes.flat[len(tasks) :]:
        ax.set_axis_off()
    return figure, list(axes.flat[: len(tasks)])


def task_ticks(ax: Axes, order: Sequence[str]) -> None:
    """A task a row, by its title."""
    ax.set_yticks(range(len(order)), [load_task(task).title for task in order])


def regime_legend(ax: Axes) -> Axes:
    """The regimes by their titles, beside the picture."""
    handles, labels = ax.get_legend_handles_labels()
    titles: list[Any] = [REGIME_TITLES.get(label, label) for label in labels]
    ax.legend(handles, titles, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
