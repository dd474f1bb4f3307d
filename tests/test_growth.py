"""What training will take: exact sums from a known pace, and the runs that it is summed over."""

import pytest
from conftest import synthgap
from small_encoder import GOOD, TEST

from synthgap import growth
from synthgap.augmentation import plan_augmentation
from synthgap.config import load_profile
from synthgap.data import load_real
from synthgap.errors import SynthgapError
from synthgap.finetuning import load_tokenizer
from synthgap.generation import generate, load_synthetic, provenance, save_generated
from synthgap.growth import Pace, Times, TokenCounter, Work, measure_pace, plan_training, planned_cells, sharing
from synthgap.llm import connect
from synthgap.runs import plan_curve, plan_task, read_run, run_grid
from synthgap.tasks import load_task

PACE = Pace(start=2.0, train=Times(((10, 0.1), (30, 0.2))), predict=Times(((20, 0.01),)), memory_mb=1234.0)


def profile_of(encoder: str, **changes):
    classifiers = {
        "tuned": {"kind": "finetune", "encoder": encoder, "epochs": 4, "max_tokens": 16, "seeds": [0, 1]},
        "words": {"kind": "tfidf", "seeds": [0]},
    }
    sets = {"tasks": ["humor", "sms_spam"], "training.classifiers": classifiers, "training.texts_per_label": 4}
    return load_profile("smoke", sets | {"training.curve": None, "training.augmentation": None} | changes)


@pytest.fixture
def planned(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "measure_pace", lambda *given: PACE)
    profile = profile_of(tiny_bert)
    real = {name: load_real(load_task(name), profile) for name in profile.tasks}
    return profile, real, tmp_path / "synthetic", tmp_path / "runs"


def write_texts(profile, real, folder) -> None:
    for data in real.values():
        for setting in profile.generation.settings:
            made = generate(data.task, setting, data, connect(profile.llm), profile.generation)
            save_generated(folder, made, keep_copies=False)


def test_seconds_lie_on_lines_between_the_lengths_measured():
    times = Times(((10, 0.1), (30, 0.2), (130, 1.2)))
    for length, seconds in ((10, 0.1), (20, 0.15), (30, 0.2), (80, 0.7), (130, 1.2)):
        assert times.seconds(tokens=5 * length, texts=5) == pytest.approx(5 * seconds)
    assert times.seconds(5, 1) == pytest.approx(0.05), "shorter: in proportion"
    assert times.seconds(260, 1) == pytest.approx(2.4), "longer: in proportion"
    assert times.seconds(0, 0) == 0


def test_a_run_is_its_start_its_epochs_and_its_prediction():
    work = Work(10, 200, 4, 80, 100, 2000)
    assert PACE.seconds(work, epochs=3) == pytest.approx(2 + 3 * (10 * 0.15 + 4 * 0.01) + 100 * 0.01)
    assert work.tokens(3) == 3 * 280 + 2000
    assert PACE.seconds(work, epochs=6, members=2) == pytest.approx(2 * PACE.seconds(work, epochs=3))
    assert work.tokens(6, members=2) == 2 * work.tokens(3)


def test_the_plan_sums_the_runs_that_are_missing(planned, tiny_bert):
    profile, real, *folders = planned
    plan = plan_training(profile, real, *folders)
    (row,) = plan.table.to_dict("records")
    assert (row["classifier"], row["runs"], row["finished"]) == ("tuned", 2 * 3 * 2, 0)
    assert plan.others == 2 * 3
    assert row["memory_mb"] == 1234
    tokenizer = load_tokenizer(tiny_bert)
    seconds = tokens = 0.0
    for cell in planned_cells(profile, real, folders[0]):
        if cell.classifier == "tuned":
            counts = [
                [len(ids) for ids in tokenizer(texts.tolist(), truncation=True, max_length=16)["input_ids"]]
                for texts in (cell.train["text"], cell.validation["text"], cell.test["text"])
            ]
            train, validation, test = map(sum, counts)
            each = PACE.train.seconds(train, len(counts[0])) + PACE.predict.seconds(validation, len(counts[1]))
            seconds += 2 + 4 * each + PACE.predict.seconds(test, len(counts[2]))
            tokens += 4 * (train + validation) + test
    assert row["hours"] == row["hours_at_most"] == pytest.approx(seconds / 3600)
    assert row["tokens"] == row["tokens_at_most"] == pytest.approx(tokens)
    assert "12 fine-tunings are missing" in str(plan)
    assert "6 runs of other classifiers are missing" in str(plan)


def test_an_ensemble_of_two_takes_twice_as_much(planned):
    profile, *given = planned
    tuned = profile.training.classifiers["tuned"]
    two = profile.changed({"training.classifiers": {"tuned": tuned.model_copy(update={"members": 2}).model_dump()}})
    one = profile.changed({"training.classifiers": {"tuned": tuned.model_dump()}})
    ((before,), (after,)) = (plan_training(each, *given).table.to_dict("records") for each in (one, two))
    for name in ("tokens", "tokens_at_most", "hours", "hours_at_most"):
        assert after[name] == pytest.approx(2 * before[name])
        assert before[name] > 0


def test_a_classifier_without_validation_texts_is_planned_and_trained(planned):
    profile, real, synthetic, runs = planned
    tuned = profile.training.classifiers["tuned"].model_copy(update={"validation_texts": 0, "seeds": (0,)})
    profile = profile.changed({"tasks": ["humor"], "training.classifiers": {"tuned": tuned.model_dump()}})
    write_texts(profile, real, synthetic)
    cells = planned_cells(profile, {"humor": real["humor"]}, synthetic)
    (row,) = plan_training(profile, {"humor": real["humor"]}, synthetic, runs).table.to_dict("records")
    count = TokenCounter(tuned)
    tokens = [4 * count.tokens(cell.train["text"]) + count.tokens(cell.test["text"]) for cell in cells]
    assert row["tokens"] == sum(tokens)
    assert len(tokens) == 3
    run_grid(cells[:1], runs)
    assert read_run(runs, cells[0].name)["details"]["epochs_run"] == 4


def test_finished_runs_are_not_planned_and_tell_the_epochs(planned):
    profile, real, synthetic, runs = planned
    profile, real = profile.changed({"tasks": ["humor"]}), {"humor": real["humor"]}
    write_texts(profile, real, synthetic)
    cells = planned_cells(profile, real, synthetic)
    tuned = [cell for cell in cells if cell.classifier == "tuned"]
    run_grid(tuned[:3], runs)
    plan = plan_training(profile, real, synthetic, runs)
    (row,) = plan.table.to_dict("records")
    assert (row["runs"], row["finished"]) == (6, 3)
    assert 0 < row["hours"] <= row["hours_at_most"]
    run_grid(cells, runs)
    after = plan_training(profile, real, synthetic, runs)
    assert (after.table["runs"] == after.table["finished"]).all()
    assert (after.table["hours"].sum(), after.others) == (0, 0)
    assert str(after) == "training: no fine-tuning is missing"


def test_the_runs_are_those_of_02_and_06(planned, tiny_bert):
    _, _, synthetic, runs = planned
    further = {"training.curve": {"texts_per_label": [2]}, "training.augmentation": {"real_texts_per_label": [2, 3]}}
    profile = profile_of(tiny_bert, **further)
    real = {name: load_real(load_task(name), profile) for name in profile.tasks}
    before = plan_training(profile, real, synthetic, runs)
    write_texts(profile, real, synthetic)
    expected = set()
    for name, data in real.items():
        texts = {setting: load_synthetic(synthetic, name, setting) for setting in profile.generation.settings}
        shown = provenance(synthetic, name, "few_shot")["example_ids"]
        cells = [*plan_task(profile, data, texts), *plan_curve(profile, data, texts)]
        mixes = plan_augmentation(profile, data, texts["few_shot"], shown)
        assert {cell.name for cell in mixes} - {cell.name for cell in cells}
        expected |= {cell.name for cell in (*cells, *mixes)}
    assert {cell.name for cell in planned_cells(profile, real, synthetic)} == expected
    after = plan_training(profile, real, synthetic, runs)
    assert before.table["runs"].tolist() == after.table["runs"].tolist(), "known before any text is generated"


def test_runs_that_share_a_gpu_slow_each_other_down():
    assert [sharing(number, 2) for number in (1, 2)] == [1, 2]
    assert sharing(4, 1) == pytest.approx(3.3, abs=0.1)
    assert [sharing(number, 1) for number in (8, 14)] == pytest.approx([5.7, 7.0], rel=0.06)
    assert sharing(16, 2) == 2 * sharing(8, 1)


def test_a_probe_to_start_from_costs_one_more_look_at_the_training_texts(planned):
    profile, real, *folders = planned
    cell = next(cell for cell in planned_cells(profile, real, folders[0]) if cell.classifier == "tuned")
    settings = profile.training.classifiers["tuned"]
    plain, probed = (TokenCounter(settings.model_copy(update={"head": head})).work(cell) for head in (None, "probe"))
    assert probed.test_texts == plain.test_texts + plain.train_texts
    assert probed.test_tokens == plain.test_tokens + plain.train_tokens
    assert (probed.train_tokens, probed.validation_tokens) == (plain.train_tokens, plain.validation_tokens)


def test_the_pilot_measures_both_ways(tiny_bert):
    pace = measure_pace(profile_of(tiny_bert).training.classifiers["tuned"], [GOOD, [" ".join(GOOD + TEST)] * 4])
    assert pace.start > 0
    assert pace.train.seconds(100, 10) > 0
    assert pace.predict.seconds(100, 10) > 0
    assert pace.memory_mb > 50


def test_an_encoder_that_cannot_be_had_is_one_sentence(planned, monkeypatch):
    profile, real, *folders = planned
    monkeypatch.undo()
    missing = profile.changed({"training.classifiers": {"tuned": {"kind": "finetune", "encoder": "no/such-encoder"}}})
    with pytest.raises(SynthgapError, match="encoder 'no/such-encoder' cannot be loaded"):
        plan_training(missing, real, *folders)


def test_the_command_plans_generation_and_training(tmp_path):
    done = synthgap("plan", "smoke", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "nothing will be asked" in done.stdout
    assert "training: no fine-tuning is missing; 88 runs of other classifiers are missing" in done.stdout
