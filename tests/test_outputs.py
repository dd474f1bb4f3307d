"""The committed results: no text of the real sets, no path of a machine, and the README says what the files say."""

import html
import json
import re

import nbformat
import pandas as pd
import pytest
from conftest import REAL_DATA, ROOT, needs_real_data

from synthgap.config import load_profile
from synthgap.data import bundled
from synthgap.readme import BLOCK, results_block
from synthgap.stages import STAGES

RECORDED = ROOT / "outputs" / "recorded"
PROFILE = load_profile("recorded")
WINDOW = 8  # words in a row that two texts do not share by chance

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="outputs/recorded is not committed yet")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", html.unescape(text).lower())


def windows(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return set(zip(*(found[start:] for start in range(WINDOW)), strict=False))


def output_texts():
    """Every committed file of outputs/recorded as text: notebooks by their cells, Parquet by its columns of words."""
    for path in sorted(RECORDED.rglob("*")):
        if path.suffix == ".ipynb":
            notebook = nbformat.read(path, as_version=4)
            parts = [json.dumps(cell.get("outputs", ""), ensure_ascii=False) for cell in notebook.cells]
            parts.append(json.dumps(notebook.metadata, ensure_ascii=False))  # the state of widgets
            yield path, "\n".join([*parts, *(cell.source for cell in notebook.cells)]).replace("\\n", "\n")
        elif path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            columns = [column for column in frame.columns if frame[column].dtype.kind not in "iuf"]
            yield path, "\n".join("\n".join(frame[column].astype(str)) for column in columns)
        elif path.suffix in {".json", ".csv", ".md", ".tex", ".svg"}:
            yield path, path.read_text(encoding="utf-8")
        elif path.suffix == ".html":
            yield path, re.sub(r"<[^>]*>", "\n", path.read_text(encoding="utf-8"))


@needs_real_data
def test_no_text_of_the_real_sets_is_in_the_outputs():
    allowed = set()  # recorded answers and prompts may share a phrase with a real text
    for path in bundled("recordings").rglob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            allowed |= windows(json.loads(line)["response"])
    real, short = set(), set()
    for path in [*REAL_DATA.glob("*.parquet"), *REAL_DATA.glob("annotations/*.parquet")]:
        for text in pd.read_parquet(path, columns=["text"])["text"].astype(str):
            real |= windows(text)
            if 4 <= len(words(text)) < WINDOW and len(text) > 25:
                short.add(" ".join(words(text)))
    assert len(real) > 1_000_000
    searched, seen = 0, set()  # most lines are ids, and stand in the predictions of many runs
    for path, text in output_texts():
        lines = set(text.splitlines()) - seen
        seen |= lines
        found = (set().union(*map(windows, lines)) & real) - allowed
        assert not found, f"{path.name} holds words of a real text"
        if path.suffix == ".ipynb":
            joined = f" {' '.join(words(text))} "
            hits = [one for one in short if f" {one} " in joined]
            assert not [one for one in hits if one not in " ".join(map(" ".join, allowed))], path.name
        searched += 1
    assert searched > 100


def test_the_search_would_find_a_real_text():
    text = "one two three four five six seven eight nine"
    assert windows(f"<td>[{text}]</td>") & windows(text)


def test_predictions_hold_ids_labels_and_probabilities_alone():
    for path in (RECORDED / "runs").glob("*.parquet"):
        columns = pd.read_parquet(path).columns.tolist()
        known = ["id", "label", "predicted"] if path.stem.endswith("predictions") else ["id", "predicted"]
        assert columns[: len(known)] == known
        assert all(column.startswith("p ") for column in columns[len(known) :])


def test_outputs_name_no_path_of_a_machine():
    for path, text in output_texts():
        assert not re.search(r"/(home|root|work|tmp|Users)/\w|site-packages", text), path.name


def test_the_grid_is_whole():
    index = pd.read_csv(RECORDED / "runs" / "grid.csv", keep_default_na=False)
    assert set(index["task"]) == set(PROFILE.tasks)
    for classifier in PROFILE.training.classifiers:
        rows = index[index["classifier"] == classifier]
        assert len(rows) == len(PROFILE.tasks) * 3 * len(PROFILE.training.seeds_of(classifier))
    names = {path.name for path in (RECORDED / "runs").iterdir() if path.is_file()}
    curve = pd.read_csv(RECORDED / "runs" / "curve.csv", keep_default_na=False)
    assert set(curve["task"]) == set(PROFILE.tasks)
    assert set(curve.loc[curve["n_train"].isin(index["n_train"]), "run"]) & set(index["run"])
    mixes = pd.read_csv(RECORDED / "runs" / "augmentation.csv", keep_default_na=False)
    assert set(mixes["task"]) == set(PROFILE.tasks)
    runs = {*index["run"], *curve["run"], *mixes["run"]}
    expected = {f"{run}{end}" for run in runs for end in (".json", ".predictions.parquet")}
    annotated = index[index["task"].isin(["tweet_irony", "sarcasm_news"])]["run"]
    assert names == expected | {f"{run}.annotated.parquet" for run in annotated} | {
        "grid.csv",
        "curve.csv",
        "augmentation.csv",
    }


def test_the_manifest_speaks_of_a_clean_commit_and_of_success():
    manifest = json.loads((RECORDED / "manifest.json").read_text())
    assert manifest["profile"] == PROFILE.model_dump(mode="json")
    assert len(manifest["data_sha256"]) == 12  # ten sets, and texts that people annotated for two of them
    assert list(manifest["notebooks"]) == list(STAGES)
    for entry in manifest["notebooks"].values():
        assert entry["success"]
        assert entry["git"]["dirty"] is False


def test_what_people_said_and_what_was_simulated_is_all_there():
    table = pd.read_csv(RECORDED / "tables" / "table_2.csv")
    human = table[table["source"].str.startswith("human")].set_index("task")
    assert set(human.index) == {"tweet_irony", "sarcasm_news", "financial_phrasebank"}
    assert human["alpha"].isna().to_dict() == {
        "tweet_irony": False,
        "sarcasm_news": False,
        "financial_phrasebank": True,
    }
    assert table["note"][table["alpha"].isna()].notna().all()
    assert (table["source"].value_counts().filter(like="simulated") == len(PROFILE.tasks)).all()
    curves = pd.read_csv(RECORDED / "tables" / "threshold_curves.csv")
    assert set(curves["source"]) == set(table["source"])
    assert set(curves["regime"]) == {"real", "zero_shot", "few_shot"}


def test_table_1_covers_every_task_classifier_and_regime():
    table = pd.read_csv(RECORDED / "tables" / "table_1.csv")
    assert len(table) == len(PROFILE.tasks) * 3 * len(PROFILE.training.classifiers)
    required = table.drop(columns=["macro_f1_sd", "accuracy_sd"])
    assert required.notna().all().all()
    one_seed = table["seeds"] == 1
    assert (table["macro_f1_sd"].isna() == one_seed).all()


def test_the_readme_shows_what_the_files_say():
    found = BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found
    assert found[0] == results_block(RECORDED)
    assert "small-scale rerun" in found[0]
    assert "unverified" in found[0]
