"""The synthetic texts of a profile as a data set for the Hugging Face Hub: Parquet, and a card on their making."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from synthgap.config import Profile
from synthgap.errors import SynthgapError
from synthgap.files import write_parquet, write_text
from synthgap.generation import REASONS, load_synthetic, provenance, synthetic_file
from synthgap.stages import outputs_folder
from synthgap.tables import escape_markdown, footer
from synthgap.tasks import load_task


def publish(profile: Profile, folder: Path, licence: str = "unknown") -> list[Path]:
    """Write the data set: `data/<task>/<setting>.parquet` (id, text, label, turn, position) and README.md.

    `datasets.load_dataset(folder, task, split=setting)` opens it. No real text is in it: copies of few-shot examples
    were turned down, and of the ledger only counts are told.

    Args:
        licence: the card's licence field, as the Hub names licences.

    Raises:
        SynthgapError: the generation stage has not written the texts of every task and setting, or the profile asks
            for none.
    """
    source = outputs_folder(profile) / "synthetic"
    places = [(task, str(setting)) for task in profile.tasks for setting in profile.generation.settings]
    if not places:
        raise SynthgapError(f"profile '{profile.name}' has nothing to publish: generation.settings is empty")
    missing = [f"{task}.{setting}" for task, setting in places if not synthetic_file(source, task, setting).is_file()]
    if missing:
        raise SynthgapError(
            f"profile '{profile.name}' has no texts of {', '.join(missing[:3])} yet ({len(missing)} in all); "
            f"run: synthgap run {profile.name} 01"
        )
    abouts = [provenance(source, task, setting) for task, setting in places]
    written = [
        write_parquet(folder / "data" / task / f"{setting}.parquet", load_synthetic(source, task, setting))
        for task, setting in places
    ]
    return [*written, write_text(folder / "README.md", card(profile, abouts, licence))]


def push(folder: Path, repository: str) -> str:
    """Upload a written data set to the Hub (token from its own login or HF_TOKEN); the address.

    Raises:
        SynthgapError: the Hub is out of reach or refuses.
    """
    from huggingface_hub import HfApi

    try:
        hub = HfApi()
        hub.create_repo(repository, repo_type="dataset", exist_ok=True)
        return str(hub.upload_folder(folder_path=folder, repo_id=repository, repo_type="dataset"))
    except Exception as error:  # the hub client raises many kinds, all of them "it was not uploaded"
        reason = " ".join(str(error).split())[:200]
        raise SynthgapError(
            f"'{repository}' was not uploaded ({type(error).__name__}: {reason}); the data set is in '{folder.name}'"
        ) from error


def card(profile: Profile, abouts: Sequence[dict[str, Any]], licence: str) -> str:
    """The data set's README: fields for the Hub, then what was asked, answered and turned down.

    Args:
        abouts: the provenance of each task and setting.
    """
    configs = [
        {
            "config_name": task,
            "data_files": [
                {"split": about["setting"], "path": f"data/{task}/{about['setting']}.parquet"}
                for about in abouts
                if about["task"] == task
            ],
        }
        for task in profile.tasks
    ]
    fields = {
        "license": licence,
        "language": ["en"],
        "task_categories": ["text-classification"],
        "tags": ["synthetic", "llm-generated"],
        "configs": configs,
    }
    sections = [
        f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---",
        f"# Synthetic texts of {len(profile.tasks)} classification tasks",
        f"**Every text here was written by an LLM.** {escape_markdown(footer(profile))}",
        "Made with synthgap after Li, Zhu, Lu and Yin (EMNLP 2023, arXiv 2310.07849). Zero-shot: the label alone was "
        "given; few-shot: with real examples to imitate, which are not part of this data set.",
        _counts(abouts),
        *(_prompts(task, abouts) for task in profile.tasks),
    ]
    return "\n\n".join(sections) + "\n"


def _counts(abouts: Sequence[dict[str, Any]]) -> str:
    head = ["task", "setting", "written by", "asked", "received", "accepted", *REASONS]
    rows = [
        [about[name] for name in ("task", "setting", "written_by", "asked", "received", "accepted")]
        + [about["rejected"].get(reason, 0) for reason in REASONS]
        for about in abouts
    ]
    lines = [
        f"| {' | '.join(escape_markdown(str(cell)) for cell in row)} |" for row in (head, ["--"] * len(head), *rows)
    ]
    lines[1] = "|" + " -- |" * len(head)
    return "\n".join(["## What was asked, received and turned down", "", *lines])


def _prompts(task: str, abouts: Sequence[dict[str, Any]]) -> str:
    about = next(one for one in abouts if one["task"] == task)
    prompts = "\n".join(f"{name}: {text}" for name, text in about["prompts"].items())
    settings = json.dumps(about["settings"], ensure_ascii=False)
    prints = ", ".join(f"{one['setting']} {one['requests'][:16]}" for one in abouts if one["task"] == task)
    return (
        f"## {escape_markdown(load_task(task).title)}\n\n````\n{prompts}\n````\n\nSettings: `{settings}`. Fingerprints "
        f"of the requests: {prints}; of the LLM: {about['llm_fingerprint'][:16]}."
    )
