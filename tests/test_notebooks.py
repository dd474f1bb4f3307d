"""How every notebook is built."""

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

from synthgap.core.errors import SynthgapError
from synthgap.pipeline.runner import check_parameters, notebook_parameters
from synthgap.pipeline.validity import STAGES

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARAMETERS = {"profile": "demo", "overrides": {}, "show_real_texts": None}
PRICES = {"human_label": 0.05, "prompt_tokens": 0.4, "answer_tokens": 1.6, "machine_hour": 0.1, "currency": "USD"}
FURTHER = {"10_decision": PRICES}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_notebook_is_in_the_runners_list():
    assert [path.stem for path in NOTEBOOKS] == list(STAGES)


def test_notebooks_are_valid_and_name_the_kernel(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


def test_the_kernel_is_the_python_that_everything_is_installed_in():
    from jupyter_client.kernelspec import get_kernel_spec

    assert Path(get_kernel_spec("python3").argv[0]).name.startswith("python")
    assert Path(get_kernel_spec("python3").resource_dir).is_relative_to(sys.prefix)


def test_no_outputs_are_committed(notebook):
    for cell in code_cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_parameters_are_literals_with_type_and_comment(path):
    assert notebook_parameters(path) == PARAMETERS | FURTHER.get(path.stem, {})
    tagged = [cell for cell in nbformat.read(path, as_version=4).cells if "parameters" in cell.metadata.get("tags", [])]
    for line in tagged[0].source.splitlines():
        assert "  # " in line
        assert isinstance(ast.parse(line).body[0], ast.AnnAssign)


def test_it_opens_with_what_it_reproduces_reads_and_writes(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    for word in ("2310.07849", "**Reads:**", "**Writes:**"):
        assert word in first.source


def test_it_ends_with_what_was_seen_and_the_success_marker(notebook):
    assert (
        notebook.cells[-2].source.startswith(("## What was seen", "Seconds"))
        or "## What was seen" in notebook.cells[-2].source
    )
    assert notebook.cells[-1].source.splitlines()[-1].startswith("stage.finish(")
    others = [cell for cell in code_cells(notebook)[:-1] if "stage.finish" in cell.source]
    assert others == []


def test_cells_are_short_and_hold_no_functions_or_branches_on_the_profile(notebook):
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 30
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef)
        assert "profile ==" not in cell.source
        assert "profile.name" not in cell.source


def test_the_stage_keeps_the_books(notebook):
    """No list of what was written, no files of its own, no loop that stands for an `if`."""
    for cell in code_cells(notebook):
        assert "written" not in cell.source
        assert not re.search(r"\[\w+\] if .* else \[\]", cell.source), cell.source
        assert "outputs_folder" not in cell.source


def test_a_stage_is_opened_under_its_own_name(notebook, request):
    source = "\n".join(cell.source for cell in code_cells(notebook))
    name = request.node.callspec.params["notebook"].stem
    assert f'open_stage("{name}", profile, overrides, show_real_texts)' in source
    assert source.count("open_stage(") == 1
    assert source.count("load_profile(") == 0


def test_a_stage_says_which_sections_of_the_profile_its_notebook_reads(notebook, request):
    sections = STAGES[request.node.callspec.params["notebook"].stem].sections
    code = "\n".join(cell.source for cell in code_cells(notebook))
    methods = {"tasks_of", "main", "name", "stand_in", "comparisons_on", "corpora_on"}
    read = set(re.findall(r"stage\.profile\.(\w+)", code)) - methods
    assert read <= set(sections)


def test_sentences_stand_before_the_code(notebook):
    """Never three cells of code in a row without a word between them."""
    kinds = "".join(cell.cell_type[0] for cell in notebook.cells)
    assert "cccc" not in kinds[4:]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([("x: int = 1", [])], "exactly one cell tagged 'parameters', and has 0"),
        ([("x: int = 1", ["parameters"])] * 2, "exactly one cell tagged 'parameters', and has 2"),
        ([("import os", ["parameters"])], "may hold only 'name: type = literal'"),
        ([("x: int = int('1')", ["parameters"])], "may hold only 'name: type = literal'"),
        ([("x: int = 1", ["parameters"])], "parameter of bad.ipynb 'profile' is unknown; known: x"),
    ],
)
def test_a_faulty_notebook_is_refused_before_it_starts(tmp_path, cells, message):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source, metadata={"tags": tags}) for source, tags in cells]
    nbformat.write(notebook, tmp_path / "bad.ipynb")
    with pytest.raises(SynthgapError) as error:
        check_parameters(tmp_path / "bad.ipynb", {"profile": "demo"})
    assert message in str(error.value)


def test_a_missing_notebook_is_named(tmp_path):
    with pytest.raises(SynthgapError, match=r"'none\.ipynb' is missing"):
        notebook_parameters(tmp_path / "none.ipynb")
