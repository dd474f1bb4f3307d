"""How the tables of this room are saved: what people said and what was simulated never stand in one shown table."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from IPython.display import Markdown

from synthgap.tables import rounded

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
        titled = f"{caption} ({KIND_TITLES[kind]})"
        saved.append(stage.save_shown(f"{name}_{kind}", rounded(rows[columns or [*rows]], digits), titled, notes))
    return Markdown("\n\n".join(part.data for part in saved[1:] or saved))


def by_kind(tidy: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """{"human": rows, "simulated": rows} of a table with a column `source`; what has no rows is not there."""
    return {str(kind): rows for kind, rows in tidy.groupby(tidy["source"].astype(str).str.split(":").str[0])}
