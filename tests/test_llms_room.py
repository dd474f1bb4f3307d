"""LLMs side by side, the forecast of the gap, and later texts: what is found where the answer is known."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from test_causes import LABELS, draw, sample

from synthgap.causes.draws import Sample
from synthgap.core.config import REAL, ImportedCorpus
from synthgap.core.errors import SynthgapError
from synthgap.data.imported import read_imported
from synthgap.evaluation.gaps import evaluate, one_recording
from synthgap.figures import Look
from synthgap.llms import figures, forecast, pipelines, transfer
from synthgap.tasks import load_profile, load_task
from synthgap.training.predictions import Predictions

PROFILE = load_profile("smoke")


def predictions(rights: dict[str, list[float]], task: str = "humor", items: int = 400, **about) -> Predictions:
    """Runs that are right on a share of the items, {corpus: shares, one for each run}; labels take turns."""
    truth = np.arange(items) % 2
    predicted = {
        corpus: np.stack([np.where(np.arange(items) // 2 * 2 < share * items, truth, 1 - truth) for share in shares])
        for corpus, shares in rights.items()
    }
    ids, sizes = np.array([f"{task}-{n}" for n in range(items)]), dict.fromkeys(rights, 100)
    recordings = about.get("recordings", {corpus: np.ones(len(runs), int) for corpus, runs in predicted.items()})
    return Predictions(task, "probe", ("no", "yes"), ids, truth, predicted, sizes, recordings)


# ----------------------------------------------------------------------------------------------------------- pipelines


def test_the_main_comparison_stands_in_where_a_profile_names_no_pipeline():
    assert list(pipelines.pipelines(PROFILE)) == ["paper"]
    named = {"a": {"corpora": ["zero_shot"]}, "b": {"corpora": ["few_shot"], "question": "llms"}}
    assert list(pipelines.pipelines(load_profile("smoke", {"comparisons": named}))) == ["b"]


def test_one_recording_varies_as_several_recordings_do():
    shares = [0.6, 0.6, 0.7, 0.7, 0.8, 0.8]
    several = predictions(
        {"real": [0.9, 0.9], "made": shares},
        recordings={"real": np.array([1, 1]), "made": np.array([1, 1, 2, 2, 3, 3])},
    )
    parts = one_recording([several])["humor", "probe"]
    assert sum(part.variance for part in parts) == pytest.approx(10**2, rel=0.1), "the recordings score 60, 70 and 80"
    assert one_recording([predictions({"real": [0.9, 0.9], "made": [0.8, 0.8]})]) == {}


def test_gaps_of_one_recording_are_as_wide_as_another_recording_may_make_them():
    one = predictions({"real": [0.9, 0.9], "made": [0.6, 0.6], "other": [0.8, 0.8]})
    alone = evaluate([one], 200, 100).gaps.query("metric == 'macro_f1'")
    assert alone["new_low"].isna().all()
    shares = [0.6, 0.6, 0.7, 0.7, 0.8, 0.8]
    several = predictions({"made": shares}, recordings={"made": np.array([1, 1, 2, 2, 3, 3])})
    lent = evaluate([one], 200, 100, lent=one_recording([several])).gaps.query("metric == 'macro_f1'")
    width, new_width = lent["high"] - lent["low"], lent["new_high"] - lent["new_low"]
    assert (new_width > 2 * width).all()
    unsteady = predictions({"real": [0.9] * 5, "made": [0.5, 0.6, 0.7, 0.8, 0.9]})
    wide = evaluate([unsteady], 200, 100, lent=one_recording([several])).gaps.query("metric == 'macro_f1'").iloc[0]
    assert wide["new_high"] - wide["new_low"] > wide["high"] - wide["low"], "its own draws count as well"
    between = (lent["corpus"] == "other") & (lent["baseline"] == "made")
    assert new_width[between].item() > new_width[~between].max(), "both were recorded once, real was not recorded"
    assert lent["gap"].tolist() == alone["gap"].tolist()


def test_a_pool_gains_over_the_mean_of_its_corpora(monkeypatch):
    one = predictions({"real": [0.9] * 3, "zero_shot": [0.5] * 3, "few_shot": [0.7] * 3, "both": [0.68] * 3})
    compared = {"main": {"corpora": ["zero_shot", "few_shot", "both"]}}
    changes = {"corpora.both": {"pool": ["zero_shot", "few_shot"]}, "comparisons": compared}
    profile = load_profile("smoke", changes)
    monkeypatch.setattr(pipelines, "load_predictions", lambda *_, **__: [one])
    (row,) = pipelines.pool_gains(profile, None).itertuples()
    assert row.gain == pytest.approx(68 - (50 + 70) / 2)
    assert row.low < row.gain < row.high
    (said,) = pipelines.pools_in_words(pipelines.pool_gains(profile, None), Look.of(profile))
    assert "+8.0 points" in said
    assert "2 corpora" in said


def test_the_best_of_a_pipeline_is_named_whichever_way_the_gap_stands():
    rows = [("a", REAL, -12.0), ("b", REAL, -2.0), ("b", "a", 10.0)]
    gaps = pd.DataFrame(rows, columns=["corpus", "baseline", "gap"]).assign(comparison="news", task="humor")
    gaps = gaps.assign(classifier="probe", metric="macro_f1", low=gaps["gap"] - 1, high=gaps["gap"] + 3)
    gaps = gaps.assign(new_low=np.nan, new_high=np.nan)
    turned = gaps.assign(gap=-gaps["gap"], low=-gaps["high"], high=-gaps["low"])
    corpora = {name: {"file": "x.csv", "rows": {"llm": name}} for name in "ab"}
    compared = {"comparisons": {"news": {"corpora": ["a", "b"], "tasks": ["humor"]}}}
    compared |= {"training.augmentation": None, "training.decision": None}
    profile = load_profile("smoke", {"corpora": corpora} | compared)
    (said,) = pipelines.best_and_worst(gaps, profile)
    assert "B trains best and A worst, +10.0 points [+9.0, +13.0]" in said
    (said,) = pipelines.best_and_worst(turned, profile)
    assert "A trains best and B worst, +10.0 points [+9.0, +13.0]" in said
    one_llm = load_profile("smoke", {"corpora": corpora | {"b": corpora["a"]}} | compared)
    assert list(pipelines.best_and_worst(gaps, one_llm)) == [], "one LLM in two settings"


@pytest.mark.fault(
    "LLMs side by side",
    "corpora with fewer texts than are asked for",
    "the most that all have, which is said",
)
def test_a_pipeline_whose_corpora_are_too_small_says_on_how_many_texts_it_stands():
    rows = [("large", "humor", 30), ("small", "humor", 14), ("small", "ag_news", 20)]
    said = pipelines.sizes_in_words(pd.DataFrame(rows, columns=["comparison", "task", "n_train"]), PROFILE)
    assert PROFILE.training.texts_per_label == 15
    assert "small: 5 to 7 texts" in said
    assert "large" not in said


@pytest.mark.fault("LLMs side by side", "an LLM that wrote texts of one label only", "refused: which label is missing")
def test_an_llm_with_one_label_only_is_refused(tmp_path):
    path = tmp_path / "humor.csv"
    path.write_text("text,label,llm\na joke,humorous,one\na fact,not_humorous,two\nmore jokes,humorous,two\n")
    with pytest.raises(SynthgapError, match="has no text of the label 'not_humorous'"):
        read_imported(ImportedCorpus(file=str(path), rows={"llm": "one"}), load_task("humor"), "one")
    texts, _ = read_imported(ImportedCorpus(file=str(path), rows={"llm": "two"}), load_task("humor"), "two")
    assert len(texts) == 2


def test_a_gap_that_punctuation_makes_is_gone_without_it(monkeypatch):
    """The embedding sees the label of real texts in a word, and of synthetic ones in a sign as well."""

    def seen(texts):
        return np.array([[text.count("yes"), 9.0 * text.count("!"), 1.0] for text in texts])

    def written(signs, seed):
        one = sample(40, seed)
        texts = [f"{'yes' if place else 'no'} {number} {signs[place]}" for number, place in enumerate(one.labels)]
        return Sample(one.texts.assign(text=texts), one.labels, seen(texts))

    monkeypatch.setattr(pipelines, "embed", seen)
    pair = replace(draw(written(["", ""], 1), written(["", "!"], 2)), test=written(["!", ""], 3))
    found = pipelines.plain(pair)
    assert found["gap"] < -20
    assert found["plain"] == pytest.approx(0)


# ------------------------------------------------------------------------------------------------------------ forecast


def examples(tasks: int, weight: float, noise: float, seed: int = 0, each: int = 4) -> pd.DataFrame:
    """Corpora of several tasks whose gap is a feature times a weight, and noise."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(tasks * each, len(forecast.FEATURES)))
    table = pd.DataFrame(rows, columns=list(forecast.FEATURES))
    gap = weight * table["told_apart"] + noise * random.normal(size=len(table)) - 8
    names = {
        "task": np.repeat([f"t{n}" for n in range(tasks)], each),
        "corpus": [f"c{n % each}" for n in range(tasks * each)],
    }
    return pd.DataFrame(names).join(table).assign(gap=gap)


def test_a_gap_that_features_make_is_foretold_and_noise_is_not():
    found = forecast.judged(forecast.leave_one_task_out(examples(10, weight=6, noise=1)))
    assert found["error"] < 0.5 * found["error_of_mean"]
    nothing = forecast.judged(forecast.leave_one_task_out(examples(10, weight=0, noise=6)))
    assert nothing["error"] > 0.9 * nothing["error_of_mean"]


def test_the_band_covers_about_nine_of_ten_tasks_that_it_has_not_seen():
    shares = [forecast.judged(forecast.leave_one_task_out(examples(8, 3, 3, seed)))["covered"] for seed in range(6)]
    assert 82 <= np.mean(shares) <= 98


def test_a_task_tells_nothing_of_its_own_forecast():
    table = examples(5, 3, 1)
    before = forecast.leave_one_task_out(table).query("task == 't2'")
    changed = table.assign(gap=table["gap"].where(table["task"] != "t2", 99))
    after = forecast.leave_one_task_out(changed).query("task == 't2'")
    for column in ("forecast", "low", "high", "mean"):
        assert after[column].tolist() == before[column].tolist()


@pytest.mark.parametrize(
    ("errors", "half"), [([1, 2, 2, 3, 4, 4, 5, 6, 9], 9), ([3.0] * 8, np.inf), ([], np.inf), (range(1, 20), 18)]
)
def test_a_band_needs_as_many_errors_as_it_promises(errors, half):
    assert forecast.half_width(np.array(errors, float)) == half


def test_a_forecast_gives_a_gap_within_its_band_and_says_when_nothing_can_be_foretold():
    fitted = forecast.fit(examples(8, 3, 1))
    gap, low, high = fitted(dict.fromkeys(forecast.FEATURES, 0.0))
    assert low < gap < high
    assert np.isnan(fitted(dict.fromkeys(forecast.FEATURES, np.nan))).all()
    few = forecast.leave_one_task_out(examples(2, 3, 1))
    assert few.empty
    assert "three tasks" in forecast.judged_in_words(few)


def test_features_of_like_texts_are_near_nothing_and_of_others_are_not():
    real = sample(60, 1)
    like = forecast.features(sample(60, 2), real, {"no": "no", "yes": "yes"})
    assert list(like) == list(forecast.FEATURES)
    assert like["told_apart"] == pytest.approx(0.5, abs=0.15)
    assert like["length"] == 0
    assert like["label_words"] == 0
    assert like["own_folds"] > 90
    other = sample(60, 2, words=16)
    other.vectors[:, 3] += 5
    other.texts["text"] += " #yes"
    unlike = forecast.features(other, real, {"no": "no", "yes": "yes"})
    assert unlike["told_apart"] == 1
    assert unlike["similarity"] < like["similarity"] - 0.1
    assert unlike["length"] == pytest.approx(np.log(17 / 8))
    assert unlike["label_words"] == 100


def test_features_of_a_handful_of_texts_are_missing_rather_than_wrong():
    found = forecast.features(sample(1, 1), sample(2, 2), {"no": "no", "yes": "yes"})
    assert np.isnan(found["similarity"])
    assert np.isfinite(found["length"])


def test_examples_have_all_features_and_one_gap():
    of_draws = forecast.properties(draw(sample(20, 1), sample(20, 2)))
    rows = [("humor", "zero_shot", name, value) for name, value in of_draws.items()]
    means = pd.DataFrame(rows, columns=["task", "corpus", "measure", "value"])
    gaps = pd.DataFrame({"task": ["humor"], "corpus": ["zero_shot"], "gap": [-3.0]})
    assert forecast.examples(means, gaps).columns.tolist() == ["task", "corpus", *forecast.FEATURES, "gap"]
    assert forecast.examples(means.query("measure != 'length'"), gaps).empty
    assert set(pipelines.BESIDE) <= set(of_draws)
    assert LABELS == ("no", "yes")


# ------------------------------------------------------------------------------------------------------------ transfer


def test_the_change_of_a_gap_is_that_of_corpus_and_reference():
    before = predictions({"real": [0.9, 0.88], "made": [0.8, 0.78]})
    after = predictions({"real": [0.8, 0.78], "made": [0.76, 0.74]}, items=800)
    found = transfer.changes([before], [after], 500, 0).set_index(["corpus", "kind"])
    assert found.loc["made", "gap"].round(1).to_dict() == {"before": -10.0, "after": -4.0, "change": 6.0}
    made = found.loc["made", "change"]
    assert made["low"] < 6 < made["high"]
    assert found.loc[(REAL, "change"), "score"] == pytest.approx(-10, abs=0.1)
    assert np.isnan(found.loc[(REAL, "change"), "low"])
    same = transfer.changes([before], [before], 500, 0).set_index(["corpus", "kind"]).loc["made", "change"]
    assert same["gap"] == 0
    assert same["low"] < 0 < same["high"]
    assert transfer.changes([before], [predictions({"real": [0.9]}, task="imdb")], 100, 0).empty


def test_a_sentence_says_how_gaps_change_and_leaves_pools_out():
    rows = [("zero_shot", 6.0, 2.0), ("few_shot", -1.0, -3.0), ("both", 40.0, 30.0), (REAL, np.nan, np.nan)]
    moved = pd.DataFrame(rows, columns=["corpus", "gap", "low"]).assign(high=lambda rows: rows["gap"] + 4)
    moved = moved.assign(task="ag_news", items="bbc_2022", classifier="probe", kind="change")
    pool = {"corpora.both": {"pool": ["zero_shot", "few_shot"]}, "training.augmentation": None}
    (said,) = transfer.in_words(moved, load_profile("smoke", pool))
    assert "changes by +2.5 points on average over 2 corpora; from Few-shot −1.0 [−3.0, +3.0] to Zero-shot +6.0" in said
    assert "1 of these changes can be told from 0" in said
    assert transfer.in_words(moved.iloc[:0], PROFILE) == []


# -------------------------------------------------------------------------------------------------------------- figures


def test_figures_are_drawn_from_saved_tables():
    rows = [("a", "humor", "zero_shot"), ("b", "humor", "few_shot"), ("a", "imdb", "zero_shot")]
    gaps = pd.DataFrame(rows, columns=["comparison", "task", "corpus"])
    gaps = gaps.assign(classifier="probe", gap=-3.0, low=-5.0, high=-1.0, new_low=np.nan, new_high=np.nan)
    foretold = forecast.leave_one_task_out(examples(6, 3, 1))
    moved = pd.concat([gaps.assign(task="ag_news", items="bbc_2022", kind=kind) for kind in transfer.KINDS])
    saved = {"llms_side_by_side": gaps, "forecast": foretold, "transfer": moved}
    for drawing, part in ((figures.llms, "probe"), (figures.forecast, ""), (figures.transfer, "bbc_2022")):
        figure, note = drawing.draw(saved.get, Look.of(PROFILE), part)
        assert note
        assert all(ax.collections for ax in figure.axes)
        plt.close(figure)
    figure, _ = figures.llms.draw(saved.get, Look.of(PROFILE), "probe")
    beside = [[text.get_text() for text in ax.child_axes[0].get_yticklabels()] for ax in figure.axes]
    assert beside == [["a"], ["a", "b"]], "each pipeline's name stands beside its rows"
    plt.close(figure)
