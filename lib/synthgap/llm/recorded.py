"""Recordings: an LLM whose answers were recorded and are given turn by turn; the response log out as one, and back in.

A recording is a folder with `<setting>/<task>.jsonl` (one answer per line; `<prompt>/<task>.jsonl` under a prompt
variant) and `recording.yaml`, which says who wrote the answers. Where the same conditions were recorded again,
`<setting>.2`, `<setting>.3`, ... hold that.
"""

import functools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError

from synthgap.core.config import RecordedSettings
from synthgap.core.errors import SynthgapError, unknown
from synthgap.core.files import digest, file_digest, write_text
from synthgap.core.paths import bundled, root
from synthgap.core.settings import ProtocolName, Setting
from synthgap.core.yaml_files import read_yaml
from synthgap.data.text_files import read_text
from synthgap.llm.base import LLM, RECORDING, Answer, Conversation, Usage
from synthgap.llm.response_log import LABELLING, ResponseLog
from synthgap.tasks import known_tasks, load_task
from synthgap.tasks.registry import prompt_files

ABOUT = "recording.yaml"
Count = Annotated[int, Field(ge=0, lt=2**63)]  # as SQLite can hold it


def recording_folder(settings: RecordedSettings) -> Path:
    """The recording of the package that a profile names, or a folder: absolute, or below the project's."""
    for folder in (bundled("recordings", settings.recording), root() / settings.recording):
        if folder.is_dir():
            return folder
    known = sorted(path.parent.name for path in bundled("recordings").glob(f"*/{ABOUT}"))
    raise SynthgapError(
        f"the recording '{settings.recording}' is neither one of the package ({', '.join(known)}) nor a folder"
    )


class RecordedAnswer(BaseModel, frozen=True):
    """A line of a recording.

    Attributes:
        setting: or the prompt variant, where there is one.
        n: texts that were asked for.
        usage: tokens of the prompt and of the answer.
        key: of the request in a response log; "" where there was none.
    """

    task: str = ""
    setting: str = ""
    label: str
    conversation: Count = 0
    turn: Count
    n: Count = 0
    example_ids: tuple[str, ...] = ()
    model: str = ""
    response: str
    finish_reason: str = "stop"
    usage: tuple[Count | None, Count | None] = (None, None)
    key: str = ""
    protocol: ProtocolName = "conversation"


@dataclass(frozen=True)
class RecordedLLM(LLM):
    """Answers turn by turn from a recording's folder, as an endpoint would, whatever the exact prompt.

    Several conversations that were recorded for one label are given as one: their first turns, their second ones, ...
    """

    folder: Path

    @functools.cached_property
    def model(self) -> str:
        """Who wrote the answers, as `recording.yaml` says."""
        about = self.folder / ABOUT
        if not about.is_file():
            return f"recording '{self.folder.name}', which does not say whose"
        return str(read_yaml(about).get("model", ""))

    @property
    def fingerprint(self) -> str:
        files = sorted(self.folder.glob("*/*.jsonl"))
        return digest({path.relative_to(self.folder).as_posix(): file_digest(path) for path in files})

    def turns(self, asked: Conversation) -> int:
        """How many turns of a conversation were recorded."""
        return len(self._answers(asked))

    def check_turns(self, asked: Conversation, turns: int) -> None:
        """Refuse a conversation of more turns than were recorded."""
        recorded = self.turns(asked)
        if recorded and (protocol := self._answers(asked)[0].protocol) != asked.protocol:
            raise SynthgapError(
                f"the recording '{self.folder.name}' of task '{asked.task}' was made by the protocol {protocol}, and "
                f"its corpus asks for {asked.protocol}; write `protocol: {protocol}` in the corpus"
            )
        if turns > recorded:
            way_out = "lower generation.texts_per_label or use a live LLM"
            if not recorded:
                way_out = "use a live LLM, or do without: leave the corpus, or this one of its `repeats`, out"
            label = f", label '{asked.label}'" if self._file(asked).is_file() else ""
            raise SynthgapError(
                f"recording {asked.recording} of task '{asked.task}', setting '{asked.conditions}'{label} in "
                f"'{self.folder.name}' holds {recorded} turns, and turn {turns} was asked for; {way_out}"
            )

    def answer(self, conversation: Conversation) -> Answer:
        """The recorded answer to the last request; refused where there is none, see `check_turns`."""
        if conversation.messages[-1].role != "user":
            raise ValueError("the last message of a conversation must be the user's request")
        place = conversation.turn + conversation.sample
        self.check_turns(conversation, place + 1)
        recorded = self._answers(conversation)[place]
        return Answer(recorded.response, recorded.finish_reason, None, self.model, protocol=recorded.protocol)

    def example_ids(self, conversation: Conversation) -> tuple[str, ...] | None:
        following = self._answers(conversation)[conversation.turn + conversation.sample :]
        return following[0].example_ids if following else None

    def _answers(self, conversation: Conversation) -> list[RecordedAnswer]:
        path = self._file(conversation)
        return _answers_by_label(path).get(conversation.label, []) if path.is_file() else []

    def _file(self, of: Conversation) -> Path:
        return self.folder / answers_folder(of.conditions, of.recording) / f"{of.task}.jsonl"


def answers_folder(conditions: str, recording: int) -> str:
    """A recording's folder of answers under these conditions (prompt variant, or setting); the first has no number."""
    return conditions if recording == 1 else f"{conditions}.{recording}"


@functools.lru_cache(maxsize=64)
def _answers_by_label(path: Path) -> dict[str, list[RecordedAnswer]]:
    """{label: its answers, by turn and conversation}."""
    labels: dict[str, list[RecordedAnswer]] = {}
    for _, answer in _read(path):
        labels.setdefault(answer.label, []).append(answer)
    for answers in labels.values():
        answers.sort(key=lambda answer: (answer.turn, answer.conversation))
    return labels


def _read(path: Path) -> Iterator[tuple[int, RecordedAnswer]]:
    """The answers of a recording with the numbers of their lines; each conversation's turns are there without a gap."""
    number = 0
    turns: Counter[tuple[str, ...]] = Counter()
    try:
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            if line.strip():
                answer = RecordedAnswer.model_validate_json(line)
                conversation = answer.task, answer.setting, answer.label, str(answer.conversation)
                if answer.turn != turns[conversation]:
                    raise SynthgapError(
                        f"'{path.name}', line {number}: turn {answer.turn} instead of {turns[conversation]} of its "
                        "conversation; each needs all its turns in their order: export the answers again"
                    )
                turns[conversation] += 1
                yield number, answer
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        reason = ": ".join([*map(str, first["loc"]), first["msg"]])
        raise SynthgapError(f"'{path.name}', line {number}: no recorded answer ({reason})") from error
    except OSError as error:
        raise SynthgapError(f"'{path}' cannot be read: {error.strerror}") from error


def _check_names(task: str, setting: str) -> None:
    """Refuse what is no known task and setting or prompt: they come from files of others, and become paths."""
    settings = (*get_args(Setting), *prompt_files())
    for what, name, known in (("task", task, known_tasks()), ("setting", setting, settings)):
        if name not in known:
            raise unknown(what, name, known)


def export_recording(log: ResponseLog, folder: Path, model: str | None = None) -> list[Path]:
    """Write the served answers of a model in a log as a recording, without a key or a header of the endpoint.

    The model need not be named where the log holds answers of one only. Two answers for one turn are refused.
    """
    answers = (row for row in log.rows() if not row["fault"] and row["setting"] != LABELLING)
    rows = [row for row in answers if model in {None, row["model"]}]
    models = sorted({row["model"] for row in rows})
    if len(models) != 1:
        held = f"answers of {', '.join(models)}: name one" if models else "no answers yet"
        raise SynthgapError(f"the response log '{log.path.name}' holds {held if model is None else f'none of {model}'}")
    lines: dict[Path, dict[tuple[str, int, int], str]] = {}  # {file: {label, conversation and turn: answer}}
    for row in rows:
        _check_names(row["task"], row["setting"])
        setting = answers_folder(row["setting"], row["conversation"] // RECORDING + 1)
        of_task = lines.setdefault(folder / setting / f"{row['task']}.jsonl", {})
        turn = (row["label"], row["conversation"], row["turn"])
        if turn in of_task:
            raise SynthgapError(
                f"the response log holds two answers for {row['task']} / {row['setting']} / {row['label']}, turn "
                f"{row['turn']} (of two endpoints, prompts or settings); export each run from a log of its own"
            )
        row |= {"example_ids": json.loads(row["example_ids"]), "usage": [row[name] for name in Usage._fields]}
        of_task[turn] = RecordedAnswer.model_validate(row).model_dump_json()
    written = [write_text(path, "\n".join(answers.values()) + "\n") for path, answers in sorted(lines.items())]
    return [*written, write_text(folder / ABOUT, yaml.safe_dump({"model": models[0]}, allow_unicode=True))]


def import_recording(log: ResponseLog, exported: Sequence[Path]) -> tuple[int, int]:
    """Read exported recordings (folders, or files of them) into a log; how many answers were new and how many known.

    Nothing of any file is stored where a line is no exported answer, which is refused.
    """
    rows: list[dict[str, Any]] = []
    for path in exported:
        before = len(rows)
        for file in sorted(path.glob("*/*.jsonl")) if path.is_dir() else [path]:
            rows += _exported_rows(file)
        if len(rows) == before:
            raise SynthgapError(
                f"'{path}' holds no answers; name a recording's folder, or a <setting>/<task>.jsonl of one"
            )
    new = log.add(rows)
    return new, len(rows) - new


def _exported_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The answers of an exported file as rows of a log."""
    for number, answer in _read(path):
        if not answer.key:
            raise SynthgapError(f"'{path.name}', line {number}: not exported from a response log")
        try:
            _check_names(answer.task, answer.setting)
            if answer.label not in (labels := load_task(answer.task).labels):
                raise unknown("label", answer.label, labels)
        except SynthgapError as error:
            raise SynthgapError(f"'{path.name}', line {number}: {error}") from error
        row = answer.model_dump() | dict(zip(Usage._fields, answer.usage, strict=True))
        yield row | {"example_ids": json.dumps(answer.example_ids), "seconds": None, "paid": 0, "fault": ""}
