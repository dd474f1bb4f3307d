"""A prompt variant: what a corpus's requests say otherwise than its task's; one file `prompts/<name>.yaml`."""

import string
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Values = tuple[str, ...]


class PromptVariant(BaseModel):
    """What is said otherwise; what a file leaves out stays as the task says it.

    Attributes:
        name: of the file.
        about: what it is, in a sentence.
        diversity: what later turns begin with; "": with nothing, the same request is made again.
        guideline: {task: {label: where such texts come from and what the label means there}}; begins every request.
        addition: a sentence of every request, whose placeholders are names of `attributes`.
        attributes: {name: its values}, of which each turn takes the next one, from the first again after the last; or
            {task: values} or {task: {label: values}} in place of the values.
        examples: different real examples of a label that are shown in all; for few-shot corpora.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    about: str = Field(min_length=1)
    diversity: str | None = None
    guideline: dict[str, dict[str, str]] = {}
    addition: str = ""
    attributes: dict[str, Values | dict[str, Values | dict[str, Values]]] = {}
    examples: int | None = Field(None, ge=1)

    def added(self, task: str, label: str, turn: int) -> str:
        """The sentence that a turn's request says more; "" for none."""
        values = {name: self._values(name, task, label) for name in self._placeholders}
        return self.addition.format(**{name: of_turn[turn % len(of_turn)] for name, of_turn in values.items()})

    def faults(self, task: str, labels: Mapping[str, str], setting: str) -> list[str]:
        """Why a corpus of a setting cannot have these prompts on a task."""
        missing = [f"guideline for label '{label}'" for label in labels if not self._guided(task, label)]
        missing += [
            f"value of '{name}' for label '{label}'"
            for name in self._placeholders
            for label in labels
            if not self._values(name, task, label)
        ]
        faults = [f"has no {what} of task '{task}'" for what in missing]
        if self.examples and setting != "few_shot":
            faults.append(f"shows examples, and the setting {setting} has none")
        return [f"prompt '{self.name}' {fault}" for fault in faults]

    @property
    def _placeholders(self) -> list[str]:
        return [name for _, name, _, _ in string.Formatter().parse(self.addition) if name is not None]

    def _guided(self, task: str, label: str) -> bool:
        return not self.guideline or bool(self.guideline.get(task, {}).get(label))

    def _values(self, name: str, task: str, label: str) -> Values:
        values: Any = self.attributes.get(name, ())
        for key in (task, label):
            values = values.get(key, ()) if isinstance(values, dict) else values
        return tuple(values)
