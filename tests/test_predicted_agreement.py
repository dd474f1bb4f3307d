"""Estimates against people's agreement: what perfect and what random estimates give, and lift by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_accuracy_by_agreement import predicted

from synthgap.subjectivity.accuracy_by_agreement import PredictedItems
from synthgap.subjectivity.agreement_sources import ESTIMATED, Source, item_table
from synthgap.subjectivity.predicted_agreement import (
    agreement_bands,
    agreement_correlations,
    lift,
    paired_agreement,
    reach_note,
    recovered_lift,
)


def test_lift_by_hand():
    """Kept in the order 1, 1, 0, 0: accuracies 100, 100, 66.7, 50, less 50."""
    assert lift(np.array([0.9, 0.8, 0.4, 0.3]), np.array([1, 1, 0, 0])) == pytest.approx(
        (100 + 100 + 200 / 3 + 50) / 4 - 50
    )
    assert lift(np.array([0.3, 0.4, 0.8, 0.9]), np.array([1, 1, 0, 0])) < 0


@given(st.lists(st.integers(0, 1), min_size=2, max_size=30), st.integers(0, 1000))
def test_lift_is_0_where_agreement_is_constant_and_blind_to_the_order_of_items(correct, seed):
    right = np.array(correct, dtype=float)
    random = np.random.default_rng(seed)
    agreement = random.choice([0.5, 0.75, 1.0], len(right))
    assert lift(np.ones(len(right)), right) == pytest.approx(0)
    order = random.permutation(len(right))
    assert lift(agreement[order], right[order]) == pytest.approx(lift(agreement, right))


def pairs_of(human, estimated, ids=None) -> pd.DataFrame:
    """Human and estimated agreement of the same items of the task humor."""
    columns = {"human": human, "estimated": estimated}
    pairs = pd.DataFrame(columns).assign(task="humor", source="human: x")
    return pairs.assign(item_id=[f"i{n}" for n in range(len(pairs))] if ids is None else ids)


def perfect_estimates(items: int = 200, seed: int = 0) -> tuple[pd.DataFrame, PredictedItems]:
    random = np.random.default_rng(seed)
    human = random.choice([0.5, 0.66, 0.75, 1.0], items)
    right = (random.random(items) < 0.2 + 0.75 * human).astype(float)
    one = predicted(human, {"real": right})
    return pairs_of(human, human, one.ids), one


def test_perfect_estimates_recover_the_whole_lift():
    pairs, runs = perfect_estimates()
    table = recovered_lift(pairs, [runs], 300)
    assert table["share"].iloc[0] == pytest.approx(1)
    assert table["human_low"].iloc[0] > 0
    assert agreement_correlations(pairs)["rho"].iloc[0] == pytest.approx(1)


def test_estimates_at_random_recover_nothing():
    pairs, runs = perfect_estimates(400)
    shuffled = pairs.assign(estimated=np.random.default_rng(1).permutation(pairs["estimated"]))
    row = recovered_lift(shuffled, [runs], 300).iloc[0]
    assert row["estimated_low"] < 0 < row["estimated_high"]
    assert row["share_low"] < 0.5


def test_no_share_where_the_human_lift_is_nothing():
    pairs, runs = perfect_estimates()
    flat = dataclasses.replace(runs, right={"real": np.tile([0.0, 1.0], 100)[None, :]})
    row = recovered_lift(pairs, [flat], 200).iloc[0]
    assert np.isnan(row["share"])
    assert "cannot be told from 0" in row["note"]


def test_reliability_by_hand():
    bins = agreement_bands(pairs_of([0.5, 0.5, 0.7, 0.7, 1, 1, 1, 1], [0.5] * 4 + [1.0] * 4), 2)
    assert bins["items"].tolist() == [4, 4]
    assert bins["human"].tolist() == [pytest.approx(0.6), 1.0]
    assert bins["low"].iloc[0] < 0.6 < bins["high"].iloc[0]


def test_sources_are_joined_by_item():
    index = pd.Index([f"i{n}" for n in range(6)], name="item_id")
    human = Source("humor", "human: x", True, agreement_of([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], index))
    estimated = Source("humor", ESTIMATED, True, agreement_of([0.9, 0.8, 0.7, 0.6, 0.5], index[1:]))
    pairs = paired_agreement(item_table([human, estimated]))
    assert len(pairs) == 5
    correlations = agreement_correlations(pairs)
    assert correlations["rho"].iloc[0] == pytest.approx(-1)
    assert correlations["task"].tolist() == ["humor"]
    assert "5 items of humor" in reach_note(correlations)
    few = Source("humor", ESTIMATED, True, estimated.items.head(3))
    assert paired_agreement(item_table([human, few])).empty


def agreement_of(values: list[float], ids: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({"agreement": values, "gold": "a"}, index=ids)


def test_without_a_human_source_there_is_a_sentence_and_empty_tables():
    estimated = Source("humor", ESTIMATED, True, agreement_of([0.9, 0.8, 0.7, 0.6], pd.Index(list("abcd"))))
    for sources in ([], [estimated]):
        pairs = paired_agreement(item_table(sources))
        assert "cannot be looked at here" in reach_note(agreement_correlations(pairs))
        assert agreement_bands(pairs).empty
        assert recovered_lift(pairs, [predicted([0.5, 1.0], {"real": [0, 1]})], 10).empty


def test_a_constant_estimate_has_no_rho_and_says_why():
    row = agreement_correlations(pairs_of([0.5, 0.6, 0.7, 0.8], 1.0)).iloc[0]
    assert np.isnan(row["rho"])
    assert "needs at least 4 points that differ" in row["note"]
