"""Runs side by side: in processes, on a Dask cluster, with workers that die and cells that break."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import workers
from conftest import ROOT, synthgap

from synthgap import engine as engines
from synthgap.engine import Engine, Outcome, _train_anywhere, fan_out, visible_gpus, workers_here
from synthgap.errors import SynthgapError
from synthgap.runner import SAID_IN_A_SENTENCE
from synthgap.runs import GridFailed, is_finished, prediction_file, run_file, run_files, run_grid

TWO = Engine(workers=2)


@pytest.fixture(scope="module")
def cells():
    return workers.grid_cells()[:12]


@pytest.fixture(scope="module")
def undisturbed(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run_grid(cells, folder, engine=Engine(workers=1))
    return folder


def same_predictions(one: Path, other: Path, cells) -> None:
    for cell in cells:
        assert is_finished(one, cell.name)
        assert prediction_file(one, cell.name).read_bytes() == prediction_file(other, cell.name).read_bytes()


def with_settings(cell, settings):
    return dataclasses.replace(cell, settings=settings)


# -------------------------------------------------------------------------------------------------------- processes


def test_processes_train_what_one_process_trains(cells, undisturbed, tmp_path):
    found = list(fan_out(cells, tmp_path, {"sms_spam": {"about": "spam"}}, TWO))
    assert {cell.name for cell, _ in found} == {cell.name for cell in cells}
    assert all(outcome == Outcome(cell.name, True) for cell, outcome in found)
    same_predictions(tmp_path, undisturbed, cells)
    assert json.loads(run_file(tmp_path, cells[0].name).read_text())["about"] == "spam"
    assert not any(outcome.trained for _, outcome in fan_out(cells, tmp_path, {}, TWO))


def test_a_process_that_dies_loses_its_own_run_alone_and_that_is_trained_again(cells, undisturbed, tmp_path):
    deadly = with_settings(cells[3], workers.Deadly(tmp_path / "deaths", times=2))
    some = [*cells[:3], deadly, *cells[4:8]]
    found = {cell.name: outcome for cell, outcome in fan_out(some, tmp_path / "runs", {}, TWO)}
    assert all(outcome.trained and not outcome.error for outcome in found.values())
    assert (tmp_path / "deaths").stat().st_size == 3
    same_predictions(tmp_path / "runs", undisturbed, some)


def test_a_run_that_kills_every_process_is_given_up_and_the_others_are_finished(cells, undisturbed, tmp_path):
    deadly = with_settings(cells[0], workers.Deadly(tmp_path / "deaths", times=99))
    found = {cell.name: outcome for cell, outcome in fan_out([deadly, *cells[1:5]], tmp_path / "runs", {}, TWO)}
    assert found[deadly.name].error == "its process died 3 times (killed, or out of memory)"
    assert (tmp_path / "deaths").stat().st_size == 3
    same_predictions(tmp_path / "runs", undisturbed, cells[1:5])


def test_a_run_for_which_a_shared_gpu_was_full_is_trained_again_at_the_end(cells, undisturbed, tmp_path):
    crowded = with_settings(cells[0], workers.Crowded(tmp_path / "tries", times=1))
    some = [crowded, *cells[1:6]]
    found = [(cell.name, outcome) for cell, outcome in fan_out(some, tmp_path / "runs", {}, TWO)]
    assert found[-1] == (crowded.name, Outcome(crowded.name, True))
    assert len(found) == len(some)
    first, second = (tmp_path / "tries").read_text().split()
    assert first != second
    same_predictions(tmp_path / "runs", undisturbed, some)


def test_a_run_that_is_too_large_for_the_gpu_fails_with_its_reason(cells, tmp_path):
    crowded = with_settings(cells[0], workers.Crowded(tmp_path / "tries", times=99))
    done = fan_out([crowded, cells[1]], tmp_path / "runs", {}, TWO)
    found = {cell.name: outcome for cell, outcome in done}
    assert found[crowded.name].error == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert len((tmp_path / "tries").read_text().split()) == 2
    assert found[cells[1].name].trained


def test_ctrl_c_ends_the_processes_and_keeps_what_is_finished(tmp_path):
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import workers; "
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}workers.side_by_side({str(tmp_path)!r}, '4')"], cwd=ROOT / "tests", stderr=-1
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    assert len(children.stdout.split()) >= 2
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert b"KeyboardInterrupt" in stderr
    deadline = time.monotonic() + 20
    while any(alive(int(pid)) for pid in children.stdout.split()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all(not alive(int(pid)) for pid in children.stdout.split())
    names = [path.name.removesuffix(".json") for path in tmp_path.glob("*.json")]
    assert 1 <= len(names) < 6
    assert all(is_finished(tmp_path, name) for name in names)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().split(")")[1].split()[0] != "Z"


# ------------------------------------------------------------------------------------------------------ broken cells


def test_a_grid_with_a_broken_cell_finishes_the_others_and_names_it(cells, undisturbed, tmp_path):
    broken = with_settings(cells[1], workers.Broken())
    with pytest.raises(GridFailed) as error:
        run_grid([cells[0], broken, *cells[2:5]], tmp_path)
    text = str(error.value)
    assert "1 of 5 runs failed" in text
    assert f"{broken.title}: ZeroDivisionError: this cell is broken" in text
    same_predictions(tmp_path, undisturbed, [cells[0], *cells[2:5]])
    assert not is_finished(tmp_path, broken.name)
    assert not (tmp_path / "grid.csv").exists()
    index = run_grid(cells[:5], tmp_path)
    assert index["trained_now"].tolist() == [False, True, False, False, False]
    assert next(iter(fan_out([broken], tmp_path / "away", {}, TWO)))[1].error.startswith("ZeroDivisionError")


def test_a_broken_classifier_ends_a_run_with_status_1_and_its_reason(tmp_path):
    classifiers = "{tfidf: {kind: tfidf}, bad: {kind: finetune, encoder: no/such-encoder}}"
    sets = ("--set", f"training.classifiers={classifiers}", "--set", "tasks=[humor]", "--output", str(tmp_path))
    done = synthgap("run", "smoke", "01", "02", *sets)
    assert done.returncode == 1
    assert "6 of 12 runs failed" in done.stderr
    assert "humor / few_shot / bad / seed 0: encoder 'no/such-encoder' cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(list((tmp_path / "smoke" / "runs").glob("*.predictions.parquet"))) == 6


def test_every_kind_of_error_that_users_can_mend_is_one_sentence_in_a_notebook():
    from synthgap import endpoint, local  # noqa: F401  which have kinds of their own

    def kinds(error: type) -> set[str]:
        return {error.__name__}.union(*map(kinds, error.__subclasses__()))

    assert kinds(SynthgapError) == SAID_IN_A_SENTENCE


# ------------------------------------------------------------------------------------------------------------ choices


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SYNTHGAP_ENGINE": "slurm"}, "engine 'slurm' is unknown"),
        ({"SYNTHGAP_ENGINE": "dask"}, "go together"),
        ({"SYNTHGAP_ADDRESS": "tcp://x:1"}, "go together"),
        ({"SYNTHGAP_WORKERS": "many"}, "must be a number, not 'many'"),
        ({"SYNTHGAP_WORKERS": "0"}, "must be 1 or more"),
    ],
)
def test_a_faulty_engine_is_refused(environment, message, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SynthgapError, match=message):
        Engine.from_environment()


def test_a_faulty_engine_is_refused_on_the_command_line_before_anything_runs(tmp_path):
    done = synthgap("run", "smoke", "--workers", "two", "--output", str(tmp_path))
    assert (done.returncode, "must be a number" in done.stderr) == (2, True)
    done = synthgap("run", "smoke", "--engine", "dask", "--output", str(tmp_path))
    assert (done.returncode, "go together" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_runs_share_a_gpu_as_far_as_its_memory_and_the_cores_allow(monkeypatch):
    monkeypatch.setattr(engines, "cores", lambda: 16)
    monkeypatch.setattr(engines, "_free_memory", lambda: 100 * 2**30)
    known = ((11, 1, 1), (11, 3, 3), (79, 1, 6), (79, 2, 12), (140, 1, 11), (140, 8, 16), (140, 20, 20))
    for gib, gpus, expected in known:
        monkeypatch.setattr(engines, "_gpu_memory", lambda gib=gib: gib * 2**30)
        assert workers_here(Engine(), [str(number) for number in range(gpus)]) == expected
    assert workers_here(Engine(workers=7), ["0"]) == 7
    monkeypatch.setattr(engines, "_free_memory", lambda: 9 * 2**30)
    assert workers_here(Engine(), ["0"]) == 4


def test_the_smallest_gpu_counts(monkeypatch):
    import torch

    memory = [40, 24]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(total_memory=memory[number])
    )
    assert engines._gpu_memory() == 24


def test_without_a_gpu_no_more_processes_than_the_memory_allows(monkeypatch):
    monkeypatch.setattr(engines, "cores", lambda: 64)
    monkeypatch.setattr(engines, "_free_memory", lambda: 9 * 2**30)
    assert workers_here(Engine(), []) == 4
    monkeypatch.setattr(engines, "_free_memory", lambda: 2**20)
    assert workers_here(Engine(), []) == 1


def test_each_process_sees_one_gpu(cells, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(engines, "visible_gpus", lambda: ["3", "5"])
    original = engines._Slot.__init__

    def remember(self, threads, device):
        seen.append((threads, device))
        original(self, threads, device)

    monkeypatch.setattr(engines._Slot, "__init__", remember)
    assert all(outcome.trained for _, outcome in fan_out(cells[:3], tmp_path, {}, Engine()))
    assert [device for _, device in seen] == ["3", "5"]
    import torch

    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-abc")
    assert visible_gpus() == ["4", "GPU-abc"]


# --------------------------------------------------------------------------------------------------------------- Dask


@pytest.fixture(scope="module")
def cluster():
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as found:
        yield found


def test_a_cluster_trains_what_one_process_trains(cluster, cells, undisturbed, tmp_path):
    dask = Engine("dask", address=cluster.scheduler_address)
    index = run_grid(cells, tmp_path, engine=dask)
    assert index["trained_now"].all()
    same_predictions(tmp_path, undisturbed, cells)
    assert not run_grid(cells, tmp_path, engine=dask)["trained_now"].any()


def test_a_worker_of_the_cluster_that_dies_loses_its_own_run_alone(cluster, cells, undisturbed, tmp_path):
    dask = Engine("dask", address=cluster.scheduler_address)
    deadly = with_settings(cells[2], workers.Deadly(tmp_path / "deaths", times=1))
    some = [*cells[:2], deadly, *cells[3:8]]
    found = {cell.name: outcome for cell, outcome in fan_out(some, tmp_path / "runs", {}, dask)}
    assert [outcome.error for outcome in found.values()] == [""] * 8
    assert (tmp_path / "deaths").stat().st_size >= 2
    same_predictions(tmp_path / "runs", undisturbed, some)


def test_workers_that_do_not_see_the_folder_send_the_files_back(cluster, cells, undisturbed, tmp_path):
    from distributed import Client

    with Client(cluster.scheduler_address, set_as_default=False) as client:
        job = (cells[0], tmp_path / "elsewhere", {})
        outcome = client.submit(_train_anywhere, job, "the token of another folder").result()
    assert outcome.trained
    assert not (tmp_path / "elsewhere").exists()
    expected = {path.name: path.read_bytes() for path in run_files(undisturbed, cells[0].name)}
    assert set(outcome.files) == set(expected)
    name = prediction_file(undisturbed, cells[0].name).name
    assert outcome.files[name] == expected[name]


def test_a_scheduler_that_is_not_there_is_one_sentence(cells, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "PATIENCE", "1s")
    nowhere = Engine("dask", address="tcp://127.0.0.1:9")
    with pytest.raises(SynthgapError, match=r"scheduler at 'tcp://127\.0\.0\.1:9' cannot be reached"):
        list(fan_out(cells[:2], tmp_path, {}, nowhere))
