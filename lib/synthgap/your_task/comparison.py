"""Train on own files and measure: gaps at equal number, learning curve, what is added on top of real texts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special
from threadpoolctl import threadpool_limits

from synthgap.causes.draws import Sample
from synthgap.core.config import REAL, Profile
from synthgap.data.draws import draw_equal, equal_sizes
from synthgap.decision.rule import DRAWS, MOST, cross_validated
from synthgap.evaluation.gaps import add_spreads, evaluate, gaps_to_reference, parts_of, scores_of
from synthgap.evaluation.inference import LEVEL, total
from synthgap.evaluation.learning_curves import curve_tables
from synthgap.evaluation.mixes import mix_tables
from synthgap.evaluation.scores import METRIC
from synthgap.training.base import NO_TEXTS, numbered
from synthgap.training.classifiers import fit_predict
from synthgap.training.grid import run_grid
from synthgap.training.mixes import fewest, plan_mixes
from synthgap.training.predictions import Predictions, load_predictions
from synthgap.training.runs import PlannedRun, RunPlanner, TaskTexts, plan_grid
from synthgap.training.store import pack
from synthgap.your_task.files import TASK, OwnTexts

SIZES = tuple(5 * 2**power for power in range(10))  # real texts per label on the learning curve, up to all
AMOUNTS = (10, 50)  # real texts per label that synthetic ones are added to, and all
ADVICE_COLUMNS = ["corpus", "real_labels", "real", "alone", "both"]
NEEDED_COLUMNS = ["classifier", "corpus", "n_test", "apart", "more"]


@dataclass(frozen=True)
class Measured:
    """What was found, as tidy tables; without rows where there are no real texts.

    Attributes:
        gaps, points, worth, gains: as `evaluate`, `curve_tables` and `mix_tables` give them, of macro-F1.
        needed: NEEDED_COLUMNS, see `needed_test_texts`.
    """

    gaps: pd.DataFrame
    points: pd.DataFrame
    worth: pd.DataFrame
    gains: pd.DataFrame
    needed: pd.DataFrame


def train(asked: Profile, texts: OwnTexts, folder: Path) -> list[Path]:
    """Train all runs that are missing, and pack them; gives the files.

    Args:
        asked: as `own_profile` gives it.
        folder: `runs`.
    """
    profile, of_task = _with_corpora(asked, texts), texts.of_task
    grid = plan_grid(profile, of_task) if of_task else []
    curve = [run for own in of_task.values() for run in _plan_real_curve(profile, own)]
    indexes = {"grid": grid, "curve": curve + grid, "mixes": _plan_mixes(profile, of_task)}
    for index, planned in indexes.items():
        run_grid(planned, folder, index=index)
    return pack(folder)


def measure(asked: Profile, folder: Path) -> Measured:
    """What the trained runs say."""
    resamples, permutations, seed = (getattr(asked.evaluation, name) for name in ("resamples", "permutations", "seed"))
    grid = load_predictions(folder)
    gaps = gaps_to_reference(evaluate(grid, resamples, permutations, seed).gaps)
    _, gains = mix_tables(load_predictions(folder, "mixes"), resamples, permutations, seed)
    points, worth = curve_tables(load_predictions(folder, "curve"), resamples, seed)
    margin = asked.own_files.margin if asked.own_files else math.nan
    return Measured(gaps, points, worth, gains, needed_test_texts(grid, margin, resamples, seed))


def _with_corpora(asked: Profile, texts: OwnTexts) -> Profile:
    corpora = {name: {"file": title, "title": title} for name, title in texts.titles.items()}
    return asked.changed({"tasks": [TASK], "corpora": corpora, "comparisons": {"own": {"corpora": list(corpora)}}})


def _plan_real_curve(profile: Profile, texts: TaskTexts) -> list[PlannedRun]:
    """Real texts alone at growing numbers per label, up to all of the label that has the fewest."""
    train, labels, planned = texts.corpus(REAL), texts.real.task.labels, []
    most = int(train["label"].value_counts().min())
    for classifier in profile.training.classifiers:
        planner = RunPlanner(profile.training, next(iter(profile.comparisons)), classifier, texts)
        seeds = profile.training.seeds_of(classifier)
        for size, seed in product([*(size for size in SIZES if size < most), most], seeds):
            planned.append(planner.run(REAL, seed, draw_equal(train, dict.fromkeys(labels, size), seed)))
    return planned


def _plan_mixes(profile: Profile, of_task: Mapping[str, TaskTexts]) -> list[PlannedRun]:
    """Each corpus on top of real texts; "real 10", which is the same for all of them, is there once."""
    mixed: dict[tuple[str, str, int], PlannedRun] = {}
    for corpus, own in product(profile.corpora, of_task.values()):
        most = int(own.corpus(REAL)["label"].value_counts().min())
        amounts = {"corpus": corpus, "real_texts_per_label": [*AMOUNTS, most]}
        for run in plan_mixes(profile.changed({"training.augmentation": amounts}), of_task):
            mixed[run.classifier, run.corpus, run.seed] = run
    return sorted(mixed.values(), key=lambda run: list(profile.training.classifiers).index(run.classifier))


def needed_test_texts(predictions: Sequence[Predictions], margin: float, resamples: int, seed: int) -> pd.DataFrame:
    """How many more labelled test texts would settle what a gap does not: NEEDED_COLUMNS.

    It would be settled by an interval that is narrow enough, the gap being what it is, to leave out 0 or to lie within
    the margin: `apart` is half the width that the easier of both takes. The part of the variance that test items make
    falls with their number, the others stay; `more` is infinite where these alone are too wide.
    """
    rows = []
    for one in predictions:
        scored = scores_of(one, resamples, seed)
        add_spreads([scored])
        for corpus in [name for name in one.predicted if name != REAL]:
            pair = [scored[corpus, METRIC], scored[REAL, METRIC]]
            gap = abs(pair[0].mean - pair[1].mean)
            items, *others = parts_of(pair, new=True) or parts_of(pair, new=False) or []
            apart = max(gap, margin - gap)
            quantile = special.stdtrit(total([items, *others]).df, (1 + LEVEL) / 2)
            room, n_test = (apart / quantile) ** 2 - total(others).variance, len(one.truth)
            more = max(0.0, n_test * (items.variance / room - 1)) if room > 0 else math.inf
            rows.append((one.classifier, corpus, n_test, apart, more))
    return pd.DataFrame(rows, columns=NEEDED_COLUMNS)


def advise(texts: OwnTexts) -> pd.DataFrame:
    """What a few real texts say by cross-validation, no test text among them: ADVICE_COLUMNS, means over draws.

    Of each corpus the probe's macro-F1, trained on MOST real texts of each label (or all there are), on the corpus
    alone, and on both; no row where a label has one real text.
    """
    rows: list[tuple[str | float, ...]] = []
    train, labels = texts.of_task[TASK].corpus(REAL) if texts.real else pd.DataFrame(), list(texts.task.labels)
    n = min(MOST, fewest(train, labels)) if len(train) else 0
    with threadpool_limits(1):  # these fits are small: threads would only wait
        for corpus, frame in texts.corpora.items() if n > 1 else ():
            made = Sample.of(draw_equal(frame, dict.fromkeys(labels, fewest(frame, labels)), 0), labels)
            found = []
            for seed in range(DRAWS):
                real = Sample.of(draw_equal(train, dict.fromkeys(labels, n), seed), labels)
                both = [cross_validated(real, made, labels, with_real) for with_real in (False, True)]
                found.append((cross_validated(real, None, labels), *both))
            rows.append((corpus, n, *np.mean(found, axis=0)))
    return pd.DataFrame(rows, columns=ADVICE_COLUMNS)


# --------------------------------------------------------------------------------------------------- without real texts


def at_equal_number(texts: OwnTexts) -> dict[str, pd.DataFrame]:
    """The first recording of each corpus, and the real train split where there is one, at equal number by label."""
    frames = {REAL: texts.real.split("train")} if texts.real is not None else {}
    frames |= {name: rows[rows["recording"] == 1] for name, rows in texts.corpora.items()}
    sizes = equal_sizes({name: rows["label"].value_counts().to_dict() for name, rows in frames.items()})
    return {name: draw_equal(rows, sizes, 0) for name, rows in frames.items()}


def agreement(asked: Profile, frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Do corpora mean the same by their labels? Of each, half trains a probe, and it labels the other half of each.

    Columns trained_on, labels_of, texts, agreement: percent of the texts to which it gives the label that they have.
    """
    probe, rows = asked.training.classifiers["probe"], []
    halves = {name: (rows.iloc[::2], rows.iloc[1::2]) for name, rows in frames.items()}
    for (trained_on, (train, _)), (labels_of, (_, others)) in product(halves.items(), halves.items()):
        labels = sorted(train["label"].unique())
        fitted = fit_predict(probe, numbered(train, labels), NO_TEXTS, others["text"].tolist(), len(labels), 0)
        same = np.array(labels)[fitted.probabilities.argmax(axis=1)] == others["label"].to_numpy()
        rows.append((trained_on, labels_of, len(others), 100 * same.mean()))
    return pd.DataFrame(rows, columns=["trained_on", "labels_of", "texts", "agreement"])
