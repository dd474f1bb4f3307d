"""Fine-tuning runs in one process for each core, one thread each, against one after another with all threads.

    python benchmarks/fan_out_speed.py [PROCESSES]

On a machine with one GPU the processes share it.
"""

import sys
import tempfile
import time
from pathlib import Path

from synthgap.core.config import Comparison, FinetuneSettings
from synthgap.data.real import load_real
from synthgap.generation.corpora import from_recording
from synthgap.llm.backends import connect
from synthgap.tasks import load_profile, load_task
from synthgap.training.accelerations import device_name
from synthgap.training.grid import run_grid
from synthgap.training.runs import PlannedRun, TaskTexts, plan_task
from synthgap.training.workers import Workers, cores

RUNS = 4
CLASSIFIER = FinetuneSettings(kind="finetune", epochs=3, seeds=tuple(range(RUNS)))


def fine_tunings() -> list[PlannedRun]:
    """Fine-tunings of MiniLM on recorded texts, with different seeds."""
    profile = load_profile("demo")
    sets = {"classifiers": {"finetune": CLASSIFIER}, "texts_per_label": 200}
    data, llm = load_real(load_task("humor"), profile), connect(profile.llms["claude"])
    made = from_recording(data, "zero_shot", "zero_shot", llm, profile.generation).texts
    alone = Comparison(corpora=("zero_shot",), reference="zero_shot")
    return plan_task(profile.training.model_copy(update=sets), "alone", alone, TaskTexts(data, {"zero_shot": made}))


def seconds(workers: Workers, runs: list[PlannedRun]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run_grid(runs, Path(folder), workers)
        return time.perf_counter() - start


def main(processes: int) -> None:
    runs = fine_tunings()
    seconds(Workers(1), runs[:1])  # imports
    together, one_by_one = seconds(Workers(processes), runs), seconds(Workers(1), runs)
    together = min(together, seconds(Workers(processes), runs))
    one_by_one = min(one_by_one, seconds(Workers(1), runs))
    print(
        f"{RUNS} fine-tunings of MiniLM on {len(runs[0].train)} texts on {cores()} cores, {device_name()}: "
        f"{processes} processes {together:.0f} s with their start, one after another {one_by_one:.0f} s, "
        f"ratio {one_by_one / together:.2f} (the better of 2 each, in turns)"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else cores())
