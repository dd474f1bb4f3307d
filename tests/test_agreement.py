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
    found = krippendorff_alpha(frame, resamples=10)
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

    population = krippendorff_alpha(sample(20000), 10).alpha
    found = [krippendorff_alpha(sample(80), 300, seed) for seed in range(60)]
    covered = np.mean([one.low <= population <= one.high for one in found])
    assert 0.85 <= covered <= 1.0
    assert np.mean([one.high - one.low for one in found]) < 0.5


def test_unanimous_annotators_are_told_apart_from_one_label_only():
    one = krippendorff_alpha(annotations(("1", "a", "x"), ("1", "b", "x"), ("2", "a", "y"), ("2", "b", "y")), 50)
    assert one.alpha == 1
    assert one.note == "1: unanimous on every item"
    assert one.undefined_resamples > 0
    other = krippendorff_alpha(annotations(("1", "a", "x"), ("1", "b", "x"), ("2", "a", "x"), ("2", "b", "x")), 50)
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
