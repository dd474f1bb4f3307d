"""The published data set: opened by `datasets`, with a card that says what it is."""

import pandas as pd
import pytest
import yaml
from datasets import load_dataset

from synthgap.core.errors import SynthgapError
from synthgap.pipeline.publish import publish, push
from synthgap.tasks import load_profile

PROFILE = load_profile("smoke")


@pytest.fixture(scope="module")
def published(command, smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "dataset"
    done = command("publish", "smoke", "--output", str(smoke.parent), "--to", str(folder), "--licence", "cc-by-4.0")
    assert done.returncode == 0, done.stderr
    assert "README.md" in done.stdout
    return folder


@pytest.mark.parametrize("corpus", PROFILE.corpora)
def test_datasets_opens_every_task_and_corpus(published, smoke, corpus, tmp_path):
    texts = pd.read_parquet(smoke / "synthetic" / f"{corpus}.parquet")
    for task in PROFILE.tasks_of_corpus(corpus):
        rows = load_dataset(str(published), task, split=corpus, cache_dir=str(tmp_path)).to_pandas()
        expected = texts[texts["task"] == task].drop(columns="task").reset_index(drop=True)
        assert rows.columns.tolist() == ["id", "text", "label", "recording", "turn", "position"]
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
    with pytest.raises(
        SynthgapError,
        match=r"no texts of zero_shot, few_shot, guideline, examples_3, personas yet; run: synthgap run smoke 01",
    ):
        publish(PROFILE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_hub_out_of_reach_is_one_sentence_and_the_folder_stays(published):
    with pytest.raises(SynthgapError, match="'someone/something' was not uploaded"):
        push(published, "someone/something")
    assert (published / "README.md").is_file()


@pytest.fixture
def with_imported(monkeypatch, tmp_path):
    """A profile with one generated and one imported corpus, and their texts as 01 writes them."""
    from synthgap.core.files import write_parquet

    monkeypatch.setenv("SYNTHGAP_OUTPUTS", str(tmp_path / "outputs"))
    corpora = {
        "plain": {"llm": "claude", "setting": "zero_shot"},
        "theirs": {"file": "{task}.csv", "written_by": "GPT-4"},
    }
    profile = load_profile("made", {"corpora": corpora, "comparisons": {}, "variant": None})
    about = {
        **{"setting": "zero_shot", "written_by": "Claude", "asked": 20, "received": 3, "accepted": 1},
        **{"rejected": {"refused": 2}, "prompts": {"context": "c"}, "settings": {}, "requests": "a" * 64},
        **{"corpus": "plain", "llm_fingerprint": "b" * 64},
    }
    tasks = {task: {**about, "task": task} for task in profile.tasks}
    rows = [
        {"id": task, "task": task, "text": "a text", "label": "x", "turn": 0, "position": 0} for task in profile.tasks
    ]
    folder = tmp_path / "outputs" / "made" / "synthetic"
    write_parquet(folder / "plain.parquet", pd.DataFrame(rows), {"corpus": "plain", "tasks": tasks})
    return profile


def test_imported_texts_are_not_published(made, with_imported, tmp_path):
    written = publish(with_imported, tmp_path / "to")
    assert sorted(path.relative_to(tmp_path / "to").as_posix() for path in written) == [
        *("README.md", "data/humor/plain.parquet", "data/sms_spam/plain.parquet")
    ]
    text = (tmp_path / "to" / "README.md").read_text()
    assert "theirs" not in text.split("# Synthetic texts")[0]
    assert "| sms\\_spam | plain | zero\\_shot | Claude | 20 | 3 | 1 |" in text


def test_without_generated_corpora_there_is_nothing_to_publish(made, tmp_path):
    profile = load_profile("made", {"corpora": {"theirs": {"file": "x.csv"}}, "comparisons": {}})
    for nothing in (profile, load_profile("made", {"corpora": {}, "comparisons": {}})):
        with pytest.raises(SynthgapError, match="has nothing to publish"):
            publish(nothing, tmp_path / "to")
