"""LLMs side by side, each with those that wrote under the same prompts, cleaning and sampling: a pipeline.

A comparison on the question `llms` is a pipeline. Differences between LLMs are taken within one alone: between two
pipelines prompts, lengths and filters differ as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from synthgap.causes.draws import Draw, Sample, TaskDraws
from synthgap.core.config import REAL, Comparison, GeneratedCorpus, ImportedCorpus, PooledCorpus, Profile
from synthgap.data.duplicates import normalised
from synthgap.evaluation.gaps import Evaluated, Scored, evaluate, inferred, one_recording, scores_of
from synthgap.evaluation.inference import Part, Spreads, training_spreads
from synthgap.evaluation.scores import METRIC
from synthgap.figures import Look
from synthgap.generation.corpora import provenance
from synthgap.tables import matching, rounded, signed, signed_interval, stacked
from synthgap.tasks import load_task
from synthgap.training.embeddings import embed
from synthgap.training.predictions import Predictions, load_predictions

POOL_COLUMNS = ["comparison", "task", "classifier", "corpus", "members", "gain", "low", "high", "p"]
GAP_COLUMNS = ["comparison", "task", "classifier", "corpus", "baseline", "recordings", "gap", "low", "high", "p"]
NEW = ["new_low", "new_high"]
BESIDE = {"chamfer": "chamfer", "vendi": "vendi", "words": "words", "doubted": "% doubted", "told_apart": "told apart"}


def pipelines(profile: Profile) -> dict[str, Comparison]:
    """The comparisons on LLMs; where a profile names none, its main one."""
    name, main = next(iter(profile.comparisons.items()))
    return profile.comparisons_on("llms") or {name: main}


def task_draws(profile: Profile, folder: Path, found: bool = False) -> list[TaskDraws]:
    """The draws of every pipeline's tasks.

    Args:
        folder: of the synthetic texts.
        found: only of pipelines with imported corpora.
    """
    chosen = {
        name: one
        for name, one in pipelines(profile).items()
        if not found or any(isinstance(profile.corpora.get(corpus), ImportedCorpus) for corpus in one.members)
    }
    return [TaskDraws(profile, folder, task, name) for name, one in chosen.items() for task in profile.tasks_of(one)]


def evaluated(profile: Profile, runs: Path) -> Evaluated:
    """`evaluate` of every pipeline, the comparison in its first column.

    Corpora with one recording vary as the main comparison's recordings do: what another recording of theirs would give,
    nobody has seen.
    """
    asked, lent = profile.evaluation, one_recording(load_predictions(runs))
    parts = {
        name: evaluate(
            load_predictions(runs, comparison=name), asked.resamples, asked.permutations, asked.seed, lent=lent
        )
        for name in pipelines(profile)
    }
    return Evaluated(
        *(
            pd.concat([getattr(one, table).assign(comparison=name) for name, one in parts.items()], ignore_index=True)
            for table in ("table", "gaps", "over_tasks")
        )
    )


def side_by_side(found: Evaluated, properties: pd.DataFrame, profile: Profile, folder: Path) -> pd.DataFrame:
    """A row for each pipeline, task, classifier and corpus: score, gap to real texts, and what the texts are like.

    Args:
        properties: means over draws, as `summary.by_task` gives them; see `forecast.properties`.
        folder: of the synthetic texts.
    """
    key = ["comparison", "task", "classifier", "corpus"]
    scores = found.table[[*key, "n_train", "recordings", METRIC]]
    to_real = matching(found.gaps, {"metric": METRIC, "baseline": REAL})
    table = scores.merge(to_real[[*key, "gap", "low", "high", "new_low", "new_high"]], on=key)
    wide = properties.pivot_table(index=["task", "corpus"], columns="measure", values="value", sort=False)
    table = table.merge(wide.reindex(columns=list(BESIDE)).reset_index(), on=["task", "corpus"], how="left")
    table["usable"] = [_usable(profile, folder, row.corpus, row.task) for row in table.itertuples()]
    return table


def _usable(profile: Profile, folder: Path, corpus: str, task: str) -> float:
    """The share of the texts received that could be used, in percent; of a pool there is none."""
    about = provenance(folder, corpus, task)
    if isinstance(profile.corpora[corpus], PooledCorpus) or not about["received"]:
        return np.nan
    return 100 * about["accepted"] / about["received"]


def shown(table: pd.DataFrame, look: Look) -> pd.DataFrame:
    """`side_by_side` as people read it."""
    gaps = [
        f"{signed(row.gap)} {signed_interval(row.low, row.high)}"
        + ("" if pd.isna(row.new_low) else f" {signed_interval(row.new_low, row.new_high)}")
        for row in table.itertuples()
    ]
    cells = table[["comparison", "task"]].assign(corpus=table["corpus"].map(look.title), texts=table["n_train"])
    cells["F1"], cells["gap"] = rounded(table[[METRIC]], 1)[METRIC], gaps
    for name, title in BESIDE.items():
        cells[title] = rounded(table[[name]], 2 if name in {"chamfer", "told_apart"} else 1)[name]
    return cells.assign(**{"% usable": rounded(table[["usable"]], 1)["usable"]})


def sizes_in_words(table: pd.DataFrame, profile: Profile) -> str:
    """On how many texts of a label pipelines of `side_by_side` were trained, where some had fewer than asked for."""
    sizes = table["n_train"] / table["task"].map(lambda task: len(load_task(task).labels))
    asked = profile.training.texts_per_label or np.inf
    smaller = [
        f"{name}: {' to '.join(dict.fromkeys(f'{n:.0f}' for n in (own.min(), own.max())))} texts of each label, "
        "the most that all its corpora have."
        for name, own in sizes.groupby(table["comparison"], sort=False)
        if own.min() < asked
    ]
    return " ".join(smaller) or f"All pipelines train on {asked} texts of each label."


# ------------------------------------------------------------------------------------------------- variety of authors


def pool_gains(profile: Profile, runs: Path) -> pd.DataFrame:
    """What a pool's macro-F1 has beyond the mean of its corpora's, at equal number of texts; columns POOL_COLUMNS.

    Intervals are over test items, draws and seeds, the texts that there are being given.
    """
    rows = []
    for name, comparison in pipelines(profile).items():
        pools = {corpus: about for corpus, about in profile.corpora.items() if isinstance(about, PooledCorpus)}
        for pool in (corpus for corpus in comparison.members if corpus in pools):
            members = pools[pool].pool
            for one in load_predictions(runs, comparison=name):
                if {pool, *members} <= set(one.predicted):
                    gain, parts = _beyond_mean(one, pool, members, profile)
                    found = inferred(gain, parts)
                    rows.append((name, one.task, one.classifier, pool, len(members), gain, *found))
    return pd.DataFrame(rows, columns=POOL_COLUMNS)


def _beyond_mean(one: Predictions, pool: str, members: Sequence[str], profile: Profile) -> tuple[float, list[Part]]:
    """The difference, and the parts of its variance."""
    scored = scores_of(one, profile.evaluation.resamples, profile.evaluation.seed)
    whole, weight = scored[pool, METRIC], 1 / len(members)
    each = [scored[member, METRIC] for member in members]
    mean = np.mean([member.resampled for member in each], axis=0)
    parts = [Part(float(np.var(whole.resampled - mean, ddof=1))), *_within(whole)]
    parts += [part.times(weight**2) for member in each for part in _within(member)]
    return whole.mean - float(np.mean([member.mean for member in each])), parts


def _within(scored: Scored) -> list[Part]:
    spreads: list[Spreads] = training_spreads([scored.runs], [scored.recordings])
    return spreads[0].these


# --------------------------------------------------------------------------------------------- case and punctuation


def plain(draw: Draw) -> dict[str, float]:
    """A draw's gap as it is, and with letters and digits alone in all texts, real, synthetic and test; in points."""
    real, made, test = (_without_signs(sample) for sample in (draw.real, draw.made, draw.test))
    return {"gap": draw.gap, "plain": replace(draw, real=real, made=made, test=test).gap}


def _without_signs(sample: Sample) -> Sample:
    texts = sample.texts.assign(text=sample.texts["text"].map(normalised))
    return Sample(texts, sample.labels, embed(texts["text"].tolist()))


# -------------------------------------------------------------------------------------------------------- in sentences


def best_and_worst(found: Evaluated, profile: Profile) -> Iterator[str]:
    """Which corpus trains best, in a sentence for each pipeline, setting and classifier with several LLMs.

    It is of the pipeline's task, or of the mean over its tasks.

    Args:
        found: as of `evaluated`.
    """
    look, pools = Look.of(profile), [n for n, one in profile.corpora.items() if isinstance(one, PooledCorpus)]
    means = found.over_tasks.assign(task=[f"mean over {tasks} tasks" for tasks in found.over_tasks["tasks"]])
    several = [name for name, one in pipelines(profile).items() if len(profile.tasks_of(one)) > 1]
    gaps = stacked([found.gaps[~found.gaps["comparison"].isin(several)], means], [*GAP_COLUMNS, "metric", *NEW])
    within = gaps[(gaps["metric"] == METRIC) & ~gaps["corpus"].isin(pools) & ~gaps["baseline"].isin(pools)]
    for (name, task, classifier), rows in within.groupby(["comparison", "task", "classifier"], sort=False):
        to_real = matching(rows, {"baseline": REAL}).set_index("corpus")["gap"]
        for _, own in to_real.groupby([_setting(profile, corpus) for corpus in to_real.index], sort=False):
            if len({_llm(profile, corpus) for corpus in own.index}) < 2:
                continue
            worst, best = own.idxmin(), own.idxmax()
            pair = rows[rows["corpus"].isin([best, worst]) & rows["baseline"].isin([best, worst])].iloc[0]
            turned = pair if pair["corpus"] == best else turned_round(pair)
            number = int(pair["recordings"])
            recordings = "one recording" if number == 1 else f"up to {number} recordings"
            yield (
                f"{name} ({task}, {classifier}): {look.title(best)} trains best and {look.title(worst)} worst, "
                f"{said(turned)}; {recordings} each of {len(own)}."
            )


def _setting(profile: Profile, corpus: str) -> str:
    """In which setting a corpus was written, as the profile has it or the file that the texts are from."""
    settings = profile.corpora[corpus]
    if isinstance(settings, GeneratedCorpus):
        return settings.setting
    return str(settings.rows.get("setting", "")) if isinstance(settings, ImportedCorpus) else ""


def _llm(profile: Profile, corpus: str) -> str:
    """What tells the LLM of a corpus from others: its name in the profile, or in the file that the texts are from."""
    settings = profile.corpora[corpus]
    if isinstance(settings, GeneratedCorpus):
        return settings.llm
    return str(settings.rows.get("llm", settings.file)) if isinstance(settings, ImportedCorpus) else corpus


def turned_round(pair: pd.Series) -> pd.Series:
    """The gap of the baseline to the corpus, from that of the corpus to the baseline."""
    ends = {"low": "high", "high": "low", "new_low": "new_high", "new_high": "new_low"}
    return pd.Series({"gap": -pair["gap"], **{name: -pair[other] for name, other in ends.items()}})


def said(gap: Mapping[str, float]) -> str:
    """A gap with its intervals, of these recordings and of others."""
    text = f"{signed(gap['gap'])} points {signed_interval(gap['low'], gap['high'])} for these texts"
    if pd.isna(gap["new_low"]):
        return text
    return f"{text}; {signed_interval(gap['new_low'], gap['new_high'])} if recordings vary as the main comparison's do"


def pools_in_words(gains: pd.DataFrame, look: Look) -> list[str]:
    """What each pool gains, in a sentence."""
    return [
        f"{row.comparison} ({row.task}, {row.classifier}): {look.title(row.corpus)} gains {signed(row.gain)} points "
        f"{signed_interval(row.low, row.high)} over the mean of its {row.members} corpora; at equal number, these "
        "texts being given."
        for row in gains.itertuples()
    ]


def plain_in_words(found: pd.DataFrame) -> str:
    """What leaving case and punctuation out changes, in a sentence, from the means by task of `plain`."""
    if found.empty:
        return "No pipeline here has imported texts, whose case and punctuation could differ from real ones."
    wide = found.pivot_table(index=["task", "corpus"], columns="measure", values="value", sort=False)
    change = wide["plain"] - wide["gap"]
    ends = [f"{signed(change.loc[place])} ({', '.join(place)})" for place in (change.idxmin(), change.idxmax())]
    return (
        f"Without case and punctuation the gap changes by {signed(change.mean())} points on average over {len(change)} "
        f"corpora, from {ends[0]} to {ends[1]}."
    )
