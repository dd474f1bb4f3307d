"""The known tasks and profiles: YAML files, read and checked."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synthgap.core.config import Profile, build_profile, explain, read_yaml
from synthgap.core.errors import SynthgapError, unknown
from synthgap.core.files import digest
from synthgap.core.paths import known_profiles, root
from synthgap.tasks.schema import Task


def task_file(name: str) -> Path:
    return Path(__file__).parent / f"{name}.yaml"


@functools.cache
def known_tasks() -> tuple[str, ...]:
    """The names of all tasks, in the alphabet's order."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.yaml")))


@functools.cache
def load_task(name: str) -> Task:
    """The task `name`.

    Raises:
        SynthgapError: no such task, or its file has a key or value that is not allowed.
    """
    if name not in known_tasks():
        raise unknown("task", name, known_tasks())
    return read_task(task_file(name))


def read_task(path: Path) -> Task:
    try:
        return Task.model_validate(read_yaml(path))
    except ValidationError as error:
        raise SynthgapError(f"task file '{path.name}': {explain(error, Task)}") from error


def tasks_in_paper_order(tasks: Iterable[str]) -> list[str]:
    """Tasks from least to most subjective in the paper's Table 1 (unverified); others follow by name."""
    return sorted(tasks, key=lambda name: (load_task(name).paper_order or 10**6, name))


def paper_order(tasks: Iterable[str]) -> dict[str, int]:
    """{task: place} of those tasks that the paper's Table 1 orders, from 1 (least subjective) on."""
    ranked = [name for name in tasks_in_paper_order(tasks) if load_task(name).paper_order]
    return {name: place for place, name in enumerate(ranked, start=1)}


def load_profile(name: str, overrides: Mapping[str, Any] | None = None) -> Profile:
    """The profile `configs/<name>.yaml`, or the YAML file that `name` is a path of.

    A profile with keys set anew is a variant, which writes into a folder of its own: it is called after the key
    `variant` where that is set, and else after a digest of the other overrides.

    Raises:
        SynthgapError: no such profile, or a key, value or task in it that is not known.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else root() / "configs" / f"{name}.yaml"
    if not path.is_file():
        raise unknown("profile", name, known_profiles())
    changed = dict(overrides or {})
    if changed and not changed.get("variant"):
        changed["variant"] = digest(changed, 8)
    profile = build_profile(read_yaml(path), changed, where=path.name)
    for task in _named_tasks(profile):
        if task not in known_tasks():
            raise unknown("task", task, known_tasks())
    return profile


def _named_tasks(profile: Profile) -> list[str]:
    named = [*profile.tasks, *profile.generation.texts_by_task]
    named += [task for one in profile.comparisons.values() for task in one.tasks or ()]
    for further in (profile.training.curve, profile.training.augmentation):
        by_task = [seeds for seeds in further.seeds.values() if isinstance(seeds, dict)] if further else []
        named += [task for seeds in by_task for task in seeds]
    return named
