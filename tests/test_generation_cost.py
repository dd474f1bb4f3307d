"""The estimate of what a live run will take, against what it then took."""

import numpy as np
import pandas as pd
import pytest
from endpoints import LABELS, TASKS, WANTED, Endpoint, profile_of, real_texts, run, settings

from synthgap.core.errors import SynthgapError
from synthgap.generation.generation_cost import Estimate, estimate_costs, estimates_table
from synthgap.llm.response_log import ResponseLog
from synthgap.tasks import load_profile

PRICES = {"input_price": 1.0, "output_price": 2.0, "budget": 10.0}


@pytest.fixture(scope="module")
def real():
    return real_texts()


def profile(endpoint, generation=WANTED, **changes):
    return profile_of({"claude": settings(endpoint, **{**PRICES, **changes})}, generation=generation)


def make_plan(profile, real, log_file) -> Estimate:
    (estimate,) = estimate_costs(profile, real, log_file)
    return estimate


@pytest.mark.parametrize("endpoint", ["window"], indirect=True)  # counts tokens as they are
def test_the_estimate_comes_close_to_what_the_run_takes_and_the_pilot_is_part_of_it(endpoint, tmp_path, real):
    chosen = profile(endpoint, max_tokens=400)
    log_file = tmp_path / "responses.sqlite"
    plan = make_plan(chosen, real, log_file)
    assert plan.asked == plan.known == len(TASKS) == endpoint.counts()["requests"]
    assert plan.table["texts"].sum() == 40 * len(LABELS)
    _, shortfalls, llm, rows = run(endpoint, tmp_path, real, max_tokens=400, **PRICES)
    assert shortfalls == []
    assert len(rows) == endpoint.counts()["requests"] == 4 * len(LABELS)
    assert 0 <= plan.table["requests"].sum() - llm.asked <= 2 * len(TASKS)  # a round is for all conversations
    for name in ("prompt_tokens", "completion_tokens"):
        assert plan.table[name].sum() == pytest.approx(sum(row[name] for row in rows), rel=0.15)
    cost = llm.money.cost(sum(row["prompt_tokens"] for row in rows), sum(row["completion_tokens"] for row in rows))
    assert plan.table["cost"].sum() + plan.spent == pytest.approx(cost, rel=0.15)
    assert plan.table["cost"].sum() < plan.table["cost_at_worst"].sum()
    after = make_plan(chosen, real, log_file)
    assert (after.asked, after.table["requests"].sum(), after.minutes) == (0, 0, 0)
    assert after.spent == pytest.approx(cost)
    assert "nothing is missing" in str(after)


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_a_second_plan_asks_nothing_and_says_the_same(endpoint, tmp_path, real):
    first = make_plan(profile(endpoint), real, tmp_path / "log.sqlite")
    second = make_plan(profile(endpoint), real, tmp_path / "log.sqlite")
    assert (first.asked, second.asked) == (2, 0)
    pd.testing.assert_frame_equal(first.table, second.table)
    assert endpoint.counts()["requests"] == 2


@pytest.mark.parametrize("endpoint", ["slower"], indirect=True)
def test_time_follows_from_turns_concurrency_and_pace(endpoint, tmp_path, real):
    def minutes(**changes):
        return make_plan(profile(endpoint, **changes), real, tmp_path / "log.sqlite").minutes

    free, one_by_one = minutes(concurrency=64), minutes(concurrency=1)
    with ResponseLog(tmp_path / "log.sqlite") as log:
        seconds = np.mean([row["seconds"] for row in log.rows()])
    assert seconds >= 0.15
    assert 60 * free == pytest.approx(2 * seconds)  # two turns one after another
    assert 60 * one_by_one == pytest.approx(48 * seconds)
    assert minutes(requests_per_minute=4.8) == pytest.approx(10, rel=0.1)
    assert minutes(tokens_per_minute=100) > 10


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_what_stands_in_the_way_is_said(endpoint, tmp_path, real):
    few_turns = WANTED.model_copy(update={"turns": 1, "texts_per_label": 200})
    plan = make_plan(profile(endpoint, few_turns, budget=0.005), real, tmp_path / "log.sqlite")
    assert "humor / zero_shot / humorous: the limit of 1 turns comes before its 200 texts" in str(plan)
    assert "the budget of 0.005 would end the run before it is done" in str(plan)
    unpriced = make_plan(profile(endpoint, input_price=None, budget=None), real, tmp_path / "log.sqlite")
    assert "cost: unknown, the LLM's input_price and output_price are not set" in str(unpriced)
    assert unpriced.table["cost"].isna().all()


@pytest.mark.parametrize("endpoint", ["uncounted"], indirect=True)
def test_an_endpoint_that_counts_no_tokens_gets_no_invented_estimate(endpoint, tmp_path, real):
    plan = make_plan(profile(endpoint), real, tmp_path / "log.sqlite")
    assert "counts no tokens" in str(plan)
    assert plan.table["requests"].sum() > 0
    assert plan.table[["prompt_tokens", "completion_tokens", "cost"]].isna().all(axis=None)


@pytest.mark.parametrize("endpoint", ["prose"], indirect=True)
def test_a_pilot_without_texts_says_what_came(endpoint, tmp_path, real):
    plan = make_plan(profile(endpoint), real, tmp_path / "log.sqlite")
    (problem,) = plan.problems
    assert problem.startswith("none of the first 2 answers holds a text; one begins with '\\x1b[31mI would")


@pytest.mark.parametrize("endpoint", ["forbidden"], indirect=True)
def test_pilots_that_fail_are_named_and_a_first_request_that_fails_ends_it(endpoint, tmp_path, real):
    found = set()
    for seed in range(12):  # three requests in ten are forbidden, by their content
        try:
            found.add(str(make_plan(profile(endpoint, seed=seed), real, tmp_path / f"{seed}.sqlite")))
        except SynthgapError as error:
            found.add(str(error))
    assert any("did not answer the first request: the endpoint answered 403" in text for text in found)
    assert any("no pilot answer (the endpoint answered 403" in text for text in found)
    assert any("note:" not in text and "cost: about" in text for text in found)


def test_a_recording_has_everything_and_takes_nothing(real):
    plan = make_plan(load_profile("demo", {"tasks": list(TASKS)}), real, "no file")
    assert plan.table["requests"].sum() == 0
    assert (plan.table["accepted"] == plan.table["texts"]).all()
    assert "nothing is missing" in str(plan)


def test_a_plan_of_a_recording_misses_nothing_and_an_unknown_profile_is_refused(command):
    assert "nothing is missing" in command("plan", "smoke").stdout
    assert command("plan", "no_such_profile").returncode == 2


def test_nobody_answers(tmp_path, real):
    endpoint = Endpoint("good")
    endpoint.end()
    with pytest.raises(SynthgapError, match=r"did not answer the first request: no connection to the endpoint"):
        make_plan(profile(endpoint, attempts=2), real, tmp_path / "log.sqlite")


def two_llms(endpoint):
    cheap, dear = (settings(endpoint, **PRICES, model=name) for name in ("a", "b"))
    corpora = {name: {"llm": name, "setting": "zero_shot"} for name in ("cheap", "dear")}
    return profile_of({"cheap": cheap, "dear": dear.model_copy(update={"output_price": 9.0})}, corpora)


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_each_llm_of_a_profile_has_its_own_pilot_and_estimate(endpoint, tmp_path, real):
    estimates = estimate_costs(two_llms(endpoint), real, tmp_path / "log.sqlite")
    assert [one.model.split(" at ")[0] for one in estimates] == ["a", "b"]
    assert [one.asked for one in estimates] == [2, 2]
    assert estimates[1].table["cost"].sum() > estimates[0].table["cost"].sum()
    table = estimates_table(estimates)
    assert list(zip(table["corpus"], table["task"], strict=True)) == [(c, t) for c in ("cheap", "dear") for t in TASKS]
    assert estimates_table([]).empty
