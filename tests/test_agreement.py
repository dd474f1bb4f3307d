"""Agreement and Krippendorff's alpha: the worked example, the package krippendorff, and faulty annotators."""

import krippendorff
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthgap.core.errors import SynthgapError
from synthgap.data.annotated import check_annotations
from synthgap.subjectivity.agreement import item_agreement, krippendorff_alpha

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C: four observers, twelve units
WORKED_EXAMPLE = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""


def annotations(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["item_id", "annotator", "label"])


def worked_example() -> pd.DataFrame:
    rows = []
    for observer, line in enumerate(WORKED_EXAMPLE.split("\n")[1:-1]):
        rows += [(f"u{unit}", f"o{observer}", label) for unit, label in enumerate(line.split()) if label != "."]
    return annotations(*rows)


def test_the_worked_example_has_the_published_alpha():
    found = krippendorff_alpha(worked_example())
    assert round(found.alpha, 3) == 0.743
    assert found.items == 11  # the twelfth unit has one value
    assert found.low < found.alpha < found.high


@given(st.lists(st.lists(st.sampled_from("abc."), min_size=4, max_size=4), min_size=3, max_size=25))
def test_alpha_is_that_of_the_package_krippendorff(table):
    rows = [(f"i{i}", f"a{a}", label) for i, line in enumerate(table) for a, label in enumerate(line) if label != "."]
    frame = annotations(*rows)
    pairable = frame[frame.groupby("item_id")["label"].transform("size") >= 2]
    found = krippendorff_alpha(frame)
    if pairable["label"].nunique() < 2:
        assert np.isnan(found.alpha)
        assert found.note.startswith("undefined")
        return
    codes = {"a": 0, "b": 1, "c": 2, ".": np.nan}
    matrix = np.array([[codes[label] for label in line] for line in table]).T
    assert found.alpha == pytest.approx(krippendorff.alpha(matrix, level_of_measurement="nominal"), abs=1e-9)


def test_the_interval_covers_the_alpha_of_the_population_about_as_often_as_it_says():
    random = np.random.default_rng(0)

    def sample(items: int) -> pd.DataFrame:
        truth = random.integers(2, size=items)
        said = np.where(random.random((items, 3)) < 0.85, truth[:, None], 1 - truth[:, None])
        return annotations(*((f"i{i}", f"a{a}", str(said[i, a])) for i in range(items) for a in range(3)))

    population = krippendorff_alpha(sample(20000)).alpha
    found = [krippendorff_alpha(sample(80)) for _ in range(60)]
    covered = np.mean([one.low <= population <= one.high for one in found])
    assert 0.85 <= covered <= 1.0
    assert np.mean([one.high - one.low for one in found]) < 0.5


def test_the_interval_is_that_of_a_jackknife_over_items_and_over_annotators():
    """Left out one by one, items and annotators give the variance of log(1 - alpha) nearly."""
    frame = judged(np.random.default_rng(2), items=60, annotators=12, each=12, bias=0.8)

    def jackknife(column: str) -> float:
        left = [np.log(1 - krippendorff_alpha(part).alpha) for part in without_each(frame, column)]
        return (len(left) - 1) * float(np.var(left))

    found, items = krippendorff_alpha(frame), krippendorff_alpha(frame, persons=False)
    for one, variance in ((items, jackknife("item_id")), (found, jackknife("item_id") + jackknife("annotator"))):
        half = (np.log(1 - one.low) - np.log(1 - one.high)) / 2
        assert 1.85 < half / np.sqrt(variance) < 2.35  # a t quantile of 11 degrees of freedom at least
    assert found.alpha == items.alpha
    assert found.low < items.low < items.high < found.high


def test_annotators_who_differ_widen_the_interval_to_what_it_has_to_be():
    """Few annotators with an inclination of each: over items alone the interval holds the truth too seldom."""
    random = np.random.default_rng(0)
    population = krippendorff_alpha(judged(random, items=1500, annotators=400, each=20, bias=2.0)).alpha
    held = {True: [], False: []}
    for _ in range(150):
        frame = judged(random, items=80, annotators=6, each=6, bias=2.0)
        for persons, found in held.items():
            one = krippendorff_alpha(frame, persons)
            found.append(one.low <= population <= one.high)
    assert 0.90 <= np.mean(held[True]) <= 1
    assert np.mean(held[False]) < 0.90


def test_annotations_in_another_order_or_of_other_names_have_the_same_interval():
    frame = worked_example()
    found = krippendorff_alpha(frame)
    names = {name: f"zz{place}" for place, name in enumerate(sorted(set(frame["annotator"]), reverse=True))}
    other = krippendorff_alpha(frame.assign(annotator=frame["annotator"].map(names)).sample(frac=1, random_state=1))
    np.testing.assert_allclose([other.alpha, other.low, other.high], [found.alpha, found.low, found.high], rtol=1e-9)


def judged(random: np.random.Generator, items: int, annotators: int, each: int, bias: float) -> pd.DataFrame:
    """Items that `each` of the annotators judged, who are inclined to say yes by so many logits more or less."""
    inclination, truth = random.normal(0, bias, annotators), random.normal(0, 3, items)
    who = np.array([random.permutation(annotators)[:each] for _ in range(items)])
    said = random.random(who.shape) < 1 / (1 + np.exp(-(truth[:, None] + inclination[who])))
    places = np.repeat(np.arange(items), each)
    return pd.DataFrame({"item_id": places, "annotator": who.ravel(), "label": said.ravel().astype(str)})


def without_each(frame: pd.DataFrame, column: str) -> list[pd.DataFrame]:
    return [frame[frame[column] != value] for value in frame[column].unique()]


def test_unanimous_annotators_are_told_apart_from_one_label_only():
    one = krippendorff_alpha(annotations(("1", "a", "x"), ("1", "b", "x"), ("2", "a", "y"), ("2", "b", "y")))
    assert one.alpha == 1
    assert one.note == "1: unanimous on every item"
    assert np.isnan([one.low, one.high]).all()  # nothing varies, so nobody knows how much another alpha would
    other = krippendorff_alpha(annotations(("1", "a", "x"), ("1", "b", "x"), ("2", "a", "x"), ("2", "b", "x")))
    assert np.isnan(other.alpha)
    assert other.note == "undefined: every annotation is the same label"


def test_one_annotator_has_no_agreement():
    alone = annotations(("1", "a", "x"), ("2", "a", "y"))
    assert krippendorff_alpha(alone).note == "undefined: no item has two annotations"
    with pytest.raises(SynthgapError, match="2 items by 1 annotators, and none has two"):
        item_agreement(alone, ["x", "y"])


def test_agreement_is_the_share_of_the_most_frequent_label():
    rows = [("1", "a", "x"), ("1", "b", "x"), ("1", "c", "y"), ("2", "a", "x"), ("2", "b", "y"), ("3", "a", "x")]
    found = item_agreement(annotations(*rows), ["x", "y", "z"])
    assert found.index.tolist() == ["1", "2"]
    assert found["agreement"].tolist() == [pytest.approx(2 / 3), 0.5]
    assert found["majority"].tolist() == ["x", ""]
    assert found["annotations"].tolist() == [3, 2]


def test_repeats_count_once_and_contradictions_not_at_all():
    rows = [("1", "a", "x"), ("1", "a", "x"), ("1", "b", "x"), ("1", "b", "y"), ("2", "a", "y")]
    clean, counts = check_annotations(annotations(*rows), ["x", "y"])
    assert clean.to_numpy().tolist() == [["1", "a", "x"], ["2", "a", "y"]]
    assert counts == {"repeats an answer": 1, "contradicts the annotator's other answer": 2}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("1", "a", "z"), "label 'z' is unknown to the task .*item '1'.*known: x, y"),
        (("1", "", "x"), "row 1 has an empty annotator"),
        ((None, "a", "x"), "row 1 has an empty item_id"),
    ],
)
def test_a_faulty_annotation_is_named(row, message):
    with pytest.raises(SynthgapError, match=message):
        check_annotations(annotations(row), ["x", "y"])


def test_a_missing_column_is_named():
    with pytest.raises(SynthgapError, match="missing: annotator"):
        check_annotations(annotations().drop(columns="annotator"), ["x"])
