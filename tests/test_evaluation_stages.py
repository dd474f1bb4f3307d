"""Notebooks 03 and 06 on made predictions: whatever a profile lacks ends in a sentence and a finished stage."""

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from in_process import executed
from IPython.display import HTML

from synthgap.core.config import Profile
from synthgap.pipeline import stages
from synthgap.tables import read_shown
from synthgap.tasks import load_profile, load_task
from synthgap.training import predictions
from synthgap.training.mixes import AS_MANY, EXAMPLES, both
from synthgap.training.store import INDEX_COLUMNS

ITEMS = 60


class MadeRuns:
    """Stands for what 02 would have trained for a profile."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def names(self, index: str, members: tuple[str, ...]) -> list[str]:
        curve, augmentation = self.profile.training.curve, self.profile.training.augmentation
        if index == "grid":
            return list(members)
        if index == "curve":
            return [f"{name} {size}" for size in (*curve.texts_per_label, 15) for name in members] if curve else []
        if augmentation is None:
            return []
        corpus = augmentation.corpus
        shown = self.profile.corpora[corpus].setting == "few_shot"
        names = [EXAMPLES, corpus, both(corpus), AS_MANY] if shown else []
        for size in augmentation.real_texts_per_label:
            names += [f"real {size}", f"real {size} + {corpus}"]
        return names

    def load(self, folder, index="grid", comparison=None, items="test"):
        compared = self.profile.comparisons[comparison] if comparison else self.profile.main
        random, made = np.random.default_rng(0), []
        if not (names := self.names(index, compared.members)):
            return []
        for task in self.profile.tasks_of(compared):
            labels = tuple(load_task(task).labels)
            truth = random.integers(len(labels), size=ITEMS)
            right = random.random((len(names), len(self.profile.training.seeds), ITEMS)) < 0.7
            runs = np.where(right, truth, (truth + 1) % len(labels))
            n_train, ids = dict.fromkeys(names, 20), np.arange(ITEMS).astype(str)
            found = dict(zip(names, runs, strict=True))
            made.append(predictions.Predictions(task, "tfidf", labels, ids, truth, found, n_train))
        return made

    def index(self, folder, index="grid"):
        rows = [
            ("paper", one.task, "tfidf", name, 1, 0, "x", 20, 10)
            for one in self.load(folder, index)
            for name in one.n_train
        ]
        return pd.DataFrame(rows, columns=INDEX_COLUMNS)


def execute(stage: str, overrides: dict) -> list:
    """Run a notebook's cells in this process and give what they show."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{stage}.ipynb", as_version=4)
    parameters = {"profile": "smoke", "overrides": overrides, "show_real_texts": None}
    return [value for _, _, shown in executed(notebook, parameters) for value in shown]


def with_details(rows: pd.DataFrame, details: dict) -> pd.DataFrame:
    return rows.assign(details=[details] * len(rows))


GPT4 = {"llm": "claude", "setting": "zero_shot", "title": "GPT-4"}
LLMS = {"paper": {"corpora": ["zero_shot", "few_shot"]}, "llms": {"corpora": ["gpt4"], "reference": "zero_shot"}}
CASES = {
    "one task, one seed": (
        {"tasks": ["humor"], "training.seeds": [0]},
        ["Too few tasks", "No further comparison", "No worth is compared", "No training curves", "With 1 task,"],
        {"gap_by_task", "gap_by_subjectivity", "learning_curves_tfidf", "mixes_tfidf", "augmentation_tfidf"},
    ),
    "no curve, no mixes": (
        {"training.curve": None, "training.augmentation": None, "training.decision": None},
        ["No learning curves", "No worth can be told", "No mixes", "No mix with examples", "No growing amounts"],
        {"gap_by_task", "gap_by_subjectivity"},
    ),
    "only real": (
        {"corpora": {}, "comparisons": {}, "training.augmentation": None, "training.decision": None},
        ["No gap", "No figure: no task has both", "Too few tasks", "No worth can be told", "No mixes"],
        {"learning_curves_tfidf"},
    ),
    "mixes without examples": (
        {"training.augmentation": {"corpus": "zero_shot", "real_texts_per_label": [5]}, "training.curve": None},
        ["No learning curves", "No mix with examples"],
        {"gap_by_task", "gap_by_subjectivity", "augmentation_tfidf"},
    ),
    "fine-tuned": (
        {"training.augmentation": None, "training.decision": None},
        ["No further comparison", "No mixes"],
        {"gap_by_task", "gap_by_subjectivity", "learning_curves_tfidf", "worth_tfidf", "training_curves_tfidf"},
    ),
    "two comparisons": (
        {
            "corpora.gpt4": GPT4,
            "comparisons": LLMS,
            "training.curve": None,
            "training.augmentation": None,
            "training.decision": None,
        },
        ["No learning curves", "No mixes"],
        {"gap_by_task", "gap_by_subjectivity", "gap_by_task_llms"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_profile_lacks_ends_in_a_sentence_and_a_finished_stage(case, laid_out, tmp_path, monkeypatch):
    overrides, sentences, figures = CASES[case]
    monkeypatch.setenv("SYNTHGAP_OUTPUTS", str(tmp_path))
    profile = load_profile("smoke", overrides)
    made = MadeRuns(profile)
    monkeypatch.setattr(stages, "check_earlier_stages", lambda *_: None)
    monkeypatch.setattr(predictions, "load_predictions", made.load)
    monkeypatch.setattr(predictions, "read_index", made.index)
    epochs = {"train_loss": [0.7, 0.4], "watched_macro_f1": [0.6, 0.5]} if case == "fine-tuned" else {}
    monkeypatch.setattr(predictions, "runs_table", lambda folder: with_details(made.index(folder), epochs))
    shown = [*execute("03_evaluation", overrides), *execute("06_augmentation", overrides)]
    said = " ".join(one.data for one in shown if isinstance(one, HTML))
    assert [sentence for sentence in sentences if sentence not in said] == []
    assert sum(isinstance(one, str) and ": finished, " in one for one in shown) == 2
    folder = tmp_path / profile.folder_name
    assert {path.stem for path in (folder / "figures").glob("*.png")} == figures | {"power"}
    tables = {path.stem for path in (folder / "tables").glob("*.csv")}
    assert {"table_1", "gaps", "gap_by_subjectivity", "power", "learning_curves", "worth", "worth_over_tasks"} <= tables
    assert {"training_epochs", "training_curves", "training_curves_over_tasks", "mixes", "augmentation"} <= tables
    further = {f"{table}_llms" for table in ("table_1", "gaps")} if "two" in case else set()
    assert further <= tables
    assert not further or "table_1_llms_tfidf" in read_shown(folder / "tables", "03_evaluation")
