"""Table 1 and the figures of 03 and 06: what stands in them, from saved tables alone, at every size."""

import dataclasses

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from test_curves import REAL, accuracy
from test_curves import simulated as simulated_curve
from test_evaluation import simulated

from synthgap import tables
from synthgap.core.errors import SynthgapError
from synthgap.evaluation import figures
from synthgap.evaluation.claims import CLAIM_COLUMNS, claims
from synthgap.evaluation.gaps import OVER_TASKS_COLUMNS, evaluate, gap_by_subjectivity, gaps_to_reference
from synthgap.evaluation.learning_curves import curve_tables
from synthgap.evaluation.mixes import AS_MANY, EXAMPLES, mix_tables
from synthgap.evaluation.power import power_table
from synthgap.evaluation.table_1 import gaps_by_classifier, table_1, table_1_notes
from synthgap.evaluation.training_curves import EPOCH_COLUMNS
from synthgap.figures import MARKERS, QUIET, Look, save_figure, style
from synthgap.tasks import load_profile, load_task

mpl.use("Agg")
NAMES = ["ag_news", "imdb", "tweet_irony", "humor", "sarcasm_news"]
BY_CLASSIFIER = (figures.learning_curves, figures.worth, figures.training_curves, figures.mixes, figures.augmentation)
PROFILE = load_profile("recorded")


@pytest.fixture(scope="module")
def result():
    chances = {"real": [0.9, 0.8], "zero_shot": [0.5, 0.4], "few_shot": [0.9, 0.9]}
    return evaluate([simulated(chances, 200, n, name) for n, name in enumerate(NAMES)], 200, 300)


def recorded_again(one):
    """The same predictions, as of three recordings of every corpus but the real one."""
    numbers = {corpus: np.array([1, 1, 2, 2, 3, 3]) for corpus in one.predicted if corpus != "real"}
    return dataclasses.replace(one, recordings=numbers | {"real": np.ones(2, int)})


@pytest.fixture(scope="module")
def several():
    """As `result`, of three recordings."""
    chances = {"real": [0.9, 0.9], "zero_shot": [0.5] * 6, "few_shot": [0.9] * 6}
    return evaluate([recorded_again(simulated(chances, 400, n, name)) for n, name in enumerate(NAMES)], 200, 300)


@pytest.fixture(scope="module")
def folder(result, several, tmp_path_factory):
    """The saved tables of 03 and 06."""
    random, found = np.random.default_rng(0), tmp_path_factory.mktemp("tables")
    scores = REAL | {("zero_shot", 100): 0.5, ("few_shot", 100): accuracy(50), ("few_shot", 30): accuracy(20)}
    points, worth = curve_tables([simulated_curve(random, scores)], resamples=100)
    chances = {EXAMPLES: 0.5, "few_shot": 0.6, "examples + few_shot": 0.7, AS_MANY: 0.8}
    chances |= {"real 10": 0.4, "real 10 + few_shot": 0.7, "real 50": 0.7, "real 50 + few_shot": 0.7}
    mixes, gains = mix_tables([simulated({mix: [chance] * 2 for mix, chance in chances.items()})], 100, 300)
    saved = {"gaps": result.gaps, "gap_by_subjectivity": gap_by_subjectivity(result.gaps, NAMES)}
    saved |= {"gaps_several": several.gaps, "learning_curves": points, "worth": worth, "mixes": mixes}
    epochs = [
        (task, "probe", corpus, run, epoch, 60 + 5 * epoch - 3 * run, 1 / epoch)
        for task in NAMES
        for run, corpus in enumerate(["real", "real", "zero_shot"])
        for epoch in range(1, 4 - run % 2)
    ]
    saved |= {"training_epochs": pd.DataFrame(epochs, columns=EPOCH_COLUMNS)}
    saved |= {"power": power_table(len(NAMES), gaps_to_reference(result.gaps), experiments=100)}
    saved |= {"llm_as_classifier": gaps_to_reference(result.gaps).assign(labels="llm_labels")}
    for name, table in (saved | {"augmentation": gains}).items():
        tables.write_csv(found / f"{name}.csv", table)
    return found


@pytest.fixture
def read(folder):
    """Reads a saved table; within the test, figures look as they do when they are saved."""
    with style():
        yield lambda name: tables.read_csv(folder, name)
    mpl.pyplot.close("all")


# ------------------------------------------------------------------------------------------------------------ Table 1


def test_table_1_puts_corpora_side_by_side_with_losses_and_stars(result):
    shown = table_1(result.table, result.gaps, PROFILE, "probe")
    assert shown.columns.tolist() == [
        *("Task", "Real", "Zero-shot", "Zero-shot − real", "Few-shot", "Few-shot − real", "Published, unverified")
    ]
    assert shown["Task"].tolist() == [
        load_task(name).title for name in ("ag_news", "imdb", "tweet_irony", "sarcasm_news", "humor")
    ]
    assert shown["Zero-shot − real"].str.fullmatch(r"−\d+\.\d°").all(), "one recording says nothing of another"
    assert shown["Real"].str.fullmatch(r"\d+\.\d ± \d+\.\d \[\d+\.\d, \d+\.\d\]").all()
    assert shown.loc[1, "Published, unverified"].endswith("/ –")


def test_classifiers_stand_side_by_side_on_the_tasks_that_all_of_them_have(result):
    fewer = [simulated({"real": [0.9, 0.8], "zero_shot": [0.7, 0.6]}, 200, n, name) for n, name in enumerate(NAMES[:2])]
    other = evaluate([dataclasses.replace(one, classifier="finetune") for one in fewer], 200, 300)
    both = pd.concat([result.gaps, other.gaps])
    shown = gaps_by_classifier(both, PROFILE)
    assert shown.columns.tolist() == ["Corpus", "Task", "probe", "finetune"]
    assert shown["Corpus"].unique().tolist() == ["Zero-shot"], "few-shot texts trained one classifier alone"
    assert shown["Task"].tolist() == [*(load_task(name).title for name in NAMES[:2]), "mean of 2 tasks"]
    gaps = gaps_to_reference(both).set_index(["classifier", "corpus", "task"])["gap"]
    for name in ("probe", "finetune"):
        cells = shown[name].str.replace("−", "-").str.split(" ").str[0].astype(float)
        assert cells.tolist() == pytest.approx([*(own := gaps[name]["zero_shot"][NAMES[:2]]), own.mean()], abs=0.051)
        assert shown[name][:2].str.fullmatch(r"[−+]\d+\.\d \[[−+]\d+\.\d, [−+]\d+\.\d\]").all()
    assert gaps_by_classifier(both[:0], PROFILE).empty


def test_notes_say_what_the_numbers_are(result):
    for profile in map(load_profile, ("demo", "recorded")):
        notes = " ".join(table_1_notes(result.table, profile))
        assert "unverified" in notes
        assert "Order of its figures: real / zero-shot / few-shot." in notes


def test_corpora_that_the_paper_does_not_have_stand_beside_no_published_figures():
    corpora = {"gpt4": {"file": "gpt4.csv", "title": "GPT-4"}, "claude": {"llm": "claude", "setting": "few_shot"}}
    compared = {
        "comparisons": {"llms": {"corpora": ["claude"], "reference": "gpt4"}},
        "training.augmentation": None,
        "training.decision": None,
    }
    profile = PROFILE.changed({"corpora": corpora, **compared})
    result = evaluate([simulated({"gpt4": [0.9], "claude": [0.5]}, 200, 0, name) for name in NAMES], 200, 300)
    shown = table_1(result.table, result.gaps, profile, "probe")
    assert shown.columns.tolist() == ["Task", "GPT-4", "Claude", "Claude − GPT-4"]
    assert "unverified" not in " ".join(table_1_notes(result.table, profile))
    published = profile.changed({"corpora.claude.published": "few_shot"})
    assert table_1(result.table, result.gaps, published, "probe")["Published, unverified"].tolist()[1] == "–"


# ------------------------------------------------------------------------------------------------------------ figures


@pytest.mark.parametrize("drawing", figures.DRAWINGS, ids=lambda drawing: drawing.name)
@pytest.mark.parametrize("width", [None, 3.3])
def test_figures_are_drawn_from_saved_tables_with_titles_labels_and_keys(read, drawing, width):
    look = Look.of(PROFILE, width)
    figure = drawing.drawn(read, look, "evidence of nothing, $5 {braces}", "probe" if drawing in BY_CLASSIFIER else "")
    axes = [ax for ax in figure.axes if ax.axison]
    assert all(ax.get_title(loc="left") for ax in axes)
    assert any(ax.get_legend() for ax in axes) or figure.legends
    assert any(ax.get_xlabel() or ax.get_ylabel() for ax in axes) or figure.get_supylabel()
    assert "evidence of nothing, $5 {braces}" in figure.get_supxlabel().replace("\n", " ")
    assert width is None or figure.get_figwidth() == width


def offsets(ax):
    return [tuple(np.round(point, 6)) for marks in ax.collections for point in marks.get_offsets()]


def test_the_gap_figure_shows_the_gaps(result, read):
    figure, _ = figures.gap_by_task.draw(read, Look.of(PROFILE), "")
    (ax,) = figure.axes
    expected = gaps_to_reference(result.gaps)
    drawn = {x for x, _ in offsets(ax)}
    assert {float(f"{gap:.6g}") for gap in expected["gap"]} <= {float(f"{x:.6g}") for x in drawn}
    assert next(label.get_text() for label in ax.get_yticklabels()) == "AG's News"
    low, high = ax.get_ylim()
    assert low > high, "the least subjective task stands on top"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *("Zero-shot", "Few-shot", "one recording: no p for new ones")
    ]
    hollow = sum((marks.get_facecolor() == 1).all(axis=1).sum() for marks in ax.collections)
    assert hollow == len(expected)


def test_marks_of_several_recordings_are_filled_where_another_would_show_the_gap(several, read):
    figure, _ = figures.gap_by_task.draw(read, Look.of(PROFILE), "several")
    (ax,) = figure.axes
    expected = gaps_to_reference(several.gaps)
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys[2:] == ["p < 0.05 (Holm), new recordings", "p ≥ 0.05", "these recordings", "new ones, too"]
    greys = {mpl.colors.to_hex(key.get_color()) for key in figure.legends[0].legend_handles[4:]}
    assert greys == {QUIET}, "fill and width are explained in no corpus's colour"
    hollow = sum((marks.get_facecolor() == 1).all(axis=1).sum() for marks in ax.collections)
    assert 0 < hollow == (expected["new_p_holm"] >= 0.05).sum() < len(expected)
    drawn = {round(float(x), 3) for lines in ax.collections for path in lines.get_paths() for x in path.vertices[:, 0]}
    for column in ("low", "high", "new_low", "new_high"):
        assert {round(float(x), 3) for x in expected[column]} <= drawn


def arrows_of(ax):
    """Places and directions of a figure's arrows, -1 to the left."""
    corners = len(figures.ARROW)
    marks = [one for one in ax.collections if len(one.get_paths()) and len(one.get_paths()[0].vertices) == corners]
    return sorted(
        (round(float(x), 3), np.sign(one.get_paths()[0].vertices[0][0]), one.get_sizes()[0] > 50)
        for one in marks
        for x, _ in one.get_offsets()
    )


def test_arrows_stand_where_only_a_bound_of_the_worth_is_known(read):
    figure, note = figures.worth.draw(read, Look.of(PROFILE), "probe")
    (ax,) = figure.axes
    assert arrows_of(ax) == [(0.1, -1, True)]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["Zero-shot", "Few-shot", "only a bound is known"]
    assert "Seeds: 3." in note


@pytest.mark.parametrize(
    ("worth", "arrows"),
    [
        ({"worth": 0.5, "low": 0.3, "high": 0.8}, []),
        ({"worth": 0.5, "low": 0, "high": 0.8}, [(0.2, -1, False)]),
        ({"worth": 0.5, "low": 0.3, "high": np.inf}, [(4, 1, False)]),
        ({"worth": 0.5, "low": 0, "high": np.inf}, [(0.2, -1, False), (4, 1, False)]),
        ({"worth": 0, "low": 0, "high": 0.4}, [(0.2, -1, True)]),
        ({"worth": np.inf, "low": 0, "high": np.inf}, [(0.2, -1, False), (4, 1, True)]),
        ({"worth": 0.5, "low": 0.3, "high": 0.8, "new_low": 0, "new_high": 0.9}, [(0.2, -1, False)]),
    ],
)
def test_an_end_of_an_interval_that_is_only_a_bound_has_an_arrow(read, worth, arrows):
    row = read("worth").head(1).assign(**{"least": 0.2, "most": 4.0, "seeds": 3, **worth})
    tables_of = {"worth": row, "learning_curves": read("learning_curves")}
    figure, note = figures.worth.draw(tables_of.get, Look.of(PROFILE), "probe")
    assert arrows_of(figure.axes[0]) == arrows
    assert ("thin: new ones" in note) == ("new_low" in worth)


def test_tasks_whose_points_have_one_seed_are_named_and_not_drawn(read):
    both = pd.concat([read("worth"), read("worth").assign(task="imdb", seeds=1)])
    given = {"worth": both, "learning_curves": read("learning_curves")}
    figure, note = figures.worth.draw(given.get, Look.of(PROFILE), "probe")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["Humor speech"]
    assert "one seed: imdb." in note
    with pytest.raises(SynthgapError, match="rest on one seed"):
        figures.worth.draw((given | {"worth": both.query("seeds == 1")}).get, Look.of(PROFILE), "probe")


def test_training_curves_are_drawn_as_far_as_all_runs_of_a_corpus_went(read):
    figure, _ = figures.training_curves.draw(read, Look.of(PROFILE), "probe")
    score, *_ = figure.axes
    assert [line.get_xydata().tolist() for line in score.get_lines()] == [
        [[1, 63.5], [2, 68.5]],  # of two runs on real texts, of 3 and of 2 epochs
        [[1, 59], [2, 64], [3, 69]],
    ]


def test_gains_by_amount_have_looks_that_no_corpus_has(read):
    look = Look.of(PROFILE)
    figure, _ = figures.augmentation.draw(read, look, "probe")
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys[:2] == ["10 real texts per label", "50 real texts per label"]
    colours = {mpl.colors.to_hex(one) for marks in figure.axes[0].collections for one in marks.get_edgecolor()}
    assert not colours & {one.colour for one in look.corpora.values()}
    assert not set("*hpd8") & {*MARKERS, "s"}


def test_an_unknown_classifier_or_nothing_to_draw_is_an_error_that_says_so(read):
    look = Look.of(PROFILE)
    with pytest.raises(SynthgapError, match=r"classifier 'prob' is unknown \(did you mean 'probe'\?\)"):
        figures.learning_curves.draw(read, look, "prob")
    alone = evaluate([simulated({"real": [0.9]})], 100, 100).gaps
    with pytest.raises(SynthgapError, match="no gap to draw"):
        figures.gap_by_task.draw(lambda name: alone, look, "")
    grown = pd.DataFrame({"task": "humor", "classifier": "c", "mix": ["real 5", "real 5 + zero_shot"], "seeds": 1})
    with pytest.raises(SynthgapError, match="no examples were mixed"):
        figures.mixes.draw(lambda name: grown, look, "c")


def test_the_same_figure_gives_the_same_bytes_with_its_footer(tmp_path, read):
    contents = []
    for name in ("one", "two"):
        figure = figures.gap_by_task.drawn(read, Look.of(PROFILE), "evidence of nothing, $5 {braces}")
        written = save_figure(figure, tmp_path / name, "gap")
        contents.append([path.read_bytes() for path in written])
        assert any("evidence of nothing" in text.get_text() for text in figure.findobj(mpl.text.Text))
    assert contents[0] == contents[1]
    assert [path.suffix for path in written] == [".pdf", ".png"]


# ------------------------------------------------------------------------------------------------------------- claims


def test_claims_are_answered_in_sentences_made_from_the_numbers():
    means = pd.DataFrame(
        [
            ("probe", "zero_shot", "real", "macro_f1", 10, 3, -8.04, -10.0, -6.0, 0.001, -14.0, 1.5, 0.1),
            ("probe", "zero_shot", "real", "accuracy", 10, 3, -99.0, -99.0, -99.0, 0.0, -99.0, -99.0, 0.0),
            ("probe", "few_shot", "real", "macro_f1", 10, 3, -3.0, -4.0, -2.0, 0.001, -5.0, -1.0, 0.01),
            ("probe", "few_shot", "zero_shot", "macro_f1", 10, 1, 5.0, 4.0, 6.0, 0.001, *[np.nan] * 3),
        ],
        columns=OVER_TASKS_COLUMNS,
    )
    rho = {"n": 10, "rho": -0.71, "low": -0.94, "high": -0.06, "p": 0.029, "p_holm": 0.118}
    found = claims(means, pd.DataFrame([{"classifier": "probe", "corpus": "zero_shot", **rho}]), PROFILE)
    assert found.columns.tolist() == CLAIM_COLUMNS
    assert found["answer"].tolist() == [
        "−8.0 points, mean over 10 tasks; 95 % interval [−10.0, −6.0] for these 3 recordings, [−14.0, +1.5] for new "
        "ones. It cannot be told from 0.",
        "−3.0 points, mean over 10 tasks; 95 % interval [−4.0, −2.0] for these 3 recordings, [−5.0, −1.0] for new "
        "ones. A loss.",
        "+5.0 points, mean over 10 tasks; 95 % interval [+4.0, +6.0] for this recording; what another would give is "
        "not known. A gain.",
        "Spearman's rho of gap and the paper's order −0.71 [−0.94, −0.06], 10 tasks; p = 0.029, p = 0.118 with Holm's "
        "correction over 1 correlations. Whether it does cannot be told.",
    ]
    assert found["question"].iloc[2] == "Do Few-shot texts do better than Zero-shot ones?"
    assert claims(means.head(0), pd.DataFrame(columns=["classifier", "corpus"]), PROFILE).empty
