"""Tables that are regenerated and those that are committed: what counts as the same."""

import numpy as np
import pandas as pd
import pytest

from synthgap.pipeline.verify import difference

TABLE = pd.DataFrame(
    {"task": ["humor", "imdb"], "gap": [-12.3457, np.nan], "n": [3, 4], "worth": [np.inf, 0.0], "note": [np.nan, "why"]}
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gap": [-12.34570001, np.nan]},
        {"gap": [-12.3458, np.nan]},  # a unit of the sixth digit: rounding of almost equal numbers
        {"n": [3.0, 4.0]},
        {"worth": [np.inf, 1e-14]},
    ],
)
def test_the_same(changes):
    assert difference(TABLE.assign(**changes), TABLE) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gap": [-12.3459, np.nan]}, "column gap: 1 of 2 cells, the first in row 1: -12.3459 instead of -12.3457"),
        ({"gap": [-12.3457, 0.0]}, "column gap: 1 of 2 cells, the first in row 2: 0.0 instead of nan"),
        ({"gap": [12.3457, np.nan]}, "in row 1: 12.3457 instead of -12.3457"),
        ({"n": [3, 5]}, "column n: 1 of 2 cells"),
        ({"worth": [9.0, 0.0]}, "column worth: 1 of 2 cells"),
        ({"worth": [np.inf, 1e-6]}, "column worth: 1 of 2 cells"),
        ({"task": ["humor", "imdb "]}, "column task: 1 of 2 cells"),
        ({"task": [1, 2]}, "column task: 2 of 2 cells"),
        ({"note": ["why", "why"]}, "column note: 1 of 2 cells, the first in row 1: why instead of nan"),
        ({"more": 1}, "columns task, gap, n, worth, note, more instead of task, gap, n, worth, note"),
    ],
)
def test_not_the_same(changes, said):
    assert said in difference(TABLE.assign(**changes), TABLE)


def test_rows_that_are_missing():
    assert difference(TABLE.head(1), TABLE) == "1 rows instead of 2"
