"""The same scores as the plain Trainer: macro-F1 of both on the test texts of two real tasks, paired over five seeds.

    SYNTHGAP_DATA=... python benchmarks/finetune_scores.py

The plain Trainer takes the same settings in float32, batches in random order, all embeddings trained, and keeps the
best epoch on the same validation texts. Rows go to benchmarks/finetune_scores.csv; pairs measured before are kept.
"""

import functools
import sys
import tempfile
from pathlib import Path

import pandas as pd
from common import read_rows, write_rows
from finetune_ways import QUIET, texts_of, with_trainer
from scipy import stats
from sklearn.metrics import f1_score

from synthgap.core.config import FinetuneSettings
from synthgap.tasks import load_profile
from synthgap.training.base import Texts
from synthgap.training.classifiers import fit_predict
from synthgap.training.finetuning import KeepBest, macro_f1

CSV = Path(__file__).with_suffix(".csv")
TASKS = ("tweet_irony", "financial_phrasebank")
SEEDS = range(5)
TABLE = (
    *("task", "ours", "Trainer", "difference", "from", "to"),
    *("deviation of ours over seeds", "of the Trainer's", "seeds"),
)


def plain(settings: FinetuneSettings, train: Texts, validation: Texts, test: list[str], n_labels: int, seed: int):
    from transformers import DataCollatorWithPadding, TrainingArguments

    def best(rows: list[list[int]], pad: int):
        return KeepBest(settings.patience, functools.partial(macro_f1, rows, validation.labels, pad))

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            num_train_epochs=settings.epochs,
            warmup_steps=settings.warmup,
            weight_decay=settings.weight_decay,
            **{**QUIET, "seed": seed},
        )
        tokens = {"max_length": settings.max_tokens}
        return with_trainer(arguments, DataCollatorWithPadding, tokens, train, validation, test, n_labels, best)


def main() -> None:
    settings = load_profile("recorded").training.classifiers["own_head"]
    rows = read_rows(CSV)
    known = {(row["task"], int(row["seed"])) for row in rows}
    for name in TASKS:
        train, validation, test, n_labels = texts_of(name)
        for seed in SEEDS:
            if (name, seed) in known:
                continue
            found = (
                fit_predict(settings, train, validation, list(test.texts), n_labels, seed).probabilities,
                plain(settings, train, validation, list(test.texts), n_labels, seed),
            )
            ours, theirs = (100 * f1_score(test.labels, one.argmax(axis=1), average="macro") for one in found)
            rows.append({"task": name, "seed": seed, "ours": f"{ours:.2f}", "plain_trainer": f"{theirs:.2f}"})
            print(*rows[-1].values(), file=sys.stderr, flush=True)
            write_rows(CSV, rows)
    found = table().itertuples(index=False, name=None)
    print("; ".join(f"{task} {mean:+.1f} [{low:+.1f}, {high:+.1f}]" for task, _, _, mean, low, high, *_ in found))


def table() -> pd.DataFrame:
    rows, found = pd.read_csv(CSV), []
    for name, pairs in rows.groupby("task"):
        difference = pairs["ours"] - pairs["plain_trainer"]
        mean, half = difference.mean(), stats.sem(difference) * stats.t.ppf(0.975, len(pairs) - 1)
        means, deviations = pairs[["ours", "plain_trainer"]].mean(), pairs[["ours", "plain_trainer"]].std()
        found.append((name, *means, mean, mean - half, mean + half, *deviations, len(pairs)))
    return pd.DataFrame(found, columns=TABLE)


if __name__ == "__main__":
    main()
