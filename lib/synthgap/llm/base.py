"""What is said to an LLM, what comes back, and what every LLM can do."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from synthgap.core.settings import ProtocolName
from synthgap.llm.parsing import QUOTES, Parsed, one_text, parse, without_lone_surrogates

RECORDING = 1000  # numbers of conversations that belong to one recording


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
        messages: context, then user and assistant in turns; of a completion the prompt alone.
        number: several conversations may be held for one label; those of the second recording begin at RECORDING.
        protocol: whether its last message is answered, or gone on from.
        prompt: the prompt variant of its requests; "" for the task's own prompts.
    """

    task: str
    setting: str
    label: str
    messages: tuple[Message, ...]
    number: int = 0
    protocol: ProtocolName = "conversation"
    prompt: str = ""

    @property
    def conditions(self) -> str:
        """How recordings and the response log call what is asked: the prompt variant, or else the setting."""
        return self.prompt or self.setting

    @property
    def sample(self) -> int:
        """The number within its recording."""
        return self.number % RECORDING

    @property
    def place(self) -> int:
        """Where its next answer stands among those of its label: its turn, or the number of a completion."""
        return self.turn if self.protocol == "conversation" else self.sample

    @property
    def ends(self) -> tuple[str, ...]:
        """What the answer ends before, whatever the LLM would go on with."""
        if self.protocol == "conversation":
            return ()
        closing = dict(QUOTES).get(self.messages[-1].content[-1:])
        return ("\n", closing) if closing else ("\n",)

    @property
    def recording(self) -> int:
        """Which recording of its conditions it belongs to, 1 for the first."""
        return self.number // RECORDING + 1

    def as_messages(self, system_role: bool = True) -> list[dict[str, str]]:
        """The messages as they are sent; without the role of the system, what it says begins the first request."""
        messages = [
            {"role": message.role, "content": without_lone_surrogates(message.content)} for message in self.messages
        ]
        if not system_role and messages[0]["role"] == "system":
            context, request, *others = messages
            return [{"role": "user", "content": f"{context['content']}\n\n{request['content']}"}, *others]
        return messages

    @property
    def turn(self) -> int:
        """The number of answers so far: 0 for the first request."""
        return sum(message.role == "assistant" for message in self.messages)

    def then(self, role: Literal["user", "assistant"], content: str) -> "Conversation":
        return dataclasses.replace(self, messages=(*self.messages, Message(role, content)))


class Usage(NamedTuple):
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
    protocol: ProtocolName = "conversation"

    @functools.cached_property
    def parsed(self) -> Parsed:
        """Its texts and what is left over. An answer is parsed here, once, and everybody reads this."""
        return parse(self.text) if self.protocol == "conversation" else one_text(self.text)


class LLM(Protocol):
    """Anything that writes the assistant's part of conversations.

    A recording answers at once (`RecordedLLM.answer`); the others are asked and waited for (`LoggedLLM.ask`).
    """

    @property
    def model(self) -> str:
        """The model's name, as results name it."""

    @property
    def fingerprint(self) -> str:
        """A digest of what determines its answers, beside the conversation."""

    def example_ids(self, conversation: Conversation) -> tuple[str, ...] | None:
        """Ids of the few-shot examples that the next request has to show; None: the caller draws them."""
        return None

    def check(self, protocol: ProtocolName = "conversation") -> None:
        """Refuse what must not or cannot be asked, naming what to set (a key, a budget, a model); asks nothing."""
        return None
