"""Notebooks executed in this process; the runner does it in kernels, whose starts and imports take most of its time.

As a program it is the command line, which executes most notebooks so: one has a kernel, as all have for a user.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import io
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import IPython.display
import matplotlib as mpl
import nbformat
from IPython.core.formatters import format_display_data
from matplotlib.figure import Figure

from synthgap.__main__ import main
from synthgap.core.files import write_text
from synthgap.core.paths import root
from synthgap.figures import STYLE
from synthgap.pipeline import notebooks
from synthgap.pipeline.notebooks import COPIES

in_kernel = notebooks.execute


def execute(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Execute a notebook; stands for the runner's own function of this name, which finds the copy in the same place."""
    COPIES.clear()
    copy = nbformat.read(notebook, as_version=4)
    for number, (cell, printed, shown) in enumerate(executed(copy, parameters), start=1):
        cell.outputs = [nbformat.v4.new_output("stream", name="stderr", text=printed)] if printed else []
        tables = [value for value in shown if not isinstance(value, Figure)]  # they are drawn where a kernel shows them
        cell.outputs += [nbformat.v4.new_output("display_data", format_display_data(value)[0]) for value in tables]
        cell.execution_count = number
    COPIES[notebook.name] = nbformat.writes(copy)


def empty_files(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure's files empty; stands for `save_figure`, whose drawing in two forms takes long."""
    return [write_text(folder / f"{name}.{form}", "") for form in ("pdf", "png")]


def executed(notebook: Any, parameters: Mapping[str, Any]) -> Iterator[tuple[Any, str, list[Any]]]:
    """Execute a notebook's code cells; gives each with what it printed or warned of, and the values that it showed."""
    names: dict[str, Any] = {}
    shown: list[Any] = []
    with (
        contextlib.chdir(root()),
        mpl.rc_context({"backend": "agg"}),
        mock.patch.object(IPython.display, "display", lambda *values: shown.extend(values)),
    ):
        for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
            with _printed() as printed:
                _run_cell(cell.source, names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= parameters
            yield cell, "".join(printed), [shown.pop(0) for _ in list(shown)]
    mpl.pyplot.close("all")


def _run_cell(source: str, names: dict[str, Any]) -> None:
    """Execute a cell, and show its last line where that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)  # noqa: S102  a notebook of ours
    if last and (value := eval(compile(ast.Expression(last.value), "cell", "eval"), names)) is not None:  # noqa: S307
        IPython.display.display(value)


@contextlib.contextmanager
def _printed() -> Iterator[list[str]]:
    """What is printed and warned of within the block, when it has ended."""
    printed, texts = io.StringIO(), []
    with (
        warnings.catch_warnings(record=True) as warned,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        warnings.resetwarnings()
        warnings.simplefilter("default")
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)  # as in a kernel
        yield texts
    texts += [printed.getvalue(), *(f"{one.category.__name__}: {one.message}\n" for one in warned)]


def execute_most(notebook: Path, parameters: Mapping[str, Any]) -> None:
    (in_kernel if notebook.stem == "06_augmentation" else execute)(notebook, parameters)


if __name__ == "__main__":
    gc.freeze()  # as in conftest.py
    outlines = {"pdf.fonttype": 3}  # no font is parsed for them, which takes long
    with mock.patch.object(notebooks, "execute", execute_most), mock.patch.dict(STYLE, outlines):
        sys.exit(main(sys.argv[1:]))
