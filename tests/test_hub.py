"""The hub's loader on local folders of the same shape as the hub's sets."""

import pandas as pd
import pytest

from synthgap.core.errors import SynthgapError
from synthgap.data.draws import fingerprint
from synthgap.data.duplicates import without_repeats
from synthgap.data.hub import read_hub, split_where_needed
from synthgap.data.real import checked
from synthgap.tasks import load_task


def local_hub(folder, task, frames, config=None):
    """A folder that load_dataset reads like the hub's set; returns the task pointing there."""
    names = []
    for (name, split), frame in frames.items():
        path = folder / "data" / f"{name}-{split}.parquet"
        path.parent.mkdir(exist_ok=True)
        frame.to_parquet(path)
        names.append((name, split, path.name))
    lines = ["---", "configs:"]
    for name in dict.fromkeys(name for name, *_ in names):
        lines += [f"- config_name: {name}", "  data_files:"]
        lines += [f"  - split: {split}\n    path: data/{file}" for other, split, file in names if other == name]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    hub = task.hub.model_copy(update={"path": str(folder), "revision": None, "config": task.hub.config or config})
    return task.model_copy(update={"hub": hub})


def test_hub_set_with_train_and_test_gets_its_validation_from_train(tmp_path):
    task = load_task("ag_news")
    train = pd.DataFrame({"text": [f"train {n}" for n in range(400)], "label": [n % 4 for n in range(400)]})
    test = pd.DataFrame({"text": [f"test {n}" for n in range(40)], "label": [n % 4 for n in range(40)]})
    test.loc[0, "text"] = "train 0"  # stands in both: train loses it
    test.loc[1, "text"] = " "
    task = local_hub(tmp_path, task, {("default", "train"): train, ("default", "test"): test}, "default")
    frame, dropped = read_hub(task)
    data = checked(task, frame, "hub")
    assert data.frame.groupby("split").size().to_dict() == {"train": 379, "validation": 20, "test": 39}
    assert data.split("validation")["label"].value_counts().to_dict() == dict.fromkeys(task.labels, 5)
    assert dropped["has another label, several labels or no text"] == 1
    assert dropped["stands in another split"] == 1
    assert set(data.frame.loc[data.frame["text"] == "train 5", "label"]) == {"Sports"}


def test_hub_set_with_train_only_is_split_70_5_25_by_label(tmp_path):
    task = load_task("humor")
    train = pd.DataFrame({"text": [f"t{n}" for n in range(400)], "humor": [n % 2 == 0 for n in range(400)]})
    task = local_hub(tmp_path, task, {("default", "train"): train}, "default")
    frame, _ = read_hub(task)
    assert frame.groupby(["split", "label"]).size().to_dict() == {
        (split, label): size
        for split, size in (("train", 140), ("validation", 10), ("test", 50))
        for label in ("humorous", "not_humorous")
    }
    assert set(frame.loc[frame["text"] == "t2", "label"]) == {"humorous"}
    again, _ = read_hub(task)
    assert fingerprint(again) == fingerprint(frame)


def test_hub_relations_are_joined_tokens_of_the_four_relations(tmp_path):
    task = load_task("relation")
    values = ["P17", "P118", "P58", "P974", "P31"]
    rows = pd.DataFrame(
        {"tokens": [["sentence", str(n)] for n in range(200)], "relation": [values[n % 5] for n in range(200)]}
    )
    task = local_hub(tmp_path, task, {("default", "train_wiki"): rows})
    frame, dropped = read_hub(task)
    assert dropped["has another label, several labels or no text"] == 40
    assert set(frame["text"]) == {f"sentence {n}" for n in range(200) if n % 5 != 4}
    assert set(frame["label"]) == set(task.labels)


def test_hub_emotions_keep_rows_with_one_of_the_three_labels(tmp_path):
    task = load_task("reddit_emotion")
    labels = [[17], [25], [26], [17, 25], [3]] * 20
    rows = pd.DataFrame({"text": [f"comment {n}" for n in range(100)], "labels": labels})
    frames = {
        ("simplified", split): rows.assign(text=split + rows["text"]) for split in ("train", "validation", "test")
    }
    frame, dropped = read_hub(local_hub(tmp_path, task, frames))
    assert dropped["has another label, several labels or no text"] == 120
    assert frame.groupby("label").size().to_dict() == {"joy": 60, "sadness": 60, "surprise": 60}


def test_hub_phrasebank_gets_its_agreement_from_the_stricter_configs(tmp_path):
    task = load_task("financial_phrasebank")
    rows = pd.DataFrame({"sentence": [f"s{n}" for n in range(240)], "label": [n % 3 for n in range(240)]})
    configs = {"sentences_50agree": 240, "sentences_66agree": 180, "sentences_75agree": 120, "sentences_allagree": 60}
    frame, _ = read_hub(local_hub(tmp_path, task, {(name, "train"): rows.head(n) for name, n in configs.items()}))
    assert frame["agreement"].value_counts().to_dict() == {"50": 60, "66": 60, "75": 60, "100": 60}
    assert set(frame.loc[frame["text"] == "s0", "agreement"]) == {"100"}


def test_hub_that_is_out_of_reach_or_unlike_is_one_sentence(tmp_path):
    task = load_task("humor")
    with pytest.raises(SynthgapError, match="cannot be loaded from the hub") as error:
        read_hub(task.model_copy(update={"hub": task.hub.model_copy(update={"path": str(tmp_path / "none")})}))
    assert "\n" not in str(error.value)
    other = local_hub(tmp_path, task, {("default", "train"): pd.DataFrame({"body": ["x"]})}, "default")
    with pytest.raises(SynthgapError, match="has no column 'text'; it has body"):
        read_hub(other)


def test_splitting_needs_enough_texts():
    frame = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"], "split": "train"})
    with pytest.raises(SynthgapError, match="too few texts to split"):
        split_where_needed(frame)


def test_no_text_is_lost_or_doubled_by_splitting():
    frame = pd.DataFrame({"text": [str(n) for n in range(500)], "label": ["a", "b"] * 250, "split": "train"})
    assert sorted(split_where_needed(frame)["text"]) == sorted(frame["text"])
    assert without_repeats(frame)[0].equals(frame)
