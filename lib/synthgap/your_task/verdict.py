"""Numbers -> sentences: whether a corpus is good enough, and what has to be said before that."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from synthgap.tables import matching, signed, signed_interval
from synthgap.your_task.arguments import BY_LLM
from synthgap.your_task.comparison import Measured
from synthgap.your_task.files import OwnTexts, first_few

# Standard deviations in points by which a recording's score differs on all tasks alike, and on one task beyond that:
# ten tasks, three recordings each ("as measured" in benchmarks/coverage.py; docs/statistics.md)
RECORDINGS_DIFFER = (1.6, 1.6)
ANOTHER_GENERATION = math.sqrt(2 * sum(one**2 for one in RECORDINGS_DIFFER))  # of the difference between two
# Points of macro-F1 by which a choice by cross-validation is worse than the best of three (real texts, synthetic ones,
# both), by real texts of each label: mean, most and number of tasks, of zero-shot and few-shot texts (the probe's rows
# of recorded's table advice_lost)
ADVICE_LOST = {3: (3.0, 13.0, "6 to 10"), 10: (1.1, 3.5, "10"), 25: (1.0, 3.1, "10")}
FEW_TEST, FEW_TRAIN = 100, 20  # test texts in all, train texts of a label
TOP = 50  # the verdict tells what is added on top of at most so many real texts per label
COLUMNS = ["verdict", "texts", "classifier"]
WITHOUT_REAL = (
    "without real texts nobody can say what training on these texts costs, what one of them is worth, or whether their "
    "labels mean what people mean; name real ones with --real, a hundred are a beginning"
)


def in_words(title: str, gap: float, low: float, high: float, margin: float) -> str:
    """What training on a corpus instead of as many real texts does: it costs, gains, is as good, or nobody can tell.

    It costs or gains where the 95 % interval of the gap leaves out 0; else it is as good where the interval lies
    within the margin on both sides.
    """
    within, size = max(abs(low), abs(high)) < margin, f"{margin:g} point{'s' * (margin != 1)}"
    if low > 0 or high < 0:
        least, most = sorted((abs(low), abs(high)))
        verb, note = "gains" if low > 0 else "costs", f", which is within {size}" if within else ""
        points = f"{abs(gap):.1f} points of macro-F1 [{least:.1f}, {most:.1f}]"
        return f"training on {title} instead of as many real texts {verb} {points}{note}"
    found = f"{signed(gap)} points of macro-F1 {signed_interval(low, high)}"
    if within:
        return f"training on {title} is as good as training on as many real texts, within {size}: {found}"
    return f"training on {title} is not told apart from training on as many real texts: {found}"


def verdict(texts: OwnTexts, found: Measured, repeated: Mapping[str, int], margin: float) -> pd.DataFrame:
    """A sentence for each corpus and classifier, fine-tuning first; COLUMNS.

    Args:
        repeated: {corpus: texts that nearly repeat a test text, and were left out}.
    """
    rows = []
    for row in found.gaps.sort_values("classifier", key=lambda names: names != "finetune", kind="stable").itertuples():
        key, title, new = (
            {"classifier": row.classifier, "corpus": row.corpus},
            texts.titles[row.corpus],
            row.recordings > 1,
        )
        low, high = (row.new_low, row.new_high) if new else (row.low, row.high)
        scope = "for this file"
        if new:
            scope = f"for another generation by the same recipe, of which these {row.recordings} files are a sample"
        elif not title.endswith(BY_LLM):  # real texts, which nobody generates anew
            scope += f"; another generation may differ by about {ANOTHER_GENERATION:.0f} points"
        parts = [f"{in_words(title, row.gap, low, high, margin)}, {scope}"]
        parts += [_worth(one) for one in matching(found.worth, key).itertuples()]
        parts += _added(matching(found.gains, {"classifier": row.classifier}), row.corpus)
        n_texts = len(texts.corpora[row.corpus]) + repeated.get(row.corpus, 0)
        parts.append(
            f"{repeated.get(row.corpus, 0)} of {n_texts} nearly repeat a test text"
            + (" and were left out" if repeated.get(row.corpus) else "")
        )
        if low <= 0 <= high and max(abs(low), abs(high)) >= margin:
            parts += [_needed(one) for one in matching(found.needed, key).itertuples()]
        rows.append((_sentence("; ".join(parts)), title, row.classifier))
    return pd.DataFrame(rows, columns=COLUMNS)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _worth(row: pd.Series) -> str:
    if row.worth == 0:
        return f"one of its texts is worth less than {_number(row.least)} real ones"
    if math.isinf(row.worth):
        return f"one of its texts is worth more than {_number(row.most)} real ones, as far as the real texts can tell"
    ends = f"{_number(row.low)}, {'no end' if math.isinf(row.high) else _number(row.high)}"
    return f"one of its texts is worth about {_number(row.worth)} real ones [{ends}]"


def _number(texts: float) -> str:
    return f"{texts:.1f}" if texts >= 1 or texts == 0 else f"{texts:.2g}"


def _added(gains: pd.DataFrame, corpus: str) -> list[str]:
    """What the corpus adds to the largest number of real texts that is no more than TOP, else to the smallest."""
    own = gains[gains["mix"].str.endswith(f" + {corpus}")].sort_values("real_texts")
    if own.empty:
        return []
    small = own[own["real_texts"] <= TOP]
    row = (small if len(small) else own.head(1)).iloc[-1]
    gain, low, high = row["gain"], row["low"], row["high"]
    verb, ends = ("takes away", (-gain, -high, -low)) if high < 0 else ("adds", (gain, low, high))
    found = "{:.1f} [{:.1f}, {:.1f}]".format(*ends).replace("-", "−")
    told = "" if low > 0 or high < 0 else ", which is not told apart from nothing"
    return [f"on top of {row['real_texts']} real texts a label it {verb} {found}{told}"]


def _needed(row: pd.Series) -> str:
    if math.isinf(row.more):
        return "no number of test texts alone would settle it: scores differ too much between draws of training texts"
    more = max(row.more, 1.0)
    more = math.ceil(more / (step := 10 ** max(0, int(math.log10(more)) - 1))) * step
    return f"about {more:,} more labelled test texts would tell {row.apart:.1f} points apart"


def advised(texts: OwnTexts, advice: pd.DataFrame) -> pd.DataFrame:
    """What to train on, in a sentence for each corpus, and how sure that is; COLUMNS.

    Args:
        advice: as `comparison.advise` gives it.
    """
    rows = []
    for row in advice.itertuples():
        title = texts.titles[row.corpus]
        ways = {"alone": f"{title} alone", "both": f"real texts and {title} together", "real": "real texts alone"}
        best = max(ways, key=lambda way: getattr(row, way))
        others = ", ".join(f"{getattr(row, way):.0f} for {name}" for way, name in ways.items() if way != best)
        known = [lost for n, lost in ADVICE_LOST.items() if n <= row.real_labels]
        mean, most, tasks = known[-1] if known else (math.nan, math.nan, "no")
        lost = f"lost {mean:.1f} points on average, and {most:.1f} at most, against the best"
        sure = f"on {tasks} other tasks such advice {lost}"
        rows.append(
            (
                f"Advice for {row.real_labels} real texts a label: train on {ways[best]}; cross-validation on them, "
                f"without a test text, gives {getattr(row, best):.0f} for that, {others}; "
                f"{sure if known else 'nobody knows how good advice from so few is'}.",
                title,
                "probe",
            )
        )
    return pd.DataFrame(rows, columns=COLUMNS)


# ------------------------------------------------------------------------------------------------------------- warnings


def warnings(texts: OwnTexts, faults: Iterable[str] = (), repeated: Mapping[str, int] | None = None) -> list[str]:
    """What has to be said before the verdict.

    Args:
        faults: sentences on faults that were found in the texts.
        repeated: as of `verdict`.
    """
    said = list(faults)
    if texts.real is not None:
        n_test = len(texts.real.split("test"))
        if n_test < FEW_TEST:
            said.append(f"Few test texts ({n_test}), so that intervals are wide; label more of them")
        said += _few("Few real texts to train on", texts.real.split("train")["label"].value_counts())
    for corpus, rows in texts.corpora.items():
        of_smallest = rows.groupby(["label", "recording"]).size().groupby("label").min()
        said += _few(f"{texts.titles[corpus]}: few texts to train on", of_smallest)
    repeats = _repeats(texts.notes)
    for file, rows in texts.notes.groupby("file", sort=False):
        told = rows[rows["what"].map(_is_told)]
        if len(told):
            kinds = [f"{one.texts:,} row{'s' * (one.texts != 1)} {one.what}" for one in told.itertuples()]
            said.append(f"{file}: {first_few(kinds, '; ')}")
        twice, number = repeats[file]
        if 2 * twice > number:
            said.append(f"{file}: {twice} of {number} texts repeat, or nearly repeat, others of the file")
    said += [
        f"{texts.titles[corpus]}: left out, as they nearly repeat a test text: {count} of its texts"
        for corpus, count in (repeated or {}).items()
        if count
    ]
    return [f"{one.removesuffix('.')}." for one in said]


def _few(what: str, counts: pd.Series) -> list[str]:
    """A sentence on the labels that have fewer than FEW_TRAIN texts, if there are any."""
    few = [f"{count} of '{label}'" for label, count in counts.items() if count < FEW_TRAIN]
    return [f"{what}: {first_few(few)}"] if few else []


def _repeats(notes: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """{file: how many texts repeat, or nearly repeat, others of it, and how many were read}; see `files.NOTES`."""
    found: dict[str, tuple[int, int]] = {}
    for file, rows in notes.groupby("file", sort=False):
        counts = rows.set_index("what")["texts"]
        repeated, read = counts.index.str.contains("repeats another"), counts.index.str.startswith(("rows", "drawn"))
        found[str(file)] = int(counts[repeated].sum()), int(counts[read].min())
    return found


def _is_told(what: str) -> bool:
    """Whether a note on rows is a warning, too; see `files.NOTES`."""
    return what.startswith(("left out: label", "left out: stands", "left out: no", "drawn"))


# --------------------------------------------------------------------------------------------------- without real texts


def alone(texts: OwnTexts, diversity: pd.DataFrame, same: pd.DataFrame, named: Mapping[str, int]) -> pd.DataFrame:
    """What can be said of corpora beside which there are no real texts, and what cannot; COLUMNS.

    Args:
        diversity: as `diversity.measures.measure` gives it.
        same: as `agreement` gives it.
        named: {corpus: texts that name a label}.
    """
    values = diversity[(diversity["label"] == "all") & (diversity["baseline"] == "")]
    wide = values.pivot_table(index="corpus", columns="metric", values="value").reindex(columns=["vendi", "distinct_2"])
    shares, rows = same.set_index(["trained_on", "labels_of"])["agreement"], []
    for corpus, title in texts.titles.items():
        size, n_texts = values.loc[values["corpus"] == corpus, "n"].max(), len(texts.corpora[corpus])
        parts = [
            f"of {size} texts of {title} about {wide.loc[corpus, 'vendi']:.0f} are different in meaning (Vendi score)"
        ]
        if not np.isnan(wide.loc[corpus, "distinct_2"]):
            parts.append(f"{100 * wide.loc[corpus, 'distinct_2']:.0f} % of its word pairs are different ones")
        parts.append(f"{named[corpus]} of {n_texts} name a label as a tag does")
        parts.append(
            f"a classifier trained on half of them gives {shares[corpus, corpus]:.0f} % of the others their label"
        )
        parts += [
            f"and {shares[corpus, other]:.0f} % of the texts of {texts.titles[other]}"
            for other in texts.titles
            if other != corpus
        ]
        rows.append((_sentence("; ".join(parts)), title, "probe"))
    repeats = [f"{twice} of {number} in {file}" for file, (twice, number) in _repeats(texts.notes).items()]
    left_out = f"left out, as they repeat, or nearly repeat, other texts of their file: {first_few(repeats)}"
    rows += [(_sentence(one), "all", "none") for one in (left_out, WITHOUT_REAL)]
    return pd.DataFrame(rows, columns=COLUMNS)


def with_warnings(found: pd.DataFrame, said: Iterable[str]) -> pd.DataFrame:
    """The verdict below the warnings; COLUMNS."""
    above = [(f"Warning: {sentence}", "–", "–") for sentence in said]
    return pd.concat([pd.DataFrame(above, columns=COLUMNS), found], ignore_index=True)
