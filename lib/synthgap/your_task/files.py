"""Files of texts and labels -> a task, its splits and its corpora; what cannot be compared is refused in a sentence."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from synthgap.core.config import REAL, OwnFiles, Profile, shown_names
from synthgap.core.errors import SynthgapError
from synthgap.core.files import digest, file_digest
from synthgap.core.paths import bundled
from synthgap.data.draws import draw
from synthgap.data.duplicates import close_pairs, closest, normalised
from synthgap.data.real import SUFFIXES, RealData, as_word, checked, column_names, read_file
from synthgap.tasks import Task, load_profile
from synthgap.tasks.schema import FewShot, Prompts
from synthgap.training.runs import TEXTS, TaskTexts

TASK = "your_task"
FORMATS = (*SUFFIXES, ".tsv")
TEST, VALIDATION = 0.4, 0.1  # shares of the real texts of a label that are set aside
NEEDED = {"real": 10, "test": 5, "synthetic": 5}  # texts of a label
MOST = 10_000  # texts of a file that are read; of more rows so many are drawn
COPIED = 0.2  # share of texts that repeat real ones from which on a file is none of an LLM
NEAR = 90.0  # similarity of letters in percent from which two synthetic texts are one
COMPARED = 5_000  # letters of a text that are compared
NOTES = ["file", "what", "texts"]


@dataclass(frozen=True)
class OwnTexts:
    """The texts of own files.

    Attributes:
        real: None where no file of real texts is named.
        corpora: {corpus: columns id, text, label, recording, turn}.
        titles: {corpus: how people call it}.
        notes: what became of the rows of each file; columns as in NOTES.
    """

    task: Task
    real: RealData | None
    corpora: Mapping[str, pd.DataFrame]
    titles: Mapping[str, str]
    notes: pd.DataFrame = field(repr=False)

    @property
    def of_task(self) -> dict[str, TaskTexts]:
        """As runs are planned of them; there are real ones."""
        return {} if self.real is None else {TASK: TaskTexts(self.real, self.corpora)}

    def without(self, ids: Iterable[str]) -> OwnTexts:
        """The same without some of the synthetic texts."""
        left_out = set(ids)
        return replace(self, corpora={name: rows[~rows["id"].isin(left_out)] for name, rows in self.corpora.items()})


def own_profile(profile: Profile) -> Profile:
    """The profile itself where it names own files, else one of the bundled example."""
    if profile.own_files:
        return profile
    real, synthetic = (str(bundled(TASK, f"{name}.csv")) for name in ("real", "synthetic"))
    example = {"real": real, "synthetic": {"an assistant's texts": [synthetic]}}
    return load_profile(str(bundled(TASK, "profile.yaml")), {"own_files": example})


def corpus_names(titles: Iterable[str]) -> dict[str, str]:
    """{a name for a corpus: how people call it}; names are as a profile's are, and each is there once."""
    names: dict[str, str] = {}
    for number, title in enumerate(titles, start=1):
        name = re.sub(r"[^a-z0-9]+", "_", title.casefold()).strip("_")
        names[name if name and name not in {*names, REAL, "examples"} else f"{name or 'corpus'}_{number}"] = title
    return names


# ------------------------------------------------------------------------------------------------------------- reading


def read_own(own: OwnFiles) -> OwnTexts:
    """The texts of the files, as a task with its splits.

    Raises:
        SynthgapError: they cannot be read or compared; it says what to do.
    """
    _refuse_same(own.paths)
    notes: list[tuple[str, str, int]] = []
    read = {name: _read(path, name, own, notes) for path, name in own.names.items()}
    labels = _common_labels(read)
    for name, rows in read.items():
        unmatched = rows.loc[~rows["key"].isin(labels), "label"].value_counts()
        notes += [(name, f"left out: label '{label[:30]}' is not in every file", n) for label, n in unmatched.items()]
        kept = rows[rows["key"].isin(labels)].assign(label=rows["key"].map(labels))
        notes.append((name, "left out: repeats another text of the file", int(kept["plain"].duplicated().sum())))
        read[name] = kept.drop_duplicates("plain").assign(id=lambda rows: [digest(text, 16) for text in rows["text"]])
    task = own_task(list(labels.values()))
    real = _real(task, own, read, notes) if own.real else None
    titles, corpora = corpus_names(own.synthetic), {}
    for corpus, title in titles.items():
        files = enumerate((own.names[path] for path in own.synthetic[title]), start=1)
        corpora[corpus] = pd.concat(
            [_recording(corpus, number, name, read[name], real, labels, notes) for number, name in files],
            ignore_index=True,
        )
    return OwnTexts(task, real, corpora, titles, pd.DataFrame([note for note in notes if note[2]], columns=NOTES))


def labels_and_texts(own: OwnFiles, paths: Sequence[str]) -> tuple[list[str], set[str]]:
    """The labels that files have in common, spelt as they mostly are in the first, and their texts, see `plain_text`.

    Raises:
        SynthgapError: there is no such file, or it cannot be read.
    """
    if not paths:
        raise SynthgapError("nobody says which labels there are; name texts that have some with --real or --synthetic")
    _refuse_same(paths)
    read = {name: _read(path, name, own, []) for path, name in shown_names(paths).items()}
    return [*_common_labels(read).values()], {text for rows in read.values() for text in rows["plain"]}


def own_task(labels: Sequence[str]) -> Task:
    """A task of these labels; nothing of it is asked of an LLM or of people."""
    unused = "not asked"
    prompts = Prompts(context=unused, generate=unused, format=unused, few_shot=unused, diversity=unused)
    names = {label: label for label in labels}
    shown = FewShot(examples_per_turn=1, pool_share=1)
    about = {"name": TASK, "title": "Your task", "kind": "text", "question": unused, "labels": names}
    return Task(**about, texts_per_turn=10, texts_per_label=100, prompts=prompts, few_shot=shown)


def refuse_others(paths: Iterable[str]) -> None:
    """Refuse what is no file of FORMATS."""
    for path in paths:
        if not Path(path).is_file():
            raise SynthgapError(f"there is no file '{path}'; check its name and the folder that you are in")
        if Path(path).suffix.lower() not in FORMATS:
            raise SynthgapError(
                f"'{Path(path).name}' must be one of {', '.join(FORMATS)}; save the table as CSV (UTF-8)"
            )


def _refuse_same(paths: Sequence[str]) -> None:
    refuse_others(paths)
    digests = {(place, path): file_digest(Path(path)) for place, path in enumerate(paths)}
    for one, other in combinations(digests, 2):
        if digests[one] == digests[other]:
            raise SynthgapError(
                f"'{Path(one[1]).name}' and '{Path(other[1]).name}' are the same file, or copies; name different ones"
            )


def _read(path: str, name: str, own: OwnFiles, notes: list[tuple[str, str, int]]) -> pd.DataFrame:
    """The rows of a file that have text and label: columns text, label, key (by which labels match), plain."""
    rows = read_file(Path(path))
    if rows.empty:
        raise SynthgapError(f"'{name}' holds no rows; it needs a text and a label in each")
    text, label = (
        column_of(rows, wanted, option, name)
        for wanted, option in ((own.text_column, "--text-column"), (own.label_column, "--label-column"))
    )
    frame = pd.DataFrame({"text": rows[text], "label": rows[label].map(as_word)})
    notes.append((name, "rows", len(frame)))
    frame["key"] = frame["label"].map({word: label_key(word) for word in frame["label"].unique()})
    if frame["key"].nunique() > max(10, len(frame) / 5):
        raise SynthgapError(
            f"column '{label}' of '{name}' has {frame['key'].nunique()} different values in {len(frame)} rows, so it "
            f"holds no labels; name the column that does with --label-column, of {column_names(rows)}"
        )
    if len(frame) > MOST:
        shuffled = frame.sample(frac=1, random_state=0).groupby("key")["key"]
        wanted = (shuffled.transform("size") * MOST / len(frame)).clip(lower=NEEDED["real"])
        frame = frame.loc[wanted.index[shuffled.cumcount() < wanted]]
        notes.append((name, "drawn from the rows, in proportion to the labels", len(frame)))
    frame = frame.assign(plain=frame["text"].map(plain_text))
    empty, unlabelled = frame["plain"].eq(""), frame["key"].eq("")
    notes += [
        (name, "left out: no text", int(empty.sum())),
        (name, "left out: no label", int((unlabelled & ~empty).sum())),
    ]
    frame = frame[~empty & ~unlabelled]
    if frame.empty:
        raise SynthgapError(
            f"'{name}' has no row with both a text in column '{text}' and a label in '{label}'; name the columns "
            "that have them with --text-column and --label-column"
        )
    if frame["key"].nunique() < 2:
        raise SynthgapError(
            f"'{name}' has the one label '{frame['label'].iloc[0][:30]}'; a classifier needs two at least: add "
            "some, or name another column with --label-column"
        )
    return frame


def plain_text(text: Any) -> str:
    """By what texts are the same: letters and digits alone, the first COMPARED of them; "" where it is no text."""
    return normalised(text)[:COMPARED] if isinstance(text, str) else ""


def column_of(rows: pd.DataFrame, wanted: str, option: str, file: str) -> str:
    """The first of the wanted columns that a file has; one that is written alike before one in other letter case."""
    names = {form(str(name).strip()): str(name) for form in (str.casefold, str) for name in rows.columns}
    for one in (wanted, *wanted.split(",")):
        for form in (str, str.casefold):
            if form(one.strip()) in names:
                return names[form(one.strip())]
    raise SynthgapError(
        f"'{file}' has no column '{wanted}'; it has {column_names(rows)} (of a CSV these stand in the first line): "
        f"name the one meant with {option}"
    )


def label_key(label: str) -> str:
    """By what labels match: spaces, letter case and how accents are stored aside, and 1.0 is 1."""
    plain = unicodedata.normalize("NFKC", " ".join(label.split())).casefold()
    return re.sub(r"^([+-]?\d+)\.0+$", r"\1", plain)


def _common_labels(read: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """{key: the label as the first file mostly spells it} of the labels that all files have."""
    first, *others = read.values()
    common = set(first["key"]).intersection(*(rows["key"] for rows in others))
    if len(common) < 2:
        known = {
            name: [f"'{label[:30]}'" for label in rows["label"].value_counts().index] for name, rows in read.items()
        }
        has = [f"'{name}' has {first_few(labels)}" for name, labels in known.items()]
        shared = f"only the label '{next(iter(common))}' is" if common else "no label is"
        raise SynthgapError(f"{shared} in every file: {'; '.join(has)}; write the labels alike, or name --label-column")
    spelt = first.groupby("key")["label"].agg(lambda labels: labels.mode().iloc[0])
    return {key: spelt[key] for key in sorted(common)}


def first_few(said: Sequence[str], mark: str = ", ") -> str:
    """The first five of what is to be said, and how many more there are."""
    return mark.join(said[:5]) + (f" and {len(said) - 5} more" if len(said) > 5 else "")


def _refuse_few(rows: pd.DataFrame, labels: Iterable[str], kind: str, file: str) -> None:
    counts = Counter(rows["label"])
    for label in labels:
        if counts[label] < NEEDED[kind]:
            raise SynthgapError(
                f"the label '{label[:30]}' has {counts[label]} different texts in '{file}' ({len(rows)} in all), and "
                f"{NEEDED[kind]} are needed of each; add some, or take the label out of the file"
            )


# -------------------------------------------------------------------------------------------------------------- splits


def _real(task: Task, own: OwnFiles, read: Mapping[str, pd.DataFrame], notes: list[tuple[str, str, int]]) -> RealData:
    """The real texts in splits, which depend on the texts alone; a text that stands in two is in the test alone."""
    name = own.names[str(own.real)]
    rows, parts = read[name], []
    if own.test:
        test = read[own.names[own.test]]
        _refuse_few(test, task.labels, "test", own.names[own.test])
        repeated = rows["plain"].isin(test["plain"])
        notes.append((name, "left out: stands in the test file", int(repeated.sum())))
        rows = rows[~repeated]
        parts.append(test.assign(split="test"))
    _refuse_few(rows, task.labels, "real", name)
    for _, of_label in rows.groupby("label"):
        n_test = 0 if own.test else round(TEST * len(of_label))
        n_validation = max(1, min(100, round(VALIDATION * len(of_label))))
        splits = ["test"] * n_test + ["validation"] * n_validation
        splits += ["train"] * (len(of_label) - len(splits))
        parts.append(draw(of_label, len(of_label), 0, "own splits").assign(split=splits))
    return checked(task, pd.concat(parts, ignore_index=True)[[*TEXTS, "split", "plain"]], name)


def _recording(
    corpus: str,
    number: int,
    name: str,
    rows: pd.DataFrame,
    real: RealData | None,
    labels: Mapping[str, str],
    notes: list[tuple[str, str, int]],
) -> pd.DataFrame:
    """The texts of a synthetic file, of those that are nearly the same one."""
    if real is not None:
        _refuse_copies(name, rows, real.frame)
    plain, kept = rows["plain"].tolist(), set[int]()
    for place, near in enumerate(close_pairs(plain, NEAR)):
        if not closest(plain[place], {str(one): plain[one] for one in near if one in kept}, NEAR):
            kept.add(place)
    notes.append((name, "left out: nearly repeats another text of the file", len(rows) - len(kept)))
    left = rows.iloc[sorted(kept)]
    _refuse_few(left, labels.values(), "synthetic", name)
    notes.append((name, "used", len(left)))
    return left.assign(id=f"{corpus}-{number}-" + left["id"], recording=number, turn=1)[[*TEXTS, "recording", "turn"]]


def _refuse_copies(name: str, rows: pd.DataFrame, real: pd.DataFrame) -> None:
    known, written = real["plain"], set(rows["plain"])
    test = known[real["split"] == "test"]
    in_test = f"{test.isin(written).sum()} of {len(test)} test texts"
    for texts, of_how_many in ((known, len(rows)), (test, len(test))):
        if (copied := texts.isin(written).sum()) >= COPIED * of_how_many:
            raise SynthgapError(
                f"'{name}' holds {copied} real texts ({in_test}), so an LLM did not write it; take them "
                "out of it, or name another file"
            )
