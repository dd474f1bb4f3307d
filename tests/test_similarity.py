"""Synthetic against real texts: similarity by brute force, near-duplicates, and maps that are the same twice."""

import numpy as np
import pandas as pd
import pytest

from synthgap.config import DiversitySettings
from synthgap.distances import unit
from synthgap.diversity import Corpus
from synthgap.errors import SynthgapError
from synthgap.evaluation import Outcome
from synthgap.similarity import (
    map_texts,
    near_duplicates,
    scores_without,
    similarity_summary,
    similarity_table,
    similarity_to,
)


def corpus(regime: str, texts: list[str], rows: np.ndarray) -> Corpus:
    frame = pd.DataFrame({"id": [f"{regime}-{n}" for n in range(len(texts))], "text": texts, "label": "x"})
    return Corpus("humor", regime, frame, unit(rows))


def vectors(n: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((n, 8)))


def test_similarity_is_the_mean_of_the_five_nearest():
    real, synthetic = vectors(40, 0), vectors(30, 1)
    expected = np.sort(real @ synthetic.T, axis=1)[:, -5:].mean(axis=1)
    np.testing.assert_allclose(similarity_to(real, synthetic), expected, atol=1e-6)


def test_too_few_synthetic_texts_are_refused():
    with pytest.raises(SynthgapError, match="needs 5 synthetic texts at least; there are 4"):
        similarity_to(vectors(3, 0), vectors(4, 1))


def test_the_table_has_a_row_a_real_text_and_synthetic_regime():
    found = [
        corpus(regime, ["t"] * 12, vectors(12, seed)) for seed, regime in enumerate(("real", "zero_shot", "few_shot"))
    ]
    table = similarity_table(found, 5)
    assert len(table) == 24
    assert set(table["regime"]) == {"zero_shot", "few_shot"}
    summary = similarity_summary(table, 200, 0)
    assert ((summary["low"] <= summary["median"]) & (summary["median"] <= summary["high"])).all()
    assert similarity_table(found[1:], 5).empty


def test_near_copies_are_found_by_letters_or_meaning_and_others_are_not():
    rows = np.eye(6)[:, :6]
    synthetic = corpus("few_shot", ["the cat sat on the mat today", "dogs bark", "rain again"], rows[[0, 1, 2]])
    test = corpus(
        "test",
        ["The cat sat on the mat, today!", "hounds give tongue", "sunny spells"],
        np.array([rows[0] + 0.4 * rows[5], rows[1] + 0.1 * rows[5], rows[3]]),
    )
    found, closest = near_duplicates(synthetic, test, DiversitySettings())
    assert closest == pytest.approx(1 / np.sqrt(1.01), abs=1e-4)
    assert found[["synthetic_id", "test_id"]].to_numpy().tolist() == [
        ["few_shot-0", "test-0"],
        ["few_shot-1", "test-1"],
    ]
    assert found["letters"].iloc[0] == 100
    assert found["letters"].iloc[1] < 90 < 100 * found["cosine"].iloc[1]


def test_scores_are_counted_again_without_the_repeated_items():
    truth = np.array([0, 0, 1, 1])
    predicted = {"real": np.array([[0, 0, 1, 0]]), "few_shot": np.array([[0, 1, 1, 1]])}
    outcome = Outcome("humor", "probe", ("a", "b"), truth, predicted, {}, np.array(["w", "x", "y", "z"]))
    table = scores_without([outcome], {"humor": {"z"}}).set_index("regime")
    assert table["removed"].tolist() == [1, 1]
    assert table.loc["real", "after"] == 100
    assert table.loc["few_shot", "before"] == pytest.approx(100 * (2 / 3 + 4 / 5) / 2)
    assert table.loc["few_shot", "after"] == pytest.approx(100 * (2 / 3 + 2 / 3) / 2)
    untouched = scores_without([outcome], {})
    assert (untouched["change"] == 0).all()
    assert np.isnan(scores_without([outcome], {"humor": set("wxyz")})["after"]).all()


def test_a_map_is_the_same_twice_and_caps_each_regime():
    found = [
        corpus(regime, [f"{regime} {n}" for n in range(30)], vectors(30, seed))
        for seed, regime in enumerate(("real", "zero_shot"))
    ]
    one, other = (map_texts(found, 20, seed=0) for _ in range(2))
    pd.testing.assert_frame_equal(one, other)
    assert one.groupby("regime").size().to_dict() == {"real": 20, "zero_shot": 20}
    assert (one["text"].str.replace(" ", "-") == one["id"]).all()
    assert np.isfinite(one[["x", "y"]]).all(axis=None)
