"""Variance components and the intervals made of them: known answers, other implementations, and how often they hold."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from synthgap.evaluation.inference import (
    Part,
    interval,
    moderated,
    over_tasks,
    p_value,
    recording_means,
    shared_part,
    total,
    training_spreads,
)

# limma's squeezeVar, as inmoose 0.9 ports it to Python, on ten variances of 5 degrees of freedom each
VARIANCES = [0.8, 1.9, 0.35, 4.2, 2.4, 0.6, 1.1, 0.9, 3.3, 1.6]
LIMMA = [1.3789119, 1.62628674, 1.2777131, 2.14352503, 1.73872984]
LIMMA += [1.33393466, 1.44637776, 1.40140052, 1.94112743, 1.55882087]
LIMMA_PRIOR_DF = 17.23346607933893


# -------------------------------------------------------------------------------------------------------------- parts


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=8), st.lists(st.floats(-5, 5), min_size=3, max_size=8))
def test_the_difference_of_two_means_is_welchs(first, second):
    first, second = np.array(first) + np.arange(len(first)), np.array(second) - 2 * np.arange(len(second))
    expected = stats.ttest_ind(first, second, equal_var=False)
    parts = [Part(float(np.var(each, ddof=1)) / len(each), len(each) - 1) for each in (first, second)]
    gap = first.mean() - second.mean()
    assert total(parts).df == pytest.approx(expected.df)
    assert interval(gap, parts) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert p_value(gap, parts) == pytest.approx(expected.pvalue, abs=1e-9)


def test_a_known_variance_gives_the_normal_interval():
    assert interval(10, [Part(4.0)]) == pytest.approx((10 - 1.959964 * 2, 10 + 1.959964 * 2), abs=1e-4)
    assert interval(10, []) == (10, 10)
    assert (p_value(0, []), p_value(1, [])) == (1, 0)


def test_a_mean_over_tasks_is_the_one_sample_t():
    gaps = np.array([-3.0, -8.5, -1.0, -12.0, 2.0])
    expected = stats.ttest_1samp(gaps, 0)
    assert interval(gaps.mean(), over_tasks(gaps)) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert p_value(gaps.mean(), over_tasks(gaps)) == pytest.approx(expected.pvalue)


# --------------------------------------------------------------------------------------------------------- moderation


def test_moderated_variances_are_limmas():
    found = moderated([Part(variance, 5) for variance in VARIANCES])
    assert [part.variance for part in found] == pytest.approx(LIMMA, rel=1e-6)
    assert [part.df for part in found] == pytest.approx([5 + LIMMA_PRIOR_DF] * 10)


def test_variances_that_are_as_alike_as_chance_makes_them_become_one():
    found = moderated([Part(variance, 2) for variance in VARIANCES])
    assert [part.variance for part in found] == pytest.approx([np.mean(VARIANCES)] * 10)
    assert {part.df for part in found} == {20}, "no more than all of them have together"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([Part(2.0, 3)], [Part(2.0, 3)]),
        ([Part(0.0, 3), Part(2.0, 3), Part(0.0, 3)], [Part(0.0, 3), Part(2.0, 3), Part(0.0, 3)]),
        ([Part(0.0, 3), Part(2.0, 3), Part(2.0, 3)], [Part(0.0, 3), Part(2.0, 6), Part(2.0, 6)]),
        ([Part(np.nan, 0), Part(2.0, 3), Part(2.0, 3)], [Part(2.0, 6)] * 3),
    ],
)
def test_zeros_fit_nothing_and_what_is_unknown_gets_the_others(given, expected):
    np.testing.assert_allclose(moderated(given), expected)


# --------------------------------------------------------------------------------------------------------- recordings


def test_what_recordings_share_is_from_the_mean_squares_of_a_two_way_layout():
    means = np.random.default_rng(3).normal(size=(5, 3)) + np.array([0, 2, 5]) + 10 * np.arange(5)[:, None]
    rows = [(task, recording, means[task, recording]) for task in range(5) for recording in range(3)]
    table = pd.DataFrame(rows, columns=["task", "recording", "score"])
    expected = anova_lm(ols("score ~ C(task) + C(recording)", table).fit())["mean_sq"]
    between, rest = shared_part(means)
    assert between.variance == pytest.approx(expected["C(recording)"] / 15)
    assert rest.variance == pytest.approx(-expected["Residual"] / 15)
    assert (between.df, rest.df) == (2, 8)
    alike = np.arange(5)[:, None] + np.array([[0.1, -0.1], [-0.1, 0.1], [0.1, -0.1], [-0.1, 0.1], [0.0, 0.0]])
    assert shared_part(alike) == [], "what they share is not below 0"


def test_a_corpus_with_one_recording_says_nothing_of_another():
    scores = [np.array([70.0, 72.0, 71.0]), np.array([80.0, 83.0, 81.0])]
    assert all(spread.new is None for spread in training_spreads(scores, [np.ones(3, int)] * 2))


def test_one_run_of_each_task_has_no_spread_of_its_own():
    alone = training_spreads([np.array([70.0]), np.array([80.0])], [np.ones(1, int)] * 2)
    assert [spread.these for spread in alone] == [[], []]


def test_recordings_are_compared_where_all_tasks_have_the_same():
    scores, numbers = [np.array([1.0, 3.0, 5.0, 7.0])] * 2, [np.array([1, 1, 2, 2])] * 2
    assert recording_means(scores, numbers).tolist() == [[2, 6], [2, 6]]
    assert recording_means(scores, [numbers[0], np.array([1, 1, 3, 3])]) is None


@pytest.mark.parametrize("shared", [0.0, 1.6])
def test_intervals_hold_the_truth_about_as_often_as_they_say(shared):
    """Ten tasks, three recordings of two runs each, six runs on real texts; benchmarks/coverage.py measures closely."""
    random, held = np.random.default_rng(5), {"gap": [], "new gap": [], "over tasks": []}
    numbers = [np.repeat([1, 2, 3], 2)] * 10
    for _ in range(150):
        truth, items = -5 + random.normal(0, 5, 10), random.normal(0, 1.5, 10)
        common, own = random.normal(0, shared, 3), random.normal(0, 1.5, (10, 3))
        effects = np.repeat(common + own, 2, axis=1)
        scores = list(70 + (truth + items)[:, None] + effects + random.normal(0, 2, (10, 6)))
        real = list(70 + random.normal(0, 2, (10, 6)))
        spreads, of_real = training_spreads(scores, numbers), training_spreads(real, [np.ones(6, int)] * 10)
        gaps = np.array([one.mean() - other.mean() for one, other in zip(scores, real, strict=True)])
        for task in range(10):
            parts = [Part(1.5**2), *of_real[task].these]
            low, high = interval(gaps[task], [*parts, *spreads[task].these])
            held["gap"].append(low <= truth[task] + (common + own[task]).mean() <= high)
            low, high = interval(gaps[task], [*parts, *spreads[task].new])
            held["new gap"].append(low <= truth[task] <= high)
        low, high = interval(gaps.mean(), over_tasks(gaps, [recording_means(scores, numbers)]))
        held["over tasks"].append(low <= -5 <= high)
    assert {name: 0.90 <= np.mean(each) <= 0.995 for name, each in held.items()} == dict.fromkeys(held, True)
