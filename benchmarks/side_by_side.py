"""One task by every way in one run: fine-tuning as here, transformers' Trainer, SetFit, frozen sentence embeddings.

    SYNTHGAP_DATA=... python benchmarks/side_by_side.py

What is not installed is left out: SetFit (see finetune_ways.py) and Simple Transformers (`pip install --no-deps
simpletransformers tensorboard tensorboardx protobuf absl-py grpcio markdown werkzeug seqeval`). Two labels, 40 texts
each, 100 validation and 200 test texts; processor time of one thread, so that a busy machine changes little, with the
prediction. All rows go to benchmarks/side_by_side.csv.
"""

import importlib.util
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from common import write_rows
from finetune_ways import (
    EPOCHS,
    MEMBER_EPOCHS,
    PROBED_MEMBERS,
    SETFIT_ITERATIONS,
    WARM_UP,
    best_trainer,
    ours,
    plain_trainer,
    probed_ensemble,
    setfit,
    texts_of,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from synthgap.core.config import ProbeSettings
from synthgap.training.base import NO_TEXTS, Texts
from synthgap.training.classifiers import fit_predict
from synthgap.training.embeddings import encode, encoder_source

TASK, TEXTS_PER_LABEL, VALIDATION, TEST = "humor", 40, 100, 200
CSV = Path(__file__).with_suffix(".csv")
TITLES = {
    "plain_trainer": "transformers' Trainer as most write it: padded to 128 tokens, float32, 3 epochs",
    "best_trainer": f"transformers' Trainer at its best: padded to the batch, by length, bfloat16, {EPOCHS} epochs",
    "setfit": f"SetFit 1.2, {SETFIT_ITERATIONS} pairs of either kind a text",
    "simple_transformers": "Simple Transformers 0.70, padded to 128 tokens, float32, 3 epochs",
    "ours": f"fine-tuning here, {EPOCHS} epochs",
    "probed_ensemble": f"fine-tuning here from a probe, {PROBED_MEMBERS} members of {MEMBER_EPOCHS} epochs",
    "sentence_transformers": "sentence-transformers and scikit-learn's logistic regression",
    "probe": "the probe here, its texts embedded before",
}

NEEDS = {"setfit": "setfit", "simple_transformers": "simpletransformers"}  # {way: its package}


def sentence_transformers(train: Texts, validation: Texts, test: list[str], n_labels: int):
    model = LogisticRegression().fit(encode(train.texts), train.labels)
    return model.predict_proba(encode(test)), 1


def simple_transformers(train: Texts, validation: Texts, test: list[str], n_labels: int):
    """Its own settings (padded to 128 tokens, float32, batches of 8), but for three epochs instead of one."""
    from simpletransformers.classification import ClassificationModel

    with tempfile.TemporaryDirectory() as folder:
        folders = dict.fromkeys(("output_dir", "cache_dir", "tensorboard_dir"), folder)
        one_process = dict.fromkeys(("use_multiprocessing", "use_multiprocessing_for_evaluation"), False)
        arguments = {"num_train_epochs": 3, "no_save": True, "no_cache": True, "silent": True, "manual_seed": 0}
        arguments |= folders | one_process
        source = encoder_source("minilm")
        model = ClassificationModel("bert", source, num_labels=n_labels, args=arguments, use_cuda=False)
        model.train_model(pd.DataFrame({"text": train.texts, "labels": train.labels}))
        return model.predict(test)[1], 3


def probe(train: Texts, validation: Texts, test: list[str], n_labels: int):
    return fit_predict(ProbeSettings(kind="probe"), train, NO_TEXTS, test, n_labels, 0).probabilities, 1


WAYS = {
    "ours": ours,
    "probed_ensemble": probed_ensemble,
    "best_trainer": best_trainer,
    "plain_trainer": plain_trainer,
    "setfit": setfit,
    "simple_transformers": simple_transformers,
    "sentence_transformers": sentence_transformers,
    "probe": probe,
}


def main() -> None:
    torch.set_num_threads(1)
    train, validation, test, n_labels = texts_of(TASK)
    places = [place for label in range(n_labels) for place in of_label(train, label)[:TEXTS_PER_LABEL]]
    train = Texts([train.texts[place] for place in places], [train.labels[place] for place in places])
    validation, test = (
        replace(one, texts=one.texts[:most], labels=one.labels[:most])
        for one, most in ((validation, VALIDATION), (test, TEST))
    )
    rows = []
    for way, function in WAYS.items():
        if way in NEEDS and not importlib.util.find_spec(NEEDS[way]):
            continue
        if way not in {*NEEDS, "plain_trainer", "best_trainer"}:
            function(*WARM_UP[:2], WARM_UP[2], 2)  # imports and the first use of kernels
        if way == "probe":
            function(train, validation, list(test.texts), n_labels)
        start = time.process_time()
        scores, _ = function(train, validation, list(test.texts), n_labels)
        seconds = time.process_time() - start
        macro_f1 = 100 * f1_score(test.labels, scores.argmax(axis=1), average="macro")
        rows.append({"way": way, "seconds": f"{seconds:.2f}", "macro_f1": f"{macro_f1:.1f}"})
        print(*rows[-1].values(), file=sys.stderr, flush=True)
        write_rows(CSV, rows)
    found = table()
    print("times ours: " + ", ".join(map("{} {:.2g}".format, found["way"], found["times ours"])))


def table() -> pd.DataFrame:
    rows = pd.read_csv(CSV)
    times = rows["seconds"] / rows.loc[rows["way"] == "ours", "seconds"].item()
    ways = rows["way"].map(TITLES)
    return pd.DataFrame({"way": ways, "seconds": rows["seconds"], "times ours": times, "macro-F1": rows["macro_f1"]})


def of_label(texts: Texts, label: int) -> list[int]:
    return [place for place, one in enumerate(texts.labels) if one == label]


if __name__ == "__main__":
    main()
