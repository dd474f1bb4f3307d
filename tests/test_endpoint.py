"""An endpoint in a process of its own, well-behaved or not: exact counts, nothing paid twice, no budget crossed."""

import asyncio
import dataclasses
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from endpoints import LABELS, WANTED, Endpoint, as_table, real_texts, run, run_elsewhere, settings

from synthgap.core.config import OpenAISettings, build_profile
from synthgap.core.errors import SynthgapError
from synthgap.core.yaml_files import read_yaml
from synthgap.generation.live_generation import refuse_failures
from synthgap.llm.base import Answer, Conversation, Message, Usage
from synthgap.llm.budget import BudgetReached, Money
from synthgap.llm.logged import RequestFailed
from synthgap.llm.openai import EndpointLLM, api_key, most_tokens
from synthgap.llm.rate_limits import RateLimits
from synthgap.llm.response_log import Request, ResponseLog


@pytest.fixture(scope="module")
def real():
    return real_texts()


# ------------------------------------------------------------------------------------------ endpoints that misbehave


@pytest.mark.fault(
    "Answers of live LLMs",
    "storms of 429, with and without Retry-After; 5xx; torn answers",
    "fewer requests at once, longer and longer pauses, every text in the end",
    costs="time",
)
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


@pytest.mark.fault(
    "Answers of live LLMs",
    "a request that hangs",
    "it ends by its timeout and is asked again; it may have been billed, so it stays in the budget",
    costs="the request",
)
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


# --------------------------------------------------------------------------------------------------------------- money


@pytest.mark.parametrize("endpoint", ["slow"], indirect=True)
def test_the_budget_is_never_crossed_and_a_raised_one_goes_on(endpoint, tmp_path, real):
    prices = {"input_price": 10.0, "output_price": 20.0}
    _, shortfalls, llm, rows = run(endpoint, tmp_path, real, budget=0.1, **prices)
    paid = sum(llm.money.cost(row["prompt_tokens"], row["completion_tokens"]) for row in rows)
    assert 0 < paid <= 0.1
    with ResponseLog(tmp_path / "responses.sqlite") as log:
        assert llm.money.cost(*log.paid_tokens(llm.model)) == pytest.approx(paid)
        assert log.pending_tokens(llm.model) == (0, 0)
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
        assert log.paid_tokens(llm.model) == (0, 0)
        worst = llm.money.cost(*log.pending_tokens(llm.model))
        assert sum(row["unanswered"] for row in log.spent(llm.model)) == len(rows) > 0
    assert 0.05 < worst <= 0.1


@pytest.mark.fault(
    "Answers of live LLMs", "two processes share a log and a budget", "both stop at the budget that they keep together"
)
@pytest.mark.parametrize("endpoint", ["slow"], indirect=True)
def test_two_processes_keep_one_budget_together(endpoint, tmp_path):
    money = {"input_price": 10.0, "output_price": 20.0, "budget": 0.1}
    both = [run_elsewhere(endpoint.url, tmp_path, concurrency=4, seed=seed, **money) for seed in (0, 1000)]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    with ResponseLog(tmp_path / "responses.sqlite") as log:
        rows = list(log.rows())
        assert log.pending_tokens("a model") == (0, 0)
    seeds = {row["key"] for row in rows}
    assert len(seeds) == len(rows)
    cost = sum((row["prompt_tokens"] * 10 + row["completion_tokens"] * 20) / 1e6 for row in rows)
    assert 0 < cost <= 0.1
    for process in both:  # each stopped at the budget, and not before
        reason = (tmp_path / f"{process.pid}.shortfalls").read_text()
        spent, under_way, further = map(float, re.search(BUDGET_REACHED, reason).groups())
        assert spent + under_way + further > 0.1 - 1e-4  # told in four digits
        assert spent <= cost + 1e-9


BUDGET_REACHED = r"the budget of 0.1 is reached: (\S+) spent, (\S+) at the worst .* next request could cost (\S+);"


@pytest.mark.fault(
    "Answers of live LLMs",
    "two or four processes ask for the same on one log",
    "each request is sent once; the others wait for its answer",
)
@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("endpoint", ["slow"], indirect=True)
def test_processes_that_want_the_same_pay_for_each_answer_once(endpoint, tmp_path, processes):
    every = [run_elsewhere(endpoint.url, tmp_path, concurrency=4) for _ in range(processes)]
    for process in every:
        process.join(240)
    assert [process.exitcode for process in every] == [0] * processes
    assert [(tmp_path / f"{process.pid}.shortfalls").read_text() for process in every] == [""] * processes
    counts = endpoint.counts()
    assert set(counts["answered"].values()) == {1}
    assert counts["requests"] == len(counts["answered"]) == 4 * len(LABELS)


def asked_once(number: int = 0) -> Request:
    conversation = Conversation("humor", "zero_shot", "humorous", (Message("user", "x"),), number)
    return Request(conversation, 10, (), "http://localhost/v1", "m", {})


def test_what_was_sent_counts_at_its_worst_until_its_answer_is_here(tmp_path):
    money = Money(1.0, 2.0, budget=10e-6)
    with ResponseLog(tmp_path / "log.sqlite") as log, ResponseLog(tmp_path / "log.sqlite") as other:
        note = log.note_request(asked_once(), (2, 3), money)
        for one in (log, other):  # also for another process
            with pytest.raises(BudgetReached, match=r"8e-06 at the worst .*raise the LLM's budget to go on"):
                one.note_request(asked_once(1), (1, 1), money)
        log.store(asked_once(), Answer("1. a", "stop", Usage(1, 1), "m"), note)
        assert (other.paid_tokens("m"), other.pending_tokens("m")) == ((1, 1), (0, 0))
        refused = other.note_request(asked_once(1), (1, 1), money)
        other.forget_request(refused)
        assert log.pending_tokens("m") == (0, 0)
        uncounted = other.note_request(asked_once(1), (1, 2), money)
        other.store(asked_once(1), Answer("1. b", "stop", None, "m"), uncounted)
        assert (log.paid_tokens("m"), log.pending_tokens("m")) == ((1, 1), (1, 2))
    with ResponseLog(tmp_path / "log.sqlite") as log, pytest.raises(BudgetReached):
        log.note_request(asked_once(2), (0, 2), money)  # 3e-6 paid, 5e-6 maybe, and 4e-6 more


def test_a_request_that_never_left_this_machine_is_not_counted(tmp_path):
    async def story(llm: EndpointLLM) -> None:
        with pytest.raises(RequestFailed, match="no connection to the endpoint"):
            await llm.ask(asked_once())
        await llm.close()

    endpoint = Endpoint("good")
    endpoint.end()
    with ResponseLog(tmp_path / "log.sqlite") as log:
        llm = EndpointLLM(settings(endpoint, attempts=2), log)
        asyncio.run(story(llm))
        assert (llm.asked, log.pending_tokens("m")) == (2, (0, 0))


def test_a_token_is_a_byte_at_least():
    conversation = Conversation("humor", "zero_shot", "x", (Message("user", "aé😊"),))
    assert most_tokens(*conversation.messages) >= 1 + 2 + 4


# ------------------------------------------------------------------------------------------------------------- rates


def test_concurrency_doubles_until_the_first_overload_then_rises_by_one_a_round_and_halves_once():
    async def story() -> None:
        limits = RateLimits(100)
        first = limits.limit
        for _ in range(int(first)):
            limits.succeeded()
        assert limits.limit == 2 * first
        limits.overloaded(time.monotonic())
        assert limits.limit == first
        await asyncio.sleep(0.01)
        limits.limit = 10.0
        for _ in range(10):
            limits.succeeded()
        assert 10.9 < limits.limit < 11.1
        started = time.monotonic()
        for _ in range(5):
            limits.overloaded(started)
        assert 5.4 < limits.limit < 5.6
        await asyncio.sleep(0.01)
        limits.overloaded(time.monotonic())
        assert limits.limit < 2.8
        for _ in range(20):
            limits.overloaded(time.monotonic() + 1)
        assert limits.limit == 1
        limits.limit = 99.9
        for _ in range(500):
            limits.succeeded()
        assert limits.limit == 100

    asyncio.run(story())


def test_no_more_run_at_once_than_the_limit_says():
    async def story() -> int:
        limits, most = RateLimits(5), 0

        async def one() -> None:
            nonlocal most
            async with limits.slot(1):
                most = max(most, limits.under_way)
                await asyncio.sleep(0.005)

        await asyncio.gather(*(one() for _ in range(40)))
        assert limits.under_way == 0
        return most

    assert asyncio.run(story()) == 5


def test_places_follow_the_limit_down_and_up():
    async def story() -> list[int]:
        limits, leave, seen = RateLimits(8), [asyncio.Event() for _ in range(24)], []

        async def one(number: int) -> None:
            async with limits.slot(1):
                await leave[number].wait()

        async def after(first: int, last: int) -> None:
            for event in leave[first:last]:
                event.set()
            await asyncio.sleep(0.01)
            seen.append(limits.under_way)

        requests = [asyncio.create_task(one(number)) for number in range(24)]
        await after(0, 0)
        limits.overloaded(time.monotonic())  # 4 may be under way from now on
        await after(0, 4)
        await after(4, 5)
        for _ in range(50):
            limits.succeeded()
        await after(5, 6)
        requests[20].cancel()  # one that waits
        await after(6, 24)
        await asyncio.gather(*requests, return_exceptions=True)
        return seen

    assert asyncio.run(story()) == [8, 4, 4, 8, 0]


def test_tokens_that_were_not_used_are_given_back_to_the_pace():
    async def story() -> float:
        limits = RateLimits(50, tokens_per_minute=6000)
        start = time.monotonic()
        for _ in range(20):
            async with limits.slot(100):
                limits.give_back(99)
        return time.monotonic() - start

    assert asyncio.run(story()) < 5  # 20 x 100 tokens would take 20 seconds


@pytest.mark.parametrize("pace", [{"requests_per_minute": 1200}, {"tokens_per_minute": 12000}])
def test_requests_keep_the_pace_that_was_set(pace):
    async def story() -> float:
        limits = RateLimits(50, **pace)

        async def one() -> None:
            async with limits.slot(10):
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
        log.store(known, Answer("1. a", "stop", None, "m"))
        assert asyncio.run(llm.ask(known)).text == "1. a"
        with pytest.raises(SynthgapError, match="set the variable NO_SUCH_KEY"):
            asyncio.run(llm.ask(dataclasses.replace(asked_once(1), endpoint=llm.endpoint)))


@pytest.mark.parametrize(
    ("llm", "message"),
    [
        ({"backend": "openai"}, "'llms.x.model'"),
        ({"backend": "openai", "model": "m", "modle": 1}, "key 'llms.x.modle' is unknown"),
        ({"backend": "openai", "model": "m", "budget": 5}, "budget needs its input_price"),
        ({"backend": "openai", "model": "m", "base_url": "localhost"}, "'llms.x.base_url'"),
        ({"backend": "magic"}, "'recorded', 'openai'"),
    ],
)
def test_a_faulty_llm_is_refused_with_its_key(llm, message):
    values = read_yaml(ROOT / "configs" / "demo.yaml") | {
        "llms": {"x": llm},
        "corpora": {"texts": {"llm": "x", "setting": "zero_shot"}},
    }
    del values["comparisons"], values["training"]["augmentation"]
    with pytest.raises(SynthgapError) as error:
        build_profile(values, {})
    assert message in str(error.value)


# --------------------------------------------------------------------------------------------------------------- kills


def served(folder) -> dict[str, str]:
    with ResponseLog(folder / "responses.sqlite") as log:
        return {row["key"]: row["response"] for row in log.rows() if not row["fault"]}


@pytest.mark.fault(
    "Answers of live LLMs",
    "generation killed (kill -9) 20 times at random moments",
    "every stored answer is served again, and the texts are those of an undisturbed run",
    costs="at most the requests that were under way at a kill",
)
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("endpoint", ["slower"], indirect=True)
def test_kills_at_any_moment_cost_what_was_under_way_and_change_nothing(endpoint, tmp_path, real, kills):
    wanted = WANTED.model_copy(update={"texts_per_label": 40 if kills < 10 else 160})
    undisturbed = run(endpoint, tmp_path / "undisturbed", real, wanted)[0]
    needed = endpoint.counts()["requests"]
    random.seed(0)
    stored: dict[str, str] = {}
    for _ in range(kills):
        asked = endpoint.counts()["requests"]
        process = run_elsewhere(endpoint.url, tmp_path / "killed", wanted, concurrency=3)
        while endpoint.counts()["requests"] == asked and process.is_alive():
            time.sleep(0.02)
        time.sleep(random.random() * 0.3)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL  # it had not finished
        now = served(tmp_path / "killed")
        assert stored.items() <= now.items()
        stored = now
    made, shortfalls, _, rows = run(endpoint, tmp_path / "killed", real, wanted)
    assert shortfalls == []
    assert as_table(made) == as_table(undisturbed)
    assert stored.items() <= served(tmp_path / "killed").items()
    assert len(rows) == needed
    with ResponseLog(tmp_path / "killed" / "responses.sqlite") as log:
        under_way = sum(row["unanswered"] for row in log.spent("a model"))
    asked_again = endpoint.counts()["requests"] - 2 * needed
    assert 0 <= asked_again <= under_way <= 3 * kills


INTERRUPTED = """
import signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import endpoints
signal.signal(signal.SIGINT, signal.default_int_handler)
class Known: url = {url!r}
endpoints.run(Known, Path({folder!r}), endpoints.real_texts(), concurrency=3)
"""


@pytest.mark.fault(
    "Answers of live LLMs", "Ctrl-C", "nothing more is asked", costs="at most the requests that were under way"
)
@pytest.mark.parametrize("endpoint", ["slower"], indirect=True)
def test_ctrl_c_stops_asking(endpoint, tmp_path):
    code = INTERRUPTED.format(tests=str(ROOT / "tests"), url=endpoint.url, folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
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
