"""A file of real texts without labels -> the same texts with those of a live LLM, as a corpus to compare."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from synthgap.core.config import OwnFiles, Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_text
from synthgap.core.paths import base_folder
from synthgap.data.real import read_file
from synthgap.generation.labelling import label_texts
from synthgap.llm.backends import connect
from synthgap.llm.response_log import ResponseLog, log_file
from synthgap.your_task.arguments import LABELLER
from synthgap.your_task.files import column_of, labels_and_texts, plain_text, refuse_others

MOST = 2_000  # texts that are labelled; of more so many are drawn


def label_file(profile: Profile, own: OwnFiles, unlabelled: Path, target: Path) -> str:
    """Let the profile's LLM label the texts of a file with the labels of the own files; gives what to say of it.

    Args:
        target: gets columns text and label, of the texts to which the LLM gave one of the labels. Texts of the own
            files are not asked for: a corpus may hold few of them.

    Raises:
        SynthgapError: the file or the labels cannot be read, the LLM must not be asked, or some texts have no answer;
            what was answered is kept in the response log.
    """
    refuse_others([str(unlabelled)])
    settings = profile.llms[LABELLER]
    labels, known = labels_and_texts(own, [path for path in own.paths if path != str(target)])
    texts, told = _texts(unlabelled, own.text_column, known)
    connect(settings).check()
    with ResponseLog(log_file(base_folder(profile))) as log:
        found = label_texts(texts, dict.fromkeys(labels, ""), connect(settings, log))
    if found.missing:
        raise SynthgapError(
            f"{found.missing} of {len(texts)} texts of '{unlabelled.name}' have no answer: {'; '.join(found.reasons)}; "
            "what was answered is kept: the same command goes on"
        )
    labelled = pd.DataFrame({"text": texts, "label": found.labels})
    columns = {"text": own.text_column.split(",")[0], "label": own.label_column.split(",")[0]}
    table = labelled[labelled["label"] != ""].rename(columns=columns)
    write_text(target, table.to_csv(index=False, lineterminator="\n"))
    said = f"{len(table)} of {len(texts)} texts labelled, {found.unusable} answers are no label"
    return f"'{unlabelled.name}': {'; '.join([said, *told])}"


def _texts(path: Path, column: str, known: Collection[str]) -> tuple[list[str], list[str]]:
    """The different texts of a file that are not known, at most MOST of them, and what to say of the others."""
    rows = read_file(path)
    texts = rows[column_of(rows, column, "--text-column", path.name)].dropna().astype(str)
    texts = texts[texts.str.strip() != ""].drop_duplicates()
    new = texts[~texts.map(plain_text).isin(known)]
    if new.empty:
        raise SynthgapError(f"'{path.name}' holds no texts to label but those of the other files; name other texts")
    told = []
    if len(new) < len(texts):
        told.append(f"{len(texts) - len(new):,} texts stand in the other files and were not asked for")
    if len(new) > MOST:
        told.append(f"{MOST:,} of {len(new):,} texts were drawn")
    return new.sample(min(MOST, len(new)), random_state=0).sort_index().tolist(), told
