"""What live LLMs will take, before money is spent: requests, tokens, cost and time of all texts that are missing.

The estimate rests on a pilot of a few answers. These are the first ones of the run itself and stay in the response log,
so nothing is paid for twice.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthgap.core.config import GeneratedCorpus, GenerationSettings, OpenAISettings, Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.terminal import Progress
from synthgap.data.real import RealData
from synthgap.generation.conversations import next_request, texts_wanted, under_prompt
from synthgap.generation.corpora import CorpusTexts, corpora_of_task
from synthgap.generation.live_generation import Job, open_llms, run_in_own_loop, run_job, without_texts
from synthgap.llm import model_of
from synthgap.llm.base import Conversation
from synthgap.llm.budget import Money
from synthgap.llm.logged import LoggedLLM, RequestFailed
from synthgap.tables import format_hours

COLUMNS = ["task", "corpus", "texts", "accepted"]
MISSING = ["requests", "prompt_tokens", "completion_tokens", "cost", "cost_at_worst"]


@dataclass(frozen=True, repr=False)
class Estimate:
    """What is missing of one LLM's texts, and what it will take.

    Attributes:
        table: columns task, corpus, texts (wanted), accepted (there already); and of what is missing: requests,
            prompt_tokens, completion_tokens, cost, cost_at_worst (every answer as long as it may be).
        known: answers that the estimate rests on.
        spent: what the LLM's answers in the log have cost so far.
        minutes: until all is there; NaN where nothing was measured.
        asked: requests that the pilot sent just now.
        problems: what could not be had or estimated.
    """

    model: str
    table: pd.DataFrame
    money: Money
    known: int = 0
    spent: float = 0.0
    minutes: float = 0.0
    asked: int = 0
    problems: Sequence[str] = ()

    def __str__(self) -> str:
        return "\n".join([f"LLM: {self.model}", *self._sentences(), *(f"note: {one}" for one in self.problems)])

    __repr__ = __str__

    def _sentences(self) -> list[str]:
        total, money = self.table[MISSING].sum(skipna=False), self.money
        if not total["requests"]:
            return ["nothing is missing: nothing will be asked"]
        missing = (
            f"missing: about {total['requests']:,.0f} requests with {total['prompt_tokens']:,.0f} tokens of prompts "
            f"and {total['completion_tokens']:,.0f} of answers, in {format_hours(self.minutes / 60)} (estimated from "
            f"{self.known} answers; the pilot sent {self.asked} requests)"
        )
        if not money.priced:
            return [missing, "cost: unknown, the LLM's input_price and output_price are not set"]
        cost = (
            f"cost: about {total['cost']:.4g}, at the worst {total['cost_at_worst']:.4g} (at {money.input_price:g} and "
            f"{money.output_price:g} per million tokens); {self.spent:.4g} spent so far"
        )
        if money.budget is None or self.spent + total["cost"] <= money.budget:
            return [missing, cost]
        ends = f"the budget of {money.budget:g} would end the run before it is done; what is there is kept"
        return [missing, cost, ends]


def estimate_costs(profile: Profile, real: Mapping[str, RealData], log_file: Path) -> list[Estimate]:
    """Ask each live LLM for a pilot (one answer per task, where the log has none yet) and estimate the rest.

    A recording has everything already, and imported corpora are nobody's to write.

    Raises:
        SynthgapError: an LLM must not or cannot be asked, or does not answer the first request.
    """
    settings, estimates = profile.generation, []
    with open_llms(profile, log_file) as llms:
        for name, llm in llms.items():
            places = [
                (corpus, about, under_prompt(data, about))
                for task, data in real.items()
                for corpus in corpora_of_task(profile, task)
                if isinstance(about := profile.corpora[corpus], GeneratedCorpus) and about.llm == name
            ]
            if isinstance(llm, LoggedLLM):
                jobs = [
                    Job(corpus, about.setting, data, llm, recording, about.protocol).prepared(settings)
                    for corpus, about, data in places
                    for recording in about.repeats
                ]
                estimates.append(run_in_own_loop(_estimate(jobs, settings, llm)))
            else:
                texts = [texts_wanted(data.task, settings) * len(data.task.labels) for *_, data in places]
                rows = [(data.task.name, corpus, n, n) for (corpus, _, data), n in zip(places, texts, strict=True)]
                table = pd.DataFrame(rows, columns=COLUMNS).assign(**dict.fromkeys(MISSING, 0))
                estimates.append(Estimate(llm.model, table, Money()))
    return estimates


def estimates_table(estimates: Sequence[Estimate]) -> pd.DataFrame:
    """The tables of all LLMs in one."""
    tables = [one.table for one in estimates] or [pd.DataFrame(columns=[*COLUMNS, *MISSING])]
    return pd.concat(tables, ignore_index=True)


async def _estimate(jobs: Sequence[Job], settings: GenerationSettings, llm: LoggedLLM) -> Estimate:
    try:
        problems = await _pilot(jobs, llm)
        llm.offline = True  # from here on the log tells what is there already
        made = [(await run_job(job, settings, Progress(disable=True)))[0] for job in jobs]
    finally:
        await llm.close()
    known = _known_answers(made)
    no_texts = without_texts([turn for one in made for turn in one.turns])
    if known["prompt_tokens"].isna().any():
        problems.append("the endpoint counts no tokens, so neither tokens nor cost can be estimated")
    rows = []
    for job, there in zip(jobs, made, strict=True):
        of_task = known[known.index == job.data.task.name]
        means = (known if of_task.empty else of_task).mean()
        rows += [_of_label(job, label, there, means, settings) for label in job.data.task.labels]
    labels = pd.DataFrame(rows, columns=[*COLUMNS, *MISSING, "label", "rounds", "short"])
    problems += [no_texts] * bool(no_texts) or [
        f"{row.task} / {row.corpus} / {row.label}: the limit of {settings.turns} turns comes before its {row.texts} "
        "texts; raise generation.turns or generation.conversations"
        for row in labels[labels["short"]].itertuples()
    ]
    table = labels.groupby(["task", "corpus"], sort=False)[[*COLUMNS[2:], *MISSING]].sum(skipna=False).reset_index()
    minutes = _minutes(table, labels["rounds"].max(), known["seconds"].mean(), llm)
    return Estimate(model_of(llm.settings), table, llm.money, len(known), llm.spent(), minutes, llm.asked, problems)


async def _pilot(jobs: Sequence[Job], llm: LoggedLLM) -> list[str]:
    """Ask a first request of each task (in its corpora by turns), one alone before the others; what went wrong."""
    requests = []
    for number, (_, of_task) in enumerate(groupby(jobs, key=lambda job: job.data.task.name)):
        corpora = list(of_task)
        job = corpora[number % len(corpora)]
        first = next_request(job.begin(next(iter(job.data.task.labels))), job.data, llm)
        requests.append(llm.request(first.conversation, job.data.task.texts_per_turn, tuple(first.examples)))
    requests = [request for request in requests if llm.log.get(request.key) is None]
    try:
        for request in requests[:1]:
            await llm.ask(request)
    except RequestFailed as error:
        raise SynthgapError(f"{model_of(llm.settings)} did not answer the first request: {error}") from error
    problems = []
    answers = await asyncio.gather(*map(llm.ask, requests[1:]), return_exceptions=True)
    for request, answer in zip(requests[1:], answers, strict=True):
        if isinstance(answer, RequestFailed):
            problems.append(f"{request.conversation.task}: no pilot answer ({answer})")
        elif isinstance(answer, BaseException):
            raise answer
    return problems


# ------------------------------------------------------------------------------------------------- from pilot to all


def _known_answers(made: Sequence[CorpusTexts]) -> pd.DataFrame:
    """A row for each answer, by task; `bytes` are its prompt's, and missing like tokens where nobody counted these."""
    rows = []
    for one in made:
        for turn in one.turns:
            usage = turn.answer.usage
            counted = (_bytes(turn.conversation), *usage) if usage else (None, None, None)
            rows.append((one.provenance["task"], len(one.texts) / len(one.turns), turn.answer.seconds, *counted))
    columns = ["task", "texts", "seconds", "bytes", "prompt_tokens", "completion_tokens"]
    return pd.DataFrame(rows, columns=columns).set_index("task").astype(float)


def _bytes(conversation: Conversation) -> int:
    return sum(message.size for message in conversation.messages)


def _of_label(
    job: Job, label: str, made: CorpusTexts, means: pd.Series, settings: GenerationSettings
) -> dict[str, Any]:
    """What a label will still take: a row of the table, its `rounds` of turns, and whether these do not do (`short`).

    Each prompt holds the history before it, and one that overflows the context window begins anew.

    Args:
        means: of the columns of `_known_answers`.
    """
    data, llm, conversations = job.data, job.llm, settings.conversations
    wanted, accepted = texts_wanted(data.task, settings), made.provenance["accepted_by_label"][label]
    turns = [turn for turn in made.turns if turn.conversation.label == label]
    if job.protocol == "completion":  # which have no history: what is missing is one round
        turns, conversations = [], math.ceil((wanted - accepted) / means["texts"]) if means["texts"] > 0 else 1
    left = settings.turns - max((turn.conversation.turn + 1 for turn in turns), default=0)
    rounds, per_round = 0, means["texts"] * conversations
    if accepted < wanted:
        rounds = math.ceil((wanted - accepted) / per_round) if per_round > 0 else left + 1
    short, rounds = rounds > left, min(rounds, left)
    request = next_request(job.begin(label), data, llm)
    per_byte = means["prompt_tokens"] / means["bytes"]
    first = per_byte * _bytes(request.conversation)
    later = per_byte * next_request(request.history, data, llm).conversation.messages[-1].size
    answer = np.array([means["completion_tokens"], llm.settings.max_tokens])  # usually and at the worst
    going_on = {turn.conversation.number: per_byte * _bytes(turn.history) + later for turn in turns}
    prompts = np.array([[going_on.get(job.begin(label, number).number, first)] * 2 for number in range(conversations)])
    total, longest = np.zeros(2), (llm.context_window or math.inf) - llm.settings.max_tokens
    for _ in range(rounds):
        prompts = np.where(prompts > longest, first, prompts)
        total += prompts.sum(axis=0)
        prompts = prompts + answer + later
    requests = rounds * conversations
    price = 1.0 if llm.money.priced else math.nan
    costs = [price * llm.money.cost(*tokens) for tokens in zip(total, requests * answer, strict=True)]
    tokens = [count if math.isnan(count) else round(count) for count in (total[0], requests * answer[0])]
    row = [data.task.name, job.corpus, wanted, accepted, requests, *tokens, *costs]
    return {**dict(zip([*COLUMNS, *MISSING], row, strict=True)), "label": label, "rounds": rounds, "short": short}


def _minutes(table: pd.DataFrame, rounds: int, seconds: float, llm: LoggedLLM) -> float:
    """The longest of: turns one after another, requests side by side, and the pace that is set; `seconds` a turn."""
    requests = table["requests"].sum()
    if not requests or math.isnan(seconds):
        return seconds if requests else 0.0
    minutes = [rounds * seconds / 60, requests * seconds / 60 / llm.at_once]
    if isinstance(llm.settings, OpenAISettings):
        tokens = table[["prompt_tokens", "completion_tokens"]].sum().sum()
        minutes.append(requests / (llm.settings.requests_per_minute or math.inf))
        minutes.append(tokens / (llm.settings.tokens_per_minute or math.inf))
    return max(minutes)
