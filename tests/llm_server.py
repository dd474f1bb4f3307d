"""An endpoint that speaks OpenAI's chat completions and misbehaves by script; runs in a process of its own.

`python llm_server.py SCRIPT` prints its port and serves on loopback until it is ended. The same request always gets
the same texts. GET /counts says how many requests came and how many whole answers went out, by request.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections import Counter

USAGE = {"prompt_tokens": 50, "completion_tokens": 100, "total_tokens": 150}
PAUSES = {"slow": 0.02, "slower": 0.15}
WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdglmnrst"]


def texts_for(seed: str, n: int = 10, garbage: bool = False) -> str:
    """n numbered lines that differ from those of any other request; garbage has empty, repeated and stray lines."""
    lines = []
    for number in range(1, n + 1):
        digest = hashlib.sha256(f"{seed}|{number}".encode()).digest()
        text = " ".join(WORDS[int.from_bytes(digest[place : place + 2]) % len(WORDS)] for place in range(0, 24, 2))
        if garbage and digest[25] < 26:
            text = ["", "the same thing again", text][digest[26] % 3]
        lines.append(f"{number}. {text}")
    if garbage:
        lines.insert(0, "Sure! Here are the texts:")
    return "\n".join(lines)


def tokens_of(request: dict) -> int:
    return sum(len(message["content"]) // 4 + 4 for message in request["messages"])


class Server:
    def __init__(self, script: str) -> None:
        self.script = script
        self.requests: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.total = 0

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        if scope["method"] == "GET":
            counts = {"requests": sum(self.requests.values()), "answered": dict(self.answered)}
            await self.reply(send, 200, json.dumps(counts))
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await self.complete(json.loads(body), send)

    async def complete(self, request: dict, send) -> None:
        key = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        self.requests[key] += 1
        self.total += 1
        first, luck = self.requests[key] == 1, int(key[:4], 16) % 10
        if self.script == "storm" and self.total <= 40:
            return await self.reply(send, 429, '{"error": {"message": "slow down"}}')
        if self.script == "storm_retry_after" and self.total <= 20:
            return await self.reply(send, 429, '{"error": {"message": "slow down"}}', {"retry-after": "0.3"})
        if self.script == "errors" and first and luck < 5:
            return await self.reply(send, [500, 502, 503][luck % 3], "<html>oops</html>", kind="text/html")
        if self.script == "stalls" and first and luck < 2:
            await asyncio.sleep(30)
        later = len(request["messages"]) > 2
        if (self.script == "forbidden" and luck < 3) or (self.script == "forbidden_later" and later and luck < 7):
            return await self.reply(send, 403, '{"error": {"message": "key sk-secret123 may not do this"}}')
        if self.script in PAUSES:
            await asyncio.sleep(PAUSES[self.script])
        if self.script == "out_of_order":
            await asyncio.sleep(0.02 * luck)
        text = texts_for(key, garbage=self.script == "garbage")
        if self.script == "duplicates" and luck < 4:
            text = texts_for(f"the same for {luck}")
        if self.script == "labels":  # as they are asked for in generation/labelling.py; now and then something else
            names = request["messages"][-1]["content"].rpartition("as it stands here: ")[2].split(", ")
            name = names[int(key[4:8], 16) % len(names)]
            text = [f"Label: {name}", f'"{name.upper()}".', "Neither fits, I think.", name][min(luck, 3)]
        if self.script == "prose":
            text = f"\x1b[31mI would be happy to write about this. ({luck})"
        if "response_format" in request:
            lines = [line.partition(". ")[2] for line in text.splitlines()]
            text = json.dumps({"texts": lines})
        if self.script == "window" and tokens_of(request) > 1500:
            return await self.reply(send, 400, '{"error": {"message": "maximum context length exceeded"}}')
        used = {"prompt_tokens": tokens_of(request), "completion_tokens": len(text) // 4}
        finish = "stop"
        if self.script == "refusals" and first and luck < 4:
            text = ["I'm sorry, but I can't help with that.", "", text][luck % 3]
            finish = "length" if luck % 3 == 2 else "stop"
        answer = json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": request["model"],
                "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}],
                **({} if self.script == "uncounted" else {"usage": used if self.script == "window" else USAGE}),
            }
        )
        if self.script == "torn" and first and luck < 6:
            if luck < 2:
                return await self.reply(send, 200, answer[: len(answer) // 2])
            if luck < 4:
                return await self.reply(send, 200, "<html>a proxy has something to say</html>", kind="text/html")
            return await self.reply(send, 200, answer[:50], length=len(answer))  # and the connection breaks
        self.answered[key] += 1
        kind = "text/plain" if self.script == "out_of_order" else "application/json"
        return await self.reply(send, 200, answer, kind=kind)

    async def reply(self, send, status, text, headers=None, kind="application/json", length=None) -> None:
        fields = {"content-type": kind, "content-length": str(length or len(text.encode())), **(headers or {})}
        listed = [(name.encode(), value.encode()) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": listed})
        await send({"type": "http.response.body", "body": text.encode(), "more_body": length is not None})
        if length is not None:
            raise ConnectionResetError("broken off by script")


def main() -> None:
    import uvicorn

    config = uvicorn.Config(Server(sys.argv[1]), host="127.0.0.1", port=0, log_level="critical", lifespan="on")
    server = uvicorn.Server(config)

    async def serve() -> None:
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await asyncio.wait_for(task, 1200)

    asyncio.run(serve())


if __name__ == "__main__":
    main()
