"""Asking an endpoint of 200 ms: ours (log, budget, retries, parsing and all) against a bare aiohttp loop."""

import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import openai
from aiohttp import web

from synthgap.core.config import OpenAISettings
from synthgap.data.real import load_real
from synthgap.generation.conversations import begin_conversation, next_request
from synthgap.generation.live_generation import run_in_own_loop
from synthgap.llm.openai import EndpointLLM
from synthgap.llm.response_log import Request, ResponseLog
from synthgap.tasks import load_profile, load_task

AT_ONCE, ANSWERS = 256, 4000
WORDS = [f"{first}{second}{third}" for first in "bdfgklmnprst" for second in "aeiou" for third in "bdglmnrst"]


async def serve() -> None:
    """Answer every request after 200 ms with ten texts; prints its port, and ends by itself."""
    chance = random.Random(0)

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        lines = "\n".join(f"{line}. {' '.join(chance.choices(WORDS, k=12))}" for line in range(1, 11))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": lines}}
        usage = {"prompt_tokens": 200, "completion_tokens": 150, "total_tokens": 350}
        await asyncio.sleep(0.2)
        return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(600)


def requests(llm: EndpointLLM, answers: int) -> Iterator[Request]:
    """First requests of so many few-shot conversations."""
    task = load_task("humor")
    data = load_real(task, load_profile("demo"))
    for number in range(answers):
        turn = next_request(begin_conversation(task, "few_shot", next(iter(task.labels)), number), data, llm)
        yield llm.request(turn.conversation, 10, tuple(turn.examples))


async def timed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Seconds on the clock and of this process's processor time."""
    clock, processor = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - clock, time.process_time() - processor


async def ours(llm: EndpointLLM, asked: Iterator[Request]) -> None:
    async def conversation() -> None:
        for request in asked:
            if len((await llm.ask(request)).parsed.texts) != 10:
                raise ValueError("an answer does not hold its ten texts")

    await asyncio.gather(*(conversation() for _ in range(2 * AT_ONCE)))


async def by_workers(bodies: list[dict], ask: Callable[[dict], Awaitable[str]]) -> None:
    left = iter(bodies)

    async def worker() -> None:
        for one in left:
            if not await ask(one):
                raise ValueError("an answer holds no text")

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def bare(url: str, bodies: list[dict]) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(one: dict) -> str:
            async with session.post(f"{url}/chat/completions", json=one) as response:
                return json.loads(await response.read())["choices"][0]["message"]["content"]

        await by_workers(bodies, ask)


async def client(url: str, bodies: list[dict]) -> None:
    """The openai client over aiohttp by its typed method, as its manual shows it."""
    async with openai.AsyncOpenAI(api_key="none", base_url=url, http_client=openai.DefaultAioHttpClient()) as asked:

        async def ask(one: dict) -> str:
            return (await asked.chat.completions.create(**one)).choices[0].message.content

        await by_workers(bodies, ask)


def body(request: Request) -> dict:
    messages = [{"role": one.role, "content": one.content} for one in request.conversation.messages]
    return {"model": request.model, "messages": messages, **request.sampling}


def settings(url: str) -> OpenAISettings:
    prices = {"input_price": 1.0, "output_price": 1.0, "budget": 1e6}
    return OpenAISettings(backend="openai", model="m", base_url=url, concurrency=AT_ONCE, max_tokens=500, **prices)


def peak() -> float:
    """MiB that this process has taken at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(url: str, answers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, ResponseLog(Path(folder) / "log.sqlite") as log:
        llm = EndpointLLM(settings(url), log)
        await ours(llm, requests(llm, 1000))  # imports and connections are no part of an answer
        llm.settings = llm.settings.model_copy(update={"model": "another"})
        memory = peak()
        seconds, processor = await timed(lambda: ours(llm, requests(llm, answers)))
        grown = peak() - memory
        await llm.close()
        bodies = [body(request) for request in requests(llm, answers)]
        plain_seconds, plain_processor = await timed(lambda: bare(url, bodies))
        client_seconds, client_processor = await timed(lambda: client(url, bodies))
        replay, _ = await timed(lambda: ours(llm, requests(llm, answers)))
        if len(log) != answers + 1000:
            raise ValueError("something was asked for twice")
    return {
        "ours": answers / seconds,
        "bare": answers / plain_seconds,
        "ratio": plain_seconds / seconds,
        "milliseconds": 1000 * processor / answers,
        "bare_milliseconds": 1000 * plain_processor / answers,
        "client": answers / client_seconds,
        "client_milliseconds": 1000 * client_processor / answers,
        "replay": replay,
        "grown": grown,
    }


def in_a_process_of_its_own(url: str, answers: int) -> dict[str, float]:
    command = [sys.executable, __file__, "measure", url, str(answers)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        runs = [in_a_process_of_its_own(url, ANSWERS) for _ in range(3)]
        few = in_a_process_of_its_own(url, ANSWERS // 4)
    finally:
        server.kill()
        server.wait()
    middle = {name: statistics.median(one[name] for one in runs) for name in runs[0]}
    print(
        f"{ANSWERS} answers of 200 ms, {AT_ONCE} at once: ours {middle['ours']:.0f}/s, bare aiohttp "
        f"{middle['bare']:.0f}/s, ratio {middle['ratio']:.2f} (the openai client alone "
        f"{middle['client'] / middle['bare']:.2f}); processor time of an answer {middle['milliseconds']:.2f} ms (bare "
        f"{middle['bare_milliseconds']:.2f}, client {middle['client_milliseconds']:.2f}); all from the log in "
        f"{middle['replay']:.1f} s; memory +{middle['grown']:.0f} MiB, for a fourth of the answers "
        f"+{few['grown']:.0f} MiB (medians of 3)"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    elif sys.argv[1:2] == ["measure"]:
        print(json.dumps(run_in_own_loop(measure(sys.argv[2], int(sys.argv[3])))))
    else:
        main()
