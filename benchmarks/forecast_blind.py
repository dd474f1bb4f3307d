"""Whether the LLM's blind agreement with itself would foretell gaps better: mean errors in points on tasks left out.

Reads the profile `recorded`'s table of what its forecast is fitted to. Only corpora whose texts the LLM labelled again
without seeing their label take part.
"""

import pandas as pd

from synthgap.causes.labels import blind_labels
from synthgap.core.paths import root
from synthgap.llms import forecast
from synthgap.tasks import load_profile


def agreement() -> pd.DataFrame:
    """Columns task, corpus, agreement: how often the LLM gave a text the label it was asked for, in percent."""
    read = blind_labels(load_profile("recorded"))
    read["agreement"] = 100.0 * (read["label"] == read["relabelled"])
    return read.groupby(["task", "corpus"], as_index=False)["agreement"].mean()


def error(table: pd.DataFrame, features: list[str]) -> float:
    """As 08 judges its forecast: each task left out in turn, each task weighing the same."""
    forecast.FEATURES = dict.fromkeys(features, "")
    return float(forecast.judged(forecast.leave_one_task_out(table))["error"])


def main() -> None:
    table = pd.read_csv(root() / "outputs" / "recorded" / "tables" / "forecast_examples.csv").merge(agreement())
    confirmed = int((table["agreement"] == 100).sum())
    named = [*forecast.FEATURES]
    without, both, alone = (error(table, names) for names in (named, [*named, "agreement"], ["agreement"]))
    print(
        f"{len(table)} corpora of {table['task'].nunique()} tasks, {confirmed} confirmed throughout: off by "
        f"{without:.2f} points without blind agreement, {both:.2f} with it, {alone:.2f} with nothing else"
    )


if __name__ == "__main__":
    main()
