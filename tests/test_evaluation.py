import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from statsmodels.stats.multitest import multipletests

from synthgap.core.errors import SynthgapError
from synthgap.core.paths import bundled
from synthgap.evaluation.gaps import (
    corpus_pairs,
    evaluate,
    gap_by_subjectivity,
    gaps_to_reference,
    holm_corrected,
    paired_p_values,
    power_note,
    rank_correlation,
)
from synthgap.evaluation.scores import bootstrap, confusion, score_confusions, score_runs
from synthgap.evaluation.table_1 import published_table
from synthgap.training.predictions import Predictions, load_predictions

LABELS = ("a", "b", "c")


def predictions(truth: np.ndarray, predicted: dict[str, np.ndarray], task: str = "humor") -> Predictions:
    ids = np.array([f"t{number}" for number in range(len(truth))])
    return Predictions(task, "probe", LABELS, ids, truth, predicted, dict.fromkeys(predicted, 10))


def simulated(accuracies: dict[str, list[float]], items: int = 300, seed: int = 0, task: str = "humor") -> Predictions:
    """Random truth; each seed of a corpus is right with the given chance."""
    random = np.random.default_rng(seed)
    truth = random.integers(3, size=items)
    predicted = {
        corpus: np.stack(
            [np.where(random.random(items) < one, truth, random.integers(3, size=items)) for one in chances]
        )
        for corpus, chances in accuracies.items()
    }
    return predictions(truth, predicted, task)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_scores_are_scikit_learns_whatever_is_predicted(pairs):
    truth, predicted = np.array(pairs).T
    counts = confusion(truth, predicted, 3)
    assert counts.tolist() == confusion_matrix(truth, predicted, labels=[0, 1, 2]).tolist()
    found = score_confusions(counts)
    expected = 100 * f1_score(truth, predicted, labels=[0, 1, 2], average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(expected)
    assert found["accuracy"] == pytest.approx(100 * accuracy_score(truth, predicted))


def test_a_hand_computed_confusion_matrix():
    found = score_confusions(np.array([[3, 1], [2, 4]]))
    assert found["accuracy"] == pytest.approx(70)
    assert found["macro_f1"] == pytest.approx(100 * (6 / 9 + 8 / 11) / 2)


def test_the_bootstrap_is_the_plain_one_done_at_once():
    """Against a loop that draws items and seeds one resample at a time."""
    one = simulated({"real": [0.8, 0.6, 0.7], "zero_shot": [0.5, 0.5, 0.6]})
    fast = bootstrap(one, 4000, seed=1)
    random = np.random.default_rng(2)
    plain = {corpus: [] for corpus in one.predicted}
    for _ in range(400):
        items = random.integers(len(one.truth), size=len(one.truth))
        for corpus, runs in one.predicted.items():
            chosen = runs[random.integers(len(runs), size=len(runs))]
            plain[corpus].append(
                np.mean([100 * f1_score(one.truth[items], run[items], average="macro") for run in chosen])
            )
    for corpus, values in plain.items():
        runs = fast[corpus]["macro_f1"]  # of all resamples, from which seeds are drawn
        draws = np.take_along_axis(runs, random.integers(runs.shape[1], size=runs.shape), axis=1).mean(axis=1)
        assert draws.mean() == pytest.approx(np.mean(values), abs=0.5)
        assert draws.std() == pytest.approx(np.std(values), rel=0.1)
        assert np.percentile(draws, [2.5, 97.5]) == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=1.2)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """Truth: accuracy 0.7 + 0.3 / 3 = 80 %."""
    covered = 0
    for seed in range(200):
        low, high = np.percentile(
            bootstrap(simulated({"real": [0.7]}, 200, seed), 400, seed)["real"]["accuracy"], [2.5, 97.5]
        )
        covered += low <= 80 <= high
    assert 180 <= covered <= 199


def test_differences_are_paired_on_the_items():
    one = simulated({"real": [0.7]})
    same = predictions(one.truth, {**one.predicted, "zero_shot": one.predicted["real"]})
    draws = bootstrap(same, 500, 0)
    assert (draws["real"]["macro_f1"] == draws["zero_shot"]["macro_f1"]).all()
    assert draws["real"]["macro_f1"].std() > 1


def test_a_seed_gives_the_same_numbers_again():
    one = simulated({"real": [0.8, 0.7], "zero_shot": [0.6, 0.5]})
    first, second = evaluate([one], 300, 500, 7), evaluate([one], 300, 500, 7)
    assert first.table.equals(second.table)
    assert first.gaps.equals(second.gaps)


# ------------------------------------------------------------------------------------------------------ tests


def test_p_values_are_exact_where_they_can_be_counted():
    """Ten items differ, all in favour of one corpus: 2 of the 2^10 exchanges are as large."""
    truth = np.array([0, 1, 2] * 20)
    worse = truth.copy()
    worse[:10] = (worse[:10] + 1) % 3
    one = predictions(truth, {"real": truth[None], "zero_shot": worse[None]})
    p = paired_p_values(one, "zero_shot", "real", 20000, 0)["accuracy"]
    assert p == pytest.approx(2 / 1024, rel=0.5)
    assert p > 0


def test_p_values_without_an_effect_are_even():
    values = [
        paired_p_values(simulated({"real": [0.6], "zero_shot": [0.6]}, 150, seed), "zero_shot", "real", 300, seed)[
            "macro_f1"
        ]
        for seed in range(150)
    ]
    assert 0.4 < np.mean(values) < 0.6
    assert 0.01 <= np.mean(np.array(values) < 0.05) <= 0.1


def test_p_values_find_an_effect_and_no_difference_is_no_effect():
    one = simulated({"real": [0.9, 0.9], "zero_shot": [0.4, 0.4]})
    assert paired_p_values(one, "zero_shot", "real", 999, 0)["macro_f1"] == pytest.approx(1 / 1000)
    same = predictions(one.truth, {"real": one.predicted["real"], "few_shot": one.predicted["real"]})
    assert paired_p_values(same, "few_shot", "real", 999, 0) == {"macro_f1": 1.0, "accuracy": 1.0}


def test_unequal_numbers_of_seeds_are_refused():
    with pytest.raises(SynthgapError, match="different numbers of seeds"):
        paired_p_values(simulated({"real": [0.5], "zero_shot": [0.5, 0.5]}), "zero_shot", "real", 100, 0)


def test_holm_by_hand():
    several = [
        simulated({"real": [0.9], "zero_shot": [chance]}, task=task) for task, chance in (("humor", 0.1), ("imdb", 0.9))
    ]
    gaps = evaluate(several, 100, 999, 0).gaps.query("metric == 'accuracy'").set_index("task")
    small, large = gaps.loc["humor", "p"], gaps.loc["imdb", "p"]
    assert gaps.loc["humor", "p_holm"] == pytest.approx(2 * small)
    assert gaps.loc["imdb", "p_holm"] == pytest.approx(max(2 * small, large))


def test_holm_is_statsmodels():
    random = np.random.default_rng(0)
    p = random.choice([0.001, 0.01, 0.04, 0.2, 0.9, np.nan], 60)
    tests = pd.DataFrame({"corpus": random.integers(0, 3, 60), "p": p})
    corrected = holm_corrected(tests, ["corpus"])
    assert corrected["p_holm"].isna().equals(tests["p"].isna())
    for _, rows in corrected.dropna().groupby("corpus"):
        np.testing.assert_allclose(rows["p_holm"], multipletests(rows["p"], method="holm")[1], rtol=1e-12)


# ------------------------------------------------------------------------------------------------------ tables


def test_the_table_has_the_columns_of_the_design():
    table = evaluate([simulated({"real": [0.8, 0.7], "zero_shot": [0.6, 0.5]})], 200, 200).table
    assert table.columns.tolist() == [
        *("task", "classifier", "corpus", "n_train", "n_test", "seeds", "recordings"),
        *("macro_f1", "macro_f1_sd", "macro_f1_low", "macro_f1_high", "macro_f1_new_low", "macro_f1_new_high"),
        *("accuracy", "accuracy_sd", "accuracy_low", "accuracy_high", "accuracy_new_low", "accuracy_new_high"),
    ]
    row = table.iloc[0]
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]


def test_the_table_is_mean_and_deviation_over_seeds():
    one = simulated({"real": [0.9, 0.7, 0.5]})
    row = evaluate([one], 200, 200).table.iloc[0]
    per_seed = [100 * f1_score(one.truth, run, average="macro") for run in one.predicted["real"]]
    assert score_runs(one, "real")["macro_f1"].tolist() == pytest.approx(per_seed)
    assert row["macro_f1"] == pytest.approx(np.mean(per_seed))
    assert row["macro_f1_sd"] == pytest.approx(np.std(per_seed, ddof=1))
    assert evaluate([simulated({"real": [0.5]})], 200, 200).table["macro_f1_sd"].isna().all()


def test_gaps_are_differences_of_the_table():
    result = evaluate([simulated({"real": [0.8], "zero_shot": [0.6], "few_shot": [0.7]})], 200, 200)
    scores = result.table.set_index("corpus")["macro_f1"]
    for _, row in result.gaps.query("metric == 'macro_f1'").iterrows():
        assert row["gap"] == pytest.approx(scores[row["corpus"]] - scores[row["baseline"]])
        assert row["low"] < row["gap"] < row["high"]
    assert len(result.gaps) == 6


def test_several_recordings_speak_of_new_ones_too():
    one = simulated({"real": [0.8, 0.8, 0.8], "zero_shot": [0.7, 0.7, 0.5, 0.5], "few_shot": [0.6, 0.6, 0.6]})
    several = dataclasses.replace(one, recordings={"zero_shot": np.array([1, 1, 2, 2])})
    other = dataclasses.replace(several, task="imdb")
    found = evaluate([several, other], 300, 200)
    table = found.table.query("task == 'humor'").set_index("corpus")
    assert table["recordings"].to_dict() == {"real": 1, "zero_shot": 2, "few_shot": 1}
    assert table["macro_f1_new_low"].notna().to_dict() == {"real": False, "zero_shot": True, "few_shot": False}
    gaps = found.gaps.query("task == 'humor' and metric == 'macro_f1'").set_index(["corpus", "baseline"])
    assert gaps["new_p"].notna().tolist() == [True, False, True]
    assert gaps["p_conditional"].notna().tolist() == [False, True, False], "4 runs are no fellows of 3"
    unlike = gaps.loc[("zero_shot", "real")]
    assert unlike["new_low"] < unlike["low"] < unlike["gap"] < unlike["high"] < unlike["new_high"]
    means = found.over_tasks.query("metric == 'macro_f1'").set_index(["corpus", "baseline"])
    assert means["gap"].to_dict() == pytest.approx(gaps["gap"].to_dict())
    assert means["recordings"].tolist() == [2, 1, 2]


def test_one_family_of_tests_is_corrected_together():
    chances = {"real": [0.8, 0.8], "zero_shot": [0.7, 0.75], "few_shot": [0.8, 0.75]}
    gaps = evaluate([simulated(chances, 200, n, name) for n, name in enumerate(("humor", "imdb"))], 200, 200).gaps
    for metric, rows in gaps.groupby("metric"):
        assert rows["p_holm"].tolist() == pytest.approx(multipletests(rows["p"], method="holm")[1]), metric


def test_gaps_are_to_the_reference_first_and_then_among_the_others():
    paper = [("zero_shot", "real"), ("few_shot", "real"), ("few_shot", "zero_shot")]
    assert corpus_pairs(["real", "zero_shot", "few_shot"]) == paper
    assert corpus_pairs(["real"]) == []
    chances = {"personas": [0.7], "real": [0.9], "gpt4": [0.6], "claude": [0.8]}
    gaps = evaluate([simulated(chances)], 100, 100).gaps
    pairs = list(dict.fromkeys(zip(gaps["corpus"], gaps["baseline"], strict=True)))
    to_reference = [("real", "personas"), ("gpt4", "personas"), ("claude", "personas")]
    assert pairs == [*to_reference, ("gpt4", "real"), ("claude", "real"), ("claude", "gpt4")]
    chosen = gaps_to_reference(gaps)
    assert chosen["corpus"].tolist() == ["real", "gpt4", "claude"]
    assert set(chosen["metric"]) == {"macro_f1"}


def test_a_comparison_of_one_corpus_has_scores_and_no_gaps():
    result = evaluate([simulated({"real": [0.8, 0.7]})], 100, 100)
    assert len(result.table) == 1
    assert result.gaps.empty
    assert gaps_to_reference(result.gaps).empty
    assert gap_by_subjectivity(result.gaps, ["humor"]).empty


# -------------------------------------------------------------------------------------------- rank correlation


@given(st.lists(st.integers(0, 50), min_size=5, max_size=12, unique=True), st.randoms())
def test_rho_is_scipys(values, random):
    x, y = np.array(values, float), np.array(random.sample(values, len(values)), float)
    found = rank_correlation(x, y, permutations=200)
    assert found.rho == pytest.approx(spearmanr(x, y).statistic)
    assert found.low <= found.rho <= found.high
    assert 0 < found.p <= 1


def test_ten_points_by_hand():
    """rho = 1 - 6 * 8 / 990; interval of Bonett and Wright by hand; critical value of the tables: 0.648."""
    x = np.arange(10.0)
    y = np.array([1, 0, 3, 2, 5, 4, 7, 6, 8, 9.0])
    found = rank_correlation(x, y)
    rho = 1 - 6 * 8 / 990
    assert found.rho == pytest.approx(rho)
    half = 1.959964 * np.sqrt((1 + rho**2 / 2) / 7)
    assert (found.low, found.high) == pytest.approx((np.tanh(np.arctanh(rho) - half), np.tanh(np.arctanh(rho) + half)))
    assert found.detectable == pytest.approx(0.648, abs=0.02)
    assert found.p < 0.001


@pytest.mark.parametrize(("n", "least"), [(4, np.inf), (5, 1.0), (6, 0.886), (7, 0.786), (8, 0.738)])
def test_the_least_rho_that_few_points_tell_is_that_of_the_tables(n, least):
    """Critical values at 5 %, two-sided (Zar 1984, table B.20); of 4 points even 1 has p = 2 / 24."""
    random = np.random.default_rng(n)
    found = rank_correlation(np.arange(n), random.permutation(n))
    assert found.detectable == pytest.approx(least, abs=0.002 if n < 7 else 0.03)


def test_four_tasks_tell_no_rank_correlation():
    found = pd.DataFrame([dataclasses.asdict(rank_correlation(np.arange(4), np.array([1, 0, 2, 3])))])
    assert "4 tasks can tell a rank correlation from 0 at no size" in power_note(found)


def test_a_correlation_that_is_undefined_is_refused():
    for x, y in ((np.arange(3.0), np.arange(3.0)), (np.ones(5), np.arange(5.0))):
        with pytest.raises(SynthgapError, match="at least 4 points"):
            rank_correlation(x, y)


def test_the_gap_is_correlated_by_classifier_and_corpus():
    names = ["ag_news", "relation", "imdb", "sms_spam", "humor"]
    several = [
        simulated({"real": [0.95], "zero_shot": [0.9 - 0.15 * place]}, 900, place, name)
        for place, name in enumerate(names)
    ]
    gaps = evaluate(several, 100, 100).gaps
    found = gap_by_subjectivity(gaps, names)
    assert found[["classifier", "corpus", "n"]].to_numpy().tolist() == [["probe", "zero_shot", 5]]
    assert found["rho"].iloc[0] == pytest.approx(-1)
    assert "5 tasks can tell" in power_note(found)
    few = gap_by_subjectivity(gaps, names[:3])
    assert few.empty
    assert "at least 4" in power_note(few)


# ------------------------------------------------------------------------------------------------------ files


def test_predictions_are_the_runs_on_disk(smoke):
    several = load_predictions(smoke / "runs")
    assert [one.task for one in several] == ["ag_news", "sms_spam", "tweet_irony", "humor"]
    for one in several:
        assert set(one.predicted) == {"real", "zero_shot", "few_shot"}
        assert all(runs.shape == (2, len(one.truth)) for runs in one.predicted.values())


def test_the_published_figures_are_there_and_called_unverified():
    table = published_table()
    assert table.columns.tolist() == ["task", "order", "encoder", "corpus", "macro_f1", "accuracy"]
    assert table["macro_f1"].isna().sum() == 1
    assert "unverified" in bundled("reference", "README.md").read_text().lower()
