"""What is printed does not steer the terminal, and cannot fail for its signs."""

import contextlib
import io

import pytest
from tqdm import tqdm

from synthgap.core.terminal import Terminal


def printed(*texts: str, encoding: str = "utf-8", hide=str) -> str:
    raw = io.BytesIO()
    terminal = Terminal(io.TextIOWrapper(raw, encoding=encoding, newline=""))
    terminal.hide = hide
    with contextlib.redirect_stdout(terminal):  # type: ignore[type-var]
        for text in texts:
            print(text, end="", flush=True)
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – ünï 😊\t|\r\n", "plain – ünï 😊\t|\r\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1b[38;2;1;2;3mcolour", "colour"),
        ("\x9b31mred", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://evil.test\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;a title without an end\ntext", "\ntext"),
        ("\x1bP1$r0m\x1b\\text", "text"),
        ("\x1bctext\x1b", "text"),
        ("\x1b(0line\x1b(B", "line"),
        ("a\x08\x08\x00\x0e\x7f\x85b", "ab"),
        ("half \ud83d", "half \\ud83d"),
    ],
)
def test_nothing_steers_the_terminal(text, shown):
    assert printed(text) == shown


def test_signs_that_an_encoding_lacks_are_escaped():
    assert printed("−1 – ä", encoding="ascii") == "\\u22121 \\u2013 \\xe4"


def test_what_is_to_be_hidden_is_hidden():
    assert printed("a secret", "no secret", hide=lambda text: text.replace("secret", "*")) == "a *no *"


def test_it_is_a_stream_like_the_one_below():
    below = io.StringIO()
    terminal = Terminal(below)
    for _ in tqdm(range(2), file=terminal, mininterval=0):
        pass
    assert "2/2" in below.getvalue()
    assert not terminal.isatty()
