"""The response log: every answer of a live LLM, stored raw the moment it arrives, so that nothing is paid for twice.

One SQLite file (write-ahead logging), keyed by a hash of what was asked. Answers that are cut off, refused or empty are
kept for the record and never served. Whole logs go out as the JSON Lines of a recording, and recordings come in.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthgap.errors import SynthgapError
from synthgap.files import digest, write_text
from synthgap.llm import Answer, Conversation, Usage
from synthgap.parsing import parse

KEY_VERSION = 1  # raised whenever the same request would have to be asked anew
TABLE = """
CREATE TABLE IF NOT EXISTS response (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    task TEXT NOT NULL, setting TEXT NOT NULL, label TEXT NOT NULL,
    conversation INTEGER NOT NULL, turn INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    example_ids TEXT NOT NULL,
    model TEXT NOT NULL,
    response TEXT NOT NULL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER, completion_tokens INTEGER,
    fault TEXT NOT NULL
)
"""
ONE_SERVED = "CREATE UNIQUE INDEX IF NOT EXISTS served ON response (key) WHERE fault = ''"
SERVED = (
    "SELECT response, finish_reason, prompt_tokens, completion_tokens, model FROM response WHERE key = ? AND fault = ''"
)
COLUMNS = (
    *("key", "task", "setting", "label", "conversation", "turn", "asked", "example_ids", "model", "response"),
    *("finish_reason", "prompt_tokens", "completion_tokens", "fault"),
)


def log_file(folder: Path) -> Path:
    """Where the log is; `folder` is outputs/<profile>."""
    return folder / "responses.sqlite"


@dataclass(frozen=True)
class Request:
    """What an answer belongs to.

    Attributes:
        asked: texts that the turn asks for.
        example_ids: the few-shot examples that the turn shows.
        endpoint, model, sampling: where it goes, to whom, and with which parameters; no key, no header.
    """

    conversation: Conversation
    asked: int
    example_ids: tuple[str, ...]
    endpoint: str
    model: str
    sampling: Mapping[str, Any]

    @property
    def key(self) -> str:
        """SHA-256 over all that determines the answer; conversations of one label differ by their number."""
        talk = self.conversation
        return digest(
            {
                "version": KEY_VERSION,
                "endpoint": self.endpoint,
                "model": self.model,
                "messages": [[message.role, message.content] for message in talk.messages],
                "sampling": dict(self.sampling),
                "sample": talk.number,
            }
        )


def fault_of(answer: Answer) -> str:
    """Why an answer is not served: "empty", "truncated", "refused", "filtered"; "" where it is."""
    if answer.finish_reason == "length":
        return "truncated"
    if answer.finish_reason not in {"stop", ""}:
        return "filtered"
    if not answer.text.strip():
        return "empty"
    return "refused" if parse(answer.text).refused else ""


class ResponseLog(contextlib.AbstractContextManager["ResponseLog"]):
    """The log in one file; several processes may read and write it."""

    def __init__(self, path: Path) -> None:
        from filelock import FileLock

        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=120, isolation_level=None, check_same_thread=False)
            # the change to write-ahead logging does not wait for other processes by itself
            with FileLock(path.with_suffix(".lock"), timeout=120):
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=NORMAL")
                self._connection.execute(TABLE)
                self._connection.execute(ONE_SERVED)
        except (OSError, sqlite3.DatabaseError) as error:
            raise SynthgapError(
                f"the response log '{path.name}' cannot be opened ({error}); it holds answers that were paid for: "
                "restore it from a copy, or move it away to begin anew"
            ) from error

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def get(self, key: str) -> Answer | None:
        """The answer that is served for a request; None where there is none yet."""
        row = self._connection.execute(SERVED, (key,)).fetchone()
        if row is None:
            return None
        text, finish_reason, prompt_tokens, completion_tokens, model = row
        usage = None if prompt_tokens is None else Usage(prompt_tokens, completion_tokens)
        return Answer(text, finish_reason, usage, model)

    def put(self, request: Request, answer: Answer) -> str:
        """Store an answer at once; returns its fault, "" where it will be served.

        A second served answer to the same request (of another process) is kept as "late", so that what was paid for
        adds up.
        """
        fault = fault_of(answer)
        try:
            self._insert(request, answer, fault)
        except sqlite3.IntegrityError:
            fault = "late"
            self._insert(request, answer, fault)
        return fault

    def _insert(self, request: Request, answer: Answer, fault: str) -> None:
        talk, usage = request.conversation, answer.usage
        values = (
            *(request.key, talk.task, talk.setting, talk.label, talk.number, talk.turn, request.asked),
            *(json.dumps(request.example_ids), answer.model, answer.text, answer.finish_reason),
            *((usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)),
            fault,
        )
        marks = ",".join("?" * len(COLUMNS))
        try:
            self._connection.execute(f"INSERT INTO response ({', '.join(COLUMNS)}) VALUES ({marks})", values)  # noqa: S608
        except sqlite3.OperationalError as error:
            raise SynthgapError(
                f"the response log '{self.path.name}' cannot be written ({error}); make room, then run again: "
                "what it holds is not asked for again"
            ) from error

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT COUNT(*) FROM response").fetchone()[0])

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every stored answer, in the order of task, setting, label, conversation, turn and arrival."""
        order = "task, setting, label, conversation, turn, number"
        cursor = self._connection.execute(f"SELECT {', '.join(COLUMNS)} FROM response ORDER BY {order}")  # noqa: S608
        for row in cursor:
            yield dict(zip(COLUMNS, row, strict=True))

    def spent(self) -> list[dict[str, Any]]:
        """What was paid for: task, setting, label, answers, served, prompt_tokens, completion_tokens."""
        rows = self._connection.execute(
            "SELECT task, setting, label, COUNT(*), SUM(fault = ''), TOTAL(prompt_tokens), TOTAL(completion_tokens) "
            "FROM response GROUP BY task, setting, label ORDER BY task, setting, label"
        )
        names = ("task", "setting", "label", "answers", "served", "prompt_tokens", "completion_tokens")
        return [dict(zip(names, row[:5] + tuple(map(int, row[5:])), strict=True)) for row in rows]


# ------------------------------------------------------------------------------------------------- out and back


def export_recording(log: ResponseLog, folder: Path) -> list[Path]:
    """Write the served answers as a recording: `<setting>/<task>.jsonl`, one answer a line, without a key or a header.

    Raises:
        SynthgapError: the log is empty, or holds conversations of several numbers, models or requests for one place.
    """
    files: dict[Path, list[str]] = {}
    places: set[tuple[Any, ...]] = set()
    for row in log.rows():
        if row["fault"]:
            continue
        place = tuple(row[name] for name in ("task", "setting", "label", "conversation", "turn"))
        if place in places:
            raise SynthgapError(
                f"the response log holds two answers for {place[0]} / {place[1]} / {place[2]}, turn {place[4]} (of two "
                "models, prompts or settings); export each run from a log of its own"
            )
        places.add(place)
        path = folder / row["setting"] / f"{row['task']}.jsonl"
        files.setdefault(path, []).append(json.dumps(_recorded(row), ensure_ascii=False))
    if not files:
        raise SynthgapError(f"the response log '{log.path.name}' holds no answers yet")
    return [write_text(path, "\n".join(lines) + "\n") for path, lines in sorted(files.items())]


def _recorded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "task": row["task"],
        "setting": row["setting"],
        "label": row["label"],
        "conversation": row["conversation"],
        "turn": row["turn"],
        "n": row["asked"],
        "example_ids": json.loads(row["example_ids"]),
        "model": row["model"],
        "response": row["response"],
        "finish_reason": row["finish_reason"],
        "usage": [row["prompt_tokens"], row["completion_tokens"]],
        "key": row["key"],
    }


def import_recording(log: ResponseLog, files: Sequence[Path]) -> tuple[int, int]:
    """Read exported recordings back; how many answers were new and how many were known.

    Raises:
        SynthgapError: a line is no exported answer; nothing of any file was stored.
    """
    rows = [_imported(path, number, line) for path in files for number, line in _lines(path)]
    known = {row["key"] for row in log.rows() if not row["fault"]}
    new = [row for row in {row["key"]: row for row in rows}.values() if row["key"] not in known]
    marks = ",".join("?" * len(COLUMNS))
    connection = log._connection
    connection.execute("BEGIN IMMEDIATE")
    try:
        statement = f"INSERT OR IGNORE INTO response ({', '.join(COLUMNS)}) VALUES ({marks})"  # noqa: S608
        connection.executemany(statement, [tuple(row[name] for name in COLUMNS) for row in new])
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return len(new), len(rows) - len(new)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SynthgapError(f"'{path}' cannot be read: {error}") from error
    return ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())


def _imported(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        tokens = row["usage"]
        found = {
            **{name: str(row[name]) for name in ("key", "task", "setting", "label", "model", "response")},
            **{name: int(row[name]) for name in ("conversation", "turn")},
            "asked": int(row["n"]),
            "example_ids": json.dumps([str(one) for one in row["example_ids"]]),
            "finish_reason": str(row["finish_reason"]),
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "fault": "",
        }
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise SynthgapError(
            f"'{path.name}', line {number}: no exported answer ({type(error).__name__}: {error}); nothing was stored"
        ) from error
    return found
