"""What README, CONTRIBUTING and docs/ name is there."""

import importlib
import re
from pathlib import Path

import pytest
from conftest import ROOT
from faults import FAULTS, PAGE, page

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


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
