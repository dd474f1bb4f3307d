"""Choose MiniLM's fine-tuning settings on the validation splits of real data; the test splits are not touched.

    SYNTHGAP_DATA=... python benchmarks/choose_finetune_settings.py > benchmarks/finetune_settings.csv

Real texts of three unlike tasks, 150 a label; a grid of learning rate and batch size; the score is the macro-F1 of the
best of at most ten epochs on at most 400 validation texts. The row with the highest mean rank goes into the profiles.
"""

import csv
import itertools
import sys

from synthgap.classifiers import Texts, fit_predict
from synthgap.config import FinetuneSettings, build_profile
from synthgap.data import draw, draw_equal, load_real
from synthgap.tasks import load_task

TASKS = ("tweet_irony", "tweet_emotion", "financial_phrasebank")
LEARNING_RATES = (5e-5, 1e-4, 2e-4, 4e-4)
BATCH_SIZES = (16, 32)
TEXTS_PER_LABEL = 150
VALIDATION_TEXTS = 400


def main() -> None:
    profile = build_profile(
        {
            "name": "choice",
            "title": "choice of settings",
            "tasks": TASKS,
            "data": {"source": "folder"},
            "training": {"classifiers": {"tfidf": {"kind": "tfidf"}}},
        },
        {},
    )
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["task", "learning_rate", "batch_size", "best_macro_f1", "best_epoch", "epochs_run", "seconds"])
    for name, rate, size in itertools.product(TASKS, LEARNING_RATES, BATCH_SIZES):
        train, validation, n_labels = texts_of(name, profile)
        settings = FinetuneSettings(kind="finetune", learning_rate=rate, batch_size=size, epochs=10, patience=3)
        fitted = fit_predict(settings, train, validation, validation.texts[:1], n_labels, seed=0)
        details = fitted.details
        best = f"{100 * max(details['validation_macro_f1']):.1f}"
        seconds = f"{fitted.train_seconds:.0f}"
        out.writerow([name, rate, size, best, details["best_epoch"], details["epochs_run"], seconds])
        sys.stdout.flush()


def texts_of(name, profile):
    """Training and validation texts of a task, with its number of labels."""
    task = load_task(name)
    data = load_real(task, profile)
    labels = list(task.labels)
    pool, validation = data.split("train"), data.split("validation")
    sizes = {label: min(TEXTS_PER_LABEL, int((pool["label"] == label).sum())) for label in labels}
    validation = draw(validation, min(VALIDATION_TEXTS, len(validation)), 0, "validation")
    return *(
        Texts(list(part["text"]), [labels.index(label) for label in part["label"]])
        for part in (draw_equal(pool, sizes, 0), validation)
    ), len(labels)


if __name__ == "__main__":
    main()
