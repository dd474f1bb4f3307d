"""Endpoints that misbehave by script, each in a process of its own, and live runs against them."""

import json
import multiprocessing
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

from conftest import ROOT

from synthgap.core.config import GenerationSettings, OpenAISettings, Profile, build_profile
from synthgap.core.yaml_files import read_yaml
from synthgap.data.real import load_real
from synthgap.generation.live_generation import Job, generate_live
from synthgap.llm.logged import LoggedLLM
from synthgap.llm.openai import EndpointLLM
from synthgap.llm.response_log import ResponseLog
from synthgap.tasks import load_profile, load_task

PROFILE = load_profile("demo")
TASKS = {"humor": load_task("humor"), "ag_news": load_task("ag_news")}
WANTED = GenerationSettings(texts_per_label=40, conversations=2)
SETTINGS = ("zero_shot", "few_shot")  # of a corpus each, of the same name
PROCESSES = multiprocessing.get_context("forkserver")  # which imports once what each of them needs
PROCESSES.set_forkserver_preload(["endpoints"])
LABELS = [(task, setting, label) for task in TASKS for setting in SETTINGS for label in TASKS[task].labels]


def real_texts() -> dict:
    return {name: load_real(task, PROFILE) for name, task in TASKS.items()}


class Endpoint:
    def __init__(self, script: str) -> None:
        command = [sys.executable, str(ROOT / "tests" / "llm_server.py"), script]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    def counts(self) -> dict:
        with urllib.request.urlopen(f"{self.url}/counts") as answer:  # noqa: S310  our own server
            return json.loads(answer.read())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def settings(endpoint: Endpoint, **changes) -> OpenAISettings:
    return OpenAISettings(
        **{
            "backend": "openai",
            "model": "a model",
            "base_url": endpoint.url,
            "timeout": 20,
            "max_tokens": 200,
            "seed": 0,
            **changes,
        }
    )


def profile_of(llms: dict[str, OpenAISettings], corpora=None, generation=WANTED, tasks=TASKS) -> Profile:
    """The profile demo with these LLMs in place of its own; the corpora are demo's own unless others are given."""
    values = read_yaml(ROOT / "configs" / "demo.yaml") | {"tasks": list(tasks), "generation": generation.model_dump()}
    values["llms"] = {name: llm.model_dump() for name, llm in llms.items()}
    if corpora:
        values |= {"corpora": corpora, "comparisons": {}}
        del values["training"]["augmentation"]
        values["training"].pop("decision", None)
    return build_profile(values, {})


def jobs(llm: LoggedLLM, real, corpora=SETTINGS) -> list[Job]:
    """Every task in every corpus, which are called as their settings."""
    return [Job(setting, setting, data, llm) for data in real.values() for setting in corpora]


def run(endpoint, folder: Path, real, wanted=WANTED, **changes):
    with ResponseLog(folder / "responses.sqlite") as log:
        llm = EndpointLLM(settings(endpoint, **changes), log)
        made, shortfalls = generate_live(jobs(llm, real), wanted, shown=False)
        rows = list(log.rows())
    return made, shortfalls, llm, rows


def run_elsewhere(url: str, folder: Path, wanted=WANTED, **changes) -> multiprocessing.process.BaseProcess:
    """`run` in a process of its own, which leaves what it was short of in `folder`, in a file called as its number."""
    process = PROCESSES.Process(target=_run_at, args=(url, folder, wanted, changes))
    process.start()
    return process


def _run_at(url: str, folder: Path, wanted, changes) -> None:
    _, shortfalls, _, _ = run(SimpleNamespace(url=url), folder, real_texts(), wanted, **changes)
    (folder / f"{os.getpid()}.shortfalls").write_text("\n".join(map(str, shortfalls)))


def as_table(made) -> dict:
    return {place: result.texts.to_dict("records") for place, result in made.items()}
