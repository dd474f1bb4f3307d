"""Whether 10's rule would choose better if it saw the forecast of 08, too: points lost, each task left out in turn.

Reads what the profile `recorded` has measured. The forecast that the rule sees of any task knows neither this task nor
the one that is left out.
"""

from functools import cache

import pandas as pd

from synthgap.core.paths import root
from synthgap.decision import rule
from synthgap.llms.forecast import FEATURES, fit
from synthgap.tables import to_markdown
from synthgap.training.strategies import FEW_SHOT, ZERO_SHOT

FOLDER = root() / "outputs" / "recorded"
SIGNS = {
    "cross-validation": ["cross_validated"],
    "forecast": ["forecast"],
    "as it is": rule.SIGNS,
    "as it is, and the forecast": [*rule.SIGNS, "forecast"],
}
EXAMPLES = pd.read_csv(FOLDER / "tables" / "forecast_examples.csv")


@cache
def foretold(task: str, left_out: str) -> dict[str, float]:
    """{corpus: the gap to real texts that other tasks foretell}."""
    forecast = fit(EXAMPLES[~EXAMPLES["task"].isin([task, left_out])])
    own = EXAMPLES[EXAMPLES["task"] == task]
    return {row["corpus"]: forecast(row)[0] for row in own[["corpus", *FEATURES]].to_dict("records")}


def with_forecast(rows: pd.DataFrame, left_out: str) -> pd.DataFrame:
    """The column `forecast`: of the texts that an LLM wrote in a strategy; 0 where there are none."""
    written = rows["strategy"].str.extract(f"({ZERO_SHOT}|{FEW_SHOT})")[0]
    gaps = [foretold(task, left_out).get(corpus, 0.0) for task, corpus in zip(rows["task"], written, strict=True)]
    return rows.assign(forecast=gaps)


def main() -> None:
    seen = pd.read_parquet(FOLDER / "measured" / "decision_seen.parquet")
    by_task = pd.read_csv(FOLDER / "tables" / "strategies.csv")
    plain, parts = rule.foretell, []

    def foretell(known: pd.DataFrame, asked: pd.DataFrame) -> pd.Series:
        left_out = asked["task"].iloc[0]
        return plain(with_forecast(known, left_out), with_forecast(asked, left_out))

    rule.foretell = foretell
    for name, rule.SIGNS in SIGNS.items():
        lost = rule.regret_table(seen, by_task)
        parts.append(lost.groupby(["classifier", "real_labels"])["rule"].mean().rename(name))
    print(to_markdown(pd.concat(parts, axis=1).round(2).reset_index(), "Points lost by what the rule sees", []))
    means = pd.concat(parts, axis=1).mean()
    said = ", ".join(f"{name} {lost:.2f}" for name, lost in means.items())
    print(f"points that 10's rule loses on tasks left out, mean over classifiers and sizes, by what it sees: {said}")


if __name__ == "__main__":
    main()
