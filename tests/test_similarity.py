"""Synthetic against real texts: similarity by brute force, near-duplicates, and maps that are the same twice."""

import numpy as np
import pandas as pd
import pytest

from synthgap.core.config import DiversitySettings
from synthgap.core.errors import SynthgapError
from synthgap.diversity.contamination import (
    contamination_summary,
    near_test_pairs,
    pairs_with_test,
    repeated_pairs,
    scores_without,
    show_pairs,
)
from synthgap.diversity.distances import unit
from synthgap.diversity.maps import hover_map, map_texts, with_texts
from synthgap.diversity.similarity import similarity_density, similarity_summary, similarity_to, similarity_values
from synthgap.diversity.texts import EmbeddedTexts, TaskTexts
from synthgap.figures import Look
from synthgap.tasks import load_profile
from synthgap.training.predictions import Predictions


def corpus(name: str, texts: list[str], rows: np.ndarray) -> EmbeddedTexts:
    frame = pd.DataFrame({"id": [f"{name}-{n}" for n in range(len(texts))], "text": texts, "label": "x"})
    return EmbeddedTexts("humor", name, frame, unit(rows))


def vectors(n: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((n, 8)))


def test_similarity_is_the_mean_of_the_five_nearest():
    real, synthetic = vectors(40, 0), vectors(30, 1)
    expected = np.sort(real @ synthetic.T, axis=1)[:, -5:].mean(axis=1)
    np.testing.assert_allclose(similarity_to(real, synthetic), expected, atol=1e-6)


def test_too_few_synthetic_texts_are_refused():
    with pytest.raises(SynthgapError, match="needs 5 synthetic texts at least; there are 4"):
        similarity_to(vectors(3, 0), vectors(4, 1))


def test_the_table_has_a_row_for_each_real_text_and_synthetic_corpus():
    found = [corpus(name, ["t"] * 12, vectors(12, seed)) for seed, name in enumerate(("real", "zero_shot", "few_shot"))]
    table = similarity_values(found, 5)
    assert len(table) == 24
    assert set(table["corpus"]) == {"zero_shot", "few_shot"}
    summary = similarity_summary(table, 200, 0)
    assert ((summary["low"] <= summary["median"]) & (summary["median"] <= summary["high"])).all()
    assert similarity_values(found[1:], 5).empty
    assert similarity_values(found, 13).empty
    assert set(similarity_values(found, 5, "few_shot")["corpus"]) == {"real", "zero_shot"}
    assert similarity_summary(table.head(0), 200, 0).empty


def test_the_density_is_the_one_that_seaborn_draws():
    import matplotlib.pyplot as plt
    import seaborn as sns

    table = similarity_values([corpus("real", ["t"] * 40, vectors(40, 0)), corpus("a", ["t"] * 30, vectors(30, 1))], 5)
    density = similarity_density(table)
    ax = sns.kdeplot(table, x="similarity", hue="corpus", common_norm=False, gridsize=80, ax=plt.subplots()[1])
    x, y = ax.lines[0].get_data()
    plt.close("all")
    np.testing.assert_allclose(density["similarity"], x, atol=1e-9)
    np.testing.assert_allclose(density["density"], y, rtol=1e-9)
    assert similarity_density(table.head(1)).empty
    assert similarity_density(table.assign(similarity=0.5)).empty


def test_near_copies_are_found_by_letters_or_meaning_and_others_are_not():
    rows = np.eye(6)[:, :6]
    synthetic = corpus("few_shot", ["the cat sat on the mat today", "dogs bark", "rain again"], rows[[0, 1, 2]])
    test = corpus(
        "test",
        ["The cat sat on the mat, today!", "hounds give tongue", "sunny spells"],
        np.array([rows[0] + 0.4 * rows[5], rows[1] + 0.1 * rows[5], rows[3]]),
    )
    pairs = near_test_pairs(synthetic, test, DiversitySettings())
    found, closest = repeated_pairs(pairs), pairs["cosine"].max()
    assert closest == pytest.approx(1 / np.sqrt(1.01), abs=1e-4)
    assert found[["synthetic_id", "test_id"]].to_numpy().tolist() == [
        ["few_shot-0", "test-0"],
        ["few_shot-1", "test-1"],
    ]
    assert found["letters"].iloc[0] == 100
    assert found["letters"].iloc[1] < 90 < 100 * found["cosine"].iloc[1]


def test_where_nothing_repeats_the_nearest_pair_is_named():
    rows = np.eye(6)
    test = corpus("test", ["sunny spells", "fog"], np.array([rows[0] + rows[1], rows[3]]))
    pairs = near_test_pairs(corpus("few_shot", ["rain", "snow"], rows[[0, 2]]), test, DiversitySettings())
    assert pairs[["synthetic_id", "test_id", "repeats"]].to_numpy().tolist() == [["few_shot-0", "test-0", False]]
    summary = contamination_summary(pairs.assign(synthetic_texts=2, test_texts=2, reciting_texts=1)).iloc[0]
    assert summary[["pairs", "repeated_test_texts", "synthetic_texts", "reciting_texts"]].tolist() == [0, 0, 2, 1]
    assert summary["closest_cosine"] == pytest.approx(np.sqrt(0.5))
    assert repeated_pairs(pairs).empty


def test_without_synthetic_texts_nothing_slipped_in(tmp_path):
    pairs = pairs_with_test([])
    assert contamination_summary(pairs).empty
    assert repeated_pairs(pairs).groupby("task")["test_id"].agg(set).to_dict() == {}


def test_scores_are_counted_again_without_the_repeated_items():
    truth = np.array([0, 0, 1, 1])
    predicted = {"real": np.array([[0, 0, 1, 0]]), "few_shot": np.array([[0, 1, 1, 1]])}
    outcome = Predictions("humor", "probe", ("a", "b"), np.array(["w", "x", "y", "z"]), truth, predicted, {})
    table = scores_without([outcome], {"humor": {"z"}}).set_index("corpus")
    assert table["removed"].tolist() == [1, 1]
    assert table.loc["real", "after"] == 100
    assert table.loc["few_shot", "before"] == pytest.approx(100 * (2 / 3 + 4 / 5) / 2)
    assert table.loc["few_shot", "after"] == pytest.approx(100 * (2 / 3 + 2 / 3) / 2)
    untouched = scores_without([outcome], {})
    assert (untouched["change"] == 0).all()
    assert np.isnan(scores_without([outcome], {"humor": set("wxyz")})["after"]).all()


def test_a_map_is_the_same_twice_and_caps_each_corpus():
    found = [
        corpus(name, [f"{name} {n}" for n in range(30)], vectors(30, seed))
        for seed, name in enumerate(("real", "zero_shot"))
    ]
    one, other = (map_texts(found, 20, seed=0) for _ in range(2))
    pd.testing.assert_frame_equal(one, other)
    assert "text" not in one
    one = with_texts(one, found)
    assert one.groupby("corpus").size().to_dict() == {"real": 20, "zero_shot": 20}
    assert (one["text"].str.replace(" ", "-") == one["id"]).all()
    assert np.isfinite(one[["x", "y"]]).all(axis=None)


def test_too_few_texts_have_no_map():
    assert map_texts([corpus("real", ["a", "b", "c"], vectors(3, 0))], 20).empty
    assert len(map_texts([corpus("real", ["a", "b", "c", "d"], vectors(4, 0))], 20)) == 4


def test_texts_that_all_mean_the_same_have_a_map():
    points = map_texts([corpus("real", ["a", "b", "c", "d", "e"], np.repeat(vectors(1, 0), 5, axis=0))], 20)
    assert np.isfinite(points[["x", "y"]]).all(axis=None)


def test_a_map_hides_real_texts_unless_allowed_and_escapes_all():
    look = Look.of(load_profile("smoke"))
    rows = [("real", "r1", "<b>secret</b>", 0.0, 1.0), ("few_shot", "f1", "<script>made up", 1.0, 0.0)]
    points = pd.DataFrame(rows, columns=["corpus", "id", "text", "x", "y"]).assign(label="l", task="humor")
    hidden, shown = (hover_map(points, look, allowed).data for allowed in (False, True))
    assert "secret" not in hidden
    assert "[r1: 1 words, not shown]" in hidden
    assert "&lt;b&gt;secret" in shown
    for text in (hidden, shown):
        assert "&lt;script&gt;made up" in text
        assert "<script" not in text
    without = hover_map(points.drop(columns="text"), look, True).data
    assert "f1" in without
    assert "made up" not in without


def test_pairs_with_test_texts_are_listed_by_id_where_real_texts_are_not_shown(tmp_path):
    texts = TaskTexts(load_profile("demo"), tmp_path, "humor")
    texts.__dict__["synthetic"] = {"few_shot": pd.DataFrame({"id": ["s"], "text": ["<i>made</i>"]})}
    test = texts.real.split("test").iloc[0]
    pair = {"task": "humor", "corpus": "few_shot", "synthetic_id": "s", "test_id": test["id"]}
    pairs = pd.DataFrame([{**pair, "letters": 95, "cosine": 1}])
    hidden = show_pairs(pairs, {"humor": texts}, False).data
    assert test["id"] in hidden
    assert test["text"] not in hidden
    assert "&lt;i&gt;made" in hidden
    assert "No such pair" in show_pairs(pairs.head(0), {"humor": texts}, False).data
