"""Fine-tuning runs in one process for each core, one thread each, against one after another with all threads.

    SYNTHGAP_DATA=... python benchmarks/fan_out_speed.py [PROCESSES]

On a machine with one GPU the processes share it. Seconds are of the clock: a busy machine has no cores to spare.
"""

import sys
import tempfile
import time
from pathlib import Path

from common import in_turns, planned_runs

from synthgap.core.config import FinetuneSettings
from synthgap.training.accelerations import device_name
from synthgap.training.grid import run_grid
from synthgap.training.workers import Workers, cores

RUNS = 4


def main(processes: int) -> None:
    settings = FinetuneSettings(kind="finetune", epochs=3, validation_texts=0)
    runs = planned_runs("humor", settings, texts_per_label=100, seeds=tuple(range(RUNS)), test_texts_per_label=100)

    def train(number: int, some: int = RUNS) -> None:
        with tempfile.TemporaryDirectory() as folder:
            run_grid(runs[:some], Path(folder), Workers(number))

    train(1, 1)  # imports
    ways = {"together": lambda _: train(processes), "one by one": lambda _: train(1)}
    together, one_by_one = in_turns(ways, 1, time.perf_counter).values()
    print(
        f"{RUNS} fine-tunings of MiniLM on {len(runs[0].train)} texts on {cores()} cores, {device_name()}: "
        f"{processes} processes {together:.0f} s with their start, one after another {one_by_one:.0f} s, "
        f"ratio {one_by_one / together:.2f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else cores())
