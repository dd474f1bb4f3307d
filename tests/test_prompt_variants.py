"""Prompt variants: what their requests say, equal to what the recordings say was asked; and which are refused."""

import json

import pytest
from endpoints import profile_of, settings

from synthgap.core.config import GeneratedCorpus, GenerationSettings
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import bundled
from synthgap.data.real import load_real
from synthgap.generation.conversations import run_conversation, under_prompt
from synthgap.generation.live_generation import generate_all
from synthgap.llm.backends import connect
from synthgap.llm.recorded import RecordedLLM, export_recording
from synthgap.llm.response_log import ResponseLog
from synthgap.tasks import load_profile, load_prompt, load_task
from synthgap.tasks.registry import prompt_files

PROFILE = load_profile("demo")
RECORDED = sorted(
    path
    for path in bundled("recordings", "claude").glob("*/*.jsonl")
    if path.parent.name.partition(".")[0] in prompt_files()
)
HUMOR = load_task("humor")


def corpus(prompt, setting="zero_shot"):
    return GeneratedCorpus(llm="claude", setting=setting, prompt=prompt)


def test_every_variant_of_the_package_was_recorded():
    assert {path.parent.name.partition(".")[0] for path in RECORDED} == set(prompt_files())
    assert len(RECORDED) == 6 * 5 + 2 * 6


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_request_says_what_the_recording_says_was_asked(path):
    variant, task = load_prompt(path.parent.name.partition(".")[0]), load_task(path.stem)
    own = task.under(variant)
    for line in map(json.loads, path.read_text().splitlines()):
        plain = task.request(line["label"], turn=0)
        if addition := line.get("addition"):
            plain = plain.replace(" Be creative", f" {addition} Be creative")
        parts = [line.get("guideline"), plain]
        if line["turn"] and variant.diversity is None:
            parts.insert(0, task.prompts.diversity)
        assert own.request(line["label"], line["turn"]) == " ".join(filter(None, parts))
    shown = {line["label"]: set() for line in map(json.loads, path.read_text().splitlines())}
    for line in map(json.loads, path.read_text().splitlines()):
        shown[line["label"]] |= set(line.get("example_ids", ()))
        assert len(set(line.get("example_ids", ()))) == min(variant.examples or 0, own.few_shot.examples_per_turn)
    assert {len(ids) for ids in shown.values()} == {{3: 3, 10: 10, 30: 28, None: 0}[variant.examples]}


def test_what_a_variant_leaves_out_stays_as_the_task_says():
    nothing = load_prompt("examples_3")
    assert HUMOR.under(nothing).request("humorous", 3) == HUMOR.request("humorous", 3)
    assert HUMOR.under(load_prompt("no_diversity_prompt")).request("humorous", 3) == HUMOR.request("humorous", 0)


def test_a_recorded_variant_is_as_long_as_it_was_recorded():
    data = under_prompt(load_real(HUMOR, PROFILE), corpus("personas"))
    turns = run_conversation(data, "zero_shot", "humorous", connect(PROFILE.llms["claude"]), 200)
    assert len(turns) == 10
    assert "as a retired bus driver" in turns[0].conversation.messages[-1].content


@pytest.mark.parametrize("examples", [3, 10, 30])
def test_all_turns_show_as_many_different_examples_as_the_variant_says(examples):
    data = under_prompt(load_real(HUMOR, PROFILE), corpus(f"examples_{examples}", "few_shot"))
    turns = run_conversation(data, "few_shot", "humorous", connect(PROFILE.llms["claude"]), 100)
    assert {len(turn.examples) for turn in turns} == {min(examples, 10)}
    assert len({key for turn in turns for key in turn.examples}) <= examples


@pytest.mark.fault("Profiles", "a prompt that a corpus cannot have", "refused, a sentence for each task and label")
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prompt": "persona"}, "prompt 'persona' is unknown .did you mean 'personas'"),
        ({"prompt": "examples_3"}, "corpus 'zero_shot': prompt 'examples_3' shows examples"),
        ({"prompt": "guideline"}, "corpus 'zero_shot': prompt 'guideline' has no guideline for label .* 'imdb'"),
        ({"prompt": "attributes"}, "has no value of 'subject' for label 'negative' of task 'imdb'"),
        ({"prompt": "few_shot"}, "a setting is no prompt"),
        ({"prompt": "personas", "protocol": "completion"}, "completions have none"),
    ],
)
def test_a_prompt_that_a_corpus_cannot_have_is_refused_with_a_sentence(changed, said):
    with pytest.raises(SynthgapError, match=said):
        load_profile("demo", {f"corpora.zero_shot.{key}": value for key, value in changed.items()})


def test_a_task_names_no_prompt_and_a_file_of_one_is_checked(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="a corpus names its prompt"):
        type(HUMOR).model_validate({"name": "mine", "labels": ["a", "b"], "variant": {"name": "x", "about": "x"}})
    for folder in ("configs", "notebooks", "prompts"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("SYNTHGAP_HOME", str(tmp_path))
    (tmp_path / "prompts" / "mine.yaml").write_text("about: x\naddition: 'By {who}.'\nattributes: {who: [me, you]}\n")
    own = HUMOR.under(load_prompt("mine"))
    assert [own.request("humorous", turn).count("By you.") for turn in range(4)] == [0, 1, 0, 1]
    (tmp_path / "prompts" / "mine.yaml").write_text("about: x\nexample: 3\n")
    with pytest.raises(SynthgapError, match=r"prompt file 'mine\.yaml'.*'example'.*examples"):
        load_prompt("mine")


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_a_live_llm_holds_a_conversation_of_its_own_under_each_prompt(endpoint, tmp_path):
    corpora = {
        name: {"llm": "live", "setting": "zero_shot", "prompt": name} for name in ("no_diversity_prompt", "personas")
    }
    corpora["zero_shot"] = {"llm": "live", "setting": "zero_shot"}
    profile = profile_of({"live": settings(endpoint)}, corpora, GenerationSettings(texts_per_label=20), ["humor"])
    made = generate_all(profile, {"humor": load_real(HUMOR, PROFILE)}, tmp_path / "responses.sqlite")
    with ResponseLog(tmp_path / "responses.sqlite") as log:
        export_recording(log, tmp_path / "exported")
    again = RecordedLLM(tmp_path / "exported")
    for (_, name), texts in made.items():
        assert {turn.conversation.conditions for turn in texts.turns} == {name}
        assert [again.answer(turn.conversation).text for turn in texts.turns] == [t.answer.text for t in texts.turns]
    about = made["humor", "personas"].provenance
    assert about["variant"]["attributes"]["persona"], "the texts' provenance says under which prompts they were written"
