"""What the code of a notebook, and all code of the package that it imports, means: digests of syntax trees.

Docstrings, comments and formatting are no part of it, and neither is the version of Python that reads the code.
"""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthgap.core.errors import SynthgapError
from synthgap.core.files import digest, read_json, remembered
from synthgap.core.paths import PACKAGE

# they say what is valid and which version this is, and change no result
WITHOUT_RESULTS = {"synthgap", "synthgap.pipeline.code_digest", "synthgap.pipeline.validity"}

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Code:
    """A digest of what Python code means, and the names that it imports, of which some may be no modules."""

    meaning: str
    imports: frozenset[str]


def notebook_digest(notebook: Path) -> str:
    """Digest of what a notebook's code means, but for the cell tagged `parameters`: the profile stands for that."""
    return digest([read_code(source).meaning for source in _sources(notebook)])


def imports_digest(notebook: Path) -> str:
    """Digest of what the modules mean that a notebook's code imports."""
    return digest({name: _read(path).meaning for name, path in imported_modules(notebook).items()})


def read_cells(notebook: Path) -> list[dict[str, Any]]:
    """The code cells of a notebook's file; refused where it is no notebook."""
    try:
        return [cell for cell in (read_json(notebook) or {})["cells"] if cell["cell_type"] == "code"]
    except (TypeError, KeyError) as error:
        raise SynthgapError(f"'{notebook.name}' is no notebook; take it from the repository again") from error


def _sources(notebook: Path) -> list[str]:
    cells = [cell for cell in read_cells(notebook) if "parameters" not in cell["metadata"].get("tags", [])]
    return ["".join(cell["source"]) for cell in cells]


def imported_modules(notebook: Path) -> dict[str, Path]:
    """{name: file} of the package's modules that a notebook's code imports, that these import, and so on."""
    waiting = {name for source in _sources(notebook) for name in read_code(source).imports}
    modules: dict[str, Path] = {}
    while waiting:
        package, _, last = (name := waiting.pop()).rpartition(".")
        if name.startswith("synthgap.") and name not in {*modules, *WITHOUT_RESULTS}:
            folder = PACKAGE.joinpath(*package.split(".")[1:])
            for path in (folder / last / "__init__.py", folder / f"{last}.py"):
                if path.is_file():
                    modules[name] = path
                    waiting |= {package, *_read(path).imports}
    return modules


def read_code(code: str) -> Code:
    """What code means without its docstrings; code that cannot be parsed, such as a notebook's %magic, means itself."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return Code(digest(code), frozenset())
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            imports |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return Code(digest(_plain(tree)), frozenset(imports))


def _plain(node: Any) -> Any:
    """A syntax tree as lists; fields that hold nothing are left out, since newer Pythons have more of them."""
    if isinstance(node, ast.AST):
        fields = [[name, _plain(value)] for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *fields]
    return [_plain(child) for child in node] if isinstance(node, list) else repr(node)


@remembered(1024)
def _read(path: Path) -> Code:
    return read_code(path.read_text(encoding="utf-8"))
