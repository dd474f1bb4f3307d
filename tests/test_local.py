"""A model in transformers as the LLM: its draws, its batches, its context window, and what is refused."""

import collections
import math

import pandas as pd
import pytest
import small_llm
import torch
from conftest import synthgap
from endpoints import SETTINGS, as_table, jobs

from synthgap.core.config import GenerationSettings, LocalSettings
from synthgap.core.errors import SynthgapError
from synthgap.data.real import load_real
from synthgap.generation.live_generation import generate_live, refuse_failures
from synthgap.llm.backends import connect
from synthgap.llm.base import Conversation, Message
from synthgap.llm.response_log import ResponseLog
from synthgap.llm.transformers import LocalLLM, drawing
from synthgap.tasks import load_profile, load_task

WANTED = GenerationSettings(texts_per_label=16, conversations=2)  # in two rounds


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_llm.build(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def real():
    return {"humor": load_real(load_task("humor"), load_profile("demo"))}


def settings(model, **changes) -> LocalSettings:
    return LocalSettings(**{"backend": "transformers", "model": str(model), "max_tokens": 400, **changes})


def run(model, log_file, real, wanted=WANTED, corpora=SETTINGS, **changes):
    with ResponseLog(log_file) as log:
        llm = connect(settings(model, **changes), log)
        made, shortfalls = generate_live(jobs(llm, real, corpora), wanted, shown=False)
        return made, shortfalls, llm, list(log.rows())


def test_texts_do_not_depend_on_the_batch_nor_on_a_stop_in_between(model, real, tmp_path):
    def texts(log: str, wanted=WANTED, **changes):
        made, shortfalls, llm, rows = run(model, tmp_path / log, real, wanted, ("few_shot",), **changes)
        return as_table(made), shortfalls, llm.asked, len(rows)

    alone, shortfalls, _, needed = texts("alone", batch_size=1)
    assert shortfalls == []
    labels = [row["label"] for row in alone["humor", "few_shot"]]
    assert min(map(labels.count, ("humorous", "not_humorous"))) >= WANTED.texts_per_label
    together, _, asked, _ = texts("together", batch_size=8)
    assert (together, asked) == (alone, needed)
    texts("stopped", WANTED.model_copy(update={"turns": 1}))
    resumed, _, asked, _ = texts("stopped", batch_size=5)
    assert resumed == alone
    assert asked < needed


def test_other_seeds_and_conversations_give_other_texts(model, real, tmp_path):
    wanted = WANTED.model_copy(update={"turns": 1})
    first, _, _, rows = run(model, tmp_path / "log", real, wanted)
    assert len({row["response"] for row in rows}) == len(rows) == 2 * 2 * 2
    other, _, _, _ = run(model, tmp_path / "log", real, wanted, seed=100)
    assert as_table(other) != as_table(first)


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, None), (0.5, None), (1.0, 0.6)])
def test_draws_follow_the_distribution(temperature, top_p):
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -3.0])
    chosen = settings("x", temperature=temperature, top_p=top_p)
    rows = 4000
    scores = drawing(chosen, [str(number) for number in range(rows)])(torch.zeros(rows, 1), logits.repeat(rows, 1))
    counts = collections.Counter(scores.argmax(dim=1).tolist())
    expected = torch.softmax(logits / temperature, 0)
    if top_p:
        expected = torch.where(torch.tensor([True, True, False, False, False]), expected, 0)  # 0.59 is not yet 0.6
        expected = expected / expected.sum()
    for place, likely in enumerate(expected.tolist()):
        assert abs(counts[place] / rows - likely) <= 4 * math.sqrt(likely * (1 - likely) / rows)


def test_at_temperature_0_every_answer_to_a_prompt_is_the_same(model, real, tmp_path):
    wanted = GenerationSettings(texts_per_label=5, turns=1, conversations=3)
    _, _, _, rows = run(model, tmp_path / "log", real, wanted, ("zero_shot",), temperature=0, attempts=1)
    by_label = collections.defaultdict(set)
    for row in rows:
        by_label[row["label"]].add(row["response"])
    assert [len(found) for found in by_label.values()] == [1, 1]


def test_a_conversation_that_would_overflow_the_window_makes_room_for_a_fresh_one(real, tmp_path):
    model = small_llm.build(tmp_path / "narrow", window=1200)
    wanted = GenerationSettings(texts_per_label=40, conversations=1)
    made, shortfalls, _, rows = run(model, tmp_path / "log", real, wanted, ("zero_shot",), max_tokens=300)
    assert shortfalls == []
    assert (made["humor", "zero_shot"].texts["label"].value_counts() >= 40).all()
    assert max(row["prompt_tokens"] for row in rows) + 300 <= 1200
    assert max(row["conversation"] for row in rows) >= 1
    assert made["humor", "zero_shot"].texts["id"].is_unique


def test_a_window_too_small_for_one_request_is_a_reason_and_nothing_is_asked(real, tmp_path):
    model = small_llm.build(tmp_path / "tiny", window=256)
    _, shortfalls, llm, _ = run(model, tmp_path / "log", real, max_tokens=200)
    assert llm.asked == 0
    with pytest.raises(SynthgapError, match="does not fit the context window of 256 tokens"):
        refuse_failures(shortfalls, "x")


def test_too_little_memory_halves_the_batch(model, real, tmp_path, monkeypatch):
    sizes, write = [], LocalLLM._write

    def scarce(self, requests):
        sizes.append(len(requests))
        if len(requests) > 2:
            raise torch.OutOfMemoryError("no room")
        return write(self, requests)

    monkeypatch.setattr(LocalLLM, "_write", scarce)
    wanted = WANTED.model_copy(update={"conversations": 4})
    made, shortfalls, _, _ = run(model, tmp_path / "log", real, wanted, ("few_shot",), batch_size=8)
    assert shortfalls == []
    assert (made["humor", "few_shot"].texts["label"].value_counts() >= 16).all()
    assert sizes[:3] == [8, 4, 2]
    assert max(sizes[2:]) == 2


def test_a_model_that_fails_is_listed_with_its_reason(model, real, tmp_path, monkeypatch):
    def broken(self, requests):
        raise RuntimeError("device-side assert\nand a long trace")

    monkeypatch.setattr(LocalLLM, "_write", broken)
    _, shortfalls, _, _ = run(model, tmp_path / "log", real)
    assert len(shortfalls) == 4
    assert "the model failed: device-side assert" in str(shortfalls[0])
    assert "long trace" not in str(shortfalls[0])


def test_what_cannot_hold_a_conversation_is_refused_before_it_is_asked(model, tmp_path):
    with pytest.raises(SynthgapError, match=r"the LLM '.*nowhere' cannot be loaded"):
        connect(settings(tmp_path / "nowhere")).check()
    bare = small_llm.build(tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(SynthgapError, match="has no chat template"):
        connect(settings(bare)).check()
    connect(settings(model)).check()


def test_a_template_without_the_role_of_the_system_gets_its_prompt_in_the_first_request(tmp_path):
    model = small_llm.build(tmp_path / "small")
    template = model / "chat_template.jinja"
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    template.write_text(refusal + template.read_text())
    llm = LocalLLM(settings(model))
    asked = Conversation("humor", "zero_shot", "humorous", (Message("system", "badal"), Message("user", "kefen")))
    assert llm._loaded[1].decode(llm._prompt(asked)) == "<user>badal\n\nkefen<end><assistant>"


@pytest.mark.slow
def test_a_run_from_the_command_line(model, tmp_path):
    sets = (
        *("--set", f"llms={{claude: {{backend: transformers, model: {model}, max_tokens: 400}}}}"),
        *("--set", "tasks=[humor]", "--name", "local"),
    )
    done = synthgap("run", "smoke", "01", "02", "03", "--output", str(tmp_path), *sets)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "LLM: small in transformers" in done.stdout
    assert "missing: about" in done.stdout
    costs = pd.read_csv(tmp_path / "smoke-local" / "tables" / "generation_costs.csv")
    assert (costs["accepted"] >= 20).all()
    assert (costs["completion_tokens"] > 0).all()
    assert costs["cost"].isna().all()
    assert "small in transformers" in (tmp_path / "smoke-local" / "tables" / "table_1_tfidf_macro_f1.md").read_text()
    done = synthgap(
        "run",
        "smoke",
        "01",
        "--output",
        str(tmp_path),
        "--set",
        "llms={claude: {backend: transformers, model: nowhere}}",
    )
    assert done.returncode == 2
    assert "the LLM 'nowhere' cannot be loaded" in done.stderr
