"""The report of the profile smoke: everything in it, nothing fetched, nothing hidden."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pandas as pd
import pytest
from conftest import synthgap

from synthgap.config import load_profile
from synthgap.files import write_json
from synthgap.report import COLOURS, FIGURES, alt_text, inline_svg, write_report

PROFILE = load_profile("smoke")


class Page(HTMLParser):
    """Tags with their attributes, in order, and whether they are closed in order."""

    VOID = frozenset({"meta", "br", "img", "use", "path", "rect", "image", "hr", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def text(smoke):
    return (smoke / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    found = Page()
    found.feed(text)
    assert found.open == []
    return found


def test_every_figure_and_table_is_in_it(smoke, page):
    ids = {attributes.get("id") for _, attributes in page.tags}
    figures = {path.stem for path in (smoke / "figures").glob("*.svg")}
    assert len(figures) >= 14
    assert figures <= ids
    for path in (smoke / "tables").glob("*.md"):
        assert f"table-{path.stem}" in ids
    for path in (smoke / "tables").glob("*.csv"):
        assert any(str(one).startswith(f"table-{path.stem}") for one in ids), path.name


def test_every_picture_says_what_it_shows(page):
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert pictures
    for attributes in pictures:
        assert attributes["role"] == "img"
        assert len(attributes["aria-label"]) > 30


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
    targets = [attributes.get("xlink:href") for tag, attributes in page.tags if tag == "use"]
    assert targets
    assert {str(target).removeprefix("#") for target in targets} <= set(ids)


def test_the_stand_in_and_the_unverified_are_called_that(text):
    assert text.count("evidence of nothing") > 10
    assert "unverified" in text
    assert "simulated, no people" in text


def test_it_says_what_was_run_and_that_all_of_it_is_there(text):
    for part in ("What was run", "tweet_irony", "scikit-learn", "cores", "finished"):
        assert part in text
    assert "Not (or not anew) run" not in text


def test_it_follows_the_readers_light_or_dark_page(text):
    assert "prefers-color-scheme: dark" in text
    pictures = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    for colour in COLOURS:
        assert colour not in pictures
    for variable in set(COLOURS.values()):
        assert text.count(f"--{variable}:") == 2


def test_no_number_is_missing_without_a_word(text):
    cells = re.findall(r"<td[^>]*>(.*?)</td>", text, re.DOTALL)
    assert len(cells) > 1000
    assert not [cell for cell in cells if cell.strip().lower() in {"nan", "<na>", "inf"}]


def test_signs_are_shown_as_signs_and_markup_in_a_text_as_text(text, tmp_path):
    from synthgap.report import _from_markdown
    from synthgap.tables import to_markdown

    assert "&amp;lt;" not in text
    assert "&amp;amp;" not in text
    evil = pd.DataFrame({"a": ["<script>x</script>", "1 & 2 < 3 &lt; 4", "*no* _emphasis_"]})
    path = tmp_path / "evil.md"
    path.write_text(to_markdown(evil, "A <b>caption</b>", ["note <i>"]))
    table = _from_markdown(path)
    assert "<script" not in table.html
    assert "&lt;script&gt;x" in table.html
    assert "1 &amp; 2 &lt; 3" in table.html
    assert "*no* _emphasis_" in table.html
    assert "<b>caption" not in table.html
    assert table.rows == 3


def test_every_figure_has_an_alternative_text_of_its_own(smoke):
    names = {path.stem for path in (smoke / "figures").glob("*.svg")}
    texts = {alt_text(name) for name in names}
    assert len(texts) == len(names)
    assert texts <= set(FIGURES.values())


def test_a_picture_keeps_its_shape_when_inlined(smoke):
    text = inline_svg(smoke / "figures" / "gap_by_task.svg")
    assert 'viewBox="0 0 ' in text[:600]
    assert "<!DOCTYPE" not in text
    assert "<metadata>" not in text


def readable(svg: str) -> list[str]:
    """What people read in a figure: its texts, in order."""
    root = ET.fromstring(svg[svg.index("<svg") :])  # noqa: S314  our own figure
    return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]


def numbers(texts: list[str]) -> list[str]:
    return re.findall(r"\d+(?:[.,]\d+)*", " ".join(texts))


def test_every_number_in_a_figure_of_the_page_is_that_of_its_file(smoke, text):
    compared = []
    for path in sorted((smoke / "figures").glob("*.svg")):
        shown = re.search(rf'<figure class="card" id="{path.stem}">.*?(<svg.*?</svg>)', text, re.DOTALL)
        written = readable(path.read_text(encoding="utf-8"))
        assert shown, path.name
        assert numbers(readable(shown[1])) == numbers(written), path.name
        assert readable(shown[1]) == written, path.name
        compared += numbers(written)
    assert len(compared) > 200
    assert [number for number in compared if re.fullmatch(r"\d\.\d{3,}", number)]


def test_no_text_of_a_figure_is_rewritten_when_inlined(tmp_path):
    import matplotlib.pyplot as plt

    from synthgap.figures import save_figure, set_style

    texts = [
        *("p < 0.001", "0.157", "rho = −0.71 [−0.94, −0.06], p = 0.029", "3.14159 & 1,234.5678"),
        *('style="fill: #d55e00"', ' id="a" href="#a" url(#a) d="M 1.23456"', "#ffffff"),
    ]
    set_style()
    figure, ax = plt.subplots()
    ax.plot([0, 1 / 3, 1], [0, 2 / 3, 1])
    for place, one in enumerate(texts):
        ax.text(0.1, place / 7 + 0.0123456, one)
    path = next(
        path for path in save_figure(figure, tmp_path, "gap_by_task", "A footer of 0.12345") if path.suffix == ".svg"
    )
    written, shown = readable(path.read_text(encoding="utf-8")), readable(inline_svg(path))
    assert {*texts, "A footer of 0.12345"} <= set(written)
    plt.close(figure)
    assert shown == written


def test_paths_are_cut_to_a_hundredth_of_a_point(smoke):
    paths = re.findall(r' d="([^"]*)"', inline_svg(smoke / "figures" / "gap_by_task.svg"))
    assert paths
    assert not [path for path in paths if re.search(r"\.\d{3}", path)]


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
    assert text.count("Tweet irony: The test split leaks its label.") == 1
    assert "#irony, #sarcasm or #not" in text
    assert "a later version will remove these hashtags" in text
    assert "leaks" not in empty_report({"data.source": source, "tasks": ["ag_news"]})


def test_the_stand_in_has_no_caveat(empty_report, text):
    assert "leaks" not in empty_report({})
    assert "leaks" not in text


def test_a_caveat_is_shown_as_text(empty_report, monkeypatch):
    from synthgap.tasks import load_task

    evil = load_task("tweet_irony").model_copy(update={"title": "<b>title", "caveat": "<script>x</script> & more"})
    monkeypatch.setattr("synthgap.tables.load_task", lambda _: evil)
    text = empty_report({"data.source": "folder", "tasks": ["tweet_irony"]})
    assert "<script" not in text
    assert "&lt;b&gt;title: &lt;script&gt;x&lt;/script&gt; &amp; more" in text


def test_the_command_writes_it_anew_and_says_what_is_out_of_date(smoke, tmp_path):
    import shutil

    shutil.copytree(smoke, tmp_path / "smoke")
    (tmp_path / "smoke" / "report.html").unlink()
    (tmp_path / "smoke" / "tables" / "diversity.csv").unlink()
    done = synthgap("report", "smoke", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "smoke" / "report.html").read_text(encoding="utf-8")
    assert "missing or outdated below: 05_diversity" in text


def test_nothing_run_is_nothing_to_report(tmp_path):
    done = synthgap("report", "smoke", "--output", str(tmp_path))
    assert done.returncode == 2
    assert "has no results to report; run: synthgap run smoke" in done.stderr
