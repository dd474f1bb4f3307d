"""A notebook in which a cell failed says so above all that follows: its text goes on as if nothing had happened."""

from typing import Any

from IPython import get_ipython
from IPython.display import HTML, display

from synthgap.core.errors import SynthgapError
from synthgap.tables import notice

RED = "#c00000"
WHAT_NOW = (
    "What follows speaks of results that are not there. Put this right, then choose 'Restart Kernel and Run All Cells' "
    "in the menu 'Run'."
)
# JupyterLab runs no cell after one that failed, and shows a notebook's end: so the texts below are marked, until the
# failed cell's output is gone
MARKED = """<style>
.jp-Cell:has(.synthgap-failed) ~ .jp-MarkdownCell {{ border-left: 4px solid {colour}; }}
.jp-Cell:has(.synthgap-failed) ~ .jp-MarkdownCell::before {{
  content: "Cell [{number}] failed above: what this text speaks of is not there."; color: {colour}; font-weight: bold;
  margin-left: 5em; }}
</style><span class="synthgap-failed"></span>"""
_failed: dict[str, HTML] = {}  # {cell that failed in this kernel: its banner}


def prepare_notebook() -> None:
    """Show numbers in four digits, and watch the cells of the notebook that is open, if one is.

    From now on each cell that fails leaves a red banner, and cells after it repeat it until it has run well.
    """
    shell = get_ipython()
    if hasattr(shell, "kernel"):
        _failed.clear()
        shell.run_line_magic("precision", "%.4g")
        shell.events.register("pre_run_cell", _repeat)
        shell.events.register("post_run_cell", _note)


def _repeat(info: Any) -> None:
    display(*(banner for cell, banner in _failed.items() if cell != _cell(info)))


def _note(result: Any) -> None:
    cell, number = _cell(result.info), result.execution_count
    error = result.error_before_exec or result.error_in_exec
    _failed.pop(cell, None)
    if error is not None:
        reason = str(error) if isinstance(error, SynthgapError) else f"{type(error).__name__}: {error}"
        _failed[cell] = notice(f"Cell [{number}] failed: {reason}. {WHAT_NOW}", RED)
        display(_failed[cell], HTML(MARKED.format(colour=RED, number=number)))


def _cell(info: Any) -> str:
    return info.cell_id or info.raw_cell
