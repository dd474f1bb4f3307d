"""Faults that are planted in labelled texts are named, and sound texts raise no alarm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import REAL_DATA, needs_real_data

from synthgap.core.config import GenerationSettings
from synthgap.data.real import RealData, checked, load_real
from synthgap.generation.corpora import from_recording
from synthgap.llm.backends import connect
from synthgap.tasks import load_profile, load_task
from synthgap.your_task.checks import (
    FAULT_COLUMNS,
    Sides,
    differing_traits,
    faults_of_task,
    find_faults,
    languages,
    repeats,
    split_faults,
)

Files = dict[str, pd.DataFrame]
Plant = Callable[[Files], None]
GERMAN = "Die Katze und der Hund sind mit dem Nachbarn {} auf der Straße"


@pytest.fixture(scope="module")
def sound() -> Files:
    """Recorded synthetic texts of spam, others of the same kind as the real side, and a third part as the test."""
    demo = load_profile("demo")
    data = load_real(load_task("sms_spam"), demo)
    made = from_recording(data, "few_shot", "few_shot", connect(demo.llms["claude"]), GenerationSettings()).texts
    place = made.groupby("label").cumcount()
    parts = {"texts": place < 60, "real": (place >= 60) & (place < 120), "test": (place >= 120) & (place < 150)}
    return {name: made.loc[rows, ["text", "label"]].reset_index(drop=True) for name, rows in parts.items()}


def faults(sides: Files) -> pd.DataFrame:
    return find_faults(sides["texts"], real=sides.get("real"), test=sides.get("test"))


def changed(share: float, to: Callable[[str], str], label: str | None = None, side: str = "texts") -> Plant:
    """Changes a share of the texts of a side, or of a label."""

    def plant(sides: Files) -> None:
        frame = sides[side]
        rows = frame.index if label is None else frame.index[frame["label"] == label]
        rows = rows[: round(share * len(rows))] if label else rows[:: round(1 / share)]
        frame.loc[rows, "text"] = [to(text) for text in frame.loc[rows, "text"]]

    return plant


def flipped(sides: Files) -> None:
    rows = sides["texts"].index[::5]
    sides["texts"].loc[rows, "label"] = sides["texts"].loc[rows, "label"].map({"ham": "spam", "spam": "ham"})


def copied(near: bool) -> Plant:
    def plant(sides: Files) -> None:
        copies = sides["test"].iloc[::10].copy()
        copies["text"] = copies["text"].str.upper().str.rstrip(".") + (" ok" if near else "")
        sides["texts"] = pd.concat([sides["texts"], copies], ignore_index=True)

    return plant


def few_spam(sides: Files) -> None:
    sides["texts"] = sides["texts"][(sides["texts"]["label"] == "ham") | (sides["texts"].index % 4 == 0)]


PLANTED = {
    "labels of a fifth changed": ("flipped labels", "", flipped),
    "a hashtag at the end": ("token", "'#ad'", changed(0.8, lambda text: text + " #ad", "ham")),
    "a word at the beginning": ("token", "'verdict'", changed(1, lambda text: "Verdict " + text, "spam")),
    "a mark": ("token", "';'", changed(0.9, lambda text: text + ";", "ham")),
    "one label in capitals": ("letter case", "capital letters alone", changed(1, str.upper, "ham")),
    "one label in lower case": ("letter case", "no capital letter", changed(1, str.lower, "spam")),
    "texts of the test": ("test copies", "repeat a test text", copied(near=False)),
    "texts nearly of the test": ("test copies", "repeat a test text", copied(near=True)),
    "a label that is rare": ("class shares", "of the 75 texts have the label", few_spam),
    "German texts": ("language", "German", changed(0.1, lambda text: GERMAN.format(text[:5]))),
    "Greek texts": ("language", "Greek", changed(0.1, lambda text: "Καλημέρα σε όλους")),
    "a template": ("template", "'Who knew that", changed(0.2, lambda text: f"Who knew that {text[:6]} could do this?")),
    "half a text": ("truncated", "break off", changed(1, lambda text: " ".join(text.split()[: len(text) // 9]))),
    "a limit of letters": ("truncated", "break off", changed(1, lambda text: text[:60])),
    "labels as tags": ("label words", "#spam", changed(0.1, lambda text: text + " #spam")),
    "all in lower case": ("lower case", "the texts", changed(1, str.lower)),
    "real ones in lower case": ("lower case", "the real texts", changed(1, str.lower, side="real")),
}


@pytest.mark.parametrize(("fault", "words", "plant"), PLANTED.values(), ids=PLANTED)
def test_what_is_planted_is_named(sound: Files, fault: str, words: str, plant: Plant) -> None:
    """Each kind by its name, and its sentence says what it is."""
    sides = {name: frame.copy() for name, frame in sound.items()}
    plant(sides)
    found = faults(sides).set_index("fault")
    assert fault in found.index
    rows = found.loc[[fault]]
    assert rows["sentence"].str.contains(words, regex=False).any()
    assert rows["texts"].between(1, len(sides["texts"]) + len(sides["real"])).all()
    assert rows["share"].between(0, 100).all()


@pytest.mark.parametrize("without", [[], ["test"], ["real", "test"]], ids=["all sides", "no test", "texts alone"])
def test_sound_texts_raise_no_alarm(sound: Files, without: list[str]) -> None:
    found = faults({name: frame for name, frame in sound.items() if name not in without})
    assert list(found.columns) == FAULT_COLUMNS
    assert found.empty


@pytest.mark.parametrize("n", [1, 5, 12])
def test_of_a_few_texts_no_sign_is_told(sound: Files, n: int) -> None:
    sides = {name: frame.groupby("label").head(n) for name, frame in sound.items()}
    assert faults(sides).empty
    assert find_faults(sides["texts"], real=sound["real"], between_splits=True).empty


def test_texts_that_are_cut_as_the_real_ones_are_raise_no_alarm(sound: Files) -> None:
    def named(*cut: str) -> bool:
        sides = {name: frame.copy() for name, frame in sound.items()}
        for side in cut:
            sides[side]["text"] = sides[side]["text"].str[:60]
        return "truncated" in set(faults(sides)["fault"])

    assert named("texts")
    assert not named("texts", "real")
    assert not named("real")


def test_the_order_of_rows_does_not_matter(sound: Files) -> None:
    sides = {name: frame.copy() for name, frame in sound.items()}
    for plant in (flipped, copied(near=True), changed(0.8, lambda text: text + " #ad", "ham")):
        plant(sides)
    shuffled = {name: frame.sample(frac=1, random_state=7) for name, frame in sides.items()}
    pd.testing.assert_frame_equal(faults(sides), faults(shuffled))
    assert {"token", "test copies", "flipped labels"} <= set(faults(sides)["fault"])


def test_other_columns_and_kinds_of_labels_do_not_matter(sound: Files) -> None:
    numbers = {"ham": 0, "spam": 1}
    sides = {name: frame.assign(label=frame["label"].map(numbers), id=np.nan) for name, frame in sound.items()}
    assert faults(sides).empty


@pytest.mark.parametrize(
    "texts",
    [[], [("one text", "a")], [("same", "a")] * 30, [("same", "a"), ("same", "b")] * 10, [("?", "a"), ("!", "b")]],
    ids=["none", "one", "one again and again", "one with two labels", "marks"],
)
def test_strange_tables_are_judged_without_an_error(texts: list[tuple[str, str]]) -> None:
    frame = pd.DataFrame(texts, columns=["text", "label"])
    for real in (None, frame.iloc[:0], frame):
        assert list(find_faults(frame, real=real, test=real).columns) == FAULT_COLUMNS


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The cat sat on a mat of my own", "English"),
        ("Die Katze und der Hund", "German"),
        ("Le chat est dans la maison avec les enfants", "French"),
        ("El perro y los gatos están en la casa del vecino", "Spanish"),
        ("Кошка сидит на столе", "Cyrillic"),
        ("ねこはつくえのうえにいます", "Hiragana"),
        ("lol", ""),
        ("", ""),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert languages([text]) == [language]


def test_repeats_of_short_and_of_changed_texts() -> None:
    others = ["Call me.", "The quick brown fox jumps over the lazy dog"]
    texts = ["call me", "call him", "the quick brown fox jumps over a lazy dog!", "a lazy dog jumps over the fox"]
    assert repeats(texts, others).tolist() == [True, False, True, False]


# ------------------------------------------------------------------------------------------------ a profile's texts


def split_data(tag: str, splits: set[str]) -> RealData:
    """Ironic and other texts, those of one label tagged in some splits."""
    data = load_real(load_task("sms_spam"), load_profile("demo"))
    frame = data.frame[["id", "text", "label", "split"]].copy()
    rows = (frame["label"] == "spam") & frame["split"].isin(splits)
    frame.loc[rows, "text"] += tag
    return checked(data.task, frame, "planted")


def test_a_token_that_tells_the_label_in_one_split_only() -> None:
    def tokens(data: RealData) -> set[tuple[str, str]]:
        found = split_faults(data)
        return {(split, row.label) for split, one in found.items() for row in one.itertuples() if "split" in row.fault}

    assert ("real, test", "spam") in tokens(split_data(" #win", {"test"}))
    assert not tokens(split_data(" #win", {"train", "validation", "test"}))


@needs_real_data
def test_tweet_ironys_test_leaks_as_it_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hashtags tell the label in the test alone; the task's pattern takes them out on reading."""
    monkeypatch.setenv("SYNTHGAP_DATA", str(REAL_DATA))
    task, profile = load_task("tweet_irony"), load_profile("recorded")
    found = {}
    for remove in (None, task.remove):
        data = load_real(task.model_copy(update={"remove": remove}), profile)
        sides = Sides(data.split("test"), data.frame[data.frame["split"] != "test"], None)
        found[remove] = [fault for fault in differing_traits(sides) if fault.label == "irony"]
    assert any(sign in fault.sentence for fault in found[None] for sign in ("#irony", "#sarcasm", "#not"))
    assert not found[task.remove]


def test_a_task_without_corpora_has_the_faults_of_its_real_set(tmp_path: Path) -> None:
    profile = load_profile("demo")
    found = dict(faults_of_task(profile, load_real(load_task("sms_spam"), profile), tmp_path))
    assert list(found) == ["real, train", "real, validation", "real, test"]
    assert all(list(faults.columns) == FAULT_COLUMNS for faults in found.values())


def test_changed_labels_of_one_of_many_files_are_found_by_its_first_texts(sound: Files) -> None:
    sides = {name: frame.copy() for name, frame in sound.items()}
    assert find_faults(sides["texts"], real=sides["real"], one_of_many=True).empty
    flipped(sides)
    alone, among_many = (find_faults(sides["texts"], real=sides["real"], one_of_many=many) for many in (False, True))
    assert "flipped labels" in set(among_many["fault"])
    pd.testing.assert_frame_equal(alone, among_many)
