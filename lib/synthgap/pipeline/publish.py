"""The generated texts of a profile as a data set for the Hugging Face Hub: Parquet, and a card on their making."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from synthgap.core.config import GeneratedCorpus, Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_parquet, write_text
from synthgap.core.paths import command
from synthgap.generation.corpora import corpus_file, load_corpus, provenance
from synthgap.generation.filtering import RARE_REASONS, REASONS
from synthgap.pipeline.validity import finished_in
from synthgap.tables import escape_markdown, footer
from synthgap.tasks import load_task


def publish(profile: Profile, folder: Path, licence: str = "unknown") -> list[Path]:
    """Write the data set: `data/<task>/<corpus>.parquet` (id, text, label, turn, position) and README.md.

    `datasets.load_dataset(folder, task, split=corpus)` opens it. No real text is in it: copies of few-shot examples
    were rejected, and of the ledger only counts are told. Imported texts belong to who made them, and are left out.

    Args:
        licence: the card's licence field, as the Hub names licences.

    Raises:
        SynthgapError: the generation stage has not written every generated corpus, or the profile has none.
    """
    source = finished_in("01_generation", profile) / "synthetic"
    corpora = [name for name, corpus in profile.corpora.items() if isinstance(corpus, GeneratedCorpus)]
    if not corpora:
        raise SynthgapError(
            f"profile '{profile.name}' has nothing to publish: it has no generated corpus, and imported texts belong "
            "to who made them"
        )
    if missing := [name for name in corpora if not corpus_file(source, name).is_file()]:
        raise SynthgapError(
            f"profile '{profile.name}' has no texts of {', '.join(missing)} yet; run: {command('run', profile, '01')}"
        )
    pairs = [(task, name) for task in profile.tasks for name in corpora if task in profile.tasks_of_corpus(name)]
    abouts = [provenance(source, name, task) for task, name in pairs]
    written = [
        write_parquet(folder / "data" / task / f"{name}.parquet", load_corpus(source, profile, name, task))
        for task, name in pairs
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
    """The data set's README, from all provenances: fields for the Hub, then what was asked, answered and rejected."""
    by_task = {task: [about for about in abouts if about["task"] == task] for task in profile.tasks}
    by_task = {task: rows for task, rows in by_task.items() if rows}
    configs = [
        {
            "config_name": task,
            "data_files": [
                {"split": about["corpus"], "path": f"data/{task}/{about['corpus']}.parquet"} for about in rows
            ],
        }
        for task, rows in by_task.items()
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
        f"# Synthetic texts of {len(by_task)} classification tasks",
        f"**Every text here was written by an LLM.** {escape_markdown(footer(profile))}",
        "Made with synthgap after Li, Zhu, Lu and Yin (EMNLP 2023, arXiv 2310.07849). Zero-shot: the label alone was "
        "given; few-shot: with real examples to imitate, which are not part of this data set.",
        _counts(abouts),
        *(_prompts(task, rows) for task, rows in by_task.items()),
    ]
    return "\n\n".join(sections) + "\n"


def _counts(abouts: Sequence[dict[str, Any]]) -> str:
    shown = ("task", "corpus", "setting", "written_by", "asked", "received", "accepted")
    reasons = [*REASONS, *(reason for reason in RARE_REASONS if any(reason in about["rejected"] for about in abouts))]
    rows = [
        [*(about[name] for name in shown), *(about["rejected"].get(reason, 0) for reason in reasons)]
        for about in abouts
    ]
    head = [*shown, *reasons]
    lines = [f"| {' | '.join(escape_markdown(str(cell)) for cell in row)} |" for row in (head, *rows)]
    lines.insert(1, "|" + " -- |" * len(head))
    return "\n".join(["## What was asked, received and rejected", "", *lines])


def _prompts(task: str, abouts: Sequence[dict[str, Any]]) -> str:
    about = abouts[0]
    prompts = "\n".join(f"{name}: {text}" for name, text in about["prompts"].items())
    settings = json.dumps(about["settings"], ensure_ascii=False)
    prints = "; ".join(
        f"{one['corpus']}: requests {one['requests'][:16]}, LLM {one['llm_fingerprint'][:16]}" for one in abouts
    )
    return (
        f"## {escape_markdown(load_task(task).title)}\n\n````\n{prompts}\n````\n\nSettings: `{settings}`. Fingerprints "
        f"by corpus: {prints}."
    )
