"""What README, CONTRIBUTING and docs/ name is there."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from conftest import ROOT
from faults import FAULTS, PAGE, page

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXECUTED = sorted((ROOT / "outputs" / "recorded" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS, *EXECUTED], ids=lambda path: path.name)
def test_every_link_to_a_file_or_heading_leads_somewhere(page):
    for target, heading in re.findall(r"\]\((?!https?://)([^)#\s]*)#?([^)\s]*)\)", markdown(page)):
        found = page.parent / target if target else page
        assert found.exists(), target
        assert not heading or heading in headings(found), f"{target}#{heading}"


def markdown(page: Path) -> str:
    """What people read of a page or of a notebook, without code."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.sub(r"(?ms)^```.*?^```$", "", text)


def headings(page: Path) -> set[str]:
    """The names that GitHub and the book give to a page's headings."""
    titles = re.findall(r"(?m)^#+ (.+)$", markdown(page))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_no_sentence_of_a_page_stands_elsewhere():
    places = {}
    for path in [path for path in [*PAGES, *NOTEBOOKS] if path.name != "CHANGELOG.md"]:
        text = re.sub(r"(?ms)<!-- made by .*?<!-- end -->|^\|.*?$", "", markdown(path))
        for sentence in re.split(r"(?<=[.:?!])\s+|\n\n+|\n *[-*#] ", text):
            if len(words := re.findall(r"\w+", sentence.lower())) >= 8:
                places.setdefault(" ".join(words), []).append(path)
    twice = {sentence: [path.name for path in found] for sentence, found in places.items() if len(found) > 1}
    assert not {sentence: names for sentence, names in twice.items() if any(name.endswith(".md") for name in names)}


def test_the_made_parts_of_pages_are_those_of_the_results_and_notebooks():
    spec = importlib.util.spec_from_file_location("made_parts", ROOT / "docs" / "made_parts.py")
    made_parts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made_parts)
    for path, part in made_parts.made().items():
        assert f"-->\n\n{part}\n\n<!-- end -->" in path.read_text(encoding="utf-8"), "`make readme` writes it anew"


def test_the_walk_from_an_answer_to_table_1_has_at_most_ten_functions_which_are_there():
    walk = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## From an answer to Table 1")[1]
    names = re.findall(r"(?m)^\d+\. `([\w.]+)`", walk)
    assert 5 <= len(names) <= 10
    for name in names:
        module, _, function = name.rpartition(".")
        assert callable(getattr(importlib.import_module(f"synthgap.{module}"), function)), name


def test_every_profile_and_notebook_is_named():
    profiles = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    for path in (ROOT / "configs").glob("*.yaml"):
        assert f"`{path.stem}`" in profiles
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in sorted(Path(ROOT / "notebooks").glob("*.ipynb")):
        assert f"[{path.stem}](notebooks/{path.name})" in readme


def test_the_page_of_faults_has_the_rows_that_tests_show(request):
    written, collected = PAGE.read_text(encoding="utf-8").splitlines(), request.config.stash[FAULTS]
    assert {*page(collected).splitlines()} <= {*written}
    if {item.path for item in request.session.items} == {*(ROOT / "tests").glob("test_*.py")}:
        assert page(collected).splitlines() == written


def test_make_help_lists_every_target_that_people_call():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?m)^([a-z][a-z-]*):", makefile)
    documented = re.findall(r"(?m)^([a-z][a-z-]*):.*##", makefile)
    assert set(targets) == set(documented)
