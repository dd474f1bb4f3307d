"""How subjective a task is: judges compare every two tasks -> levels (the paper's way) and Bradley-Terry scores.

A row of such a table is `judge, task_a, task_b, more_objective`. Level 1 holds the most objective tasks, and a higher
score means more subjective, so that both grow the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd

from synthgap.core.errors import SynthgapError, unknown
from synthgap.core.paths import bundled
from synthgap.evaluation.scores import INTERVAL
from synthgap.tables import stacked
from synthgap.tasks import known_tasks

PAIR_COLUMNS = ("judge", "task_a", "task_b", "more_objective")
RIDGE = 0.1  # precision of the normal prior on Bradley-Terry scores: a standard deviation of about 3.2 logits


@dataclass(frozen=True)
class TaskPairs:
    """What the judges of one source answered about pairs of tasks, checked.

    Attributes:
        given: shape (judges, tasks, tasks); [j, a, b] is how often judge j called task a more subjective than task b.
    """

    source: str
    tasks: tuple[str, ...]
    judges: tuple[str, ...]
    given: np.ndarray = field(repr=False)

    @property
    def answers(self) -> np.ndarray:
        """As `given`, but repeated answers count once, and pairs that a judge answered both ways not at all."""
        return ((self.given > 0) & (self.given.swapaxes(1, 2) == 0)).astype(int)

    @property
    def wins(self) -> np.ndarray:
        """Shape (tasks, tasks); [a, b] is the number of judges who call task a more subjective than task b."""
        return self.answers.sum(axis=0)


def read_pairs(table: pd.DataFrame, tasks: Sequence[str], source: str) -> TaskPairs:
    """Check a table of judged pairs and bring it into shape; pairs of tasks other than `tasks` are passed over.

    Raises:
        SynthgapError: a column is missing, a task is paired with itself, or the answer is neither of the two tasks.
    """
    if missing := [name for name in PAIR_COLUMNS if name not in table.columns]:
        raise SynthgapError(f"comparisons need the columns {', '.join(PAIR_COLUMNS)}; missing: {', '.join(missing)}")
    for number, row in enumerate(table.to_dict("records"), start=1):
        if fault := pair_fault(row):
            raise SynthgapError(f"comparisons: row {number}: {fault}")
    rows = table[table["task_a"].isin(tasks) & table["task_b"].isin(tasks)]
    judges, tasks = sorted(set(rows["judge"].astype(str))), list(tasks)
    given = np.zeros((len(judges), len(tasks), len(tasks)), dtype=int)
    for row in rows.itertuples():
        other = row.task_b if row.more_objective == row.task_a else row.task_a
        given[judges.index(str(row.judge)), tasks.index(other), tasks.index(row.more_objective)] += 1
    return TaskPairs(source, tuple(tasks), tuple(judges), given)


def pair_fault(row: Mapping[str, Any]) -> str | None:
    """What is wrong with one judged pair; None where nothing is."""
    first, second, answer = (str(row[name]) for name in PAIR_COLUMNS[1:])
    for task in (first, second):
        if task not in known_tasks():
            return str(unknown("task", task, known_tasks()))
    if first == second:
        return f"task '{first}' is paired with itself"
    if answer not in {first, second}:
        return f"'{answer}' is neither '{first}' nor '{second}'"
    return None if str(row["judge"]).strip() else "the judge has no name"


def recorded_pairs(tasks: Sequence[str]) -> TaskPairs:
    """The bundled recording: twelve personas that an LLM played, no people."""
    table = pd.read_csv(bundled("recordings", "judgements", "task_pairs.csv"))
    return read_pairs(table, tasks, "simulated: 12 personas of an LLM")


def pair_sources(tasks: Sequence[str], collected: pd.DataFrame | None = None) -> list[TaskPairs]:
    """Who compared some of these tasks: people where `synthgap annotate` collected some, then recorded personas."""
    people = [] if collected is None else [read_pairs(collected, tasks, "human: collected with synthgap annotate")]
    return [source for source in (*people, recorded_pairs(tasks)) if source.answers.any()]


def vote_table(sources: Sequence[TaskPairs]) -> pd.DataFrame:
    """Columns source, task_a, task_b, and judges_a, judges_b: how many judges call either task more objective."""
    rows = [
        (one.source, one.tasks[a], one.tasks[b], int(one.wins[b, a]), int(one.wins[a, b]))
        for one in sources
        for a, b in combinations(range(len(one.tasks)), 2)
        if one.wins[a, b] or one.wins[b, a]
    ]
    return pd.DataFrame(rows, columns=["source", "task_a", "task_b", "judges_a", "judges_b"])


def majority_graph(votes: pd.DataFrame, tasks: Sequence[str]) -> nx.DiGraph:
    """An edge from the more objective to the more subjective task of each pair; equal votes get none.

    Edges carry `votes` (for) and `against`; the votes are one source's rows of `vote_table`.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(tasks)
    for row in votes.itertuples():
        (against, subjective), (most, objective) = sorted([(row.judges_a, row.task_a), (row.judges_b, row.task_b)])
        if most > against:
            graph.add_edge(objective, subjective, votes=most, against=against)
    return graph


def levels(graph: nx.DiGraph) -> dict[str, int]:
    """{task: level}, 1 for the most objective: cycles merged, then topological generations (Li et al. 2023).

    A task's level is one more than the highest level of all that a majority calls more objective.
    """
    merged = nx.condensation(graph)
    generations = enumerate(nx.topological_generations(merged), start=1)
    level = {group: number for number, generation in generations for group in generation}
    return {task: level[merged.graph["mapping"][task]] for task in graph}


def stars(level: int, highest: int) -> str:
    """A level as one to five stars, more for more subjective."""
    share = (level - 1) / (highest - 1) if highest > 1 else 0
    return "★" * (1 + round(share * (min(highest, 5) - 1)))


def bradley_terry(wins: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """Scores of shape (..., n) from wins of shape (..., n, n), [a, b] counting how often a beat b.

    Maximises sum of wins[a, b] log sigmoid(score a - score b) less ridge / 2 times the sum of squared scores (Bradley
    and Terry 1952 with a normal prior), by Newton's method, all leading shapes at once. Scores sum to 0; without the
    prior they would be infinite where the comparisons are separable.
    """
    scores = np.zeros(wins.shape[:-1])
    games = wins + np.swapaxes(wins, -1, -2)
    identity = np.eye(wins.shape[-1])
    for _ in range(100):
        p = 1 / (1 + np.exp(scores[..., None, :] - scores[..., :, None]))
        gradient = (wins - games * p).sum(axis=-1) - ridge * scores
        weights = games * p * (1 - p)
        curvature = weights.sum(axis=-1)[..., None] * identity - weights + ridge * identity
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        step /= np.maximum(1, np.abs(step).max(axis=-1, keepdims=True) / 2)  # no overshooting far from the maximum
        scores = scores + step
        if np.abs(step).max(initial=0) < 1e-10:
            break
    return scores


def scores_and_resamples(pairs: TaskPairs, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bradley-Terry scores, shape (tasks,), and those of resampled judges, shape (resamples, tasks)."""
    n = len(pairs.judges)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return bradley_terry(pairs.wins), bradley_terry(np.tensordot(weights, pairs.answers, axes=1))


def rank_tasks(sources: Sequence[TaskPairs], resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Columns task, level, bradley_terry, low, high, source; of each source the most objective task first.

    The interval (95 %) resamples judges; with one judge it has no width. No rows of a source that compared nothing.
    """
    parts = []
    for one in sources:
        if one.answers.any():
            scores, draws = scores_and_resamples(one, resamples, seed)
            low, high = np.percentile(draws, INTERVAL, axis=0)
            part = pd.DataFrame({"task": one.tasks, "bradley_terry": scores, "low": low, "high": high})
            part["level"] = part["task"].map(levels(majority_graph(vote_table([one]), one.tasks)))
            parts.append(part.assign(source=one.source).sort_values(["level", "bradley_terry", "task"]))
    return stacked(parts, ["task", "level", "bradley_terry", "low", "high", "source"])


def main_ranking(ranking: pd.DataFrame) -> pd.DataFrame:
    """The rows of the source whose levels are used: the first one, which is people's where there are some."""
    return ranking[ranking["source"].isin(ranking["source"].head(1))]


def ranking_limits(pairs: TaskPairs) -> list[str]:
    """Sentences on what limits a ranking: nothing compared, unconnected or separable comparisons, ties, one judge."""
    wins = pairs.wins
    if not wins.any():
        return [f"{pairs.source}: no two tasks of this profile were compared, so there is no ranking."]
    beaten = nx.from_numpy_array(wins, create_using=nx.DiGraph)
    parts, groups = nx.number_weakly_connected_components(beaten), nx.number_strongly_connected_components(beaten)
    ties = np.sum((wins == wins.T) & (wins > 0)) // 2
    limits = {
        f"unconnected: the tasks fall into {parts} groups that nobody compared with each other; levels and scores of "
        "different groups say nothing about each other": parts > 1,
        f"separable: the tasks fall into {groups} groups of which one always came out more subjective than the other; "
        "unregularised scores would be infinite, and the distance between groups is the prior's": groups > parts,
        f"{ties} pairs have equal votes and no edge": ties > 0,
        "one judge only, so intervals have no width": len(pairs.judges) == 1,
    }
    return [f"{pairs.source}: {sentence}." for sentence, holds in limits.items() if holds]


def judge_consistency(sources: Sequence[TaskPairs]) -> pd.DataFrame:
    """How each judge agrees with itself, one row per judge.

    Columns judge, pairs (answered), repeated, contradicted, triads (of tasks with all three pairs answered), cycles
    (circular ones among these: a over b over c over a; Kendall and Babington Smith 1940) and source.
    """
    parts = []
    for one in sources:
        beats, compared = one.answers, one.answers + one.answers.swapaxes(1, 2)
        pairs = beats.sum(axis=(1, 2))
        part = pd.DataFrame({"judge": one.judges, "pairs": pairs, "source": one.source})
        part["repeated"] = (one.given * beats).sum(axis=(1, 2)) - pairs
        part["contradicted"] = ((one.given > 0).sum(axis=(1, 2)) - pairs) // 2
        part["triads"] = np.trace(compared @ compared @ compared, axis1=1, axis2=2) // 6
        part["cycles"] = np.trace(beats @ beats @ beats, axis1=1, axis2=2) // 3
        parts.append(part)
    return stacked(parts, ["judge", "pairs", "repeated", "contradicted", "triads", "cycles", "source"])


def kendall_tau(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of arrays of shape (..., n); NaN where one of them is constant."""
    first, second = np.triu_indices(x.shape[-1], 1)
    a, b = (np.sign(values[..., first] - values[..., second]) for values in (x, y))
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=-1) / np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))


def with_halves(sources: Sequence[TaskPairs]) -> list[TaskPairs]:
    """The sources, and the first and the second half of the last one's judges (by name) as sources of their own."""
    found = list(sources)
    for pairs in sources[-1:]:
        middle, kind = len(pairs.judges) // 2, pairs.source.split(":")[0]
        for half in (slice(0, middle), slice(middle, None)):
            if judges := pairs.judges[half]:
                name = f"{kind}: {judges[0]} to {judges[-1]}"
                found.append(replace(pairs, source=name, judges=judges, given=pairs.given[half]))
    return found


def compare_orders(sources: Sequence[TaskPairs], order: Mapping[str, int], resamples: int, seed: int) -> pd.DataFrame:
    """Kendall's tau of the Bradley-Terry scores of every two sources, and of each source and the paper's order.

    Columns first, second, tasks, tau, low, high; intervals (95 %) resample the judges of every source that has some.
    `order` is {task: its place in the paper's order} (unverified).
    """
    compared = [one for one in sources if one.answers.any()]
    scored = [(one.source, *scores_and_resamples(one, resamples, seed + n)) for n, one in enumerate(compared)]
    for one in compared[:1]:
        places = np.array([order.get(task, np.nan) for task in one.tasks])
        scored.append(("the paper's order (unverified)", places, places[None]))
    rows = []
    for (first, x, x_draws), (second, y, y_draws) in combinations(scored, 2):
        known = ~np.isnan(x) & ~np.isnan(y)
        if known.sum() >= 3:
            low, high = np.nanpercentile(kendall_tau(x_draws[:, known], y_draws[:, known]), INTERVAL)
            rows.append((first, second, int(known.sum()), float(kendall_tau(x[known], y[known])), low, high))
    return pd.DataFrame(rows, columns=["first", "second", "tasks", "tau", "low", "high"])
