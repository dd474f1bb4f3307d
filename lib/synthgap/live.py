"""Live LLMs behind the interface of the recording: conversations side by side, each answer asked for once.

Every answer goes to the response log before it is used. Conversations share one event loop; one that fails ends alone.
Who answers is an endpoint (endpoint.py) or a model on this machine (local.py).
"""

from __future__ import annotations

import abc
import asyncio
import gc
import threading
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from synthgap.config import GenerationSettings, LiveSettings, LLMSettings, LocalSettings, Profile
from synthgap.errors import SynthgapError
from synthgap.files import digest
from synthgap.generation import Generated, Turn, as_asked, filtered, normalised, talk, texts_wanted
from synthgap.llm import Answer, Conversation, Usage
from synthgap.parsing import parse
from synthgap.responses import FAULTS, SPENT, Request, ResponseLog
from synthgap.traffic import BudgetReached, Money

if TYPE_CHECKING:
    import pandas as pd

    from synthgap.data import RealData
    from synthgap.tasks import Task

UNUSABLE = 3  # refused, truncated or empty answers to one request before its conversation ends
Result = TypeVar("Result")


class RequestFailed(SynthgapError):
    """One request that got no usable answer; its conversation ends, the others go on."""


@dataclass
class LiveLLM(abc.ABC):
    """What live LLMs share: the response log, and an answer from there or else from the model.

    Attributes:
        asked: requests that were sent, repeated ones included.
        money: prices and budget; nothing where nothing is paid.
        at_once: requests under way at the most.
        answer_format: what the request says on the answer's form; None for the task's own words.
        offline: whether only the log answers.
        one_filter: held while texts are filtered, which takes memory.
    """

    settings: LiveSettings
    log: ResponseLog
    asked: int = field(default=0, init=False)
    money: Money = field(default=Money(), init=False)
    at_once: int = field(default=1, init=False)
    answer_format: str | None = field(default=None, init=False)
    checked: bool = field(default=False, init=False)
    offline: bool = field(default=False, init=False)
    one_filter: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def model(self) -> str:
        return self.settings.model

    @property
    def fingerprint(self) -> str:
        return digest({"endpoint": self.endpoint, "model": self.model, "sampling": self.sampling})

    @property
    @abc.abstractmethod
    def endpoint(self) -> str:
        """Where the model is, as a part of every request's key."""

    @property
    @abc.abstractmethod
    def sampling(self) -> dict[str, Any]:
        """Parameters that every request is sent with."""

    @property
    @abc.abstractmethod
    def context_window(self) -> int | None:
        """Tokens of prompt and answer together; None where it is not known."""

    @abc.abstractmethod
    def prompt_tokens(self, conversation: Conversation, before: Usage | None) -> int:
        """At most so many tokens has the next request, given how many the one before it and its answer had."""

    @abc.abstractmethod
    async def _try(self, request: Request, attempt: int) -> str:
        """Ask once and store the answer; "" where it is of use, else why there is none and another try is worth it.

        Raises:
            RequestFailed: another try would end the same way.
            BudgetReached: it could cross the budget.
        """

    @abc.abstractmethod
    async def close(self) -> None: ...

    def request(self, turn: Turn, asked: int) -> Request:
        seed = self.settings.seed
        seeded = {} if seed is None else {"seed": seed + turn.conversation.number}
        sampling = {**self.sampling, **seeded}
        return Request(turn.conversation, asked, tuple(turn.examples), self.endpoint, self.model, sampling)

    def spent(self) -> float:
        """What all answers in the log cost, of this run and of those before."""
        return self.money.cost(*self.log.paid_tokens())

    def example_ids(self, conversation: Conversation) -> None:
        return None

    def fits(self, conversation: Conversation, before: Usage | None) -> bool:
        """Whether the next request and the longest answer to it stay within the context window."""
        window = self.context_window
        return window is None or self.prompt_tokens(conversation, before) + self.settings.max_tokens <= window

    async def ask(self, request: Request) -> Answer:
        """The answer to a request: from the log, or from the model and then in the log.

        Raises:
            RequestFailed: no usable answer in `attempts` tries, or the model refuses the request itself.
            BudgetReached: the next try could cross the budget.
        """
        if (known := self.log.get(request.key)) is not None:
            return known
        if self.offline:
            raise RequestFailed("not asked yet")
        unusable, reason = 0, ""
        for attempt in range(self.settings.attempts):
            if not self.checked:
                check_before_asking(self.settings)
                self.checked = True
            reason = await self._try(request, attempt)
            if (known := self.log.get(request.key)) is not None:
                return known
            if reason in FAULTS:
                unusable += 1
                reason = f"{unusable} answers were not usable, the last one {reason}"
            if unusable == UNUSABLE:
                break
        raise RequestFailed(reason)


def check_before_asking(settings: LiveSettings) -> None:
    """Refuse what must not or cannot be asked, without asking it: no key, no budget, no such model, no chat template.

    Raises:
        SynthgapError: naming what to set.
    """
    if isinstance(settings, LocalSettings):
        from synthgap.local import check_model

        check_model(settings)
    else:
        from synthgap.endpoint import check_endpoint

        check_endpoint(settings)


def live_llm(settings: LiveSettings, log: ResponseLog) -> LiveLLM:
    """The LLM that a profile names; it is checked before its first request, so that a full log can do without it."""
    if isinstance(settings, LocalSettings):
        from synthgap.local import LocalLLM

        return LocalLLM(settings, log)
    from synthgap.endpoint import EndpointLLM

    return EndpointLLM(settings, log)


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
    data: RealData
    wanted: int
    open: dict[int, Any] = field(default_factory=dict)
    begun: int = 0
    turns: list[Turn] = field(default_factory=list)
    rounds: int = 0
    reasons: list[str] = field(default_factory=list)
    different: set[str] = field(default_factory=set)  # texts but for exact repeats: never fewer than will be accepted
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    used: dict[int, Usage | None] = field(default_factory=dict)  # of each conversation's last request

    def begin(self, llm: LiveLLM) -> int:
        """Open a further conversation; its number."""
        number, self.begun = self.begun, self.begun + 1
        self.open[number] = talk(self.task, self.setting, self.label, self.data, llm, number)
        return number

    def add(self, turn: Turn) -> None:
        texts = parse(turn.answer.text).texts[: self.task.texts_per_turn]
        self.different |= {normalised(text) for text in texts} - {""}
        self.used[turn.conversation.number] = turn.answer.usage
        if usage := turn.answer.usage:
            self.tokens[0] += usage.prompt_tokens
            self.tokens[1] += usage.completion_tokens

    def told(self, money: Money) -> str:
        """How far it is and what it took, for the progress bar."""
        texts, tokens = min(len(self.different), self.wanted), sum(self.tokens)
        cost = money.cost(*self.tokens)
        price = f", {cost:.4g} ({cost / texts:.2g} a text)" if money.priced and texts else ""
        return f"{self.task.name}/{self.setting}/{self.label}: {texts} texts, {tokens} tokens{price}"


class _Progress:
    """A bar over the texts of all labels; says what the label that was answered last took, and what all took."""

    def __init__(self, llm: LiveLLM, wanted: int, shown: bool) -> None:
        from tqdm import tqdm

        self.llm = llm
        self.bar = tqdm(total=wanted, desc="texts", unit="text", mininterval=2, disable=not shown)

    def answered(self, label: _Label, before: int) -> None:
        self.bar.update(min(len(label.different), label.wanted) - min(before, label.wanted))
        spent = f"; {self.llm.spent():.4g} spent in all" if self.llm.money.priced else ""
        self.bar.set_postfix_str(f"{label.told(self.llm.money)}{spent}", refresh=False)

    def close(self) -> None:
        self.bar.close()


async def hold(
    task: Task,
    setting: str,
    data: RealData,
    llm: LiveLLM,
    settings: GenerationSettings,
    progress: _Progress | None = None,
) -> tuple[Generated, list[Shortfall]]:
    """All conversations of a task in one setting, side by side, until every label has its texts.

    The result depends on the answers alone, not on the order in which they came: conversations take their turns in
    rounds, and texts are filtered in the order of label, turn and conversation. A conversation that would overflow the
    context window ends, and a fresh one takes its place.
    """
    task, data = as_asked(task, data, settings, llm.answer_format)
    wanted = texts_wanted(task, settings)
    labels = [_Label(task, setting, label, data, wanted) for label in task.labels]
    for one in labels:
        for _ in range(settings.conversations):
            one.begin(llm)
    goals = {one.label: wanted for one in labels}
    while True:
        await asyncio.gather(*(_reach(one, goals[one.label], llm, settings.turns, progress) for one in labels))
        turns = [turn for one in labels for turn in one.turns]
        async with llm.one_filter:
            result = await asyncio.to_thread(filtered, task, setting, data, llm, settings, turns)
        accepted = {one.label: int((result.texts["label"] == one.label).sum()) for one in labels}
        short = [one for one in labels if accepted[one.label] < wanted]
        going_on = [one for one in short if one.open and one.rounds < settings.turns]
        if not going_on:
            break
        for one in going_on:
            goals[one.label] = len(one.different) + wanted - accepted[one.label]
    return result, [_shortfall(one, accepted[one.label], settings.turns) for one in short]


async def _reach(one: _Label, goal: int, llm: LiveLLM, most_rounds: int, progress: _Progress | None) -> None:
    while one.open and one.rounds < most_rounds and len(one.different) < goal:
        one.rounds += 1
        found = await asyncio.gather(*(_turn(one, number, llm, progress) for number in sorted(one.open)))
        one.turns += [turn for turn in found if turn is not None]


async def _turn(one: _Label, number: int, llm: LiveLLM, progress: _Progress | None) -> Turn | None:
    """The next turn of one conversation; one that fails is closed with its reason."""
    number, waiting = _next_request(one, number, llm)
    conversation, turn = one.open[number], waiting.conversation.turn + 1
    try:
        if turn == 1 and not llm.fits(waiting.conversation, None):
            raise RequestFailed(f"the request does not fit the context window of {llm.context_window} tokens")
        answer = await llm.ask(llm.request(waiting, one.task.texts_per_turn))
    except (RequestFailed, BudgetReached) as error:
        one.reasons.append(f"turn {turn}: {error}")
        del one.open[number]
        return None
    answered: Turn = conversation.send(answer)
    before = len(one.different)
    one.add(answered)
    if progress:
        progress.answered(one, before)
    return answered


def _next_request(one: _Label, number: int, llm: LiveLLM) -> tuple[int, Turn]:
    """A conversation's next request, or, where it would overflow the context window, the first of a fresh one."""
    waiting: Turn = next(one.open[number])
    before = waiting.conversation
    if before.turn and not llm.fits(before, one.used.get(number)):
        del one.open[number]
        number = one.begin(llm)
        waiting = next(one.open[number])
    return number, waiting


def _shortfall(one: _Label, accepted: int, most_rounds: int) -> Shortfall:
    reasons = tuple(dict.fromkeys(one.reasons))
    if one.rounds >= most_rounds:
        reasons = (*reasons, f"the limit of {most_rounds} turns is reached (generation.turns)")
    return Shortfall(one.task.name, one.setting, one.label, accepted, one.wanted, reasons)


def generate_live(
    real: Mapping[str, RealData], llm: LiveLLM, settings: GenerationSettings, shown: bool = True
) -> tuple[dict[tuple[str, str], Generated], list[Shortfall]]:
    """All tasks and settings at once; works where an event loop is running already, as in a notebook.

    Args:
        real: {task: its real texts}.
        shown: whether a progress bar says how far it is and what it cost.
    """
    places = [(name, str(setting)) for name in real for setting in settings.settings]
    wanted = sum(texts_wanted(real[name].task, settings) * len(real[name].task.labels) for name, _ in places)

    async def everything() -> list[tuple[Generated, list[Shortfall]]]:
        progress = _Progress(llm, wanted, shown)
        try:
            return await asyncio.gather(*(hold(real[n].task, s, real[n], llm, settings, progress) for n, s in places))
        finally:
            progress.close()
            await llm.close()

    done = in_own_loop(everything())
    results = {place: result for place, (result, _) in zip(places, done, strict=True)}
    return results, [short for _, shortfalls in done for short in shortfalls]


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
    if isinstance(profile.llm, LLMSettings):
        recorded = connect(profile.llm)
        return {
            (name, setting): generate(texts.task, setting, texts, recorded, settings)
            for name, texts in tqdm(real.items(), desc="tasks", mininterval=2)
            for setting in settings.settings
        }
    with ResponseLog(log_file) as log:
        made, shortfalls = generate_live(real, live_llm(profile.llm, log), settings)
    for short in shortfalls:
        tqdm.write(f"short: {short}")
    refuse_failures(shortfalls, f"synthgap run {profile.name} 01, with the options of this run")
    return made


def costs(profile: Profile, made: Mapping[tuple[str, str], Generated], log_file: Path) -> pd.DataFrame:
    """What live answers took, all runs of the log together; no rows for the recording.

    Columns task, setting, label, answers, served, prompt_tokens, completion_tokens, accepted, tokens_per_text, cost,
    cost_per_text, unanswered, unanswered_cost. Costs are in the currency of the profile's prices and missing where it
    has none. Requests whose answer never came, or came without a count of its tokens, may have been billed: they are
    `unanswered` and cost at most `unanswered_cost`, which is not in `cost`.
    """
    import pandas as pd

    columns = [*SPENT[:7], "accepted", "tokens_per_text", "cost", "cost_per_text", "unanswered", "unanswered_cost"]
    if isinstance(profile.llm, LLMSettings) or not log_file.is_file():
        return pd.DataFrame(columns=columns)
    with ResponseLog(log_file) as log:
        money = live_llm(profile.llm, log).money
        table = pd.DataFrame(log.spent(), columns=list(SPENT))
    table = table[[place in made for place in zip(table["task"], table["setting"], strict=True)]]
    labels = [made[row.task, row.setting].texts["label"] == row.label for row in table.itertuples()]
    texts = pd.Series([int(chosen.sum()) for chosen in labels], index=table.index, dtype=int)
    price = 1.0 if money.priced else float("nan")
    cost = price * money.cost(table["prompt_tokens"], table["completion_tokens"])
    at_worst = price * money.cost(table["unanswered_prompt"], table["unanswered_completion"])
    tokens, divisor = table["prompt_tokens"] + table["completion_tokens"], texts.where(texts > 0)
    table = table.assign(accepted=texts, tokens_per_text=tokens / divisor, cost=cost, cost_per_text=cost / divisor)
    return table.assign(unanswered_cost=at_worst)[columns]


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
    gc.freeze()  # what was made before (libraries, data) is not searched for garbage after every few answers
    thread.start()
    try:
        thread.join()
    except BaseException:
        if "task" in box and thread.is_alive():
            box["loop"].call_soon_threadsafe(box["task"].cancel)
        thread.join()
        raise
    finally:
        gc.unfreeze()
    if "error" in box:
        raise box["error"]
    return box["result"]
