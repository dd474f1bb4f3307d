"""How every figure looks: colours, markers, widths, order and names; intervals by task; the files it is saved as.

A room's figures are `Drawing`s: each is drawn from saved tables alone, so that a notebook, the report and
`synthgap figure` show the same. Functions that plot take an `ax` and return it.
"""

import io
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import Image as Picture
from IPython.display import Markdown, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from synthgap.core.config import REAL, Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.files import atomic
from synthgap.tables import ReadTable, escape_markdown, matching
from synthgap.tasks import load_task, tasks_in_paper_order

INK, QUIET, WINE = "#262626", "#767676", "#882255"
OTHERS = (("#aaaaaa", "h"), (WINE, "*"), (INK, "p"), ("#117733", "d"), (QUIET, "8"))  # none of a corpus
# Okabe and Ito's colours but for black and yellow, then two of Tol's muted ones: safe for colour-blind readers.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#332288", "#999933")
MARKERS = ("o", "D", "^", "P", "v", "X", "<", ">")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 2)))
REFERENCE = ("#4d4d4d", "s")  # the colour and marker of real texts
SINGLE, DOUBLE = 3.3, 6.9  # inches: figures of one and of two columns of a paper
SMALLEST = 6.5  # points, of any text
LEAST = 1.25  # inches below which a panel cannot be read
WHOLE_WORDS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
ROW_TITLES = 1.3  # inches that the titles of rows take
SCREEN = 1.4  # times as large on a screen
DPI = {"png": 180}  # else 150, of what is dots within a drawing
FORMS = {  # {form: (where its caption is kept, what is left out as it differs by the day)}
    "pdf": ("Subject", ["CreationDate"]),
    "png": ("Description", ["Software"]),
    "svg": ("Description", ["Date", "Creator"]),
}
STYLE: dict[Any, Any] = {
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left", "axes.linewidth": 0.6},
    **{"font.size": 7, "axes.titlesize": 7.5, "axes.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7},
    **{"xtick.labelsize": SMALLEST, "legend.title_fontsize": 7, "legend.frameon": False, "legend.handlelength": 1.6},
    **{"lines.linewidth": 1.1, "lines.markersize": 3.6, "grid.linewidth": 0.5, "axes.titlepad": 4, "axes.labelpad": 2},
    **{"legend.columnspacing": 1.2, "legend.labelspacing": 0.3, "xtick.major.pad": 2, "ytick.major.pad": 2.5},
    **{"figure.constrained_layout.h_pad": 0.03, "figure.constrained_layout.w_pad": 0.03, "text.parse_math": False},
    **{"svg.fonttype": "none", "svg.hashsalt": "synthgap", "pdf.fonttype": 42},
}
SVG_PLACES = re.compile(r'\s(?:d|x|y|width|height)="[^"]*"')
SVG_WASTE = re.compile(
    r'<metadata>.*?</metadata>|<!DOCTYPE[^>]*>|\stransform="rotate\(-0 [^)]*\)"|(?<=<g) id="[^"]*"', re.DOTALL
)
SVG_IDS, SVG_STYLES = re.compile(r'(?<=id=")[mp][0-9a-f]{10}(?=")'), re.compile(r'(?<= style=")[^"]*(?=")')
SVG_GROUP = re.compile(r"<g>((?:<(?:path|use)[^>]*/>|<text[^>]*>[^<]*</text>)*)</g>")


@dataclass(frozen=True)
class Series:
    """How one series of marks or lines looks, the same in every figure."""

    title: str
    colour: str
    marker: str
    dash: Any = "-"


class CaptionedFigure(Figure):
    """A figure with its caption and a sentence for those who do not see it.

    Notebooks show the caption below it, without its end: what they say of the evidence once, and the picture itself.
    """

    caption = ""
    alt = ""
    footer = ""  # the end of the caption
    letters = 40  # of a title that fit above a panel

    def _ipython_display_(self) -> None:
        dots = round(96 * SCREEN)
        display(Picture(as_bytes(self, "png", dpi=dots), width=round(dots * self.get_figwidth()), alt=self.alt))
        display(Markdown(escape_markdown(self.caption.removesuffix(self.footer).rstrip())))


@dataclass(frozen=True)
class Look:
    """How the corpora and classifiers of a profile look and are called, and how large a figure is to be.

    Attributes:
        corpora: {corpus: its look}, in the order in which they are shown; `real` first.
        width: in inches; None: SINGLE for one panel, else DOUBLE.
        classifiers: {classifier: its name for readers}.
        main: the corpora of the profile's main comparison.
    """

    corpora: Mapping[str, Series]
    width: float | None = None
    classifiers: Mapping[str, str] = field(default_factory=dict)
    main: Sequence[str] = ()

    @classmethod
    def of(cls, profile: Profile, width: float | None = None) -> "Look":
        titles = {name: one.title or name.replace("_", " ").capitalize() for name, one in profile.corpora.items()}
        looks = {REAL: Series("Real", *REFERENCE), **series_of(titles)}
        named = {name: one.title for name, one in profile.training.classifiers.items()}
        times = Counter(named.values())
        named = {name: f"{title} ({name})" if times[title] > 1 else title for name, title in named.items()}
        return cls(looks, width, named, (REAL, *profile.corpora_on(None)))

    def title(self, corpus: str) -> str:
        return self.corpora[corpus].title

    def classifier(self, name: str) -> str:
        return self.classifiers.get(name, name)

    def classifiers_in(self, table: pd.DataFrame) -> list[str]:
        """A table's classifiers in the order in which they are shown: the profile's."""
        order = [*self.classifiers, *table["classifier"]]
        return sorted(table["classifier"].unique(), key=order.index)

    def present(self, table: pd.DataFrame) -> list[str]:
        """The corpora of a table's column, in the order in which they are shown."""
        there = set(table["corpus"])
        return [name for name in self.corpora if name in there]

    def by_corpus(self, table: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, Series]]:
        """The rows of each corpus of a table, and how it looks, in the order in which they are shown."""
        for name in self.present(table):
            yield matching(table, {"corpus": name}), self.corpora[name]

    def panels(
        self, count: int, height: float, columns: int = 4, left: float = 0.35, **options: Any
    ) -> tuple[Figure, list[Axes]]:
        """A figure with `count` panels, as many in a line as can be read at the figure's width; numbers at each x-axis.

        Args:
            height: of a line of panels, in inches; legend and source make the figure higher.
            columns: panels in a line at most.
            left: inches that the titles of rows take, once in a line.
            options: further ones of `Figure.subplots`.

        Raises:
            SynthgapError: there are no panels.
        """
        if not count:
            raise SynthgapError("there is nothing to draw: the table has no rows")
        width = self.width or (SINGLE if min(count, columns) == 1 else DOUBLE)
        columns = min(columns, count, max(1, int((width - left) / LEAST)))
        lines = -(-count // columns)
        made = plt.figure(FigureClass=CaptionedFigure, figsize=(width, height * lines), layout="constrained")
        figure = cast(CaptionedFigure, made)
        figure.letters = letters_in((width - left) / columns - 0.1)
        axes = figure.subplots(lines, columns, squeeze=False, **options)
        for ax in axes.flat[:count]:
            ax.xaxis.set_tick_params(labelbottom=True)
        for ax in axes.flat[count:]:
            ax.set_axis_off()
        return figure, list(axes.flat[:count])


def series_of(titles: Mapping[str, str]) -> dict[str, Series]:
    """A look for each of {name: title}: eight colours, each with eight markers."""
    return {
        name: Series(
            title,
            COLOURS[at % len(COLOURS)],
            MARKERS[(at + at // len(COLOURS)) % len(MARKERS)],
            DASHES[(at + 1) % len(DASHES)],
        )
        for at, (name, title) in enumerate(titles.items())
    }


def others_of(titles: Mapping[str, str]) -> dict[str, Series]:
    """A look that no corpus has for each of {name: title}, of which there are few."""
    return {name: Series(title, *look) for (name, title), look in zip(titles.items(), OTHERS, strict=False)}


def letters_in(inches: float) -> int:
    """How many letters of a title fit, about."""
    return max(10, int(inches * 72 / 4.1))


Drawn = tuple[Figure, str]  # a figure, and what its caption says of it


@dataclass(frozen=True)
class Drawing:
    """One kind of figure.

    Attributes:
        name: of its files; figures of several classifiers or sources add `_<part>`.
        alt: what it shows, in a sentence, for those who do not see it.
        draw: from (reader of saved tables, look, part), a figure and its note; part is "" where there are none.
    """

    name: str
    alt: str
    draw: Callable[[ReadTable, Look, str], Drawn]

    def file_name(self, part: str = "") -> str:
        return f"{self.name}_{part}" if part else self.name

    def drawn(self, read: ReadTable, look: Look, source: str, part: str = "", footer: str = "") -> CaptionedFigure:
        """The figure, a short line on its source below it; note and footer are in its caption."""
        with style():
            drawn, note = self.draw(read, look, part)
            figure = cast(CaptionedFigure, drawn)
            figure.alt = f"{self.alt} ({look.classifier(part)})" if part else self.alt
            figure.footer = footer or source
            figure.caption = " ".join(filter(None, (self.alt, note, figure.footer)))
            lines = textwrap.wrap(source, letters_in(figure.get_figwidth()))
            figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=SMALLEST, color=QUIET)
            figure.set_figheight(figure.get_figheight() + 0.13 * len(lines))
            figure.draw_without_rendering()  # which lays it out, once for all forms
            figure.set_layout_engine(None)
        return figure


def drawing(name: str, alt: str) -> Callable[[Callable[[ReadTable, Look, str], Drawn]], Drawing]:
    """Make a drawing of the function below, which draws it; see `Drawing`."""
    return partial(Drawing, name, alt)


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures within the block: white, quiet grid, letters of a paper's size."""
    with sns.axes_style("whitegrid", rc=STYLE), plt.rc_context(STYLE):
        yield


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name`.pdf and `name`.png; the same figure gives the same bytes."""
    paths = [folder / f"{name}.pdf", folder / f"{name}.png"]
    for path in paths:
        with atomic(path) as temporary:
            temporary.write_bytes(as_bytes(figure, path.suffix[1:]))
    return paths


def as_bytes(figure: Figure, form: str, exact: bool = False, dpi: float | None = None) -> bytes:
    """The figure in one of FORMS, with its caption; the same figure gives the same bytes.

    Args:
        exact: in all its colours and places, for print.
        dpi: of what is dots; None: as files have it.
    """
    written, (caption, left_out) = io.BytesIO(), FORMS[form]
    metadata = {caption: getattr(figure, "caption", "") or None, **dict.fromkeys(left_out)}
    fonts = ["DejaVu Sans", "Verdana"]  # which an SVG names at each of its texts
    with plt.rc_context(STYLE | {"font.sans-serif": fonts}):
        figure.savefig(written, format=form, metadata=metadata, dpi=dpi or (300 if exact else DPI.get(form, 150)))
    smaller = {"png": smaller_png, "svg": smaller_svg}
    return smaller[form](written.getvalue()) if form in smaller and not exact else written.getvalue()


def smaller_png(picture: bytes) -> bytes:
    """The same picture in at most 256 colours: much smaller, each of them next to what it was."""
    smaller, kept, image = io.BytesIO(), PngInfo(), Image.open(io.BytesIO(picture))
    for name, text in getattr(image, "text", {}).items():
        kept.add_itxt(name, text)
    few = image.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(smaller, "PNG", optimize=True, pnginfo=kept, dpi=image.info.get("dpi"))
    return min(smaller.getvalue(), picture, key=len)


def smaller_svg(drawing: bytes) -> bytes:
    """The same drawing, larger on a screen: places to a tenth of a point, every id and style said once and shortly."""
    text = SVG_WASTE.sub("", re.sub(r">\s+<", "><", drawing.decode()))
    text = SVG_PLACES.sub(lambda found: re.sub(r"(\.\d)\d+|\n", r"\1", found[0]), text)
    for at, name in enumerate(dict.fromkeys(SVG_IDS.findall(text))):
        text = text.replace(name, f"i{at}")
    rules = ""
    for at, one in enumerate(dict.fromkeys(SVG_STYLES.findall(text))):
        text, rules = text.replace(f'style="{one}"', f'class="c{at}"'), f"{rules}.c{at}{{{one}}}"
    text = text.replace("</style>", f"{rules}</style>", 1)
    while (fewer := SVG_GROUP.sub(r"\1", text)) != text:
        text = fewer
    return re.sub(r'(?<=")([\d.]+)pt(?=")', lambda found: f"{SCREEN * float(found[1]):.0f}pt", text, count=2).encode()


# ----------------------------------------------------------------------------------------------------- what is plotted


def panels_by(
    column: str,
    table: pd.DataFrame,
    look: Look,
    plot: Callable[[pd.DataFrame, Look, Axes], Any],
    height: float,
    *,
    x: str = "",
    y: str = "",
    keys: Sequence[Line2D] = (),
    **options: Any,
) -> Figure:
    """A panel for each value of a column, in which `plot` draws that value's rows; see `Look.panels`.

    Its title is the value, and below it what `plot` makes the title.

    Args:
        x, y: what stands along the lowest and the leftmost axes.
        keys: in the legend after the corpora.
    """
    orders = {"task": task_order, "classifier": look.classifiers_in}
    names = orders.get(column, lambda rows: list(rows[column].unique()))(table)
    figure, axes = look.panels(len(names), height, **options)
    titles = {"task": short_title, "classifier": look.classifier}
    for ax, name in zip(axes, names, strict=True):
        place = cast(Any, ax.get_subplotspec())
        plot(matching(table, {column: name}), look, ax)
        set_title(ax, "\n".join(filter(None, (titles.get(column, str)(name), ax.get_title(loc="left")))))
        ax.set_xlabel(wrapped(ax, x) if len(axes) - axes.index(ax) <= place.get_gridspec().ncols else "")
        ax.set_ylabel(y if place.is_first_col() else "")
    legend_above(figure, [one.title for one in look.corpora.values()], keys)
    return figure


def set_title(ax: Axes, title: str) -> None:
    """Its title, in lines that fit above the panel."""
    ax.set_title("\n".join(wrapped(ax, line) for line in title.split("\n")), loc="left")


def wrapped(ax: Axes, text: str) -> str:
    return textwrap.fill(text, cast(CaptionedFigure, ax.figure).letters, **WHOLE_WORDS)


def interval_panels(
    table: pd.DataFrame,
    look: Look,
    *,
    value: str,
    series: Mapping[Any, Series] | None = None,
    by: str = "corpus",
    panel: str = "classifier",
    row: str = "task",
    label: str = "",
    line: float | None = None,
    significant: str = "",
    lines: Sequence[str] = ("these recordings", "new ones, too"),
    keys: Sequence[Line2D] = (),
    sharex: bool = True,
) -> Figure:
    """Dots with bars in a row for each task, and a panel for each value of the column `panel`, which is its title.

    Marks are hollow where the table has a column `filled` and that is false; where it has columns new_low and new_high,
    a thinner line stands for these.

    Args:
        series, by: as of `plot_intervals`; None: the table's corpora.
        row: the column whose values are the rows; tasks are in the paper's order.
        line: where a vertical line marks that nothing is lost or gained.
        significant: what filled marks are.
        lines: what thick and thin lines are.
        keys: further ones in the legend.
    """
    rows = task_order(table) if row == "task" else list(table[row].unique())
    titles = row_titles([short_title(one) if row == "task" else str(one) for one in rows])
    series = series or {name: look.corpora[name] for name in look.present(table)}

    def plot(own: pd.DataFrame, _: Look, ax: Axes) -> None:
        filled = "filled" if "filled" in table else None
        plot_intervals(own, ax, series, rows=rows, titles=titles, value=value, row=row, by=by, filled=filled)
        if line is not None:
            ax.axvline(line, color=INK, linewidth=plt.rcParams["axes.linewidth"], zorder=1)

    thin = "new_low" in table and bool(table["new_low"].notna().any())
    options: dict[str, Any] = {"sharex": sharex, "sharey": True, "left": ROW_TITLES, "x": label}
    keys = [*keys, *grey_keys(significant, lines if thin else ())]
    height = rows_height(titles, len(series))
    return panels_by(panel, table, look, plot, height, keys=keys, **options)


def rows_height(titles: Sequence[str], series: int) -> float:
    """Inches of a panel with a row for each title, in which so many series stand beside each other.

    A panel's own title and the label of its axis are in them, so that a single row needs more.
    """
    lines = max((title.count("\n") + 1 for title in titles), default=1)
    return max(1.6, 0.5 + len(titles) * max(0.21, 0.08 * series + 0.05, 0.15 * lines))


def row_titles(titles: Sequence[str]) -> list[str]:
    """Titles of rows in lines that are short enough."""
    return [textwrap.fill(title, 25, **WHOLE_WORDS) for title in titles]


def grey_keys(significant: str = "", lines: Sequence[str] = ()) -> list[Line2D]:
    """Keys that say once, of no corpus, what filled and hollow marks are, and thick and thin lines."""
    marks = {f"p < 0.05 (Holm), {significant}": QUIET, "p ≥ 0.05": "white"} if significant else {}
    width = plt.rcParams["lines.linewidth"] * 4 / 3
    return [
        *(Line2D([], [], ls="", marker="o", mec=QUIET, mfc=face, label=label) for label, face in marks.items()),
        *(Line2D([], [], color=QUIET, lw=width / (1 + 2 * at), label=label) for at, label in enumerate(lines)),
    ]


def plot_intervals(
    table: pd.DataFrame,
    ax: Axes,
    series: Mapping[Any, Series],
    *,
    rows: Sequence[Any],
    titles: Sequence[str],
    value: str,
    row: str = "task",
    by: str = "corpus",
    low: str = "low",
    high: str = "high",
    filled: str | None = None,
) -> Axes:
    """Dots with bars: a line for each of `rows` from top to bottom, in it a mark for each series.

    Args:
        table: at most one line for each row and series; columns named by the other arguments.
        series: {value in the column `by`: how it looks}; other values are left out.
        titles: what stands beside the rows.
        filled: a column of booleans; marks where it is false are hollow. None: all are filled.
    """
    line, size = plt.rcParams["lines.linewidth"] * 4 / 3, plt.rcParams["lines.markersize"] ** 2 * 7 / 6
    for number, (name, look) in enumerate(series.items()):
        part = table[table[by] == name].set_index(row).reindex(rows)
        heights = rows_beside(len(rows), number, len(series))
        ends: list[tuple[str, str, float]] = [(low, high, line), ("new_low", "new_high", line / 3)]
        for start, end, width in ends:
            if start in part:
                ax.hlines(heights, part[start], part[end], color=look.colour, linewidth=width)
        faces = np.where(part[filled].eq(True), look.colour, "white") if filled else look.colour
        marks: dict[str, Any] = {"marker": look.marker, "s": size}
        ax.scatter(part[value], heights, color=faces, edgecolor=look.colour, linewidth=0.8 * line, zorder=3, **marks)
        ax.scatter([], [], color=look.colour, label=look.title, **marks)
    ax.set_yticks(range(len(rows)), titles)
    ax.set(ylabel="", ylim=(len(rows) - 0.5, -0.5))
    return ax


def rows_beside(rows: int, number: int, count: int) -> list[float]:
    """Where the marks of the `number`-th of `count` series stand: around their row (0, 1, ...)."""
    step = min(0.32, 0.75 / count)
    return [place + step * (number - (count - 1) / 2) for place in range(rows)]


def task_panels(
    table: pd.DataFrame, look: Look, plot: Callable[[pd.DataFrame, Look, Axes], Any], height: float, **options: Any
) -> Figure:
    """A small panel for each task, in which `plot` draws the task's rows of the table."""
    return panels_by("task", table, look, plot, height, **{"columns": 5, **options})


def plot_line(ax: Axes, x: Any, y: Any, series: Series, **options: Any) -> None:
    """A thin line with small marks."""
    size = plt.rcParams["lines.markersize"] * 0.75
    look: dict[str, Any] = {"color": series.colour, "marker": series.marker, "ms": size, "lw": 0.9, "mew": 0.5}
    ax.plot(x, y, label=series.title, **{**look, **options})


def plot_curves(table: pd.DataFrame, look: Look, ax: Axes) -> Axes:
    """A curve with its band for each corpus; columns corpus, n (a logarithmic axis), value, low, high."""
    for rows, series in look.by_corpus(table.sort_values("n")):
        ax.fill_between(rows["n"], rows["low"], rows["high"], color=series.colour, alpha=0.15, linewidth=0)
        plot_line(ax, rows["n"], rows["value"], series)
    return log_axis(ax, sorted(table["n"].unique()), 4)


def legend_above(figure: Figure, order: Sequence[str] = (), keys: Sequence[Line2D] = ()) -> None:
    """All panels' keys for the whole figure, above it, as many in a line as fit.

    Args:
        order: of the titles; others follow.
        keys: further ones, at the end.
    """
    found = {label: handle for ax in figure.axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    shown = {label: found[label] for label in sorted(found, key=[*order, *found].index)}
    shown |= {str(key.get_label()): key for key in keys}
    if not shown:
        return
    for columns in range(len(shown), 0, -1):
        options: dict[str, Any] = {"loc": "outside upper left", "ncols": columns}
        legend = figure.legend([*shown.values()], [*shown], **options)
        if legend.get_window_extent().width <= 0.96 * figure.bbox.width or columns == 1:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + legend.get_window_extent().height / figure.dpi)


def log_axis(ax: Axes, ticks: Sequence[float], most: int = 6) -> Axes:
    """A logarithmic x-axis that names those of the ticks that lie within its limits and apart, `most` at most."""
    ax.set_xscale("log")
    low, high = np.log(ax.get_xlim())
    inside: list[float] = []
    for tick in ticks:
        if low <= np.log(tick) <= high and (not inside or np.log(tick / inside[-1]) > (high - low) / (most + 1)):
            inside.append(tick)
    ax.set_xticks(inside, [f"{tick:,g}" for tick in inside])
    ax.minorticks_off()
    return ax


def short_title(task: str) -> str:
    """A task's title without what stands in brackets."""
    return load_task(task).title.split(" (")[0]


def task_order(table: pd.DataFrame) -> list[str]:
    """A table's tasks as figures show them: in the paper's order."""
    return tasks_in_paper_order(table["task"].unique())


def classifiers_of(table: pd.DataFrame) -> list[str]:
    """A table's classifiers, in its order."""
    return list(dict.fromkeys(table["classifier"]))
