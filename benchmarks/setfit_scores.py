"""Macro-F1 beside SetFit's on whole test splits: fine-tuning as `recorded` does it, and ensembles of short ones.

    SYNTHGAP_DATA=... python benchmarks/setfit_scores.py [SEED ...] [--tasks TASK ...] [--only KIND ...]

200 texts a label (or all, where there are fewer), drawn by the seed as `recorded` draws them; every way trains on the
same texts and predicts the whole test split. Without a GPU IMDB, whose texts are long, is left to finetune_ways.py and
its 500 test texts. `own_head` has the settings of `recorded`. An ensemble has one, two or three members with as
many epochs as in finetune_ways.py: with real validation texts that choose each one's epoch, as `own_head`, or
without them, as SetFit; with the encoder's own head, or with one that starts as a probe. --only trains some of these.
Several trainings run at once, each on one thread, so nothing is timed here. Their predictions are kept in
benchmarks/kept, so what was broken off goes on. Rows go to benchmarks/setfit_scores.csv, with the 95 % interval of the
difference from SetFit over the test texts; what was measured before is kept.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from common import on_all_cores, planned_runs, read_rows, write_rows
from finetune_ways import MEMBER_EPOCHS, MEMBERS, SETFIT_ITERATIONS, TEXTS_PER_LABEL, setfit

from synthgap.core.files import atomic
from synthgap.evaluation.scores import INTERVAL, bootstrap, score_runs
from synthgap.tasks import load_profile
from synthgap.training.accelerations import device_name
from synthgap.training.base import NO_TEXTS, numbered
from synthgap.training.classifiers import fit_predict
from synthgap.training.predictions import Predictions
from synthgap.training.runs import PlannedRun

CSV = Path(__file__).with_suffix(".csv")
KEPT = Path(__file__).parent / "kept"
COLUMNS = ("task", "seed", "way", "device", "train_texts", "test_texts", "macro_f1", "low", "high")
TASKS = [name for name in load_profile("recorded").tasks if name != "imdb" or device_name() != "cpu"]
RESAMPLES = 1000
ALONE, ENSEMBLES = ("setfit", "own_head"), ("validated", "unvalidated", "probe_head")
KINDS = (*ALONE, *ENSEMBLES)


def trainings(kind: str) -> list[str]:
    return [kind] if kind in ALONE else [f"{kind}_{member}" for member in range(MEMBERS)]


def probabilities(run: PlannedRun, training: str) -> np.ndarray:
    """Of one of the trainings of a kind; shape (test texts, labels). What was computed before is kept."""
    path = kept(run, training)
    if not path.is_file():
        with atomic(path) as part, part.open("wb") as file:
            np.save(file, computed(run, training))
    return np.load(path)


def kept(run: PlannedRun, training: str) -> Path:
    """The file of its predictions, in a folder with the name of the device that made them or will make them."""
    name = f"{run.name}_{SETFIT_ITERATIONS}_{MEMBER_EPOCHS}_{training}.npy"
    found = sorted(KEPT.glob(f"*/{name}"))
    return found[0] if found else KEPT / device_name() / name


def computed(run: PlannedRun, training: str) -> np.ndarray:
    import datasets

    datasets.disable_progress_bars()
    labels, test = run.identity["labels"], run.test["text"].tolist()
    train, validation = (numbered(frame, labels) for frame in (run.train, run.validation))
    if training == "setfit":
        return setfit(train, NO_TEXTS, test, len(labels), run.seed)[0]
    settings, seed = run.settings, run.seed
    if training != "own_head":
        kind, member = training.rsplit("_", 1)
        head = "probe" if kind == "probe_head" else None
        settings, seed = (
            settings.model_copy(update={"epochs": MEMBER_EPOCHS, "head": head}),
            seed * MEMBERS + int(member),
        )
        validation = validation if kind == "validated" else NO_TEXTS
    return fit_predict(settings, train, validation, test, len(labels), seed).probabilities


def rows_of(run: PlannedRun, found: dict[str, np.ndarray]) -> list[dict[str, object]]:
    """Macro-F1 of every way.

    Args:
        found: {training: its probabilities}, SetFit's among them.
    """
    labels = run.identity["labels"]
    scored, devices = {}, {}
    for kind in KINDS:
        members = [found[name] for name in trainings(kind) if name in found]
        for size in range(1, len(members) + 1):
            way = kind if kind in ALONE else f"{kind}_{size}"
            scored[way] = np.mean(members[:size], axis=0)
            devices[way] = kept(run, trainings(kind)[0]).parent.name
    truth = np.array(numbered(run.test, labels).labels)
    predicted = {way: found.argmax(axis=1)[None] for way, found in scored.items()}
    n_train = dict.fromkeys(scored, len(run.train))
    ids = run.test["id"].to_numpy()
    predictions = Predictions(run.task, run.classifier, tuple(labels), ids, truth, predicted, n_train)
    draws = {way: metrics["macro_f1"] for way, metrics in bootstrap(predictions, RESAMPLES, 0).items()}
    rows = []
    for way in scored:
        low, high = np.percentile(draws[way] - draws["setfit"], INTERVAL)
        figures = (float(score_runs(predictions, way)["macro_f1"].mean()), low, high)
        sizes = (len(run.train), len(truth))
        values = (run.task, str(run.seed), way, devices[way], *sizes, *(f"{one:.2f}" for one in figures))
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def main(seeds: tuple[int, ...], tasks: list[str], kinds: list[str]) -> None:
    rows = {(row["task"], int(row["seed"]), row["way"]): row for row in read_rows(CSV)}
    settings = load_profile("recorded").training.classifiers["own_head"]
    whole = {"seeds": seeds, "texts_per_label": TEXTS_PER_LABEL, "test_texts_per_label": None}
    runs = [run for task in tasks for run in planned_runs(task, settings, **whole)]
    wanted: list[tuple[PlannedRun, list[str]]] = []
    for run in sorted(runs, key=lambda run: (run.seed, len(run.test))):
        last = {kind: kind if kind in ALONE else f"{kind}_{MEMBERS}" for kind in kinds}
        missing = [kind for kind in kinds if (run.task, run.seed, last[kind]) not in rows]
        if missing:
            asked = dict.fromkeys(["setfit", *missing])
            wanted.append((run, [name for kind in asked for name in trainings(kind)]))
    found = on_all_cores(probabilities, [(run, name) for run, names in wanted for name in names])
    for run, names in wanted:
        for row in rows_of(run, {name: next(found) for name in names}):
            rows.setdefault((run.task, run.seed, str(row["way"])), row)
        print(run.title, file=sys.stderr, flush=True)
        write_rows(CSV, [rows[key] for key in sorted(rows)])
    found = table()
    print("median over tasks: " + ", ".join(map("{} {:+.1f}".format, found["way"], found["median"])))


def table() -> pd.DataFrame:
    """Each way less SetFit, over tasks, each the mean over its seeds; how many intervals of runs are clear of 0."""
    rows = pd.read_csv(CSV)
    by_way = rows.pivot_table(index=["task", "seed"], columns="way", values="macro_f1")
    less = by_way.sub(by_way["setfit"], axis=0).drop(columns="setfit").groupby("task").mean()
    found = less.agg(["median", "min", "max", "count"]).T.rename(columns={"count": "tasks"})
    lower = {way: ", ".join(less.index[less[way] < 0]) for way in less}
    clear = rows.assign(above=rows["low"] > 0, below=rows["high"] < 0).groupby("way")[["above", "below"]].sum()
    found = found.join(clear).assign(runs=rows.groupby("way").size(), lower=pd.Series(lower))
    return found.rename_axis("way").reset_index()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seeds", nargs="*", type=int, default=[0], metavar="SEED")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, metavar="TASK")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    asked = parser.parse_args()
    main(tuple(asked.seeds), asked.tasks, asked.only)
