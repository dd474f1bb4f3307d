"""Training curves: how score and loss of fine-tuned classifiers move from epoch to epoch, and what stopping would gain.

02 notes after every epoch the macro-F1 on a fixed sample of test texts, which decides nothing, and the loss. A best
epoch that is chosen on the very texts of which it is told looks better than it is, on real and synthetic texts alike:
compare corpora, and do not take a gain as such.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from synthgap.evaluation.inference import interval, over_tasks
from synthgap.evaluation.table_1 import name_in_sentence
from synthgap.figures import Look
from synthgap.tables import signed, signed_interval

PLACE = ["task", "classifier", "corpus"]
EPOCH_COLUMNS = [*PLACE, "run", "epoch", "score", "loss"]
BEST = ["best_epoch", "gain", "last"]
CURVE_COLUMNS = [*PLACE, "runs", "epochs", *(f"{name}{end}" for name in BEST for end in ("", "_sd"))]
OVER_TASKS_COLUMNS = ["classifier", "corpus", "baseline", "tasks", "earlier", "earlier_low", "earlier_high"]
OVER_TASKS_COLUMNS += ["gain", "gain_low", "gain_high"]


def epochs_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Score (in percent) and loss of every epoch of every run that noted them; of an ensemble, of each member.

    Columns EPOCH_COLUMNS; runs are numbered.

    Args:
        runs: as `predictions.runs_table` gives them.
    """
    rows = [
        (row.task, row.classifier, row.corpus, number, epoch, 100 * score, loss)
        for number, (row, details) in enumerate(_noted(runs))
        for epoch, (score, loss) in enumerate(zip(details["watched_macro_f1"], details["train_loss"], strict=True), 1)
    ]
    return pd.DataFrame(rows, columns=EPOCH_COLUMNS)


def _noted(runs: pd.DataFrame) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """The runs of the first comparison with their details, those of ensembles with those of each member."""
    for row in runs[runs["comparison"] == next(iter(runs["comparison"]), "")].itertuples():
        details = getattr(row, "details", None)
        if isinstance(details, dict):
            yield from ((row, one) for one in details.get("members", [details]) if one.get("watched_macro_f1"))


def by_corpus(epochs: pd.DataFrame) -> pd.DataFrame:
    """What each corpus's runs came to, mean and standard deviation over runs of all recordings; CURVE_COLUMNS.

    Of each run that is its best epoch, of equal ones the first; how many points better that was than its last (`gain`);
    and the score of its last.
    """
    runs = epochs.groupby([*PLACE, "run"], sort=False)["score"].agg(
        epochs="size", best_epoch=lambda scores: int(np.argmax(scores)) + 1, best="max", last="last"
    )
    runs["gain"] = runs["best"] - runs["last"]
    groups = runs.groupby(PLACE, sort=False)
    table = groups.agg(runs=("epochs", "size"), epochs=("epochs", "mean"))
    for name in BEST:
        table[name], table[f"{name}_sd"] = groups[name].mean(), groups[name].std()
    return table.reset_index().reindex(columns=CURVE_COLUMNS)


def to_reference(curves: pd.DataFrame) -> pd.DataFrame:
    """How each corpus's training differs from the reference's, which comes first: mean over tasks, OVER_TASKS_COLUMNS.

    `earlier` is how many epochs sooner the best is reached, `gain` how many more points stopping there would gain. The
    95 % intervals take tasks for a sample; of one task there are none.
    """
    rows = []
    baseline = next(iter(curves["corpus"]), "")
    real, others = curves[curves["corpus"] == baseline], curves[curves["corpus"] != baseline]
    both = others.merge(real, on=["task", "classifier"], suffixes=("", "_real"))
    for (classifier, corpus), of_tasks in both.groupby(["classifier", "corpus"], sort=False):
        earlier = (of_tasks["best_epoch_real"] - of_tasks["best_epoch"]).to_numpy(float)
        gain = (of_tasks["gain"] - of_tasks["gain_real"]).to_numpy(float)
        rows.append((classifier, corpus, baseline, len(of_tasks), *_mean(earlier), *_mean(gain)))
    return pd.DataFrame(rows, columns=OVER_TASKS_COLUMNS)


def _mean(differences: np.ndarray) -> tuple[float, float, float]:
    """The mean over tasks and its interval."""
    mean = float(differences.mean())
    return (mean, *interval(mean, over_tasks(differences))) if len(differences) > 1 else (mean, np.nan, np.nan)


def faster_and_overfit(differences: pd.DataFrame, look: Look) -> list[str]:
    """Do synthetic texts converge faster and overfit more, as the paper says? A sentence a row of `to_reference`."""
    return [_answer(row, look) for row in differences.itertuples()]


def _answer(row: Any, look: Look) -> str:
    """The differences of one classifier and corpus, and what can be told of them."""
    earlier, gain = signed(row.earlier), signed(row.gain)
    if row.tasks > 1:
        earlier += f" {signed_interval(row.earlier_low, row.earlier_high)}"
        gain += f" {signed_interval(row.gain_low, row.gain_high)}"
    said = (
        f"{row.classifier}, {look.title(row.corpus)} against {name_in_sentence(look, row.baseline)} texts: the best "
        f"epoch comes {earlier} epochs earlier, and stopping there would gain {gain} points more"
    )
    if row.tasks == 1:
        return f"{said}; of one task, which tells nothing of others."
    faster, overfit = _verdict(row.earlier_low, row.earlier_high), _verdict(row.gain_low, row.gain_high)
    return f"{said}; mean over {row.tasks} tasks. Do they converge faster? {faster} Do they overfit more? {overfit}"


def _verdict(low: float, high: float) -> str:
    if low <= 0 <= high:
        return "It cannot be told."
    return "Yes." if low > 0 else "No, the contrary."
