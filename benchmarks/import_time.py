"""What starting costs: the package, a kernel, the imports of each notebook, and the libraries that are imported late.

Processor time of fresh processes, so that a busy machine changes little.
"""

import ast
import subprocess
import sys
from pathlib import Path

from synthgap.pipeline.code_digest import read_cells

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
CODE = "{}\nimport os; print(sum(os.times()[:2]))"


def seconds(code: str) -> float:
    command = [sys.executable, "-c", CODE.format(code)]
    return float(subprocess.check_output(command, text=True))


def imports(notebook: Path) -> str:
    """A notebook's import statements."""
    nodes = [node for cell in read_cells(notebook) for node in ast.parse("".join(cell["source"])).body]
    return "\n".join(ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))


def main() -> None:
    of_each = [seconds(imports(notebook)) for notebook in NOTEBOOKS]
    print(
        f"synthgap {seconds('import synthgap'):.2f} s, a kernel {seconds('import ipykernel.kernelapp'):.2f} s, a "
        f"notebook's imports {min(of_each):.1f} to {max(of_each):.1f} s, {sum(of_each):.0f} s for {len(of_each)}; left "
        f"for when it is needed: {seconds('import sentence_transformers'):.1f} s"
    )


if __name__ == "__main__":
    main()
