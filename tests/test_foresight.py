"""Estimates against people's agreement: what perfect and what random estimates give, and lift by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_thresholds import judged, source

from synthgap.foresight import (
    Foresight,
    foresee,
    foresight_table,
    foresights,
    lift,
    recovered,
    reliability,
    what_foresight_can_show,
)
from synthgap.thresholds import Judged


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


def foresight(items: int = 200, seed: int = 0) -> tuple[Foresight, Judged]:
    random = np.random.default_rng(seed)
    human = random.choice([0.5, 0.66, 0.75, 1.0], items)
    right = (random.random(items) < 0.2 + 0.75 * human).astype(float)
    one = judged(human, {"real": right})
    both = pd.DataFrame({"human": human, "estimated": human}, index=pd.Index(one.ids, name="item_id"))
    return Foresight("humor", "human: x", both), one


def test_perfect_estimates_recover_the_whole_lift():
    one, runs = foresight()
    table = recovered(one, runs, 300)
    assert table["share"].iloc[0] == pytest.approx(1)
    assert table["human_low"].iloc[0] > 0
    assert foresight_table([one])["rho"].iloc[0] == pytest.approx(1)


def test_estimates_at_random_recover_nothing():
    one, runs = foresight(400)
    shuffled = one.items.assign(estimated=np.random.default_rng(1).permutation(one.items["estimated"]))
    row = recovered(Foresight("humor", "human: x", shuffled), runs, 300).iloc[0]
    assert row["estimated_low"] < 0 < row["estimated_high"]
    assert row["share_low"] < 0.5


def test_no_share_where_the_human_lift_is_nothing():
    one, runs = foresight()
    flat = Judged(
        runs.source, runs.ids, runs.agreement, runs.gold, {("probe", "real"): np.tile([0.0, 1.0], 100)}, {}, 0
    )
    row = recovered(one, flat, 200).iloc[0]
    assert np.isnan(row["share"])
    assert "cannot be told from 0" in row["note"]


def test_reliability_by_hand():
    items = pd.DataFrame({"estimated": [0.5] * 4 + [1.0] * 4, "human": [0.5, 0.5, 0.7, 0.7, 1, 1, 1, 1]})
    bins = reliability(items, 2)
    assert bins["items"].tolist() == [4, 4]
    assert bins["human"].tolist() == [pytest.approx(0.6), 1.0]
    assert bins["low"].iloc[0] < 0.6 < bins["high"].iloc[0]


def test_sources_are_joined_by_item():
    index = pd.Index([f"i{n}" for n in range(6)], name="item_id")
    human = source(pd.DataFrame({"agreement": [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], "gold": "a"}, index=index))
    estimated = source(
        pd.DataFrame({"agreement": [0.9, 0.8, 0.7, 0.6, 0.5], "gold": "a"}, index=index[1:]),
        "simulated: shares an LLM estimated",
    )
    one = foresee(human, estimated)
    assert one is not None
    assert len(one.items) == 5
    assert foresight_table([one])["rho"].iloc[0] == pytest.approx(-1)
    assert [pair.task for pair in foresights([human, estimated])] == ["humor"]
    assert "5 items of humor" in what_foresight_can_show([one])
    assert "cannot be looked at here" in what_foresight_can_show([])
    assert foresee(human, source(estimated.items.head(3))) is None


def test_a_constant_estimate_has_no_rho_and_says_why():
    items = pd.DataFrame({"human": [0.5, 0.6, 0.7, 0.8], "estimated": 1.0})
    row = foresight_table([Foresight("humor", "human: x", items)]).iloc[0]
    assert np.isnan(row["rho"])
    assert "needs at least 4 points that differ" in row["note"]
