"""Real texts under an LLM's labels, as a corpus; the LLM as the classifier; a live LLM labels by the response log."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from endpoints import profile_of, settings

from synthgap.core.config import REAL, LabelledCorpus, Profile, TfidfSettings, TrainingSettings
from synthgap.core.errors import SynthgapError
from synthgap.data.labelled import FEWEST, labels_about, labels_files, read_labelled
from synthgap.data.real import RealData, checked, load_real
from synthgap.evaluation import figures
from synthgap.evaluation import llm_as_classifier as by_llm
from synthgap.figures import Look
from synthgap.generation.corpora import (
    corpus_file,
    from_labels,
    labels_of_test_items,
    load_corpus,
    provenance,
    save_corpora,
)
from synthgap.generation.display import hidden_corpora
from synthgap.generation.labelling import label_profile, label_texts, read_label
from synthgap.llm.backends import connect
from synthgap.llm.base import Answer
from synthgap.llm.response_log import ResponseLog
from synthgap.tables import footer, label_caveats
from synthgap.tasks import load_profile, load_task
from synthgap.training import runs
from synthgap.training.predictions import Predictions

SMS = load_task("sms_spam")
WRITES = {"zero_shot": {"llm": "mine", "setting": "zero_shot"}}


@pytest.fixture
def real(texts) -> RealData:
    return checked(SMS, texts, "made for this test")


def rows_of(real: RealData, flip: int = 0) -> pd.DataFrame:
    """Labels of all train and test texts, those of the first ham train texts being spam."""
    rows = real.frame[real.frame["split"] != "validation"][["id", "label"]]
    wrong = rows.index[rows["label"] == "ham"][:flip]
    return rows.assign(label=rows["label"].mask(rows.index.isin(wrong), "spam")).rename(columns={"id": "item_id"})


def written(tmp_path, rows: pd.DataFrame, name: str = "sms_spam.csv") -> LabelledCorpus:
    (tmp_path / "labels").mkdir(exist_ok=True)
    rows.to_csv(tmp_path / "labels" / name, index=False)
    return LabelledCorpus(labels=str(tmp_path / "labels"))


def long_ones(real: RealData) -> list[str]:
    """Texts that are more than a word that stands everywhere."""
    return [text for text in real.frame["text"] if len(text.split()) > 2]


# ----------------------------------------------------------------------------------------------------------- the files


def test_texts_are_balanced_by_the_llms_labels_and_what_is_left_out_is_counted(tmp_path, real):
    rows = rows_of(real, flip=2)
    other = {"item_id": ["nobody", "train-ham-5", "validation-ham-0"], "label": ["ham", "spam", "ham"]}
    unsound = pd.DataFrame({"item_id": rows["item_id"].iloc[[3, 4]], "label": ["ham", "neither"]})
    found = read_labelled(written(tmp_path, pd.concat([rows, pd.DataFrame(other), unsound])), real, "x")
    assert found.texts["label"].value_counts().to_dict() == {"ham": 9, "spam": 9}
    assert not {"train-ham-5", "nobody"} & set(found.texts["id"])
    assert (found.texts.merge(rows, left_on="id", right_on="item_id").eval("label_x == label_y")).all()
    assert found.dropped == {
        **{"unknown_id": 1, "other_label": 1, "two_labels": 2, "repeated": 1, "not_used": 1, "beyond_balance": 5}
    }
    assert found.test["condition"].tolist() == [""] * 8
    shuffled = read_labelled(written(tmp_path, rows.sample(frac=1, random_state=1)), real, "x")
    assert shuffled.texts.equals(read_labelled(written(tmp_path, rows), real, "x").texts)


def _renamed(real):
    return rows_of(real).rename(columns={"item_id": "key"})


def _unknown(real):
    return rows_of(real).assign(item_id="nobody")


def _few(real):
    return rows_of(real, flip=12 - FEWEST + 1)


def _others(real):
    return rows_of(real).assign(label="yes")


@pytest.mark.parametrize(
    ("rows", "name", "message"),
    [
        (_renamed, "sms_spam.csv", r"no column 'item_id'; they have key, label and need item_id, label"),
        (_unknown, "sms_spam.csv", "have no id of the texts of task 'sms_spam'"),
        (_few, "sms_spam.csv", r"hold 4 train texts of label 'ham' of task 'sms_spam', and a label needs 5"),
        (_others, "sms_spam.csv", r"hold 0 train texts of label 'ham'.*left out of the file: other_label 32"),
        (rows_of, "humor.csv", "holds no labels of task 'sms_spam'.*have a live LLM label the texts"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_the_way_out(tmp_path, real, rows, name, message):
    with pytest.raises(SynthgapError, match=message):
        read_labelled(written(tmp_path, rows(real), name), real, "x")


@pytest.mark.parametrize("name", ["labels/sms_spam.csv", "labels/{task}.csv", "labels"])
def test_labels_are_a_file_or_a_folder_below_the_data_folder(tmp_path, real, monkeypatch, name):
    written(tmp_path, rows_of(real))
    monkeypatch.setenv("SYNTHGAP_DATA", str(tmp_path))
    assert len(read_labelled(LabelledCorpus(labels=name), real, "x").texts) == 24


def test_the_packages_labels_are_ids_and_labels_of_all_tasks():
    corpus = LabelledCorpus(labels="labels")
    for name in load_profile("recorded").tasks:
        for path in labels_files(corpus, name).values():
            rows = pd.read_csv(path, dtype=str)
            assert rows.columns.tolist() == ["item_id", "label"]
            assert rows["item_id"].is_unique
            assert set(rows["label"]) == set(load_task(name).labels)
            assert rows["item_id"].str.fullmatch(rf"{name}-(train|test)-\d+").all()
    assert list(labels_files(corpus, "tweet_irony")) == ["", "with_tags"]
    about = labels_about(corpus)
    assert "upper bound" in about["caveat"]
    assert "balanced by their true labels" in about["caveat"]


# ---------------------------------------------------------------------------------------------------------- the corpus


def profile_with(labels: str, **changes) -> Profile:
    values = {"corpora": {"llm_labels": {"labels": labels, "labelled_by": "somebody"}}, "comparisons": {}}
    return load_profile(
        "demo", {"tasks": ["sms_spam"], **values, "training.augmentation": None, "training.decision": None, **changes}
    )


def test_no_text_of_a_labelled_corpus_is_kept_and_what_is_kept_reads_the_same_texts(tmp_path):
    demo = load_real(SMS, load_profile("demo"))
    corpus = written(tmp_path, rows_of(demo, flip=3))
    profile = profile_with(corpus.labels)
    made = {("sms_spam", "llm_labels"): from_labels(corpus, "llm_labels", demo, "somebody")}
    path, test_labels = save_corpora(tmp_path / "kept", profile, made, {"sms_spam": demo})
    assert path == corpus_file(tmp_path / "kept", "llm_labels")
    again = load_corpus(tmp_path / "kept", profile, "llm_labels", "sms_spam")
    assert again.equals(made["sms_spam", "llm_labels"].texts)
    told = "".join(pd.read_parquet(one).astype(str).to_csv() for one in (path, test_labels)) + json.dumps(
        provenance(tmp_path / "kept", "llm_labels", "sms_spam")
    )
    assert not [text for text in long_ones(demo) if text in told]
    assert "llm_labels" in hidden_corpora(profile.changed({"show_real_texts": True}))
    test = labels_of_test_items(tmp_path / "kept", profile)
    assert set(test["id"]) == set(demo.split("test")["id"])
    assert "real texts, labelled by somebody" in footer(profile)
    written(tmp_path, rows_of(demo))
    with pytest.raises(SynthgapError, match="than when 01_generation read it"):
        load_corpus(tmp_path / "kept", profile, "llm_labels", "sms_spam")


def test_its_runs_have_the_size_of_the_others_and_predict_what_the_llm_was_asked(tmp_path, real):
    found = read_labelled(written(tmp_path, rows_of(real, flip=2)), real, "x")
    training = TrainingSettings(seeds=(0,), test_texts_per_label=1, classifiers={"tfidf": TfidfSettings(kind="tfidf")})
    profile = profile_with("labels")
    texts = runs.TaskTexts(real, {"llm_labels": found.texts}, asked={"llm_labels": found.test["id"].tolist()})
    planned = runs.plan_task(training, "labels", profile.main, texts)
    assert {run.corpus: run.train["label"].value_counts().to_dict() for run in planned} == {
        REAL: {"ham": 10, "spam": 10},
        "llm_labels": {"ham": 10, "spam": 10},
    }
    assert all(set(run.test["id"]) == set(found.test["id"]) for run in planned)
    (alone,) = runs.plan_task(training, "paper", profile.main.model_copy(update={"corpora": ()}), texts)
    without = runs.plan_task(
        training, "paper", profile.main.model_copy(update={"corpora": ()}), runs.TaskTexts(real, {})
    )
    two = training.model_copy(update={"classifiers": {**training.classifiers, "words": TfidfSettings(kind="tfidf")}})
    some = profile.main.model_copy(update={"classifiers": ("words",)})
    assert {run.classifier for run in runs.plan_task(two, "labels", some, texts)} == {"words"}
    assert len(alone.test) == 2
    assert alone.name == without[0].name, "runs of other comparisons stay as they are"


@pytest.mark.slow
def test_notebooks_01_to_03_run_on_labels_and_keep_no_text(command, in_process, home, tmp_path):
    demo = load_real(SMS, load_profile("demo"))
    rows = rows_of(demo, flip=3)
    written(home, rows)
    values = {
        **{"name": "mine", "title": "mine", "tasks": ["sms_spam"], "data": {"source": "bundled"}},
        "llms": {"claude": {"backend": "recorded", "recording": "claude"}},
        "corpora": {"zero_shot": {"llm": "claude", "setting": "zero_shot"}, "mine": {"labels": "labels"}},
        "comparisons": {"paper": {"corpora": ["zero_shot"]}, "labels": {"corpora": ["mine"]}},
        "generation": {"texts_per_label": 20},
        "training": {"seeds": [0, 1], "classifiers": {"tfidf": {"kind": "tfidf"}}},
        "evaluation": {"resamples": 100, "permutations": 100},
    }
    (home / "configs" / "mine.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    done = command("run", "mine", "01", "02", "03", "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr[-2000:]
    tables = tmp_path / "out" / "mine" / "tables"
    table = pd.read_csv(tables / "llm_as_classifier.csv").drop_duplicates("corpus").set_index("corpus")
    assert set(table.index) == {by_llm.LLM, REAL, "mine", "zero_shot"}
    asked = rows[rows["item_id"].isin(demo.split("test")["id"])]
    right = (asked["label"] == asked["item_id"].map(demo.frame.set_index("id")["label"])).mean()
    assert table.loc[by_llm.LLM, "accuracy"] == pytest.approx(100 * right, abs=0.01)
    assert set(pd.read_csv(tables / "table_1_labels.csv")["corpus"]) == {REAL, "mine"}
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            content = path.read_bytes().decode("utf-8", "replace")
            if path.suffix == ".parquet":
                content += pd.read_parquet(path).astype(str).to_csv()
            assert not [text for text in long_ones(demo) if text in content], path.name


# ------------------------------------------------------------------------------------------------ the LLM as classifier


def predictions(predicted: dict, items: int = 60, truth=None) -> Predictions:
    ids, truth = np.array([f"t{n}" for n in range(items)]), np.arange(items) % 2 if truth is None else truth
    n_train = dict.fromkeys(predicted, 20)
    return Predictions("sms_spam", "tfidf", ("ham", "spam"), ids, truth, predicted, n_train)


def labels_right(share: float, items: int = 40, condition: str = "") -> pd.DataFrame:
    """The LLM's labels of the first items, of which it has a share right."""
    truth = np.arange(items) % 2
    said = np.where(np.arange(items) < share * items, truth, 1 - truth)
    rows = {"id": [f"t{n}" for n in range(items)], "label": np.array(["ham", "spam"])[said]}
    return pd.DataFrame({"corpus": "llm_labels", "task": "sms_spam", "condition": condition, **rows})


def test_the_llm_and_every_corpus_are_scored_on_the_items_that_it_was_asked():
    truth = np.arange(60) % 2
    right, wrong = np.stack([truth] * 2), np.stack([1 - truth] * 2)
    right[:, 40:] = 1 - right[:, 40:]  # beyond what the LLM was asked
    compared = {
        "paper": [predictions({REAL: wrong, "zero_shot": wrong}, 60)],
        "labels": [predictions({REAL: right, "llm_labels": right}, 60)],
    }
    labels = pd.concat([labels_right(0.75), labels_right(0.9, condition="with_tags")])
    table = by_llm.llm_as_classifier(labels, compared, 200, 200, 0)
    assert (table["n_test"] == 40).all()
    score = table.drop_duplicates("corpus").set_index("corpus")
    assert score["accuracy"].to_dict() == {
        **{by_llm.LLM: 75, f"{by_llm.LLM}, with tags": 90, REAL: 100, "llm_labels": 100, "zero_shot": 0}
    }, "`real` is that of the comparison with the labelled corpus"
    assert score.loc[REAL, "gap"] == pytest.approx(score.loc[REAL, "macro_f1"] - score.loc[by_llm.LLM, "macro_f1"])
    assert score.loc["zero_shot", "high"] < 0 < score.loc[REAL, "low"]
    assert score.loc[by_llm.LLM, ["macro_f1_low", "macro_f1_high"]].notna().all()
    for metric in ("macro_f1", "accuracy"):
        ends = score.loc[by_llm.LLM]
        assert ends[f"{metric}_low"] < ends[metric] < ends[f"{metric}_high"]
    profile = profile_with("labels", **{"corpora.zero_shot": {"llm": "claude", "setting": "zero_shot"}})
    (row,) = by_llm.shown(table, profile, "tfidf").to_dict("records")
    assert row["Items"] == "40"
    assert row["The LLM, accuracy"].startswith("75.0 [")
    assert "never mixed" in by_llm.notes(labels, profile)[0]
    assert any("hashtags" in note for note in by_llm.notes(labels, profile))
    assert label_caveats(profile)[0] in by_llm.notes(labels, profile)
    assert "1 score less than the LLM, 2 more" in by_llm.difference_in_words(table)[0]
    figure = figures.llm_as_classifier.drawn(lambda name: table, Look.of(profile), "")
    assert {text.get_text() for text in figure.findobj(plt.Text)} >= {"Real", "Zero shot", "Llm labels", "tfidf"}
    plt.close(figure)


def test_few_items_make_no_row_and_no_labels_no_table():
    compared = {"paper": [predictions({REAL: np.zeros((1, 60), int)})]}
    for labels in (labels_right(1, by_llm.FEWEST - 1), labels_right(1).iloc[:0]):
        assert by_llm.llm_as_classifier(labels, compared, 200, 200, 0).empty


# ------------------------------------------------------------------------------------------------------------- live


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("ham", "ham"),
        ("SPAM.", "spam"),
        ("**spam**", "spam"),
        ("Label: ham", "ham"),
        ('{"texts": ["ham"]}', "ham"),
        ("1. spam", "spam"),
        ("<think>It sells something.</think>\nspam", "spam"),
        ("spam, because it sells something", ""),
        ("ham\nspam", ""),
        ("spam\n\nIt sells something.", ""),
        ("neither", ""),
        ("", ""),
    ],
)
def test_an_answer_is_a_label_or_none(answer, label):
    assert read_label(Answer(answer, "stop", None, ""), {"ham": "", "spam": ""}) == label


@pytest.mark.parametrize("endpoint", ["labels"], indirect=True)
def test_a_live_llm_labels_by_the_log_and_what_it_wrote_is_a_corpus(endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHGAP_DATA", str(tmp_path))
    profile = profile_of({"mine": settings(endpoint)}, WRITES, tasks=["sms_spam"])
    log = tmp_path / "responses.sqlite"
    said = label_profile(profile, tmp_path, log, items=30)
    data, path = load_real(SMS, profile), tmp_path / "labels" / "mine" / "sms_spam.csv"
    rows = pd.read_csv(path, keep_default_na=False)
    splits = rows["item_id"].map(data.frame.set_index("id")["split"]).value_counts().to_dict()
    assert splits == {"train": 30, "test": min(30, len(data.split("test")))}
    unusable = int((rows["label"] == "").sum())
    assert 0 < unusable < len(rows) / 3
    assert f"{len(rows) - unusable} texts labelled, {unusable} answers are none of the labels" in said
    assert "[llm_labels]" in said
    found = read_labelled(LabelledCorpus(labels="labels/mine"), data, "x")
    assert found.dropped["other_label"] == unusable
    assert "without looking at their labels" in labels_about(LabelledCorpus(labels="labels/mine"))["caveat"]
    requests = endpoint.counts()["requests"]
    before = path.read_bytes()
    label_profile(profile, tmp_path, log, items=30)
    assert endpoint.counts()["requests"] == requests, "what was answered is not asked for again"
    assert path.read_bytes() == before
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert not [text for text in long_ones(data) if text.encode() in stored]


@pytest.mark.parametrize("endpoint", ["labels"], indirect=True)
def test_a_budget_ends_the_labelling_and_it_goes_on_from_there(endpoint, tmp_path):
    prices = {"input_price": 10.0, "output_price": 20.0}
    short, enough = ({"mine": settings(endpoint, budget=budget, **prices)} for budget in (0.1, 5.0))
    log = tmp_path / "responses.sqlite"
    with pytest.raises(SynthgapError, match=r"the budget of 0\.1 is reached.*\n.*to go on: synthgap label"):
        label_profile(profile_of(short, WRITES, tasks=["sms_spam"]), tmp_path, log, items=30)
    rows = pd.read_csv(tmp_path / "labels" / "mine" / "sms_spam.csv")
    assert 0 < len(rows) < 60
    with ResponseLog(log) as opened:
        assert connect(short["mine"], opened).spent() <= 0.1
    label_profile(profile_of(enough, WRITES, tasks=["sms_spam"]), tmp_path, log, items=30)
    assert set(endpoint.counts()["answered"].values()) == {1}


@pytest.mark.parametrize("endpoint", ["labels"], indirect=True)
def test_texts_of_no_task_are_labelled_in_their_order(endpoint, tmp_path):
    texts = [f"text number {n}" for n in range(20)]
    with ResponseLog(tmp_path / "log.sqlite") as log:
        found = label_texts(texts, {"good": "", "bad": "it is not"}, connect(settings(endpoint), log))
        again = label_texts(texts[::-1], {"good": "", "bad": "it is not"}, connect(settings(endpoint), log))
    assert set(found.labels) == {"good", "bad", ""}
    assert list(again.labels) == list(found.labels)[::-1]
    assert (found.missing, found.unusable) == (0, list(found.labels).count(""))


def test_who_cannot_label_is_said(command, tmp_path):
    done = command("label", "demo", "--output", str(tmp_path))
    assert done.returncode == 2
    assert "profile 'demo' has no live LLM, and a recording answers nothing new" in done.stderr
    assert not list(tmp_path.iterdir())
    llms = {"a": settings(_Nowhere()), "b": settings(_Nowhere())}
    two = profile_of(llms, {"zero_shot": {"llm": "a", "setting": "zero_shot"}})
    for asked, message in ((None, "several live LLMs; name one: --llm a or b"), ("c", "live LLM 'c' is unknown")):
        with pytest.raises(SynthgapError, match=message):
            label_profile(two, tmp_path, tmp_path / "log.sqlite", asked)
    with pytest.raises(SynthgapError, match="--items takes a number of texts from 1 on, not 0"):
        label_profile(two, tmp_path, tmp_path / "log.sqlite", "a", 0)


class _Nowhere:
    url = "http://127.0.0.1:9/v1"
