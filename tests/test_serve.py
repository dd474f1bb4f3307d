"""The real `transformers serve` with a small model, over loopback, as the endpoint."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import small_llm
from endpoints import as_table, jobs

from synthgap.core.config import GenerationSettings, OpenAISettings
from synthgap.data.real import load_real
from synthgap.generation.live_generation import generate_live
from synthgap.llm.openai import EndpointLLM
from synthgap.llm.response_log import ResponseLog
from synthgap.tasks import load_profile, load_task

WANTED = GenerationSettings(texts_per_label=25, conversations=2, turns=30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(model, URL); the server is ended by its own process id."""
    model = small_llm.build(tmp_path_factory.mktemp("served") / "small")
    port = free_port()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--default-seed", "0"]
    log = (model.parent / "serve.log").open("w")
    process = subprocess.Popen([*command, *options], stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, model.parent / "serve.log")
        yield model, f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()
        log.close()


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  our own server
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"transformers serve did not come up: {log.read_text()[-1500:]}")


def test_a_data_set_from_a_real_server(server, tmp_path):
    model, url = server
    real = {"humor": load_real(load_task("humor"), load_profile("demo"))}
    chosen = OpenAISettings(
        backend="openai", model=str(model), base_url=url, max_tokens=400, concurrency=4, temperature=1.0
    )
    with ResponseLog(tmp_path / "log.sqlite") as log:
        llm = EndpointLLM(chosen, log)
        made, shortfalls = generate_live(jobs(llm, real), WANTED, shown=False)
        assert shortfalls == []
        for result in made.values():
            assert (result.texts["label"].value_counts() >= 25).all()
            assert result.texts["id"].is_unique
            assert result.texts["text"].str.lower().is_unique
            assert result.provenance["received"] == len(result.texts) + len(result.ledger)
        rows = list(log.rows())
        served = [row for row in rows if not row["fault"]]
        assert len({row["key"] for row in served}) == len(served)
        assert {row["fault"] for row in rows} <= {"", "truncated", "empty"}
        assert all(row["prompt_tokens"] > 0 and row["completion_tokens"] > 0 for row in rows)
        assert llm.asked == len(rows)
        again = EndpointLLM(chosen, log)
        replayed, _ = generate_live(jobs(again, real), WANTED, shown=False)
        assert again.asked == 0
        assert as_table(replayed) == as_table(made)


def test_a_model_that_the_server_does_not_have_is_a_reason(server, tmp_path):
    _, url = server
    real = {"humor": load_real(load_task("humor"), load_profile("demo"))}
    chosen = OpenAISettings(backend="openai", model="no/such-model", base_url=url, attempts=2)
    with ResponseLog(tmp_path / "log.sqlite") as log:
        _, shortfalls = generate_live(jobs(EndpointLLM(chosen, log), real), WANTED, shown=False)
    assert len(shortfalls) == 4
    assert "the endpoint answered" in str(shortfalls[0])
