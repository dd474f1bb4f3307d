"""A rule that chooses a strategy from a few real labels and without a test set, and what its choices lose.

It knows the strategies' gains on other tasks, and of its own task three numbers: what cross-validation on the real
labels says, how these labels score by themselves, and how well the LLM's texts are told from real ones.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from synthgap.causes.draws import FOLDS, PROBE, Sample, fit, joined
from synthgap.causes.texts import auc
from synthgap.core.config import DecisionSettings, Profile
from synthgap.core.terminal import Progress
from synthgap.evaluation.scores import METRIC
from synthgap.tables import matching
from synthgap.training.base import logistic_regression
from synthgap.training.runs import TaskTexts, scores
from synthgap.training.strategies import ALONE, FEW_SHOT, JOIN, LABELS, ZERO_SHOT, strategies

MOST = 25  # real labels of each class that the rule may see
DRAWS = 3  # sets of real labels at most, of each number
SIGNS = ["cross_validated", "alone", "apart"]
SEEN = ["task", "real_labels", "draw", "strategy", *SIGNS]
RULES = {
    "rule": "the rule",
    "cross_validation": "cross-validation alone",
    "elsewhere": "the best on other tasks",
    "never": "real texts alone",
}
REGRET = ["classifier", "real_labels", "task", "best", "chosen", *RULES]


def what_is_seen(profile: Profile, texts: Mapping[str, TaskTexts]) -> pd.DataFrame:
    """What the rule may know of each task, by number of labels, draw and strategy: SEEN.

    `cross_validated` is a strategy's gain over the real labels alone, both tested on real labels that were held out;
    `alone` the score of these labels alone; `apart` the AUC of telling the strategy's other texts from the real ones
    (0.5 where the others are real). Few-shot texts were written after seeing all examples, the held-out ones, too.
    """
    asked, rows = profile.training.decision, []
    if asked is None:
        return pd.DataFrame(columns=SEEN)
    with threadpool_limits(1):  # these fits are small: threads would only wait
        for task in Progress(profile.tasks_of(profile.main), desc="cross-validation"):
            for draw in profile.training.seeds[:DRAWS]:
                found = _of_draw(texts[task], asked, profile.training.texts_per_label, draw)
                rows += [(task, n, draw, strategy, *signs) for n, strategy, signs in found]
    return pd.DataFrame(rows, columns=SEEN)


def _of_draw(
    texts: TaskTexts, asked: DecisionSettings, most: int | None, draw: int
) -> Iterator[tuple[int, str, tuple[float, float, float]]]:
    labels = list(texts.real.task.labels)
    frames = {name: frame for name, frame, _ in strategies(texts, asked, most, draw)}
    for n in [n for n in asked.real_texts_per_label if 2 <= n <= MOST and f"{ALONE} {n}" in frames]:
        spent = n * len(labels)
        alone = frames[f"{ALONE} {n}"]
        beside_few_shot = frames.get(f"{ALONE}{JOIN}{FEW_SHOT} {n}", alone)  # in which the real texts come first
        drawn, examples = (Sample.of(one.head(spent), labels) for one in (alone, beside_few_shot))
        for name, frame in frames.items():
            strategy, _, cost = name.rpartition(" ")
            if strategy == ALONE or int(cost) not in {0, n}:
                continue
            real = examples if FEW_SHOT in strategy else drawn
            others = frame[~frame["id"].isin(real.texts["id"])]
            added = Sample.of(others, labels)
            before = cross_validated(real, None, labels)
            gain = cross_validated(real, added, labels, with_real=strategy.startswith(ALONE)) - before
            apart = 0.5
            if {*strategy.split(JOIN)} - {ALONE} != {LABELS}:
                apart = auc(real.vectors, added.vectors, logistic_regression(PROBE.inverse_regularisation))
            yield n, strategy, (gain, before, apart)


def cross_validated(real: Sample, added: Sample | None, labels: Sequence[str], with_real: bool = True) -> float:
    """Macro-F1 in percent on real texts that were held out, of training on the other real texts and the added ones.

    Args:
        with_real: False: training is on the added texts alone.
    """
    folds = StratifiedKFold(min(FOLDS, real.folds), shuffle=True, random_state=0)
    guessed = np.empty(len(real.labels), int)
    if added is not None and not with_real:
        guessed = fit(added).predict(real.vectors)
    else:
        for train, held_out in folds.split(real.vectors, real.labels):
            known = real.take(train)
            model = fit(known if added is None else joined([known, added]))
            guessed[held_out] = model.predict(real.vectors[held_out])
    names = list(labels)
    return scores([names[at] for at in real.labels], [names[at] for at in guessed], names)[METRIC]


# -------------------------------------------------------------------------------------------------------------- regret


def foretell(known: pd.DataFrame, asked: pd.DataFrame) -> np.ndarray:
    """Gains that a least-squares fit to other tasks foretells: one intercept a strategy, one slope for each of SIGNS.

    Args:
        known: rows of other tasks, columns SEEN and gain.
        asked: the rows to foretell, columns SEEN; shape (rows,) comes back.
    """
    strategies_there = sorted(set(known["strategy"]) | set(asked["strategy"]))

    def design(rows: pd.DataFrame) -> np.ndarray:
        own = pd.get_dummies(pd.Categorical(rows["strategy"], strategies_there)).to_numpy(float)
        return np.hstack([own, rows[SIGNS].fillna(0.5).to_numpy(float)])

    weights, *_ = np.linalg.lstsq(design(known), known["gain"].to_numpy(float), rcond=None)
    return design(asked) @ weights


def regret_table(seen: pd.DataFrame, by_task: pd.DataFrame) -> pd.DataFrame:
    """What choices lose against the best strategy, in points: REGRET, a row for each classifier, number and task.

    Each draw of labels makes a choice, and the mean over draws is what is lost. Whoever chooses for a task knows the
    others alone. The best is the best of noisy means, so that all regrets are a little too high. `chosen` is the rule's
    most frequent choice.

    Args:
        seen: as `what_is_seen` gives it.
        by_task: as `winners.strategy_tables` gives it.
    """
    rows = []
    alone = matching(by_task, {"strategy": ALONE})[["classifier", "task", "real_labels", METRIC]]
    gains = by_task.merge(alone.rename(columns={METRIC: "base"})).assign(gain=lambda all_: all_[METRIC] - all_["base"])
    for (classifier, n), true in gains.groupby(["classifier", "real_labels"], sort=False):
        wide = true.pivot(index="task", columns="strategy", values="gain")
        there = seen[(seen["real_labels"] == n) & seen["task"].isin(wide.index)]
        there = there.merge(true[["task", "strategy", "gain"]])
        tasks = there["task"].unique()
        for task in tasks if len(tasks) > 1 else ():
            known, own = there[there["task"] != task], matching(there, {"task": task})
            elsewhere = wide.drop(index=task)[wide.columns[wide.loc[task].notna()]].mean()
            own = own.assign(foretold=foretell(known, own))
            lost, chosen = [], []
            for _, draw in own.groupby("draw"):
                choices = [_best(draw, "foretold"), _best(draw, "cross_validated"), elsewhere.idxmax(), ALONE]
                lost.append(wide.loc[task].max() - wide.loc[task, choices].to_numpy(float))
                chosen.append(choices[0])
            best, usual = wide.loc[task].idxmax(), pd.Series(chosen).mode()[0]
            rows.append((classifier, n, task, best, usual, *np.mean(lost, axis=0)))
    return pd.DataFrame(rows, columns=REGRET)


def advice_lost(seen: pd.DataFrame, by_task: pd.DataFrame) -> pd.DataFrame:
    """What a choice by cross-validation loses where there are three ways: real texts, an LLM's texts, or both.

    Columns classifier, texts (which of the LLM's), real_labels, tasks, mean and most, in points; arguments as of
    `regret_table`. `synthgap compare` gives such advice.
    """
    parts = []
    for part in (ZERO_SHOT, FEW_SHOT):
        ways = [ALONE, part, f"{ALONE}{JOIN}{part}"]
        lost = regret_table(*(table[table["strategy"].isin(ways)] for table in (seen, by_task)))
        found = lost.groupby(["classifier", "real_labels"])["cross_validation"].agg(["size", "mean", "max"])
        parts.append(found.reset_index().rename(columns={"size": "tasks", "max": "most"}).assign(texts=part))
    columns = ["classifier", "texts", "real_labels", "tasks", "mean", "most"]
    return pd.concat(parts, ignore_index=True).reindex(columns=columns)


def _best(draw: pd.DataFrame, column: str) -> str:
    """The strategy with the largest gain by a column; real texts alone where none gains."""
    row = draw.loc[draw[column].idxmax()]
    return str(row["strategy"]) if row[column] > 0 else ALONE


def regret_in_words(regret: pd.DataFrame, n: int, classifier: str) -> str:
    """How well the rule chooses with n labels, in a sentence."""
    rows = regret[(regret["real_labels"] == n) & (regret["classifier"] == classifier)]
    if rows.empty:
        return f"Not known for {n} real labels a class: it takes two tasks at least that have all strategies."
    others = ", ".join(f"{title} {rows[name].mean():.1f}" for name, title in RULES.items() if name != "rule")
    good = int((rows["rule"] <= 1).sum())
    return (
        f"With {n} real labels a class and no test set ({classifier}) the rule loses {rows['rule'].mean():.1f} points "
        f"against the best, at most {rows['rule'].max():.1f}, and no more than 1 on {good} of {len(rows)} "
        f"tasks; {others}."
    )
