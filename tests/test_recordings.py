"""Corpora that were recorded several times under the same conditions: their texts, their runs, and live ones."""

import pandas as pd
import pytest
from endpoints import profile_of, settings

from synthgap.core.config import GenerationSettings
from synthgap.core.errors import SynthgapError
from synthgap.data.real import load_real
from synthgap.generation.conversations import begin_conversation, first_number
from synthgap.generation.corpora import from_recording, ledger_file, load_corpus, provenance, save_corpora
from synthgap.generation.live_generation import generate_all
from synthgap.llm.backends import connect
from synthgap.llm.recorded import RecordedLLM, export_recording
from synthgap.llm.response_log import ResponseLog
from synthgap.tasks import load_profile, load_task
from synthgap.training.grid import run_grid
from synthgap.training.mixes import plan_mixes
from synthgap.training.predictions import load_predictions
from synthgap.training.runs import TaskTexts, plan_curves, plan_grid

SMS = load_task("sms_spam")
CORPORA = {"zero_shot": {"repeats": [1, 2, 3]}, "few_shot": {"repeats": [1, 3]}}
PROFILE = load_profile(
    "demo",
    {
        "tasks": ["sms_spam"],
        "training.texts_per_label": 12,
        "training.classifiers": {"tfidf": {"kind": "tfidf", "seeds": [0, 1, 2], "seeds_per_recording": [0, 1]}},
        "training.curve": {"texts_per_label": [5, 30]},
        **{f"corpora.{name}.{key}": value for name, changed in CORPORA.items() for key, value in changed.items()},
    },
)


@pytest.fixture(scope="module")
def real():
    return load_real(SMS, PROFILE)


@pytest.fixture(scope="module")
def made(real):
    llm = connect(PROFILE.llms["claude"])
    return {
        name: from_recording(real, name, one.setting, llm, GenerationSettings(texts_per_label=200), one.repeats)
        for name, one in PROFILE.corpora.items()
    }


@pytest.fixture(scope="module")
def texts(real, made):
    examples = {name: one.provenance["recordings"][0]["example_ids"] for name, one in made.items()}
    return {"sms_spam": TaskTexts(real, {name: one.texts for name, one in made.items()}, examples=examples)}


def test_a_corpus_holds_the_texts_of_all_its_recordings(made):
    found = made["zero_shot"]
    assert found.texts["id"].is_unique
    assert sorted(found.texts["recording"].unique()) == [1, 2, 3]
    turns = found.texts.groupby("recording")["turn"].max() + 1
    assert turns.to_dict() == {1: 20, 2: 10, 3: 10}, "a later recording may be shorter"
    about = found.provenance
    assert about["received"] == about["accepted"] + sum(about["rejected"].values()) == 2 * 400
    assert [one["recording"] for one in about["recordings"]] == [1, 2, 3]
    for label, texts in about["accepted_by_label"].items():
        assert texts == sum(one["accepted_by_label"][label] for one in about["recordings"])


def test_the_first_recording_is_what_it_is_alone(real, made):
    settings = GenerationSettings(texts_per_label=200)
    alone = from_recording(real, "zero_shot", "zero_shot", connect(PROFILE.llms["claude"]), settings).texts
    assert made["zero_shot"].texts.query("recording == 1").reset_index(drop=True).equals(alone)


def test_every_recording_was_shown_examples_of_a_pool_of_its_own(real, made):
    first, third = (one["example_ids"]["spam"] for one in made["few_shot"].provenance["recordings"])
    assert set(first) != set(third)
    assert made["few_shot"].provenance["example_ids"]["spam"] == sorted({*first, *third})
    assert set(real.pool_ids("ham", 1)) != set(real.pool_ids("ham", 2))


def test_recordings_travel_with_their_provenance(tmp_path, real, made):
    by_task = {("sms_spam", name): one for name, one in made.items()}
    save_corpora(tmp_path, PROFILE, by_task, {"sms_spam": real})
    assert load_corpus(tmp_path, PROFILE, "few_shot", "sms_spam").equals(made["few_shot"].texts)
    assert provenance(tmp_path, "few_shot", "sms_spam")["recordings"] == made["few_shot"].provenance["recordings"]
    ledger = pd.read_parquet(ledger_file(tmp_path)).query("corpus == 'few_shot'")
    assert set(ledger["recording"]) <= {1, 3}


def test_a_run_trains_on_one_recording_and_all_recordings_at_the_same_size(texts):
    runs = plan_grid(PROFILE, texts)
    seen = pd.DataFrame([(run.corpus, run.recording, run.seed, len(run.train)) for run in runs])
    assert seen.groupby([0, 1])[2].apply(list).to_dict() == {
        ("real", 1): [0, 1, 2],
        **{("zero_shot", recording): [0, 1] for recording in (1, 2, 3)},
        **{("few_shot", recording): [0, 1] for recording in (1, 3)},
    }
    assert set(seen[3]) == {24}
    corpus = texts["sms_spam"].corpora["zero_shot"].set_index("id")
    for run in runs:
        if run.corpus == "zero_shot":
            drawn = corpus.loc[run.train["id"]]
            assert set(drawn["recording"]) == {run.recording}
            assert drawn["turn"].max() < 10, "the turns that all recordings have"
    assert len({run.name for run in runs}) == len(runs)


def test_curves_and_mixes_are_of_the_first_recording_which_may_be_longer(texts):
    runs = plan_curves(PROFILE, texts)
    assert {run.recording for run in runs} == {1}
    assert sorted({run.texts_per_label for run in runs}) == [5, 30]
    mixes = plan_mixes(PROFILE, texts)
    few_shot = texts["sms_spam"].corpora["few_shot"].set_index("id")["recording"]
    assert {few_shot.get(key, 1) for run in mixes for key in run.train["id"]} == {1}


def test_predictions_say_which_recording_they_come_from(texts, tmp_path):
    run_grid(plan_grid(PROFILE, texts), tmp_path)
    (found,) = load_predictions(tmp_path)
    numbers = {corpus: values.tolist() for corpus, values in found.recordings.items()}
    assert numbers == {"real": [1, 1, 1], "zero_shot": [1, 1, 2, 2, 3, 3], "few_shot": [1, 1, 3, 3]}


def test_a_recording_that_nobody_made_is_refused_before_anything_runs(real):
    llm = connect(PROFILE.llms["claude"])
    with pytest.raises(SynthgapError, match=r"recording 4 of task 'sms_spam'.*holds 0 turns.*repeats"):
        llm.check_turns(begin_conversation(SMS, "zero_shot", "spam", first_number(4)), 1)
    with pytest.raises(SynthgapError, match=r"repeats.*1"):
        load_profile("demo", {"corpora.zero_shot.repeats": [0]})


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_a_live_llm_writes_every_recording_anew_and_replays_them(endpoint, tmp_path, real):
    corpora = {"few_shot": {"llm": "live", "setting": "few_shot", "repeats": [1, 2]}}
    profile = profile_of({"live": settings(endpoint)}, corpora, GenerationSettings(texts_per_label=20), ["sms_spam"])
    log_file = tmp_path / "responses.sqlite"
    found = generate_all(profile, {"sms_spam": real}, log_file)["sms_spam", "few_shot"]
    assert set(found.texts.groupby(["recording", "label"]).size()) == {20}
    first, second = (
        {key for turn in found.turns if turn.conversation.recording == number for key in turn.examples}
        for number in (1, 2)
    )
    assert first != second
    with ResponseLog(log_file) as log:
        export_recording(log, tmp_path / "exported")
    assert sorted(path.parent.name for path in (tmp_path / "exported").glob("*/*.jsonl")) == ["few_shot", "few_shot.2"]
    again = RecordedLLM(tmp_path / "exported")
    for turn in found.turns:
        assert again.answer(turn.conversation).text == turn.answer.text
