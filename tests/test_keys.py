"""A key and an address are told to nobody, whatever stands around them; loopback is reached without a proxy."""

import asyncio
import base64
import html
import http.server
import json
import threading
from urllib.parse import quote, quote_plus

import pytest

from synthgap.core.config import OpenAISettings, shown_endpoint
from synthgap.core.errors import SynthgapError
from synthgap.llm import model_of
from synthgap.llm.base import Conversation, Message
from synthgap.llm.keys import hide_keys, on_this_machine
from synthgap.llm.openai import EndpointLLM
from synthgap.llm.response_log import ResponseLog

KEYS = [
    "gsk_AbCdEf0123456789",
    "sk-proj-1234567890abcdef",
    "a/b+c=d&e\"f'g\\h<i>é-0123",
    "0123456789abcdef",
    "a canary of+a/key",
]
AROUND = [
    "key {} is invalid",
    "({})",
    "key={}",
    "https://x.test/v1?key={}&a=b",
    '{{"error": "{}"}}',
    "'{}'",
    "Bearer {}.",
    "{}{}",
    "a\n{}\tb",
]
SPELLED = {
    "as it is": str,
    "in an address": lambda key: quote(key, safe=""),
    "in a form": quote_plus,
    "twice in an address": lambda key: quote(quote(key, safe=""), safe=""),
    "in JSON": lambda key: json.dumps(key)[1:-1],
    "in JSON in JSON": lambda key: json.dumps(json.dumps(key))[3:-3],
    "in Python": lambda key: repr(key)[1:-1],
    "in Python as bytes": lambda key: repr(key.encode())[2:-1],
    "in JSON with numbers": lambda key: "".join(f"\\u{ord(sign):04x}" for sign in key),
    "in JSON with slashes": lambda key: json.dumps(key)[1:-1].replace("/", r"\/").replace("+", r"\u002b"),
    "in an address in JSON": lambda key: json.dumps(quote_plus(key).replace("+", "%20"))[1:-1],
    "in a form twice": lambda key: quote_plus(quote_plus(key)),
    "in HTML": html.escape,
    "in HTML with numbers": lambda key: "".join(f"&#{ord(sign):03};" for sign in key),
    "in capitals": str.upper,
}


def settings(url: str | None = "http://127.0.0.1:1/v1", **changes) -> OpenAISettings:
    return OpenAISettings(backend="openai", model="m", base_url=url, key_variable="TEST_KEY", attempts=1, **changes)


@pytest.mark.fault(
    "Keys and addresses",
    "a key escaped for an address, JSON, Python or HTML, whatever stands around it",
    "it is hidden",
)
@pytest.mark.parametrize("spelled", SPELLED)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_hidden_whatever_stands_around_it(key, spelled, monkeypatch):
    monkeypatch.setenv("TEST_KEY", f"{key}\n")
    said = SPELLED[spelled](key)
    for around in AROUND:
        before, _, after = around.replace("{}{}", "{}").format("\0").partition("\0")
        text = hide_keys(around.format(said, said), [settings()])
        assert said.lower() not in text.lower()
        assert text.startswith(f"{before}[hidden]")
        assert text.endswith(after)


WRAPS = [
    "\n",
    "\r\n",
    "\n      ",
    "   \n\n   ",
    " │\n│ ",
    r"\n",
    r"\r\n    ",
    r"\\n",
    '\\n",\n     "',
    "',\n '",
    "\n> ",
]


@pytest.mark.fault("Keys and addresses", "a key that is broken by the end of a line, at any column", "it is hidden")
@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_hidden_wherever_its_line_breaks(key, wrap, monkeypatch):
    monkeypatch.setenv("TEST_KEY", key)
    broken = [key[:column] + wrap + key[column:] for column in range(1, len(key))]
    broken += [wrap.join(key), key.replace(" ", wrap)]
    assert {hide_keys(f"key {one} is\ninvalid", [settings()]) for one in broken} == {"key [hidden] is\ninvalid"}


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes])
@pytest.mark.parametrize("before", ["", ":", "me:", "user:", "x" * 60])
@pytest.mark.parametrize("key", [*KEYS, "user:pass~~~???>>>word"])
def test_a_key_is_hidden_in_base64(key, before, encode, monkeypatch):
    monkeypatch.setenv("TEST_KEY", key)
    said = encode(f"{before}{key}:x".encode()).decode()
    for around in (f"Basic {said} is wrong", quote(said), json.dumps(said), said.replace("/", r"\/")):
        text = hide_keys(around, [settings()])
        assert "[hidden]" in text
        assert len(text) <= len(around) - len(key.encode()) * 4 // 3 + 2 + len("[hidden]")


def test_words_that_are_no_secret_stay(monkeypatch):
    monkeypatch.setenv("TEST_KEY", "password")
    text = "no pass word: 'pass', 'word'; a pass, or a\nword; passwor\n"
    assert hide_keys(text, [settings()]) == text
    monkeypatch.setenv("TEST_KEY", "none")
    text = "none of the task-based desk-tops at http://127.0.0.1:1 was reached"
    assert hide_keys(text, [settings()]) == text
    monkeypatch.delenv("TEST_KEY")
    assert hide_keys(text, [settings(), settings(None)]) == text


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("part", "key"),
    [
        *(
            (part, KEYS[0])
            for part in ("\\", "%25", "gsk_", "https://gateway.test/", "&#", "g\n", "gs\n      ", "Z3NrX0")
        ),
        *((part, KEYS[4]) for part in ("a\n", "a" + "\n" * 400, "a" + "\n " * 200)),
    ],
)
def test_a_long_text_that_looks_like_the_beginning_of_a_key_is_read_in_time(part, key, monkeypatch):
    monkeypatch.setenv("TEST_KEY", key)
    text = part * (500_000 // len(part))
    assert hide_keys(text + key, [settings("https://gateway.test/s3cr3t-path")]).endswith("[hidden]")


@pytest.mark.fault(
    "Keys and addresses",
    "secrets in the path or query of a base URL",
    "scheme, host and port are stored and shown, nothing else",
)
@pytest.mark.parametrize(
    ("url", "shown", "here"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000", True),
        ("http://127.0.0.1:80/s3cr3t-path/v1?token=abcdefgh", "http://127.0.0.1:80", True),
        ("http://127.9.9.9/v1", "http://127.9.9.9", True),
        ("http://[::1]:11434/v1", "http://[::1]:11434", True),
        ("https://user:password@gateway.test/v1", "https://gateway.test", False),
        ("https://localhost.gateway.test/v1", "https://localhost.gateway.test", False),
        ("https://127.0.0.1.gateway.test/v1", "https://127.0.0.1.gateway.test", False),
        (
            "https://gateway.test:8443/azure?api-version=2026-01-01&code=hunter2hunter2",
            "https://gateway.test:8443",
            False,
        ),
        ("https://10.0.0.1", "https://10.0.0.1", False),
    ],
)
def test_of_an_address_scheme_host_and_port_are_shown(url, shown, here):
    assert shown_endpoint(url) == shown
    assert on_this_machine(url) == here
    if "@" not in url:
        assert model_of(settings(url)) == f"m at {shown}"
        assert hide_keys(f"x = '{url}'; # {url}", [settings(url)]) == f"x = '{shown}'; # {shown}"


def test_what_an_address_holds_is_hidden_alone_too():
    one = settings("https://gateway.test/s3cr3t-path/v1?code=hunter2hunter2")
    text = hide_keys("no route /s3cr3t-path/v1/chat; code hunter2hunter2 is old; code=hunter2hunter2", [one])
    assert text == "no route /[hidden]/chat; code [hidden] is old; [hidden]"


class Listener(http.server.BaseHTTPRequestHandler):
    """Notes requests, and gives one answer to all of them."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.heard.append((self.path, self.headers.get("authorization")))
        body = self.server.answer.encode()
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *about):
        pass


@pytest.fixture
def listen():
    """A function that starts a server on loopback, which answers so."""
    started = []

    def start(status: int = 200, answer: str = ""):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
        server.status, server.answer, server.heard = status, answer, []
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


GOOD = {
    "choices": [{"message": {"content": "1. a text"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}


def ask(one: OpenAISettings, folder):
    async def asked():
        with ResponseLog(folder / "responses.sqlite") as log:
            llm = EndpointLLM(one, log)
            conversation = Conversation("humor", "zero_shot", "humorous", (Message("user", "write"),))
            try:
                return await llm.ask(llm.request(conversation, 1))
            finally:
                await llm.close()

    return asyncio.run(asked())


@pytest.mark.fault(
    "Keys and addresses", "HTTP_PROXY is set and the endpoint is on this machine", "the proxy hears nothing"
)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_loopback_never_goes_through_a_proxy(host, variable, listen, tmp_path, monkeypatch):
    endpoint, proxy = listen(answer=json.dumps(GOOD)), listen(answer=json.dumps(GOOD))
    monkeypatch.setenv(variable, proxy.url)
    monkeypatch.setenv("TEST_KEY", KEYS[0])
    answer = ask(settings(endpoint.url.replace("127.0.0.1", host) + "/v1?version=2&code=x"), tmp_path)
    assert answer.text == "1. a text"
    assert endpoint.heard == [("/v1/chat/completions?version=2&code=x", f"Bearer {KEYS[0]}")]
    assert proxy.heard == []


@pytest.mark.fault(
    "Keys and addresses",
    "an endpoint whose error repeats the key",
    "its sentence is shown with [hidden] in the place of the key",
)
@pytest.mark.parametrize("key", KEYS[:2])
@pytest.mark.parametrize("around", AROUND)
def test_an_endpoint_that_repeats_the_key_is_told_without_it(key, around, listen, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_KEY", key)
    said = around.format(key, key)
    for number, body in enumerate((said, json.dumps({"error": {"message": said}}))):
        endpoint = listen(401, body)
        with pytest.raises(SynthgapError, match="the endpoint answered 401: ") as error:
            ask(settings(endpoint.url + "/s3cr3t-path/v1"), tmp_path / str(number))
        assert key not in str(error.value)
        assert "[hidden]" in str(error.value)
        assert "s3cr3t" not in str(error.value)


def test_what_is_missing_is_said_without_the_rest_of_the_address(monkeypatch):
    one = settings("https://gateway.test/s3cr3t-path/v1?code=hunter2hunter2")
    monkeypatch.delenv("TEST_KEY", raising=False)
    for message, key in (
        ("no key for https://gateway.test: set the variable TEST_KEY", ""),
        ("may cost money", KEYS[0]),
    ):
        monkeypatch.setenv("TEST_KEY", key)
        with pytest.raises(SynthgapError, match=message) as error:
            EndpointLLM(one).check()
        assert "s3cr3t" not in str(error.value)
        assert "hunter2" not in str(error.value)
