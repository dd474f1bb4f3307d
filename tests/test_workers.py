"""Runs side by side: in processes, on a Dask cluster, with workers that die and runs that break."""

import dataclasses
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

from synthgap.core.errors import SynthgapError
from synthgap.training import accelerations, cluster
from synthgap.training import workers as pool
from synthgap.training.accelerations import gpu_memory, visible_gpus
from synthgap.training.cluster import train_anywhere
from synthgap.training.grid import GridFailed, fan_out, run_grid
from synthgap.training.store import find, loose_files
from synthgap.training.workers import RunResult, Workers, processes_here

TWO = Workers(2)


@pytest.fixture(scope="module")
def runs():
    return workers.small_grid()[:12]


@pytest.fixture(scope="module")
def undisturbed(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run_grid(runs, folder, workers=Workers(1))
    return folder


def same_predictions(one: Path, other: Path, runs) -> None:
    for run in runs:
        assert find(one, run.name)
        assert loose_files(one, run.name)[0].read_bytes() == loose_files(other, run.name)[0].read_bytes()


def with_settings(run, settings):
    return dataclasses.replace(run, settings=settings)


def results_of(*given) -> dict[str, RunResult]:
    return {result.run: result for result in fan_out(*given)}


# -------------------------------------------------------------------------------------------------------- processes


def test_processes_train_what_one_process_trains(runs, undisturbed, tmp_path):
    found = results_of(runs, tmp_path, TWO)
    assert found == {run.name: RunResult(run.name, True) for run in runs}
    same_predictions(tmp_path, undisturbed, runs)
    about = find(tmp_path, runs[0].name).about
    assert (about["data_source"], len(about["data_fingerprint"])) == ("sms_spam.jsonl", 64)
    assert not any(result.trained for result in fan_out(runs, tmp_path, TWO))


def test_a_process_that_dies_loses_its_own_run_alone_and_that_is_trained_again(runs, undisturbed, tmp_path):
    deadly = with_settings(runs[3], workers.Deadly(tmp_path / "deaths", times=2))
    some = [*runs[:3], deadly, *runs[4:8]]
    found = results_of(some, tmp_path / "runs", TWO)
    assert len(found) == len(some)
    assert all(result.trained and not result.error for result in found.values())
    assert (tmp_path / "deaths").stat().st_size == 3
    same_predictions(tmp_path / "runs", undisturbed, some)


def test_a_run_that_kills_every_process_is_given_up_and_the_others_are_finished(runs, undisturbed, tmp_path):
    deadly = with_settings(runs[0], workers.Deadly(tmp_path / "deaths", times=99))
    found = results_of([deadly, *runs[1:5]], tmp_path / "runs", TWO)
    assert found[deadly.name].error == "its process died 3 times (killed, or out of memory)"
    assert (tmp_path / "deaths").stat().st_size == 3
    same_predictions(tmp_path / "runs", undisturbed, runs[1:5])


def test_a_run_for_which_a_shared_gpu_was_full_is_trained_again_at_the_end(runs, undisturbed, tmp_path):
    crowded = with_settings(runs[0], workers.Crowded(tmp_path / "tries", times=1))
    some = [crowded, *runs[1:6]]
    found = list(fan_out(some, tmp_path / "runs", TWO))
    assert found[-1] == RunResult(crowded.name, True)
    assert len(found) == len(some)
    first, second = (tmp_path / "tries").read_text().split()
    assert first != second
    same_predictions(tmp_path / "runs", undisturbed, some)


def test_a_run_that_is_too_large_for_the_gpu_fails_with_its_reason(runs, tmp_path):
    crowded = with_settings(runs[0], workers.Crowded(tmp_path / "tries", times=99))
    found = results_of([crowded, runs[1]], tmp_path / "runs", TWO)
    assert found[crowded.name].error == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert len((tmp_path / "tries").read_text().split()) == 2
    assert found[runs[1].name].trained


def test_a_process_computes_with_its_share_of_the_threads(runs, tmp_path):
    counting = [with_settings(run, workers.Counting(tmp_path / run.name)) for run in runs[:2]]
    results_of(counting, tmp_path / "runs", TWO)
    share = str(max(1, pool.cores() // 2))
    for run in counting:
        assert set((tmp_path / run.name).read_text().split()) == {share}


def test_ctrl_c_ends_the_processes_and_keeps_what_is_finished(tmp_path):
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import workers; "
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}workers.side_by_side({str(tmp_path)!r}, '4')"], cwd=ROOT / "tests", stderr=-1
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("loose/*.json")) and time.monotonic() < deadline:
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
    names = [path.name.removesuffix(".json") for path in tmp_path.glob("loose/*.json")]
    assert 1 <= len(names) < 6
    assert all(find(tmp_path, name) for name in names)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().split(")")[1].split()[0] != "Z"


# ------------------------------------------------------------------------------------------------------- broken runs


def test_a_grid_with_a_broken_run_finishes_the_others_and_names_it(runs, undisturbed, tmp_path):
    broken = with_settings(runs[1], workers.Broken())
    with pytest.raises(GridFailed) as error:
        run_grid([runs[0], broken, *runs[2:5]], tmp_path)
    text = str(error.value)
    assert "1 of 5 runs failed" in text
    assert f"{broken.title}: ZeroDivisionError: this run is broken" in text
    same_predictions(tmp_path, undisturbed, [runs[0], *runs[2:5]])
    assert find(tmp_path, broken.name) is None
    assert not (tmp_path / "grid.csv").exists()
    index = run_grid(runs[:5], tmp_path)
    assert index["trained_now"].tolist() == [False, True, False, False, False]
    assert next(fan_out([broken], tmp_path / "away", TWO)).error.startswith("ZeroDivisionError")


def test_a_broken_classifier_ends_a_run_with_status_1_and_its_reason(tmp_path):
    classifiers = "{tfidf: {kind: tfidf}, bad: {kind: finetune, encoder: no/such-encoder}}"
    sets = ("--set", f"training.classifiers={classifiers}", "--set", "tasks=[humor]", "--set", "training.curve=null")
    sets += ("--set", "training.augmentation=null", "--set", "variant=bad", "--output", str(tmp_path))
    done = synthgap("run", "smoke", "01", "02", *sets)
    assert done.returncode == 1
    assert "6 of 12 runs failed" in done.stderr
    assert "humor / few_shot / bad / seed 0: encoder 'no/such-encoder' cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(list((tmp_path / "smoke-bad" / "runs" / "loose").glob("*.parquet"))) == 6


# ------------------------------------------------------------------------------------------------------------ choices


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SYNTHGAP_WORKERS": "many"}, "must be a number, not 'many'"),
        ({"SYNTHGAP_WORKERS": "0"}, "must be 1 or more"),
    ],
)
def test_a_faulty_number_of_workers_is_refused(environment, message, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SynthgapError, match=message):
        Workers.from_environment()


def test_workers_are_as_the_environment_says(monkeypatch):
    assert Workers.from_environment() == Workers(None, None)
    monkeypatch.setenv("SYNTHGAP_WORKERS", "3")
    monkeypatch.setenv("SYNTHGAP_ADDRESS", "tcp://x:1")
    assert Workers.from_environment() == Workers(3, "tcp://x:1")


def test_a_faulty_number_of_workers_is_refused_on_the_command_line_before_anything_runs(tmp_path):
    done = synthgap("run", "smoke", "--workers", "two", "--output", str(tmp_path))
    assert (done.returncode, "must be a number" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_runs_share_a_gpu_as_far_as_its_memory_and_the_cores_allow(monkeypatch):
    monkeypatch.setattr(pool, "cores", lambda: 16)
    monkeypatch.setattr(pool, "free_memory", lambda: 100 * 2**30)
    known = ((11, 1, 1), (11, 3, 3), (79, 1, 6), (79, 2, 12), (140, 1, 11), (140, 8, 16), (140, 20, 20))
    for gib, gpus, expected in known:
        assert processes_here(Workers(), gpus, gib * 2**30) == expected
    assert processes_here(Workers(7), 1, 140 * 2**30) == 7
    monkeypatch.setattr(pool, "free_memory", lambda: 9 * 2**30)
    assert processes_here(Workers(), 1, 140 * 2**30) == 4


def test_the_smallest_gpu_counts(monkeypatch):
    import torch

    memory = [40, 24]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(total_memory=memory[number])
    )
    assert gpu_memory() == 24


def test_without_a_gpu_no_more_processes_than_the_memory_allows(monkeypatch):
    monkeypatch.setattr(pool, "cores", lambda: 64)
    monkeypatch.setattr(pool, "free_memory", lambda: 9 * 2**30)
    assert processes_here(Workers(), 0, 0) == 4
    monkeypatch.setattr(pool, "free_memory", lambda: 2**20)
    assert processes_here(Workers(), 0, 0) == 1


def test_each_process_sees_one_gpu(runs, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(accelerations, "visible_gpus", lambda: ["3", "5"])
    monkeypatch.setattr(accelerations, "gpu_memory", lambda: 2**30)
    original = pool.Worker.__init__

    def remember(self, threads, gpu):
        seen.append(gpu)
        original(self, threads, gpu)

    monkeypatch.setattr(pool.Worker, "__init__", remember)
    asking = [with_settings(run, workers.Asking(tmp_path / run.name)) for run in runs[:3]]
    assert all(result.trained for result in fan_out(asking, tmp_path, Workers()))
    assert seen == ["3", "5"]
    assert {(tmp_path / run.name).read_text() for run in asking} <= {"3", "5"}
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
def dask():
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as found:
        yield Workers(address=found.scheduler_address)


def test_a_cluster_trains_what_one_process_trains(dask, runs, undisturbed, tmp_path):
    index = run_grid(runs, tmp_path, workers=dask)
    assert index["trained_now"].all()
    same_predictions(tmp_path, undisturbed, runs)
    assert not run_grid(runs, tmp_path, workers=dask)["trained_now"].any()


def test_a_worker_of_the_cluster_that_dies_loses_its_own_run_alone(dask, runs, undisturbed, tmp_path):
    deadly = with_settings(runs[2], workers.Deadly(tmp_path / "deaths", times=1))
    some = [*runs[:2], deadly, *runs[3:8]]
    found = results_of(some, tmp_path / "runs", dask)
    assert [result.error for result in found.values()] == [""] * 8
    assert (tmp_path / "deaths").stat().st_size >= 2
    same_predictions(tmp_path / "runs", undisturbed, some)


@pytest.mark.slow
def test_a_run_that_kills_every_worker_of_the_cluster_is_given_up_alone(runs, undisturbed, tmp_path):
    import dask.config
    from distributed import LocalCluster

    deadly = with_settings(runs[0], workers.Deadly(tmp_path / "deaths", times=99))
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as found,
    ):
        results = results_of([deadly, *runs[1:4]], tmp_path / "runs", Workers(address=found.scheduler_address))
    assert results[deadly.name].error.startswith("the cluster's workers died over it")
    assert (tmp_path / "deaths").stat().st_size == 3
    same_predictions(tmp_path / "runs", undisturbed, runs[1:4])


def test_workers_that_do_not_see_the_folder_send_the_files_back(dask, runs, undisturbed, tmp_path, monkeypatch):
    from distributed import Client

    with Client(dask.address, set_as_default=False) as client:
        job = (runs[0], tmp_path / "elsewhere")
        result = client.submit(train_anywhere, job, "the token of another folder").result()
    assert result.trained
    assert not (tmp_path / "elsewhere").exists()
    predictions, about = loose_files(undisturbed, runs[0].name)
    assert list(result.files) == [predictions.name, about.name], "in the order in which they are written"
    assert result.files[predictions.name] == predictions.read_bytes()
    monkeypatch.setattr(cluster, "train_on_cluster", lambda jobs, workers: iter([result]))
    list(fan_out(runs[:1], tmp_path / "here", dask))
    assert find(tmp_path / "here", runs[0].name)


def test_a_scheduler_that_is_not_there_is_one_sentence(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", "1s")
    nowhere = Workers(address="tcp://127.0.0.1:9")
    with pytest.raises(SynthgapError, match=r"scheduler at 'tcp://127\.0\.0\.1:9' cannot be reached"):
        list(fan_out(runs[:2], tmp_path, nowhere))
