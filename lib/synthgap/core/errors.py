"""The one exception that is meant for the reader of a terminal or a notebook."""

import difflib
from collections.abc import Iterable


class SynthgapError(Exception):
    """What a user can put right: one sentence that names the culprit and the way out.

    Attributes:
        status: with which the command line ends.
    """

    status = 2

    def _render_traceback_(self) -> list[str]:
        """IPython shows it, or one of its kinds, as its sentence; the runner knows it by that."""
        return [f"synthgap: {self}"]


def unknown(what: str, name: object, known: Iterable[str]) -> SynthgapError:
    """The error for a name that is not among the known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name).rpartition(".")[2], names, n=1)  # of a dotted key its last part
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    return SynthgapError(f"{what} '{name}' is unknown{hint}; known: {', '.join(names) or 'none'}")
