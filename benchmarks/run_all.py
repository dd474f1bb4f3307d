"""Run the short benchmarks, or those named, and write what they and the CSV files say as benchmarks/RESULTS.md."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
from side_by_side import TITLES

from synthgap.core.versions import versions
from synthgap.pipeline.manifest import machine

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
ROW = re.compile(r"\| `(\w+)\.py` \| .*")
BY_HAND = re.compile(r"^## (?:Planted faults|Training steps on a GPU)\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
SCRIPTS = (
    *("import_time", "busy_neighbour", "map_speed", "packed_batches", "gram", "growth", "interval_speed"),
    *("embedding_speed", "fan_out_speed", "distance_speed", "distance_memory", "filter_speed"),
    *("llm_throughput", "local_throughput"),
)


def side_by_side() -> pd.DataFrame:
    rows = pd.read_csv(HERE / "side_by_side.csv")
    times = rows["seconds"] / rows.loc[rows["way"] == "ours", "seconds"].item()
    ways = rows["way"].map(TITLES)
    return pd.DataFrame({"way": ways, "seconds": rows["seconds"], "times ours": times, "macro-F1": rows["macro_f1"]})


def finetune_ways() -> pd.DataFrame:
    """Each way beside ours on the same tasks."""
    rows = pd.read_csv(HERE / "finetune_ways.csv")
    pairs = rows.merge(rows[rows["way"] == "ours"], on=["machine", "task"], suffixes=("", "_ours"))
    epochs = (pairs["epochs_ours"] / pairs["epochs"]).where(pairs["way"] != "setfit", 1)  # SetFit's are of pairs
    pairs["times_ours"] = epochs * pairs["seconds"] / pairs["seconds_ours"]
    pairs["macro_f1_less_ours"] = pairs["macro_f1"] - pairs["macro_f1_ours"]
    found = pairs[pairs["way"] != "ours"].groupby(["machine", "way"])
    numbers = found[["times_ours", "macro_f1_less_ours", "peak_memory_mb", "peak_memory_mb_ours"]].median()
    return numbers.assign(tasks=found.size()).reset_index()


def setfit_scores() -> pd.DataFrame:
    rows = pd.read_csv(HERE / "setfit_scores.csv")
    by_way = rows.pivot_table(index=["task", "seed"], columns="way", values="macro_f1")
    less = by_way.sub(by_way["setfit"], axis=0).drop(columns="setfit").groupby("task").mean()
    return less.agg(["median", "min", "max", "count"]).T.rename_axis("way").reset_index()


def growth() -> pd.DataFrame:
    rows = pd.read_csv(HERE / "growth.csv")
    wide = rows.pivot(index="texts_per_label", columns="classifier", values=["processor_seconds", "memory_mb"])
    wide.columns = [f"{name}, {'s' if kind == 'processor_seconds' else 'MiB'}" for kind, name in wide.columns]
    return wide.reset_index()


TABLES = {
    "One task by every way in one run (`side_by_side.py`, humor, 40 texts a label, processor time)": side_by_side,
    "Growth of a run with its training texts (`growth.py`, processor time, memory beyond the start)": growth,
    "MiniLM, 200 texts a label (`finetune_ways.py`, time an epoch, of SetFit a run; medians)": finetune_ways,
    "Macro-F1 less SetFit's on whole test splits (`setfit_scores.py`, over tasks)": setfit_scores,
    "Weights of BERT's size (`finetune_peak.py`, real tokens)": lambda: pd.read_csv(HERE / "finetune_peak.csv"),
    "Fine-tunings side by side on a GPU (`gpu_sharing.py`)": lambda: pd.read_csv(HERE / "gpu_sharing.csv"),
}


def main(names: list[str]) -> None:
    """Run the benchmarks of these names, or all short ones; the rows of the others stay as they are."""
    before = RESULTS.read_text() if RESULTS.is_file() else ""
    known = {found[1]: found[0] for found in ROW.finditer(before)}
    for name in SCRIPTS if names == ["all"] else names:
        done = subprocess.run([sys.executable, HERE / f"{name}.py"], capture_output=True, text=True, check=True)
        known[name] = f"| `{name}.py` | {'<br>'.join(done.stdout.strip().splitlines())} |"
        print(known[name], flush=True)
    facts = machine()
    kind = f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB, GPU: {facts['gpu'] or 'none'}"
    text = ", ".join(f"{name} {version}" for name, version in versions().items())
    parts = [
        "# What the benchmarks say\n\nWritten by `python benchmarks/run_all.py [all | NAME ...]` from what short ones "
        "print and the CSV files of the long ones. The machine is shared and was busy: ratios and processor time mean "
        f"more than seconds.\n\n{kind}; {text}.",
        "\n".join(("| script | result |", "|:--|:--|", *(known[name] for name in SCRIPTS if name in known))),
        *(f"## {title}\n\n{make().to_markdown(index=False, floatfmt=',.4g')}" for title, make in TABLES.items()),
        *BY_HAND.findall(before),
    ]
    RESULTS.write_text("\n\n".join(part.strip() for part in parts) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
