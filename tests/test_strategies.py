"""Strategies at equal real labels spent: what is in each of them, and what it has cost."""

import dataclasses

import pandas as pd
import pytest

from synthgap.core.errors import SynthgapError
from synthgap.data.real import load_real
from synthgap.tasks import load_profile, load_task
from synthgap.training.runs import TaskTexts
from synthgap.training.strategies import plan_decision

ASKED = {"corpora": ["zero_shot", "few_shot", "ten"], "labels": "llm_labels", "real_texts_per_label": [2, 5, 10, 500]}
CORPORA = {
    "zero_shot": {"llm": "claude", "setting": "zero_shot", "repeats": [1, 2]},
    "few_shot": {"llm": "claude", "setting": "few_shot", "repeats": [1, 2]},
    "ten": {"llm": "claude", "setting": "few_shot"},
    "llm_labels": {"labels": "labels"},
}
SETS = {"tasks": ["sms_spam"], "corpora": CORPORA, "comparisons": {"main": {"corpora": ["few_shot"]}}}
PROFILE = load_profile("smoke", SETS | {"training.decision": ASKED, "training.texts_per_label": None})


def written(name, label, recording, turns, each):
    """Texts of a conversation of so many turns, and the examples that it shows, so many new ones a turn."""
    rows = [
        (f"{name} {label} {recording} {turn} {place}", f"{label} text", label, recording, turn)
        for turn in range(turns)
        for place in range(3)
    ]
    return rows, [(turn, place) for turn in range(turns) for place in range(each)]


@pytest.fixture(scope="module")
def texts():
    """Four-turn conversations: two recordings of few_shot with 2 new examples a turn, one of `ten` with 10 at once."""
    real = load_real(load_task("sms_spam"), PROFILE)
    train, corpora, shown = real.split("train"), {}, {}
    for name, recordings, turns, each in (("zero_shot", 2, 4, 0), ("few_shot", 2, 4, 2), ("ten", 1, 4, 0)):
        rows, examples = [], []
        for label in real.task.labels:
            ids = train.loc[train["label"] == label, "id"].tolist()
            for recording in range(1, recordings + 1):
                made, places = written(name, label, recording, turns, each)
                rows += made
                examples += [(recording, label, ids[place], turn) for place, (turn, _) in enumerate(places)]
            if name == "ten":
                examples += [(1, label, key, 0) for key in ids[-10:]]
        corpora[name] = pd.DataFrame(rows, columns=["id", "text", "label", "recording", "turn"])
        shown[name] = pd.DataFrame(examples, columns=["recording", "label", "id", "turn"])
    other = {"ham": "spam", "spam": "ham"}
    doubtful = train.groupby("label").tail(12)
    corpora["llm_labels"] = doubtful.assign(label=doubtful["label"].map(other))[["id", "text", "label"]]
    return {"sms_spam": TaskTexts(real, corpora, shown=shown)}


@pytest.fixture(scope="module")
def planned(texts):
    return plan_decision(PROFILE, texts)


def parts(run):
    """What a run trains on, by where it comes from: ids of each label."""
    kinds = run.train["id"].str.extract("^(zero_shot|few_shot|ten)")[0].fillna("real")
    return run.train.groupby(kinds)["label"].value_counts().unstack().loc[:, ["ham", "spam"]].to_dict("index")


def trained(planned, name, seed=0):
    (run,) = [run for run in planned if run.corpus == name and run.seed == seed]
    return run


def test_every_strategy_is_there_for_every_number_that_the_task_has_texts_for(planned):
    free = ["zero_shot 0", "labels 0", "zero_shot + labels 0"]
    each = ["real", "real + zero_shot", "real + labels", "few_shot", "real + few_shot", "real + few_shot + labels"]
    assert [run.corpus for run in planned if run.seed == 0] == [
        *free,
        *(f"{one} {n}" for n in (2, 5, 10) for one in each),
    ]
    assert {run.comparison for run in planned} == {"main"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zero_shot 0", {"zero_shot": 12}),
        ("real 5", {"real": 5}),
        ("real + zero_shot 5", {"real": 5, "zero_shot": 12}),
        ("few_shot 2", {"few_shot": 3}),  # the second turn has shown 4
        ("real + few_shot 5", {"real": 5, "few_shot": 6}),
        ("few_shot 10", {"ten": 12}),  # as many texts as few_shot has, and more examples: 10 instead of 8
    ],
)
def test_a_strategy_holds_what_its_name_says_and_as_many_of_each_label(planned, name, expected):
    assert parts(trained(planned, name)) == {kind: {"ham": n, "spam": n} for kind, n in expected.items()}


@pytest.mark.parametrize("n", [2, 5, 10])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_strategy_has_spent_more_real_labels_than_it_says(texts, planned, n, seed):
    own = texts["sms_spam"]
    run = trained(planned, f"real + few_shot {n}", seed)
    corpus = "ten" if n == 10 else "few_shot"
    shown = own.shown[corpus][own.shown[corpus]["recording"] == run.recording]
    turns = own.corpora[corpus].set_index("id")["turn"].reindex(run.train["id"]).max()
    spent = {*shown.loc[shown["turn"] <= turns, "id"], *run.train.loc[run.train["id"].str.startswith("sms"), "id"]}
    label = own.real.frame.set_index("id")["label"]
    assert label[sorted(spent)].value_counts().to_dict() == {"ham": n, "spam": n}


def test_a_seed_takes_one_recording_and_the_next_one_the_other(planned):
    assert [trained(planned, "few_shot 5", seed).recording for seed in (0, 1)] == [1, 2]
    assert all(" 2 " in key for key in trained(planned, "few_shot 5", 1).train["id"])


def test_a_text_whose_label_is_spent_is_not_there_under_the_llms_label_too(texts, planned):
    labelled = set(texts["sms_spam"].corpora["llm_labels"]["id"])
    real = trained(planned, "real + few_shot 10")  # whose examples the LLM labelled, too
    both = trained(planned, "real + few_shot + labels 10")
    assert len(labelled & set(real.train["id"])) == 20
    assert both.train["id"].is_unique
    assert set(real.train["id"]) < set(both.train["id"])
    truth = real.train.set_index("id")["label"]
    assert both.train.set_index("id")["label"][truth.index].equals(truth)


def test_real_texts_alone_are_those_of_the_learning_curve_and_grow(planned):
    ids = {n: set(trained(planned, f"real {n}").train["id"]) for n in (2, 5, 10)}
    assert ids[2] < ids[5] < ids[10]


def test_tasks_without_some_of_the_corpora_have_the_other_strategies(texts):
    own = texts["sms_spam"]
    fewer = dataclasses.replace(own, corpora={"few_shot": own.corpora["few_shot"]})
    names = {run.corpus.rpartition(" ")[0] for run in plan_decision(PROFILE, {"sms_spam": fewer})}
    assert names == {"real", "few_shot", "real + few_shot"}
    assert plan_decision(PROFILE.changed({"training.decision": None}), texts) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"corpora": ["gpt5"]}, r"corpus of training\.decision 'gpt5' is unknown"),
        ({"corpora": ["llm_labels"]}, "'llm_labels' in training.decision.corpora is not generated"),
        ({"labels": "few_shot"}, "'few_shot' in training.decision.labels is no corpus of an LLM's labels"),
        ({"classifiers": ["bert"]}, r"classifier of training\.decision 'bert' is unknown"),
    ],
)
def test_a_decision_between_what_is_not_there_is_refused(change, said):
    with pytest.raises(SynthgapError, match=said):
        load_profile("smoke", SETS | {"training.decision": ASKED | change})
