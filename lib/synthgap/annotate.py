"""Annotations of your own: items out for annotators, their answers back in, and a small panel for one person.

Two things can be judged: the test texts of a task ("annotations": item_id, task, annotator, label), and which of two
tasks is more objective ("pairs": judge, task_a, task_b, more_objective). Answers go to
`outputs/<profile>/annotations/`, and 04_subjectivity reads them there.
"""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.config import Profile
from synthgap.errors import SynthgapError
from synthgap.files import write_json, write_text
from synthgap.subjectivity import PAIR_COLUMNS, pair_fault
from synthgap.tables import escape_csv, unescape_csv
from synthgap.tasks import Task, load_task

if TYPE_CHECKING:
    import pandas as pd

PAIRS = "pairs"
ANNOTATION_COLUMNS = ("item_id", "task", "annotator", "label")
COLUMNS = {PAIRS: PAIR_COLUMNS, "annotations": ANNOTATION_COLUMNS}
ITEMS = 80
CHOICE = "answer"  # name of the question in Label Studio
PAIR_QUESTION = "Which of the two tasks is more objective, so that people would agree more on its answers?"
Row = dict[str, str]


def store(folder: Path, kind: str) -> Path:
    """Where answers are kept: `kind` is "annotations" or "pairs"; `folder` is outputs/<profile>."""
    return folder / "annotations" / f"{kind}.csv"


# ------------------------------------------------------------------------------------------------------------- export


def items_for(task: Task, profile: Profile, n: int | None = None) -> list[Row]:
    """Test texts for annotators, drawn always the same: item_id, task, text. Their labels stay behind.

    Args:
        n: how many; None for 80, or all where there are fewer.

    Raises:
        SynthgapError: the test split has fewer texts than asked for.
    """
    from synthgap.data import draw, load_real

    test = load_real(task, profile).split("test")
    n = min(ITEMS, len(test)) if n is None else n
    if not 1 <= n <= len(test):
        raise SynthgapError(f"task '{task.name}': {n} items asked for, and the test split has {len(test)}")
    chosen = draw(test, n, 0, "items for annotators")
    return [{"item_id": row.id, "task": task.name, "text": row.text} for row in chosen.itertuples()]


def pairs_for(profile: Profile) -> list[Row]:
    """Every two tasks of a profile: task_a, task_b."""
    return [{"task_a": first, "task_b": second} for first, second in combinations(sorted(profile.tasks), 2)]


def export(what: str, profile: Profile, folder: Path, n: int | None = None) -> list[Path]:
    """Write what annotators need: a CSV to fill in, Label Studio's tasks (JSON) and its labelling configuration (XML).

    Args:
        what: a task's name, or "pairs".
    """
    if what == PAIRS:
        rows = pairs_for(profile)
        blank = {"judge": "", **dict.fromkeys(PAIR_COLUMNS[1:], "")}
        filled = [blank | row for row in rows]
        tasks = [{"data": row | {"text": _pair_text(row), "kind": PAIRS}} for row in rows]
        configuration = labelling_configuration(PAIR_QUESTION, ["the first", "the second"])
    else:
        task = load_task(what)
        rows = items_for(task, profile, n)
        choices = " | ".join(task.labels)
        filled = [{**row, "question": task.question, "choices": choices, "annotator": "", "label": ""} for row in rows]
        tasks = [{"data": row} for row in rows]
        configuration = labelling_configuration(task.question, list(task.labels))
    if not filled:
        raise SynthgapError(f"profile '{profile.name}' has one task, so there are no pairs to compare")
    return [
        write_text(folder / f"{what}.csv", _safe_csv(filled)),
        write_json(folder / f"{what}.label_studio.json", tasks),
        write_text(folder / f"{what}.label_studio.xml", configuration),
    ]


def labelling_configuration(question: str, choices: Sequence[str]) -> str:
    """Label Studio's configuration for one choice about one text."""
    options = "\n".join(f'    <Choice value="{html.escape(choice)}"/>' for choice in choices)
    return (
        f'<View>\n  <Header value="{html.escape(question)}"/>\n  <Text name="text" value="$text"/>\n'
        f'  <Choices name="{CHOICE}" toName="text" choice="single-radio">\n{options}\n  </Choices>\n</View>\n'
    )


def _pair_text(row: Mapping[str, str]) -> str:
    return "\n".join(
        f"{place}: {load_task(row[column]).title} ({load_task(row[column]).question})"
        for place, column in (("The first", "task_a"), ("The second", "task_b"))
    )


def _csv(rows: Sequence[Mapping[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _safe_csv(rows: Sequence[Mapping[str, str]]) -> str:
    """For spreadsheets, which would compute some texts."""
    return _csv([{name: escape_csv(value) for name, value in row.items()} for row in rows])


# ------------------------------------------------------------------------------------------------------------- import


def read_answers(path: Path) -> tuple[str, list[Row], list[str]]:
    """Answers of annotators from a CSV file or Label Studio's JSON export.

    Returns:
        "annotations" or "pairs"; the well-formed rows; and a sentence for every malformed one, with its number (of the
        file's line in CSV, of the task in JSON). Rows that nobody answered are passed over.

    Raises:
        SynthgapError: no such file, or nothing of the kind in it.
    """
    if not path.is_file():
        raise SynthgapError(f"'{path}' does not exist")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SynthgapError(f"'{path.name}' is no UTF-8 text; save it as CSV in UTF-8, or as JSON") from error
    numbered = _from_label_studio(path, text) if text.lstrip()[:1] in {"[", "{"} else _from_csv(path, text)
    kind = PAIRS if any("task_a" in row for _, row in numbered) else "annotations"
    good, faults = [], []
    given: dict[Any, str] = {}
    for number, row in numbered:
        fault = row.get("fault") or _fault(kind, row)
        clean = {name: row.get(name, "").strip() for name in COLUMNS[kind]}
        if not fault:
            fault = _contradiction(kind, clean, given)
        if fault:
            faults.append(f"row {number}: {fault}")
        else:
            good.append(clean)
    return kind, good, faults


def _fault(kind: str, row: Mapping[str, str]) -> str | None:
    for name in COLUMNS[kind]:
        if not row.get(name, "").strip():
            return f"'{name}' is empty"
    if kind == PAIRS:
        return pair_fault(dict(row))
    try:
        labels = load_task(row["task"].strip()).labels
    except SynthgapError as error:
        return str(error)
    if row["label"].strip() not in labels:
        return f"label '{row['label'].strip()}' is unknown to task '{row['task'].strip()}'; known: {', '.join(labels)}"
    return None


def _contradiction(kind: str, row: Row, given: dict[Any, str]) -> str | None:
    """Whether the same person answered the same question otherwise before; notes the answer."""
    if kind == PAIRS:
        key: Any = (row["judge"], frozenset((row["task_a"], row["task_b"])))
        answer = row["more_objective"]
    else:
        key, answer = (row["annotator"], row["task"], row["item_id"]), row["label"]
    before = given.setdefault(key, answer)
    return None if before == answer else f"'{key[0]}' answered '{answer}' here and '{before}' before"


def _from_csv(path: Path, text: str) -> list[tuple[int, Row]]:
    reader = csv.DictReader(io.StringIO(text))
    names = [name.strip() for name in reader.fieldnames or []]
    if not (set(PAIR_COLUMNS) <= set(names) or set(ANNOTATION_COLUMNS) <= set(names)):
        raise SynthgapError(
            f"'{path.name}' needs the columns {', '.join(ANNOTATION_COLUMNS)} or {', '.join(PAIR_COLUMNS)}; "
            f"it has {', '.join(names) or 'none'}"
        )
    reader.fieldnames = names
    found = []
    for values in reader:
        if None in values or None in values.values():
            found.append((reader.line_num, {"fault": f"it has not {len(names)} cells"}))
            continue
        answer = values.get("label", values.get("more_objective", ""))
        if answer.strip() or values.get("annotator", values.get("judge", "")).strip():
            found.append((reader.line_num, {name: unescape_csv(value) for name, value in values.items()}))
    return found


def _from_label_studio(path: Path, text: str) -> list[tuple[int, Row]]:
    """Rows of Label Studio's JSON export: a list of tasks with `data` and `annotations`."""
    try:
        tasks = json.loads(text)
    except json.JSONDecodeError as error:
        raise SynthgapError(f"'{path.name}' is torn or no JSON ({error}); export it again") from error
    if not isinstance(tasks, list):
        raise SynthgapError(
            f"'{path.name}' is no Label Studio export: it must be a list of tasks; choose the format JSON"
        )
    found: list[tuple[int, Row]] = []
    for number, task in enumerate(tasks, start=1):
        data = task.get("data") if isinstance(task, dict) else None
        annotations = task.get("annotations") if isinstance(task, dict) else None
        if not isinstance(data, dict) or not isinstance(annotations, list):
            found.append((number, {"fault": "no 'data' or no 'annotations'; choose the format JSON, not JSON-MIN"}))
            continue
        for annotation in annotations:
            if not (isinstance(annotation, dict) and annotation.get("was_cancelled")):
                found.append((number, _label_studio_row(data, annotation)))
    return found


def _label_studio_row(data: Mapping[str, Any], annotation: Any) -> Row:
    try:
        who = annotation["completed_by"]
        person = str(who.get("email") or who["id"]) if isinstance(who, dict) else str(who)
        choices = [one["value"]["choices"] for one in annotation["result"] if one.get("type") == "choices"]
        if len(choices) != 1 or len(choices[0]) != 1:
            return {"fault": f"it has {sum(map(len, choices))} choices, not one"}
        answer = str(choices[0][0])
    except (KeyError, TypeError, AttributeError):
        return {"fault": "an annotation without 'completed_by' or 'choices'"}
    if data.get("kind") == PAIRS:
        column = {"the first": "task_a", "the second": "task_b"}.get(answer, "")
        pair = {name: str(data.get(name, "")) for name in ("task_a", "task_b")}
        return {"judge": person, **pair, "more_objective": pair.get(column, answer)}
    return {
        "item_id": str(data.get("item_id", "")),
        "task": str(data.get("task", "")),
        "annotator": person,
        "label": answer,
    }


def add_answers(path: Path, kind: str, rows: Sequence[Row]) -> tuple[int, int, list[str]]:
    """Add well-formed rows to the stored ones in one atomic write.

    Returns:
        How many were new, how many were there already, and a sentence for each that contradicts a stored answer of
        the same person; such rows are not stored.
    """
    from filelock import FileLock

    (path.parent / ".locks").mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".locks" / f"{path.name}.lock", timeout=60):
        return _add(path, kind, rows)


def _add(path: Path, kind: str, rows: Sequence[Row]) -> tuple[int, int, list[str]]:
    stored = stored_answers(path)
    given: dict[Any, str] = {}
    for row in stored:
        _contradiction(kind, row, given)
    known = {tuple(row.items()) for row in stored}
    new, conflicts, repeats = [], [], 0
    for row in rows:
        if fault := _contradiction(kind, row, given):
            conflicts.append(fault)
        elif tuple(row.items()) in known:
            repeats += 1
        else:
            known.add(tuple(row.items()))
            new.append(row)
    if new:
        write_text(path, _csv([*stored, *new]))
    return len(new), repeats, conflicts


def stored_answers(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def import_file(path: Path, folder: Path, skip_malformed: bool = False) -> str:
    """Read a file of answers and add them to those in `folder` (outputs/<profile>); a sentence on what was done.

    Raises:
        SynthgapError: some rows are malformed; each is named, and nothing was stored unless `skip_malformed`.
    """
    kind, rows, faults = read_answers(path)
    if faults and not skip_malformed:
        shown = "\n  ".join(faults)
        raise SynthgapError(
            f"'{path.name}' has {len(faults)} malformed rows, and nothing was stored; mend them, "
            f"or leave them out with --skip-malformed:\n  {shown}"
        )
    if not rows and not faults:
        raise SynthgapError(f"'{path.name}' holds no answers yet")
    target = store(folder, kind)
    new, repeats, conflicts = add_answers(target, kind, rows)
    left_out = [*faults, *conflicts]
    lines = [f"{new} new {kind}, {repeats} already known, {len(left_out)} left out: {target.name}", *left_out]
    return "\n  ".join(lines)


# -------------------------------------------------------------------------------------------------------------- panel


def panel(task: Task, profile: Profile, folder: Path, n: int | None = None) -> Any:
    """A widget for a notebook in which one person labels a task's items; every click is saved at once.

    No text is shown before "Start" is pressed. After a restart of the kernel it goes on behind the last answer of
    the same name.

    Args:
        folder: outputs/<profile>.
    """
    import ipywidgets as widgets

    path = store(folder, "annotations")
    items = items_for(task, profile, n)
    name = widgets.Text(description="Your name", placeholder="e.g. ann")
    start = widgets.Button(description="Start", button_style="primary")
    buttons = [widgets.Button(description=label, layout=widgets.Layout(width="auto")) for label in task.labels]
    view, message = widgets.HTML(), widgets.HTML()
    choices = widgets.HBox(buttons, layout=widgets.Layout(visibility="hidden"))

    def show() -> None:
        open_items = unanswered(items, stored_answers(path), name.value.strip())
        message.value = f"{len(items) - len(open_items)} of {len(items)} items answered by {html.escape(name.value)}"
        choices.layout.visibility = "visible" if open_items else "hidden"
        text = html.escape(open_items[0]["text"]) if open_items else "All items are answered. Thank you."
        view.value = f"<div style='max-width:50em;padding:12px 0;line-height:1.4'>{text}</div>"

    def begin(_: Any) -> None:
        if not name.value.strip():
            message.value = "Give a name first, so that answers of different people stay apart."
            return
        name.disabled, start.disabled = True, True
        show()

    def answer(button: Any) -> None:
        item = unanswered(items, stored_answers(path), name.value.strip())[0]
        row = {"item_id": item["item_id"], "task": task.name}
        add_answers(path, "annotations", [{**row, "annotator": name.value.strip(), "label": button.description}])
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


def load_pairs(folder: Path) -> pd.DataFrame | None:
    """Comparisons that people made with `synthgap annotate`; None where there are none."""
    import pandas as pd

    path = store(folder, PAIRS)
    return pd.read_csv(path, dtype=str, keep_default_na=False) if path.is_file() else None
