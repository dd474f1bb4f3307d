"""report.html: one self-contained page with every table and figure of a profile, and what was run.

It is made from the products that the stages' success markers name, so nothing is left out. Figures are drawn anew from
the saved tables and embedded as they are; on a dark page they lie on a light card.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
from synthgap.pipeline.drawings import draw, drawing_of, figure_names
from synthgap.pipeline.manifest import read_manifest
from synthgap.pipeline.stages import setting_text
from synthgap.pipeline.validity import finished_in, products_of, stage_state, stages_of
from synthgap.tables import (
    OWN_FILES,
    caveats,
    escape_markdown,
    footer,
    left_out,
    matching,
    read_csv,
    rounded,
    to_markdown,
    unescape_csv,
)

LONG = 24  # rows from which a table is folded
MOST = 500  # rows from which it is only named
SECTIONS = {
    "01_generation": (
        "What the LLM wrote",
        "Texts of every label, by corpus; what was unusable or repeated was rejected and counted.",
    ),
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
}
QUESTIONS = (  # in their order on the first screen
    *("Why?", "Which LLM?", "Do several authors help?", "How many examples?", "Train on the examples?"),
    *("Nuance or the source?", "Which prompt?", "What to do with 10 labels, with 50?", "What does it cost?"),
    *("Does it last?", "Can the gap be foretold?", "Does disagreement change over time?"),
)
UNQUOTED = ' !"$()*+,/:;<=>?@[]^`{|}'  # neither ends an attribute in single quotes nor means anything in a data URL
CAPTION = re.compile(r"<p><strong>(.*?)</strong></p>", re.DOTALL)


@dataclass(frozen=True)
class ReportTable:
    name: str
    title: str
    rows: int
    html: Markup


def write_report(profile: Profile) -> Path:
    """Write report.html into the profile's folder, from what was run so far.

    Raises:
        SynthgapError: nothing was run yet.
    """
    manifest = read_manifest(profile)
    if not manifest:
        raise SynthgapError(f"profile '{profile.name}' has no results to report; run: {command('run', profile)}")
    page = Environment(loader=PackageLoader("synthgap.pipeline"), autoescape=True).get_template("report.html")
    text = page.render(
        profile=profile,
        notice=footer(profile),
        caveats=[*left_out(profile), *caveats(profile)],
        missing=[stage for stage in stages_of(profile) if stage_state(stage, profile) != "done"],
        found=_found(profile),
        headlines=_headlines(profile),
        answers=_answers(profile),
        sections=[_section(profile, stage) for stage in SECTIONS if products_of(stage, profile)],
        runs=_what_was_run(manifest),
        long=LONG,
    )
    return write_text(outputs_folder(profile) / "report.html", text)


def _leading(profile: Profile) -> tuple[str, str]:
    """Stage and name of the table that leads the page: what was found over all tasks, or of own files alone."""
    return ("03_evaluation", "claims") if profile.tasks else (OWN_FILES, "verdict")


def _found(profile: Profile) -> ReportTable | None:
    """None where its stage has not written it."""
    stage, name = _leading(profile)
    path = finished_in(stage, profile) / "tables" / f"{name}.md"
    return from_markdown(path.stem, path.read_text(encoding="utf-8")) if path.is_file() else None


def _headlines(profile: Profile) -> pd.DataFrame:
    """The paper's questions with their answers, of the last classifier that all tasks have."""
    path = finished_in("03_evaluation", profile) / "tables" / "claims.csv"
    classifiers = [name for name, one in profile.training.classifiers.items() if one.tasks is None]
    if not classifiers or not path.is_file():
        return pd.DataFrame()
    return _as_written(matching(read_csv(path.parent, path.stem), {"classifier": classifiers[-1]}))


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


def _as_written(table: pd.DataFrame) -> pd.DataFrame:
    return table.map(lambda cell: unescape_csv(cell) if isinstance(cell, str) else cell)


def _section(profile: Profile, stage: str) -> dict[str, Any]:
    title, lead = SECTIONS[stage]
    folder = finished_in(stage, profile)
    leading = _leading(profile)[1]
    paths = sorted(path for name in products_of(stage, profile) if (path := folder / name).is_file())
    paths = [path for path in paths if path.stem != leading and not path.stem.startswith("answers_")]
    figures = [_figure(name, profile) for name in figure_names(profile, stage)]
    return {"stage": stage, "title": title, "lead": lead, "figures": figures, "tables": list(_tables(paths))}


def _figure(name: str, profile: Profile) -> dict[str, str]:
    """A figure for the page; `source` is a data URL of its SVG, for an attribute in single quotes."""
    figure = draw(name, profile)
    source = "data:image/svg+xml," + quote(as_bytes(figure, "svg"), safe=UNQUOTED)
    plt.close(figure)
    drawing, part = drawing_of(name)
    alt = f"{drawing.alt} ({part})" if part else drawing.alt
    return {"name": name, "alt": alt, "source": Markup(source)}  # noqa: S704  quoted


def _tables(products: Iterable[Path]) -> Iterator[ReportTable]:
    """Tables as people read them; tidy ones where there is no such form (runs/ is no table of results)."""
    paths = [path for path in products if path.parent.name == "tables"]
    shown = [path for path in paths if path.suffix == ".md"]
    for path in shown:
        yield from_markdown(path.stem, path.read_text(encoding="utf-8"))
    for path in paths:
        read_otherwise = any(other.stem == path.stem or other.stem.startswith(f"{path.stem}_") for other in shown)
        if path.suffix == ".csv" and not read_otherwise:
            yield from_markdown(path.stem, _as_markdown(path))


def _as_markdown(path: Path) -> str:
    rows, title = pd.read_csv(path), path.stem.replace("_", " ")
    if len(rows) > MOST:
        return f"**{title}**\n\n{len(rows)} rows, in tables/{escape_markdown(path.name)}\n"
    return to_markdown(rounded(rows), title, [])


def from_markdown(name: str, markdown: str) -> ReportTable:
    """A table for the page, as `to_markdown` writes it; what looks like markup in a text stays a text."""
    markdown = html.unescape(markdown)  # escaped there for readers that know HTML
    text = str(mistune.create_markdown(escape=True, plugins=["table"])(markdown))
    text = re.sub(r' style="text-align:\w+"', "", text)  # the page says it once for all tables
    caption = CAPTION.search(text)
    title = html.unescape(re.sub("<.*?>", "", caption[1])) if caption else name
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
