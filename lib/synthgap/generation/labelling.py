"""A live LLM labels real texts, one zero-shot request a text: of a profile, or of anybody's unlabelled file.

Answers go into the response log as those of generation do: nothing is paid for twice, a budget holds, and what was
stopped goes on. Of a text the log has a digest alone.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from synthgap.core.config import Profile, RecordedSettings
from synthgap.core.errors import SynthgapError, unknown
from synthgap.core.files import write_text
from synthgap.core.paths import command, root
from synthgap.core.terminal import Progress
from synthgap.data.draws import draw
from synthgap.data.labelled import ABOUT
from synthgap.data.real import load_real
from synthgap.generation.live_generation import run_in_own_loop
from synthgap.llm import model_of
from synthgap.llm.backends import connect
from synthgap.llm.base import LLM, Answer, Conversation, Message
from synthgap.llm.budget import BudgetReached
from synthgap.llm.logged import UNUSABLE, LoggedLLM, RequestFailed
from synthgap.llm.response_log import LABELLING, LogUnwritable, ResponseLog
from synthgap.tasks import load_task

CONTEXT = "You label texts: you answer with one label and nothing else."
REQUEST = (
    "{question}\n\nThe labels:\n{labels}\n\nThe text:\n{text}\n\nAnswer with one of these, as it stands here: {names}"
)
QUESTION = "Which of the labels fits this text?"
BEFORE_LABEL = re.compile(r"(?:the\s+)?(?:label|answer)(?:\s+is)?\s*[:=]?\s+", re.IGNORECASE)
CAVEAT = (
    "Its pool are {items} texts of each split (fewer where there are fewer), drawn without looking at their labels."
)


@dataclass(frozen=True)
class Labelling:
    """What an LLM took texts for.

    Attributes:
        labels: of each text; "" where its answer was none of the labels, None where there is no answer yet.
        reasons: why there is none, each once.
    """

    labels: Sequence[str | None]
    reasons: Sequence[str] = ()

    @property
    def unusable(self) -> int:
        return sum(label == "" for label in self.labels)

    @property
    def missing(self) -> int:
        return sum(label is None for label in self.labels)


def label_texts(
    texts: Sequence[str],
    labels: Mapping[str, str],
    llm: LLM,
    question: str = QUESTION,
    task: str = "",
    ids: Sequence[str] | None = None,
) -> Labelling:
    """Let an LLM label texts, as many at a time as it takes; afterwards it is closed.

    Args:
        labels: {label: what it means, "" where the name says it}.
        llm: connected to a response log.
        task, ids: what the log shall say of the texts.
    """

    if not isinstance(llm, LoggedLLM):
        raise SynthgapError(f"{llm.model} is a recording, which labels nothing new; a live LLM does")

    async def everything() -> Labelling:
        with Progress(total=len(texts), desc=f"labels {task}".strip(), unit="text") as bar:
            asked = [
                _label(_conversation(text, labels, question, task, llm), key, labels, llm, bar)
                for text, key in zip(texts, ids or [""] * len(texts), strict=True)
            ]
            try:
                found = await asyncio.gather(*asked)
            finally:
                await llm.close()
        return Labelling([label for label, _ in found], [*dict.fromkeys(reason for _, reason in found if reason)])

    return run_in_own_loop(everything())


async def _label(
    asked: Conversation, key: str, labels: Mapping[str, str], llm: LoggedLLM, bar: Progress
) -> tuple[str | None, str]:
    """The label of one text, see `Labelling`, and why there is none."""
    request = llm.request(asked, 1, [key] if key else [])
    try:
        if not llm.fits(asked, None):
            return "", ""  # nobody can ask for it
        if llm.log.get(request.key) is None and llm.log.tries(request.key) >= UNUSABLE:
            return "", ""  # refused as often as it is asked
        answer = await llm.ask(request)
    except (RequestFailed, BudgetReached, LogUnwritable) as error:
        return ("", "") if llm.log.tries(request.key) >= UNUSABLE else (None, str(error))
    finally:
        bar.update()
    return read_label(answer, labels), ""


def _conversation(text: str, labels: Mapping[str, str], question: str, task: str, llm: LoggedLLM) -> Conversation:
    listed = "\n".join(f"- {name}: {meaning}" if meaning else f"- {name}" for name, meaning in labels.items())
    request = REQUEST.format(question=question, labels=listed, text=text, names=", ".join(labels))
    if llm.answer_format:
        request += "\n" + llm.answer_format.format(n=1)
    return Conversation(task, LABELLING, "", (Message("system", CONTEXT), Message("user", request)))


def read_label(answer: Answer, labels: Mapping[str, str]) -> str:
    """The label that an answer is, but for case and marks around it; "" where it says more or another thing."""
    parsed = answer.parsed
    pieces = [piece for piece in (*parsed.texts, *parsed.leftovers) if piece.strip()]
    if len(pieces) != 1:
        return ""
    said = pieces[0].strip(" \t\n\"'`*.[]()")
    known = {_plain(name): name for name in labels}
    return known.get(_plain(said)) or known.get(_plain(BEFORE_LABEL.sub("", said, count=1)), "")


def _plain(label: str) -> str:
    return re.sub(r"[\W_]+", " ", label).strip().casefold()


def label_profile(profile: Profile, folder: Path, log_file: Path, llm: str | None = None, items: int = 200) -> str:
    """Let a live LLM of a profile label texts of all its tasks; gives what to say at the end.

    Writes `labels/<llm>/<task>.csv` below `folder` (item_id, label; "" where the answer was none of the labels), which
    a labelled corpus reads.

    Args:
        llm: its name in the profile; None: the only live one.
        items: texts of each of the splits train and test, drawn without looking at their labels.

    Raises:
        SynthgapError: there is no such LLM, it must not be asked, or some texts have no answer; the others are kept.
    """
    if items < 1:
        raise SynthgapError(f"--items takes a number of texts from 1 on, not {items}")
    name = _who(profile, llm)
    settings, target = profile.llms[name], folder / "labels" / name
    real = {task: load_real(load_task(task), profile) for task in profile.tasks}
    connect(settings).check()
    told, reasons = [], list[str]()
    with ResponseLog(log_file) as log:
        for task, data in real.items():
            parts = [data.split(split) for split in ("train", "test")]
            chosen = pd.concat([draw(part, min(items, len(part)), 0, "to be labelled") for part in parts])
            texts, ids, labels = chosen["text"].tolist(), chosen["id"].tolist(), data.task.labels
            found = label_texts(texts, labels, connect(settings, log), data.task.question, task, ids)
            table = pd.DataFrame({"item_id": ids, "label": found.labels}).dropna().sort_values("item_id")
            write_text(target / f"{task}.csv", table.to_csv(index=False, lineterminator="\n"))
            told.append(
                f"{task}: {len(table) - found.unusable} texts labelled, {found.unusable} answers are none of the labels"
                + (f", {found.missing} without an answer" if found.missing else "")
            )
            reasons += found.reasons
    about = {"model": model_of(settings), "caveat": CAVEAT.format(items=items)}
    write_text(target / ABOUT, yaml.safe_dump(about, allow_unicode=True))
    if reasons:
        listed = "\n  ".join([*told, *dict.fromkeys(reasons)])
        raise SynthgapError(
            f"not all texts are labelled:\n  {listed}\nwhat was answered is kept; to go on: {command('label', profile)}"
        )
    place = target.relative_to(root()) if target.is_relative_to(root()) else target
    lines = [f"  corpora: {{llm_labels: {{labels: {place}}}}}", "  comparisons: {labels: {corpora: [llm_labels]}}"]
    return "\n".join([*told, "to train on them, add to the profile (docs/own_data.md):", *lines])


def _who(profile: Profile, llm: str | None) -> str:
    """The live LLM that is meant."""
    live = [name for name, settings in profile.llms.items() if not isinstance(settings, RecordedSettings)]
    if llm and llm not in live:
        raise unknown("live LLM", llm, live)
    if not live:
        raise SynthgapError(
            f"profile '{profile.name}' has no live LLM, and a recording answers nothing new; name one in its llms "
            "(docs/live_llms.md)"
        )
    if not llm and len(live) > 1:
        raise SynthgapError(f"profile '{profile.name}' has several live LLMs; name one: --llm {' or '.join(live)}")
    return llm or live[0]
