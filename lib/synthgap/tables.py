"""How every table looks: tidy CSV for programs; Markdown, LaTeX and HTML for people, every text escaped."""

import html
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML, Markdown
from pandas.api.types import is_numeric_dtype

from synthgap.core.config import GeneratedCorpus, LabelledCorpus, PooledCorpus, Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_text
from synthgap.data.labelled import labels_about
from synthgap.llm import model_of
from synthgap.tasks import load_task

ReadTable = Callable[[str], pd.DataFrame]  # gives a saved table by its name
OWN_FILES = "11_your_task"  # the stage that compares files which people bring along
QUESTIONS = {"08_llms": "llms", "09_prompts": "prompts"}  # {stage: the question of its comparisons}
EXAMPLE = (
    'All texts here, the "real" ones too, are a stand-in that an LLM wrote for this project: '
    "these numbers are evidence of nothing."
)
NO_ROWS = "No rows: this profile has nothing of the kind."
METRIC_TITLES = {"macro_f1": "Macro-F1", "accuracy": "Accuracy"}
LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}"}
)
LATEX_SIGNS = str.maketrans({"−": "$-$", "±": r"$\pm$", "–": "--"})
UNDEFINED = "–"  # what a cell shows where there is no number
LINK = re.compile(r"\]\s*[(\[:]")
BREAK = re.compile(r" (?!\[)")
INTERVAL = re.compile(r"(\[[^\[\], ]+,) (?=[^\[\], ]+\])")  # of two ends without spaces of their own
NUMBER = re.compile(r"[<>]? ?[-−+]?\d")  # with what a cell of a column of numbers begins
SCROLLS = "max-height:40em;overflow:auto;margin-bottom:0.8em"
SHOWN = re.compile(r"^## (\w+)\n\n", re.MULTILINE)
BOX = "border:1px solid var(--jp-border-color1, #bbb);border-radius:6px;padding:8px 12px;margin:6px 0;max-width:60em"


# -------------------------------------------------------------------------------------------------- notices and footers


def footer(profile: Profile, stage: str = "") -> str:
    """What every table, figure and report of a profile, or of one of its stages, has to say about its own evidence."""
    if profile.own_files and (stage == OWN_FILES or not profile.tasks):
        return f"Files compared: {', '.join(profile.own_files.names.values())}."
    if stage == OWN_FILES:
        return EXAMPLE
    parts = [written_by(profile, QUESTIONS.get(stage))] if profile.corpora else []
    if profile.stand_in:
        parts.insert(
            0,
            'The "real" texts are a stand-in that an LLM wrote for this project: '
            "these numbers are evidence of nothing.",
        )
    else:
        parts.append(
            f"Profile {profile.name}: a small-scale rerun with another LLM and other classifiers than the paper's."
        )
    return " ".join(parts)


def source(profile: Profile, stage: str = "") -> str:
    """What every figure says in a line below it: where its numbers are from, and whether they are evidence."""
    if profile.own_files and (stage == OWN_FILES or not profile.tasks):
        return footer(profile, stage)
    if profile.stand_in or stage == OWN_FILES:
        return "Stand-in texts: these numbers are evidence of nothing."
    return f"Profile {profile.name}: a small-scale rerun with another LLM."


def caveats(profile: Profile) -> list[str]:
    """What readers must know of the real texts of some tasks (nothing where the stand-in is used) and of labels."""
    tasks = [] if profile.stand_in else [load_task(name) for name in profile.tasks]
    return [*(f"{task.title}: {task.caveat}" for task in tasks if task.caveat), *label_caveats(profile)]


def left_out(profile: Profile) -> list[str]:
    """What readers must know of corpora whose texts are not there."""
    names = profile.left_out
    number = "1 corpus" if len(names) == 1 else f"{len(names)} corpora"
    said = f"Left out, as the data folder lacks the folder of their files: {number} ({', '.join(names)})."
    return [said] if names else []


def label_caveats(profile: Profile, corpora: Collection[str] | None = None) -> list[str]:
    """What readers must know of labels that LLMs gave; of all corpora or of these."""
    labelled = {name: one for name, one in profile.corpora.items() if isinstance(one, LabelledCorpus)}
    found = {name: labels_about(one)["caveat"] for name, one in labelled.items() if corpora is None or name in corpora}
    return [f"Labels of {name}: {caveat}" for name, caveat in found.items() if caveat]


def written_by(profile: Profile, question: str | None = None) -> str:
    """A sentence on who wrote the synthetic texts, and who labelled real ones, that the notebook on a question shows.

    Args:
        question: as a comparison names it; None: that of all other notebooks.
    """
    shown = {name: profile.corpora[name] for name in profile.corpora_on(question) or profile.corpora}
    what = "Texts" if any(isinstance(one, LabelledCorpus) for one in shown.values()) else "Synthetic texts"
    corpora: dict[str, list[str]] = {}
    for name, settings in shown.items():
        if not isinstance(settings, PooledCorpus):
            corpora.setdefault(writer_of(profile, name), []).append(name)
    if len(corpora) == 1:
        return f"{what}: {next(iter(corpora))}."
    return f"{what}: " + "; ".join(f"{', '.join(names)}: {writer}" for writer, names in corpora.items()) + "."


def writer_of(profile: Profile, corpus: str) -> str:
    """Who wrote or labelled a corpus, as the profile says or its recording."""
    settings = profile.corpora[corpus]
    if isinstance(settings, GeneratedCorpus):
        return model_of(profile.llms[settings.llm])
    if isinstance(settings, LabelledCorpus):
        who = settings.labelled_by or labels_about(settings)["model"] or f"'{settings.labels}', which does not say who"
        return f"real texts, labelled by {who}"
    if isinstance(settings, PooledCorpus):
        return f"as many each of {', '.join(settings.pool)}"
    return settings.written_by or f"imported from '{Path(settings.file).name}', which does not say who wrote them"


def notice(text: str, colour: str = "#d55e00") -> HTML:
    """A sentence that must not be missed, such as what the data are."""
    return HTML(f"<div style='{BOX};border-left:4px solid {colour}'>{html.escape(unbroken(text))}</div>")


def unbroken(text: str) -> str:
    """The same, with no end of a line within an interval."""
    return INTERVAL.sub("\\1\u00a0", text)


def facts(title: str, values: Mapping[str, Any]) -> str:
    """A small two-column table as HTML text, which unfolds under its title."""
    rows = "".join(
        f"<tr><td style='text-align:left;opacity:0.7;font-size:90%'>{html.escape(str(name))}</td>"
        f"<td style='text-align:left;white-space:normal'>{html.escape(str(value))}</td></tr>"
        for name, value in values.items()
    )
    return f"<details><summary>{html.escape(title)}</summary><table>{rows}</table></details>"


# ----------------------------------------------------------------------------------------------------------- writing


def write_csv(path: Path, frame: pd.DataFrame, private: bool = False) -> Path:
    """Tidy CSV: numbers to six significant places, nothing for what is undefined, texts safe for spreadsheets."""
    safe = frame.copy()
    for column in safe.columns:
        if not is_numeric_dtype(safe[column]):
            safe[column] = safe[column].map(escape_csv)
    return write_text(path, safe.to_csv(index=False, lineterminator="\n", float_format="%.6g"), private)


def read_csv(folder: Path, name: str) -> pd.DataFrame:
    """A saved table; refused where it has not been written."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise SynthgapError(f"the table '{path.name}' is not there yet; run the stage that writes it first")
    return pd.read_csv(path)


def write_shown(folder: Path, page: str, shown: Mapping[str, tuple[str, str]]) -> list[Path]:
    """`page`.md and `page`.tex: tables as people read them, {name: (Markdown, LaTeX)}, each under its name."""
    return [
        write_text(folder / f"{page}.md", "\n".join(f"## {name}\n\n{text}" for name, (text, _) in shown.items())),
        write_text(folder / f"{page}.tex", "\n".join(f"% {name}\n{text}" for name, (_, text) in shown.items())),
    ]


def read_shown(folder: Path, page: str) -> dict[str, str]:
    """{name: Markdown} of the tables that `write_shown` wrote; none where there is no such page."""
    path = folder / f"{page}.md"
    _, *parts = SHOWN.split(path.read_text(encoding="utf-8")) if path.is_file() else [""]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def to_markdown(frame: pd.DataFrame, caption: str, notes: Sequence[str]) -> str:
    """A Markdown table under its caption, with its notes below; cells are texts."""
    return _with_caption(_markdown_rows(frame), caption, _with_no_rows(notes, frame))


def to_look_at(frame: pd.DataFrame, caption: str, notes: Sequence[str]) -> Markdown:
    """The same for a notebook: no columns in which nothing is defined, short cells unbroken, in a box that scrolls."""
    defined = frame.loc[:, ~((frame == UNDEFINED).all() & (len(frame) > 0))]
    rows = f"<div style='{SCROLLS}'>\n\n{_markdown_rows(defined, whole=45)}\n\n</div>"
    return Markdown(_with_caption(rows, caption, _with_no_rows(notes, frame)))


def _with_caption(rows: str, caption: str, notes: Sequence[str]) -> str:
    return "\n\n".join([f"**{escape_markdown(caption)}**", rows, *map(escape_markdown, notes)]) + "\n"


def _markdown_rows(frame: pd.DataFrame, whole: int = 0) -> str:
    """A table's rows in Markdown; cells of fewer letters than `whole` stay in one line, their intervals aside.

    No longer cell breaks within an interval.
    """
    cells = frame.map(lambda value: escape_markdown(str(value)))
    numbers = frame.map(lambda value: _is_number(str(value))).any()
    if whole:
        cells = cells.map(lambda text: BREAK.sub("\u00a0", text) if len(text) < whole else unbroken(text))
    cells.columns = [escape_markdown(str(column)) for column in frame.columns]
    align = ["right" if place > 0 and of_numbers else "left" for place, of_numbers in enumerate(numbers)]
    rows = cells.to_markdown(index=False, colalign=align, disable_numparse=True)
    return re.sub(r" {2,}", " ", rows)  # columns are as wide as their longest cell otherwise


def _is_number(cell: str) -> bool:
    """Whether a cell is a number with what belongs to it, and no text that begins with one."""
    return NUMBER.match(cell) is not None and sum(map(str.isdigit, cell)) > sum(map(str.isalpha, cell))


def to_latex(frame: pd.DataFrame, caption: str, notes: Sequence[str]) -> str:
    """A booktabs table with its caption and notes; needs the LaTeX package booktabs."""
    style = frame.map(str).style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    body = style.to_latex(hrules=True, column_format="l" + "r" * (frame.shape[1] - 1))
    lines = [r"\begin{table}", r"\centering\small", rf"\caption{{{escape_latex(caption)}}}", body.rstrip()]
    lines += [rf"\par\footnotesize {escape_latex(note)}" for note in _with_no_rows(notes, frame)]
    return "\n".join([*lines, r"\end{table}", ""]).translate(LATEX_SIGNS)


def _with_no_rows(notes: Sequence[str], frame: pd.DataFrame) -> Sequence[str]:
    """The notes, and before them, of a table without rows, that it has none."""
    return notes if len(frame) else [NO_ROWS, *notes]


def escape_latex(text: str) -> str:
    return text.translate(LATEX)


def escape_markdown(text: str) -> str:
    """For a cell of a Markdown table: no markup, no HTML, no new column or line.

    Brackets stay as they are unless they could make a link: some readers take an escaped one for mathematics.
    """
    text = html.escape(" ".join(text.split()), quote=False)
    signs = "\\`*_|~$#" + ("[]" if LINK.search(text) else "")
    return "".join(f"\\{sign}" if sign in signs else sign for sign in text)


def escape_csv(value: Any) -> Any:
    """Keep spreadsheets from taking a text for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in set("=+-@\t\r") else value


def unescape_csv(text: str) -> str:
    """What `escape_csv` made safe, as it was."""
    return text[1:] if text[:1] == "'" and text[1:2] in set("=+-@\t\r") else text


# ------------------------------------------------------------------------------------------------------------- cells


def rounded(frame: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """Numbers as people read them, a dash for what is undefined; p, p_holm and the like have three digits."""
    shown = frame.map(lambda value: _number(value, digits))
    for column in frame.columns[frame.columns.str.fullmatch(r"(.*_)?p(_holm|_conditional)?")]:
        p_values = frame[column].map(lambda value: _number(value, 3))
        shown[column] = p_values.mask(frame[column] < 0.001, "<0.001")
    return shown


def _number(value: Any, digits: int) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.{digits}f}".replace("-", "−")
    return UNDEFINED if pd.isna(value) or value in (math.inf, -math.inf) else str(value)


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign, as people read it: "+1.2", "−0.4"."""
    return f"{value:+.{digits}f}".replace("-", "−")


def signed_interval(low: float, high: float, digits: int = 1) -> str:
    """An interval of such numbers: "[−1.2, +0.4]"."""
    return f"[{signed(low, digits)}, {signed(high, digits)}]"


def told_interval(row: Any, columns: str = "") -> tuple[float, float]:
    """The interval that people are shown of a row's estimate: of new recordings where there are several, else of these.

    Args:
        row: with low, high, new_low and new_high, all of them behind the prefix `columns`.
    """
    target = "" if pd.isna(getattr(row, f"{columns}new_low")) else "new_"
    return getattr(row, f"{columns}{target}low"), getattr(row, f"{columns}{target}high")


def format_p(p: float) -> str:
    """A p-value as people read it."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def format_hours(hours: float) -> str:
    """A time as people read it: "1 minute", "30.0 hours", "3.0 days"; in words where it is not a number."""
    if math.isnan(hours):
        return "a time that nobody measured"
    if hours < 1.5:
        minutes = max(1, round(60 * hours))
        return f"{minutes} minute{'s' * (minutes > 1)}"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def matching(table: pd.DataFrame, key: Mapping[str, str]) -> pd.DataFrame:
    """The rows that have these values in these columns."""
    return table[(table[list(key)] == pd.Series(key)).all(axis=1)]


def stacked(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Tables below each other, with these columns; those alone where no table has a row."""
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True)[list(columns)] if filled else pd.DataFrame(columns=list(columns))


def wide(cells: pd.DataFrame, key: Sequence[str], titles: Sequence[str]) -> pd.DataFrame:
    """Cells beside each other: a row for each value of the key, a column for each title; a dash where there is none.

    Args:
        cells: the columns of the key, then title and cell.
    """
    table = cells.pivot_table(index=list(key), columns="title", values="cell", aggfunc="first", sort=False)
    return table.reindex(columns=list(titles)).fillna(UNDEFINED).reset_index().rename_axis(columns=None)


def bounded(least: float, most: float, digits: int = 2) -> str:
    """What is known to lie from one number to another: "0.56", "< 0.20", "> 4.00", "0.20 to 0.30"."""
    if least == most:
        return f"{least:.{digits}f}"
    if math.isinf(most):
        return f"> {least:.{digits}f}"
    return f"< {most:.{digits}f}" if least == 0 else f"{least:.{digits}f} to {most:.{digits}f}"


def seeds_shown(rows: pd.DataFrame) -> str:
    """How many seeds the tasks of a table have: "3", and "3; 1 on ag_news, imdb" where a few tasks have another number.

    Args:
        rows: columns task, seeds; of a task's rows that with the fewest seeds counts.
    """
    fewest = rows.groupby("task", as_index=False)["seeds"].min()
    tasks = fewest.groupby("seeds")["task"].unique()
    (usual, _), *others = sorted(tasks.items(), key=lambda item: (-len(item[1]), -item[0]))
    return "; ".join([str(usual), *(f"{seeds} on {', '.join(sorted(names))}" for seeds, names in others)])


def seeds_note(rows: pd.DataFrame) -> str:
    """The seeds as `seeds_shown`, and what stands for another training where there is one; for a figure's caption."""
    least = "at least " if rows.groupby("task")["seeds"].nunique().max() > 1 else ""
    note = f"Seeds: {least}{seeds_shown(rows)}."
    if rows["seeds"].min() > 1:
        return note
    if rows["seeds"].max() > 1:
        return f"{note} What another training would change is taken from other tasks where there is one seed."
    return f"{note} With one seed, intervals hold test items alone, and not what another training would change."
