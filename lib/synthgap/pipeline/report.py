"""report.html: one self-contained page: what was found, then every figure and table of a profile, and what was run.

It is made from the products that the stages' success markers name, so nothing is left out: what is too long for a page
is named, with a link to its file. Figures are drawn anew from the saved tables and embedded as they are; on a dark page
they lie on a light card.
"""

import html
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib.pyplot as plt
import mistune
import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_text
from synthgap.core.paths import command, outputs_folder
from synthgap.figures import as_bytes
from synthgap.pipeline.drawings import draw, figure_names
from synthgap.pipeline.manifest import read_manifest
from synthgap.pipeline.stages import saved_table, setting_text
from synthgap.pipeline.validity import finished_in, products_of, stage_state, stages_of
from synthgap.subjectivity.agreement_sources import KINDS
from synthgap.tables import (
    OWN_FILES,
    caveats,
    escape_markdown,
    footer,
    left_out,
    matching,
    read_csv,
    read_shown,
    unbroken,
    unescape_csv,
)

LONG = 12  # rows beyond which a table is folded
MOST, WIDEST = 40, 16  # rows and columns beyond which it is only named
SECTIONS = {  # {stage: its title and what it is about}, in the page's order
    "03_evaluation": (
        "What is lost",
        "Scores on the real test split with intervals over items, seeds and recordings, and corrected tests.",
    ),
    "04_subjectivity": (
        "What people disagree on",
        "How subjective tasks and texts are, by whom, and whether accuracy follows. What people said and what was "
        "simulated stand in separate tables. Simulated judges are no people.",
    ),
    "05_diversity": (
        "How varied the texts are",
        "Diversity of real and synthetic texts at equal number, their similarity, and test texts that slipped in.",
    ),
    "06_augmentation": (
        "What synthetic texts add to real ones",
        "Real texts alone, synthetic texts alone, both, and as many real texts; and growing amounts of real texts "
        "without and with synthetic ones.",
    ),
    "07_causes": (
        "Why there is a gap",
        "What tells the texts apart, whether labels mean the same, and what is left of the gap after each remedy; by "
        "probes on sentence embeddings.",
    ),
    "08_llms": (
        "Which LLM, and on later texts",
        "LLMs of one pipeline side by side, whether several authors together do better, whether the gap can be "
        "foretold, and what another time and place change.",
    ),
    "09_prompts": (
        "What a prompt changes",
        "Real examples by their number, a guideline in their place, other prompts for diversity; and how many "
        "recordings it takes to tell.",
    ),
    "10_decision": (
        "What to do with a budget",
        "Which strategy is best at so many real labels spent, how a rule chooses without a test set, and what it "
        "costs. Prices are examples.",
    ),
    OWN_FILES: (
        "Your own files",
        "What becomes of the rows of each file, and what training on each costs, is worth and adds.",
    ),
    "01_generation": (
        "What the LLM wrote",
        "Texts of every label, by corpus; what was unusable or repeated was rejected and counted.",
    ),
}
QUESTIONS = (  # in their order on the first screen
    *("Why?", "Which LLM?", "Do several authors help?", "How many examples?", "Train on the examples?"),
    *("Nuance or the source?", "Which prompt?", "What to do with 10 labels?", "What to do with 50 labels?"),
    *("What does it cost?", "Does it last?", "Can the gap be foretold?", "Does disagreement change over time?"),
)
BADGES = {  # whose words the numbers of a table or figure stand on, where these are not real texts and real runs
    "stand-in": "the “real” texts too were written by an LLM, for this project: evidence of nothing",
    "simulated": "an LLM in the place of annotators, no people",
    "human": "what people said",
}
UNQUOTED = ' !"$()*+,/:;<=>?@[]^`{|}'  # neither ends an attribute in single quotes nor means anything in a data URL
CAPTION = re.compile(r"<p><strong>(.*?)</strong></p>\s*", re.DOTALL)
CLAUSE = re.compile(r"; |(?<=\.) (?=[A-Z])")  # ends what stands first in an answer
NUMBER = re.compile(r"<td>[−+\d]")
NOT_ZERO = re.compile(r"<td>[−+\d.,]*[1-9]")


@dataclass(frozen=True)
class ReportFigure:
    """A figure as it stands on the page; `source` is a data URL of its SVG, for an attribute in single quotes."""

    name: str
    alt: str
    caption: str
    source: Markup
    badges: list[str]


@dataclass(frozen=True)
class ReportTable:
    """A table as it stands on the page.

    Attributes:
        html: the table with its notes, without its title.
        source: its CSV file, as seen from the page; "" where there is none.
    """

    name: str
    title: str
    rows: int
    html: Markup
    source: str = ""
    badges: Sequence[str] = ()

    @property
    def is_shown(self) -> bool:
        """Whether it has its place on the page: else it is too large, or says nothing but 0, and is only named."""
        says_something = NUMBER.search(self.html) is None or NOT_ZERO.search(self.html) is not None
        return self.rows <= MOST and self.html.count("</th>") <= WIDEST and says_something


def write_report(profile: Profile) -> Path:
    """Write report.html into the profile's folder, from what was run so far; refused where nothing was."""
    manifest = read_manifest(profile)
    if not manifest:
        raise SynthgapError(f"profile '{profile.name}' has no results to report; run: {command('run', profile)}")
    page = Environment(loader=PackageLoader("synthgap.pipeline"), autoescape=True).get_template("report.html")
    answers, classifier = _answers(profile), _classifier_of_all(profile)
    sections = [_section(profile, stage, answers) for stage in SECTIONS if products_of(stage, profile)]
    figures = {figure.name: figure for section in sections for figure in section["figures"]}
    tables = [table for section in sections for table in (*section["tables"], *section["named"])]
    shown = {badge for one in (*figures.values(), *tables) for badge in one.badges}
    text = page.render(
        profile=profile,
        notice=footer(profile),
        badges={name: meaning for name, meaning in BADGES.items() if name in shown},
        caveats=[*left_out(profile), *caveats(profile)],
        missing=[stage for stage in stages_of(profile) if stage_state(stage, profile) != "done"],
        classifier=profile.training.classifiers[classifier].title if classifier else "",
        classifiers={name: one.title for name, one in profile.training.classifiers.items()} if profile.tasks else {},
        found=_found(profile, classifier),
        leading=figures.get("gap_by_task" if profile.tasks else "own_curve"),
        questions=_questions(answers),
        sections=sections,
        runs=_what_was_run(manifest),
        long=LONG,
    )
    return write_text(outputs_folder(profile) / "report.html", text)


# -------------------------------------------------------------------------------------------------- the first screen


def _found(profile: Profile, classifier: str) -> list[tuple[str, str, str]]:
    """What was found over all tasks, of one classifier; or of own files alone, the verdict.

    Of each sentence: the question or file that it speaks of, what stands first in it, and the rest.
    """
    stage, name = ("03_evaluation", "claims") if profile.tasks else (OWN_FILES, "verdict")
    if f"tables/{name}.csv" not in products_of(stage, profile):
        return []
    table = _as_written(read_csv(finished_in(stage, profile) / "tables", name))
    if profile.tasks:
        claims = matching(table, {"classifier": classifier})
        return [(row.question, *_halves(row.answer)) for row in claims.itertuples()]
    about = [" ".join(one for one in (row.texts, row.classifier) if one != "–") for row in table.itertuples()]
    return [(said, *_halves(row.verdict)) for said, row in zip(about, table.itertuples(), strict=True)]


def _classifier_of_all(profile: Profile) -> str:
    """The last classifier that all tasks have; "" where there is none, and of own files alone."""
    of_all = [name for name, one in profile.training.classifiers.items() if profile.tasks and one.tasks is None]
    return of_all[-1] if of_all else ""


def _answers(profile: Profile) -> list[dict[str, str]]:
    """What the notebooks answer to questions, each with the stage that says more: their tables `answers_<stage>`."""
    rows = []
    for stage in SECTIONS:
        for name in products_of(stage, profile):
            if name.startswith("tables/answers_") and name.endswith(".csv"):
                table = _as_written(read_csv(finished_in(stage, profile) / "tables", Path(name).stem))
                rows += [{**row, "stage": stage} for row in table[["question", "answer"]].to_dict("records")]
    order = {question: place for place, question in enumerate(QUESTIONS)}
    return sorted(rows, key=lambda row: order.get(row["question"].partition(" (")[0], len(order)))


def _questions(answers: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """A line for each question: what stands first in its first answer, and how many more there are."""
    lines: dict[str, dict[str, Any]] = {}
    for row in answers:
        if row["question"] in lines:
            lines[row["question"]]["more"] += 1
        else:
            lines[row["question"]] = {**row, "answer": _halves(row["answer"])[0], "more": 0}
    return list(lines.values())


def _halves(text: str) -> tuple[str, str]:
    """What stands first in an answer, up to its first semicolon or its first sentence's end, and the rest."""
    end = CLAUSE.search(text)
    return (text[: end.start()], text[end.start() :]) if end else (text, "")


def _as_written(table: pd.DataFrame) -> pd.DataFrame:
    return table.map(lambda cell: unbroken(unescape_csv(cell)) if isinstance(cell, str) else cell)


# -------------------------------------------------------------------------------------------------------- sections


def _section(profile: Profile, stage: str, answers: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    title, lead = SECTIONS[stage]
    folder = finished_in(stage, profile) / "tables"
    paths = [Path(name) for name in sorted(products_of(stage, profile)) if name.startswith("tables/")]
    files = [path.stem for path in paths if path.suffix == ".csv" and not path.stem.startswith("answers_")]
    files = [name for name in files if (folder / f"{name}.csv").is_file()]
    tables = list(_tables(profile, stage, folder, files))
    in_words = {table.source for table in tables}
    return {
        "stage": stage,
        "title": title,
        "lead": lead,
        "answers": [row for row in answers if row["stage"] == stage],
        "figures": [_figure(name, stage, profile) for name in figure_names(profile, stage)],
        "tables": [table for table in tables if table.is_shown],
        "named": [table for table in tables if not table.is_shown],
        "files": [name for name in files if f"tables/{name}.csv" not in in_words],
    }


def _figure(name: str, stage: str, profile: Profile) -> ReportFigure:
    sources: set[str] = set()

    def read(table: str) -> pd.DataFrame:
        found = saved_table(table, profile)
        sources.update(sources_in(found))
        return found

    figure = draw(name, profile, read=read)
    caption = figure.caption.removesuffix(footer(profile, stage))
    source = "data:image/svg+xml," + quote(as_bytes(figure, "svg"), safe=UNQUOTED)
    plt.close(figure)
    return ReportFigure(name, figure.alt, caption, Markup(source), badges_of(profile, stage, name, sources))  # noqa: S704  quoted


def _tables(profile: Profile, stage: str, folder: Path, files: Sequence[str]) -> Iterator[ReportTable]:
    """The stage's tables as people read them, without what the page says once of all."""
    said_once = [f"\n{escape_markdown(note)}\n" for note in (footer(profile, stage), *caveats(profile))]
    for name, markdown in read_shown(folder, stage).items():
        if not name.startswith("answers_"):
            for note in said_once:
                markdown = markdown.replace(note, "")
            table = from_markdown(name, markdown)
            of_name = [file for file in files if name == file or name.startswith(f"{file}_")]
            file = max(of_name, key=len, default="")
            sources = sources_in(read_csv(folder, file)) if file else set()
            source = f"tables/{file}.csv" if file else ""
            yield replace(table, source=source, badges=badges_of(profile, stage, name, sources))


def sources_in(table: pd.DataFrame) -> set[str]:
    """Who judged, where a table says so: "human", "simulated"."""
    columns = table.columns.intersection(["source", "first", "second"])  # of one source, or of two that are compared
    said = {str(cell).split(":")[0] for column in columns for cell in table[column].dropna()}
    return said | ({"simulated"} if table.columns.str.startswith("estimated").any() else set())


def badges_of(profile: Profile, stage: str, name: str, sources: Collection[str]) -> list[str]:
    """Those of a table or figure, in the order of BADGES.

    Args:
        sources: who judged; one whose name ends in a kind of source has that kind alone.
    """
    kinds = {kind: "human" if kind == "human" else "simulated" for kind in (*KINDS, "simulated")}
    named = {badge for kind, badge in kinds.items() if name.endswith(f"_{kind}")}
    example = profile.stand_in or (stage == OWN_FILES and not profile.own_files)
    found = {*(named or sources), *(["stand-in"] if example else [])}
    return [badge for badge in BADGES if badge in found]


def from_markdown(name: str, markdown: str) -> ReportTable:
    """A table for the page, as `to_markdown` writes it; what looks like markup in a text stays a text."""
    markdown = unbroken(html.unescape(markdown))  # escaped there for readers that know HTML
    text = str(mistune.create_markdown(escape=True, plugins=["table"])(markdown))
    text = text.replace(' style="text-align:left"', ' class="words"')
    text = re.sub(r' style="text-align:\w+"', "", text)  # the page says it once for all tables
    caption = CAPTION.search(text)
    title = html.unescape(re.sub("<.*?>", "", caption[1])) if caption else name
    text = CAPTION.sub("", text, count=1).replace("<table>", '<div class="wide"><table>')
    text = re.sub(r"(?<=\w)_(?=\w)", "_<wbr>", text.replace("</table>", "</table></div>"))  # where a line may end
    return ReportTable(name, title, text.count("<tr>") - 1, Markup(text))  # noqa: S704  mistune escapes


def _what_was_run(manifest: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    notebooks = {
        name: f"{'finished' if entry['success'] else 'FAILED'}, {entry['start']}, {entry['seconds']} s, "
        f"commit {entry.get('git', {}).get('commit', 'unknown')[:12]}"
        + (" with changes" if entry.get("git", {}).get("dirty") else "")
        for name, entry in manifest["notebooks"].items()
    }
    settings = {name: setting_text(value) for name, value in manifest["profile"].items()}
    data = {"real texts": manifest["real_texts"]} | {
        task: f"fingerprint {value[:16]}" for task, value in manifest["data_fingerprints"].items()
    }
    hours = {
        name: f"{one['runs']:.0f}; training {one['training']} h, predicting {one['predicting']} h, one after another"
        for name, one in manifest.get("hours_of_runs", {}).items()
    }
    return [
        ("Notebooks", notebooks),
        ("Runs", hours),
        ("Settings", settings),
        ("Data", data),
        ("Versions", manifest["versions"]),
        ("Machine", {name: "none" if value is None else value for name, value in manifest["machine"].items()}),
    ]
