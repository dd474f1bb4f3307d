import json
import os
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
from workers import grid_cells

from synthgap import runs
from synthgap.errors import SynthgapError
from synthgap.files import digest
from synthgap.runs import (
    is_finished,
    prediction_file,
    read_index,
    read_predictions,
    read_run,
    run_file,
    run_grid,
    scores,
)


@pytest.fixture(scope="module")
def cells():
    return grid_cells()


@pytest.fixture(scope="module")
def undisturbed(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run_grid(cells, folder)
    return folder


def grid_process(folder) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, str(ROOT / "tests" / "workers.py"), "grid", str(folder)], env=os.environ)


def same_results(one, two, cells) -> None:
    for cell in cells:
        assert read_predictions(one, cell.name).equals(read_predictions(two, cell.name)), cell.title
        assert read_run(one, cell.name)["scores"] == read_run(two, cell.name)["scores"]


def finished(folder) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.json"))


# -------------------------------------------------------------------------------------------------- names


def test_every_cell_has_a_name_of_its_own(cells):
    assert len(cells) == 54
    assert len({cell.name for cell in cells}) == 54


def test_names_are_the_same_in_another_process(cells):
    code = (
        "import sys; sys.path.insert(0, 'tests'); import workers; print(' '.join(c.name for c in workers.grid_cells()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [cell.name for cell in cells]


def test_regimes_of_a_cell_have_equal_sizes(cells):
    sizes = {}
    for cell in cells:
        sizes.setdefault(cell.task, set()).add(tuple(sorted(cell.train["label"].value_counts().items())))
    assert all(len(found) == 1 for found in sizes.values())


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


def test_a_run_says_everything_about_itself(cells, undisturbed):
    run = read_run(undisturbed, cells[0].name)
    assert run["identity"] == cells[0].identity
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
        assert key in run
    assert {"python", "torch", "scikit-learn"} <= set(run["versions"])
    assert run["peak_memory_mb"] > 50
    assert run["train_texts_per_second"] > 0


def test_predictions_hold_ids_and_probabilities_but_no_text(cells, undisturbed):
    cell = cells[0]
    frame = read_predictions(undisturbed, cell.name)
    assert frame.columns.tolist() == ["id", "label", "predicted", "p ham", "p spam"]
    assert frame["id"].tolist() == cell.test["id"].tolist()
    np.testing.assert_allclose(frame[["p ham", "p spam"]].sum(axis=1), 1, atol=1e-5)
    written = b"".join(path.read_bytes() for path in undisturbed.iterdir() if path.is_file())
    for text in cell.test["text"]:
        assert text.encode() not in written


def test_scores_are_scikit_learns(cells, undisturbed):
    for cell in cells[::7]:
        frame = read_predictions(undisturbed, cell.name)
        expected = 100 * f1_score(frame["label"], frame["predicted"], average="macro")
        run = read_run(undisturbed, cell.name)
        assert run["scores"]["macro_f1"] == pytest.approx(expected, abs=1e-3)
        assert run["scores"]["accuracy"] == pytest.approx(
            100 * accuracy_score(frame["label"], frame["predicted"]), abs=1e-3
        )


def test_scores_of_a_hand_computed_case():
    found = scores(["a", "a", "b", "c"], ["a", "b", "b", "b"], ["a", "b", "c"])
    assert found == {"macro_f1": pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3, abs=1e-3), "accuracy": 50.0}


# ---------------------------------------------------------------------------------- resuming, tears, kills


def test_a_finished_run_is_not_trained_again(cells, undisturbed, monkeypatch):
    monkeypatch.setattr(runs, "train_cell", lambda *_: pytest.fail("trained again"))
    index = run_grid(cells, undisturbed)
    assert not index["trained_now"].any()
    assert len(read_index(undisturbed)) == 54


@pytest.mark.parametrize("tear", ["cut json", "empty json", "cut predictions", "no predictions", "other predictions"])
def test_a_torn_run_is_found_and_trained_again(cells, undisturbed, tmp_path, tear, capsys):
    few = cells[:3]
    run_grid(few, tmp_path)
    name = few[1].name
    json_path, path = run_file(tmp_path, name), prediction_file(tmp_path, name)
    if tear == "cut json":
        json_path.write_text(json_path.read_text()[:100])
    elif tear == "empty json":
        json_path.write_text("")
    elif tear == "cut predictions":
        path.write_bytes(path.read_bytes()[:100])
    elif tear == "no predictions":
        path.unlink()
    else:
        path.write_bytes(prediction_file(tmp_path, few[0].name).read_bytes())
    assert not is_finished(tmp_path, name)
    with pytest.raises(SynthgapError, match=f"run {name} .* is missing or torn; run the stage 02_training again"):
        read_index(tmp_path)
    index = run_grid(few, tmp_path)
    assert index.set_index("run")["trained_now"].to_dict() == {cell.name: cell.name == name for cell in few}
    assert f"run {name} is torn and is trained again" in "".join(capsys.readouterr())
    same_results(tmp_path, undisturbed, few)


def test_a_grid_killed_again_and_again_ends_like_an_undisturbed_one(cells, undisturbed, tmp_path):
    for goal in (5, 23):
        process = grid_process(tmp_path)
        deadline = time.time() + 120
        while time.time() < deadline and len(finished(tmp_path)) < goal:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        names = finished(tmp_path)
        assert goal <= len(names) < 54
        assert all(is_finished(tmp_path, name) for name in names)
        assert not (tmp_path / "grid.csv").exists()
    times = {name: run_file(tmp_path, name).stat().st_mtime_ns for name in names}
    index = run_grid(cells, tmp_path)
    assert index["trained_now"].sum() == 54 - len(names)
    assert {name: run_file(tmp_path, name).stat().st_mtime_ns for name in names} == times
    same_results(tmp_path, undisturbed, cells)


def test_two_processes_share_a_grid(cells, undisturbed, tmp_path):
    processes = [grid_process(tmp_path) for _ in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert finished(tmp_path) == sorted(cell.name for cell in cells)
    same_results(tmp_path, undisturbed, cells)
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_cell_that_another_process_trains_is_waited_for(cells, tmp_path, monkeypatch):
    from filelock import FileLock

    busy, free = cells[0], cells[1]
    (tmp_path / ".locks").mkdir()
    lock = FileLock(tmp_path / ".locks" / f"{busy.name}.lock")
    lock.acquire()
    order = []
    original = runs.train_cell

    def train(cell, folder, about):
        order.append(cell.name)
        if cell is free:
            lock.release()
        return original(cell, folder, about)

    monkeypatch.setattr(runs, "train_cell", train)
    run_grid([busy, free], tmp_path)
    assert order == [free.name, busy.name]


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(cells, tmp_path):
    """The limit on a file's size stands for a full disk: the same failing write."""
    code = (
        "import resource, signal, sys; sys.path.insert(0, 'tests'); import workers\n"
        "from synthgap.errors import SynthgapError\n"
        "cells = workers.grid_cells()[:2]\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from pathlib import Path; from synthgap.runs import run_grid\n"
        "try: run_grid(cells, Path(sys.argv[1]))\n"
        "except SynthgapError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "cannot write" in done.stdout
    assert "the disk is full; make room" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]


def test_an_index_that_is_missing_names_the_stage(tmp_path):
    with pytest.raises(SynthgapError, match="run the stage 02_training first"):
        read_index(tmp_path)


def test_a_regime_without_a_label_is_named():
    from synthgap.config import load_profile
    from synthgap.data import load_real
    from synthgap.runs import training_sizes
    from synthgap.tasks import load_task

    profile = load_profile("smoke")
    data = load_real(load_task("sms_spam"), profile)
    texts = pd.DataFrame({"label": ["ham"] * 5})
    with pytest.raises(SynthgapError, match="the regime 'zero_shot' has no text of label 'spam'"):
        training_sizes(profile, data, {"real": data.split("train"), "zero_shot": texts})
