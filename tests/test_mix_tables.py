"""Tables of mixes: gains that are known, what is compared with what, and how the mixes look."""

import numpy as np
import pytest

from synthgap.evaluation.figures import mix_series
from synthgap.evaluation.mixes import AS_MANY, EXAMPLES, mix_pairs, mix_tables, mixed_corpus
from synthgap.figures import MARKERS, Look
from synthgap.tasks import load_profile
from synthgap.training import mixes as trained
from synthgap.training.predictions import Predictions

SYNTHETIC, BOTH = "few_shot", "examples + few_shot"


def test_gains_of_a_simulated_case_are_found_with_their_intervals():
    random = np.random.default_rng(1)
    truth = random.integers(2, size=2000)
    right = {EXAMPLES: 0.6, SYNTHETIC: 0.7, BOTH: 0.75, AS_MANY: 0.75, "real 10": 0.6, "real 10 + few_shot": 0.7}
    predicted = {mix: np.where(random.random((3, 2000)) < share, truth, 1 - truth) for mix, share in right.items()}
    ids = np.arange(2000).astype(str)
    predictions = Predictions("humor", "probe", ("a", "b"), ids, truth, predicted, dict.fromkeys(right, 20))
    scores, gains = mix_tables([predictions], resamples=300, permutations=300)
    assert set(scores["mix"]) == set(right)
    found = gains.set_index(["mix", "baseline"])
    for (mix, baseline), row in found.iterrows():
        expected = 100 * (right[mix] - right[baseline])
        assert row["gain"] == pytest.approx(expected, abs=3)
        assert row["low"] <= row["gain"] <= row["high"]
        assert (row["p_holm"] < 0.05) == (abs(expected) > 3)
    assert found["real_texts"].tolist() == [0, 0, 0, 10]
    assert mix_pairs(["real 10", "real 10 + few_shot", SYNTHETIC]) == [("real 10 + few_shot", "real 10")]
    assert [len(table) for table in mix_tables([])] == [0, 0]


def test_mixes_are_called_as_02_calls_them():
    assert (EXAMPLES, AS_MANY) == (trained.EXAMPLES, trained.AS_MANY)
    for corpus in ("few_shot", "gpt4"):
        names = [EXAMPLES, corpus, trained.both(corpus), AS_MANY]
        assert mixed_corpus(names) == corpus
        assert mix_pairs(names) == [(names[2], names[0]), (names[2], corpus), (names[2], AS_MANY)]


def test_only_what_is_a_corpus_looks_like_one():
    look = Look.of(load_profile("recorded"))
    series = mix_series([EXAMPLES, SYNTHETIC, BOTH, AS_MANY, "real 10", "real 10 + few_shot"], look)
    assert list(series) == [EXAMPLES, SYNTHETIC, BOTH, AS_MANY]
    assert (series[SYNTHETIC].colour, series[SYNTHETIC].marker) == (look.corpora[SYNTHETIC].colour, "D")
    assert series[AS_MANY].colour == look.corpora["real"].colour
    for mix in (EXAMPLES, BOTH):
        assert series[mix].colour not in {one.colour for one in look.corpora.values()}
        assert series[mix].marker not in (*MARKERS, "s")
    assert len({one.marker for one in series.values()}) == 4
    assert list(mix_series(["real 10", "real 10 + zero_shot"], look)) == []
