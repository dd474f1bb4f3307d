"""Import time of synthgap and its modules in a fresh process, against importing what they use when they need it."""

import statistics
import subprocess
import sys

OURS = ", ".join(
    f"synthgap.{name}" for name in ("config", "tasks", "data", "llm", "generation", "runs", "stages", "runner")
)
HEAVY = "torch, transformers, sentence_transformers, sklearn, pandas, matplotlib.pyplot"
CODE = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def seconds(modules: str) -> float:
    command = [sys.executable, "-c", CODE.format(modules)]
    return statistics.median(float(subprocess.check_output(command, text=True)) for _ in range(5))


def main() -> None:
    ours, heavy = seconds(OURS), seconds(HEAVY)
    print(f"importing synthgap's modules: {ours:.2f} s; the libraries that they defer: {heavy:.2f} s (medians of 5)")


if __name__ == "__main__":
    main()
