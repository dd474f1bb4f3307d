"""What the code of a notebook, and all code of the package that it imports, means: digests of syntax trees.

Docstrings, comments and formatting are no part of it, and neither is the version of Python that reads the code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from synthgap.core.errors import SynthgapError
from synthgap.core.files import digest, read_json
from synthgap.core.paths import PACKAGE

# they say what is valid and which version this is, and change no result
WITHOUT_RESULTS = {"synthgap", "synthgap.pipeline.code_digest", "synthgap.pipeline.validity"}

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def notebook_digest(notebook: Path) -> str:
    """Digest of what a notebook's code means, but for the cell tagged `parameters`: the profile stands for that."""
    return digest([meaning(source) for source in _code(notebook)])


def imports_digest(notebook: Path) -> str:
    """Digest of what the modules mean that a notebook's code imports."""
    modules = sorted(imported_modules(notebook).items())
    return digest({name: _read(path).meaning for name, path in modules})


def read_cells(notebook: Path) -> list[dict[str, Any]]:
    """The code cells of a notebook's file.

    Raises:
        SynthgapError: it is no notebook.
    """
    try:
        return [cell for cell in (read_json(notebook) or {})["cells"] if cell["cell_type"] == "code"]
    except (TypeError, KeyError) as error:
        raise SynthgapError(f"'{notebook.name}' is no notebook; take it from the repository again") from error


def _code(notebook: Path) -> list[str]:
    cells = [cell for cell in read_cells(notebook) if "parameters" not in cell["metadata"].get("tags", [])]
    return ["".join(cell["source"]) for cell in cells]


def imported_modules(notebook: Path) -> dict[str, Path]:
    """{name: file} of the package's modules that a notebook's code imports, that these import, and so on."""
    waiting = {name for source in _code(notebook) for name in _imports(source)}
    modules: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        if name not in modules and name not in WITHOUT_RESULTS and (path := _module_file(name)):
            modules[name] = path
            waiting |= _read(path).imports
    return modules


def meaning(code: str) -> str:
    """Digest of Python code's syntax tree without docstrings; of the code itself where it cannot be parsed."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # for example a notebook's %magic
        return digest(code)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return digest(_plain(tree))


def _plain(node: Any) -> Any:
    """A syntax tree as lists; fields that hold nothing are left out, since newer Pythons have more of them."""
    if isinstance(node, ast.AST):
        fields = [[name, _plain(value)] for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *fields]
    return [_plain(child) for child in node] if isinstance(node, list) else repr(node)


def _imports(code: str) -> Iterator[str]:
    """Names that code imports from the package, wherever the import stands; some may be no modules."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1) if parts[0] == "synthgap")


def _module_file(name: str) -> Path | None:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


@dataclass(frozen=True)
class _Module:
    meaning: str
    imports: frozenset[str]


def _read(path: Path) -> _Module:
    state = path.stat()
    return _read_once(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _read_once(path: Path, modified: int, size: int) -> _Module:
    code = path.read_text(encoding="utf-8")
    return _Module(meaning(code), frozenset(_imports(code)))
