"""What was found on prompts, in sentences."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from synthgap.prompting.effects import ALL, ANY, in_words
from synthgap.tables import matching, signed
from synthgap.training.mixes import alone, both


def _of_all(effects: pd.DataFrame, corpus: str, control: str) -> pd.Series | None:
    """The row of a change in the mean over tasks, of the first classifier."""
    rows = matching(effects, {"task": ALL, "corpus": corpus, "control": control})
    return rows.iloc[0] if len(rows) else None


def _told_apart(effects: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """The changes on single tasks that are told from none after Holm's correction."""
    rows = effects[(effects["task"] != ALL) & (effects["p_holm"] < 0.05)].to_dict("records")
    found = [f"{titles.get(row['corpus'], row['corpus'])} on {row['task']} {signed(row['change'])}" for row in rows]
    return f"told apart on single tasks: {', '.join(found) or 'none'}"


def _stands_on(effects: pd.DataFrame) -> str:
    effects = effects[effects["corpus"] != ANY]
    tasks, recordings = effects.loc[effects["task"] != ALL, "task"].nunique(), effects["recordings"].max()
    return f"{tasks} task{'s' * (tasks != 1)}, up to {recordings} recordings of a corpus"


def of_examples(none: pd.DataFrame, most: pd.DataFrame, counts: Mapping[str, str], titles: Mapping[str, str]) -> str:
    """How many examples: any against none, then fewer against the most.

    Args:
        none, most: `effects` against the corpus without examples, and against that with the most.
        counts: {corpus: how many different examples its LLM saw}.
    """
    told = none[(none["corpus"] == ANY) & (none["task"] == ALL)]
    if told.empty:
        return "Too few tasks to say what examples change."
    said = [f"Any real examples against none: {in_words(told.iloc[0])} points of macro-F1"]
    rows = most[most["task"] == ALL]
    for row in rows.to_dict("records"):
        many = counts.get(row["corpus"], titles.get(row["corpus"], row["corpus"]))
        said.append(f"{many} against {counts.get(row['control'], 'the most')}: {in_words(pd.Series(row))}")
    if len(rows):
        by_task = most.loc[most["task"] != ALL, "margin"].median()
        said.append(
            f"over tasks they are as good as each other within ±{rows['within'].max():.1f}, and on one task one "
            f"recording tells no difference below about {by_task:.0f}, and more where few examples are drawn by chance"
        )
        said.append(_told_apart(most, titles))
    return f"{'; '.join(said)} ({_stands_on(none)})."


def of_examples_alone(mixes: pd.DataFrame, corpora: Sequence[str], counts: Mapping[str, str]) -> str:
    """What training on the examples alone, and with the texts, changes against the LLM's texts.

    Args:
        mixes: as of `effects.of_mixes`.
        corpora: whose LLM saw examples.
    """
    said = []
    for corpus in reversed(corpora):
        for mix, what in ((both(corpus), "with the texts"), (alone(corpus), "alone")):
            if (row := _of_all(mixes, mix, corpus)) is not None:
                said.append(f"training on {counts.get(corpus, corpus)} {what} {in_words(row)}")
    if not said:
        return "Too few tasks to say what training on the examples gives."
    return f"Real examples of a label, against the LLM's texts alone: {'; '.join(said)} ({_stands_on(mixes)})."


def of_guideline(
    effects: pd.DataFrame,
    shares: pd.DataFrame,
    recited: pd.DataFrame,
    corpora: tuple[str, str, str],
    titles: Mapping[str, str],
) -> str:
    """What part of the examples' advantage is knowing the data set, and how much was recited.

    Args:
        corpora: without examples, with the guideline, with examples.
    """
    rows = matching(shares, {"task": ALL})
    change = _of_all(effects, corpora[1], corpora[0])
    if rows.empty or change is None:
        return "Too few tasks to say what a guideline changes."
    row, stands_on, against = rows.iloc[0], _stands_on(effects), _of_all(effects, corpora[1], corpora[2])
    beside = f"; against few-shot {in_words(against)}" if against is not None else ""
    ends = [f"{100 * end:.0f}" if np.isfinite(end) else "no bound" for end in (row["low"], row["high"])]
    means = recited.groupby("corpus", sort=False)["share"].mean()[list(corpora)]
    share = ", ".join(f"{titles[corpus]} {value:.1f} %" for corpus, value in means.items())
    return (
        f"Knowing where texts come from, without an example, gains {in_words(change)} points, which is "
        f"{100 * row['share']:.0f} % [{ends[0]}, {ends[1]}] of what examples gain{beside} ({stands_on}; texts that "
        f"share six words in a row with a real one: {share})."
    )


def of_diversity(effects: pd.DataFrame, texts: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """What each diversity prompt changes in scores and in the nearest other text's distance."""
    said = []
    for row in effects[effects["task"] == ALL].to_dict("records"):
        near = matching(texts, {"task": ALL, "corpus": row["corpus"], "measure": "chamfer"})
        spread = f", Chamfer {in_words(near.iloc[0], 3)}" if len(near) else ""
        said.append(f"{titles.get(row['corpus'], row['corpus'])}: {in_words(pd.Series(row))}{spread}")
    if not said:
        return "Too few tasks to say what diversity prompts change."
    changes = matching(effects, {"task": ALL}).sort_values("change")
    ends = changes.iloc[[0, -1]].drop_duplicates("corpus")
    between = " to ".join(f"{in_words(row)} ({titles.get(row['corpus'], row['corpus'])})" for _, row in ends.iterrows())
    by_task = effects.loc[effects["task"] != ALL, "margin"].median()
    said += [f"on one task one recording tells no difference below about {by_task:.0f}", _told_apart(effects, titles)]
    return f"Points against the paper's prompt: from {between}; {'; '.join(said)} ({_stands_on(effects)})."


def table(answers: Mapping[str, str]) -> pd.DataFrame:
    """Questions and answers, for the report's first screen."""
    return pd.DataFrame(list(answers.items()), columns=["question", "answer"])
