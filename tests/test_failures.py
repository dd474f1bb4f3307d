"""What a student sees in JupyterLab where a cell failed, and while a long job runs."""

import nbformat
import pytest
from nbclient import NotebookClient

from synthgap.core.errors import SynthgapError
from synthgap.pipeline.stages import open_stage
from synthgap.pipeline.validity import STAGES

OPENED = 'from synthgap.pipeline.stages import open_stage\nstage = open_stage("03", "made")'
CELLS = {
    OPENED: "Cell [1] failed: notebook 03_evaluation reads what 01_generation writes",
    "1 + 1": "run notebook 01_generation first",
    "from synthgap.core.terminal import Progress\nfor one in Progress(range(2)): pass": "Cell [1] failed",
    'stage = open_stage("11", "made")': "Cell [1] failed",
    "3 + 3": "",  # an opened stage is a new beginning
    "1 + ": "Cell [6] failed: SyntaxError",
    "2 + 2": "What follows speaks of results that are not there",
}


def html_of(cell) -> str:
    return "".join(output.data.get("text/html", "") for output in cell.outputs if "data" in output)


@pytest.mark.fault(
    *("Runs", "a student opens 03 in JupyterLab before 02 has run, or a cell fails"),
    "a red banner below the cell, and above each later one that runs, names the cell and what to run first",
)
def test_a_failed_cell_leaves_a_banner_above_all_that_follows_and_progress_is_no_error(made):
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, CELLS)))
    cells = NotebookClient(notebook, allow_errors=True, resources={"metadata": {"path": made}}).execute().cells
    for cell, said in zip(cells, CELLS.values(), strict=True):
        assert said in html_of(cell) if said else not html_of(cell), cell.source
    printed = [output for output in cells[2].outputs if output.output_type == "stream"]
    assert {output.name for output in printed} == {"stdout"}
    assert "2/2" in "".join(output.text for output in printed)


@pytest.mark.parametrize("stage", [name for name, inputs in STAGES.items() if inputs.products])
def test_a_notebook_is_not_opened_before_those_that_it_reads(made, stage):
    with pytest.raises(SynthgapError, match=f"{stage} reads what 0._.* synthgap run made 01_generation"):
        open_stage(stage, "made")
