"""Distances against brute force, scikit-learn and SciPy; Vendi score by its n x n matrix; tables that add up."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise_distances

from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_parquet
from synthgap.diversity import texts
from synthgap.diversity.distances import bootstrap_spread, spread, unit
from synthgap.diversity.figures import DRAWINGS, diversity
from synthgap.diversity.maps import map_texts
from synthgap.diversity.measures import (
    distinct,
    diversity_and_gap,
    diversity_differences,
    diversity_values,
    measure,
    over_tasks,
    rarefaction,
    vendi,
)
from synthgap.diversity.similarity import similarity_density, similarity_summary, similarity_values
from synthgap.diversity.texts import EmbeddedTexts
from synthgap.figures import Look
from synthgap.tasks import load_profile

mpl.use("Agg")


def vectors(n: int, d: int = 16, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((n, d)))


def brute_force(embeddings: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and nearest distance to the others, by the whole matrix."""
    table = cdist(embeddings.astype(float), embeddings.astype(float), metric)
    np.fill_diagonal(table, np.nan)
    return np.nanmean(table, axis=1), np.nanmin(table, axis=1)


def corpus(n: int, name: str, scale: float = 1.0, task: str = "humor", seed: int = 0) -> EmbeddedTexts:
    """Texts of two labels; a small scale makes them alike."""
    random = np.random.default_rng(seed)
    rows = unit(np.array([1.0] + [0.0] * 15) + scale * random.standard_normal((n, 16)))
    words = [" ".join(random.choice(list("abcdefgh"), 6)) for _ in range(n)]
    texts = pd.DataFrame({"id": [f"{name}{i}" for i in range(n)], "text": words, "label": ["x", "y"] * (n // 2)})
    return EmbeddedTexts(task, name, texts, rows)


# ---------------------------------------------------------------------------------------------------------- distances


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("n", "block"), [(2, 512), (7, 3), (50, 7), (300, 64), (64, 64), (65, 64)])
def test_distances_are_those_of_brute_force(metric, n, block):
    rows = vectors(n)
    mean, nearest = brute_force(rows, metric)
    found = spread(rows, metric, block)
    np.testing.assert_allclose(found.mean, mean, atol=2e-6)
    np.testing.assert_allclose(found.nearest, nearest, atol=2e-6)
    assert found.remote_clique == pytest.approx(mean.mean(), abs=1e-6)
    assert found.chamfer == pytest.approx(nearest.mean(), abs=1e-6)


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(2, 20), st.integers(2, 5)), elements=st.floats(-5, 5, width=32)),
    st.integers(1, 9),
)
def test_euclidean_distances_of_any_vectors(rows, block):
    mean, nearest = brute_force(rows, "euclidean")
    found = spread(rows, "euclidean", block)
    np.testing.assert_allclose(found.mean, mean, atol=2e-2)
    np.testing.assert_allclose(found.nearest, nearest, atol=2e-2)


def test_distances_are_scikit_learns_at_size():
    rows = vectors(3000, 48)
    table = pairwise_distances(rows.astype(float), metric="cosine")
    clique = table.sum() / (3000 * 2999)
    np.fill_diagonal(table, np.inf)
    found = spread(rows)
    assert found.remote_clique == pytest.approx(clique, abs=1e-6)
    assert found.chamfer == pytest.approx(table.min(axis=1).mean(), abs=1e-6)


def test_a_text_is_not_its_own_neighbour_but_its_copy_is():
    rows = vectors(10)
    assert spread(rows).nearest.min() > 0.01
    doubled = spread(np.vstack([rows, rows]))
    assert doubled.chamfer == pytest.approx(0, abs=1e-6)
    assert doubled.remote_clique == pytest.approx(spread(rows).remote_clique * 18 / 19, abs=1e-6)


def test_identical_texts_have_no_diversity():
    rows = np.tile(vectors(1), (30, 1))
    found = spread(rows)
    assert found.remote_clique == pytest.approx(0, abs=1e-6)
    assert found.chamfer == pytest.approx(0, abs=1e-6)
    assert vendi(rows) == pytest.approx(1, abs=1e-5)


def test_embeddings_need_not_be_of_length_1_for_cosine():
    rows = vectors(20)
    scaled = rows * np.arange(1, 21, dtype=np.float32)[:, None]
    np.testing.assert_allclose(spread(scaled).mean, spread(rows).mean, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "distance", "message"),
    [
        (vectors(1), "cosine", "at least two texts; there are 1"),
        (np.empty((0, 4)), "cosine", "at least two texts; there are 0"),
        (vectors(3), "manhattan", "distance 'manhattan' is unknown; known: cosine, euclidean"),
    ],
)
def test_what_has_no_distance_says_why(rows, distance, message):
    with pytest.raises(SynthgapError, match=message):
        spread(rows, distance)


# ---------------------------------------------------------------------------------------------------------- bootstrap


def test_the_interval_of_remote_clique_is_that_of_resampled_texts():
    """Against drawing texts anew and leaving pairs of copies out, the plain way."""
    rows = corpus(60, "real", 0.7).embeddings
    table = cdist(rows, rows, "cosine")
    random = np.random.default_rng(1)
    plain = []
    for _ in range(2000):
        chosen = random.integers(60, size=60)
        apart = chosen[:, None] != chosen[None, :]
        plain.append(table[np.ix_(chosen, chosen)][apart].mean())
    ours = bootstrap_spread(spread(rows), 4000, 2)["remote_clique"]
    assert ours.std() == pytest.approx(np.std(plain), rel=0.1)
    assert ours.mean() == pytest.approx(np.mean(plain), abs=0.3 * np.std(plain))


def test_the_interval_of_remote_clique_covers():
    population = spread(corpus(4000, "real", 0.7, seed=99).embeddings).remote_clique
    covered = []
    for seed in range(100):
        draws = bootstrap_spread(spread(corpus(80, "real", 0.7, seed=seed).embeddings), 400, seed)["remote_clique"]
        low, high = np.percentile(draws, (2.5, 97.5))
        covered.append(low <= population <= high)
    assert 0.88 <= np.mean(covered) <= 0.99


# ------------------------------------------------------------------------------------------------ Vendi and n-grams


@pytest.mark.parametrize(("n", "d"), [(5, 30), (30, 5), (16, 16)])
def test_vendi_is_that_of_the_matrix_of_similarities(n, d):
    rows = vectors(n, d).astype(float)
    values = np.linalg.eigvalsh(rows @ rows.T / n)
    values = values[values > 1e-12]
    assert vendi(rows) == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-5)


def test_vendi_of_texts_without_anything_in_common_is_their_number():
    assert vendi(np.eye(7)) == pytest.approx(7)
    assert vendi(np.vstack([np.eye(7), np.eye(7)])) == pytest.approx(7)


def test_distinct_n_grams_by_hand():
    assert distinct(["the cat sat", "The cat, ran!"], 1) == pytest.approx(4 / 6)
    assert distinct(["the cat sat", "The cat, ran!"], 2) == pytest.approx(3 / 4)
    with pytest.raises(SynthgapError, match="no text has 2 words"):
        distinct(["one", "two"], 2)


# ------------------------------------------------------------------------------------------------------------- tables


def test_the_table_has_the_named_columns_every_class_and_intervals_around_the_distances():
    measured = measure([corpus(60, "real"), corpus(60, "zero_shot", 0.3)], "cosine", 300, 0)
    table, differences = diversity_values(measured), diversity_differences(measured)
    assert table.columns.tolist() == ["task", "corpus", "label", "metric", "n", "value", "low", "high"]
    assert set(table["label"]) == {"all", "x", "y"}
    distances = table[table["metric"].isin(["remote_clique", "chamfer"])]
    assert ((distances["low"] < distances["value"]) & (distances["value"] < distances["high"])).all()
    assert table.loc[table["label"] == "all", "n"].unique().tolist() == [60]
    assert table["value"].notna().all()
    clique = differences[(differences["metric"] == "remote_clique") & (differences["label"] == "all")].iloc[0]
    assert clique["high"] < 0  # texts that are more alike are less diverse
    values = table[(table["metric"] == "remote_clique") & (table["label"] == "all")].set_index("corpus")["value"]
    assert clique["difference"] == pytest.approx(values["zero_shot"] - values["real"])


def test_a_class_of_one_text_has_no_distance_and_stops_nothing():
    one = corpus(4, "real")
    texts = one.texts.assign(label=["x", "y", "y", "y"])
    table = diversity_values(measure([EmbeddedTexts("humor", "real", texts, one.embeddings)], "cosine", 100, 0))
    alone = table[table["label"] == "x"].set_index("metric")
    assert np.isnan(alone.loc["chamfer", "value"])
    assert alone.loc["vendi", "value"] == pytest.approx(1, abs=1e-6)
    assert table[(table["label"] == "all") & (table["metric"] == "chamfer")]["value"].notna().all()


def test_a_corpus_without_texts_is_refused():
    one = corpus(4, "real")
    with pytest.raises(SynthgapError, match="needs at least one text"):
        measure([EmbeddedTexts("humor", "few_shot", one.texts.head(0), one.embeddings[:0])], "cosine", 100, 0)


def test_no_difference_without_real_texts():
    assert diversity_differences(measure([corpus(20, "zero_shot")], "cosine", 100, 0)).empty


def test_any_corpora_are_set_beside_any_reference():
    names = ("gpt4", "personas", "zero_shot")
    measured = measure([corpus(20, name, seed=n) for n, name in enumerate(names)], "cosine", 100, 0, "personas")
    differences = diversity_differences(measured)
    assert sorted(set(differences["corpus"])) == ["gpt4", "zero_shot"]
    values = diversity_values(measured).set_index(["corpus", "label", "metric"])["value"]
    for row in differences.itertuples():
        base = values["personas", row.label, row.metric]
        assert row.difference == pytest.approx(values[row.corpus, row.label, row.metric] - base)


def test_what_was_measured_is_the_same_after_it_was_kept(tmp_path):
    """As `--no-data` shows it: from a file, without texts."""
    one = corpus(4, "real")
    short = EmbeddedTexts("humor", "few_shot", one.texts.assign(label=["x", "y", "y", "y"], text="a"), one.embeddings)
    for found in ([one, short], [one]):
        measured = measure(found, "cosine", 100, 0)
        kept = pd.read_parquet(write_parquet(tmp_path / "measured.parquet", measured))
        pd.testing.assert_frame_equal(diversity_values(kept), diversity_values(measured), check_dtype=False)
        pd.testing.assert_frame_equal(diversity_differences(kept), diversity_differences(measured), check_dtype=False)


def test_rarefaction_ends_at_the_whole_corpus_and_vendi_grows():
    curves = rarefaction([corpus(130, "real")], "cosine", 5, 0)
    for metric in ("chamfer", "vendi"):
        part = curves[curves["metric"] == metric]
        assert part["n"].tolist() == [25, 50, 100, 130]
        assert part["low"].iloc[-1] == part["high"].iloc[-1] == part["value"].iloc[-1]
    assert curves[curves["metric"] == "vendi"]["value"].is_monotonic_increasing
    assert curves[curves["metric"] == "chamfer"]["value"].is_monotonic_decreasing


def gaps_of(tasks, values) -> pd.DataFrame:
    rows = zip(tasks, values, strict=True)
    columns = ["task", "gap", "classifier", "corpus", "baseline", "metric"]
    return pd.DataFrame([(t, g, "c", "few_shot", "real", "macro_f1") for t, g in rows], columns=columns)


def test_lost_diversity_is_correlated_with_lost_performance_over_tasks():
    tasks = ["ag_news", "humor", "imdb", "sms_spam", "relation"]
    rows = {"corpus": "few_shot", "label": "all", "metric": "chamfer", "low": 0.0, "high": 0.0}
    differences = pd.DataFrame([{"task": t, "difference": -0.1 * n, **rows} for n, t in enumerate(tasks)])
    found = diversity_and_gap(differences, gaps_of(tasks, [0, -1, -2, -3, -4])).iloc[0]
    assert found["n"] == 5
    assert found["rho"] == pytest.approx(1)
    assert diversity_and_gap(differences.head(3), gaps_of(tasks, range(5))).empty
    assert diversity_and_gap(differences, gaps_of([], [])).empty
    assert over_tasks(differences.head(1), 500, 0).empty
    mean = over_tasks(differences, 500, 0).iloc[0]
    assert mean["difference"] == pytest.approx(-0.2)
    assert mean["low"] < -0.2 < mean["high"]
    assert mean["lower_in"] == 4


# -------------------------------------------------------------------------------------------------------------- texts


def test_compared_are_the_members_of_the_main_comparison_at_equal_n(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "embed", lambda found, encoder: vectors(len(found)))
    profile = load_profile("smoke", {"comparisons.paper": {"corpora": ["real", "zero_shot"], "reference": "few_shot"}})
    task = texts.TaskTexts(profile, tmp_path, "sms_spam")
    sizes = {"zero_shot": (5, 20), "few_shot": (30, 9)}
    task.__dict__["synthetic"] = {name: labelled(name, ham=ham, spam=spam) for name, (ham, spam) in sizes.items()}
    assert [one.corpus for one in task.compared] == ["few_shot", "real", "zero_shot"]
    for one in texts.compared([task]):
        assert one.texts["label"].value_counts().to_dict() == {"ham": 5, "spam": 9}
        assert one.embeddings.shape == (14, 16)


def labelled(name: str, **sizes: int) -> pd.DataFrame:
    rows = [(f"{name}-{label}-{n}", f"text {n}", label) for label, size in sizes.items() for n in range(size)]
    return pd.DataFrame(rows, columns=["id", "text", "label"])


# ------------------------------------------------------------------------------------------------------------ figures


@pytest.fixture(scope="module")
def saved():
    """{name: saved table} of three corpora on two tasks."""
    found = [
        corpus(60, name, scale, task, seed)
        for task in ("humor", "imdb")
        for seed, (name, scale) in enumerate({"real": 1.0, "few_shot": 0.3, "zero_shot": 0.5}.items())
    ]
    measured = measure(found, "cosine", 100, 0)
    similar = similarity_values(found, 5)
    gaps = pd.concat([gaps_of(["humor", "imdb"], [-3, -1]).assign(corpus=name) for name in ("few_shot", "zero_shot")])
    return {
        "diversity": diversity_values(measured),
        "diversity_differences": diversity_differences(measured),
        "rarefaction": rarefaction(found, "cosine", 3, 0),
        "similarity": similarity_summary(similar, 100, 0),
        "similarity_density": similarity_density(similar),
        "map_points": pd.concat([map_texts(found[:3], 20), map_texts(found[3:], 20)]),
        "gaps": gaps,
    }


@pytest.mark.parametrize("width", [None, 3.3])
@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.name)
def test_figures_are_drawn_from_saved_tables_at_any_width(saved, drawing, width):
    look = Look.of(load_profile("smoke"), width)
    figure = drawing.drawn(saved.__getitem__, look, "the footer", "vendi" if drawing.name == "rarefaction" else "")
    assert width is None or figure.get_figwidth() == width
    keys = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"Zero-shot", "Few-shot"} <= keys
    assert any("the footer" in " ".join(text.get_text().split()) for text in figure.findobj(mpl.text.Text))
    plt.close(figure)


@pytest.mark.parametrize("drawing", DRAWINGS[1:], ids=lambda drawing: drawing.name)
def test_an_empty_table_is_no_figure(saved, drawing):
    with pytest.raises(SynthgapError, match="nothing to draw: the table has no rows"):
        drawing.draw(lambda name: saved[name].head(0), Look.of(load_profile("smoke")), "vendi")


def test_the_figure_of_diversity_shows_the_values(saved):
    figure = diversity.drawn(saved.__getitem__, Look.of(load_profile("smoke")), "")
    for ax, metric in zip(figure.axes, ("remote_clique", "chamfer", "vendi"), strict=True):
        drawn = [x for points in ax.collections for x, _ in np.atleast_2d(points.get_offsets())]
        table = saved["diversity"]
        expected = table.loc[(table["metric"] == metric) & (table["label"] == "all"), "value"]
        assert set(expected.round(9)) <= set(np.round(drawn, 9))
    plt.close(figure)
