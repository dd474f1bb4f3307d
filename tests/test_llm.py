import json

import pytest

from synthgap.config import LLMSettings
from synthgap.data import bundled
from synthgap.errors import SynthgapError
from synthgap.llm import Conversation, Message, RecordedLLM, connect
from synthgap.tasks import known_tasks, load_task


def opening(task="sms_spam", setting="zero_shot", label="spam") -> Conversation:
    return Conversation(task, setting, label, (Message("system", "context"), Message("user", "request")))


def test_it_answers_turn_by_turn_what_was_recorded():
    llm = connect(LLMSettings())
    lines = bundled("recordings", "zero_shot", "sms_spam.jsonl").read_text().splitlines()
    expected = {row["turn"]: row["response"] for row in map(json.loads, lines) if row["label"] == "spam"}
    talk = opening()
    for turn in range(len(expected)):
        assert talk.turn == turn
        answer = llm.answer(talk)
        assert answer.text == expected[turn]
        assert (answer.finish_reason, answer.usage) == ("stop", None)
        talk = talk.then("assistant", answer.text).then("user", "more")
    with pytest.raises(SynthgapError, match=r"holds 20 turns, and turn 21 was asked for; lower generation\.texts"):
        llm.answer(talk)


def test_a_conversation_that_was_not_recorded_says_so():
    with pytest.raises(SynthgapError, match=r"'no_such_task'.* holds 0 turns"):
        connect(LLMSettings()).answer(opening("no_such_task"))


def test_an_answer_needs_a_request():
    talk = Conversation("sms_spam", "zero_shot", "spam", (Message("system", "context"),))
    with pytest.raises(ValueError, match="user's request"):
        connect(LLMSettings()).answer(talk)


def test_every_task_is_recorded_in_full_in_both_settings():
    llm = connect(LLMSettings())
    texts = {"zero_shot": 0, "few_shot": 0}
    for name in known_tasks():
        task = load_task(name)
        for setting in texts:
            for label in task.labels:
                talk = opening(name, setting, label)
                for _ in range(task.texts_per_label // task.texts_per_turn):
                    ids = llm.example_ids(talk)
                    assert len(ids) == (task.few_shot.examples_per_turn if setting == "few_shot" else 0)
                    answer = llm.answer(talk)
                    texts[setting] += len(answer.text.splitlines())
                    talk = talk.then("assistant", answer.text).then("user", "more")
                assert llm.example_ids(talk) is None
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
