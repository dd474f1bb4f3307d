"""Every corpus of a profile: recordings replayed, files read, and live LLMs asked in many conversations at once.

Conversations with live LLMs share one event loop; one that fails ends alone. Every answer is in the response log before
it is used.
"""

import asyncio
import contextlib
import gc
import itertools
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from synthgap.core.config import (
    GeneratedCorpus,
    GenerationSettings,
    ImportedCorpus,
    LabelledCorpus,
    PooledCorpus,
    Profile,
)
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import command
from synthgap.core.settings import ProtocolName, Setting
from synthgap.core.terminal import Progress
from synthgap.data.duplicates import normalised
from synthgap.data.real import RealData
from synthgap.generation.conversations import (
    Turn,
    begin_conversation,
    first_number,
    next_request,
    texts_wanted,
    under_prompt,
    with_prompt,
)
from synthgap.generation.corpora import (
    ByTaskAndCorpus,
    CorpusTexts,
    all_recordings,
    corpora_of_task,
    from_answers,
    from_file,
    from_labels,
    from_pool,
    from_recording,
)
from synthgap.llm.backends import connect
from synthgap.llm.base import RECORDING, Conversation, Usage
from synthgap.llm.budget import BudgetReached, Money
from synthgap.llm.logged import SHOWN, LoggedLLM, RequestFailed
from synthgap.llm.recorded import RecordedLLM
from synthgap.llm.response_log import LogUnwritable, ResponseLog
from synthgap.tables import writer_of

Result = TypeVar("Result")
COST_COLUMNS = [
    *("task", "corpus", "label", "answers", "served", "prompt_tokens", "completion_tokens"),
    *("accepted", "tokens_per_text", "cost", "cost_per_text", "unanswered", "unanswered_cost"),
]
FILTER = ThreadPoolExecutor(1)  # texts are filtered beside the requests, and one task's at a time: it takes memory


@dataclass(frozen=True)
class Job:
    """The texts of a task in one recording of a corpus, which a live LLM is to write."""

    corpus: str
    setting: Setting
    data: RealData
    llm: LoggedLLM
    recording: int = 1
    protocol: ProtocolName = "conversation"

    def begin(self, label: str, number: int = 0) -> Conversation:
        """A conversation for a label, of several in this recording."""
        first = first_number(self.recording)
        return begin_conversation(self.data.task, self.setting, label, first + number, self.protocol)

    def prepared(self, settings: GenerationSettings) -> "Job":
        """The job with the prompts, examples and number of texts a turn that are asked for."""
        return replace(self, data=with_prompt(self.data, settings, self.llm.answer_format, self.protocol))


@dataclass(frozen=True)
class Shortfall:
    """A label that did not get its number of texts, and why."""

    task: str
    corpus: str
    label: str
    accepted: int
    wanted: int
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        place = f"{self.task} / {self.corpus} / {self.label}"
        return f"{place}: {self.accepted} of {self.wanted} texts ({'; '.join(self.reasons)})"


def generate_all(profile: Profile, real: Mapping[str, RealData], log_file: Path) -> dict[tuple[str, str], CorpusTexts]:
    """{(task, corpus): texts} of every corpus of a profile, for the tasks that it is needed for.

    Args:
        real: {task: its real texts}.
        log_file: the response log of live answers.

    Raises:
        SynthgapError: labels are short of texts because requests failed; what was answered is kept.
    """
    places = [(task, corpus) for task in real for corpus in corpora_of_task(profile, task)]
    made: dict[tuple[str, str], CorpusTexts] = {}
    jobs = []
    with open_llms(profile, log_file) as llms:
        for task, corpus in Progress(places, desc="corpora"):
            settings = profile.corpora[corpus]
            if isinstance(settings, PooledCorpus):
                continue  # once its corpora are there
            if isinstance(settings, ImportedCorpus):
                made[task, corpus] = from_file(settings, corpus, real[task].task, writer_of(profile, corpus))
            elif isinstance(settings, LabelledCorpus):
                made[task, corpus] = from_labels(settings, corpus, real[task], writer_of(profile, corpus))
            elif isinstance(llm := llms[settings.llm], LoggedLLM):
                jobs += [
                    Job(corpus, settings.setting, under_prompt(real[task], settings), llm, number, settings.protocol)
                    for number in settings.repeats
                ]
            else:
                asked = (under_prompt(real[task], settings), corpus, settings.setting, llm, profile.generation)
                made[task, corpus] = from_recording(*asked, settings.repeats, settings.protocol)
        written, shortfalls = generate_live(jobs, profile.generation) if jobs else ({}, [])
    for short in shortfalls:
        Progress.write(f"short: {short}")
    refuse_failures(shortfalls, command("run", profile, "01"))
    made |= written
    for task, corpus in places:
        if isinstance(settings := profile.corpora[corpus], PooledCorpus):
            members = {name: made[task, name] for name in settings.pool}
            made[task, corpus] = from_pool(corpus, real[task].task, members, writer_of(profile, corpus))
    return {place: made[place] for place in places}


@contextlib.contextmanager
def open_llms(profile: Profile, log_file: Path) -> Iterator[dict[str, RecordedLLM | LoggedLLM]]:
    """The LLMs as `connected` gives them, and the response log open for as long, where one of them needs it."""
    with ResponseLog(log_file) if is_live(profile) else contextlib.nullcontext() as log:
        yield connected(profile, log)


def is_live(profile: Profile) -> bool:
    """Whether an LLM that writes a corpus has to be asked, unlike a recording."""
    return any(isinstance(llm, LoggedLLM) for llm in connected(profile, None).values())


def connected(profile: Profile, log: ResponseLog | None) -> dict[str, RecordedLLM | LoggedLLM]:
    """{name: LLM} of those that write a corpus of the profile."""
    used = {corpus.llm for corpus in profile.corpora.values() if isinstance(corpus, GeneratedCorpus)}
    return {name: connect(settings, log) for name, settings in profile.llms.items() if name in used}


def generate_live(
    jobs: Sequence[Job], settings: GenerationSettings, shown: bool = True
) -> tuple[dict[tuple[str, str], CorpusTexts], list[Shortfall]]:
    """The texts of all jobs by (task, corpus), and what they are short of; all jobs are done at once.

    Works where an event loop is running already, as in a notebook.

    Args:
        shown: whether a progress bar says how far it is and what it cost.
    """
    wanted = sum(texts_wanted(job.data.task, settings) * len(job.data.task.labels) for job in jobs)

    async def everything() -> list[tuple[CorpusTexts, list[Shortfall]]]:
        with Progress(total=wanted, desc="texts", unit="text", disable=not shown) as bar:
            try:
                return await asyncio.gather(*(run_job(job, settings, bar) for job in jobs))
            finally:
                for job in jobs:
                    await job.llm.close()

    done = run_in_own_loop(everything())
    parts: dict[tuple[str, str], list[CorpusTexts]] = {}
    for job, (texts, _) in zip(jobs, done, strict=True):
        parts.setdefault((job.data.task.name, job.corpus), []).append(texts)
    made = {place: all_recordings(recordings) for place, recordings in parts.items()}
    return made, [short for _, shortfalls in done for short in shortfalls]


def refuse_failures(shortfalls: Iterable[Shortfall], command: str) -> None:
    """Refuse with all labels that failed and the command to go on; one that only reached its limit of turns did not."""
    failed = [short for short in shortfalls if not all("generation.turns" in reason for reason in short.reasons)]
    if failed:
        listed = "\n  ".join(map(str, failed))
        raise SynthgapError(
            f"{len(failed)} labels are short of texts:\n  {listed}\nwhat was answered is kept; to go on: {command}"
        )


# ------------------------------------------------------------------------------------------------------ conversations


async def run_job(job: Job, settings: GenerationSettings, bar: Progress) -> tuple[CorpusTexts, list[Shortfall]]:
    """All conversations of a task in a corpus, side by side, until every label has its texts.

    The result depends on the answers alone, not on the order in which they came: conversations take their turns in
    rounds, and texts are filtered in the order of label, turn and conversation. A conversation that would overflow the
    context window ends, and a fresh one takes its place. Where the first answers hold no text, no more are asked for.

    Args:
        bar: over the texts of all jobs.
    """
    job = job.prepared(settings)
    kind = LabelSamples if job.protocol == "completion" else LabelConversations
    labels = [kind(job, label, settings) for label in job.data.task.labels]
    await asyncio.gather(*(one.take_round(bar) for one in labels))
    if no_texts := without_texts([turn for one in labels for turn in one.turns]):
        for one in labels:
            one.open, one.reasons = [], [*one.reasons, f"{no_texts}; nothing more was asked"]
    while True:
        await asyncio.gather(*(one.reach_goal(bar) for one in labels))
        turns = [turn for one in labels for turn in one.turns]
        made = await asyncio.get_running_loop().run_in_executor(
            FILTER, from_answers, job.data, job.corpus, job.setting, job.llm, settings, turns
        )
        accepted = made.provenance["accepted_by_label"]
        short = [one for one in labels if accepted[one.label] < one.wanted]
        if not any(one.goes_on for one in short):
            return made, [one.shortfall(accepted[one.label]) for one in short]
        for one in short:
            one.goal = len(one.different) + one.wanted - accepted[one.label]


def without_texts(turns: Sequence[Turn]) -> str:
    """What answers look like that hold no text at all; "" where one does, or where there are none."""
    if not turns or any(text for turn in turns for text in turn.answer.parsed.texts):
        return ""
    return f"none of the first {len(turns)} answers holds a text; one begins with {turns[0].answer.text[:SHOWN]!r}"


@dataclass
class LabelConversations:
    """The conversations of one label: rounds of one turn each until there are texts enough.

    Attributes:
        open: the conversations that go on, by number; with the tokens of the last request and answer.
        different: texts but for exact repeats; never fewer than will be accepted.
        wanted, goal: texts to be accepted, and how many different ones are thought to do for these.
    """

    job: Job
    label: str
    settings: GenerationSettings
    open: list[tuple[Conversation, Usage | None]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    rounds: int = 0
    turns: list[Turn] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    different: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.goal = self.wanted = texts_wanted(self.job.data.task, self.settings)
        self.open = [(self.begin(), None) for _ in range(self.settings.conversations)]

    def begin(self) -> Conversation:
        """A further conversation."""
        return self.job.begin(self.label, next(self.numbers))

    @property
    def goes_on(self) -> bool:
        return bool(self.open) and self.rounds < self.settings.turns

    async def reach_goal(self, bar: Progress) -> None:
        """Take rounds of turns until there are as many different texts, or no conversation goes on."""
        while self.goes_on and len(self.different) < self.goal:
            await self.take_round(bar)

    async def take_round(self, bar: Progress) -> None:
        """One turn of every conversation."""
        self.rounds += 1
        answered = await asyncio.gather(*(self.take_turn(*one, bar) for one in self.open))
        turns = [turn for turn in answered if turn is not None]
        self.turns += turns
        turns.sort(key=lambda turn: turn.conversation.number)
        self.open = [(turn.history, turn.answer.usage) for turn in turns]

    async def take_turn(self, history: Conversation, used: Usage | None, bar: Progress) -> Turn | None:
        """The next turn of a conversation, or, where it would overflow the context window, the first of a fresh one.

        A conversation that fails ends with its reason.
        """
        llm, data, texts = self.job.llm, self.job.data, self.job.data.task.texts_per_turn
        request = next_request(history, data, llm)
        if history.turn and not llm.fits(request.conversation, used):
            history = self.begin()
            request = next_request(history, data, llm)
        try:
            if not history.turn and not llm.fits(request.conversation, None):
                raise RequestFailed(f"the request does not fit the context window of {llm.context_window} tokens")
            answer = await llm.ask(llm.request(request.conversation, texts, tuple(request.examples)))
        except (RequestFailed, BudgetReached, LogUnwritable) as error:
            self.reasons.append(f"turn {history.turn + 1}: {error}")
            return None
        before = min(len(self.different), self.wanted)
        self.different |= {normalised(text) for text in answer.parsed.texts[:texts]} - {""}
        now = min(len(self.different), self.wanted)
        bar.update(now - before)
        spent = f"; {llm.spent():.4g} spent on {llm.model}" if llm.money.priced else ""
        bar.set_postfix_str(f"{data.task.name}/{self.job.corpus}/{self.label}: {now} texts{spent}", refresh=False)
        return replace(request, answer=answer)

    def shortfall(self, accepted: int) -> Shortfall:
        reasons = tuple(dict.fromkeys(self.reasons))
        if self.rounds >= self.settings.turns:
            reasons = (*reasons, f"the limit of {self.settings.turns} turns is reached (generation.turns)")
        return Shortfall(self.job.data.task.name, self.job.corpus, self.label, accepted, self.wanted, reasons)


class LabelSamples(LabelConversations):
    """The completions of one label, each by itself: rounds of as many as texts are missing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.numbers = itertools.count()

    async def take_round(self, bar: Progress) -> None:
        begun = (self.begin() for _ in range(max(1, self.goal - len(self.different))))
        self.open = [(one, None) for one in begun if one.recording == self.job.recording]
        if not self.open:
            self.reasons.append(f"a recording holds {RECORDING} completions, fewer than generation.turns allows")
        await super().take_round(bar)


def run_in_own_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on an event loop in a thread of its own; an interrupt cancels it, so that no more is asked."""
    running: list[asyncio.Task[Any]] = []

    async def main() -> Result:
        running.extend(filter(None, [asyncio.current_task()]))
        return await work

    gc.freeze()  # what was made before (libraries, data) is not searched for garbage after every few answers
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="live LLM") as thread:
            result = thread.submit(asyncio.run, main())
            try:
                return result.result()
            except BaseException:
                if running and not result.done():
                    running[0].get_loop().call_soon_threadsafe(running[0].cancel)
                raise
    finally:
        gc.unfreeze()


# -------------------------------------------------------------------------------------------------------------- costs


def costs(profile: Profile, made: ByTaskAndCorpus, log_file: Path) -> pd.DataFrame:
    """What live answers took, all runs of the log together, with COST_COLUMNS; no rows for recordings and files.

    Costs are in the currency of the LLM's prices and missing where it has none. Requests whose answer never came, or
    came without a count of its tokens, may have been billed: they are `unanswered` and cost at most `unanswered_cost`,
    which is not in `cost`. Corpora that one LLM writes in the same setting have answers in common, which each is told.
    """
    rows = []
    with open_llms(profile, log_file) as llms:
        for name, corpus in profile.corpora.items():
            if isinstance(corpus, GeneratedCorpus) and isinstance(llm := llms[corpus.llm], LoggedLLM):
                for spent in llm.log.spent(llm.model):
                    if spent["setting"] == corpus.conditions and (spent["task"], name) in made:
                        accepted = made[spent["task"], name].provenance["accepted_by_label"].get(spent["label"], 0)
                        rows.append({"corpus": name, **spent, **_priced(spent, accepted, llm.money)})
    return pd.DataFrame(rows, columns=COST_COLUMNS)


def _priced(spent: Mapping[str, Any], accepted: int, money: Money) -> dict[str, float]:
    """What a label's answers cost, in all and for each accepted text."""
    texts, price = accepted or float("nan"), 1.0 if money.priced else float("nan")
    cost = price * money.cost(spent["prompt_tokens"], spent["completion_tokens"])
    return {
        "accepted": accepted,
        "tokens_per_text": (spent["prompt_tokens"] + spent["completion_tokens"]) / texts,
        "cost": cost,
        "cost_per_text": cost / texts,
        "unanswered_cost": price * money.cost(spent["unanswered_prompt"], spent["unanswered_completion"]),
    }
