"""Where runs are trained: here, in processes of this machine (which share its GPUs, if it has some), or on Dask.

Workers write a finished run into the output folder, or send its files back where they do not see that folder. A worker
that dies loses its own run alone, which is trained elsewhere; a run that fails leaves the others alone, and one for
which a shared GPU had no memory left is trained again at the end, by itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.config import FinetuneSettings, ProbeSettings
from synthgap.errors import SynthgapError, unknown
from synthgap.files import atomic, write_text

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from synthgap.runs import Cell

ENGINES = ("local", "dask")
PATIENCE = "20s"  # until a Dask scheduler that does not answer is given up
LIVES = 3  # workers that may die over one run before it counts as failed
MEMORY = 2**31  # bytes that one process needs, so that a machine with many cores is not filled up
GPU_MEMORY = 12 * 2**30  # of a GPU: BERT in batches of 64 took 7.6 GiB, and fourteen of them ran on one of 139 GiB
OUT_OF_GPU_MEMORY = "OutOfMemoryError: "  # how the error of such a run begins
Job = tuple["Cell", Path, Mapping[str, Any]]


@dataclass(frozen=True)
class Engine:
    """How runs are trained; set by `synthgap run --engine --workers --address`, or by SYNTHGAP_ENGINE and so on.

    Attributes:
        workers: processes at a time; None: one for each GPU, or more where several fit into its memory, as one alone
            keeps few of them busy (benchmarks/gpu_sharing.py); without a GPU one for each core as far as memory allows.
        address: of the Dask scheduler, such as tcp://10.0.0.1:8786.
    """

    kind: str = "local"
    workers: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in ENGINES:
            raise unknown("engine", self.kind, ENGINES)
        if (self.kind == "dask") != (self.address is not None):
            raise SynthgapError("--engine dask and --address (tcp://HOST:PORT of its scheduler) go together")
        if self.workers is not None and self.workers < 1:
            raise SynthgapError(f"--workers must be 1 or more, not {self.workers}")

    @classmethod
    def from_environment(cls) -> Engine:
        kind, workers, address = (os.environ.get(f"SYNTHGAP_{name}") for name in ("ENGINE", "WORKERS", "ADDRESS"))
        if workers and not workers.isdigit():
            raise SynthgapError(f"SYNTHGAP_WORKERS must be a number, not '{workers}'")
        return cls(kind or "local", int(workers) if workers else None, address or None)

    def sends(self, cell: Cell) -> bool:
        """Whether a run goes to a worker: probes stay where the embeddings are, tf-idf is not worth a process."""
        if self.kind == "dask":
            return not isinstance(cell.settings, ProbeSettings)
        return isinstance(cell.settings, FinetuneSettings)


@dataclass(frozen=True)
class Outcome:
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


def fan_out(
    cells: Sequence[Cell], folder: Path, about: Mapping[str, Any], engine: Engine
) -> Iterator[tuple[Cell, Outcome]]:
    """Train cells on the engine's workers, and give each with its outcome when it is done.

    Args:
        about: further facts for the run's JSON by task.

    Raises:
        SynthgapError: the Dask scheduler is out of reach.
    """
    by_name = {cell.name: cell for cell in cells}
    train = _on_dask if engine.kind == "dask" else _on_this_machine
    for outcome in train([(cell, folder, about.get(cell.task, {})) for cell in cells], engine):
        for name, content in outcome.files.items():
            with atomic(folder / name) as temporary:
                temporary.write_bytes(content)
        yield by_name[outcome.run], outcome


def train_away(job: Job) -> Outcome:
    """Train one run on a worker; an error is an outcome, so that the other runs go on."""
    from synthgap.runs import train_or_wait

    cell, folder, about = job
    try:
        return Outcome(cell.name, train_or_wait(cell, folder, about))
    except Exception as error:
        return Outcome(cell.name, False, said(error))


def said(error: BaseException) -> str:
    """An error on one line."""
    words = " ".join(str(error).split())[:300]
    return words if isinstance(error, SynthgapError) else f"{type(error).__name__}: {words}"


# ------------------------------------------------------------------------------------------------------ this machine


def _on_this_machine(jobs: Sequence[Job], engine: Engine) -> Iterator[Outcome]:
    from joblib import Parallel, delayed

    devices = visible_gpus()
    size = min(workers_here(engine, devices), len(jobs))
    by_name = {job[0].name: job for job in jobs}
    threads = max(1, cores() // size)
    slots = [_Slot(threads, devices[number % len(devices)] if devices else None) for number in range(size)]
    free: queue.Queue[_Slot] = queue.Queue()
    for slot in slots:
        free.put(slot)

    def train(job: Job) -> Outcome:
        slot = free.get()
        try:
            return slot.train(job)
        finally:
            free.put(slot)

    try:
        side_by_side = Parallel(n_jobs=size, backend="threading", return_as="generator_unordered", pre_dispatch=size)
        crowded = []
        for outcome in side_by_side(delayed(train)(job) for job in jobs):
            if size > 1 and outcome.error.startswith(OUT_OF_GPU_MEMORY):
                crowded.append(outcome.run)
            else:
                yield outcome
        for slot in slots[1:]:
            slot.end()
        for run in crowded:
            yield slots[0].train(by_name[run])
    finally:
        for slot in slots:
            slot.end()


def workers_here(engine: Engine, devices: Sequence[str]) -> int:
    """Processes at a time on this machine."""
    if engine.workers:
        return engine.workers
    here = min(cores(), _free_memory() // MEMORY)
    if devices:
        return max(len(devices), min(here, _gpu_memory() // GPU_MEMORY * len(devices)))
    return max(1, here)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _free_memory() -> int:
    """Bytes that are free now; a great many where the system does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**62


def _gpu_memory() -> int:
    """Bytes of the smallest GPU."""
    import torch

    found = (torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count()))
    return min((properties.total_memory for properties in found), default=0)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    if not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


class _Slot:
    """One process that trains run after run; when it dies, a new one takes the run over.

    Args:
        threads: that the process computes with, so that all processes together use each core once.
        device: the only GPU that it sees, or None.
    """

    def __init__(self, threads: int, device: str | None) -> None:
        self.threads, self.device = threads, device
        self.ended = False
        self._stopping = threading.Lock()
        self._process: Any = None
        self._pipe: Connection | None = None

    def train(self, job: Job) -> Outcome:
        for _ in range(LIVES):
            if self.ended:
                break
            try:
                pipe = self._connected()
                pipe.send(job)
                outcome: Outcome = pipe.recv()
                if outcome.error.startswith(OUT_OF_GPU_MEMORY):
                    self._stop()  # it would keep what it took
                return outcome
            except (EOFError, OSError):
                self._stop()
        return Outcome(job[0].name, False, f"its process died {LIVES} times (killed, or out of memory)")

    def _connected(self) -> Connection:
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            arguments = (theirs, self.threads, self.device)
            self._process = context.Process(target=_serve, args=arguments, daemon=True, name="synthgap worker")
            self._process.start()
            theirs.close()
        return self._pipe

    def _stop(self) -> None:
        with self._stopping:
            if self._process is not None:
                self._process.kill()
                self._process.join()
                self._process.close()
            if self._pipe is not None:
                self._pipe.close()
            self._process = self._pipe = None

    def end(self) -> None:
        self.ended = True
        self._stop()


def _serve(pipe: Connection, threads: int, device: str | None) -> None:
    """A worker process: train what comes until nobody sends any more."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that sent the work ends this one
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _limit_threads(threads)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(train_away(pipe.recv()))


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


# -------------------------------------------------------------------------------------------------------------- Dask


def _on_dask(jobs: Sequence[Job], engine: Engine) -> Iterator[Outcome]:
    """Through joblib's Dask backend; the scheduler gives the run of a lost worker to another one."""
    from joblib import Parallel, delayed, parallel_config

    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise SynthgapError("the engine 'dask' needs the package distributed: pip install 'synthgap[dask]'") from error
    folder = jobs[0][1]
    token = folder / ".locks" / "shared_folder"
    write_text(token, str(time.time_ns()))
    waiting = {job[0].name: job for job in jobs}
    with _connected_to(str(engine.address), Client) as client:
        for life in range(LIVES):
            try:
                with parallel_config(backend="dask", client=client):
                    everywhere = Parallel(n_jobs=engine.workers or -1, return_as="generator_unordered")
                    tasks = (delayed(_train_anywhere)(job, token.read_text()) for job in list(waiting.values()))
                    for outcome in everywhere(tasks):
                        del waiting[outcome.run]
                        yield outcome
                return
            except KilledWorker as error:
                if life == LIVES - 1:
                    reason = f"the cluster's workers died over it ({said(error)})"
                    yield from [Outcome(name, False, reason) for name in waiting]


@contextlib.contextmanager
def _connected_to(address: str, client_class: Callable[..., Any]) -> Iterator[Any]:
    try:
        client = client_class(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise SynthgapError(f"the Dask scheduler at '{address}' cannot be reached ({said(error)})") from error
    try:
        yield client
    finally:
        client.close()


def _train_anywhere(job: Job, token: str) -> Outcome:
    """Train on a Dask worker, into the output folder where it is the same one, else into the outcome."""
    from distributed import get_worker

    from synthgap.runs import run_files

    _limit_threads(get_worker().state.nthreads)
    cell, folder, about = job
    with contextlib.suppress(OSError):
        if (folder / ".locks" / "shared_folder").read_text() == token:
            return train_away(job)
    with tempfile.TemporaryDirectory() as scratch:
        outcome = train_away((cell, Path(scratch), about))
        files = {path.name: path.read_bytes() for path in run_files(Path(scratch), cell.name)}
    return Outcome(outcome.run, outcome.trained, outcome.error, files)
