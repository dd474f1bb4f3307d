"""What synthetic texts add to real ones: scores of the mixes that 02 trained, and their gains."""

from collections.abc import Sequence

import pandas as pd

from synthgap.evaluation.gaps import evaluate
from synthgap.tables import matching
from synthgap.training.mixes import AS_MANY, EXAMPLES
from synthgap.training.predictions import Predictions

SCORE_COLUMNS = ["task", "classifier", "mix", "n_train", "seeds", "macro_f1", "low", "high"]
GAIN_COLUMNS = ["task", "classifier", "mix", "baseline", "real_texts", "gain", "low", "high", "p", "p_holm"]


def mix_tables(
    predictions: Sequence[Predictions], resamples: int = 2000, permutations: int = 10000, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of the mixes, and what synthetic texts add to so many real ones; tidy, with 95 % intervals.

    The first has SCORE_COLUMNS; the second GAIN_COLUMNS: the examples with the synthetic texts less each other mix of
    their kind (real_texts is 0), and "real n" with the synthetic texts less "real n". Gains are paired on the test
    items; p_holm is corrected over all gains.

    Args:
        predictions: of each task and classifier; named by the mixes.
    """
    found = evaluate(predictions, resamples, permutations, seed, mix_pairs)
    scores = found.table.rename(columns={"corpus": "mix", "macro_f1_low": "low", "macro_f1_high": "high"})
    gains = matching(found.gaps, {"metric": "macro_f1"}).rename(columns={"corpus": "mix", "gap": "gain"})
    real = gains["baseline"].str.extract(r"^real (\d+)$", expand=False).fillna("0").astype(int)
    return scores.reindex(columns=SCORE_COLUMNS), gains.assign(real_texts=real)[GAIN_COLUMNS].reset_index(drop=True)


def mix_pairs(mixes: Sequence[str]) -> list[tuple[str, str]]:
    """(mix, baseline) of every gain."""
    pairs = []
    for mix in mixes:
        first, _, corpus = mix.partition(" + ")
        if corpus:
            baselines = (EXAMPLES, corpus, AS_MANY) if first == EXAMPLES else (first,)
            pairs += [(mix, baseline) for baseline in baselines if baseline in mixes]
    return pairs


def mixed_corpus(mixes: Sequence[str]) -> str:
    """The corpus whose texts are in the mixes: what stands behind a mix's plus."""
    return next(mix.partition(" + ")[2] for mix in mixes if " + " in mix)
