"""manifest.json: what was run, on what code, data and machine, and with what success."""

import contextlib
import datetime
import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ValidationError

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.files import read_json, write_json
from synthgap.core.paths import base_folder, outputs_folder, root
from synthgap.core.versions import versions
from synthgap.pipeline.validity import STAGES, data_digests, finished_in, texts_in_reach
from synthgap.training.store import INDEXES, index_rows, packed_lines


class Execution(BaseModel):
    """What a manifest says of a notebook."""

    success: bool
    start: str
    seconds: float
    git: dict[str, str | bool] = {}


class Manifest(BaseModel):
    """What readers of a manifest rely on."""

    profile: dict[str, Any]
    data_fingerprints: dict[str, str]
    data_sha256: dict[str, str] = {}
    real_texts: str
    hours_of_runs: dict[str, dict[str, float]] = {}
    versions: dict[str, str]
    machine: dict[str, str | float | None]
    notebooks: dict[str, Execution]


def read_manifest(profile: Profile) -> dict[str, Any]:
    """The profile's manifest; a variant that has not run a stage has that of its base profile. Empty where none is.

    Raises:
        SynthgapError: it is not as it was written.
    """
    for folder in (outputs_folder(profile), base_folder(profile)):
        if manifest := read_json(folder / "manifest.json"):
            try:
                Manifest.model_validate(manifest)
            except ValidationError as error:
                where = ".".join(map(str, error.errors()[0]["loc"])) or "all of it"
                raise SynthgapError(
                    f"'{folder.name}/manifest.json' is not as it was written ({where}); put it back as it was, or "
                    "remove it: the next run writes it anew"
                ) from error
            return manifest
    return {}


def record(stage: str, profile: Profile, fingerprints: dict[str, str], started: float, success: bool) -> None:
    """Write the manifest anew with one stage's start, end and success; the other stages' entries stay.

    Args:
        fingerprints: of each task's real texts; where empty, those that the runs name are taken.
        started: seconds since the epoch.
    """
    before, git = read_manifest(profile), git_state()
    entry = {
        "start": _clock(started),
        "end": _clock(time.time()),
        "seconds": round(time.time() - started, 1),
        "success": success,
        "git": git,
    }
    notebooks = {**before.get("notebooks", {}), stage: entry}
    manifest = {
        "profile": profile.shown(),
        "data_fingerprints": fingerprints or _fingerprints_of_runs(profile),
        "data_sha256": data_digests(profile) if texts_in_reach(profile) else before.get("data_sha256", {}),
        "real_texts": "stand-in written by an LLM: evidence of nothing" if profile.stand_in else profile.data.source,
        "hours_of_runs": _hours_of_runs(profile),
        "git": git,
        "versions": versions(),
        "machine": machine(),
        "notebooks": {name: notebooks[name] for name in STAGES if name in notebooks},
    }
    write_json(outputs_folder(profile) / "manifest.json", manifest)


def _fingerprints_of_runs(profile: Profile) -> dict[str, str]:
    """{task: fingerprint of its real texts} as the runs name them; the hub's texts are not fetched for it."""
    known = {run["task"]: run["data_fingerprint"] for run in _runs(profile) if "data_fingerprint" in run}
    return {task: known[task] for task in profile.tasks if task in known}


def _hours_of_runs(profile: Profile) -> dict[str, dict[str, float]]:
    """What the runs of each classifier took, one after another: their number, hours of training and of predicting.

    Classifiers have the names that the profile gives them now; a run keeps the one under which it was trained.
    """
    folder = finished_in("02_training", profile) / "runs"
    named = pd.concat([index_rows(folder, index)[["run", "classifier"]] for index in INDEXES]).drop_duplicates("run")
    runs = named.merge(pd.DataFrame(_runs(profile), columns=["run", "train_seconds", "predict_seconds"]), on="run")
    runs = runs.drop(columns="run")
    hours = runs.groupby("classifier").sum() / 3600
    hours.columns = ["training", "predicting"]
    return hours.round(2).assign(runs=runs["classifier"].value_counts()).to_dict("index")


def _runs(profile: Profile) -> list[dict[str, Any]]:
    return list(packed_lines(finished_in("02_training", profile) / "runs").values())


def _clock(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def git_state() -> dict[str, Any]:
    """The commit, and whether anything but outputs/ differs from it; nothing where there is no git."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments], cwd=root(), capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--", ".", ":!outputs"))} if commit else {}
    except OSError:
        return {}


def machine() -> dict[str, Any]:
    """The kind of machine, without its name: system, processor, cores, memory, GPU."""
    import torch

    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        models = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        processor = models[0] if models else processor
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
