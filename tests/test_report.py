"""The report: everything in it, nothing fetched, nothing hidden, no figure rewritten."""

import html
import re
import shutil
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made_project import FIGURES, edit_notebook, execute, make_project
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_json
from synthgap.figures import as_bytes
from synthgap.pipeline.drawings import DRAWINGS, draw, drawing_of, figure_names, write_figure
from synthgap.pipeline.report import BADGES, SECTIONS, badges_of, from_markdown, sources_in, write_report
from synthgap.pipeline.stages import saved_table
from synthgap.pipeline.validity import STAGES
from synthgap.tables import read_csv, read_shown, to_markdown, unbroken, unescape_csv
from synthgap.tasks import load_profile, load_task

PROFILE = load_profile("smoke")


class Page(HTMLParser):
    """Tags with their attributes, in order, and whether they are closed in order."""

    VOID = frozenset({"meta", "br", "img", "hr", "link", "input", "wbr"})

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


def marks(figure: Figure) -> Iterator[np.ndarray]:
    """The places of a figure's dots, curves and bars, shape (marks, 2); without lines that only guide the eye."""
    for ax in figure.axes:
        for one in ax.collections:
            if isinstance(one, PathCollection):
                yield np.asarray(one.get_offsets(), float)
            elif isinstance(one, LineCollection):
                yield np.concatenate([np.empty((0, 2)), *filter(len, one.get_segments())])
        for line in ax.lines:
            places = np.asarray(line.get_xydata(), float)
            if line.get_transform() == ax.transData and not (len(places) == 2 and (places[:, 0] == places[:, 1]).all()):
                yield places
        yield from (np.array([[one.get_width(), one.get_height()]]) for one in ax.patches if isinstance(one, Rectangle))


def rounded_to_five(values: Iterable[float]) -> set[str]:
    return {f"{value:.5g}" for value in values}


@pytest.fixture(scope="module")
def drawn(smoke):
    """{figure of smoke, and one of recorded of each further kind: (what people read, its marks, numbers in tables)}."""
    found = {}
    for profile, folder in ((PROFILE, smoke.parent), (load_profile("recorded"), ROOT / "outputs")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SYNTHGAP_OUTPUTS", str(folder))
            kinds = {drawing_of(name)[0] for name in found}
            for name in (name for stage in STAGES for name in figure_names(profile, stage)):
                if profile is PROFILE or drawing_of(name)[0] not in kinds:
                    kinds |= set() if profile is PROFILE else {drawing_of(name)[0]}
                    known: set[str] = set()

                    def read(table: str, profile=profile, known=known) -> pd.DataFrame:
                        found = saved_table(table, profile)
                        known.update(rounded_to_five(found.select_dtypes("number").to_numpy().ravel()))
                        if table == "diversity":  # its figure by label marks the labels' mean, too
                            labels = found.query("label != 'all'").groupby(["task", "corpus", "metric"])["value"]
                            known.update(rounded_to_five(labels.mean()))
                        return found

                    figure = draw(name, profile, read=read)
                    svg = as_bytes(figure, "svg") if profile is PROFILE else b"<svg/>"
                    found[name] = readable(svg), list(marks(figure)), known
                    plt.close(figure)
    return found


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
    for stage in STAGES:
        for name in read_shown(smoke / "tables", stage):
            assert f"table-{name}" in ids or name.startswith("answers_")
    links = {attributes.get("href") for tag, attributes in page.tags if tag == "a"}
    for path in (smoke / "tables").glob("*.csv"):
        if path.stem.startswith("answers_"):
            continue  # they are the first screen's
        assert any(str(one).startswith(f"table-{path.stem}") for one in ids), path.name
        assert f"tables/{path.name}" in links


def test_the_first_screen_answers_questions_in_a_line_and_leads_to_the_section_that_says_more(smoke, text):
    parts = {name: html.unescape(part) for name, part in re.findall(r'<section id="(\w+)">(.*?)</section>', text, re.S)}
    tables = sorted((smoke / "tables").glob("answers_*.csv"))
    assert tables
    for path in tables:
        stage = next(stage for stage in STAGES if stage[:2] == path.stem.removeprefix("answers_")[:2])
        rows = pd.read_csv(path)
        for row in rows.itertuples():
            assert f'<a href="#{stage}">{row.question}</a></dt>' in parts["found"]
            assert unbroken(unescape_csv(row.answer)) in parts[stage]
        for question, answers in rows.groupby("question")["answer"]:
            (line,) = re.findall(rf">{re.escape(question)}</a></dt><dd>(.*?)</dd>", parts["found"])
            assert unbroken(unescape_csv(answers.iloc[0])).startswith(
                line.removesuffix(f" (and {len(answers) - 1} more)")
            )
            assert len(line) < 240
    claims = read_csv(smoke / "tables", "claims")
    assert all(f"<i>{question}</i> <b>" in parts["found"] for question in claims["question"])
    assert parts["found"].count("<figure") == 1
    assert list(parts) == ["found", *(stage for stage in SECTIONS if stage in parts), "run"]
    assert list(parts)[-2] == "01_generation"


def test_every_picture_says_what_it_shows(page):
    shown = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(shown) >= 14
    for attributes in shown:
        assert len(attributes["alt"]) > 30


def test_it_is_self_contained(smoke, page, text):
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe"}
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name) or "#"
            beside = tag == "a" and target.startswith("tables/") and (smoke / target).is_file()
            assert beside or target.startswith(("#", "data:")), target
    assert "@import" not in text
    assert len(text.encode()) < 3_000_000


def test_ids_are_unique(page):
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))


def test_the_stand_in_and_the_unverified_are_called_that(text):
    words = text + " ".join(" ".join(readable(svg)) for svg in pictures(text).values())
    assert words.count("evidence of nothing") > 10
    assert "unverified" in text
    assert "simulated, no people" in text
    cards = re.findall(r'class="card" id=.*?(?=class="card"|</section>)', text, re.DOTALL)
    assert len(cards) > 40
    assert [card for card in cards if '<span class="badge stand-in">' not in card] == []
    assert '<span class="badge simulated">' in "".join(card for card in cards if 'id="accuracy_by_agreement' in card)
    for badge, meaning in BADGES.items():
        assert text.count(meaning) == (text.count(f'<span class="badge {badge}">') > 1), "explained once, where used"


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


def test_every_number_in_a_figure_of_the_page_is_that_of_the_figure_drawn_again(smoke_profile, text, drawn):
    embedded, compared = pictures(text), []
    assert sorted(embedded) == sorted(name for stage in STAGES for name in figure_names(smoke_profile, stage))
    for name, svg in embedded.items():
        assert numbers(readable(svg)) == numbers(drawn[name][0]), name
        assert readable(svg) == drawn[name][0], name
        compared += numbers(drawn[name][0])
    assert len(compared) > 200
    assert [number for number in compared if re.fullmatch(r"\d\.\d{3,}", number)]


def test_what_a_figure_of_each_kind_draws_are_numbers_of_its_tables(drawn):
    """Across or upwards, each mark stands where a number of the CSV tables that the figure reads puts it."""
    own = {drawing_of(name)[0].name for name in drawn}
    elsewhere = {"own_curve", "llms"}  # of own files, and of several LLMs that write: test_generation_llms.py
    assert own >= {drawing.name for drawing in DRAWINGS} - elsewhere, "each kind is looked at"
    for name, (_, places, known) in drawn.items():
        if name in ("task_levels", "design"):
            continue  # graphs: their boxes stand where there is room
        assert sum(map(len, places)) > 3, name
        for place in places:
            sound = place[np.isfinite(place).all(axis=1)] if len(place) else np.empty((0, 2))
            assert any(rounded_to_five(sound[:, axis]) <= known for axis in (0, 1)), name


def test_the_command_writes_it_anew_and_says_what_is_out_of_date(command, smoke, tmp_path):
    shutil.copytree(smoke, tmp_path / "smoke")
    (tmp_path / "smoke" / "report.html").unlink()
    (tmp_path / "smoke" / "tables" / "05_diversity.md").unlink()
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


def test_tables_that_are_endless_or_for_programs_alone_are_named_with_their_file(finished):
    edit_notebook("06_augmentation", "[stage.profile.evaluation.resamples]", "range(2000)")
    edit_notebook("06_augmentation", '["humor"]', '["<b>humor"] * 2000')
    execute("06_augmentation")
    text = write_report(finished).read_text(encoding="utf-8")
    assert '<li id="table-diversity"><a href="tables/diversity.csv">' in text
    assert re.search(r'<li id="table-mixes">Mixes: 2000 rows.* <a href="tables/mixes.csv">', text)
    assert "<b>humor" not in text


@pytest.mark.parametrize(
    ("values", "shown"),
    [(["0", "0.0"], False), (["0", "−0.0"], False), (["0", "0.01"], True), (["0", "−5"], True), (["–", "no"], True)],
)
def test_a_table_of_zeros_is_not_on_the_page(values, shown):
    table = pd.DataFrame({"task": ["humor", "sms_spam 2"], "n": values})
    assert from_markdown("some", to_markdown(table, "Caption 1", ["Of 3 texts."])).is_shown == shown


@pytest.mark.parametrize(
    ("name", "badges"),
    [
        ("table_2_human", ["human"]),
        ("table_2_simulated", ["simulated"]),
        ("accuracy_by_agreement_panel", ["simulated"]),
        ("accuracy_by_agreement_human", ["human"]),
        ("agreement_by_source", ["simulated", "human"]),
    ],
)
def test_a_badge_says_who_judged(name, badges):
    assert badges_of(load_profile("recorded"), "04_subjectivity", name, {"human", "simulated"}) == badges
    assert badges_of(PROFILE, "04_subjectivity", name, {"human", "simulated"}) == ["stand-in", *badges]
    assert badges_of(load_profile("recorded"), "03_evaluation", "table_1", set()) == []


@pytest.mark.parametrize(
    ("columns", "who"),
    [
        ({"source": "human: Unfun"}, {"human"}),
        ({"source": "human: Unfun", "estimated_lift": 1.0}, {"human", "simulated"}),
        ({"first": "simulated: j01", "second": "the paper's order"}, {"simulated", "the paper's order"}),
        ({"source": None, "gap": 1.0}, set()),
    ],
)
def test_who_judged_is_read_from_every_column_that_says_it(columns, who):
    assert sources_in(pd.DataFrame([columns])) == who


def test_no_line_of_the_page_ends_within_an_interval(text):
    page = re.sub(r"src='[^']*'", "", text)
    assert len(re.findall("\\[[−+]?[0-9.]+,\u00a0", page)) > 50
    assert not re.findall(r"\[[−+]?[0-9.]+, [−+]?[0-9.]+\]", page.partition('id="run"')[0])


def test_words_begin_at_the_left():
    table = pd.DataFrame({"task": ["humor"], "corpus": ["real"], "gap": ["0.5"]})
    assert '<td class="words">real</td>' in "".join(
        from_markdown("some", to_markdown(table, "Some", [])).html.split("\n")
    )
    assert "<td>0.5</td>" in from_markdown("some", to_markdown(table, "Some", [])).html


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
