"""Agreement by window of time, its trend, and how far panels of a few annotators are from many."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from synthgap.core.errors import SynthgapError
from synthgap.data.annotated import Judgements, load_judgements
from synthgap.subjectivity.agreement import item_agreement, mean_agreement
from synthgap.subjectivity.over_time import (
    MONTHS,
    SAME_PEOPLE,
    agreement_over_time,
    agreement_trends,
    left_out_in_words,
    over_time_answer,
    time_windows,
)
from synthgap.subjectivity.panel_size import expected, panel_answer, panel_sizes, panels_of
from synthgap.tasks import load_profile, load_task

FOLDER, DEMO = load_profile("recorded"), load_profile("demo")


@pytest.fixture
def posts(tmp_path, monkeypatch):
    """Writes rows (item, annotator, label, date) where the judgements of reddit_emotion lie, and reads them."""
    (tmp_path / "annotations").mkdir()
    monkeypatch.setenv("SYNTHGAP_DATA", str(tmp_path))

    def written(*rows: tuple[str, str, str, str], columns: str = "item_id annotator label date") -> Judgements:
        frame = pd.DataFrame(rows, columns=columns.split())
        frame.to_csv(tmp_path / "annotations" / "covidet_reddit_emotion.csv", index=False)
        found = load_judgements(load_task("reddit_emotion"), FOLDER)
        assert found is not None
        return found

    return written


def judged_in(*windows: tuple[str, str, int, int]) -> Judgements:
    """Windows of (month, the two who judge, items, of which they agree on so many); half of the rest says yes."""
    rows, dates = [], {}
    for month, people, items, agreed in windows:
        for n in range(items):
            item = f"{month}-{people}-{n}"
            dates[item] = pd.Timestamp(f"{month}-15")
            first = "present" if n % 2 else "absent"
            second = first if n < agreed else "absent" if n % 2 else "present"
            rows += [(item, people[0], first), (item, people[1], second)]
    frame = pd.DataFrame(rows, columns=["item_id", "annotator", "label"])
    return Judgements("reddit_emotion", "human: posts", {"joy": frame}, pd.Series(dates), {})


def test_of_several_labels_each_is_present_or_absent(posts):
    rows = [("p1", "a", "joy"), ("p1", "a", "fear"), ("p1", "a", "joy"), ("p1", "b", "joy"), ("p2", "a", "fear")]
    found = posts(*((*row, "2021-06-01") for row in rows))
    assert list(found.by_label) == ["fear", "joy"]
    joy = found.by_label["joy"].to_numpy().tolist()
    assert joy == [["p1", "a", "present"], ["p1", "b", "present"], ["p2", "a", "absent"]]
    assert found.by_label["fear"]["label"].tolist() == ["present", "absent", "present"]


def test_dates_that_cannot_be_read_are_counted_and_their_items_have_no_window(posts):
    dates = ["2021-06-01", "3 July 2021", "2021-07-04T10:00:00+02:00", "soon", "2021-13-01", ""]
    found = posts(*((f"p{n}", who, "joy", date) for n, date in enumerate(dates) for who in "ab"))
    assert found.left_out == {"items whose date cannot be read": 3}
    (said,) = left_out_in_words([found, replace(found, left_out={})])
    assert said.endswith("items whose date cannot be read: 3.")
    assert agreement_over_time([found]).query("windows == @MONTHS")["items"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        (
            ("p1", "a", "joy"),
            "item_id annotator label",
            r"'reddit_emotion' \(covidet_reddit_emotion\.csv\): no column date",
        ),
        (("p1", "", "joy", "2021-06-01"), "item_id annotator label date", "row 1 has an empty annotator"),
    ],
)
def test_a_faulty_table_of_judgements_is_named(posts, row, columns, message):
    with pytest.raises(SynthgapError, match=message):
        posts(row, columns=columns)


def test_without_such_a_table_one_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHGAP_DATA", str(tmp_path))
    assert load_judgements(load_task("reddit_emotion"), FOLDER) is None
    assert load_judgements(load_task("reddit_emotion"), DEMO) is None
    assert load_judgements(load_task("imdb"), FOLDER) is None
    assert agreement_over_time([]).empty
    assert over_time_answer(agreement_trends([])).startswith("No task of this profile has dated judgements")
    assert panel_answer(panel_sizes([])).startswith("No task of this profile has items that 30 people")


def test_windows_are_months_or_equally_many_items_without_dividing_a_date():
    days = [1, 2, 2, 2, 40, 41, 70, 71]
    dates = pd.Series(pd.Timestamp("2021-06-01") + pd.to_timedelta(days, unit="D"), index=list("abcdefgh"))
    assert time_windows(dates, MONTHS).tolist() == ["2021-06"] * 4 + ["2021-07"] * 2 + ["2021-08"] * 2
    halves = time_windows(dates, 2)
    assert halves.tolist() == ["1 of 2"] * 4 + ["2 of 2"] * 4
    assert len(set(time_windows(dates[1:4], 2))) == 1


def test_a_trend_is_the_slope_per_month_and_its_interval_holds_it():
    judged = judged_in(("2021-06", "ab", 40, 36), ("2021-07", "ab", 40, 32), ("2021-08", "ab", 40, 28))
    trends = agreement_trends([judged]).query("windows == @MONTHS").set_index("measure")
    agreement = trends.loc["agreement"]
    # of two, agreement is 1 or a half: it falls from 0.95 by 0.05 a month of 30.4 days
    assert agreement["change"] == pytest.approx(-0.05, abs=0.001)
    assert agreement["low"] < agreement["change"] < agreement["high"]
    assert trends.loc["alpha", "change"] == pytest.approx(-0.2, abs=0.01)
    assert agreement["used"] == 3


def test_a_change_of_people_alone_is_no_change_of_the_same_people():
    """One pair always agrees on 36 of 40, the other on 24; the former judges ever less."""
    months = [("2021-06", 60, 20), ("2021-07", 40, 40), ("2021-08", 20, 60)]
    judged = judged_in(
        *((month, "ab", n, n * 9 // 10) for month, n, _ in months),
        *((month, "cd", n, n * 6 // 10) for month, _, n in months),
    )
    trends = agreement_trends([judged]).query("windows == @MONTHS").set_index("measure")["change"]
    assert trends["agreement"] < -0.03
    assert trends[SAME_PEOPLE] == pytest.approx(0, abs=1e-9)
    windows = agreement_over_time([judged]).query("windows == @MONTHS")
    assert windows["people"].tolist() == [4, 4, 4]
    assert windows["people_kept"].tolist()[1:] == [pytest.approx(75), pytest.approx(75)]


def test_two_windows_or_small_ones_have_no_trend():
    two = judged_in(("2021-06", "ab", 40, 36), ("2021-07", "ab", 40, 20), ("2021-08", "ab", 19, 1))
    months = agreement_trends([two]).query("windows == @MONTHS")
    assert months["change"].isna().all()
    assert (months["note"] == "fewer than three windows with enough items").all()
    assert "too few months" in over_time_answer(months)
    assert "not in the trend" in agreement_over_time([two]).query("window == '2021-08'")["note"].iloc[0]


def test_the_mean_over_labels_and_its_interval_count_an_item_and_a_person_once():
    one = judged_in(("2021-06", "ab", 40, 36), ("2021-07", "ab", 40, 30), ("2021-08", "ab", 40, 33))
    both = Judgements(
        "reddit_emotion", one.source, {"joy": one.by_label["joy"], "fear": one.by_label["joy"]}, one.dates, {}
    )
    months = agreement_trends([both]).query("windows == @MONTHS and measure == 'alpha'").set_index("label")
    columns = ["change", "low", "high"]
    # the same said twice is no more than said once
    assert months.loc["mean of 2", columns].tolist() == pytest.approx(months.loc["joy", columns].tolist())


def test_mean_agreement_is_that_of_the_items_and_varies_with_who_judges():
    random = np.random.default_rng(0)
    rows = [(f"i{n}", f"a{who}", "xy"[random.integers(2)]) for n in range(50) for who in random.permutation(9)[:4]]
    frame = pd.DataFrame(rows, columns=["item_id", "annotator", "label"])
    found = mean_agreement(frame)
    assert found.value == pytest.approx(item_agreement(frame, ["x", "y"])["agreement"].mean())
    items, _ = found.parts()
    assert items.variance == pytest.approx(item_agreement(frame, ["x", "y"])["agreement"].var() / 50)
    with pytest.raises(SynthgapError, match="at least two annotations"):
        mean_agreement(frame.drop_duplicates("item_id"))


# --------------------------------------------------------------------------------------------------------------- panels


def test_panels_are_all_ways_to_choose_among_the_labels():
    assert sorted(map(tuple, panels_of(2, 2).tolist())) == [(0, 2), (1, 1), (2, 0)]
    ways = panels_of(5, 3)
    assert len(ways) == 21
    assert (ways.sum(axis=1) == 5).all()


def test_what_panels_give_is_as_worked_out_by_hand():
    seven_of_ten, tie, all_of_four = expected(np.array([[7, 3], [5, 5], [4, 0]]), 3).itertuples()
    assert seven_of_ten.mean == pytest.approx(0.37 + 0.63 * 2 / 3)
    assert seven_of_ten.same == pytest.approx(0.784)
    assert seven_of_ten.error == pytest.approx(0.37 * 0.3 + 0.63 * (0.7 - 2 / 3))
    assert np.isnan(tie.same)
    assert (all_of_four.mean, all_of_four.error, all_of_four.same, all_of_four.tied) == (1, 0, 1, 0)
    assert expected(np.array([[7, 3]]), 2)["tied"].tolist() == [pytest.approx(0.42)]


def test_what_panels_give_is_what_drawn_ones_give():
    random = np.random.default_rng(0)
    counts = random.multinomial(40, [0.5, 0.3, 0.2], size=6)
    drawn = random.multinomial(5, counts / 40, size=(4000, 6))
    found = expected(counts, 5)
    np.testing.assert_allclose(found["mean"], (drawn.max(axis=2) / 5).mean(axis=0), atol=0.01)
    error = np.abs(drawn.max(axis=2) / 5 - found["all"].to_numpy()).mean(axis=0)
    np.testing.assert_allclose(found["error"], error, atol=0.01)


def judged_by_many(chance: np.ndarray, people: int = 45) -> Judgements:
    random = np.random.default_rng(0)
    rows = [
        (f"i{n}", f"a{who}", "yes" if random.random() < p else "no")
        for n, p in enumerate(chance)
        for who in range(people)
    ]
    frame = pd.DataFrame(rows, columns=["item_id", "annotator", "label"])
    return Judgements("humor", "human: jokes", {"": frame}, pd.Series(dtype="datetime64[ns]"), {})


def test_larger_panels_are_nearer_to_all_and_small_ones_agree_too_much():
    table = panel_sizes([judged_by_many(np.random.default_rng(1).uniform(0.1, 0.9, 30))]).set_index("annotators")
    assert table["error"].is_monotonic_decreasing
    assert table["correlation"].is_monotonic_increasing
    assert table.loc[3, "agreement"] > table.loc[30, "agreement"] > table.loc[30, "agreement_of_all"]
    assert ((table["error_low"] < table["error"]) & (table["error"] < table["error_high"])).all()
    assert table.loc[3, "tied"] == 0 < table.loc[2, "tied"]
    assert "30 items judged by 45 to 45 of 45 people" in panel_answer(table.reset_index())


def test_unanimous_items_need_no_more_than_two():
    table = panel_sizes([judged_by_many(np.array([0.0, 1.0] * 12), 30)])
    assert (table["error"] == 0).all()
    assert (table["same_majority"] == 100).all()
    assert table["correlation"].isna().all()


def test_items_that_few_judged_tell_nothing_of_panels():
    assert panel_sizes([judged_by_many(np.full(25, 0.5), 29)]).empty
    assert panel_sizes([judged_in(("2021-06", "ab", 40, 36))]).empty
