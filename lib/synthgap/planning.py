"""What a live run will take: requests, tokens, cost and time of all that is missing, from a pilot of a few answers.

The pilot's answers are the first ones of the run itself and stay in the response log, so nothing is paid for twice.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthgap.config import GenerationSettings, LLMSettings, OpenAISettings, Profile
from synthgap.errors import SynthgapError
from synthgap.generation import Turn, as_asked, talk, texts_wanted, turns_needed
from synthgap.live import LiveLLM, RequestFailed, hold, in_own_loop, live_llm
from synthgap.llm import Answer, Conversation, model_of
from synthgap.responses import ResponseLog
from synthgap.tables import hours_shown
from synthgap.traffic import Money

if TYPE_CHECKING:
    import pandas as pd

    from synthgap.data import RealData
    from synthgap.tasks import Task

COLUMNS = ["task", "setting", "texts", "accepted", "requests", "prompt_tokens", "completion_tokens"]
COSTS = ["cost", "cost_at_worst"]


@dataclass(frozen=True, repr=False)
class Plan:
    """What is missing, and what it will take.

    Attributes:
        table: columns task, setting, texts (wanted), accepted (there already); and of what is missing: requests,
            prompt_tokens, completion_tokens, cost, cost_at_worst (every answer as long as it may be).
        spent: what the log's answers have cost so far.
        minutes: until all is there; NaN where nothing was measured.
        known: answers that the estimate rests on.
        asked: requests that the pilot sent just now.
        problems: what could not be had or estimated.
    """

    model: str
    table: pd.DataFrame
    money: Money
    spent: float
    minutes: float
    known: int
    asked: int
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([f"LLM: {self.model}", *_sentences(self), *(f"note: {one}" for one in self.problems)])

    __repr__ = __str__


def _sentences(plan: Plan) -> list[str]:
    requests = int(plan.table["requests"].sum())
    if not requests:
        return ["nothing is missing: nothing will be asked"]
    tokens, answers = plan.table["prompt_tokens"].sum(skipna=False), plan.table["completion_tokens"].sum(skipna=False)
    lines = [
        f"missing: about {requests:,} requests with {tokens:,.0f} tokens of prompts and {answers:,.0f} of answers, in "
        f"{hours_shown(plan.minutes / 60)} (estimated from {plan.known} answers; the pilot sent {plan.asked} requests)"
    ]
    if not plan.money.priced:
        return [*lines, "cost: unknown, llm.input_price and llm.output_price are not set"]
    prices = f"{plan.money.input_price:g} and {plan.money.output_price:g} per million tokens"
    cost, worst = (float(plan.table[name].sum(skipna=False)) for name in COSTS)
    lines.append(f"cost: about {cost:.4g}, at the worst {worst:.4g} (at {prices}); {plan.spent:.4g} spent so far")
    if plan.money.budget is not None and not plan.spent + cost <= plan.money.budget:
        lines.append(f"the budget of {plan.money.budget:g} would end the run before it is done; what is there is kept")
    return lines


def make_plan(profile: Profile, real: Mapping[str, RealData], log_file: Path) -> Plan:
    """Ask the pilot (one answer a task, where the log has none yet) and estimate the rest.

    Raises:
        SynthgapError: the LLM must not or cannot be asked, or does not answer the first request.
    """
    if isinstance(profile.llm, LLMSettings):
        return _of_recording(profile, real)
    with ResponseLog(log_file) as log:
        return in_own_loop(_made(profile, real, live_llm(profile.llm, log)))


def _of_recording(profile: Profile, real: Mapping[str, RealData]) -> Plan:
    """A recording has every answer already."""
    import pandas as pd

    rows = [
        (name, setting, texts_wanted(data.task, profile.generation) * len(data.task.labels))
        for name, data in real.items()
        for setting in profile.generation.settings
    ]
    nothing = dict.fromkeys([*COLUMNS[3:], *COSTS], 0)
    table = pd.DataFrame(rows, columns=COLUMNS[:3]).assign(**nothing)
    turns = sum(
        turns_needed(data.task, texts_wanted(data.task, profile.generation)) * len(data.task.labels)
        for data in real.values()
    )
    known = turns * len(profile.generation.settings)
    return Plan(model_of(profile.llm), table.assign(accepted=table["texts"]), Money(), 0.0, 0.0, known, 0)


async def _made(profile: Profile, real: Mapping[str, RealData], llm: LiveLLM) -> Plan:
    import pandas as pd

    try:
        problems = await _pilot(profile, real, llm)
    finally:
        await llm.close()
    llm.offline = True
    places = [
        await _replayed(data, str(one), profile, llm) for data in real.values() for one in profile.generation.settings
    ]
    turns = [turn for place in places for turn in place.turns]
    if not all(turn.answer.usage for turn in turns):
        problems.append("the endpoint counts no tokens, so neither tokens nor cost can be estimated")
    rows = [_missing(place, _Rates.of(places, place.task.name), profile.generation, llm) for place in places]
    table = pd.DataFrame([row.shown for row in rows], columns=[*COLUMNS, *COSTS])
    problems += [problem for row in rows for problem in row.problems]
    minutes = _minutes(rows, turns, llm)
    return Plan(model_of(profile.llm), table, llm.money, llm.spent(), minutes, len(turns), llm.asked, tuple(problems))


async def _pilot(profile: Profile, real: Mapping[str, RealData], llm: LiveLLM) -> list[str]:
    """Ask the first request of a label of each task, one alone before the others; what could not be had."""
    settings = profile.generation.settings
    requests = []
    for number, data in enumerate(real.values()):
        task, changed = as_asked(data.task, data, profile.generation, llm.answer_format)
        first = next(talk(task, settings[number % len(settings)], next(iter(task.labels)), changed, llm))
        requests.append(llm.request(first, task.texts_per_turn))
    missing = [request for request in requests if llm.log.get(request.key) is None]
    try:
        for probe in missing[:1]:
            await llm.ask(probe)
    except RequestFailed as error:
        raise SynthgapError(f"{model_of(profile.llm)} did not answer the first request: {error}") from None
    found = await asyncio.gather(*map(llm.ask, missing[1:]), return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, RequestFailed):
            raise one
    pairs = zip(missing[1:], found, strict=True)
    return [
        f"{one.conversation.task}: no pilot answer ({error})" for one, error in pairs if isinstance(error, Exception)
    ]


@dataclass(frozen=True)
class _Place:
    """What the log holds already of a task in one setting."""

    task: Task
    data: RealData
    setting: str
    turns: list[Turn]
    accepted: dict[str, int]


async def _replayed(data: RealData, setting: str, profile: Profile, llm: LiveLLM) -> _Place:
    made, _ = await hold(data.task, setting, data, llm, profile.generation)
    task, changed = as_asked(data.task, data, profile.generation, llm.answer_format)
    accepted = {label: int((made.texts["label"] == label).sum()) for label in task.labels}
    return _Place(task, changed, setting, made.turns, accepted)


@dataclass(frozen=True)
class _Rates:
    """Means over the answers known so far, of the same task where it has some.

    Attributes:
        per_byte: tokens of a prompt's byte; NaN where the endpoint counts none.
        answer: tokens of an answer.
        texts: accepted texts of an answer.
    """

    per_byte: float
    answer: float
    texts: float

    @classmethod
    def of(cls, places: Sequence[_Place], task: str) -> _Rates:
        chosen = [place for place in places if place.task.name == task and place.turns]
        chosen = chosen or [place for place in places if place.turns]
        turns = [turn for place in chosen for turn in place.turns]
        used = [(turn, turn.answer.usage) for turn in turns if turn.answer.usage]
        if not turns:
            return cls(math.nan, math.nan, math.nan)
        size = sum(_bytes(turn.conversation) for turn, _ in used)
        return cls(
            sum(usage.prompt_tokens for _, usage in used) / size if used else math.nan,
            sum(usage.completion_tokens for _, usage in used) / len(used) if used else math.nan,
            sum(sum(place.accepted.values()) for place in chosen) / len(turns),
        )


def _bytes(conversation: Conversation) -> int:
    return sum(message.size for message in conversation.messages)


@dataclass(frozen=True)
class _Missing:
    """What a task in one setting will still take; `rounds` turns one after another."""

    shown: Mapping[str, object]
    rounds: int
    problems: list[str]


def _missing(place: _Place, rates: _Rates, settings: GenerationSettings, llm: LiveLLM) -> _Missing:
    wanted = texts_wanted(place.task, settings)
    total, worst, requests, longest, problems = [0.0, 0.0], [0.0, 0.0], 0, 0, []
    for label in place.task.labels:
        turns = [turn for turn in place.turns if turn.conversation.label == label]
        left = settings.turns - max((turn.conversation.turn + 1 for turn in turns), default=0)
        rounds = _rounds(wanted - place.accepted[label], rates.texts * settings.conversations, left)
        if rounds > left:
            problems.append(
                f"{place.task.name} / {place.setting} / {label}: the limit of {settings.turns} turns comes before its "
                f"{wanted} texts; raise generation.turns or generation.conversations"
            )
            rounds = left
        requests += rounds * settings.conversations
        longest = max(longest, rounds)
        for number in range(settings.conversations):
            first, later = _prompt_sizes(place, label, number, llm, rates)
            begun = _after_last(turns, number, later)
            for sums, answer in ((total, rates.answer), (worst, float(llm.settings.max_tokens))):
                sums[0] += _prompt_tokens(begun, first, later, answer, rounds, llm)
                sums[1] += answer * rounds
    texts = (wanted * len(place.task.labels), sum(place.accepted.values()))
    tokens: list[float] = [count if math.isnan(count) else round(count) for count in total]
    shown = dict(zip(COLUMNS, (place.task.name, place.setting, *texts, requests, *tokens), strict=True))
    price = 1.0 if llm.money.priced else math.nan
    shown |= {name: price * llm.money.cost(*sums) for name, sums in zip(COSTS, (total, worst), strict=True)}
    return _Missing(shown, longest, problems)


def _rounds(texts: int, a_round: float, most: int) -> int:
    """Rounds until `texts` more texts are accepted; more than `most` where they never would be."""
    if texts <= 0:
        return 0
    return math.ceil(texts / a_round) if a_round > 0 else most + 1


def _prompt_sizes(place: _Place, label: str, number: int, llm: LiveLLM, rates: _Rates) -> tuple[float, float]:
    """Tokens of a conversation's first prompt, and of the request that every later turn adds."""
    conversation = talk(place.task, place.setting, label, place.data, llm, number)
    first = next(conversation).conversation
    conversation.send(Answer("", "stop", None, ""))
    later = next(conversation).conversation.messages[-1]
    return _bytes(first) * rates.per_byte, later.size * rates.per_byte


def _after_last(turns: Sequence[Turn], number: int, later: float) -> float | None:
    """Tokens of the next prompt of a conversation that has begun; None for one that has not."""
    mine = [turn for turn in turns if turn.conversation.number == number]
    usage = mine[-1].answer.usage if mine else None
    return usage.prompt_tokens + usage.completion_tokens + later if usage else None


def _prompt_tokens(begun: float | None, first: float, later: float, answer: float, rounds: int, llm: LiveLLM) -> float:
    """Tokens of the prompts of so many turns, each with the history before it; a full window begins anew."""
    window, total = llm.context_window, 0.0
    prompt = first if begun is None else begun
    for _ in range(rounds):
        if window is not None and prompt + llm.settings.max_tokens > window:
            prompt = first
        total += prompt
        prompt += answer + later
    return total


def _minutes(rows: Sequence[_Missing], turns: Sequence[Turn], llm: LiveLLM) -> float:
    """The longest of: turns one after another, requests side by side, and the pace that is set."""
    measured = [turn.answer.seconds for turn in turns if turn.answer.seconds is not None]
    requests = sum(int(str(row.shown["requests"])) for row in rows)
    if not measured or not requests:
        return math.nan if requests else 0.0
    each = sum(measured) / len(measured) / 60
    found = [max(row.rounds for row in rows) * each, requests * each / llm.at_once]
    if isinstance(llm.settings, OpenAISettings):
        tokens = sum(float(str(row.shown[name])) for row in rows for name in COLUMNS[-2:])
        if llm.settings.requests_per_minute:
            found.append(requests / llm.settings.requests_per_minute)
        if llm.settings.tokens_per_minute and not math.isnan(tokens):
            found.append(tokens / llm.settings.tokens_per_minute)
    return max(found)
