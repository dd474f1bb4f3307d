"""The response log: nothing lost, nothing paid for twice, out as a recording and back in."""

import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from synthgap.core.config import OpenAISettings, RecordedSettings
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import bundled
from synthgap.llm.backends import connect
from synthgap.llm.base import Answer, Conversation, Message, Usage
from synthgap.llm.budget import BudgetReached, Money
from synthgap.llm.recorded import RecordedLLM, export_recording, import_recording
from synthgap.llm.response_log import Request, ResponseLog, fault_of, log_file

ASKED = Conversation("humor", "few_shot", "humorous", (Message("system", "context"), Message("user", "write 10")))
REQUEST = Request(ASKED, 10, ("humor-1",), "http://localhost/v1", "a model", {"temperature": 1.0, "max_tokens": 100})
LOG_FILES = ("responses.lock", "responses.sqlite-shm", "responses.sqlite-wal")
GOOD = Answer("1. one\n2. two", "stop", Usage(10, 20), "a model")


def with_changed(**changes) -> Request:
    return dataclasses.replace(REQUEST, conversation=dataclasses.replace(ASKED, **changes))


@pytest.fixture
def log(tmp_path):
    with ResponseLog(tmp_path / "responses.sqlite") as opened:
        yield opened


# --------------------------------------------------------------------------------------------------------------- keys


def test_everything_that_determines_an_answer_is_in_the_key():
    others = [
        with_changed(messages=(*ASKED.messages[:1], Message("user", "write 11"))),
        with_changed(number=1),
        dataclasses.replace(REQUEST, endpoint="http://localhost/v2"),
        dataclasses.replace(REQUEST, model="another"),
        dataclasses.replace(REQUEST, sampling={"temperature": 0.9, "max_tokens": 100}),
    ]
    keys = {REQUEST.key, *(other.key for other in others)}
    assert len(keys) == 6


def test_keys_stay_as_they_were_or_everything_would_be_paid_for_again():
    assert REQUEST.key == "e936aa797e3f615887ec4c075ef5dfd1aa53dd6646fbdb2829a83b0d1cfaef7c"
    settings = {"backend": "openai", "model": "m", "base_url": "http://localhost/v1", "temperature": 1.0}
    fingerprint = "3131f0a5512e8056724bfec985cf2d78277708911e2e2642459ce0b68e567ada"
    assert connect(OpenAISettings(**settings)).fingerprint == fingerprint
    assert connect(OpenAISettings(**settings, system_role=False)).fingerprint == fingerprint


def test_what_does_not_determine_an_answer_is_not_in_the_key():
    same = [
        with_changed(label="not_humorous"),
        dataclasses.replace(REQUEST, asked=5, example_ids=()),
        dataclasses.replace(REQUEST, sampling={"max_tokens": 100, "temperature": 1.0}),
    ]
    assert {other.key for other in same} == {REQUEST.key}


@given(st.text(), st.text())
def test_different_messages_have_different_keys(one, other):
    keys = {with_changed(messages=(Message("user", text),)).key for text in (one, other)}
    assert len(keys) == (1 if one == other else 2)


# -------------------------------------------------------------------------------------------------------------- storing


def test_an_answer_is_served_as_it_came(log):
    assert log.get(REQUEST.key) is None
    assert log.store(REQUEST, GOOD) == ""
    assert log.get(REQUEST.key) == GOOD
    uncounted = dataclasses.replace(GOOD, usage=None, text="1. ünï\u2028\x00😊")
    other = with_changed(number=3)
    log.store(other, uncounted)
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
    assert log.store(REQUEST, answer) == fault
    assert len(log) == 1
    assert (log.get(REQUEST.key) is None) == bool(fault)
    log.store(REQUEST, GOOD)
    assert log.get(REQUEST.key) == (GOOD if fault else answer)


def test_a_second_answer_to_one_request_is_counted_and_not_served(log):
    log.store(REQUEST, GOOD)
    assert log.store(REQUEST, dataclasses.replace(GOOD, text="1. another")) == "late"
    assert log.get(REQUEST.key) == GOOD
    spent = log.spent("a model")
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
        log.store(REQUEST, GOOD)
    with ResponseLog(tmp_path / "r.sqlite") as log:
        assert log.get(REQUEST.key) == GOOD


@pytest.mark.fault(
    "Answers of live LLMs", "a log that is empty, torn, or no log", "it is refused in a sentence and left as it is"
)
def test_a_file_that_is_no_log_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "r.sqlite"
    path.write_text("this is no database, " * 100)
    with pytest.raises(SynthgapError, match="holds answers that were paid for"):
        ResponseLog(path)
    assert path.read_text().startswith("this is no database")


def test_an_empty_file_is_no_new_log(tmp_path):
    (tmp_path / "r.sqlite").touch()
    with pytest.raises(SynthgapError, match=r"'r\.sqlite' cannot be opened .it is empty.*move it away"):
        ResponseLog(tmp_path / "r.sqlite")
    assert (tmp_path / "r.sqlite").stat().st_size == 0


@pytest.mark.fault("Answers of live LLMs", "a log that another process is making", "it is waited for, and shared")
def test_a_log_that_is_being_made_is_waited_for(tmp_path, monkeypatch):
    path, there = tmp_path / "r.sqlite", threading.Event()

    def slowly(*place, **options):
        connection = sqlite3_connect(*place, **options)
        there.set()
        time.sleep(0.3)
        return connection

    sqlite3_connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", slowly)
    maker = threading.Thread(target=lambda: ResponseLog(path).__exit__())
    maker.start()
    assert there.wait(10)
    assert path.stat().st_size == 0
    with ResponseLog(path) as log:
        assert len(log) == 0
    maker.join(10)


# ----------------------------------------------------------------------------------------------- kills and two writers

WRITER = """
import dataclasses, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_responses import GOOD, with_changed
from synthgap.llm.response_log import ResponseLog
with ResponseLog(Path({path!r})) as log:
    for number in range({first}, {last}):
        log.store(with_changed(number=number), dataclasses.replace(GOOD, text=f"1. text {{number}}"))
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
    told = 30 + len(process.stdout.read().splitlines())
    process.wait()
    with ResponseLog(path) as log:
        stored = len(log)
        assert told - 1 <= stored <= told + 1
        for number in range(stored):
            answer = log.get(with_changed(number=number).key)
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


def two_turns(log: ResponseLog, number: int = 0) -> list[Request]:
    first = dataclasses.replace(ASKED, number=number)
    second = first.then("assistant", GOOD.text).then("user", "more diverse")
    requests = [dataclasses.replace(REQUEST, conversation=one) for one in (first, second)]
    for turn, request in enumerate(requests):
        log.store(request, dataclasses.replace(GOOD, finish_reason="length"))
        log.store(request, dataclasses.replace(GOOD, text=f"1. text {2 * number + turn}\u2028"))
    return requests


def test_an_export_is_a_recording_that_can_be_replayed(log, tmp_path):
    requests = two_turns(log)
    files = export_recording(log, tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in files] == [
        "few_shot/humor.jsonl",
        "recording.yaml",
    ]
    llm = connect(RecordedSettings(backend="recorded", recording=str(tmp_path / "out")))
    assert llm.model == "a model"
    for number, request in enumerate(requests):
        assert llm.answer(request.conversation).text == f"1. text {number}\u2028"
        assert llm.answer(request.conversation).finish_reason == "stop"
    assert llm.example_ids(ASKED) == ("humor-1",)
    rows = [json.loads(line) for line in files[0].read_text().split("\n") if line]
    assert [(row["turn"], row["n"], row["model"]) for row in rows] == [(0, 10, "a model"), (1, 10, "a model")]


def test_several_conversations_of_a_label_are_replayed_as_one(log, tmp_path):
    for number in range(2):
        two_turns(log, number)
    export_recording(log, tmp_path / "out")
    llm, conversation, texts = RecordedLLM(tmp_path / "out"), ASKED, []
    for _ in range(4):
        texts.append(llm.answer(conversation).parsed.texts[0])
        conversation = conversation.then("assistant", "").then("user", "more")
    assert texts == ["text 0", "text 2", "text 1", "text 3"]  # the first turns, then the second ones
    with pytest.raises(SynthgapError, match="holds 4 turns, and turn 5"):
        llm.answer(conversation)


def test_an_export_read_back_serves_the_same_answers(log, tmp_path):
    requests = two_turns(log)
    files = export_recording(log, tmp_path / "out")
    for exported in ([tmp_path / "out"], files[:1]):
        with ResponseLog(tmp_path / f"{exported[0].name}.sqlite") as other:
            assert import_recording(other, exported) == (2, 0)
            assert import_recording(other, exported) == (0, 2)
            for request in requests:
                assert other.get(request.key) == dataclasses.replace(log.get(request.key), seconds=None)
            again = export_recording(other, tmp_path / "again")
            assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


def test_nothing_to_export_and_two_answers_for_one_place_are_refused(log, tmp_path):
    with pytest.raises(SynthgapError, match="holds no answers yet"):
        export_recording(log, tmp_path / "out")
    log.store(REQUEST, GOOD)
    log.store(dataclasses.replace(REQUEST, model="another"), GOOD)
    with pytest.raises(SynthgapError, match="two answers for humor / few_shot / humorous, turn 0"):
        export_recording(log, tmp_path / "out")
    assert not (tmp_path / "out").exists()


SOUND = {"task": "humor", "setting": "zero_shot", "label": "humorous", "turn": 0, "response": "1. a", "key": "k"}


@pytest.mark.fault(
    "Files of others",
    "an import of answers whose task or setting is a path",
    "it is refused with its line, and nothing is stored",
)
@pytest.mark.parametrize(
    ("crafted", "message"),
    [
        ({"task": "../../out"}, "task '../../out' is unknown"),
        ({"task": "/tmp/out"}, "task '/tmp/out' is unknown"),  # noqa: S108
        ({"task": ""}, "task '' is unknown"),
        ({"setting": "../few_shot"}, "setting '../few_shot' is unknown.*did you mean 'few_shot'"),
        ({"turn": 2**70}, "no recorded answer .turn: "),
        ({"turn": -1}, "no recorded answer .turn: "),
        ({"conversation": -1}, "no recorded answer .conversation: "),
        ({"usage": [2**70, 1]}, "no recorded answer .usage: 0: "),
        ({"usage": [1, -5]}, "no recorded answer .usage: 1: "),
        ({"response": ["a"]}, "no recorded answer .response: "),
        ({"label": "funny"}, "label 'funny' is unknown; known: humorous, not_humorous"),
        ({"turn": 2}, "turn 2 instead of 1 of its conversation"),
        ({}, "turn 0 instead of 1 of its conversation"),
        ({"conversation": 1, "turn": 1}, "turn 1 instead of 0 of its conversation"),
    ],
)
def test_what_a_crafted_file_names_becomes_no_path(crafted, message, log, tmp_path):
    path, sound = tmp_path / "crafted.jsonl", tmp_path / "sound" / "zero_shot" / "humor.jsonl"
    sound.parent.mkdir(parents=True)
    sound.write_text(json.dumps(SOUND))
    path.write_text(json.dumps(SOUND) + "\n" + json.dumps(SOUND | crafted) + "\n")
    with pytest.raises(SynthgapError, match=rf"'crafted.jsonl', line 2: {message}"):
        import_recording(log, [sound.parents[1], path])
    assert len(log) == 0
    if {"task", "setting"} & set(crafted):  # a log may come from elsewhere, too
        log.store(with_changed(**crafted), GOOD)
        with pytest.raises(SynthgapError, match=f"^{message}"):
            export_recording(log, tmp_path / "a" / "b" / "out")
        assert {file.name for file in tmp_path.iterdir()} == {path.name, "sound", "responses.sqlite", *LOG_FILES}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_exported_answers_are_read_as_windows_saves_them(encoding, log, tmp_path):
    path = tmp_path / "humor.jsonl"
    path.write_bytes(f"{json.dumps(SOUND | {'response': '1. ä'}, ensure_ascii=False)}\r\n\r\n".encode(encoding))
    assert import_recording(log, [path]) == (1, 0)
    assert [row["response"] for row in log.rows()] == ["1. ä"]


@pytest.mark.fault(
    "Files of others", "an import of a folder or a file without answers", "it is said, and nothing is stored"
)
def test_what_holds_no_answers_is_refused(log, tmp_path):
    sound, empty = tmp_path / "humor.jsonl", tmp_path / "out" / "zero_shot" / "humor.jsonl"
    sound.write_text(json.dumps(SOUND))
    empty.parent.mkdir(parents=True)
    for path, message in (
        (tmp_path / "out", "out' holds no answers"),
        (tmp_path / "out" / "zero_shot", "zero_shot' holds no answers"),
        (empty, "humor.jsonl' holds no answers"),
        (tmp_path / "nowhere", "nowhere' cannot be read: No such file"),
    ):
        empty.write_text("\n")
        with pytest.raises(SynthgapError, match=message):
            import_recording(log, [sound, path])
        assert len(log) == 0


def test_of_several_models_in_one_log_one_is_exported(log, tmp_path):
    two_turns(log)
    log.store(with_changed(number=1), dataclasses.replace(GOOD, model="another"))
    with pytest.raises(SynthgapError, match="holds answers of a model, another: name one"):
        export_recording(log, tmp_path / "out")
    with pytest.raises(SynthgapError, match="holds none of a third"):
        export_recording(log, tmp_path / "out", "a third")
    export_recording(log, tmp_path / "out", "another")
    assert RecordedLLM(tmp_path / "out").model == "another"
    assert len((tmp_path / "out" / "few_shot" / "humor.jsonl").read_text().splitlines()) == 1


def test_the_command_exports_one_of_several_llms(tmp_path, command):
    with ResponseLog(log_file(tmp_path / "smoke")) as log:
        two_turns(log)
        log.store(with_changed(number=1), dataclasses.replace(GOOD, model="another"))
    asked = ("responses", "export", "--profile", "smoke", "--output", str(tmp_path), "--to", str(tmp_path / "out"))
    another = ("--set", "llms.other={backend: openai, model: another, base_url: http://127.0.0.1:9}")
    done = command(*asked, *another)
    assert done.returncode == 2
    assert "holds answers of a model, another: name one" in done.stderr
    done = command(*asked, *another, "--llm", "nobody")
    assert done.returncode == 2
    assert "LLM 'nobody' is unknown; known: claude, other" in done.stderr
    done = command(*asked, *another, "--llm", "other")
    assert done.returncode == 0, done.stderr
    assert RecordedLLM(tmp_path / "out").model == "another"


def test_each_model_of_a_shared_log_has_a_budget_and_costs_of_its_own(log):
    money = Money(1.0, 1.0, budget=50e-6)
    other = dataclasses.replace(REQUEST, model="another")
    log.store(
        other, Answer("1. a", "stop", Usage(1000, 1000), "another"), log.note_request(other, (1000, 1000), Money())
    )
    note = log.note_request(REQUEST, (10, 20), money)
    with pytest.raises(BudgetReached):
        log.note_request(with_changed(number=1), (10, 20), money)
    log.store(REQUEST, GOOD, note)
    held = [ResponseLog.holds_answers(log.path, name) for name in ("a model", "another", "a third")]
    assert held == [True, True, False]
    assert not ResponseLog.holds_answers(log.path.with_name("none"), "a model")
    assert not log.path.with_name("none").exists()
    assert (log.paid_tokens("a model"), log.paid_tokens("another")) == ((10, 20), (1000, 1000))
    assert [row["completion_tokens"] for name in ("a model", "another") for row in log.spent(name)] == [20, 1000]


def test_a_log_of_version_0_1_is_refused_with_the_way_out_and_its_answers_are_left_alone(tmp_path):
    path = tmp_path / "r.sqlite"
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE response (number INTEGER PRIMARY KEY, key TEXT, model TEXT, fault TEXT)")
        old.execute("CREATE TABLE sent (number INTEGER PRIMARY KEY, prompt_tokens INTEGER, completion_tokens INTEGER)")
        old.execute("INSERT INTO response (key, model, fault) VALUES ('k', 'a model', '')")
    for _ in range(2):
        with pytest.raises(SynthgapError, match=r"written by synthgap 0\.1.*export.*move the log away.*import"):
            ResponseLog(path)
    with sqlite3.connect(path) as old:
        assert old.execute("SELECT key, model, fault FROM response").fetchall() == [("k", "a model", "")]


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"key": "k"}', "null", '{"usage": 3}'])
def test_a_faulty_line_is_named_and_nothing_is_stored(log, tmp_path, line):
    two_turns(log)
    path = export_recording(log, tmp_path / "out")[0]
    path.write_text(path.read_text() + line + "\n")
    with ResponseLog(tmp_path / "other.sqlite") as other:
        with pytest.raises(SynthgapError, match=r"'humor\.jsonl', line 3: no recorded answer"):
            import_recording(other, [path])
        assert len(other) == 0
        with pytest.raises(SynthgapError, match="line 1: not exported from a response log"):
            import_recording(other, [bundled("recordings", "claude")])


def test_the_log_holds_no_header_and_no_key_of_the_endpoint(log, tmp_path):
    log.store(REQUEST, GOOD)
    columns = [row[1] for row in sqlite3.connect(log.path).execute("PRAGMA table_info(response)")]
    assert not {"api_key", "headers", "messages", "endpoint"} & set(columns)
