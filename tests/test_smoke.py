"""One run of all notebooks on the profile smoke; many small looks at what it left."""

import json
import re
import shutil

import nbformat
import pandas as pd
import pytest
from test_report import pictures

from synthgap.generation.corpora import ledger_file, load_corpus, provenance
from synthgap.pipeline.validity import STAGES
from synthgap.tables import read_shown
from synthgap.tasks import load_profile
from synthgap.training.store import packed_lines

PROFILE = load_profile("smoke")


@pytest.fixture(params=STAGES)
def executed(smoke, request):
    return nbformat.read(smoke / "notebooks" / f"{request.param}.ipynb", as_version=4)


def test_it_left_the_house_as_designed(smoke):
    assert {path.name for path in smoke.iterdir()} == {
        *("synthetic", "runs", "measured", "tables", "figures", "notebooks", "stages", "manifest.json", "report.html"),
        "your_task",
    }
    assert {path.suffix for path in (smoke / "figures").iterdir()} == {".pdf", ".png"}
    assert not list((smoke / "runs" / "loose").glob("*")), "runs are packed when the stage ends"
    assert not list(smoke.rglob("*.tmp"))
    assert not list(smoke.rglob("*.running.ipynb"))


def test_every_cell_ran_without_errors_or_warnings(executed):
    for cell in executed.cells:
        if cell.cell_type == "code":
            assert cell.execution_count is not None
            assert [output for output in cell.outputs if output.output_type in {"error", "stream"}] == [], cell.source


def test_executed_notebooks_name_no_path_of_this_machine(smoke, executed):
    text = json.dumps(executed)
    for path in ("/home/", "/root/", "ipykernel_", "/work/", "site-packages", str(smoke.parent)):
        assert path not in text


def test_the_stand_in_is_called_that_in_every_notebook_table_and_figure(smoke, executed):
    assert "evidence of nothing" in json.dumps(executed)
    for stage in STAGES:
        shown = read_shown(smoke / "tables", stage)
        assert [name for name, text in shown.items() if "evidence of nothing" not in text] == []
        latex = (smoke / "tables" / f"{stage}.tex").read_text() if shown else ""
        assert latex.count("evidence of nothing") == latex.count("\\begin{table}") == len(shown)


@pytest.mark.parametrize(
    ("task", "corpus"), [(task, corpus) for corpus in PROFILE.corpora for task in PROFILE.tasks_of_corpus(corpus)]
)
def test_synthetic_texts_are_there_with_turn_position_and_provenance(smoke, task, corpus):
    texts = load_corpus(smoke / "synthetic", PROFILE, corpus, task)
    assert texts.columns.tolist() == ["id", "text", "label", "recording", "turn", "position"]
    assert all(12 <= texts <= 20 for texts in texts["label"].value_counts()), "known jokes were taken out"
    about, ledger = provenance(smoke / "synthetic", corpus, task), pd.read_parquet(ledger_file(smoke / "synthetic"))
    rejected = ledger[(ledger["corpus"] == corpus) & (ledger["task"] == task)]
    assert len(rejected) == sum(about["rejected"].values())
    assert about["accepted"] == len(texts)
    assert "Claude" in about["written_by"]


def test_table_1_is_whole(smoke):
    table = pd.read_csv(smoke / "tables" / "table_1.csv")
    assert len(table) == len(PROFILE.tasks) * 3
    of_new_recordings = table.columns[table.columns.str.contains("_new_")]
    assert table[of_new_recordings].isna().all().all(), "each corpus has one recording"
    assert table.drop(columns=of_new_recordings).notna().all().all()
    assert (table["seeds"] == 2).all()
    for metric in ("macro_f1", "accuracy"):
        assert table[metric].between(0, 100).all()
        assert (table[f"{metric}_low"] <= table[metric]).all()
        assert (table[metric] <= table[f"{metric}_high"]).all()
    assert table.drop_duplicates(["task", "n_train"])["task"].is_unique


def grid_runs(smoke):
    """The main comparison's runs, each with the corpus that it is for; learning curves and mixes have further ones."""
    grid, runs = pd.read_csv(smoke / "runs" / "grid.csv", dtype={"run": str}), packed_lines(smoke / "runs")
    return [{**runs[row.run], "corpus": row.corpus} for row in grid.query("comparison == 'paper'").itertuples()]


def test_table_1_is_the_mean_of_the_runs(smoke):
    table = pd.read_csv(smoke / "tables" / "table_1.csv").set_index(["task", "corpus"])
    runs = grid_runs(smoke)
    assert len(runs) == 24
    for (task, corpus), row in table.iterrows():
        scores = [run["scores"]["macro_f1"] for run in runs if (run["task"], run["corpus"]) == (task, corpus)]
        assert row["macro_f1"] == pytest.approx(sum(scores) / len(scores), abs=1e-2)


def test_gaps_are_there_for_every_task_comparison_and_metric(smoke):
    gaps = pd.read_csv(smoke / "tables" / "gaps.csv")
    assert len(gaps) == len(PROFILE.tasks) * 3 * 2
    assert gaps["p"].between(0, 1, inclusive="right").all()
    assert (gaps["p_holm"] >= gaps["p"]).all()


def test_tables_come_as_csv_markdown_and_latex(smoke):
    names = {path.name for path in (smoke / "tables").iterdir()}
    shown = {name for stage in STAGES for name in read_shown(smoke / "tables", stage)}
    latex = "".join((smoke / "tables" / name).read_text() for name in names if name.endswith(".tex"))
    assert set(re.findall(r"^% (\w+)$", latex, re.MULTILINE)) == shown
    for name in ("generation", "rejects", "gap_by_subjectivity"):
        assert f"{name}.csv" in names
        assert name in shown
    assert {f"table_1_tfidf_{metric}" for metric in ("macro_f1", "accuracy")} <= shown


FIGURES = [
    *("design", "text_lengths", "text_counts", "gap_by_task", "gap_by_subjectivity", "task_levels", "task_scores"),
    *("agreement_by_source", "accuracy_by_agreement_stand_in", "threshold_fits_stand_in", "agreement_effects_stand_in"),
    *("diversity", "diversity_by_label", "diversity_and_gap"),
    *("rarefaction_chamfer", "rarefaction_vendi", "similarity", "maps"),
    *("learning_curves_tfidf", "worth_tfidf", "power", "mixes_tfidf", "augmentation_tfidf"),
    *("length_gap", "telling_apart", "label_gap", "class_bias", "reliability"),
    *("cleaning", "recitation", "remedies"),
    *("llms_side_by_side_tfidf", "forecast", "examples_against_none", "guideline", "diversity_prompts"),
    *("strategies_tfidf", "strategy_gains", "decision_regret", "costs"),
    "own_curve",
]


def test_every_figure_comes_as_pdf_and_png_and_says_what_it_is(smoke):
    """Of the drawing, what the report holds, which is that of these files: see test_report.py."""
    drawn = pictures((smoke / "report.html").read_text(encoding="utf-8"))
    assert {path.stem for path in (smoke / "figures").iterdir()} == set(FIGURES)
    for name in FIGURES:
        assert (smoke / "figures" / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"
        assert (smoke / "figures" / f"{name}.png").read_bytes()[1:4] == b"PNG"
        assert (smoke / "figures" / f"{name}.png").stat().st_size > 5_000
        assert "evidence of nothing" in " ".join(re.sub(r"<.*?>", " ", drawn[name].decode()).split())


def test_a_figure_drawn_for_a_column_has_that_size(command, smoke, tmp_path):
    for name in ("gap_by_task", "maps", "accuracy_by_agreement_stand_in"):
        arguments = ("--profile", "smoke", "--size", "3.3x2.5", "--to", str(tmp_path / f"{name}.svg"))
        done = command("figure", name, *arguments, "--output", str(smoke.parent))
        assert done.returncode == 0, done.stderr
        assert 'width="237.6pt" height="180pt"' in (tmp_path / f"{name}.svg").read_text()


TABLES = {
    "table_2": "task source items annotations_per_item agreement alpha alpha_low alpha_high level note",
    "task_ranking": "task level bradley_terry low high source",
    "threshold_curves": "task source classifier corpus threshold items accuracy null_low null_high above_chance",
    "diversity": "task corpus label metric n value low high",
    "rejects": "task corpus reason texts",
}


@pytest.mark.parametrize("name", TABLES)
def test_tidy_tables_have_their_fixed_names(smoke, name):
    table = pd.read_csv(smoke / "tables" / f"{name}.csv")
    assert table.columns.tolist() == TABLES[name].split()
    assert len(table) > 0


def test_diversity_covers_every_task_corpus_and_class_at_equal_n(smoke):
    table = pd.read_csv(smoke / "tables" / "diversity.csv")
    assert set(table["task"]) == set(PROFILE.tasks)
    assert set(table["metric"]) == {"remote_clique", "chamfer", "vendi", "distinct_1", "distinct_2"}
    sizes = table.groupby(["task", "label", "metric"])["n"]
    assert (sizes.min() == sizes.max()).all()
    assert (table.groupby(["task", "label", "metric"])["corpus"].nunique() == 3).all()
    distances = table[table["metric"].isin(["remote_clique", "chamfer"])]
    assert distances.notna().all(axis=None)
    assert ((distances["low"] <= distances["value"]) & (distances["value"] <= distances["high"])).all()


def test_threshold_curves_begin_with_all_items_and_the_overall_accuracy(smoke):
    curves = pd.read_csv(smoke / "tables" / "threshold_curves.csv")
    runs = grid_runs(smoke)
    first = curves.sort_values("threshold").drop_duplicates(["task", "corpus"])
    assert len(first) == len(PROFILE.tasks) * 3
    for row in first.itertuples():
        scores = [run["scores"]["accuracy"] for run in runs if (run["task"], run["corpus"]) == (row.task, row.corpus)]
        assert row.accuracy == pytest.approx(sum(scores) / len(scores), abs=1e-2)
        assert row.null_low == pytest.approx(row.accuracy, abs=1e-3)


def test_no_later_stage_writes_into_an_earlier_ones_products(smoke):
    markers = [json.loads((smoke / "stages" / f"{stage}.json").read_text()) for stage in STAGES]
    products = [name for marker in markers for name in marker["products"]]
    assert len(products) == len(set(products))
    on_disk = {
        path.relative_to(smoke).as_posix()
        for folder in ("synthetic", "runs", "measured", "tables", "figures")
        for path in (smoke / folder).iterdir()
        if path.is_file()
    }
    assert on_disk <= set(products)


def test_every_run_names_its_data(smoke):
    runs = packed_lines(smoke / "runs")
    assert len(runs) > 24
    for name, run in runs.items():
        assert re.fullmatch(r"[0-9a-f]{64}", run["data_fingerprint"])
        assert name == run["run"]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (["05"], r"all \d+ tables of 05_diversity equal"),
        pytest.param([], "of 03_.*, 11_your_task equal", marks=pytest.mark.slow),
    ],
    ids=["one stage", "all stages"],
)
def test_nothing_but_the_runs_and_what_was_measured_is_needed_after_02(
    stages, said, command, in_process, smoke, tmp_path
):
    """What follows 02 comes out again without the real texts, and its tables are the same."""
    shutil.copytree(smoke, tmp_path / "smoke")
    done = command("verify", "smoke", *stages, "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert re.search(f"{said} the committed ones", done.stdout)
    done = command("run", "smoke", "--no-data", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kept: it needs the real texts") == 2
    assert done.stdout.count("done already") == len(STAGES) - 2


def test_the_manifest_says_what_was_run_where(smoke):
    manifest = json.loads((smoke / "manifest.json").read_text())
    assert manifest["profile"] == PROFILE.model_dump(mode="json")
    assert "evidence of nothing" in manifest["real_texts"]
    assert {"system", "processor", "cores", "memory_gib", "gpu"} == set(manifest["machine"])
    assert set(manifest["data_fingerprints"]) == set(PROFILE.tasks)
    assert set(manifest["hours_of_runs"]["tfidf"]) == {"training", "predicting", "runs"}
    assert manifest["hours_of_runs"]["tfidf"]["runs"] >= len(PROFILE.tasks)
    assert set(manifest["git"]) in ({"commit", "dirty"}, set())
    assert list(manifest["notebooks"]) == list(STAGES)
    for entry in manifest["notebooks"].values():
        assert entry["success"]
        assert entry["start"] <= entry["end"]


def test_a_second_run_does_nothing(command, smoke):
    before = {path: path.stat().st_mtime_ns for path in smoke.rglob("*") if path.is_file()}
    done = command("run", "smoke", "--output", str(smoke.parent))
    assert done.returncode == 0
    assert done.stdout.count("done already, nothing changed") == len(STAGES)
    assert {path: path.stat().st_mtime_ns for path in smoke.rglob("*") if path.is_file()} == before


def test_status_says_that_all_is_done(command, smoke):
    done = command("status", "smoke", "--output", str(smoke.parent))
    assert done.returncode == 0
    on_disk = len(packed_lines(smoke / "runs"))
    assert f"runs: 48 in the grid, {on_disk} on disk" in done.stdout
    assert on_disk > 24  # learning curves and mixes have runs of their own
    assert re.findall(r"\d\d_\w+ +done", done.stdout) == [f"{stage:<16} done" for stage in STAGES]
