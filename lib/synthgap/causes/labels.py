"""Do labels mean the same on synthetic and on real texts, and does cleaning the synthetic ones help?"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from IPython.display import HTML
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.model_selection import cross_val_predict
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from statsmodels.stats.proportion import proportion_confint

from synthgap.causes.draws import Draw, Sample, TaskDraws, probabilities
from synthgap.causes.summary import FEW
from synthgap.core.config import GeneratedCorpus, Profile, RecordedSettings
from synthgap.core.paths import bundled
from synthgap.generation.corpora import load_corpus
from synthgap.generation.display import WORDS_SHOWN, first_words, hidden_corpora, text_table
from synthgap.llm.recorded import recording_folder
from synthgap.tables import stacked

BLIND = "recordings/labels/synthetic.csv"
PLACE = ["task", "label", "recording", "turn", "position"]  # where an answer's text stood
WAYS = {  # to mend a corpus's labels: {measure of `cleaning`: how tables call it}
    "own_folds": "own folds",
    "classifiers": "two classifiers",
    "recordings": "other recordings",
    "teacher_few": f"teacher, {FEW} labels each",
    "few_real": f"those {FEW} real each alone",
    "teacher": "teacher, all labels",
    "weighted": "weighted",
    "relabelled": "relabelled",
}
DISAGREEMENTS = ["task", "corpus", "id", "label", "taken_for", "confidence", "draws"]
BLIND_COLUMNS = ["task", "corpus", "texts", "confirmed", "low", "high", "doubted", "doubted_confirmed"]


class Split(NamedTuple):
    """A gap as the sum of what the inputs do and what the labels do, in points."""

    gap: float
    inputs: float
    labels: float


def split(real: float, between: float, made: float) -> Split:
    """The gap in two steps: from real texts to synthetic ones that a teacher labelled, and from these to their own.

    Args:
        real, made: scores of training on real and on synthetic texts.
        between: the score of training on synthetic texts under the labels that a classifier trained on real ones gives.
    """
    return Split(made - real, between - real, made - between)


def labels_of(draw: Draw) -> dict[str, float]:
    """The split of a draw's gap both ways, and how often labels are doubted, in percent.

    `inputs` and `labels` come from synthetic texts under the real teacher's labels; inputs_reverse and labels_reverse
    from real texts under a synthetic teacher's; `relabelling` is what real texts lose under labels of a teacher that
    learned from other real ones. doubted: labels that the teacher would change; doubted_real: of real texts.
    """
    taken_for = draw.teacher.argmax(axis=1)
    by_made = draw.made.probe.predict(draw.real.vectors)
    by_others = draw.real.fold_probabilities(len(draw.labels)).argmax(axis=1)
    made = draw.real_score + draw.gap
    forth = split(draw.real_score, draw.score(draw.made.labelled(taken_for)), made)
    back = split(made, draw.score(draw.real.labelled(by_made)), draw.real_score)  # the same, from the other end
    return {
        **forth._asdict(),
        "inputs_reverse": -back.inputs,
        "labels_reverse": -back.labels,
        "relabelling": draw.gap_of(draw.real.labelled(by_others)),
        "doubted": 100 * float(np.mean(taken_for != draw.made.labels)),
        "doubted_real": 100 * float(np.mean(by_others != draw.real.labels)),
    }


# --------------------------------------------------------------------------------------------------------- single texts


def disagreements(tasks: Sequence[TaskDraws]) -> pd.DataFrame:
    """The synthetic texts whose label the real teachers would change, the surest first; columns DISAGREEMENTS.

    taken_for: the label that is most probable in the mean over draws; confidence: its probability; draws: how many.
    """
    parts = []
    for task in tasks:
        for corpus in task.texts.corpora:
            own = [one for one in task.draws if one.corpus == corpus]
            found = pd.concat([pd.DataFrame(one.teacher, index=one.made.texts["id"]) for one in own])
            means, counts = found.groupby(level=0).mean(), found.groupby(level=0).size()
            labels = pd.concat([one.made.texts for one in own]).drop_duplicates("id").set_index("id")["label"]
            rows = pd.DataFrame({"label": labels, "confidence": means.max(axis=1), "draws": counts}, means.index)
            rows["taken_for"] = np.array(task.labels)[means.to_numpy().argmax(axis=1)]
            parts.append(rows.rename_axis("id").reset_index().assign(task=task.task, corpus=corpus))
    table = stacked(parts, DISAGREEMENTS)
    doubted = table[table["label"] != table["taken_for"]]
    return doubted.sort_values("confidence", ascending=False, ignore_index=True)


def show_disagreements(found: pd.DataFrame, profile: Profile, folder: Path) -> HTML:
    """The text whose label is doubted most, of every task and generated corpus in a folder; none of other corpora."""
    allowed = found[~found["corpus"].isin(hidden_corpora(profile))]
    rows = []
    for (task, corpus), own in allowed.groupby(["task", "corpus"], sort=False):
        texts = load_corpus(folder, profile, str(corpus), str(task)).set_index("id")["text"]
        first = own.iloc[0]
        text = first_words(texts[first["id"]], WORDS_SHOWN)
        taken = f"{first['label']}, taken for {first['taken_for']} ({first['confidence']:.2f})"
        rows.append((f"{task}, {corpus}", taken, text))
    if not rows:
        return HTML("<p>No label of a generated text is doubted.</p>")
    return HTML(text_table(rows, ["corpus", "label that was asked for (confidence)", "text"], "disagreements"))


# ------------------------------------------------------------------------------------------------------- blind labels


def blind_labels(profile: Profile) -> pd.DataFrame:
    """The labels that the recorded LLM gave its own texts, blind: columns corpus, PLACE, relabelled.

    Rows are of corpora that the package's recording wrote in the same setting, whether or not the profile has the
    recordings that were read.
    """
    table = pd.read_csv(bundled(BLIND))
    parts = [table.iloc[:0]]
    for name, corpus in profile.corpora.items():
        if not isinstance(corpus, GeneratedCorpus):
            continue
        llm = profile.llms[corpus.llm]
        if isinstance(llm, RecordedSettings) and recording_folder(llm) == bundled("recordings", "claude"):
            own = (table["setting"] == corpus.conditions) & table["task"].isin(profile.tasks_of_corpus(name))
            parts.append(table[own].assign(corpus=name))
    return pd.concat(parts, ignore_index=True).reindex(columns=["corpus", *PLACE, "relabelled"])


def confirmed(blind: pd.DataFrame, doubted: pd.DataFrame, profile: Profile, folder: Path) -> pd.DataFrame:
    """How often the LLM confirms the label it was asked for, and how often it does where a real teacher doubts it.

    Columns BLIND_COLUMNS: low and high are Wilson's 95 % interval of `confirmed`, in percent; doubted: texts among
    these whose label the teachers would change; doubted_confirmed: of them those that the LLM confirms.

    Args:
        blind: as `blind_labels` gives it.
        doubted: as `disagreements` gives it.
        folder: where the synthetic texts are.
    """
    places = {task: place for place, task in enumerate(profile.tasks)}
    blind, rows = blind.sort_values("task", key=lambda tasks: tasks.map(places), kind="stable"), []
    for (task, corpus), read in blind.groupby(["task", "corpus"], sort=False):
        right = read["label"] == read["relabelled"]
        ends = proportion_confint(right.sum(), len(read), method="wilson")
        texts = load_corpus(folder, profile, str(corpus), str(task)).assign(task=task)
        texts["recording"] = texts.get("recording", 1)
        of_texts = texts[texts["id"].isin(doubted["id"])].merge(read, on=PLACE)
        agrees = int((of_texts["label"] == of_texts["relabelled"]).sum())
        rows.append((task, corpus, len(read), 100 * right.mean(), *(100 * np.array(ends)), len(of_texts), agrees))
    return pd.DataFrame(rows, columns=BLIND_COLUMNS)


def confirmed_in_words(found: pd.DataFrame) -> str:
    """The table of `confirmed` in a sentence."""
    if found.empty:
        return "No blind labels: the LLM read none of this profile's texts again."
    lowest, both = found["confirmed"].min(), found[["doubted", "doubted_confirmed"]].sum()
    text = (
        f"Over {len(found)} pairs of task and corpus the LLM confirms {found['confirmed'].mean():.1f} % of its labels, "
        f"{lowest:.1f} % at least."
    )
    if not both["doubted"]:
        return f"{text} None of these texts is both in a draw here and doubted by the teacher."
    return f"{text} Of the {both['doubted']} that the teacher doubts it confirms {both['doubted_confirmed']}."


# ------------------------------------------------------------------------------------------------------------ cleaning


def issues(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """A mask of the texts that confident learning takes for mislabelled (Northcutt, Jiang and Chuang 2021).

    Args:
        labels: places, shape (texts,).
        probabilities: of the labels, shape (texts, labels), by a classifier that did not see the text.
    """
    from cleanlab.filter import find_label_issues  # which loads datasets

    return np.asarray(find_label_issues(labels, probabilities, n_jobs=1), dtype=bool)


def cleaning(draw: Draw) -> dict[str, float]:
    """What is left of a draw's gap when texts are left out, weighted or relabelled, and the share left out, in percent.

    For each way to find texts three measures: <way>, <way>_random (as many of each label at random), <way>_share. With
    real labels: `teacher` knows as many as the reference trains on, `teacher_few` FEW of each label; `few_real` is
    what training on these few alone loses. Without: `own_folds`, `recordings`, `classifiers`.
    """
    n_labels, made = len(draw.labels), draw.made
    place_of_label = pd.Series(draw.real.labels).groupby(draw.real.labels).cumcount().to_numpy()
    few = draw.real.take(place_of_label < FEW)
    ways = {
        "teacher": issues(made.labels, draw.teacher),
        "teacher_few": issues(made.labels, probabilities(few.probe, made.vectors, n_labels)),
        "own_folds": issues(made.labels, made.fold_probabilities(n_labels)),
        "classifiers": doubted_by_both(made, n_labels),
    }
    if draw.others:
        ways["recordings"] = issues(made.labels, probabilities(draw.others.probe, made.vectors, n_labels))
    found = {"gap": draw.gap, "few_real": draw.gap_of(few)}
    found["weighted"] = draw.gap_of(made, draw.teacher[np.arange(len(made.labels)), made.labels])
    found["relabelled"] = draw.gap_of(made.labelled(draw.teacher.argmax(axis=1)))
    for way, left_out in ways.items():
        found[way] = draw.gap_of(made.take(~left_out))
        found[f"{way}_random"] = draw.gap_of(draw.at_random(left_out))
        found[f"{way}_share"] = 100 * float(left_out.mean())
    return found


def with_controls(way: str, title: str) -> Iterator[tuple[str, str]]:
    """A way's measures and their titles: what is left, with as many left out at random, and the share left out."""
    yield way, title
    if way not in {"few_real", "weighted", "relabelled"}:
        yield f"{way}_random", f"{title}: at random"
        yield f"{way}_share", f"{title}: % left out"


def doubted_by_both(sample: Sample, n_labels: int) -> np.ndarray:
    """A mask of the texts whose label neither the probe nor naive Bayes on words gives them, each without the text."""
    if sample.folds < 2:
        return np.zeros(len(sample.labels), dtype=bool)
    probe = sample.fold_probabilities(n_labels).argmax(axis=1)
    words = make_pipeline(HashingVectorizer(alternate_sign=False, norm=None, n_features=2**14), MultinomialNB())
    bayes = cross_val_predict(words, sample.texts["text"], sample.labels, cv=sample.folds)
    return (probe != sample.labels) & (bayes != sample.labels)
