"""Run the short benchmarks, or those named, and write what they and the CSV files say as benchmarks/RESULTS.md."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import finetune_peak
import finetune_scores
import finetune_ways
import gpu_sharing
import gpu_steps
import growth
import pandas as pd
import setfit_scores
import side_by_side
from pandas.api.types import is_number, is_numeric_dtype

from synthgap.core.versions import versions
from synthgap.pipeline.manifest import machine

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
ROW = re.compile(r"\| `(\w+)\.py` \| .*")
BY_HAND = re.compile(r"^## [^\n]+ \(written by hand\)\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
SCRIPTS = (
    *("import_time", "smoke_cost", "busy_neighbour", "map_speed", "packed_batches", "gram", "interval_speed"),
    *("embedding_speed", "fan_out_speed", "distance_speed", "distance_memory", "filter_speed"),
    *("llm_throughput", "local_throughput", "forecast_blind", "rule_signs"),
)
TABLES = {
    f"One task by every way in one run (`side_by_side.py`: {side_by_side.TASK}, {side_by_side.TEXTS_PER_LABEL} texts a "
    "label, processor time)": side_by_side.table,
    f"Growth of a grid with its training texts (`growth.py`: {growth.TASK}, processor time, memory beyond the start)": (
        growth.table
    ),
    "Straight lines through that growth (`growth.py`)": growth.straight_lines,
    "MiniLM, 200 texts a label (`finetune_ways.py`: time an epoch, of SetFit a run; medians)": finetune_ways.table,
    "Macro-F1 of ours and of the Trainer in float32 (`finetune_scores.py`: 500 test texts, same seeds)": (
        finetune_scores.table
    ),
    "Macro-F1 less SetFit's on whole test splits (`setfit_scores.py`: over tasks; intervals of runs)": (
        setfit_scores.table
    ),
    "Weights of BERT's size by the Trainer (`finetune_peak.py`: real tokens)": finetune_peak.table,
    "Fine-tunings by the Trainer side by side on a GPU (`gpu_sharing.py`)": gpu_sharing.table,
    "Training steps on a GPU, weights of BERT's size, 64 texts a batch (`gpu_steps.py`)": gpu_steps.table,
}


def tables() -> list[str]:
    """The CSV files as tables, each under its title."""
    return [f"## {title}\n\n{in_markdown(make())}" for title, make in TABLES.items()]


def in_markdown(frame: pd.DataFrame) -> str:
    sides = ["right" if is_numeric_dtype(frame[name]) else "left" for name in frame]
    return frame.map(shown).to_markdown(index=False, disable_numparse=True, colalign=sides)


def shown(value: Any) -> str:
    """A number with three digits or more; anything else as it is."""
    if not is_number(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main(names: list[str]) -> None:
    """Run the benchmarks of these names, or all short ones; the rows of the others stay as they are."""
    before = RESULTS.read_text() if RESULTS.is_file() else ""
    known = {found[1]: found[0] for found in ROW.finditer(before)}
    for name in SCRIPTS if names == ["all"] else names:
        done = subprocess.run([sys.executable, HERE / f"{name}.py"], stdout=subprocess.PIPE, text=True, check=True)
        said = done.stdout.strip().splitlines()[-1]  # before it a library may have told what it does
        known[name] = f"| `{name}.py` | {said} |"
        print(known[name], flush=True)
    facts = machine()
    kind = f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB, GPU: {facts['gpu'] or 'none'}"
    text = ", ".join(f"{name} {version}" for name, version in versions().items())
    parts = [
        "# What the benchmarks say\n\nWritten by `python benchmarks/run_all.py [all | NAME ...]` from what short ones "
        "print and the CSV files of the long ones; only parts that say so are written by hand. The machine is shared "
        f"and was busy: ratios and processor time mean more than seconds.\n\n{kind}; {text}.",
        "\n".join(("| script | result |", "|:--|:--|", *(known[name] for name in SCRIPTS if name in known))),
        *tables(),
        *BY_HAND.findall(before),
    ]
    RESULTS.write_text("\n\n".join(part.strip() for part in parts) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
