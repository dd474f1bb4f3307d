import dataclasses
import json
import multiprocessing
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score
from workers import MAIN_ALONE, forked, grid, made_texts, small_grid

from synthgap.core.errors import SynthgapError
from synthgap.core.files import digest
from synthgap.tasks import load_profile
from synthgap.training import runs
from synthgap.training.grid import run_grid
from synthgap.training.predictions import read_index
from synthgap.training.runs import plan_curves, plan_grid, scores, sizes_table, training_sizes
from synthgap.training.store import find, loose_files


@pytest.fixture(scope="module")
def planned():
    return small_grid()


@pytest.fixture(scope="module")
def undisturbed(planned, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run_grid(planned, folder)
    return folder


def same_results(one, two, some) -> None:
    for run in some:
        found, expected = find(one, run.name), find(two, run.name)
        assert found.table().equals(expected.table()), run.title
        assert found.about["scores"] == expected.about["scores"]


def finished(folder) -> list[str]:
    return sorted(path.stem for path in folder.glob("loose/*.json"))


def changed(**changes):
    """The profile smoke and its texts."""
    profile = load_profile("smoke", {"tasks": ["sms_spam", "humor"], **MAIN_ALONE, **changes})
    return profile, made_texts(profile)


# -------------------------------------------------------------------------------------------------- names


def test_every_run_has_a_name_of_its_own(planned):
    assert len(planned) == 27
    assert len({run.name for run in planned}) == 27


def test_names_are_the_same_in_another_process(planned):
    code = (
        "import sys; sys.path.insert(0, 'tests'); import workers; print(' '.join(r.name for r in workers.small_grid()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [run.name for run in planned]


def test_corpora_of_a_task_have_equal_sizes(planned):
    sizes = {}
    for run in planned:
        sizes.setdefault(run.task, set()).add(tuple(sorted(run.train["label"].value_counts().items())))
    assert all(len(found) == 1 for found in sizes.values())


def test_a_classifier_of_some_tasks_has_curves_on_all_of_them_where_they_name_it():
    def tasks(plan, curve):
        tfidf = {"kind": "tfidf"}
        classifiers = {"all": tfidf, "some": {**tfidf, "inverse_regularisation": 1, "tasks": ["humor"]}}
        curve = {"texts_per_label": [5], **curve}
        made = changed(**{"training.classifiers": classifiers, "training.curve": curve, "training.augmentation": None})
        return {run.task for run in plan(*made) if run.classifier == "some"}

    assert tasks(plan_grid, {}) == tasks(plan_curves, {}) == {"humor"}
    assert tasks(plan_curves, {"classifiers": ["some"]}) == {"humor", "sms_spam"}


def test_a_name_says_nothing_of_how_its_corpus_is_called():
    renamed = {"corpora": {"mine": {"llm": "claude", "setting": "zero_shot"}}}
    profile, texts = changed(comparisons={"one": {"corpora": ["zero_shot"]}})
    other = load_profile(
        "smoke",
        {
            **{"tasks": ["sms_spam", "humor"], "comparisons": {}},
            **{"training.augmentation": None, "training.decision": None},
            **renamed,
        },
    )
    same = {name: dataclasses.replace(one, corpora={"mine": one.corpora["zero_shot"]}) for name, one in texts.items()}
    names, again = ([run.name for run in plan_grid(*given)] for given in ((profile, texts), (other, same)))
    assert names == again
    assert all("zero_shot" not in json.dumps(run.identity) for run in plan_grid(profile, texts))


def test_corpora_of_each_comparison_have_equal_sizes_with_the_reference_first():
    profile, texts = changed(
        comparisons={
            "all": {"corpora": ["zero_shot", "few_shot"]},
            "llm": {"corpora": ["real", "zero_shot"], "reference": "few_shot", "tasks": ["humor"]},
            "pair": {"corpora": ["zero_shot"]},
        }
    )
    fewer = texts["humor"].corpora["few_shot"].groupby("label").head(9)
    texts["humor"] = dataclasses.replace(texts["humor"], corpora={**texts["humor"].corpora, "few_shot": fewer})
    found = plan_grid(profile, texts)
    members = {
        name: list(dict.fromkeys(r.corpus for r in found if r.comparison == name)) for name in profile.comparisons
    }
    assert members["all"] == ["real", "zero_shot", "few_shot"]
    assert members["llm"] == ["few_shot", "real", "zero_shot"]
    assert members["pair"] == ["real", "zero_shot"]
    assert {run.task for run in found if run.comparison == "llm"} == {"humor"}
    sizes = sizes_table(found)
    assert (sizes.max(axis=1) == sizes.min(axis=1)).all()
    assert sizes.loc[("all", "humor")].dropna().eq(9).all(axis=None)
    assert sizes.loc[("pair", "humor"), ["real", "zero_shot"]].eq(15).all(axis=None)
    shared = {name: {run.name for run in found if run.comparison == name and run.task == "humor"} for name in members}
    assert shared["all"] == shared["llm"], "the same texts are the same runs"
    assert not shared["all"] & shared["pair"]


def test_curves_are_made_for_the_main_comparison():
    asked = {"main": {"corpora": ["few_shot"], "tasks": ["humor"]}, "other": {"corpora": ["zero_shot"]}}
    profile, texts = changed(comparisons=asked)
    found = plan_curves(profile, texts)
    assert {(run.comparison, run.task) for run in found} == {("main", "humor")}
    assert {run.texts_per_label for run in found} == {5, 15}
    full = {run.name for run in found if run.texts_per_label == 15}
    assert full == {run.name for run in plan_grid(profile, texts) if run.comparison == "main"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values), st.randoms())
def test_a_digest_ignores_the_order_of_keys_and_survives_json(value, random):
    keys = list(value)
    random.shuffle(keys)
    assert digest({key: value[key] for key in keys}) == digest(value)
    assert digest(json.loads(json.dumps(value))) == digest(value)


@given(st.dictionaries(st.text(), json_values, min_size=1), st.data())
def test_a_digest_sees_every_change(value, data):
    key = data.draw(st.sampled_from(sorted(value)))
    changed = {**value, key: [value[key]]}
    assert digest(changed) != digest(value)
    without = {name: one for name, one in value.items() if name != key}
    assert digest(without) != digest(value)


def test_a_digest_refuses_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"x": float("nan")})


# -------------------------------------------------------------------------------------------------- a run


def test_a_run_says_everything_about_itself(planned, undisturbed):
    about = find(undisturbed, planned[0].name).about
    assert about["identity"] == planned[0].identity
    for key in (
        "settings",
        "seed",
        "scores",
        "train_seconds",
        "train_texts_per_second",
        "peak_memory_mb",
        "n_train",
        "n_test",
    ):
        assert key in about
    assert {"python", "torch", "scikit-learn"} <= set(about["versions"])
    assert about["peak_memory_mb"] > 50
    assert about["train_texts_per_second"] > 0


def test_predictions_hold_ids_and_probabilities_but_no_text(planned, undisturbed):
    run = planned[0]
    frame = find(undisturbed, run.name).table()
    assert frame.columns.tolist() == ["items", "id", "label", "predicted", "p ham", "p spam"]
    assert frame["id"].tolist() == run.test["id"].tolist()
    np.testing.assert_allclose(frame[["p ham", "p spam"]].sum(axis=1), 1, atol=1e-5)
    written = b"".join(path.read_bytes() for path in undisturbed.rglob("*") if path.is_file())
    for text in run.test["text"]:
        assert text.encode() not in written


def test_scores_are_scikit_learns(planned, undisturbed):
    for run in planned[::7]:
        found = find(undisturbed, run.name)
        frame = found.table()
        label, predicted = frame["label"].astype(str), frame["predicted"].astype(str)
        expected = 100 * f1_score(label, predicted, average="macro")
        assert found.about["scores"]["macro_f1"] == pytest.approx(expected, abs=1e-3)
        assert found.about["scores"]["accuracy"] == pytest.approx(100 * accuracy_score(label, predicted), abs=1e-3)


def test_scores_of_a_hand_computed_case():
    found = scores(["a", "a", "b", "c"], ["a", "b", "b", "b"], ["a", "b", "c"])
    assert found == {"macro_f1": pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3, abs=1e-3), "accuracy": 50.0}


# ---------------------------------------------------------------------------------- resuming, tears, kills


def test_a_finished_run_is_not_trained_again(planned, undisturbed, monkeypatch):
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("trained again"))
    index = run_grid(planned, undisturbed)
    assert not index["trained_now"].any()
    assert len(read_index(undisturbed)) == 27


@pytest.mark.parametrize(
    "tear", ["cut json", "empty json", "cut predictions", "no predictions", "other predictions", "other run"]
)
def test_a_torn_run_is_found_and_trained_again(planned, undisturbed, tmp_path, tear, capsys):
    few = planned[:3]
    run_grid(few, tmp_path)
    name = few[1].name
    path, json_path = loose_files(tmp_path, name)
    if tear == "cut json":
        json_path.write_text(json_path.read_text()[:100])
    elif tear == "empty json":
        json_path.write_text("")
    elif tear == "cut predictions":
        path.write_bytes(path.read_bytes()[:100])
    elif tear == "no predictions":
        path.unlink()
    elif tear == "other predictions":
        path.write_bytes(loose_files(tmp_path, few[0].name)[0].read_bytes())
    else:
        for file, other in zip((path, json_path), loose_files(tmp_path, few[0].name), strict=True):
            file.write_bytes(other.read_bytes())
    assert find(tmp_path, name) is None
    with pytest.raises(SynthgapError, match=f"run {name} .* is missing or torn; run the stage 02_training again"):
        read_index(tmp_path)
    index = run_grid(few, tmp_path)
    assert index.set_index("run")["trained_now"].to_dict() == {run.name: run.name == name for run in few}
    assert f"run {name} is torn and is trained again" in "".join(capsys.readouterr())
    same_results(tmp_path, undisturbed, few)


def test_a_grid_killed_again_and_again_ends_like_an_undisturbed_one(planned, undisturbed, tmp_path):
    for goal in (5, 14):
        process = forked(grid, tmp_path)
        deadline = time.time() + 120
        while time.time() < deadline and len(finished(tmp_path)) < goal:
            time.sleep(0.01)
        process.kill()
        process.join()
        names = finished(tmp_path)
        assert goal <= len(names) < 27
        assert all(find(tmp_path, name) for name in names)
        assert not (tmp_path / "grid.csv").exists()
    times = {name: loose_files(tmp_path, name)[1].stat().st_mtime_ns for name in names}
    index = run_grid(planned, tmp_path)
    assert index["trained_now"].sum() == 27 - len(names)
    assert {name: loose_files(tmp_path, name)[1].stat().st_mtime_ns for name in names} == times
    same_results(tmp_path, undisturbed, planned)


def test_two_processes_share_a_grid(planned, undisturbed, tmp_path):
    processes = [forked(grid, tmp_path) for _ in range(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert finished(tmp_path) == sorted(run.name for run in planned)
    same_results(tmp_path, undisturbed, planned)
    assert not list(tmp_path.rglob(".*.tmp"))


def test_a_run_that_another_process_trains_is_waited_for(planned, tmp_path, monkeypatch):
    from filelock import FileLock

    busy, free = planned[0], planned[1]
    (tmp_path / ".locks").mkdir()
    lock = FileLock(tmp_path / ".locks" / f"{busy.name}.lock")
    lock.acquire()
    order = []
    original = runs.train

    def train(run):
        order.append(run.name)
        if run is free:
            lock.release()
        return original(run)

    monkeypatch.setattr(runs, "train", train)
    run_grid([busy, free], tmp_path)
    assert order == [free.name, busy.name]


def grid_on_a_full_disk(folder, sentences) -> None:
    """The limit on a file's size stands for a full disk: the same failing write."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        grid(folder)
    except SynthgapError as error:
        sentences.put(str(error))
    sentences.put("")


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tmp_path):
    sentences = multiprocessing.SimpleQueue()
    forked(grid_on_a_full_disk, tmp_path, sentences).join()
    sentence = sentences.get()
    assert "cannot write" in sentence
    assert "the disk is full; make room" in sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == [".locks", "loose"]
    assert not list((tmp_path / "loose").iterdir())


def test_an_index_that_is_missing_names_the_stage(tmp_path):
    with pytest.raises(SynthgapError, match="run the stage 02_training first"):
        read_index(tmp_path)


def test_a_corpus_without_a_label_is_named():
    _, texts = changed()
    data, few = texts["sms_spam"].real, pd.DataFrame({"label": ["ham"] * 5})
    with pytest.raises(SynthgapError, match="the corpus 'zero_shot' has no text of label 'spam'"):
        training_sizes(data, {"real": data.split("train"), "zero_shot": few}, None)
