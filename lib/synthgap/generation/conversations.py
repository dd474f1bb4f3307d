"""What an LLM is asked: the paper's conversations turn by turn, or completions; and with which few-shot examples."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from synthgap.core.config import GeneratedCorpus, GenerationSettings
from synthgap.core.settings import ProtocolName, Setting
from synthgap.data.draws import draw_places
from synthgap.data.real import RealData
from synthgap.llm.base import LLM, RECORDING, Answer, Conversation, Message
from synthgap.llm.recorded import RecordedLLM
from synthgap.tasks import Task, load_prompt

NO_ANSWER = Answer("", "", None, "")  # of a turn that waits for it


@dataclass(frozen=True)
class Turn:
    """One request and its answer.

    Attributes:
        conversation: everything up to and including the request.
        examples: {id: text as shown} of the few-shot examples; empty for zero-shot.
        drawn: whether the examples were drawn here; False where the recording names them.
    """

    conversation: Conversation
    answer: Answer = NO_ANSWER
    examples: dict[str, str] = field(default_factory=dict)
    drawn: bool = True

    @property
    def history(self) -> Conversation:
        """The conversation with the answer."""
        return self.conversation.then("assistant", self.answer.text)


def texts_wanted(task: Task, settings: GenerationSettings) -> int:
    """How many texts of each label are asked for."""
    return settings.texts_by_task.get(task.name) or settings.texts_per_label or task.texts_per_label


def turns_needed(task: Task, texts: int) -> int:
    """Requests of one conversation that asks for `texts` texts."""
    return ceil(texts / task.texts_per_turn)


def with_prompt(
    data: RealData,
    settings: GenerationSettings,
    answer_format: str | None = None,
    protocol: ProtocolName = "conversation",
) -> RealData:
    """The data, their task having the few-shot pool, number of examples and prompts that the settings name.

    Args:
        answer_format: in place of the task's own `format`; for structured output.
        protocol: a completion is one text.
    """
    task = data.task
    asked: dict[str, dict[str, Any]] = {
        "few_shot": {"pool_share": settings.pool_share, "examples_per_turn": settings.examples_per_turn},
        "prompts": {"diversity": settings.diversity_prompt, "format": answer_format},
    }
    changed: dict[str, Any] = {
        part: getattr(task, part).model_copy(update={key: value for key, value in new.items() if value is not None})
        for part, new in asked.items()
    }
    changed["texts_per_turn"] = 1 if protocol == "completion" else task.texts_per_turn
    return replace(data, task=task.model_copy(update=changed))


def under_prompt(data: RealData, corpus: GeneratedCorpus) -> RealData:
    """The data, their task having the prompts of a corpus."""
    return replace(data, task=data.task.under(load_prompt(corpus.prompt))) if corpus.prompt else data


def begin_conversation(
    task: Task, setting: Setting, label: str, number: int = 0, protocol: ProtocolName = "conversation"
) -> Conversation:
    """A conversation that holds the task's context alone; one of the protocol completion holds nothing yet.

    Args:
        number: of several conversations for one label; `first_number` of a recording, or one that follows.
    """
    context = (Message("system", task.context),) if protocol == "conversation" else ()
    prompt = task.variant.name if task.variant else ""
    return Conversation(task.name, setting, label, context, number, protocol, prompt)


def request_text(task: Task, asked: Conversation, examples: list[str] | None = None) -> str:
    """The message of the next request, or the prompt of a completion, which shows these examples in few-shot."""
    if asked.protocol == "completion":
        return task.beginning(asked.label, examples)
    return task.request(asked.label, asked.turn, examples)


def first_number(recording: int) -> int:
    """The number of a recording's first conversation for a label."""
    return (recording - 1) * RECORDING


def next_request(before: Conversation, data: RealData, llm: LLM) -> Turn:
    """The turn that follows, without its answer: the request, from the second on after the diversity prompt.

    A few-shot request shows fresh examples in every turn. A recording names those that it was answered to; where these
    data do not have them (the stand-in does not), examples are drawn from the label's pool.
    """
    task, label = data.task, before.label
    if before.setting != "few_shot":
        return Turn(before.then("user", request_text(task, before)))
    train, keys = data.train_texts, llm.example_ids(before) or ()
    drawn = not keys or any(key not in train for key in keys)
    if drawn:
        pool, number = data.pool_ids(label, before.recording), f" {before.number}" if before.number else ""
        places = draw_places(pool, task.few_shot.examples_per_turn, before.turn, f"examples {label}{number}")
        keys = tuple(pool[place] for place in places)
    examples = {key: task.shown_example(train[key]) for key in keys}
    request = before.then("user", request_text(task, before, list(examples.values())))
    return Turn(request, examples=examples, drawn=drawn)


def run_conversation(
    data: RealData, setting: Setting, label: str, llm: RecordedLLM, texts: int, recording: int = 1
) -> list[Turn]:
    """The whole conversation for one label, which asks for `texts` texts, or as many as were recorded.

    The first recording of the task's own prompts has them all.
    """
    conversation, turns = begin_conversation(data.task, setting, label, first_number(recording)), []
    needed = turns_needed(data.task, texts)
    if recording > 1 or conversation.prompt:
        needed = max(1, min(needed, llm.turns(conversation)))
    for _ in range(needed):
        request = next_request(conversation, data, llm)
        turns.append(replace(request, answer=llm.answer(request.conversation)))
        conversation = turns[-1].history
    return turns


def take_samples(data: RealData, setting: Setting, label: str, llm: RecordedLLM, numbers: Sequence[int]) -> list[Turn]:
    """Completions for a label, by their numbers."""
    begun = [begin_conversation(data.task, setting, label, number, "completion") for number in numbers]
    requests = [next_request(one, data, llm) for one in begun]
    return [replace(request, answer=llm.answer(request.conversation)) for request in requests]
