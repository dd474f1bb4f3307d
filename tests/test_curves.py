"""Learning curves and the worth of a synthetic text: known answers, limits, coverage, and the runs they are made of."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import synthgap

from synthgap.core.errors import SynthgapError
from synthgap.data.real import load_real
from synthgap.evaluation.gaps import Scored
from synthgap.evaluation.inference import NOTHING, Part, Spreads
from synthgap.evaluation.learning_curves import (
    STEPS,
    at_one_size,
    curve_tables,
    over_tasks_in_words,
    real_texts,
    real_texts_interval,
    worth_in_words,
    worth_over_tasks,
)
from synthgap.generation.corpora import from_recording
from synthgap.llm.backends import connect
from synthgap.tasks import load_profile, load_task
from synthgap.training.grid import run_grid
from synthgap.training.predictions import Predictions, load_predictions, read_index
from synthgap.training.runs import TaskTexts, plan_curves, plan_grid
from synthgap.training.store import INDEX_COLUMNS

SIZES = np.array([10, 100])


@pytest.mark.parametrize(
    ("scores", "score", "texts"),
    [
        ([50, 70], 60, 10 * 10**0.5),  # half way on a logarithmic axis
        ([50, 70], 50, 10),
        ([50, 70], 70, 100),
        ([50, 70], 49.9, 0),
        ([50, 70], 70.1, np.inf),
        ([70, 50], 60, 10),  # a falling curve is level: 60 at every size, and the fewest texts reach it
        ([70, 50], 61, np.inf),
    ],
)
def test_the_number_of_real_texts_with_the_same_score(scores, score, texts):
    assert real_texts(SIZES, np.array(scores, float), score) == pytest.approx(texts)


@pytest.mark.parametrize(("score", "texts"), [(59, 0), (60, 10), (61, np.inf)])
def test_a_curve_of_one_point_tells_bounds(score, texts):
    assert real_texts(SIZES[:1], np.array([60.0]), score) == pytest.approx(texts)


def scored(mean, items=0.0, runs=NOTHING, new=None):
    """A score whose variance over items is that of one normal variable, independent of other scores'."""
    of_items = mean + np.sqrt(items) * np.random.default_rng(int(mean)).normal(size=20_000)
    return Scored(np.array([mean]), np.array([1]), of_items, Spreads([runs], new))


@pytest.mark.parametrize(
    ("point", "new", "low", "high"),
    [
        (scored(60.0), False, 60, 60),
        (scored(60.0, runs=Part(4.0)), False, 60 - 1.96 * 2, 60 + 1.96 * 2),
        (scored(60.0, items=4.0), False, 60 - 1.96 * 2, 60 + 1.96 * 2),
        (scored(60.0, runs=Part(4.0, 5)), False, 60 - 2.5706 * 2, 60 + 2.5706 * 2),
        (scored(60.0, runs=Part(4.0), new=[Part(16.0)]), True, 60 - 1.96 * 4, 60 + 1.96 * 4),
        (scored(52.0, runs=Part(4.0)), False, -np.inf, 52 + 1.96 * 2),
        (scored(68.0, runs=Part(4.0)), False, 68 - 1.96 * 2, np.inf),
        (scored(40.0, runs=Part(4.0)), False, -np.inf, -np.inf),
        (scored(80.0, runs=Part(4.0)), False, np.inf, np.inf),
    ],
)
def test_the_interval_of_real_texts_is_where_scores_cannot_be_told_apart(point, new, low, high):
    """On a real curve that is known and runs from 50 to 70 over a hundredfold of texts, ends are those of a score."""
    sizes = np.array([10, 1000])
    found = real_texts_interval(sizes, [scored(50.0), scored(70.0)], point, new)
    scores = [50 + 10 * np.log10(texts / 10) if texts else -np.inf for texts in found]
    assert scores == pytest.approx([low, high], abs=20 / STEPS)


def predictions(points: dict[tuple[str, int], np.ndarray], truth: np.ndarray) -> Predictions:
    predicted = {f"{corpus} {size}": found for (corpus, size), found in points.items()}
    n_train = {f"{corpus} {size}": 2 * size for corpus, size in points}
    return Predictions("humor", "probe", ("a", "b"), np.arange(len(truth)).astype(str), truth, predicted, n_train)


def simulated(random, scores, items=400, seeds=3) -> Predictions:
    """Items whose label is guessed right with the probability given for each point."""
    truth = random.integers(2, size=items)
    right = {point: random.random((seeds, items)) < share for point, share in scores.items()}
    return predictions({point: np.where(hits, truth, 1 - truth) for point, hits in right.items()}, truth)


def accuracy(texts: float) -> float:
    return 0.55 + 0.1 * np.log10(texts)


REAL = {("real", size): accuracy(size) for size in (10, 30, 100, 300, 1000)}


def test_the_worth_of_a_curve_that_is_the_real_one_is_1():
    truth = np.arange(200) % 2
    wrong = {
        size: np.stack([np.where(np.arange(200) < 200 * accuracy(size), truth, 1 - truth)] * 2)
        for size in (10, 100, 1000)
    }
    points = {(corpus, size): wrong[size] for corpus in ("real", "few_shot") for size in wrong}
    table, worth = curve_tables([predictions(points, truth)], resamples=200)
    assert worth["worth"].tolist() == pytest.approx([1, 1, 1])
    assert worth["bound"].tolist() == ["", "", ""]
    assert worth["least"].tolist() == pytest.approx([1, 0.1, 0.01])
    assert worth["most"].tolist() == pytest.approx([100, 10, 1])
    assert (table["n_train"] == 2 * table["texts_per_label"]).all()
    assert (table["macro_f1_low"] <= table["macro_f1"]).all()
    assert (table["macro_f1"] <= table["macro_f1_high"]).all()
    middle = at_one_size(worth)
    assert middle["texts_per_label"].tolist() == [100]
    assert at_one_size(worth[worth["texts_per_label"] != 100])["texts_per_label"].tolist() == [10]  # of two, the first


def test_intervals_of_the_worth_cover_the_truth():
    random = np.random.default_rng(5)
    covered, found = [], []
    for number in range(60):
        scores = REAL | {("zero_shot", 100): accuracy(30)}  # a synthetic text is worth 0.3 real ones
        _, worth = curve_tables([simulated(random, scores, items=800)], resamples=200, seed=number)
        row = worth.iloc[0]
        covered.append(row["low"] <= 0.3 <= row["high"])
        found.append(row["worth"])
    assert np.mean(covered) >= 0.88
    assert 0.2 < np.median(found) < 0.45


def test_a_score_that_the_real_curve_does_not_reach_has_a_bound_only():
    random = np.random.default_rng(0)
    scores = REAL | {("zero_shot", 100): 0.5, ("few_shot", 100): 0.97}
    _, worth = curve_tables([simulated(random, scores)], resamples=100)
    worth = worth.set_index("corpus")
    said = worth_in_words(worth.reset_index()).set_index("corpus")["worth [95 % interval]"]
    assert said["zero_shot"].startswith("< 0.10 [< 0.10, ")
    assert said["few_shot"].endswith(", > 10.00]")
    assert worth.loc["zero_shot", ["worth", "low", "bound"]].tolist() == [0, 0, "worse than 10 real texts per label"]
    assert worth.loc["few_shot", ["worth", "high", "bound"]].tolist() == [
        np.inf,
        np.inf,
        "better than 1000 real texts per label",
    ]


def test_of_one_corpus_there_are_points_and_no_worth():
    random = np.random.default_rng(0)
    table, worth = curve_tables([simulated(random, {("few_shot", 10): 0.7, ("few_shot", 20): 0.8})], resamples=100)
    assert (len(table), len(worth)) == (2, 0)
    assert [len(found) for found in curve_tables([])] == [0, 0]
    assert [len(found) for found in (at_one_size(worth), worth_in_words(worth))] == [0, 0]


def test_the_worth_is_counted_in_texts_of_the_reference_whatever_it_is():
    random = np.random.default_rng(0)
    scores = {("gpt4", 10): 0.6, ("claude", 10): 0.52, ("gpt4", 100): 0.8, ("claude", 100): 0.95}
    _, worth = curve_tables([simulated(random, scores, items=2000)], resamples=100)
    assert worth["corpus"].tolist() == ["claude", "claude"]
    assert worth["bound"].tolist() == ["worse than 10 gpt4 texts per label", "better than 100 gpt4 texts per label"]


def test_recordings_widen_what_is_said_of_new_ones_at_the_size_that_has_them():
    random, found = np.random.default_rng(0), []
    for task in ("humor", "imdb", "sms_spam"):
        one = simulated(random, REAL | {("zero_shot", 30): 0.65}, seeds=2)
        truth, parts = one.truth, []
        for share in (0.6, 0.7, 0.8):  # three recordings of two runs, far from each other
            hits = random.random((2, len(truth))) < share
            parts.append(np.where(hits, truth, 1 - truth))
        predicted = {**one.predicted, "zero_shot 100": np.concatenate(parts)}
        recordings = {"zero_shot 100": np.repeat([1, 2, 3], 2)}
        n_train = {**one.n_train, "zero_shot 100": 200}
        found.append(replace(one, task=task, predicted=predicted, n_train=n_train, recordings=recordings))
    points, worth = curve_tables(found, resamples=200)
    assert points.query("corpus == 'zero_shot'")["recordings"].tolist() == [1, 3] * 3
    assert points.query("recordings == 1")["macro_f1_new_low"].isna().all()
    several = points.query("recordings == 3")
    assert (several["macro_f1_new_high"] - several["macro_f1_new_low"] > several["macro_f1_high"]).sum() == 0
    assert (several["macro_f1_new_low"] < several["macro_f1_low"]).all()
    compared = at_one_size(worth)
    assert compared["texts_per_label"].tolist() == [100] * 3, "where there are recordings the corpora are compared"
    assert (compared["new_low"] <= compared["low"]).all()
    assert (compared["new_high"] >= compared["high"]).all()
    assert (compared["new_high"] > 2 * compared["high"]).any()
    assert worth_in_words(worth)["for new recordings"].tolist()[:1] == ["–"]


def test_a_point_of_one_seed_takes_its_spread_from_other_tasks_and_is_not_compared():
    random = np.random.default_rng(0)
    scores = REAL | {("zero_shot", 100): 0.65}
    several = [replace(simulated(random, scores), task=task) for task in ("imdb", "sms_spam")]
    alone = simulated(random, scores, seeds=1)
    points, worth = curve_tables([*several, alone], resamples=200)
    width = (points["macro_f1_high"] - points["macro_f1_low"]).groupby(points["task"]).mean()
    assert width["humor"] > width["imdb"] > 0
    assert worth["seeds"].tolist() == [3, 3, 1]
    assert at_one_size(worth)["task"].tolist() == ["imdb", "sms_spam"]
    by_itself, _ = curve_tables([alone], resamples=200)
    assert (by_itself["macro_f1_high"] - by_itself["macro_f1_low"]).mean() < 0.75 * width["humor"]


@pytest.mark.parametrize(
    ("values", "median", "interval"),
    [
        ([0.3, 0.5, 0.9], "0.50", "–"),
        ([0, 0, 0.5], "< 0.20", "–"),
        ([0.5, np.inf, np.inf], "> 4.00", "–"),
        ([0, np.inf], "> 2.00", "–"),
        ([0, 0.4, 0.5, 0.6, 0.7, 0.8], "0.55", "[0, 0.80]"),
        ([0.3, 0.4, 0.5, 0.6, 0.7, np.inf], "0.55", "[0.30, no end]"),
        ([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, np.inf], "0.45", "[0.10, 0.80]"),  # of 10, the second and ninth
    ],
)
def test_the_median_over_tasks_knows_what_its_tasks_are_known_to_be(values, median, interval):
    worth = pd.DataFrame({"classifier": "probe", "corpus": "few_shot", "worth": values, "least": 0.2, "most": 4.0})
    (said,) = over_tasks_in_words(worth_over_tasks(worth))["median worth [95 % interval]"]
    assert said == f"{median} {interval}"


# --------------------------------------------------------------------------------------------------------------- runs


def planned(**changes):
    sets = {f"training.{name}": value for name, value in changes.items()}
    profile = load_profile("smoke", {"training.texts_per_label": 12, **sets})
    data = load_real(load_task("sms_spam"), profile)
    made = {
        name: from_recording(data, name, corpus.setting, connect(profile.llms[corpus.llm]), profile.generation).texts
        for name, corpus in profile.corpora.items()
    }
    texts = {"sms_spam": TaskTexts(data, made)}
    profile = profile.changed({"tasks": ["sms_spam"]})
    return plan_grid(profile, texts), plan_curves(profile, texts)


def test_smaller_sizes_are_parts_of_larger_ones_and_the_full_size_is_the_grids():
    grid, runs = planned(curve={"classifiers": ["tfidf"], "texts_per_label": [8, 4, 12, 500]})
    assert sorted({run.texts_per_label for run in runs}) == [4, 8, 12]
    assert {run.name for run in runs if run.texts_per_label == 12} == {run.name for run in grid}
    assert len(runs) == 3 * len(grid)
    ids = {(run.corpus, run.seed, run.texts_per_label): set(run.train["id"]) for run in runs}
    for corpus in ("real", "zero_shot", "few_shot"):
        for seed in (0, 1):
            assert ids[corpus, seed, 4] < ids[corpus, seed, 8] < ids[corpus, seed, 12]
    assert planned(curve=None)[1] == []


def test_a_curve_is_of_a_classifier_that_the_profile_has():
    with pytest.raises(SynthgapError, match=r"classifier of training.curve 'probe' is unknown"):
        load_profile("smoke", {"training.curve": {"classifiers": ["probe"], "texts_per_label": [5]}})


def test_a_curve_may_have_fewer_seeds_than_the_grid():
    few = {"classifiers": ["tfidf"], "texts_per_label": [4], "seeds": {"tfidf": [1]}}
    grid, runs = planned(curve=few)
    assert {run.seed for run in runs} == {1}
    assert {run.name for run in runs if run.texts_per_label > 4} == {run.name for run in grid if run.seed == 1}
    _, all_seeds = planned(curve=few | {"seeds": {}})
    assert {run.name for run in runs} == {run.name for run in all_seeds if run.seed == 1}
    with pytest.raises(SynthgapError, match=r"classifier of training.curve 'probe' is unknown"):
        planned(curve=few | {"seeds": {"probe": [1]}})


def test_a_curve_may_have_fewer_seeds_on_one_task():
    few = {"classifiers": ["tfidf"], "texts_per_label": [4]}
    grid, everywhere = planned(curve=few | {"seeds": {"tfidf": {"imdb": [1]}}})
    assert {run.seed for run in everywhere} == {run.seed for run in grid} == {0, 1}
    _, here = planned(curve=few | {"seeds": {"tfidf": {"sms_spam": [1], "imdb": [0]}}})
    assert {run.name for run in here} == {run.name for run in everywhere if run.seed == 1}
    with pytest.raises(SynthgapError, match=r"task 'imbd' is unknown \(did you mean 'imdb'\?\)"):
        planned(curve=few | {"seeds": {"tfidf": {"imbd": [1]}}})


def test_curves_come_from_the_runs_that_the_index_names(tmp_path):
    _, runs = planned(curve={"classifiers": ["tfidf"], "texts_per_label": [4]})
    run_grid(runs, tmp_path, index="curve")
    assert read_index(tmp_path, "curve").columns.tolist() == INDEX_COLUMNS
    (found,) = load_predictions(tmp_path, "curve")
    assert set(found.predicted) == {f"{r} {s}" for r in ("real", "zero_shot", "few_shot") for s in (4, 12)}
    table, worth = curve_tables([found], resamples=100)
    assert (table["seeds"] == 2).all()
    assert (worth["seeds"] == 2).all()
    assert len(worth) == 4
    run_grid([], tmp_path, index="curve")
    assert load_predictions(tmp_path, "curve") == []


def test_at_the_grids_size_a_curve_has_all_runs_of_the_grid(tmp_path):
    grid, runs = planned(curve={"classifiers": ["tfidf"], "texts_per_label": [4], "seeds": {"tfidf": [1]}})
    run_grid(grid, tmp_path)
    run_grid(runs, tmp_path, index="curve")
    (found,) = load_predictions(tmp_path, "curve")
    seeds = {name: len(of_point) for name, of_point in found.predicted.items()}
    assert seeds == {f"{r} {s}": n for s, n in ((12, 2), (4, 1)) for r in ("real", "zero_shot", "few_shot")}
    assert next(iter(seeds)).startswith("real")


def test_a_curve_is_of_the_items_that_the_grid_predicted_where_its_own_runs_predicted_more(tmp_path):
    few = {"classifiers": ["tfidf"], "texts_per_label": [4]}
    grid, runs = planned(curve=few, test_texts_per_label=3)
    assert len(grid[0].test) < len(runs[0].test)
    run_grid(grid, tmp_path)
    run_grid(runs, tmp_path, index="curve")
    (found,) = load_predictions(tmp_path, "curve")
    assert set(found.ids) == set(grid[0].test["id"])
    assert set(found.predicted) == {f"{r} {s}" for r in ("real", "zero_shot", "few_shot") for s in (4, 12)}


@pytest.mark.slow
def test_the_report_of_a_run_without_curves_has_none(tmp_path):
    sets = (
        "--set",
        "training.curve=null",
        "--set",
        "tasks=[humor]",
        "--set",
        "variant=plain",
        "--output",
        str(tmp_path),
    )
    done = synthgap("run", "smoke", "01", "02", "03", *sets)
    assert done.returncode == 0, done.stderr[-2000:]
    assert pd.read_csv(tmp_path / "smoke-plain" / "tables" / "learning_curves.csv").empty
    assert list((tmp_path / "smoke-plain" / "figures").glob("learning_curves*")) == []


def test_smoke_draws_its_curves(smoke):
    points = pd.read_csv(smoke / "tables" / "learning_curves.csv")
    assert sorted(points["texts_per_label"].unique()) == [5, 15]
    assert set(pd.read_csv(smoke / "tables" / "worth.csv")["corpus"]) == {"zero_shot", "few_shot"}
    for name in ("learning_curves_tfidf", "worth_tfidf"):
        assert all((smoke / "figures" / f"{name}.{kind}").is_file() for kind in ("pdf", "png"))
