"""Gaps on the test split beside gaps on further test sets: what another time and place change.

It is called transfer: time, outlet and labelling rule change together, and an LLM has read later texts than a training
set of an earlier year holds, so that none of it is the ageing of a corpus.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from synthgap.core.config import PooledCorpus, Profile
from synthgap.evaluation.gaps import Scored, add_spreads, inferred, parts_of, scores_of
from synthgap.figures import Look
from synthgap.llms.pipelines import METRIC, pipelines
from synthgap.tables import signed, signed_interval, stacked
from synthgap.tasks import FurtherTest, load_task
from synthgap.training.predictions import Predictions, load_predictions

KINDS = {"before": "on the test split", "after": "on the further set", "change": "change"}
COLUMNS = ["comparison", "task", "items", "classifier", "corpus", "n_test", "kind", "score", "gap", "low", "high", "p"]


def changes(before: Sequence[Predictions], after: Sequence[Predictions], resamples: int, seed: int) -> pd.DataFrame:
    """The gap of every corpus to the first on test items, on others, and its change; columns COLUMNS from `task` on.

    An item is a cluster: what all runs predict for it is drawn together. The two sets of items share none and are drawn
    each by itself; runs are the same on both, so that what draws and seeds do to both drops out of the change.
    """
    later, rows = {(one.task, one.classifier): one for one in after}, []
    pairs = [(one, later[one.task, one.classifier]) for one in before if (one.task, one.classifier) in later]
    sets = [(scores_of(one, resamples, seed), scores_of(other, resamples, seed + 1)) for one, other in pairs]
    kinds = {
        "before": [one for one, _ in sets],
        "after": [other for _, other in sets],
        "change": [{key: _difference(other[key], one[key]) for key in one} for one, other in sets],
    }
    for kind, scored in kinds.items():
        add_spreads(scored)
        for (one, other), of_task in zip(pairs, scored, strict=True):
            items = {"before": len(one.truth), "after": len(other.truth)}.get(kind, len(one.truth) + len(other.truth))
            base, *corpora = one.predicted
            for corpus in (base, *corpora):
                both = [of_task[name, METRIC] for name in dict.fromkeys((corpus, base))]
                gap = both[0].mean - both[1].mean if len(both) > 1 else np.nan
                found = inferred(gap, parts_of(both, new=False)) if len(both) > 1 else (np.nan,) * 3
                rows.append((one.task, one.classifier, corpus, items, kind, both[0].mean, gap, *found))
    return pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in {"comparison", "items"}])


def _difference(after: Scored, before: Scored) -> Scored:
    return replace(after, runs=after.runs - before.runs, resampled=after.resampled - before.resampled)


def transfer(profile: Profile, runs: Path) -> pd.DataFrame:
    """`changes` of every pipeline whose runs predicted further test sets; columns COLUMNS."""
    asked, parts = profile.evaluation, []
    for name, comparison in pipelines(profile).items():
        if not comparison.further_tests:
            continue
        before = load_predictions(runs, comparison=name)
        for items in further_sets(profile.tasks_of(comparison)):
            after = load_predictions(runs, comparison=name, items=items)
            found = changes(before, after, asked.resamples, asked.seed)
            parts.append(found.assign(comparison=name, items=items))
    return stacked(parts, COLUMNS)


def further_sets(tasks: Iterable[str]) -> dict[str, FurtherTest]:
    """The further test sets that tasks name."""
    return {name: one for task in tasks for name, one in load_task(task).further_tests.items()}


def in_words(found: pd.DataFrame, profile: Profile) -> list[str]:
    """The change of each corpus's gap, a sentence for each further set, task and classifier; pools are left out."""
    look, sets, sentences = Look.of(profile), further_sets(profile.tasks), []
    single = [name for name, one in profile.corpora.items() if not isinstance(one, PooledCorpus)]
    rows = found[(found["kind"] == "change") & found["corpus"].isin(single)].drop_duplicates(
        ["task", "items", "classifier", "corpus"]
    )
    for (task, items, classifier), own in rows.groupby(["task", "items", "classifier"], sort=False):
        certain = own[(own["low"] > 0) | (own["high"] < 0)]
        extremes = own.sort_values("gap").iloc[[0, -1]].drop_duplicates()
        ends = " to ".join(
            f"{look.title(row.corpus)} {signed(row.gap)} {signed_interval(row.low, row.high)}"
            for row in extremes.itertuples()
        )
        sentences.append(
            f"From {load_task(task).title} to {sets[items].title} ({classifier}) the gap to real texts changes by "
            f"{signed(own['gap'].mean())} points on average over {len(own)} corpora; from {ends}; {len(certain)} of "
            "these changes can be told from 0. It is transfer, not ageing."
        )
    return sentences
