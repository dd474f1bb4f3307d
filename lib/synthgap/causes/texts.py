"""What tells synthetic texts from real ones, what their length explains, and which of them recite real ones."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from synthgap.causes.draws import FOLDS, PROBE, VALUE_COLUMNS, Draw, Sample, TaskDraws
from synthgap.core.config import REAL
from synthgap.core.terminal import Progress
from synthgap.data.duplicates import sharing_runs
from synthgap.training.base import logistic_regression

PATTERNS = {  # {feature: what is counted in a text}; per character of the text
    "capitals": r"[A-Z]",
    "digits": r"[0-9]",
    "commas": r",",
    "full stops": r"\.",
    "exclamation marks": r"!",
    "question marks": r"\?",
    "quotation marks": r"[\"“”]",
    "apostrophes": r"['’]",
    "dashes": r"[-–—]",
    "hashtags": r"#\w",
    "mentions": r"@\w",
    "links": r"https?:|www\.",
    "signs beyond ASCII": r"[^\x00-\x7f]",
}
CLOSE = 0.1  # share of a text's words by which its partner's number may differ, and one word at least


def words(texts: pd.DataFrame) -> np.ndarray:
    """The number of words of each text, shape (texts,)."""
    return texts["text"].str.split().str.len().to_numpy(float)


def features(texts: pd.DataFrame) -> pd.DataFrame:
    """What can be seen of a text without reading it: a row for each text, a column for each feature.

    Signs are counted per character; the last three features say with what a text begins and ends.
    """
    text, size = texts["text"], texts["text"].str.len().clip(lower=1)
    found = {name: text.str.count(pattern) / size for name, pattern in PATTERNS.items()}
    found["begins with a capital"] = text.str.match(r"\W*[A-Z]").astype(float)
    found["every long word has a capital"] = (~text.str.contains(r"\b[a-z]\w{4,}")).astype(float)
    found["ends with a full stop"] = text.str.endswith(".").astype(float)
    return pd.DataFrame(found).reset_index(drop=True)


def views(sample: Sample) -> dict[str, np.ndarray]:
    """{what is looked at: features, shape (texts, features)}: length, surface, embedding."""
    size = np.log(words(sample.texts).clip(min=1))
    return {
        "length": np.column_stack([size, size**2]),
        "surface": features(sample.texts).to_numpy(),
        "embedding": sample.vectors,
    }


def auc(first: np.ndarray, second: np.ndarray, model: ClassifierMixin) -> float:
    """The area under the ROC curve of telling the rows of one array from those of another, cross-validated.

    0.5: they cannot be told apart; 1: always. NaN where there are too few rows for folds.
    """
    folds = min(FOLDS, len(first), len(second))
    if folds < 2:
        return np.nan
    truth = np.repeat([0, 1], [len(first), len(second)])
    guessed = cross_val_predict(model, np.vstack([first, second]), truth, cv=folds, method="predict_proba")
    return float(roc_auc_score(truth, guessed[:, 1]))


def telling_apart(draw: Draw) -> dict[str, float]:
    """The AUC of telling a draw's synthetic texts from its real ones, by what is looked at.

    <view>_zero: of telling one half of the real texts from the other, where nothing is to be found.
    """
    real, made, found = views(draw.real), views(draw.made), {}
    half = pd.Series(draw.real.labels).groupby(draw.real.labels).cumcount().to_numpy() % 2 == 0
    for view in real:
        by_embedding = view == "embedding"
        plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        model = logistic_regression(PROBE.inverse_regularisation) if by_embedding else plain
        found[view] = auc(real[view], made[view], model)
        found[f"{view}_zero"] = auc(real[view][half], real[view][~half], model)
    return found


def telling_features(tasks: Sequence[TaskDraws]) -> pd.DataFrame:
    """What each feature alone tells: columns task, corpus, feature, auc, real, synthetic.

    auc: above 0.5 where the corpus's texts have more of it, mean over draws; real, synthetic: mean values.
    """
    rows = []
    for one in (draw for task in tasks for draw in task.draws):
        real, made = features(one.real.texts), features(one.made.texts)
        truth = np.repeat([0, 1], [len(real), len(made)])
        for name in real:
            values = np.concatenate([real[name], made[name]])
            rows.append(
                (one.task, one.corpus, name, roc_auc_score(truth, values), real[name].mean(), made[name].mean())
            )
    columns = ["task", "corpus", "feature", "auc", "real", "synthetic"]
    table = pd.DataFrame(rows, columns=columns)
    return table.groupby(columns[:3], sort=False, as_index=False).mean()


def most_telling(found: pd.DataFrame, each: int = 3) -> pd.DataFrame:
    """Of `telling_features` the features of each task and corpus that tell most."""
    order = (found["auc"] - 0.5).abs().sort_values(ascending=False, kind="stable").index
    places = found.groupby(["task", "corpus"], sort=False).ngroup()  # in the order of the tasks
    chosen = found.assign(place=places).loc[order].groupby("place").head(each)
    return chosen.sort_values("place", kind="stable", ignore_index=True).drop(columns="place")


# -------------------------------------------------------------------------------------------------------------- length


def partners(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of pairs of like length, one of each array; every text is in one pair at most.

    The pairing makes the sum of differences (of logarithms) smallest; pairs that differ by more than a word and by more
    than a tenth are given up.

    Args:
        first, second: numbers of words.
    """
    apart = np.abs(np.log(first.clip(min=1))[:, None] - np.log(second.clip(min=1)))
    ours, theirs = linear_sum_assignment(apart)
    near = np.abs(first[ours] - second[theirs]) <= np.maximum(1, CLOSE * first[ours])
    return ours[near], theirs[near]


def length(draw: Draw) -> dict[str, float]:
    """A draw's gap between texts of like length, label by label, and between as many random ones; in points.

    `kept`: share of texts that have a partner, in percent; words_real, words_made: mean numbers of words; `explained`:
    what the gap of random texts has beyond that of texts of like length; `left`: the gap without it. Nothing of the
    last four where some label has fewer than two pairs.
    """
    sizes = words(draw.real.texts), words(draw.made.texts)
    found = {"gap": draw.gap, "words_real": sizes[0].mean(), "words_made": sizes[1].mean()}
    random, chosen = np.random.default_rng(draw.number), []
    for label in np.unique(draw.real.labels):
        ours, theirs = (np.flatnonzero(sample.labels == label) for sample in (draw.real, draw.made))
        pairs = partners(sizes[0][ours], sizes[1][theirs])
        some = [random.choice(own, len(pairs[0]), replace=False) for own in (ours, theirs)]
        chosen.append((ours[pairs[0]], theirs[pairs[1]], *some))
    found["kept"] = 100 * sum(len(one[0]) for one in chosen) / len(sizes[0])
    if min(len(one[0]) for one in chosen) < 2:
        return found
    real, made, real_random, made_random = (np.concatenate(places) for places in zip(*chosen, strict=True))
    found["matched"] = draw.score(draw.made.take(made)) - draw.score(draw.real.take(real))
    found["random"] = draw.score(draw.made.take(made_random)) - draw.score(draw.real.take(real_random))
    explained = found["random"] - found["matched"]
    return found | {"explained": explained, "left": draw.gap - explained}


# ---------------------------------------------------------------------------------------------------------- recitation


def recited(tasks: Sequence[TaskDraws]) -> pd.DataFrame:
    """Which texts share a run of six words with a real text: columns task, corpus, recording, id, train, test.

    All texts of every corpus, and as `real` the first draw of real texts, which `train` compares with the other texts
    of the train split.
    """
    parts = []
    for task in Progress(tasks, desc="recitation"):
        train, test = (task.real.split(split) for split in ("train", "test"))
        own = task.real_draw(0).texts
        frames = {REAL: (own, train[~train["id"].isin(own["id"])])}
        frames |= {corpus: (frame, train) for corpus, frame in task.texts.corpora.items()}
        for corpus, (frame, others) in frames.items():
            found = {"recording": frame.get("recording", 1), "id": frame["id"]}
            for split, texts in (("train", others), ("test", test)):
                found[split] = sharing_runs(frame["text"].tolist(), texts["text"])
            parts.append(pd.DataFrame(found).assign(task=task.task, corpus=corpus))
    columns = ["task", "corpus", "recording", "id", "train", "test"]
    return pd.concat(parts, ignore_index=True)[columns]


def recited_shares(found: pd.DataFrame) -> pd.DataFrame:
    """The share of texts of each recording that recite, in percent, by split; columns VALUE_COLUMNS."""
    shares = found.groupby(["task", "corpus", "recording"], sort=False)[["train", "test"]].mean().mul(100)
    rows = shares.reset_index().melt(["task", "corpus", "recording"], var_name="measure", value_name="value")
    return rows.assign(draw=0)[VALUE_COLUMNS]


def without_recited(draw: Draw, ids: Mapping[str, set[str]]) -> dict[str, float]:
    """A draw's gap without the texts that recite ({corpus: ids}), and without as many at random; percent left out."""
    left_out = draw.made.texts["id"].isin(ids.get(draw.corpus, set())).to_numpy()
    found = {"gap": draw.gap, "without": draw.gap_of(draw.made.take(~left_out))}
    return found | {"random": draw.gap_of(draw.at_random(left_out)), "share": 100 * float(left_out.mean())}
