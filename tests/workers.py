"""Programs that tests run in processes of their own, to be killed or to race each other."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path


def grid(folder: str, classifier: str = "tfidf") -> None:
    """Train a grid of 54 cells into `folder`."""
    from synthgap.runs import run_grid

    run_grid(grid_cells(classifier), Path(folder))


def grid_cells(classifier: str = "tfidf"):
    from synthgap.config import load_profile
    from synthgap.data import load_real
    from synthgap.generation import generate
    from synthgap.llm import connect
    from synthgap.runs import plan_task
    from synthgap.tasks import load_task

    profile = load_profile(
        "smoke", {"training.seeds": list(range(6)), "training.classifiers": {"c": {"kind": classifier}}}
    )
    cells = []
    for name in ("sms_spam", "tweet_irony", "humor"):
        task = load_task(name)
        data = load_real(task, profile)
        made = {
            setting: generate(task, setting, data, connect(profile.llm), profile.generation).texts
            for setting in profile.generation.settings
        }
        cells += plan_task(profile, data, made)
    return cells


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


@dataclasses.dataclass
class Crowded(Settings):
    """Settings under which training finds the GPU full, so many times; each try writes down its process."""

    log: Path
    times: int

    @property
    def inverse_regularisation(self) -> float:
        import torch

        with self.log.open("a") as handle:
            handle.write(f"{os.getpid()}\n")
        if len(self.log.read_text().split()) <= self.times:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB.")
        return 10.0


class Broken(Settings):
    """Settings under which training raises."""

    @property
    def inverse_regularisation(self) -> float:
        raise ZeroDivisionError("this cell is\nbroken")


def side_by_side(folder: str, seconds: str) -> None:
    """Train cells in two processes; every one of them waits so long."""
    from synthgap.engine import Engine, fan_out

    cells = [dataclasses.replace(cell, settings=Slow(float(seconds))) for cell in grid_cells()[:6]]
    for _ in fan_out(cells, Path(folder), {}, Engine(workers=2)):
        pass


@dataclasses.dataclass
class Slow(Settings):
    seconds: float

    @property
    def inverse_regularisation(self) -> float:
        time.sleep(self.seconds)
        return 10.0


def embed(start: str, stop: str) -> None:
    """Embed texts number `start` to `stop` through the cache."""
    from synthgap.encoders import embed as embed_texts

    embed_texts([f"text number {n} " + "word " * (n % 7) for n in range(int(start), int(stop))])


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
