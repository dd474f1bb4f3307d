"""The published data set: opened by `datasets`, with a card that says what it is."""

import pandas as pd
import pytest
import yaml
from conftest import synthgap
from datasets import load_dataset

from synthgap.config import load_profile
from synthgap.errors import SynthgapError
from synthgap.publish import publish, push

PROFILE = load_profile("smoke")


@pytest.fixture(scope="module")
def published(smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "dataset"
    done = synthgap("publish", "smoke", "--output", str(smoke.parent), "--to", str(folder), "--licence", "cc-by-4.0")
    assert done.returncode == 0, done.stderr
    assert "README.md" in done.stdout
    return folder


@pytest.mark.parametrize("setting", PROFILE.generation.settings)
def test_datasets_opens_every_task_and_setting(published, smoke, setting, tmp_path):
    for task in PROFILE.tasks:
        rows = load_dataset(str(published), task, split=setting, cache_dir=str(tmp_path)).to_pandas()
        expected = pd.read_parquet(smoke / "synthetic" / f"{task}.{setting}.parquet")
        pd.testing.assert_frame_equal(rows, expected, check_dtype=False)


def test_the_card_says_who_wrote_it_under_which_prompts_and_what_was_turned_down(published):
    text = (published / "README.md").read_text(encoding="utf-8")
    fields = yaml.safe_load(text.split("---")[1])
    assert fields["license"] == "cc-by-4.0"
    assert [config["config_name"] for config in fields["configs"]] == list(PROFILE.tasks)
    for part in (
        "written by an LLM",
        "evidence of nothing",
        "Claude (Anthropic)",
        "diversity:",
        "refused",
        "Fingerprints",
    ):
        assert part in text


def test_it_is_the_same_twice(published, smoke, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHGAP_OUTPUTS", str(smoke.parent))
    files = publish(PROFILE, tmp_path, "cc-by-4.0")
    for path in files:
        assert path.read_bytes() == (published / path.relative_to(tmp_path)).read_bytes()


def test_texts_that_are_missing_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHGAP_OUTPUTS", str(tmp_path))
    with pytest.raises(SynthgapError, match=r"no texts of ag_news\.zero_shot.*run: synthgap run smoke 01"):
        publish(PROFILE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_hub_out_of_reach_is_one_sentence_and_the_folder_stays(published):
    with pytest.raises(SynthgapError, match="'someone/something' was not uploaded"):
        push(published, "someone/something")
    assert (published / "README.md").is_file()
