"""The one exception that is meant for the reader of a terminal or a notebook."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator


class SynthgapError(Exception):
    """What a user can put right: one sentence that names the culprit and the way out.

    Attributes:
        status: with which the command line ends.
        faults: the sentences of an error that says several things, see `refuse`.
    """

    status = 2
    faults: tuple[str, ...] = ()

    def _render_traceback_(self) -> list[str]:
        """IPython shows it, or one of its kinds, as its sentence; the runner knows it by that."""
        return [f"synthgap: {self}"]


def unknown(what: str, name: object, known: Iterable[str]) -> SynthgapError:
    """The error for a name that is not among the known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name).rpartition(".")[2], names, n=1)  # of a dotted key its last part
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    return SynthgapError(f"{what} '{name}' is unknown{hint}; known: {', '.join(names) or 'none'}")


@contextlib.contextmanager
def noting(faults: list[str]) -> Iterator[None]:
    """Add to the faults what is refused within the block, or a package that is not installed, and go on after it."""
    try:
        yield
    except SynthgapError as error:
        faults += error.faults or [str(error)]
    except ModuleNotFoundError as error:
        faults.append(f"the package '{error.name}' is not installed; install it (pip install {error.name})")


def refuse(faults: Iterable[str]) -> None:
    """Raise a SynthgapError that says all of these faults, each once and on a line of its own; nothing for none."""
    once = list(dict.fromkeys(faults))
    if once:
        lines = [f"{len(once)} things are missing or wrong:", *(f"- {fault}" for fault in once)]
        error = SynthgapError("\n".join(lines) if len(once) > 1 else once[0])
        error.faults = tuple(once)
        raise error
