"""Faults in labelled texts: what would make a score of a classifier trained on them mean something else.

Every check compares shares of texts, and speaks where a share is surely (one side of a 90 % interval) above what sound
texts have: the real texts where there are some, else a fixed limit. The limits were chosen on the files that
benchmarks/planted_faults.py makes of seeds 0 to 4; the checks are judged on those of later seeds.
"""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from rapidfuzz import fuzz, process
from scipy.special import log_softmax
from scipy.stats import chi2, chisquare, norm
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from statsmodels.stats.proportion import proportion_confint

from synthgap.core.config import PooledCorpus, Profile
from synthgap.core.files import parquet_about
from synthgap.data.draws import at_most, draw
from synthgap.data.duplicates import closest, normalised, word_runs
from synthgap.data.real import RealData
from synthgap.generation.corpora import corpora_of_task, corpus_file, load_corpus
from synthgap.generation.filtering import label_pattern
from synthgap.tasks import SPLITS
from synthgap.training.embeddings import embed
from synthgap.your_task.files import OwnTexts

FAULT_COLUMNS = ["fault", "label", "texts", "share", "sentence"]
TOKEN = re.compile(r"[#@]?\w[\w'’-]*|([^\w\s])\1*")  # a word, or one mark again and again
FEWEST = 10  # texts of a label, from which on signs of it and wrong labels are looked for
FIRST = 60  # texts of a label that are embedded at first where many files are looked at
DOUBT = -0.1  # `_gain` among these from which on all are; of sound texts it is lower mostly
MOST, MOST_IN_ALL = 250, 2500  # texts of a label, and of a side, that are looked at, drawn by their words alone
SUFFIXES = {"es", "ed", "ing", "er", "ers", "or", "ly", "al", "'s", "’s", "able", "ment", "ness", "ion", "ions"}
RIDGE = 0.3  # of kernel ridge regression
CHANGED = np.r_[0, np.geomspace(0.005, 0.45, 22)]  # shares of labels that were changed at random
NATURAL = 0.01  # such a share sound texts have, too
LEVEL = 0.025
SHARPNESS = np.geomspace(0.5, 60, 30)  # of probabilities: what scores are multiplied with
USUAL = norm(np.log(6), 0.5)  # the logarithm of the sharpness that labels of the ten tasks have
WORDS = 60  # of a text in which templates are looked for
LANGUAGES = {  # words that are frequent and seldom end a sentence
    "English": "the a an of and or with from my your our their its his into than as by",
    "German": "der die das den dem und ein eine einen mit von für zum zur im",
    "French": "le la les des du de et une un dans pour que qui sur avec au est",
    "Spanish": "el la los las de del y una un en por para con que su es",
    "Italian": "il la le gli di del della dei e una un che per con nel è",
    "Portuguese": "o a os as de do da dos e uma um em para com que no na",
    "Dutch": "de het een en van dat met voor op zijn bij naar te",
    "Polish": "i w z na do się że jest dla od po przez nie",
    "Czech": "a v z na do se že je pro od po který si",
    "Swedish": "och en ett i på av för med som den det till att är",
    "Danish": "og en et i på af for med som den det til at er",
    "Finnish": "ja on ei se että oli kun mutta hän tai joka",
    "Hungarian": "a az és egy hogy nem is meg volt de",
    "Romanian": "și în de la cu pe un o din care pentru este",
    "Turkish": "ve bir bu için ile da de çok gibi olarak",
    "Indonesian": "yang dan di ke dari untuk dengan ini itu pada",
    "Vietnamese": "và của là có cho một được trong với không",
}
MORE_ENGLISH = (
    "i you it is was are be this that to for on in at not so we he she they have just"  # frequent, at any place
)
FUNCTION_WORDS = {name: frozenset(words.split()) for name, words in LANGUAGES.items()}
ENGLISH_ANYWHERE = frozenset({*MORE_ENGLISH.split(), "a"})


class Fault(NamedTuple):
    """What was found: its kind, the label it concerns ("" for all), how many texts, of how many, and a sentence."""

    fault: str
    label: str
    texts: int
    share: float
    sentence: str


Given: TypeAlias = pd.DataFrame | None


class Sides(NamedTuple):
    """The texts, and the real and the test texts beside them where there are some; columns text, label, id."""

    texts: pd.DataFrame
    real: Given
    test: Given


def find_faults(
    texts: pd.DataFrame,
    *,
    real: Given = None,
    test: Given = None,
    between_splits: bool = False,
    one_of_many: bool = False,
) -> pd.DataFrame:
    """What is wrong with labelled texts: columns FAULT_COLUMNS, a row for each fault; share in percent.

    Without real texts a token or a letter case must give a label away nearly always to be named, and class shares and
    the letter case of all texts are not looked at; without test texts copies of them are not. Copies and class shares
    are looked for in all texts, the rest in at most MOST of each label, fewer where there are many labels.

    Args:
        texts: columns text, label; their order does not matter.
        real: real texts of the same task with the same columns, none of which is in `texts`.
        test: the texts that classifiers are tested on.
        between_splits: `real` is another split of the same data, beside which small differences count, too.
        one_of_many: of many files, of which each is embedded whole only where FIRST texts of each label raise doubts.
    """
    if texts.empty:
        return pd.DataFrame(columns=FAULT_COLUMNS)
    whole = Sides(*(None if one is None or one.empty else _in_order(one) for one in (texts, real, test)))
    most = max(FEWEST, min(MOST, MOST_IN_ALL // texts["label"].nunique()))
    some = Sides(*(None if one is None else at_most(one, most) for one in whole))
    traits = differing_traits if between_splits else giveaways
    if one_of_many and not _doubtful(Sides(*(None if one is None else at_most(one, FIRST) for one in some))):
        checks = [check for check in CHECKS if check is not flipped]
    else:
        checks = list(CHECKS)
    found = [*traits(some), *(fault for check in checks for fault in check(some))]
    found += [fault for check in CHECKS_OF_ALL for fault in check(whole)]
    return pd.DataFrame(found, columns=FAULT_COLUMNS)


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts and labels in an order of their own, with the texts as ids, on which alone draws of them depend."""
    plain = frame[["text", "label"]].astype(str).sort_values(["label", "text"], ignore_index=True)
    return plain.assign(id=plain["text"])


def _surely(count: float, number: int) -> float:
    """The lower end of Wilson's 90 % interval of a share."""
    return float(proportion_confint(count, number, alpha=0.1, method="wilson")[0]) if number else 0.0


def _above(found: np.ndarray, limit: float, real: Given, found_in: Callable[[pd.DataFrame], np.ndarray]) -> bool:
    """Whether the share of texts where something was found is surely above a limit, and above that of real texts.

    Args:
        found: a mask of the texts.
        found_in: gives the mask of the real texts, which is asked for only where it matters.
    """
    sure = _surely(found.sum(), len(found))
    if sure <= limit or real is None or real.empty:
        return sure > limit
    share = float(found_in(real).mean())
    return sure > 1.2 * share + (share * (1 - share) / len(real)) ** 0.5


# ---------------------------------------------------------------------------------------- what gives the label away


def _tokens(text: str) -> list[str]:
    return [found[0] for found in TOKEN.finditer(text)]


def _traits(text: str) -> set[str]:
    """What can be said of a text by its signs: its tokens, its first and last one, and its letter case."""
    tokens = _tokens(text)
    low = [token.lower() for token in tokens]
    words = [token for token in tokens if len(token) > 3 and token[0].isalpha()]
    found = {f"'{token}'" for token in low}
    found |= {f"'{low[0]}' at the beginning", f"'{low[-1]}' at the end"} if low else set()
    if first := re.search(r"[^\W\d_]", text):
        found |= {"no capital letter"} if text == text.lower() else set()
        found |= {"capital letters alone"} if text == text.upper() and text != text.lower() else set()
        found |= {"a small letter first"} if first[0].islower() else set()
    if words and all(word[0].isupper() and not word.isupper() for word in words):
        found |= {"a capital in every long word"}
    return found | (set() if re.search(r"[^\w\s]", text) else {"no punctuation mark"})


LETTER_CASE = {"no capital letter", "capital letters alone", "a small letter first", "a capital in every long word"}


def telling_traits(texts: pd.DataFrame, real: Given, sure: float) -> pd.DataFrame:
    """How much more often each trait has one label than the others, and than among the real texts; of rare ones none.

    Columns trait, label, own, others: shares of the texts of the label and of the others that have it; own_real,
    others_real (0 without real texts); excess: the difference own - others less that of the real texts (where it has
    the same sign), less `sure` standard errors.
    """
    n_texts = texts["label"].value_counts().sort_index()
    labels = n_texts.index[(n_texts >= FEWEST) & (len(texts) - n_texts >= FEWEST)]
    if labels.empty:
        return pd.DataFrame(columns=["trait", "label", "others", "excess"])
    counts = CountVectorizer(analyzer=_traits, binary=True)
    has = counts.fit_transform(texts["text"])
    has_real = None if real is None else counts.transform(real["text"])
    parts = []
    for label in labels:
        own, others, error = _shares(has, texts["label"] == label)
        usual = np.zeros((3, len(own)))
        if has_real is not None and real is not None and label in set(real["label"]):
            usual = np.array(_shares(has_real, real["label"] == label))
        natural = np.clip(usual[0] - usual[1], 0, None)
        excess = own - others - natural - sure * np.hypot(error, usual[2])
        names = {"trait": counts.get_feature_names_out(), "label": label, "own": own, "others": others}
        names["size"] = int((texts["label"] == label).sum())
        parts.append(pd.DataFrame(names | {"own_real": usual[0], "others_real": usual[1], "excess": excess}))
    table = pd.concat(parts)
    return table.sort_values(["excess", "trait"], ascending=[False, True], ignore_index=True)


def _shares(has: np.ndarray, of_label: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of a label's texts and of the others that have each trait, and the difference's standard error.

    The error is that of Agresti and Caffo (2000), which is not 0 where all of a few texts have a trait.
    """
    groups = [has[mask.to_numpy()] for mask in (of_label, ~of_label)]
    own, others = (
        np.asarray(one.mean(axis=0)).ravel().clip(0, 1) if one.shape[0] else np.zeros(has.shape[1]) for one in groups
    )
    sizes = [one.shape[0] for one in groups]
    nearer = [(share * size + 1) / (size + 2) for share, size in zip((own, others), sizes, strict=True)]
    error = sum(share * (1 - share) / (size + 2) for share, size in zip(nearer, sizes, strict=True))
    return own, others, np.sqrt(error)


def giveaways(files: Sides) -> Iterator[Fault]:
    """For each label the token and the letter case that give it away most, if hardly any other text has them."""
    found = telling_traits(*files[:2], sure=1.64)
    case = found["trait"].isin(LETTER_CASE)
    limits = np.where(case, 0.5, 0.7) if files.real is None else 0.4
    found = found.assign(kind=np.where(case, "letter case", "token"))[found["excess"] > limits]
    rare = found["others"] < np.where(found["kind"] == "token", 0.25, 0.4)
    for row in found[rare].drop_duplicates(["label", "kind"]).itertuples():
        beside = "" if files.real is None else f" (among real texts {row.own_real:.0%} and {row.others_real:.0%})"
        sentence = (
            f"{row.trait} gives the label '{row.label}' away: {row.own:.0%} of its texts have it and {row.others:.0%} "
            f"of the others{beside}; take it out of all texts, or a classifier learns this sign and nothing else."
        )
        yield Fault(row.kind, row.label, round(row.own * row.size), 100 * row.own, sentence)


def differing_traits(files: Sides) -> Iterator[Fault]:
    """For each label the trait that tells it in one split and not in the others."""
    if files.real is None:
        return
    found = telling_traits(files.texts, files.real, sure=4)
    for row in found[found["excess"] > 0.1].drop_duplicates("label").itertuples():
        sentence = (
            f"{row.trait} tells the label '{row.label}' in this split alone: {row.own:.0%} of its texts have it and "
            f"{row.others:.0%} of the others, and in the other splits {row.own_real:.0%} and {row.others_real:.0%}; "
            "take it out of all splits (in a task's file the key remove does)."
        )
        yield Fault("token in one split", row.label, round(row.own * row.size), 100 * row.own, sentence)


# --------------------------------------------------------------------------------------------------- flipped labels


def flipped(files: Sides) -> Iterator[Fault]:
    """Labels that a classifier contradicts more often than its own doubt explains.

    The likelihood of all labels of the file is compared with and without a share of labels that were changed at random
    beyond NATURAL, at the level LEVEL; how sure the classifier is is learned from both sides, the real labels being
    taken as right.
    """
    profile, wrong = _profile_likelihood(files)
    if _gain(profile) > chi2.isf(2 * LEVEL, 1) / 2:  # one-sided
        share, n = CHANGED[profile.argmax()], len(files.texts)
        sentence = (
            f"about {share:.0%} of the labels seem wrong: a classifier that did not see a text contradicts {wrong} of "
            f"{n} labels, also where it is sure; read such texts (cleanlab finds them) and mend or drop their labels."
        )
        yield Fault("flipped labels", "", round(share * n), 100 * float(share), sentence)


def _doubtful(files: Sides) -> bool:
    return _gain(_profile_likelihood(files)[0]) > DOUBT


def _gain(profile: np.ndarray) -> float:
    """How much likelier a share of changed labels is that sound texts do not have than one that they have."""
    return float(profile[CHANGED > NATURAL].max() - profile[CHANGED <= NATURAL].max())


def _profile_likelihood(files: Sides) -> tuple[np.ndarray, int]:
    """The profile log-likelihood of each share of CHANGED, and how many labels the classifier contradicts."""
    texts, real, _ = files
    counts = texts["label"].value_counts()
    if len(counts) < 2 or counts.min() < FEWEST:
        return np.where(CHANGED > NATURAL, -np.inf, 0), 0
    beside = texts.iloc[:0] if real is None else real[real["label"].isin(counts.index)]
    places, scores = left_out_scores(pd.concat([texts, beside], ignore_index=True))
    n = len(texts)
    by_share = changed_likelihood(places[:n], scores[:n])
    known = changed_likelihood(places[n:], scores[n:])[:, :1] + USUAL.logpdf(np.log(SHARPNESS))[:, None]
    return (by_share + known).max(axis=0), int((scores[:n].argmax(axis=1) != places[:n]).sum())


def changed_likelihood(places: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Log-likelihood of labels of which a share was changed at random: shape (SHARPNESS, CHANGED).

    A text has a label by the softmax of its scores times a sharpness.

    Args:
        places: of the labels, shape (texts,).
        scores: shape (texts, labels).
    """
    logs = log_softmax(SHARPNESS[:, None, None] * scores, axis=2)
    right = np.exp(logs[:, np.arange(len(places)), places])[..., None]
    changed = (1 - right) / (scores.shape[1] - 1)
    return np.log(((1 - CHANGED) * right + CHANGED * changed).clip(1e-9)).sum(axis=1)


def left_out_scores(texts: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Places of the labels, shape (texts,), and scores of each label by a classifier that learned from all other texts.

    The classifier is ridge regression of the labels on sentence embeddings and words, whose prediction for a text that
    was left out has a closed form.
    """
    places = texts["label"].astype("category").cat.codes.to_numpy(int)
    vectors = embed(texts["text"].tolist(), progress=False)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, tokenizer=_tokens, token_pattern=None)
    weights = words.fit_transform(texts["text"])
    alike = (vectors @ vectors.T + (weights @ weights.T).toarray()) / 2
    inverse = np.linalg.inv(alike + RIDGE * np.eye(len(alike)))
    labels = np.eye(places.max() + 1)[places] - np.bincount(places) / len(places)
    return places, labels - inverse @ labels / np.diag(inverse)[:, None]


# -------------------------------------------------------------------------------------------------- copies, shares


def copies_of_test(files: Sides) -> Iterator[Fault]:
    """Texts that (nearly) repeat a test text."""
    texts, real, test = files
    if test is None:
        return
    found = repeats(texts["text"], test["text"])
    if found.sum() >= 2 and _above(found, 0.005, real, lambda one: repeats(one["text"], test["text"])):
        sentence = (
            f"{found.sum()} of {len(found)} texts repeat a test text, or nearly (85 % of its letters); leave them out, "
            "or what is scored is memory."
        )
        yield Fault("test copies", "", int(found.sum()), 100 * float(found.mean()), sentence)


def repeats(texts: Sequence[str], others: Sequence[str], percent: float = 85) -> np.ndarray:
    """A mask of the texts that have this similarity of letters to one of the others, or more.

    Texts of six words and more are compared where they share a run of six, shorter ones where they are the same.
    """
    known, runs, holders = _known_runs(tuple(others))
    same, found = set(known), []
    for plain in map(normalised, texts):
        own = _run_numbers(plain)
        spans = zip(np.searchsorted(runs, own), np.searchsorted(runs, own, side="right"), strict=True)
        near = {known[place]: known[place] for start, stop in spans for place in holders[start:stop]}
        found.append(plain in same or (bool(near) and closest(plain, near, percent) is not None))
    return np.array(found, dtype=bool)


@functools.lru_cache(2)
def _known_runs(texts: tuple[str, ...]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The texts as they are compared, the numbers of all their runs in order, and the place of each run's text."""
    known = sorted({normalised(text) for text in texts})
    numbers = [_run_numbers(text) for text in known]
    runs = np.concatenate([*numbers, np.empty(0, np.int64)])
    order = runs.argsort(kind="stable")
    return known, runs[order], np.repeat(np.arange(len(known)), [len(own) for own in numbers])[order]


def _run_numbers(plain: str) -> np.ndarray:
    """A number for each run of six words; that other runs may have the same number costs a comparison, and no more."""
    return np.array([hash(run) for run in word_runs(plain)], np.int64)


def class_shares(files: Sides) -> Iterator[Fault]:
    """The label whose share is furthest from that among the real texts."""
    texts, real, _ = files
    if real is None:
        return
    labels = sorted(set(texts["label"]) | set(real["label"]))
    own, usual = (one["label"].value_counts().reindex(labels, fill_value=0) for one in (texts, real))
    expected = (usual + 0.5) / (usual + 0.5).sum() * own.sum()
    apart = own / own.sum() - usual / usual.sum()
    label = apart.abs().idxmax()
    if abs(apart[label]) >= 0.1 and chisquare(own, expected).pvalue < 0.01:
        share, real_share = own[label] / own.sum(), usual[label] / usual.sum()
        sentence = (
            f"{share:.0%} of the {own.sum()} texts have the label '{label}', and {real_share:.0%} of the real ones; "
            "draw texts in the real shares, or as many of each label on both sides."
        )
        yield Fault("class shares", str(label), int(own[label]), 100 * float(share), sentence)


# -------------------------------------------------------------------------------------------------------- language


def languages(texts: Sequence[str], of: str = "") -> list[str]:
    """The language of each text by its function words, or its script where that is not Latin; "" where none is seen.

    Args:
        of: the language that the texts should be in: one of its function words is enough for that.
    """
    return [_language(text, of) for text in texts]


def _language(text: str, of: str) -> str:
    script, hits = _seen_in(text)
    if script != "LATIN":
        return script.capitalize()
    if of in hits and hits[of] and hits[of] * 3 > max(hits.values()):
        return of
    best = max(hits, key=lambda name: hits[name])
    return best if hits[best] >= 2 else ""


@functools.lru_cache(20_000)
def _seen_in(text: str) -> tuple[str, dict[str, int]]:
    """A text's script, and how many function words of each language it has."""
    scripts: Counter[str] = Counter()
    for sign, n in Counter(filter(str.isalpha, text)).items():
        scripts[unicodedata.name(sign, "LATIN").split()[0]] += n
    words = {word for word in re.findall(r"[^\W\d_]+", text.lower()) if len(word) > 1 or word in {"a", "i"}}
    hits = {name: len(words & own - {"a", "i"}) for name, own in FUNCTION_WORDS.items()}
    hits["English"] += len(words & ENGLISH_ANYWHERE)
    return scripts.most_common(1)[0][0] if scripts else "LATIN", hits


def other_language(files: Sides) -> Iterator[Fault]:
    """Texts in another language than most real ones, or than most texts of the file itself."""
    texts, real, _ = files
    usual = Counter(name for name in languages((texts if real is None else real)["text"]) if name)
    if not usual:
        return
    of = usual.most_common(1)[0][0]

    def strange(frame: pd.DataFrame) -> np.ndarray:
        return np.array([name not in {"", of} for name in languages(frame["text"], of)], dtype=bool)

    found = strange(texts)
    if found.sum() >= 3 and _above(found, 0.02, real, strange):
        seen = Counter(languages(texts["text"][found], of)).most_common(1)[0][0]
        sentence = (
            f"{found.sum()} of {len(found)} texts are not in {of} as most {'others' if real is None else 'real ones'} "
            f"are (most of them look like {seen}); leave them out, or have them written in {of}."
        )
        yield Fault("language", "", int(found.sum()), 100 * float(found.mean()), sentence)


# ----------------------------------------------------------------------------------------- templates, truncated texts


def template(files: Sides) -> Iterator[Fault]:
    """Texts that share more than half of their words, in the same order, with three others or more."""
    texts, real, _ = files
    found = _templated(texts)
    if _above(found, 0.06, real, _templated):
        starts = Counter(" ".join(text.split()[:3]) for text in texts["text"][found]).most_common(1)[0][0]
        sentence = (
            f"{found.sum()} of {len(found)} texts share more than half of their words with three others, as if they "
            f"filled one template (many begin '{starts[:60]}'); ask for more varied texts, or keep one of each kind."
        )
        yield Fault("template", "", int(found.sum()), 100 * float(found.mean()), sentence)


def _templated(frame: pd.DataFrame) -> np.ndarray:
    words = [normalised(text).split()[:WORDS] for text in frame["text"]]
    alike = process.cdist(words, words, scorer=fuzz.ratio, score_cutoff=55, dtype=np.uint8) > 0
    return np.asarray(alike.sum(axis=1) >= 4)  # itself and three others


def truncated(files: Sides) -> Iterator[Fault]:
    """Texts that end in a word after which something must follow, or in half a word, or all at one length."""
    texts, real, _ = files
    found = _cut(texts)
    if _above(found, 0.03, real, _cut):
        last = Counter(text.split()[-1] for text in texts["text"][found]).most_common(1)[0][0]
        sentence = (
            f"{found.sum()} of {len(found)} texts break off (in a word such as '{last[-30:]}'), and more will that end "
            "where nothing shows; raise the limit of tokens or of letters, and leave cut texts out."
        )
        yield Fault("truncated", "", int(found.sum()), 100 * float(found.mean()), sentence)


def _cut(frame: pd.DataFrame) -> np.ndarray:
    """A mask of the texts that seem cut: by their last word, or at one length where surely many end there."""
    size, found = frame["text"].str.len(), _hanging(frame)
    capped = (size >= size.max() - 1).to_numpy() & _open(frame["text"])
    many = len(frame) >= 20 and _surely(capped.sum(), len(capped)) > 0.04
    return found | capped if many else found


def _open(texts: pd.Series) -> np.ndarray:
    """A mask of the texts that end in a letter or a digit."""
    return texts.str.rstrip().str[-1:].str.isalnum().to_numpy(bool)


def _hanging(frame: pd.DataFrame) -> np.ndarray:
    """A mask of the texts whose last word is a function word, or begins a word of the file and is none itself."""
    words = [re.findall(r"\w[\w'’-]*", text.lower()) for text in frame["text"]]
    counts = Counter(chain.from_iterable(words))
    parts = ((word[:size], word[size:]) for word in counts if len(word) > 4 for size in range(2, len(word) - 1))
    starts = {start for start, rest in parts if rest not in SUFFIXES}
    of = Counter(name for name in languages(frame["text"]) if name).most_common(1)
    function_words = FUNCTION_WORDS.get(of[0][0], frozenset()) if of else frozenset()
    half = [
        bool(own) and (own[-1] in function_words or (counts[own[-1]] == 1 and own[-1].isalpha() and own[-1] in starts))
        for own in words
    ]
    return np.array(half, dtype=bool) & _open(frame["text"])


# ------------------------------------------------------------------------------------------- label words, lower case


def named_labels(files: Sides) -> Iterator[Fault]:
    """Texts that name a label as a tag does."""
    texts, real, _ = files
    pattern = label_pattern({label: label for label in set(texts["label"].astype(str))})

    def named(frame: pd.DataFrame) -> np.ndarray:
        return frame["text"].map(lambda text: bool(pattern.search(text))).to_numpy(bool)

    found = named(texts)
    if found.sum() >= 2 and _above(found, 0.02 if real is None else 0.01, real, named):
        match = next(hit[0] for text in texts["text"] if (hit := pattern.search(text)))
        sentence = (
            f"{found.sum()} of {len(found)} texts name a label, such as '{match.strip()[:40]}'; take these words out, "
            "or ask for texts without them."
        )
        yield Fault("label words", "", int(found.sum()), 100 * float(found.mean()), sentence)


def lower_case(files: Sides) -> Iterator[Fault]:
    """Texts of one side all in lower case and those of the other not."""
    texts, real, _ = files
    if real is None:
        return
    sides = {"the texts": texts["text"], "the real texts": real["text"]}
    cased = {name: side[side.str.lower() != side.str.upper()] for name, side in sides.items()}
    small = {name: float((side == side.str.lower()).mean()) if len(side) else 0.0 for name, side in cased.items()}
    low, high = sorted(small, key=lambda name: small[name], reverse=True)
    if small[low] >= 0.95 and small[high] <= 0.6:
        sentence = (
            f"{small[low]:.0%} of {low} have no capital letter, and {small[high]:.0%} of {high}; write both sides "
            "alike, for example all in lower case."
        )
        yield Fault("lower case", "", round(small[low] * len(cased[low])), 100 * small[low], sentence)


CHECKS = (flipped, other_language, template, truncated, named_labels, lower_case)
CHECKS_OF_ALL = (copies_of_test, class_shares)


# ------------------------------------------------------------------------------------------------ a profile's texts


def faults_of_task(profile: Profile, data: RealData, folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Faults of the real set's splits, and of every corpus of the task that is there, one after another.

    A split of the real texts is called as "real, test". A corpus is set beside real texts in its own class shares,
    since runs draw as many of each label. A pool's corpora are looked at by themselves.

    Args:
        folder: where the corpora are.
    """
    task, train, test = data.task.name, data.split("train"), data.split("test")
    yield from split_faults(data, one_of_many=True).items()
    for corpus in corpora_of_task(profile, task):
        path = corpus_file(folder, corpus)
        pool = isinstance(profile.corpora[corpus], PooledCorpus)
        if not pool and path.is_file() and task in parquet_about(path)["tasks"]:
            texts = load_corpus(folder, profile, corpus, task)
            yield corpus, find_faults(texts, real=in_shares_of(texts, train), test=test, one_of_many=True)


def own_faults(own: OwnTexts) -> list[str]:
    """Sentences on the faults of own files: of each corpus beside the real training texts, and of the real splits."""
    real = own.real
    splits = {} if real is None else {name: real.split(name) for name in ("train", "test")}
    found = {
        own.titles[name]: find_faults(texts, real=splits.get("train"), test=splits.get("test"))
        for name, texts in own.corpora.items()
    }
    found |= {} if real is None else split_faults(real)
    return [f"{title}: {sentence}" for title, faults in found.items() for sentence in faults["sentence"]]


def split_faults(data: RealData, one_of_many: bool = False) -> dict[str, pd.DataFrame]:
    """{"real, <split>": faults of this split beside the others}; copies of test texts are looked for in train."""
    found = {}
    for split in SPLITS:
        own, others = data.split(split), data.frame[data.frame["split"] != split]
        test = data.split("test") if split == "train" else None
        found[f"real, {split}"] = find_faults(own, real=others, test=test, between_splits=True, one_of_many=one_of_many)
    return found


def in_shares_of(texts: pd.DataFrame, real: pd.DataFrame) -> pd.DataFrame:
    """As many real texts as there are in the class shares of `texts`; those of which `at_most` keeps the first, too."""
    own, usual = texts["label"].value_counts(), real["label"].value_counts()
    scale = min(1.0, (usual.reindex(own.index, fill_value=0) / own).min())
    ordered = _in_order(real)
    parts = [draw(ordered[ordered["label"] == str(label)], int(scale * n), 0, "test cap") for label, n in own.items()]
    return pd.concat(parts, ignore_index=True)
