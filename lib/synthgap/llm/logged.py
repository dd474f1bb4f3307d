"""LLMs that have to be asked: each answer comes from the response log, or is asked for and then in the log.

Who answers is an endpoint (openai.py) or a model on this machine (transformers.py).
"""

import abc
import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from synthgap.core.config import LocalSettings, OpenAISettings
from synthgap.core.errors import SynthgapError
from synthgap.core.files import digest
from synthgap.core.terminal import Progress
from synthgap.llm.base import LLM, Answer, Conversation, Usage
from synthgap.llm.budget import Money
from synthgap.llm.response_log import LATE, LogUnwritable, Request, ResponseLog, UnderWay

UNUSABLE = 3  # refused, truncated or empty answers to one request before its conversation ends
LONGEST_WAIT = 60.0  # seconds between two tries
PATIENCE = 600.0  # seconds for which answers are held that the log has no room for
SHOWN = 80  # characters of an answer, in a message
POLL = 0.2  # seconds between two looks at what another process does
Written = TypeVar("Written")
BACKOFF = wait_random_exponential(multiplier=1, max=LONGEST_WAIT)


class RequestFailed(SynthgapError):
    """One request that got no usable answer; its conversation ends, the others go on."""


class NoAnswer(Exception):
    """One try without a usable answer, after which another is worth it."""


class UnusableAnswer(NoAnswer):
    """There was an answer, so that there is no reason to wait before the next try."""


def _wait(state: RetryCallState) -> float:
    """Seconds until the next try: longer after each failure, at random."""
    error = state.outcome.exception() if state.outcome else None
    return 0.0 if isinstance(error, UnusableAnswer) else BACKOFF(state)


class LoggedLLM(LLM):
    """What these LLMs share: an answer from the response log or else from the model; without a log only `check`."""

    endpoint: str  # where the model is, as a part of every request's key
    context_window: int | None  # tokens of prompt and answer together; None where it is not known
    money = Money()  # prices and budget; nothing where nothing is paid
    at_once = 1  # requests under way at the most
    answer_format: str | None = None  # what the request says on the answer's form; None for the task's own words
    offline = False  # whether only the log answers
    asked = 0  # requests that were sent, repeated ones included

    def __init__(self, settings: OpenAISettings | LocalSettings, response_log: ResponseLog | None = None) -> None:
        self.settings = settings
        self.response_log = response_log
        self._warned = False  # that answers are held
        self._under_way = WeakValueDictionary[str, asyncio.Lock]()  # by a request's key

    @property
    def log(self) -> ResponseLog:
        if self.response_log is None:
            raise ValueError("an LLM is asked with a response log only: its answers would be lost")
        return self.response_log

    @property
    def model(self) -> str:
        return self.settings.model

    @property
    def fingerprint(self) -> str:
        return digest({"endpoint": self.endpoint, "model": self.model, "sampling": self.sampling})

    @property
    def sampling(self) -> dict[str, Any]:
        """Parameters that every request is sent with; what is not set is left to the model's own defaults."""
        return self.settings.model_dump(include={"temperature", "top_p", "max_tokens"}, exclude_none=True)

    @abc.abstractmethod
    def prompt_tokens(self, conversation: Conversation, before: Usage | None) -> int:
        """At most so many tokens has the next request, given how many the one before it and its answer had."""

    @abc.abstractmethod
    async def _ask_once(self, request: Request) -> tuple[Answer, str]:
        """An answer that is in the log now, and its fault.

        Raises:
            NoAnswer: another try may have one.
            RequestFailed: another try would end the same way.
            BudgetReached: it could cross the budget.
            UnderWay: another process asks for the same.
        """

    @abc.abstractmethod
    async def close(self) -> None: ...

    def request(self, conversation: Conversation, texts: int, example_ids: Sequence[str] = ()) -> Request:
        """The request for so many texts that a conversation's last message is, with the examples that it shows."""
        sampling = self.sampling
        if self.settings.seed is not None:
            sampling["seed"] = self.settings.seed + conversation.number
        return Request(conversation, texts, tuple(example_ids), self.endpoint, self.model, sampling)

    def spent(self) -> float:
        """What all answers of this model in the log cost, of this run and of those before."""
        return self.money.cost(*self.log.paid_tokens(self.model))

    def fits(self, conversation: Conversation, before: Usage | None) -> bool:
        """Whether the next request and the longest answer to it stay within the context window."""
        window = self.context_window
        return window is None or self.prompt_tokens(conversation, before) + self.settings.max_tokens <= window

    async def ask(self, request: Request) -> Answer:
        """The answer to a request: from the log, or from the model and then in the log.

        Raises:
            RequestFailed: no usable answer in `attempts` tries, or the model refuses the request itself.
            BudgetReached: the next try could cross the budget.
            LogUnwritable: there is no room for the answer.
        """
        faults: list[str] = []
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(NoAnswer),
            stop=lambda state: state.attempt_number >= self.settings.attempts or len(faults) >= UNUSABLE,
            wait=_wait,
            reraise=True,
        )
        try:
            async with self._under_way.setdefault(request.key, asyncio.Lock()):  # corpora may ask the same at once
                return await retrying(self._try, request, faults)
        except NoAnswer as error:
            raise RequestFailed(str(error)) from None

    async def _try(self, request: Request, faults: list[str]) -> Answer:
        """The answer in the log, or a new one; `faults` are those of the unusable ones so far."""
        known = self.log.get(request.key)
        while known is None and not self.offline and self.log.under_way(request.key):  # another process asks for it
            await asyncio.sleep(POLL)
            known = self.log.get(request.key)
        if known is not None:
            return known
        if self.offline:
            raise RequestFailed("not asked yet")
        self.check(request.conversation.protocol)
        try:
            answer, fault = await self._ask_once(request)
        except UnderWay:
            return await self._try(request, faults)
        if fault == LATE:
            return self.log.get(request.key) or answer
        if fault:
            faults.append(fault)
            shown = f": {answer.text[:SHOWN]!r}" if answer.text else ""
            raise UnusableAnswer(f"{len(faults)} answers were not usable, the last one {fault}{shown}")
        return answer

    async def _write_when_possible(self, write: Callable[..., Written], *arguments: Any) -> Written:
        """What writing to the log gives; an answer that it has no room for is held until there is."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return write(*arguments)
            except LogUnwritable as error:
                if time.monotonic() > deadline:
                    raise
                if not self._warned:
                    self._warned = True
                    Progress.write(f"answers are held until there is room, and nothing more is asked: {error}")
                await asyncio.sleep(1)
