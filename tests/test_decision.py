"""What to do with a budget: what is found where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from workers import made_texts

from synthgap.causes.draws import Sample
from synthgap.decision import costs, rule, winners
from synthgap.decision.winners import strategy_tables
from synthgap.llm.response_log import ResponseLog
from synthgap.tasks import load_profile, load_task
from synthgap.training.predictions import Predictions

ITEMS = 200


def predictions(
    task: str, right: dict[str, list[float]], recordings: dict[str, list[int]] | None = None
) -> Predictions:
    """Runs that are right on so large a share of the items, of each label alike."""
    truth, runs = np.arange(ITEMS) % 2, {}
    for name, shares in right.items():
        wrong = [np.random.default_rng(place).random(ITEMS) >= share for place, share in enumerate(shares)]
        runs[name] = np.stack([np.where(one, 1 - truth, truth) for one in wrong])
    which = {name: np.array(numbers) for name, numbers in (recordings or {}).items()}
    ids = np.array([f"{task}-{number}" for number in range(ITEMS)])
    return Predictions(task, "probe", ("no", "yes"), ids, truth, runs, dict.fromkeys(runs, 10), which)


SHARES = {
    "zero_shot 0": [0.7, 0.7, 0.7],
    "real 10": [0.6, 0.6, 0.6],
    "real + few_shot 10": [0.95, 0.95, 0.95],
    "real 50": [0.9, 0.9, 0.9],
}


@pytest.fixture(scope="module")
def tables():
    less = {name: shares for name, shares in SHARES.items() if name != "real 50"}
    tasks = [predictions("humor", SHARES), predictions("sms_spam", SHARES), predictions("ag_news", less)]
    return strategy_tables(tasks, resamples=200)


def test_the_clearly_best_strategy_has_all_the_chance_and_all_the_wins(tables):
    by_task, over = tables
    rows = over[over["real_labels"] == 10].set_index("strategy")
    assert list(rows.index) == ["zero_shot", "real", "real + few_shot"], "what costs nothing can be done with 10, too"
    assert rows.loc["real + few_shot", ["tasks", "wins", "chance"]].tolist() == [3, 3, 1]
    assert rows.loc["real + few_shot", "gain"] == pytest.approx(35, abs=8)
    assert by_task.groupby(["task", "real_labels"])["chance"].sum().round(9).eq(1).all()


def test_with_fifty_labels_only_tasks_that_have_so_many_count(tables):
    by_task, over = tables
    assert set(by_task.loc[by_task["real_labels"] == 50, "task"]) == {"humor", "sms_spam"}
    assert set(over.loc[over["real_labels"] == 50, "tasks"]) == {2}
    best = over[over["real_labels"] == 50].sort_values("macro_f1").iloc[-1]
    assert best["strategy"] == "real"


def test_the_answer_names_the_best_its_gain_and_the_next(tables):
    said = winners.best_in_words(tables[1], 10, "probe")
    assert "real + few-shot (9" in said
    assert "on 3 of the 3 tasks; next is zero-shot texts alone" in said
    assert "takes two tasks" in winners.best_in_words(tables[1], 25, "probe")
    assert "real + few-shot" in winners.shown(tables[1])


def test_strategies_that_are_alike_share_the_chance():
    same = {name: [0.8, 0.8] for name in ("real 10", "few_shot 10")}
    same["few_shot 10"] = [0.8, 0.8]
    by_task, over = strategy_tables([predictions(task, same) for task in ("humor", "sms_spam")], resamples=2000)
    assert over["gain"].abs().max() < 1e-9
    assert by_task["chance"].sum() == pytest.approx(2)


def test_where_a_prompt_was_recorded_once_other_tasks_tell_what_another_recording_would_change():
    right = {"real 10": [0.6, 0.6], "few_shot 10": [0.6, 0.9, 0.7, 0.8]}
    several = predictions("humor", right, {"few_shot 10": [1, 2, 3, 1]})
    single = predictions("sms_spam", {**right, "few_shot 10": [0.8, 0.8, 0.8, 0.8]}, {"few_shot 10": [1, 1, 1, 1]})
    scored = [winners.scored_of(one, 100, 0) for one in (several, single)]
    winners.add_all_spreads(scored)
    known, borrowed = (winners.total(one["few_shot 10"].spreads.new).variance for one in scored)
    assert borrowed == pytest.approx(3 * known)
    assert all(one["real 10"].spreads.new is None for one in scored)


# -------------------------------------------------------------------------------------------------------------- choices

STRATEGIES = ("few_shot", "real + few_shot")


def seen_and_gains(noise: float = 0.0):
    """Four tasks whose gains are what cross-validation says, halved, less 1 for few-shot texts alone."""
    random, seen, gains = np.random.default_rng(0), [], []
    for place, task in enumerate(("ag_news", "humor", "relation", "sms_spam")):
        for number, strategy in enumerate(("real", *STRATEGIES)):
            said = 4.0 * (place - 1) + 2.0 * (place % 2) * number
            gain = 0.0 if strategy == "real" else said / 2 - (number == 1)
            gains.append(("probe", task, 10, strategy, 70 + gain))
            for draw in range(2) if strategy != "real" else ():
                seen.append((task, 10, draw, strategy, said + noise * random.normal(), 60.0 + place * draw, 0.7))
    columns = ["classifier", "task", "real_labels", "strategy", "macro_f1"]
    return pd.DataFrame(seen, columns=rule.SEEN), pd.DataFrame(gains, columns=columns)


def test_gains_that_follow_what_is_seen_are_foretold():
    seen, gains = seen_and_gains()
    alone = gains[gains["strategy"] == "real"].set_index("task")["macro_f1"]
    true = seen.merge(gains, on=["task", "real_labels", "strategy"])
    true["gain"] = true["macro_f1"] - true["task"].map(alone)
    known, asked = true[true["task"] != "humor"], true[true["task"] == "humor"]
    assert rule.foretell(known, asked) == pytest.approx(asked["gain"].to_numpy(), abs=1e-6)


def test_a_rule_that_foretells_right_loses_nothing_and_real_texts_alone_lose_what_the_best_gains():
    seen, gains = seen_and_gains()
    found = rule.regret_table(seen, gains).set_index("task")
    assert found["rule"].max() == pytest.approx(0, abs=1e-6)
    best = gains.groupby("task")["macro_f1"].max() - 70
    assert found["never"].to_dict() == pytest.approx(best.to_dict())
    assert found.loc["ag_news", ["best", "chosen"]].tolist() == ["real", "real"]
    assert (found[list(rule.RULES)] >= 0).all(axis=None)
    assert "no more than 1 on 4 of 4 tasks" in rule.regret_in_words(found, 10, "probe")


def test_one_task_alone_has_nobody_to_learn_from():
    seen, gains = seen_and_gains()
    one = rule.regret_table(seen[seen["task"] == "humor"], gains[gains["task"] == "humor"])
    assert list(one.columns) == rule.REGRET
    assert one.empty
    assert "two tasks at least" in rule.regret_in_words(one, 10, "probe")


def sample(size: int, seed: int, turned: bool = False) -> Sample:
    places = np.repeat([0, 1], size)
    vectors = np.random.default_rng(seed).normal(scale=0.1, size=(2 * size, 4))
    vectors[:, 0] += np.where(places, 1, -1)
    frame = pd.DataFrame({"id": [f"{seed}-{at}" for at in range(2 * size)], "text": "", "label": ""})
    return Sample(frame, 1 - places if turned else places, vectors)


@pytest.mark.parametrize(
    ("added", "with_real", "expected"),
    [
        (None, True, 100),
        (sample(20, 2), True, 100),
        (sample(20, 2), False, 100),
        (sample(20, 2, turned=True), False, 0),
    ],
)
def test_cross_validation_scores_what_was_held_out(added, with_real, expected):
    assert rule.cross_validated(sample(3, 1), added, ["no", "yes"], with_real) == pytest.approx(expected)


# ---------------------------------------------------------------------------------------------------------------- money

BY_TASK = pd.DataFrame(
    [("probe", "humor", n, strategy, 70.0) for n, strategy in [(0, "zero_shot"), (10, "zero_shot"), (10, "real")]]
    + [
        ("probe", "humor", 10, strategy, 80.0)
        for strategy in ("few_shot", "real + few_shot", "real + few_shot + labels")
    ]
    + [("probe", "humor", 0, "labels", 75.0), ("probe", "humor", 10, "labels", 75.0)],
    columns=["classifier", "task", "real_labels", "strategy", "macro_f1"],
)
N_TRAIN = {
    **{"zero_shot 0": 100, "labels 0": 60, "real 10": 20, "few_shot 10": 40},
    **{"real + few_shot 10": 60, "real + few_shot + labels 10": 115},
}
INDEX = pd.DataFrame(
    [("humor", "probe", name, n) for name, n in N_TRAIN.items()], columns=["task", "classifier", "corpus", "n_train"]
)
TOKENS = pd.DataFrame(
    [("humor", name, part, 2, 10.0, 5.0) for name, part in [("zero_shot", "zero_shot"), ("few_shot", "few_shot")]]
    + [("humor", "llm_labels", "labels", 2, 50.0, 0.0)],
    columns=costs.TOKENS,
)
SPEEDS = pd.DataFrame([("probe", "cpu", 3, 10.0, 100.0, 1e6 / 100 / 3600)], columns=costs.SPEEDS)


def costs_of(prices: costs.Prices) -> pd.DataFrame:
    return costs.costs_table(BY_TASK, INDEX, TOKENS, SPEEDS, prices).set_index(["real_labels", "strategy"])


@pytest.mark.parametrize(
    ("strategy", "people", "llm", "machine"),
    [
        ("real", 2 * 10 * 0.5, 0, 20 / 10 / 3600),
        ("zero_shot", 0, 100 * (10 * 1 + 5 * 2), 100 / 10 / 3600),
        ("labels", 0, 60 * 50, 60 / 10 / 3600),
        ("few_shot", 2 * 10 * 0.5, 40 * (10 * 1 + 5 * 2), 40 / 10 / 3600),
        ("real + few_shot + labels", 2 * 10 * 0.5, 40 * (10 * 1 + 5 * 2) + 60 * 50, 115 / 10 / 3600),
    ],
)
def test_costs_are_those_of_people_llm_and_machine(strategy, people, llm, machine):
    every = costs_of(costs.Prices(0.5, 1e6, 2e6, 1.0))
    found = every.loc[(10 if "real" in strategy or "few_shot" in strategy else 0, strategy)]
    assert found[["people", "llm", "machine"]].tolist() == pytest.approx([people, llm, machine])
    assert found["cost"] == pytest.approx(people + llm + machine)
    assert found["million"] == pytest.approx(1e6 / 100 / 3600)


def test_where_all_prices_are_0_nothing_costs_anything():
    nothing = costs.Prices(0, 0, 0, 0)
    assert (costs_of(nothing)[["people", "llm", "machine", "cost", "million"]] == 0).all(axis=None)
    even = costs.break_even(worths(0.5, 0.2, 1.0), TOKENS, nothing)
    assert even[["least", "most", "low", "high"]].to_numpy().tolist() == [[0, 0, 0, 0]]


def worths(worth: float, low: float, high: float) -> pd.DataFrame:
    row = ("humor", "probe", "few_shot", 50, 3, 1, worth, low, high, np.nan, np.nan, 0.1, 2.0, "")
    from synthgap.evaluation.learning_curves import WORTH_COLUMNS

    return pd.DataFrame([row], columns=WORTH_COLUMNS)


@pytest.mark.parametrize(
    ("worth", "expected", "said"),
    [
        ((0.5, 0.25, 1.0), (40, 40, 20, 80), "40.0 [20.0, 80.0]"),
        ((0.5, 0.0, np.inf), (40, 40, 0, np.inf), "40.0 [0.0, no end]"),
        ((0.0, 0.0, 0.25), (200, np.inf, 80, np.inf), "> 200.0 [80.0, no end]"),
        ((np.inf, 0.5, np.inf), (0, 10, 0, 40), "< 10.0 [0.0, 40.0]"),
        ((0.0, 0.0, 0.0), (200, np.inf, np.inf, np.inf), "> 200.0 [no end, no end]"),
    ],
)
def test_the_break_even_price_carries_the_bounds_of_the_worth(worth, expected, said):
    table = costs.break_even(worths(*worth), TOKENS, costs.Prices(0, 1e6, 2e6, 0))
    assert table[["least", "most", "low", "high"]].iloc[0].tolist() == pytest.approx(list(expected))
    assert costs.break_even_in_words(table, 1).iloc[0, -1] == said


def test_later_turns_and_examples_make_a_text_dearer():
    task = load_task("humor")
    one, ten, shown = (costs.writing_tokens(task, 80, *more)[0] for more in ((None, 1), (None, 10), (80.0, 10)))
    assert one < ten < shown
    assert costs.writing_tokens(task, 80, None, 1)[1] == 20
    assert costs.labelling_tokens(task, 400)[0] > 100


def test_a_live_runs_log_gives_its_own_row(tmp_path):
    assert costs.from_log(tmp_path / "none.sqlite").empty
    row = dict.fromkeys(("key", "task", "label", "response", "finish_reason", "fault", "protocol"), "")
    row |= {"setting": "zero_shot", "conversation": 0, "n": 10, "example_ids": "[]", "model": "m", "paid": 1}
    with ResponseLog(tmp_path / "log.sqlite") as log:
        log.add({**row, "key": f"{turn}", "turn": turn} | USED for turn in range(2))
    found = costs.from_log(tmp_path / "log.sqlite")
    assert found.to_numpy().tolist() == [["m", "zero_shot", 20, 30.0, 10.0, 0.2]]
    live = {"backend": "openai", "model": "m", "base_url": "http://localhost:1/v1"}
    asked = load_profile("smoke", {"llms.mine": live, "corpora.zero_shot.llm": "mine"})
    tokens = costs.as_logged(TOKENS, found, asked).set_index("corpus")[["prompt_tokens", "completion_tokens"]]
    assert tokens.loc["zero_shot"].tolist() == [30, 10], "as the log counted them"
    assert tokens.loc["few_shot"].tolist() == [10, 5], "as estimated: another LLM wrote them"
    nothing = costs.from_log(tmp_path / "none.sqlite")
    pd.testing.assert_frame_equal(costs.as_logged(TOKENS, nothing, asked), TOKENS)


def test_the_speed_of_words_is_that_of_all_tasks():
    texts = made_texts(load_profile("smoke"))
    (row,) = costs.speed_of_words(texts, 5).itertuples()
    assert (row.classifier, row.device, row.runs) == ("tfidf", "cpu", len(texts))
    assert row.train_texts_per_second > 0
    assert row.million_hours == pytest.approx(1e6 / row.predict_texts_per_second / 3600)


USED = {"prompt_tokens": 300, "completion_tokens": 100, "seconds": 2.0}


def test_smoke_decides(smoke):
    tables = {
        name: pd.read_csv(smoke / "tables" / f"{name}.csv") for name in ("strategies", "decision_regret", "costs")
    }
    assert set(tables["strategies"]["strategy"]) == {
        "zero_shot",
        "real",
        "real + zero_shot",
        "few_shot",
        "real + few_shot",
    }
    assert (tables["decision_regret"][list(rule.RULES)] >= 0).all(axis=None)
    assert (tables["costs"]["cost"] >= 0).all()
    answers = pd.read_csv(smoke / "tables" / "answers_10_decision.csv")
    assert "What does it cost?" in set(answers["question"])
    for name in ("strategies_tfidf", "strategy_gains", "decision_regret", "costs"):
        assert (smoke / "figures" / f"{name}.png").is_file()
