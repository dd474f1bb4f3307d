"""An LLM's answer -> texts. Lists of many shapes are understood; nothing is invented, and what is no text is kept.

An answer is freed of what stands around its texts (`wrapping`) and read as JSON, JSON Lines, a table, a numbered and a
bulleted list, a list in tags; the shape that finds most texts counts. Every piece ends up in a text, among the
leftovers or in the reasoning; only marks go (numbers, bullets, keys, tags, heads of columns). Time and memory grow with
the answer, no faster.
"""

import contextlib
import html
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from synthgap.llm.refusals import declines
from synthgap.llm.wrapping import unwrapped, without_fences

# marks at the beginning of a stripped line: "1." "1、" "(1)" "1/" "**1.**" "### Text 1" "- 1." "①" "1️⃣"
NUMBER = re.compile(
    r"""(?:[-*•]\s+)?(?P<heading>\#{1,6}\s+)?(?P<bold>\*\*|__)?(?:[^\W\d_]{1,15}\.?\s+|[\u4e00-\u9fff]{1,6})?
    (?:(?P<circled>[①-⑳])|[(（\#\[【]?(?P<number>\d{1,4}))
    (?:[.):\]）】、．：]+|[-/](?=\s)|\ufe0f?\u20e3|(?<=[①-⑳])|(?(bold)(?=\*\*|__)|(?(heading)(?=$)|(?!))))
    (?P<shut>\*\*|__)?(?::(?=\s|$))?(?:(?:\s+|(?<!:)(?=\D))(?P<text>\S.*))?""",
    re.VERBOSE,
)
BULLET = re.compile(r"(?:[-*+–—](?=\s|$)|[•‣◦▪●○■□▸►➤·])\s*(?P<text>\S.*)?")
TEXT_KEYS = ("text", "content", "sentence", "message", "tweet", "review", "headline", "post", "example", "sample")
KEYED = re.compile(rf"(?:\*\*|__)?(?:{'|'.join(TEXT_KEYS)})[*_]{{0,2}}[:：][*_]{{0,2}}\s+(?P<text>\S.*)", re.IGNORECASE)
# marks that prose has too, "1 - a", "#1 a", "Q1. a", "(a) a": for where there is no other list, and they count
COUNTED = tuple(
    re.compile(rf"(\*\*|__)?{mark}(?(1)\1)\s+(?P<text>\S.*)")
    for mark in (
        r"(?P<number>\d{1,4})\s+[-–—:.)]",
        r"\#(?P<number>\d{1,4})",
        r"[^\W\d_]{1,15}(?P<number>\d{1,4})[.):]",
        r"[(（]?(?P<number>[A-Za-z])[)）]",
    )
)
TAG = rf"(?:li|{'|'.join(TEXT_KEYS)})\d{{0,4}}"
TEXT_BEGINS = re.compile(rf"(?:^|(?<=>))[ \t]*<{TAG}(?:\s[^<>]{{0,200}})?>\s*", re.IGNORECASE | re.MULTILINE)
TEXT_ENDS = re.compile(rf"</{TAG}>|</?[ou]l(?:\s[^<>]{{0,200}})?>", re.IGNORECASE)
INNER_NUMBER = re.compile(r"\s(\d{1,4})(?:[.)](?=\s+\S)|[、．](?=\S))")
# stripped lines that do not go on with the text above: headings, rules, remarks
APART = re.compile(
    r"#.*|[-*_=~]+|.*[:：]|\(.*\)|\[.*\]|\*\*.*\*\*|<[/\w].*>|"
    r"[^\w\s]*(?:explanation|note|label|category|class|sentiment|topic|translation|rationale|reason|why)\b.*:.*",
    re.IGNORECASE,
)
BEFORE_JSON = re.compile(r"(?:.*?[\n:：=])??[ \t]*(?=[\[{]\s*[\"'\[{])", re.DOTALL)  # no bracket within a sentence
PYTHON_STRING = re.compile(
    r""""[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|(?P<before>[\[{,:]\s*)'(?P<inner>[^'\\]*(?:\\.[^'\\]*)*)(?P<end>'?)""",
    re.DOTALL,
)
BETWEEN_VALUES = re.compile(r"[\s,;]*")
BETWEEN_ELEMENTS = re.compile(r"[\s,\[]*")
AFTER_ELEMENT = re.compile(r"\s*(?:[,\]]|\Z)")
AFTER_LIST = re.compile(r"[\s,]*\][\s\]}]*")
CELL = re.compile(r"(?<!\\)\|")
QUOTES = (
    *(('"', '"'), ("“", "”"), ("'", "'"), ("‘", "’"), ("«", "»"), ("„", "“"), ("「", "」"), ("『", "』")),
    *(("`", "`"), ("**", "**"), ("*", "*"), ("_", "_"), ("<p>", "</p>"), ("<b>", "</b>"), ("<strong>", "</strong>")),
)
DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True)
class Parsed:
    """What an answer holds.

    Attributes:
        texts: in order, each on one line; "" where a number or bullet has nothing behind it.
        leftovers: pieces that are no text, in order.
        torn: whether the last text was cut off within a JSON list.
        refused: whether there is no text and the answer reads as a refusal.
        reasoning: what the LLM thought before it answered, by block.
    """

    texts: list[str]
    leftovers: list[str]
    torn: bool = False
    refused: bool = False
    reasoning: Sequence[str] = ()


def parse(response: str) -> Parsed:
    """Split an answer into its texts and what is left over."""
    reasoning, said, beyond = unwrapped(response)
    lines = without_fences(said.split("\n"))
    fenced, outside = ([line for line, within in lines if within is side] for side in (True, False))
    parsed, inner, beside = _best_shape(outside), _best_shape(fenced), []
    if _count(inner) >= max(1, _count(parsed)):
        parsed, beside = inner, _filled(outside)
    elif fenced:  # which is a part of texts
        parsed = _best_shape([line for line, _ in lines])
    texts = [" ".join(without_lone_surrogates(text).split()) for text in parsed.texts]
    leftovers = [without_lone_surrogates(piece) for piece in (*beside, *parsed.leftovers, *beyond)]
    refused = not any(texts) and declines("\n".join(leftovers))
    return Parsed(texts, leftovers, parsed.torn, refused, [without_lone_surrogates(block) for block in reasoning])


def one_text(response: str) -> Parsed:
    """The one text that a completion is, on one line; "" where there is none."""
    return Parsed([" ".join(without_lone_surrogates(response).split())], [])


def _best_shape(lines: list[str]) -> Parsed:
    """The lines as the shape that finds most texts in them, of several the first; marks of prose count last."""
    text, nested = "\n".join(lines), _nested(lines)
    lists = [_listed(lines, kind, nested) for kind in (NUMBER, BULLET, KEYED)]
    python = _with_double_quotes(text)
    shapes = (
        _json(text),
        _json_lines(lines),
        _table(lines),
        *lists,
        _tagged(text),
        _json(python) if python != text else None,
    )
    best = max(filter(None, shapes), key=_count)
    return best if any(best.texts) else next(filter(None, (_listed(lines, kind, {}) for kind in COUNTED)), best)


def _count(parsed: Parsed) -> int:
    """How many texts there are."""
    return sum(map(bool, parsed.texts))


def _filled(lines: Iterable[str]) -> list[str]:
    """The lines that hold anything."""
    return [line.strip() for line in lines if line.strip()]


def without_lone_surrogates(text: str) -> str:
    """A text with U+FFFD in place of lone surrogates, which no file and no request can hold; paired ones are joined."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# --------------------------------------------------------------------------------------------------------------- JSON


def _json(text: str) -> Parsed | None:
    """The texts of JSON values one after another, behind a preamble or not; None where there are none."""
    before = BEFORE_JSON.match(text)
    if before is None:
        return None
    values: list[Any] = []
    place, torn = before.end(), False
    while not torn and text[place : place + 1] in {"[", "{"}:
        try:
            value, place = DECODER.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            value, place, torn = _whole_elements(text, place)
            torn = torn or isinstance(error, RecursionError)  # each further one takes a millisecond
        values.append(value)
        place = BETWEEN_VALUES.match(text, place).end()  # type: ignore[union-attr]
    after = [" ".join(text[place:].split())] if torn else text[place:].split("\n")
    return _of_values(values, _filled(before[0].split("\n")), _filled(after), torn)


def _whole_elements(text: str, place: int) -> tuple[list[Any], int, bool]:
    """The whole elements at the beginning of a broken JSON list, where they end, and whether it was cut off."""
    elements: list[Any] = []
    place = max(place, text.find("[", place))
    with contextlib.suppress(ValueError, RecursionError):
        while True:
            value, end = DECODER.raw_decode(text, BETWEEN_ELEMENTS.match(text, place).end())  # type: ignore[union-attr]
            if not isinstance(value, str | dict) or not AFTER_ELEMENT.match(text, end):
                break
            elements.append(value)
            place = end
    closed = AFTER_LIST.match(text, place) if elements else None
    return elements, closed.end() if closed else place, not closed


def _with_double_quotes(text: str) -> str:
    """Python's strings in single quotation marks as JSON has them."""

    def quoted(string: re.Match[str]) -> str:
        if string["before"] is None:
            return string[0]
        inner = re.sub(r"\\.|\"", lambda mark: {"\\'": "'", '"': '\\"'}.get(mark[0], mark[0]), string["inner"])
        return string["before"] + '"' + inner + string["end"].replace("'", '"')

    return PYTHON_STRING.sub(quoted, text)


def _json_lines(lines: list[str]) -> Parsed | None:
    """The texts of lines that are an object each, numbered or not, or a string each; None where there are none."""
    values, leftovers = [], []
    for line in map(str.strip, lines):
        mark = NUMBER.fullmatch(line)
        plain = (mark["text"] or "" if mark else line).rstrip(",")
        try:
            values.append(DECODER.decode(plain if plain[:1] == "{" or (plain[:1] == '"' and not mark) else ""))
        except (ValueError, RecursionError):
            leftovers += _filled([line])
    return _of_values([values], [], leftovers) if len(values) > 1 else None


def _of_values(values: list[Any], before: list[str], after: list[str], torn: bool = False) -> Parsed | None:
    """The texts in decoded values and what else these hold, between what stands before and after; None: no texts.

    A text is a string, an object's only string, or the one that has the same key as in the other objects.
    """
    parts = [_elements(value) for value in values]
    elements, others = ([one for part in parts for one in part[side]] for side in (0, 1))
    usual = _text_key([element for element in elements if isinstance(element, dict)])
    texts: list[str] = []
    beside: list[Any] = []  # the texts in their objects
    for element in elements:
        strings = [key for key, part in element.items() if isinstance(part, str)] if isinstance(element, dict) else []
        key = strings[0] if len(strings) == 1 else usual
        if isinstance(element, str):
            texts.append(element)
        elif key and key in strings:
            texts.append(element[key])
            beside += _rest(element, key)
        else:
            others.append(element)
    others += [beside] if beside else []
    marks = [NUMBER.fullmatch(text) for text in texts]
    if len(texts) > 1 and [mark and mark["text"] and _number(mark) for mark in marks] == [*range(1, len(texts) + 1)]:
        texts = [_behind(mark) for mark in marks if mark]
    leftovers = [*before, *(json.dumps(one, ensure_ascii=False) for one in others), *after]
    return Parsed(texts, leftovers, torn) if texts else None


def _elements(value: Any) -> tuple[list[Any], list[Any]]:
    """The elements of a list, of the one list in an object, or an object's numbered values; and what else there is."""
    while isinstance(value, dict) and len(value) == 1 and isinstance(inner := next(iter(value.values())), dict):
        value = inner
    if isinstance(value, list):
        return _flat(value), []
    if value and all(key[-1:].isdigit() for key in value):
        return [*value.values()], []
    lists = [key for key, part in value.items() if isinstance(part, list)]
    if len(lists) == 1 and (_named(lists, "s") or not _named(key for key in value if isinstance(value[key], str))):
        return _flat(value[lists[0]]), _rest(value, lists[0])
    return [value], []


def _flat(elements: list[Any]) -> list[Any]:
    """The elements of lists in a list; lists that repeat a string are rows with a label, and become objects."""
    rows = [element for element in elements if isinstance(element, list)]
    strings = [part for row in rows for part in row if isinstance(part, str)]
    if len({*map(len, rows)}) == 1 and len({*strings}) < len(strings):
        return [{f"{n}": part for n, part in enumerate(one)} if isinstance(one, list) else one for one in elements]
    return [part for one in elements for part in (one if isinstance(one, list) else [one])]


def _text_key(objects: list[dict[str, Any]]) -> str | None:
    """The key of the objects' texts: one with a word of TEXT_KEYS in it, else that of the longest strings."""
    letters: Counter[str] = Counter()
    for one in objects:
        letters.update({key: len(part) for key, part in one.items() if isinstance(part, str)})
    return next(iter([*_named(letters), *(key for key, _ in letters.most_common(1))]), None)


def _named(keys: Iterable[str], ending: str = "") -> list[str]:
    """Those of the keys that have a word of TEXT_KEYS in them, in the order of these."""
    words = {key: re.findall("[a-z]+", key.lower()) for key in keys}
    return [key for name in TEXT_KEYS for key in words if name + ending in words[key]]


def _rest(value: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The object without a key, where it holds more than numbers, which are marks."""
    rest = {name: part for name, part in value.items() if name != key}
    return [rest] if {*json.dumps([*rest.values()], ensure_ascii=False)} - {*'0123456789., "[]'} else []


# -------------------------------------------------------------------------------------------------------------- tables


def _table(lines: list[str]) -> Parsed | None:
    """The texts in the rows of Markdown tables; None: there are none. Rows of more or fewer cells are left over."""
    rows: list[dict[str, str]] = []
    leftovers: list[str] = []
    head: list[str] = []
    for line, following in pairwise([*lines, ""]):
        cells = _cells(line)
        if _is_rule(line) and head:
            continue
        if _is_rule(following) and len(cells) == len(_cells(following)):
            head = cells if len({*cells}) == len(cells) else [f"{number}" for number in range(len(cells))]
        elif "|" in line and len(cells) == len(head):
            rows.append(dict(zip(head, cells, strict=True)))
        else:
            leftovers += _filled([line])
            head = head if "|" in line else []
    parsed = _of_values([rows], [], leftovers)
    return Parsed(_bare(parsed.texts), parsed.leftovers) if parsed else None


def _cells(line: str) -> list[str]:
    """The cells of a table's row."""
    parts = CELL.split(line.strip().removeprefix("|").removesuffix("|"))
    return [re.sub(r"<br ?/?>", " ", part.replace("\\|", "|")).strip() for part in parts]


def _is_rule(line: str) -> bool:
    """Whether the line stands below the head of a table."""
    return "|" in line and all("-" in cell and {*cell} <= {*":- "} for cell in _cells(line))


# --------------------------------------------------------------------------------------------------------------- lists


def _nested(lines: list[str]) -> dict[int, str]:
    """The places of lines with marks that are indented below an item, which they belong to; and what is behind them.

    There are none where all that they stand below is one item, or headings: items that are empty or end in a colon.
    """
    nested: dict[int, str] = {}
    outer: list[str] = []
    depth, following = 0, -1  # of the outer item above: its indentation, and the number that goes on with it
    for place, line in enumerate(lines):
        number = NUMBER.fullmatch(line.strip())
        if mark := number or BULLET.fullmatch(line.strip()):
            indentation = len(line[: -len(line.lstrip())].expandtabs(4))
            if outer and indentation > depth + 1 and not (number and _number(number) == following):
                nested[place], following = mark["text"] or "", -1
            else:
                outer.append(_behind(mark).rstrip("*_ "))
                depth, following = indentation, _number(number) + 1 if number else -1
    return nested if len(outer) > 1 and any(text[-1:] not in {"", ":", "："} for text in outer) else {}


def _listed(lines: list[str], kind: re.Pattern[str], nested: dict[int, str]) -> Parsed | None:
    """Items that begin with marks of a kind, and the lines that go on with them; None: a single "Text:" is no list.

    Lines before the following number belong to an item. The last one has no such end: of the lines below it that are
    not indented, it takes no more than an item before it did.
    """
    found = ((place, kind.fullmatch(line.strip())) for place, line in enumerate(lines) if place not in nested)
    marks = {place: mark for place, mark in found if mark}
    numbers = [_number(mark) for mark in marks.values()] if "number" in kind.groupindex else [*range(len(marks))]
    if (len(marks) < 2 and kind not in {NUMBER, BULLET}) or (
        kind in COUNTED and numbers != [*range(1, len(marks) + 1)]
    ):
        return None
    places = [*marks, len(lines)]
    texts: list[str] = []
    leftovers = _filled(lines[: places[0]])
    most = 0
    for (number, following), (place, end) in zip(pairwise([*numbers, -1]), pairwise(places), strict=True):
        text = _behind(marks[place])
        followed = following == number + 1
        behind, unindented = _going_on(lines, nested, range(place + 1, end), end if followed else max(most, not text))
        most = max(most, unindented) if followed else most
        texts.append(" ".join([text, *_filled(lines[place + 1 : behind])]).strip())
        leftovers += _filled(lines[behind:end])
    return Parsed(_bare(_several_on_a_line(numbers, texts) if kind is NUMBER and not nested else texts), leftovers)


def _tagged(text: str) -> Parsed:
    """The texts in tags: HTML's <li>, <text> and their like. One without an end is a line."""
    before, *items = TEXT_BEGINS.split(text)
    parts = [TEXT_ENDS.split(item) if TEXT_ENDS.search(item) else item.split("\n") for item in items]
    leftovers = [piece for outside in (TEXT_ENDS.split(before), *(part[1:] for part in parts)) for piece in outside]
    return Parsed(_bare([html.unescape(part[0]).strip() for part in parts]), _filled("\n".join(leftovers).split("\n")))


def _number(mark: re.Match[str]) -> int:
    number = mark["number"] or f"{unicodedata.numeric(mark['circled']):.0f}"
    return int(number) if number.isdecimal() else ord(number.lower()) - ord("a") + 1


def _behind(mark: re.Match[str]) -> str:
    """What stands behind a mark; bold type that begins before a number goes on behind it."""
    text = mark["text"] or ""
    bold = mark.groupdict().get("bold") if text else None
    if not bold or mark["shut"]:
        return text
    return text.removesuffix(bold) if text.endswith(bold) else bold + text


def _going_on(lines: list[str], nested: dict[int, str], below: range, most: int) -> tuple[int, int]:
    """Where the lines that go on with the text above end, and how many are not indented: at most `most`."""
    unindented = 0
    for place in below:
        plain = nested.get(place, lines[place].strip())
        flush = bool(plain) and not lines[place].startswith(("  ", "\t"))
        apart = any(kind.fullmatch(plain) for kind in ([APART] if place in nested else [APART, NUMBER, BULLET]))
        if unindented + flush > most or apart:
            return place, unindented
        unindented += flush
    return below.stop, unindented


def _several_on_a_line(numbers: list[int], texts: list[str]) -> list[str]:
    """Split "one 2. two 3. three" where the inner numbers go on with the line's own and no other line begins with them.

    A single one counts only where it is missing among the lines' numbers, or the line is the whole list.
    """
    split, taken = [], {*numbers}
    missing = numbers == [1] or any(after > before + 1 for before, after in pairwise(numbers))
    for number, text in zip(numbers, texts, strict=True):
        inner: list[re.Match[str]] = []
        for mark in INNER_NUMBER.finditer(text):
            inner += [mark] if int(mark[1]) == number + len(inner) + 1 not in taken else []
        cuts = inner if missing or len(inner) > 1 else []
        begins, ends = [0, *(mark.end() for mark in cuts)], [*(mark.start() for mark in cuts), len(text)]
        split += [text[begin:end].strip() for begin, end in zip(begins, ends, strict=True)]
    return split


def _bare(texts: list[str]) -> list[str]:
    """Without what stands around every text: quotation marks, bold type, "Text:"; around some it means something."""
    if sum(map(bool, texts)) < 2:
        return texts
    if all(KEYED.fullmatch(text) for text in texts if text):
        texts = [KEYED.sub(r"\g<text>", text) for text in texts]
    for opening, closing in QUOTES:
        within = [text.removeprefix(opening).removesuffix(closing) for text in texts]
        pairs = [(text, inner) for text, inner in zip(texts, within, strict=True) if text]
        if all(inner and opening not in inner and text == opening + inner + closing for text, inner in pairs):
            return _bare([inner.strip() for inner in within])
    return texts
