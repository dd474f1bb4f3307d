"""Label Studio's formats: its tasks and labelling configuration out, its JSON export back in."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from synthgap.core.errors import SynthgapError

FIRST, SECOND = "the first", "the second"  # of two tasks
Row = dict[str, str]


def labelling_configuration(question: str, choices: Sequence[str]) -> str:
    """Label Studio's configuration (XML) for one choice about one text."""
    options = "\n".join(f'    <Choice value="{html.escape(choice)}"/>' for choice in choices)
    return (
        f'<View>\n  <Header value="{html.escape(question)}"/>\n  <Text name="text" value="$text"/>\n'
        f'  <Choices name="answer" toName="text" choice="single-radio">\n{options}\n  </Choices>\n</View>\n'
    )


def read_export(name: str, text: str) -> list[tuple[int, Row]]:
    """Numbered rows of a JSON export, a list of tasks with `data` and `annotations`; a row may hold its `fault` alone.

    Raises:
        SynthgapError: the file of this name is no such export.
    """
    try:
        tasks = json.loads(text)
    except json.JSONDecodeError as error:
        raise SynthgapError(f"'{name}' is torn or no JSON ({error}); export it again") from error
    if not isinstance(tasks, list):
        raise SynthgapError(f"'{name}' is no Label Studio export: it must be a list of tasks; choose the format JSON")
    rows: list[tuple[int, Row]] = []
    for number, task in enumerate(tasks, start=1):
        try:
            data, annotations = dict(task["data"]), list(task["annotations"])
        except (KeyError, TypeError, ValueError):
            rows.append((number, {"fault": "no 'data' or no 'annotations'; choose the format JSON, not JSON-MIN"}))
        else:
            kept = [one for one in annotations if not (isinstance(one, dict) and one.get("was_cancelled"))]
            rows += [(number, _row(data, annotation)) for annotation in kept]
    return rows


def _row(data: Mapping[str, Any], annotation: Any) -> Row:
    """What was asked and its answer, under the names of annotations and of pairs alike."""
    try:
        who = annotation["completed_by"]
        person = str(who.get("email") or who["id"]) if isinstance(who, dict) else str(who)
        choices = [one["value"]["choices"] for one in annotation["result"] if one.get("type") == "choices"]
        if len(choices) != 1 or len(choices[0]) != 1:
            return {"fault": f"it has {sum(map(len, choices))} choices, not one"}
        answer = str(choices[0][0])
    except (KeyError, TypeError, AttributeError):
        return {"fault": "an annotation without 'completed_by' or 'choices'"}
    asked = {name: str(value) for name, value in data.items()}
    chosen = {FIRST: asked.get("task_a", ""), SECOND: asked.get("task_b", "")}.get(answer, answer)
    return asked | {"annotator": person, "label": answer, "judge": person, "more_objective": chosen}
