"""What is printed: nothing of it steers the terminal, or tells what is to be hidden; and how far a long job is."""

import re
import sys
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

# sequences that begin with an escape sign (of ECMA-48: CSI, strings such as titles and links, others), and what is left
CONTROL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)


class Terminal:
    """A stream that prints text without control sequences; what its encoding does not have is escaped.

    Attributes:
        hide: takes out of a text what must not be told.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.hide: Callable[[str], str] = str

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        shown = CONTROL.sub("", self.hide(text)).encode(encoding, "backslashreplace").decode(encoding)
        return self._stream.write(shown)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Progress(tqdm):
    """tqdm's bar, redrawn every two seconds; in a notebook plain output, as standard error is shown in red there."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        in_kernel = type(sys.stdout).__module__.startswith("ipykernel.")
        super().__init__(*args, **{"mininterval": 2, "file": sys.stdout if in_kernel else None} | settings)
