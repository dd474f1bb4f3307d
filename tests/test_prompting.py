"""What is found on prompts where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from endpoints import profile_of, settings
from scipy import stats
from test_evaluation import LABELS, simulated

from synthgap.core.config import GenerationSettings
from synthgap.data.real import load_real
from synthgap.evaluation.gaps import evaluate
from synthgap.generation.conversations import under_prompt
from synthgap.generation.corpora import from_recording, save_corpora
from synthgap.generation.generation_cost import estimate_costs
from synthgap.llm.backends import connect
from synthgap.prompting import effects, sample_size, variants
from synthgap.prompting.sample_size import Variances
from synthgap.tasks import load_profile, load_prompt, load_task
from synthgap.tasks.registry import prompt_files
from synthgap.training.mixes import plan_mixes
from synthgap.training.predictions import Predictions
from synthgap.training.runs import plan_grid
from synthgap.training.texts import load_texts

CORPORA = {
    "zero_shot": {"llm": "claude", "setting": "zero_shot", "repeats": [1, 2, 3]},
    "few_shot": {"llm": "claude", "setting": "few_shot", "repeats": [1, 2]},
    "examples_3": {"llm": "claude", "setting": "few_shot", "prompt": "examples_3"},
    "guideline": {"llm": "claude", "setting": "zero_shot", "prompt": "guideline"},
    "personas": {"llm": "claude", "setting": "zero_shot", "prompt": "personas"},
}
PROMPTS = {"corpora": ["zero_shot", "guideline", "personas", "examples_3", "few_shot"], "question": "prompts"}
CHANGED = {
    "tasks": ["humor"],
    "corpora": CORPORA,
    "comparisons": {"paper": {"corpora": ["zero_shot", "few_shot"]}, "prompts": PROMPTS},
    "training.classifiers": {"tfidf": {"kind": "tfidf", "seeds": [0, 1]}},
    "training.augmentation": {"corpus": "few_shot", "real_texts_per_label": [5]},
    "training.decision": None,
    "training.texts_per_label": 12,
}
PROFILE = load_profile("demo", CHANGED)
HUMOR = load_task("humor")


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """The folder with the corpora of PROFILE."""
    real, llm, made = load_real(HUMOR, PROFILE), connect(PROFILE.llms["claude"]), {}
    for name, one in PROFILE.corpora.items():
        asked = (under_prompt(real, one), name, one.setting, llm, GenerationSettings(texts_per_label=200))
        made["humor", name] = from_recording(*asked, one.repeats)
    folder = tmp_path_factory.mktemp("synthetic")
    save_corpora(folder, PROFILE, made, {"humor": real})
    return folder


# --------------------------------------------------------------------------------------------- variants and controls


def test_a_variants_control_is_the_same_llm_in_the_same_setting():
    assert variants.first(PROFILE, "examples").like == {"examples_3": "few_shot"}
    assert variants.first(PROFILE, "guideline").like == {"guideline": "zero_shot"}
    assert variants.first(PROFILE, "diversity").like == {"personas": "zero_shot"}
    assert variants.without_control(PROFILE) == []
    assert (
        variants.first(load_profile("demo", {"comparisons": {"all": {"corpora": ["zero_shot"]}}}), "examples") is None
    )


@pytest.mark.fault(
    "Profiles", "a prompt variant without a control", "said in a sentence; nothing is said of the variant"
)
def test_a_variant_without_a_control_is_left_out_with_a_sentence():
    profile = load_profile("demo", CHANGED | {"comparisons.prompts.corpora": ["zero_shot", "examples_3"]})
    (sentence,) = variants.without_control(profile)
    assert "'examples_3' has no control" in sentence
    assert "setting few_shot" in sentence
    assert variants.first(profile, "examples") is None


def test_examples_are_counted_by_label_in_recordings_whose_every_turn_is_trained_on(synthetic):
    shown = variants.examples_shown(PROFILE, synthetic, PROFILE.comparisons["prompts"])
    by_corpus = shown.groupby("corpus")["examples"].agg(["min", "max"])
    assert by_corpus.loc["zero_shot"].tolist() == [0, 0]
    assert by_corpus.loc["examples_3"].tolist() == [3, 3]
    assert set(shown.loc[shown["corpus"] == "few_shot", "recording"]) == {2}, (
        "the first one has 20 turns, of which 10 count"
    )
    assert variants.counts(shown)["examples_3"] == "3"


def test_examples_are_trained_on_alone_and_with_the_texts_of_the_same_draw(synthetic):
    texts = load_texts(PROFILE, synthetic)
    mixes = [run for run in plan_mixes(PROFILE, texts) if run.comparison == "prompts"]
    grid = {
        (run.corpus, run.recording, run.seed): run for run in plan_grid(PROFILE, texts) if run.comparison == "prompts"
    }
    assert {run.corpus for run in mixes} == {
        *("examples of examples_3", "examples + examples_3", "examples of few_shot", "examples + few_shot")
    }
    for run in mixes:
        kind, _, corpus = run.corpus.rpartition(" ")
        shown = set(texts["humor"].shown[corpus].query("recording == @run.recording")["id"])
        own = set(run.train["id"])
        if kind == "examples of":
            assert own <= shown
            assert corpus != "examples_3" or len(own) == 3 * len(HUMOR.labels)
        else:
            assert own - shown == set(grid[corpus, run.recording, run.seed].train["id"])


# -------------------------------------------------------------------------------------------------------------- scores


def recorded(scores: dict[str, list[float]], task: str, items: int = 400, seed: int = 0) -> Predictions:
    """Predictions of runs with these accuracies, each of a recording of its own; `real` has one recording."""
    one = simulated(scores, items, seed, task)
    numbers = {
        name: np.ones(len(runs), int) if name == "real" else np.arange(len(runs)) + 1 for name, runs in scores.items()
    }
    return Predictions(one.task, "probe", LABELS, one.ids, one.truth, one.predicted, one.n_train, numbers)


def test_a_variants_one_recording_is_taken_to_vary_as_its_controls_do():
    rows = [
        ("humor", "zero_shot", "chamfer", number, value) for number, value in enumerate([0.30, 0.34, 0.32], start=1)
    ]
    rows.append(("humor", "personas", "chamfer", 1, 0.40))
    values = pd.DataFrame(rows, columns=["task", "corpus", "measure", "recording", "value"])
    (found,) = effects.diversity_effects(values, {"personas": "zero_shot"}).to_dict("records")
    assert found["change"] == pytest.approx(0.08)
    narrow, wide = (stats.t.ppf(0.975, df) * 0.02 * math.sqrt(1 + 1 / 3) for df in (4, 2))  # by Satterthwaite
    assert narrow < found["margin"] <= wide
    assert found["within"] == pytest.approx(0.08 + found["margin"])


def test_without_recordings_of_the_control_nothing_is_claimed():
    rows = [("humor", corpus, "vendi", 1, value) for corpus, value in (("zero_shot", 5.0), ("personas", 9.0))]
    values = pd.DataFrame(rows, columns=["task", "corpus", "measure", "recording", "value"])
    (found,) = effects.diversity_effects(values, {"personas": "zero_shot"}).to_dict("records")
    assert math.isnan(found["low"])
    assert "nothing is known of another" in effects.in_words(pd.Series(found))


def test_gaps_of_a_lent_spread_are_wider_and_speak_of_new_recordings():
    tasks = ["humor", "tweet_irony", "sms_spam"]
    scores = {"real": [0.9], "few_shot": [0.70, 0.76, 0.73], "examples_3": [0.74]}
    predictions = [recorded(scores, task, seed=number) for number, task in enumerate(tasks)]
    pairs = [("examples_3", "few_shot")]
    plain, lent = (
        effects.effects(evaluate(predictions, 200, 100, 0, lambda _: pairs, like=like))
        for like in (None, {"examples_3": "few_shot"})
    )
    assert plain["change"].tolist() == lent["change"].tolist()
    by_task = lent["task"] != effects.ALL
    assert (lent.loc[by_task, "margin"] > plain.loc[by_task, "margin"]).all()
    assert lent["p"].notna().all()


@pytest.mark.parametrize(
    ("change", "low", "high", "said"),
    [(3.0, 1.0, 5.0, "+3.0 [+1.0, +5.0]"), (3.0, -5.0, 11.0, "+3.0 [−5.0, +11.0], not told apart at ±8.0")],
)
def test_a_change_that_could_be_none_is_not_told_apart_and_never_no_gain(change, low, high, said):
    row = pd.Series({"change": change, "low": low, "high": high, "margin": (high - low) / 2})
    assert effects.in_words(row) == said


def test_the_share_of_an_advantage_is_found_and_unbounded_where_there_is_none():
    tasks = ["humor", "tweet_irony", "sms_spam", "ag_news"]
    scores = {"zero": [0.60, 0.61], "guide": [0.75, 0.76], "few": [0.80, 0.81], "same": [0.60, 0.61]}
    predictions = [recorded(scores, task, 3000, number) for number, task in enumerate(tasks)]
    shares = effects.advantage_shares(predictions, "zero", "guide", "few", 200, 0).set_index("task")
    assert shares["share"].to_numpy() == pytest.approx(0.75, abs=0.15)
    assert ((shares["low"] < 0.75) & (shares["high"] > 0.7)).all()
    assert shares.loc[effects.ALL, "high"] - shares.loc[effects.ALL, "low"] < 0.3
    none = effects.advantage_shares(predictions, "zero", "guide", "same", 200, 0).set_index("task")
    assert none.loc["humor", ["low", "high"]].abs().max() == np.inf


def test_all_corpora_with_examples_together_are_recordings_of_one():
    one = recorded({"real": [0.9], "few_shot": [0.7, 0.8], "examples_3": [0.6]}, "humor")
    (pooled,) = effects.with_pooled([one], ["examples_3", "few_shot"])
    assert pooled.predicted[effects.ANY].shape[0] == 3
    assert len(set(pooled.recordings[effects.ANY])) == 3


def test_runs_and_mixes_are_joined_item_by_item():
    one = recorded({"real": [0.9], "few_shot": [0.8]}, "humor")
    shuffled = np.random.default_rng(0).permutation(len(one.ids))
    mixed = {"examples of few_shot": one.predicted["few_shot"][:, shuffled]}
    numbers = {"examples of few_shot": np.array([1])}
    other = Predictions("humor", "probe", LABELS, one.ids[shuffled], one.truth[shuffled], mixed, {}, numbers)
    (joined,) = effects.joined([one], [other])
    assert (joined.predicted["examples of few_shot"] == one.predicted["few_shot"]).all()
    assert effects.joined([one], []) == []


def test_texts_that_recite_are_counted_by_recording(monkeypatch, synthetic):
    task = load_texts(PROFILE, synthetic)["humor"]
    copied = task.real.frame["text"][task.real.frame["text"].str.split().str.len() >= 7].iloc[0]
    frame = pd.DataFrame(
        {"id": ["a", "b", "c", "d"], "text": [copied, "one two", "three", "four"], "label": "humorous"}
    )
    planted = type(task)(task.real, {"zero_shot": frame.assign(recording=[1, 1, 2, 2], turn=0)})
    monkeypatch.setattr(effects, "comparison_texts", lambda *_: planted)
    found = effects.recitation(PROFILE, synthetic, PROFILE.comparisons["prompts"])
    assert found["share"].tolist() == [50, 0]


# --------------------------------------------------------------------------------------------------------- sample size

KNOWN = Variances(recording=8.0, sampling=4.0, items=0.5, texts=100, df=1e6)


def test_the_detectable_difference_by_hand():
    assert KNOWN.at(200) == 6
    by_hand = (1.959964 + 0.841621) * math.sqrt(2 * 8 / 4 + 0.5)
    assert sample_size.detectable(KNOWN, recordings=4, texts=100) == pytest.approx(by_hand, rel=1e-3)
    assert sample_size.detectable(KNOWN, 4, 100, tasks=4) == pytest.approx(by_hand / 2, rel=1e-3)


def test_more_recordings_texts_and_tasks_tell_smaller_differences():
    table = sample_size.power_table(KNOWN, tasks=5).set_index(["tasks", "texts_per_label", "recordings"])["detectable"]
    for level in range(3):
        assert (table.unstack(level).diff(axis=1).iloc[:, 1:] < 0).all(axis=None)
    needed = sample_size.needed_recordings(KNOWN, 100, points=3)
    assert sample_size.detectable(KNOWN, needed, 100) <= 3 < sample_size.detectable(KNOWN, needed - 1, 100)
    assert math.isinf(sample_size.needed_recordings(Variances(8, 4, items=5, texts=100, df=10), 100, points=2))


def test_variances_are_found_in_predictions_of_which_they_are_known():
    random, tasks = np.random.default_rng(0), ["humor", "tweet_irony", "sms_spam", "ag_news", "imdb", "relation"]
    drawn = {task: {"real": [0.9], "zero_shot": (0.7 + 0.04 * random.normal(size=8)).tolist()} for task in tasks}
    found = sample_size.measured([recorded(scores, task, 5000, 1) for task, scores in drawn.items()])
    assert found.recording == pytest.approx(16 * 4 / 9, rel=0.5), "a third of what is guessed is right, too"
    assert found.sampling == 0, "without learning curves more texts are taken to change nothing"
    assert sample_size.measured([simulated({"real": [0.9, 0.9], "zero_shot": [0.7, 0.7]})]) is None


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_before_money_is_spent_the_sweep_says_its_requests_and_what_they_will_tell(endpoint, tmp_path):
    sweep = load_profile("prompts")
    assert {one.prompt for one in sweep.corpora.values() if one.prompt} == set(prompt_files())
    assert all(len(one.repeats) > 1 for one in sweep.corpora.values())
    corpora = {
        name: {**CORPORA[name], "llm": "live", "repeats": [1, 2]} for name in ("zero_shot", "personas", "examples_3")
    }
    profile = profile_of({"live": settings(endpoint)}, corpora, GenerationSettings(texts_per_label=20), ["humor"])
    (found,) = estimate_costs(profile, {"humor": load_real(HUMOR, PROFILE)}, tmp_path / "responses.sqlite")
    assert found.table.groupby("corpus")["texts"].sum().to_dict() == dict.fromkeys(corpora, 2 * 2 * 20)
    assert found.table["requests"].ge(2).all()
    said, *table = sample_size.planned(sweep).splitlines()
    assert "3 recordings of 100 texts per label" in said
    assert table[0].split() == ["tasks", "texts_per_label", *map(str, sample_size.RECORDINGS)]
    assert len(table) == 1 + 2 * len(sample_size.TEXTS)
    assert sample_size.planned(load_profile("paper")) == ""


def test_every_variant_of_the_sweep_says_what_it_is():
    listed = variants.listed(load_profile("prompts"))
    assert listed["about"].tolist() == [load_prompt(name).about for name in listed["corpus"]]
    assert set(listed["control"]) == {"zero_shot", "few_shot"}
