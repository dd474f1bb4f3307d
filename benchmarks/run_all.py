"""Run every benchmark and keep what they print, with the kind of machine, in benchmarks/RESULTS.md."""

import subprocess
import sys
from pathlib import Path

from synthgap.manifest import machine
from synthgap.runs import versions

HERE = Path(__file__).parent
SCRIPTS = (
    *("import_time", "interval_speed", "embedding_speed", "finetune_speed"),
    *("distance_speed", "distance_memory", "filter_speed", "llm_throughput", "fan_out_speed"),
)


def main() -> None:
    lines = []
    for name in SCRIPTS:
        done = subprocess.run([sys.executable, HERE / f"{name}.py"], capture_output=True, text=True, check=True)
        lines.append(f"- `{name}.py`: {done.stdout.strip().splitlines()[-1]}")
        print(lines[-1], flush=True)
    facts = machine()
    kind = f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB, GPU: {facts['gpu'] or 'none'}"
    text = ", ".join(f"{name} {version}" for name, version in versions().items())
    HERE.joinpath("RESULTS.md").write_text(
        "# What the benchmarks printed\n\nMade by `python benchmarks/run_all.py`. Machines are shared and noisy: the "
        f"ratios mean more than the seconds.\n\n{kind}; {text}.\n\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    main()
