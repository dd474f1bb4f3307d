"""Live LLMs in many conversations at once: every label gets its texts, and nothing is asked for twice."""

import dataclasses
import json
import random
import subprocess
import sys
import time

import pandas as pd
import pytest
from conftest import ROOT, synthgap
from endpoints import LABELS, TASKS, WANTED, as_table, profile_of, real_texts, run, settings
from workers import MAIN_ALONE

from synthgap.core.config import GenerationSettings, parse_overrides
from synthgap.core.errors import SynthgapError
from synthgap.generation.filtering import filter_answers
from synthgap.generation.live_generation import costs, generate_all, refuse_failures
from synthgap.llm.base import Conversation, Message
from synthgap.llm.recorded import RecordedLLM
from synthgap.llm.response_log import ResponseLog
from synthgap.tables import read_shown
from synthgap.tasks import load_profile


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
    assert [str(short) for short in shortfalls if "few_shot" not in short.corpus] == []
    assert (made["humor", "zero_shot"].texts["label"].value_counts() == 60).all()
    assert max(row["prompt_tokens"] for row in rows) + 400 <= 1500
    assert max(row["conversation"] for row in rows) > 0


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


@pytest.mark.parametrize("endpoint", ["stalls"], indirect=True)
def test_requests_that_were_given_up_are_in_the_budget_and_in_the_cost_table(endpoint, tmp_path, real):
    prices = {"input_price": 10.0, "output_price": 20.0, "budget": 10.0}
    made, _, llm, rows = run(endpoint, tmp_path, {"humor": real["humor"]}, timeout=1.0, **prices)
    given_up = llm.asked - len(rows)
    assert given_up > 0
    profile = profile_of({"claude": settings(endpoint, timeout=1.0, **prices)})
    table = costs(profile, made, tmp_path / "responses.sqlite")
    assert table["unanswered"].sum() == given_up
    assert table["unanswered_cost"].sum() > 0
    assert table["cost"].sum() == pytest.approx(len(rows) * (50 * 10 + 100 * 20) / 1e6)
    with ResponseLog(tmp_path / "responses.sqlite") as log:
        assert llm.money.cost(*log.pending_tokens(llm.model)) == pytest.approx(table["unanswered_cost"].sum())


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_a_changed_filter_asks_for_nothing_again(endpoint, tmp_path, real):
    made, _, _, _ = run(endpoint, tmp_path, {"humor": real["humor"]})
    turns = made[("humor", "zero_shot")].turns
    strict, _ = filter_answers(TASKS["humor"], "zero_shot", turns, 50)
    assert len(strict) <= len(made[("humor", "zero_shot")].texts)
    assert dataclasses.asdict(turns[0].answer)["text"].startswith("1. ")


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_several_llms_and_a_file_make_the_corpora_of_one_profile(endpoint, tmp_path, real):
    rows = [{"text": f"a joke of {label} {n}", "label": label} for label in TASKS["humor"].labels for n in range(3)]
    pd.DataFrame(rows).to_csv(tmp_path / "jokes.csv", index=False)
    corpora = {
        "first": {"llm": "a", "setting": "zero_shot"},
        "second": {"llm": "b", "setting": "few_shot"},
        "jokes": {"file": str(tmp_path / "jokes.csv"), "written_by": "somebody"},
    }
    llms = {name: settings(endpoint, model=f"model {name}", input_price=1.0, output_price=2.0) for name in "ab"}
    profile = profile_of(llms, corpora, tasks=["humor"])
    made = generate_all(profile, {"humor": real["humor"]}, tmp_path / "responses.sqlite")
    assert list(made) == [("humor", "first"), ("humor", "second"), ("humor", "jokes")]
    assert [one.provenance["written_by"] for one in made.values()] == ["model a", "model b", "somebody"]
    assert made["humor", "second"].texts["id"].str.startswith("humor-second-").all()
    table = costs(profile, made, tmp_path / "responses.sqlite")
    assert table["corpus"].tolist() == ["first"] * 2 + ["second"] * 2
    assert (table["accepted"] == 40).all()
    assert (table["answers"] == 4).all()
    assert table["cost"].tolist() == pytest.approx([4 * (50 * 1.0 + 100 * 2.0) / 1e6] * 4)


@pytest.mark.parametrize("endpoint", ["slower"], indirect=True)
def test_corpora_of_one_llm_and_setting_share_their_answers(endpoint, tmp_path, real):
    corpora = {name: {"llm": "a", "setting": "zero_shot"} for name in ("first", "second")}
    profile = profile_of({"a": settings(endpoint)}, corpora, tasks=["humor"])
    made = generate_all(profile, {"humor": real["humor"]}, tmp_path / "responses.sqlite")
    texts = [one.texts.drop(columns="id") for one in made.values()]
    assert texts[0].equals(texts[1])
    counts = endpoint.counts()
    assert set(counts["answered"].values()) == {1}
    assert counts["requests"] == len(counts["answered"]) == 4 * len(TASKS["humor"].labels)


def test_a_recording_leaves_no_log_and_no_costs(tmp_path, real):
    profile = load_profile("smoke", {"tasks": ["humor"], **MAIN_ALONE})
    made = generate_all(profile, {"humor": real["humor"]}, tmp_path / "responses.sqlite")
    assert list(made) == [("humor", "zero_shot"), ("humor", "few_shot")]
    assert costs(profile, made, tmp_path / "responses.sqlite").empty
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------- from end to end


def live(endpoint, **changes) -> tuple[str, ...]:
    """Options of the command line for one task and a live LLM in place of the profile's."""
    llm = {"backend": "openai", "model": "a model", "base_url": endpoint.url, "key_variable": "CANARY_KEY", **changes}
    main_alone = ("--set", "comparisons={paper: {corpora: [zero_shot, few_shot]}}")
    return ("--set", f"llms.claude={json.dumps(llm)}", "--set", "tasks=[humor]", "--set", "variant=live", *main_alone)


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_a_live_run_from_the_command_line_leaves_texts_costs_and_no_key(endpoint, tmp_path, command, monkeypatch):
    canary = "sk-canary-9876543210"
    monkeypatch.setenv("CANARY_KEY", canary)
    prices = {"input_price": 1.0, "output_price": 2.0, "budget": 1.0}
    options = (*live(endpoint, seed=0, max_tokens=200, **prices), "--output", str(tmp_path))
    planned = command("plan", "smoke", *options)
    assert f"LLM: a model at {endpoint.url.removesuffix('/v1')}" in planned.stdout
    assert "cost: about" in planned.stdout
    assert endpoint.counts()["requests"] == 1
    assert [path.name for path in tmp_path.rglob("*.sqlite")] == ["responses.sqlite"]

    done = command("run", "smoke", "01", *options)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "missing: about" in done.stdout
    assert endpoint.counts()["requests"] == 8  # the pilot's is one of them
    costs = pd.read_csv(tmp_path / "smoke-live" / "tables" / "generation_costs.csv")
    assert costs["accepted"].tolist() == [20] * 4
    assert costs["cost"].tolist() == pytest.approx([2 * (50 * 1.0 + 100 * 2.0) / 1e6] * 4)
    assert (costs["cost_per_text"] * 20).tolist() == pytest.approx(costs["cost"].tolist())
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or canary.encode() not in path.read_bytes(), path.name
    assert canary not in done.stdout + done.stderr

    done = command("responses", "export", "--profile", "smoke", *options)
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in tmp_path.rglob("recording.yaml"))
    texts = pd.read_parquet(tmp_path / "smoke-live" / "synthetic" / "zero_shot.parquet")
    asked = Conversation("humor", "zero_shot", "humorous", (Message("user", "x"),))
    answer = RecordedLLM(folder).answer(asked)
    assert answer.parsed.texts == texts.loc[texts["label"] == "humorous", "text"].head(10).tolist()
    files = [str(path) for path in folder.rglob("*.jsonl")]
    done = command("responses", "import", *files, "--profile", "smoke", *options[:-1], str(tmp_path / "other"))
    assert "8 new answers, 0 already known" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_what_a_live_llm_wrote_is_trained_on_and_named_and_run_by_force_it_is_not_asked_again(endpoint, tmp_path):
    options = (*live(endpoint, seed=0), "--output", str(tmp_path))
    done = synthgap("run", "smoke", "01", "02", "03", *options)
    assert done.returncode == 0, done.stderr[-2000:]
    shown = read_shown(tmp_path / "smoke-live" / "tables", "03_evaluation")["table_1_tfidf_macro_f1"]
    assert f"a model at {endpoint.url.removesuffix('/v1')}" in shown
    requests = endpoint.counts()["requests"]
    assert synthgap("run", "smoke", "01", "--force", *options).returncode == 0
    assert endpoint.counts()["requests"] == requests == 8


@pytest.mark.fault(
    "Runs",
    "a whole live run killed 20 times, from the first request to the report",
    "it goes on each time; tables equal those of an undisturbed run",
    costs="at most the requests that were under way at a kill",
)
@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["slower"], indirect=True)
def test_a_run_killed_twenty_times_from_the_first_request_to_the_report_loses_nothing(endpoint, tmp_path):
    options = (*live(endpoint, seed=0, concurrency=3), "--set", "generation.texts_per_label=100")
    assert synthgap("run", "smoke", *options, "--output", str(tmp_path / "undisturbed")).returncode == 0
    needed, chance, stored = endpoint.counts()["requests"], random.Random(0), {}
    command = [sys.executable, "-m", "synthgap", "run", "smoke", *options, "--output", str(tmp_path / "killed")]
    for number, kills in enumerate((4, 4, 3, 3, 3, 3), start=1):
        for _ in range(kills):
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            assert any(line.startswith(f"[{number}/6]") and ": running" in line for line in process.stdout)
            time.sleep(chance.uniform(0, 2.5))  # no stage takes less
            process.kill()
            process.communicate()
            (log,) = (tmp_path / "killed").rglob("responses.sqlite")
            with ResponseLog(log) as answers:
                now = {row["key"]: row["response"] for row in answers.rows() if not row["fault"]}
            assert stored.items() <= now.items()
            stored = now
    assert synthgap("run", "smoke", *options, "--output", str(tmp_path / "killed")).returncode == 0
    with ResponseLog(log) as answers:
        under_way = sum(row["unanswered"] for row in answers.spent("a model"))
    assert 0 <= endpoint.counts()["requests"] - 2 * needed <= under_way <= 3 * 4
    assert (tmp_path / "killed" / "smoke-live" / "report.html").is_file()
    for name in ("table_1", "gaps", "diversity", "mixes"):
        tables = [tmp_path / run / "smoke-live" / "tables" / f"{name}.csv" for run in ("undisturbed", "killed")]
        assert tables[0].read_text() == tables[1].read_text(), name


@pytest.mark.parametrize(("step", "left"), [("run", []), ("plan", ["smoke"])])
def test_what_may_cost_money_needs_a_budget_and_a_key(step, left, tmp_path, command, monkeypatch):
    llm = '{"backend": "openai", "model": "m", "base_url": "https://llm.example.org/v1", "key_variable": "NO_KEY_HERE"}'
    arguments = (step, "smoke", "--output", str(tmp_path), "--set", f"llms.claude={llm}")
    done = command(*arguments)
    assert done.returncode == 2
    assert "set the variable NO_KEY_HERE" in done.stderr
    monkeypatch.setenv("NO_KEY_HERE", "x")
    done = command(*arguments)
    assert done.returncode == 2
    assert "may cost money, and the LLM's budget is not set" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == left  # a plan has opened the log


@pytest.mark.parametrize("endpoint", ["forbidden_later"], indirect=True)
def test_a_failed_generation_is_one_sentence_per_label_and_can_go_on(endpoint, tmp_path, command, monkeypatch):
    canary = "sk-canary-5555555555"
    monkeypatch.setenv("CANARY_KEY", canary)
    options = (*live(endpoint), "--set", "tasks=[ag_news]", "--output", str(tmp_path))
    done = command("run", "smoke", "01", *options)
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
