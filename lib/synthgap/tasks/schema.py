"""A task: its labels, its prompts, its question to annotators and the place of its real texts."""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from synthgap.core.errors import unknown
from synthgap.tasks.prompts import PromptVariant

SPLITS = ("train", "validation", "test")
POOL_MINIMUM = 10
BE_CREATIVE = " Be creative"  # of a request, before which a prompt variant adds its sentence
PLACEHOLDERS = {
    "context": {"kind"},
    "generate": {"n", "label", "kind"},
    "format": {"n"},
    "few_shot": {"kind", "label", "examples"},
    "diversity": set(),
}
Text = Annotated[str, Field(min_length=1)]
Split = Literal["train", "validation", "test"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _with_known_placeholders(prompt: str, known: set[str]) -> str:
    """The prompt, unless it has a placeholder that nothing stands for."""
    try:
        fields = [f"{field}{spec}" for _, field, spec, _ in string.Formatter().parse(prompt) if field is not None]
    except ValueError as error:
        raise ValueError(f"{error}; a brace that is no placeholder is doubled") from error
    for field in fields:
        if field not in known:
            raise ValueError(f"{unknown('placeholder', field, known)}; a brace that is no placeholder is doubled")
    return prompt


class Prompts(_Frozen):
    """The paper's three prompts (context, generate, diversity), the few-shot constraint and the answer's format."""

    context: Text = "You write {kind}, as many different people would write them."
    generate: Text = "Write {n} {kind} that fit this label: {label}. Be creative and make every one of them unique."
    format: Text = "Answer with {n} numbered lines, one text per line, and nothing else."
    diversity: Text = "Can you provide something more diverse compared to the previously generated data?"
    few_shot: Text = (
        "Here are real examples of {kind} ({label}):\n{examples}\nYou should imitate the examples I have provided, but "
        "you cannot simply modify or rewrite the examples I have given."
    )

    @field_validator(*PLACEHOLDERS)
    @classmethod
    def _known_placeholders(cls, prompt: str, about: ValidationInfo) -> str:
        return _with_known_placeholders(prompt, PLACEHOLDERS[str(about.field_name)])


class Completion(_Frozen):
    """What an LLM goes on from that writes one text a request; the text ends with its line.

    Where the prompt ends in an opening quotation mark, the text ends at the closing one, too.

    Attributes:
        examples: placeholder of `few_shot` alone; one real text a line, as "- text".
    """

    zero_shot: Text = 'One of many {kind} ({label}): "'
    few_shot: Text = "A list of {kind} ({label}):\n{examples}\n-"

    @field_validator("zero_shot")
    @classmethod
    def _known_in_zero_shot(cls, prompt: str) -> str:
        return _with_known_placeholders(prompt, {"kind", "label"})

    @field_validator("few_shot")
    @classmethod
    def _known_in_few_shot(cls, prompt: str) -> str:
        if "{examples}" not in _with_known_placeholders(prompt, {"kind", "label", "examples"}):
            raise ValueError("it must show the {examples}")
        return prompt


class FewShot(_Frozen):
    examples_per_turn: int = Field(10, ge=1)
    pool_share: float = Field(0.1, gt=0, le=1)
    max_words: int | None = Field(None, ge=1)


class HubSource(_Frozen):
    """Where `datasets.load_dataset` finds the real texts, and which of its columns and values are meant."""

    path: Text
    config: str | None = None
    revision: str | None = None
    text: Text
    label: Text
    label_values: dict[str, bool | int | str]
    splits: dict[Split, str]
    agreement_configs: dict[str, str] = {}


class AgreementColumn(_Frozen):
    """A column of the task's own data that says which share of its annotators chose the label.

    Attributes:
        shares: {value in the column: share of 0 to 1}.
    """

    column: Text
    about: Text
    shares: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(min_length=1)


class JudgedTexts(_Frozen):
    """A table of people's judgements for 04 alone, whose texts no classifier labels: `annotations/<file>` as well.

    Attributes:
        date: the column that says when; None where nobody noted it.
        several: whether a person may give a text several labels, a row each; then each label is present or absent.
    """

    file: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
    name: Text
    about: Text
    date: Text | None = None
    several: bool = False


class AnnotatedTexts(_Frozen):
    """Texts other than the task's own that several people labelled one by one: `annotations/<file>` of the data folder.

    Attributes:
        labels: {their label: the task's label}.
        left_out: their labels that are none of the task's; such judgements are counted and left out.
        only: {column: values}; other rows are no texts of this kind.
        annotators: "positions" where the column annotator only numbers an item's judgements, as lists of grades do.
    """

    file: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
    name: Text
    about: Text
    labels: dict[str, str] = Field(min_length=2)
    left_out: tuple[str, ...] = ()
    only: dict[str, tuple[str, ...]] = {}
    annotators: Literal["persons", "positions"] = "persons"


class FileSource(_Frozen):
    """Real texts in a file of the data folder with other splits than ours; columns id (or item_id), text, label, split.

    Attributes:
        file: below the data folder, without its ending.
        splits: {a split of theirs: one of ours}; rows of others are left out and counted.
        held_out: {split: share of the train rows that go there}, chosen by their ids.
        shown: a file of the package with a recording's answers: the examples that its LLM saw go into train.
    """

    file: Text
    splits: dict[str, Split]
    held_out: dict[Literal["validation", "test"], Annotated[float, Field(gt=0, lt=0.5)]] = {}
    shown: Text | None = None


class FurtherTest(_Frozen):
    """A test set of another time or place, which the runs of some comparisons predict, too.

    Attributes:
        file: below the data folder, without its ending; columns id (or item_id), text, label.
        about: where it comes from, and what changes with it.
        only: {column: values}; other rows are not of this set.
        year: only rows whose `date` is in it.
    """

    file: Text
    title: Text
    about: Text
    only: dict[str, tuple[str, ...]] = {}
    year: int | None = None


class Task(_Frozen):
    """One task; its name and its labels suffice.

    Attributes:
        title: how tables and figures call it.
        kind: what the prompts call its texts.
        question: to annotators.
        labels: {name in the data: the phrase that the prompts use}; in a file also a list of names.
        remove: a regular expression; what it finds is taken out of every real text, such as tags that name a label.
        caveat: what readers of its scores must know of its real texts; reports and notebooks show it as a notice.
        variant: what a corpus's prompts say otherwise, see `under`; no file of a task says it.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
    title: Text
    kind: Text = "texts"
    question: Text = "Which label fits this text best?"
    paper_order: int | None = None
    labels: dict[Text, Text]
    texts_per_turn: int = Field(10, ge=1)
    texts_per_label: int = Field(200, ge=1)
    prompts: Prompts = Prompts()
    completion: Completion = Completion()
    few_shot: FewShot = FewShot()
    hub: HubSource | None = None
    source: FileSource | None = None
    agreement: AgreementColumn | None = None
    annotated: AnnotatedTexts | None = None
    judged: JudgedTexts | None = None
    further_tests: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")], FurtherTest] = {}
    remove: Text | None = None
    caveat: Text | None = None
    variant: PromptVariant | None = Field(None, exclude=True)

    @field_validator("variant")
    @classmethod
    def _a_corpus_names_it(cls, variant: PromptVariant | None) -> PromptVariant | None:
        if variant:
            raise ValueError("a corpus names its prompt (`prompt: NAME`), and no task does")
        return variant

    @field_validator("further_tests")
    @classmethod
    def _they_are_other_texts(cls, tests: dict[str, FurtherTest]) -> dict[str, FurtherTest]:
        if taken := {"test", "annotated"} & set(tests):
            raise ValueError(f"{' and '.join(sorted(taken))} are other texts; call it differently")
        return tests

    @field_validator("remove")
    @classmethod
    def _it_is_a_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"no regular expression ({error})") from error
        return pattern

    @model_validator(mode="before")
    @classmethod
    def _its_name_is_a_title(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(name := values.get("name"), str):
            return {"title": name.replace("_", " ").capitalize(), **values}
        return values

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_are_words(cls, labels: Any) -> Any:
        if not isinstance(labels, list | dict):
            return labels
        if len(labels) < 2:
            raise ValueError("a task needs two labels at least")
        for name in labels:
            if not isinstance(name, str):
                raise ValueError(
                    f"the label {name!r} is no word for YAML, as yes, no, on, off and 1 are; put it in quotes"
                )
            if name != name.strip() or len(name.splitlines()) > 1:
                raise ValueError(f"the label {name!r} has spaces around it or a line break; write it without them")
        if twice := [name for name, times in Counter(list(labels)).items() if times > 1]:
            raise ValueError(f"the label '{twice[0]}' stands there twice")
        phrases = labels if isinstance(labels, dict) else dict.fromkeys(labels)
        return {name: name.replace("_", " ") if phrase is None else phrase for name, phrase in phrases.items()}

    @model_validator(mode="after")
    def _hub_names_every_label(self) -> Task:
        if self.hub and set(self.hub.label_values) != set(self.labels):
            raise ValueError("hub.label_values must name exactly the labels")
        return self

    @model_validator(mode="after")
    def _annotated_texts_have_its_labels(self) -> Task:
        if self.annotated and not set(self.annotated.labels.values()) <= set(self.labels):
            raise ValueError("annotated.labels must lead to labels of the task")
        return self

    @property
    def context(self) -> str:
        """What a conversation with the LLM begins with."""
        return self.prompts.context.format(kind=self.kind)

    def request(self, label: str, turn: int, examples: list[str] | None = None) -> str:
        """The user's message of one turn.

        Args:
            label: one of `labels`.
            turn: 0 for the first request; later ones begin with the diversity prompt.
            examples: the real texts to show (few-shot), or None (zero-shot).
        """
        prompts, n, words = self.prompts, self.texts_per_turn, {"kind": self.kind, "label": self.labels[label]}
        parts = [prompts.generate.format(n=n, **words), prompts.format.format(n=n)]
        diversity, variant = prompts.diversity, self.variant
        if variant and (added := variant.added(self.name, label, turn)):
            before, wish, after = parts[0].partition(BE_CREATIVE)
            parts[0] = f"{before} {added}{wish}{after}"
        if examples is not None:
            parts.insert(0, self._filled(prompts.few_shot, label, examples))
        if variant:
            parts.insert(0, variant.guideline.get(self.name, {}).get(label, ""))
            diversity = diversity if variant.diversity is None else variant.diversity
        if turn:
            parts.insert(0, diversity)
        return " ".join(filter(None, parts))

    def under(self, variant: PromptVariant) -> Task:
        """The task with what a corpus's prompts say otherwise."""
        few_shot = self.few_shot
        if variant.examples:
            shown = min(few_shot.examples_per_turn, variant.examples)
            few_shot = few_shot.model_copy(update={"examples_per_turn": shown})
        return self.model_copy(update={"variant": variant, "few_shot": few_shot})

    def beginning(self, label: str, examples: list[str] | None = None) -> str:
        """What a completion goes on from; arguments as of `request`."""
        prompt = self.completion.zero_shot if examples is None else self.completion.few_shot
        return self._filled(prompt, label, examples or [])

    def _filled(self, prompt: str, label: str, examples: list[str]) -> str:
        shown = "\n".join(f"- {example}" for example in examples)
        return prompt.format(kind=self.kind, label=self.labels[label], examples=shown)

    def without_removed(self, text: str) -> str:
        """A real text without what `remove` finds; spaces are left single where it finds something."""
        kept, found = re.subn(self.remove, " ", text) if self.remove else (text, 0)
        return " ".join(kept.split()) if found else text

    def shown_example(self, text: str) -> str:
        """A real text as the few-shot prompt shows it: on one line, cut to `few_shot.max_words`."""
        return " ".join(text.split()[: self.few_shot.max_words])

    def pool_size(self, train_texts: int) -> int:
        """How many train texts of a label the few-shot examples are drawn from."""
        if self.variant and self.variant.examples:
            return min(train_texts, self.variant.examples)
        return min(train_texts, max(POOL_MINIMUM, round(self.few_shot.pool_share * train_texts)))
