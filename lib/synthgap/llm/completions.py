"""What an endpoint's response holds: an answer, its count of tokens, or what went wrong; whatever it looks like.

Endpoints vary OpenAI's chat completion: contents in parts, other names for how an answer ended and for its tokens.
Nothing that a server sends raises here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from synthgap.llm.parsing import without_lone_surrogates

MOST_TOKENS = 1_000_000  # of a prompt or an answer; a count above it is none
ENDS = {  # {how an answer ended: the ways of endpoints to say it}
    "stop": {"stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "complete", "none", "null", ""},
    "length": {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"},
}
REASONING_PARTS = {"thinking", "reasoning", "reasoning_content", "redacted_thinking"}  # kinds of parts that are no text
ERROR_KEYS = ("error", "message", "detail", "msg", "errors")  # where errors have their sentence
EXCERPT = 2000  # characters of what an endpoint says, in which keys are looked for before it is shown


class Completion(NamedTuple):
    """An answer; a count of tokens is None where there is none that can be true."""

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


def read_completion(body: bytes) -> Completion | None:
    """The first answer in a response; None where it holds none."""
    value = _json(body)
    choices = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    choice = choices[0]
    message = choice["message"] if isinstance(choice.get("message"), dict) else choice
    text, refusal = _text(message.get("content") or message.get("text")), _text(message.get("refusal"))
    finish_reason = "refusal" if refusal and not text else ending(choice.get("finish_reason"))
    return Completion(text or refusal, finish_reason, *_tokens(value.get("usage"), text))


def ending(finish_reason: Any) -> str:
    """ "stop", "length", or the endpoint's own word."""
    word = without_lone_surrogates(str(finish_reason or "")).lower()
    return next((end for end, words in ENDS.items() if word in words), word)


def error_message(body: bytes) -> str:
    """The sentence of an error, or the beginning of whatever was sent, on one line without control characters."""
    value = _json(body)
    while isinstance(value, dict | list):
        inner = [value.get(name) for name in ERROR_KEYS] if isinstance(value, dict) else value
        value = next(filter(None, inner), None)
    said = value if isinstance(value, str) else body.decode("utf-8", "replace")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in said[:EXCERPT]).split())


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig", "replace"), parse_int=_integer)
    except (ValueError, RecursionError):
        return None


def _integer(digits: str) -> float:
    """Python refuses integers of thousands of digits, and with them the whole answer."""
    return int(digits) if len(digits) < 20 else math.inf


def _text(content: Any) -> str:
    """A content's text, also in parts; thoughts are none."""
    parts = content if isinstance(content, list) else [content]
    said = [
        part.get("text") if isinstance(part, dict) and part.get("type") not in REASONING_PARTS else part
        for part in parts
    ]
    return without_lone_surrogates("".join(text for text in said if isinstance(text, str)))


def _tokens(usage: Any, text: str) -> tuple[int | None, int | None]:
    """Tokens of the prompt and of the answer, hidden thoughts included; a text has one at least."""
    counts = usage if isinstance(usage, dict) else {}
    prompt = _count(counts, ("prompt_tokens", "input_tokens"), 1)
    answer = _count(counts, ("completion_tokens", "output_tokens"), bool(text))
    total = _count(counts, ("total_tokens",), (prompt or 1) + (answer or bool(text)))
    if total is not None and prompt is not None:
        answer = total - prompt
    elif total is not None and answer is not None:
        prompt = total - answer
    return prompt, answer


def _count(counts: dict[str, Any], names: Sequence[str], least: int) -> int | None:
    """The first number under these names that can be a count of tokens."""
    for value in map(counts.get, names):
        try:
            number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            continue
        if number.is_integer() and least <= number <= MOST_TOKENS:
            return int(number)
    return None
