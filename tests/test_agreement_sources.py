"""Where agreement comes from: people and simulations kept apart, ties and strangers counted, leaks left out."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import REAL_DATA, needs_real_data

from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_parquet
from synthgap.data.annotated import annotated_file, load_annotated, seen_in_training
from synthgap.data.real import checked, load_real
from synthgap.pipeline.stages import Stage
from synthgap.subjectivity.agreement_sources import (
    BANDS,
    COLLECTED,
    ESTIMATED,
    OWN_BANDS,
    PANEL,
    STAND_IN,
    Source,
    agreement_shares,
    agreement_sources,
    item_table,
    kinds_in,
    table_2,
    with_levels,
)
from synthgap.subjectivity.tables import by_kind, save_by_kind
from synthgap.tables import read_shown
from synthgap.tasks import load_profile, load_task

DEMO = load_profile("demo")
NO_LEVELS = pd.DataFrame({"task": [], "level": []})
FOLDER = load_profile("recorded")


def irony(extra: tuple[str, ...] = ()):
    """Data of tweet_irony: numbered texts, and `extra` ones in the train split."""
    task = load_task("tweet_irony")
    rows = [
        {"id": f"{split}-{label}-{n}", "text": f"{split} {label} number {n}", "label": label, "split": split}
        for split in ("train", "validation", "test")
        for label in task.labels
        for n in range(12)
    ]
    rows += [{"id": f"x{n}", "text": text, "label": "irony", "split": "train"} for n, text in enumerate(extra)]
    return checked(task, pd.DataFrame(rows), "test")


@pytest.fixture
def replies(tmp_path, monkeypatch):
    """A data folder whose annotations/ holds four replies: unanimous, two to one, tied, judged by one."""
    said = {"r1": "iii", "r2": "iin", "r3": "in", "r4": "n"}
    texts = {"r1": "what a lovely day", "r2": "trains are late", "r3": "good for you", "r4": "no milk left in town"}
    rows = [
        (item, texts[item], f"a{n}", "irony" if label == "i" else "non_irony")
        for item, labels in said.items()
        for n, label in enumerate(labels)
    ]
    frame = pd.DataFrame(rows, columns=["item_id", "text", "annotator", "label"])
    folder = tmp_path / "annotations"
    folder.mkdir()
    monkeypatch.setenv("SYNTHGAP_DATA", str(tmp_path))

    def write(changed: pd.DataFrame = frame) -> pd.DataFrame:
        changed.to_parquet(folder / "lewidi3_mp_irony_en.parquet")
        return frame

    write()
    return write


def test_the_majority_is_gold_ties_and_lone_judgements_are_counted(replies):
    sources = {source.name: source for source in agreement_sources(irony(), FOLDER)}
    found = sources["human: MultiPICo replies"]
    assert not found.own
    assert found.items.index.tolist() == ["r1", "r2"]
    assert found.items["agreement"].tolist() == [1.0, pytest.approx(2 / 3)]
    assert found.items["gold"].tolist() == ["irony", "irony"]
    assert found.left_out == {"items with one annotation": 1, "items whose annotators tie": 1}
    assert found.annotations_per_item == pytest.approx(8 / 3)


def test_a_text_that_classifiers_were_trained_on_is_left_out(replies):
    data = irony(("What a LOVELY day!",))
    found = load_annotated(load_task("tweet_irony"), FOLDER, data)
    assert found is not None
    assert found.texts["id"].tolist() == ["r2", "r3", "r4"]
    assert found.left_out == {"items (nearly) in the train or validation split": 1}
    assert seen_in_training(["nothing of the kind"], data).tolist() == [False]


def test_a_faulty_file_of_annotations_is_named(replies):
    frame = replies()
    replies(frame.drop(columns="text"))
    with pytest.raises(SynthgapError, match=r"'tweet_irony' \(lewidi3_mp_irony_en\.parquet\): no column text"):
        load_annotated(load_task("tweet_irony"), FOLDER, irony())
    replies(frame.assign(label="maybe"))
    with pytest.raises(SynthgapError, match="label 'maybe' is unknown"):
        load_annotated(load_task("tweet_irony"), FOLDER, irony())


def test_judgements_that_fit_no_label_are_counted_and_left_out(tmp_path, monkeypatch):
    rows = [("h1", f"a{n}", label, "real_headline") for n, label in enumerate(["real", "neither", "satirical", "real"])]
    rows += [("h2", "a1", "real", "unfun_gpt4")]
    frame = pd.DataFrame(rows, columns=["item_id", "annotator", "label", "provenance"]).assign(
        text="quite another headline"
    )
    (tmp_path / "annotations").mkdir()
    frame.to_csv(tmp_path / "annotations" / "unfun_headlines_human_eval.csv", index=False)
    monkeypatch.setenv("SYNTHGAP_DATA", str(tmp_path))
    task = load_task("sarcasm_news")
    data = load_real(task, DEMO)
    found = load_annotated(task, FOLDER, data)
    assert found is not None
    assert found.judgements["label"].tolist() == ["not_sarcastic", "sarcastic", "not_sarcastic"]
    assert found.left_out == {"judgements: neither": 1}


def test_without_such_texts_there_are_none(tmp_path, monkeypatch):
    assert annotated_file(load_task("tweet_irony"), DEMO) is None
    monkeypatch.setenv("SYNTHGAP_DATA", str(tmp_path))
    assert load_annotated(load_task("tweet_irony"), FOLDER, irony()) is None
    assert load_annotated(load_task("humor"), FOLDER, load_real(load_task("humor"), DEMO)) is None


def test_the_stand_in_has_simulated_annotators_only():
    task = load_task("tweet_irony")
    found = agreement_sources(load_real(task, DEMO), DEMO)
    assert [source.name for source in found] == [STAND_IN]
    assert kinds_in(item_table(found)) == ["stand_in"]
    assert found[0].annotations_per_item == 10
    assert len(found[0].items) == 40


def test_items_outside_the_test_split_are_counted():
    profile = load_profile("smoke")
    task = load_task("humor")
    found = agreement_sources(load_real(task, profile), profile)[0]
    assert len(found.items) == 24
    assert found.left_out == {"items that are not in the test split": 16}


def test_collected_answers_are_a_human_source_of_their_own(tmp_path):
    task = load_task("humor")
    data = load_real(task, DEMO)
    items = data.split("test")["id"].head(3)
    rows = [
        (item, "humor", who, label) for item in items for who, label in (("ann", "humorous"), ("bob", "not_humorous"))
    ]
    labels = list(task.labels)
    rows = [(item, name, who, labels[0] if who == "ann" else labels[1]) for item, name, who, _ in rows]
    frame = pd.DataFrame(rows, columns=["item_id", "task", "annotator", "label"])
    path = tmp_path / "annotations.csv"
    frame.to_csv(path, index=False)
    found = agreement_sources(data, DEMO, path)
    assert [source.name for source in found] == [COLLECTED, STAND_IN]
    assert found[0].items["agreement"].tolist() == [0.5] * 3
    frame[frame["annotator"] == "ann"].to_csv(path, index=False)
    alone = table_2(agreement_sources(data, DEMO, path)).iloc[0]
    assert alone["items"] == 0
    assert np.isnan(alone["agreement"])
    assert "no item has two annotat" in alone["note"]
    frame.assign(label="funny").to_csv(path, index=False)
    with pytest.raises(SynthgapError, match=r"'annotations.csv': annotations: label 'funny' is unknown"):
        agreement_sources(data, DEMO, path)


def test_table_2_explains_whatever_is_empty_and_keeps_people_apart(tmp_path, monkeypatch):
    task = load_task("humor")
    simulated = agreement_sources(load_real(task, DEMO), DEMO)
    table = with_levels(table_2(simulated), pd.DataFrame({"task": ["humor"], "level": [4]}))
    assert table.columns.tolist()[:-1] == (
        ["task", "source", "items", "annotations_per_item", "agreement", "alpha", "alpha_low", "alpha_high", "level"]
    )
    assert table["level"].tolist() == [4]
    assert 0 < table["alpha_low"].iloc[0] < table["alpha"].iloc[0] < table["alpha_high"].iloc[0] < 1
    both = pd.concat([table, table.assign(source="human: x")])
    assert set(by_kind(both)) == {"human", "simulated"}
    monkeypatch.setenv("SYNTHGAP_OUTPUTS", str(tmp_path))
    stage = Stage("04_subjectivity", DEMO, has_texts=True)
    save_by_kind(stage, "table_2", both, "Table 2")
    human, other = (read_shown(stage.folder / "tables", stage.name)[f"table_2_{kind}"] for kind in by_kind(both))
    assert "what people said" in human
    assert "simulated:" not in human
    assert "no people" in other
    assert "human:" not in other
    shown = save_by_kind(stage, "only_simulated", table, "Table 2").data
    assert "no people" in shown
    assert (stage.folder / "tables" / "only_simulated.csv").is_file()
    alike = save_by_kind(stage, "alike", pd.concat([table, table]).assign(note="one for all"), "Table 2").data
    assert "Note of all rows: one for all." in alike
    assert "| note |" not in alike
    names = [name for name in read_shown(stage.folder / "tables", stage.name) if name.startswith("only_simulated")]
    assert names == ["only_simulated_simulated"]
    assert "not ranked" in with_levels(table_2(simulated), NO_LEVELS)["note"].iloc[0]


def test_where_annotators_are_places_in_a_list_the_interval_holds_items_alone_and_says_so(replies, monkeypatch):
    task = load_task("tweet_irony")
    assert task.annotated is not None
    frame = pd.DataFrame(
        [
            (f"r{n}", f"reply number {n}, of its own", f"a{who}", "irony" if who + n % 3 > 2 else "non_irony")
            for n in range(30)
            for who in range(4)
        ],
        columns=["item_id", "text", "annotator", "label"],
    )
    replies(frame)
    found = {}
    for annotators in ("persons", "positions"):
        section = task.annotated.model_copy(update={"annotators": annotators})
        data = dataclasses.replace(irony(), task=task.model_copy(update={"annotated": section}))
        source = next(source for source in agreement_sources(data, FOLDER) if source.name.startswith("human"))
        found[annotators] = table_2([source]).iloc[0]
    persons, positions = found["persons"], found["positions"]
    assert persons["alpha"] == positions["alpha"]
    assert persons["alpha_low"] < positions["alpha_low"] < positions["alpha_high"] < persons["alpha_high"]
    assert "places in a list" in positions["note"]
    assert "places in a list" not in persons["note"]
    stand_in = table_2(agreement_sources(load_real(task, DEMO), DEMO)).iloc[0]
    assert "places in a list" in stand_in["note"]


def test_what_is_kept_of_items_are_ids_labels_and_numbers(replies):
    items = item_table(agreement_sources(irony(), FOLDER))
    assert items.columns.tolist() == ["task", "source", "predictions", "item_id", "agreement", "gold"]
    assert items["predictions"].tolist() == ["annotated"] * 2
    texts = load_annotated(load_task("tweet_irony"), FOLDER, irony())
    assert texts is not None
    assert not set(texts.texts["text"]) & set(items.astype(str).to_numpy().ravel())


def test_shares_of_bands_are_those_counted_by_hand():
    values = [1.0, 0.9, 0.8, 0.8 - 1e-9, 0.7, 0.6, 0.5, 1 - 1e-9]
    items = pd.DataFrame({"agreement": values, "gold": "a"}, index=[f"i{n}" for n in range(8)])
    shares = agreement_shares(item_table([Source("humor", "human: x", True, items)])).set_index("band")
    assert shares.loc[list(BANDS), "items"].tolist() == [2, 3, 2, 1]
    assert shares["share"].sum() == pytest.approx(100)


def test_data_of_ones_own_have_no_source_and_every_table_its_columns(tmp_path, monkeypatch):
    """Ids that no recorded judgement knows: nothing to join, and nothing that fails."""
    monkeypatch.setenv("SYNTHGAP_OUTPUTS", str(tmp_path))
    assert agreement_sources(irony(), DEMO) == []
    write_parquet(tmp_path / "items.parquet", item_table([]))
    items = pd.read_parquet(tmp_path / "items.parquet")
    assert kinds_in(items) == []
    assert agreement_shares(items).columns.tolist() == ["task", "source", "band", "items", "share"]
    write_parquet(tmp_path / "table_2.parquet", table_2([]))
    table = with_levels(pd.read_parquet(tmp_path / "table_2.parquet"), NO_LEVELS)
    assert table.columns.tolist()[-2:] == ["level", "note"]
    stage = Stage("04_subjectivity", DEMO, has_texts=True)
    assert "0 rows" in save_by_kind(stage, "table_2", table, "Table 2").data


@needs_real_data
def test_the_real_sets_have_the_sources_that_the_papers_name(monkeypatch):
    monkeypatch.setenv("SYNTHGAP_DATA", str(REAL_DATA))
    found = {}
    for name in ("financial_phrasebank", "tweet_irony", "sarcasm_news", "relation"):
        task = load_task(name)
        found[name] = {source.name: source for source in agreement_sources(load_real(task, FOLDER), FOLDER)}
    for name, sources in found.items():
        assert {PANEL, ESTIMATED} <= set(sources), name
        assert len(sources[PANEL].items) == len(sources[ESTIMATED].items) == 80
        assert sources[PANEL].items["agreement"].mean() > 0.95
    assert set(found["relation"]) == {PANEL, ESTIMATED}
    bands = found["financial_phrasebank"][OWN_BANDS]
    assert bands.items["agreement"].value_counts().to_dict() == {1.0: 559, 0.75: 287, 0.66: 194, 0.5: 170}
    replies = found["tweet_irony"]["human: MultiPICo replies"]
    assert len(replies.items) == 997
    assert replies.left_out["items whose annotators tie"] == 82
    headlines = found["sarcasm_news"]["human: Unfun headlines"]
    assert headlines.left_out["judgements: neither"] == 118
    assert headlines.left_out["items (nearly) in the train or validation split"] == 25
