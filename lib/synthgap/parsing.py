"""An LLM's answer -> texts. Lists of many shapes are understood; nothing is invented, and what is no text is kept.

Understood are numbered lines ("1.", "1)", "(1)", "**1.**", "Text 1:"), bullets, JSON lists (also torn ones), either in
a code fence or not, and several numbered texts on one line. Every piece of the answer ends up in a text or among the
leftovers.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Marks at the beginning of a stripped line.
NUMBER = re.compile(
    r"(?:\*\*|__|#{1,4}\s+)?(?:[A-Za-z]{1,10}\s+)?[(#\[]?(?P<number>\d{1,4})(?P<end>[.):\]]+)(?:\*\*|__)?"
    r"(?:\s+(?P<text>\S.*))?"
)
PLAIN_NUMBER = re.compile(r"(?P<number>\d{1,4})[.)](?:\s+(?P<text>\S.*))?")
INNER_NUMBER = re.compile(r"\s(?P<number>\d{1,4})[.)]\s+(?=\S)")
BULLET = re.compile(r"[-*•‣◦–](?:\s+(?P<text>\S.*))?")
MARKERS = (PLAIN_NUMBER, NUMBER, BULLET)
BRACKET = re.compile(r"[\[{]")
LIST_START = re.compile(r"[\[{]\s*[\"'\[{]")
FENCE = re.compile(r"\s*(?:```|~~~)\s*[\w-]*\s*")
QUOTES = {'"': '"', "“": "”", "'": "'", "‘": "’", "«": "»", "„": "“", "`": "`"}
REFUSAL = re.compile(
    r"(?:i'?m sorry|i am sorry|sorry, but|i can(?:no|')t|i can’t|i cannot|i'?m (?:not able|unable)|i won'?t|as an ai\b|"
    r"i must decline|i have to decline|unable to (?:help|assist|comply))",
    re.IGNORECASE,
)


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


@functools.lru_cache(maxsize=4096)  # an answer is looked at when it comes, and again when its texts are filtered
def parse(response: str) -> Parsed:
    """Split an answer into its texts and what is left over; the result is shared, so it must not be changed."""
    lines = response.removeprefix("\ufeff").splitlines()
    inside, outside = _fenced(lines)
    found = _json(inside) or _listed(inside)
    leftovers = [*outside, *found.leftovers] if outside else found.leftovers
    refused = not any(found.texts) and REFUSAL.search(response.replace("’", "'")) is not None
    return Parsed(found.texts, leftovers, found.torn, refused)


def _fenced(lines: list[str]) -> tuple[list[str], list[str]]:
    """Lines inside of code fences and those outside; without a fence all are inside."""
    marks = [place for place, line in enumerate(lines) if FENCE.fullmatch(line)]
    if not marks:
        return lines, []
    inside: list[str] = []
    outside: list[str] = []
    fenced = False
    for place, line in enumerate(lines):
        if place in marks:
            fenced = not fenced
        else:
            (inside if fenced else outside).append(line)
    if not any(line.strip() for line in inside):
        return [line for place, line in enumerate(lines) if place not in marks], []
    return inside, [line.strip() for line in outside if line.strip()]


# ---------------------------------------------------------------------------------------------------------------- JSON


def _json(lines: list[str]) -> Parsed | None:
    """The strings of a JSON list, also within an object or behind a preamble; None where there is none."""
    text = "\n".join(lines)
    opening = BRACKET.search(text)
    if opening is None or LIST_START.match(text, start := opening.start()) is None:
        return None
    before = [line.strip() for line in text[:start].splitlines() if line.strip()]
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, start)
    except (json.JSONDecodeError, RecursionError):
        return _torn_list(text, start, before)
    found = list(_strings(value))
    if not any(isinstance(one, str) for one in found):
        return None
    after = [line.strip() for line in text[end:].splitlines() if line.strip()]
    other = [json.dumps(one, ensure_ascii=False) for one in found if not isinstance(one, str)]
    return Parsed([_one_line(one) for one in found if isinstance(one, str)], [*before, *other, *after])


def _strings(value: Any) -> Iterator[Any]:
    """The list's elements: strings as they are, objects by their only string; others as they are."""
    if isinstance(value, dict):
        lists = [one for one in value.values() if isinstance(one, list)]
        value = lists[0] if len(lists) == 1 else [value]
    for one in value if isinstance(value, list) else [value]:
        texts = [part for part in one.values() if isinstance(part, str)] if isinstance(one, dict) else []
        yield texts[0] if len(texts) == 1 else one


def _torn_list(text: str, start: int, before: list[str]) -> Parsed | None:
    """The whole strings at the beginning of a JSON list that was cut off; the rest is left over."""
    place = text.find("[", start)
    decoder = json.JSONDecoder(strict=False)
    texts: list[str] = []
    while place >= 0:
        opening = re.compile(r"[\s,\[]*").match(text, place)
        at = opening.end() if opening else place
        try:
            value, end = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            rest = text[at:].strip()
            leftovers = [*before, *([_one_line(rest)] if rest else [])]
            return Parsed(texts, leftovers, torn=True) if texts else None
        if not isinstance(value, str):
            return None
        texts.append(_one_line(value))
        place = end
    return None


# --------------------------------------------------------------------------------------------------------------- lines


def _listed(lines: list[str]) -> Parsed:
    """Numbered lines, or bullets where nothing is numbered; indented lines go on with the text above."""
    marker, marks = _marks(lines)
    texts: list[str] = []
    leftovers: list[str] = []
    begun = False  # whether the line above belongs to a text
    for line, found in zip(lines, marks, strict=True):
        if found:
            texts.append(found["text"] or "")
            begun = True
        elif not line.strip():
            begun = False
        elif begun and texts[-1] and _indented(line) and not BULLET.fullmatch(line.strip()):
            texts[-1] = f"{texts[-1]} {line.strip()}"
        else:
            leftovers.append(line.strip())
            begun = False
    if marker is not None and marker is not BULLET:
        texts = _several_on_a_line([int(found["number"]) for found in marks if found], texts)
    return Parsed(_without_quotes(texts), leftovers)


def _indented(line: str) -> bool:
    return line[:2].isspace() and len(line) - len(line.lstrip()) >= 2


def _marks(lines: list[str]) -> tuple[re.Pattern[str] | None, list[re.Match[str] | None]]:
    """The kind of mark that most lines begin with, and each line's; plain numbers first, None where there is none."""
    stripped = [line.strip() for line in lines]
    filled = sum(map(bool, stripped))
    best: re.Pattern[str] | None = None
    marks: list[re.Match[str] | None] = [None] * len(lines)
    most = 0
    for marker in MARKERS:
        found = [marker.fullmatch(line) for line in stripped]
        count = len(found) - found.count(None)
        if count > most:
            best, marks, most = marker, found, count
        if count == filled:
            break
    return best, marks


def _several_on_a_line(numbers: list[int], texts: list[str]) -> list[str]:
    """Split "one 2. two 3. three" where the numbers go on with the line's own and no other line begins with them."""
    split = []
    for number, text in zip(numbers, texts, strict=True):
        start, following = 0, number + 1
        for inner in INNER_NUMBER.finditer(text):
            if int(inner["number"]) == following and following not in numbers:
                split.append(text[start : inner.start()].strip())
                start, following = inner.end(), following + 1
        split.append(text[start:].strip())
    return split


def _without_quotes(texts: list[str]) -> list[str]:
    """Without the quotation marks or bold type around every text; where only some are quoted, they mean something."""
    given = [text for text in texts if text]
    if len(given) < 2:
        return texts
    for opening, closing in [*QUOTES.items(), ("**", "**")]:
        size = len(opening)
        if all(_enclosed(text, opening, closing) for text in given):
            return [text[size:-size].strip() if text else text for text in texts]
    return texts


def _enclosed(text: str, opening: str, closing: str) -> bool:
    size = len(opening)
    within = text[size:-size]
    return len(text) > 2 * size and text.startswith(opening) and text.endswith(closing) and opening not in within


def _one_line(text: str) -> str:
    return " ".join(text.split())
