"""Further test sets of a task: what is left out, and which runs predict them."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from workers import made_texts

from synthgap.core.errors import SynthgapError
from synthgap.core.paths import bundled
from synthgap.data.further import COLUMNS as FURTHER
from synthgap.data.further import further_files, further_rows, load_further
from synthgap.data.real import load_real, resplit
from synthgap.tasks import FileSource, FurtherTest, load_profile, load_task
from synthgap.training.grid import run_grid
from synthgap.training.mixes import plan_mixes
from synthgap.training.predictions import load_predictions
from synthgap.training.runs import plan_curves, plan_grid

SMS = load_task("sms_spam")
LATER = FurtherTest(file="later", title="Later", about="made up")
ROWS = pd.DataFrame(
    [
        ("a", "see you at noon", "ham", "2015-03-01", "one"),
        ("a", "see you at noon", "ham", "2015-03-01", "one"),
        ("b", "win a prize", "spam", "2015-07-09", "one"),
        ("c", "call me", "ham", "2016-01-01", "one"),
        ("c", "call me", "spam", "2016-01-01", "one"),
        ("d", "free ringtones", "spam", "when it rained", "two"),
        ("e", "hello there", "eggs", "2015-01-01", "two"),
        ("f", " ", "ham", "2015-01-01", "two"),
    ],
    columns=["item_id", "text", "label", "date", "split"],
)


@pytest.mark.fault(
    "Data of your own", "a further test set with ids of two labels, or dates that are none", "left out and counted"
)
@pytest.mark.parametrize(
    ("asked", "ids", "left_out"),
    [
        ({}, ["a", "b", "d"], {"none of": 2, "two labels": 2, "repeats": 1}),
        ({"year": 2015}, ["a", "b"], {"none of": 2, "repeats": 1, "no date": 1}),
        ({"only": {"split": ("two",)}}, ["d"], {"none of": 2}),
    ],
)
def test_a_further_test_set_has_one_text_an_id_and_counts_the_rest(asked, ids, left_out):
    found, counts = further_rows(ROWS, LATER.model_copy(update=asked), SMS, "later.csv")
    assert found["id"].tolist() == ids
    said = {reason: count for reason, count in counts.items() if count}
    assert len(said) == len(left_out)
    for words, count in left_out.items():
        assert [number for reason, number in said.items() if words in reason] == [count]


@pytest.mark.parametrize(
    ("rows", "asked", "message"),
    [
        (ROWS.drop(columns="label"), {}, "no column label"),
        (ROWS.drop(columns="date"), {"year": 2015}, "no column date"),
        (ROWS, {"year": 1999}, "no text is left"),
    ],
)
def test_a_further_test_set_that_is_none_is_refused(rows, asked, message):
    with pytest.raises(SynthgapError, match=message):
        further_rows(rows, LATER.model_copy(update=asked), SMS, "later.csv")


def test_texts_that_were_trained_on_are_left_out(tmp_path, monkeypatch):
    compared = {"main": {"corpora": ["zero_shot"]}, "later": {"corpora": ["zero_shot"], "further_tests": True}}
    changes = {"comparisons": compared, "training.augmentation": None, "training.decision": None}
    assert further_files(SMS, load_profile("smoke", changes)) == {}, "the stand-in has none"
    profile = load_profile("smoke", changes | {"data.source": "folder"})
    real = load_real(SMS, load_profile("smoke"))
    trained_on = real.split("train")["text"].iloc[0]
    ROWS.replace("free ringtones", f"{trained_on.upper()}!").to_csv(tmp_path / "later.csv", index=False)
    monkeypatch.setenv("SYNTHGAP_DATA", str(tmp_path))
    task = SMS.model_copy(update={"further_tests": {"later": LATER, "absent": LATER.model_copy(update={"file": "x"})}})
    found = load_further(task, profile, real)
    assert found.texts["id"].tolist() == ["a", "b"]
    assert found.left_out["later"]["stands in the train or validation split"] == 1
    nobody_asks = {"data.source": "folder", "comparisons": {"main": compared["main"]}}
    assert not further_files(task, load_profile("smoke", changes | nobody_asks))


def test_the_runs_of_comparisons_that_ask_predict_further_tests_and_others_stay_as_they_are(tmp_path):
    compared = {"main": {"corpora": ["few_shot"]}, "later": {"corpora": ["few_shot"], "further_tests": True}}
    profile = load_profile("smoke", {"tasks": ["sms_spam"], "comparisons": compared, "training.seeds": [0]})
    texts = made_texts(profile)
    plans = (plan_grid, plan_curves, plan_mixes)
    before = {run.name for plan in plans for run in plan(profile, texts)}
    later = pd.DataFrame([("later", "a", "see you", "ham"), ("later", "b", "win", "spam")], columns=FURTHER)
    texts["sms_spam"] = replace(texts["sms_spam"], further=later)
    planned = plan_grid(profile, texts)
    others = [run for run in planned if run.comparison == "main"]
    assert {run.name for run in others + plan_curves(profile, texts) + plan_mixes(profile, texts)} == before
    run_grid(planned, tmp_path)
    (found,) = load_predictions(tmp_path, comparison="later", items="later")
    assert found.ids.tolist() == ["a", "b"]
    assert found.truth.tolist() == [found.labels.index(label) for label in later["label"]]
    assert set(found.predicted) == {"real", "few_shot"}
    assert load_predictions(tmp_path, comparison="main", items="later") == []


def test_a_file_of_other_splits_is_split_as_the_task_says():
    rows = [(f"i{n}", f"text {n}", "ham", "old" if n < 100 else "new") for n in range(120)]
    frame = pd.DataFrame(
        [*rows, ("i0", "text 0", "spam", "old"), rows[5]], columns=["item_id", "text", "label", "split"]
    )
    source = FileSource(file="x", splits={"old": "train"}, held_out={"validation": 0.1, "test": 0.2})
    found, left_out = resplit(frame, source)
    assert found["split"].value_counts().to_dict() == {"train": 71, "test": 19, "validation": 9}
    assert left_out == {
        "has an id with two labels": 2,
        "repeats an id": 1,
        "is of a split that the task leaves out": 20,
    }
    again, _ = resplit(frame.sample(frac=1, random_state=1), source)
    assert found.set_index("id")["split"].to_dict() == again.set_index("id")["split"].to_dict()


def test_examples_that_an_llm_saw_are_never_tested_on():
    source = load_task("tweet_sentiment").source
    lines = bundled(source.shown).read_text(encoding="utf-8").splitlines()
    shown = sorted({key for line in lines for key in json.loads(line)["example_ids"]})
    assert len(shown) == 300
    others = [f"other{n}" for n in range(1000)]
    frame = pd.DataFrame({"id": shown + others, "text": "x", "label": "neutral"})
    frame["split"] = ["2013test", "2013train"] * 650
    found = resplit(frame, source)[0].set_index("id")["split"]
    assert set(found[shown]) == {"train"}
    assert set(found[others]) == {"train", "validation", "test"}
