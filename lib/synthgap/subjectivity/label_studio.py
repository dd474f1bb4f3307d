"""Label Studio's formats: its tasks and labelling configuration out, its JSON export back in."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from synthgap.core.errors import SynthgapError
from synthgap.data.real import as_word

FIRST, SECOND = "the first", "the second"  # of two tasks
QUESTION = "answer"  # how the configuration calls its one question
Row = dict[str, str]


def labelling_configuration(question: str, choices: Sequence[str]) -> str:
    """Label Studio's configuration (XML) for one choice about one text."""
    options = "\n".join(f'    <Choice value="{html.escape(choice)}"/>' for choice in choices)
    return (
        f'<View>\n  <Header value="{html.escape(question)}"/>\n  <Text name="text" value="$text"/>\n'
        f'  <Choices name="{QUESTION}" toName="text" choice="single-radio">\n{options}\n  </Choices>\n</View>\n'
    )


def read_export(name: str, text: str) -> list[tuple[int, Row | str]]:
    """Numbered rows of a JSON export, a list of tasks with `data` and `annotations`; for some, what is wrong with them.

    Raises:
        SynthgapError: the file of this name is no such export.
    """
    try:
        tasks = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SynthgapError(f"'{name}' is torn or no JSON ({error}); export it again") from error
    if not isinstance(tasks, list):
        raise SynthgapError(f"'{name}' is no Label Studio export: it must be a list of tasks; choose the format JSON")
    rows: list[tuple[int, Row | str]] = []
    for number, task in enumerate(tasks, start=1):
        try:
            data, annotations = dict(task["data"]), list(task["annotations"])
        except (KeyError, TypeError, ValueError):
            rows.append((number, "no 'data' or no 'annotations'; choose the format JSON, not JSON-MIN"))
        else:
            kept = [one for one in annotations if not (isinstance(one, dict) and one.get("was_cancelled"))]
            rows += [(number, _row(data, annotation)) for annotation in kept]
    return rows


def _row(data: Mapping[str, Any], annotation: Any) -> Row | str:
    """What was asked and its answer, under the names of annotations and of pairs alike; else what is wrong with it."""
    try:
        who = annotation["completed_by"]
        person = who.get("email") or who["id"] if isinstance(who, dict) else who
        answers = [one for one in annotation["result"] if one.get("type") == "choices"]
        answers = [one for one in answers if one.get("from_name") == QUESTION] or answers
        if len({one.get("from_name") for one in answers}) > 1:
            return f"it answers several questions, and none is called '{QUESTION}' as in the configuration"
        choices = [choice for one in answers for choice in one["value"]["choices"]]
        if len(choices) != 1:
            return f"it has {len(choices)} choices, not one"
    except (KeyError, TypeError, AttributeError):
        return "an annotation without 'completed_by' or 'choices'"
    if not isinstance(person, str | int):
        return "nobody is named in 'completed_by'"
    person, answer = str(person), str(choices[0])
    asked = {name: as_word(value) for name, value in data.items()}
    chosen = {FIRST: asked.get("task_a", ""), SECOND: asked.get("task_b", "")}.get(answer, answer)
    return asked | {"annotator": person, "label": answer, "judge": person, "more_objective": chosen}
