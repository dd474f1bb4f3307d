"""How time and memory of a grid grow with its training texts: 100 to 1,600 a label, a straight line, and what is left.

    SYNTHGAP_DATA=... python benchmarks/growth.py

A grid of one run on real texts of one task with two labels, as `recorded` would train and store it, its fine-tuning
for one epoch without validation texts; texts were embedded or cut into tokens before. Processor time of one thread;
memory is the peak beyond what the process held before. Rows go to benchmarks/growth.csv; those measured before are
kept.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import in_turns, planned_runs, read_rows, write_rows
from finetune_ways import WARM_UP, give_memory_back

from synthgap.core.config import FinetuneSettings
from synthgap.tasks import load_profile
from synthgap.training.accelerations import tokenised
from synthgap.training.base import peak_memory_mb, reset_peak_memory
from synthgap.training.classifiers import fit_predict
from synthgap.training.embeddings import embed
from synthgap.training.finetuning import load_tokenizer
from synthgap.training.grid import run_grid
from synthgap.training.workers import Workers

CSV = Path(__file__).with_suffix(".csv")
TASK, SIZES, CLASSIFIERS = "humor", (100, 200, 400, 800, 1600), ("probe", "own_head")
TEST_TEXTS = 100  # of a label
UNITS = {"seconds": "s", "mib": "MiB"}
FITTED = ("classifier", "unit", "at no text", "for 100 texts a label", "largest residual", "of the largest value")


def measured(classifier: str, size: int) -> dict[str, object]:
    settings = load_profile("recorded").training.classifiers[classifier]
    tunes = isinstance(settings, FinetuneSettings)
    if tunes:
        settings = settings.model_copy(update={"epochs": 1, "validation_texts": 0})
    runs = planned_runs(TASK, settings, seeds=(0,), texts_per_label=size, test_texts_per_label=TEST_TEXTS)
    texts = [*runs[0].train["text"], *runs[0].test["text"]]
    if tunes:
        tokenised(load_tokenizer(settings.encoder), settings.encoder, texts, settings.max_tokens)
    else:
        embed(texts, progress=False)
    give_memory_back()
    reset_peak_memory()
    before = peak_memory_mb()
    with tempfile.TemporaryDirectory() as folder:
        seconds = in_turns({"grid": lambda _: run_grid(runs, Path(folder), Workers(1))}, 1)["grid"]
    grown = peak_memory_mb() - before
    return {"classifier": classifier, "texts_per_label": size, "seconds": f"{seconds:.3f}", "mib": f"{grown:.1f}"}


def main() -> None:
    rows = read_rows(CSV)
    known = {(row["classifier"], int(row["texts_per_label"])) for row in rows}
    for classifier in CLASSIFIERS:
        fit_predict(load_profile("recorded").training.classifiers[classifier], *WARM_UP, 2, 0)  # imports
        for size in SIZES:
            if (classifier, size) not in known:
                rows.append(measured(classifier, size))
                print(*rows[-1].values(), file=sys.stderr, flush=True)
                write_rows(CSV, rows)
    lines = straight_lines().itertuples(index=False, name=None)
    parts = (f"{name} {start:.3g} {unit} + {more:.3g} for 100 texts a label" for name, unit, start, more, *_ in lines)
    print("; ".join(parts))


def table() -> pd.DataFrame:
    rows = pd.read_csv(CSV)
    wide = rows.pivot(index="texts_per_label", columns="classifier", values=list(UNITS))
    wide.columns = [f"{name}, {UNITS[kind]}" for kind, name in wide.columns]
    return wide.reset_index(names="texts a label")


def straight_lines() -> pd.DataFrame:
    """Least squares: what a grid takes without texts, what 100 more a label add, and what is left at the most."""
    found = []
    long = pd.read_csv(CSV).melt(["classifier", "texts_per_label"])
    for (name, column), own in long.groupby(["classifier", "variable"]):
        slope, start = np.polyfit(own["texts_per_label"], own["value"], 1)
        left = abs(own["value"] - (start + slope * own["texts_per_label"])).max()
        found.append((name, UNITS[column], start, 100 * slope, left, left / own["value"].max()))
    return pd.DataFrame(found, columns=FITTED)


if __name__ == "__main__":
    main()
