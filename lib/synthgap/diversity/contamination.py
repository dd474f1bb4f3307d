"""Did test texts slip into the synthetic ones, and what does it change?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML
from rapidfuzz import fuzz

from synthgap.core.config import DiversitySettings
from synthgap.core.terminal import Progress
from synthgap.data.duplicates import normalised, sharing_runs
from synthgap.diversity.similarity import similarities
from synthgap.diversity.texts import EmbeddedTexts, TaskTexts
from synthgap.evaluation.scores import score_runs
from synthgap.generation.display import shown_text, text_table
from synthgap.tables import stacked
from synthgap.training.predictions import Predictions

MOST_SHOWN = 20  # pairs in a notebook
CANDIDATE = 0.7  # cosine similarity from which two texts are compared letter by letter
KEY = ["task", "corpus", "synthetic_id", "test_id"]
PAIR = [*KEY, "letters", "cosine"]
SIZES = ["synthetic_texts", "test_texts", "reciting_texts"]


def pairs_with_test(texts: Sequence[TaskTexts]) -> pd.DataFrame:
    """All synthetic texts of all tasks against the test splits, whether they are trained on or not.

    Columns as of `near_test_pairs`, then synthetic_texts and test_texts: how many were compared; reciting_texts: the
    synthetic ones that share a run of six words with a test text.
    """
    parts = []
    for task in Progress(texts, desc="test texts"):
        test = task.embedded("test", task.real.split("test"))
        for corpus, made in task.synthetic.items():
            pairs = near_test_pairs(task.embedded(corpus, made), test, task.profile.diversity)
            recite = sharing_runs(made["text"].tolist(), test.texts["text"]).sum()
            parts.append(pairs.assign(synthetic_texts=len(made), test_texts=len(test.texts), reciting_texts=recite))
    return stacked(parts, [*PAIR, "repeats", *SIZES])


def near_test_pairs(made: EmbeddedTexts, test: EmbeddedTexts, settings: DiversitySettings) -> pd.DataFrame:
    """Pairs of a synthetic and a test text that (nearly) repeat each other, and always the pair nearest in meaning.

    A pair repeats from `near_duplicate` percent of letters or `near_duplicate_cosine` on; letters are compared where
    the embeddings are similar at all (cosine of 0.7). `your_task.checks.repeats`, of files that are not embedded yet,
    compares letters where words are shared, and finds others. Columns task, corpus, synthetic_id, test_id, letters
    (rapidfuzz's normalised Indel similarity, percent), cosine, repeats.
    """
    ours, theirs = ([*zip(one.texts["id"], map(normalised, one.texts["text"]), strict=True)] for one in (made, test))
    rows = []
    for part, block in similarities(made.embeddings, test.embeddings):
        limit = min(CANDIDATE, settings.near_duplicate_cosine, block.max())  # the nearest pair is always looked at
        for row, column in np.argwhere(block >= limit):
            (made_id, text), (test_id, other) = ours[part.start + row], theirs[column]
            letters = fuzz.ratio(text, other)
            rows.append((made.task, made.corpus, made_id, test_id, letters, float(block[row, column])))
    pairs = pd.DataFrame(rows, columns=PAIR).sort_values(KEY).reset_index(drop=True)
    repeats = (pairs["letters"] >= settings.near_duplicate) | (pairs["cosine"] >= settings.near_duplicate_cosine)
    return pairs.assign(repeats=repeats)[repeats | (pairs["cosine"] == pairs["cosine"].max())]


def repeated_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs of `pairs_with_test` that repeat: columns task, corpus, synthetic_id, test_id, letters, cosine."""
    return pairs.loc[pairs["repeats"].astype(bool), PAIR].reset_index(drop=True)


def contamination_summary(pairs: pd.DataFrame) -> pd.DataFrame:
    """What `pairs_with_test` found, a row for each task and corpus.

    Columns task, corpus, synthetic_texts, test_texts, reciting_texts, pairs, repeated_test_texts, closest_cosine.
    """
    repeated = pairs["test_id"].where(pairs["repeats"].astype(bool))
    groups = pairs.assign(repeated_test_texts=repeated).groupby(["task", "corpus"], sort=False, as_index=False)
    ways = dict.fromkeys(SIZES, "first") | {"repeats": "sum", "repeated_test_texts": "nunique", "cosine": "max"}
    return groups.agg(ways).rename(columns={"repeats": "pairs", "cosine": "closest_cosine"})


def scores_without(predictions: Sequence[Predictions], repeated: Mapping[str, set[str]]) -> pd.DataFrame:
    """Macro-F1 in percent before and after test items leave the test: mean over seeds, by task, classifier, corpus.

    Classifiers are not trained anew. Columns task, classifier, corpus, test_items, removed, before, after, change.

    Args:
        repeated: {task: ids of test items to leave out}, the same for every corpus.
    """
    rows = []
    for one in predictions:
        kept = one.without(repeated.get(one.task, set()))
        items, removed = len(one.truth), len(one.truth) - len(kept.truth)
        for corpus in one.predicted:
            before = score_runs(one, corpus)["macro_f1"].mean()
            after = score_runs(kept, corpus)["macro_f1"].mean() if len(kept.truth) else np.nan
            rows.append((one.task, one.classifier, corpus, items, removed, before, after, after - before))
    columns = ["task", "classifier", "corpus", "test_items", "removed", "before", "after", "change"]
    return pd.DataFrame(rows, columns=columns)


def show_pairs(pairs: pd.DataFrame, texts: Mapping[str, TaskTexts], show_real_texts: bool) -> HTML:
    """Synthetic texts beside the test texts that they (nearly) repeat; the most alike in letters first.

    Args:
        pairs: as `repeated_pairs` gives them.
        texts: {task: its texts}.
    """
    rows = []
    for pair in pairs.sort_values("letters", ascending=False).head(MOST_SHOWN).itertuples():
        made = texts[pair.task].synthetic[pair.corpus].set_index("id")["text"]
        test = texts[pair.task].real.split("test").set_index("id")["text"]
        about = f"{pair.task}, {pair.corpus}: letters {pair.letters:.0f} %, cosine {pair.cosine:.2f}"
        rows.append((about, made[pair.synthetic_id], shown_text(pair.test_id, test[pair.test_id], show_real_texts)))
    if not rows:
        return HTML("<p>No such pair was found.</p>")
    more = len(pairs) - MOST_SHOWN
    below = f"<p>… {more} more pairs in tables/contamination_pairs.csv</p>" if more > 0 else ""
    return HTML(text_table(rows, ["", "synthetic", "test"], "contamination") + below)
