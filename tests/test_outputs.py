"""The committed results: small, whole, no text of the real sets, no path of a machine."""

import html
import json
import re
from collections.abc import Iterator
from urllib.parse import unquote

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import REAL_DATA, ROOT, needs_real_data

from synthgap.core.paths import bundled
from synthgap.pipeline.validity import stages_of
from synthgap.prompting.sample_size import RECORDED as VARIANCES
from synthgap.prompting.sample_size import power_table
from synthgap.tasks import load_profile
from synthgap.training.store import MISSING, packed_lines
from synthgap.your_task.verdict import ADVICE_LOST

RECORDED = ROOT / "outputs" / "recorded"
PROFILE = load_profile("recorded")
WINDOW = 8  # words in a row that two texts do not share by chance

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="outputs/recorded is not committed yet")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", html.unescape(text).lower())


def windows(found: list[str], length: int = WINDOW) -> Iterator[tuple[str, ...]]:
    """Every so many words in a row."""
    return zip(*(found[start:] for start in range(length)), strict=False)


@pytest.fixture(scope="module")
def output_texts():
    """{file: its text} of outputs/recorded: notebooks by their cells, Parquet by the words that its columns hold."""
    return dict(read_texts())


def read_texts():
    for path in sorted(RECORDED.rglob("*")):
        if path.suffix == ".ipynb":
            notebook = nbformat.read(path, as_version=4)
            parts = [json.dumps(cell.get("outputs", ""), ensure_ascii=False) for cell in notebook.cells]
            parts.append(json.dumps(notebook.metadata, ensure_ascii=False))  # the state of widgets
            yield path, "\n".join([*parts, *(cell.source for cell in notebook.cells)]).replace("\\n", "\n")
        elif path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            columns = [column for column in frame.columns if frame[column].dtype.kind not in "iuf"]
            yield path, "\n".join(str(value) for column in columns for value in frame[column].dropna().unique())
        elif path.suffix in {".json", ".jsonl", ".csv", ".md", ".tex"}:
            yield path, path.read_text(encoding="utf-8")
        elif path.suffix == ".html":
            page = unquote(path.read_text(encoding="utf-8"))  # figures are quoted, as data URLs
            yield path, html.unescape(re.sub(r"<[^>]*>", "\n", page))


@needs_real_data
def test_no_text_of_the_real_sets_is_in_the_outputs(output_texts):
    lines = {line for text in output_texts.values() for line in text.splitlines()}  # most are ids of many runs
    written = {run for line in lines for run in windows(words(line)) if not all(word.isdigit() for word in run)}
    notebooks = [words(text) for path, text in output_texts.items() if path.suffix == ".ipynb"]
    written |= {run for found in notebooks for length in range(4, WINDOW) for run in windows(found, length)}
    for path in bundled("recordings").rglob("*.jsonl"):  # answers and prompts may share a phrase with a real text
        for line in path.read_text(encoding="utf-8").splitlines():
            found = words(json.loads(line)["response"])
            written.difference_update(*(windows(found, length) for length in range(4, WINDOW + 1)))
    searched, hits = 0, set()
    for path in [*REAL_DATA.glob("*.parquet"), *REAL_DATA.glob("annotations/*.parquet")]:
        for text in pd.read_parquet(path, columns=["text"])["text"].astype(str):
            found = words(text)
            if len(found) >= WINDOW:
                hits |= written.intersection(windows(found))
            elif len(found) >= 4 and len(text) > 25:
                hits |= written.intersection([tuple(found)])
            searched += len(found)
    assert searched > 1_000_000
    assert len(output_texts) > 100
    holding = {run: [path.name for path, text in output_texts.items() if run in windows(words(text))] for run in hits}
    assert not holding, "words of real texts"


def test_the_search_would_find_a_real_text():
    text = "one two three four five six seven eight nine"
    assert {*windows(words(f"<td>[{text}]</td>"))} & {*windows(words(text))}


def test_predictions_hold_ids_labels_and_probabilities_alone():
    paths = list((RECORDED / "runs").glob("*.parquet"))
    assert len(paths) == 2 * len(PROFILE.tasks)
    runs = packed_lines(RECORDED / "runs")
    for path in paths:
        columns = pd.read_parquet(path).columns.tolist()
        assert columns[:3] == ["items", "id", "label"]
        for column in columns[3:]:
            run, _, label = column.partition(" ")
            assert label in {"", *runs[run]["identity"]["labels"]}
            assert bool(label) == path.stem.endswith(".probabilities")


def test_probabilities_are_kept_in_three_decimals():
    for path in (RECORDED / "runs").glob("*.probabilities.parquet"):
        values = pd.read_parquet(path).iloc[:, 3:]
        assert set(values.dtypes) == {np.dtype(np.int16)}
        assert values.size
        assert values.isin([*range(1001), MISSING]).all(axis=None)


def test_it_is_small_and_holds_what_a_reader_wants():
    files = [path for path in RECORDED.rglob("*") if path.is_file()]
    assert len(files) < 400
    assert sum(path.stat().st_size for path in files) < 25 * 2**20
    assert not [path for path in files if path.suffix == ".svg"]
    folders = {path.name for path in RECORDED.iterdir()}
    assert folders >= {
        "report.html",
        "tables",
        "figures",
        "notebooks",
        "runs",
        "synthetic",
        "measured",
        "manifest.json",
    }


def test_outputs_name_no_path_of_a_machine(output_texts):
    for path, text in output_texts.items():
        assert not re.search(r"(?<!\w)/(home|root|work|tmp|Users)/\w|site-packages", text), path.name


def test_the_grid_is_whole():
    grid = pd.read_csv(RECORDED / "runs" / "grid.csv", keep_default_na=False)
    labels, index = (grid[grid["comparison"] == name] for name in ("labels", "paper"))
    assert set(index["task"]) == set(labels["task"]) == set(PROFILE.tasks)
    settings = PROFILE.training
    assert len(labels) == len(PROFILE.tasks) * 2 * sum(len(settings.seeds_of(name)) for name in ("probe", "finetune"))
    for name, classifier in settings.classifiers.items():
        rows = index[index["classifier"] == name]
        tasks = classifier.tasks or PROFILE.tasks
        assert set(rows["task"]) == set(tasks)
        recordings = (1, 3, 3)  # of real texts, zero-shot, few-shot
        runs = sum(len(settings.seeds_of(name, one)) * one for one in recordings)
        assert len(rows) == len(tasks) * runs
    curve = pd.read_csv(RECORDED / "runs" / "curve.csv", keep_default_na=False)
    assert set(curve["task"]) == set(PROFILE.tasks)
    assert set(curve.loc[curve["n_train"].isin(index["n_train"]), "run"]) & set(index["run"])
    mixes = pd.read_csv(RECORDED / "runs" / "mixes.csv", keep_default_na=False)
    assert set(mixes["task"]) == set(PROFILE.tasks)
    decision = pd.read_csv(RECORDED / "runs" / "decision.csv", keep_default_na=False)
    assert set(decision["task"]) == set(PROFILE.tasks)
    runs = {*grid["run"], *curve["run"], *mixes["run"], *decision["run"]}
    assert runs <= set(packed_lines(RECORDED / "runs"))
    for task in PROFILE.tasks:
        rows = pd.read_parquet(RECORDED / "runs" / f"{task}.parquet")
        annotated = rows[rows["items"] == "annotated"]
        assert (len(annotated) > 0) == (task in {"tweet_irony", "sarcasm_news"})
        first, *others = index.loc[index["task"] == task, "run"]
        predicted = rows[first].notna()  # of the test as many of each label as the profile says, and all annotated
        test = rows.loc[predicted & (rows["items"] == "test"), "id"]
        assert 0 < len(test) <= settings.test_texts_per_label * len(set(rows[first].dropna()))
        assert predicted[rows["items"] == "annotated"].all()
        for run in others:
            assert (rows[run].notna() == predicted).all()
    names = {path.name for path in (RECORDED / "runs").iterdir() if path.is_file()}
    packed = {f"{task}.{end}" for task in PROFILE.tasks for end in ("parquet", "probabilities.parquet")}
    assert names == packed | {"runs.jsonl.gz", "grid.csv", "curve.csv", "mixes.csv", "decision.csv"}


def test_what_compare_says_of_its_advice_is_what_was_found():
    table = pd.read_csv(RECORDED / "tables" / "advice_lost.csv").query("classifier == 'probe'")
    found = {
        n: (round(own["mean"].mean(), 1), round(own["most"].max(), 1), " to ".join(map(str, sorted({*own["tasks"]}))))
        for n, own in table.groupby("real_labels")
    }
    assert found == ADVICE_LOST


def test_the_variances_that_plans_take_are_those_that_were_found():
    table = pd.read_csv(RECORDED / "tables" / "sample_size.csv")
    planned = power_table(VARIANCES, int(table["tasks"].max()))
    assert planned["detectable"].to_numpy() == pytest.approx(table["detectable"].to_numpy(), rel=0.05)


def test_the_manifest_speaks_of_a_clean_commit_and_of_success():
    manifest = json.loads((RECORDED / "manifest.json").read_text())
    assert manifest["profile"] == PROFILE.model_dump(mode="json")
    # ten sets, annotated texts for two, judgements for two, a further test set, labels of ten and of one without tags
    assert len(manifest["data_sha256"]) == 26
    assert list(manifest["notebooks"]) == stages_of(PROFILE)
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
    assert set(curves["corpus"]) == {"real", "zero_shot", "few_shot"}


def test_table_1_covers_every_task_classifier_and_corpus():
    table = pd.read_csv(RECORDED / "tables" / "table_1.csv")
    of_task = PROFILE.training.classifiers_of
    assert len(table) == 3 * sum(len(of_task(task)) for task in PROFILE.tasks)
    of_new_recordings = table.columns[table.columns.str.contains("_new_")]
    required = table.drop(columns=["macro_f1_sd", "accuracy_sd", *of_new_recordings])
    assert required.notna().all().all()
    assert (table[of_new_recordings].notna().all(axis=1) == (table["recordings"] > 1)).all()
    one_seed = table["seeds"] == 1
    assert (table["macro_f1_sd"].isna() == one_seed).all()


def test_no_figure_of_the_report_lost_a_digit(output_texts):
    """A version of the report once cut every decimal, so that p < 0.001 read p < 0.00."""
    page = output_texts[RECORDED / "report.html"]
    assert len(re.findall(r"p [<=] 0\.\d{3}(?!\d)", page)) > 5
    page = page.replace("p < 0.05", "")  # the level that stars and filled markers stand for
    assert not re.search(r"p [<=] 0\.\d{0,2}(?!\d)", page)
    assert not re.search(r"0\.00(?!\d)", "".join(re.findall(r"p < \S+", page)))
