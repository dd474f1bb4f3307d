"""Corpora side by side: how many of an LLM's texts are usable, why the others were rejected, lengths and costs.

Two LLMs are compared as two corpora of one profile.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.cbook import boxplot_stats

from synthgap.core.config import REAL
from synthgap.data.real import RealData
from synthgap.generation.corpora import ByTaskAndCorpus, CorpusTexts
from synthgap.generation.filtering import REASONS
from synthgap.tables import matching, rounded

RESAMPLES = 2000
COLUMNS = (
    *("corpus", "llm", "task", "setting", "asked", "received", "accepted"),
    *("yield", "yield_low", "yield_high", "words", "words_low", "words_high"),
    *("tokens_per_text", "cost", "cost_per_text"),
)
REASON_COLUMNS = ("corpus", "llm", "task", "setting", "reason", "texts", "share")
BOX = {"whisker_low": "whislo", "quartile_1": "q1", "median": "med", "quartile_3": "q3", "whisker_high": "whishi"}


def compare_llms(made: ByTaskAndCorpus, costs: pd.DataFrame) -> pd.DataFrame:
    """A row for each task and corpus, with COLUMNS.

    `yield` is the share of received texts that were accepted, `words` the mean length of these; both with 95 %
    intervals by resampling the turns of labels, since texts of one turn are alike. Costs are totals without an
    interval, in the currency of the LLM's prices. Imported texts came in no turns, and some were left out before they
    came here: their words are resampled one by one, and they have no yield.

    Args:
        costs: as `live_generation.costs` gives them.
    """
    return pd.DataFrame([_row(one, costs) for one in made.values()], columns=list(COLUMNS)).astype({"asked": "Int64"})


def compare_rejects(made: ByTaskAndCorpus) -> pd.DataFrame:
    """Texts rejected by LLM and reason, with REASON_COLUMNS; the share is of those received."""
    rows = []
    for one in made.values():
        rejected, received = one.provenance["rejected"], one.provenance["received"] or float("nan")
        for reason in {**REASONS, **rejected}:
            texts = rejected.get(reason, 0)
            rows.append({**_origin(one), "reason": reason, "texts": texts, "share": texts / received})
    return pd.DataFrame(rows, columns=list(REASON_COLUMNS))


def llms_shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `compare_llms` for people: values with their intervals, a dash for what there is not."""

    def intervals(name: str, digits: int) -> list[str]:
        cells = rounded(table[[name, f"{name}_low", f"{name}_high"]], digits).to_numpy()
        return [value if value == "–" else f"{value} [{low}, {high}]" for value, low, high in cells]

    shown = table[["corpus", "task", "accepted"]].assign(
        **{"usable share": intervals("yield", 3), "words": intervals("words", 1)}
    )
    for name, digits in {"tokens_per_text": 0, "cost": 4, "cost_per_text": 6}.items():
        shown[name.replace("_", " ")] = rounded(table[[name]], digits)
    return shown


def _origin(one: CorpusTexts) -> dict[str, Any]:
    about = one.provenance
    return {"llm": about["written_by"], **{name: about[name] for name in ("corpus", "task", "setting")}}


def _row(one: CorpusTexts, costs: pd.DataFrame) -> dict[str, Any]:
    row = _origin(one) | {name: one.provenance[name] for name in ("asked", "received", "accepted")}
    turns = _by_turn(one)
    for name, (over, under) in {"yield": ("accepted", "received"), "words": ("words", "accepted")}.items():
        value, low, high = ratio(turns[over].to_numpy(), turns[under].to_numpy())
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    paid = matching(costs, {name: row[name] for name in ("task", "corpus")})
    if len(paid):
        texts = row["accepted"] or float("nan")
        cost = paid["cost"].sum(skipna=False)
        tokens = paid["prompt_tokens"].sum() + paid["completion_tokens"].sum()
        row |= {"tokens_per_text": tokens / texts, "cost": cost, "cost_per_text": cost / texts}
    return row


def _by_turn(one: CorpusTexts) -> pd.DataFrame:
    """Columns received, accepted, words (of accepted texts); a row for each turn of a label, or imported text."""
    words = one.texts["text"].str.split().str.len().astype(float)
    if "turn" not in one.texts:
        return pd.DataFrame({"received": float("nan"), "accepted": 1.0, "words": words})
    keys = ["label", "turn"]
    accepted = one.texts[keys].assign(received=1.0, accepted=1.0, words=words)
    rejected = one.ledger.loc[one.ledger["reason"] != "reasoning", keys].assign(received=1.0, accepted=0.0, words=0.0)
    return pd.concat([part for part in (accepted, rejected) if len(part)] or [accepted]).groupby(keys).sum()


def ratio(over: np.ndarray, under: np.ndarray) -> tuple[float, float, float]:
    """Sum over sum with its 95 % percentile interval over resampled rows; NaN where the divisor is 0 or unknown."""
    if not under.sum() > 0:
        return float("nan"), float("nan"), float("nan")
    generator = np.random.default_rng(0)
    weights = generator.multinomial(len(over), np.full(len(over), 1 / len(over)), size=RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = (weights @ over) / (weights @ under)
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return float(over.sum() / under.sum()), float(low), float(high)


def text_lengths(real: Mapping[str, RealData], made: ByTaskAndCorpus) -> pd.DataFrame:
    """Words of the texts to train on: columns task, corpus, texts (their number), quartiles, whiskers.

    Whiskers reach to the last text within 1.5 times the distance of the quartiles.
    """
    rows = []
    for task, data in real.items():
        synthetic = {corpus: one.texts for (name, corpus), one in made.items() if name == task}
        for corpus, texts in {REAL: data.split("train"), **synthetic}.items():
            (box,) = boxplot_stats(texts["text"].str.split().str.len().to_numpy())
            about = {"task": task, "corpus": corpus, "texts": len(texts)}
            rows.append(about | {name: box[key] for name, key in BOX.items()})
    return pd.DataFrame(rows)
