"""How often the intervals of scores, gaps, means over tasks and worth hold what they are for, in simulated experiments.

Ten tasks, six runs on real texts, three recordings of two runs each of two synthetic corpora. What recordings do to all
tasks alike (SHARED) is beside what they do to one. Items vary by an amount that is known to the interval, as the
bootstrap over items gives it nearly. A second table is of what notebook 04 reports: Krippendorff's alpha and its
change by month, effects of agreement, and rank correlations over tasks. `--write` puts the tables into
docs/statistics.md.
"""

import argparse
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from common import on_all_cores
from scipy import stats

from synthgap.evaluation.gaps import Scored, rank_correlation
from synthgap.evaluation.inference import Part, interval, over_tasks, recording_means, training_spreads
from synthgap.evaluation.learning_curves import real_texts_interval
from synthgap.subjectivity.accuracy_by_agreement import PredictedItems, agreement_models
from synthgap.subjectivity.agreement import krippendorff_alpha
from synthgap.subjectivity.over_time import A_MONTH, MEASURES, Window, cells_of, trend
from synthgap.tables import to_markdown

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
BETWEEN = r"(?<=<!-- {0}: made by benchmarks/coverage.py -->\n).*?(?=<!-- end of {0} -->)"
TASKS, RECORDINGS, RUNS, REAL_RUNS = 10, 3, 2, 6
NUMBERS = [np.repeat(np.arange(RECORDINGS), RUNS)] * TASKS
SCENES = {  # points: what recordings share, what they do to one task, seeds, and how tasks differ
    "as measured": (1.6, 1.6, 1.5, 6.0),
    "nothing shared": (0.0, 1.6, 1.5, 6.0),
    "much shared": (3.0, 1.6, 1.5, 6.0),
    "seeds dominate": (1.6, 1.0, 4.0, 6.0),
    "tasks alike": (1.6, 1.6, 1.5, 2.0),
}


def experiment(scene: tuple[float, ...], random: np.random.Generator, held: dict[str, list[bool]]) -> None:
    """One experiment: whether each interval held its truth."""
    shared, own, seeds, tasks = scene
    items = np.exp(random.normal(0.3, 0.5, TASKS))  # deviation of a score over items, on each task
    of_runs, of_recordings = (deviation * np.exp(random.normal(0, 0.4, TASKS)) for deviation in (seeds, own))

    def runs(truth: np.ndarray, effects: np.ndarray) -> list[np.ndarray]:
        noise = items * random.normal(size=TASKS)
        each = random.normal(size=effects.shape) * of_runs[:, None]
        return list((truth + noise)[:, None] + effects + each)

    def recorded(truth: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        effects = (
            random.normal(0, shared, RECORDINGS) + random.normal(size=(TASKS, RECORDINGS)) * of_recordings[:, None]
        )
        return runs(truth, np.repeat(effects, RUNS, axis=1)), effects.mean(axis=1)

    def note(name: str, estimate: float, parts: list[Part], truth: float) -> None:
        low, high = interval(estimate, parts)
        held[name].append(bool(low <= truth <= high))

    real = runs(np.zeros(TASKS), np.zeros((TASKS, REAL_RUNS)))
    zero_truth = -8 + random.normal(0, tasks, TASKS)
    few_truth = zero_truth + 4 + random.normal(0, tasks / 2, TASKS)
    (zero, zero_effect), (few, _) = recorded(zero_truth), recorded(few_truth)
    of_real = training_spreads(real, [np.zeros(REAL_RUNS, int)] * TASKS)
    of_zero, of_few = training_spreads(zero, NUMBERS), training_spreads(few, NUMBERS)
    for k in range(TASKS):
        one, both, estimate = Part(items[k] ** 2), Part(2 * items[k] ** 2), float(zero[k].mean())
        gap, these = estimate - float(real[k].mean()), zero_truth[k] + zero_effect[k]
        note("score, these recordings", estimate, [one, *of_zero[k].these], these)
        note("score, new recordings", estimate, [one, *of_zero[k].new], zero_truth[k])
        note("gap, these recordings", gap, [both, *of_zero[k].these, *of_real[k].these], these)
        note("gap, new recordings", gap, [both, *of_zero[k].new, *of_real[k].these], zero_truth[k])
        rise = float(few[k].mean()) - estimate
        note(
            "gap of two corpora, new recordings",
            rise,
            [both, *of_few[k].new, *of_zero[k].new],
            few_truth[k] - zero_truth[k],
        )
    gaps = np.array([one.mean() - other.mean() for one, other in zip(zero, real, strict=True)])
    rises = np.array([one.mean() - other.mean() for one, other in zip(few, zero, strict=True)])
    means = [recording_means(each, NUMBERS) for each in (few, zero)]
    note("gap over tasks, these recordings", gaps.mean(), over_tasks(gaps), -8 + zero_effect.mean())
    note("gap over tasks, new recordings", gaps.mean(), over_tasks(gaps, means[1:]), -8)
    note("gap of two corpora over tasks, new recordings", rises.mean(), over_tasks(rises, means), 4)


SIZES, RESAMPLES, WORTH_EVERY = np.array([10, 25, 50, 100, 200]), 300, 8  # of so many experiments one, as it takes long


def worth_experiment(scene: tuple[float, ...], random: np.random.Generator, held: dict[str, list[bool]]) -> None:
    """One experiment of learning curves: whether the interval of a synthetic text's worth held it on each task.

    Real curves rise by about 5 points when texts are multiplied by 2.7, ever less with more of them; they have three
    runs at each size but for six at 100. Synthetic scores are those of some number of real texts between 12 and 180.
    """
    shared, own, seeds, _ = scene
    logs = np.log(SIZES / SIZES[0])
    slopes, bends = np.exp(random.normal(1.6, 0.5, TASKS)), random.uniform(0, 0.35, TASKS)
    by_size = seeds * np.exp(random.normal(0, 0.4, TASKS))[:, None] * np.array([2, 1.5, 1.2, 1, 1])
    items = np.exp(random.normal(0.3, 0.5, TASKS))
    # the draws of test items, of which the first is the experiment's: partly alike at all points of a task
    draws = 0.8 * random.normal(size=(TASKS, 1, 1 + RESAMPLES)) + 0.6 * random.normal(size=(TASKS, 7, 1 + RESAMPLES))
    draws *= items[:, None, None]

    def truth(task: int, log: np.ndarray) -> np.ndarray:
        return 60 + slopes[task] * (log - bends[task] * log**2 / logs[-1])

    def scored(at: int, truths: list[np.ndarray], deviations: np.ndarray, numbers: np.ndarray) -> list[Scored]:
        runs = [
            each + draws[task, at, 0] + deviations[task] * random.normal(size=len(numbers))
            for task, each in enumerate(truths)
        ]
        spreads = training_spreads(runs, [numbers] * TASKS)
        return [
            Scored(each, numbers, each.mean() + draws[task, at, 1:], spread)
            for task, (each, spread) in enumerate(zip(runs, spreads, strict=True))
        ]

    def real(at: int) -> list[Scored]:
        count = REAL_RUNS if SIZES[at] == 100 else 3
        level = [truth(task, logs[at]) * np.ones(count) for task in range(TASKS)]
        return scored(at, level, by_size[:, at], np.zeros(count, int))

    def note(name: str, points: list[Scored], levels: np.ndarray, new: bool = False) -> None:
        fine = np.linspace(0, logs[-1], 1000)
        for task, point in enumerate(points):
            curve = truth(task, fine)
            texts = SIZES[0] * np.exp(np.interp(levels[task], curve, fine))
            texts = 0 if levels[task] < curve[0] else np.inf if levels[task] > curve[-1] else texts
            low, high = real_texts_interval(SIZES, [at_size[task] for at_size in curves], point, new)
            held[name].append(bool(low <= texts <= high))

    curves = [real(at) for at in range(len(SIZES))]
    wanted = np.log(np.exp(random.uniform(np.log(12), np.log(180), TASKS)) / SIZES[0])
    levels = np.array([truth(task, log) for task, log in enumerate(wanted)])
    effects = random.normal(0, shared, RECORDINGS) + own * random.normal(size=(TASKS, RECORDINGS))
    several = scored(5, list(levels[:, None] + np.repeat(effects, RUNS, axis=1)), by_size[:, 3], NUMBERS[0])
    note("worth, these recordings", several, levels + effects.mean(axis=1))
    note("worth, new recordings", several, levels, new=True)
    one = scored(6, list(levels[:, None] + np.zeros(3)), by_size[:, 2], np.zeros(3, int))
    note("worth, one recording of three runs", one, levels)


def coverage(scene: str, experiments: int) -> dict[str, float]:
    """{interval: how often it held its truth, in percent}."""
    random, held = np.random.default_rng(0), defaultdict[str, list[bool]](list)
    for _ in range(experiments):
        experiment(SCENES[scene], random, held)
    random = np.random.default_rng(0)
    for _ in range(experiments // WORTH_EVERY):
        worth_experiment(SCENES[scene], random, held)
    return {name: 100 * float(np.mean(each)) for name, each in held.items()}


# ------------------------------------------------------------------------------------------- agreement and correlations

RELIABILITY = 0.3  # how much annotators differ in how far they see what an item is, on a logarithmic scale
ALPHAS = {  # items, annotators, annotators of each item, how items and inclinations of annotators differ, in logits
    "240 items, 3 of 10 people each": (240, 10, 3, 4.5, 0.7),
    "240 items, 3 of 10 people each, people differ much": (240, 10, 3, 4.5, 1.5),
    "1000 items, 5 of 74 people each": (1000, 74, 5, 1.3, 1.0),
    "80 items, all of 7 people": (80, 7, 7, 6.0, 0.7),
    "80 items, all of 3 people": (80, 3, 3, 3.0, 0.7),
    "470 items, 2 of 15 people each, who judge unequally many": (470, 15, 2, 3.0, 0.7),
}
UNEQUAL = np.r_[20, 12, 10, 9, 7, 7, [0.4] * 9]  # of 15 people, how many items each judges, as CovidET's
TRENDS = {  # how items and inclinations of annotators differ, in logits
    "6 months, other people in other months": (3.0, 0.7),
    "6 months, other people in other months, who differ much": (3.0, 1.5),
}
MONTHS = (0.2, 0.7, 1.8, 2.5, 5.8, 6.6)  # CovidET's, with the items of each, and how many each person judged of them
ITEMS = (48, 275, 470, 258, 452, 377)
BY_MONTH = [
    *([2, 0, 0, 46, 48, 0, 0], [20, 20, 20, 217, 217, 10, 40], [202, 461, 123, 0, 0, 135, 17]),
    *([189, 183, 43, 0, 0, 46, 40], [225, 316, 37, 131, 131, 60, 2], [85, 373, 169, 0, 0, 127, 0]),
]
SLOPES = {  # shares per unit of agreement: what recordings do to all tasks, to one task, and seeds
    "runs differ little": (0.0, 0.0, 0.05),
    "seeds and recordings differ": (0.1, 0.1, 0.1),
}
CORRELATIONS = {f"10 tasks, rho = {rho}": rho for rho in (0, 0.5, 0.8)}


def yes(truth: np.ndarray, inclination: np.ndarray, reliability: np.ndarray) -> np.ndarray:
    """The chance that an annotator says yes."""
    return 1 / (1 + np.exp(-(reliability * truth + inclination)))


def alpha_of_all(items: float, people: float) -> float:
    """Alpha of all items and people there could be."""
    random, grid = np.random.default_rng(0), (np.arange(2000) + 0.5) / 2000
    who = random.normal(0, people, 3000), np.exp(random.normal(0, RELIABILITY, 3000))
    chance = yes(items * stats.norm.ppf(grid)[:, None], *who).mean(axis=1)
    return float(1 - (chance * (1 - chance)).mean() / (chance.mean() * (1 - chance.mean())))


def drawn(items: int, people: int, each: int, random: np.random.Generator) -> np.ndarray:
    """Who judges each item, shape (items, each); 15 people judge unequally many."""
    weights = UNEQUAL if people == len(UNEQUAL) else np.ones(people)
    return (np.log(weights) + random.gumbel(size=(items, people))).argsort(axis=1)[:, -each:]


def alphas(scene: str, experiments: int) -> dict[str, float]:
    """How often the interval of Krippendorff's alpha holds it, in percent; and one over items alone."""
    items, people, each, of_items, of_people = ALPHAS[scene]
    random, held, truth = np.random.default_rng(0), defaultdict[str, list[bool]](list), alpha_of_all(*ALPHAS[scene][3:])
    for _ in range(experiments):
        who = drawn(items, people, each, random)
        inclination = random.normal(0, of_people, people)
        reliability = np.exp(random.normal(0, RELIABILITY, people))
        chance = yes(random.normal(0, of_items, items)[:, None], inclination[who], reliability[who])
        said = (random.random(who.shape) < chance).ravel()
        item = np.repeat(np.arange(items), each)
        rows = pd.DataFrame({"item_id": item, "annotator": who.ravel(), "label": said})
        for persons, name in ((True, "alpha"), (False, "alpha, over items alone")):
            found = krippendorff_alpha(rows, persons)
            held[name].append(found.low <= truth <= found.high)
    return {name: 100 * float(np.mean(each)) for name, each in held.items()}


def trends(scene: str, experiments: int) -> dict[str, float]:
    """How often the interval of a trend holds 0, in percent, where nothing changes but who judges."""
    of_items, of_people = TRENDS[scene]
    random, held = np.random.default_rng(0), defaultdict[str, list[bool]](list)
    for _ in range(experiments // 4):  # they take longer
        inclination, reliability = random.normal(0, of_people, 7), np.exp(random.normal(0, RELIABILITY, 7))
        windows = []
        for month, items, weights in zip(MONTHS, ITEMS, BY_MONTH, strict=True):
            with np.errstate(divide="ignore"):
                who = (np.log(weights) + random.gumbel(size=(items, 7))).argsort(axis=1)[:, -2:]
            chance = yes(random.normal(0, of_items, items)[:, None], inclination[who], reliability[who])
            said = random.random(who.shape) < chance
            names = np.char.add(f"{month} ", np.arange(items).astype(str))
            rows = {"item_id": np.repeat(names, 2), "annotator": who.ravel().astype(str), "label": said.ravel()}
            dates = pd.Series(pd.Timestamp("2021-06-20") + month * A_MONTH, index=names)
            windows.append(Window(str(month), pd.DataFrame(rows), dates, month))
        for measure in MEASURES:
            slope = trend(cells_of(windows, measure))
            low, high = interval(slope.value, slope.parts())
            held[f"change of {measure}"].append(bool(low <= 0 <= high))
    return {name: 100 * float(np.mean(each)) for name, each in held.items()}


def effects(scene: str, experiments: int) -> dict[str, float]:
    """How often intervals of the effect of agreement hold it, in percent; three tasks as those with human agreement.

    Runs agree on most items, whose difficulty depends on agreement: by 1.5 points for 0.1, and 1 point more so on a
    synthetic corpus.
    """
    random, held = np.random.default_rng(0), defaultdict[str, list[bool]](list)
    for _ in range(experiments // 4):  # they take longer
        shared = random.normal(0, SLOPES[scene][0], RECORDINGS)
        table = agreement_models([predicted_items(items, shared, SLOPES[scene], random) for items in (1200, 1000, 240)])
        for row in table.itertuples():
            real = row.term == "agreement"
            name = "effect of agreement" if real else "effect of agreement, more so"
            held[name].append(row.effect_low <= (1.5 if real else 1.0) <= row.effect_high)
    return {name: 100 * float(np.mean(each)) for name, each in held.items()}


def predicted_items(
    items: int, shared: np.ndarray, scene: tuple[float, ...], random: np.random.Generator
) -> PredictedItems:
    agreement, gold = random.choice([0.5, 0.6, 0.8, 1.0], items), random.choice(np.array(["a", "b"]), items)
    step, difficulty = agreement - 0.8, random.random(items)

    def right(slope: float, of_runs: np.ndarray) -> np.ndarray:
        chance = np.where(difficulty < 0.35 - slope / 0.7 * step, 0.2, 0.9) + of_runs[:, None] * step
        return (random.random(chance.shape) < chance).astype(float)

    recordings = np.repeat(shared + random.normal(0, scene[1], RECORDINGS), RUNS)
    runs = {
        "real": right(0.15, random.normal(0, scene[2], REAL_RUNS)),
        "synthetic": right(0.25, recordings + random.normal(0, scene[2], len(recordings))),
    }
    about = ("humor", "human", "probe", np.arange(items).astype(str), agreement, gold, runs)
    return PredictedItems(*about, recordings={"synthetic": NUMBERS[0]})


def correlations(scene: str, experiments: int) -> dict[str, float]:
    """How often Bonett and Wright's interval holds Spearman's rho of two normal variables, in percent."""
    rho, random = CORRELATIONS[scene], np.random.default_rng(0)
    normal = 2 * np.sin(np.pi / 6 * rho)
    pairs = random.multivariate_normal([0, 0], [[1, normal], [normal, 1]], size=(experiments, TASKS))
    found = [rank_correlation(*each.T, permutations=1) for each in pairs]
    return {"rho": 100 * float(np.mean([one.low <= rho <= one.high for one in found]))}


def of_agreement(kind: str, scene: str, experiments: int) -> list[tuple[str, str, float]]:
    kinds = {"alphas": alphas, "trends": trends, "effects": effects, "correlations": correlations}
    return [(name, scene, share) for name, share in kinds[kind](scene, experiments).items()]


def table_of_agreement(experiments: int) -> pd.DataFrame:
    """Columns: interval of, where, and how often it held its truth, in percent."""
    scenes = {"alphas": ALPHAS, "trends": TRENDS, "effects": SLOPES, "correlations": CORRELATIONS}
    given = [(kind, scene, experiments) for kind, names in scenes.items() for scene in names]
    rows = [row for each in on_all_cores(of_agreement, given) for row in each]
    return pd.DataFrame(rows, columns=["95 % interval of", "where", "held"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=2000)
    parser.add_argument("--write", action="store_true", help="put the table into docs/statistics.md")
    given = parser.parse_args()
    found = on_all_cores(coverage, [(scene, given.experiments) for scene in SCENES])
    table = pd.DataFrame(dict(zip(SCENES, found, strict=True))).rename_axis("95 % interval of a").reset_index()
    error = 100 * (0.95 * 0.05 / given.experiments) ** 0.5
    note = f"{given.experiments} experiments each; one standard error of an entry over tasks is {error:.1f}."
    page = to_markdown(table.round(1).astype(str), "How often intervals hold the truth, in percent", [note])
    agreement = table_of_agreement(given.experiments).round(1).astype(str)
    caption = "How often intervals of agreement and of correlations hold the truth, in percent"
    note_of_agreement = f"{given.experiments} experiments each, and a quarter as many of changes and effects."
    pages = {"coverage": page, "coverage of agreement": to_markdown(agreement, caption, [note_of_agreement])}
    for name, page in pages.items():
        print(page)
        if given.write:
            text, between = PAGE.read_text(encoding="utf-8"), re.compile(BETWEEN.format(name), re.S)
            PAGE.write_text(between.sub(lambda _, page=page: f"\n{page}\n", text), encoding="utf-8")


if __name__ == "__main__":
    main()
