"""What training will take: exact sums from a known pace, and the runs that it is summed over."""

import pytest
from small_encoder import GOOD, TEST
from workers import MAIN_ALONE

from synthgap.core.errors import SynthgapError
from synthgap.data.real import load_real
from synthgap.generation.corpora import corpora_of_task, from_recording, provenance, save_corpora
from synthgap.llm.recorded import RecordedLLM, recording_folder
from synthgap.tables import format_hours
from synthgap.tasks import load_profile, load_task
from synthgap.training import training_time
from synthgap.training.finetuning import load_tokenizer
from synthgap.training.grid import run_grid
from synthgap.training.mixes import plan_mixes
from synthgap.training.runs import plan_curves, plan_grid
from synthgap.training.texts import load_texts
from synthgap.training.training_time import Pace, expected_seconds, measure_pace, plan_training
from synthgap.training.workers import Workers

PACE = Pace(load=2.0, train=0.01, predict=0.001)


def profile_of(encoder: str, **changes):
    classifiers = {
        "tuned": {"kind": "finetune", "encoder": encoder, "epochs": 4, "max_tokens": 16, "seeds": [0, 1]},
        "words": {"kind": "tfidf", "seeds": [0]},
    }
    sets = {"tasks": ["humor", "sms_spam"], "training.classifiers": classifiers, "training.texts_per_label": 4}
    alone = {"training.curve": None, "training.augmentation": None, **MAIN_ALONE}
    return load_profile("smoke", sets | alone | changes)


@pytest.fixture
def planned(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(training_time, "measure_pace", lambda *given: PACE)
    return profile_of(tiny_bert), tmp_path / "synthetic", tmp_path / "runs"


def write_texts(profile, folder) -> None:
    llm, made = RecordedLLM(recording_folder(profile.llms["claude"])), {}
    real = {name: load_real(load_task(name), profile) for name in profile.tasks}
    for name, data in real.items():
        for corpus, settings in profile.corpora.items():
            made[name, corpus] = from_recording(data, corpus, settings.setting, llm, profile.generation)
    save_corpora(folder, profile, made, real)


def grid_of(profile, synthetic):
    return plan_grid(profile, load_texts(profile, synthetic, stand_ins=True))


def tuned_runs(profile, synthetic):
    return [run for run in grid_of(profile, synthetic) if run.classifier == "tuned"]


def expected(runs) -> float:
    return expected_seconds(runs[0].settings, runs)


def tokens_of(tiny_bert, texts) -> int:
    rows = load_tokenizer(tiny_bert)(list(texts), truncation=True, max_length=16)["input_ids"]
    return sum(map(len, rows))


def test_a_run_is_its_loading_its_epochs_and_its_prediction(planned, tiny_bert):
    profile, synthetic, _ = planned
    runs = tuned_runs(profile, synthetic)
    seconds = 0.0
    for run in runs:
        train, validation, test = (tokens_of(tiny_bert, one["text"]) for one in (run.train, run.validation, run.test))
        seconds += 2 + 4 * (train * 0.01 + validation * 0.001) + test * 0.001
    assert expected(runs) == pytest.approx(seconds)


def test_the_plan_sums_the_runs_that_are_missing(planned):
    profile, *folders = planned
    runs = tuned_runs(profile, folders[0])
    sentence = plan_training(profile, *folders)
    assert len(runs) == 2 * 3 * 2
    assert f"12 fine-tunings are missing, at most {format_hours(expected(runs) / 3600)}" in sentence
    assert "6 runs of other classifiers are missing" in sentence


def test_an_ensemble_of_two_takes_twice_as_much(planned):
    profile, synthetic, _ = planned
    tuned = profile.training.classifiers["tuned"]
    two = profile.changed({"training.classifiers": {"tuned": tuned.model_copy(update={"members": 2}).model_dump()}})
    before, after = (expected(tuned_runs(one, synthetic)) for one in (profile, two))
    assert after == pytest.approx(2 * before)
    assert before > 0


def test_a_classifier_without_validation_texts_is_planned_and_trained(planned, tiny_bert):
    profile, synthetic, runs = planned
    tuned = profile.training.classifiers["tuned"].model_copy(update={"validation_texts": 0, "seeds": (0,)})
    profile = profile.changed({"tasks": ["humor"], "training.classifiers": {"tuned": tuned.model_dump()}})
    write_texts(profile, synthetic)
    found = tuned_runs(profile, synthetic)
    tokens = [
        0.04 * tokens_of(tiny_bert, run.train["text"]) + 0.001 * tokens_of(tiny_bert, run.test["text"]) for run in found
    ]
    assert expected(found) == pytest.approx(3 * 2 + sum(tokens))
    assert len(tokens) == 3
    run_grid(found[:1], runs)
    assert training_time.find(runs, found[0].name).about["details"]["epochs_run"] == 4


def test_finished_runs_are_not_planned(planned):
    profile, synthetic, runs = planned
    profile = profile.changed({"tasks": ["humor"], "training.classifiers.tuned.epochs": 1})
    write_texts(profile, synthetic)
    run_grid(tuned_runs(profile, synthetic)[:3], runs, Workers(1))
    assert "3 fine-tunings are missing" in plan_training(profile, synthetic, runs)
    run_grid(grid_of(profile, synthetic), runs, Workers(1))
    assert plan_training(profile, synthetic, runs) == "training: no fine-tuning is missing"


def test_the_runs_are_those_of_the_grid_the_curves_and_the_mixes(planned, tiny_bert, monkeypatch):
    _, synthetic, runs = planned
    further = {
        "training.curve": {"texts_per_label": [2]},
        "training.augmentation": {"corpus": "few_shot", "real_texts_per_label": [2, 3]},
    }
    profile = profile_of(tiny_bert, **further)
    before = plan_training(profile, synthetic, runs)
    write_texts(profile, synthetic)
    texts = load_texts(profile, synthetic)
    for name, one in texts.items():
        assert list(one.corpora) == corpora_of_task(profile, name)
        assert one.examples["few_shot"] == provenance(synthetic, "few_shot", name)["example_ids"]
    all_runs = {run.name: run for plan in (plan_grid, plan_curves, plan_mixes) for run in plan(profile, texts)}
    assert set(all_runs) - {run.name for run in plan_grid(profile, texts)}
    seen = []
    monkeypatch.setattr(training_time, "expected_seconds", lambda settings, runs: seen.extend(runs) or 60.0)
    after = plan_training(profile, synthetic, runs)
    assert {run.name for run in seen} == {name for name, run in all_runs.items() if run.classifier == "tuned"}
    counts = [sentence.split(" fine-tunings")[0] for sentence in (before, after)]
    assert counts[0] == counts[1], "known before any text is generated"


def test_texts_that_are_not_written_are_missed_unless_others_may_stand_for_them(planned):
    profile, synthetic, _ = planned
    with pytest.raises(SynthgapError, match="run the stage 01_generation first"):
        load_texts(profile, synthetic)
    wanted = profile.generation.texts_per_label
    stand_ins = load_texts(profile, synthetic, stand_ins=True)["humor"].corpora["zero_shot"]
    assert stand_ins["label"].value_counts().max() <= wanted


def test_a_probe_to_start_from_costs_one_more_look_at_the_training_texts(planned, tiny_bert):
    profile, synthetic, _ = planned
    tuned = profile.training.classifiers["tuned"]
    probed = profile.changed(
        {"training.classifiers": {"tuned": tuned.model_copy(update={"head": "probe"}).model_dump()}}
    )
    runs = tuned_runs(probed, synthetic)
    more = 0.001 * sum(tokens_of(tiny_bert, run.train["text"]) for run in runs)
    assert expected(runs) == pytest.approx(expected(tuned_runs(profile, synthetic)) + more)


def test_the_pilot_measures_both_ways(tiny_bert):
    pace = measure_pace(profile_of(tiny_bert).training.classifiers["tuned"], [*GOOD, " ".join(GOOD + TEST)])
    assert pace.load > 0
    assert pace.train > 0
    assert pace.predict > 0


def test_an_encoder_that_cannot_be_had_is_one_sentence(planned, monkeypatch):
    profile, *folders = planned
    monkeypatch.undo()
    missing = profile.changed({"training.classifiers": {"tuned": {"kind": "finetune", "encoder": "no/such-encoder"}}})
    with pytest.raises(SynthgapError, match="encoder 'no/such-encoder' cannot be loaded"):
        plan_training(missing, *folders)


def test_the_command_plans_generation_and_training(command, tmp_path):
    done = command("plan", "smoke", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "nothing will be asked" in done.stdout
    assert "training: no fine-tuning is missing; 128 runs of other classifiers are missing" in done.stdout
