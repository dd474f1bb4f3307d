"""The response log: every answer that was asked for, stored raw the moment it arrives, so that nothing is paid twice.

One SQLite file (write-ahead logging), keyed by a hash of what was asked; several LLMs and several processes may share
it. Answers that are cut off, refused or empty are kept for the record and never served. A request is noted at its worst
case before it is sent and until its answer is here, so that a budget holds under kills and for several processes.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthgap.core.errors import SynthgapError
from synthgap.core.files import digest, open_sqlite
from synthgap.llm.base import Answer, Conversation, Usage
from synthgap.llm.budget import Money

LATE = "late"  # the fault of a second good answer to one request; see `fault_of` for those of single answers
UNANSWERED = "unanswered"  # the fault of a request's note, which has the shape of an answer
KEY_VERSION = 1  # raised whenever the same request would have to be asked anew
COLUMNS = (
    *("key", "task", "setting", "label", "conversation", "turn", "n", "example_ids", "model", "response"),
    *("finish_reason", "prompt_tokens", "completion_tokens", "seconds", "paid", "fault"),
)
SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS response (number INTEGER PRIMARY KEY, {', '.join(COLUMNS)})",
    "CREATE UNIQUE INDEX IF NOT EXISTS served ON response (key) WHERE fault = ''",
    "CREATE INDEX IF NOT EXISTS unanswered ON response (model) WHERE fault = 'unanswered'",
)
INSERT = f"INSERT OR IGNORE INTO response VALUES (NULL, :{', :'.join(COLUMNS)})"  # noqa: S608
SUMS = {  # {column of `spent`: what is summed up}
    "answers": "fault <> 'unanswered'",
    "served": "fault = ''",
    "prompt_tokens": "paid * prompt_tokens",
    "completion_tokens": "paid * completion_tokens",
    "unanswered": "fault = 'unanswered'",
    "unanswered_prompt": "(fault = 'unanswered') * prompt_tokens",
    "unanswered_completion": "(fault = 'unanswered') * completion_tokens",
}
SPENT = ("task", "setting", "label", *SUMS)


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
            }
        )


def fault_of(answer: Answer) -> str:
    """Why an answer is not served: "truncated", "filtered", "empty" or "refused"; "" where it is."""
    if answer.finish_reason == "length":
        return "truncated"
    if answer.finish_reason not in {"stop", ""}:
        return "filtered"
    if not answer.text.strip():
        return "empty"
    return "refused" if answer.parsed.refused else ""


class ResponseLog(contextlib.AbstractContextManager["ResponseLog"]):
    """The log in one file; several processes may read and write it. A file that is no log is refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._paid: dict[str, tuple[int, Usage]] = {}  # {model: (number of the last answer in the sum, sum)}
        try:
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

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def get(self, key: str) -> Answer | None:
        """The answer that is served for a request; None where there is none yet."""
        row = self._connection.execute("SELECT * FROM response WHERE key = ? AND fault = ''", (key,)).fetchone()
        if row is None:
            return None
        usage = None if row["prompt_tokens"] is None else Usage(row["prompt_tokens"], row["completion_tokens"])
        return Answer(row["response"], row["finish_reason"], usage, row["model"], row["seconds"])

    def note_request(self, request: Request, tokens: Usage, money: Money) -> int:
        """Note a request and its tokens at the worst before it is sent; `store` or `forget_request` removes the note.

        Raises:
            BudgetReached: it could cross the budget, with all that this log (of any process) has paid and sent.
        """
        with self._transaction():
            money.check(self.paid_tokens(request.model), self.pending_tokens(request.model), tokens)
            return self._insert(request, Answer("", "", tokens, request.model), UNANSWERED)

    def forget_request(self, note: int) -> None:
        """The request was refused or never sent, so nothing was paid."""
        self._connection.execute("DELETE FROM response WHERE number = ? AND fault = 'unanswered'", (note,))

    def store(self, request: Request, answer: Answer, note: int | None = None) -> str:
        """Store an answer at once; returns its fault, "" where it will be served.

        A second good answer to the same request (of another process) is kept as LATE, so that what was paid for adds
        up. Where the endpoint counted no tokens, the note of the request stays, at its worst case.
        """
        fault = fault_of(answer)
        with self._transaction():
            if not fault and self.get(request.key) is not None:
                fault = LATE
            self._insert(request, answer, fault)
            if note is not None and answer.usage:
                self.forget_request(note)
        return fault

    def _insert(self, request: Request, answer: Answer, fault: str) -> int:
        about, (prompt_tokens, completion_tokens) = request.conversation, answer.usage or (None, None)
        row = (
            *(request.key, about.task, about.setting, about.label, about.number, about.turn, request.asked),
            *(json.dumps(request.example_ids), answer.model, answer.text, answer.finish_reason),
            *(prompt_tokens, completion_tokens, answer.seconds, fault != UNANSWERED, fault),
        )
        return int(self._connection.execute(INSERT, dict(zip(COLUMNS, row, strict=True))).lastrowid or 0)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Store rows of another log (keys as in COLUMNS) whose requests have no answer here yet; how many they were."""
        with self._transaction():
            return self._connection.executemany(INSERT, rows).rowcount

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, and nobody else's writing in between."""
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
        except sqlite3.OperationalError as error:
            raise SynthgapError(
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
        query = f"SELECT * FROM response WHERE fault <> 'unanswered' ORDER BY {order}"  # noqa: S608
        return map(dict, self._connection.execute(query))

    @staticmethod
    def holds_answers(path: Path, model: str) -> bool:
        """Whether there is a log with answers of a model in it; does not make one."""
        if not path.is_file():
            return False
        with ResponseLog(path) as log:
            return any(row["answers"] for row in log.spent(model))

    def spent(self, model: str) -> list[dict[str, Any]]:
        """What was asked of a model for each label, in keys as in SPENT.

        Tokens are those of answers that this log paid for (imported ones cost nothing); `unanswered` requests may have
        been billed and are counted at the worst in `unanswered_prompt` and `unanswered_completion`.
        """
        sums = ", ".join(f"IFNULL(SUM({what}), 0) AS {name}" for name, what in SUMS.items())
        query = f"SELECT task, setting, label, {sums} FROM response WHERE model = ? GROUP BY 1, 2, 3"  # noqa: S608
        return [dict(row) for row in self._connection.execute(f"{query} ORDER BY 1, 2, 3", (model,))]
