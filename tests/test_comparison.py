"""LLMs side by side: shares, lengths, costs and reasons of several profiles."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import synthgap
from endpoints import settings

from synthgap.comparison import _ratio, compare_llms
from synthgap.config import load_profile
from synthgap.errors import SynthgapError
from synthgap.generation import REASONS, Generated, save_generated


def made(llm: str, accepted: list[tuple[int, str]], rejected: list[tuple[int, str]]) -> Generated:
    texts = pd.DataFrame(
        [
            {"id": f"{number}", "text": text, "label": "ham", "turn": turn, "position": number}
            for number, (turn, text) in enumerate(accepted)
        ]
    )
    ledger = pd.DataFrame(
        [
            {
                **{"task": "sms_spam", "setting": "zero_shot", "label": "ham", "turn": turn, "position": 0},
                **{"reason": reason, "text": "x", "matches": "", "similarity": float("nan")},
            }
            for turn, reason in rejected
        ],
        columns=["task", "setting", "label", "turn", "position", "reason", "text", "matches", "similarity"],
    )
    about = {
        **{"task": "sms_spam", "setting": "zero_shot", "written_by": llm, "asked": 10},
        **{"received": len(texts) + len(ledger), "accepted": len(texts)},
        "rejected": ledger["reason"].value_counts().to_dict(),
    }
    return Generated(texts, ledger, [], about)


MINE = made("mine", [(0, "a b"), (0, "a b c d"), (1, "a b c")], [(1, "near_duplicate")])
THEIRS = made("theirs", [(0, "a")], [(0, "refused"), (1, "refused"), (1, "empty")])
COSTS = pd.DataFrame(
    {
        **{"task": ["sms_spam"] * 2, "setting": ["zero_shot"] * 2, "label": ["ham", "spam"]},
        **{"prompt_tokens": [100, 200], "completion_tokens": [10, 20], "cost": [0.3, 0.6]},
    }
)


def test_shares_lengths_costs_and_reasons(tmp_path):
    save_generated(tmp_path / "other" / "synthetic", THEIRS, keep_copies=True)
    profile = load_profile("smoke", {"generation.compare_with": ["other"]})
    table, reasons = compare_llms(profile, tmp_path, {("sms_spam", "zero_shot"): MINE}, COSTS)
    table = table.set_index("profile")
    assert table["llm"].tolist() == ["mine", "theirs"]
    assert table["yield"].tolist() == [0.75, 0.25]
    assert table["words"].tolist() == [3.0, 1.0]
    assert (table["yield_low"] <= table["yield"]).all()
    assert (table["yield"] <= table["yield_high"]).all()
    assert table.loc["smoke", "tokens_per_text"] == pytest.approx(330 / 3)
    assert table.loc["smoke", "cost_per_text"] == pytest.approx(0.9 / 3)
    assert table.loc["other", ["tokens_per_text", "cost", "cost_per_text"]].isna().all()
    assert len(reasons) == 2 * len(REASONS)
    refused = reasons[reasons["reason"] == "refused"].set_index("profile")
    assert refused["texts"].tolist() == [0, 2]
    assert refused["share"].tolist() == [0.0, 0.5]


def test_the_interval_is_over_turns_and_covers_the_truth():
    generator = np.random.default_rng(3)
    covered = []
    for _ in range(200):
        likely = generator.beta(8, 2, size=40)  # turns differ, the texts of one are alike
        accepted = generator.binomial(10, likely).astype(float)
        value, low, high = _ratio(accepted, np.full(40, 10.0))
        assert value == accepted.sum() / 400
        covered.append(low <= 0.8 <= high)
    assert 0.88 <= np.mean(covered) <= 0.99


def test_no_text_at_all_has_no_share():
    assert all(np.isnan(_ratio(np.zeros(3), np.zeros(3))))


def test_a_profile_without_texts_is_refused_with_the_command(tmp_path):
    profile = load_profile("smoke", {"generation.compare_with": ["other"]})
    with pytest.raises(SynthgapError, match="run: synthgap run other 01"):
        compare_llms(profile, tmp_path, {("sms_spam", "zero_shot"): MINE}, COSTS)
    done = synthgap("run", "smoke", "01", "--output", str(tmp_path), "--set", "generation.compare_with=[other]")
    assert done.returncode == 2
    assert "generation.compare_with names profile 'other', which has no texts yet" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["garbage"], indirect=True)
def test_01_sets_a_live_llm_beside_the_recording_and_runs_again_when_that_changes(endpoint, tmp_path):
    tasks = ("--set", "tasks=[humor]", "--output", str(tmp_path))
    assert synthgap("run", "smoke", "01", *tasks).returncode == 0
    llm = settings(endpoint, input_price=1.0, output_price=2.0, budget=1.0).model_dump()
    live = (*tasks, "--set", f"llm={json.dumps(llm)}", "--set", "name=live", "--set", "generation.compare_with=[smoke]")
    done = synthgap("run", "smoke", "01", *live)
    assert done.returncode == 0, done.stderr[-2000:]
    table = pd.read_csv(tmp_path / "live" / "tables" / "llms.csv").set_index(["profile", "setting"])
    assert table.loc[("live", "zero_shot"), "yield"] < 1
    assert table.loc[("live", "zero_shot"), "cost_per_text"] > 0
    assert table.loc[("smoke", "zero_shot"), "yield"] == 1
    assert {path.name for path in (tmp_path / "live" / "figures").glob("llms*.png")} == {
        "llms_zero_shot.png",
        "llms_few_shot.png",
    }
    assert "nothing changed" in synthgap("run", "smoke", "01", *live).stdout
    assert synthgap("run", "smoke", "01", *tasks, "--set", "generation.texts_per_label=10").returncode == 0
    assert "nothing changed" not in synthgap("run", "smoke", "01", *live).stdout
