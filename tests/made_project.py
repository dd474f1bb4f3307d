"""A small project for tests of the pipeline: notebooks that save a table or two each, and run in a second.

They can be run by the runner, or, quicker, in this process by `execute`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import yaml

from synthgap.core.paths import root

PARAMETERS = """profile: str = "made"  # a name in configs/
overrides: dict = {}  # profile keys to set anew
show_real_texts: bool | None = None  # as the profile says"""

PROFILE = {
    "name": "made",
    "title": "a profile of the tests",
    "tasks": ["sms_spam", "humor"],
    "data": {"source": "bundled"},
    "llms": {"claude": {"backend": "recorded", "recording": "claude"}},
    "corpora": {
        "plain": {"llm": "claude", "setting": "zero_shot", "title": "Plain"},
        "shown": {"llm": "claude", "setting": "few_shot"},
    },
    "generation": {"texts_per_label": 20},
    "training": {"seeds": [0, 1], "classifiers": {"tfidf": {"kind": "tfidf"}}},
    "evaluation": {"resamples": 100},
}

CODE = {
    "01_generation": """from synthgap.core.files import write_text
from synthgap.generation import conversations
stage.wrote([write_text(stage.synthetic / "plain.txt", f"{stage.profile.generation.texts_per_label} texts")])""",
    "02_training": """from synthgap.core.files import write_text
texts = (stage.synthetic / "plain.txt").read_text()
stage.wrote([write_text(stage.runs / "made.txt", f"{texts}, seeds {stage.profile.training.seeds}")])""",
    "03_evaluation": """import itertools
import pandas as pd
from synthgap.evaluation import scores
runs = (stage.runs / "made.txt").read_text()
gaps = pd.DataFrame(itertools.product(["sms_spam", "humor"], ["plain", "shown"]), columns=["task", "corpus"])
gaps = gaps.assign(classifier="tfidf", baseline="real", metric="macro_f1", gap=[-12.3456789, 0.157, 3, -1])
gaps = gaps.assign(low=gaps["gap"] - 1, high=gaps["gap"] + 1, p=0.0001, p_holm=[0.0002, 0.029, 0.5, 0.001])
gaps = gaps.assign(new_p=gaps["p"], new_p_holm=gaps["p_holm"], new_low=gaps["low"] - 1, new_high=gaps["high"] + 1)
stage.save_table("gaps", gaps.assign(runs=runs, resamples=stage.profile.evaluation.resamples), "Gaps")
rho = pd.DataFrame({"classifier": "tfidf", "corpus": ["plain", "shown"], "rho": [-0.71, 0.157]})
stage.save_table("gap_by_subjectivity", rho.assign(low=-0.94, high=0.31, p_holm=[0.0001, 0.029]))
# figures""",
    "04_subjectivity": """import pandas as pd
measured = stage.measured("words", lambda: pd.DataFrame({"words": [3, 5]}))
stage.save_table("table_2", measured, "Words")""",
    "05_diversity": """gaps = stage.table("gaps")
stage.save_table("diversity", gaps.assign(less=gaps["gap"] / 3))""",
    "06_augmentation": """import pandas as pd
stage.save_table("mixes", pd.DataFrame({"task": ["humor"], "n": [stage.profile.evaluation.resamples]}), "Mixes")""",
    "07_causes": """import pandas as pd
stage.save_table("causes_over_tasks", pd.DataFrame({"task": ["humor"]}))""",
    "08_llms": """import pandas as pd
stage.save_table("forecast", pd.DataFrame({"task": ["humor"]}))""",
    "09_prompts": """import pandas as pd
stage.save_table("guideline", pd.DataFrame({"task": ["humor"]}))""",
    "10_decision": """import pandas as pd
stage.save_table("strategies", pd.DataFrame({"task": ["humor"]}))""",
    "11_your_task": """import pandas as pd
stage.save_table("verdict", pd.DataFrame({"texts": ["made"]}))""",
}

# in place of the comment in 03, where a test wants figures, which take time
FIGURES = """from synthgap.evaluation import figures
stage.save_figure(figures.gap_by_task)
stage.save_figure(figures.gap_by_subjectivity)"""


def make_project(folder: Path) -> Path:
    """Write configs/made.yaml and the notebooks into a folder, and give it."""
    (folder / "configs").mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (folder / "configs" / "made.yaml").write_text(yaml.safe_dump(PROFILE, sort_keys=False))
    for stage, code in CODE.items():
        opened = f'from synthgap.pipeline.stages import open_stage\nstage = open_stage("{stage}", profile, overrides)'
        cells = [nbformat.v4.new_code_cell(source) for source in (PARAMETERS, opened, code, "stage.finish()")]
        cells[0].metadata["tags"] = ["parameters"]
        about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        title = nbformat.v4.new_markdown_cell(f"# {stage}")
        notebook = nbformat.v4.new_notebook(cells=[title, *cells], metadata=about)
        nbformat.write(notebook, folder / "notebooks" / f"{stage}.ipynb")
    return folder


def edit_notebook(stage: str, old: str, new: str) -> None:
    """Replace a part of a notebook's code."""
    path = root() / "notebooks" / f"{stage}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace(old, new)
    nbformat.write(notebook, path)


def execute(stage: str, overrides: dict[str, Any] | None = None) -> None:
    """Run a notebook's code in this process, as the runner would in a kernel."""
    notebook = nbformat.read(root() / "notebooks" / f"{stage}.ipynb", as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code" and "tags" not in cell.metadata]
    exec("\n".join(code), {"profile": "made", "overrides": overrides or {}})  # noqa: S102  a notebook of ours
