"""Mixes of real and synthetic texts: who is in them, their gains, and their notebook."""

import numpy as np
import pandas as pd
import pytest
from conftest import synthgap

from synthgap.augmentation import (
    AS_MANY,
    BOTH,
    EXAMPLES,
    INDEX,
    MIXES,
    SYNTHETIC,
    comparisons,
    mix_tables,
    plan_augmentation,
)
from synthgap.config import load_profile
from synthgap.data import load_real
from synthgap.errors import SynthgapError
from synthgap.evaluation import Outcome, load_outcomes
from synthgap.generation import generate
from synthgap.llm import connect
from synthgap.runs import plan_curve, run_grid
from synthgap.tasks import load_task

SETS = {"training.augmentation": {"real_texts_per_label": [5, 20, 500]}}


@pytest.fixture(scope="module")
def planned():
    """The profile, the data, the few-shot texts, the examples shown, and the cells."""
    profile = load_profile("smoke", SETS)
    task = load_task("sms_spam")
    data = load_real(task, profile)
    made = generate(task, "few_shot", data, connect(profile.llm), profile.generation)
    shown = made.provenance["example_ids"]
    return profile, data, made, shown, plan_augmentation(profile, data, made.texts, shown)


def by_mix(cells, seed=0):
    return {cell.regime: cell.train for cell in cells if cell.seed == seed}


def test_each_mix_holds_what_its_name_says_and_as_many_of_each_label(planned):
    _, data, made, shown, cells = planned
    mixes = by_mix(cells)
    growing = ["real 5", "real 5 + few_shot", "real 20", "real 20 + few_shot"]
    assert list(mixes) == [EXAMPLES, SYNTHETIC, BOTH, AS_MANY, *growing]
    for texts in mixes.values():
        assert len(set(texts["label"].value_counts())) == 1
        assert texts["id"].is_unique
    train, test = set(data.split("train")["id"]), set(data.split("test")["id"])
    asked = {key for ids in shown.values() for key in ids}
    assert set(mixes[EXAMPLES]["id"]) <= asked <= train
    assert set(mixes[SYNTHETIC]["id"]) <= set(made.texts["id"])
    assert set(mixes[BOTH]["id"]) == set(mixes[EXAMPLES]["id"]) | set(mixes[SYNTHETIC]["id"])
    assert len(mixes[AS_MANY]) == len(mixes[BOTH])
    assert set(mixes["real 5"]["id"]) < set(mixes["real 20"]["id"]) <= train
    assert set(mixes["real 20 + few_shot"]["id"]) == set(mixes["real 20"]["id"]) | set(mixes[SYNTHETIC]["id"])
    assert not test & {key for texts in mixes.values() for key in texts["id"]}


def test_the_examples_are_those_that_were_shown(planned):
    _, _, made, shown, _ = planned
    for label, ids in shown.items():
        turns = [turn for turn in made.turns if turn.conversation.label == label]
        assert ids == sorted({key for turn in turns for key in turn.examples})
        for turn in turns:
            assert all(text in turn.conversation.messages[-1].content for text in turn.examples.values())


def test_real_texts_alone_are_the_runs_of_the_learning_curve(planned):
    profile, data, made, _, cells = planned
    curve = load_profile("smoke", SETS | {"training.curve": {"texts_per_label": [5]}})
    synthetic = {"few_shot": made.texts, "zero_shot": made.texts}
    same = {c.name for c in plan_curve(curve, data, synthetic) if c.regime == "real" and c.texts_per_label == 5}
    assert {cell.name for cell in cells if cell.regime == "real 5"} == same
    assert plan_augmentation(load_profile("smoke", {"training.augmentation": None}), data, made.texts, {}) == []
    assert profile.training.augmentation is not None


def test_mixes_may_have_fewer_seeds_than_the_grid(planned):
    _, data, made, shown, cells = planned
    asked = SETS["training.augmentation"] | {"seeds": {"tfidf": [1]}}
    fewer = plan_augmentation(load_profile("smoke", {"training.augmentation": asked}), data, made.texts, shown)
    assert {cell.name for cell in fewer if cell.classifier == "tfidf"} == {
        cell.name for cell in cells if cell.classifier == "tfidf" and cell.seed == 1
    }
    assert 0 < len(fewer) < len(cells)


def test_no_example_of_a_label_is_refused(planned):
    profile, data, made, shown, _ = planned
    with pytest.raises(SynthgapError, match="task 'sms_spam': a label has no few-shot example"):
        plan_augmentation(profile, data, made.texts, {"ham": shown["ham"]})


def test_a_profile_that_generates_no_few_shot_texts_has_no_mixes():
    changes = {"generation.settings": ["zero_shot"], "training.regimes": ["real", "zero_shot"], "training.curve": None}
    with pytest.raises(SynthgapError, match=r"training\.augmentation mixes in few-shot texts"):
        load_profile("smoke", changes)
    load_profile("smoke", changes | {"training.augmentation": None})


def test_gains_of_a_simulated_case_are_found_with_their_intervals():
    random = np.random.default_rng(1)
    truth = random.integers(2, size=2000)
    right = {EXAMPLES: 0.6, SYNTHETIC: 0.7, BOTH: 0.75, AS_MANY: 0.75, "real 10": 0.6, "real 10 + few_shot": 0.7}
    predicted = {mix: np.where(random.random((3, 2000)) < share, truth, 1 - truth) for mix, share in right.items()}
    outcome = Outcome("humor", "probe", ("a", "b"), truth, predicted, dict.fromkeys(right, 20))
    scores, gains = mix_tables([outcome], resamples=300, permutations=300)
    assert set(scores["mix"]) == set(right)
    found = gains.set_index(["mix", "baseline"])
    for (mix, baseline), row in found.iterrows():
        expected = 100 * (right[mix] - right[baseline])
        assert row["gain"] == pytest.approx(expected, abs=3)
        assert row["low"] <= row["gain"] <= row["high"]
        assert (row["p_holm"] < 0.05) == (abs(expected) > 3)
    assert found["real_texts"].tolist() == [0, 0, 0, 10]
    assert comparisons(["real 10", "real 10 + few_shot", SYNTHETIC]) == [("real 10 + few_shot", "real 10", 10)]
    assert [len(table) for table in mix_tables([])] == [0, 0]


def test_mixes_come_from_the_runs_that_the_index_names(planned, tmp_path):
    *_, cells = planned
    run_grid(cells, tmp_path, index_name=INDEX)
    (outcome,) = load_outcomes(tmp_path, INDEX)
    assert {mix: len(runs) for mix, runs in outcome.predicted.items()} == dict.fromkeys(by_mix(cells), 2)
    assert outcome.n_train[BOTH] == outcome.n_train[EXAMPLES] + outcome.n_train[SYNTHETIC]


@pytest.mark.slow
def test_a_profile_without_mixes_runs_to_its_end(tmp_path):
    sets = ("--set", "training.augmentation=null", "--set", "tasks=[humor]", "--output", str(tmp_path))
    for stages in (("01", "02", "03"), ("04", "05", "06")):
        done = synthgap("run", "smoke", *stages, *sets)
        assert done.returncode == 0, done.stderr[-2000:]
    assert pd.read_csv(tmp_path / "smoke" / "tables" / "mixes.csv").empty
    assert list((tmp_path / "smoke" / "figures").glob("mixes*")) == []


def test_smoke_has_its_mixes(smoke):
    scores = pd.read_csv(smoke / "tables" / "mixes.csv")
    assert set(MIXES) < set(scores["mix"])
    gains = pd.read_csv(smoke / "tables" / "augmentation.csv")
    assert sorted(gains["real_texts"].unique()) == [0, 5]
    assert gains["p_holm"].between(0, 1).all()
    for name in ("mixes_tfidf", "augmentation_tfidf"):
        assert all((smoke / "figures" / f"{name}.{kind}").is_file() for kind in ("pdf", "png", "svg"))
