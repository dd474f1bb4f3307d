"""Profiles that lack something: each stage says so in a sentence and finishes, and the report comes."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import yaml
from conftest import ROOT, synthgap

from synthgap.config import LLMSettings, load_profile
from synthgap.data import bundled, read_file
from synthgap.errors import SynthgapError
from synthgap.stages import STAGES
from synthgap.tables import NOTHING

PACKAGE = ROOT / "lib" / "synthgap"
SMALL: dict[str, Any] = {
    "title": "a run that lacks something",
    "data": {"source": "folder", "test_texts_per_label": 12},
    "generation": {"settings": ["zero_shot"], "texts_per_label": 20},
    "training": {"seeds": [0], "texts_per_label": 15, "classifiers": {"tfidf": {"kind": "tfidf"}}},
    "evaluation": {"resamples": 100, "permutations": 200},
}


def own_texts(folder: Path, task: str, name: str | None = None) -> None:
    """The bundled texts of a task as somebody's own: under ids that no annotation and no recording knows."""
    texts = read_file(bundled("demo", f"{task}.jsonl"))
    texts["id"] = [f"mine-{number}" for number in range(len(texts))]
    folder.mkdir(parents=True, exist_ok=True)
    texts.to_csv(folder / f"{name or task}.csv", index=False)


def package_with_own_task(folder: Path) -> Path:
    """A copy of the library that knows the task `texting`, which is none of the paper's and was never recorded."""
    shutil.copytree(PACKAGE, folder / "synthgap", ignore=shutil.ignore_patterns("__pycache__"))
    task = yaml.safe_load((PACKAGE / "tasks" / "sms_spam.yaml").read_text(encoding="utf-8"))
    del task["paper_order"], task["hub"]
    task |= {"name": "texting", "title": "Texting"}
    (folder / "synthgap" / "tasks" / "texting.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    return folder


class Run:
    """A finished run of all stages of a profile, and what its executed notebooks say."""

    def __init__(self, folder: Path, profile: dict[str, Any], *arguments: str, **environment: str) -> None:
        self.results = folder / "outputs" / profile["name"]
        path = folder / f"{profile['name']}.yaml"
        path.write_text(yaml.safe_dump(SMALL | profile), encoding="utf-8")
        done = synthgap("run", str(path), "--output", str(folder / "outputs"), *arguments, **environment)
        assert done.returncode == 0, done.stderr[-3000:]
        for stage in STAGES:
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
        cells = [cell for cell in self._notebook(STAGES[number - 1]).cells if cell.cell_type == "code"]
        shown = html.unescape(json.dumps([cell.outputs for cell in cells], ensure_ascii=False))
        for sentence in sentences:
            assert sentence in shown, sentence

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.results / "tables" / f"{name}.csv")

    def figures(self) -> set[str]:
        return {path.stem for path in (self.results / "figures").glob("*.svg")}


def test_one_task_of_ones_own_and_real_texts_alone(tmp_path):
    """No synthetic text, no judgement, no place in the paper, no recording; one task, classifier and seed."""
    own_texts(tmp_path / "data", "sms_spam", "texting")
    training = SMALL["training"] | {"regimes": ["real"]}
    profile = {"name": "alone", "tasks": ["texting"], "generation": {"settings": []}, "training": training}
    package = package_with_own_task(tmp_path / "lib")
    run = Run(tmp_path, profile, "--data", str(tmp_path / "data"), PYTHONPATH=str(package))
    run.says(1, "No synthetic texts are asked for", "No figure: generation.compare_with", "No costs")
    run.says(2, "No task of this profile has texts that people annotated", "This profile asks for no learning curves")
    run.says(3, "No gap to real data", "place in the paper's order", "Too few tasks", "No learning curves", "No worth")
    run.says(4, "No ranking", "No two sources rank", "Nobody judged these test texts", "No text of these tasks")
    run.says(4, "No curve of accuracy", "No model could be fitted", "whether an LLM foresees disagreement cannot be")
    run.says(5, "No difference from real", "No similarity", "No synthetic texts, so", "Too few tasks", "No figure of")
    run.says(6, "No mixes", "No growing amounts")
    assert run.figures() == {
        *("text_lengths", "text_counts", "diversity", "rarefaction_chamfer", "rarefaction_vendi", "maps")
    }
    shown = (run.results / "tables" / "table_1_tfidf_macro_f1.md").read_text(encoding="utf-8")
    assert "Texting" in shown
    assert "− real" not in shown
    assert "Synthetic texts: none." in shown
    assert len(run.table("table_1")) == 1
    assert run.table("gaps").empty
    assert NOTHING in run.report


def test_two_tasks_zero_shot_alone_and_one_person_who_judged(tmp_path):
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

    training = SMALL["training"] | {"regimes": ["real", "zero_shot"]}
    profile = {"name": "pair", "tasks": ["tweet_irony", "ag_news"], "training": training}
    profile["data"] = {"source": "folder"}
    run = Run(tmp_path, profile, "--data", str(tmp_path / "data"))
    run.says(2, "This profile asks for no learning curves")
    run.says(3, "Too few tasks to correlate the gap with an order of subjectivity", "No learning curves", "No worth")
    run.says(4, "No two sources rank", "No text of these tasks was judged twice", "No curve of accuracy", "No model")
    run.says(5, "Too few tasks to correlate the gap with the diversity that is lost")
    run.says(6, "No mixes", "No growing amounts")
    judged = run.table("table_2")
    assert judged["source"].tolist() == ["human: MultiPICo replies", "human: collected with synthgap annotate"]
    assert (judged["items"] == 0).all()
    assert set(run.table("task_ranking")["source"]) == {"simulated: 12 personas of an LLM"}
    assert {"gap_by_task", "gap_by_subjectivity", "task_levels", "similarity", "diversity_and_gap"} <= run.figures()
    assert not {"agreement_by_source", "agreement_effects_human"} & run.figures()
    assert set(run.table("gaps")["regime"]) == {"zero_shot"}
    assert NOTHING in run.report


@pytest.mark.slow
def test_no_real_texts_to_train_on_and_sizes_that_nobody_has(tmp_path):
    """Synthetic regimes alone, of fewer texts than neighbours, two classifiers, and curves of one point."""
    classifiers = {"tfidf": {"kind": "tfidf"}, "other": {"kind": "tfidf", "inverse_regularisation": 1}}
    training = {
        **{"regimes": ["few_shot", "zero_shot"], "seeds": [0, 1], "texts_per_label": 2, "classifiers": classifiers},
        **{"curve": {"texts_per_label": [5000], "classifiers": ["tfidf"]}},
        **{"augmentation": {"real_texts_per_label": [5000]}},
    }
    profile = {
        **{"name": "no_real", "tasks": ["sms_spam", "ag_news"], "training": training},
        **{"data": {"source": "bundled"}, "generation": {"texts_per_label": 10}},
    }
    run = Run(tmp_path, profile)
    run.says(3, "No gap to real data", "place in the paper's order", "No worth can be told")
    run.says(4, "No model could be fitted")
    run.says(5, "No difference from real", "No similarity", "No figure of diversity and performance")
    run.says(6, "No growing amounts")
    assert {"learning_curves_tfidf", "mixes_tfidf", "mixes_other", "accuracy_by_agreement_stand_in"} <= run.figures()
    assert not {"gap_by_task", "agreement_effects_stand_in", "augmentation_tfidf", "worth_tfidf"} & run.figures()
    gaps = run.table("gaps")
    assert set(zip(gaps["regime"], gaps["baseline"], strict=True)) == {("few_shot", "zero_shot")}


def test_a_recording_that_lacks_a_task_names_the_way_to_do_without():
    from synthgap.llm import connect

    with pytest.raises(SynthgapError, match=r"holds 0 turns.*do without: generation\.settings=\[\]"):
        connect(LLMSettings()).check_turns("texting", "zero_shot", "spam", 1)


def test_without_synthetic_texts_there_is_nothing_to_publish(tmp_path):
    from synthgap.publish import publish

    profile = load_profile(
        "smoke", {"generation.settings": [], "training.regimes": ["real"], "training.augmentation": None}
    )
    with pytest.raises(SynthgapError, match=r"nothing to publish: generation\.settings is empty"):
        publish(profile, tmp_path, "unknown")


def test_a_classifier_of_which_no_model_could_be_fitted_says_so_in_its_axes():
    import matplotlib.pyplot as plt

    from synthgap.subjectivity_figures import plot_agreement_effects

    models = pd.DataFrame({"task": ["humor"], "source": ["human: x"], "term": ["agreement"], "odds_ratio": [None]})
    figure, ax = plt.subplots()
    plot_agreement_effects(models, "Agreement, tfidf", ax)
    assert ax.get_title(loc="left") + ax.get_title() == "Agreement, tfidf: no model could be fitted"
    plt.close(figure)


def test_fewer_synthetic_texts_than_neighbours_have_no_similarity():
    import numpy as np

    from synthgap.diversity import Corpus
    from synthgap.similarity import similarity_summary, similarity_table

    texts = pd.DataFrame({"id": list("abcd"), "text": "", "label": "x"})
    corpora = [Corpus("humor", regime, texts, np.eye(4)) for regime in ("real", "zero_shot")]
    assert similarity_table(corpora, 5).empty
    assert similarity_summary(similarity_table(corpora, 5), 100, 0).empty
    assert len(similarity_table(corpora, 4)) == 4
