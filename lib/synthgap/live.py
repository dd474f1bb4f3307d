"""Live LLMs behind the interface of the recording: an OpenAI-compatible endpoint, asked once for each answer.

Every answer goes to the response log before it is used. Conversations run side by side on one event loop; one that
fails ends alone. Keys are read from the environment and are in no file, message or hash.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from synthgap.config import GenerationSettings, OpenAISettings, Profile
from synthgap.errors import SynthgapError
from synthgap.files import digest
from synthgap.generation import Generated, Turn, as_asked, filtered, talk
from synthgap.llm import Answer, Conversation, Usage
from synthgap.parsing import parse
from synthgap.responses import Request, ResponseLog
from synthgap.traffic import BudgetReached, Money, Traffic

if TYPE_CHECKING:
    import pandas as pd
    from openai import AsyncOpenAI

    from synthgap.data import RealData
    from synthgap.tasks import Task

UNUSABLE = 3  # refused, truncated or empty answers to one request before its conversation ends
LONGEST_WAIT = 60.0  # seconds between two attempts
RETRIED_STATUS = {408, 409, 425, 429}
Result = TypeVar("Result")


class RequestFailed(SynthgapError):
    """One request that got no usable answer; its conversation ends, the others go on."""


@dataclass
class LiveLLM:
    """An OpenAI-compatible endpoint with its log, traffic and money; to be used within one event loop.

    Attributes:
        asked: requests that were sent, retries included.
        exhausted: why no more is sent, once the budget is reached.
    """

    settings: OpenAISettings
    log: ResponseLog
    traffic: Traffic = field(init=False)
    money: Money = field(init=False)
    asked: int = 0
    exhausted: str = ""
    _client: AsyncOpenAI | None = None

    def __post_init__(self) -> None:
        chosen = self.settings
        self.traffic = Traffic(chosen.concurrency, chosen.requests_per_minute, chosen.tokens_per_minute)
        self.money = Money(chosen.input_price, chosen.output_price, chosen.budget)
        paid = self.log.spent()  # the budget holds for all runs of a log together
        self.money.spent = sum(self.money.cost(row["prompt_tokens"], row["completion_tokens"]) for row in paid)

    @property
    def model(self) -> str:
        return self.settings.model

    @property
    def fingerprint(self) -> str:
        return digest({"endpoint": self.settings.endpoint, "model": self.model, "sampling": self.sampling})

    @property
    def sampling(self) -> dict[str, Any]:
        """Parameters of every request; what is not set is left to the endpoint."""
        chosen = {"temperature": self.settings.temperature, "top_p": self.settings.top_p}
        known = {name: value for name, value in chosen.items() if value is not None}
        return {**known, self.settings.length_parameter: self.settings.max_tokens}

    def request(self, turn: Turn, asked: int) -> Request:
        seed = self.settings.seed
        seeded = {} if seed is None else {"seed": seed + turn.conversation.number}
        sampling = {**self.sampling, **seeded}
        return Request(turn.conversation, asked, tuple(turn.examples), self.settings.endpoint, self.model, sampling)

    def answer(self, conversation: Conversation) -> Answer:
        raise NotImplementedError("a live LLM is asked through `ask`")

    def example_ids(self, conversation: Conversation) -> None:
        return None

    def check_turns(self, task: str, setting: str, label: str, turns: int) -> None:
        """Any number of turns can be had, where there is a key and a budget."""
        check_before_asking(self.settings)

    async def ask(self, request: Request) -> Answer:
        """The answer to a request: from the log, or from the endpoint and then in the log.

        Raises:
            RequestFailed: no usable answer in `attempts` tries, or the endpoint refuses the request itself.
            BudgetReached: the next try could cross the budget.
        """
        unusable, reason = 0, ""
        for attempt in range(self.settings.attempts):
            if (known := self.log.get(request.key)) is not None:
                return known
            outcome = await self._try(request, attempt)
            if isinstance(outcome, Answer):
                fault = self.log.put(request, outcome)
                unusable += bool(fault) and fault != "late"
                reason = f"{unusable} answers were not usable, the last one {fault}"
                if unusable == UNUSABLE:
                    break
            else:
                reason = outcome
        if (known := self.log.get(request.key)) is not None:
            return known
        raise RequestFailed(reason)

    async def _try(self, request: Request, attempt: int) -> Answer | str:
        """One try: an answer, or why there is none and it is worth another try.

        Raises:
            RequestFailed: another try would end the same way.
        """
        import openai

        prompt = most_tokens(request.conversation)
        async with self.traffic.slot(prompt + self.settings.max_tokens) as started:
            worst = self._reserve(prompt)
            self.asked += 1
            try:
                answer = await asyncio.wait_for(self._send(request), self.settings.timeout)
            except openai.APIStatusError as error:
                self.money.release(worst)
                if error.status_code not in RETRIED_STATUS and error.status_code < 500:
                    raise RequestFailed(f"the endpoint answered {error.status_code}: {_said(error)}") from None
                pause = _retry_after(error)
                if error.status_code in {429, 503}:
                    self.traffic.overloaded(started, pause)
                reason, wait = f"the endpoint answered {error.status_code}", max(pause, _backoff(attempt))
            except (TimeoutError, openai.APITimeoutError):
                self.money.settle(worst, None)  # it may have been answered and billed
                self.traffic.overloaded(started)
                reason, wait = f"no answer within {self.settings.timeout:g} s", _backoff(attempt)
            except (openai.OpenAIError, ValueError, TypeError, AttributeError, LookupError, OSError) as error:
                self.money.settle(worst, None)
                reason, wait = f"no whole answer ({type(error).__name__})", _backoff(attempt)
            except BaseException:
                self.money.settle(worst, None)
                raise
            else:
                self.money.settle(worst, answer.usage)
                self.traffic.went_well()
                if answer.usage:
                    used = answer.usage.prompt_tokens + answer.usage.completion_tokens
                    self.traffic.give_back(prompt + self.settings.max_tokens - used)
                return answer
        await asyncio.sleep(wait)
        return reason

    def _reserve(self, prompt: int) -> float:
        """Set the worst case aside; once the budget is reached nothing more is sent, smaller requests neither."""
        if self.exhausted:
            raise BudgetReached(self.exhausted)
        try:
            return self.money.reserve(prompt, self.settings.max_tokens)
        except BudgetReached as error:
            self.exhausted = str(error)
            raise

    async def _send(self, request: Request) -> Answer:
        messages: Any = [
            {"role": message.role, "content": message.content} for message in request.conversation.messages
        ]
        create: Any = self._connected().chat.completions.create
        completion = await create(model=self.model, messages=messages, **request.sampling)
        choice, usage = completion.choices[0], completion.usage
        counted = Usage(int(usage.prompt_tokens), int(usage.completion_tokens)) if usage else None
        if not isinstance(choice.message.content, str | None):
            raise ValueError("the answer holds no text")
        return Answer(choice.message.content or "", str(choice.finish_reason or "stop"), counted, self.model)

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

    def account(self) -> str:
        """What was asked in this run and paid in all, in a line."""
        cost = f", {self.money.spent:.4g} spent in all" if self.money.priced else ""
        return f"{self.model}: {self.asked} requests, {self.traffic.under_way} under way{cost}"

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


def check_before_asking(settings: OpenAISettings) -> None:
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
    return sum(len(message.content.encode("utf-8", "surrogatepass")) + 16 for message in conversation.messages)


def _backoff(attempt: int) -> float:
    """Seconds to wait, twice as long each time, with jitter so that requests do not come back all at once."""
    return min(LONGEST_WAIT, 0.5 * 2**attempt) * (0.5 + random.random())


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


# ------------------------------------------------------------------------------------------------------ conversations


@dataclass(frozen=True)
class Shortfall:
    """A label that did not get its number of texts, and why."""

    task: str
    setting: str
    label: str
    accepted: int
    wanted: int
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        place = f"{self.task} / {self.setting} / {self.label}"
        return f"{place}: {self.accepted} of {self.wanted} texts ({'; '.join(self.reasons)})"


@dataclass
class _Label:
    """The conversations of one label: rounds of one turn each until there are texts enough."""

    task: Task
    setting: str
    label: str
    wanted: int
    open: dict[int, Any]
    turns: list[Turn] = field(default_factory=list)
    rounds: int = 0
    reasons: list[str] = field(default_factory=list)
    different: set[str] = field(default_factory=set)  # texts but for exact repeats: never fewer than will be accepted

    def add(self, turns: Iterable[Turn]) -> None:
        from synthgap.generation import normalised

        for turn in turns:
            self.turns.append(turn)
            texts = parse(turn.answer.text).texts[: self.task.texts_per_turn]
            self.different |= {normalised(text) for text in texts} - {""}


async def hold(
    task: Task, setting: str, data: RealData, llm: LiveLLM, settings: GenerationSettings
) -> tuple[Generated, list[Shortfall]]:
    """All conversations of a task in one setting, side by side, until every label has its texts.

    The result depends on the answers alone, not on the order in which they came: conversations take their turns in
    rounds, and texts are filtered in the order of label, turn and conversation.
    """
    task, data = as_asked(task, data, settings)
    wanted = settings.texts_per_label or task.texts_per_label
    labels = [
        _Label(task, setting, label, wanted, _begun(task, setting, label, data, llm, settings.conversations))
        for label in task.labels
    ]
    goals = {one.label: wanted for one in labels}
    while True:
        await asyncio.gather(*(_reach(one, goals[one.label], llm, settings.turns) for one in labels))
        turns = [turn for one in labels for turn in one.turns]
        result = filtered(task, setting, data, llm, settings, turns)
        accepted = {one.label: int((result.texts["label"] == one.label).sum()) for one in labels}
        short = [one for one in labels if accepted[one.label] < wanted]
        going_on = [one for one in short if one.open and one.rounds < settings.turns]
        if not going_on:
            break
        for one in going_on:
            goals[one.label] = len(one.different) + wanted - accepted[one.label]
    return result, [_shortfall(one, accepted[one.label], settings.turns) for one in short]


def _begun(task: Task, setting: str, label: str, data: RealData, llm: LiveLLM, conversations: int) -> dict[int, Any]:
    return {number: talk(task, setting, label, data, llm, number) for number in range(conversations)}


async def _reach(one: _Label, goal: int, llm: LiveLLM, most_rounds: int) -> None:
    while one.open and one.rounds < most_rounds and len(one.different) < goal:
        one.rounds += 1
        found = await asyncio.gather(*(_turn(one, number, llm) for number in sorted(one.open)))
        one.add(turn for turn in found if turn is not None)


async def _turn(one: _Label, number: int, llm: LiveLLM) -> Turn | None:
    """The next turn of one conversation; a conversation that fails is closed with its reason."""
    conversation = one.open[number]
    waiting = next(conversation)
    try:
        answer = await llm.ask(llm.request(waiting, one.task.texts_per_turn))
    except (RequestFailed, BudgetReached) as error:
        one.reasons.append(f"turn {waiting.conversation.turn + 1}: {error}")
        del one.open[number]
        return None
    return conversation.send(answer)


def _shortfall(one: _Label, accepted: int, most_rounds: int) -> Shortfall:
    reasons = tuple(dict.fromkeys(one.reasons))
    if one.rounds >= most_rounds:
        reasons = (*reasons, f"the limit of {most_rounds} turns is reached (generation.turns)")
    return Shortfall(one.task.name, one.setting, one.label, accepted, one.wanted, reasons)


def generate_live(
    real: Mapping[str, RealData], llm: LiveLLM, settings: GenerationSettings, progress: Callable[[str], None] = print
) -> tuple[dict[tuple[str, str], Generated], list[Shortfall]]:
    """All tasks and settings at once; works where an event loop is running already, as in a notebook.

    Args:
        real: {task: its real texts}.
        progress: told now and then how far it is and what it cost.
    """
    places = [(name, str(setting)) for name in real for setting in settings.settings]

    async def everything() -> list[tuple[Generated, list[Shortfall]]]:
        teller = asyncio.create_task(_tell(llm, progress))
        try:
            return await asyncio.gather(*(hold(real[n].task, s, real[n], llm, settings) for n, s in places))
        finally:
            teller.cancel()
            progress(llm.account())
            await llm.close()

    done = in_own_loop(everything())
    results = {place: result for place, (result, _) in zip(places, done, strict=True)}
    return results, [short for _, shortfalls in done for short in shortfalls]


async def _tell(llm: LiveLLM, progress: Callable[[str], None], seconds: float = 10) -> None:
    while True:
        await asyncio.sleep(seconds)
        progress(llm.account())


def generate_all(profile: Profile, real: Mapping[str, RealData], log_file: Path) -> dict[tuple[str, str], Generated]:
    """{(task, setting): texts} of a profile, by the recording or by a live LLM.

    Args:
        log_file: the response log of live answers.

    Raises:
        SynthgapError: labels are short of texts because requests failed; what was answered is kept.
    """
    from tqdm import tqdm

    from synthgap.generation import generate
    from synthgap.llm import connect

    settings = profile.generation
    if not isinstance(profile.llm, OpenAISettings):
        recorded = connect(profile.llm)
        return {
            (name, setting): generate(texts.task, setting, texts, recorded, settings)
            for name, texts in tqdm(real.items(), desc="tasks", mininterval=2)
            for setting in settings.settings
        }
    check_before_asking(profile.llm)
    with ResponseLog(log_file) as log:
        made, shortfalls = generate_live(real, LiveLLM(profile.llm, log), settings, tqdm.write)
    for short in shortfalls:
        tqdm.write(f"short: {short}")
    refuse_failures(shortfalls, f"synthgap run {profile.name}")
    return made


def costs(profile: Profile, made: Mapping[tuple[str, str], Generated], log_file: Path) -> pd.DataFrame:
    """What live answers took, all runs of the log together; no rows for the recording.

    Columns task, setting, label, answers, served, prompt_tokens, completion_tokens, accepted, tokens_per_text, cost,
    cost_per_text. Costs are in the currency of the profile's prices and missing where it has none; a request that was
    given up may have been billed and is not in them.
    """
    import pandas as pd

    names = ["task", "setting", "label", "answers", "served", "prompt_tokens", "completion_tokens", "accepted"]
    columns = [*names, "tokens_per_text", "cost", "cost_per_text"]
    if not isinstance(profile.llm, OpenAISettings) or not log_file.is_file():
        return pd.DataFrame(columns=columns)
    money = Money(profile.llm.input_price, profile.llm.output_price)
    with ResponseLog(log_file) as log:
        spent = [row for row in log.spent() if (row["task"], row["setting"]) in made]
    for row in spent:
        labels = made[(row["task"], row["setting"])].texts["label"]
        row["accepted"] = int((labels == row["label"]).sum())
        row["cost"] = money.cost(row["prompt_tokens"], row["completion_tokens"]) if money.priced else None
    table = pd.DataFrame(spent, columns=[*names, "cost"]).astype({"cost": float})
    texts = table["accepted"].where(table["accepted"] > 0)
    tokens = table["prompt_tokens"] + table["completion_tokens"]
    return table.assign(tokens_per_text=tokens / texts, cost_per_text=table["cost"] / texts)[columns]


def refuse_failures(shortfalls: Iterable[Shortfall], command: str) -> None:
    """Raise with every label that failed; one that only reached its limit of turns is no failure.

    Raises:
        SynthgapError: listing them, and the command to go on.
    """
    failed = [short for short in shortfalls if not all("generation.turns" in reason for reason in short.reasons)]
    if failed:
        listed = "\n  ".join(map(str, failed))
        raise SynthgapError(
            f"{len(failed)} labels are short of texts:\n  {listed}\nwhat was answered is kept; to go on: {command}"
        )


def in_own_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on an event loop in a thread of its own; an interrupt cancels it, so that no more is asked."""
    box: dict[str, Any] = {}

    async def main() -> Result:
        box["loop"], box["task"] = asyncio.get_running_loop(), asyncio.current_task()
        return await work

    def run() -> None:
        try:
            box["result"] = asyncio.run(main())
        except BaseException as error:
            box["error"] = error

    thread = threading.Thread(target=run, name="live LLM")
    thread.start()
    try:
        thread.join()
    except BaseException:
        if "task" in box and thread.is_alive():
            box["loop"].call_soon_threadsafe(box["task"].cancel)
        thread.join()
        raise
    if "error" in box:
        raise box["error"]
    return box["result"]
