"""Runs side by side: in processes, on a Dask cluster, with workers that die and runs that break."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace

import pytest
import workers
from conftest import ROOT

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


@dataclasses.dataclass
class Troubled:
    """Twelve runs side by side in two processes with a GPU each; on some of them lies what `workers.py` makes of them.

    Attributes:
        results: in the order in which they came.
        logs: folder of what the runs wrote down.
    """

    runs: list
    results: list[RunResult]
    folder: Path
    logs: Path

    def result(self, place: int) -> RunResult:
        (found,) = (result for result in self.results if result.run == self.runs[place].name)
        return found


@pytest.fixture(scope="module")
def troubled(runs, tmp_path_factory):
    logs, folder = tmp_path_factory.mktemp("logs"), tmp_path_factory.mktemp("troubled")
    troubles = [
        workers.Asking(logs / "first_gpu"),
        workers.Asking(logs / "second_gpu"),
        workers.Deadly(logs / "deaths", times=2),
        workers.Deadly(logs / "hopeless", times=99),
        workers.Crowded(logs / "crowded", times=1),
        workers.Crowded(logs / "too_large", times=99),
        workers.Counting(logs / "threads"),
        workers.Broken(),
    ]
    some = [with_settings(run, trouble) for run, trouble in zip(runs, troubles, strict=False)] + runs[len(troubles) :]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(accelerations, "visible_gpus", lambda: ["3", "5"])
        patched.setattr(accelerations, "gpu_memory", lambda: 2**30)
        return Troubled(some, list(fan_out(some, folder, Workers())), folder, logs)


def test_processes_train_what_one_process_trains(runs, troubled, undisturbed):
    assert len(troubled.results) == len(runs)
    assert [troubled.result(place) for place in range(8, 12)] == [RunResult(run.name, True) for run in runs[8:]]
    same_predictions(troubled.folder, undisturbed, runs[8:])
    about = find(troubled.folder, runs[8].name).about
    assert (about["data_source"], len(about["data_fingerprint"])) == ("sms_spam.jsonl", 64)
    assert list(fan_out(runs[8:9], troubled.folder, TWO)) == [RunResult(runs[8].name, False)]


@pytest.mark.fault(
    "Training", "a worker process that dies", "its run is trained again, the others go on", costs="that training"
)
def test_a_process_that_dies_loses_its_own_run_alone_and_that_is_trained_again(runs, troubled, undisturbed):
    assert troubled.result(2) == RunResult(runs[2].name, True)
    assert (troubled.logs / "deaths").stat().st_size == 3
    same_predictions(troubled.folder, undisturbed, [*runs[:3], *runs[8:]])


@pytest.mark.fault(
    "Training",
    "a run that kills every worker",
    "it is given up after three and named; the others are finished",
    costs="three trainings",
)
def test_a_run_that_kills_every_process_is_given_up_and_the_others_are_finished(runs, troubled):
    assert troubled.result(3).error == "its process died 3 times (killed, or out of memory)"
    assert (troubled.logs / "hopeless").stat().st_size == 3
    failed = [result.run for result in troubled.results if result.error]
    assert sorted(failed) == sorted(runs[place].name for place in (3, 5, 7))


@pytest.mark.fault(
    "Training", "no memory left on a shared GPU", "the run is trained alone at the end", costs="that training"
)
def test_a_run_for_which_a_shared_gpu_was_full_is_trained_again_at_the_end(runs, troubled, undisturbed):
    assert troubled.result(4) == RunResult(runs[4].name, True)
    assert {result.run for result in troubled.results[-2:]} == {runs[4].name, runs[5].name}
    first, second = (troubled.logs / "crowded").read_text().split()
    assert first != second
    same_predictions(troubled.folder, undisturbed, runs[4:5])


def test_a_run_that_is_too_large_for_the_gpu_fails_with_its_reason(troubled):
    import torch

    assert issubclass(torch.OutOfMemoryError, RuntimeError)
    assert f"{torch.OutOfMemoryError.__name__}: " == pool.OUT_OF_GPU_MEMORY
    assert troubled.result(5).error == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert len((troubled.logs / "too_large").read_text().split()) == 2


def test_a_process_computes_with_its_share_of_the_threads(troubled):
    assert set((troubled.logs / "threads").read_text().split()) == {str(max(1, pool.cores() // 2))}


def test_each_process_sees_one_gpu(troubled):
    assert [(troubled.logs / name).read_text() for name in ("first_gpu", "second_gpu")] == ["3", "5"]


def test_the_gpus_are_those_that_this_process_may_use(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-abc")
    assert visible_gpus() == ["4", "GPU-abc"]


@pytest.mark.fault(
    "Training",
    "Ctrl-C or kill -9 while workers train",
    "the workers end, and finished runs are kept",
    costs="the trainings under way",
)
@pytest.mark.parametrize(
    "end",
    [pytest.param(signal.SIGINT, id="ctrl-c"), pytest.param(signal.SIGKILL, id="kill -9", marks=pytest.mark.slow)],
)
def test_the_processes_end_with_the_one_that_started_them_and_what_is_finished_is_kept(end, tmp_path):
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import workers; "
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}workers.side_by_side({str(tmp_path)!r}, '60')"], cwd=ROOT / "tests", stderr=-1
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("loose/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    assert len(children.stdout.split()) >= 2
    process.send_signal(end)
    _, stderr = process.communicate(timeout=20)
    assert (b"KeyboardInterrupt" in stderr) == (end == signal.SIGINT)
    deadline = time.monotonic() + 20
    while any(alive(int(pid)) for pid in children.stdout.split()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all(not alive(int(pid)) for pid in children.stdout.split())
    names = [path.name.removesuffix(".json") for path in tmp_path.glob("loose/*.json")]
    assert 1 <= len(names) < 6
    assert all(find(tmp_path, name) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0, 1])
def test_a_process_that_dies_while_it_is_idle_is_replaced(runs, tmp_path, pause):
    def train(run):
        return list(pool.run_jobs([(run, tmp_path)], submit, lambda: 1, BrokenProcessPool, pool.DIED))

    others = set(multiprocessing.active_children())
    with pool.processes(1, []) as submit:
        assert train(runs[0])[0][1].trained
        (child,) = set(multiprocessing.active_children()) - others
        child.kill()
        child.join()
        time.sleep(pause)
        assert train(runs[1])[0][1].trained
    deadline = time.monotonic() + 20
    while set(multiprocessing.active_children()) - others and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not set(multiprocessing.active_children()) - others


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


def test_a_broken_run_in_another_process_fails_with_its_reason(troubled):
    assert troubled.result(7).error == "ZeroDivisionError: this run is broken"


@pytest.mark.parametrize("number", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_broken_classifier_ends_a_run_with_status_1_and_its_reason(command, in_process, tmp_path, number):
    classifiers = "{tfidf: {kind: tfidf}, bad: {kind: finetune, encoder: no/such-encoder}}"
    sets = ("--set", f"training.classifiers={classifiers}", "--set", "tasks=[humor]", "--set", "training.curve=null")
    sets += ("--set", "training.augmentation=null", "--set", "training.decision=null", "--set", "variant=bad")
    sets += ("--set", "comparisons={paper: {corpora: [zero_shot, few_shot]}}", "--output", str(tmp_path))
    done = command("run", "smoke", "01", "02", "--workers", number, *sets)
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


def test_a_faulty_number_of_workers_is_refused_on_the_command_line_before_anything_runs(command, tmp_path):
    done = command("run", "smoke", "--workers", "two", "--output", str(tmp_path))
    assert (done.returncode, "must be a number" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_runs_share_a_gpu_as_far_as_its_memory_and_the_cores_allow(monkeypatch):
    monkeypatch.setattr(pool, "cores", lambda: 16)
    monkeypatch.setattr(pool, "free_memory", lambda: 100 * 2**30)
    known = ((11, 1, 1), (11, 3, 3), (79, 1, 5), (79, 2, 10), (140, 1, 10), (140, 8, 16), (140, 20, 20))
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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate that is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    made = [str(folder / name) for name in ("key.pem", "cert.pem")]
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    command = ["openssl", *new, "-subj", "/CN=synthgap test", "-keyout", made[0], "-out", made[1]]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not on this machine")
    return {"tls_ca_file": made[1], "tls_client_cert": made[1], "tls_client_key": made[0]}


@pytest.mark.fault(
    "Training", "a Dask cluster of one worker with one thread, behind TLS", "it trains what one process trains"
)
def test_one_worker_with_one_thread_behind_tls(certificate, runs, undisturbed, tmp_path, monkeypatch):
    from distributed import LocalCluster, Security

    node = {
        name.replace("client", kind): path for name, path in certificate.items() for kind in ("scheduler", "worker")
    }
    security = Security(**(node | certificate), require_encryption=True)
    one = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "host": "tls://127.0.0.1"}
    monkeypatch.setattr(cluster, "PATIENCE", "1s")
    with LocalCluster(**one, security=security, dashboard_address=":0") as found:
        address = found.scheduler_address
        with pytest.raises(SynthgapError, match="cannot be reached"):
            list(fan_out(runs[:1], tmp_path, Workers(address=address.replace("tls:", "tcp:"))))
        monkeypatch.undo()
        monkeypatch.setattr(cluster, "limit_threads", lambda threads: None)  # the worker is in this process
        results = results_of(runs[:4], tmp_path, Workers(address=address, tls=certificate))
    assert [result.error for result in results.values()] == [""] * 4
    same_predictions(tmp_path, undisturbed, runs[:4])


def test_tls_is_as_the_environment_says_and_whole(certificate, monkeypatch):
    for name, path in certificate.items():
        monkeypatch.setenv(pool.TLS[name], path)
    monkeypatch.setenv("SYNTHGAP_ADDRESS", "tls://x:1")
    assert Workers.from_environment() == Workers(None, "tls://x:1", certificate)
    for name, value, message in (
        ("SYNTHGAP_ADDRESS", "tcp://x:1", "--address that begins with tls://"),
        ("SYNTHGAP_ADDRESS", "", "--address that begins with tls://"),
        ("SYNTHGAP_TLS_CA", "", "TLS takes --tls-ca, --tls-cert, --tls-key"),
        ("SYNTHGAP_TLS_KEY", "/nowhere/key.pem", "'/nowhere/key.pem' is not there"),
    ):
        with monkeypatch.context() as context:
            context.setenv(name, value)
            with pytest.raises(SynthgapError, match=message):
                Workers.from_environment()


@pytest.mark.fault(
    "Training",
    "a Dask scheduler that is killed",
    "one sentence, and finished runs are kept",
    costs="the trainings under way",
)
def test_a_scheduler_that_is_killed_is_one_sentence_and_what_is_finished_is_kept(runs, tmp_path, monkeypatch):
    command = [sys.executable, "workers.py", "serve_cluster"]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True, cwd=ROOT / "tests")
    monkeypatch.setattr(cluster, "PATIENCE", "4s")
    address = process.stdout.readline().strip()
    slow = [*runs[:2], *(with_settings(run, workers.Slow(60)) for run in runs[2:4])]
    results = fan_out(slow, tmp_path, Workers(address=address))
    finished = [next(results).run, next(results).run]
    process.kill()
    process.wait()
    with pytest.raises(SynthgapError, match=f"scheduler at '{address}' was lost .*what is finished is kept"):
        next(results)
    assert all(find(tmp_path, name) for name in finished)


HERE = {"python": "3.12.1.final.0", "distributed": "2026.1", "numpy": "2.4", "synthgap": "0.2.0", "torch": "2.13"}
BARE = {"python": "3.12.1.final.0", "distributed": "2026.1", "numpy": "2.4"}


@pytest.mark.parametrize(
    ("nodes", "differing"),
    [
        ({"the scheduler": HERE, "tcp://a": HERE}, []),
        ({"the scheduler": BARE, "tcp://a": HERE}, []),
        (
            {"the scheduler": HERE, "tcp://a": BARE},
            ["synthgap None on tcp://a, 0.2.0 here", "torch None on tcp://a, 2.13 here"],
        ),
        ({"the scheduler": HERE, "tcp://a": HERE | {"torch": "2.12"}}, ["torch 2.12 on tcp://a, 2.13 here"]),
        ({"the scheduler": HERE | {"distributed": "2025"}}, ["distributed 2025 on the scheduler, 2026.1 here"]),
    ],
)
def test_other_versions_of_a_cluster_are_named(nodes, differing):
    assert [how for _, how in cluster.version_differences(HERE, nodes)] == differing


@pytest.mark.fault("Training", "a cluster with other versions of packages", "they are named before work begins")
def test_a_cluster_with_other_code_is_refused_before_work_begins(dask, runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "version_differences", lambda *_: [("torch", "torch 2.12 on x, 2.13 here")])
    assert results_of(runs[:1], tmp_path, dask)[runs[0].name].trained
    assert "the Dask cluster has other versions: torch 2.12 on x, 2.13 here\n" in capsys.readouterr().out
    monkeypatch.setattr(cluster, "version_differences", lambda *_: [("synthgap", "synthgap 0.1 on x, 0.2 here")])
    with pytest.raises(SynthgapError, match=r"has other versions: synthgap 0\.1 on x, 0\.2 here; install the same"):
        list(fan_out(runs[1:2], tmp_path, dask))
    assert find(tmp_path, runs[1].name) is None
