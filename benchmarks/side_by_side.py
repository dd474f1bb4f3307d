"""One task by every way in one run: fine-tuning as here, transformers' Trainer, SetFit, frozen sentence embeddings.

    SYNTHGAP_DATA=... python benchmarks/side_by_side.py [--texts N]

Each way is a function of finetune_ways.py; what is not installed is left out (SetFit: see there). Two labels, N texts
each, 100 validation and 200 test texts, one thread; processor time, so that a busy machine changes little, with the
prediction. All rows go to benchmarks/side_by_side.csv.
"""

import argparse
import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from common import write_rows
from finetune_ways import EPOCHS, MEMBER_EPOCHS, PROBED_MEMBERS, SETFIT_ITERATIONS, WARM_UP, WAYS, texts_of
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from synthgap.core.config import ProbeSettings
from synthgap.training.base import NO_TEXTS, Texts
from synthgap.training.classifiers import fit_predict
from synthgap.training.embeddings import encode

TASK, VALIDATION, TEST = "humor", 100, 200
CSV = Path(__file__).with_suffix(".csv")
TITLES = {
    "plain_trainer": "transformers' Trainer as most write it: padded to 128 tokens, float32, 3 epochs",
    "best_trainer": f"transformers' Trainer at its best: padded to the batch, by length, bfloat16, {EPOCHS} epochs",
    "setfit": f"SetFit 1.2, {SETFIT_ITERATIONS} pairs of either kind a text",
    "ours": f"fine-tuning here, {EPOCHS} epochs",
    "probed_ensemble": f"fine-tuning here from a probe, {PROBED_MEMBERS} members of {MEMBER_EPOCHS} epochs",
    "sentence_transformers": "sentence-transformers and scikit-learn's logistic regression",
    "probe": "the probe here, its texts embedded before",
}


def sentence_transformers(train: Texts, validation: Texts, test: list[str], n_labels: int):
    model = LogisticRegression().fit(encode(train.texts), train.labels)
    return model.predict_proba(encode(test)), 1


def probe(train: Texts, validation: Texts, test: list[str], n_labels: int):
    return fit_predict(ProbeSettings(kind="probe"), train, NO_TEXTS, test, n_labels, 0).probabilities, 1


def main(texts_per_label: int) -> None:
    torch.set_num_threads(1)
    train, validation, test, n_labels = texts_of(TASK)
    places = [place for label in range(n_labels) for place in of_label(train, label)[:texts_per_label]]
    train = Texts([train.texts[place] for place in places], [train.labels[place] for place in places])
    validation, test = (
        replace(one, texts=one.texts[:most], labels=one.labels[:most])
        for one, most in ((validation, VALIDATION), (test, TEST))
    )
    rows = []
    for way, function in (WAYS | {"sentence_transformers": sentence_transformers, "probe": probe}).items():
        if way not in TITLES or (way == "setfit" and not importlib.util.find_spec("setfit")):
            continue
        if way not in {"setfit", "plain_trainer", "best_trainer"}:
            function(*WARM_UP[:2], WARM_UP[2], 2)  # imports and the first use of kernels
        if way == "probe":
            function(train, validation, list(test.texts), n_labels)
        start = sum(os.times()[:2])
        scores, _ = function(train, validation, list(test.texts), n_labels)
        seconds = sum(os.times()[:2]) - start
        macro_f1 = 100 * f1_score(test.labels, scores.argmax(axis=1), average="macro")
        rows.append({"way": way, "seconds": f"{seconds:.2f}", "macro_f1": f"{macro_f1:.1f}"})
        print(*rows[-1].values(), file=sys.stderr, flush=True)
        write_rows(CSV, rows)
    ours = next(float(row["seconds"]) for row in rows if row["way"] == "ours")
    told = (f"{TITLES[row['way']]}: {row['seconds']} s ({float(row['seconds']) / ours:.2g} times ours)" for row in rows)
    print(f"{TASK}, {texts_per_label} texts a label: {'; '.join(told)}")


def of_label(texts: Texts, label: int) -> list[int]:
    return [place for place, one in enumerate(texts.labels) if one == label]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=200, metavar="N")
    main(parser.parse_args().texts)
