"""The response log: every answer of a live LLM, stored raw the moment it arrives, so that nothing is paid for twice.

One SQLite file (write-ahead logging), keyed by a hash of what was asked. Answers that are cut off, refused or empty are
kept for the record and never served. A request is noted at its worst case before it is sent and until its answer is
here, so that a budget holds under kills and for several processes. Whole logs go out as the JSON Lines of a recording,
and recordings come in.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthgap.errors import SynthgapError
from synthgap.files import digest, open_sqlite, write_text
from synthgap.llm import Answer, Conversation, Usage
from synthgap.parsing import parse
from synthgap.traffic import Money, Tokens

FAULTS = ("empty", "truncated", "refused", "filtered")  # why an answer is not served
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
    seconds REAL,
    paid INTEGER NOT NULL,
    fault TEXT NOT NULL
)
"""
SENT = """
CREATE TABLE IF NOT EXISTS sent (
    number INTEGER PRIMARY KEY,
    task TEXT NOT NULL, setting TEXT NOT NULL, label TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL
)
"""
ONE_SERVED = "CREATE UNIQUE INDEX IF NOT EXISTS served ON response (key) WHERE fault = ''"
ADDED = {"seconds": "REAL", "paid": "INTEGER NOT NULL DEFAULT 1"}  # columns that the first logs did not have
SERVED = (
    "SELECT response, finish_reason, prompt_tokens, completion_tokens, model, seconds FROM response "
    "WHERE key = ? AND fault = ''"
)
COLUMNS = (
    *("key", "task", "setting", "label", "conversation", "turn", "asked", "example_ids", "model", "response"),
    *("finish_reason", "prompt_tokens", "completion_tokens", "seconds", "paid", "fault"),
)
INSERT = f"INSERT INTO response ({', '.join(COLUMNS)}) VALUES ({','.join('?' * len(COLUMNS))})"  # noqa: S608

SPENT = (
    *("task", "setting", "label", "answers", "served", "prompt_tokens", "completion_tokens", "unanswered"),
    *("unanswered_prompt", "unanswered_completion"),
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

    @functools.cached_property
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
    """Why an answer is not served, one of FAULTS; "" where it is."""
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
        self.path = path
        self._counted, self._paid = 0, (0, 0)
        try:
            self._connection = open_sqlite(path, [TABLE, SENT, ONE_SERVED], check_same_thread=False)
            self._bring_up_to_date()
        except (OSError, sqlite3.DatabaseError) as error:
            raise SynthgapError(
                f"the response log '{path.name}' cannot be opened ({error}); it holds answers that were paid for: "
                "restore it from a copy, or move it away to begin anew"
            ) from error

    def _bring_up_to_date(self) -> None:
        there = {row[1] for row in self._connection.execute("PRAGMA table_info(response)")}
        for column in sorted(set(ADDED) - there):
            self._connection.execute(f"ALTER TABLE response ADD COLUMN {column} {ADDED[column]}")

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def get(self, key: str) -> Answer | None:
        """The answer that is served for a request; None where there is none yet."""
        row = self._connection.execute(SERVED, (key,)).fetchone()
        if row is None:
            return None
        text, finish_reason, prompt_tokens, completion_tokens, model, seconds = row
        usage = None if prompt_tokens is None else Usage(prompt_tokens, completion_tokens)
        return Answer(text, finish_reason, usage, model, seconds)

    def send(self, request: Request, tokens: Tokens, money: Money) -> int:
        """Note a request before it is sent; the number of the note, which `put` or `turned_away` takes away.

        Args:
            tokens: of its prompt and its answer at the worst.

        Raises:
            BudgetReached: it could cross the budget, with all that this log (of any process) has paid and sent.
        """
        talk = request.conversation
        with self._transaction():
            if money.budget is not None:
                money.check(self.paid_tokens(), self.pending_tokens(), tokens)
            noted = self._connection.execute(
                "INSERT INTO sent (task, setting, label, prompt_tokens, completion_tokens) VALUES (?,?,?,?,?)",
                (talk.task, talk.setting, talk.label, *tokens),
            )
            return int(noted.lastrowid or 0)

    def turned_away(self, note: int) -> None:
        """The endpoint refused the request, so nothing was paid."""
        self._connection.execute("DELETE FROM sent WHERE number = ?", (note,))

    def put(self, request: Request, answer: Answer, note: int | None = None) -> str:
        """Store an answer at once; returns its fault, "" where it will be served.

        A second served answer to the same request (of another process) is kept as "late", so that what was paid for
        adds up. Where the endpoint counted no tokens, the note of the request stays, at its worst case.
        """
        fault = fault_of(answer)
        with self._transaction():
            if not fault and self._connection.execute(SERVED, (request.key,)).fetchone():
                fault = "late"
            self._connection.execute(INSERT, _row(request, answer, fault))
            if note is not None and answer.usage:
                self.turned_away(note)
        return fault

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, and nobody else's writing in between."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise SynthgapError(
                f"the response log '{self.path.name}' cannot be written ({error}); make room, then run again: "
                "what it holds is not asked for again"
            ) from error

    def paid_tokens(self) -> Tokens:
        """Tokens of prompts and of answers that were paid for, faulty ones included; reads what is new only."""
        row = self._connection.execute(
            "SELECT COALESCE(MAX(number), 0), TOTAL(prompt_tokens * paid), TOTAL(completion_tokens * paid) "
            "FROM response WHERE number > ?",
            (self._counted,),
        ).fetchone()
        self._counted = max(self._counted, row[0])
        self._paid = (self._paid[0] + int(row[1]), self._paid[1] + int(row[2]))
        return self._paid

    def pending_tokens(self) -> Tokens:
        """Tokens at the worst of requests without a (counted) answer: under way, or given up and maybe billed."""
        row = self._connection.execute("SELECT TOTAL(prompt_tokens), TOTAL(completion_tokens) FROM sent").fetchone()
        return int(row[0]), int(row[1])

    def tries(self, key: str) -> int:
        """How many answers a request has had, unusable ones included."""
        return int(self._connection.execute("SELECT COUNT(*) FROM response WHERE key = ?", (key,)).fetchone()[0])

    @staticmethod
    def holds_answers(path: Path) -> bool:
        """Whether there is a log with answers in it; does not make one."""
        if not path.is_file():
            return False
        with ResponseLog(path) as log:
            return len(log) > 0

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT COUNT(*) FROM response").fetchone()[0])

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every stored answer, in the order of task, setting, label, conversation, turn and arrival."""
        order = "task, setting, label, conversation, turn, number"
        cursor = self._connection.execute(f"SELECT {', '.join(COLUMNS)} FROM response ORDER BY {order}")  # noqa: S608
        for row in cursor:
            yield dict(zip(COLUMNS, row, strict=True))

    def spent(self) -> list[dict[str, Any]]:
        """What was asked for each label, in keys as in SPENT.

        Tokens are those of answers that this log paid for (imported ones cost nothing); `unanswered` requests may have
        been billed and are counted at the worst in `unanswered_prompt` and `unanswered_completion`.
        """
        rows = self._connection.execute(
            "SELECT task, setting, label, SUM(answers), SUM(served), SUM(prompt), SUM(completion), SUM(open), "
            "SUM(open_prompt), SUM(open_completion) FROM ("
            "SELECT task, setting, label, 1 AS answers, fault = '' AS served, "
            "COALESCE(prompt_tokens, 0) * paid AS prompt, COALESCE(completion_tokens, 0) * paid AS completion, "
            "0 AS open, 0 AS open_prompt, 0 AS open_completion "
            "FROM response UNION ALL "
            "SELECT task, setting, label, 0, 0, 0, 0, 1, prompt_tokens, completion_tokens FROM sent"
            ") GROUP BY task, setting, label ORDER BY task, setting, label"
        )
        return [dict(zip(SPENT, row, strict=True)) for row in rows]


def _row(request: Request, answer: Answer, fault: str) -> tuple[Any, ...]:
    """A row of the table, in the order of COLUMNS."""
    talk, usage = request.conversation, answer.usage
    return (
        *(request.key, talk.task, talk.setting, talk.label, talk.number, talk.turn, request.asked),
        *(json.dumps(request.example_ids), answer.model, answer.text, answer.finish_reason),
        *((usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)),
        *(answer.seconds, 1, fault),
    )


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
    unique = {row["key"]: row for row in rows}.values()
    with log._transaction():
        new = [row for row in unique if log.get(row["key"]) is None]
        log._connection.executemany(INSERT, [tuple(row[name] for name in COLUMNS) for row in new])
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
            "seconds": None,
            "paid": 0,
            "fault": "",
        }
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise SynthgapError(
            f"'{path.name}', line {number}: no exported answer ({type(error).__name__}: {error}); nothing was stored"
        ) from error
    return found
