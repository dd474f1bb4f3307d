"""The response log: nothing lost, nothing paid for twice, out as a recording and back in."""

import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from synthgap.errors import SynthgapError
from synthgap.llm import Answer, Conversation, Message, RecordedLLM, Usage
from synthgap.responses import Request, ResponseLog, export_recording, fault_of, import_recording

TALK = Conversation("humor", "few_shot", "humorous", (Message("system", "context"), Message("user", "write 10")))
REQUEST = Request(TALK, 10, ("humor-1",), "http://localhost/v1", "a model", {"temperature": 1.0, "max_tokens": 100})
GOOD = Answer("1. one\n2. two", "stop", Usage(10, 20), "a model")


def with_talk(**changes) -> Request:
    return dataclasses.replace(REQUEST, conversation=dataclasses.replace(TALK, **changes))


@pytest.fixture
def log(tmp_path):
    with ResponseLog(tmp_path / "responses.sqlite") as opened:
        yield opened


# --------------------------------------------------------------------------------------------------------------- keys


def test_everything_that_determines_an_answer_is_in_the_key():
    others = [
        with_talk(messages=(*TALK.messages[:1], Message("user", "write 11"))),
        with_talk(number=1),
        dataclasses.replace(REQUEST, endpoint="http://localhost/v2"),
        dataclasses.replace(REQUEST, model="another"),
        dataclasses.replace(REQUEST, sampling={"temperature": 0.9, "max_tokens": 100}),
    ]
    keys = {REQUEST.key, *(other.key for other in others)}
    assert len(keys) == 6


def test_what_does_not_determine_an_answer_is_not_in_the_key():
    same = [
        with_talk(label="not_humorous"),
        dataclasses.replace(REQUEST, asked=5, example_ids=()),
        dataclasses.replace(REQUEST, sampling={"max_tokens": 100, "temperature": 1.0}),
    ]
    assert {other.key for other in same} == {REQUEST.key}


@given(st.text(), st.text())
def test_different_messages_have_different_keys(one, other):
    keys = {with_talk(messages=(Message("user", text),)).key for text in (one, other)}
    assert len(keys) == (1 if one == other else 2)


# -------------------------------------------------------------------------------------------------------------- storing


def test_an_answer_is_served_as_it_came(log):
    assert log.get(REQUEST.key) is None
    assert log.put(REQUEST, GOOD) == ""
    assert log.get(REQUEST.key) == GOOD
    uncounted = dataclasses.replace(GOOD, usage=None, text="1. ünï\u2028\x00😊")
    other = with_talk(number=3)
    log.put(other, uncounted)
    assert log.get(other.key) == uncounted


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (dataclasses.replace(GOOD, finish_reason="length"), "truncated"),
        (dataclasses.replace(GOOD, finish_reason="content_filter"), "filtered"),
        (dataclasses.replace(GOOD, text=" \n"), "empty"),
        (dataclasses.replace(GOOD, text="I'm sorry, I can't help with that."), "refused"),
        (GOOD, ""),
    ],
)
def test_faulty_answers_are_kept_and_never_served(log, answer, fault):
    assert fault_of(answer) == fault
    assert log.put(REQUEST, answer) == fault
    assert len(log) == 1
    assert (log.get(REQUEST.key) is None) == bool(fault)
    log.put(REQUEST, GOOD)
    assert log.get(REQUEST.key) == (GOOD if fault else answer)


def test_a_second_answer_to_one_request_is_counted_and_not_served(log):
    log.put(REQUEST, GOOD)
    assert log.put(REQUEST, dataclasses.replace(GOOD, text="1. another")) == "late"
    assert log.get(REQUEST.key) == GOOD
    spent = log.spent()
    assert spent == [
        {
            "task": "humor",
            "setting": "few_shot",
            "label": "humorous",
            "answers": 2,
            "served": 1,
            "prompt_tokens": 20,
            "completion_tokens": 40,
            "unanswered": 0,
            "unanswered_prompt": 0,
            "unanswered_completion": 0,
        }
    ]


def test_the_log_survives_being_closed(tmp_path):
    with ResponseLog(tmp_path / "r.sqlite") as log:
        log.put(REQUEST, GOOD)
    with ResponseLog(tmp_path / "r.sqlite") as log:
        assert log.get(REQUEST.key) == GOOD


def test_a_file_that_is_no_log_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "r.sqlite"
    path.write_text("this is no database, " * 100)
    with pytest.raises(SynthgapError, match="holds answers that were paid for"):
        ResponseLog(path)
    assert path.read_text().startswith("this is no database")


# ----------------------------------------------------------------------------------------------- kills and two writers

WRITER = """
import dataclasses, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_responses import GOOD, with_talk
from synthgap.responses import ResponseLog
with ResponseLog(Path({path!r})) as log:
    for number in range({first}, {last}):
        log.put(with_talk(number=number), dataclasses.replace(GOOD, text=f"1. text {{number}}"))
        print(number, flush=True)
"""


def writer(path, first, last) -> subprocess.Popen:
    code = WRITER.format(tests=str(ROOT / "tests"), path=str(path), first=first, last=last)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_what_was_stored_before_a_kill_is_there_after_it(tmp_path):
    path = tmp_path / "r.sqlite"
    process = writer(path, 0, 100_000)
    assert process.stdout is not None
    for _ in range(30):
        process.stdout.readline()
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    said = 30 + len(process.stdout.read().splitlines())
    process.wait()
    with ResponseLog(path) as log:
        stored = len(log)
        assert said - 1 <= stored <= said + 1
        for number in range(stored):
            answer = log.get(with_talk(number=number).key)
            assert answer is not None
            assert answer.text == f"1. text {number}"


def test_two_processes_share_a_log_and_no_answer_is_served_twice(tmp_path):
    path = tmp_path / "r.sqlite"
    processes = [writer(path, 0, 150), writer(path, 50, 200)]
    for process in processes:
        process.communicate(timeout=100)
        assert process.returncode == 0
    with ResponseLog(path) as log:
        assert len(log) == 300
        assert sum(row["fault"] == "" for row in log.rows()) == 200
        assert sum(row["fault"] == "late" for row in log.rows()) == 100


# -------------------------------------------------------------------------------------------------------- out and back


def two_turns(log: ResponseLog) -> list[Request]:
    first = TALK
    second = first.then("assistant", GOOD.text).then("user", "more diverse")
    requests = [dataclasses.replace(REQUEST, conversation=talk) for talk in (first, second)]
    for number, request in enumerate(requests):
        log.put(request, dataclasses.replace(GOOD, finish_reason="length"))
        log.put(request, dataclasses.replace(GOOD, text=f"1. text {number}"))
    return requests


def test_an_export_is_a_recording_that_can_be_replayed(log, tmp_path):
    requests = two_turns(log)
    files = export_recording(log, tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in files] == ["few_shot/humor.jsonl"]
    llm = RecordedLLM(tmp_path / "out")
    for number, request in enumerate(requests):
        assert llm.answer(request.conversation).text == f"1. text {number}"
        assert llm.answer(request.conversation).finish_reason == "stop"
    assert llm.example_ids(TALK) == ("humor-1",)
    rows = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert [(row["turn"], row["n"], row["model"]) for row in rows] == [(0, 10, "a model"), (1, 10, "a model")]


def test_an_export_read_back_serves_the_same_answers(log, tmp_path):
    requests = two_turns(log)
    files = export_recording(log, tmp_path / "out")
    with ResponseLog(tmp_path / "other.sqlite") as other:
        assert import_recording(other, files) == (2, 0)
        assert import_recording(other, files) == (0, 2)
        for request in requests:
            assert other.get(request.key) == log.get(request.key)
        again = export_recording(other, tmp_path / "again")
        assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


def test_nothing_to_export_and_two_answers_for_one_place_are_refused(log, tmp_path):
    with pytest.raises(SynthgapError, match="holds no answers yet"):
        export_recording(log, tmp_path / "out")
    log.put(REQUEST, GOOD)
    log.put(dataclasses.replace(REQUEST, model="another"), GOOD)
    with pytest.raises(SynthgapError, match="two answers for humor / few_shot / humorous, turn 0"):
        export_recording(log, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"key": "k"}', "null", '{"usage": 3}'])
def test_a_faulty_line_is_named_and_nothing_is_stored(log, tmp_path, line):
    two_turns(log)
    path = export_recording(log, tmp_path / "out")[0]
    path.write_text(path.read_text() + line + "\n")
    with ResponseLog(tmp_path / "other.sqlite") as other:
        with pytest.raises(SynthgapError, match=r"'humor\.jsonl', line 3: no exported answer"):
            import_recording(other, [path])
        assert len(other) == 0


def test_the_log_holds_no_header_and_no_key_of_the_endpoint(log, tmp_path):
    log.put(REQUEST, GOOD)
    columns = [row[1] for row in sqlite3.connect(log.path).execute("PRAGMA table_info(response)")]
    assert not {"api_key", "headers", "messages", "endpoint"} & set(columns)
