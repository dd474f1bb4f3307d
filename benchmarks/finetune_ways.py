"""Fine-tuning MiniLM on real texts: ours, ensembles of ours, the Trainer as most write it and at its best, SetFit.

    SYNTHGAP_DATA=... python benchmarks/finetune_ways.py [TASK ...] [--ways WAY ...]

200 texts a label (or all, where there are fewer), at most 300 validation and 500 test texts; every way in the same
process on the same texts, one after another; memory is the peak of the whole process. SetFit needs
`pip install --no-deps setfit==1.2.0 evaluate`; it draws SETFIT_ITERATIONS pairs of either kind for each text (by
default it draws every pair, which takes far longer). Rows go to benchmarks/finetune_ways.csv; what was measured before
on a machine of the same kind is kept, and only rows of one machine are compared.
"""

import argparse
import ctypes
import gc
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import read_rows, write_rows
from sklearn.metrics import f1_score

from synthgap.core.config import FinetuneSettings
from synthgap.data.draws import draw, draw_equal
from synthgap.data.real import load_real
from synthgap.pipeline.manifest import machine
from synthgap.tasks import load_profile, load_task
from synthgap.training.accelerations import bfloat16, device_name
from synthgap.training.base import NO_TEXTS, Texts, numbered, peak_memory_mb, reset_peak_memory
from synthgap.training.classifiers import fit_predict
from synthgap.training.embeddings import encoder_source
from synthgap.training.finetuning import load_classifier

CSV = Path(__file__).with_suffix(".csv")
COLUMNS = (
    "task",
    "way",
    "machine",
    "train_texts",
    "epochs",
    "seconds",
    "train_texts_per_second",
    "peak_memory_mb",
    "macro_f1",
)
TEXTS_PER_LABEL, VALIDATION_TEXTS, TEST_TEXTS = 200, 300, 500
EPOCHS = 6
MEMBERS, MEMBER_EPOCHS = 3, 3  # of the ensemble; epochs: benchmarks/settings_ensemble.csv
PROBED_MEMBERS = 2  # of the one that starts from a probe; with as many epochs
SETFIT_ITERATIONS = 5
PLAIN_TASKS = ("sms_spam", "tweet_irony", "humor")  # the slowest way need not be run on all


def ours(train: Texts, validation: Texts, test: list[str], n_labels: int) -> tuple[np.ndarray, int]:
    """All epochs, for the same work as the others; a profile stops earlier where validation says so."""
    return fit_predict(settings_of(EPOCHS), train, validation, test, n_labels, 0).probabilities, EPOCHS


def ensemble(train: Texts, validation: Texts, test: list[str], n_labels: int) -> tuple[np.ndarray, int]:
    settings = settings_of(MEMBER_EPOCHS, MEMBERS)
    return fit_predict(settings, train, validation, test, n_labels, 0).probabilities, MEMBERS * MEMBER_EPOCHS


def probed_ensemble(train: Texts, validation: Texts, test: list[str], n_labels: int) -> tuple[np.ndarray, int]:
    """Starts from a probe, and uses no validation texts, as SetFit uses none."""
    settings = settings_of(MEMBER_EPOCHS, PROBED_MEMBERS).model_copy(update={"head": "probe"})
    found = fit_predict(settings, train, NO_TEXTS, test, n_labels, 0)
    return found.probabilities, PROBED_MEMBERS * MEMBER_EPOCHS


def settings_of(epochs: int, members: int = 1) -> FinetuneSettings:
    return FinetuneSettings(
        kind="finetune", learning_rate=2e-4, batch_size=16, epochs=epochs, patience=epochs, members=members
    )


def plain_trainer(train: Texts, validation: Texts, test: list[str], n_labels: int) -> tuple[np.ndarray, int]:
    """Padded to 128 tokens, float32, the Trainer's own batch size, learning rate and number of epochs."""
    from transformers import TrainingArguments, default_data_collator

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(output_dir=folder, **QUIET)
        tokens = {"padding": "max_length", "max_length": 128}
        return with_trainer(arguments, lambda _: default_data_collator, tokens, train, validation, test, n_labels), 3


def best_trainer(train: Texts, validation: Texts, test: list[str], n_labels: int) -> tuple[np.ndarray, int]:
    """Padded to each batch's longest, grouped by length, bfloat16 where the machine has it; validated as ours."""
    from transformers import DataCollatorWithPadding, TrainingArguments

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=64,
            learning_rate=2e-4,
            num_train_epochs=EPOCHS,
            warmup_steps=0.1,
            weight_decay=0.01,
            train_sampling_strategy="group_by_length",
            bf16=bfloat16(),
            use_cpu=device_name() == "cpu",
            eval_strategy="epoch",
            **QUIET,
        )
        tokens = {"max_length": 256}
        return with_trainer(arguments, DataCollatorWithPadding, tokens, train, validation, test, n_labels), EPOCHS


WARM_UP = (Texts(["one", "two"] * 8, [0, 1] * 8), Texts(["one", "two"], [0, 1]), ["three"])
QUIET = {"save_strategy": "no", "logging_strategy": "no", "report_to": [], "disable_tqdm": True, "seed": 0}


def with_trainer(arguments, collator, tokens, train, validation, test, n_labels, best=None) -> np.ndarray:
    """The scores of test texts by transformers' Trainer as it is.

    Args:
        best: a callback that keeps the best epoch, of the tokens of the validation texts and the number of padding.
    """
    from accelerate.state import AcceleratorState
    from transformers import Trainer, set_seed

    AcceleratorState._reset_state(reset_partial_state=True)  # or the precision of the way before would stay
    set_seed(arguments.seed)
    tokenizer, model = load_classifier("minilm", n_labels)
    model.set_attn_implementation("sdpa")  # as AutoModel loads it

    def rows(texts: Texts) -> list[dict]:
        found = tokenizer(list(texts.texts), truncation=True, **tokens)
        columns = {**found, "labels": list(texts.labels)}
        return [{name: values[place] for name, values in columns.items()} for place in range(len(texts.texts))]

    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows(train),
        eval_dataset=rows(validation) if arguments.eval_strategy != "no" else None,
        data_collator=collator(tokenizer),
    )
    if best:
        best = best([row["input_ids"] for row in rows(validation)], tokenizer.pad_token_id)
        trainer.add_callback(best)
    trainer.train()
    if best:
        best.restore(model)
    trainer.args.train_sampling_strategy = "random"  # grouping by length would shuffle the predictions too
    return trainer.predict(rows(Texts(test, [0] * len(test)))).predictions


def setfit(train: Texts, validation: Texts, test: list[str], n_labels: int, seed: int = 0) -> tuple[np.ndarray, int]:
    """SetFit with its own batch size and learning rates, one epoch of pairs."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    model = SetFitModel.from_pretrained(encoder_source("minilm"))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, num_iterations=SETFIT_ITERATIONS, seed=seed, report_to="none", save_strategy="no"
        )
        data = Dataset.from_dict({"text": list(train.texts), "label": list(train.labels)})
        Trainer(model=model, args=arguments, train_dataset=data).train()
        return np.asarray(model.predict_proba(test)), 1


WAYS = {
    "ours": ours,
    "ensemble": ensemble,
    "probed_ensemble": probed_ensemble,
    "best_trainer": best_trainer,
    "setfit": setfit,
    "plain_trainer": plain_trainer,
}


def texts_of(name: str):
    profile = load_profile("recorded")
    task = load_task(name)
    data, labels = load_real(task, profile), list(task.labels)
    pool = data.split("train")
    sizes = {label: min(TEXTS_PER_LABEL, int((pool["label"] == label).sum())) for label in labels}
    parts = [draw_equal(pool, sizes, 0)]
    for split, most in (("validation", VALIDATION_TEXTS), ("test", TEST_TEXTS)):
        frame = data.split(split)
        parts.append(draw(frame, min(most, len(frame)), 0, split))
    return *(numbered(frame, labels) for frame in parts), len(labels)


def machine_name() -> str:
    """What rows must share to be compared: the processor or GPU, the cores, and whether it computes in bfloat16."""
    facts = machine()
    kind = facts["gpu"] or f"{facts['processor']} x {facts['cores']}"
    return f"{kind}, {'bfloat16' if bfloat16() else 'float32'}"


def give_memory_back() -> None:
    """What the way before has freed goes back to the system, or the next one would not be seen to need it."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def measured(name: str, way: str, here: str) -> dict[str, object]:
    train, validation, test, n_labels = texts_of(name)
    give_memory_back()
    reset_peak_memory()
    start = time.perf_counter()
    scores, epochs = WAYS[way](train, validation, list(test.texts), n_labels)
    seconds = time.perf_counter() - start
    macro_f1 = f1_score(test.labels, scores.argmax(axis=1), average="macro", zero_division=0)
    texts = len(train.texts)
    values = (name, way, here, texts, epochs, f"{seconds:.1f}", f"{epochs * texts / seconds:.1f}")
    return dict(zip(COLUMNS, (*values, f"{peak_memory_mb():.0f}", f"{100 * macro_f1:.2f}"), strict=True))


def main(names: list[str], ways: list[str]) -> None:
    import datasets

    datasets.disable_progress_bars()
    fit_predict(FinetuneSettings(kind="finetune", epochs=1), *WARM_UP, 2, 0)  # imports and the first use of kernels
    here = machine_name()
    rows = {(row["task"], row["way"], row["machine"]): row for row in read_rows(CSV)}
    for name in names or load_profile("recorded").tasks:
        for way in ways:
            key = (name, way, here)
            if key not in rows and (way != "plain_trainer" or name in PLAIN_TASKS):
                rows[key] = measured(*key)
                print(*rows[key].values(), file=sys.stderr, flush=True)
                write_rows(CSV, [rows[one] for one in sorted(rows)])
    found = table().iloc[:, :3].itertuples(index=False, name=None)
    print("times ours: " + "; ".join(f"{machine}, {way} {times:.1f}" for machine, way, times in found))


def table() -> pd.DataFrame:
    """Each way beside ours on the same tasks, by medians; the time of an epoch, as not all train as many."""
    rows = pd.read_csv(CSV)
    pairs = rows.merge(rows[rows["way"] == "ours"], on=["machine", "task"], suffixes=("", " of ours"))
    epochs = (pairs["epochs of ours"] / pairs["epochs"]).where(pairs["way"] != "setfit", 1)  # SetFit's are of pairs
    pairs["times ours"] = epochs * pairs["seconds"] / pairs["seconds of ours"]
    pairs["macro-F1 less ours"] = pairs["macro_f1"] - pairs["macro_f1 of ours"]
    pairs = pairs.rename(columns={"peak_memory_mb": "peak MiB", "peak_memory_mb of ours": "of ours"})
    found = pairs[pairs["way"] != "ours"].groupby(["machine", "way"])
    numbers = found[["times ours", "macro-F1 less ours", "peak MiB", "of ours"]].median()
    return numbers.assign(tasks=found.size()).reset_index()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    asked = parser.parse_args()
    main(asked.tasks, asked.ways)
