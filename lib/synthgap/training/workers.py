"""Where runs are trained: in this process, or in processes of this machine, which share its GPUs if it has some.

A worker that dies loses its own run alone, which another trains; a run that fails leaves the others alone, and one for
which a shared GPU had no memory left is trained again at the end, by itself. `cluster` does the same with Dask.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from threadpoolctl import threadpool_limits

from synthgap.core.config import FinetuneSettings, ProbeSettings
from synthgap.core.errors import SynthgapError
from synthgap.training.runs import PlannedRun, train_once

LIVES = 3  # workers that may die over one run before it counts as failed
MEMORY = 2**31  # bytes that one process needs, so that a machine with many cores is not filled up
GPU_MEMORY = 14 * 2**30  # of a GPU: BERT in batches of 64 took 12.3 GiB, with its recorded steps
OUT_OF_GPU_MEMORY = "OutOfMemoryError: "  # how the error of such a run begins
TLS = {  # {name in distributed.Security: variable with the file}
    "tls_ca_file": "SYNTHGAP_TLS_CA",
    "tls_client_cert": "SYNTHGAP_TLS_CERT",
    "tls_client_key": "SYNTHGAP_TLS_KEY",
}
DIED = f"its process died {LIVES} times (killed, or out of memory)"
Job = tuple[PlannedRun, Path]  # a run, and the folder for it


@dataclass(frozen=True)
class Workers:
    """How runs are trained; set by `synthgap run --workers --address`, or by SYNTHGAP_WORKERS and SYNTHGAP_ADDRESS.

    Attributes:
        number: processes at a time; None: one for each GPU, or more where several fit into its memory, as one alone
            keeps few of them busy (benchmarks/gpu_sharing.py); without a GPU one for each core as far as memory allows.
        address: of a Dask scheduler, such as tcp://10.0.0.1:8786; None: on this machine.
        tls: files for `distributed.Security`; empty: without TLS.
    """

    number: int | None = None
    address: str | None = None
    tls: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.number is not None and self.number < 1:
            raise SynthgapError(f"--workers must be 1 or more, not {self.number}")
        if len(self.tls) != (len(TLS) if str(self.address).startswith("tls://") else 0):
            raise SynthgapError("TLS takes --tls-ca, --tls-cert, --tls-key and an --address that begins with tls://")
        for path in self.tls.values():
            if not Path(path).is_file():
                raise SynthgapError(f"the certificate or key '{path}' is not there; name another file in --tls-...")

    @classmethod
    def from_environment(cls) -> "Workers":
        number, address = os.environ.get("SYNTHGAP_WORKERS"), os.environ.get("SYNTHGAP_ADDRESS")
        if number and not number.isdigit():
            raise SynthgapError(f"SYNTHGAP_WORKERS must be a number, not '{number}'")
        tls = {name: path for name, variable in TLS.items() if (path := os.environ.get(variable))}
        return cls(int(number) if number else None, address or None, tls)

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
        return RunResult(planned.name, bool(train_once(planned, folder, wait=True)))
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
    out_of_memory = []
    with processes(size, gpus) as submit:
        for job, result in run_jobs(jobs, submit, lambda: size, BrokenProcessPool, DIED):
            if size > 1 and result.error.startswith(OUT_OF_GPU_MEMORY):
                out_of_memory.append(job)
            else:
                yield result
    with processes(1, gpus) as submit:
        for _, result in run_jobs(out_of_memory, submit, lambda: 1, BrokenProcessPool, DIED):
            yield result


def run_jobs(
    jobs: Iterable[Job],
    submit: Callable[[Job], Future[RunResult]],
    most: Callable[[], int],
    lost: type[Exception],
    reason: str,
) -> Iterator[tuple[Job, RunResult]]:
    """Give jobs to workers and each one's result when it is there; what a worker died over is tried `LIVES` times.

    Args:
        submit: has a worker do a job.
        most: how many jobs may be under way now, as each holds the texts of its run.
        lost: what a job raises when its worker dies.
        reason: why a run failed over which `LIVES` workers died; `{}` stands for the last one's error.
    """
    waiting, running = deque(jobs), dict[Future[RunResult], Job]()
    deaths: Counter[str] = Counter()
    while waiting or running:
        while waiting and len(running) < most():
            job = waiting.popleft()
            running[submit(job)] = job
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job = running.pop(future)
            name = job[0].name
            try:
                result = future.result()
            except lost as error:
                deaths[name] += 1
                if deaths[name] < LIVES:
                    waiting.appendleft(job)
                    continue
                result = RunResult(name, False, reason.format(one_line(error)))
            yield job, result


@contextlib.contextmanager
def processes(number: int, gpus: Sequence[str]) -> Iterator[Callable[[Job], Future[RunResult]]]:
    """Processes that share the cores, each with one of the GPUs if there are some; at the end they are killed.

    Gives the function that has one that is idle train a run. Each is a pool of its own, as a process that dies breaks
    its pool; it is replaced then, and also when its GPU was full, as it would keep what it took.
    """
    context = multiprocessing.get_context("spawn")
    threads, others = max(1, cores() // number), set(multiprocessing.active_children())
    idle: SimpleQueue[tuple[ProcessPoolExecutor, str | None]] = SimpleQueue()

    def new_process(gpu: str | None) -> None:
        idle.put((ProcessPoolExecutor(1, context, prepare, (threads, gpu)), gpu))

    def submit(job: Job) -> Future[RunResult]:
        process, gpu = idle.get()

        def when_done(future: Future[RunResult]) -> None:
            if future.exception() or future.result().error.startswith(OUT_OF_GPU_MEMORY):
                process.shutdown(wait=False)
                new_process(gpu)
            else:
                idle.put((process, gpu))

        try:
            future = process.submit(train_job, job)
        except BrokenProcessPool:  # it died while it was idle
            new_process(gpu)
            return submit(job)
        future.add_done_callback(when_done)
        return future

    for place in range(number):
        new_process(gpus[place % len(gpus)] if gpus else None)
    try:
        yield submit
    finally:
        for child in set(multiprocessing.active_children()) - others:
            child.kill()


def prepare(threads: int, gpu: str | None) -> None:
    """Make this process a worker, which ends with the process that started it.

    Args:
        threads: that it computes with, so that all workers together use each core once.
        gpu: the only one that it sees, or None.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that sent the work ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ["OMP_NUM_THREADS"] = str(threads)  # for torch, which is not loaded yet
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threadpool_limits(threads)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def limit_threads(threads: int) -> None:
    """Let this process compute with so many threads."""
    import torch  # which takes seconds to load

    torch.set_num_threads(threads)
    threadpool_limits(threads)


def processes_here(workers: Workers, gpus: int, gpu_memory: int) -> int:
    """Processes at a time on this machine, whose smallest GPU has so many bytes."""
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
