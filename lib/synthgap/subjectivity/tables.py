"""How the tables of this room are saved: what people said and what was simulated never stand in one shown table."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from IPython.display import Markdown

from synthgap.tables import UNDEFINED, rounded

KIND_TITLES = {"human": "what people said", "simulated": "simulated, no people"}


def save_by_kind(
    stage: Any,
    name: str,
    tidy: pd.DataFrame,
    caption: str,
    notes: Sequence[str] = (),
    digits: int = 3,
    columns: Sequence[str] | None = None,
) -> Markdown:
    """Save `name`.csv with all sources; for readers `name`_human and `name`_simulated, which it gives to look at.

    Args:
        stage: a notebook's `Stage`, a class of the room `pipeline`, which lies above this one.
        columns: what readers see; None: all.
    """
    saved = [stage.save_table(name, tidy)]
    for kind, rows in by_kind(tidy).items():
        titled, shown = f"{caption} ({KIND_TITLES[kind]})", rounded(rows[columns or [*rows]], digits)
        if said := _said_of_all(shown):
            shown = shown.drop(columns="note")
        saved.append(stage.save_shown(f"{name}_{kind}", shown, titled, [*said, *notes]))
    return Markdown("\n\n".join(part.data for part in saved[1:] or saved))


def _said_of_all(shown: pd.DataFrame) -> list[str]:
    """The note that all of several rows have, which is said once below their table; [] where they have none."""
    said = set(shown["note"]) if "note" in shown and len(shown) > 1 else set()
    return [f"Note of all rows: {note}." for note in said - {"", UNDEFINED} if len(said) == 1]


def by_kind(tidy: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{"human": rows, "simulated": rows} of a table with a column `source`; what has no rows is not there."""
    return {str(kind): rows for kind, rows in tidy.groupby(tidy["source"].astype(str).str.split(":").str[0])}
