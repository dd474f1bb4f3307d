"""What the command line says of own files -> what is set anew in the bundled profile; imports no table library."""

import re
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from synthgap.core.config import shown_names
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import known_profiles, outputs
from synthgap.tasks import load_profile

LABELLER = "labeller"
BY_LLM = " with an LLM's labels"  # how the title of an unlabelled file ends


def overrides_of(given: Namespace) -> dict[str, Any]:
    """Keys and values of the bundled profile: its name, the files, and fine-tuning where it is asked for.

    Raises:
        SynthgapError: a name cannot be taken.
    """
    name = re.sub(r"[^a-z0-9]+", "_", (given.variant or "your_task").casefold()).strip("_")
    if not name or name in known_profiles():
        raise SynthgapError(f"--name {given.variant} is a profile's, or has no letter of a to z; choose another")
    if not 0 < given.margin < 100:
        raise SynthgapError(f"--margin {given.margin:g} is no difference of scores; name points between 0 and 100")
    files = {"real": given.real, "test": given.test}
    paths = {key: str(Path(path).absolute()) for key, path in files.items() if path}
    if given.test and not given.real:
        raise SynthgapError("--test needs real texts to train on, too; name them with --real")
    if not given.synthetic and not given.unlabelled:
        raise SynthgapError("there is nothing to compare; name an LLM's texts with --synthetic FILE")
    synthetic = named_files(given.synthetic)
    own: dict[str, Any] = {**paths, "synthetic": synthetic, "margin": given.margin}
    own |= {"text_column": given.text_column, "label_column": given.label_column}
    changed: dict[str, Any] = {"name": name, "own_files": own}
    if given.unlabelled or given.llm:
        changed["llms"] = {LABELLER: llm_of(given)}
        synthetic[Path(given.unlabelled).name + BY_LLM] = [str(labelled_file(name, given))]
    if given.finetune:
        finetune = load_profile("recorded").training.classifiers["finetune"].model_dump(mode="json")
        changed["training.classifiers.finetune"] = finetune | {"seeds": [0, 1, 2]}
    return changed


def llm_of(given: Namespace) -> dict[str, Any]:
    """Settings of the LLM that labels a file.

    Raises:
        SynthgapError: one of --unlabelled and --llm says nothing without the other.
    """
    if not given.unlabelled or not given.llm:
        raise SynthgapError("--unlabelled FILE names what is to be labelled, and --llm who does; name both or neither")
    try:
        return {"backend": "openai"} | yaml.safe_load(given.llm)
    except (yaml.YAMLError, TypeError) as error:
        raise SynthgapError(
            f"--llm {given.llm} is no settings of an LLM; write them as in '{{model: NAME, base_url: URL}}', or for "
            "OpenAI's '{model: NAME, input_price: 0.15, output_price: 0.60, budget: 1}' (prices of a million tokens)"
        ) from error


def labelled_file(name: str, given: Namespace) -> Path:
    """Where an unlabelled file's texts stand with an LLM's labels."""
    return outputs() / name / "labels" / f"{Path(given.unlabelled).stem}.csv"


def named_files(arguments: Iterable[str]) -> dict[str, list[str]]:
    """{how a corpus is called: its files} of arguments [NAME=]FILE[,FILE...]; the files of one name are recordings."""
    given = []
    for argument in arguments:
        name, equals, files = argument.partition("=")
        if not equals or Path(argument).is_file():
            name, files = "", argument
        paths = [files] if Path(files).is_file() else [file for file in files.split(",") if file.strip()]
        if not paths:
            raise SynthgapError(f"--synthetic {argument} names no file; write NAME=FILE, or FILE alone")
        given.append((name.strip(), [str(Path(file.strip()).absolute()) for file in paths]))
    names = shown_names(path for name, paths in given for path in paths if not name)
    found: dict[str, list[str]] = {}
    for name, paths in given:
        found.setdefault(name or ", ".join(names[path] for path in paths), []).extend(paths)
    return found
