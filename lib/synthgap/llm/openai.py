"""An endpoint that speaks OpenAI's chat completions: limits on rates, and money that cannot be lost.

Keys are read from the environment and are in no file, message or hash.
"""

import asyncio
import contextlib
import functools
import os
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import httpx2
from openai import APIStatusError, AsyncOpenAI, DefaultAioHttpClient

from synthgap.core.errors import SynthgapError, noting, refuse
from synthgap.core.settings import OpenAISettings, ProtocolName, shown_endpoint
from synthgap.llm.base import Answer, Conversation, Message, Usage
from synthgap.llm.bounded import bound
from synthgap.llm.budget import BudgetReached, Money
from synthgap.llm.completions import error_message
from synthgap.llm.keys import HIDDEN, LOOKS_LIKE_A_KEY, SHORTEST, hide_keys, hide_secret, on_this_machine
from synthgap.llm.logged import LONGEST_WAIT, LoggedLLM, NoAnswer, RequestFailed
from synthgap.llm.rate_limits import RateLimits
from synthgap.llm.response_log import LogUnwritable, Request, ResponseLog

RETRIED_STATUS = {408, 409, 425, 429}
OVERLOADED_STATUS = {429, 503}
NOT_BILLED = {*range(400, 500)} - {408, 499}  # a time that ran out may have been worked and billed
SHOWN = 200  # characters of what an endpoint says, in a message
TO_STORE = 60.0  # seconds beyond the timeout for which other processes wait for an answer
NO_SYSTEM_ROLE = re.compile(  # as templates of chats and gateways put it
    r"system.{0,40}(?:not|n't|un) ?(?:support|allow|enabled)|(?:not|n't|un) ?(?:support|allow).{0,40}system|"
    r"roles must alternate|only user and assistant roles|developer instruction is not enabled",
    re.IGNORECASE,
)
JSON_FORMAT = 'Answer with a JSON object {{"texts": [...]}} that holds {n} strings, one text each, and nothing else.'
TEXTS = {"type": "array", "items": {"type": "string"}}
SCHEMA = {"type": "object", "properties": {"texts": TEXTS}, "required": ["texts"], "additionalProperties": False}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "texts", "strict": True, "schema": SCHEMA}}


class Reply(NamedTuple):
    """A response as it came, without the key; its fault says what kept it from being whole."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    fault: str
    seconds: float


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
        self._system_role = self.settings.system_role is not False
        self._beyond_worst = Usage(0, 0)  # tokens that the endpoint counted beyond the worst case of a request

    @property
    def sampling(self) -> dict[str, Any]:
        sampling = super().sampling
        if self.settings.structured:
            sampling["response_format"] = JSON_SCHEMA
        sampling[self.settings.length_parameter] = sampling.pop("max_tokens")
        return sampling

    def check(self, protocol: ProtocolName = "conversation") -> None:
        """Refuse an endpoint without its key, or one that may cost money without a budget."""
        faults: list[str] = []
        with noting(faults):
            api_key(self.settings)
        if self.settings.budget is None and not on_this_machine(self.endpoint):
            faults.append(
                f"{shown_endpoint(self.endpoint)} may cost money, and the LLM's budget is not set: set its input_price "
                "and output_price (per million tokens, 0 where it is free) and its budget"
            )
        refuse(faults)

    def prompt_tokens(self, conversation: Conversation, before: Usage | None) -> int:
        return sum(before) + most_tokens(conversation.messages[-1]) if before else most_tokens(*conversation.messages)

    async def _ask_once(self, request: Request) -> tuple[Answer, str]:
        usual = Usage(most_tokens(*request.conversation.messages), self.settings.max_tokens)
        async with self._limits.slot(sum(usual)) as started:
            if self._budget_reached:  # smaller requests would carry some conversations further than all can go
                raise self._budget_reached
            worst = Usage(*map(sum, zip(usual, self._beyond_worst, strict=True)))
            try:
                note = self.log.note_request(request, worst, self.money, self.settings.timeout + TO_STORE)
            except BudgetReached as error:
                self._budget_reached = error
                raise
            self.asked += 1
            try:
                answer, fault = await self._answer(request, note, started)
            except BaseException:
                with contextlib.suppress(LogUnwritable):
                    self.log.release(note)
                raise
            self._limits.succeeded()
            if answer.usage:
                self._limits.give_back(sum(usual) - sum(answer.usage))
                beyond = (now - most for now, most in zip(answer.usage, usual, strict=True))
                self._beyond_worst = Usage(*map(max, self._beyond_worst, beyond))
            return answer, fault

    async def _answer(self, request: Request, note: int, started: float) -> tuple[Answer, str]:
        """Send a noted request and store what comes before it is read; the note stays where it may have been billed."""
        try:
            async with asyncio.timeout(self.settings.timeout):
                reply = await self._reply(request)
        except TimeoutError:
            self._limits.overloaded(started)
            raise NoAnswer(f"no answer within {self.settings.timeout:g} s") from None
        except Exception as error:  # whatever a server may send
            cause: BaseException = error  # aiohttp's own error tells a refused connection from a broken one
            while cause.__cause__ and not isinstance(cause, aiohttp.ClientError):
                cause = cause.__cause__
            if isinstance(cause, aiohttp.ClientConnectorError):
                self.log.forget_request(note)  # nothing was sent
            raise NoAnswer(f"no connection to the endpoint ({type(cause).__name__})") from None
        if reply.status in NOT_BILLED:
            self.log.forget_request(note)
        else:
            await self._write_when_possible(self.log.keep_response, note, reply.status, reply.body)
        if reply.status >= 300:
            raise self._error_of_status(reply, started)
        if judged := await self._write_when_possible(self.log.read_response, note, reply.seconds):
            return judged
        raise NoAnswer(self._failure_message(reply))

    def _failure_message(self, reply: Reply) -> str:
        """What came in place of an answer."""
        if reply.fault:
            return f"no whole answer: {reply.fault}"
        what = LOOKS_LIKE_A_KEY.sub(HIDDEN, hide_keys(error_message(reply.body), [self.settings]))[:SHOWN]
        return f"the endpoint answered {reply.status}" + (f": {what}" if what else "")

    async def _reply(self, request: Request) -> Reply:
        """What the endpoint sends; once it refuses the system's role, that is left out from then on."""
        as_system = self._system_role
        reply = await self._post(request, as_system)
        refused = as_system and reply.status >= 400 and NO_SYSTEM_ROLE.search(reply.body.decode("utf-8", "replace"))
        if not refused or self.settings.system_role:
            return reply
        self._system_role = False
        return await self._post(request, system_role=False)

    async def _post(self, request: Request, system_role: bool) -> Reply:
        """One request by the client's plain `post`: its typed methods take about as long again for each answer."""
        asked = {"model": self.model, "messages": request.conversation.as_messages(system_role), **request.sampling}
        started = time.monotonic()
        try:
            response = await self._client.post("/chat/completions", body=asked, cast_to=httpx2.Response)
        except APIStatusError as error:
            response = error.response
        body, fault = without_key(response.content, self.settings), response.extensions.get("fault", "")
        return Reply(response.status_code, body, response.headers, fault, time.monotonic() - started)

    def _error_of_status(self, reply: Reply, started: float) -> NoAnswer | RequestFailed:
        """What an error status means for its request."""
        if reply.status not in RETRIED_STATUS and reply.status < 500:
            lacks_path = reply.status == 404 and "/v1" not in self.endpoint
            hint = "; does the LLM's base_url lack /v1 at its end?" if lacks_path else ""
            return RequestFailed(self._failure_message(reply) + hint)
        pause = 0.0
        with contextlib.suppress(ValueError):  # a date: the backoff will do; and max makes 0 of "nan"
            pause = min(LONGEST_WAIT, max(0.0, float(reply.headers.get("retry-after", 0))))
        if reply.status in OVERLOADED_STATUS or pause:
            self._limits.overloaded(started, pause)
        return NoAnswer(self._failure_message(reply))

    @functools.cached_property
    def _client(self) -> AsyncOpenAI:
        url, here = urlsplit(self.endpoint), on_this_machine(self.endpoint)
        return AsyncOpenAI(
            api_key=api_key(self.settings),
            base_url=url._replace(query="").geturl(),
            default_query=dict(parse_qsl(url.query)),
            default_headers={"Accept-Encoding": "gzip, deflate"},  # which `bound` unpacks
            timeout=None,
            max_retries=0,
            # no proxy of the environment is asked to reach this machine
            http_client=DefaultAioHttpClient(trust_env=not here, event_hooks={"response": [bound]}),
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


def without_key(content: bytes, settings: OpenAISettings) -> bytes:
    """What an endpoint sent, without the key's value."""
    key = api_key(settings)
    if len(key) < SHORTEST:
        return content
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        content = content.replace(key.encode(encoding, "surrogatepass"), HIDDEN.encode(encoding))
    return hide_secret(key, content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def most_tokens(*messages: Message) -> int:
    """At most so many tokens have messages: a token is a byte at least, and a message costs a few of its own."""
    return sum(message.size + 16 for message in messages)
