"""Programs that tests run in processes of their own, to be killed or to race each other."""

from __future__ import annotations

import dataclasses
import gzip
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

# keys of the profile smoke: its main comparison, and nothing of 09 and 10
MAIN_ALONE = {"comparisons": {"paper": {"corpora": ["zero_shot", "few_shot"]}}, "training.decision": None}


def forked(work: Callable[..., None], *given: object) -> BaseProcess:
    """A process that has imported all that this one has, and does some work."""
    process = multiprocessing.get_context("fork").Process(target=work, args=given)
    process.start()
    return process


def grid(folder: Path) -> None:
    """Train a grid of 27 runs into `folder`."""
    from synthgap.training.grid import run_grid

    run_grid(small_grid(), folder)


def grid_and_pack(folder: Path) -> None:
    """Train the grid of 27 runs, and pack it."""
    from synthgap.training.store import pack

    grid(folder)
    pack(folder)


def lines_in(folder: Path) -> str:
    """What the packed runs of a folder say of themselves, as text."""
    from synthgap.training.store import LINES

    return gzip.decompress((folder / LINES).read_bytes()).decode()


def write_lines_in(folder: Path, text: str) -> None:
    from synthgap.training.store import LINES

    (folder / LINES).write_bytes(gzip.compress(text.encode()))


def small_grid():
    """27 planned runs: three tasks, three corpora, three seeds."""
    from synthgap.tasks import load_profile
    from synthgap.training.runs import plan_grid

    classifiers = {"training.seeds": [0, 1, 2], "training.classifiers": {"c": {"kind": "tfidf"}}}
    profile = load_profile("smoke", classifiers | MAIN_ALONE | {"tasks": ["sms_spam", "tweet_irony", "humor"]})
    return plan_grid(profile, made_texts(profile))


def made_texts(profile):
    """The texts of a profile's tasks; those of its corpora are real ones under other ids, a part for each."""
    from synthgap.data.real import load_real
    from synthgap.tasks import load_task
    from synthgap.training.runs import TaskTexts

    texts = {}
    for name in profile.tasks:
        data = load_real(load_task(name), profile)
        train = data.split("train")
        names = [corpus for corpus in profile.corpora if profile.tasks_of_corpus(corpus)]
        corpora = {
            corpus: train[number :: len(names)].assign(id=lambda rows, name=corpus: rows["id"] + "-" + name)
            for number, corpus in enumerate(names)
        }
        shown = {label: data.pool_ids(label)[:6] for label in data.task.labels}
        texts[name] = TaskTexts(data, corpora, None, {"few_shot": shown})
    return texts


class Settings:
    """What a run writes down of settings; of the ones below, nothing."""

    def model_dump(self, **_) -> dict:
        return {}


@dataclasses.dataclass
class Deadly(Settings):
    """Settings under which training kills its own process, so many times; then they are those of tf-idf."""

    log: Path
    times: int

    @property
    def inverse_regularisation(self) -> float:
        with self.log.open("a") as handle:
            handle.write("x")
        if self.log.stat().st_size <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return 10.0


class OutOfMemoryError(RuntimeError):
    """Stands for torch's of this name, which would have to be loaded."""


@dataclasses.dataclass
class Crowded(Settings):
    """Settings under which training finds the GPU full, so many times; each try writes down its process."""

    log: Path
    times: int

    @property
    def inverse_regularisation(self) -> float:
        with self.log.open("a") as handle:
            handle.write(f"{os.getpid()}\n")
        if len(self.log.read_text().split()) <= self.times:
            raise OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB.")
        return 10.0


@dataclasses.dataclass
class Asking(Settings):
    """Settings under which training writes down the GPU that its process sees."""

    log: Path

    @property
    def inverse_regularisation(self) -> float:
        self.log.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
        return 10.0


@dataclasses.dataclass
class Counting(Settings):
    """Settings under which training writes down how many threads each library computes with."""

    log: Path

    @property
    def inverse_regularisation(self) -> float:
        import torch
        from threadpoolctl import threadpool_info

        threads = [torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]
        self.log.write_text(" ".join(map(str, threads)))
        return 10.0


class Broken(Settings):
    """Settings under which training raises."""

    @property
    def inverse_regularisation(self) -> float:
        raise ZeroDivisionError("this run is\nbroken")


def side_by_side(folder: str, seconds: str) -> None:
    """Train runs in two processes; every one of them but the first waits so long."""
    from synthgap.training.grid import fan_out
    from synthgap.training.workers import Workers

    first, *others = small_grid()[:6]
    runs = [first, *(dataclasses.replace(run, settings=Slow(float(seconds))) for run in others)]
    for _ in fan_out(runs, Path(folder), Workers(2)):
        pass


@dataclasses.dataclass
class Slow(Settings):
    seconds: float

    @property
    def inverse_regularisation(self) -> float:
        time.sleep(self.seconds)
        return 10.0


def serve_cluster() -> None:
    """Be a Dask cluster of one worker with one thread, in this process; its address is printed."""
    from distributed import LocalCluster

    one = {"n_workers": 1, "threads_per_worker": 1, "processes": False}
    with LocalCluster(**one, host="tcp://127.0.0.1", dashboard_address=":0") as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()


def embed(start: int | str, stop: int | str) -> None:
    """Embed texts number `start` to `stop` through the cache, few at a time."""
    from synthgap.training import embeddings

    embeddings.CHUNK = 16
    embeddings.embed([f"text number {n} " + "word " * (n % 7) for n in range(int(start), int(stop))])


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
