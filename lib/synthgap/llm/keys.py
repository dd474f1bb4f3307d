"""Keys, and addresses that may hold some: how they are kept out of everything that is said or stored."""

import base64
import functools
import html
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, urlsplit

from synthgap.core.config import LLMSettings, OpenAISettings, shown_endpoint

HIDDEN = "[hidden]"
SHORTEST = 8  # signs; a shorter value ("none", "EMPTY", "ollama") is no secret, and hiding it would tear other words
HUB_KEY = "HF_TOKEN"  # which the Hugging Face Hub's client reads
# between two signs, where a terminal, a mail or a notebook's JSON breaks a line; with its padding and indentation
BREAK = r"[ \t\"',|│]{0,200}+(?:[\r\n]|\\{1,4}[rn])(?:[\s\"',|│>]|\\{1,4}[rn]){0,200}"
LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk|gsk)[-_][\w-]{6,}|\bBearer \S+")  # somebody else's, as an endpoint may tell it


def on_this_machine(url: str) -> bool:
    """Whether an address leads to this machine and nowhere else."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hide_keys(text: str, llms: Iterable[LLMSettings] = ()) -> str:
    """A text without the keys and the addresses of LLMs, however they are spelled or wrapped and whatever is around.

    Keys are those that the environment has under the names that the settings give, and the Hub's. Of an address its
    scheme, host and port are left.
    """
    endpoints = [one for one in llms if isinstance(one, OpenAISettings)]
    for url in {one.endpoint for one in endpoints if len(one.endpoint) > len(shown_endpoint(one.endpoint))}:
        text = _spelled(url).sub(shown_endpoint(url).replace("\\", "/"), text)
    for secret in sorted({*_secrets(endpoints)}, key=len, reverse=True):
        text = hide_secret(secret, text)
    return text


def hide_secret(secret: str, text: str) -> str:
    """A text without a secret in any of its spellings, Base64 included."""
    for spelled in (_spelled(secret), _in_base64(secret)):
        text = spelled.sub(HIDDEN, text)
    return text


def _secrets(endpoints: Iterable[OpenAISettings]) -> Iterator[str]:
    """The keys, and what addresses have in their queries, or as a long path."""
    values = [os.environ.get(HUB_KEY, "")]
    for one in endpoints:
        url = urlsplit(one.endpoint)
        queried = [value for _, value in parse_qsl(url.query)]
        values += [os.environ.get(one.key_variable, ""), url.path, url.query, *queried]
    stripped = (value.strip("/ \t\r\n") for value in values)
    return (value for value in stripped if len(value) >= SHORTEST)


@functools.lru_cache(maxsize=32)
def _spelled(secret: str) -> re.Pattern[str]:
    """A secret as it is, or wrapped, or with any of its signs escaped for an address, JSON, Python or HTML."""
    begins = rf"(?=[\\%&{re.escape(secret[0])}])"  # which is looked for in a third of the time
    blank = rf"(?:(?>{BREAK})?(?:{_spelled_sign(' ')}|{_spelled_sign('+')})(?>{BREAK})?|{BREAK})"  # or a + in a form
    words = (f"(?:{BREAK})??".join(map(_spelled_sign, word)) for word in secret.split(" "))
    return re.compile(begins + blank.join(words), re.IGNORECASE)


@functools.lru_cache(maxsize=32)
def _in_base64(secret: str) -> re.Pattern[str]:
    """What Base64 makes of a secret, wherever it begins in what was encoded: in front of it may stand a user's name."""
    encoded = []
    for before, unsure in enumerate((0, 2, 3)):  # signs that depend on what stands before
        content = bytes(before) + secret.encode("utf-8", "surrogateescape")
        encoded.append(base64.b64encode(content).decode()[unsure : len(content) * 8 // 6])
    signs = {"+": "(?:[+-]|%2[Bb])", "/": r"(?:\\?[/_]|%2[Ff])"}
    return re.compile("|".join(f"(?:{BREAK})??".join(signs.get(sign, sign) for sign in one) for one in encoded))


def _spelled_sign(sign: str) -> str:
    code = ord(sign)
    as_bytes = "".join(rf"(?:%(?:25){{0,3}}|\\{{1,4}}x){byte:02x}" for byte in sign.encode("utf-8", "surrogateescape"))
    forms = [
        rf"\\{{0,4}}{re.escape(sign)}",
        as_bytes,
        rf"\\{{1,4}}u{code:04x}",
        rf"&\#0{{0,6}}(?:{code}|x0{{0,6}}{code:x});",
    ]
    if (named := html.escape(sign)) != sign:
        forms.append(re.escape(named))
    return f"(?:{'|'.join(forms)})"
