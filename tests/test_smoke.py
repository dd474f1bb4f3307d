"""One run of all notebooks on the profile smoke; many small looks at what it left."""

import json
import re

import nbformat
import pandas as pd
import pytest
from conftest import synthgap

from synthgap.config import load_profile
from synthgap.stages import STAGES

PROFILE = load_profile("smoke")


@pytest.fixture(params=STAGES)
def executed(smoke, request):
    return nbformat.read(smoke / "notebooks" / f"{request.param}.ipynb", as_version=4)


def test_it_left_the_house_as_designed(smoke):
    assert sorted(path.name for path in smoke.iterdir()) == sorted(
        ["synthetic", "runs", "tables", "figures", "notebooks", "stages", "manifest.json", "report.html"]
    )
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
    for path in (smoke / "tables").glob("*.md"):
        assert "evidence of nothing" in path.read_text(), path.name
    for path in (smoke / "tables").glob("*.tex"):
        assert "evidence of nothing" in path.read_text(), path.name


@pytest.mark.parametrize("setting", ["zero_shot", "few_shot"])
@pytest.mark.parametrize("task", PROFILE.tasks)
def test_synthetic_texts_are_there_with_turn_position_and_provenance(smoke, task, setting):
    from synthgap.generation import provenance

    texts = pd.read_parquet(smoke / "synthetic" / f"{task}.{setting}.parquet")
    assert texts.columns.tolist() == ["id", "text", "label", "turn", "position"]
    assert set(texts["label"].value_counts()) == {20}
    assert (smoke / "synthetic" / f"{task}.{setting}.rejected.parquet").is_file()
    about = provenance(smoke / "synthetic", task, setting)
    assert about["accepted"] == len(texts)
    assert "Claude" in about["written_by"]


def test_table_1_is_whole(smoke):
    table = pd.read_csv(smoke / "tables" / "table_1.csv")
    assert len(table) == len(PROFILE.tasks) * 3
    assert table.notna().all().all()
    assert (table["seeds"] == 2).all()
    for metric in ("macro_f1", "accuracy"):
        assert table[metric].between(0, 100).all()
        assert (table[f"{metric}_low"] <= table[metric]).all()
        assert (table[metric] <= table[f"{metric}_high"]).all()
    assert table.drop_duplicates(["task", "n_train"])["task"].is_unique


def grid_runs(smoke):
    """The runs of the grid; learning curves and mixes have further ones."""
    grid = pd.read_csv(smoke / "runs" / "grid.csv", dtype={"run": str})["run"]
    return [json.loads((smoke / "runs" / f"{name}.json").read_text()) for name in grid]


def test_table_1_is_the_mean_of_the_runs(smoke):
    table = pd.read_csv(smoke / "tables" / "table_1.csv").set_index(["task", "regime"])
    runs = grid_runs(smoke)
    assert len(runs) == 24
    for (task, regime), row in table.iterrows():
        scores = [run["scores"]["macro_f1"] for run in runs if (run["task"], run["regime"]) == (task, regime)]
        assert row["macro_f1"] == pytest.approx(sum(scores) / len(scores), abs=1e-2)


def test_gaps_are_there_for_every_task_comparison_and_metric(smoke):
    gaps = pd.read_csv(smoke / "tables" / "gaps.csv")
    assert len(gaps) == len(PROFILE.tasks) * 3 * 2
    assert gaps["p"].between(0, 1, inclusive="right").all()
    assert (gaps["p_holm"] >= gaps["p"]).all()


def test_tables_come_as_csv_markdown_and_latex(smoke):
    names = {path.name for path in (smoke / "tables").iterdir()}
    for name in ("generation", "rejects", "gap_by_subjectivity"):
        assert {f"{name}.csv", f"{name}.md", f"{name}.tex"} <= names
    for metric in ("macro_f1", "accuracy"):
        assert {f"table_1_tfidf_{metric}.md", f"table_1_tfidf_{metric}.tex"} <= names


FIGURES = [
    *("text_lengths", "text_counts", "gap_by_task", "gap_by_subjectivity", "task_levels", "task_scores"),
    *("agreement_by_source", "accuracy_by_agreement_stand_in", "agreement_effects_stand_in"),
    *("diversity", "rarefaction_chamfer", "rarefaction_vendi", "similarity", "maps", "diversity_and_gap"),
    *("learning_curves_tfidf", "worth_tfidf", "mixes_tfidf", "augmentation_tfidf"),
]


def test_every_figure_comes_as_pdf_png_and_svg(smoke):
    assert {path.stem for path in (smoke / "figures").iterdir()} == set(FIGURES)
    for name in FIGURES:
        assert (smoke / "figures" / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"
        assert (smoke / "figures" / f"{name}.png").read_bytes()[1:4] == b"PNG"
        assert (smoke / "figures" / f"{name}.png").stat().st_size > 5_000
        assert "evidence of nothing" in re.sub(r"<.*?>", " ", (smoke / "figures" / f"{name}.svg").read_text())


TABLES = {
    "table_2": "task source items annotations_per_item agreement alpha alpha_low alpha_high level note",
    "task_ranking": "task level bradley_terry low high source",
    "threshold_curves": "task source classifier regime threshold items accuracy null_low null_high",
    "diversity": "task regime label metric n value low high",
    "rejects": "task setting reason texts",
}


@pytest.mark.parametrize("name", TABLES)
def test_tidy_tables_have_their_fixed_names(smoke, name):
    table = pd.read_csv(smoke / "tables" / f"{name}.csv")
    assert table.columns.tolist() == TABLES[name].split()
    assert len(table) > 0


def test_diversity_covers_every_task_regime_and_class_at_equal_n(smoke):
    table = pd.read_csv(smoke / "tables" / "diversity.csv")
    assert set(table["task"]) == set(PROFILE.tasks)
    assert set(table["metric"]) == {"remote_clique", "chamfer", "vendi", "distinct_1", "distinct_2"}
    sizes = table.groupby(["task", "label", "metric"])["n"]
    assert (sizes.min() == sizes.max()).all()
    assert (table.groupby(["task", "label", "metric"])["regime"].nunique() == 3).all()
    distances = table[table["metric"].isin(["remote_clique", "chamfer"])]
    assert distances.notna().all(axis=None)
    assert ((distances["low"] <= distances["value"]) & (distances["value"] <= distances["high"])).all()


def test_threshold_curves_begin_with_all_items_and_the_overall_accuracy(smoke):
    curves = pd.read_csv(smoke / "tables" / "threshold_curves.csv")
    runs = grid_runs(smoke)
    first = curves.sort_values("threshold").drop_duplicates(["task", "regime"])
    assert len(first) == len(PROFILE.tasks) * 3
    for row in first.itertuples():
        scores = [run["scores"]["accuracy"] for run in runs if (run["task"], run["regime"]) == (row.task, row.regime)]
        assert row.accuracy == pytest.approx(sum(scores) / len(scores), abs=1e-2)
        assert row.null_low == pytest.approx(row.accuracy, abs=1e-3)


def test_no_later_stage_writes_into_an_earlier_ones_products(smoke):
    markers = [json.loads((smoke / "stages" / f"{stage}.json").read_text()) for stage in STAGES]
    products = [name for marker in markers for name in marker["products"]]
    assert len(products) == len(set(products))
    on_disk = {
        path.relative_to(smoke).as_posix() for folder in ("tables", "figures") for path in (smoke / folder).iterdir()
    }
    assert on_disk <= set(products)


def test_every_run_names_its_data(smoke):
    for path in (smoke / "runs").glob("*.json"):
        run = json.loads(path.read_text())
        assert re.fullmatch(r"[0-9a-f]{64}", run["data_fingerprint"])
        assert path.stem == run["run"]


def test_the_manifest_says_what_was_run_where(smoke):
    manifest = json.loads((smoke / "manifest.json").read_text())
    assert manifest["profile"] == PROFILE.model_dump(mode="json")
    assert "evidence of nothing" in manifest["real_texts"]
    assert {"system", "processor", "cores", "memory_gib", "gpu"} == set(manifest["machine"])
    assert set(manifest["data_fingerprints"]) == set(PROFILE.tasks)
    assert set(manifest["git"]) in ({"commit", "dirty"}, set())
    assert list(manifest["notebooks"]) == list(STAGES)
    for entry in manifest["notebooks"].values():
        assert entry["success"]
        assert entry["start"] <= entry["end"]


def test_a_second_run_does_nothing(smoke):
    before = {path: path.stat().st_mtime_ns for path in smoke.rglob("*") if path.is_file()}
    done = synthgap("run", "smoke", "--output", str(smoke.parent))
    assert done.returncode == 0
    assert done.stdout.count("done already, nothing changed") == len(STAGES)
    assert {path: path.stat().st_mtime_ns for path in smoke.rglob("*") if path.is_file()} == before


def test_status_says_that_all_is_done(smoke):
    done = synthgap("status", "smoke", "--output", str(smoke.parent))
    assert done.returncode == 0
    on_disk = len(list((smoke / "runs").glob("*.json")))
    assert f"runs: 24 in the grid, {on_disk} on disk" in done.stdout
    assert on_disk > 24  # learning curves and mixes have runs of their own
    assert re.findall(r"0\d_\w+ +done", done.stdout) == [f"{stage:<16} done" for stage in STAGES]
