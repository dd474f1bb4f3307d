"""report.html: one self-contained page with every table and figure of a profile, and what was run.

It is made from the products that the stages' success markers name, so nothing is left out, and shows them in the
colours of a light or a dark page.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.config import Profile
from synthgap.errors import SynthgapError
from synthgap.files import read_json, write_text
from synthgap.stages import STAGES, marker_file, outputs_folder, shown_setting, stage_state
from synthgap.tables import caveats, footer, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LONG = 24  # rows from which a table is folded
SECTIONS = {
    "01_generation": (
        "What the LLM wrote",
        "Texts of every label, zero-shot (the label alone) and few-shot (with real examples); what was unusable or "
        "repeated was turned down and counted.",
    ),
    "03_evaluation": (
        "What is lost",
        "Scores on the real test split with intervals over items and seeds, and differences with corrected tests.",
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
        "The few-shot examples alone, synthetic texts alone, both, and as many real texts; and growing amounts of real "
        "texts without and with synthetic ones.",
    ),
}
FIGURES = {  # what a picture shows, by the beginning of its name; in the order of the page
    "text_lengths": "Words a text by task and regime, as boxes from quartile to quartile.",
    "text_counts": "Number of texts that can be trained on, by task and regime.",
    "llms": "Share of texts of use and their length, by task and LLM, with 95 % intervals over turns.",
    "gap_by_task": "Gap in macro-F1 between synthetic and real training texts, by task, with 95 % intervals.",
    "gap_by_subjectivity": "Gap in macro-F1 against the paper's order of subjectivity (unverified).",
    "learning_curves": "Macro-F1 against training texts a label, by task and regime, with 95 % intervals.",
    "worth": "How many real texts one synthetic text is worth, by task and setting, with 95 % intervals.",
    "task_levels": "Levels of subjectivity as a graph: arrows lead to the task that most judges call more subjective.",
    "task_scores": "Bradley-Terry scores of subjectivity by task, with 95 % intervals over judges.",
    "agreement_by_source": "Share of items by agreement of their annotators, for each kind of source.",
    "accuracy_by_agreement_human": "Accuracy by agreement among people, by regime, with chance bands.",
    "accuracy_by_agreement_panel": "Accuracy by agreement in a simulated panel of personas, with chance bands.",
    "accuracy_by_agreement_estimated": "Accuracy by agreement as an LLM estimated it (simulated), with chance bands.",
    "accuracy_by_agreement_stand_in": "Accuracy by agreement of simulated stand-in annotators, with chance bands.",
    "agreement_effects_human": "Odds ratios of being right for more agreement among people, by regime.",
    "agreement_effects_panel": "Odds ratios of being right for more agreement in a simulated panel of personas.",
    "agreement_effects_estimated": "Odds ratios of being right for more agreement as an LLM estimated it (simulated).",
    "agreement_effects_stand_in": "Odds ratios of being right for more agreement of simulated stand-in annotators.",
    "foresight": "Human agreement against the agreement that an LLM estimated, and the lift in accuracy from either.",
    "diversity": "Remote-Clique, Chamfer and Vendi score by task and regime, with 95 % intervals over texts.",
    "rarefaction_chamfer": "Chamfer distance of random parts of each set against their size.",
    "rarefaction_vendi": "Vendi score of random parts of each set against their size.",
    "similarity": "Distribution of the similarity of real texts to their nearest synthetic texts, by task.",
    "maps": "Maps (t-SNE) of the real, zero-shot and few-shot texts of each task.",
    "mixes": "Macro-F1 of few-shot examples, synthetic texts, both, and as many real texts, with 95 % intervals.",
    "augmentation": "What synthetic texts add to growing amounts of real ones, in macro-F1, with 95 % intervals.",
    "diversity_and_gap": "Gap in macro-F1 against the difference in diversity, a point a task and regime.",
}
COLOURS = {
    "#ffffff": "paper",
    "#262626": "ink",
    "#000000": "ink",
    "#595959": "quiet",
    "#cccccc": "line",
    "#999999": "mid",
    "#4d4d4d": "real",
    "#d55e00": "zero",
    "#0072b2": "few",
    "#56b4e9": "sky",
    "#e69f00": "amber",
}
CAPTION = re.compile(r"<p><strong>(.*?)</strong></p>", re.DOTALL)
TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True)
class _Figure:
    name: str
    alt: str
    svg: Any


@dataclass(frozen=True)
class _Table:
    name: str
    title: str
    rows: int
    html: Any


@dataclass(frozen=True)
class _Section:
    stage: str
    title: str
    lead: str
    figures: list[_Figure]
    tables: list[_Table]


def write_report(profile: Profile) -> Path:
    """Write outputs/<profile>/report.html from what was run so far.

    Raises:
        SynthgapError: nothing was run yet.
    """
    from jinja2 import Environment, PackageLoader

    folder = outputs_folder(profile)
    manifest = read_json(folder / "manifest.json")
    if not manifest:
        raise SynthgapError(f"profile '{profile.name}' has no results to report; run: synthgap run {profile.name}")
    page = Environment(loader=PackageLoader("synthgap"), autoescape=True).get_template("report.html")
    text = page.render(
        profile=profile,
        notice=footer(profile),
        caveats=caveats(profile),
        missing=[stage for stage in STAGES if stage_state(stage, profile) != "done"],
        sections=[section for stage in STAGES if (section := _section(profile, stage))],
        runs=_what_was_run(manifest),
        long=LONG,
    )
    return write_text(folder / "report.html", text)


def _section(profile: Profile, stage: str) -> _Section | None:
    marker = read_json(marker_file(profile, stage))
    if not isinstance(marker, dict) or stage not in SECTIONS:
        return None
    folder = outputs_folder(profile)
    products = [folder / name for name in marker["products"] if (folder / name).is_file()]
    pictures = sorted((path for path in products if path.suffix == ".svg"), key=lambda path: _place(path.stem))
    figures = [_Figure(path.stem, alt_text(path.stem), inline_svg(path)) for path in pictures]
    title, lead = SECTIONS[stage]
    tables = list(_tables(products))
    return _Section(stage, title, lead, figures, tables)


def _known(name: str) -> str | None:
    """The entry of FIGURES that a picture's name begins with, the longest that does."""
    return max((start for start in FIGURES if name.startswith(start)), key=len, default=None)


def alt_text(name: str) -> str:
    """What a picture shows, in a sentence."""
    known = _known(name)
    return FIGURES[known] if known else name.replace("_", " ")


def _place(name: str) -> tuple[int, str]:
    known = _known(name)
    return (list(FIGURES).index(known) if known else len(FIGURES)), name


def _tables(products: Iterable[Path]) -> Iterable[_Table]:
    """Tables as people read them; tidy ones where there is no such form (runs/ is no table of results)."""
    paths = sorted(path for path in products if path.parent.name == "tables")
    shown = [path for path in paths if path.suffix == ".md"]
    for path in shown:
        yield _from_markdown(path)
    for path in paths:
        read_otherwise = any(other.stem == path.stem or other.stem.startswith(f"{path.stem}_") for other in shown)
        if path.suffix == ".csv" and not read_otherwise:
            yield _from_csv(path)


def _from_markdown(path: Path) -> _Table:
    import mistune
    from markupsafe import Markup

    markdown = html.unescape(path.read_text(encoding="utf-8"))  # escaped there for readers that know HTML
    text = str(mistune.create_markdown(escape=True, plugins=["table"])(markdown))
    found = CAPTION.search(text)
    title = html.unescape(re.sub("<.*?>", "", found[1])) if found else path.stem
    return _Table(path.stem, title, text.count("<tr>") - 1, Markup(text))  # noqa: S704  mistune escapes


def _from_csv(path: Path) -> _Table:
    import pandas as pd
    from markupsafe import Markup

    rows = pd.read_csv(path)
    title = path.stem.replace("_", " ")
    body = re.sub(r">\s+<", "><", rounded(rows).to_html(index=False, border=0, escape=True))
    caption = f"<p><strong>{html.escape(title)}</strong></p>"
    return _Table(path.stem, title, len(rows), Markup(caption + body))  # noqa: S704  pandas escapes


def inline_svg(path: Path) -> Any:
    """A figure for a page: no fixed size, names of its own, colours that follow the page, and an alternative text."""
    from markupsafe import Markup

    text = path.read_text(encoding="utf-8")
    text = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL
    )
    head, width = re.match(r"<svg [^>]*>", text), re.search(r'width="([\d.]+)pt"', text)
    if not head or not width:
        raise SynthgapError(f"figure '{path.name}' is no SVG that this project wrote; run its stage again")
    opening = re.sub(r' (width|height)="[^"]*"', "", head[0])
    body, rules = _styles_as_classes(_own_ids(text[head.end() :], path.stem), path.stem)
    body, rules = _in_tags(lambda tag: _short_paths(_page_colours(tag)), body), _page_colours(rules)
    label = html.escape(alt_text(path.stem))
    shape = f'<svg style="width:{float(width[1]):.0f}pt" role="img" aria-label="{label}" '
    return Markup(f"{opening.replace('<svg ', shape, 1)}<style>{rules}</style>{body}")  # noqa: S704  our own figure


def _in_tags(change: Callable[[str], str], text: str) -> str:
    """A figure with its tags changed; what stands between them is what people read, and stays as it is."""
    return TAG.sub(lambda tag: change(tag[0]), text)


def _page_colours(text: str) -> str:
    for colour, variable in COLOURS.items():
        text = text.replace(colour, f"var(--{variable})")
    return text


def _short_paths(tag: str) -> str:
    """A tag with its path to a hundredth of a point, which is below any screen's; no other number is cut."""
    return re.sub(r'(?<= d=")[^"]*', lambda path: re.sub(r"(\d\.\d\d)\d+", r"\1", path[0]), tag)


def _own_ids(text: str, prefix: str) -> str:
    """Ids that something refers to get a prefix, the others go: a page may hold many figures."""
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    names = {name for pair in used for name in pair if name}

    def own(tag: str) -> str:
        tag = re.sub(r' id="([^"]+)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in names else "", tag)
        return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", tag)

    return _in_tags(own, text)


def _styles_as_classes(text: str, prefix: str) -> tuple[str, str]:
    """The text with each different style as a class, and the rules of these classes."""
    classes: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return f'class="{classes.setdefault(found[1], f"{prefix}-s{len(classes)}")}"'

    def classed(tag: str) -> str:
        return re.sub(r"\s*\n\s*", "\n", re.sub(r'style="([^"]*)"', named, tag))

    text = re.sub(r">\s+<", ">\n<", _in_tags(classed, text))
    return text, "".join(f".{name}{{{style}}}" for style, name in classes.items())


def _what_was_run(manifest: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    notebooks = {
        name: f"{'finished' if entry['success'] else 'FAILED'}, {entry['start']}, {entry['seconds']} s, "
        f"commit {entry.get('git', {}).get('commit', 'unknown')[:12]}"
        + (" with changes" if entry.get("git", {}).get("dirty") else "")
        for name, entry in manifest["notebooks"].items()
    }
    settings = {name: shown_setting(value) for name, value in manifest["profile"].items()}
    data = {"real texts": manifest["real_texts"]} | {
        task: f"fingerprint {value[:16]}" for task, value in manifest["data_fingerprints"].items()
    }
    return [
        ("Notebooks", notebooks),
        ("Settings", settings),
        ("Data", data),
        ("Versions", manifest["versions"]),
        ("Machine", {name: "none" if value is None else value for name, value in manifest["machine"].items()}),
    ]
