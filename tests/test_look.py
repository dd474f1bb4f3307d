"""Tables, figures and what notebooks show: everything is escaped, footers are there, axes are given back."""

import csv
import dataclasses
import io
import itertools
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synthgap import tables
from synthgap.core.errors import SynthgapError
from synthgap.figures import DOUBLE, Drawing, Look, as_bytes, interval_panels, plot_intervals, save_figure
from synthgap.pipeline.drawings import drawing_of
from synthgap.pipeline.stages import open_stage
from synthgap.tasks import load_profile

mpl.use("Agg")
EVIL = "<script>alert('x')</script> | *b* _i_ $x^2$ & 50% #1 {a} \\ `c` [l](u) ~"


# -------------------------------------------------------------------------------------------------- escaping


def test_markdown_tables_hold_no_markup_of_a_text():
    out = tables.to_markdown(pd.DataFrame({"a": [EVIL + "\nsecond line"], "b|c": ["x"]}), "caption", [EVIL])
    assert "<script" not in out
    row = out.splitlines()[4]
    assert row.count(" | ") == 1
    assert "[76.2, 91.9]" in tables.to_markdown(pd.DataFrame({"a": ["85.0 [76.2, 91.9]"]}), "c", [])
    for sign in "*_`[$~":
        assert f"\\{sign}" in row


def test_latex_tables_hold_no_command_of_a_text():
    out = tables.to_latex(pd.DataFrame({"a": [EVIL], "b": [r"\input{/etc/passwd}"]}), "50% & more", ["note_1"])
    assert r"\input" not in out
    assert r"\textbackslash input\{/etc/passwd\}" in out
    assert r"\caption{50\% \& more}" in out
    assert r"50\%" in out
    assert r"note\_1" in out
    assert out.count("&") - out.count(r"\&") == 2


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1"])
def test_csv_texts_are_no_formulas(tmp_path, text):
    path = tables.write_csv(tmp_path / "t.csv", pd.DataFrame({"text": [text, 'a,"b"\nc'], "number": [-1.5, np.nan]}))
    rows = list(csv.reader(io.StringIO(path.read_text())))
    assert rows[1] == [f"'{text}", "-1.5"]
    assert rows[2] == ['a,"b"\nc', ""]


# ------------------------------------------------------------------------------------------- tables and footers


def test_a_stage_saves_a_table_in_three_forms_with_its_footer(made):
    stage = open_stage("01", "made")
    gaps = pd.DataFrame({"task": ["humor"], "gap": [-1.25], "p_holm": [0.0001]})
    shown = stage.save_table("gaps", gaps, "Gaps", notes=["A note."]).data
    folder = stage.folder / "tables"
    assert sorted(path.name for path in folder.iterdir()) == ["01_generation.md", "01_generation.tex", "gaps.csv"]
    pd.testing.assert_frame_equal(stage.table("gaps"), gaps)
    for text in (shown, *((folder / f"01_generation.{form}").read_text() for form in ("md", "tex"))):
        assert "A note." in text
        assert "evidence of nothing" in text
        assert ("Claude (Anthropic)" in text) == (text != shown), "a notebook says once who wrote, files each time"
    short, long = (tables.escape_markdown(said) for said in (tables.source(stage.profile), stage.footer))
    in_a_box = shown.replace(short, long).replace(f"<div style='{tables.SCROLLS}'>\n\n", "").replace("\n\n</div>", "")
    stage.save_shown("others", gaps, "Other gaps")
    assert tables.read_shown(folder, "01_generation")["gaps"].strip() == in_a_box.replace("\u00a0", " ").strip()
    assert list(tables.read_shown(folder, "01_generation")) == ["gaps", "others"]
    assert "−1.250" in shown
    assert "&lt;0.001" in shown


def test_a_table_without_a_caption_is_for_programs_alone(made):
    stage = open_stage("01", "made")
    assert stage.save_table("points", pd.DataFrame({"x": [1, 2]})).data == "`tables/points.csv`: 2 rows"
    assert [path.name for path in (stage.folder / "tables").iterdir()] == ["points.csv"]


def test_a_table_without_rows_says_so(made):
    stage = open_stage("01", "made")
    shown = stage.save_shown("none", pd.DataFrame(columns=["task"]), "Nothing")
    assert tables.NO_ROWS in shown.data
    for form in ("md", "tex"):
        assert tables.NO_ROWS in (stage.folder / "tables" / f"{stage.name}.{form}").read_text()


def test_a_notebook_shows_only_columns_with_something_in_them_and_breaks_no_short_cell():
    text = "a long cell breaks where it must, never in [−1.2, +0.4] and two-sided"
    frame = pd.DataFrame({"source": ["a few words"], "new_low": [np.nan], "text": [text], "gap": [-0.5]})
    shown = tables.to_look_at(tables.rounded(frame), "Gaps", ["A note."]).data
    assert "new_low" not in shown
    assert "a\u00a0few\u00a0words" in shown
    assert "where it must, never in [−1.2,\u00a0+0.4] and" in shown
    assert shown.startswith("**Gaps**\n\n<div")
    assert shown.endswith("</div>\n\nA note.\n")


def test_columns_of_words_begin_at_the_left_and_numbers_end_at_the_right():
    frame = pd.DataFrame({"task": ["humor"] * 2, "corpus": ["real", "few_shot"], "low": ["−0.5", "no bound"]})
    frame["gap"], frame["note"] = ["–", "< 72.7 [60.3, 85.1]* on 33 of them"], ["3 of 10 people", "–"]
    assert "|:---|:---|---:|---:|:---|" in re.sub("-{3,}", "---", tables.to_markdown(frame, "Some", []))
    assert tables.to_markdown(frame.iloc[:0], "None", [])


def test_no_line_ends_within_an_interval():
    said = "−0.5 [−1.2, +0.4] of [0, 1], 96 [65, no end]; [a list, of words, of three] and [see this, or that]"
    whole = (
        "−0.5 [−1.2,\u00a0+0.4] of [0,\u00a01], 96 [65, no end]; [a list, of words, of three] and [see this, or that]"
    )
    assert tables.unbroken(said) == whole
    assert "[−1.2,\u00a0+0.4]" in tables.notice(said).data


def test_numbers_are_rounded_for_people_and_what_is_undefined_is_a_dash():
    frame = pd.DataFrame({"gap": [-0.12345, np.nan], "n": [3, 40000], "p": [0.00012, 0.0456], "name": ["a", None]})
    assert tables.rounded(frame.assign(gap=np.inf))["gap"].tolist() == ["–", "–"]
    shown = tables.rounded(frame)
    assert shown.to_numpy().tolist() == [["−0.123", "3", "<0.001", "a"], ["–", "40000", "0.046", "–"]]
    assert (tables.format_p(0.0009), tables.format_p(0.0013)) == ("p < 0.001", "p = 0.001")


def test_texts_come_back_from_a_csv_as_they_were():
    for text in ("=1+1", "@x", "'quoted'", "plain", "-"):
        assert tables.unescape_csv(tables.escape_csv(text)) == text


@pytest.mark.parametrize(("name", "words"), [("demo", "evidence of nothing"), ("recorded", "small-scale rerun")])
def test_a_footer_says_what_the_evidence_is_and_who_wrote_the_texts(name, words):
    profile = load_profile(name)
    assert words in tables.footer(profile)
    assert "Claude (Anthropic), recorded" in tables.footer(profile)


def test_nothing_says_that_an_llm_wrote_what_another_did():
    llms = {
        "claude": {"backend": "recorded", "recording": "claude"},
        "mine": {"backend": "openai", "model": "mine-7b", "base_url": "http://localhost:1/v1"},
    }
    corpora = {
        "plain": {"llm": "mine", "setting": "zero_shot"},
        "theirs": {"file": "x.csv", "written_by": "GPT-4"},
        "unknown": {"file": "some/where/y.csv"},
    }
    profile = load_profile(
        "demo",
        {"llms": llms, "corpora": corpora, "comparisons": {}, "training.augmentation": None, "training.decision": None},
    )
    footer = tables.footer(profile)
    assert "plain: mine-7b at http://localhost:1;" in footer
    assert "theirs: GPT-4" in footer
    assert "unknown: imported from 'y.csv', which does not say who wrote them" in footer
    assert "Claude" not in footer


# -------------------------------------------------------------------------------------------------- figures


def look_of(*names):
    corpora = {name: {"llm": "claude", "setting": "zero_shot"} for name in names}
    return Look.of(
        load_profile(
            "demo", {"corpora": corpora, "comparisons": {}, "training.augmentation": None, "training.decision": None}
        )
    )


def test_each_corpus_has_a_look_of_its_own_that_others_do_not_change():
    look = look_of(*(f"corpus_{number}" for number in range(16)))
    assert next(iter(look.corpora)) == "real"
    looks = [(series.colour, series.marker) for series in look.corpora.values()]
    assert len(set(looks)) == len(looks)
    assert len({series.colour for series in list(look.corpora.values())[:9]}) == 9
    fewer = look_of("corpus_0", "corpus_1")
    assert fewer.corpora.items() <= look.corpora.items()
    assert look.corpora["corpus_0"].title == "Corpus 0"
    assert look.present(pd.DataFrame({"corpus": ["corpus_3", "real", "corpus_3"]})) == ["real", "corpus_3"]


def seen(colour: str, matrix: np.ndarray) -> np.ndarray:
    """A colour as a colour-blind person sees it, in the space CIELAB."""
    linear = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(colour)])
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(
        matrix @ linear, 0, 1
    )
    x, y, z = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in xyz / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira and Fernandes 2009, full severity
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)


@pytest.mark.parametrize("matrix", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["all", "deuteranopia", "protanopia"])
def test_colours_of_eight_corpora_can_be_told_apart_by_the_colour_blind(matrix):
    colours = [series.colour for series in look_of(*"abcdefgh").corpora.values()]
    for one, other in itertools.combinations(colours, 2):
        assert np.linalg.norm(seen(one, matrix) - seen(other, matrix)) > 8, (one, other)


def intervals(look, **options):
    table = pd.DataFrame(
        [(task, corpus, value) for task in ("humor", "imdb") for value, corpus in enumerate(("a", "b"), start=1)],
        columns=["task", "corpus", "gap"],
    )
    table = table.assign(low=table["gap"] - 1, high=table["gap"] + 1, sure=[True, False, True, True])
    figure, ax = plt.subplots()
    series = {name: look.corpora[name] for name in ("a", "b")}
    titles = ["Movies", "Humor"]
    drawn = plot_intervals(table, ax, series, rows=["imdb", "humor"], titles=titles, value="gap", **options)
    assert drawn is ax
    return figure, ax


def test_a_single_row_has_room_for_its_marks():
    look, label = look_of(*"abcd"), "points of macro-F1 over real texts alone"
    table = pd.DataFrame({"task": "humor", "corpus": list("abcd"), "gap": range(4), "low": 0, "high": 4})
    figure = interval_panels(
        table.assign(panel="logistic regression on embeddings"), look, value="gap", panel="panel", label=label
    )
    as_bytes(figure, "png")
    assert figure.axes[0].get_window_extent().height / figure.dpi > 0.3


def test_intervals_are_drawn_on_the_given_axes_row_by_row():
    look = look_of("a", "b")
    figure, ax = intervals(look, filled="sure")
    points = [tuple(xy) for marks in ax.collections for xy in np.atleast_2d(marks.get_offsets())]
    points = [xy for xy in points if not np.isnan(xy).any()]
    for x, y in ((1, -0.16), (2, 0.16), (1, 0.84), (2, 1.16)):
        assert any(np.allclose((x, y), point) for point in points), (x, y)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["Movies", "Humor"]
    low, high = ax.get_ylim()
    assert low > high, "the first row stands on top"
    handles, labels = ax.get_legend_handles_labels()
    assert labels == ["A", "B"]
    faces = [mpl.colors.to_hex(handle.get_facecolor()[0]) for handle in handles]
    assert faces == [look.corpora[name].colour for name in "ab"], "keys are always solid"
    hollow = [
        mpl.colors.to_hex(face)
        for marks in ax.collections
        for face in marks.get_facecolor()
        if mpl.colors.to_hex(face) == "#ffffff"
    ]
    assert len(hollow) == 1
    plt.close(figure)


def drawing(name="gap"):
    def draw(read, look, part):
        figure, (ax,) = look.panels(1, 2)
        ax.plot(read("gaps")["gap"])
        ax.set_title(part)
        return figure, "A note, $5 {braces}."

    return Drawing(name, "What it shows.", draw)


def test_a_figure_is_drawn_from_tables_with_its_note_and_footer(tmp_path):
    contents = []
    for folder in ("one", "two"):
        figure = drawing().drawn(
            lambda name: pd.DataFrame({"gap": [1, 2]}), look_of("a"), "evidence of nothing", "part"
        )
        texts = [text.get_text() for text in figure.findobj(mpl.text.Text)]
        assert "evidence of nothing" in texts
        assert figure.caption == "What it shows. A note, $5 {braces}. evidence of nothing"
        assert "part" in texts
        written = save_figure(figure, tmp_path / folder, "gap")
        contents.append([path.read_bytes() for path in written])
        plt.close(figure)
    assert contents[0] == contents[1], "the same figure gives the same bytes"
    assert [path.suffix for path in written] == [".pdf", ".png"]


def test_a_figure_keeps_its_caption_in_every_form_and_says_it_in_notebooks(monkeypatch):
    figure = drawing().drawn(lambda name: pd.DataFrame({"gap": [1, 2]}), look_of("a"), "nothing", "part", "a − footer")
    caption = "What it shows. A note, $5 {braces}. a − footer"
    assert Image.open(io.BytesIO(as_bytes(figure, "png"))).text == {"Description": caption}
    assert caption.encode("utf-16-be")[:40] in as_bytes(figure, "pdf").replace(b"\\", b"")
    assert caption in as_bytes(figure, "svg", exact=True).decode()
    shown = []
    monkeypatch.setattr("synthgap.figures.display", shown.append)
    figure._ipython_display_()
    assert [one.data for one in shown[1:]] == [tables.escape_markdown(caption.removesuffix(" a − footer"))]
    assert shown[0].alt == "What it shows. (part)"
    plt.close(figure)


def test_a_figures_name_leads_to_its_drawing_and_part(monkeypatch):
    drawings = [drawing("gap"), drawing("gap_by_task"), drawing("maps")]
    monkeypatch.setattr("synthgap.pipeline.drawings.DRAWINGS", drawings)
    assert drawing_of("gap_by_task_probe") == (drawings[1], "probe")
    assert drawing_of("gap_by_other") == (drawings[0], "by_other")
    assert drawing_of("maps") == (drawings[2], "")
    with pytest.raises(SynthgapError, match="nothing here draws a figure 'mapsy'"):
        drawing_of("mapsy")


def test_panels_are_as_many_in_a_line_as_fit():
    for width, columns in ((None, 4), (3.3, 2), (1.5, 1)):
        figure, axes = dataclasses.replace(look_of("a"), width=width).panels(6, 2)
        assert len(axes) == 6
        assert axes[0].get_gridspec().ncols == columns
        assert figure.get_figwidth() == (width or DOUBLE)
        plt.close(figure)


# -------------------------------------------------------------------------------------------------------- small things


@pytest.mark.parametrize(
    ("hours", "shown"),
    [
        (0.001, "1 minute"),
        (1.0, "60 minutes"),
        (30, "30.0 hours"),
        (72, "3.0 days"),
        (float("nan"), "a time that nobody measured"),
    ],
)
def test_hours_as_people_read_them(hours, shown):
    assert tables.format_hours(hours) == shown


@pytest.mark.parametrize(
    ("seeds", "shown"),
    [
        ({"humor": 3, "imdb": 3}, "3"),
        ({"humor": 1, "imdb": 1}, "1"),
        ({"humor": 3, "imdb": 1, "sms_spam": 3, "ag_news": 1, "relation": 3}, "3; 1 on ag_news, imdb"),
        ({"humor": 1, "imdb": 1, "sms_spam": 3}, "1; 3 on sms_spam"),
        ({"humor": 1, "imdb": 2}, "2; 1 on humor"),
    ],
)
def test_intervals_of_one_seed_say_what_they_do_not_hold(seeds, shown):
    rows = pd.DataFrame({"task": [*seeds] * 2, "seeds": [*seeds.values()] * 2})
    assert tables.seeds_shown(rows) == shown
    several, one = max(seeds.values()) > 1, 1 in seeds.values()
    taken = " What another training would change is taken from other tasks where there is one seed."
    alone = " With one seed, intervals hold test items alone, and not what another training would change."
    assert tables.seeds_note(rows) == f"Seeds: {shown}." + (taken if several else alone) * one


def test_points_of_a_task_may_have_more_seeds_than_others():
    rows = pd.DataFrame({"task": ["humor", "humor", "imdb", "imdb"], "seeds": [3, 20, 1, 3]})
    assert tables.seeds_note(rows).startswith("Seeds: at least 3; 1 on imdb. What another training")
