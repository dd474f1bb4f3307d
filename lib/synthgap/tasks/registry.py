"""The known tasks and profiles: YAML files, read and checked."""

import contextlib
import functools
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synthgap.core.config import GeneratedCorpus, Profile, build_profile, explain
from synthgap.core.errors import SynthgapError, noting, refuse, unknown
from synthgap.core.files import digest, remembered
from synthgap.core.paths import NoProject, bundled, known_profiles, root, tasks_folder
from synthgap.core.yaml_files import read_yaml
from synthgap.tasks.prompts import PromptVariant
from synthgap.tasks.schema import Task

NAME = re.compile("[a-z0-9][a-z0-9_]*")
RENAME = "give the file, and `name` in it, one name of its own"


def task_file(name: str) -> Path:
    """The file of a task of the package."""
    folder = Path(__file__).parent
    return folder / f"{name}.yaml" if name in paper_tasks() else folder / "further" / f"{name}.yaml"


@functools.cache
def paper_tasks() -> tuple[str, ...]:
    """The names of the paper's ten tasks, which the package brings along, in the alphabet's order."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.yaml")))


@functools.cache
def package_tasks() -> tuple[str, ...]:
    """The names of all tasks that the package brings along: the paper's, and those in `further/`."""
    return (*paper_tasks(), *sorted(path.stem for path in Path(__file__).parent.glob("further/*.yaml")))


def known_tasks() -> tuple[str, ...]:
    """The names of all tasks, the package's and one's own, in the alphabet's order; none of their files is read."""
    own = (path.stem for path in own_files("*.yaml") if NAME.fullmatch(path.stem))
    return tuple(sorted({*package_tasks(), *own}))


def own_files(pattern: str) -> list[Path]:
    """What lies in the folder of own tasks; nothing where there is no project around.

    Raises:
        SynthgapError: the folder was named, and does not exist.
    """
    try:
        folder = tasks_folder()
    except NoProject:
        return []
    if os.environ.get("SYNTHGAP_TASKS") and not folder.is_dir():
        raise SynthgapError(f"the folder of tasks '{folder}' does not exist; name another with --tasks")
    return [path for path in folder.glob(pattern) if path.is_file()]


def load_task(name: str) -> Task:
    """The task `name`, of the package or of one's own.

    Raises:
        SynthgapError: no such task, or two, or its file has a key or value that is not allowed.
    """
    own = next(iter(own_files(f"{name}.yaml")), None) if NAME.fullmatch(name) else None
    if name in package_tasks():
        if own:
            kind = "the paper's ten" if name in paper_tasks() else "the package's"
            raise SynthgapError(f"task '{name}' is one of {kind}, and '{own}' has its name; {RENAME}")
        return read_task(task_file(name))
    if not own:
        meant = sorted(repr(path.name) for path in own_files("*") if path.stem.lower() == name.lower())
        hint = f" ({', '.join(meant)} is no such file)" if meant else ""
        raise SynthgapError(
            f"{unknown('task', name, known_tasks())}; one's own is a file <task>.yaml in tasks/ or --tasks DIR{hint}"
        )
    task = read_task(own)
    if task.name != name:
        raise SynthgapError(
            f"task file '{own.name}': its name is '{task.name}', which the file is not called; {RENAME}"
        )
    if task.paper_order is not None:
        raise SynthgapError(f"task file '{own.name}': paper_order is a place of the paper's tasks alone; leave it out")
    return task


@remembered(256)
def read_task(path: Path) -> Task:
    return build_task(read_yaml(path), path.name)


def build_task(values: Any, file: str) -> Task:
    """The task that a file's values make."""
    try:
        return Task.model_validate(values)
    except ValidationError as error:
        raise SynthgapError(f"task file '{file}': {explain(error, Task)}") from error


def task_faults(names: Iterable[str]) -> list[str]:
    """What is wrong with tasks: there are none of these names, or their files cannot be understood."""
    faults: list[str] = []
    for name in names:
        with noting(faults):
            load_task(name)
    return faults


def prompt_files() -> dict[str, Path]:
    """{name: file} of the prompt variants of the package, and of the project's prompts/."""
    own: list[Path] = []
    with contextlib.suppress(NoProject):
        own = [path for path in (root() / "prompts").glob("*.yaml") if NAME.fullmatch(path.stem)]
    return {path.stem: path for path in (*sorted(own), *sorted(bundled("prompts").glob("*.yaml")))}


def load_prompt(name: str) -> PromptVariant:
    """The prompt variant of that name; one of the package comes before one's own.

    Raises:
        SynthgapError: no such file, or it has a key or value that is not allowed.
    """
    if (file := prompt_files().get(name)) is None:
        raise SynthgapError(
            f"{unknown('prompt', name, prompt_files())}; one's own is a file <prompt>.yaml in prompts/ of the project"
        )
    try:
        return PromptVariant.model_validate({**read_yaml(file), "name": name})
    except ValidationError as error:
        raise SynthgapError(f"prompt file '{file.name}': {explain(error, PromptVariant)}") from error


def prompt_faults(profile: Profile) -> list[str]:
    """What is wrong with the prompts of a profile's corpora, on the tasks that these are needed for."""
    faults: list[str] = []
    for name, corpus in profile.corpora.items():
        if isinstance(corpus, GeneratedCorpus) and corpus.prompt:
            with noting(faults):
                variant = load_prompt(corpus.prompt)
                for task in map(load_task, profile.tasks_of_corpus(name)):
                    found = variant.faults(task.name, task.labels, corpus.setting)
                    faults += [f"corpus '{name}': {one}" for one in found]
    return faults


def tasks_in_paper_order(tasks: Iterable[str]) -> list[str]:
    """Tasks from least to most subjective in the paper's Table 1 (unverified); others follow by name."""
    return sorted(tasks, key=lambda name: (load_task(name).paper_order or 10**6, name))


def paper_order(tasks: Iterable[str]) -> dict[str, int]:
    """{task: place} of those tasks that the paper's Table 1 orders, from 1 (least subjective) on."""
    ranked = [name for name in tasks_in_paper_order(tasks) if load_task(name).paper_order]
    return {name: place for place, name in enumerate(ranked, start=1)}


def load_profile(name: str, overrides: Mapping[str, Any] | None = None) -> Profile:
    """The profile `configs/<name>.yaml`, or the YAML file that `name` is a path of, and its tasks are known.

    A profile with keys set anew is a variant, which writes into a folder of its own: it is called after the key
    `variant` where that is set, and else after a digest of the other overrides. One of own files that gets a name has
    its folder by that name.

    Raises:
        SynthgapError: no such profile, or a key, value or task in it that is not known.
    """
    profile = read_profile(name, overrides)
    refuse(task_faults(named_tasks(profile)) or prompt_faults(profile))
    return profile


def read_profile(name: str, overrides: Mapping[str, Any] | None = None) -> Profile:
    """The same as `load_profile`, whatever its tasks are."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else root() / "configs" / f"{name}.yaml"
    if not path.is_file():
        raise unknown("profile", name, known_profiles())
    changed = dict(overrides or {})
    if changed and not changed.get("variant") and not {"name", "own_files"} <= changed.keys():
        changed["variant"] = digest(changed, 8)
    return build_profile(read_yaml(path), changed, where=path.name)


def named_tasks(profile: Profile) -> list[str]:
    """The tasks that a profile names anywhere; one may stand there several times."""
    named = [*profile.tasks, *profile.generation.texts_by_task]
    named += [task for one in profile.comparisons.values() for task in one.tasks or ()]
    named += [task for one in profile.training.classifiers.values() for task in one.tasks or ()]
    for further in (profile.training.curve, profile.training.augmentation, profile.training.decision):
        by_task = [seeds for seeds in further.seeds.values() if isinstance(seeds, dict)] if further else []
        named += [task for seeds in by_task for task in seeds]
    return named
