"""A model in transformers as the LLM: its draws, its batches, its context window, and what is refused."""

import collections
import hashlib
import importlib
import json
import math
import shutil
from dataclasses import replace

import pandas as pd
import pytest
import small_llm
import torch
import transformers
from conftest import ROOT, synthgap
from endpoints import SETTINGS, as_table, jobs

from synthgap.core.config import GenerationSettings, LocalSettings, build_profile
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import bundled
from synthgap.core.yaml_files import read_yaml
from synthgap.data.real import load_real
from synthgap.generation.corpora import from_recording
from synthgap.generation.generation_cost import estimate_costs
from synthgap.generation.live_generation import Job, generate_live, refuse_failures
from synthgap.llm.backends import connect
from synthgap.llm.base import Conversation, Message
from synthgap.llm.batch import Draw, TopP, drawing, random_numbers
from synthgap.llm.packaged import PACKAGES, Packaged, converted_folder
from synthgap.llm.recorded import RecordedLLM, export_recording, import_recording
from synthgap.llm.response_log import ResponseLog
from synthgap.llm.transformers import LocalLLM, PackedLinear, _convert
from synthgap.tables import read_shown
from synthgap.tasks import load_profile, load_task, paper_tasks

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
    draw = Draw([random_numbers(str(number)) for number in range(rows)])
    scores = drawing(chosen, draw)(torch.zeros(rows, 1), logits.repeat(rows, 1))
    counts = collections.Counter(scores.argmax(dim=1).tolist())
    expected = torch.softmax(logits / temperature, 0)
    if top_p:
        expected = torch.where(torch.tensor([True, True, False, False, False]), expected, 0)  # 0.59 is not yet 0.6
        expected = expected / expected.sum()
    for place, likely in enumerate(expected.tolist()):
        assert abs(counts[place] / rows - likely) <= 4 * math.sqrt(likely * (1 - likely) / rows)


@pytest.mark.parametrize("probability", [1e-6, 0.3, 0.95, 0.999])
def test_the_tokens_of_a_large_vocabulary_that_have_a_probability_are_those_of_transformers(probability):
    scores = torch.randn(20, 5000, generator=random_numbers("scores"), dtype=torch.float64) * 4
    theirs = transformers.TopPLogitsWarper(probability)(None, scores)
    torch.testing.assert_close(TopP(probability)(None, scores), theirs, rtol=0, atol=0)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")
def test_packed_weights_give_the_scores_of_plain_ones(model):
    packed = LocalLLM(settings(model, device="cpu"))._loaded[0]
    assert any(isinstance(layer, PackedLinear) for layer in packed.modules())
    plain = transformers.AutoModelForCausalLM.from_pretrained(model)
    for shape in ((1, 1), (7, 1), (3, 50)):
        tokens = torch.randint(plain.config.vocab_size, shape, generator=random_numbers(str(shape)))
        with torch.inference_mode():
            torch.testing.assert_close(packed(tokens).logits, plain(tokens).logits)


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


# --------------------------------------------------------------------------------------------------------- completions


def completions(llm, real, corpora=SETTINGS) -> list[Job]:
    return [replace(job, protocol="completion") for job in jobs(llm, real, corpora)]


def complete(model, log_file, real, texts=12, corpora=SETTINGS, turns=60, **changes):
    with ResponseLog(log_file) as log:
        llm = connect(settings(model, **{"max_tokens": 60, **changes}), log)
        wanted = GenerationSettings(texts_per_label=texts, turns=turns, examples_per_turn=3)
        made, shortfalls = generate_live(completions(llm, real, corpora), wanted, shown=False)
        return made, shortfalls, llm, list(log.rows())


def test_completions_do_not_depend_on_the_batch_nor_on_a_stop_in_between(model, real, tmp_path):
    alone, shortfalls, llm, rows = complete(model, tmp_path / "alone", real, batch_size=1)
    assert shortfalls == []
    for one in alone.values():
        assert (one.texts["label"].value_counts() == 12).all()
        assert one.texts["id"].is_unique
        assert not one.texts.duplicated(["label", "turn"]).any()  # each is an answer by itself
        assert len(one.texts) + len(one.ledger) == len(one.turns) == one.provenance["asked"]
    together, _, other, _ = complete(model, tmp_path / "together", real, batch_size=7)
    assert (as_table(together), other.asked) == (as_table(alone), llm.asked)
    complete(model, tmp_path / "stopped", real, turns=1)
    resumed, _, other, _ = complete(model, tmp_path / "stopped", real, batch_size=5)
    assert as_table(resumed) == as_table(alone)
    assert 0 < other.asked < llm.asked == len(rows)


def test_a_completion_is_one_text_up_to_its_mark_or_the_end_of_its_line(model, real, tmp_path):
    made, _, _, rows = complete(model, tmp_path / "log", real)
    assert {(row["n"], row["turn"], row["protocol"]) for row in rows} == {(1, 0, "completion")}
    assert not any("\n" in row["response"] for row in rows)
    assert not any('"' in row["response"] for row in rows if row["setting"] == "zero_shot")
    for turn in made["humor", "zero_shot"].turns:
        phrase = real["humor"].task.labels[turn.conversation.label]
        assert turn.conversation.as_messages() == [{"role": "user", "content": f'A short text that is {phrase}: "'}]
    for turn in made["humor", "few_shot"].turns:
        (prompt,) = turn.conversation.as_messages()
        _, *shown, last = prompt["content"].split("\n")
        assert (shown, last) == ([f"- {example}" for example in turn.examples.values()], "-")
        assert len(shown) == 3
    assert "conversation" not in made["humor", "few_shot"].provenance["prompts"]
    assert made["humor", "few_shot"].provenance["prompts"] == real["humor"].task.completion.model_dump()


def test_a_completion_that_does_not_end_is_rejected_and_not_asked_for_again(model, real, tmp_path):
    made, shortfalls, llm, rows = complete(model, tmp_path / "log", real, turns=2, max_tokens=3)
    ledger = made["humor", "zero_shot"].ledger
    assert set(ledger["reason"]) <= {"truncated", "empty", "exact_duplicate", "near_duplicate", "copy_of_example"}
    assert (ledger["reason"] == "truncated").sum() > 10
    assert llm.asked == len(rows) == len({row["key"] for row in rows})
    assert "the limit of 2 turns is reached" in str(shortfalls[0])
    refuse_failures(shortfalls, "x")


def test_completions_are_exported_and_give_the_same_texts_as_a_recording(model, real, tmp_path):
    made, _, _, rows = complete(model, tmp_path / "log", real, texts=8)
    with ResponseLog(tmp_path / "log") as log:
        export_recording(log, tmp_path / "recording")
    llm = RecordedLLM(tmp_path / "recording")
    for texts in (8, 100):  # or as many as there are
        wanted = GenerationSettings(texts_per_label=texts)
        for setting in SETTINGS:
            replayed = from_recording(real["humor"], setting, setting, llm, wanted, protocol="completion")
            pd.testing.assert_frame_equal(replayed.texts, made["humor", setting].texts)
            examples = [turn.examples for turn in made["humor", setting].turns]
            assert [turn.examples for turn in replayed.turns] == examples
    with pytest.raises(SynthgapError, match=r"made by the protocol completion.*write `protocol: completion`"):
        from_recording(real["humor"], "few_shot", "few_shot", llm, GenerationSettings(texts_per_label=8))
    with ResponseLog(tmp_path / "again") as log:
        assert import_recording(log, [tmp_path / "recording"]) == (len(rows), 0)
        assert {row["protocol"] for row in log.rows()} == {"completion"}


def test_a_base_model_without_a_chat_template_completes(real, tmp_path):
    base = small_llm.build(tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    connect(settings(base)).check("completion")
    made, shortfalls, _, _ = complete(base, tmp_path / "log", real, texts=3)
    assert shortfalls == []
    assert len(made["humor", "few_shot"].texts) == 6


def test_what_completions_will_take_is_estimated(model, tmp_path, real):
    values = read_yaml(ROOT / "configs" / "demo.yaml") | {"tasks": ["humor"]}
    values["llms"] = {"claude": settings(model, max_tokens=60).model_dump()}
    values["corpora"]["zero_shot"] |= {"protocol": "completion"}
    values["generation"] = {"texts_by_task": {"humor": 30}, "texts_per_label": 7}
    profile = build_profile(values, {})
    (estimate,) = estimate_costs(profile, real, tmp_path / "log")
    row = estimate.table.set_index("corpus").loc["zero_shot"]
    assert row["texts"] == 60
    assert row["requests"] >= row["texts"] - row["accepted"]
    assert 0 < row["completion_tokens"] <= 60 * row["requests"]
    assert row["prompt_tokens"] / row["requests"] < 60


def test_an_endpoint_does_not_complete():
    values = read_yaml(ROOT / "configs" / "demo.yaml")
    values["llms"] = {"claude": {"backend": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}}
    values["corpora"]["few_shot"] |= {"protocol": "completion"}
    with pytest.raises(SynthgapError, match="corpus 'few_shot' has the protocol completion, and llm 'claude' is an "):
        build_profile(values, {})


# ----------------------------------------------------------------------------------------------------- packaged models


@pytest.fixture
def carried(model, tmp_path, monkeypatch):
    """A package with the small model's file in two parts, whose code must not run; and where it was converted to."""
    content = b"the file of a small model" * 1000
    for number, part in enumerate((content[:9000], content[9000:])):
        folder = tmp_path / "site" / f"small_part{number}"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('the code of a package ran')")
        (folder / "m.gguf").write_bytes(part)
    package = Packaged(
        "Small", "small-model", ("small_part0/m.gguf", "small_part1/m.gguf"), hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setitem(PACKAGES, "small", package)
    monkeypatch.setenv("SYNTHGAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return package


def convert(model):
    """In place of transformers' own reader of GGUF, which needs a package and a minute: copies the model's folder."""

    def copy(package: Packaged, folder) -> None:
        package.assemble(folder / "model.gguf")
        assert hashlib.sha256((folder / "model.gguf").read_bytes()).hexdigest() == package.sha256
        for path in model.iterdir():
            shutil.copy(path, folder)

    return copy


def test_a_packaged_model_is_converted_once_and_answers(carried, model, real, tmp_path, monkeypatch):
    monkeypatch.setattr("synthgap.llm.transformers._convert", convert(model))
    made, shortfalls, llm, _ = complete("package:small", tmp_path / "log", real, texts=3)
    assert shortfalls == []
    assert (llm.model, made["humor", "few_shot"].provenance["written_by"]) == ("Small", "Small")
    monkeypatch.setattr("synthgap.llm.transformers._convert", None)
    shutil.rmtree(tmp_path / "site")  # from now on the cache does
    again, _, llm, _ = complete("package:small", tmp_path / "log", real, texts=3)
    assert (as_table(again), llm.asked) == (as_table(made), 0)


def test_a_conversion_that_is_interrupted_leaves_no_half_model(carried, model, real, tmp_path, monkeypatch):
    def interrupted(package, folder):
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr("synthgap.llm.transformers._convert", interrupted)
    llm = LocalLLM(settings("package:small"))
    with pytest.raises(KeyboardInterrupt):
        llm.context_window  # noqa: B018
    assert not converted_folder(carried).exists()
    monkeypatch.setattr("synthgap.llm.transformers._convert", convert(model))
    assert LocalLLM(settings("package:small")).context_window == 4096
    assert not list(converted_folder(carried).parent.glob("*.partial"))


def test_a_packaged_model_that_is_missing_changed_or_unknown_is_refused(carried, tmp_path):
    connect(settings("package:small")).check("completion")
    (tmp_path / "site" / "small_part1" / "m.gguf").write_bytes(b"another file")
    with pytest.raises(SynthgapError, match=r"the file of Small is not the one that is known.*--force-reinstall small"):
        connect(settings("package:small")).check()
    shutil.rmtree(tmp_path / "site" / "small_part0")
    importlib.invalidate_caches()
    with pytest.raises(SynthgapError, match="Small is not installed: pip install gguf, then pip install small-model"):
        connect(settings("package:small")).check()
    with pytest.raises(SynthgapError, match=r"package with a model.*smoll"):
        connect(settings("package:smoll"))


def test_a_gguf_file_is_read_as_it_was_written(model, tmp_path):
    pytest.importorskip("gguf", reason="the package gguf is not installed")
    content = small_llm.write_gguf(tmp_path / "written.gguf")
    folder = tmp_path / "site" / "written"
    folder.mkdir(parents=True)
    shutil.copy(tmp_path / "written.gguf", folder / "m.gguf")
    (tmp_path / "out").mkdir()

    class Written(Packaged):
        def _files(self):
            yield folder / "m.gguf"

    _convert(Written("Written", "", (), ""), tmp_path / "out")
    read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(read.get_input_embeddings().weight, content)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "out").decode([67, 97]) == "aab"
    assert not (tmp_path / "out" / "model.gguf").exists()


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
    shown = read_shown(tmp_path / "smoke-local" / "tables", "03_evaluation")["table_1_tfidf_macro_f1"]
    assert "small in transformers" in shown
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


SHORT_TASKS = ["tweet_irony", "tweet_emotion", "sarcasm_news", "sms_spam", "humor"]


@pytest.mark.parametrize(
    ("name", "model", "tasks"),
    [("smollm2-135m", "SmolLM2", paper_tasks()), ("gemma3-270m", "Gemma Terms of Use", SHORT_TASKS)],
    ids=["SmolLM2", "Gemma"],
)
def test_the_packages_recording_of_a_small_llm_has_texts_of_all_its_tasks_and_labels(name, model, tasks):
    folder = bundled("recordings", name)
    about = read_yaml(folder / "recording.yaml")
    assert about["protocol"] == "completion"
    assert model in about["model"]
    made = about["made_with"]
    assert {"seed", "temperature", "top_p", "max_tokens"} <= made["settings"].keys()
    assert sum(path.stat().st_size for path in folder.rglob("*.*")) < 3e6
    for task in map(load_task, tasks):
        for setting in ("zero_shot", "few_shot"):
            lines = (folder / setting / f"{task.name}.jsonl").read_text(encoding="utf-8").splitlines()
            counts = collections.Counter(json.loads(line)["label"] for line in lines)
            assert set(counts) == set(task.labels)
            assert min(counts.values()) >= (25 if task.name == "imdb" else 30)
