"""docs/faults.md: what goes wrong, what then happens, and what is lost; each row is shown by a test that names it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "faults.md"
HEAD = """# What goes wrong, and what is lost

Each row is what a test does and asserts; `make faults` runs these tests, the long ones too, and writes this page if
all of them pass. What LLMs were seen to send has pages of its own: [odd answers](odd_answers.md), and
[how an answer becomes texts](answers.md).
"""


class Fault(NamedTuple):
    """A row of the page."""

    kind: str
    fault: str
    outcome: str
    lost: str = "nothing"
    costs: str = "nothing"


FAULTS = pytest.StashKey[list[Fault]]()


def fault(mark: pytest.Mark) -> Fault:
    return Fault(*mark.args, **mark.kwargs)


def page(faults: Iterable[Fault]) -> str:
    """The page: a table for each kind, kinds in the order in which tests are collected."""
    kinds: dict[str, list[Fault]] = {}
    for one in faults:
        kinds.setdefault(one.kind, []).append(one)
    parts = [HEAD]
    for kind, rows in kinds.items():
        lines = ["| fault | what happens | lost | costs |", "|---|---|---|---|"]
        parts.append("\n".join([f"## {kind}\n", *lines, *map(line, rows), ""]))
    return "\n".join(parts)


def line(row: Fault) -> str:
    cells = [cell.replace("|", r"\|") for cell in row[1:]]
    return f"| {' | '.join(cells)} |"


def write_faults(faults: Iterable[Fault]) -> None:
    PAGE.write_text(page(faults), encoding="utf-8")
