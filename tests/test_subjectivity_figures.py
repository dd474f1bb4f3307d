"""Figures of 04: drawn from saved tables alone, people apart from simulations, one colour for one thing."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from test_over_time import judged_by_many, judged_in

from synthgap.core.errors import SynthgapError
from synthgap.figures import Look
from synthgap.subjectivity import figures
from synthgap.subjectivity.accuracy_by_agreement import PredictedItems, agreement_models, curves_and_fits
from synthgap.subjectivity.agreement_sources import ESTIMATED, Source, agreement_shares, item_table
from synthgap.subjectivity.over_time import agreement_over_time
from synthgap.subjectivity.panel_size import panel_sizes
from synthgap.subjectivity.predicted_agreement import (
    agreement_bands,
    agreement_correlations,
    paired_agreement,
    recovered_lift,
)
from synthgap.subjectivity.ranking import pair_sources, rank_tasks, vote_table
from synthgap.tables import matching, write_csv
from synthgap.tasks import load_profile

PROFILE = load_profile("demo")
LOOK = Look.of(PROFILE)
HUMAN = ("human: the set's own annotators", "human: collected")
PARTS = {
    "accuracy_by_agreement": "human",
    "threshold_fits": "human",
    "agreement_effects": "human",
    "predicted_agreement": "humor",
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The tables of 04 for one task with two groups of people and the LLM's estimates, as they are read from CSV."""
    folder, random = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    ids = pd.Index([f"i{n:02d}" for n in range(60)])
    sources, matched = [], []
    for name in (*HUMAN, ESTIMATED):
        items = pd.DataFrame({"agreement": random.choice([0.5, 0.7, 0.9, 1.0], 60), "gold": "a"}, index=ids)
        items.loc[ids[:20], "gold"] = "b"
        sources.append(Source("humor", name, True, items))
        arrays = (ids.to_numpy(), items["agreement"].to_numpy(), items["gold"].to_numpy())
        for classifier in ("probe", "finetune"):
            right = {corpus: (random.random((2, 60)) < 0.7).astype(float) for corpus in LOOK.corpora}
            matched.append(PredictedItems("humor", name, classifier, *arrays, right))
    compared, pairs = pair_sources(PROFILE.tasks), paired_agreement(item_table(sources))
    curves, fits = curves_and_fits(matched, 100)
    made = {
        "task_ranking": rank_tasks(compared, 50),
        "task_pairs": vote_table(compared),
        "agreement_shares": agreement_shares(item_table(sources)),
        "threshold_curves": curves,
        "threshold_fits": fits,
        "agreement_models": agreement_models(matched),
        "predicted_agreement": agreement_correlations(pairs),
        "predicted_agreement_bands": agreement_bands(pairs),
        "predicted_agreement_recovered": recovered_lift(pairs, matched, 20),
    }
    posts = judged_in(*((f"2021-{month:02d}", "ab", 24, 20 - month) for month in (6, 8, 9, 12)))
    emotions = replace(posts, by_label={f"emotion {n}": posts.by_label["joy"] for n in range(8)})
    made["agreement_over_time"] = agreement_over_time([emotions])
    made["panel_sizes"] = panel_sizes([judged_by_many(random.random(20), 30)])
    for name, table in made.items():
        write_csv(folder / f"{name}.csv", table)
    return lambda name: pd.read_csv(folder / f"{name}.csv")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize("width", [None, 7.0, 3.3])
@pytest.mark.parametrize("drawing", figures.DRAWINGS, ids=lambda drawing: drawing.name)
def test_every_figure_is_drawn_at_every_width_with_nothing_cut_off(tables, drawing, width):
    figure = drawing.drawn(tables, Look.of(PROFILE, width), "footer", PARTS.get(drawing.name, ""))
    assert width is None or figure.get_figwidth() == width
    figure.canvas.draw()
    for ax in figure.axes:
        assert ax.get_window_extent().width > 20
        assert ax.get_window_extent().height > 20
    drawn = figure.get_tightbbox()
    assert drawn.x0 > -0.05
    assert drawn.x1 < figure.get_figwidth() + 0.1


def test_two_groups_of_people_who_judged_one_task_are_two_rows(tables):
    models = figures.of_kind(tables("agreement_models"), "human")
    assert models["row"].nunique() == 2
    _, ax = plt.subplots()
    figures.plot_agreement_effects(models[models["classifier"] == "probe"], LOOK, ax)
    assert [" ".join(text.get_text().split()) for text in ax.get_yticklabels()] == [
        "Humor speech (the set's own annotators)",
        "Humor speech (collected)",
    ]
    sources = [
        Source("humor", name, True, pd.DataFrame({"agreement": values, "gold": "a"}))
        for name, values in (("human: a", [1, 0.5]), ("human: b", [0.7]))
    ]
    _, ax = plt.subplots()
    figures.plot_agreement(figures.of_kind(agreement_shares(item_table(sources)), "human"), ax)
    widths = [[bar.get_width() for bar in container] for container in ax.containers]
    assert np.array(widths).sum(axis=0).tolist() == [100, 100]
    assert widths[0] == [50, 0]


def test_bands_and_the_effect_of_agreement_have_no_corpus_colour(tables):
    figure, _ = figures.agreement_by_source.draw(tables, LOOK, "")
    bars = {to_hex(bar.get_facecolor()) for ax in figure.axes for bar in ax.patches}
    assert not bars & {one.colour for one in LOOK.corpora.values()}
    figure, _ = figures.agreement_effects.draw(tables, LOOK, "human")
    keys = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True))
    colours = {title: to_hex(key.get_facecolor()[0]) for title, key in keys.items()}
    assert colours.pop("agreement") not in {one.colour for one in LOOK.corpora.values()}
    assert colours == {f"more so: {LOOK.title(name)}": LOOK.corpora[name].colour for name in ("zero_shot", "few_shot")}


def test_people_and_simulations_stand_in_panels_of_their_own(tables):
    figure, _ = figures.agreement_by_source.draw(tables, LOOK, "")
    titles = [" ".join(ax.get_title(loc="left").split()) for ax in figure.axes]
    assert titles == ["Agreement, people", "Agreement, simulated: shares an LLM estimated"]
    _, note = figures.accuracy_by_agreement.draw(tables, LOOK, "human")
    assert "simulated" not in note
    with pytest.raises(SynthgapError, match="kind of source 'panel' is unknown; known: estimated, human"):
        figures.accuracy_by_agreement.draw(tables, LOOK, "panel")


def test_titles_of_curves_quote_the_tables_height_above_chance_and_whether_its_corrected_p_is_small(tables):
    fits = figures.curves_of(tables, "human")
    assert fits["classifier"].unique().tolist() == ["finetune"], "the last of those that all tasks have"
    figure, note = figures.accuracy_by_agreement.draw(tables, LOOK, "human")
    for ax, (_, own) in zip(figure.axes, fits.groupby("row", sort=False), strict=True):
        rows = [matching(own, {"corpus": name}).iloc[0] for name in LOOK.present(own)]
        expected = " ".join(f"{row['height']:+.1f}".replace("-", "−") + "*" * int(row["p_holm"] < 0.05) for row in rows)
        assert ax.get_title(loc="left").split("\n")[-2:] == [
            expected,
            f"{own['items'].max()} to {own['items'].min()} items",
        ]
    assert "Holm" in note
    assert "accuracy of finetune in percent" in note, "a classifier that the profile does not have has its own name"


def test_the_papers_form_has_the_tables_line_and_its_fit(tables):
    figure, _ = figures.threshold_fits.draw(tables, LOOK, "human")
    curves = figures.curves_of(tables, "human")
    for ax, (_, own) in zip(figure.axes, curves.groupby("row", sort=False), strict=True):
        points, line, *_ = ax.get_lines()
        rows = matching(own, {"corpus": "zero_shot"})
        assert points.get_xydata().tolist() == rows[["threshold", "accuracy"]].to_numpy().tolist()
        slope, start = np.polyfit(rows["threshold"], rows["accuracy"], 1)
        assert line.get_ydata() == pytest.approx(start + slope * rows["threshold"].to_numpy(), abs=1e-3)
        fits = [matching(own, {"corpus": name}).iloc[0] for name in ("zero_shot", "few_shot")]
        assert ax.get_title(loc="left").split("\n")[-2] == f"R² {fits[0]['r2']:.2f}, {fits[1]['r2']:.2f}"


def test_effects_stand_in_points_beside_odds_ratios(tables):
    figure, _ = figures.agreement_effects.draw(tables, LOOK, "human")
    assert [ax.get_xlabel() for ax in figure.axes] == ["points of accuracy", "odds ratio"] * 2
    assert [ax.get_xscale() for ax in figure.axes] == ["linear", "log"] * 2
    narrow, _ = figures.agreement_effects.draw(tables, Look.of(PROFILE, 3.3), "human")
    assert [ax.get_xlabel() for ax in narrow.axes] == ["points of accuracy", "odds ratio"] * 2
    assert narrow.axes[0].get_gridspec().ncols == 1


def test_arrows_lead_from_objective_to_subjective(tables):
    figure, note = figures.task_levels.draw(tables, LOOK, "")
    assert "12 personas" in note
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("1") == 2
    assert {"AG's News", "Relation classification"} <= set(texts)
