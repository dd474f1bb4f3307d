"""Accuracy against agreement: curves by hand, the band by simulation, the model against statsmodels' Logit."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import linregress, spearmanr

from synthgap.evaluation.inference import Part, interval, p_value
from synthgap.subjectivity.accuracy_by_agreement import (
    PredictedItems,
    agreement_models,
    curves_and_fits,
    fit_curve,
    match_predictions,
    null_band,
    threshold_curve,
)
from synthgap.subjectivity.agreement_sources import Source, item_table
from synthgap.training.predictions import Predictions


def predicted(agreement, correct, gold=None, source: str = "human: x") -> PredictedItems:
    """Items of the task humor, and whether one run for each corpus was right about them."""
    ids = np.array([f"i{n}" for n in range(len(agreement))])
    gold = np.array(["a"] * len(ids)) if gold is None else gold
    right = {corpus: np.asarray(values, dtype=float)[None, :] for corpus, values in correct.items()}
    return PredictedItems("humor", source, "probe", ids, np.asarray(agreement, float), gold, right)


# ------------------------------------------------------------------------------------------------------------- curves


def test_a_curve_by_hand():
    curve = threshold_curve(np.array([0.5, 0.5, 0.75, 1.0]), np.array([0, 1, 1, 0.5]))
    assert curve["threshold"].tolist() == [0.5, 0.75, 1.0]
    assert curve["items"].tolist() == [4, 2, 1]
    assert curve["accuracy"].tolist() == [62.5, 75.0, 50.0]


def test_the_fit_is_scipys_line_and_rank_correlation():
    x, y = np.array([0.5, 0.6, 0.8, 1.0]), np.array([60.0, 66.0, 65.0, 80.0])
    fit, line = fit_curve(x, y), linregress(x, y)
    assert fit.slope == pytest.approx(line.slope / 10)
    assert fit.r2 == pytest.approx(line.rvalue**2)
    assert fit.rho == pytest.approx(spearmanr(x, y)[0])


@pytest.mark.parametrize("step", [0.1, 0.3, 1 / 3])
def test_a_level_line_has_no_slope_and_no_sign(step):
    fit = fit_curve(np.array([0.4, 0.4 + step, 0.4 + 2 * step]), np.array([0.7, 0.9, 0.7]) + step)
    assert [str(value) for value in (fit.slope, fit.r2, fit.rho)] == ["0.0", "0.0", "0.0"]


@pytest.mark.parametrize(
    ("agreement", "correct", "note"),
    [
        ([1.0, 1.0, 1.0], [1, 0, 1], "all items have the same agreement"),
        ([0.5, 1.0, 1.0], [1, 0, 1], "two thresholds only"),
        ([0.5, 0.7, 1.0], [1, 1, 1], "the same accuracy at every threshold"),
    ],
)
def test_what_cannot_be_fitted_says_why(agreement, correct, note):
    _, fits = curves_and_fits([predicted(agreement, {"real": correct})], 50)
    assert np.isnan(fits["slope"].iloc[0])
    assert note in fits["note"].iloc[0]


def test_no_source_gives_empty_tables_with_columns():
    curves, fits = curves_and_fits([])
    assert curves.empty
    assert fits.empty
    assert {"threshold", "items", "accuracy", "null_low"} <= set(curves.columns)
    assert agreement_models([]).empty


# --------------------------------------------------------------------------------------------------------------- band


def simulated(effect: float, seed: int, items: int = 300):
    """Items of two classes that differ in agreement and in difficulty; `effect` is agreement's own."""
    random = np.random.default_rng(seed)
    gold = random.choice(np.array(["a", "b"]), items)
    agreement = random.choice([0.5, 0.6, 0.8, 1.0], items)
    agreement[(gold == "a") & (random.random(items) < 0.5)] = 1.0
    chance = np.where(gold == "a", 0.85, 0.55) + effect * (agreement - 0.75)
    return agreement, (random.random(items) < chance).astype(float), gold


def test_without_an_effect_the_band_covers_and_p_is_seldom_small():
    """Classes differ in agreement and accuracy, which alone must not count as an effect of agreement."""
    inside, small = [], []
    for seed in range(200):
        agreement, correct, gold = simulated(0.0, seed)
        band = null_band(agreement, correct, gold, 300, seed)
        accuracy = threshold_curve(agreement, correct)["accuracy"].to_numpy()
        inside.append((accuracy[-1] >= band.low[-1] - 1e-9) and (accuracy[-1] <= band.high[-1] + 1e-9))
        small.append(band.p < 0.05)
    assert 0.90 <= np.mean(inside) <= 0.99
    assert np.mean(small) <= 0.10


def test_with_an_effect_the_curve_leaves_the_band_and_p_is_small():
    outside, small = [], []
    for seed in range(60):
        agreement, correct, gold = simulated(0.6, seed)
        band = null_band(agreement, correct, gold, 300, seed)
        outside.append(threshold_curve(agreement, correct)["accuracy"].iloc[-1] > band.high[-1])
        small.append(band.p < 0.05)
    assert np.mean(outside) > 0.8
    assert np.mean(small) > 0.8


def test_the_band_closes_where_every_item_counts_and_is_the_same_for_a_seed():
    agreement, correct, gold = simulated(0.3, 0)
    one, other = (null_band(agreement, correct, gold, 200, 5) for _ in range(2))
    np.testing.assert_array_equal(one.low, other.low)
    assert one.low[0] == pytest.approx(100 * correct.mean())
    assert one.high[0] == pytest.approx(100 * correct.mean())
    assert one.p == other.p


def test_reassignment_within_classes_keeps_a_class_effect_out():
    """Being right depends on the class alone; across classes agreement would seem to matter."""
    gold = np.array(["a"] * 100 + ["b"] * 100)
    agreement = np.where(gold == "a", 1.0, 0.6)
    correct = (gold == "a").astype(float)
    assert null_band(agreement, correct, gold, 200, 0).p == 1.0


def test_the_height_above_chance_is_the_mean_over_the_range_of_agreement_weighted_by_the_items_left():
    agreement, correct, gold = simulated(0.3, 4)
    band, curve = null_band(agreement, correct, gold, 100, 0), threshold_curve(agreement, correct)
    weights = curve["items"].to_numpy()[1:] * np.diff(curve["threshold"])
    above = curve["accuracy"].to_numpy() - band.expected
    assert above[0] == pytest.approx(0)
    assert band.above == pytest.approx(np.average(above[1:], weights=weights))
    reassigned = np.random.default_rng(1)
    curves = []
    for _ in range(3000):
        moved = agreement.copy()
        for label in ("a", "b"):
            moved[gold == label] = reassigned.permutation(moved[gold == label])
        curves.append(threshold_curve(moved, correct)["accuracy"].to_numpy())
    np.testing.assert_allclose(band.expected, np.mean(curves, axis=0), atol=0.3)


def test_a_curve_that_falls_for_its_mix_of_classes_runs_above_chance_and_its_p_says_so():
    """The harder class is agreed on more; within either class agreement helps."""
    random = np.random.default_rng(0)
    gold = np.repeat(["easy", "hard"], 400)
    agreement = np.concatenate([random.choice([0.5, 0.6, 0.8], 400), random.choice([0.6, 0.8, 1.0], 400)])
    chance = np.where(gold == "easy", 0.85, 0.35) + 0.4 * (agreement - 0.7)
    items = predicted(agreement, {"real": random.random(800) < chance}, gold)
    curves, fits = curves_and_fits([items], 500)
    (fit,) = fits.to_dict("records")
    assert fit["slope"] < 0 < fit["above_chance"]
    assert fit["rho"] < 0
    assert fit["p_holm"] < 0.05
    assert (curves["above_chance"][1:] > 0).all()
    assert agreement_models([items])["effect"].item() > 0


@pytest.mark.parametrize("seed", range(20))
def test_height_above_chance_and_effect_have_one_sign(seed):
    items = predicted(*_effect(seed, effect=0.05))
    height, effect = curves_and_fits([items], 100)[1]["above_chance"], agreement_models([items])["effect"]
    assert np.sign(height.item()) == np.sign(effect.item())


def test_holm_is_over_the_tasks_of_a_kind_of_source():
    one = predicted(*_effect(0))
    other = predicted(*_effect(1), source="simulated: panel of 7 personas")
    _, fits = curves_and_fits([one, one, other], 500)
    human = fits[fits["source"].str.startswith("human")]
    assert (human["p_holm"] >= human["p"]).all()
    assert human["p_holm"].iloc[0] == pytest.approx(min(1, 2 * human["p"].iloc[0]))
    alone = fits[~fits["source"].str.startswith("human")]
    assert (alone["p_holm"] == alone["p"]).all()


def _effect(seed: int, effect: float = 0.3):
    agreement, correct, gold = simulated(effect, seed)
    return agreement, {"real": correct}, gold


# -------------------------------------------------------------------------------------------------------------- model


def three_corpora(seed: int, real: float, zero_shot: float, items: int = 600) -> PredictedItems:
    """Being right depends on agreement by `real` logits for 0.1, and by `zero_shot` more in zero_shot."""
    random = np.random.default_rng(seed)
    agreement = random.choice([0.5, 0.6, 0.8, 1.0], items)
    gold = random.choice(np.array(["a", "b"]), items)
    step = (agreement - agreement.mean()) / 0.1

    def right(slope: float) -> np.ndarray:
        chance = 1 / (1 + np.exp(-(0.5 + 0.4 * (gold == "a") + slope * step)))
        return (random.random(items) < chance).astype(float)

    return predicted(agreement, {"real": right(real), "zero_shot": right(real + zero_shot)}, gold)


def test_the_model_finds_what_was_put_in():
    table = agreement_models([three_corpora(0, 0.2, 0.3, 4000)]).set_index("term")
    assert np.log(table.loc["agreement", "odds_ratio"]) == pytest.approx(0.2, abs=0.06)
    assert np.log(table.loc["zero_shot x agreement", "odds_ratio"]) == pytest.approx(0.3, abs=0.08)
    assert (table["p"] < 0.001).all()


def test_easier_for_everyone_is_no_interaction():
    tables = [agreement_models([three_corpora(seed, 0.3, 0.0, 400)]).set_index("term") for seed in range(30)]
    assert np.mean([table.loc["agreement", "p"] < 0.05 for table in tables]) > 0.9
    assert np.mean([table.loc["zero_shot x agreement", "p"] < 0.05 for table in tables]) <= 0.15


def test_the_model_is_statsmodels_logit_with_clusters():
    one = three_corpora(3, 0.2, 0.2)
    step = np.tile((one.agreement - one.agreement.mean()) / 0.1, 2)
    zero = np.repeat([0.0, 1.0], len(one.ids))
    is_b = np.tile((one.gold == "b").astype(float), 2)
    design = np.column_stack([step, zero * step, np.ones(len(step)), zero, is_b, zero * is_b])
    right = np.concatenate([one.correct["real"], one.correct["zero_shot"]])
    fitted = sm.Logit(right, design).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": np.tile(np.arange(len(one.ids)), 2)}
    )
    table = agreement_models([one]).set_index("term")
    for place, term in enumerate(("agreement", "zero_shot x agreement")):
        assert table.loc[term, "odds_ratio"] == pytest.approx(np.exp(fitted.params[place]), rel=1e-6)
        assert table.loc[term, "p"] == pytest.approx(fitted.pvalues[place], rel=0.02, abs=1e-12)


def test_the_effect_in_points_is_a_linear_model_with_robust_errors_and_near_the_average_marginal_effect():
    one = three_corpora(3, 0.2, 0.2, 2000)
    table = agreement_models([one]).set_index("term")
    step, is_b = (one.agreement - one.agreement.mean()) / 0.1, (one.gold == "b").astype(float)
    design = np.column_stack([step, np.ones(len(step)), is_b])
    for corpus, term, right in (
        ("real", "agreement", one.correct["real"]),
        ("zero_shot", "zero_shot x agreement", one.correct["zero_shot"] - one.correct["real"]),
    ):
        linear = sm.OLS(right, design).fit(cov_type="HC1", use_t=False)
        row = table.loc[term]
        assert row["effect"] == pytest.approx(100 * linear.params[0])
        assert [row["effect_low"], row["effect_high"]] == pytest.approx(100 * linear.conf_int()[0])
        assert row["effect_p"] == pytest.approx(linear.pvalues[0], abs=1e-12)
        logistic = sm.Logit(one.correct[corpus], design).fit(disp=0)
        marginal = 100 * logistic.get_margeff().margeff[0]
        total = row["effect"] + (0 if corpus == "real" else table.loc["agreement", "effect"])
        assert total == pytest.approx(marginal, rel=0.1)


def with_runs(one: PredictedItems, recordings, slopes, seed: int) -> PredictedItems:
    """Every corpus in several runs, whose accuracy rises with agreement by so many shares more per unit in each."""
    random, step = np.random.default_rng(100 + seed), one.agreement - one.agreement.mean()
    chance = random.choice([0.4, 0.8], len(step)) + (0.3 + np.asarray(slopes))[:, None] * step
    right = {corpus: (random.random(chance.shape) < chance).astype(float) for corpus in one.right}
    return dataclasses.replace(one, right=right, recordings={"zero_shot": np.asarray(recordings)})


def test_the_interval_holds_items_and_runs():
    """With slopes of runs as in a mean of six numbers, and items as in a linear model of their mean."""
    one = with_runs(three_corpora(0, 0, 0, 500), [1] * 6, [0.5, -0.5, 0.4, -0.4, 0.3, -0.3], 0)
    step, is_b = (one.agreement - one.agreement.mean()) / 0.1, (one.gold == "b").astype(float)
    design = np.column_stack([step, np.ones(len(step)), is_b])
    own = [100 * sm.OLS(run, design).fit().params[0] for run in one.right["real"]]
    items = sm.OLS(one.correct["real"], design).fit(cov_type="HC1")
    # the mean of six runs varies item by item, which the runs' own variance holds already
    pull = np.linalg.inv(design.T @ design)[0] @ design.T
    noise = (pull**2 * np.var(one.right["real"], axis=0, ddof=1) / 6).sum() * 500 / 497
    parts = [Part(float(1e4 * (items.bse[0] ** 2 - noise))), Part(float(np.var(own, ddof=1)) / 6, 5)]
    row = agreement_models([one]).set_index("term").loc["agreement"]
    assert row["effect"] == pytest.approx(np.mean(own))
    assert (row["effect_low"], row["effect_high"]) == pytest.approx(interval(np.mean(own), parts))
    assert row["effect_p"] == pytest.approx(p_value(np.mean(own), parts))
    alike = with_runs(one, [1] * 6, np.zeros(6), 0)
    narrower = agreement_models([alike]).set_index("term").loc["agreement"]
    for low, high in (("effect_low", "effect_high"), ("low", "high")):
        assert row[high] - row[low] > 1.5 * (narrower[high] - narrower[low])


def test_recordings_that_differ_widen_what_is_said_of_new_ones():
    slopes = [0.5, 0.5, -0.5, -0.5, 0, 0]
    several, none = (
        with_runs(three_corpora(0, 0, 0, 500), which, slopes, 1) for which in ([1, 1, 2, 2, 3, 3], [1] * 6)
    )
    wide, narrow = (agreement_models([one]).set_index("term") for one in (several, none))
    assert wide["recordings"].tolist() == [1, 3]
    assert narrow["recordings"].tolist() == [1, 1]
    term = "zero_shot x agreement"
    assert wide.loc[term, "effect"] == narrow.loc[term, "effect"]
    assert wide.loc[term, "effect_low"] < narrow.loc[term, "effect_low"]
    assert wide.loc[term, "effect_high"] > narrow.loc[term, "effect_high"]
    pd.testing.assert_series_equal(wide.loc["agreement"].iloc[:8], narrow.loc["agreement"].iloc[:8])


@pytest.mark.parametrize(
    ("agreement", "correct", "note"),
    [
        ([0.5, 1.0] * 5, [0, 1] * 5, "fewer than 20 items"),
        ([1.0] * 30, [0, 1] * 15, "all items have the same agreement"),
        ([0.5, 1.0] * 15, [1] * 30, "a classifier is right, or wrong, on every item"),
        ([0.5, 1.0] * 15, [0, 1] * 15, "separable"),
    ],
)
def test_a_model_that_cannot_be_fitted_says_why(agreement, correct, note):
    table = agreement_models([predicted(agreement, {"real": correct, "few_shot": correct})])
    assert table["odds_ratio"].isna().all()
    assert table["note"].str.contains(note).all()


def test_items_count_once_a_seed():
    """Three runs alike are the model of one, with every item counted three times."""
    one = three_corpora(1, 0.2, 0.2, 100)
    thrice = dataclasses.replace(one, right={corpus: np.repeat(runs, 3, axis=0) for corpus, runs in one.right.items()})
    alone, together = (agreement_models([items]) for items in (one, thrice))
    np.testing.assert_allclose(alone["odds_ratio"], together["odds_ratio"], rtol=1e-6)


def test_corpora_may_have_any_names_and_the_first_is_the_reference():
    one = three_corpora(0, 0.2, 0.3, 400)
    other = np.random.default_rng(5).integers(0, 2, (1, 400)).astype(float)
    right = {"gpt4": one.right["real"], "mine": one.right["zero_shot"], "real": other}
    table = agreement_models([dataclasses.replace(one, right=right)])
    assert table["term"].tolist() == ["agreement", "mine x agreement", "real x agreement"]
    expected = agreement_models([one])
    np.testing.assert_allclose(table["odds_ratio"][:2], expected["odds_ratio"], rtol=1e-6)
    assert table["odds_ratio"][2] < 1  # of random answers none depends on agreement
    alone = agreement_models([dataclasses.replace(one, right={"gpt4": one.right["real"]})])
    assert alone["term"].tolist() == ["agreement"]
    assert alone["odds_ratio"].notna().all()


# --------------------------------------------------------------------------------------------------------------- runs


def outcome(ids, *runs: str, task: str = "humor") -> Predictions:
    """What runs on the corpus real predicted, a string of labels for each seed."""
    places = np.array([["ab".index(label) for label in run] for run in runs])
    return Predictions(task, "probe", ("a", "b"), np.array(ids), np.full(len(ids), -1), {"real": places}, {"real": 10})


def test_items_that_no_run_predicted_are_counted():
    items = pd.DataFrame({"agreement": [1.0, 0.5, 0.7], "gold": ["b", "a", "a"]}, index=["i2", "i1", "unseen"])
    table = item_table([Source("humor", "human: x", True, items)])
    runs = outcome(["i1", "i2", "other"], "aaa", "aba")
    (one,) = match_predictions(table, {"test": [runs, outcome(["i1"], "a", task="imdb")], "annotated": []})
    assert one.ids.tolist() == ["i1", "i2"]
    assert one.correct["real"].tolist() == [1.0, 0.5]
    assert one.agreement.tolist() == [0.5, 1.0]
    assert one.not_predicted == 1
    assert one.recording_of("real").tolist() == [1, 1]


def test_runs_keep_the_recording_that_they_were_trained_on():
    items = item_table(
        [Source("humor", "human: x", True, pd.DataFrame({"agreement": [1.0], "gold": "a"}, index=["i1"]))]
    )
    runs = dataclasses.replace(outcome(["i1"], "a", "b", "a"), recordings={"real": np.array([1, 1, 2])})
    (one,) = match_predictions(items, {"test": [runs], "annotated": []})
    assert one.recording_of("real").tolist() == [1, 1, 2]


def test_a_source_whose_items_were_never_predicted_is_left_out():
    items = pd.DataFrame({"agreement": [1.0], "gold": ["a"]}, index=["x"])
    runs = {"test": [outcome(["i1"], "a")], "annotated": []}
    for own in (True, False):
        assert match_predictions(item_table([Source("humor", "human: x", own, items)]), runs) == []
    assert match_predictions(item_table([]), runs) == []


def test_texts_of_another_set_are_looked_up_among_the_annotated_ones():
    items = pd.DataFrame({"agreement": [1.0], "gold": ["b"]}, index=["i1"])
    runs = {"test": [outcome(["i1"], "b")], "annotated": [outcome(["i1"], "a")]}
    (one,) = match_predictions(item_table([Source("humor", "human: x", False, items)]), runs)
    assert one.correct["real"].tolist() == [0.0]
