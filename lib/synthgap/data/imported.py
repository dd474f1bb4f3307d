"""Corpora that somebody else's LLM wrote, read from their files; the files stay where they are."""

from itertools import pairwise
from pathlib import Path

import pandas as pd

from synthgap.core.config import ImportedCorpus
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import data_folder, root
from synthgap.data.duplicates import normalised
from synthgap.data.real import SUFFIXES, as_word, column_names, read_file
from synthgap.data.text_files import HALF_CHARACTER
from synthgap.tasks import Task

TASK_COLUMN = "task"  # where a file has it, rows of other tasks belong to these
DROPPED = {
    "other_label": "its label is none of the task's",
    "empty": "it has no text",
    "exact_duplicate": "it repeats another text, but for case and punctuation",
    "half_character": f"its line in the file {HALF_CHARACTER}",
}


def imported_file(corpus: ImportedCorpus, task: str) -> Path:
    """The file of a corpus that has a task's texts.

    Raises:
        SynthgapError: it is not there, or of no known format.
    """
    name = corpus.file.replace("{task}", task)
    places = list(dict.fromkeys([data_folder() / name, root() / name]))  # an absolute name is both
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise SynthgapError(
            f"the corpus file '{name}' is neither in the data folder (--data) nor in the project; put it there, or "
            "name the tasks that it has in the comparison's tasks"
        )
    if path.suffix not in SUFFIXES:
        raise SynthgapError(f"the corpus file '{path.name}' must be one of {', '.join(SUFFIXES)}")
    return path


def part_is_there(corpus: ImportedCorpus) -> bool:
    """Whether the data folder, or the project, has the folder that a corpus's file lies in."""
    folder = Path(corpus.file).parts[0] if len(Path(corpus.file).parts) > 1 else ""
    return any((place / folder).is_dir() for place in (data_folder(), root()))


def read_imported(corpus: ImportedCorpus, task: Task, name: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """A task's texts of a corpus, and how many rows were dropped and why.

    Args:
        name: the corpus's, as a part of ids.

    Returns:
        Columns id, text, label: ids number the texts by label and text, whatever the order of the file.
        {reason: rows}, the reasons being those of DROPPED.

    Raises:
        SynthgapError: the file cannot be read, lacks a column, or has no text of one of the task's labels.
    """
    path = imported_file(corpus, task.name)
    rows = _chosen(read_file(path), corpus, task.name, path.name)
    frame = pd.DataFrame({"text": rows[corpus.text_column], "label": rows[corpus.label_column].map(as_word)})
    fitting = frame[frame["label"].isin(task.labels)]
    plain = [normalised(text) if isinstance(text, str) else "" for text in fitting["text"]]
    filled = fitting.assign(plain=plain).query("plain != ''")
    kept = filled.sort_values(["label", "text"]).drop_duplicates("plain")
    sizes = pairwise(map(len, (frame, fitting, filled, kept)))
    dropped = dict(zip(DROPPED, (before - after for before, after in sizes), strict=False))
    if halves := rows.attrs.get(HALF_CHARACTER):
        dropped["half_character"] = halves
    if missing := [label for label in task.labels if label not in set(kept["label"])]:
        raise SynthgapError(
            f"the corpus file '{path.name}' has no text of the label {', '.join(map(repr, missing))} of task "
            f"'{task.name}'; its column '{corpus.label_column}' has {_some(rows[corpus.label_column])}, and the task's "
            f"labels are {', '.join(task.labels)}: rename them, name another column in corpora.{name}.label_column, or "
            "name the tasks that the corpus has in the comparison's tasks"
        )
    ids = [f"{task.name}-{name}-{number}" for number in range(len(kept))]
    return kept.assign(id=ids)[["id", "text", "label"]].reset_index(drop=True), dropped


def _chosen(frame: pd.DataFrame, corpus: ImportedCorpus, task: str, file: str) -> pd.DataFrame:
    """The rows of a file that belong to the corpus and the task."""
    needed = [corpus.text_column, corpus.label_column, *corpus.rows]
    if missing := [column for column in needed if column not in frame.columns]:
        raise SynthgapError(
            f"the corpus file '{file}' has no column {', '.join(map(repr, missing))}; it has {column_names(frame)}: "
            "name its columns in text_column, label_column and rows"
        )
    of_task = {TASK_COLUMN: task} if TASK_COLUMN in frame.columns else {}
    for column, value in {**of_task, **corpus.rows}.items():
        values = value if isinstance(value, list | tuple) else [value]
        fitting = frame[column].map(as_word).isin(list(map(as_word, values)))
        if not fitting.any():
            raise SynthgapError(
                f"the corpus file '{file}' has no row whose '{column}' is {' or '.join(map(repr, values))}; it has "
                f"{_some(frame[column])}"
            )
        frame = frame[fitting]
    return frame


def _some(values: pd.Series) -> str:
    """A few values of a column for a message: short ones, so that it shows no text of the corpus."""
    short = [value for value in sorted(set(values.map(as_word))) if len(value) <= 30]
    return ", ".join(map(repr, short[:5])) or "no short values"
