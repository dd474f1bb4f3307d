"""Live LLMs against an endpoint in a process of its own, well-behaved and not: exact counts, nothing paid for twice."""

import asyncio
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from conftest import ROOT, synthgap
from endpoints import LABELS, PROFILE, TASKS, WANTED, Endpoint, as_table, real_texts, run, settings

from synthgap.config import GenerationSettings, OpenAISettings, build_profile, load_profile, parse_overrides, read_yaml
from synthgap.endpoint import EndpointLLM, api_key, most_tokens
from synthgap.errors import SynthgapError
from synthgap.generation import filter_answers
from synthgap.live import costs, refuse_failures
from synthgap.llm import Answer, Conversation, Message, RecordedLLM, Usage
from synthgap.parsing import parse
from synthgap.responses import Request, ResponseLog
from synthgap.traffic import BudgetReached, Money, Traffic


@pytest.fixture(scope="module")
def real():
    return real_texts()


# ---------------------------------------------------------------------------------------------- a well-behaved endpoint


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_every_label_gets_its_texts_and_every_answer_is_asked_for_once(endpoint, tmp_path, real):
    made, shortfalls, llm, rows = run(endpoint, tmp_path, real)
    assert shortfalls == []
    for task, setting, label in LABELS:
        result = made[(task, setting)]
        assert (result.texts["label"] == label).sum() == 40
        assert result.texts["id"].is_unique
    assert len(rows) == llm.asked == 4 * len(LABELS)
    assert set(endpoint.counts()["answered"].values()) == {1}
    again, _, llm, rows = run(endpoint, tmp_path, real)
    assert llm.asked == 0
    assert as_table(again) == as_table(made)
    assert endpoint.counts()["requests"] == len(rows)


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_a_raised_number_of_texts_pays_for_what_is_missing_only(endpoint, tmp_path, real):
    _, _, first, _ = run(endpoint, tmp_path, real)
    more = WANTED.model_copy(update={"texts_per_label": 60})
    made, shortfalls, second, _ = run(endpoint, tmp_path, real, more)
    assert shortfalls == []
    assert (made[("humor", "few_shot")].texts["label"].value_counts() == 60).all()
    assert (first.asked, second.asked) == (4 * len(LABELS), 2 * len(LABELS))


@pytest.mark.parametrize("endpoint", ["slow"], indirect=True)
def test_the_result_does_not_depend_on_how_many_are_asked_at_once(endpoint, tmp_path, real):
    one = run(endpoint, tmp_path / "one", real, concurrency=1)[0]
    many = run(endpoint, tmp_path / "many", real, concurrency=50)[0]
    assert as_table(one) == as_table(many)


# ------------------------------------------------------------------------------------------ endpoints that misbehave


@pytest.mark.parametrize("endpoint", ["storm", "storm_retry_after", "errors", "torn"], indirect=True)
def test_a_bad_day_of_the_endpoint_costs_time_and_no_text(endpoint, tmp_path, real):
    made, shortfalls, llm, rows = run(endpoint, tmp_path, real, attempts=12)
    assert shortfalls == []
    for task, setting, label in LABELS:
        assert (made[(task, setting)].texts["label"] == label).sum() == 40
    answered = endpoint.counts()["answered"]
    assert set(answered.values()) == {1}
    assert len(rows) == len(answered) == 4 * len(LABELS)
    assert {row["fault"] for row in rows} == {""}
    assert llm.asked == endpoint.counts()["requests"] > len(rows)


@pytest.mark.parametrize("endpoint", ["stalls"], indirect=True)
def test_a_hung_request_ends_by_its_timeout(endpoint, tmp_path, real):
    started = time.monotonic()
    made, shortfalls, _, _ = run(endpoint, tmp_path, {"humor": real["humor"]}, timeout=1.0)
    assert time.monotonic() - started < 25
    assert shortfalls == []
    assert (made[("humor", "zero_shot")].texts["label"].value_counts() == 40).all()


@pytest.mark.parametrize("endpoint", ["refusals"], indirect=True)
def test_unusable_answers_are_kept_counted_and_asked_for_again(endpoint, tmp_path, real):
    made, shortfalls, _, rows = run(endpoint, tmp_path, real)
    assert shortfalls == []
    faults = {row["fault"] for row in rows}
    assert faults == {"", "refused", "empty", "truncated"}
    served = [row for row in rows if not row["fault"]]
    assert len(served) == len({row["key"] for row in rows})
    received = sum(len(result.texts) + len(result.ledger) for result in made.values())
    assert received == 10 * len(served)


@pytest.mark.parametrize("endpoint", ["garbage"], indirect=True)
def test_garbage_is_in_the_ledger_and_the_conversations_go_on_until_there_is_enough(endpoint, tmp_path, real):
    made, shortfalls, _, rows = run(endpoint, tmp_path, real)
    assert shortfalls == []
    for (task, setting), result in made.items():
        for label in TASKS[task].labels:
            assert (result.texts["label"] == label).sum() >= 40
        pieces = sum(
            len(row["response"].splitlines()) for row in rows if (row["task"], row["setting"]) == (task, setting)
        )
        assert len(result.texts) + len(result.ledger) == pieces
        assert {"empty", "not_numbered"} <= set(result.ledger["reason"])


@pytest.mark.parametrize("endpoint", ["out_of_order"], indirect=True)
def test_answers_out_of_order_and_of_another_content_type_change_nothing(endpoint, tmp_path, real):
    made, shortfalls, llm, rows = run(endpoint, tmp_path / "many", real)
    assert shortfalls == []
    assert as_table(made) == as_table(run(endpoint, tmp_path / "one", real, concurrency=1)[0])
    assert llm.asked == len(rows) == 4 * len(LABELS)


@pytest.mark.parametrize("endpoint", ["duplicates"], indirect=True)
def test_one_answer_to_several_requests_gives_each_text_once(endpoint, tmp_path, real):
    made, shortfalls, _, rows = run(endpoint, tmp_path, real)
    assert shortfalls == []
    assert len({row["response"] for row in rows}) < len(rows)
    assert len({row["key"] for row in rows}) == len(rows)
    for (task, setting), result in made.items():
        assert (result.texts["label"].value_counts() >= 40).all()
        assert result.texts["text"].is_unique
        assert result.texts["id"].is_unique
        asked = sum((row["task"], row["setting"]) == (task, setting) for row in rows)
        assert len(result.texts) + len(result.ledger) == 10 * asked
        assert set(result.ledger["reason"]) <= {"exact_duplicate"}
    assert sum(len(result.ledger) for result in made.values()) > 0


@pytest.mark.parametrize("endpoint", ["window"], indirect=True)
def test_no_request_overflows_the_context_window_that_was_set(endpoint, tmp_path, real):
    wanted = WANTED.model_copy(update={"conversations": 1, "texts_per_label": 60})
    _, shortfalls, _, _ = run(endpoint, tmp_path / "unknown", real, wanted)
    assert any("maximum context length" in str(short) for short in shortfalls)
    made, shortfalls, _, rows = run(endpoint, tmp_path / "known", real, wanted, max_tokens=400, context_window=1500)
    assert [str(short) for short in shortfalls if "few_shot" not in short.setting] == []
    assert (made["humor", "zero_shot"].texts["label"].value_counts() == 60).all()
    assert max(row["prompt_tokens"] for row in rows) + 400 <= 1500
    assert max(row["conversation"] for row in rows) > 0


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_structured_output_is_asked_for_by_a_schema_and_in_the_prompt(endpoint, tmp_path, real):
    made, shortfalls, _, rows = run(endpoint, tmp_path, real, structured=True)
    assert shortfalls == []
    assert all(row["response"].startswith('{"texts": [') for row in rows)
    for result in made.values():
        assert len(result.ledger) == 0
        assert "numbered" not in result.turns[0].conversation.messages[-1].content
        assert 'JSON object {"texts": [...]} that holds 10 strings' in result.turns[0].conversation.messages[-1].content
    plain, _, _, more = run(endpoint, tmp_path, real)
    assert len(more) == 2 * len(rows)
    assert "numbered" in plain["humor", "zero_shot"].turns[0].conversation.messages[-1].content


@pytest.mark.parametrize("endpoint", ["forbidden"], indirect=True)
def test_what_the_endpoint_forbids_ends_one_conversation_and_is_listed(endpoint, tmp_path, real):
    _, shortfalls, llm, rows = run(endpoint, tmp_path, real, WANTED.model_copy(update={"conversations": 3}))
    assert shortfalls
    assert len(rows) > len(LABELS)
    with pytest.raises(SynthgapError) as error:
        refuse_failures(shortfalls, "synthgap run x")
    text = str(error.value)
    assert "the endpoint answered 403" in text
    assert "sk-secret123" not in text
    assert "to go on: synthgap run x" in text
    assert llm.asked == endpoint.counts()["requests"]


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_the_limit_of_turns_is_reported_with_the_shortfall_and_is_no_failure(endpoint, tmp_path, real):
    wanted = GenerationSettings(texts_per_label=40, turns=2)
    made, shortfalls, _, _ = run(endpoint, tmp_path, {"humor": real["humor"]}, wanted)
    assert len(shortfalls) == 4
    assert all((short.accepted, short.wanted) == (20, 40) for short in shortfalls)
    assert "the limit of 2 turns is reached" in str(shortfalls[0])
    refuse_failures(shortfalls, "x")
    assert len(made[("humor", "zero_shot")].texts) == 40


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_pool_number_of_examples_and_diversity_prompt_are_settings(endpoint, tmp_path, real):
    changed = {"pool_share": 0.5, "examples_per_turn": 3, "diversity_prompt": "Now something else entirely."}
    made, shortfalls, _, rows = run(endpoint, tmp_path, {"humor": real["humor"]}, WANTED.model_copy(update=changed))
    assert shortfalls == []
    turns = made[("humor", "few_shot")].turns
    assert {len(turn.examples) for turn in turns} == {3}
    assert {len(json.loads(row["example_ids"])) for row in rows if row["setting"] == "few_shot"} == {3}
    pool = {key for turn in turns if turn.conversation.label == "humorous" for key in turn.examples}
    assert 3 < len(pool) <= 18  # half of 36 train texts
    later = [turn for turn in turns if turn.conversation.turn]
    assert all("Now something else entirely." in turn.conversation.messages[-1].content for turn in later)
    assert made[("humor", "few_shot")].provenance["prompts"]["diversity"] == "Now something else entirely."


@pytest.mark.parametrize("key", ["pool_share=0.2", "examples_per_turn=3", "diversity_prompt=More!"])
def test_a_recording_cannot_be_asked_otherwise(key):
    with pytest.raises(SynthgapError, match="cannot change what was recorded"):
        load_profile("demo", parse_overrides([f"generation.{key}"]))


# --------------------------------------------------------------------------------------------------------------- money


@pytest.mark.parametrize("endpoint", ["slow"], indirect=True)
def test_the_budget_is_never_crossed_and_a_raised_one_goes_on(endpoint, tmp_path, real):
    prices = {"input_price": 10.0, "output_price": 20.0}
    _, shortfalls, llm, rows = run(endpoint, tmp_path, real, budget=0.1, **prices)
    paid = sum(llm.money.cost(row["prompt_tokens"], row["completion_tokens"]) for row in rows)
    assert 0 < paid <= 0.1
    with ResponseLog(tmp_path / "responses.sqlite") as log:
        assert llm.money.cost(*log.paid_tokens()) == pytest.approx(paid)
        assert log.pending_tokens() == (0, 0)
    assert any("the budget of 0.1 is reached" in str(short) for short in shortfalls)
    with pytest.raises(SynthgapError, match="the budget of 0"):
        refuse_failures(shortfalls, "x")
    _, _, llm, rows = run(endpoint, tmp_path, real, budget=0.1, **prices)  # what an earlier run spent is spent
    assert sum(llm.money.cost(r["prompt_tokens"], r["completion_tokens"]) for r in rows) <= 0.1
    _, shortfalls, _, rows = run(endpoint, tmp_path, real, budget=10.0, **prices)
    assert shortfalls == []
    assert len(rows) == 4 * len(LABELS)
    assert set(endpoint.counts()["answered"].values()) == {1}


@pytest.mark.parametrize("endpoint", ["uncounted"], indirect=True)
def test_answers_without_a_count_of_tokens_are_taken_at_their_worst(endpoint, tmp_path, real):
    prices = {"input_price": 10.0, "output_price": 20.0}
    _, shortfalls, llm, rows = run(endpoint, tmp_path, real, budget=0.1, **prices)
    assert any("the budget of 0.1 is reached" in str(short) for short in shortfalls)
    with ResponseLog(tmp_path / "responses.sqlite") as log:
        assert log.paid_tokens() == (0, 0)
        worst = llm.money.cost(*log.pending_tokens())
        assert sum(row["unanswered"] for row in log.spent()) == len(rows) > 0
    assert 0.05 < worst <= 0.1


@pytest.mark.parametrize("endpoint", ["stalls"], indirect=True)
def test_requests_that_were_given_up_are_in_the_budget_and_in_the_cost_table(endpoint, tmp_path, real):
    prices = {"input_price": 10.0, "output_price": 20.0, "budget": 10.0}
    chosen = settings(endpoint, timeout=1.0, **prices)
    made, _, llm, rows = run(endpoint, tmp_path, {"humor": real["humor"]}, timeout=1.0, **prices)
    given_up = llm.asked - len(rows)
    assert given_up > 0
    profile = PROFILE.model_copy(update={"llm": chosen})
    table = costs(profile, made, tmp_path / "responses.sqlite")
    assert table["unanswered"].sum() == given_up
    assert table["unanswered_cost"].sum() > 0
    assert table["cost"].sum() == pytest.approx(len(rows) * (50 * 10 + 100 * 20) / 1e6)
    with ResponseLog(tmp_path / "responses.sqlite") as log:
        assert llm.money.cost(*log.pending_tokens()) == pytest.approx(table["unanswered_cost"].sum())


@pytest.mark.parametrize("endpoint", ["slow"], indirect=True)
def test_two_processes_keep_one_budget_together(endpoint, tmp_path):
    code = SHARED.format(tests=str(ROOT / "tests"), url=endpoint.url, folder=str(tmp_path))
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(seed)], stdout=subprocess.PIPE, text=True)
        for seed in (0, 1000)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    with ResponseLog(tmp_path / "responses.sqlite") as log:
        rows = list(log.rows())
        assert log.pending_tokens() == (0, 0)
    seeds = {row["key"] for row in rows}
    assert len(seeds) == len(rows)
    cost = sum((row["prompt_tokens"] * 10 + row["completion_tokens"] * 20) / 1e6 for row in rows)
    assert 0 < cost <= 0.1
    for reason in said:  # each stopped at the budget, and not before
        spent, under_way, further = map(float, re.search(BUDGET_REACHED, reason).groups())
        assert spent + under_way + further > 0.1 - 1e-4  # told in four digits
        assert spent <= cost + 1e-9


BUDGET_REACHED = r"the budget of 0.1 is reached: (\S+) spent, (\S+) at the worst .* next request could cost (\S+);"
SHARED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import endpoints
class Known: url = {url!r}
money = dict(input_price=10.0, output_price=20.0, budget=0.1)
_, shortfalls, _, _ = endpoints.run(
    Known, Path({folder!r}), endpoints.real_texts(), concurrency=4, seed=int(sys.argv[1]), **money
)
print(*shortfalls)
"""


def asked_once(number: int = 0) -> Request:
    talk = Conversation("humor", "zero_shot", "humorous", (Message("user", "x"),), number)
    return Request(talk, 10, (), "http://localhost/v1", "m", {})


def test_what_was_sent_counts_at_its_worst_until_its_answer_is_here(tmp_path):
    money = Money(1.0, 2.0, budget=10e-6)
    with ResponseLog(tmp_path / "log.sqlite") as log, ResponseLog(tmp_path / "log.sqlite") as other:
        note = log.send(asked_once(), (2, 3), money)
        for one in (log, other):  # also for another process
            with pytest.raises(BudgetReached, match=r"8e-06 at the worst .*raise llm\.budget to go on"):
                one.send(asked_once(1), (1, 1), money)
        log.put(asked_once(), Answer("1. a", "stop", Usage(1, 1), "m"), note)
        assert (other.paid_tokens(), other.pending_tokens()) == ((1, 1), (0, 0))
        turned_away = other.send(asked_once(1), (1, 1), money)
        other.turned_away(turned_away)
        assert log.pending_tokens() == (0, 0)
        uncounted = other.send(asked_once(1), (1, 2), money)
        other.put(asked_once(1), Answer("1. b", "stop", None, "m"), uncounted)
        assert (log.paid_tokens(), log.pending_tokens()) == ((1, 1), (1, 2))
    with ResponseLog(tmp_path / "log.sqlite") as log, pytest.raises(BudgetReached):
        log.send(asked_once(2), (0, 2), money)  # 3e-6 paid, 5e-6 maybe, and 4e-6 more


def test_a_token_is_a_byte_at_least():
    talk = Conversation("humor", "zero_shot", "x", (Message("user", "aé😊"),))
    assert most_tokens(talk) >= 1 + 2 + 4


# ------------------------------------------------------------------------------------------------------------- traffic


def test_concurrency_doubles_until_the_first_overload_then_rises_by_one_a_round_and_halves_once():
    async def story() -> None:
        traffic = Traffic(100)
        first = traffic.limit
        for _ in range(int(first)):
            traffic.went_well()
        assert traffic.limit == 2 * first
        traffic.overloaded(time.monotonic())
        assert traffic.limit == first
        await asyncio.sleep(0.01)
        traffic.limit = 10.0
        for _ in range(10):
            traffic.went_well()
        assert 10.9 < traffic.limit < 11.1
        started = time.monotonic()
        for _ in range(5):
            traffic.overloaded(started)
        assert 5.4 < traffic.limit < 5.6
        await asyncio.sleep(0.01)
        traffic.overloaded(time.monotonic())
        assert traffic.limit < 2.8
        for _ in range(20):
            traffic.overloaded(time.monotonic() + 1)
        assert traffic.limit == 1
        traffic.limit = 99.9
        for _ in range(500):
            traffic.went_well()
        assert traffic.limit == 100

    asyncio.run(story())


def test_no_more_run_at_once_than_the_limit_says():
    async def story() -> int:
        traffic, most = Traffic(5), 0

        async def one() -> None:
            nonlocal most
            async with traffic.slot(1):
                most = max(most, traffic.under_way)
                await asyncio.sleep(0.005)

        await asyncio.gather(*(one() for _ in range(40)))
        assert traffic.under_way == 0
        return most

    assert asyncio.run(story()) == 5


def test_tokens_that_were_not_used_are_given_back_to_the_pace():
    async def story() -> float:
        traffic = Traffic(50, tokens_per_minute=6000)
        start = time.monotonic()
        for _ in range(20):
            async with traffic.slot(100):
                traffic.give_back(99)
        return time.monotonic() - start

    assert asyncio.run(story()) < 5  # 20 x 100 tokens would take 20 seconds


@pytest.mark.parametrize("limits", [{"requests_per_minute": 1200}, {"tokens_per_minute": 12000}])
def test_requests_keep_the_pace_that_was_set(limits):
    async def story() -> float:
        traffic = Traffic(50, **limits)

        async def one() -> None:
            async with traffic.slot(10):
                pass

        start = time.monotonic()
        await asyncio.gather(*(one() for _ in range(11)))
        return time.monotonic() - start

    assert 0.45 < asyncio.run(story()) < 5


# ------------------------------------------------------------------------------------------------------ keys, settings


def test_the_key_comes_from_the_environment_alone_and_is_in_no_file(tmp_path, real, monkeypatch):
    canary = "sk-canary-0123456789"
    monkeypatch.setenv("MY_KEY", canary)
    endpoint = Endpoint("good")
    try:
        run(endpoint, tmp_path, {"humor": real["humor"]}, key_variable="MY_KEY")
    finally:
        endpoint.process.kill()
        endpoint.process.wait()
    for path in tmp_path.rglob("*"):
        assert canary.encode() not in path.read_bytes()
    assert canary not in repr(settings(endpoint, key_variable="MY_KEY"))


def test_a_missing_key_is_named_before_the_first_request(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    chosen = OpenAISettings(backend="openai", model="m", key_variable="NO_SUCH_KEY")
    with pytest.raises(SynthgapError, match="set the variable NO_SUCH_KEY"):
        api_key(chosen)
    assert api_key(chosen.model_copy(update={"base_url": "http://localhost:8000/v1"})) == "none"


def test_what_the_log_holds_needs_no_key(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    elsewhere = OpenAISettings(
        backend="openai", model="m", base_url="https://llm.example.org/v1", key_variable="NO_SUCH_KEY"
    )
    with ResponseLog(tmp_path / "log.sqlite") as log:
        llm = EndpointLLM(elsewhere, log)
        known = dataclasses.replace(asked_once(), endpoint=llm.endpoint)
        log.put(known, Answer("1. a", "stop", None, "m"))
        assert asyncio.run(llm.ask(known)).text == "1. a"
        with pytest.raises(SynthgapError, match="set the variable NO_SUCH_KEY"):
            asyncio.run(llm.ask(dataclasses.replace(asked_once(1), endpoint=llm.endpoint)))


@pytest.mark.parametrize(
    ("llm", "message"),
    [
        ({"backend": "openai"}, "'llm.model'"),
        ({"backend": "openai", "model": "m", "modle": 1}, "key 'llm.modle' is unknown"),
        ({"backend": "openai", "model": "m", "budget": 5}, "llm.budget needs llm.input_price"),
        ({"backend": "openai", "model": "m", "base_url": "localhost"}, "'llm.base_url'"),
        ({"backend": "magic"}, "'recorded', 'openai'"),
    ],
)
def test_a_faulty_llm_is_refused_with_its_key(llm, message):
    values = read_yaml(ROOT / "configs" / "demo.yaml") | {"llm": llm}
    with pytest.raises(SynthgapError) as error:
        build_profile(values, {})
    assert message in str(error.value)


# --------------------------------------------------------------------------------------------------------------- kills

KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import endpoints
class Known: url = {url!r}
endpoints.run(Known, Path({folder!r}), endpoints.real_texts(), concurrency=3)
"""


@pytest.mark.parametrize("endpoint", ["slower"], indirect=True)
def test_kills_at_any_moment_cost_what_was_under_way_and_change_nothing(endpoint, tmp_path, real):
    undisturbed = run(endpoint, tmp_path / "undisturbed", real)[0]
    before = endpoint.counts()["requests"]
    code = KILLED.format(tests=str(ROOT / "tests"), url=endpoint.url, folder=str(tmp_path / "killed"))
    random.seed(0)
    killed = 0
    for _ in range(10):
        process = subprocess.Popen([sys.executable, "-c", code])
        deadline = time.monotonic() + 30
        asked = endpoint.counts()["requests"]
        while endpoint.counts()["requests"] == asked and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(random.random() * 0.15)
        if process.poll() is None:
            killed += 1
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert killed >= 5
    made, shortfalls, _, rows = run(endpoint, tmp_path / "killed", real)
    assert shortfalls == []
    assert as_table(made) == as_table(undisturbed)
    assert len({row["key"] for row in rows if not row["fault"]}) == 4 * len(LABELS)
    asked_again = endpoint.counts()["requests"] - before - 4 * len(LABELS)
    assert 0 <= asked_again <= 10 * 3


@pytest.mark.parametrize("endpoint", ["slower"], indirect=True)
def test_ctrl_c_stops_asking(endpoint, tmp_path):
    code = KILLED.format(tests=str(ROOT / "tests"), url=endpoint.url, folder=str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + code],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while endpoint.counts()["requests"] < 6 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in stderr
    asked = endpoint.counts()["requests"]
    assert 6 <= asked < 4 * len(LABELS)
    time.sleep(0.5)
    assert endpoint.counts()["requests"] == asked
    with ResponseLog(tmp_path / "responses.sqlite") as log:
        assert asked - 4 <= len(log) <= asked


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_a_changed_filter_asks_for_nothing_again(endpoint, tmp_path, real):
    made, _, _, _ = run(endpoint, tmp_path, {"humor": real["humor"]})
    turns = made[("humor", "zero_shot")].turns
    strict, _ = filter_answers(TASKS["humor"], turns, 50)
    assert len(strict) <= len(made[("humor", "zero_shot")].texts)
    assert dataclasses.asdict(turns[0].answer)["text"].startswith("1. ")


# -------------------------------------------------------------------------------------------------- from end to end


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_a_live_run_from_the_command_line_leaves_texts_costs_and_no_key(endpoint, tmp_path):
    canary = "sk-canary-9876543210"
    llm = {
        "backend": "openai",
        "model": "a model",
        "base_url": endpoint.url,
        "seed": 0,
        "max_tokens": 200,
        "input_price": 1.0,
        "output_price": 2.0,
        "budget": 1.0,
        "key_variable": "CANARY_KEY",
    }
    sets = ("--set", f"llm={json.dumps(llm)}", "--set", "tasks=[humor]")
    arguments = ("run", "smoke", "01", "02", "03", "--output", str(tmp_path), *sets)
    done = synthgap(*arguments, CANARY_KEY=canary)
    assert done.returncode == 0, done.stderr[-2000:]
    folder = tmp_path / "smoke"
    costs = pd.read_csv(folder / "tables" / "generation_costs.csv")
    assert costs["accepted"].tolist() == [20] * 4
    assert costs["cost"].tolist() == pytest.approx([2 * (50 * 1.0 + 100 * 2.0) / 1e6] * 4)
    assert (costs["cost_per_text"] * 20).tolist() == pytest.approx(costs["cost"].tolist())
    assert f"a model at {endpoint.url}" in (folder / "tables" / "table_1_tfidf_macro_f1.md").read_text()
    requests = endpoint.counts()["requests"]
    assert requests == 8
    done = synthgap("run", "smoke", "01", "--force", "--output", str(tmp_path), *sets, CANARY_KEY=canary)
    assert done.returncode == 0
    assert endpoint.counts()["requests"] == requests
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or canary.encode() not in path.read_bytes(), path.name
    assert canary not in done.stdout + done.stderr

    done = synthgap("responses", "export", "--profile", "smoke", "--output", str(tmp_path), *sets)
    assert done.returncode == 0, done.stderr
    recording = RecordedLLM(folder / "recording")
    texts = pd.read_parquet(folder / "synthetic" / "humor.zero_shot.parquet")
    talk = Conversation("humor", "zero_shot", "humorous", (Message("user", "x"),))
    assert parse(recording.answer(talk).text).texts == texts.loc[texts["label"] == "humorous", "text"].head(10).tolist()
    files = [str(path) for path in (folder / "recording").rglob("*.jsonl")]
    done = synthgap("responses", "import", *files, "--profile", "smoke", "--output", str(tmp_path / "other"), *sets)
    assert "8 new answers, 0 already known" in done.stdout


def test_a_live_run_that_may_cost_money_needs_a_budget_and_a_key(tmp_path):
    llm = '{"backend": "openai", "model": "m", "base_url": "https://llm.example.org/v1", "key_variable": "NO_KEY_HERE"}'
    arguments = ("run", "smoke", "--output", str(tmp_path), "--set", f"llm={llm}")
    done = synthgap(*arguments)
    assert done.returncode == 2
    assert "set the variable NO_KEY_HERE" in done.stderr
    done = synthgap(*arguments, NO_KEY_HERE="x")
    assert done.returncode == 2
    assert "may cost money, and llm.budget is not set" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("endpoint", ["forbidden_later"], indirect=True)
def test_a_failed_generation_is_one_sentence_a_label_and_can_go_on(endpoint, tmp_path):
    llm = json.dumps({"backend": "openai", "model": "m", "base_url": endpoint.url, "key_variable": "CANARY_KEY"})
    arguments = ("run", "smoke", "01", "--output", str(tmp_path), "--set", f"llm={llm}", "--set", "tasks=[ag_news]")
    canary = "sk-canary-5555555555"
    done = synthgap(*arguments, CANARY_KEY=canary)
    assert done.returncode == 1
    assert "labels are short of texts" in done.stderr
    assert "the endpoint answered 403" in done.stderr
    assert "Traceback" not in done.stderr
    assert "[hidden]" in done.stderr
    assert (tmp_path / "smoke" / "responses.sqlite").is_file()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"01_generation.failed.ipynb", "manifest.json"} <= {path.name for path in written}
    assert all(canary.encode() not in path.read_bytes() for path in written)
    assert canary not in done.stdout + done.stderr
