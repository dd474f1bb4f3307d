"""Endpoints that misbehave by script, each in a process of its own, and live runs against them."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from conftest import ROOT

from synthgap.config import GenerationSettings, OpenAISettings, load_profile
from synthgap.data import load_real
from synthgap.endpoint import EndpointLLM
from synthgap.live import generate_live
from synthgap.responses import ResponseLog
from synthgap.tasks import load_task

PROFILE = load_profile("demo")
TASKS = {"humor": load_task("humor"), "ag_news": load_task("ag_news")}
WANTED = GenerationSettings(texts_per_label=40, conversations=2)
LABELS = [(task, setting, label) for task in TASKS for setting in WANTED.settings for label in TASKS[task].labels]


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


def run(endpoint, folder: Path, real, wanted=WANTED, **changes):
    with ResponseLog(folder / "responses.sqlite") as log:
        llm = EndpointLLM(settings(endpoint, **changes), log)
        made, shortfalls = generate_live(real, llm, wanted, shown=False)
        rows = list(log.rows())
    return made, shortfalls, llm, rows


def as_table(made) -> dict:
    return {place: result.texts.to_dict("records") for place, result in made.items()}
