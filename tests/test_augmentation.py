"""Mixes of real and synthetic texts: who is in them, their runs, and their notebook."""

import dataclasses

import pandas as pd
import pytest
from conftest import synthgap

from synthgap.core.errors import SynthgapError
from synthgap.data.real import load_real
from synthgap.generation.corpora import from_recording
from synthgap.llm.recorded import RecordedLLM, recording_folder
from synthgap.tasks import load_profile, load_task
from synthgap.training.grid import run_grid
from synthgap.training.mixes import AS_MANY, EXAMPLES, both, plan_mixes
from synthgap.training.predictions import load_predictions
from synthgap.training.runs import TaskTexts, plan_curves

SYNTHETIC = "few_shot"
BOTH = both(SYNTHETIC)
SETS = {"tasks": ["sms_spam"], "training.augmentation.real_texts_per_label": [5, 20, 500]}


@pytest.fixture(scope="module")
def made():
    """The texts of two recorded corpora, with all turns."""
    profile = load_profile("smoke", SETS)
    data, llm = load_real(load_task("sms_spam"), profile), RecordedLLM(recording_folder(profile.llms["claude"]))
    settings = {name: corpus.setting for name, corpus in profile.corpora.items()}
    return data, {name: from_recording(data, name, one, llm, profile.generation) for name, one in settings.items()}


@pytest.fixture(scope="module")
def texts(made):
    data, corpora = made
    examples = {name: one.provenance["example_ids"] for name, one in corpora.items()}
    return {"sms_spam": TaskTexts(data, {name: one.texts for name, one in corpora.items()}, None, examples)}


@pytest.fixture(scope="module")
def planned(texts):
    return plan_mixes(load_profile("smoke", SETS), texts)


def by_mix(runs, seed=0):
    return {run.corpus: run.train for run in runs if run.seed == seed}


def test_each_mix_holds_what_its_name_says_and_as_many_of_each_label(made, texts, planned):
    data, corpora = made
    mixes = by_mix(planned)
    growing = ["real 5", "real 5 + few_shot", "real 20", "real 20 + few_shot"]
    assert list(mixes) == [EXAMPLES, SYNTHETIC, BOTH, AS_MANY, *growing]
    for frame in mixes.values():
        assert len(set(frame["label"].value_counts())) == 1
        assert frame["id"].is_unique
    train, test = set(data.split("train")["id"]), set(data.split("test")["id"])
    asked = {key for ids in texts["sms_spam"].examples[SYNTHETIC].values() for key in ids}
    assert set(mixes[EXAMPLES]["id"]) <= asked <= train
    assert set(mixes[SYNTHETIC]["id"]) <= set(corpora[SYNTHETIC].texts["id"])
    assert set(mixes[BOTH]["id"]) == set(mixes[EXAMPLES]["id"]) | set(mixes[SYNTHETIC]["id"])
    assert len(mixes[AS_MANY]) == len(mixes[BOTH])
    assert set(mixes["real 5"]["id"]) < set(mixes["real 20"]["id"]) <= train
    assert set(mixes["real 20 + few_shot"]["id"]) == set(mixes["real 20"]["id"]) | set(mixes[SYNTHETIC]["id"])
    assert not test & {key for frame in mixes.values() for key in frame["id"]}
    assert {run.comparison for run in planned} == {"paper"}


def test_the_examples_are_those_that_were_shown(made, texts):
    _, corpora = made
    for label, ids in texts["sms_spam"].examples[SYNTHETIC].items():
        turns = [turn for turn in corpora[SYNTHETIC].turns if turn.conversation.label == label]
        assert ids == sorted({key for turn in turns for key in turn.examples})
        for turn in turns:
            assert all(text in turn.conversation.messages[-1].content for text in turn.examples.values())


def test_a_corpus_without_shown_examples_has_the_growing_numbers_alone(texts):
    zero_shot = load_profile("smoke", SETS | {"training.augmentation.corpus": "zero_shot"})
    mixes = by_mix(plan_mixes(zero_shot, texts))
    assert list(mixes) == ["real 5", "real 5 + zero_shot", "real 20", "real 20 + zero_shot"]
    assert set(mixes["real 5 + zero_shot"]["id"]) - set(mixes["real 5"]["id"]) <= set(
        texts["sms_spam"].corpora["zero_shot"]["id"]
    )


def test_real_texts_alone_are_the_runs_of_the_learning_curve(texts, planned):
    curve = load_profile("smoke", SETS | {"training.curve": {"texts_per_label": [5]}})
    same = {run.name for run in plan_curves(curve, texts) if run.corpus == "real" and run.texts_per_label == 5}
    assert {run.name for run in planned if run.corpus == "real 5"} == same
    assert plan_mixes(load_profile("smoke", {"training.augmentation": None}), texts) == []


def test_mixes_may_have_fewer_seeds_than_the_grid(texts, planned):
    fewer = plan_mixes(load_profile("smoke", SETS | {"training.augmentation.seeds": {"tfidf": [1]}}), texts)
    assert {run.name for run in fewer if run.classifier == "tfidf"} == {
        run.name for run in planned if run.classifier == "tfidf" and run.seed == 1
    }
    assert 0 < len(fewer) < len(planned)


def test_no_example_of_a_label_is_refused(texts):
    spam = texts["sms_spam"]
    half = dataclasses.replace(spam, examples={SYNTHETIC: {"ham": spam.examples[SYNTHETIC]["ham"]}})
    with pytest.raises(SynthgapError, match="task 'sms_spam': a label has no example"):
        plan_mixes(load_profile("smoke", SETS), {"sms_spam": half})


def test_mixes_are_those_of_the_main_comparisons_tasks(texts):
    elsewhere = load_profile("smoke", {"comparisons": {"main": {"corpora": ["few_shot"], "tasks": ["humor"]}}} | SETS)
    assert plan_mixes(elsewhere, texts) == []


def test_mixes_with_an_unknown_corpus_are_refused():
    with pytest.raises(SynthgapError, match=r"corpus of training\.augmentation 'gpt5' is unknown"):
        load_profile("smoke", {"training.augmentation.corpus": "gpt5"})


def test_mixes_come_from_the_runs_that_the_index_names(planned, tmp_path):
    run_grid(planned, tmp_path, index="mixes")
    (found,) = load_predictions(tmp_path, "mixes")
    assert {mix: len(runs) for mix, runs in found.predicted.items()} == dict.fromkeys(by_mix(planned), 2)
    assert found.n_train[BOTH] == found.n_train[EXAMPLES] + found.n_train[SYNTHETIC]


@pytest.mark.slow
def test_a_profile_without_mixes_runs_to_its_end(tmp_path):
    sets = ("--set", "training.augmentation=null", "--set", "tasks=[humor]", "--set", "variant=none")
    sets += ("--output", str(tmp_path))
    for stages in (("01", "02", "03"), ("04", "05", "06")):
        done = synthgap("run", "smoke", *stages, *sets)
        assert done.returncode == 0, done.stderr[-2000:]
    assert pd.read_csv(tmp_path / "smoke-none" / "tables" / "mixes.csv").empty
    assert list((tmp_path / "smoke-none" / "figures").glob("mixes*")) == []


def test_smoke_has_its_mixes(smoke):
    scores = pd.read_csv(smoke / "tables" / "mixes.csv")
    assert {EXAMPLES, SYNTHETIC, BOTH, AS_MANY} < set(scores["mix"])
    gains = pd.read_csv(smoke / "tables" / "augmentation.csv")
    assert sorted(gains["real_texts"].unique()) == [0, 5]
    assert gains["p_holm"].between(0, 1).all()
    for name in ("mixes_tfidf", "augmentation_tfidf"):
        assert all((smoke / "figures" / f"{name}.{kind}").is_file() for kind in ("pdf", "png"))
