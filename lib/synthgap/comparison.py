"""LLMs side by side: what their texts cost, how many are of use, why the others were turned down, and their length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgap.config import Profile
from synthgap.errors import SynthgapError
from synthgap.generation import REASONS, Generated, ledger_file, load_synthetic, provenance, synthetic_file
from synthgap.tables import rounded

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

RESAMPLES = 2000
COLUMNS = (
    *("profile", "llm", "task", "setting", "asked", "received", "accepted"),
    *("yield", "yield_low", "yield_high", "words", "words_low", "words_high"),
    *("tokens_per_text", "cost", "cost_per_text"),
)
REASON_COLUMNS = ("profile", "llm", "task", "setting", "reason", "texts", "share")


def compare_llms(
    profile: Profile, outputs: Path, made: Mapping[tuple[str, str], Generated], costs: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """This profile's LLM and those of the profiles in `generation.compare_with`, for the tasks of this profile.

    `yield` is the share of received texts that were accepted, `words` the mean length of these; both with 95 %
    intervals by resampling the turns of labels, since texts of one turn are alike. Costs are totals of the run itself,
    without an interval, in the currency of each profile's prices.

    Args:
        outputs: the folder that holds every profile's results.
        made: {(task, setting): texts} of this profile.
        costs: as `live.costs` gives them for this profile.

    Returns:
        A table with COLUMNS; one with REASON_COLUMNS, the share being of those received.

    Raises:
        SynthgapError: a profile to compare with has not generated its texts.
    """
    import pandas as pd

    rows, reasons = [], []
    for (task, setting), result in made.items():
        about = {"profile": profile.name, "task": task, "setting": setting}
        one = _row(about, result.texts, result.ledger, result.provenance, costs)
        rows.append(one)
        reasons += _reasons(one, result.provenance)
    for name in profile.generation.compare_with:
        check_compared(outputs, name)
        theirs = _costs(outputs / name)
        for task, setting in made:
            folder = outputs / name / "synthetic"
            if not synthetic_file(folder, task, setting).is_file():
                continue
            about = {"profile": name, "task": task, "setting": setting}
            ledger = pd.read_parquet(ledger_file(folder, task, setting))
            known = provenance(folder, task, setting)
            one = _row(about, load_synthetic(folder, task, setting), ledger, known, theirs)
            rows.append(one)
            reasons += _reasons(one, known)
    return pd.DataFrame(rows, columns=list(COLUMNS)), pd.DataFrame(reasons, columns=list(REASON_COLUMNS))


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The first table for people: values with their intervals in one column, a dash for what there is not."""
    import pandas as pd

    def interval(row: pd.Series, name: str, digits: int) -> str:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return f"{row[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]" if row[name] == row[name] else "–"

    return pd.DataFrame(
        {
            **{name: table[name] for name in ("profile", "task", "setting", "accepted")},
            "share of use": [interval(row, "yield", 3) for _, row in table.iterrows()],
            "words": [interval(row, "words", 1) for _, row in table.iterrows()],
            "tokens a text": rounded(table[["tokens_per_text"]], 0)["tokens_per_text"],
            "cost": rounded(table[["cost"]], 4)["cost"],
            "cost a text": rounded(table[["cost_per_text"]], 6)["cost_per_text"],
        }
    )


def check_compared(outputs: Path, name: str) -> None:
    """Refuse a profile that has no texts yet.

    Raises:
        SynthgapError: naming what to run.
    """
    if not list((outputs / name / "synthetic").glob("*.parquet")):
        raise SynthgapError(
            f"generation.compare_with names profile '{name}', which has no texts yet; run: synthgap run {name} 01"
        )


def _costs(folder: Path) -> pd.DataFrame:
    import pandas as pd

    path = folder / "tables" / "generation_costs.csv"
    return pd.read_csv(path) if path.is_file() else pd.DataFrame()


def _row(
    about: dict[str, str], texts: pd.DataFrame, ledger: pd.DataFrame, known: Mapping[str, Any], costs: pd.DataFrame
) -> dict[str, Any]:
    turns = _turns(texts, ledger)
    found: dict[str, Any] = about | {"llm": known["written_by"]}
    found |= {name: known[name] for name in ("asked", "received", "accepted")}
    for name, (over, under) in {"yield": ("accepted", "received"), "words": ("words", "accepted")}.items():
        value, low, high = _ratio(turns[over].to_numpy(), turns[under].to_numpy())
        found |= {name: value, f"{name}_low": low, f"{name}_high": high}
    mine = costs
    if len(costs):
        mine = costs[(costs["task"] == about["task"]) & (costs["setting"] == about["setting"])]
    if not len(mine):
        return found | dict.fromkeys(("tokens_per_text", "cost", "cost_per_text"), float("nan"))
    accepted = known["accepted"] or float("nan")
    cost = mine["cost"].sum(skipna=False)
    tokens = mine["prompt_tokens"].sum() + mine["completion_tokens"].sum()
    return found | {"tokens_per_text": tokens / accepted, "cost": cost, "cost_per_text": cost / accepted}


def _turns(texts: pd.DataFrame, ledger: pd.DataFrame) -> pd.DataFrame:
    """Columns received, accepted, words (of accepted texts); a row a turn of a label."""
    import pandas as pd

    words = texts["text"].str.split().str.len().astype(float)
    parts = [
        texts[["label", "turn"]].assign(received=1.0, accepted=1.0, words=words),
        ledger[["label", "turn"]].assign(received=1.0, accepted=0.0, words=0.0),
    ]
    return pd.concat([part for part in parts if len(part)] or parts[:1]).groupby(["label", "turn"]).sum()


def _ratio(over: np.ndarray, under: np.ndarray) -> tuple[float, float, float]:
    """Sum over sum with its 95 % percentile interval over resampled turns; NaN where the divisor is 0."""
    import numpy as np

    if not under.sum():
        return float("nan"), float("nan"), float("nan")
    generator = np.random.default_rng(0)
    weights = generator.multinomial(len(over), np.full(len(over), 1 / len(over)), size=RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = (weights @ over) / (weights @ under)
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return float(over.sum() / under.sum()), float(low), float(high)


def _reasons(row: Mapping[str, Any], known: Mapping[str, Any]) -> list[dict[str, Any]]:
    place = {name: row[name] for name in ("profile", "llm", "task", "setting")}
    received = known["received"] or float("nan")
    counts = {reason: known["rejected"].get(reason, 0) for reason in REASONS}
    return [place | {"reason": reason, "texts": n, "share": n / received} for reason, n in counts.items()]
