"""Every notebook teaches: what it must have, and in which words; that it runs is looked at in test_smoke."""

import ast
import re

import nbformat
import pytest
from conftest import ROOT

from synthgap.pipeline.validity import STAGES

NOTEBOOKS = {name: nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4) for name in STAGES}
NOTICE = "**What to notice.**"
FOLDED = {"jupyter": {"source_hidden": True, "outputs_hidden": True}, "tags": ["solution", "hide-cell"]}
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")


@pytest.fixture(params=STAGES)
def cells(request):
    return NOTEBOOKS[request.param].cells


def markdown(cells):
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def is_solution(cell):
    return "solution" in cell.metadata.get("tags", [])


MUST_HAVE = {  # {what: where ("first" cell, "all" markdown), how it is said}
    "a title": ("first", r"\A# \d\d · \w+"),
    "a question": ("first", r"\?\s*\n"),
    "what it reads": ("first", r"\*\*Reads:?\*\*"),
    "what it writes": ("first", r"\*\*Writes:?\*\*"),
    "a time that it takes": ("first", r"\*\*Time:?\*\*.*\bminutes?\b"),
    "the paper, as a link": ("first", r"\]\(https://arxiv\.org/abs/2310\.07849\)"),
    "a formula": ("all", r"\$\$[^$]*\\[a-z]+[^$]*\$\$"),
    "the toy": ("all", r"(?i)\bby hand\b"),
    "what to notice": ("all", re.escape(NOTICE)),
    "what it cannot show": ("all", r"^## What this cannot show$"),
    "exercises": ("all", r"^## Exercises$"),
    "a link to another notebook": ("all", r"\]\(\d\d_\w+\.ipynb\)"),
}


@pytest.mark.parametrize("what", MUST_HAVE)
def test_it_has(cells, what):
    where, said = MUST_HAVE[what]
    text = cells[0].source + "\n" if where == "first" else markdown(cells)
    assert re.search(said, text, re.MULTILINE)


def test_the_library_gives_a_toys_numbers(cells):
    """A cell outside of the exercises holds an assertion, and calls something that is imported from the package."""
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    imported = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(code[0]))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("synthgap")
        for alias in node.names
    }
    toys = [ast.parse(cell.source) for cell in cells if "assert " in cell.source and not is_solution(cell)]
    names = [{node.id for node in ast.walk(toy) if isinstance(node, ast.Name)} for toy in toys]
    assert any(used & imported for used in names)


def test_every_figure_is_followed_by_what_to_notice(cells):
    for place, cell in enumerate(cells):
        if "save_figure(" in cell.source:
            text = markdown(cells[place + 1 :])
            assert NOTICE in re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0], cell.source


def test_what_to_notice_tells_no_result(cells):
    """What a number is depends on the profile: it is looked at and not told."""
    for paragraph in markdown(cells).split("\n\n"):
        if paragraph.startswith(NOTICE):
            assert not re.search(r"\d\.\d|\b(?!95 %)\d+ (%|points)", paragraph), paragraph


def test_each_exercise_has_a_folded_solution_that_ends_in_something_to_see(cells):
    asked = [place for place, cell in enumerate(cells) if re.search(r"^\*\*Exercise \d\.\*\*", cell.source, re.M)]
    assert [re.findall(r"\*\*Exercise (\d)\.\*\*", cells[place].source) for place in asked] in (
        [["1"], ["2"]],
        [["1"], ["2"], ["3"]],
    )
    assert [place + 1 for place in asked] == [place for place, cell in enumerate(cells) if is_solution(cell)]
    for place in asked:
        solution = cells[place + 1]
        assert solution.metadata == FOLDED
        assert isinstance(ast.parse(solution.source).body[-1], ast.Assert | ast.Expr)


def test_links_lead_somewhere(cells):
    for file, heading in LINK.findall(markdown(cells)):
        text = (ROOT / "notebooks" / file).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
        assert not heading or heading in anchors, heading
