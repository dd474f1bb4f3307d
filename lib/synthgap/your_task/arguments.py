"""What the command line says of own files -> what is set anew in the bundled profile; imports no table library."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from synthgap.core.errors import SynthgapError
from synthgap.core.paths import known_profiles
from synthgap.tasks import load_profile


def overrides_of(given: Namespace) -> dict[str, Any]:
    """Keys and values of the bundled profile: its name, the files, and fine-tuning where it is asked for.

    Raises:
        SynthgapError: a name cannot be taken.
    """
    name = re.sub(r"[^a-z0-9]+", "_", (given.variant or "your_task").casefold()).strip("_")
    if not name or name in known_profiles():
        raise SynthgapError(f"--name {given.variant} is a profile's, or has no letter of a to z; choose another")
    files = {"real": given.real, "test": given.test}
    paths = {key: str(Path(path).absolute()) for key, path in files.items() if path}
    if given.test and not given.real:
        raise SynthgapError("--test needs real texts to train on, too; name them with --real")
    own = paths | {"synthetic": named_files(given.synthetic), "margin": given.margin}
    own |= {"text_column": given.text_column, "label_column": given.label_column}
    changed: dict[str, Any] = {"name": name, "own_files": own}
    if given.finetune:
        finetune = load_profile("recorded").training.classifiers["finetune"].model_dump(mode="json")
        changed["training.classifiers.finetune"] = finetune | {"seeds": [0, 1, 2]}
    return changed


def named_files(arguments: Iterable[str]) -> dict[str, list[str]]:
    """{how a corpus is called: its files} of arguments [NAME=]FILE[,FILE...]; the files of one name are recordings."""
    found: dict[str, list[str]] = {}
    for argument in arguments:
        name, equals, files = argument.partition("=")
        if not equals or Path(argument).is_file():
            name, files = "", argument
        paths = [files] if Path(files).is_file() else [file for file in files.split(",") if file.strip()]
        title = name.strip() or ", ".join(Path(file).name for file in paths)
        found.setdefault(title, []).extend(str(Path(file.strip()).absolute()) for file in paths)
    return found
