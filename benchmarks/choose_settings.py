"""Choose settings of the probe and of fine-tuning on validation splits of real data; test splits are not touched.

    SYNTHGAP_DATA=... python benchmarks/choose_settings.py finetune > benchmarks/settings_finetune.csv
    SYNTHGAP_DATA=... python benchmarks/choose_settings.py probe > benchmarks/settings_probe.csv
    SYNTHGAP_DATA=... python benchmarks/choose_settings.py ensemble > benchmarks/settings_ensemble.csv

Real texts of three unlike tasks, 150 a label, at most 400 validation texts; scores are macro-F1 in percent, for
fine-tuning that of the best of at most ten epochs. What went into the profiles: the highest mean over the tasks, and
among settings within half a point of it (no difference at this size) the one that trains in the fewest epochs, or,
for the probe, the middle one. For an ensemble one half of the validation texts chooses each member's epoch, and the
other is scored; the means of all ensembles that three members allow.
"""

import csv
import itertools
import statistics
import sys

from common import on_all_cores
from finetune_ways import settings_of
from sklearn.metrics import f1_score

from synthgap.core.config import FinetuneSettings, ProbeSettings, build_profile
from synthgap.data.draws import draw, draw_equal
from synthgap.data.real import load_real
from synthgap.tasks import load_task
from synthgap.training.base import Texts, numbered
from synthgap.training.classifiers import fit_predict

TASKS = ("tweet_irony", "tweet_emotion", "financial_phrasebank")
LEARNING_RATES = (5e-5, 1e-4, 2e-4, 4e-4)
BATCH_SIZES = (16, 32)
MEMBER_EPOCHS, MEMBER_SEEDS = (3, 4, 6), (0, 1, 2)
INVERSE_REGULARISATIONS = (1, 3, 10, 30, 100)
TEXTS_PER_LABEL = 150
VALIDATION_TEXTS = 400


def main() -> None:
    choose = {"finetune": choose_finetune, "probe": choose_probe, "ensemble": choose_ensemble}[sys.argv[1]]
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
    choose(profile, csv.writer(sys.stdout, lineterminator="\n"))


def choose_probe(profile, out) -> None:
    out.writerow(["task", "inverse_regularisation", "macro_f1"])
    for name, strength in itertools.product(TASKS, INVERSE_REGULARISATIONS):
        train, validation, n_labels = texts_of(name, profile)
        settings = ProbeSettings(kind="probe", inverse_regularisation=strength)
        found = fit_predict(settings, train, validation, validation.texts, n_labels, seed=0).probabilities.argmax(
            axis=1
        )
        out.writerow([name, strength, f"{100 * f1_score(validation.labels, found, average='macro'):.1f}"])


def choose_finetune(profile, out) -> None:
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


def choose_ensemble(profile, out) -> None:
    out.writerow(["task", "members", "epochs", "macro_f1", "seconds"])
    drawn = {name: texts_of(name, profile) for name in TASKS}
    asked = list(itertools.product(TASKS, MEMBER_EPOCHS, MEMBER_SEEDS))
    found = on_all_cores(member, [(*drawn[name], epochs, seed) for name, epochs, seed in asked])
    members = dict(zip(asked, found, strict=True))
    for name, epochs in itertools.product(TASKS, MEMBER_EPOCHS):
        of_setting = [members[name, epochs, seed] for seed in MEMBER_SEEDS]
        labels = halves(drawn[name][1])[1].labels
        seconds = statistics.fmean(one.train_seconds for one in of_setting)
        for size in range(1, len(of_setting) + 1):
            together = [sum(one.probabilities for one in some) for some in itertools.combinations(of_setting, size)]
            scores = [f1_score(labels, one.argmax(axis=1), average="macro", zero_division=0) for one in together]
            out.writerow([name, size, epochs, f"{100 * statistics.fmean(scores):.1f}", f"{size * seconds:.0f}"])


def member(train, validation, n_labels, epochs, seed):
    choosing, scored = halves(validation)
    return fit_predict(settings_of(epochs), train, choosing, scored.texts, n_labels, seed)


def halves(texts: Texts) -> tuple[Texts, Texts]:
    """Every other text, and the rest."""
    return tuple(Texts(texts.texts[start::2], texts.labels[start::2]) for start in (0, 1))


def texts_of(name, profile):
    """Training and validation texts of a task, with its number of labels."""
    task = load_task(name)
    data = load_real(task, profile)
    labels = list(task.labels)
    pool, validation = data.split("train"), data.split("validation")
    sizes = {label: min(TEXTS_PER_LABEL, int((pool["label"] == label).sum())) for label in labels}
    validation = draw(validation, min(VALIDATION_TEXTS, len(validation)), 0, "validation")
    return *(numbered(part, labels) for part in (draw_equal(pool, sizes, 0), validation)), len(labels)


if __name__ == "__main__":
    main()
