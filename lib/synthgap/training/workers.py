"""Where runs are trained: in this process, or in processes of this machine, which share its GPUs if it has some.

A worker that dies loses its own run alone, which another trains; a run that fails leaves the others alone, and one for
which a shared GPU had no memory left is trained again at the end, by itself. `cluster` does the same with Dask.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from synthgap.core.config import FinetuneSettings, ProbeSettings
from synthgap.core.errors import SynthgapError
from synthgap.training.runs import PlannedRun, train_once

LIVES = 3  # workers that may die over one run before it counts as failed
MEMORY = 2**31  # bytes that one process needs, so that a machine with many cores is not filled up
GPU_MEMORY = 12 * 2**30  # of a GPU: BERT in batches of 64 took 7.6 GiB, and fourteen of them ran on one of 139 GiB
OUT_OF_GPU_MEMORY = "OutOfMemoryError: "  # how the error of such a run begins
Job = tuple[PlannedRun, Path]  # a run, and the folder for it


@dataclass(frozen=True)
class Workers:
    """How runs are trained; set by `synthgap run --workers --address`, or by SYNTHGAP_WORKERS and SYNTHGAP_ADDRESS.

    Attributes:
        number: processes at a time; None: one for each GPU, or more where several fit into its memory, as one alone
            keeps few of them busy (benchmarks/gpu_sharing.py); without a GPU one for each core as far as memory allows.
        address: of a Dask scheduler, such as tcp://10.0.0.1:8786; None: on this machine.
    """

    number: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if self.number is not None and self.number < 1:
            raise SynthgapError(f"--workers must be 1 or more, not {self.number}")

    @classmethod
    def from_environment(cls) -> Workers:
        number, address = os.environ.get("SYNTHGAP_WORKERS"), os.environ.get("SYNTHGAP_ADDRESS")
        if number and not number.isdigit():
            raise SynthgapError(f"SYNTHGAP_WORKERS must be a number, not '{number}'")
        return cls(int(number) if number else None, address or None)

    def runs_remotely(self, run: PlannedRun) -> bool:
        """Whether a run goes to a worker: probes stay where the embeddings are, tf-idf is not worth a process."""
        if self.address:
            return not isinstance(run.settings, ProbeSettings)
        return isinstance(run.settings, FinetuneSettings)


@dataclass(frozen=True)
class RunResult:
    """What became of one run.

    Attributes:
        trained: False where somebody else had trained it.
        error: why it failed; "" where it did not.
        files: {file name: content}, where the worker does not see the output folder.
    """

    run: str
    trained: bool
    error: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def train_job(job: Job) -> RunResult:
    """Train one run on a worker; an error is a result, so that the other runs go on."""
    planned, folder = job
    try:
        return RunResult(planned.name, train_once(planned, folder))
    except Exception as error:
        return RunResult(planned.name, False, one_line(error))


def one_line(error: BaseException) -> str:
    """An error on one line."""
    words = " ".join(str(error).split())[:300]
    return words if isinstance(error, SynthgapError) else f"{type(error).__name__}: {words}"


def train_in_processes(jobs: Sequence[Job], workers: Workers) -> Iterator[RunResult]:
    """Train runs side by side on this machine, and give each one's result when it is there."""
    from synthgap.training.accelerations import gpu_memory, visible_gpus  # which load torch

    gpus = visible_gpus()
    size = min(processes_here(workers, len(gpus), gpu_memory()), len(jobs))
    pool = [Worker(max(1, cores() // size), gpus[number % len(gpus)] if gpus else None) for number in range(size)]
    out_of_memory = []
    try:
        for job, result in _run_jobs(pool, jobs):
            if size > 1 and result.error.startswith(OUT_OF_GPU_MEMORY):
                out_of_memory.append(job)
            else:
                yield result
        for worker in pool[1:]:
            worker.end()
        yield from (result for _, result in _run_jobs(pool[:1], out_of_memory))
    finally:
        for worker in pool:
            worker.end()


def _run_jobs(pool: Sequence[Worker], jobs: Iterable[Job]) -> Iterator[tuple[Job, RunResult]]:
    """Give each worker a job, and another one whenever it is done."""
    waiting = deque(jobs)
    for worker in pool[: len(waiting)]:
        worker.give(waiting.popleft())
    while busy := {worker.pipe: worker for worker in pool if worker.job}:
        for pipe in wait(list(busy)):
            worker = busy[pipe]
            job, result = worker.job, worker.listen()
            if result:
                if waiting:
                    worker.give(waiting.popleft())
                yield job, result


class Worker:
    """One process that trains run after run; when it dies, a new one takes the run over.

    Args:
        threads: that the process computes with, so that all processes together use each core once.
        gpu: the only one that it sees, or None.

    Attributes:
        job: what it is at; None: nothing.
        pipe: where it says that it is ready (None), or a run's result.
    """

    def __init__(self, threads: int, gpu: str | None) -> None:
        self.threads, self.gpu = threads, gpu
        self.job: Any = None
        self.pipe: Any = None
        self._process: Any = None
        self._deaths = 0

    def give(self, job: Job) -> None:
        self.job, self._deaths = job, 0
        if self.pipe is None:
            self._start()  # it gets the job as soon as it says that it is ready
        else:
            self._send()

    def listen(self) -> RunResult | None:
        """What became of the job; None where the process has only just started, or a new one had to be."""
        try:
            result: RunResult | None = self.pipe.recv()
        except (EOFError, OSError):
            return self._after_a_death()
        if result is None:
            self._send()
            return None
        self.job = None
        if result.error.startswith(OUT_OF_GPU_MEMORY):
            self.end()  # it would keep what it took
        return result

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self.pipe.close()
        self._process = self.pipe = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, self.threads, self.gpu)
        self._process = context.Process(target=_serve, args=arguments, daemon=True, name="synthgap worker")
        self._process.start()
        theirs.close()

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # a process that has died is noticed by its pipe
            self.pipe.send(self.job)

    def _after_a_death(self) -> RunResult | None:
        self.end()
        self._deaths += 1
        if self._deaths < LIVES:
            self._start()
            return None
        run, self.job = self.job[0].name, None
        return RunResult(run, False, f"its process died {LIVES} times (killed, or out of memory)")


def _serve(pipe: Connection, threads: int, gpu: str | None) -> None:
    """A worker process: train each job that arrives through the pipe, until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that sent the work ends this one
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    limit_threads(threads)
    with contextlib.suppress(EOFError, OSError):
        pipe.send(None)
        while True:
            pipe.send(train_job(pipe.recv()))


def limit_threads(threads: int) -> None:
    """Let this process compute with so many threads."""
    import torch  # which takes seconds to load

    torch.set_num_threads(threads)
    threadpool_limits(threads)


def processes_here(workers: Workers, gpus: int, gpu_memory: int) -> int:
    """Processes at a time on this machine.

    Args:
        gpu_memory: bytes of the smallest GPU.
    """
    if workers.number:
        return workers.number
    here = min(cores(), free_memory() // MEMORY)
    return max(1, gpus, min(here, gpu_memory // GPU_MEMORY * gpus) if gpus else here)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Bytes that are free now; a great many where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**62
