"""Whether the LLM's blind agreement with itself would foretell gaps better: mean errors in points on tasks left out.

Reads the profile `recorded`'s table of what its forecast is fitted to. Only corpora whose texts the LLM labelled again
without seeing their label take part.
"""

import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from synthgap.causes.labels import blind_labels
from synthgap.core.paths import root
from synthgap.llms.forecast import FEATURES, PENALTY
from synthgap.tasks import load_profile


def agreement() -> pd.DataFrame:
    """Columns task, corpus, agreement: how often the LLM gave a text the label it was asked for, in percent."""
    read = blind_labels(load_profile("recorded"))
    read["agreement"] = 100.0 * (read["label"] == read["relabelled"])
    return read.groupby(["task", "corpus"], as_index=False)["agreement"].mean()


def error(table: pd.DataFrame, features: list[str]) -> float:
    """As the forecast is judged: each task left out in turn, each task weighing the same."""
    parts = []
    for known, asked in LeaveOneGroupOut().split(table, groups=table["task"]):
        others, own = table.iloc[known], table.iloc[asked]
        model = make_pipeline(StandardScaler(), Ridge(PENALTY))
        weights = 1 / others.groupby("task")["task"].transform("size")
        weights *= len(others) / weights.sum()
        model.fit(others[features].to_numpy(), others["gap"], ridge__sample_weight=weights)
        parts.append((own["gap"] - model.predict(own[features].to_numpy())).abs().mean())
    return float(pd.Series(parts).mean())


def main() -> None:
    table = pd.read_csv(root() / "outputs" / "recorded" / "tables" / "forecast_examples.csv").merge(agreement())
    confirmed = int((table["agreement"] == 100).sum())
    without, both, alone = (error(table, names) for names in ([*FEATURES], [*FEATURES, "agreement"], ["agreement"]))
    print(
        f"{len(table)} corpora of {table['task'].nunique()} tasks, {confirmed} confirmed throughout: off by "
        f"{without:.2f} points without blind agreement, {both:.2f} with it, {alone:.2f} with nothing else"
    )


if __name__ == "__main__":
    main()
