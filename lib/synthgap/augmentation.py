"""Synthetic texts beside real ones: few-shot examples alone, synthetic texts alone, both, and as many real ones.

And what synthetic texts add to growing amounts of real ones. The examples are the real texts that the LLM was shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from synthgap.config import Profile
from synthgap.data import RealData, draw_equal
from synthgap.errors import SynthgapError
from synthgap.evaluation import INTERVAL, Outcome, bootstrap, holm_corrected, paired_p_values, score_runs
from synthgap.runs import Cell, cell_maker

if TYPE_CHECKING:
    import pandas as pd

INDEX = "augmentation.csv"
METRIC = "macro_f1"
EXAMPLES, SYNTHETIC, BOTH, AS_MANY = "examples", "few_shot", "examples + few_shot", "real, as many"
MIXES = {
    EXAMPLES: "few-shot examples alone",
    SYNTHETIC: "few-shot synthetic alone",
    BOTH: "examples and synthetic",
    AS_MANY: "real, as many as both",
}
SCORE_COLUMNS = ["task", "classifier", "mix", "n_train", "seeds", "macro_f1", "low", "high"]
GAIN_COLUMNS = ["task", "classifier", "mix", "baseline", "real_texts", "gain", "low", "high", "p", "p_holm"]


def plan_augmentation(
    profile: Profile, data: RealData, synthetic: pd.DataFrame, shown: Mapping[str, list[str]]
) -> list[Cell]:
    """The cells of one task: four mixes, and growing amounts of real texts without and with all synthetic ones.

    Every mix has the same number of texts of each label. "real, as many" has the size of both together, or all real
    texts where there are fewer.

    Args:
        synthetic: the few-shot texts.
        shown: {label: ids of the real texts that the LLM was shown as examples}.
    """
    import pandas as pd

    asked = profile.training.augmentation
    if asked is None:
        return []
    train, labels = data.split("train"), list(data.task.labels)
    examples = train[train["id"].isin({key for label in labels for key in shown.get(label, [])})]
    n_examples, n_synthetic, n_real = (_fewest(frame, labels) for frame in (examples, synthetic, train))
    if not n_examples or not n_synthetic:
        raise SynthgapError(
            f"task '{data.task.name}': a label has no few-shot example or no synthetic text, so nothing can be mixed; "
            "generate with the setting few_shot, or set training.augmentation to null"
        )

    def drawn(frame: pd.DataFrame, texts: int, seed: int) -> pd.DataFrame:
        return draw_equal(frame, dict.fromkeys(labels, texts), seed)[["id", "text", "label"]]

    def mixes(seed: int) -> dict[str, pd.DataFrame]:
        written, given = drawn(synthetic, n_synthetic, seed), drawn(examples, n_examples, seed)
        both = pd.concat([given, written], ignore_index=True)
        found = {EXAMPLES: given, SYNTHETIC: written, BOTH: both}
        found[AS_MANY] = drawn(train, min(n_examples + n_synthetic, n_real), seed)
        for texts in sorted({size for size in asked.real_texts_per_label if size <= n_real}):
            alone = drawn(train, texts, seed)
            found[f"real {texts}"] = alone
            found[f"real {texts} + few_shot"] = pd.concat([alone, written], ignore_index=True)
        return found

    cells = []
    training = profile.training.further(asked, data.task.name)
    for classifier in training.classifiers:
        make = cell_maker(profile, data, classifier)
        for seed in training.seeds_of(classifier):
            cells += [make(mix, _kind(mix), seed, texts) for mix, texts in mixes(seed).items()]
    return cells


def _kind(mix: str) -> str:
    """What the run of a mix is called; real texts alone are runs that learning curves have, too."""
    return "real" if re.fullmatch(r"real \d+", mix) or mix == AS_MANY else mix


def _fewest(frame: pd.DataFrame, labels: list[str]) -> int:
    counts = frame["label"].value_counts()
    return min(int(counts.get(label, 0)) for label in labels)


def mix_tables(
    outcomes: list[Outcome], resamples: int = 2000, permutations: int = 10000, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of the four mixes, and what synthetic texts add to so many real ones; tidy, with 95 % intervals.

    The first has SCORE_COLUMNS; the second GAIN_COLUMNS: "examples + few_shot" less each other mix (real_texts is 0),
    and "real n + few_shot" less "real n". Gains are paired on the test items; p_holm is corrected over the tasks.

    Args:
        outcomes: of each task and classifier; their "regimes" are the mixes.
    """
    import pandas as pd

    scores, gains = [], []
    for outcome in outcomes:
        draws = {mix: values[METRIC] for mix, values in bootstrap(outcome, resamples, seed).items()}
        means = {mix: float(score_runs(outcome, mix)[METRIC].mean()) for mix in draws}
        place = {"task": outcome.task, "classifier": outcome.classifier}
        for mix in draws:
            low, high = np.percentile(draws[mix], INTERVAL)
            size = {"n_train": outcome.n_train[mix], "seeds": len(outcome.predicted[mix])}
            scores.append({**place, "mix": mix, **size, METRIC: means[mix], "low": low, "high": high})
        for mix, baseline, real_texts in comparisons(list(draws)):
            low, high = np.percentile(draws[mix] - draws[baseline], INTERVAL)
            p = paired_p_values(outcome, mix, baseline, permutations, seed)[METRIC]
            found: dict[str, Any] = {"gain": means[mix] - means[baseline], "low": low, "high": high, "p": p}
            gains.append({**place, "mix": mix, "baseline": baseline, "real_texts": real_texts, **found})
    table = pd.DataFrame(gains, columns=GAIN_COLUMNS[:-1])
    table["family"] = table["baseline"].where(table["real_texts"] == 0, "real")
    table = holm_corrected(table, ("classifier", "family", "real_texts"))
    return pd.DataFrame(scores, columns=SCORE_COLUMNS), table[GAIN_COLUMNS]


def comparisons(mixes: list[str]) -> list[tuple[str, str, int]]:
    """(mix, baseline, real texts a label that both have) of every gain."""
    growing = [
        (mix, mix.removesuffix(" + few_shot")) for mix in mixes if mix.startswith("real ") and mix.endswith("shot")
    ]
    pairs = [(BOTH, other, 0) for other in (EXAMPLES, SYNTHETIC, AS_MANY) if {BOTH, other} <= set(mixes)]
    return pairs + [(mix, alone, int(alone.removeprefix("real "))) for mix, alone in growing]
