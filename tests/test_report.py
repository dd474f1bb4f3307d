"""The report of the profile smoke: everything in it, nothing fetched, nothing hidden."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from conftest import synthgap

from synthgap.config import load_profile
from synthgap.report import COLOURS, FIGURES, alt_text, inline_svg

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
