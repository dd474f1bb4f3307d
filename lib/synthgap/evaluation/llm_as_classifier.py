"""The LLM as the classifier: its labels of test items are its predictions, and corpora are scored on the same items.

What a classifier that was trained on the LLM's labels scores is another question, and stands beside Table 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from synthgap.core.config import LabelledCorpus, Profile
from synthgap.data.labelled import labels_about
from synthgap.evaluation.gaps import evaluate
from synthgap.figures import Look
from synthgap.tables import label_caveats, matching, stacked
from synthgap.tasks import load_task
from synthgap.training.predictions import Predictions

LLM = "the LLM"  # among corpora, none of which can be called so
FEWEST = 30  # items, of which a score is worth showing
SCORES = [f"{metric}{part}" for metric in ("macro_f1", "accuracy") for part in ("", "_low", "_high")]
COLUMNS = ["labels", "task", "classifier", "corpus", "n_train", "n_test", "seeds", *SCORES]
GAP = ["gap", "low", "high", "p", "p_holm"]
ESTIMANDS = (
    "Two questions, never mixed: what the LLM scores as the classifier (here, on the test items that it was asked, and "
    "every corpus on the same items), and what a classifier scores that was trained on real texts under the LLM's "
    "labels (a corpus among others, beside Table 1)."
)


def llm_as_classifier(
    labels: pd.DataFrame, compared: Mapping[str, Sequence[Predictions]], resamples: int, permutations: int, seed: int
) -> pd.DataFrame:
    """The scores of LLMs, and of each corpus's classifiers on the same items: columns COLUMNS and GAP.

    The LLM has a row beside each classifier, with no training texts and one reading. A gap, in points of macro-F1, is
    the row's score less the LLM's on the same items, paired; its p is Holm-corrected over all gaps of the labels.

    Args:
        labels: as `corpora.labels_of_test_items` gives them; a condition but "" is a further row of the LLM.
        compared: {comparison: its predictions}.
    """
    parts, every = [], [one for of_comparison in compared.values() for one in of_comparison]
    for name, own in labels.groupby("corpus", sort=False):
        first = [one for one in every if name in one.predicted]  # whose runs predict all its items
        others = [one for one in every if name not in one.predicted]
        if on_items := list(on_asked_items(own, [*first, *others])):
            found = evaluate(on_items, resamples, permutations, seed, _against_the_llm)
            gaps = matching(found.gaps, {"metric": "macro_f1"})[["task", "classifier", "corpus", *GAP]]
            parts.append(found.table.merge(gaps, on=["task", "classifier", "corpus"], how="left").assign(labels=name))
    return stacked(parts, COLUMNS + GAP)


def _against_the_llm(corpora: Sequence[str]) -> list[tuple[str, str]]:
    return [(corpus, LLM) for corpus in corpora if corpus != LLM]


def on_asked_items(labels: pd.DataFrame, every: Sequence[Predictions]) -> Iterator[Predictions]:
    """The predictions on the items that an LLM was asked, its own labels among them under the name of LLM.

    A corpus that was trained in several comparisons counts in the first of them. Where predictions have only some of
    the items, the LLM is scored on these, too; where they have fewer than FEWEST, they are left out.

    Args:
        labels: of one labelled corpus, columns task, condition, id, label.
    """
    seen: set[tuple[str, str, str]] = set()
    for one in every:
        own = matching(labels, {"task": one.task})
        wide = own.pivot(index="id", columns="condition", values="label").dropna()
        kept = one.without(set(one.ids) - set(wide.index))
        names = [name for name in one.predicted if (one.task, one.classifier, name) not in seen]
        if not names or len(kept.ids) < FEWEST:
            continue
        said = wide.loc[kept.ids]
        by_llm = {_name(condition): pd.Index(one.labels).get_indexer(said[condition])[None] for condition in said}
        predicted = {
            name: runs
            for name, runs in (by_llm | dict(kept.predicted)).items()
            if name == LLM or (one.task, one.classifier, name) not in seen
        }
        seen |= {(one.task, one.classifier, name) for name in predicted}
        yield replace(kept, predicted=predicted, n_train={name: one.n_train.get(name, 0) for name in predicted})


def _name(condition: str) -> str:
    return f"{LLM}, {condition.replace('_', ' ')}" if condition else LLM


def _title(name: str) -> str:
    return name[0].upper() + name[1:]


def shown(table: pd.DataFrame, profile: Profile, classifier: str) -> pd.DataFrame:
    """The table of `llm_as_classifier` for people: a row for each task, with the LLM and one classifier's corpora.

    These are the corpora of the main comparison, as in the figure.
    """
    look = Look.of(profile)
    titles = {name: series.title for name, series in look.corpora.items()}
    rows: dict[tuple[str, str], dict[str, str]] = {}
    chosen = table[table["corpus"].isin(look.main) | table["corpus"].str.startswith(LLM)]
    for row in matching(chosen, {"classifier": classifier}).itertuples():
        first = {"Task": load_task(row.task).title, "Labels": titles[row.labels], "Items": str(row.n_test)}
        cells = rows.setdefault((row.labels, row.task), first)
        others = "" if cells["Items"] == str(row.n_test) else f" on {row.n_test} of them"
        mark = "*" if row.p_holm < 0.05 else ""
        title = titles.get(row.corpus, _title(row.corpus))
        if row.corpus != LLM or not others:
            cells[title] = f"{_score(row, 'macro_f1')}{mark}{others}"
        if row.corpus == LLM and not others:
            cells[f"{title}, accuracy"] = _score(row, "accuracy")
    of_labels, tasks = list(table["labels"].unique()), list(profile.tasks)
    places = sorted(rows, key=lambda key: (of_labels.index(key[0]), tasks.index(key[1])))
    found = pd.DataFrame([rows[place] for place in places]).fillna("–")
    return found if len(set(table["labels"])) > 1 else found.drop(columns="Labels")


def _score(row: Any, metric: str) -> str:
    value, low, high = (getattr(row, f"{metric}{part}") for part in ("", "_low", "_high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def notes(labels: pd.DataFrame, profile: Profile) -> list[str]:
    """What a reader must know beside the table."""
    found = [
        ESTIMANDS,
        "In percent, with 95 % intervals; macro-F1, and accuracy of the LLM. * p < 0.05 (Holm) for the difference to "
        "the LLM in macro-F1, paired on the items. Items that the LLM gave none of the labels are left out.",
    ]
    for name, corpus in profile.corpora.items():
        if isinstance(corpus, LabelledCorpus):
            there = set(matching(labels, {"corpus": name})["condition"])
            meanings = labels_about(corpus)["conditions"]
            found += [f"{_title(_name(one))}: {meaning}." for one, meaning in meanings.items() if one in there]
    return found + label_caveats(profile)


def difference_in_words(table: pd.DataFrame) -> list[str]:
    """How often training on a corpus does better, or worse, than asking the LLM; a sentence for each classifier."""
    gaps = table.dropna(subset="gap")
    gaps = gaps[~gaps["corpus"].str.startswith(LLM)]
    parts = []
    for classifier, own in gaps.groupby("classifier", sort=False):
        told = own[own["p_holm"] < 0.05]
        better, worse = (told["gap"] > 0).sum(), (told["gap"] < 0).sum()
        parts.append(
            f"{classifier}: of {len(own)} pairs of task and corpus {worse} score less than the LLM, {better} more, and "
            f"{len(own) - len(told)} are not told apart from it (p < 0.05, Holm)."
        )
    return parts
