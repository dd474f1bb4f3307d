"""Training curves and the power of so many tasks: known answers, and what a fine-tuned grid says of itself."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from synthgap.evaluation.gaps import rank_correlation
from synthgap.evaluation.power import MEAN, ORDER, power_of_mean, power_of_order, power_sentence, power_table
from synthgap.evaluation.training_curves import by_corpus, epochs_of, faster_and_overfit, to_reference
from synthgap.figures import Look
from synthgap.tasks import load_profile

LOOK = Look.of(load_profile("recorded"))


def runs(scores: dict[tuple[str, str], list[list[float]]], members: bool = False) -> pd.DataFrame:
    """Runs that noted these scores (0 to 1) after each epoch; members of one run where they are an ensemble."""
    rows = []
    for (task, corpus), of_runs in scores.items():
        noted = [{"watched_macro_f1": one, "train_loss": [1 / n for n in range(1, len(one) + 1)]} for one in of_runs]
        details = [{"members": noted}] if members else noted
        rows += [("paper", task, "finetune", corpus, one) for one in details]
    return pd.DataFrame(rows, columns=["comparison", "task", "classifier", "corpus", "details"])


HUMOR = {
    ("humor", "real"): [[0.5, 0.6, 0.7], [0.5, 0.7, 0.7]],
    ("humor", "zero_shot"): [[0.6, 0.5, 0.4], [0.6, 0.7, 0.6]],
}


@pytest.mark.parametrize("members", [False, True])
def test_best_epoch_gain_and_last_score_of_a_corpus_are_means_over_runs(members):
    table = by_corpus(epochs_of(runs(HUMOR, members))).set_index("corpus")
    assert table["runs"].tolist() == [2, 2]
    assert table["best_epoch"].tolist() == [2.5, 1.5], "of equal epochs the first is the best"
    assert table["gain"].tolist() == pytest.approx([0, 15])
    assert table["gain_sd"].tolist() == pytest.approx([0, np.sqrt(50)])
    assert table["last"].tolist() == pytest.approx([70, 50])


def test_runs_that_noted_nothing_have_no_curves():
    noted = runs(HUMOR)
    older = noted.assign(details=[{"epochs_run": 3}] * len(noted))
    stopped = noted.assign(details=[{"watched_macro_f1": [], "train_loss": [0.5]}] * len(noted))
    for without in (noted.iloc[:0], noted.drop(columns="details"), older, stopped, noted.assign(details=np.nan)):
        assert epochs_of(without).empty
    assert set(epochs_of(pd.concat([older, noted])).groupby("corpus")["run"].nunique()) == {2}
    assert epochs_of(pd.concat([noted, noted.assign(comparison="further")])).equals(epochs_of(noted))


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (HUMOR, "comes +1.0 epochs earlier, and stopping there would gain +15.0 points more; of one task"),
        (
            {
                (task, corpus): [[0.5, 0.7, last]]
                for task, gain in (("humor", 0.1), ("imdb", 0.12), ("sms_spam", 0.14))
                for corpus, last in (("real", 0.8), ("zero_shot", 0.7 - gain))
            },
            "comes +1.0 [+1.0, +1.0] epochs earlier, and stopping there would gain +12.0 [+7.0, +17.0] points more; "
            "mean over 3 tasks. Do they converge faster? Yes. Do they overfit more? Yes.",
        ),
        (
            {
                ("humor", "real"): [[0.7, 0.6]],
                ("humor", "zero_shot"): [[0.6, 0.7]],
                ("imdb", "real"): [[0.7, 0.6]],
                ("imdb", "zero_shot"): [[0.6, 0.7]],
            },
            "Do they converge faster? No, the contrary. Do they overfit more? No, the contrary.",
        ),
        (
            {
                ("humor", "real"): [[0.7, 0.6]],
                ("humor", "zero_shot"): [[0.6, 0.7]],
                ("imdb", "real"): [[0.6, 0.7]],
                ("imdb", "zero_shot"): [[0.7, 0.6]],
            },
            "Do they converge faster? It cannot be told. Do they overfit more? It cannot be told.",
        ),
    ],
)
def test_what_the_paper_says_of_training_is_answered_by_the_numbers(scores, said):
    (sentence,) = faster_and_overfit(to_reference(by_corpus(epochs_of(runs(scores)))), LOOK)
    assert said in sentence
    assert sentence.startswith("finetune, Zero-shot against real texts: ")


# --------------------------------------------------------------------------------------------------------------- power


@pytest.mark.parametrize(("effect", "tasks"), [(0.0, 10), (0.5, 10), (0.5, 34), (1.0, 10)])
def test_power_of_a_mean_is_that_of_a_t_test(effect, tasks):
    beyond = stats.t.ppf(0.975, tasks - 1)
    shift = effect * np.sqrt(tasks)
    exact = stats.nct.sf(beyond, tasks - 1, shift) + stats.nct.cdf(-beyond, tasks - 1, shift)
    (found,) = power_of_mean([effect], tasks, 20_000, np.random.default_rng(0))
    assert found == pytest.approx(100 * exact, abs=1.1)


def test_power_of_a_rank_correlation_is_how_often_its_p_is_small():
    random = np.random.default_rng(1)
    pearson = 2 * np.sin(np.pi * 0.7 / 6)
    small = []
    for _ in range(300):
        x = random.normal(size=10)
        y = pearson * x + np.sqrt(1 - pearson**2) * random.normal(size=10)
        small.append(rank_correlation(x, y, permutations=500).p < 0.05)
    nothing, found = power_of_order([0.0, 0.7], 10, 10_000, np.random.default_rng(0))
    assert nothing == pytest.approx(4.8, abs=0.8)
    assert found == pytest.approx(100 * np.mean(small), abs=9)


@pytest.mark.parametrize(("tasks", "most"), [(4, 0), (5, 5)])
def test_very_few_tasks_cannot_show_an_order(tasks, most):
    assert power_of_order([0.0], tasks, 10_000, np.random.default_rng(0))[0] <= most


def test_the_sentence_reads_the_table_at_the_number_of_tasks():
    names = ["humor", "imdb", "sms_spam", "ag_news"]
    gaps = pd.DataFrame(
        {"task": names * 2, "classifier": "c", "corpus": ["a"] * 4 + ["b"] * 4, "gap": [0, 2, 4, 6] * 2}
    )
    power = power_table(11, gaps, experiments=2000)
    assert power["spread"].dropna().unique() == pytest.approx([np.std([0, 2, 4, 6], ddof=1)])
    for question, effect in ((ORDER, 0.5), (MEAN, 4.0)):
        rows = power[(power["question"] == question) & (power["effect"] == effect)].set_index("tasks")["power"]
        assert rows.is_monotonic_increasing
        needed = rows.index[rows >= 80][0]
        part = f"in {rows[11]:.0f} of 100 studies (80 need about {needed} tasks)"
        assert part in power_sentence(power, 11)
    assert power_table(1, gaps.head(1), experiments=100)["question"].unique().tolist() == [ORDER]
    assert "in none of 100" in power_sentence(power, 1)
