"""The paper's claims, answered one by one in sentences that are made from the numbers."""

from collections.abc import Iterator

import pandas as pd

from synthgap.core.config import REAL, Profile
from synthgap.evaluation.table_1 import name_in_sentence
from synthgap.figures import Look
from synthgap.tables import format_p, matching, signed, signed_interval

CLAIM_COLUMNS = ["question", "classifier", "answer"]


def claims(over_tasks: pd.DataFrame, correlations: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """What training on each corpus costs, whether one does better than another, whether subjectivity matters.

    Columns CLAIM_COLUMNS; macro-F1, tasks being a sample of tasks. An answer speaks of new recordings under the same
    conditions where a corpus has several, and says so where it has one.

    Args:
        over_tasks: as `gaps.evaluate` gives it.
        correlations: as `gaps.gap_by_subjectivity` gives them.
    """
    look = Look.of(profile)
    means = matching(over_tasks, {"metric": "macro_f1"})
    rows = [(_question(row, look), row.classifier, _difference(row)) for row in means.itertuples()]
    rows += list(_subjectivity(correlations, look))
    found = pd.DataFrame(rows, columns=CLAIM_COLUMNS)
    return found.sort_values("question", key=lambda asked: asked.map(list(asked.unique()).index), kind="stable")


def _question(row: pd.Series, look: Look) -> str:
    corpus, baseline = look.title(row.corpus), name_in_sentence(look, row.baseline)
    if row.baseline == REAL:
        return f"What does training on {corpus} texts cost, against as many real ones?"
    return f"Do {corpus} texts do better than {baseline} ones?"


def _difference(row: pd.Series) -> str:
    """A mean gap with both intervals, and whether it can be told from 0."""
    these = signed_interval(row.low, row.high)
    said = f"{signed(row.gap)} points, mean over {row.tasks} tasks; 95 % interval {these} for"
    if pd.isna(row.new_low):
        verdict = _verdict(row.low, row.high)
        return f"{said} this recording; what another would give is not known. {verdict}"
    new = signed_interval(row.new_low, row.new_high)
    return f"{said} these {row.recordings} recordings, {new} for new ones. {_verdict(row.new_low, row.new_high)}"


def _subjectivity(correlations: pd.DataFrame, look: Look) -> Iterator[tuple[str, str, str]]:
    tests = len(correlations)
    for row in correlations.itertuples():
        verdict = "The gap follows the order." if row.p_holm < 0.05 else "Whether it does cannot be told."
        yield (
            f"Is more lost on more subjective tasks ({look.title(row.corpus)})?",
            row.classifier,
            f"Spearman's rho of gap and the paper's order {signed(row.rho, 2)} "
            f"{signed_interval(row.low, row.high, 2)}, {row.n} tasks; {format_p(row.p)}, {format_p(row.p_holm)} with "
            f"Holm's correction over {tests} correlations. {verdict}",
        )


def _verdict(low: float, high: float) -> str:
    if low <= 0 <= high:
        return "It cannot be told from 0."
    return "A loss." if high < 0 else "A gain."
