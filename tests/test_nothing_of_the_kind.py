"""Profiles that lack something: each stage says so in a sentence and finishes, and the report comes."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.text import Text

from synthgap.core.config import RecordedSettings
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import bundled
from synthgap.data.real import read_file
from synthgap.llm.backends import connect
from synthgap.llm.base import Conversation
from synthgap.pipeline.publish import publish
from synthgap.pipeline.validity import STAGES
from synthgap.tables import NO_ROWS, read_shown
from synthgap.tasks import load_profile

CLAUDE = {"claude": {"backend": "recorded", "recording": "claude"}}
PLAIN = {"llm": "claude", "setting": "zero_shot", "title": "Plain"}
SHOWN = {"llm": "claude", "setting": "few_shot", "title": "Shown"}
SMALL: dict[str, Any] = {
    "title": "a run that lacks something",
    "data": {"source": "folder", "test_texts_per_label": 12},
    "llms": CLAUDE,
    "corpora": {"plain": PLAIN},
    "generation": {"texts_per_label": 20},
    "training": {"seeds": [0], "texts_per_label": 15, "classifiers": {"tfidf": {"kind": "tfidf"}}},
    "evaluation": {"resamples": 100, "permutations": 200},
}


def own_texts(folder: Path, task: str, name: str | None = None) -> None:
    """The bundled texts of a task as somebody's own: under ids that no annotation and no recording knows."""
    texts = read_file(bundled("demo", f"{task}.jsonl"))
    texts["id"] = [f"mine-{number}" for number in range(len(texts))]
    folder.mkdir(parents=True, exist_ok=True)
    texts.to_csv(folder / f"{name or task}.csv", index=False)


@pytest.fixture
def own_task(tmp_path, monkeypatch):
    """A task of one's own, `texting`, which is none of the paper's and was never recorded."""
    monkeypatch.setenv("SYNTHGAP_TASKS", str(tmp_path))
    (tmp_path / "texting.yaml").write_text("name: texting\nlabels: {ham: not spam, spam: spam}", encoding="utf-8")


class Run:
    """A finished run of all stages of a profile, and what its executed notebooks say."""

    def __init__(self, command: Callable[..., Any], folder: Path, profile: dict[str, Any], *arguments: str) -> None:
        self.results = folder / "outputs" / profile["name"]
        path = folder / f"{profile['name']}.yaml"
        path.write_text(yaml.safe_dump(SMALL | profile), encoding="utf-8")
        done = command("run", str(path), "--output", str(folder / "outputs"), *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        for stage in STAGES:
            if stage == "11_your_task" and not profile.get("stand_in", False):
                continue  # of own files
            assert (self.results / "stages" / f"{stage}.json").is_file(), stage
            self._check_cells(stage)
        self.report = html.unescape((self.results / "report.html").read_text(encoding="utf-8"))

    def _check_cells(self, stage: str) -> None:
        """No warning is on the page."""
        for cell in self._notebook(stage).cells:
            kinds = {output.output_type for output in cell.get("outputs", [])}
            assert not kinds & {"error", "stream"}, cell.source

    def _notebook(self, stage: str) -> Any:
        return nbformat.read(self.results / "notebooks" / f"{stage}.ipynb", as_version=4)

    def says(self, number: int, *sentences: str) -> None:
        """The notebook of this number shows these sentences (not only holds them in its code)."""
        cells = [cell for cell in self._notebook(list(STAGES)[number - 1]).cells if cell.cell_type == "code"]
        shown = html.unescape(json.dumps([cell.outputs for cell in cells], ensure_ascii=False))
        for sentence in sentences:
            assert sentence in shown, sentence

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.results / "tables" / f"{name}.csv")

    def figures(self) -> set[str]:
        return {path.stem for path in (self.results / "figures").glob("*.png")}


def test_one_task_of_ones_own_and_real_texts_alone(command, in_process, own_task, tmp_path):
    """No synthetic text, no judgement, no place in the paper, no recording; one task, classifier and seed."""
    own_texts(tmp_path / "data", "sms_spam", "texting")
    profile = {"name": "alone", "tasks": ["texting"], "llms": {}, "corpora": {}}
    run = Run(command, tmp_path, profile, "--data", str(tmp_path / "data"))
    run.says(1, "No LLM is asked for texts", "No corpus of this profile is few-shot", "have one writer", "No costs")
    run.says(2, "No task of this profile has annotated texts", "asks for no learning curves", "asks for no mixes")
    run.says(3, "No gap, and no figure of it", "place in the paper's order", "Too few tasks", "No learning curves")
    run.says(3, "No worth", "No further comparison")
    run.says(4, "Nobody compared tasks", "there are no levels and no scores", "Nobody judged single texts")
    run.says(4, "there is no figure of their agreement", "No run predicted an item", NO_ROWS)
    run.says(5, "No corpus stands beside the reference", "No mean over tasks", "No similarity to draw", "Too few tasks")
    run.says(5, "There are no synthetic texts", "No test text is repeated", "No task has both")
    run.says(6, "No mixes", "No growing amounts")
    run.says(
        7, "No mean over tasks", "No figure: no corpus stands beside", "No blind labels", "No label of a generated"
    )
    run.says(7, "It takes two tasks at least", "No figure: it takes a corpus", NO_ROWS)
    assert run.figures() == {
        *("text_lengths", "text_counts", "power", "diversity", "rarefaction_chamfer", "rarefaction_vendi", "maps"),
        *("reliability", "recitation", "design", "diversity_by_label"),
    }
    shown = read_shown(run.results / "tables", "03_evaluation")["table_1_tfidf_macro_f1"]
    assert "Texting" in shown
    assert "− real" not in shown
    assert "Claude" not in shown
    assert len(run.table("table_1")) == 1
    assert run.table("gaps").empty
    assert NO_ROWS in run.report


@pytest.mark.slow
def test_two_tasks_zero_shot_alone_and_one_person_who_judged(command, in_process, tmp_path):
    """Labels that differ in number, one seed, no few-shot; one annotator, so no agreement; pairs of other tasks."""
    for task in ("tweet_irony", "ag_news"):
        own_texts(tmp_path / "data", task)
    (tmp_path / "data" / "annotations").mkdir()
    replies = pd.DataFrame({"item_id": ["r1", "r2"], "text": ["no milk left in town", "trains are late again"]})
    replies = replies.assign(annotator="ann", label=["irony", "non_irony"])
    replies.to_csv(tmp_path / "data" / "annotations" / "lewidi3_mp_irony_en.csv", index=False)
    collected = tmp_path / "outputs" / "pair" / "annotations" / "annotations.csv"
    collected.parent.mkdir(parents=True)
    test = read_file(tmp_path / "data" / "ag_news.csv").query("split == 'test'").head(3)
    answers = pd.DataFrame({"item_id": test["id"], "task": "ag_news", "annotator": "ann", "label": test["label"]})
    answers.to_csv(collected, index=False)
    collected.with_name("pairs.csv").write_text("judge,task_a,task_b,more_objective\nann,imdb,relation,relation\n")

    profile = {"name": "pair", "tasks": ["tweet_irony", "ag_news"], "data": {"source": "folder"}}
    run = Run(command, tmp_path, profile, "--data", str(tmp_path / "data"))
    run.says(2, "This profile asks for no learning curves", "This profile asks for no mixes")
    run.says(3, "Too few tasks to correlate the gap with an order of subjectivity", "No learning curves", "No worth")
    run.says(4, "there is no figure of their agreement", "No run predicted an item", NO_ROWS)
    run.says(5, "Too few tasks to correlate the gap with diversity")
    run.says(6, "No mixes", "No growing amounts")
    run.says(7, "Means over 2 tasks", "this recording alone", "None of these texts is both in a draw")
    judged = run.table("table_2")
    assert judged["source"].tolist() == ["human: MultiPICo replies", "human: collected with synthgap annotate"]
    assert (judged["items"] == 0).all()
    assert set(run.table("task_ranking")["source"]) == {"simulated: 12 personas of an LLM"}
    assert {
        "gap_by_task",
        "gap_by_subjectivity",
        "task_levels",
        "similarity",
        "diversity_and_gap",
        "remedies",
    } <= run.figures()
    assert not {"agreement_by_source", "agreement_effects_human"} & run.figures()
    assert set(run.table("gaps")["corpus"]) == {"plain"}
    assert NO_ROWS in run.report


@pytest.mark.slow
def test_no_real_texts_to_train_on_and_sizes_that_nobody_has(command, in_process, tmp_path):
    """Synthetic corpora alone, one of them the reference, two classifiers, and curves of one point."""
    classifiers = {"tfidf": {"kind": "tfidf"}, "other": {"kind": "tfidf", "inverse_regularisation": 1}}
    training = {
        **{"seeds": [0, 1], "texts_per_label": 2, "classifiers": classifiers},
        **{"curve": {"texts_per_label": [5000], "classifiers": ["tfidf"]}},
        **{"augmentation": {"corpus": "shown", "real_texts_per_label": [5000]}},
    }
    profile = {
        **{"name": "no_real", "tasks": ["sms_spam", "ag_news"], "training": training},
        **{"data": {"source": "bundled"}, "generation": {"texts_per_label": 10}},
        **{"corpora": {"plain": PLAIN, "shown": SHOWN}},
        **{"comparisons": {"made_up": {"corpora": ["shown"], "reference": "plain"}}},
    }
    run = Run(command, tmp_path, profile)
    run.says(3, "Too few tasks", "No further comparison")
    run.says(5, "Too few tasks")
    run.says(6, "No growing amounts")
    figures = {"gap_by_task", "learning_curves_tfidf", "mixes_tfidf", "mixes_other", "accuracy_by_agreement_stand_in"}
    assert figures <= run.figures()
    assert "augmentation_tfidf" not in run.figures()
    for name in ("gaps", "diversity_differences"):
        table = run.table(name)
        assert set(table["corpus"]) == {"shown"}
    assert set(run.table("gaps")["baseline"]) == {"plain"}


def test_a_recording_that_lacks_a_task_names_the_way_to_do_without():
    llm = connect(RecordedSettings(backend="recorded", recording="claude"))
    with pytest.raises(SynthgapError, match=r"holds 0 turns.*do without"):
        llm.check_turns(Conversation("texting", "zero_shot", "spam", ()), 1)


def test_without_synthetic_texts_there_is_nothing_to_publish(tmp_path):
    profile = load_profile(
        "smoke", {"corpora": {}, "comparisons": {}, "training.augmentation": None, "training.decision": None}
    )
    with pytest.raises(SynthgapError, match="has nothing to publish"):
        publish(profile, tmp_path, "unknown")


def test_a_classifier_of_which_no_model_could_be_fitted_says_so_in_its_axes():
    import matplotlib.pyplot as plt

    from synthgap.figures import Look
    from synthgap.subjectivity.figures import plot_agreement_effects

    models = pd.DataFrame(
        {"row": ["humor"], "task": "humor", "classifier": "tfidf", "term": "agreement", "odds_ratio": np.nan}
    ).assign(low=np.nan, high=np.nan, p_holm=np.nan)
    figure, ax = plt.subplots()
    plot_agreement_effects(models, Look.of(load_profile("demo")), ax)
    shown = " ".join(text.get_text() for text in ax.findobj(Text))
    assert "no model could be fitted" in shown
    plt.close(figure)


def test_fewer_synthetic_texts_than_neighbours_have_no_similarity():
    from synthgap.diversity.similarity import similarity_summary, similarity_values
    from synthgap.diversity.texts import EmbeddedTexts

    texts = pd.DataFrame({"id": list("abcd"), "text": "", "label": "x"})
    corpora = [EmbeddedTexts("humor", corpus, texts, np.eye(4)) for corpus in ("real", "plain")]
    assert similarity_values(corpora, 5).empty
    assert similarity_summary(similarity_values(corpora, 5), 100, 0).empty
    assert len(similarity_values(corpora, 4)) == 4
