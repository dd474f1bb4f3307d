"""Real texts under the labels of an LLM: labels are read from files by id, texts stay where they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from synthgap.core.config import LabelledCorpus
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import bundled, data_folder, root
from synthgap.core.yaml_files import read_yaml
from synthgap.data.draws import draw
from synthgap.data.real import SUFFIXES, RealData, column_names, read_file

ABOUT = "labels.yaml"  # beside the files: who labelled (model), a caveat, and what other conditions mean
COLUMNS = ["item_id", "label"]
FEWEST = 5  # train texts of a label
DROPPED = {
    "unknown_id": "its id is none of the task's texts",
    "other_label": "its label is none of the task's",
    "two_labels": "its id stands there with two labels",
    "repeated": "its id stands there before, with the same label",
    "not_used": "it is of the validation split, on which nothing is trained or tested",
    "beyond_balance": "its label has more texts than the rarest one",
}


@dataclass(frozen=True)
class Labelled:
    """What an LLM labelled of a task.

    Attributes:
        texts: of the train split, columns id, text, label; as many of each label.
        test: columns condition, id, label; "" is the condition under which the train texts were labelled, too.
        dropped: {reason: labels of that condition that were left out}, the reasons being those of DROPPED.
    """

    texts: pd.DataFrame
    test: pd.DataFrame
    dropped: dict[str, int]


def labels_files(corpus: LabelledCorpus, task: str) -> dict[str, Path]:
    """{condition: file} of a task's labels; "" comes first.

    Raises:
        SynthgapError: there is no file for the task.
    """
    place = _place(corpus.labels.replace("{task}", task))
    folder, stem = (place, task) if place.is_dir() else (place.parent, place.stem)
    suffix = next((one for one in SUFFIXES if (folder / f"{stem}{one}").is_file()), None)
    if suffix is None or (place.suffix and place.suffix != suffix):
        raise SynthgapError(
            f"'{corpus.labels}' holds no labels of task '{task}': no file, no folder with {task}{SUFFIXES[1]} in the "
            "data folder (--data) or the project, and no recording of the package is called so; have a live LLM label "
            "the texts (synthgap label), or name the tasks that are labelled in the comparison's tasks"
        )
    names = {condition: f"{stem}_{condition}{suffix}" for condition in labels_about(corpus)["conditions"]}
    there = {condition: folder / name for condition, name in names.items() if (folder / name).is_file()}
    return {"": folder / f"{stem}{suffix}"} | there


def labels_about(corpus: LabelledCorpus) -> dict[str, Any]:
    """What is said of labels beside them: model, caveat (both "" where nobody says) and {condition: what it means}."""
    name, of_each_task, _ = corpus.labels.partition("{task}")
    place = _place(Path(f"{name}x").parent if of_each_task else Path(name))
    path = (place if place.is_dir() else place.parent) / ABOUT
    found = read_yaml(path) if path.is_file() else {}
    conditions = found.get("conditions") or {}
    if not isinstance(conditions, dict):
        raise SynthgapError(f"'{ABOUT}': conditions must hold names and what they mean")
    return {"model": str(found.get("model", "")), "caveat": str(found.get("caveat", "")), "conditions": conditions}


def _place(name: str | Path) -> Path:
    """Where labels are that a profile names: below the data folder, the project, or, of a recording, the package."""
    recordings = [bundled("recordings") / name] if len(Path(name).parts) == 1 else []
    places = [data_folder() / name, root() / name, *recordings]
    return next((place for place in places if place.exists()), places[0])


def read_labelled(corpus: LabelledCorpus, data: RealData, name: str) -> Labelled:
    """What an LLM labelled of a task's texts.

    Args:
        name: the corpus's, for messages.

    Raises:
        SynthgapError: a file is missing or cannot be read, or some label has too few train texts.
    """
    files = labels_files(corpus, data.task.name)
    found, dropped = _of_texts(files[""], data)
    train = found[found["split"] == "train"]
    dropped["not_used"] = int((found["split"] == "validation").sum())
    counts = train["label"].value_counts().reindex(list(data.task.labels), fill_value=0)
    if (least := int(counts.min())) < FEWEST:
        raise SynthgapError(
            f"the labels '{files[''].name}' of corpus '{name}' hold {least} train texts of label '{counts.idxmin()}' "
            f"of task '{data.task.name}', and a label needs {FEWEST} (left out of the file: {_in_words(dropped)}); "
            "label more texts, or leave the task out of the comparison's tasks"
        )
    kept = pd.concat([draw(train[train["label"] == label], least, 0, "labelled") for label in data.task.labels])
    dropped["beyond_balance"] = len(train) - len(kept)
    of_conditions = {condition: _of_texts(path, data)[0] for condition, path in files.items() if condition}
    test = pd.concat(
        [
            rows[rows["split"] == "test"].sort_values("id").assign(condition=condition)
            for condition, rows in {"": found, **of_conditions}.items()
        ]
    )
    return Labelled(
        kept[["id", "text", "label"]].reset_index(drop=True),
        test[["condition", "id", "label"]].reset_index(drop=True),
        {reason: dropped.get(reason, 0) for reason in DROPPED},
    )


def _of_texts(path: Path, data: RealData) -> tuple[pd.DataFrame, dict[str, int]]:
    """The labels in a file that can be used, with their texts: columns id, label, text, split; and what was dropped."""
    rows = read_file(path)
    if missing := [column for column in COLUMNS if column not in rows.columns]:
        raise SynthgapError(
            f"the labels '{path.name}' have no column {', '.join(map(repr, missing))}; they have {column_names(rows)} "
            f"and need {', '.join(COLUMNS)}"
        )
    rows = rows[COLUMNS].rename(columns={"item_id": "id"})
    known = rows["id"].isin(data.frame["id"])
    if not known.any():
        raise SynthgapError(
            f"the labels '{path.name}' have no id of the texts of task '{data.task.name}' ({data.source}); they belong "
            "to other data"
        )
    of_task = rows[known & rows["label"].isin(data.task.labels)]
    once = of_task.drop_duplicates()
    sound = once[~once["id"].duplicated(keep=False)]
    dropped = {"unknown_id": int((~known).sum()), "other_label": int(known.sum()) - len(of_task)}
    dropped |= {"two_labels": len(once) - len(sound), "repeated": len(of_task) - len(once)}
    return sound.merge(data.frame[["id", "text", "split"]], on="id"), dropped


def _in_words(dropped: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in dropped.items() if count) or "nothing"
