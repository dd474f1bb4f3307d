"""The one exception that is meant for the reader of a terminal."""

from collections.abc import Iterable


class SynthgapError(Exception):
    """What a user can put right: one sentence that names the culprit and the way out."""


def unknown(what: str, name: object, known: Iterable[str]) -> SynthgapError:
    """The error for a name that is not among the known ones."""
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    return SynthgapError(f"{what} '{name}' is unknown{hint}; known: {', '.join(names)}")
