"""Macro-F1 beside SetFit's on whole test splits: fine-tuning as `recorded` does it, and ensembles of short ones.

    SYNTHGAP_DATA=... python benchmarks/setfit_scores.py [SEED ...] [--only KIND ...]

200 texts a label (or all, where there are fewer), drawn by the seed as `recorded` draws them; every way trains on the
same texts and predicts the whole test split. Without a GPU IMDB, whose texts are long, is left to finetune_ways.py and
its 500 test texts. Runs of `recorded` are read from outputs/recorded. An ensemble has one, two or three members with as
many epochs as in finetune_ways.py: with real validation texts that choose each one's epoch, as in `recorded`, or
without them, as SetFit; with the encoder's own head, or with one that starts as a probe. --only trains some of these.
Several trainings run at once, each on one thread, so nothing is timed here. Their predictions are kept in
benchmarks/kept, so what was broken off goes on. Rows go to benchmarks/setfit_scores.csv, with the 95 % interval of the
difference from SetFit over the test texts; what was measured before is kept.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from common import on_all_cores, read_rows, write_rows
from finetune_ways import MEMBER_EPOCHS, MEMBERS, SETFIT_ITERATIONS, TEXTS_PER_LABEL, no_lower, setfit

from synthgap.core.config import Comparison
from synthgap.core.files import atomic
from synthgap.data.real import load_real
from synthgap.evaluation.scores import INTERVAL, bootstrap, score_runs
from synthgap.tasks import load_profile, load_task
from synthgap.training.accelerations import device_name
from synthgap.training.base import NO_TEXTS, numbered
from synthgap.training.classifiers import fit_predict
from synthgap.training.predictions import Predictions
from synthgap.training.runs import PlannedRun, TaskTexts, plan_task
from synthgap.training.store import find, packed_lines, run_name

CSV = Path(__file__).with_suffix(".csv")
KEPT = Path(__file__).parent / "kept"
RUNS = Path(__file__).parents[1] / "outputs" / "recorded" / "runs"
COLUMNS = ("task", "seed", "way", "device", "train_texts", "test_texts", "macro_f1", "low", "high")
LEFT_OUT = () if device_name() != "cpu" else ("imdb",)
RESAMPLES = 1000
ENSEMBLES = {"validated": "", "unvalidated": " without validation texts", "probe_head": " from a probe, without them"}
KINDS = ("setfit", *ENSEMBLES)
SIZES = {1: "one", 2: "two", 3: "three"}
TITLES = {"recorded": "as the profile recorded"} | {
    f"{kind}_{size}": f"{word} of {MEMBER_EPOCHS} epochs{title}"
    for kind, title in ENSEMBLES.items()
    for size, word in SIZES.items()
}


def planned_runs(seeds: tuple[int, ...]) -> Iterator[PlannedRun]:
    """The fine-tuned classifier of `recorded` on real texts alone."""
    profile = load_profile("recorded")
    tuned = profile.training.classifiers["own_head"]
    tuned = tuned.model_copy(update={"seeds": None, "seeds_per_recording": None, "tasks": None})
    whole = {"texts_per_label": TEXTS_PER_LABEL, "test_texts_per_label": None}
    changed = {"seeds": seeds, "classifiers": {"own_head": tuned}} | whole
    training = profile.training.model_copy(update=changed)
    for name in profile.tasks:
        if name not in LEFT_OUT:
            texts = TaskTexts(load_real(load_task(name), profile), {})
            yield from plan_task(training, "real", Comparison(corpora=()), texts)


@cache
def recorded_runs() -> dict[str, str]:
    """{name of a planned run: its run of `recorded`}, whether or not the run predicted annotated texts as well."""
    identities = {name: about["identity"] for name, about in packed_lines(RUNS).items()}
    return {run_name({k: v for k, v in one.items() if k != "annotated"}): name for name, one in identities.items()}


def trainings(kind: str) -> list[str]:
    return ["setfit"] if kind == "setfit" else [f"{kind}_{member}" for member in range(MEMBERS)]


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
    train = numbered(run.train, labels)
    if training == "setfit":
        return setfit(train, NO_TEXTS, test, len(labels), run.seed)[0]
    kind, member = training.rsplit("_", 1)
    head = "probe" if kind == "probe_head" else None
    settings = run.settings.model_copy(update={"epochs": MEMBER_EPOCHS, "head": head})
    chosen_by = numbered(run.validation, labels) if kind == "validated" else NO_TEXTS
    return fit_predict(settings, train, chosen_by, test, len(labels), run.seed * MEMBERS + int(member)).probabilities


def rows_of(run: PlannedRun, found: dict[str, np.ndarray]) -> list[dict[str, object]]:
    """Macro-F1 of every way.

    Args:
        found: {training: its probabilities}, SetFit's among them.
    """
    labels = run.identity["labels"]
    scored, devices = {"setfit": found["setfit"]}, {"setfit": kept(run, "setfit").parent.name}
    for kind in ENSEMBLES:
        members = [found[name] for name in trainings(kind) if name in found]
        ways = {f"{kind}_{size}": np.mean(members[:size], axis=0) for size in range(1, len(members) + 1)}
        scored |= ways
        devices |= dict.fromkeys(ways, kept(run, trainings(kind)[0]).parent.name)
    if known := find(RUNS, recorded_runs().get(run.name, ""), probabilities=True):
        frame = known.table().set_index("id").loc[run.test["id"]]
        scored["recorded"] = frame[[f"p {label}" for label in labels]].to_numpy()
        devices["recorded"] = known.about["details"].get("device", "cpu")  # the first runs, on CPUs, say none
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


def main(seeds: tuple[int, ...], kinds: list[str]) -> None:
    rows = {(row["task"], int(row["seed"]), row["way"]): row for row in read_rows(CSV)}
    wanted: list[tuple[PlannedRun, list[str]]] = []
    for run in sorted(planned_runs(seeds), key=lambda run: (run.seed, len(run.test))):
        missing = [kind for kind in kinds if (run.task, run.seed, f"{kind}_{MEMBERS}") not in rows and kind != "setfit"]
        if missing or (run.task, run.seed, "setfit") not in rows:
            wanted.append((run, [name for kind in ("setfit", *missing) for name in trainings(kind)]))
    found = on_all_cores(probabilities, [(run, name) for run, names in wanted for name in names])
    for run, names in wanted:
        for row in rows_of(run, {name: next(found) for name in names}):
            rows.setdefault((run.task, run.seed, str(row["way"])), row)
        print(run.title, file=sys.stderr, flush=True)
        write_rows(CSV, [rows[key] for key in sorted(rows)])
    print(summary(list(rows.values())))


def summary(rows: list[dict]) -> str:
    """On how many tasks each of our ways is no lower than SetFit, by the mean over seeds; surely, by its interval."""
    f1 = {(row["way"], row["task"], row["seed"]): float(row["macro_f1"]) for row in rows}
    parts = []
    for way, title in TITLES.items():
        ours = [row for row in rows if row["way"] == way]
        differences: dict[str, list[float]] = {}
        for row in ours:
            difference = float(row["macro_f1"]) - f1["setfit", row["task"], row["seed"]]
            differences.setdefault(row["task"], []).append(difference)
        if differences:
            means = {task: statistics.mean(found) for task, found in differences.items()}
            below, above = sum(float(row["high"]) < 0 for row in ours), sum(float(row["low"]) > 0 for row in ours)
            seeds = ", ".join(sorted({row["seed"] for row in ours}, key=int))
            counted = f"of {len(ours)} intervals {below} below 0 and {above} above (seeds {seeds})"
            parts.append(f"{no_lower(title, means)}, {counted}")
    return f"macro-F1 less SetFit's on whole test splits, 200 real texts a label: {'; '.join(parts)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seeds", nargs="*", type=int, default=[0], metavar="SEED")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    asked = parser.parse_args()
    main(tuple(asked.seeds), asked.only)
