"""The grid task x regime x classifier x seed: one trained cell is one JSON and its predictions, named by a hash.

A run's name is a digest of what determines it (texts, labels, classifier, weights, seed), so a finished run is found
again by any profile and never trained twice. Predictions are written first and the JSON last, both atomically, and
the JSON holds the predictions' digest: a run is whole or it does not count.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.config import FinetuneSettings, Profile
from synthgap.data import RealData, draw, draw_equal, equal_sizes, fingerprint
from synthgap.engine import Engine, Outcome, fan_out, said
from synthgap.errors import SynthgapError
from synthgap.files import WriteFailed, digest, file_digest, read_json, write_json, write_parquet

if TYPE_CHECKING:
    import pandas as pd

GRID, CURVE = "grid.csv", "curve.csv"  # which runs make up the grid, and the learning curves
INDEX_COLUMNS = ["task", "classifier", "regime", "seed", "run", "n_train", "texts_per_label"]
RUN_FORMAT = 1  # raised whenever code changes what a run of unchanged settings computes
PACKAGES = ("synthgap", "torch", "transformers", "sentence-transformers", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Cell:
    """One cell of the grid, ready to be trained.

    Attributes:
        identity: what determines the result; its digest is the run's name.
        train, validation, test: columns id, text, label.
        annotated: columns id, text; texts that people annotated, to be predicted beside the test split (or no rows).
    """

    task: str
    classifier: str
    regime: str
    seed: int
    identity: dict[str, Any]
    train: pd.DataFrame = field(repr=False, compare=False)
    validation: pd.DataFrame = field(repr=False, compare=False)
    test: pd.DataFrame = field(repr=False, compare=False)
    annotated: pd.DataFrame = field(repr=False, compare=False)
    settings: Any = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        return digest(self.identity, 20)

    @property
    def title(self) -> str:
        return f"{self.task} / {self.regime} / {self.classifier} / seed {self.seed}"

    @property
    def texts_per_label(self) -> int:
        """Training texts of the label that has the fewest."""
        return int(self.train["label"].value_counts().min())


def plan_task(
    profile: Profile, data: RealData, synthetic: Mapping[str, pd.DataFrame], annotated: pd.DataFrame | None = None
) -> list[Cell]:
    """All cells of one task, at equal size.

    Args:
        synthetic: {"zero_shot": texts, "few_shot": texts} for the regimes of the profile.
        annotated: columns id, text; other texts that every classifier of the task shall label too.

    Raises:
        SynthgapError: a regime has no text of some label.
    """
    sources: dict[str, pd.DataFrame] = {
        regime: data.split("train") if regime == "real" else synthetic[regime] for regime in profile.training.regimes
    }
    sizes = training_sizes(profile, data, sources)
    cells = []
    for classifier in profile.training.classifiers:
        make = cell_maker(profile, data, classifier, annotated)
        for regime in profile.training.regimes:
            for seed in profile.training.seeds_of(classifier):
                cells.append(make(regime, regime, seed, draw_equal(sources[regime], sizes, seed)))
    return cells


def plan_curve(
    profile: Profile, data: RealData, synthetic: Mapping[str, pd.DataFrame], annotated: pd.DataFrame | None = None
) -> list[Cell]:
    """The cells of one task's learning curves: those of `plan_task` at each smaller size, then at the full one.

    A smaller draw of a seed is part of its larger one. Sizes at which some label has no more texts are left out, and
    so is everything where the profile asks for no curve.
    """
    curve = profile.training.curve
    if curve is None:
        return []
    training = profile.training.further(curve, data.task.name)
    full = plan_task(profile.model_copy(update={"training": training}), data, synthetic, annotated)
    cells = []
    for size in sorted(set(curve.texts_per_label)):
        if size < full[0].texts_per_label:
            smaller = training.model_copy(update={"texts_per_label": size})
            cells += plan_task(profile.model_copy(update={"training": smaller}), data, synthetic)
    return [*cells, *full]


def cell_maker(
    profile: Profile, data: RealData, classifier: str, annotated: pd.DataFrame | None = None
) -> Callable[[str, str, int, pd.DataFrame], Cell]:
    """A function of (regime in the index, regime in the run, seed, training texts) that makes a task's cell.

    Args:
        annotated: as `plan_task` takes it.
    """
    settings, test = profile.training.classifiers[classifier], data.split("test")
    validation = _validation(data, settings)
    others = data.frame.iloc[:0][["id", "text"]] if annotated is None else annotated[["id", "text"]]
    fixed = {"validation": _fingerprint(validation), "test": _fingerprint(test)}
    if len(others):
        fixed["annotated"] = fingerprint(others)

    def make(regime: str, kind: str, seed: int, train: pd.DataFrame) -> Cell:
        identity = _identity(data, kind, settings, seed, train) | fixed
        return Cell(data.task.name, classifier, regime, seed, identity, train, validation, test, others, settings)

    return make


def training_sizes(profile: Profile, data: RealData, sources: Mapping[str, pd.DataFrame]) -> dict[str, int]:
    """{label: texts that every regime trains on}, in the order of the task's labels."""
    counts = {regime: texts["label"].value_counts().to_dict() for regime, texts in sources.items()}
    sizes = equal_sizes(counts, profile.training.texts_per_label)
    for label in data.task.labels:
        if not sizes.get(label):
            regime = next(name for name, count in counts.items() if not count.get(label))
            raise SynthgapError(
                f"task '{data.task.name}': the regime '{regime}' has no text of label '{label}', "
                "so there is no equal size to train at; generate or add some, or leave the regime out"
            )
    return {label: sizes[label] for label in data.task.labels}


def sizes_table(cells: Iterable[Cell]) -> pd.DataFrame:
    """Training texts of every task and label (rows) in every regime (columns): equal in each row."""
    import pandas as pd

    rows = [
        {"task": cell.task, "label": label, "regime": cell.regime, "texts": int(texts)}
        for cell in cells
        for label, texts in cell.train["label"].value_counts().items()
    ]
    table = pd.DataFrame(rows).drop_duplicates().pivot_table(index=["task", "label"], columns="regime", values="texts")
    return table.astype(int)


def _validation(data: RealData, settings: Any) -> pd.DataFrame:
    """The validation texts that a classifier sees: fine-tuning at most so many as it says, others none."""
    validation = data.split("validation")
    if isinstance(settings, FinetuneSettings):
        return draw(validation, min(settings.validation_texts, len(validation)), 0, "validation")
    return validation.iloc[:0]


def _identity(data: RealData, regime: str, settings: Any, seed: int, train: pd.DataFrame) -> dict[str, Any]:
    from synthgap.classifiers import classifier_identity

    return {
        "format": RUN_FORMAT,
        "task": data.task.name,
        "labels": list(data.task.labels),
        "regime": regime,
        "classifier": classifier_identity(settings),
        "seed": seed,
        "train": _fingerprint(train),
    }


def _fingerprint(frame: pd.DataFrame) -> str:
    return fingerprint(frame[["id", "text", "label"]])


# -------------------------------------------------------------------------------------------------------------- grid


def about_data(real: Mapping[str, RealData]) -> dict[str, dict[str, str]]:
    """Where each task's real texts come from, for the JSON of its runs."""
    return {name: {"data_source": data.source, "data_fingerprint": data.fingerprint} for name, data in real.items()}


class GridFailed(SynthgapError):
    """Some runs of a grid failed; all others are finished."""


def run_grid(
    cells: Iterable[Cell],
    folder: Path,
    about: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
    index_name: str = GRID,
) -> pd.DataFrame:
    """Train every cell that has no finished run, and write the grid's index.

    Several processes may work on one folder: each cell is trained under a lock, and a process passes over cells that
    another is training and comes back to them. A killed process leaves finished runs and nothing else.

    Args:
        about: further facts for the run's JSON, such as the fingerprint of each task's data, by task.
        engine: where to train; None: as the environment says.
        index_name: of the file that says which runs make up the grid.

    Returns:
        The index: task, classifier, regime, seed, run, n_train, texts_per_label, trained_now.

    Raises:
        GridFailed: some cells failed, each with its reason; the others are finished.
    """
    import pandas as pd
    from tqdm import tqdm

    cells, engine = list(cells), engine or Engine.from_environment()
    trained_now: set[str] = set()
    failed: dict[str, str] = {}
    missing = [cell for cell in cells if not is_finished(folder, cell.name)]
    told = {"desc": "runs", "unit": "run", "mininterval": 2, "disable": not cells}
    with tqdm(total=len(cells), initial=len(cells) - len(missing), **told) as bar:
        for cell, outcome in _work_off(missing, folder, about or {}, engine, bar):
            bar.update()
            bar.set_postfix_str(cell.title, refresh=False)
            if outcome.trained:
                trained_now.add(cell.name)
            if outcome.error:
                failed[cell.title] = outcome.error
                bar.write(f"failed: {cell.title}: {outcome.error}")
    refuse_failed(failed, len(cells))
    index = pd.DataFrame(
        [
            {
                "task": cell.task,
                "classifier": cell.classifier,
                "regime": cell.regime,
                "seed": cell.seed,
                "run": cell.name,
                "n_train": len(cell.train),
                "texts_per_label": cell.texts_per_label,
                "trained_now": cell.name in trained_now,
            }
            for cell in cells
        ],
        columns=[*INDEX_COLUMNS, "trained_now"],
    )
    write_index(folder, index, index_name)
    return index


def refuse_failed(failed: Mapping[str, str], cells: int) -> None:
    """Raise with every run that failed and its reason.

    Raises:
        GridFailed: there are some.
    """
    if failed:
        listed = "\n  ".join(f"{title}: {reason}" for title, reason in failed.items())
        raise GridFailed(
            f"{len(failed)} of {cells} runs failed:\n  {listed}\nthe others are finished and kept; mend the cause and "
            "run the same command again"
        )


def _work_off(
    cells: list[Cell], folder: Path, about: Mapping[str, Any], engine: Engine, bar: Any
) -> Iterator[tuple[Cell, Outcome]]:
    """Yield each cell once its run is there or has failed; first those that are trained in this process."""
    (folder / ".locks").mkdir(parents=True, exist_ok=True)
    for cell in cells:
        if run_file(folder, cell.name).exists():
            bar.write(f"run {cell.name} is torn and is trained again ({cell.title})")
    away = [cell for cell in cells if engine.sends(cell)]
    if engine.kind == "local" and (len(away) < 2 or engine.workers == 1):
        away = []
    sent = {cell.name for cell in away}
    yield from _work_off_here([cell for cell in cells if cell.name not in sent], folder, about)
    if away:
        yield from fan_out(away, folder, about, engine)


def _work_off_here(cells: list[Cell], folder: Path, about: Mapping[str, Any]) -> Iterator[tuple[Cell, Outcome]]:
    waiting = cells
    while waiting:
        held_elsewhere = []
        for cell in waiting:
            try:
                trained = _train_locked(cell, folder, about.get(cell.task, {}))
            except WriteFailed:
                raise
            except Exception as error:
                yield cell, Outcome(cell.name, False, said(error))
                continue
            if trained is None:
                held_elsewhere.append(cell)
            else:
                yield cell, Outcome(cell.name, trained)
        if len(held_elsewhere) == len(waiting):
            time.sleep(0.2)
        waiting = held_elsewhere


def train_or_wait(cell: Cell, folder: Path, about: Mapping[str, Any]) -> bool:
    """Have a cell's run finished; whether it was trained here, and not by another process meanwhile."""
    (folder / ".locks").mkdir(parents=True, exist_ok=True)
    while (trained := _train_locked(cell, folder, about)) is None:
        time.sleep(0.2)
    return trained


def _train_locked(cell: Cell, folder: Path, about: Mapping[str, Any]) -> bool | None:
    """Train a cell under its lock unless its run is there; None where another process holds the lock."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".locks" / f"{cell.name}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return None
    try:
        if is_finished(folder, cell.name):
            return False
        train_cell(cell, folder, about)
        return True
    finally:
        lock.release()


def train_cell(cell: Cell, folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Train one cell and write its two files; the JSON's content is returned."""
    from synthgap.classifiers import fit_predict, numbered, peak_memory_mb, reset_peak_memory

    labels = cell.identity["labels"]
    reset_peak_memory()
    train, validation = (numbered(frame, labels) for frame in (cell.train, cell.validation))
    texts = [*cell.test["text"], *cell.annotated["text"]]
    fitted = fit_predict(cell.settings, train, validation, texts, len(labels), cell.seed)
    predictions = prediction_frame(cell.test, labels, fitted.probabilities[: len(cell.test)])
    digests = {"predictions_sha256": file_digest(write_parquet(prediction_file(folder, cell.name), predictions))}
    if len(cell.annotated):
        others = prediction_frame(cell.annotated, labels, fitted.probabilities[len(cell.test) :])
        digests["annotated_sha256"] = file_digest(write_parquet(annotated_file(folder, cell.name), others))
    run = {
        "run": cell.name,
        "task": cell.task,
        "classifier": cell.classifier,
        "regime": cell.regime,
        "seed": cell.seed,
        "settings": cell.settings.model_dump(mode="json", exclude={"seeds"}),
        "identity": cell.identity,
        **about,
        "n_train": len(cell.train),
        "n_train_by_label": {label: int((cell.train["label"] == label).sum()) for label in labels},
        "n_test": len(cell.test),
        "n_annotated": len(cell.annotated),
        "scores": scores(predictions["label"], predictions["predicted"], labels),
        "train_seconds": round(fitted.train_seconds, 3),
        "predict_seconds": round(fitted.predict_seconds, 3),
        "train_texts_per_second": round(fitted.trained_texts / max(fitted.train_seconds, 1e-9), 1),
        "predict_texts_per_second": round(len(texts) / max(fitted.predict_seconds, 1e-9), 1),
        "peak_memory_mb": round(peak_memory_mb(), 1),
        "details": fitted.details,
        "versions": versions(),
        **digests,
    }
    write_json(run_file(folder, cell.name), run)
    return run


def prediction_frame(test: pd.DataFrame, labels: list[str], probabilities: Any) -> pd.DataFrame:
    """Columns id, label (where the texts have one), predicted and `p <label>` for each label; no text."""
    import numpy as np
    import pandas as pd

    predicted = np.array(labels, dtype=object)[probabilities.argmax(axis=1)]
    columns = {f"p {label}": probabilities[:, place] for place, label in enumerate(labels)}
    known = {name: test[name].tolist() for name in ("id", "label") if name in test.columns}
    return pd.DataFrame({**known, "predicted": predicted.tolist(), **columns})


def scores(label: Any, predicted: Any, labels: list[str]) -> dict[str, float]:
    """Macro-F1 and accuracy in percent; a label neither present nor predicted counts as F1 = 0."""
    from sklearn.metrics import accuracy_score, f1_score

    macro = f1_score(label, predicted, labels=labels, average="macro", zero_division=0)
    return {"macro_f1": round(100 * macro, 4), "accuracy": round(100 * accuracy_score(label, predicted), 4)}


@lru_cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


# ------------------------------------------------------------------------------------------------------------- files


def run_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def prediction_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.predictions.parquet"


def annotated_file(folder: Path, name: str) -> Path:
    """What a run predicted for texts that people annotated; only of tasks that have such texts."""
    return folder / f"{name}.annotated.parquet"


def run_files(folder: Path, name: str) -> list[Path]:
    """All files of a finished run."""
    files = [run_file(folder, name), prediction_file(folder, name), annotated_file(folder, name)]
    return [path for path in files if path.is_file()]


def is_finished(folder: Path, name: str) -> bool:
    """Whether a run's JSON is whole and its predictions are the ones it was written with."""
    run = read_json(run_file(folder, name))
    if not isinstance(run, dict) or "predictions_sha256" not in run:
        return False
    expected = {prediction_file(folder, name): run["predictions_sha256"]}
    if run.get("identity", {}).get("annotated"):
        expected[annotated_file(folder, name)] = run.get("annotated_sha256")
    return all(path.is_file() and file_digest(path) == sha256 for path, sha256 in expected.items())


def write_index(folder: Path, index: pd.DataFrame, name: str = GRID) -> Path:
    """Which runs make up the grid that was last asked for."""
    from synthgap.files import write_text

    return write_text(folder / name, index.drop(columns="trained_now").to_csv(index=False, lineterminator="\n"))


def read_index(folder: Path, name: str = GRID) -> pd.DataFrame:
    """The grid's index, columns as in INDEX_COLUMNS.

    Raises:
        SynthgapError: there is none, or one of its runs is missing or torn.
    """
    import pandas as pd

    path = folder / name
    if not path.is_file():
        raise SynthgapError(f"'{path.name}' is not in '{folder.name}/' yet; run the stage 02_training first")
    index = pd.read_csv(path, dtype={"run": str}, keep_default_na=False)
    for row in index.itertuples():
        if not is_finished(folder, row.run):
            raise SynthgapError(
                f"run {row.run} ({row.task} / {row.regime} / {row.classifier} / seed {row.seed}) is missing or torn; "
                "run the stage 02_training again: it trains this one anew and keeps the others"
            )
    return index


def read_run(folder: Path, name: str) -> dict[str, Any]:
    return read_json(run_file(folder, name)) or {}


def read_predictions(folder: Path, name: str) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(prediction_file(folder, name))
