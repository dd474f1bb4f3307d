"""Train the runs of a grid that are missing, wherever they are to be trained, and write which runs make it up.

Several processes may work on one folder: each run is trained under a lock, and a process passes over runs that another
is training and comes back to them. A killed process leaves finished runs and nothing else.
"""

import contextlib
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from synthgap.core.errors import SynthgapError
from synthgap.core.files import WriteFailed, atomic, write_text
from synthgap.core.terminal import Progress
from synthgap.training.runs import PlannedRun, train_once
from synthgap.training.store import INDEX_COLUMNS, find, index_file, is_torn, lock, loose_files
from synthgap.training.workers import RunResult, Workers, one_line, train_in_processes


class GridFailed(SynthgapError):
    """Some runs of a grid failed; all others are finished."""

    status = 1


def run_grid(
    planned: Sequence[PlannedRun],
    folder: Path,
    workers: Workers | None = None,
    index: str = "grid",
) -> pd.DataFrame:
    """Train every run that is not finished, and write the grid's index.

    Args:
        folder: `runs`.
        workers: where to train; None: as the environment says.
        index: "grid", "curve", "mixes" or "decision".

    Returns:
        The index, columns as in `store.INDEX_COLUMNS`, and trained_now.

    Raises:
        GridFailed: some runs failed, each with its reason; the others are finished.
    """
    missing = {run.name: run for run in planned if find(folder, run.name) is None}
    trained_now, failed = set(), {}
    bar = Progress(total=len(planned), initial=len(planned) - len(missing), desc="runs", unit="run")
    results = _train_all(list(missing.values()), folder, workers or Workers.from_environment())
    with bar, contextlib.closing(results):
        for run in missing.values():
            if is_torn(folder, run.name):
                bar.write(f"run {run.name} is torn and is trained again ({run.title})")
        for result in results:
            title = missing[result.run].title
            bar.update()
            bar.set_postfix_str(title, refresh=False)
            if result.trained:
                trained_now.add(result.run)
            if result.error:
                failed[title] = result.error
                bar.write(f"failed: {title}: {result.error}")
    if failed:
        listed = "\n  ".join(f"{title}: {reason}" for title, reason in failed.items())
        raise GridFailed(
            f"{len(failed)} of {len(planned)} runs failed:\n  {listed}\nthe others are finished and kept; mend the "
            "cause and run the same command again"
        )
    table = pd.DataFrame([_index_row(run) for run in planned], columns=INDEX_COLUMNS)
    write_text(index_file(folder, index), table.to_csv(index=False, lineterminator="\n"))
    return table.assign(trained_now=table["run"].isin(trained_now))


def _index_row(run: PlannedRun) -> dict[str, Any]:
    own = {name: getattr(run, name) for name in INDEX_COLUMNS if name not in {"run", "n_train"}}
    return own | {"run": run.name, "n_train": len(run.train)}


def _train_all(runs: Sequence[PlannedRun], folder: Path, workers: Workers) -> Generator[RunResult, None, None]:
    """Train runs, first those that are trained in this process."""
    remote = {run.name for run in runs if workers.runs_remotely(run)}
    if not workers.address and (len(remote) < 2 or workers.number == 1):
        remote = set()
    yield from _train_here([run for run in runs if run.name not in remote], folder)
    yield from fan_out([run for run in runs if run.name in remote], folder, workers)


def _train_here(runs: Sequence[PlannedRun], folder: Path) -> Iterator[RunResult]:
    waiting = deque(runs)
    while waiting:
        run = waiting.popleft()
        try:
            trained = train_once(run, folder, wait=False)
        except WriteFailed:
            raise
        except Exception as error:
            yield RunResult(run.name, False, one_line(error))
            continue
        if trained is None:  # another process is at it
            waiting.append(run)
            time.sleep(0.1)
        else:
            yield RunResult(run.name, trained)


def fan_out(runs: Sequence[PlannedRun], folder: Path, workers: Workers) -> Iterator[RunResult]:
    """Train runs in other processes, here or on a cluster whose scheduler is in reach, and give each one's result."""
    train = train_in_processes
    if workers.address:
        try:
            from synthgap.training.cluster import train_on_cluster as train  # which loads Dask
        except ImportError as error:
            raise SynthgapError("--address needs the package distributed: pip install 'synthgap[dask]'") from error
    for result in train([(run, folder) for run in runs], workers) if runs else ():
        with lock(folder, result.run) if result.files else contextlib.nullcontext():
            for path in loose_files(folder, result.run):
                if path.name in result.files:
                    with atomic(path) as temporary:
                        temporary.write_bytes(result.files[path.name])
        yield result
