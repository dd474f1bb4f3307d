"""LLMs side by side: shares, lengths, costs and reasons of the corpora of one profile."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from conftest import synthgap
from endpoints import settings
from seaborn import boxplot

from synthgap.data.real import checked
from synthgap.figures import Look
from synthgap.generation import figures
from synthgap.generation.corpora import CorpusTexts
from synthgap.generation.filtering import LEDGER_COLUMNS, REASONS
from synthgap.generation.llms import (
    COLUMNS,
    REASON_COLUMNS,
    compare_llms,
    compare_rejects,
    llms_shown,
    ratio,
    text_lengths,
)
from synthgap.tables import read_csv, write_csv
from synthgap.tasks import load_profile, load_task


def made(corpus: str, llm: str, accepted: list[tuple[int, str]], rejected: list[tuple[int, str]]) -> CorpusTexts:
    texts = pd.DataFrame(
        [
            {"id": f"{number}", "text": text, "label": "ham", "turn": turn, "position": number}
            for number, (turn, text) in enumerate(accepted)
        ]
    )
    ledger = pd.DataFrame(
        [
            {
                **{"task": "sms_spam", "corpus": corpus, "label": "ham", "turn": turn, "position": 0},
                **{"reason": reason, "text": "x", "matches": "", "similarity": float("nan")},
            }
            for turn, reason in rejected
        ],
        columns=LEDGER_COLUMNS,
    )
    about = {
        **{"task": "sms_spam", "corpus": corpus, "setting": "zero_shot", "written_by": llm, "asked": 10},
        **{"received": len(texts) + len(ledger), "accepted": len(texts)},
        "rejected": ledger["reason"].value_counts().to_dict(),
    }
    return CorpusTexts(texts, ledger, [], about)


MINE = made("mine", "an LLM", [(0, "a b"), (0, "a b c d"), (1, "a b c")], [(1, "near_duplicate")])
THEIRS = made("theirs", "another LLM", [(0, "a")], [(0, "refused"), (1, "refused"), (1, "empty")])
BOTH = {("sms_spam", "mine"): MINE, ("sms_spam", "theirs"): THEIRS}
COSTS = pd.DataFrame(
    {
        **{"task": ["sms_spam"] * 2, "corpus": ["mine"] * 2, "label": ["ham", "spam"]},
        **{"prompt_tokens": [100, 200], "completion_tokens": [10, 20], "cost": [0.3, 0.6]},
    }
)


def imported() -> CorpusTexts:
    texts = pd.DataFrame({"id": ["1", "2", "3"], "text": ["a b", "a b c d", "a b c"], "label": "ham"})
    about = {"task": "sms_spam", "corpus": "file", "setting": None, "written_by": "nobody knows", "asked": None}
    counts = {"received": 5, "accepted": 3, "rejected": {"other_label": 2}}
    return CorpusTexts(texts, pd.DataFrame(columns=LEDGER_COLUMNS), [], {**about, **counts})


def test_shares_lengths_costs_and_reasons():
    table = compare_llms(BOTH, COSTS).set_index("corpus")
    assert table["llm"].tolist() == ["an LLM", "another LLM"]
    assert table["yield"].tolist() == [0.75, 0.25]
    assert table["words"].tolist() == [3.0, 1.0]
    assert (table["yield_low"] <= table["yield"]).all()
    assert (table["yield"] <= table["yield_high"]).all()
    assert table.loc["mine", "tokens_per_text"] == pytest.approx(330 / 3)
    assert table.loc["mine", "cost_per_text"] == pytest.approx(0.9 / 3)
    assert table.loc["theirs", ["tokens_per_text", "cost", "cost_per_text"]].isna().all()
    reasons = compare_rejects(BOTH)
    assert len(reasons) == 2 * len(REASONS)
    refused = reasons[reasons["reason"] == "refused"].set_index("corpus")
    assert refused["texts"].tolist() == [0, 2]
    assert refused["share"].tolist() == [0.0, 0.5]
    shown = llms_shown(table.reset_index())
    assert shown["usable share"].str.fullmatch(r"0\.\d{3} \[0\.\d{3}, \d\.\d{3}\]").all()
    assert shown["cost per text"].tolist() == ["0.300000", "–"]


def test_imported_texts_have_lengths_and_no_share():
    table = compare_llms({("sms_spam", "mine"): MINE, ("sms_spam", "file"): imported()}, COSTS).set_index("corpus")
    assert table["words"].tolist() == [3.0, 3.0]
    assert table.loc["file", "words_low"] < 3 < table.loc["file", "words_high"]
    assert math.isnan(table.loc["file", "yield"])
    assert table["asked"].isna().tolist() == [False, True]
    assert llms_shown(table.reset_index())["usable share"].tolist()[1] == "–"
    rejects = compare_rejects({("sms_spam", "file"): imported()}).set_index("reason")
    assert rejects.loc["other_label", ["texts", "share"]].tolist() == [2, 0.4]


def test_without_corpora_the_tables_are_there_and_empty():
    assert compare_llms({}, COSTS.head(0)).columns.tolist() == list(COLUMNS)
    assert compare_rejects({}).columns.tolist() == list(REASON_COLUMNS)
    assert llms_shown(compare_llms({}, COSTS.head(0))).empty


def test_the_interval_is_over_turns_and_covers_the_truth():
    generator = np.random.default_rng(3)
    covered = []
    for _ in range(200):
        likely = generator.beta(8, 2, size=40)  # turns differ, the texts of one are alike
        accepted = generator.binomial(10, likely).astype(float)
        value, low, high = ratio(accepted, np.full(40, 10.0))
        assert value == accepted.sum() / 400
        covered.append(low <= 0.8 <= high)
    assert 0.88 <= np.mean(covered) <= 0.99


def test_no_text_at_all_has_no_share():
    assert all(np.isnan(ratio(np.zeros(3), np.zeros(3))))


# ------------------------------------------------------------------------------------------------- lengths, figures


def test_boxes_from_the_saved_table_are_the_boxes_of_the_texts(texts, tmp_path):
    import matplotlib.pyplot as plt

    generator = np.random.default_rng(0)
    texts = texts.assign(
        text=[" ".join(["word"] * n) + f" {k}" for k, n in enumerate(generator.geometric(0.1, len(texts)))]
    )
    data = checked(load_task("sms_spam"), texts, "made")
    write_csv(tmp_path / "text_lengths.csv", text_lengths({"sms_spam": data}, BOTH))
    table = read_csv(tmp_path, "text_lengths")
    assert table["corpus"].tolist() == ["real", "mine", "theirs"]
    assert table["texts"].tolist() == [24, 3, 1]
    words = data.split("train")["text"].str.split().str.len()
    boxes = boxplot(x=words, showfliers=False, ax=plt.figure().add_subplot())
    lines = sorted({float(x) for line in boxes.lines for x in line.get_xdata()})
    names = ["whisker_low", "quartile_1", "median", "quartile_3", "whisker_high"]
    assert sorted(set(table.loc[0, names])) == pytest.approx(lines)
    plt.close("all")


def test_every_figure_is_drawn_from_saved_tables_for_any_corpora(texts):
    data = checked(load_task("sms_spam"), texts, "made")
    corpora = {name: {"file": "x.csv"} for name in ("mine", "theirs", "file")}
    profile = load_profile("smoke").changed(
        {"corpora": corpora, "comparisons": {}, "training.augmentation": None, "training.decision": None}
    )
    made = {**BOTH, ("sms_spam", "file"): imported()}
    tables = {"text_lengths": text_lengths({"sms_spam": data}, made), "llms": compare_llms(made, COSTS)}
    for drawing in (figures.text_lengths, figures.text_counts, figures.llms):
        for width in (None, 3.3):
            figure = drawing.drawn(tables.__getitem__, Look.of(profile, width), "a footer")
            ax = figure.axes[0]
            assert ax.get_title(loc="left")
            assert figure.axes[-1].get_xlabel(), "the lowest panel has it"
            keys = {"llms": 3, "text_counts": 4, "text_lengths": 4 + len(figures.BOX_LINES)}
            assert len(figure.legends[0].get_texts()) == keys[drawing.name]
            assert figure.get_figwidth() == (width or figure.get_figwidth())
    assert figures.text_lengths.file_name() == "text_lengths"


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["garbage"], indirect=True)
def test_01_sets_a_live_llm_beside_the_recording(endpoint, tmp_path):
    llm = settings(endpoint, input_price=1.0, output_price=2.0, budget=1.0).model_dump()
    live = ("--set", "tasks=[humor]", "--output", str(tmp_path), "--set", "variant=live", "--set", "comparisons={}")
    live += ("--set", f"llms.live={json.dumps(llm)}", "--set", "corpora.live={llm: live, setting: zero_shot}")
    done = synthgap("run", "smoke", "01", *live)
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_csv(tmp_path / "smoke-live" / "tables" / "llms.csv").set_index("corpus")
    assert table.loc["live", "yield"] < 1
    assert table.loc["live", "cost_per_text"] > 0
    assert table.loc["zero_shot", "yield"] == 1
    assert {path.name for path in (tmp_path / "smoke-live" / "figures").glob("llms*.png")} == {"llms.png"}
    assert "nothing changed" in synthgap("run", "smoke", "01", *live).stdout
