"""An OpenAI-compatible endpoint as a live LLM: bounded tries, traffic that adapts, and money that cannot be lost.

Keys are read from the environment and are in no file, message or hash.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from synthgap.config import OpenAISettings
from synthgap.errors import SynthgapError
from synthgap.live import LiveLLM, RequestFailed
from synthgap.llm import Answer, Conversation, Message, Usage
from synthgap.responses import Request
from synthgap.traffic import BudgetReached, Money, Tokens, Traffic

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LONGEST_WAIT = 60.0  # seconds between two attempts
RETRIED_STATUS = {408, 409, 425, 429}
JSON_FORMAT = 'Answer with a JSON object {{"texts": [...]}} that holds {n} strings, one text each, and nothing else.'
JSON_SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "texts",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"texts": {"type": "array", "items": {"type": "string"}}},
            "required": ["texts"],
            "additionalProperties": False,
        },
    },
}


@dataclass
class EndpointLLM(LiveLLM):
    """An OpenAI-compatible endpoint; to be used within one event loop.

    Attributes:
        exhausted: why no more is sent, once the budget is reached.
    """

    settings: OpenAISettings
    traffic: Traffic = field(init=False)
    exhausted: str = ""
    _client: AsyncOpenAI | None = None

    def __post_init__(self) -> None:
        chosen = self.settings
        self.traffic = Traffic(chosen.concurrency, chosen.requests_per_minute, chosen.tokens_per_minute)
        self.money = Money(chosen.input_price, chosen.output_price, chosen.budget)
        self.at_once = chosen.concurrency
        self.answer_format = JSON_FORMAT if chosen.structured else None

    @property
    def endpoint(self) -> str:
        return self.settings.endpoint

    @property
    def context_window(self) -> int | None:
        return self.settings.context_window

    @property
    def sampling(self) -> dict[str, Any]:
        """Parameters of every request; what is not set is left to the endpoint."""
        chosen = {"temperature": self.settings.temperature, "top_p": self.settings.top_p}
        known = {name: value for name, value in chosen.items() if value is not None}
        structured = {"response_format": JSON_SCHEMA} if self.settings.structured else {}
        return {**known, **structured, self.settings.length_parameter: self.settings.max_tokens}

    def prompt_tokens(self, conversation: Conversation, before: Usage | None) -> int:
        if before is None:
            return most_tokens(conversation)
        asked = conversation.messages[-1]
        return before.prompt_tokens + before.completion_tokens + _most(asked)

    async def _try(self, request: Request, attempt: int) -> str:
        import aiohttp
        import openai

        prompt = most_tokens(request.conversation)
        async with self.traffic.slot(prompt + self.settings.max_tokens) as started:
            note = self._note(request, (prompt, self.settings.max_tokens))
            self.asked += 1
            try:
                async with asyncio.timeout(self.settings.timeout):
                    answer = await self._send(request)
            except openai.APIStatusError as error:
                self.log.turned_away(note)
                if error.status_code not in RETRIED_STATUS and error.status_code < 500:
                    raise RequestFailed(f"the endpoint answered {error.status_code}: {_said(error)}") from None
                pause = _retry_after(error)
                if error.status_code in {429, 503}:
                    self.traffic.overloaded(started, pause)
                reason, wait = f"the endpoint answered {error.status_code}", max(pause, _backoff(attempt))
            except TimeoutError:
                self.traffic.overloaded(started)  # it may have been answered and billed: its note stays
                reason, wait = f"no answer within {self.settings.timeout:g} s", _backoff(attempt)
            except openai.APIConnectionError as error:
                broken = _broken(error)
                if isinstance(broken, aiohttp.ClientConnectorError):
                    self.log.turned_away(note)  # nothing was sent
                if isinstance(broken, TimeoutError):
                    self.traffic.overloaded(started)
                reason, wait = f"no connection to the endpoint ({type(broken).__name__})", _backoff(attempt)
            except (openai.OpenAIError, ValueError, TypeError, AttributeError, LookupError, OSError) as error:
                reason, wait = f"no whole answer ({type(error).__name__})", _backoff(attempt)
            else:
                self.traffic.went_well()
                if answer.usage:
                    used = answer.usage.prompt_tokens + answer.usage.completion_tokens
                    self.traffic.give_back(prompt + self.settings.max_tokens - used)
                return self.log.put(request, answer, note)
        await asyncio.sleep(wait)
        return reason

    def _note(self, request: Request, worst: Tokens) -> int:
        """Note the request in the log; once the budget is reached nothing more is sent, smaller requests neither."""
        if self.exhausted:
            raise BudgetReached(self.exhausted)
        try:
            return self.log.send(request, worst, self.money)
        except BudgetReached as error:
            self.exhausted = str(error)
            raise

    async def _send(self, request: Request) -> Answer:
        """One request by the client's plain `post`: its typed methods take about as long again for each answer."""
        import httpx2

        messages = [{"role": message.role, "content": message.content} for message in request.conversation.messages]
        body = {"model": self.model, "messages": messages, **request.sampling}
        started = time.monotonic()
        response = await self._connected().post("/chat/completions", body=body, cast_to=httpx2.Response)
        seconds = time.monotonic() - started
        completion = json.loads(response.content)
        choice, usage = completion["choices"][0], completion.get("usage")
        counted = Usage(int(usage["prompt_tokens"]), int(usage["completion_tokens"])) if usage else None
        text = choice["message"].get("content")
        if not isinstance(text, str | None):
            raise ValueError("the answer holds no text")
        return Answer(text or "", str(choice.get("finish_reason") or "stop"), counted, self.model, seconds)

    def _connected(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, DefaultAioHttpClient

        if self._client is None:
            self._client = AsyncOpenAI(
                api_key=api_key(self.settings),
                base_url=self.settings.endpoint,
                timeout=self.settings.timeout,
                max_retries=0,
                http_client=DefaultAioHttpClient(),
            )
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


def check_endpoint(settings: OpenAISettings) -> None:
    """Refuse an endpoint without its key, or one that may cost money without a budget.

    Raises:
        SynthgapError: naming what to set.
    """
    api_key(settings)
    if settings.budget is None and not _on_this_machine(settings):
        raise SynthgapError(
            f"{settings.endpoint} may cost money, and llm.budget is not set: set llm.input_price and llm.output_price "
            "(per million tokens, 0 where it is free) and llm.budget"
        )


def api_key(settings: OpenAISettings) -> str:
    """The key in the environment; an endpoint on this machine needs none.

    Raises:
        SynthgapError: there is none.
    """
    key = os.environ.get(settings.key_variable)
    if key:
        return key
    if _on_this_machine(settings):
        return "none"
    raise SynthgapError(
        f"no key for {settings.endpoint}: set the variable {settings.key_variable} in the environment "
        "(keys are read from nowhere else)"
    )


def _on_this_machine(settings: OpenAISettings) -> bool:
    return urlsplit(settings.endpoint).hostname in {"localhost", "127.0.0.1", "::1"}


def most_tokens(conversation: Conversation) -> int:
    """At most so many tokens: a token is a byte at least, and a message costs a few of its own."""
    return sum(map(_most, conversation.messages))


def _most(message: Message) -> int:
    return message.size + 16


def _backoff(attempt: int) -> float:
    """Seconds to wait, twice as long each time, with jitter so that requests do not come back all at once."""
    return min(LONGEST_WAIT, 0.5 * 2**attempt) * (0.5 + random.random())


def _broken(error: BaseException) -> BaseException:
    """What broke the connection, below the client's own errors, which tell a refused connection as a timeout."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _retry_after(error: Any) -> float:
    """Seconds that the endpoint asks to wait; 0 where it does not say."""
    try:
        return min(max(float(error.response.headers.get("retry-after", 0)), 0.0), LONGEST_WAIT)
    except ValueError:  # a date: the backoff will do
        return 0.0


def _said(error: Any) -> str:
    """What the endpoint said, on one line, short, and without anything that looks like a key."""
    words = " ".join(str(error.body if isinstance(error.body, str) else getattr(error, "message", "")).split())
    return " ".join(
        "[hidden]" if word.strip("'\".,:;").startswith(("sk-", "Bearer")) else word for word in words.split()
    )[:200]
