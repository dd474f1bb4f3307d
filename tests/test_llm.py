import json

import pytest

from synthgap.core.config import RecordedSettings
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import bundled
from synthgap.llm import base
from synthgap.llm.backends import connect
from synthgap.llm.base import Answer, Conversation, Message
from synthgap.llm.recorded import RecordedLLM
from synthgap.tasks import load_task, paper_tasks

CLAUDE = RecordedSettings(backend="recorded", recording="claude")


def opening(task="sms_spam", setting="zero_shot", label="spam") -> Conversation:
    return Conversation(task, setting, label, (Message("system", "context"), Message("user", "request")))


def test_it_answers_turn_by_turn_what_was_recorded():
    llm = connect(CLAUDE)
    lines = bundled("recordings", "claude", "zero_shot", "sms_spam.jsonl").read_text().splitlines()
    expected = {row["turn"]: row["response"] for row in map(json.loads, lines) if row["label"] == "spam"}
    conversation = opening()
    for turn in range(len(expected)):
        assert conversation.turn == turn
        answer = llm.answer(conversation)
        assert answer.text == expected[turn]
        assert (answer.finish_reason, answer.usage) == ("stop", None)
        conversation = conversation.then("assistant", answer.text).then("user", "more")
    with pytest.raises(SynthgapError, match=r"holds 20 turns, and turn 21 was asked for; lower generation\.texts"):
        llm.answer(conversation)


def test_a_conversation_that_was_not_recorded_says_so():
    with pytest.raises(SynthgapError, match=r"'no_such_task'.* holds 0 turns"):
        connect(CLAUDE).answer(opening("no_such_task"))


def test_an_answer_needs_a_request():
    conversation = Conversation("sms_spam", "zero_shot", "spam", (Message("system", "context"),))
    with pytest.raises(ValueError, match="user's request"):
        connect(CLAUDE).answer(conversation)


def test_every_task_is_recorded_in_full_in_both_settings():
    llm = connect(CLAUDE)
    texts = {"zero_shot": 0, "few_shot": 0}
    for name in paper_tasks():
        task = load_task(name)
        for setting in texts:
            for label in task.labels:
                conversation = opening(name, setting, label)
                for _ in range(task.texts_per_label // task.texts_per_turn):
                    ids = llm.example_ids(conversation)
                    assert len(ids) == (task.few_shot.examples_per_turn if setting == "few_shot" else 0)
                    answer = llm.answer(conversation)
                    texts[setting] += len(answer.text.splitlines())
                    conversation = conversation.then("assistant", answer.text).then("user", "more")
                assert llm.example_ids(conversation) is None
    assert texts == {"zero_shot": 5440, "few_shot": 5440}


def test_the_fingerprint_follows_the_answers(tmp_path):
    for text in ("1. one", "1. two"):
        path = tmp_path / text[-3:] / "zero_shot" / "sms_spam.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"label": "spam", "turn": 0, "response": text, "example_ids": []}) + "\n")
    one, two = RecordedLLM(tmp_path / "one"), RecordedLLM(tmp_path / "two")
    assert one.fingerprint != two.fingerprint
    assert one.answer(opening()).text == "1. one"


def test_a_torn_recording_is_named_with_its_line(tmp_path):
    path = tmp_path / "zero_shot" / "sms_spam.jsonl"
    path.parent.mkdir()
    path.write_text('{"label": "spam", "turn": 0, "response": "1. x", "example_ids": []}\n{"label": "sp')
    with pytest.raises(SynthgapError, match=r"'sms_spam\.jsonl', line 2"):
        RecordedLLM(tmp_path).answer(opening())


def test_a_recording_says_who_wrote_it_and_one_that_does_not_is_named(tmp_path):
    assert connect(CLAUDE).model == "Claude (Anthropic), recorded 2026-11-20"
    assert RecordedLLM(tmp_path).model == f"recording '{tmp_path.name}', which does not say whose"


def test_an_unknown_recording_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(
        SynthgapError,
        match=r"'gpt' is neither one of the package \(claude, claude-tweets, gemma3-270m, smollm2-135m\) nor a folder",
    ):
        connect(RecordedSettings(backend="recorded", recording="gpt"))


def test_a_gap_in_a_recording_is_named_with_its_line(tmp_path):
    path = tmp_path / "zero_shot" / "sms_spam.jsonl"
    path.parent.mkdir()
    path.write_text("".join(f'{{"label": "spam", "turn": {turn}, "response": "1. x"}}\n' for turn in (0, 2)))
    with pytest.raises(SynthgapError, match=r"'sms_spam\.jsonl', line 2: turn 2 instead of 1"):
        RecordedLLM(tmp_path).answer(opening())


def test_an_answer_is_parsed_once(monkeypatch):
    parsed, parse = [], base.parse
    monkeypatch.setattr(base, "parse", lambda text: parsed.append(text) or parse(text))
    answer = Answer("1. one\n2. two", "stop", None, "m")
    assert answer.parsed.texts == ["one", "two"]
    assert answer.parsed is answer.parsed
    assert parsed == [answer.text]
