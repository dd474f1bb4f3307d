"""How tables look: tidy CSV for programs; Markdown, LaTeX and HTML for people, every text escaped."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.files import write_text
from synthgap.tasks import load_task

if TYPE_CHECKING:
    import pandas as pd

    from synthgap.config import Profile

REGIME_TITLES = {"real": "Real", "zero_shot": "Zero-shot", "few_shot": "Few-shot"}
METRIC_TITLES = {"macro_f1": "Macro-F1", "accuracy": "Accuracy"}
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "−": r"$-$",
    "±": r"$\pm$",
    "–": "--",
}
LINK = re.compile(r"\]\s*[(\[:]")
NOTHING = "No rows: this profile has nothing of the kind."
SIGNIFICANT = "Holm-corrected p < 0.05, for these trained classifiers"
UNVERIFIED = (
    "Published: Table 1 of arXiv 2310.07849 (RoBERTa), unverified: written down without the PDF at hand; the RoBERTa "
    "columns' mean drops agree with the averages in the paper's text, and one cell is empty."
)


def escape_latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)


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


def footer(profile: Profile) -> str:
    """What every table, figure and report of a profile has to say about its own evidence."""
    from synthgap.llm import model_of

    parts = [f"Synthetic texts: {model_of(profile.llm) if profile.generation.settings else 'none'}."]
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


def caveats(profile: Profile) -> list[str]:
    """What readers must know of the real texts of some tasks; nothing where the stand-in takes their place."""
    tasks = [] if profile.stand_in else [load_task(name) for name in profile.tasks]
    return [f"{task.title}: {task.caveat}" for task in tasks if task.caveat]


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    """Tidy CSV: numbers to six significant places, nothing for what is undefined, texts safe for spreadsheets."""
    safe = frame.copy()
    for column in safe.columns:
        if not _is_number(safe[column]):
            safe[column] = safe[column].map(escape_csv)
    return write_text(path, safe.to_csv(index=False, lineterminator="\n", float_format="%.6g"))


def _is_number(column: pd.Series) -> bool:
    from pandas.api.types import is_numeric_dtype

    return is_numeric_dtype(column)


def to_markdown(frame: pd.DataFrame, caption: str, notes: Sequence[str]) -> str:
    """A Markdown table under its caption, with its notes below; cells are texts."""
    head = [escape_markdown(str(column)) for column in frame.columns]
    rows = [[escape_markdown(str(value)) for value in row] for row in frame.itertuples(index=False)]
    align = [":--" if place == 0 else "--:" for place in range(len(head))]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, align, *rows)]
    return "\n".join(
        [f"**{escape_markdown(caption)}**", "", *lines, "", *(escape_markdown(note) + "\n" for note in notes)]
    )


def to_latex(frame: pd.DataFrame, caption: str, notes: Sequence[str]) -> str:
    """A booktabs table with its caption and notes; needs the LaTeX package booktabs."""

    def line(cells: Sequence[Any]) -> str:
        return "  " + " & ".join(escape_latex(str(cell)) for cell in cells) + r" \\"

    body = [line(row) for row in frame.itertuples(index=False)]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering\small",
            rf"  \caption{{{escape_latex(caption)}}}",
            rf"  \begin{{tabular}}{{l{'r' * (frame.shape[1] - 1)}}}",
            r"  \toprule",
            line(list(frame.columns)),
            r"  \midrule",
            *body,
            r"  \bottomrule",
            r"  \end{tabular}",
            *(rf"  \par\footnotesize {escape_latex(note)}" for note in notes),
            r"\end{table}",
            "",
        ]
    )


def write_table(
    folder: Path, name: str, tidy: pd.DataFrame, shown: pd.DataFrame, caption: str, notes: Sequence[str]
) -> list[Path]:
    """`name`.csv with the tidy figures; `name`.md and `name`.tex as people read them."""
    return [write_csv(folder / f"{name}.csv", tidy), *write_shown(folder, name, shown, caption, notes)]


def write_shown(folder: Path, name: str, shown: pd.DataFrame, caption: str, notes: Sequence[str]) -> list[Path]:
    notes = notes if len(shown) else [NOTHING, *notes]
    return [
        write_text(folder / f"{name}.md", to_markdown(shown, caption, notes)),
        write_text(folder / f"{name}.tex", to_latex(shown, caption, notes)),
    ]


# ----------------------------------------------------------------------------------------------------------- Table 1


def table_1(table: pd.DataFrame, gaps: pd.DataFrame, classifier: str, metric: str = "macro_f1") -> pd.DataFrame:
    """Table 1 for people: a row a task in the paper's order, regimes side by side with the drop against real.

    Cells are "mean ± deviation over seeds [95 % interval]"; a drop bears * where its Holm-corrected p is below 0.05.
    """
    import pandas as pd

    rows = table[table["classifier"] == classifier].set_index(["task", "regime"])
    drops = gaps[(gaps["classifier"] == classifier) & (gaps["metric"] == metric) & (gaps["baseline"] == "real")]
    drops = drops.set_index(["task", "regime"])
    published = _published(metric)
    tasks = tasks_in_paper_order(table["task"].unique())
    regimes = regimes_in(table)
    shown = []
    for task in tasks:
        line = {"Task": load_task(task).title}
        for regime in regimes:
            line[REGIME_TITLES[regime]] = _score(rows.loc[(task, regime)], metric)
            if (task, regime) in drops.index:
                line[f"{REGIME_TITLES[regime]} − real"] = _gap(drops.loc[(task, regime)])
        line["Published, unverified"] = " / ".join(published.get((task, regime), "–") for regime in regimes)
        shown.append(line)
    return pd.DataFrame(shown)


def table_1_notes(table: pd.DataFrame, classifier: str, profile: Profile) -> list[str]:
    """What a reader must know beside Table 1."""
    rows = table[table["classifier"] == classifier]
    sizes = f"{rows['n_train'].min():,} to {rows['n_train'].max():,} training texts a task, the same for every regime"
    seeds = ", ".join(map(str, sorted(rows["seeds"].unique())))
    regimes = " / ".join(REGIME_TITLES[regime].lower() for regime in regimes_in(table))
    return [
        f"Mean ± standard deviation over seeds [95 % interval over test items and seeds], in percent; {sizes}; "
        f"seeds: {seeds}. A deviation of 0.0 means that every seed drew the same texts (all there were) and the "
        "classifier has no randomness of its own; with one seed there is no deviation. "
        f"* {SIGNIFICANT} (paired randomisation test, corrected over the tasks).",
        f"{UNVERIFIED} Order of its figures: {regimes}.",
        footer(profile),
    ]


def regimes_in(table: pd.DataFrame) -> list[str]:
    """The regimes of a table's column, in the order in which they are shown."""
    return [regime for regime in REGIME_TITLES if regime in set(table["regime"])]


def tasks_in_paper_order(tasks: Sequence[str]) -> list[str]:
    """Tasks from least to most subjective in the paper's Table 1 (unverified); others follow by name."""
    return sorted(tasks, key=lambda name: (load_task(name).paper_order or 10**6, name))


def paper_order(tasks: Sequence[str]) -> dict[str, int]:
    """{task: place} of those tasks that the paper's Table 1 orders, from 1 (least subjective) on."""
    ranked = [name for name in tasks_in_paper_order(tasks) if load_task(name).paper_order]
    return {name: place for place, name in enumerate(ranked, start=1)}


def rounded(frame: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """Numbers as people read them, a dash for what is undefined; columns p and p_holm are p-values."""
    shown = frame.map(lambda value: _number(value, digits))
    for column in {"p", "p_holm"} & set(frame.columns):
        shown[column] = shown[column].mask(frame[column] < 0.001, "<0.001")
    return shown


def _number(value: Any, digits: int) -> str:
    import pandas as pd

    if isinstance(value, float) and value == value:
        return f"{value:.{digits}f}".replace("-", "−")
    return "–" if pd.isna(value) else str(value)


def hours_shown(hours: float) -> str:
    """A time as people read it: "1 minute", "30.0 hours", "3.0 days"; in words where it is not a number."""
    if math.isnan(hours):
        return "a time that nobody measured"
    if hours < 1.5:
        minutes = max(1, round(60 * hours))
        return f"{minutes} minute{'s' * (minutes > 1)}"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def values_shown(column: pd.Series) -> str:
    """The different values of a column by size: "1/3"."""
    return "/".join(map(str, sorted(column.unique())))


def seeds_shown(rows: pd.DataFrame) -> str:
    """How many seeds the tasks of a table have: "3", and "3; 1 on ag_news, imdb" where a few tasks have another number.

    Args:
        rows: columns task, seeds; a task's rows have the same seeds.
    """
    tasks = rows.groupby("seeds")["task"].unique()
    (usual, _), *others = sorted(tasks.items(), key=lambda item: (-len(item[1]), -item[0]))
    return "; ".join([str(usual), *(f"{seeds} on {', '.join(sorted(names))}" for seeds, names in others)])


def seeds_note(rows: pd.DataFrame) -> str:
    """The seeds as `seeds_shown`, and what intervals of one seed do not hold; for a figure's caption."""
    note = f"Seeds: {seeds_shown(rows)}."
    if rows["seeds"].min() > 1:
        return note
    return f"{note} With one seed, intervals hold test items alone, and not what another training would change."


# ------------------------------------------------------------------------------------------------ people or simulated


def matching(table: pd.DataFrame, key: Mapping[str, str]) -> pd.DataFrame:
    """The rows that have these values in these columns."""
    found = table
    for column, value in key.items():
        found = found[found[column] == value]
    return found


def by_kind(tidy: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{"human": rows, "simulated": rows} of a table with a column `source`; what has no rows is not there."""
    human = tidy["source"].str.startswith("human")
    parts = {"human": tidy[human], "simulated": tidy[~human]}
    return {kind: rows for kind, rows in parts.items() if len(rows)}


KIND_TITLES = {"human": "what people said", "simulated": "simulated, no people"}


def show_by_kind(tidy: pd.DataFrame, caption: str, notes: Sequence[str], digits: int = 3) -> list[str]:
    """The table as Markdown, what people said and what was simulated each for itself."""
    return [
        to_markdown(rounded(rows, digits), f"{caption} ({KIND_TITLES[kind]})", notes)
        for kind, rows in by_kind(tidy).items()
    ]


def write_by_kind(
    folder: Path, name: str, tidy: pd.DataFrame, caption: str, notes: Sequence[str], digits: int = 3
) -> list[Path]:
    """`name`.csv with all sources; `name`_human and `name`_simulated (Markdown, LaTeX), each for itself."""
    written = [write_csv(folder / f"{name}.csv", tidy)]
    for kind, rows in by_kind(tidy).items():
        titled = f"{caption} ({KIND_TITLES[kind]})"
        written += write_shown(folder, f"{name}_{kind}", rounded(rows, digits), titled, notes)
    return written


def _score(row: pd.Series, metric: str) -> str:
    deviation = "" if row[f"{metric}_sd"] != row[f"{metric}_sd"] else f" ± {row[f'{metric}_sd']:.1f}"
    return f"{row[metric]:.1f}{deviation} [{row[f'{metric}_low']:.1f}, {row[f'{metric}_high']:.1f}]"


def _gap(row: pd.Series) -> str:
    points = f"{row['gap']:+.1f}".replace("-", "−")
    return ("0.0" if points in {"+0.0", "−0.0"} else points) + ("*" if row["p_holm"] < 0.05 else "")


def _published(metric: str, encoder: str = "roberta") -> dict[tuple[str, str], str]:
    from synthgap.evaluation import published_table

    rows = published_table()
    rows = rows[(rows["encoder"] == encoder) & rows[metric].notna()]
    return {(row["task"], row["regime"]): f"{row[metric]:.1f}" for _, row in rows.iterrows()}
