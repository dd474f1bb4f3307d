"""Run every benchmark, or those named, and keep what they print, with the kind of machine, in benchmarks/RESULTS.md."""

import re
import subprocess
import sys
from pathlib import Path

from synthgap.core.versions import versions
from synthgap.pipeline.manifest import machine

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
LINE = re.compile(r"- `(\w+)\.py`: .*")
SCRIPTS = (
    *("import_time", "interval_speed", "embedding_speed", "fan_out_speed"),
    *("distance_speed", "distance_memory", "filter_speed", "llm_throughput", "local_throughput"),
)
LONG = (
    "finetune_ways",
    "finetune_scores",
    "setfit_scores",
    "finetune_peak",
    "gpu_sharing",
    "gpu_steps",
    "planted_faults",
)  # an hour, and real data: run when they are named


def main(names: list[str]) -> None:
    """Run the benchmarks of these names, or all but the long ones; the lines of the others stay as they are."""
    before = RESULTS.read_text() if RESULTS.is_file() else ""
    known = {found[1]: found[0] for found in LINE.finditer(before)}
    for name in names or SCRIPTS:
        done = subprocess.run([sys.executable, HERE / f"{name}.py"], capture_output=True, text=True, check=True)
        known[name] = f"- `{name}.py`: {done.stdout.strip().splitlines()[-1]}"
        print(known[name], flush=True)
    lines = [known[name] for name in (*SCRIPTS, *LONG) if name in known]
    facts = machine()
    kind = f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB, GPU: {facts['gpu'] or 'none'}"
    sections = "".join(before.partition("\n## ")[1:])  # written by hand
    text = ", ".join(f"{name} {version}" for name, version in versions().items())
    RESULTS.write_text(
        "# What the benchmarks printed\n\nMade by `python benchmarks/run_all.py`. Machines are shared and noisy: the "
        f"ratios mean more than the seconds.\n\n{kind}; {text}.\n\n" + "\n".join(lines) + "\n" + sections
    )


if __name__ == "__main__":
    main(sys.argv[1:])
