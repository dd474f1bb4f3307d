"""The response log: every answer that was asked for, stored raw the moment it arrives, so that nothing is paid twice.

One SQLite file (write-ahead logging), keyed by a hash of what was asked; several LLMs and several processes may share
it. A request is noted at its worst case before it is sent and until its answer is here, so that a budget holds under
kills and for several processes; as long as it is under way, the other processes wait for it. An endpoint's response is
kept in its note before it is read. Answers that are cut off, refused or empty are kept for the record and not served,
and read again before their request is asked anew: a better reader may find an answer in them.
"""

import contextlib
import functools
import json
import os
import platform
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from synthgap.core.errors import SynthgapError
from synthgap.core.files import digest, open_sqlite
from synthgap.llm.base import Answer, Conversation, Usage
from synthgap.llm.budget import Money
from synthgap.llm.completions import Completion, ending, read_completion

LATE = "late"  # the fault of a second good answer to one request; see `fault_of` for those of single answers
LABELLING = "label"  # the setting of requests for a real text's label
UNANSWERED = "unanswered"  # the fault of a request's note, which has the shape of an answer
KEY_VERSION = 1  # raised whenever the same request would have to be asked anew
COLUMNS = (
    *("key", "task", "setting", "label", "conversation", "turn", "n", "example_ids", "model", "response"),
    *("finish_reason", "prompt_tokens", "completion_tokens", "seconds", "paid", "fault"),
    "protocol",
)
RAW = ("status", "body", "host", "pid", "lease")  # the response (zlib); of a note, whose it is and until when
SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS response (number INTEGER PRIMARY KEY, {', '.join((*COLUMNS, *RAW))})",
    "CREATE INDEX IF NOT EXISTS asked ON response (key)",
    "CREATE UNIQUE INDEX IF NOT EXISTS served ON response (key) WHERE fault = ''",
    "CREATE INDEX IF NOT EXISTS unanswered ON response (model) WHERE fault = 'unanswered'",
)
INSERT = f"INSERT OR IGNORE INTO response ({', '.join(COLUMNS)}) VALUES (:{', :'.join(COLUMNS)})"  # noqa: S608
SUMS = {  # {column of `spent`: what is summed up}
    "answers": "fault <> 'unanswered'",
    "served": "fault = ''",
    "prompt_tokens": "paid * prompt_tokens",
    "completion_tokens": "paid * completion_tokens",
    "unanswered": "fault = 'unanswered'",
    "unanswered_prompt": "(fault = 'unanswered') * prompt_tokens",
    "unanswered_completion": "(fault = 'unanswered') * completion_tokens",
}


def log_file(folder: Path) -> Path:
    """Where a profile's log is; `folder` is outputs/<profile>, which its variants share."""
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
        return digest(
            {
                "version": KEY_VERSION,
                "endpoint": self.endpoint,
                "model": self.model,
                "messages": [[message.role, message.content] for message in self.conversation.messages],
                "sampling": dict(self.sampling),
                "sample": self.conversation.number,
                **({} if self.conversation.protocol == "conversation" else {"protocol": self.conversation.protocol}),
                **({"prompt": self.conversation.prompt} if self.conversation.prompt else {}),  # begun anew for each
            }
        )


def fault_of(answer: Answer) -> str:
    """Why an answer is not served: "truncated", "filtered", "empty" or "refused"; "" where it is.

    A completion always is, and rejected as a text: the next one is as good as another try.
    """
    if answer.protocol == "completion":
        return ""
    end = ending(answer.finish_reason)
    if end != "stop":
        return {"length": "truncated", "refusal": "refused"}.get(end, "filtered")
    if not answer.text.strip():
        return "empty"
    return "refused" if answer.parsed.refused else ""


def _request_columns(request: Request) -> dict[str, Any]:
    """The columns that say what was asked."""
    of = request.conversation
    return {
        **{"key": request.key, "task": of.task, "setting": of.conditions, "label": of.label},
        **{"conversation": of.number, "turn": of.turn, "n": request.asked},
        **{"example_ids": json.dumps(request.example_ids), "protocol": of.protocol},
    }


def _answer_columns(answer: Answer, tokens: Sequence[int | None]) -> dict[str, Any]:
    """The columns that say what was answered."""
    return {
        **{"model": answer.model, "response": answer.text, "finish_reason": answer.finish_reason},
        **{"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "seconds": answer.seconds},
    }


def _completion(row: sqlite3.Row) -> Completion | None:
    """What a row's response holds, or its answer without one."""
    if row["body"] is not None:
        return read_completion(zlib.decompress(row["body"])) if row["status"] < 300 else None
    return Completion(row["response"], ending(row["finish_reason"]), None, None) if row["paid"] else None


def _usage(tokens: Sequence[int | None]) -> Usage | None:
    return None if None in tokens else Usage(*tokens)  # type: ignore[arg-type]


def _is_running(pid: int) -> bool:
    """Whether there is such a process on this machine, and it was not killed."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error as error:
        return not isinstance(error, psutil.NoSuchProcess)  # one of somebody else may tell nothing


class LogUnwritable(SynthgapError):
    """The log cannot be written; an answer that waits for it can be held until there is room."""


class UnderWay(Exception):
    """Somebody asks for the same at present, or has just got it."""


class ResponseLog(contextlib.AbstractContextManager["ResponseLog"]):
    """The log in one file; several processes may read and write it. A file that is no log is refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._paid: dict[str, tuple[int, Usage]] = {}  # {model: (number of the last answer in the sum, sum)}
        try:
            if path.is_file() and not path.stat().st_size:
                with FileLock(path.with_suffix(".lock"), timeout=120):  # another process may be making it
                    if not path.stat().st_size:
                        raise OSError("it is empty, which no log is")
            self._connection = open_sqlite(path, SCHEMA, check_same_thread=False)
        except (OSError, sqlite3.DatabaseError) as error:
            raise SynthgapError(
                f"the response log '{path.name}' cannot be opened ({error}); it holds answers that were paid for: "
                "restore it from a copy, or move it away to begin anew"
            ) from error
        self._connection.row_factory = sqlite3.Row
        if self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sent'").fetchone():
            raise SynthgapError(
                f"the response log '{path.name}' was written by synthgap 0.1, and its answers were paid for: export "
                "them there (synthgap responses export), move the log away, and import them (synthgap responses import)"
            )
        if self._columns_missing():
            with self._transaction():
                for column in self._columns_missing():
                    default = " DEFAULT 'conversation'" if column == "protocol" else ""
                    self._connection.execute(f"ALTER TABLE response ADD COLUMN {column}{default}")

    def _columns_missing(self) -> list[str]:
        """Those that a log of synthgap 0.2.0 does not have."""
        there = {row["name"] for row in self._connection.execute("PRAGMA table_info(response)")}
        return [column for column in (*COLUMNS, *RAW) if column not in there]

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def get(self, key: str) -> Answer | None:
        """The answer that is served for a request; None where there is none yet.

        What was kept and not served so far is read again, and served where it is an answer to those who read now.
        """
        query = "SELECT * FROM response WHERE key = ? AND fault <> 'late' ORDER BY fault"
        rows = self._connection.execute(query, (key,)).fetchall()
        if rows and rows[0]["fault"]:
            for row in filter(_completion, rows):
                self._read_again(row)
            rows = [served] if (served := self._served(key)) else []
        if not rows:
            return None
        row = rows[0]
        usage = _usage([row["prompt_tokens"], row["completion_tokens"]])
        return Answer(row["response"], row["finish_reason"], usage, row["model"], row["seconds"], row["protocol"])

    def _read_again(self, row: sqlite3.Row) -> None:
        """Serve what a row holds where it is an answer by now."""
        if row["fault"] == UNANSWERED:
            self.read_response(row["number"])
        elif (found := _completion(row)) and not fault_of(Answer(found.text, found.finish_reason, None, "")):
            better = "UPDATE OR IGNORE response SET response = ?, finish_reason = ?, fault = '' WHERE number = ?"
            with self._transaction():
                self._connection.execute(better, (found.text, found.finish_reason, row["number"]))

    def _served(self, key: str) -> sqlite3.Row | None:
        query = "SELECT * FROM response WHERE key = ? AND fault = ''"
        return self._connection.execute(query, (key,)).fetchone()

    def under_way(self, key: str) -> bool:
        """Whether a process that may still run is asking for it, or has just got it."""
        query = (
            "SELECT fault, host, pid FROM response WHERE key = ? AND (fault = '' OR fault = 'unanswered' AND lease > ?)"
        )
        found = self._connection.execute(query, (key, time.time()))
        return any(not fault or host != platform.node() or _is_running(pid) for fault, host, pid in found)

    def note_request(self, request: Request, tokens: Usage, money: Money, seconds: float = 0.0) -> int:
        """Note a request and its tokens at the worst before it is sent; the others wait for it so many seconds.

        Raises:
            BudgetReached: it could cross the budget, with all that this log (of any process) has paid and sent.
            UnderWay: it need not be sent.
        """
        lease = {"host": platform.node(), "pid": os.getpid(), "lease": time.time() + seconds}
        with self._transaction():
            if self.under_way(request.key):
                raise UnderWay
            money.check(self.paid_tokens(request.model), self.pending_tokens(request.model), tokens)
            note = Answer("", "", None, request.model)
            return self._insert(
                {**_request_columns(request), **_answer_columns(note, tokens), "paid": 0, "fault": UNANSWERED, **lease}
            )

    def forget_request(self, note: int) -> None:
        """The request was refused or never sent, so nothing was paid."""
        with self._transaction():
            self._connection.execute("DELETE FROM response WHERE number = ? AND fault = 'unanswered'", (note,))

    def release(self, note: int) -> None:
        """Nobody need wait for the request any longer; it stays noted where it may have been billed."""
        with self._transaction():
            query = "UPDATE response SET lease = NULL WHERE number = ? AND fault = 'unanswered'"
            self._connection.execute(query, (note,))

    def keep_response(self, note: int, status: int, body: bytes) -> None:
        """Store an endpoint's response, before it is read."""
        with self._transaction():
            query = "UPDATE response SET status = ?, body = ? WHERE number = ?"
            self._connection.execute(query, (status, zlib.compress(body, 1), note))

    def read_response(self, note: int, seconds: float | None = None) -> tuple[Answer, str] | None:
        """Make an answer of the response that was kept for a request, with its fault; None where it holds none."""
        with self._transaction():
            query = "SELECT * FROM response WHERE number = ? AND fault = 'unanswered'"
            row = self._connection.execute(query, (note,)).fetchone()
            completion = _completion(row) if row else None
            if completion is None:
                return None
            text, finish_reason, *tokens = completion
            answer = Answer(text, finish_reason, _usage(tokens), row["model"], seconds)
            return answer, self._store_answer(dict(row), answer, tokens, note)

    def store(self, request: Request, answer: Answer, note: int | None = None) -> str:
        """Store an answer at once; returns its fault, "" where it will be served.

        A second good answer to the same request (of another process) is kept as LATE, so that what was paid for adds
        up. Where the endpoint counted no tokens, the note of the request stays, at its worst case.
        """
        with self._transaction():
            return self._store_answer(_request_columns(request), answer, answer.usage or (None, None), note)

    def _store_answer(
        self, about: Mapping[str, Any], answer: Answer, counted: Sequence[int | None], note: int | None
    ) -> str:
        """Store an answer; of its note stays what was not counted."""
        fault = fault_of(answer)
        if not fault and self._served(about["key"]):
            fault = LATE
        request = {name: value for name, value in about.items() if name not in {"number", "host", "pid", "lease"}}
        self._insert({**request, **_answer_columns(answer, counted), "paid": 1, "fault": fault})
        if None in counted:
            left = "prompt_tokens = prompt_tokens * ?, completion_tokens = completion_tokens * ?, body = NULL"
            unknown = [tokens is None for tokens in counted]
            query = f"UPDATE response SET {left}, lease = NULL WHERE number = ?"  # noqa: S608
            self._connection.execute(query, (*unknown, note))
        else:
            self._connection.execute("DELETE FROM response WHERE number = ?", (note,))
        return fault

    def _insert(self, row: Mapping[str, Any]) -> int:
        query = f"INSERT INTO response ({', '.join(row)}) VALUES (:{', :'.join(row)})"  # noqa: S608
        return int(self._connection.execute(query, row).lastrowid or 0)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Store rows of another log (keys as in COLUMNS) whose requests have no answer here yet; how many they were."""
        with self._transaction():
            return self._connection.executemany(INSERT, rows).rowcount

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, and nobody else's writing in between."""
        if self._connection.in_transaction:
            yield
            return
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
        except sqlite3.OperationalError as error:
            raise LogUnwritable(
                f"the response log '{self.path.name}' cannot be written ({error}); make room, then run again: "
                "what it holds is not asked for again"
            ) from error

    def paid_tokens(self, model: str) -> Usage:
        """Tokens of prompts and of answers that were paid for, faulty ones included; reads what is new only."""
        counted, before = self._paid.get(model, (0, Usage(0, 0)))
        last, prompts, answers = self._connection.execute(
            "SELECT MAX(number), TOTAL(prompt_tokens), TOTAL(completion_tokens) FROM response "
            "WHERE number > ? AND model = ? AND paid",
            (counted, model),
        ).fetchone()
        tokens = Usage(before.prompt_tokens + int(prompts), before.completion_tokens + int(answers))
        self._paid[model] = last or counted, tokens
        return tokens

    def pending_tokens(self, model: str) -> Usage:
        """Tokens at the worst of requests without a (counted) answer: under way, or given up and maybe billed."""
        sums = "SELECT TOTAL(prompt_tokens), TOTAL(completion_tokens) FROM response"
        where = "WHERE model = ? AND fault = 'unanswered'"
        prompts, answers = self._connection.execute(f"{sums} {where}", (model,)).fetchone()
        return Usage(int(prompts), int(answers))

    def tries(self, key: str) -> int:
        """How many answers a request has had, unusable ones included."""
        query = "SELECT COUNT(*) FROM response WHERE key = ? AND fault <> 'unanswered'"
        return int(self._connection.execute(query, (key,)).fetchone()[0])

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT COUNT(*) FROM response WHERE fault <> 'unanswered'").fetchone()[0])

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every stored answer (keys as in COLUMNS), by task, setting, label, conversation, turn and arrival."""
        order = "task, setting, label, conversation, turn, number"
        query = f"SELECT {', '.join(COLUMNS)} FROM response WHERE fault <> 'unanswered' ORDER BY {order}"  # noqa: S608
        return map(dict, self._connection.execute(query))

    @staticmethod
    def holds_answers(path: Path, model: str) -> bool:
        """Whether there is a log with answers of a model in it; does not make one."""
        if not path.is_file():
            return False
        with ResponseLog(path) as log:
            return any(row["answers"] for row in log.spent(model))

    def spent(self, model: str) -> list[dict[str, Any]]:
        """What was asked of a model for each task, setting and label: these, and what SUMS names.

        Tokens are those of answers that this log paid for (imported ones cost nothing); `unanswered` requests may have
        been billed and are counted at the worst in `unanswered_prompt` and `unanswered_completion`.
        """
        sums = ", ".join(f"IFNULL(SUM({what}), 0) AS {name}" for name, what in SUMS.items())
        query = f"SELECT task, setting, label, {sums} FROM response WHERE model = ? GROUP BY 1, 2, 3"  # noqa: S608
        return [dict(row) for row in self._connection.execute(f"{query} ORDER BY 1, 2, 3", (model,))]
