"""How subjective a task is: pairwise comparisons by judges -> levels (the paper's way) and Bradley-Terry scores.

A row of comparisons is `judge, task_a, task_b, more_objective`. Level 1 holds the most objective tasks, and a higher
score means more subjective, so that both grow the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from synthgap.errors import SynthgapError, unknown
from synthgap.evaluation import INTERVAL

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

PAIR_COLUMNS = ("judge", "task_a", "task_b", "more_objective")
RIDGE = 0.1  # precision of the normal prior on Bradley-Terry scores: a standard deviation of about 3.2 logits
MOST_STARS = 5


@dataclass(frozen=True)
class Comparisons:
    """Checked comparisons of one source.

    Attributes:
        answers: shape (judges, tasks, tasks); [j, a, b] is 1 where judge j calls task a more subjective than task b.
        repeated, contradicted: by judge; answers that repeat an earlier one (counted once), and pairs that a judge
            answered both ways (not counted at all).
    """

    source: str
    tasks: tuple[str, ...]
    judges: tuple[str, ...]
    answers: np.ndarray = field(repr=False)
    repeated: tuple[int, ...]
    contradicted: tuple[int, ...]

    def of_judges(self, judges: Sequence[str], source: str) -> Comparisons:
        """The same for some of the judges, as a source of its own."""
        places = [self.judges.index(judge) for judge in judges]
        repeated, contradicted = (tuple(counts[at] for at in places) for counts in (self.repeated, self.contradicted))
        return Comparisons(source, self.tasks, tuple(judges), self.answers[places], repeated, contradicted)


def compare(pairs: pd.DataFrame, tasks: Sequence[str], source: str) -> Comparisons:
    """Check a table of comparisons and bring it into shape; comparisons of tasks other than `tasks` are passed over.

    Raises:
        SynthgapError: a column is missing, a task is paired with itself, or the answer is neither of the two tasks.
    """
    check_pairs(pairs)
    rows = pairs[pairs["task_a"].isin(tasks) & pairs["task_b"].isin(tasks)]
    judges = tuple(sorted(set(rows["judge"].astype(str))))
    place = {task: number for number, task in enumerate(tasks)}
    given = np.zeros((len(judges), len(tasks), len(tasks)), dtype=int)
    for row in rows.itertuples():
        other = row.task_b if row.more_objective == row.task_a else row.task_a
        given[judges.index(str(row.judge)), place[other], place[row.more_objective]] += 1
    both_ways = (given > 0) & (given.transpose(0, 2, 1) > 0)
    answers = ((given > 0) & ~both_ways).astype(int)
    repeats = np.where(both_ways, 0, np.maximum(given - 1, 0)).sum(axis=(1, 2))
    contradicted = both_ways.sum(axis=(1, 2)) // 2
    return Comparisons(
        source, tuple(tasks), judges, answers, tuple(map(int, repeats)), tuple(int(count) for count in contradicted)
    )


def check_pairs(pairs: pd.DataFrame) -> None:
    missing = [name for name in PAIR_COLUMNS if name not in pairs.columns]
    if missing:
        raise SynthgapError(f"comparisons need the columns {', '.join(PAIR_COLUMNS)}; missing: {', '.join(missing)}")
    for number, row in enumerate(pairs.itertuples(index=False), start=1):
        if fault := pair_fault(row._asdict()):
            raise SynthgapError(f"comparisons: row {number}: {fault}")


def pair_fault(row: dict[str, Any]) -> str | None:
    """What is wrong with one comparison, or None."""
    from synthgap.tasks import known_tasks

    first, second, answer = (str(row[name]) for name in PAIR_COLUMNS[1:])
    for task in (first, second):
        if task not in known_tasks():
            return str(unknown("task", task, known_tasks()))
    if first == second:
        return f"task '{first}' is paired with itself"
    if answer not in {first, second}:
        return f"'{answer}' is neither '{first}' nor '{second}'"
    return None if str(row["judge"]).strip() else "the judge has no name"


# ------------------------------------------------------------------------------------------------------------- levels


def majority_graph(comparisons: Comparisons) -> nx.DiGraph:
    """An edge from the more objective to the more subjective task of each pair; equal votes get none.

    Edges carry `votes` (for) and `against`.
    """
    import networkx as nx

    votes = comparisons.answers.sum(axis=0)
    graph = nx.DiGraph()
    graph.add_nodes_from(comparisons.tasks)
    for a, b in combinations(range(len(comparisons.tasks)), 2):
        objective, subjective = (a, b) if votes[b, a] > votes[a, b] else (b, a)
        if votes[a, b] != votes[b, a]:
            ends = (comparisons.tasks[objective], comparisons.tasks[subjective])
            graph.add_edge(*ends, votes=int(votes[subjective, objective]), against=int(votes[objective, subjective]))
    return graph


def levels(graph: nx.DiGraph) -> dict[str, int]:
    """{task: level}, 1 for the most objective: cycles merged, then topological generations (Li et al. 2023).

    A task's level is one more than the highest level of all that a majority calls more objective.
    """
    import networkx as nx

    merged = nx.condensation(graph)
    found: dict[str, int] = {}
    for level, generation in enumerate(nx.topological_generations(merged), start=1):
        for component in generation:
            found |= dict.fromkeys(merged.nodes[component]["members"], level)
    return {task: found[task] for task in graph.nodes}


def stars(level: int, highest: int) -> str:
    """A level as one to five stars, more for more subjective."""
    share = (level - 1) / (highest - 1) if highest > 1 else 0
    return "★" * (1 + round(share * (min(highest, MOST_STARS) - 1)))


# ----------------------------------------------------------------------------------------------------- Bradley-Terry


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


def bootstrap_scores(comparisons: Comparisons, resamples: int, seed: int, ridge: float = RIDGE) -> np.ndarray:
    """Bradley-Terry scores of resampled judges, shape (resamples, tasks)."""
    random = np.random.default_rng(seed)
    n = len(comparisons.judges)
    weights = random.multinomial(n, np.full(n, 1 / n), size=resamples)
    return bradley_terry(np.tensordot(weights, comparisons.answers, axes=1).astype(float), ridge)


def rank_tasks(comparisons: Comparisons, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Columns task, level, bradley_terry, low, high, source; the most objective first.

    The interval (95 %) resamples judges; with one judge it has no width. No rows where no pair of tasks was compared.
    """
    import pandas as pd

    columns = ["task", "level", "bradley_terry", "low", "high", "source"]
    if not comparisons.answers.sum():
        return pd.DataFrame(columns=columns)
    level = levels(majority_graph(comparisons))
    scores = bradley_terry(comparisons.answers.sum(axis=0).astype(float))
    low, high = np.percentile(bootstrap_scores(comparisons, resamples, seed), INTERVAL, axis=0)
    rows = zip(comparisons.tasks, level.values(), scores, low, high, strict=True)
    table = pd.DataFrame([(*row, comparisons.source) for row in rows], columns=columns)
    return table.sort_values(["level", "bradley_terry", "task"]).reset_index(drop=True)


# ------------------------------------------------------------------------------------------------------------- checks


def what_comparisons_lack(comparisons: Comparisons) -> list[str]:
    """Sentences on what limits a ranking: nothing compared, unconnected or separable comparisons, ties, one judge."""
    import networkx as nx

    votes = comparisons.answers.sum(axis=0)
    if not votes.sum():
        return [f"{comparisons.source}: no two tasks of this profile were compared, so there is no ranking."]
    found = []
    beaten = nx.from_numpy_array(votes, create_using=nx.DiGraph)
    parts = nx.number_weakly_connected_components(beaten)
    if parts > 1:
        found.append(
            f"unconnected: the tasks fall into {parts} groups that nobody compared with each other; levels and scores "
            "of different groups say nothing about each other"
        )
    groups = nx.number_strongly_connected_components(beaten)
    if groups > parts:
        found.append(
            f"separable: the tasks fall into {groups} groups of which one always came out more subjective than the "
            "other; unregularised scores would be infinite, and the distance between groups is the prior's"
        )
    ties = sum(votes[a, b] == votes[b, a] > 0 for a, b in combinations(range(len(votes)), 2))
    if ties:
        found.append(f"{ties} pairs have equal votes and no edge")
    if len(comparisons.judges) == 1:
        found.append("one judge only, so intervals have no width")
    return [f"{comparisons.source}: {sentence}." for sentence in found]


def judge_consistency(comparisons: Comparisons) -> pd.DataFrame:
    """How each judge agrees with itself, one row a judge.

    Columns judge, pairs (answered), repeated, contradicted, triads (of tasks with all three pairs answered) and
    cycles (circular ones among these: a over b over c over a; Kendall and Babington Smith 1940).
    """
    import pandas as pd

    rows = []
    for number, judge in enumerate(comparisons.judges):
        beats = comparisons.answers[number]
        met = beats + beats.T
        triads = int(np.trace(met @ met @ met)) // 6
        rows.append(
            {
                "judge": judge,
                "pairs": int(beats.sum()),
                "repeated": comparisons.repeated[number],
                "contradicted": comparisons.contradicted[number],
                "triads": triads,
                "cycles": int(np.trace(beats @ beats @ beats)) // 3,
            }
        )
    return pd.DataFrame(rows, columns=["judge", "pairs", "repeated", "contradicted", "triads", "cycles"])


def kendall_tau(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of arrays of shape (..., n); NaN where one of them is constant."""
    first, second = np.triu_indices(x.shape[-1], 1)
    signs = [np.sign(values[..., first] - values[..., second]) for values in (x, y)]
    sizes = np.sqrt((signs[0] ** 2).sum(axis=-1) * (signs[1] ** 2).sum(axis=-1))
    return np.where(sizes > 0, (signs[0] * signs[1]).sum(axis=-1) / np.where(sizes > 0, sizes, 1), np.nan)


def compare_sources(sources: Sequence[Comparisons], order: dict[str, int], resamples: int, seed: int) -> pd.DataFrame:
    """Kendall's tau of the Bradley-Terry scores of every two sources, and of each source and the paper's order.

    Columns first, second, tasks, tau, low, high; intervals (95 %) resample the judges of every source that has some.

    Args:
        order: {task: place} of the paper (unverified).
    """
    import pandas as pd

    usable = [source for source in sources if source.answers.sum()]
    scored = [
        (
            source.source,
            bradley_terry(source.answers.sum(axis=0).astype(float)),
            bootstrap_scores(source, resamples, seed + number),
        )
        for number, source in enumerate(usable)
    ]
    if usable:
        places = np.array([order.get(task, np.nan) for task in usable[0].tasks], dtype=float)
        scored.append(("the paper's order (unverified)", places, np.tile(places, (resamples, 1))))
    rows = []
    for (first, x, x_draws), (second, y, y_draws) in combinations(scored, 2):
        known = ~np.isnan(x) & ~np.isnan(y)
        if known.sum() >= 3:
            draws = kendall_tau(x_draws[:, known], y_draws[:, known])
            low, high = np.nanpercentile(draws, INTERVAL)
            rows.append((first, second, int(known.sum()), float(kendall_tau(x[known], y[known])), low, high))
    return pd.DataFrame(rows, columns=["first", "second", "tasks", "tau", "low", "high"])


def recorded_comparisons(tasks: Sequence[str]) -> Comparisons:
    """The bundled recording: twelve personas that an LLM played, no people."""
    import pandas as pd

    from synthgap.data import bundled

    pairs = pd.read_csv(bundled("recordings", "judgements", "task_pairs.csv"))
    return compare(pairs, tasks, "simulated: 12 personas of an LLM")


def comparison_sources(tasks: Sequence[str], collected: pd.DataFrame | None = None) -> list[Comparisons]:
    """Whose comparisons there are: people's where some were collected, then the recorded personas.

    Args:
        collected: comparisons that people made with `synthgap annotate`.
    """
    people = [] if collected is None else [compare(collected, tasks, "human: collected with synthgap annotate")]
    return [*people, recorded_comparisons(tasks)]


def first_answered(sources: Sequence[Comparisons]) -> Comparisons:
    """The first source that compared two of the tasks; the first of all where none did."""
    return next((one for one in sources if one.answers.any()), sources[0])


def halves(comparisons: Comparisons) -> list[Comparisons]:
    """The first and the second half of a source's judges (by name), as sources of their own."""
    middle = len(comparisons.judges) // 2
    parts = [comparisons.judges[:middle], comparisons.judges[middle:]]
    kind = comparisons.source.split(":")[0]
    return [comparisons.of_judges(part, f"{kind}: {part[0]} to {part[-1]}") for part in parts if part]
