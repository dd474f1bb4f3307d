"""Comparisons of tasks -> levels and Bradley-Terry scores: known answers, choix, and judges who make mistakes."""

from itertools import combinations

import choix
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from synthgap.core.errors import SynthgapError
from synthgap.subjectivity.ranking import (
    TaskPairs,
    bradley_terry,
    compare_orders,
    judge_consistency,
    kendall_tau,
    levels,
    main_ranking,
    majority_graph,
    pair_sources,
    rank_tasks,
    ranking_limits,
    read_pairs,
    recorded_pairs,
    stars,
    vote_table,
    with_halves,
)
from synthgap.tasks import paper_tasks

TASKS = ("ag_news", "sms_spam", "humor", "imdb")


def pairs(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["judge", "task_a", "task_b", "more_objective"])


def order(judge: str, *tasks: str) -> list[tuple[str, str, str, str]]:
    """A judge who compares every two tasks and puts the earlier one first."""
    return [(judge, a, b, a) for place, a in enumerate(tasks) for b in tasks[place + 1 :]]


def graph_of(judged: TaskPairs) -> nx.DiGraph:
    return majority_graph(vote_table([judged]), judged.tasks)


# ------------------------------------------------------------------------------------------------------------- levels


def test_one_order_gives_one_level_a_task():
    found = levels(graph_of(read_pairs(pairs(*order("j", *TASKS)), TASKS, "x")))
    assert found == {"ag_news": 1, "sms_spam": 2, "humor": 3, "imdb": 4}


def test_the_majority_decides_and_a_tie_gives_no_edge():
    votes = read_pairs(
        pairs(
            ("1", "ag_news", "humor", "ag_news"),
            ("2", "humor", "ag_news", "ag_news"),
            ("3", "ag_news", "humor", "humor"),
            ("1", "ag_news", "imdb", "imdb"),
            ("2", "ag_news", "imdb", "ag_news"),
        ),
        ("ag_news", "humor", "imdb"),
        "x",
    )
    graph = graph_of(votes)
    assert list(graph.edges(data=True)) == [("ag_news", "humor", {"votes": 2, "against": 1})]
    assert levels(graph) == {"ag_news": 1, "humor": 2, "imdb": 1}
    assert any("equal votes" in sentence for sentence in ranking_limits(votes))


def test_a_cycle_is_merged_into_one_level():
    rows = [("j", "ag_news", "sms_spam", "ag_news"), ("j", "sms_spam", "humor", "sms_spam")]
    rows += [("j", "humor", "ag_news", "humor"), *(("j", task, "imdb", task) for task in TASKS[:3])]
    found = read_pairs(pairs(*rows), TASKS, "x")
    assert levels(graph_of(found)) == {"ag_news": 1, "sms_spam": 1, "humor": 1, "imdb": 2}
    assert judge_consistency([found])["cycles"].tolist() == [1]
    assert judge_consistency([found])["triads"].tolist() == [4]


@given(st.lists(st.integers(0, 5), min_size=15, max_size=15))
def test_every_edge_between_groups_leads_to_a_higher_level(votes):
    tasks = paper_tasks()[:6]
    rows = []
    for number, (a, b) in enumerate(combinations(range(6), 2)):
        rows += [(f"j{j}", tasks[a], tasks[b], tasks[a] if j < votes[number] else tasks[b]) for j in range(5)]
    graph = graph_of(read_pairs(pairs(*rows), tasks, "x"))
    found = levels(graph)
    group = {task: place for place, part in enumerate(nx.strongly_connected_components(graph)) for task in part}
    assert min(found.values()) == 1
    for one, other in graph.edges:
        assert found[one] == found[other] if group[one] == group[other] else found[one] < found[other]


@pytest.mark.parametrize(
    ("level", "highest", "shown"),
    [(1, 1, "★"), (1, 9, "★"), (9, 9, "★★★★★"), (5, 9, "★★★"), (2, 2, "★★"), (3, 3, "★★★")],
)
def test_stars(level, highest, shown):
    assert stars(level, highest) == shown


# ------------------------------------------------------------------------------------------------------ Bradley-Terry


@given(st.integers(0, 10**6), st.floats(0.05, 2))
def test_bradley_terry_is_choixs(seed, ridge):
    random = np.random.default_rng(seed)
    wins = random.integers(0, 6, size=(5, 5)).astype(float)
    np.fill_diagonal(wins, 0)
    data = [(a, b) for a in range(5) for b in range(5) for _ in range(int(wins[a, b]))]
    if not data:
        return
    expected = choix.opt_pairwise(5, data, alpha=ridge / 2, tol=1e-10)
    np.testing.assert_allclose(bradley_terry(wins, ridge), expected, atol=1e-5)


def test_many_at_once_is_one_after_another():
    wins = np.random.default_rng(0).integers(0, 9, size=(20, 6, 6)).astype(float)
    wins[:, range(6), range(6)] = 0
    together = bradley_terry(wins)
    np.testing.assert_allclose(together, [bradley_terry(one) for one in wins], atol=1e-8)
    np.testing.assert_allclose(together.sum(axis=1), 0, atol=1e-8)


def test_separable_comparisons_have_finite_scores_and_are_called_separable():
    found = read_pairs(pairs(*order("1", *TASKS), *order("2", *TASKS)), TASKS, "x")
    scores = rank_tasks([found])["bradley_terry"]
    assert np.isfinite(scores).all()
    assert scores.is_monotonic_increasing
    assert any("separable" in sentence for sentence in ranking_limits(found))


def test_two_groups_that_nobody_compared_are_called_unconnected():
    found = read_pairs(pairs(("1", "ag_news", "humor", "humor"), ("1", "imdb", "sms_spam", "imdb")), TASKS, "x")
    text = " ".join(ranking_limits(found))
    assert "unconnected: the tasks fall into 2 groups" in text
    assert "one judge only" in text


def test_the_ranking_has_the_named_columns_and_intervals_around_its_scores():
    table = rank_tasks([recorded_pairs(paper_tasks())], resamples=300)
    assert table.columns.tolist() == ["task", "level", "bradley_terry", "low", "high", "source"]
    assert (table["low"] < table["bradley_terry"]).all()
    assert (table["bradley_terry"] < table["high"]).all()
    assert table["source"].str.startswith("simulated").all()


def test_more_judges_of_one_mind_make_narrower_intervals():
    random = np.random.default_rng(1)

    def width(judges: int) -> float:
        rows = []
        for number in range(judges):
            for _, a, b, _ in order("", *TASKS):
                rows.append((f"j{number}", a, b, a if random.random() < 0.7 else b))
        table = rank_tasks([read_pairs(pairs(*rows), TASKS, "x")], 500)
        return float((table["high"] - table["low"]).mean())

    assert width(200) < 0.5 * width(20)


def test_nothing_compared_is_an_empty_ranking_with_a_reason():
    found = read_pairs(pairs(("1", "ag_news", "humor", "humor")), ("imdb",), "x")
    assert rank_tasks([found]).empty
    assert "no two tasks of this profile were compared" in ranking_limits(found)[0]
    assert compare_orders([found], {"imdb": 1}, 10, 0).empty


# ------------------------------------------------------------------------------------------------------------- judges


def test_a_repeated_answer_counts_once_and_a_contradicted_pair_not_at_all():
    rows = [("j", "ag_news", "humor", "ag_news"), ("j", "humor", "ag_news", "ag_news")]
    rows += [("j", "imdb", "humor", "imdb"), ("j", "imdb", "humor", "humor")]
    found = read_pairs(pairs(*rows), TASKS, "x")
    assert found.answers.sum() == 1
    table = judge_consistency([found]).iloc[0]
    assert (table["pairs"], table["repeated"], table["contradicted"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("j", "humor", "humor", "humor"), "row 1: task 'humor' is paired with itself"),
        (("j", "humor", "imdb", "ag_news"), "row 1: 'ag_news' is neither 'humor' nor 'imdb'"),
        (("j", "humour", "imdb", "imdb"), "row 1: task 'humour' is unknown"),
        ((" ", "humor", "imdb", "imdb"), "row 1: the judge has no name"),
    ],
)
def test_a_faulty_comparison_is_named(row, message):
    with pytest.raises(SynthgapError, match=message):
        read_pairs(pairs(row), TASKS, "x")


def test_a_missing_column_is_named():
    with pytest.raises(SynthgapError, match="missing: more_objective"):
        read_pairs(pairs().drop(columns="more_objective"), TASKS, "x")


# ---------------------------------------------------------------------------------------------------------------- tau


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=12))
def test_tau_is_scipys(values):
    x, y = (np.array(column, dtype=float) for column in zip(*values, strict=True))
    expected = kendalltau(x, y)[0]
    found = float(kendall_tau(x, y))
    assert (np.isnan(found) and np.isnan(expected)) or found == pytest.approx(expected)


def test_sources_are_compared_with_each_other_and_with_the_paper():
    recorded = recorded_pairs(paper_tasks())
    itself, first, second = with_halves([recorded])
    assert itself is recorded
    assert first.judges + second.judges == recorded.judges
    places = {task: place for place, task in enumerate(paper_tasks())}
    table = compare_orders([first, second], places, 200, 0)
    assert table["first"].tolist() == [first.source, first.source, second.source]
    assert table["second"].str.contains("unverified").tolist() == [False, True, True]
    assert ((table["low"] <= table["tau"]) & (table["tau"] <= table["high"])).all()
    assert table["tau"].between(-1, 1).all()


# ------------------------------------------------------------------------------------------------------------ sources


def test_people_come_before_personas_and_sources_without_an_answer_are_left_out():
    collected = pairs(("ann", "ag_news", "humor", "ag_news"))
    people, recorded = pair_sources(TASKS, collected)
    assert people.source == "human: collected with synthgap annotate"
    ranking = rank_tasks([people, recorded], 50)
    assert set(main_ranking(ranking)["source"]) == {people.source}
    assert [one.source for one in pair_sources(("imdb", "humor"), collected)] == [recorded.source]
    assert pair_sources(("imdb",)) == []
    assert vote_table([people]).to_numpy().tolist() == [[people.source, "ag_news", "humor", 1, 0]]


def test_without_comparisons_every_table_is_empty_and_has_its_columns():
    assert rank_tasks([]).columns.tolist() == ["task", "level", "bradley_terry", "low", "high", "source"]
    assert main_ranking(rank_tasks([])).empty
    assert "cycles" in judge_consistency([])
    assert "judges_b" in vote_table([])
    assert with_halves([]) == []
    assert compare_orders([], {}, 10, 0).columns.tolist() == ["first", "second", "tasks", "tau", "low", "high"]
