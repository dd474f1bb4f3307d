"""The text of a file, whose encoding is known by its mark or UTF-8; other encodings and what is no text are refused."""

import codecs
import re
from itertools import islice
from pathlib import Path

from synthgap.core.errors import SynthgapError

ENCODINGS = {  # by their mark; that of UTF-32 begins as that of UTF-16
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
AS_CSV = 'save it as UTF-8, which spreadsheets call "CSV UTF-8"'
EXPORT = 'export its table as UTF-8, which spreadsheets call "CSV UTF-8"'
NO_TEXT = f"text file (it holds bytes that no text has); {EXPORT}"
OTHER_FORMATS = {  # by their first bytes
    b"PK\3\4": f"a spreadsheet (.xlsx) or a zip archive; {AS_CSV}",
    b"\xd0\xcf\x11\xe0": f"an old spreadsheet (.xls); {AS_CSV}",
    b"SQLite format 3\0": f"a SQLite database; {EXPORT}",
    b"%PDF-": f"a PDF; {EXPORT}",
    b"{\\rtf": f"a word processor's (.rtf); {EXPORT}",
    b"\x89PNG": f"an image; {EXPORT}",
    b"\xff\xd8\xff": f"an image; {EXPORT}",
    b"\x1f\x8b": "compressed with gzip; unpack it (gunzip)",
    b"BZh91AY&SY": "compressed with bzip2; unpack it (bunzip2)",
    b"\xfd7zXZ\0": "compressed with xz; unpack it (unxz)",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it (unzstd)",
    b"7z\xbc\xaf\x27\x1c": "an archive (.7z); unpack it",
    b"PAR1": "Parquet; let its name end in .parquet",
}
USUAL = (  # encodings as iconv calls them; where several are as likely, the first is named first
    *("CP1252", "CP1250", "CP1251", "CP1253", "CP1254", "CP1255", "CP1256", "KOI8-R", "CP932", "EUC-JP"),
    *("GB18030", "BIG5", "CP949", "ISO-8859-2", "ISO-8859-5", "CP866", "MACINTOSH"),
)
UNSEEN = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f]")  # control characters that text hardly has
MANY_UNSEEN = 0.01  # share of bytes that are control characters from which on a file is no text
NEARLY = 0.15  # how much less likely an encoding is than the best that is named beside it
SHOWN = 3  # encodings that are named
SAMPLE = 500  # lines of which an encoding is guessed
HALF_CHARACTER = "holds half a character (a lone surrogate)"


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with its mark.

    Raises:
        SynthgapError: it is in another encoding, or no text.
    """
    raw = path.read_bytes()
    if other := next((name for start, name in OTHER_FORMATS.items() if raw.startswith(start)), None):
        raise SynthgapError(f"'{path.name}' is no text but {other}")
    encoding = next((name for mark, name in ENCODINGS.items() if raw.startswith(mark)), "utf-8")
    if encoding in {"utf-8", "utf-8-sig"} and b"\0" in raw:
        raise SynthgapError(f"'{path.name}' {_with_zeros(raw)}")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        fault = (encoding == "utf-8" and _foreign(raw)) or _damaged(encoding, error)
        raise SynthgapError(f"'{path.name}' is no {fault}") from error


def _convert(encoding: str) -> str:
    return f"{AS_CSV} (or: iconv -f {encoding} -t UTF-8)"


def _with_zeros(raw: bytes) -> str:
    """What a file with zero bytes is: UTF-16 or UTF-32, text with few of them, or no text."""
    for name in ("UTF-32LE", "UTF-32BE", "UTF-16LE", "UTF-16BE"):
        text = _decoded(raw[: len(raw) // 4 * 4], name)
        if "\n" in text and not UNSEEN.search(text):
            return f"is {name[:6]} without its mark; {_convert(name)}"
    if (text := _decoded(raw.replace(b"\0", b""))) and not UNSEEN.search(text):
        line = raw[: raw.index(b"\0")].count(b"\n") + 1
        return f"holds a zero byte in line {line}, which is no text; remove it"
    return f"is no {NO_TEXT}"


def _decoded(raw: bytes, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text of these bytes, or "" where they are not in this encoding."""
    try:
        return raw.decode(encoding, errors)
    except UnicodeDecodeError:
        return ""


def _damaged(encoding: str, error: UnicodeDecodeError) -> str:
    before, name = error.object[: error.start].decode(encoding, "ignore"), encoding.upper().removesuffix("-SIG")
    half = re.match(rb"\xed[\xa0-\xbf]", error.object[error.start :]) or "surrogate" in error.reason
    what = HALF_CHARACTER if half else f"is damaged ({error.reason})"
    line = before.count("\n") + 1
    return f"{name} text throughout: line {line} {what}; {_convert(f'{name} -c')}"


def _foreign(raw: bytes) -> str:
    """What a file is that is not mostly UTF-8: no text, or text in another encoding; "" where it is."""
    signs = re.sub("[\0-\x7f]", "", raw.decode("utf-8", "replace"))
    if signs.count("\ufffd") <= len(signs) / 2 or _decoded(raw, errors="surrogatepass"):
        return ""
    if len(UNSEEN.findall(raw.decode("latin-1"))) > MANY_UNSEEN * len(raw):
        return NO_TEXT
    numbered = ((number, line) for number, line in enumerate(raw.splitlines(), start=1) if not line.isascii())
    lines = dict(islice(numbered, SAMPLE))
    if not (found := _likely(b"\n".join(lines.values()))):
        return f"UTF-8 text (line {min(lines)}), and in no usual encoding; ask who made it, and {AS_CSV}"
    number = max(lines, key=lambda number: len({_shown(lines[number], name) for name in found}))
    read = {name: f"'{_shown(lines[number], name)}'" for name in found}
    if len(found) == 1:
        name, text = read.popitem()
        return f"UTF-8 text but {name.lower()} perhaps (line {number} reads {text}); {_convert(name)}"
    readings = ", ".join(f"{text} in {name.lower()}" for name, text in read.items())
    return f"UTF-8 text: line {number} reads {readings}; with the one that reads right, {_convert('ENCODING')}"


def _likely(sample: bytes) -> list[str]:
    """The usual encodings that a text may have, the likeliest first; of those in which it reads the same, one."""
    from charset_normalizer import from_bytes  # which is seldom needed

    scores: dict[str, tuple[float, str]] = {}
    for name in USUAL:
        if match := from_bytes(sample, cp_isolation=[name], enable_fallback=False).best():
            scores.setdefault(str(match), (match.chaos - match.coherence / 4, name))
    ranked = sorted(scores.values(), key=lambda one: one[0])
    return [name for score, name in ranked if score <= ranked[0][0] + NEARLY][:SHOWN]


def _shown(line: bytes, encoding: str) -> str:
    """The text around a line's first sign that is not ASCII."""
    first = next(place for place, byte in enumerate(line) if byte > 127)
    return line.decode(encoding, "replace")[max(0, first - 10) : first + 20].strip()
