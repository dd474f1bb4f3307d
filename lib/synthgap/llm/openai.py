"""An endpoint that speaks OpenAI's chat completions: limits on rates, and money that cannot be lost.

Keys are read from the environment and are in no file, message or hash.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import httpx2
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, DefaultAioHttpClient, OpenAIError

from synthgap.core.config import OpenAISettings, shown_endpoint
from synthgap.core.errors import SynthgapError
from synthgap.llm.base import Answer, Conversation, Message, Usage
from synthgap.llm.budget import BudgetReached, Money
from synthgap.llm.keys import HIDDEN, LOOKS_LIKE_A_KEY, hide_keys, on_this_machine
from synthgap.llm.logged import LONGEST_WAIT, LoggedLLM, NoAnswer, RequestFailed
from synthgap.llm.rate_limits import RateLimits
from synthgap.llm.response_log import Request, ResponseLog

RETRIED_STATUS = {408, 409, 425, 429}
OVERLOADED_STATUS = {429, 503}
FAILURES = (OpenAIError, OSError, ValueError, TypeError, AttributeError, LookupError)  # half an answer raises the last
JSON_FORMAT = 'Answer with a JSON object {{"texts": [...]}} that holds {n} strings, one text each, and nothing else.'
TEXTS = {"type": "array", "items": {"type": "string"}}
SCHEMA = {"type": "object", "properties": {"texts": TEXTS}, "required": ["texts"], "additionalProperties": False}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "texts", "strict": True, "schema": SCHEMA}}


class EndpointLLM(LoggedLLM):
    """An OpenAI-compatible endpoint; to be used within one event loop."""

    settings: OpenAISettings

    def __init__(self, settings: OpenAISettings, response_log: ResponseLog | None = None) -> None:
        super().__init__(settings, response_log)
        self.endpoint, self.context_window = settings.endpoint, settings.context_window
        self.money = Money(settings.input_price, settings.output_price, settings.budget)
        self.at_once = settings.concurrency
        self.answer_format = JSON_FORMAT if settings.structured else None
        self._limits = RateLimits(settings.concurrency, settings.requests_per_minute, settings.tokens_per_minute)
        self._budget_reached: BudgetReached | None = None

    @property
    def sampling(self) -> dict[str, Any]:
        sampling = super().sampling
        if self.settings.structured:
            sampling["response_format"] = JSON_SCHEMA
        sampling[self.settings.length_parameter] = sampling.pop("max_tokens")
        return sampling

    def check(self) -> None:
        """Refuse an endpoint without its key, or one that may cost money without a budget."""
        api_key(self.settings)
        if self.settings.budget is None and not on_this_machine(self.endpoint):
            raise SynthgapError(
                f"{shown_endpoint(self.endpoint)} may cost money, and the LLM's budget is not set: set its input_price "
                "and output_price (per million tokens, 0 where it is free) and its budget"
            )

    def prompt_tokens(self, conversation: Conversation, before: Usage | None) -> int:
        return sum(before) + most_tokens(conversation.messages[-1]) if before else most_tokens(*conversation.messages)

    async def _ask_once(self, request: Request) -> tuple[Answer, int]:
        worst = Usage(most_tokens(*request.conversation.messages), self.settings.max_tokens)
        async with self._limits.slot(sum(worst)) as started:
            if self._budget_reached:  # smaller requests would carry some conversations further than all can go
                raise self._budget_reached
            try:
                note = self.log.note_request(request, worst, self.money)
            except BudgetReached as error:
                self._budget_reached = error
                raise
            self.asked += 1
            try:
                async with asyncio.timeout(self.settings.timeout):
                    answer = await self._send(request)
            except FAILURES as error:
                raise self._failure(error, note, started) from None
            self._limits.succeeded()
            if answer.usage:
                self._limits.give_back(sum(worst) - sum(answer.usage))
            return answer, note

    async def _send(self, request: Request) -> Answer:
        """One request by the client's plain `post`: its typed methods take about as long again for each answer."""
        messages = [{"role": message.role, "content": message.content} for message in request.conversation.messages]
        body = {"model": self.model, "messages": messages, **request.sampling}
        started = time.monotonic()
        response = await self._client.post("/chat/completions", body=body, cast_to=httpx2.Response)
        seconds = time.monotonic() - started
        completion = json.loads(response.content)
        choice, usage = completion["choices"][0], completion.get("usage")
        counted = Usage(int(usage["prompt_tokens"]), int(usage["completion_tokens"])) if usage else None
        text = choice["message"].get("content") or ""
        if not isinstance(text, str):
            raise ValueError("the answer holds no text")
        return Answer(text, str(choice.get("finish_reason") or "stop"), counted, self.model, seconds)

    def _failure(self, error: Exception, note: int, started: float) -> NoAnswer | RequestFailed:
        """What an error means for its request; the note of one that may have been answered and billed stays."""
        if isinstance(error, APIStatusError):
            self.log.forget_request(note)
            status, pause = error.status_code, 0.0
            if status not in RETRIED_STATUS and status < 500:
                message = " ".join((error.body if isinstance(error.body, str) else error.message).split())
                message = LOOKS_LIKE_A_KEY.sub(HIDDEN, hide_keys(message, [self.settings]))
                return RequestFailed(f"the endpoint answered {status}: {message[:200]}")
            with contextlib.suppress(ValueError):  # a date: the backoff will do
                pause = min(float(error.response.headers.get("retry-after", 0)), LONGEST_WAIT)
            if status in OVERLOADED_STATUS or pause:
                self._limits.overloaded(started, pause)
            return NoAnswer(f"the endpoint answered {status}")
        if isinstance(error, TimeoutError):
            self._limits.overloaded(started)
            return NoAnswer(f"no answer within {self.settings.timeout:g} s")
        if isinstance(error, APIConnectionError):
            cause: BaseException = error  # aiohttp's own error tells a refused connection from a broken one
            while cause.__cause__ and not isinstance(cause, aiohttp.ClientError):
                cause = cause.__cause__
            if isinstance(cause, aiohttp.ClientConnectorError):
                self.log.forget_request(note)  # nothing was sent
            return NoAnswer(f"no connection to the endpoint ({type(cause).__name__})")
        return NoAnswer(f"no whole answer ({type(error).__name__})")

    @functools.cached_property
    def _client(self) -> AsyncOpenAI:
        url, http = urlsplit(self.endpoint), DefaultAioHttpClient(trust_env=not on_this_machine(self.endpoint))
        return AsyncOpenAI(
            api_key=api_key(self.settings),
            base_url=url._replace(query="").geturl(),
            default_query=dict(parse_qsl(url.query)),
            timeout=None,
            max_retries=0,
            http_client=http,  # which asks no proxy of the environment to reach this machine
        )

    async def close(self) -> None:
        if client := vars(self).pop("_client", None):
            await client.close()


def api_key(settings: OpenAISettings) -> str:
    """The key in the environment, without which only an endpoint on this machine is asked."""
    key = os.environ.get(settings.key_variable, "").strip() or ("none" if on_this_machine(settings.endpoint) else None)
    if key is None:
        raise SynthgapError(
            f"no key for {shown_endpoint(settings.endpoint)}: set the variable {settings.key_variable} in the "
            "environment (keys are read from nowhere else)"
        )
    return key


def most_tokens(*messages: Message) -> int:
    """At most so many tokens have messages: a token is a byte at least, and a message costs a few of its own."""
    return sum(message.size + 16 for message in messages)
