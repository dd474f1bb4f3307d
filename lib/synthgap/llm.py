"""Who answers a conversation. One interface for recorded and live models: conversation in, answer out."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from synthgap.config import LiveSettings, LLMSettings, LocalSettings, OpenAISettings
from synthgap.data import bundled
from synthgap.errors import SynthgapError
from synthgap.files import digest, file_digest


@dataclass(frozen=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str

    @property
    def size(self) -> int:
        """Bytes of its content."""
        return len(self.content.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Conversation:
    """A conversation so far; its last message is the request that waits for an answer.

    Attributes:
        task, setting, label: what the texts are for.
        messages: context, then user and assistant in turns.
        number: several conversations may be held for one label.
    """

    task: str
    setting: str
    label: str
    messages: tuple[Message, ...]
    number: int = 0

    @property
    def turn(self) -> int:
        """The number of answers so far: 0 for the first request."""
        return sum(message.role == "assistant" for message in self.messages)

    def then(self, role: Literal["user", "assistant"], content: str) -> Conversation:
        return dataclasses.replace(self, messages=(*self.messages, Message(role, content)))


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Answer:
    """What came back for one request.

    Attributes:
        finish_reason: "stop" for a whole answer, "length" for one cut off by the token limit.
        usage: tokens as the endpoint counted them; None where nobody counted (recordings).
        seconds: how long the answer took; None where nobody measured.
    """

    text: str
    finish_reason: str
    usage: Usage | None
    model: str
    seconds: float | None = None


class LLM(Protocol):
    """Anything that writes the assistant's part of conversations."""

    @property
    def model(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def example_ids(self, conversation: Conversation) -> tuple[str, ...] | None:
        """Ids of the few-shot examples that the next request has to show; None: the caller draws them."""
        ...


class AnswersAtOnce(LLM, Protocol):
    """An LLM that needs no waiting for; see live.py for those that do."""

    def answer(self, conversation: Conversation) -> Answer: ...


RECORDED_MODEL = "Claude (Anthropic), recorded 2026-11-20"


@dataclass(frozen=True)
class RecordedLLM:
    """Answers turn by turn from recorded conversations, as an endpoint would, whatever the exact prompt.

    Args:
        folder: holds `<setting>/<task>.jsonl`, one answer a line: task, setting, label, turn, example_ids, response.
    """

    folder: Path
    model: str = RECORDED_MODEL

    @property
    def fingerprint(self) -> str:
        return digest({path.relative_to(self.folder).as_posix(): file_digest(path) for path in self._files()})

    def answer(self, conversation: Conversation) -> Answer:
        """The recorded answer to the last request.

        Raises:
            SynthgapError: no such conversation, or it was recorded with fewer turns.
        """
        if conversation.messages[-1].role != "user":
            raise ValueError("the last message of a conversation must be the user's request")
        self.check_turns(conversation.task, conversation.setting, conversation.label, conversation.turn + 1)
        row = self._turns(conversation)[conversation.turn]
        return Answer(row["response"], row.get("finish_reason", "stop"), None, self.model)

    def example_ids(self, conversation: Conversation) -> tuple[str, ...] | None:
        row = self._turns(conversation).get(conversation.turn)
        return tuple(row["example_ids"]) if row else None

    def check_turns(self, task: str, setting: str, label: str, turns: int) -> None:
        """Raise SynthgapError where a conversation of so many turns was not recorded."""
        have = len(self._turns(Conversation(task, setting, label, ())))
        if turns > have:
            way_out = "lower generation.texts_per_label or use a live LLM"
            if not have:
                way_out = "use a live LLM, or do without: generation.settings=[] and training.regimes=[real]"
            raise SynthgapError(
                f"the recording of task '{task}', setting '{setting}', label '{label}' holds {have} turns, and turn "
                f"{turns} was asked for; {way_out}"
            )

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*_shot/*.jsonl"))

    def _turns(self, conversation: Conversation) -> dict[int, dict]:
        path = self.folder / conversation.setting / f"{conversation.task}.jsonl"
        return _read_recording(path).get(conversation.label, {})


@functools.lru_cache(maxsize=64)
def _read_recording(path: Path) -> dict[str, dict[int, dict]]:
    """{label: {turn: row}} of a recording; empty where there is none."""
    conversations: dict[str, dict[int, dict]] = {}
    if not path.is_file():
        return conversations
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            conversation = conversations.setdefault(row["label"], {})
            conversation[len(conversation)] = row
            if row["turn"] != len(conversation) - 1:
                raise KeyError("turn")
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise SynthgapError(f"recording '{path.name}', line {number}: no answer with label and turn") from error
    return conversations


def connect(settings: LLMSettings) -> RecordedLLM:
    """The LLM that the bundled recording is of."""
    return RecordedLLM(bundled("recordings"))


def model_of(settings: LLMSettings | LiveSettings) -> str:
    """The model that a profile names, as results name it."""
    if isinstance(settings, OpenAISettings):
        return f"{settings.model} at {settings.endpoint}"
    if isinstance(settings, LocalSettings):
        return f"{Path(settings.model).name} in transformers"
    return RECORDED_MODEL
