"""Judgements of people: items out for annotators, their answers back in.

Two things can be judged: the test texts of a task ("annotations": item_id, task, annotator, label), and which of two
tasks is more objective ("pairs": judge, task_a, task_b, more_objective). Answers are kept in
`outputs/<profile>/annotations/`, where 04_subjectivity reads them.
"""

import re
from collections.abc import Collection, Sequence
from itertools import combinations
from pathlib import Path

import pandas as pd
from filelock import FileLock

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_json, write_text
from synthgap.data.draws import draw
from synthgap.data.real import LONE_SURROGATE, csv_rows, load_real, read_file
from synthgap.data.text_files import HALF_CHARACTER, read_text
from synthgap.subjectivity.agreement_sources import COLLECTED, collected_source
from synthgap.subjectivity.label_studio import FIRST, SECOND, Row, labelling_configuration, read_export
from synthgap.subjectivity.ranking import PAIR_COLUMNS, pair_fault, read_pairs
from synthgap.tables import unescape_csv, write_csv
from synthgap.tasks import Task, load_task

ANNOTATIONS, PAIRS = "annotations", "pairs"
COLUMNS = {ANNOTATIONS: ("item_id", "task", "annotator", "label"), PAIRS: PAIR_COLUMNS}
PERSON = {ANNOTATIONS: "annotator", PAIRS: "judge"}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # a spreadsheet or a store may lose or change these
PAIR_QUESTION = "Which of the two tasks is more objective, so that people would agree more on its answers?"


def answers_file(folder: Path, kind: str) -> Path:
    """Where answers of a kind, "annotations" or "pairs", are kept; the folder is outputs/<profile>."""
    return folder / "annotations" / f"{kind}.csv"


def stored_answers(path: Path) -> list[Row]:
    """The rows of a file of answers, see `answers_file`; none where there is no file."""
    if not path.is_file():
        return []
    answers, columns = read_file(path), COLUMNS[path.stem]
    if tuple(answers.columns) != columns:
        raise SynthgapError(f"'{path}' was changed: its columns must be {', '.join(columns)}; mend it or move it away")
    return answers.drop_duplicates().to_dict("records")  # of a file that somebody edited


def collected_pairs(folder: Path) -> pd.DataFrame | None:
    """Pairs of tasks that people judged with `synthgap annotate`; None where there are none."""
    path = answers_file(folder, PAIRS)
    return read_file(path) if path.is_file() else None


def items_for(task: Task, profile: Profile, n: int | None = None) -> list[Row]:
    """Test texts for annotators, drawn always the same: item_id, task, text. Their labels stay behind.

    There are `n` of them; None for 80, or all where there are fewer.

    Raises:
        SynthgapError: the test split has fewer texts than asked for.
    """
    test = load_real(task, profile).split("test")
    n = min(80, len(test)) if n is None else n
    if not 1 <= n <= len(test):
        raise SynthgapError(f"task '{task.name}': {n} items asked for, and the test split has {len(test)}")
    chosen = draw(test, n, 0, "items for annotators")
    return [{"item_id": row.id, "task": task.name, "text": row.text} for row in chosen.itertuples()]


def export(what: str, profile: Profile, folder: Path, n: int | None = None) -> list[Path]:
    """Write what annotators of a task (or "pairs") need: a CSV to fill in, Label Studio's tasks and configuration.

    Texts may be those of real data, so what holds them is for its owner alone.
    """
    if what == PAIRS:
        if n is not None:
            raise SynthgapError("--items is for the texts of a task; of pairs all are exported, so leave it out")
        pairs = list(combinations(map(load_task, sorted(profile.tasks)), 2))
        if not pairs:
            raise SynthgapError(f"profile '{profile.name}' has one task, so there are no pairs to compare")
        texts = [f"The first: {a.title} ({a.question})\nThe second: {b.title} ({b.question})" for a, b in pairs]
        asked = pd.DataFrame([(a.name, b.name) for a, b in pairs], columns=["task_a", "task_b"]).assign(text=texts)
        table = asked.reindex(columns=PAIR_COLUMNS)
        configuration = labelling_configuration(PAIR_QUESTION, [FIRST, SECOND])
    else:
        task = load_task(what)
        asked = pd.DataFrame(items_for(task, profile, n))
        table = asked.assign(question=task.question, choices=" | ".join(task.labels), annotator="", label="")
        configuration = labelling_configuration(task.question, list(task.labels))
    return [
        write_csv(folder / f"{what}.csv", table, private=True),
        write_json(
            folder / f"{what}.label_studio.json", [{"data": row} for row in asked.to_dict("records")], private=True
        ),
        write_text(folder / f"{what}.label_studio.xml", configuration),
    ]


def import_file(path: Path, profile: Profile, folder: Path, skip_malformed: bool = False) -> str:
    """Read a file of answers and add them to those in `folder` (outputs/<profile>); what was done, and what it is for.

    Raises:
        SynthgapError: some rows are malformed; each is named, and nothing was stored unless `skip_malformed`.
    """
    kind, rows, faults = read_answers(path)
    if faults and not skip_malformed:
        raise SynthgapError(
            f"'{path.name}' has {len(faults)} malformed rows, and nothing was stored; mend them, "
            "or leave them out with --skip-malformed:" + "".join(f"\n  {fault}" for fault in faults)
        )
    if not rows and not faults:
        raise SynthgapError(f"'{path.name}' holds no answers yet")
    target = answers_file(folder, kind)
    new, repeats, conflicts = add_answers(target, kind, rows)
    left_out = [*faults, *conflicts]
    summary = f"{new} new {kind}, {repeats} already known, {len(left_out)} left out: {target.name}"
    return "\n  ".join([summary, *left_out, *_used(target, kind, profile)])


def _used(path: Path, kind: str, profile: Profile) -> list[str]:
    """How many of the stored judgements which table of 04_subjectivity will use, and why no more."""
    if not path.is_file():
        return []
    answers = read_file(path)
    if kind == PAIRS:
        pairs = read_pairs(answers, profile.tasks, COLLECTED)
        used, outside = int(pairs.answers.sum()), len(answers) - int(pairs.given.sum())
        reason = f"with a task that profile '{profile.name}' does not have: {outside}" if outside else ""
        return [_use("task_ranking", used, len(answers), "pairs of tasks", reason)]
    return [_use_of(path, str(task), len(rows), profile) for task, rows in answers.groupby("task")]


def _use_of(path: Path, task: str, answers: int, profile: Profile) -> str:
    """How many judgements of a task's items Table 2 will use, and why no more."""
    if task not in profile.tasks:
        return _use("table_2", 0, answers, task, f"profile '{profile.name}' has no such task")
    try:
        source = collected_source(load_real(load_task(task), profile), path)
    except SynthgapError as error:
        return f"how many judgements of {task} can be used is not known: {error}"
    if source is None:
        reason = f"no item is in the test split as profile '{profile.name}' reads it; name another with --profile"
        return _use("table_2", 0, answers, task, reason)
    used = int(source.judgements["item_id"].isin(source.items.index).sum())
    return _use("table_2", used, answers, task, "; ".join(f"{name}: {n}" for name, n in source.left_out.items()))


def _use(table: str, used: int, answers: int, about: str, reasons: str) -> str:
    why = f" ({reasons})" if reasons else ""
    return f"{table} of 04_subjectivity will use {used} of {answers} judgements of {about}{why}"


def read_answers(path: Path) -> tuple[str, list[Row], list[str]]:
    """Answers of annotators from a CSV file or Label Studio's JSON export; what nobody answered is passed over.

    Returns:
        "annotations" or "pairs"; the well-formed rows; and a sentence for every malformed one, with its number (of the
        line in which it begins in CSV, of the task in JSON).

    Raises:
        SynthgapError: no such file, or nothing of the kind in it.
    """
    kind, numbered = _numbered_rows(path)
    good: list[Row] = []
    faults: list[str] = []
    given: dict[Sequence[str], str] = {}
    for number, row in numbered:
        if isinstance(row, str):
            faults.append(f"row {number}: {row}")
            continue
        clean = {name: row.get(name, "").strip() for name in COLUMNS[kind]}
        if not (clean[PERSON[kind]] or clean[COLUMNS[kind][-1]]):
            continue
        if fault := _fault(kind, clean) or _contradiction(kind, clean, given):
            faults.append(f"row {number}: {fault}")
        else:
            good.append(clean)
    return kind, good, faults


def _numbered_rows(path: Path) -> tuple[str, list[tuple[int, Row | str]]]:
    """Which kind of answers a file holds, and its rows, or what is wrong with them, with their numbers."""
    if not path.is_file():
        raise SynthgapError(f"'{path}' {'is no file' if path.exists() else 'does not exist'}")
    text = read_text(path)
    if text.lstrip()[:1] in {"[", "{"}:
        rows = read_export(path.name, text)
        columns = {column for _, row in rows if not isinstance(row, str) for column in row}
        return _kind(path.name, columns) or ANNOTATIONS, rows
    names, rows = _read_csv(path.name, text)
    if kind := _kind(path.name, names):
        return kind, rows
    needed, there = " or ".join(", ".join(columns) for columns in COLUMNS.values()), ", ".join(names) or "none"
    raise SynthgapError(f"'{path.name}' needs the columns {needed}; it has {there} (of Label Studio, export JSON)")


def _kind(name: str, columns: Collection[str]) -> str | None:
    """Which kind of answers a file of this name with these columns holds; None where it lacks some of either kind."""
    fitting = [kind for kind, needed in COLUMNS.items() if set(needed) <= set(columns)]
    if len(fitting) > 1:
        raise SynthgapError(f"'{name}' has the columns of {' and of '.join(fitting)}; leave out those of one of them")
    return fitting[0] if fitting else None


def _read_csv(name: str, text: str) -> tuple[list[str], list[tuple[int, Row | str]]]:
    """The columns of a CSV text, and its rows, or what is wrong with them, with the lines in which they begin."""
    try:
        names, rows = csv_rows(text)
    except ValueError as error:
        raise SynthgapError(f"'{name}': {error}") from error

    def row(cells: list[str]) -> Row | str:
        if len(cells) != len(names):
            return f"it has not {len(names)} cells but {len(cells)}"
        return dict(zip(names, map(unescape_csv, cells), strict=True))

    return names, [(line, row(cells)) for line, cells in rows.items()]


def _fault(kind: str, row: Row) -> str | None:
    """What is wrong with a row of answers; None where nothing is."""
    for name, value in row.items():
        if LONE_SURROGATE.search(value):
            return f"'{name}' {HALF_CHARACTER}"
        if sign := CONTROL.search(value):
            return f"'{name}' holds a sign that cannot be seen (U+{ord(sign[0]):04X}), for example a line break"
    if empty := [name for name in COLUMNS[kind] if not row[name]]:
        return f"'{empty[0]}' is empty"
    if kind == PAIRS:
        return pair_fault(row)
    try:
        labels = load_task(row["task"]).labels
    except SynthgapError as error:
        return str(error)
    if row["label"] in labels:
        return None
    return f"label '{row['label']}' is unknown to task '{row['task']}'; known: {', '.join(labels)}"


def _contradiction(kind: str, row: Row, given: dict[Sequence[str], str]) -> str | None:
    """Whether the same person answered the same question otherwise before; notes the answer in `given`."""
    person = row[PERSON[kind]]
    *question, answer = row.values()
    key = (person, *sorted(question)) if kind == PAIRS else tuple(question)
    before = given.setdefault(key, answer)
    return None if before == answer else f"'{person}' answered '{answer}' here and '{before}' before"


def add_answers(path: Path, kind: str, rows: Sequence[Row]) -> tuple[int, int, list[str]]:
    """Add well-formed rows to the stored ones in one atomic write.

    Returns:
        How many were new, how many were there already, and a sentence for each that contradicts a stored answer of
        the same person; such rows are not stored.
    """
    with FileLock(path.parent / ".locks" / f"{path.name}.lock", timeout=60):
        stored = stored_answers(path)
        given: dict[Sequence[str], str] = {}
        faults = [_contradiction(kind, row, given) for row in [*stored, *rows]][len(stored) :]
        fitting = [row for row, fault in zip(rows, faults, strict=True) if not fault]
        answers = pd.DataFrame([*stored, *fitting]).drop_duplicates()
        new = len(answers) - len(stored)
        if new:
            write_text(path, answers.to_csv(index=False, lineterminator="\n"))
    return new, len(fitting) - new, [fault for fault in faults if fault]
