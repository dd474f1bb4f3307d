"""A small panel in a notebook, in which one person labels texts."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from synthgap.core.config import Profile
from synthgap.subjectivity.collect import ANNOTATIONS, add_answers, answers_file, items_for, stored_answers
from synthgap.subjectivity.label_studio import Row
from synthgap.tasks import Task


def panel(task: Task, profile: Profile, folder: Path, n: int | None = None) -> widgets.VBox:
    """A widget in which one person labels a task's items; every click is saved at once.

    No text is shown before "Start" is pressed. After a restart of the kernel it goes on behind the last answer of
    the same name. Answers are kept below `folder`, which is outputs/<profile>.
    """
    path, items = answers_file(folder, ANNOTATIONS), items_for(task, profile, n)
    name = widgets.Text(description="Your name", placeholder="e.g. ann")
    start = widgets.Button(description="Start", button_style="primary")
    buttons = [widgets.Button(description=label, layout=widgets.Layout(width="auto")) for label in task.labels]
    choices = widgets.HBox(buttons, layout=widgets.Layout(visibility="hidden"))
    view, message = widgets.HTML(), widgets.HTML()

    def still_open() -> list[Row]:
        return unanswered(items, stored_answers(path), name.value.strip())

    def show() -> None:
        waiting = still_open()
        message.value = f"{len(items) - len(waiting)} of {len(items)} items answered by {html.escape(name.value)}"
        choices.layout.visibility = "visible" if waiting else "hidden"
        text = html.escape(waiting[0]["text"]) if waiting else "All items are answered. Thank you."
        view.value = f"<div style='max-width:50em;padding:12px 0;line-height:1.4'>{text}</div>"

    def begin(_: Any) -> None:
        if name.value.strip():
            name.disabled = start.disabled = True
            show()
        else:
            message.value = "Give a name first, so that answers of different people stay apart."

    def answer(button: Any) -> None:
        row = {"item_id": still_open()[0]["item_id"], "task": task.name, "annotator": name.value.strip()}
        add_answers(path, ANNOTATIONS, [row | {"label": button.description}])
        show()

    start.on_click(begin)
    for button in buttons:
        button.on_click(answer)
    question = widgets.HTML(f"<b>{html.escape(task.title)}</b>: {html.escape(task.question)}")
    return widgets.VBox([question, widgets.HBox([name, start]), view, choices, message])


def unanswered(items: Sequence[Row], answers: Sequence[Row], annotator: str) -> list[Row]:
    """The items that a person has not answered yet, in their order."""
    done = {row["item_id"] for row in answers if row["annotator"] == annotator}
    return [item for item in items if item["item_id"] not in done]
