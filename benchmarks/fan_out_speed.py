"""Fine-tuning runs in one process for each core, one thread each, against one after another with all threads.

    python benchmarks/fan_out_speed.py [PROCESSES]

On a machine with one GPU the processes share it.
"""

import sys
import tempfile
import time
from pathlib import Path

from synthgap.config import FinetuneSettings, LLMSettings, load_profile
from synthgap.data import load_real
from synthgap.engine import Engine, cores
from synthgap.finetuning import device_name
from synthgap.generation import generate
from synthgap.llm import connect
from synthgap.runs import plan_task, run_grid
from synthgap.tasks import load_task

RUNS = 4
CLASSIFIER = FinetuneSettings(kind="finetune", epochs=3, seeds=tuple(range(RUNS)))


def cells() -> list:
    """Fine-tunings of MiniLM on recorded texts, with different seeds."""
    changes = {"training.regimes": ["zero_shot"], "generation.settings": ["zero_shot"], "training.augmentation": None}
    classifiers = {"training.classifiers": {"finetune": CLASSIFIER.model_dump()}, "training.texts_per_label": 200}
    profile = load_profile("demo", changes | classifiers)
    task = load_task("humor")
    data = load_real(task, profile)
    made = generate(task, "zero_shot", data, connect(LLMSettings()), profile.generation).texts
    return plan_task(profile, data, {"zero_shot": made})


def seconds(engine: Engine, grid: list) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run_grid(grid, Path(folder), engine=engine)
        return time.perf_counter() - start


def main(processes: int) -> None:
    grid = cells()
    seconds(Engine(workers=1), grid[:1])  # imports
    together, one_by_one = seconds(Engine(workers=processes), grid), seconds(Engine(workers=1), grid)
    together = min(together, seconds(Engine(workers=processes), grid))
    one_by_one = min(one_by_one, seconds(Engine(workers=1), grid))
    print(
        f"{RUNS} fine-tunings of MiniLM on {len(grid[0].train)} texts on {cores()} cores, {device_name()}: "
        f"{processes} processes {together:.0f} s with their start, one after another {one_by_one:.0f} s, "
        f"ratio {one_by_one / together:.2f} (the better of 2 each, in turns)"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else cores())
