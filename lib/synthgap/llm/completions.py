"""What an endpoint's response holds: an answer, its count of tokens, or what went wrong; whatever it looks like.

Endpoints vary OpenAI's chat completion: contents in parts, other names for how an answer ended and for its tokens.
Nothing that a server sends raises here.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from synthgap.llm.parsing import parse, without_lone_surrogates

MOST_TOKENS = 1_000_000  # of a prompt or an answer; a count above it is none
ENDS = {  # {how an answer ended: what endpoints' words for it contain}; it is whole after any other word
    "content_filter": re.compile("filter|safety|block|prohibit|sensitive|recitation|spii|toxic|guardrail|moderat"),
    "refusal": re.compile("refus"),
    # an engine that breaks off (vLLM's and SGLang's abort, OpenRouter's and Mistral's error) leaves half an answer too
    "length": re.compile(
        "length|max|limit|exceed|truncat|incomplete|abort|cancel|error|insufficient|interrupt|time_?out"
    ),
}
REASONING = re.compile("reason|think|thought")  # in the kind of a part that is no text
TEXT_KEYS = ("text", "content", "value", "parts", "tool_calls", "function", "arguments")  # where contents have theirs
ERROR_KEYS = ("error", "message", "detail", "msg", "errors", "choices")  # where errors have their sentence
EXCERPT = 2000  # characters of what an endpoint says, in which keys are looked for before it is shown
DEEPEST = 6  # contents within contents
JSON_BEGINS = re.compile(r"[{\[]")
EVENT = re.compile(r"^data:[ \t]*(\{.*)", re.MULTILINE)  # of a stream
DONE = re.compile(rb"^data:[ \t]*\[DONE\]", re.MULTILINE)  # its last event, also where an error came before


class Completion(NamedTuple):
    """An answer; a count of tokens is None where there is none that can be true."""

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


def read_completion(body: bytes) -> Completion | None:
    """The first whole answer in a response, else the first one with a text; None where it holds none."""
    values = [value for value in _json_values(body) if isinstance(value, dict)]
    choices = _choices(values)
    if not choices:
        return None
    is_done, is_torn = bool(DONE.search(body)), any(value.get("error") for value in values)
    answers = [_answer(fragments, is_done, is_torn) for fragments in choices]
    with_text = [answer for answer in answers if answer[0].strip()]
    if not with_text and any(fragment.get("error") for fragments in choices for fragment in fragments):
        return None
    whole = (one for one in with_text[1:] and with_text if one[1] == "stop" and not parse(one[0]).refused)
    text, finish_reason = next(whole, (with_text or answers)[0])
    usage = next((value["usage"] for value in reversed(values) if value.get("usage")), None)
    return Completion(text, finish_reason, *_tokens(usage, text))


def ending(finish_reason: Any) -> str:
    """How an answer ended: "stop" if it is whole, "length" if it is cut off, "content_filter" or "refusal"."""
    kind = finish_reason.get("type") if isinstance(finish_reason, dict) else finish_reason
    word = kind.lower() if isinstance(kind, str) else ""
    return next((end for end, words in ENDS.items() if words.search(word)), "stop")


def error_message(body: bytes) -> str:
    """The sentence of an error, or the beginning of whatever was sent, on one line without control characters."""
    value: Any = _json_values(body)
    while isinstance(value, dict | list):
        inner = [value.get(name) for name in ERROR_KEYS] if isinstance(value, dict) else value
        value = next(filter(None, inner), None)
    said = value if isinstance(value, str) else body.decode("utf-8", "replace")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in said[:EXCERPT]).split())


def _json_values(body: bytes) -> list[Any]:
    """The values in a body: of an answer in one piece, or of a stream's events; one that is torn is an error."""
    text = body.decode(json.detect_encoding(body), "replace")
    if events := EVENT.findall(text):
        return [value for event in events for value in _decoded(event) or [{"error": "an event is torn"}]]
    return _decoded(text)


def _decoded(text: str) -> list[Any]:
    """The JSON objects in a text, and what is in its arrays, up to what is no JSON."""
    decoder = json.JSONDecoder(parse_int=_integer, strict=False)
    values: list[Any] = []
    end = 0
    try:
        while begin := JSON_BEGINS.search(text, end):
            value, end = decoder.raw_decode(text, begin.start())
            values += value if isinstance(value, list) else [value]
    except (ValueError, RecursionError):
        pass
    return values


def _integer(digits: str) -> float:
    """Python refuses integers of thousands of digits, and with them the whole answer."""
    return int(digits) if len(digits) < 20 else math.inf


def _choices(values: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The answers to choose from, each in its fragments, which a stream gives the same index."""
    whole, fragments = [], dict[int, list[dict[str, Any]]]()
    for value in values:
        choices = value.get("choices")
        for place, choice in enumerate(choices if isinstance(choices, list) else []):
            if isinstance(choice, dict) and choice.get("message"):
                whole.append([choice])
            elif isinstance(choice, dict):
                index = choice.get("index")
                fragments.setdefault(index if isinstance(index, int) else place, []).append(choice)
    return [*whole, *fragments.values()]


def _answer(fragments: Sequence[dict[str, Any]], is_done: bool, is_torn: bool) -> tuple[str, str]:
    """An answer's text, or its refusal where there is none, and how it ended; a stream has to say that it is whole.

    Args:
        is_done: whether the stream came to its end.
        is_torn: whether an error or a torn event is in it.
    """
    messages = [fragment.get("message") or fragment.get("delta") or fragment for fragment in fragments]
    refusal = _text([message.get("refusal") for message in messages if isinstance(message, dict)])
    if not (text := _text(messages) or _text(fragments)) and refusal:
        return without_lone_surrogates(refusal), "refusal"
    words = [fragment["finish_reason"] for fragment in fragments if fragment.get("finish_reason")]
    is_stream = len(fragments) > 1 or messages[0] is fragments[0].get("delta")
    is_cut = is_stream and (is_torn or not (words or is_done))
    return without_lone_surrogates(text), "length" if is_cut else ending(words[-1] if words else None)


def _text(content: Any, depth: int = DEEPEST) -> str:
    """A content's text, also in parts and in parts of them; thoughts are none."""
    if isinstance(content, list) and depth:
        return "".join(_text(part, depth - 1) for part in content)
    if isinstance(content, dict) and depth:
        kind = content.get("type")
        if content.get("thought") is True or (isinstance(kind, str) and REASONING.search(kind.lower())):
            return ""
        return next(filter(None, (_text(content.get(key), depth - 1) for key in TEXT_KEYS)), "")
    return content if isinstance(content, str) else ""


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
