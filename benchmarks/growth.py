"""How time and memory of a run grow with its training texts: 100 to 1,600 a label, a straight line, and what is left.

    SYNTHGAP_DATA=... python benchmarks/growth.py [CLASSIFIER ...]

Classifiers of the profile `recorded`, on real texts of one task with two labels; fine-tuning for one epoch without
validation texts, each run after its texts were embedded or cut into tokens once, and predicting 200 test texts.
Processor time, so that a busy machine changes little; memory is the peak beyond what the process held before. Rows go
to benchmarks/growth.csv; what was measured before is kept.
"""

import os
import sys
from pathlib import Path

import numpy as np
from common import read_rows, write_rows
from finetune_ways import WARM_UP, give_memory_back

from synthgap.core.config import FinetuneSettings
from synthgap.data.draws import draw_equal
from synthgap.data.real import load_real
from synthgap.tasks import load_profile, load_task
from synthgap.training.accelerations import tokenised
from synthgap.training.base import NO_TEXTS, numbered, peak_memory_mb, reset_peak_memory
from synthgap.training.classifiers import fit_predict
from synthgap.training.embeddings import embed
from synthgap.training.finetuning import load_tokenizer

CSV = Path(__file__).with_suffix(".csv")
COLUMNS = ("classifier", "texts_per_label", "processor_seconds", "memory_mb")
TASK, SIZES, CLASSIFIERS = "humor", (100, 200, 400, 800, 1600), ("probe", "own_head")
TEST_TEXTS = 200


def measured(classifier: str, size: int) -> dict[str, object]:
    profile, task = load_profile("recorded"), load_task(TASK)
    settings = profile.training.classifiers[classifier]
    if isinstance(settings, FinetuneSettings):
        settings = settings.model_copy(update={"epochs": 1})
    data, labels = load_real(task, profile), list(task.labels)
    train = numbered(draw_equal(data.split("train"), dict.fromkeys(labels, size), 0), labels)
    test = data.split("test")["text"].head(TEST_TEXTS).tolist()
    if classifier == "probe":
        embed([*train.texts, *test], progress=False)
    elif classifier == "own_head":
        tokenised(load_tokenizer(settings.encoder), settings.encoder, [*train.texts, *test], settings.max_tokens)
    give_memory_back()
    reset_peak_memory()
    before, start = peak_memory_mb(), sum(os.times()[:2])
    fit_predict(settings, train, NO_TEXTS, test, len(labels), 0)
    seconds = sum(os.times()[:2]) - start
    return dict(zip(COLUMNS, (classifier, size, f"{seconds:.2f}", f"{peak_memory_mb() - before:.0f}"), strict=True))


def main(classifiers: list[str]) -> None:
    rows = read_rows(CSV)
    known = {(row["classifier"], int(row["texts_per_label"])) for row in rows}
    for classifier in classifiers or CLASSIFIERS:
        fit_predict(load_profile("recorded").training.classifiers[classifier], *WARM_UP, 2, 0)  # imports
        for size in SIZES:
            if (classifier, size) not in known:
                rows.append(measured(classifier, size))
                print(*rows[-1].values(), file=sys.stderr, flush=True)
                write_rows(CSV, rows)
    print("; ".join(fitted(rows, name) for name in CLASSIFIERS if any(row["classifier"] == name for row in rows)))


def fitted(rows: list[dict], classifier: str) -> str:
    own = [row for row in rows if row["classifier"] == classifier]
    sizes, seconds, memory = (np.array([float(row[name]) for row in own]) for name in COLUMNS[1:])
    slope, start = np.polyfit(sizes, seconds, 1)
    left = seconds - (start + slope * sizes)
    return (
        f"{classifier}: {start:.2f} s + {100 * slope:.2f} s for 100 texts a label ({len(own)} sizes up to "
        f"{sizes.max():.0f}, largest residual {abs(left).max():.2f} s), memory {memory[0]:.0f} to {memory[-1]:.0f} MiB"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
