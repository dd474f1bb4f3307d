"""Processor time of `synthgap run smoke`: every notebook in a kernel of its own, and most in one process, as in tests.

What the second saves is what starting kernels and importing libraries in each of them costs.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

IN_ONE_PROCESS = Path(__file__).parents[1] / "tests" / "in_process.py"


def seconds(*program: str) -> float:
    """Of all processes that a whole run takes."""
    with tempfile.TemporaryDirectory() as folder:
        before = sum(os.times()[2:4])
        command = [sys.executable, *program, "run", "smoke", "--output", folder]
        subprocess.run(command, capture_output=True, check=True)
        return sum(os.times()[2:4]) - before


def main() -> None:
    kernels, together = seconds("-m", "synthgap"), seconds(str(IN_ONE_PROCESS))
    print(
        f"`synthgap run smoke`: {kernels:.0f} s of processor time in eleven kernels, {together:.0f} s in two and one "
        f"process for the others, ratio {kernels / together:.1f}"
    )


if __name__ == "__main__":
    main()
