"""What a prompt changes: gaps to its control, the share of the examples' advantage, recitation, diversity."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from synthgap.core.config import REAL, Comparison, EvaluationSettings, Profile
from synthgap.core.terminal import Progress
from synthgap.data.draws import draw_equal
from synthgap.data.duplicates import sharing_runs
from synthgap.diversity.distances import spread
from synthgap.diversity.measures import vendi
from synthgap.diversity.similarity import similarity_to
from synthgap.evaluation import gaps
from synthgap.evaluation.inference import Part, over_tasks, p_value, shared_part
from synthgap.evaluation.scores import METRIC
from synthgap.tables import matching, signed, signed_interval
from synthgap.training.embeddings import embed
from synthgap.training.mixes import alone, both
from synthgap.training.predictions import Predictions
from synthgap.training.runs import comparison_sizes
from synthgap.training.texts import comparison_texts

ALL = "all tasks"
ANY = "any examples"
EFFECT_COLUMNS = [
    *("task", "classifier", "corpus", "control", "recordings", "change"),
    *("low", "high", "margin", "within", "p", "p_holm"),
]
MEASURES = {"chamfer": "Chamfer", "vendi": "Vendi score", "similarity": "similarity to real texts"}
SHARES = np.linspace(-2, 4, 601)  # of the advantage, which are tried


def with_pooled(predictions: Sequence[Predictions], corpora: Sequence[str]) -> list[Predictions]:
    """The predictions with one more corpus, ANY, whose recordings are those of several corpora."""
    pooled = []
    for one in predictions:
        having = [corpus for corpus in corpora if corpus in one.predicted]
        offsets = [100 * place for place in range(len(having))]
        numbers = [one.recordings[corpus] + offset for corpus, offset in zip(having, offsets, strict=True)]
        predicted = {**one.predicted, ANY: np.concatenate([one.predicted[corpus] for corpus in having])}
        recordings = {**one.recordings, ANY: np.concatenate(numbers)}
        n_train = {**one.n_train, ANY: one.n_train[having[0]]}
        pooled.append(replace(one, predicted=predicted, recordings=recordings, n_train=n_train))
    return pooled


def joined(grid: Sequence[Predictions], mixes: Sequence[Predictions]) -> list[Predictions]:
    """The predictions of a comparison's runs with those of its mixes, of tasks and classifiers that have both.

    Both predicted the same items, in whatever order.
    """
    others = {(one.task, one.classifier): one for one in mixes}
    found = []
    for one in grid:
        if other := others.get((one.task, one.classifier)):
            order = pd.Index(other.ids).get_indexer(one.ids)
            mixed = {name: runs[:, order] for name, runs in other.predicted.items()}
            predicted, recordings = {**one.predicted, **mixed}, {**one.recordings, **other.recordings}
            n_train = {**one.n_train, **other.n_train}
            found.append(replace(one, predicted=predicted, recordings=recordings, n_train=n_train))
    return found


def of_mixes(predictions: Sequence[Predictions], corpora: Sequence[str], settings: EvaluationSettings) -> pd.DataFrame:
    """`effects` of the examples alone, and with a corpus's texts, against the texts, and of both against the examples.

    Args:
        predictions: as of `joined`.
        corpora: those whose LLM saw examples.
    """
    pairs = [
        pair
        for corpus in corpora
        for pair in ((alone(corpus), corpus), (both(corpus), corpus), (both(corpus), alone(corpus)))
    ]

    def there(trained: Sequence[str]) -> list[tuple[str, str]]:
        return [pair for pair in pairs if set(pair) <= set(trained)]

    return effects(gaps.evaluate(predictions, settings.resamples, settings.permutations, settings.seed, there))


def effects(found: gaps.Evaluated) -> pd.DataFrame:
    """What each corpus changes against its control in macro-F1, by task and over tasks; EFFECT_COLUMNS.

    p_holm is corrected over all changes by task.

    Intervals are of new recordings where these can be told. `margin` is half their width: a change below about that
    could not be told from none. `within` is the smallest margin within which both are as good as each other: the
    farther end of the interval.
    """
    rows = pd.concat([found.gaps, found.over_tasks.assign(task=ALL)], ignore_index=True)
    rows = matching(rows, {"metric": METRIC}).rename(columns={"baseline": "control", "gap": "change"})
    return _told(rows)


def _told(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the interval that people are told, and what it says."""
    new = rows["new_low"].notna()
    told = [name for name in ("low", "high", "p", "p_holm") if name in rows]
    rows = rows.assign(**{name: rows[f"new_{name}"].where(new, rows[name]) for name in told})
    rows["margin"] = (rows["high"] - rows["low"]) / 2
    rows["within"] = rows[["low", "high"]].abs().max(axis=1)
    further = [name for name in ("measure",) if name in rows]
    return rows.reindex(columns=[*further, *EFFECT_COLUMNS]).reset_index(drop=True)


def in_words(row: pd.Series, digits: int = 1) -> str:
    """A change as people read it; one whose interval holds 0 is not told apart, and never called none."""
    found = f"{signed(row['change'], digits)} {signed_interval(row['low'], row['high'], digits)}"
    if np.isnan(row["low"]):
        return f"{signed(row['change'], digits)} (of one recording, nothing is known of another)"
    return found if row["low"] * row["high"] > 0 else f"{found}, not told apart at ±{row['margin']:.{digits}f}"


# ------------------------------------------------------------------------------------------------ share of an advantage


def advantage_shares(
    predictions: Sequence[Predictions], nothing: str, middle: str, everything: str, resamples: int, seed: int
) -> pd.DataFrame:
    """What part of the way from one corpus to another a third one goes: columns task, classifier, share, low, high.

    The share is (middle - nothing) / (everything - nothing), in macro-F1. Its interval holds the shares s for which
    middle - (1 - s) nothing - s everything cannot be told from 0 (Fieller 1954), for new recordings where there are
    several; an end is infinite where the advantage itself is too uncertain, or beyond SHARES.
    """
    rows = []
    corpora = (middle, nothing, everything)
    for classifier in dict.fromkeys(one.classifier for one in predictions):
        own = [one for one in predictions if one.classifier == classifier and set(corpora) <= set(one.predicted)]
        tasks = [gaps.scores_of(one, resamples, seed) for one in own]
        gaps.add_spreads(tasks)
        of_all: list[tuple[str, list[gaps.TaskScores]]] = [
            (one.task, [task]) for one, task in zip(own, tasks, strict=True)
        ]
        for task, scored in [*of_all, (ALL, tasks)] if len(tasks) > 1 else of_all:
            means = [np.mean([each[corpus, METRIC].mean for each in scored]) for corpus in corpora]
            share = float((means[0] - means[1]) / (means[2] - means[1])) if means[2] != means[1] else np.nan
            kept = [s for s in SHARES if _p_of_share(float(s), scored, corpora) >= 0.05]
            low, high = (min(kept), max(kept)) if kept else (np.nan, np.nan)
            low, high = -np.inf if low == SHARES[0] else low, np.inf if high == SHARES[-1] else high
            rows.append((task, classifier, share, low, high))
    return pd.DataFrame(rows, columns=["task", "classifier", "share", "low", "high"])


def _p_of_share(share: float, tasks: Sequence[gaps.TaskScores], corpora: Sequence[str]) -> float:
    """The p-value of the middle corpus's being at this share of the way, on one task or in the mean over several."""
    weights = dict(zip(corpora, (1.0, share - 1, -share), strict=True))
    apart = np.array([sum(weight * task[name, METRIC].mean for name, weight in weights.items()) for task in tasks])
    if len(tasks) > 1:
        means = {name: gaps.means_of(tasks, name, METRIC) for name in weights}
        shared = [
            part.times(weights[name] ** 2)
            for name, each in means.items()
            if each is not None and each.shape[1] > 1
            for part in shared_part(each)
        ]
        return p_value(float(apart.mean()), [*over_tasks(apart), *shared])
    resampled = sum(weight * tasks[0][name, METRIC].resampled for name, weight in weights.items())
    parts = [Part(float(np.var(resampled, ddof=1)))]
    for name, weight in weights.items():
        spreads = tasks[0][name, METRIC].spreads
        parts += [part.times(weight**2) for part in spreads.new or spreads.these]
    return p_value(float(apart[0]), parts)


# -------------------------------------------------------------------------------------------- recitation and diversity


def recitation(profile: Profile, folder: Path, comparison: Comparison) -> pd.DataFrame:
    """The percentage of each recording's texts that share a run of six words with a real text of their task.

    Columns task, corpus, recording, share.
    """
    rows = []
    for name in Progress(profile.tasks_of(comparison), desc="recitation"):
        texts = comparison_texts(profile, folder, comparison, name)
        for corpus in texts.corpora:
            for recording, frame in texts.recordings(corpus).items():
                shared = sharing_runs(frame["text"].tolist(), texts.real.frame["text"])
                rows.append((name, corpus, recording, 100 * float(shared.mean())))
    return pd.DataFrame(rows, columns=["task", "corpus", "recording", "share"])


def diversity_of(profile: Profile, folder: Path, comparison: Comparison) -> pd.DataFrame:
    """MEASURES of each recording's texts, as many of each label: columns task, corpus, measure, recording, value.

    Similarity is the mean over real train texts, as many, of that to their nearest texts of the recording.
    """
    settings, rows = profile.diversity, []
    for name in Progress(profile.tasks_of(comparison), desc="diversity"):
        texts = comparison_texts(profile, folder, comparison, name)
        sizes, seed = comparison_sizes(profile.training, comparison, texts), profile.training.seeds[0]

        def drawn(frame: pd.DataFrame, sizes: Mapping[str, int] = sizes, seed: int = seed) -> np.ndarray:
            return embed(draw_equal(frame, sizes, seed)["text"].tolist(), settings.encoder)

        real = drawn(texts.corpus(REAL))
        for corpus in texts.corpora:
            for recording, frame in texts.recordings(corpus).items():
                made = drawn(frame)
                near = similarity_to(real, made, min(settings.neighbours, len(made))).mean()
                values = (spread(made, settings.distance).chamfer, vendi(made), float(near))
                rows += [(name, corpus, measure, recording, v) for measure, v in zip(MEASURES, values, strict=True)]
    return pd.DataFrame(rows, columns=["task", "corpus", "measure", "recording", "value"])


def diversity_effects(values: pd.DataFrame, like: Mapping[str, str]) -> pd.DataFrame:
    """What each variant changes in `diversity_of` against its control: measure, then columns as of `effects`.

    Args:
        like: {variant: its control}, as whose recordings its one recording is taken to vary.
    """
    tasks: dict[str, gaps.TaskScores] = {}
    for (task, corpus, measure), rows in values.groupby(["task", "corpus", "measure"], sort=False):
        numbers = rows["recording"].to_numpy()
        tasks.setdefault(task, {})[corpus, measure] = gaps.Scored(rows["value"].to_numpy(float), numbers, np.zeros(2))
    gaps.add_spreads(list(tasks.values()), like)
    found = [row for pair in like.items() for measure in MEASURES for row in _changes(tasks, pair, measure, like)]
    return _told(pd.DataFrame(found).rename(columns={"metric": "measure", "baseline": "control", "gap": "change"}))


def _changes(
    tasks: Mapping[str, gaps.TaskScores],
    pair: tuple[str, str],
    measure: str,
    like: Mapping[str, str],
) -> Iterator[dict[str, object]]:
    having = {task: one for task, one in tasks.items() if {(corpus, measure) for corpus in pair} <= one.keys()}
    names = [*gaps.OVER_TASKS_COLUMNS[:4], "recordings", *gaps.OVER_TASKS_COLUMNS[6:]]
    for task, one in having.items():
        both = [one[corpus, measure] for corpus in pair]
        change, recordings = both[0].mean - both[1].mean, max(each.n_recordings for each in both)
        intervals = (*gaps.inferred(change, None), *gaps.inferred(change, gaps.parts_of(both, new=True)))
        row = ("", *pair, measure, recordings, change, *intervals)
        yield {"task": task, **dict(zip(names, row, strict=True))}
    for row in gaps.over_tasks_rows("", pair, measure, list(having.values()), like):
        yield {"task": ALL, **dict(zip(gaps.OVER_TASKS_COLUMNS, row, strict=True))}
