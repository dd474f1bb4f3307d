"""Odd things that endpoints send, one row each: what is served, what it costs, and what is said where nothing is.

The rows are a page for readers too: `python tests/test_odd_answers.py > docs/odd_answers.md` writes it.
"""

import asyncio
import contextlib
import gzip
import itertools
import json
import os
import random
import sqlite3
import sys
import threading
import zlib
from dataclasses import dataclass
from unittest import mock

import pytest
from conftest import ROOT
from endpoints import LABELS, WANTED, real_texts, run
from llm_server import texts_for

from synthgap.core.config import OpenAISettings
from synthgap.llm import logged
from synthgap.llm.base import Answer, Conversation, Message, Usage
from synthgap.llm.completions import read_completion
from synthgap.llm.openai import EndpointLLM, most_tokens
from synthgap.llm.response_log import LogUnwritable, Request, ResponseLog

TEXT = "1. one\n2. two"
USED = {"prompt_tokens": 5, "completion_tokens": 7}
WORST = "worst"  # in place of a count: what the request could cost at the most
KEY = "a canary/of-a+key"
MOST = 100  # tokens of an answer


def completion(message=TEXT, usage=USED, **more) -> dict:
    """A chat completion; `message` is its content, or the whole of it."""
    message = message if isinstance(message, dict) else {"role": "assistant", "content": message}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"choices": [choice | more], **({} if usage is None else {"usage": usage})}


def http(body, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """A response as it goes over the line."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    length = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def replaced(old: str, new: str) -> bytes:
    """A good completion, something put in its JSON by hand."""
    text = json.dumps(completion())
    assert old in text
    return http(text.replace(old, new).encode())


def packed(body: bytes, encoding: str) -> bytes:
    return http(body, "200 OK", f"Content-Encoding: {encoding}")


@dataclass(frozen=True)
class Odd:
    """What is sent, and what comes of it: an answer's text and tokens, or what is said.

    Attributes:
        sent: the whole response, or the completion in it.
        text: as it is served; None where nothing is.
        tokens: of prompt and answer, as they count in the budget; None: nothing was billed.
        said: in the error, where no answer is served.
    """

    name: str
    sent: bytes | dict
    text: str | None = TEXT
    tokens: tuple[int | str, int | str] | None = (5, 7)
    said: str = ""

    def __str__(self) -> str:
        """Its line of the page."""
        told = "an answer" if self.text == TEXT else f"an answer: `{self.text!r}`"
        told = f"no answer: `{self.said}`" if self.text is None else told
        worst = [what for what, tokens in zip(("prompt", "answer"), self.tokens or (), strict=False) if tokens == WORST]
        cost = f"{' and '.join(worst)} at the worst" if worst else "as counted" if self.tokens else "nothing"
        return f"| {self.name} | {told} | {cost} |"


PAGE = """# Odd answers, and what comes of them

What endpoints were seen to send, or could. Nothing of it ends a run. What may have been billed is in the response log
as it came, before it is read, and in the budget: as the endpoint counted it, or at the most that the request could
cost. What holds no answer is asked for again, a few times; one that is served is never asked for again.

| what is sent | what comes of it | what the budget counts |
|:--|:--|:--|
{rows}
"""


def counted(name: str, usage, prompt: int | str, answer: int | str) -> Odd:
    return Odd(f"usage {name}", completion(usage=usage), tokens=(prompt, answer))


def ends(word) -> Odd:
    return Odd(f"ended by {word!r}", completion(finish_reason=word))


def no_answer(name: str, sent, said: str, billed: bool = True) -> Odd:
    return Odd(name, sent, None, (WORST, WORST) if billed else None, said)


def parts(name: str, *contents) -> Odd:
    """An answer whose content has these parts."""
    return Odd(f"parts: {name}", completion({"content": list(contents)}))


def choices(*some, usage=USED) -> dict:
    return {"choices": list(some), "usage": usage}


def stream(*values, end: str = "data: [DONE]\n\n") -> bytes:
    """Events, though none were asked for: a value each."""
    return http(b"".join(b"data: %s\n\n" % json.dumps(value).encode() for value in values) + end.encode())


def delta(content, finish_reason=None, **more) -> dict:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}], **more}


GOOD = json.dumps(completion()).encode()
EMPTY = completion("")["choices"][0]
LAST = delta("two", "stop", usage=USED)  # of a stream that begins with "1. one\n2. "
ROWS = [
    # texts
    Odd("good", completion()),
    Odd("half a surrogate pair", replaced("one", "on\\ud83d"), "1. on\ufffd\n2. two"),
    Odd("a pair of surrogates", replaced("one", "\\ud83d\\ude00"), "1. 😀\n2. two"),
    Odd("NUL and a line separator", replaced("one", "o\\u0000n\\u2028e"), "1. o\x00n\u2028e\n2. two"),
    Odd("no UTF-8", http(GOOD.replace(b"one", b"on\xe9")), "1. on\ufffd\n2. two"),
    Odd("a byte order mark", http(b"\xef\xbb\xbf" + GOOD)),
    Odd(
        "parts (Mistral)",
        completion({"content": [{"type": "text", "text": "1. one\n"}, {"type": "text", "text": "2. two"}]}),
    ),
    Odd(
        "thoughts among the parts (Magistral)",
        completion(
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "1. plan"}]}, {"text": TEXT}]}
        ),
    ),
    Odd("a part that is a string", completion({"content": [TEXT]})),
    Odd("reasoning_content (DeepSeek, vLLM)", completion({"content": TEXT, "reasoning_content": "1. plan"})),
    Odd("reasoning (Ollama, OpenRouter)", completion({"content": TEXT, "reasoning": "1. plan", "refusal": None})),
    parts("text and value (Assistants)", {"type": "text", "text": {"value": TEXT, "annotations": []}}),
    parts("text as content", {"type": "text", "content": TEXT}),
    parts("output_text (Responses)", {"type": "output_text", "text": TEXT}),
    *(
        parts(kind, {"type": kind, "text": "1. plan", "content": "1. plan"}, {"type": "text", "text": TEXT})
        for kind in ("reasoning_text", "reasoning.summary", "Thinking", "redacted_thinking", "thought_summary")
    ),
    parts("thought (Gemini)", {"thought": True, "text": "1. plan"}, {"text": TEXT, "thought": False}),
    parts("a thought and its summary", {"type": "reasoning", "summary": [{"text": "1. plan"}]}, {"text": TEXT}),
    parts("of other kinds", {"type": "image_url", "image_url": {"url": "x"}}, {"type": [1]}, None, 5, {"text": TEXT}),
    Odd("a content with parts (Gemini)", completion({"content": {"role": "model", "parts": [{"text": TEXT}]}})),
    Odd("two choices", choices(*completion()["choices"], *completion("another")["choices"])),
    Odd("an empty choice, and a good one", choices(EMPTY, completion()["choices"][0])),
    Odd("a choice that is null, and a good one", choices(None, completion()["choices"][0])),
    Odd("a choice of thoughts, and a good one", choices({"message": {"reasoning": "1. a"}}, *completion()["choices"])),
    *(
        Odd(f"a choice {name}, and a good one", choices(completion(said, finish_reason=end)["choices"][0], good))
        for good in completion()["choices"]
        for name, said, end in [
            ("cut off", "1. half a", "length"),
            ("filtered", "1. half a", "content_filter"),
            ("that refuses", "I'm sorry, but I can't help with that.", "stop"),
        ]
    ),
    Odd("a completion without messages", {"choices": [{"text": TEXT}], "usage": USED}),
    Odd("gzip", packed(gzip.compress(GOOD), "gzip")),
    Odd("deflate", packed(zlib.compress(GOOD), "deflate")),
    Odd("chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD)),
    Odd("a length beyond the body", http(GOOD, length=len(GOOD) + 100)),
    Odd("text/html", http(GOOD, "200 OK", "Content-Type: text/html; charset=none")),
    Odd("created", http(completion(), "201 Created")),
    Odd("the key in the answer", completion(f"1. {KEY}"), "1. [hidden]"),
    Odd("an error beside an answer", {**completion(), "error": None}),
    # bodies
    Odd("blanks and comments before it (OpenRouter)", http(b": PROCESSING\n\n   \n" + GOOD)),
    Odd("something after it", http(GOOD + b"\n<!-- served by x -->")),
    Odd("line breaks within its strings", http(GOOD.replace(b"\\n", b"\n"))),
    Odd("a hundred thousand choices", choices(*[{"text": TEXT}] * 100_000)),
    Odd("NaN within", replaced('"index": 0', '"index": NaN, "logprobs": [NaN, -Infinity]')),
    Odd("a key twice", replaced('"content": ', '"content": null, "content": ')),
    Odd("an array around it", [completion()]),
    Odd("the same twice, one after another", http(GOOD + b"\n" + GOOD)),
    Odd("UTF-16", http(json.dumps(completion()).encode("utf-16"))),
    Odd("UTF-32 without a mark", http(json.dumps(completion()).encode("utf-32-le"))),
    Odd("UTF-16 with the key", http(json.dumps(completion(f"1. {KEY}")).encode("utf-16")), "1. [hidden]"),
    Odd("UTF-32 with the key", http(json.dumps(completion(f"1. {KEY}")).encode("utf-32-le")), "1. [hidden]"),
    Odd("delta beside message", choices({"delta": None, "message": {"content": TEXT}})),
    Odd(
        "fields of others (Azure, llama.cpp)",
        {
            **completion(content_filter_results={"hate": {"filtered": False}}, logprobs=None),
            **{"prompt_filter_results": [{}], "timings": {"predicted_n": 7}, "system_fingerprint": None},
        },
    ),
    Odd("delta in place of message", choices({"delta": {"content": TEXT}, "finish_reason": "stop"})),
    Odd("a message that is a string", choices({"message": TEXT})),
    Odd("a message that is null, and a text", choices({"message": None, "text": TEXT})),
    Odd("a message without content, and a text", choices({"message": {"content": None}, "text": TEXT})),
    Odd("an index that is none", choices({"index": [[1]], "text": TEXT})),
    Odd(
        "a call of a tool with the texts",
        completion(
            {
                "content": None,
                "tool_calls": [{"type": "function", "function": {"name": "json", "arguments": TEXT}}],
            },
            finish_reason="tool_calls",
        ),
    ),
    Odd("a refusal's field beside an answer", completion({"content": TEXT, "refusal": "no"})),
    Odd("annotations, audio and citations", completion({"content": TEXT, "audio": {"id": 1}, "annotations": [{}]})),
    Odd("events, though not asked for", stream(delta(""), delta("1. one\n2. "), LAST)),
    Odd("events with the usage at the end", stream(delta(TEXT), delta(None, "stop"), {"choices": [], "usage": USED})),
    Odd("events with thoughts", stream(choices({"delta": {"reasoning_content": "1. a"}}), delta("1. one\n2. "), LAST)),
    Odd("events of completions", stream(choices({"text": "1. one\n2. "}), choices({"text": "two"}))),
    Odd("events of a whole answer", stream(completion())),
    Odd("events without a word on the end", stream(delta(TEXT), {"usage": USED})),
    Odd(
        "events with half a surrogate pair each",
        stream(delta("1. \ud83d"), delta("\ude00", "stop", usage=USED)),
        "1. 😀",
    ),
    Odd(
        "events and remarks in brackets",
        http(b": [processing]\n\nevent: [a]\ndata: [ping]\n\n" + stream(delta(TEXT), LAST).split(b"\r\n\r\n", 1)[1]),
        f"{TEXT}two",
    ),
    Odd("lines of deltas", http("\n".join(map(json.dumps, [delta("1. one\n2. "), LAST])).encode())),
    Odd(
        "two answers in events",
        stream(
            *(
                choices({"index": index, "delta": {"content": text}})
                for text in ("1. one\n", "2. two")
                for index in (0, 1)
            ),
            {"usage": USED},
        ),
    ),
    # how answers end
    *map(ends, ["eos", "eos_token", "end_turn", "STOP", "stop_sequence", None, ""]),
    *map(ends, ["done", "unknown", "complete", "normal", "OTHER", "tool_calls", "function_call", "pause_turn", 2]),
    *map(ends, [{"type": "stop", "matched": 128009}, {"a": [1]}]),
    Odd("no word on how it ended", {"choices": [{"message": {"content": TEXT}}], "usage": USED}),
    # counts
    counted("without", None, WORST, WORST),
    counted("null", {"prompt_tokens": None, "completion_tokens": None}, WORST, WORST),
    counted("empty", {}, WORST, WORST),
    counted("a list", [1, 2], WORST, WORST),
    counted("a word", "many", WORST, WORST),
    counted("of the prompt only", {"prompt_tokens": 5}, 5, WORST),
    counted("of the answer only", {"completion_tokens": 7}, WORST, 7),
    counted("in strings", {"prompt_tokens": "5", "completion_tokens": "7"}, 5, 7),
    counted("in words", {"prompt_tokens": "five", "completion_tokens": [7]}, WORST, WORST),
    counted("in fractions", {"prompt_tokens": 5.0, "completion_tokens": 6.5}, 5, WORST),
    counted("of other names", {"input_tokens": 5, "output_tokens": 7}, 5, 7),
    counted("within usage (Cohere)", {"tokens": USED, "billed_units": USED}, WORST, WORST),
    counted("negative", {"prompt_tokens": 5, "completion_tokens": -100}, 5, WORST),
    counted("zero", {"prompt_tokens": 0, "completion_tokens": 0}, WORST, WORST),
    counted("true", {"prompt_tokens": True, "completion_tokens": 7}, WORST, 7),
    counted("too large", {"prompt_tokens": 10**25, "completion_tokens": 7}, WORST, 7),
    counted("with hidden thoughts (Gemini)", {**USED, "total_tokens": 90}, 5, 85),
    counted("with a total only for the answer", {"prompt_tokens": 5, "total_tokens": 12}, 5, 7),
    Odd("usage Infinity", replaced(": 7", ": Infinity"), tokens=(5, WORST)),
    Odd("usage NaN", replaced(": 7", ": NaN"), tokens=(5, WORST)),
    Odd("usage 1e400", replaced(": 7", ": 1e400"), tokens=(5, WORST)),
    Odd("usage of 5000 digits", replaced(": 7", f": {'9' * 5000}"), tokens=(5, WORST)),
    # answers that are not served
    Odd("a refusal's field beside ''", completion({"content": "", "refusal": "I cannot."}), None, said="refused"),
    Odd("nothing but a limit (Gemini)", choices({"finish_reason": "length", "message": {}}), None, said="truncated"),
    Odd("a refusal's field", completion({"content": None, "refusal": "I cannot write that."}), None, said="refused"),
    Odd("only thoughts", completion({"content": None, "reasoning_content": "1. plan"}), None, said="empty"),
    Odd("no content", completion({}), None, said="empty"),
    Odd("a message that is null", choices({"message": None}), None, said="empty"),
    Odd("a deep content", http(GOOD.replace(json.dumps(TEXT).encode(), b"[" * 500 + b"]" * 500)), None, said="empty"),
    Odd("events that break off", stream(delta("1. one\n"), delta("2. tw"), end=""), None, (WORST, WORST), "truncated"),
    Odd("one event, and no more", stream(delta("1. one\n"), end='data: {"ch'), None, (WORST, WORST), "truncated"),
    Odd(
        "events with [DONE] in a text that break off",
        *(stream(delta("1. [DONE]\n"), delta("2. tw"), end=""), None, (WORST, WORST), "truncated"),
    ),
    Odd(
        "events with an error among them (vLLM, LiteLLM)",
        *(stream(delta("1. one\n"), {"error": {"message": "Overloaded"}}), None, (WORST, WORST), "truncated"),
    ),
    Odd(
        "events with a torn one among them",
        stream(delta("1. one\n"), end=f'data: {{"choices": [{{"de\n\ndata: {json.dumps(LAST)}\n\ndata: [DONE]\n\n'),
        *(None, (5, 7), "truncated"),
    ),
    Odd("a number", completion({"content": 12}), None, said="empty"),
    *(
        Odd(f"cut by {word!r}", completion(finish_reason=word), None, said="truncated")
        for word in ("length", "MAX_TOKENS", "model_context_window_exceeded", {"type": "length", "length": 100})
    ),
    *(
        # vLLM: its engine was paused or ended; SGLang: the same, after a token too; Z.ai, Cohere, DeepSeek, Mistral and
        # OpenRouter: the provider broke off. TGI and llama.cpp have no such end, they send an error.
        Odd(f"broken off by {word!r}", completion(finish_reason=word), None, said="truncated")
        for word in ("abort", "error", "ERROR", "cancelled", "USER_CANCEL", "insufficient_system_resource")
    ),
    *(
        Odd(f"ended by {word!r}", completion(finish_reason=word), None, said="filtered")
        for word in (
            *("content_filter", "SAFETY", "content_filter: RECITATION", "PROHIBITED_CONTENT", "ERROR_TOXIC"),
            *("sensitive", "guardrail_intervened"),
        )
    ),
    Odd("ended by 'refusal' (Anthropic)", completion(finish_reason="refusal"), None, said="refused"),
    # no answers, which may have been billed
    no_answer(
        "an error (OpenRouter)", {"error": {"code": 502, "message": "Provider said no"}}, "200: Provider said no"
    ),
    no_answer("an error that is a string (TGI)", {"error": "Model is loading", "choices": []}, "200: Model is loading"),
    no_answer("choices null", {"choices": None, "error": {"message": "No GPU"}}, "200: No GPU"),
    no_answer(
        "an error in the choice (OpenRouter)",
        choices(
            {"message": {"content": ""}, "finish_reason": "error", "error": {"code": 502, "message": "High demand"}}
        ),
        "200: High demand",
    ),
    no_answer("an error in an event", stream({"error": {"message": "Overloaded"}}), "200: Overloaded"),
    no_answer("errors in a list (Google)", [{"error": {"status": "X", "message": "Quota"}}], "200: Quota"),
    no_answer("a detail (FastAPI)", {"detail": [{"loc": ["body"], "msg": "Field required"}]}, "200: Field required"),
    no_answer("an HTML page", http(b"<html>\x1b[31mlog in\x1b[0m</html>"), "200: <html> [31mlog in [0m</html>"),
    no_answer("nothing", http(b""), "the endpoint answered 200"),
    no_answer("null", http(b"null"), "200: null"),
    no_answer("choices that are none", {"choices": {"a": 1}}, "the endpoint answered 200"),
    no_answer("deep JSON", http(b"[" * 200_000), "the endpoint answered 200"),
    no_answer("half a body", http(GOOD[:60], length=len(GOOD)), "no whole answer: it broke off"),
    no_answer("half a gzip", packed(b"\x1f\x8bnonsense", "gzip"), "no whole answer: it broke off"),
    no_answer("brotli, which was not asked for", packed(b"\x0b\x02\x80", "br"), "the endpoint answered 200"),
    no_answer("too large", http(b" " * (17 * 2**20)), "no whole answer: it has more than 16 MiB"),
    no_answer("a bomb", packed(gzip.compress(bytes(2**26)), "gzip"), "no whole answer: it has more than 16 MiB"),
    no_answer("no status", b"hello\r\n\r\n", "no connection to the endpoint (ClientResponseError)"),
    no_answer("a status that is none", b"HTTP/1.1 OK\r\n\r\n", "no connection to the endpoint (ClientResponseError)"),
    no_answer("a header that is none", http(GOOD, "200 OK", "a\x00b : c"), "no connection to the endpoint"),
    no_answer("a long header", http(GOOD, "200 OK", "a: " + "b" * 100_000), "no connection to the endpoint"),
    no_answer("a closed line", b"", "no connection to the endpoint (ServerDisconnectedError)"),
    no_answer("408", http(b"", "408 Request Timeout"), "the endpoint answered 408"),
    no_answer("500", http({"error": {"message": f"key {KEY}"}}, "500 Oops"), "the endpoint answered 500: key [hidden]"),
    no_answer("502", http(b"<html>oops</html>", "502 Bad Gateway"), "the endpoint answered 502: <html>oops</html>"),
    no_answer("504", http({"a": 1}, "504 Gateway Timeout", "Retry-After: nan"), 'the endpoint answered 504: {"a": 1}'),
    no_answer("a status of its own", http(b"", "999 Whatever"), "the endpoint answered 999"),
    # no answers, which were not billed
    *(
        no_answer(
            str(status), http({"message": "no"}, f"{status} No"), f"the endpoint answered {status}: no", billed=False
        )
        for status in (400, 401, 403, 404, 422, 429)
    ),
]
KEPT = {"half a body", "half a gzip", "500", "502", "504", "an HTML page", "deep JSON", "a refusal's field", "good"}


def page() -> str:
    return PAGE.format(rows="\n".join(map(str, ROWS)))


def test_the_page_has_these_rows():
    assert (ROOT / "docs" / "odd_answers.md").read_text(encoding="utf-8") == page()


def asked(name: str, number: int = 0) -> Request:
    messages = (Message("system", "context"), Message("user", name))
    return Request(Conversation("humor", "zero_shot", "humorous", messages, number), 10, (), "http://x/v1", "m", {})


class Line:
    """An endpoint in this process: `reply` makes the bytes that answer the JSON of each request."""

    def __init__(self, reply) -> None:
        self.reply, self.asked = reply, []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *error) -> None:
        self.server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = (line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        self.asked.append(json.loads(await reader.readexactly(int(length))))
        writer.write(self.reply(self.asked[-1]))
        try:
            await writer.drain()
        except ConnectionError:  # the client has had enough
            return
        writer.close()

    def llm(self, log: ResponseLog, **changes) -> EndpointLLM:
        fixed = {"backend": "openai", "model": "m", "base_url": self.url, "max_tokens": MOST, "attempts": 1}
        return EndpointLLM(OpenAISettings(**{**fixed, **changes}), log)


def ask_all(path, reply, requests, **changes):
    """What comes of asking all requests at once; with what the endpoint was asked."""

    async def story():
        async with Line(reply) as line:
            with ResponseLog(path) as log:
                llm = line.llm(log, **changes)
                outcomes = await asyncio.gather(*map(llm.ask, requests), return_exceptions=True)
                await llm.close()
        return outcomes, line.asked

    return asyncio.run(story())


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """{name: the answer or error}, and the rows of the log by name."""
    path = tmp_path_factory.mktemp("odd") / "log.sqlite"
    sent = {row.name: row.sent if isinstance(row.sent, bytes) else http(row.sent) for row in ROWS}
    assert len(sent) == len(ROWS)
    with mock.patch.dict(os.environ, OPENAI_API_KEY=KEY):
        found, _ = ask_all(path, lambda body: sent[body["messages"][-1]["content"]], map(asked, sent))
    assert KEY.encode() not in b"".join(one.read_bytes() for one in path.parent.iterdir())
    rows = {name: [] for name in sent}
    names = {asked(name).key: name for name in sent}
    with sqlite3.connect(path) as log:
        log.row_factory = sqlite3.Row
        for row in log.execute("SELECT * FROM response"):
            rows[names[row["key"]]].append(row)
    return dict(zip(sent, found, strict=True)), rows


@pytest.mark.parametrize("odd", ROWS, ids=lambda odd: odd.name)
def test_an_odd_answer(outcomes, odd):
    answers, rows = outcomes
    answer, rows = answers[odd.name], rows[odd.name]
    if odd.text is None:
        assert odd.said in str(answer)
        assert type(answer).__name__ == "RequestFailed"
        assert KEY not in str(answer)
    else:
        assert answer.text == odd.text
        assert answer.parsed.texts
    most = {"prompt": most_tokens(*asked(odd.name).conversation.messages), "completion": MOST}
    expected = [n if n != WORST else most[what] for n, what in zip(odd.tokens or (0, 0), most, strict=True)]
    assert [sum(row[f"{what}_tokens"] or 0 for row in rows) for what in most] == expected
    if odd.name in KEPT:
        assert any(row["body"] for row in rows)


# --------------------------------------------------------------------------------------------------- roles, addresses

REFUSALS = [
    "System role not supported",  # Gemma's template
    "Conversation roles must alternate user/assistant/user/assistant/...",  # Mistral's
    "Only user and assistant roles are supported!",  # Llama 2's
    "Unsupported value: 'messages[0].role' does not support 'system' with this model.",  # o1-mini
    "Developer instruction is not enabled for models/gemma-3-27b-it",  # Google's gateway
]


@pytest.mark.fault(
    "Answers of live LLMs",
    "a model without the role of the system",
    "its prompt begins the first request from then on",
    costs="one refused request",
)
@pytest.mark.parametrize("status", [400, 422, 500])
def test_where_the_role_of_the_system_is_refused_its_prompt_begins_the_first_request(tmp_path, status):
    def reply(body) -> bytes:
        said = REFUSALS[int(body["messages"][-1]["content"][-1])]
        refused = body["messages"][0]["role"] == "system"
        return http({"error": {"message": said}}, f"{status} No") if refused else http(completion())

    for number in range(len(REFUSALS)):
        one = [asked(str(number), more) for more in range(3)]
        answers, sent = ask_all(tmp_path / f"{number}", reply, one, concurrency=1)
        assert [answer.text for answer in answers] == [TEXT] * 3
        roles = [[message["role"] for message in body["messages"]] for body in sent]
        assert roles == [["system", "user"], *[["user"]] * 3]
        assert sent[-1]["messages"][0]["content"] == f"context\n\n{number}"
        (known,), sent = ask_all(tmp_path / f"{number}", reply, one[:1])
        assert (known.text, sent) == (TEXT, [])


@pytest.mark.parametrize(("system_role", "roles"), [(False, [["user"]]), (True, [["system", "user"]])])
def test_the_role_of_the_system_is_a_setting(tmp_path, system_role, roles):
    refused = http({"error": REFUSALS[0]}, "400 No")
    _, sent = ask_all(tmp_path / "log", lambda body: refused, [asked("x")], system_role=system_role)
    assert [[message["role"] for message in body["messages"]] for body in sent] == roles


@pytest.mark.parametrize(("path", "hint"), [("", True), ("/v1", False)])
def test_an_address_without_v1_is_suspected_where_nothing_is_found(tmp_path, path, hint):
    async def story() -> str:
        async with Line(lambda body: http(b"404 page not found", "404 Not Found")) as line:
            with ResponseLog(tmp_path / "log") as log:
                llm = line.llm(log, base_url=line.url.removesuffix("/v1") + path)
                (error,) = await asyncio.gather(llm.ask(asked("x")), return_exceptions=True)
                await llm.close()
                return str(error)

    said = asyncio.run(story())
    assert "404 page not found" in said
    assert ("lack /v1" in said) == hint


# ------------------------------------------------------------------------------------------------------------- budget


@pytest.mark.fault(
    "Answers of live LLMs",
    "token counts that are missing, null, in part, negative or absurd",
    "they count at their worst; what the server billed never crosses the budget",
)
def test_what_the_server_counts_never_crosses_the_budget_however_it_tells(tmp_path):
    billed = []

    def reply(body) -> bytes:
        number = int(body["messages"][-1]["content"])
        true = {"prompt_tokens": 9, "completion_tokens": MOST - number % 7}
        billed.append(9 + true["completion_tokens"])
        told = [true, None, {}, {"completion_tokens": -5}, {"prompt_tokens": 9}, {"output_tokens": 10**9}, true][
            number % 7
        ]
        if number % 11 == 10:
            return http(b"", "502 Bad Gateway") if number % 2 else http(GOOD[:50], length=900)
        return http(completion(f"1. text {number}", told))

    money = {"input_price": 1e6, "output_price": 1e6, "budget": 5000.0}  # a token costs 1
    found, _ = ask_all(tmp_path / "log", reply, [asked(str(number)) for number in range(120)], **money)
    assert sum(billed) <= 5000
    assert sum(isinstance(one, Answer) for one in found) > 20
    assert any("the budget of 5000 is reached" in str(one) for one in found)
    more, _ = ask_all(tmp_path / "log", reply, [asked(str(number)) for number in range(120)], **money)
    assert [
        one.text for one, two in zip(found, more, strict=True) if isinstance(one, Answer) if one.text != two.text
    ] == []
    assert sum(billed) <= 5000


@pytest.mark.fault(
    "Answers of live LLMs",
    "a server that counts more tokens than were allowed",
    "the next requests are expected to cost as much, and the budget holds",
)
def test_a_server_that_counts_beyond_the_worst_is_expected_to_go_on_so(tmp_path):
    usage = {"prompt_tokens": 9, "completion_tokens": 5 * MOST}
    money = {"input_price": 1e6, "output_price": 1e6, "budget": 5000.0, "concurrency": 1}
    requests = [asked(str(number)) for number in range(20)]
    found, sent = ask_all(tmp_path / "log", lambda body: http(completion(usage=usage)), requests, **money)
    assert len(sent) * (9 + 5 * MOST) <= 5000
    assert sum(isinstance(one, Answer) for one in found) == len(sent) > 5


# ---------------------------------------------------------------------------------------------------------- one request


def test_two_on_one_log_ask_for_each_answer_once(tmp_path):
    async def story():
        async with Line(lambda body: http(completion())) as line:
            with ResponseLog(tmp_path / "log") as one, ResponseLog(tmp_path / "log") as other:
                llms = [line.llm(log, concurrency=3) for log in (one, other)]
                requests = [asked(str(number)) for number in range(12)]
                answers = await asyncio.gather(*(llm.ask(request) for request in requests for llm in llms))
                for llm in llms:
                    await llm.close()
                return answers, line.asked

    answers, sent = asyncio.run(story())
    assert [answer.text for answer in answers] == [TEXT] * 24
    assert sorted(int(body["messages"][-1]["content"]) for body in sent) == list(range(12))


def lease(log: ResponseLog, pid: int, seconds: float, host: str | None = None) -> Request:
    request = asked("x", pid)
    with (
        mock.patch("os.getpid", return_value=pid),
        mock.patch("platform.node", return_value=host or os.uname().nodename),
    ):
        log.note_request(request, Usage(1, 1), EndpointLLM.money, seconds)
    return request


@pytest.mark.fault(
    "Answers of live LLMs",
    "a process that was killed while it asked, here or on another machine",
    "others wait until it is known to be gone, or its time is over",
    costs="time",
)
def test_a_lease_ends_with_its_time_or_its_process(tmp_path):
    with ResponseLog(tmp_path / "log") as log:
        ended = 2**22 + 1  # no process has such a number
        assert log.under_way(lease(log, os.getpid(), 60).key)
        assert not log.under_way(lease(log, os.getpid() + 2**23, -1).key)
        assert not log.under_way(lease(log, ended, 60).key)
        assert log.under_way(lease(log, ended + 1, 60, "another machine").key)
        assert log.pending_tokens("m") == (4, 4)  # each may have been billed


def test_a_request_that_ended_is_nobody_s_any_longer(tmp_path):
    (error,), _ = ask_all(tmp_path / "log", lambda body: http(b"", "500 Oops"), [asked("x")])
    assert "500" in str(error)
    (answer,), sent = ask_all(tmp_path / "log", lambda body: http(completion()), [asked("x")])
    assert (answer.text, len(sent)) == (TEXT, 1)


# --------------------------------------------------------------------------------------------------------- read again


@pytest.mark.fault(
    "Answers of live LLMs",
    "a kill between the arrival of a response and its reading",
    "the response is in the log, and is read by the next run",
)
def test_what_was_kept_and_not_read_before_a_kill_is_read_after_it(tmp_path):
    with ResponseLog(tmp_path / "log") as log:
        log.keep_response(log.note_request(asked("x"), Usage(50, 60), EndpointLLM.money), 200, GOOD)
    with ResponseLog(tmp_path / "log") as log:
        assert log.get(asked("x").key) == Answer(TEXT, "stop", Usage(5, 7), "m")
        assert (log.paid_tokens("m"), log.pending_tokens("m")) == ((5, 7), (0, 0))


@pytest.mark.fault(
    "Answers of live LLMs", "an answer that could not be read, and a newer synthgap that can", "it is read from the log"
)
def test_a_better_reader_finds_answers_without_asking_again(tmp_path, monkeypatch):
    sent = {"an odd shape": http({"answer": TEXT}), "an odd end": http(completion(finish_reason="error"))}
    ask_all(tmp_path / "log", lambda body: sent[body["messages"][-1]["content"]], map(asked, sent))

    def better(body: bytes):
        told = json.loads(body)
        return read_completion(json.dumps(completion(told.get("answer", TEXT))).encode())

    monkeypatch.setattr("synthgap.llm.response_log.read_completion", better)
    answers, again = ask_all(tmp_path / "log", lambda body: b"", map(asked, sent))
    assert ([answer.text for answer in answers], again) == ([TEXT, TEXT], [])


@pytest.mark.fault("Answers of live LLMs", "a log of synthgap 0.2.0", "it is gone on with")
def test_a_log_of_version_0_2_0_is_gone_on_with(tmp_path):
    path = tmp_path / "log"
    with ResponseLog(path) as log:
        log.store(asked("good"), Answer(TEXT, "stop", Usage(5, 7), "m"))
        log.store(asked("turned down then"), Answer(TEXT, "stop", None, "m"))
    with sqlite3.connect(path) as old:
        for column in ("status", "body", "host", "pid", "lease"):
            old.execute(f"ALTER TABLE response DROP COLUMN {column}")
        ended = "UPDATE response SET finish_reason = 'eos_token', fault = 'filtered' WHERE key = ?"
        old.execute(ended, (asked("turned down then").key,))
    requests = [asked(name) for name in ("good", "turned down then", "new")]
    answers, sent = ask_all(path, lambda body: http(completion()), requests)
    assert [answer.text for answer in answers] == [TEXT] * 3
    assert [body["messages"][-1]["content"] for body in sent] == ["new"]


# ---------------------------------------------------------------------------------------------------------- full disks


def full_while_asking(path, is_warned=None):
    """What comes of three requests whose answers the disk has no room for, until `is_warned` and room is made."""

    async def story():
        with ResponseLog(path) as log:

            def reply(body) -> bytes:
                if len(line.asked) == 3:
                    (pages,) = log._connection.execute("PRAGMA page_count").fetchone()
                    log._connection.execute(f"PRAGMA max_page_count = {pages}")
                return http(completion("1. " + os.urandom(30_000).hex()))

            async def make_room() -> None:
                while not is_warned():
                    await asyncio.sleep(0.01)
                log._connection.execute("PRAGMA max_page_count = 1000000")

            async with Line(reply) as line:
                llm = line.llm(log)
                requests = asyncio.gather(*(llm.ask(asked(str(n))) for n in range(3)), return_exceptions=True)
                if is_warned:
                    await make_room()
                found = await requests
                await llm.close()
                return found

    return asyncio.run(story())


@pytest.mark.fault(
    "Answers of live LLMs",
    "a disk that fills up in mid-answer",
    "answers under way are held and said to be, and stored when there is room",
    costs="time",
)
def test_answers_that_the_disk_has_no_room_for_are_held_until_it_has(tmp_path, capsys):
    held = "answers are held until there is room, and nothing more is asked: the response log 'log' cannot be written"
    found = full_while_asking(tmp_path / "log", is_warned=lambda: held in capsys.readouterr().out)
    assert [one.text[:3] for one in found] == ["1. "] * 3
    with ResponseLog(tmp_path / "log") as log:
        assert [log.get(asked(str(n)).key).text for n in range(3)] == [one.text for one in found]
        assert log.pending_tokens("m") == (0, 0)


@pytest.mark.fault(
    "Answers of live LLMs",
    "a disk that stays full",
    "after ten minutes the run ends in a sentence; what was sent stays in the budget",
    lost="the answers under way",
    costs="the requests that were under way",
)
def test_a_disk_that_stays_full_ends_the_requests_and_they_stay_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(logged, "PATIENCE", 0.0)
    found = full_while_asking(tmp_path / "log")
    assert {type(one) for one in found} <= {LogUnwritable, Answer}
    unstored = sum(isinstance(one, LogUnwritable) for one in found)
    assert unstored > 0
    with ResponseLog(tmp_path / "log") as log:
        assert log.pending_tokens("m").completion_tokens == unstored * MOST


# ---------------------------------------------------------------------------------------------------------- whole runs


@contextlib.contextmanager
def in_a_thread(reply):
    """A `Line` beside what this thread does."""
    loop, line = asyncio.new_event_loop(), Line(reply)
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(line.__aenter__(), loop).result()
    yield line
    loop.call_soon_threadsafe(loop.stop)


@pytest.mark.fault(
    "Answers of live LLMs",
    "every third answer is an odd one, see the page",
    "all texts arrive, and no served answer is asked for again",
    costs="the answers that hold none",
)
@pytest.mark.parametrize("seed", range(3))
def test_a_run_among_odd_answers_gets_its_texts_and_asks_for_no_answer_again(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(logged, "BACKOFF", lambda state: 0.0)
    chance, numbers = random.Random(seed), itertools.count()
    odd = [row.sent if isinstance(row.sent, bytes) else http(row.sent) for row in ROWS if row.tokens]

    def reply(body) -> bytes:
        return chance.choice(odd) if chance.random() < 0.3 else http(completion(texts_for(str(next(numbers)))))

    with in_a_thread(reply) as line:
        made, shortfalls, _, before = run(line, tmp_path, real_texts(), attempts=20)
        assert shortfalls == []
        for task, setting, label in LABELS:
            assert (made[task, setting].texts["label"] == label).sum() >= 40
        after = run(line, tmp_path, real_texts(), attempts=20)[3]
    served = {row["key"] for row in before if not row["fault"]}
    assert sum(row["key"] in served for row in before) == sum(row["key"] in served for row in after)


@pytest.mark.fault(
    "Answers of live LLMs",
    "first answers without a single text in them",
    "the label is given up, and what the answers look like is shown",
    costs="the first answers",
)
@pytest.mark.parametrize("endpoint", ["prose"], indirect=True)
def test_where_no_first_answer_holds_a_text_no_more_are_asked(endpoint, tmp_path):
    real = {"humor": real_texts()["humor"]}
    _, shortfalls, llm, rows = run(endpoint, tmp_path, real)
    assert llm.asked == len(rows) == 2 * 2 * WANTED.conversations
    assert len(shortfalls) == 4
    for short in shortfalls:
        assert "none of the first 4 answers holds a text; one begins with '\\x1b[31mI would" in str(short)
        assert "nothing more was asked" in str(short)
    again = run(endpoint, tmp_path, real)
    assert again[2].asked == 0


if __name__ == "__main__":
    sys.stdout.write(page())
