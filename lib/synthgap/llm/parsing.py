"""An LLM's answer -> texts. Lists of many shapes are understood; nothing is invented, and what is no text is kept.

Understood are numbered lines ("1.", "1)", "(1)", "**1.**", "Text 1:"), bullets, JSON lists (also torn ones), either in
a code fence or not, and several numbered texts on one line. Every piece of the answer ends up in a text or among the
leftovers.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from typing import Any

# marks at the beginning of a stripped line
NUMBER = re.compile(
    r"(?:\*\*|__|#{1,4}\s+)?(?:[A-Za-z]{1,10}\s+)?[(#\[]?(?P<number>\d{1,4})[.):\]]+(?:\*\*|__)?(?:\s+(?P<text>\S.*))?"
)
BULLET = re.compile(r"[-*•‣◦–](?:\s+(?P<text>\S.*))?")
INDENTED = re.compile(r"\s{2,}\S")
BEFORE_LIST = re.compile(r"[^\[{]*(?=[\[{]\s*[\"'\[{])")
BETWEEN_STRINGS = re.compile(r"[\s,\[]*")
FENCE = re.compile(r"^[^\S\n]*(?:```|~~~)[^\S\n]*[\w-]*[^\S\n]*(?:\n|\Z)", re.MULTILINE)
QUOTES = (('"', '"'), ("“", "”"), ("'", "'"), ("‘", "’"), ("«", "»"), ("„", "“"), ("`", "`"), ("**", "**"))
REFUSAL = re.compile(
    r"(?:i'?m sorry|i am sorry|sorry, but|i can(?:no|')t|i cannot|i'?m (?:not able|unable)|i won'?t|as an ai\b|"
    r"i must decline|i have to decline|unable to (?:help|assist|comply))",
    re.IGNORECASE,
)
DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True)
class Parsed:
    """What an answer holds.

    Attributes:
        texts: in order; "" where a number or bullet has nothing behind it.
        leftovers: pieces that are no text, in order.
        torn: whether the last text was cut off within a JSON list.
        refused: whether there is no text and the answer reads as a refusal.
    """

    texts: list[str]
    leftovers: list[str]
    torn: bool = False
    refused: bool = False


def parse(response: str) -> Parsed:
    """Split an answer into its texts and what is left over."""
    lines = response.removeprefix("\ufeff").splitlines()
    parts = FENCE.split("\n".join(lines))  # outside of fences and inside, by turns
    inside, outside = "".join(parts[1::2]), "\n".join(parts[::2])
    if not inside.strip():
        inside, outside = "".join(parts), ""
    parsed = _json(inside) or _listed(inside.split("\n"))
    refused = not any(parsed.texts) and REFUSAL.search(response.replace("’", "'")) is not None
    return Parsed(parsed.texts, [*_filled(outside), *parsed.leftovers], parsed.torn, refused)


def _filled(text: str) -> list[str]:
    """The lines that hold anything."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _json(text: str) -> Parsed | None:
    """The strings of a JSON list, also within an object or behind a preamble; None where there is none."""
    before = BEFORE_LIST.match(text)
    if before is None:
        return None
    torn = False
    try:
        value, end = DECODER.raw_decode(text, before.end())
    except (json.JSONDecodeError, RecursionError):
        value, end = _whole_strings(text, before.end())
        torn = True
    elements = _elements(value)
    texts = [_one_line(element) for element in elements if isinstance(element, str)]
    others = [json.dumps(element, ensure_ascii=False) for element in elements if not isinstance(element, str)]
    after = _filled(_one_line(text[end:]) if torn else text[end:])
    return Parsed(texts, [*_filled(before[0]), *others, *after], torn) if texts else None


def _elements(value: Any) -> list[Any]:
    """The list's elements: strings as they are, objects by their only string; others as they are."""
    if isinstance(value, dict):
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        value = lists[0] if len(lists) == 1 else [value]
    elements = []
    for element in value:
        strings = [part for part in element.values() if isinstance(part, str)] if isinstance(element, dict) else []
        elements.append(strings[0] if len(strings) == 1 else element)
    return elements


def _whole_strings(text: str, start: int) -> tuple[list[str], int]:
    """The whole strings at the beginning of a JSON list that was cut off, and where the rest of it begins."""
    strings: list[str] = []
    place = text.find("[", start)
    with contextlib.suppress(json.JSONDecodeError, RecursionError):
        while place >= 0:
            place = BETWEEN_STRINGS.match(text, place).end()  # type: ignore[union-attr]
            value, end = DECODER.raw_decode(text, place)
            if not isinstance(value, str):
                return [], place
            strings.append(value)
            place = end
    return strings, place


def _listed(lines: list[str]) -> Parsed:
    """Numbered lines, or bullets where more lines have one; indented lines go on with the text above."""
    numbers, bullets = ([mark.fullmatch(line.strip()) for line in lines] for mark in (NUMBER, BULLET))
    marks = max(numbers, bullets, key=lambda marks: sum(map(bool, marks)))
    texts: list[str] = []
    leftovers: list[str] = []
    continues = False  # whether the line above belongs to a text
    for line, mark, bullet in zip(lines, marks, bullets, strict=True):
        if mark:
            texts.append(mark["text"] or "")
            continues = True
        elif continues and texts[-1] and INDENTED.match(line) and not bullet:
            texts[-1] += f" {line.strip()}"
        else:
            leftovers += _filled(line)
            continues = False
    if marks is numbers:
        texts = _several_on_a_line([int(mark["number"]) for mark in marks if mark], texts)
    return Parsed(_without_quotes(texts), leftovers)


def _several_on_a_line(numbers: list[int], texts: list[str]) -> list[str]:
    """Split "one 2. two 3. three" where the numbers go on with the line's own and no other line begins with them."""
    split = []
    for number, text in zip(numbers, texts, strict=True):
        following = number + 1
        while following not in numbers and (inner := re.search(rf"\s{following}[.)]\s+(?=\S)", text)):
            split.append(text[: inner.start()].strip())
            text, following = text[inner.end() :], following + 1
        split.append(text.strip())
    return split


def _without_quotes(texts: list[str]) -> list[str]:
    """Without the quotation marks or bold type around every text; where only some are quoted, they mean something."""
    if sum(map(bool, texts)) < 2:
        return texts
    for opening, closing in QUOTES:
        within = [text.removeprefix(opening).removesuffix(closing) for text in texts]
        pairs = [(text, inner) for text, inner in zip(texts, within, strict=True) if text]
        if all(inner and opening not in inner and text == opening + inner + closing for text, inner in pairs):
            return [inner.strip() for inner in within]
    return texts
