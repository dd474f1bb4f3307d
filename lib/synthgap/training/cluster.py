"""Runs trained by the workers of a Dask cluster, which another machine's scheduler gives them.

Workers write a finished run into the output folder, or send its files back where they do not see that folder. The
scheduler gives the run of a lost worker to another one.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import distributed
from distributed.scheduler import KilledWorker

from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_text
from synthgap.training.store import loose_files
from synthgap.training.workers import Job, RunResult, Workers, limit_threads, one_line, train_job, work_off

PATIENCE = "20s"  # until a scheduler that does not answer is given up


def train_on_cluster(jobs: Sequence[Job], workers: Workers) -> Iterator[RunResult]:
    """Train runs on a cluster, and give each one's result when it is there.

    Raises:
        SynthgapError: the scheduler is out of reach.
    """
    folder = jobs[0][1]
    token = write_text(folder / ".locks" / "shared_folder", str(time.time_ns())).read_text()
    with connect(str(workers.address)) as client:
        executor = client.get_executor(pure=False)
        for _, result in work_off(
            jobs,
            submit=lambda job: executor.submit(train_anywhere, job, token),
            most=lambda: workers.number or 2 * max(1, sum(client.nthreads().values())),
            lost=KilledWorker,
            reason="the cluster's workers died over it ({})",
        ):
            yield result


def connect(address: str) -> distributed.Client:
    """A client of the scheduler at an address."""
    try:
        return distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise SynthgapError(f"the Dask scheduler at '{address}' cannot be reached ({one_line(error)})") from error


def train_anywhere(job: Job, token: str) -> RunResult:
    """Train on a Dask worker, into the output folder where it is the same one, else into the result."""
    limit_threads(distributed.get_worker().state.nthreads)
    planned, folder = job
    with contextlib.suppress(OSError):
        if (folder / ".locks" / "shared_folder").read_text() == token:
            return train_job(job)
    with tempfile.TemporaryDirectory() as scratch:
        result = train_job((planned, Path(scratch)))
        written = [path for path in loose_files(Path(scratch), planned.name) if path.is_file()]
        files = {path.name: path.read_bytes() for path in written}
    return RunResult(result.run, result.trained, result.error, files)
