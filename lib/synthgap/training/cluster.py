"""Runs trained by the workers of a Dask cluster, which another machine's scheduler gives them.

Workers write a finished run into the output folder, or send its files back where they do not see that folder. The
scheduler gives the run of a lost worker to another one. Whoever reaches a scheduler runs code on its workers: it
belongs into a network that is trusted, or behind TLS.
"""

import contextlib
import dataclasses
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import distributed
from distributed.scheduler import KilledWorker

from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_text
from synthgap.core.versions import PACKAGES
from synthgap.training.store import loose_files
from synthgap.training.workers import Job, RunResult, Workers, limit_threads, one_line, run_jobs, train_job

PATIENCE = "20s"  # until a scheduler that does not answer is given up
SAME = ("python", "distributed", "synthgap")  # packages of which a cluster has the version that is here, or is refused
LOST = (OSError, TimeoutError, distributed.CancelledError)  # what a client raises whose scheduler is gone


class SchedulerLost(SynthgapError):
    """The scheduler ended, or its connection, before all runs were trained."""

    status = 1


def train_on_cluster(jobs: Sequence[Job], workers: Workers) -> Iterator[RunResult]:
    """Train runs on a cluster, and give each one's result when it is there.

    Raises:
        SynthgapError: the scheduler is out of reach, or has other versions.
        SchedulerLost: it was in reach.
    """
    folder = jobs[0][1]
    token = write_text(folder / ".locks" / "shared_folder", str(time.time_ns())).read_text()
    with lost_in_a_sentence(str(workers.address)), connect(workers) as client:
        check_versions(client)
        executor = client.get_executor(pure=False)
        for job, result in run_jobs(
            jobs,
            submit=lambda job: executor.submit(train_anywhere, job, token),
            most=lambda: workers.number or 2 * max(1, sum(client.nthreads().values())),
            lost=KilledWorker,
            reason="the cluster's workers died over it ({})",
        ):
            yield dataclasses.replace(result, run=job[0].name)  # whatever the worker calls it


def connect(workers: Workers) -> distributed.Client:
    """A client of the scheduler at the workers' address, with TLS where they have certificates."""
    security = distributed.Security(**workers.tls, require_encryption=True) if workers.tls else None
    try:
        return distributed.Client(workers.address, timeout=PATIENCE, set_as_default=False, security=security)
    except (OSError, ValueError, TimeoutError, RuntimeError) as error:
        raise SynthgapError(
            f"the Dask scheduler at '{workers.address}' cannot be reached ({one_line(error)})"
        ) from error


@contextlib.contextmanager
def lost_in_a_sentence(address: str) -> Iterator[None]:
    """Say in one sentence that a scheduler was lost; Dask's own log of it is a traceback for each connection."""
    for name in ("distributed", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    except LOST as error:
        raise SchedulerLost(
            f"the Dask scheduler at '{address}' was lost ({one_line(error)}); what is finished is kept: start it, and "
            "run the same command again"
        ) from error


def check_versions(client: distributed.Client) -> None:
    """Wait for the first worker; refuse a cluster of another SAME than here, and print what else differs."""
    if not client.nthreads():
        print("the Dask cluster has no workers yet: waiting for the first one", flush=True)
        client.wait_for_workers(1)
    found: Any = client.get_versions(packages=PACKAGES)
    own = found["client"]["packages"]
    nodes = {"the scheduler": found["scheduler"], **found["workers"]}
    differing = version_differences(own, {name: node["packages"] for name, node in nodes.items()})
    if refused := [how for name, how in differing if name in SAME]:
        raise SynthgapError(
            f"the Dask cluster has other versions: {'; '.join(refused)}; install the same there and here"
        )
    if differing:
        print(f"the Dask cluster has other versions: {'; '.join(how for _, how in differing)}", flush=True)


def version_differences(own: Mapping[str, str], nodes: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    """(package, how its version differs) of scheduler and workers; the scheduler needs no package that computes."""
    differing = {
        (package, f"{package} {versions.get(package)} on {node}, {version} here")
        for node, versions in nodes.items()
        for package, version in own.items()
        if versions.get(package) != version and not (node == "the scheduler" and package in PACKAGES)
    }
    return sorted(differing)


def train_anywhere(job: Job, token: str) -> RunResult:
    """Train on a Dask worker, into the output folder where it is the same one, else into the result."""
    worker = distributed.get_worker()
    limit_threads(worker.state.nthreads)
    planned, folder = job
    with contextlib.suppress(OSError):
        if (folder / ".locks" / "shared_folder").read_text() == token:
            return train_job(job)
    with tempfile.TemporaryDirectory(dir=worker.local_directory) as scratch:  # which Dask removes after a kill
        result = train_job((planned, Path(scratch)))
        written = [path for path in loose_files(Path(scratch), planned.name) if path.is_file()]
        files = {path.name: path.read_bytes() for path in written}
    return RunResult(result.run, result.trained, result.error, files)
