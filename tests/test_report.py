"""The report: everything in it, nothing fetched, nothing hidden, no figure rewritten."""

import html
import re
import shutil
import struct
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from made_project import FIGURES, edit_notebook, execute, make_project

from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_json
from synthgap.figures import as_bytes
from synthgap.pipeline.drawings import DRAWINGS, draw, drawing_of, figure_names, write_figure
from synthgap.pipeline.report import from_markdown, write_report
from synthgap.pipeline.validity import STAGES
from synthgap.tables import to_markdown, unescape_csv
from synthgap.tasks import load_profile, load_task

PROFILE = load_profile("smoke")


class Page(HTMLParser):
    """Tags with their attributes, in order, and whether they are closed in order."""

    VOID = frozenset({"meta", "br", "img", "hr", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    assert page.open == []
    return page


def pictures(text: str) -> dict[str, bytes]:
    """{figure: the SVG that the page embeds}."""
    found = re.findall(
        r"""<figure class="card" id="(\w+)">.*?<img src='data:image/svg\+xml,([^']*)'""", text, re.DOTALL
    )
    return {name: unquote_to_bytes(source) for name, source in found}


def readable(svg: bytes) -> list[str]:
    """What people read in a figure: its texts, in order."""
    root = ET.fromstring(svg)  # noqa: S314  our own figure
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


def numbers(texts: list[str]) -> list[str]:
    return re.findall(r"\d+(?:[.,]\d+)*", " ".join(texts))


@pytest.fixture(scope="module")
def text(smoke):
    return (smoke / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return parsed(text)


@pytest.fixture
def smoke_profile(smoke, monkeypatch):
    monkeypatch.setenv("SYNTHGAP_OUTPUTS", str(smoke.parent))
    return PROFILE


@pytest.fixture(scope="module")
def finished_project(tmp_path_factory):
    """A made-up project all of whose stages are finished; not to be changed."""
    folder = make_project(tmp_path_factory.mktemp("finished") / "made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHGAP_HOME", str(folder))
        edit_notebook("03_evaluation", "# figures", FIGURES)
        for stage in STAGES:
            execute(stage)
    empty = {key: {} for key in ("notebooks", "profile", "data_fingerprints", "versions", "machine")}
    write_json(folder / "outputs" / "made" / "manifest.json", {**empty, "real_texts": "none"})
    return folder


@pytest.fixture
def finished(finished_project, made):
    """The profile of a copy of the finished project, in the place of the unfinished one."""
    shutil.copytree(finished_project, made, dirs_exist_ok=True)
    return load_profile("made")


# ----------------------------------------------------------------------------------------------- a whole run's report


def test_every_figure_and_table_is_in_it(smoke, page):
    ids = {attributes.get("id") for _, attributes in page.tags}
    figures = {path.stem for path in (smoke / "figures").glob("*.png")}
    assert len(figures) >= 14
    assert figures <= ids
    for path in (smoke / "tables").glob("*.md"):
        assert f"table-{path.stem}" in ids or path.stem.startswith("answers_")
    for path in (smoke / "tables").glob("*.csv"):
        if path.stem.startswith("answers_"):
            continue  # they are the first screen's
        assert any(str(one).startswith(f"table-{path.stem}") for one in ids), path.name


def test_the_first_screen_answers_questions_and_leads_to_the_notebook_that_says_more(smoke, page, text):
    first = html.unescape(text[text.index('<section id="found">') : text.index("</section>")])
    tables = sorted((smoke / "tables").glob("answers_*.csv"))
    assert tables
    for path in tables:
        for row in pd.read_csv(path).itertuples():
            assert row.question in first
            assert unescape_csv(row.answer) in first
        stage = next(stage for stage in STAGES if stage[:2] == path.stem.removeprefix("answers_")[:2])
        assert stage in {attributes.get("id") for tag, attributes in page.tags if tag == "section"}
        assert f'href="#{stage}"' in first


def test_every_picture_says_what_it_shows(page):
    shown = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(shown) >= 14
    for attributes in shown:
        assert len(attributes["alt"]) > 30


def test_it_is_self_contained(page, text):
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe"}
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "data:")), target
    assert "@import" not in text
    assert len(text.encode()) < 4_000_000


def test_ids_are_unique(page):
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))


def test_the_stand_in_and_the_unverified_are_called_that(text):
    words = text + " ".join(" ".join(readable(svg)) for svg in pictures(text).values())
    assert words.count("evidence of nothing") > 10
    assert "unverified" in text
    assert "simulated, no people" in text


def test_it_says_what_was_run_and_that_all_of_it_is_there(text):
    for part in ("What was run", "tweet_irony", "scikit-learn", "cores", "finished"):
        assert part in text
    assert "Not (or not anew) run" not in text


def test_no_number_is_missing_without_a_word(text):
    cells = re.findall(r"<td[^>]*>(.*?)</td>", text, re.DOTALL)
    assert len(cells) > 1000
    assert not [cell for cell in cells if cell.strip().lower() in {"nan", "<na>", "inf"}]


def test_signs_are_shown_as_signs(text):
    assert "&amp;lt;" not in text
    assert "&amp;amp;" not in text


def test_every_figure_has_an_alternative_text_of_its_own(smoke, page):
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert len(set(alts)) == len(alts) == len(list((smoke / "figures").glob("*.png")))


def test_every_number_in_a_figure_of_the_page_is_that_of_the_figure_drawn_again(smoke_profile, text):
    embedded, compared = pictures(text), []
    names = [name for stage in STAGES for name in figure_names(smoke_profile, stage)]
    assert list(embedded) == names
    for name in names:
        figure = draw(name, smoke_profile)
        drawn = readable(as_bytes(figure, "svg"))
        plt.close(figure)
        assert numbers(readable(embedded[name])) == numbers(drawn), name
        assert readable(embedded[name]) == drawn, name
        compared += numbers(drawn)
    assert len(compared) > 200
    assert [number for number in compared if re.fullmatch(r"\d\.\d{3,}", number)]


def test_the_command_writes_it_anew_and_says_what_is_out_of_date(command, smoke, tmp_path):
    shutil.copytree(smoke, tmp_path / "smoke")
    (tmp_path / "smoke" / "report.html").unlink()
    (tmp_path / "smoke" / "tables" / "diversity.md").unlink()
    done = command("report", "smoke", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "smoke" / "report.html").read_text(encoding="utf-8")
    assert "missing or outdated below: 05_diversity" in text


# --------------------------------------------------------------------------------------------- made-up results' report


def test_figures_are_embedded_as_they_are_drawn(finished):
    text = write_report(finished).read_text(encoding="utf-8")
    embedded = pictures(text)
    assert list(embedded) == ["gap_by_task", "gap_by_subjectivity"]
    for name, svg in embedded.items():
        figure = draw(name, finished)
        assert as_bytes(figure, "svg") == svg
        plt.close(figure)
    sources = [attributes["src"] for tag, attributes in parsed(text).tags if tag == "img"]
    assert [unquote_to_bytes(source.partition(",")[2]) for source in sources] == list(embedded.values())
    shown = " ".join(readable(embedded["gap_by_subjectivity"]))
    assert "p < 0.001" in shown
    assert "p = 0.029" in shown
    assert "−0.71 [−0.94, +0.31]" in shown
    parsed(text)


def test_figures_lie_on_a_light_card_on_a_dark_page(finished):
    text = write_report(finished).read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    variables = re.findall(r"--(\w+):", light)
    assert variables == re.findall(r"--(\w+):", dark)
    assert set(re.findall(r"var\(--(\w+)\)", text)) == set(variables)
    card = re.search(r"figure\.card \{([^}]*)\}", text)[1]
    assert "background: #ffffff" in card
    assert "var(" not in card


def test_markup_in_a_text_is_shown_as_text():
    evil = pd.DataFrame({"a": ["<script>x</script>", "1 & 2 < 3 &lt; 4", "*no* _emphasis_"]})
    table = from_markdown("evil", to_markdown(evil, "A <b>caption</b>", ["note <i>"]))
    assert "<script" not in table.html
    assert "&lt;script&gt;x" in table.html
    assert "1 &amp; 2 &lt; 3" in table.html
    assert "*no* _emphasis_" in table.html
    assert "<b>caption" not in table.html
    assert table.rows == 3


def test_tables_without_a_form_for_people_are_shown_too_unless_they_are_endless(finished):
    edit_notebook("06_augmentation", '[stage.profile.evaluation.resamples]}), "Mixes")', "range(2000)}))")
    edit_notebook("06_augmentation", '["humor"]', '["<b>humor"] * 2000')
    execute("06_augmentation")
    text = write_report(finished).read_text(encoding="utf-8")
    assert '<div class="card" id="table-diversity">' in text
    assert "−12.346" in text
    assert "2000 rows, in tables/mixes.csv" in text
    assert "<b>humor" not in text


def test_a_variants_report_shows_its_own_results_and_its_bases(finished):
    fewer = {"evaluation.resamples": 200}
    execute("03_evaluation", fewer)
    profile = load_profile("made", fewer)
    path = write_report(profile)
    text = path.read_text(encoding="utf-8")
    assert path.parent.name == profile.folder_name
    assert "<td style" in text or "200" in text
    assert list(pictures(text)) == ["gap_by_task", "gap_by_subjectivity"]
    assert "table-table_2" in text
    assert "missing or outdated below: 04_subjectivity, 05_diversity, 06_augmentation" in text


def test_a_section_of_a_stage_that_never_ran_is_left_out(finished, made):
    (made / "outputs" / "made" / "stages" / "04_subjectivity.json").unlink()
    text = write_report(finished).read_text(encoding="utf-8")
    assert 'id="04_subjectivity"' not in text
    assert "missing or outdated below: 04_subjectivity" in text


def test_nothing_run_is_nothing_to_report(command, tmp_path):
    done = command("report", "smoke", "--output", str(tmp_path))
    assert done.returncode == 2
    assert "has no results to report; run: synthgap run smoke" in done.stderr


@pytest.fixture
def empty_report(tmp_path, monkeypatch):
    """The report of a profile before anything ran, as a function of what is changed in the profile."""

    def written(changes):
        monkeypatch.setenv("SYNTHGAP_OUTPUTS", str(tmp_path))
        empty = {key: {} for key in ("notebooks", "profile", "data_fingerprints", "versions", "machine")}
        write_json(tmp_path / "smoke" / "manifest.json", {**empty, "real_texts": "none"})
        return write_report(PROFILE.changed(changes)).read_text(encoding="utf-8")

    return written


@pytest.mark.parametrize("source", ["folder", "hub"])
def test_a_caveat_on_real_texts_is_shown(empty_report, source):
    text = empty_report({"data.source": source})
    assert text.count("Tweet irony: The test split of the source leaks its label:") == 1
    assert "#irony, #sarcasm or #not" in text
    assert "These hashtags are removed on reading" in text
    assert "leaks" not in empty_report({"data.source": source, "tasks": ["ag_news"]})


def test_the_stand_in_has_no_caveat(empty_report):
    assert "leaks" not in empty_report({})


def test_a_caveat_is_shown_as_text(empty_report, monkeypatch):
    evil = load_task("tweet_irony").model_copy(update={"title": "<b>title", "caveat": "<script>x</script> & more"})
    monkeypatch.setattr("synthgap.tables.load_task", lambda _: evil)
    text = empty_report({"data.source": "folder", "tasks": ["tweet_irony"]})
    assert "<script" not in text
    assert "&lt;b&gt;title: &lt;script&gt;x&lt;/script&gt; &amp; more" in text


# ------------------------------------------------------------------------------------------------- one figure by itself


def test_a_figure_has_exactly_the_size_that_is_asked_for(finished, tmp_path):
    for form in ("pdf", "png", "svg"):
        write_figure("gap_by_task", finished, tmp_path / f"figure.{form}", form, (3.3, 2.5))
    width, height = struct.unpack(">II", (tmp_path / "figure.png").read_bytes()[16:24])
    assert (width, height) == (990, 750)
    svg = (tmp_path / "figure.svg").read_text()
    assert 'width="237.6pt" height="180pt"' in svg
    assert re.search(rb"/MediaBox \[ *0 0 237\.6 180 *\]", (tmp_path / "figure.pdf").read_bytes())
    first = (tmp_path / "figure.pdf").read_bytes()
    write_figure("gap_by_task", finished, tmp_path / "figure.pdf", "pdf", (3.3, 2.5))
    assert (tmp_path / "figure.pdf").read_bytes() == first


def test_the_command_writes_a_figure_from_tables_alone(command, finished, made):
    for path in (made / "outputs" / "made" / "figures").iterdir():
        path.write_bytes(b"")
    done = command("figure", "gap_by_task", "--profile", "made", "--size", "3.3x2.5", "--to", str(made / "a.svg"))
    assert done.returncode == 0, done.stderr
    assert "Plain" in " ".join(readable((made / "a.svg").read_bytes()))
    for ending in ("b.PNG", "b"):
        done = command("figure", "gap_by_task", "--profile", "made", "--to", str(made / ending))
        assert done.returncode == 0, done.stderr
    assert [(made / name).read_bytes()[:4] for name in ("b.PNG", "b")] == [b"\x89PNG", b"%PDF"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["gap_by_tsk"],
            ["figure of profile made 'gap_by_tsk' is unknown", "did you mean 'gap_by_task'", "known: gap_"],
        ),
        (["maps"], ["'maps' is unknown", "known: gap_by_subjectivity, gap_by_task"]),
        (["gap_by_task", "--size", "small"], ["--size takes width x height in inches, for example 3.3x2.5"]),
        (["gap_by_task", "--size", "0x2"], ["--size takes width x height in inches", "not '0x2'"]),
        (["gap_by_task", "--size", "0.01x2"], ["--size takes width x height in inches", "not '0.01x2'"]),
        (["gap_by_task", "--to", "x.doc"], ["format of figures 'doc' is unknown", "known: pdf, png, svg"]),
        (["gap_by_task", "--format", "doc"], ["format of figures 'doc' is unknown", "known: pdf, png, svg"]),
        (["gap_by_task", "--format", "svg"], ["--to ends in .pdf and --format says svg", "leave one of them out"]),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_one_sentence(command, finished, made, arguments, words):
    done = command("figure", "--profile", "made", "--to", str(made / "a.pdf"), *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
    assert not (made / "a.pdf").exists()


def test_figures_names_are_unique_and_none_is_taken_for_anothers_part():
    names = [drawing.name for drawing in DRAWINGS]
    assert len(names) == len(set(names))
    for drawing in DRAWINGS:
        assert drawing_of(drawing.name) == (drawing, "")
        assert drawing_of(f"{drawing.name}_part") == (drawing, "part")
        assert drawing.alt.endswith(".")
    with pytest.raises(SynthgapError, match="nothing here draws a figure 'poster'"):
        drawing_of("poster")
