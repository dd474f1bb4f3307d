"""Tables, figures and what notebooks show: everything is escaped, footers are there, axes are given back."""

import csv
import io

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from synthgap import figures, show, tables
from synthgap.config import load_profile
from synthgap.evaluation import evaluate, gap_by_subjectivity
from synthgap.generation import Turn
from synthgap.llm import Answer, Conversation, Message
from synthgap.tasks import load_task

mpl.use("Agg")
EVIL = "<script>alert('x')</script> | *b* _i_ $x^2$ & 50% #1 {a} \\ `c` [l](u) ~"


@pytest.fixture(scope="module")
def result():
    from test_evaluation import outcome

    names = ["ag_news", "imdb", "tweet_irony", "humor", "sarcasm_news"]
    return evaluate(
        [
            outcome({"real": [0.9, 0.8], "zero_shot": [0.5, 0.4], "few_shot": [0.9, 0.9]}, 200, n, name)
            for n, name in enumerate(names)
        ],
        200,
        300,
    )


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
    assert r"\textbackslash{}input\{/etc/passwd\}" in out
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


def test_html_shows_texts_as_texts():
    task = load_task("sms_spam")
    evil = task.model_copy(update={"title": EVIL, "question": EVIL, "labels": {"ham": EVIL, "spam": "x"}})
    talk = Conversation("sms_spam", "few_shot", "ham", (Message("system", EVIL), Message("user", EVIL)))
    turn = Turn(talk, Answer(EVIL, "stop", None, EVIL), {"id-1": EVIL})
    frame = pd.DataFrame({"id": [EVIL], "text": [EVIL], "label": ["ham"]})
    for out in (
        show.task_cards([evil]),
        show.conversation(evil, turn, show_real_texts=True),
        show.conversation(evil, turn, show_real_texts=False),
        show.side_by_side(evil, {"real": frame, "zero_shot": frame}, show_real_texts=True),
        show.notice(EVIL),
    ):
        assert "<script" not in out.data
        assert "&lt;script&gt;" in out.data


def test_real_texts_are_hidden_unless_allowed():
    task = load_task("sms_spam")
    hidden = "a text of the real set"
    request = task.request("ham", 0, [hidden])
    talk = Conversation("sms_spam", "few_shot", "ham", (Message("system", "s"), Message("user", request)))
    turn = Turn(talk, Answer("1. a synthetic text", "stop", None, "m"), {"real-7": hidden})
    real = pd.DataFrame({"id": ["real-7"], "text": [hidden], "label": ["ham"]})
    columns = {"real": real, "few_shot": real.assign(id="s", text="a synthetic text")}
    for allowed in (True, False):
        for out in (show.conversation(task, turn, allowed), show.side_by_side(task, columns, allowed)):
            assert (hidden in out.data) == allowed
            assert ("[real-7: 6 words, not shown]" in out.data) != allowed
            assert "a synthetic text" in out.data


# ------------------------------------------------------------------------------------------- tables and footers


def test_table_1_puts_regimes_side_by_side_with_drops_and_stars(result):
    shown = tables.table_1(result.table, result.gaps, "probe")
    assert shown.columns.tolist() == [
        *("Task", "Real", "Zero-shot", "Zero-shot − real", "Few-shot", "Few-shot − real", "Published, unverified")
    ]
    assert shown["Task"].tolist() == [
        load_task(name).title for name in ("ag_news", "imdb", "tweet_irony", "sarcasm_news", "humor")
    ]
    assert shown["Zero-shot − real"].str.fullmatch(r"−\d+\.\d\*").all()
    assert shown["Real"].str.fullmatch(r"\d+\.\d ± \d+\.\d \[\d+\.\d, \d+\.\d\]").all()
    assert shown.loc[1, "Published, unverified"].endswith("/ –")


def test_notes_say_what_the_numbers_are(result):
    for profile, words in (("demo", "evidence of nothing"), ("recorded", "small-scale rerun")):
        notes = " ".join(tables.table_1_notes(result.table, "probe", load_profile(profile)))
        assert words in notes
        assert "unverified" in notes
        assert "Claude (Anthropic), recorded" in notes


def test_a_table_is_written_in_three_forms(tmp_path, result):
    written = tables.write_table(tmp_path, "t", result.table, tables.rounded(result.table), "c", ["the footer"])
    assert sorted(path.name for path in written) == ["t.csv", "t.md", "t.tex"]
    assert len(pd.read_csv(tmp_path / "t.csv")) == len(result.table)
    for suffix in ("md", "tex"):
        assert "the footer" in (tmp_path / f"t.{suffix}").read_text()


# -------------------------------------------------------------------------------------------------- figures


def test_figures_draw_on_the_given_axes(result):
    import matplotlib.pyplot as plt

    words = pd.DataFrame(
        {
            "task": ["humor", "imdb"] * 6,
            "regime": ["real", "zero_shot", "few_shot"] * 4,
            "words": range(1, 13),
            "texts": range(1, 13),
        }
    )
    correlations = gap_by_subjectivity(result.gaps, ["ag_news", "imdb", "tweet_irony", "sarcasm_news", "humor"])
    order = tables.paper_order(["ag_news", "imdb", "tweet_irony", "sarcasm_news", "humor"])
    for draw in (
        lambda ax: figures.plot_lengths(words, ax),
        lambda ax: figures.plot_counts(words, ax),
        lambda ax: figures.plot_gap_by_task(result.gaps, ax),
        lambda ax: figures.plot_gap_by_subjectivity(result.gaps, order, correlations, ax, "probe"),
    ):
        figures.set_style()
        figure, axes = plt.subplots()
        assert draw(axes) is axes
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        assert axes.get_legend() is not None
        plt.close(figure)


def test_the_gap_figure_shows_the_gaps(result):
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    figures.plot_gap_by_task(result.gaps, ax)
    drawn = sorted(
        round(float(x), 6)
        for points in ax.collections
        for x, _ in np.atleast_2d(points.get_offsets())
        if len(points.get_offsets()) > 1
    )
    expected = result.gaps.query("metric == 'macro_f1' and baseline == 'real'")["gap"]
    assert set(np.round(expected, 6)) <= set(drawn)
    assert next(label.get_text() for label in ax.get_yticklabels()) == "AG's News"
    low, high = ax.get_ylim()
    assert low > high, "the least subjective task stands on top"


def test_the_same_figure_gives_the_same_bytes_with_its_footer(tmp_path, result):
    import matplotlib.pyplot as plt

    contents = []
    for folder in ("one", "two"):
        figures.set_style()
        figure, ax = plt.subplots()
        figures.plot_gap_by_task(result.gaps, ax)
        written = figures.save_figure(figure, tmp_path / folder, "gap", "evidence of nothing, $5 {braces}")
        contents.append([path.read_bytes() for path in written])
        assert any("evidence of nothing" in text.get_text() for text in figure.findobj(mpl.text.Text))
        plt.close(figure)
    assert contents[0] == contents[1]
    assert [path.suffix for path in written] == [".pdf", ".png", ".svg"]


# --------------------------------------------------------------------------------------- figures of 04 and 05


def test_two_groups_of_people_who_judged_one_task_are_two_rows():
    from matplotlib import pyplot as plt

    from synthgap import subjectivity_figures as plots

    rows = [
        {"task": "humor", "source": source, "term": term, "odds_ratio": ratio, "low": 0.9, "high": 2.0, "p_holm": 0.01}
        for source, ratio in (("human: the set's own annotators", 1.1), ("human: collected", 1.4))
        for term in ("agreement", "zero_shot x agreement")
    ]
    models = pd.DataFrame(rows)
    assert len(plots.task_sources(models)) == 2
    _, ax = plt.subplots()
    plots.plot_agreement_effects(models, "x", ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "Humor speech (the set's own annotators)",
        "Humor speech (collected)",
    ]
    items = pd.DataFrame({"task": "humor", "source": ["human: a", "human: a", "human: b"], "agreement": [1, 0.5, 0.7]})
    _, ax = plt.subplots()
    plots.plot_agreement(items, "x", ax)
    widths = [[bar.get_width() for bar in container] for container in ax.containers]
    assert np.array(widths).sum(axis=0).tolist() == [100, 100]
    assert widths[0] == [50, 0]
    plt.close("all")


def test_a_map_hides_real_texts_unless_allowed_and_escapes_all():
    from synthgap.diversity_figures import hover_map

    rows = [("real", "r1", "<b>secret</b>", 0.0, 1.0), ("few_shot", "f1", "<script>made up", 1.0, 0.0)]
    points = pd.DataFrame(rows, columns=["regime", "id", "text", "x", "y"]).assign(label="l", task="humor")
    hidden, shown = (hover_map(points, allowed).data for allowed in (False, True))
    assert "secret" not in hidden
    assert "[r1: 1 words, not shown]" in hidden
    assert "&lt;b&gt;secret" in shown
    for text in (hidden, shown):
        assert "&lt;script&gt;made up" in text
        assert "<script" not in text


def test_near_duplicates_are_listed_by_id_where_real_texts_are_not_shown():
    from synthgap import show
    from synthgap.config import load_profile
    from synthgap.data import load_real
    from synthgap.tasks import load_task

    data = load_real(load_task("humor"), load_profile("demo"))
    test = data.split("test").iloc[0]
    pairs = pd.DataFrame(
        [
            {
                "task": "humor",
                "regime": "few_shot",
                "synthetic_id": "s",
                "test_id": test["id"],
                "letters": 95,
                "cosine": 1,
            }
        ]
    )
    synthetic = {"humor": {"few_shot": pd.DataFrame({"id": ["s"], "text": ["<i>made</i>"]})}}
    hidden = show.near_duplicates(pairs, {"humor": data}, synthetic, False).data
    assert test["id"] in hidden
    assert test["text"] not in hidden
    assert "&lt;i&gt;made" in hidden
    assert "No such pair" in show.near_duplicates(pairs.head(0), {"humor": data}, synthetic, False).data


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
    assert tables.hours_shown(hours) == shown


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
    note = tables.seeds_note(rows)
    more = " With one seed, intervals hold test items alone, and not what another training would change."
    assert note == f"Seeds: {shown}." + (more if 1 in seeds.values() else "")
