"""Learning curves and the worth of a synthetic text: known answers, limits, coverage, and the runs they are made of."""

import numpy as np
import pandas as pd
import pytest
from conftest import synthgap
from workers import grid_cells

from synthgap.config import load_profile
from synthgap.curves import Curve, at_middle_size, curve_tables, load_curves, real_texts, shown
from synthgap.data import load_real
from synthgap.errors import SynthgapError
from synthgap.evaluation import Outcome
from synthgap.generation import generate
from synthgap.llm import connect
from synthgap.runs import CURVE, INDEX_COLUMNS, plan_curve, plan_task, read_index, run_grid
from synthgap.tasks import load_task

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


def curve(points: dict[str, tuple[str, int, np.ndarray]], truth: np.ndarray) -> Curve:
    predicted = {name: found for name, (_, _, found) in points.items()}
    n_train = {name: 2 * size for name, (_, size, _) in points.items()}
    outcome = Outcome("humor", "probe", ("a", "b"), truth, predicted, n_train)
    return Curve(outcome, {name: (regime, size) for name, (regime, size, _) in points.items()})


def simulated(random, regime_scores, items=400, seeds=3) -> Curve:
    """Items whose label is guessed right with the probability given for each point."""
    truth = random.integers(2, size=items)
    points = {}
    for (regime, size), right in regime_scores.items():
        hits = random.random((seeds, items)) < right
        points[f"{regime} {size}"] = (regime, size, np.where(hits, truth, 1 - truth))
    return curve(points, truth)


def accuracy(texts: float) -> float:
    return 0.55 + 0.1 * np.log10(texts)


REAL = {("real", size): accuracy(size) for size in (10, 30, 100, 300, 1000)}


def test_the_worth_of_a_curve_that_is_the_real_one_is_1():
    truth = np.arange(200) % 2
    wrong = {size: np.where(np.arange(200) < 200 * accuracy(size), truth, 1 - truth)[None] for size in (10, 100, 1000)}
    points = {f"{regime} {size}": (regime, size, wrong[size]) for regime in ("real", "few_shot") for size in wrong}
    table, worth = curve_tables([curve(points, truth)], resamples=200)
    assert worth["worth"].tolist() == pytest.approx([1, 1, 1])
    assert worth["bound"].tolist() == ["", "", ""]
    assert worth["least"].tolist() == pytest.approx([1, 0.1, 0.01])
    assert worth["most"].tolist() == pytest.approx([100, 10, 1])
    assert (table["n_train"] == 2 * table["texts_per_label"]).all()
    assert (table["macro_f1_low"] <= table["macro_f1"]).all()
    assert (table["macro_f1"] <= table["macro_f1_high"]).all()
    middle = at_middle_size(worth)
    assert middle["texts_per_label"].tolist() == [100]
    assert at_middle_size(worth[worth["texts_per_label"] != 100])["texts_per_label"].tolist() == [
        10
    ]  # of two, the first


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
    worth = worth.set_index("regime")
    said = shown(worth.reset_index()).set_index("regime")["worth [95 % interval]"]
    assert said["zero_shot"].startswith("< 0.10 [< 0.10, ")
    assert said["few_shot"].endswith(", > 10.00]")
    assert worth.loc["zero_shot", ["worth", "low", "bound"]].tolist() == [0, 0, "worse than 10 real texts a label"]
    assert worth.loc["few_shot", ["worth", "high", "bound"]].tolist() == [
        np.inf,
        np.inf,
        "better than 1000 real texts a label",
    ]


def test_without_real_texts_there_are_points_and_no_worth():
    random = np.random.default_rng(0)
    table, worth = curve_tables([simulated(random, {("few_shot", 10): 0.7, ("few_shot", 20): 0.8})], resamples=100)
    assert (len(table), len(worth)) == (2, 0)
    assert [len(found) for found in curve_tables([])] == [0, 0]


# --------------------------------------------------------------------------------------------------------------- runs


def planned(**changes):
    sets = {f"training.{name}": value for name, value in changes.items()}
    profile = load_profile("smoke", {"training.texts_per_label": 12, **sets})
    task = load_task("sms_spam")
    data = load_real(task, profile)
    made = {
        s: generate(task, s, data, connect(profile.llm), profile.generation).texts for s in ("zero_shot", "few_shot")
    }
    return plan_task(profile, data, made), plan_curve(profile, data, made)


def test_smaller_sizes_are_parts_of_larger_ones_and_the_full_size_is_the_grids():
    grid, cells = planned(curve={"classifiers": ["tfidf"], "texts_per_label": [8, 4, 12, 500]})
    assert sorted({cell.texts_per_label for cell in cells}) == [4, 8, 12]
    assert {cell.name for cell in cells if cell.texts_per_label == 12} == {cell.name for cell in grid}
    assert len(cells) == 3 * len(grid)
    ids = {(cell.regime, cell.seed, cell.texts_per_label): set(cell.train["id"]) for cell in cells}
    for regime in ("real", "zero_shot", "few_shot"):
        for seed in (0, 1):
            assert ids[regime, seed, 4] < ids[regime, seed, 8] < ids[regime, seed, 12]
    assert planned(curve=None)[1] == []


def test_a_curve_is_of_a_classifier_that_the_profile_has():
    with pytest.raises(SynthgapError, match=r"classifier of training.curve 'probe' is unknown"):
        load_profile("smoke", {"training.curve": {"classifiers": ["probe"], "texts_per_label": [5]}})


def test_a_curve_may_have_fewer_seeds_than_the_grid():
    few = {"classifiers": ["tfidf"], "texts_per_label": [4], "seeds": {"tfidf": [1]}}
    grid, cells = planned(curve=few)
    assert {cell.seed for cell in cells} == {1}
    assert {cell.name for cell in cells if cell.texts_per_label > 4} == {cell.name for cell in grid if cell.seed == 1}
    _, all_seeds = planned(curve=few | {"seeds": {}})
    assert {cell.name for cell in cells} == {cell.name for cell in all_seeds if cell.seed == 1}
    with pytest.raises(SynthgapError, match=r"classifier of training.curve 'probe' is unknown"):
        planned(curve=few | {"seeds": {"probe": [1]}})


def test_a_curve_may_have_fewer_seeds_on_one_task():
    few = {"classifiers": ["tfidf"], "texts_per_label": [4]}
    grid, everywhere = planned(curve=few | {"seeds": {"tfidf": {"imdb": [1]}}})
    assert {cell.seed for cell in everywhere} == {cell.seed for cell in grid} == {0, 1}
    _, here = planned(curve=few | {"seeds": {"tfidf": {"sms_spam": [1], "imdb": [0]}}})
    assert {cell.name for cell in here} == {cell.name for cell in everywhere if cell.seed == 1}
    with pytest.raises(SynthgapError, match=r"task of seeds 'imbd' is unknown \(did you mean 'imdb'\?\)"):
        planned(curve=few | {"seeds": {"tfidf": {"imbd": [1]}}})


def test_curves_come_from_the_runs_that_the_index_names(tmp_path):
    _, cells = planned(curve={"classifiers": ["tfidf"], "texts_per_label": [4]})
    run_grid(cells, tmp_path, index_name=CURVE)
    assert read_index(tmp_path, CURVE).columns.tolist() == INDEX_COLUMNS
    found = load_curves(tmp_path)[0]
    assert set(found.sizes.values()) == {(r, s) for r in ("real", "zero_shot", "few_shot") for s in (4, 12)}
    table, worth = curve_tables([found], resamples=100)
    assert (table["seeds"] == 2).all()
    assert (worth["seeds"] == 2).all()
    assert len(worth) == 4
    run_grid([], tmp_path, index_name=CURVE)
    assert load_curves(tmp_path) == []
    assert grid_cells()[0].texts_per_label > 0


@pytest.mark.slow
def test_the_report_of_a_run_without_curves_has_none(tmp_path):
    sets = ("--set", "training.curve=null", "--set", "tasks=[humor]", "--output", str(tmp_path))
    done = synthgap("run", "smoke", "01", "02", "03", *sets)
    assert done.returncode == 0, done.stderr[-2000:]
    assert pd.read_csv(tmp_path / "smoke" / "tables" / "learning_curves.csv").empty
    assert list((tmp_path / "smoke" / "figures").glob("learning_curves*")) == []


def test_smoke_draws_its_curves(smoke):
    points = pd.read_csv(smoke / "tables" / "learning_curves.csv")
    assert sorted(points["texts_per_label"].unique()) == [5, 15]
    assert set(pd.read_csv(smoke / "tables" / "worth.csv")["regime"]) == {"zero_shot", "few_shot"}
    for name in ("learning_curves_tfidf", "worth_tfidf"):
        assert all((smoke / "figures" / f"{name}.{kind}").is_file() for kind in ("pdf", "png", "svg"))
