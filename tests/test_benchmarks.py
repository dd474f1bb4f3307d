"""RESULTS.md says what the benchmarks' files say, and the GPU's benchmark goes as far as it can without one."""

import importlib
import re
import warnings

import pytest
import torch
from conftest import ROOT

FOLDER = ROOT / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a benchmark."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def test_results_are_the_tables_of_the_files_a_row_a_script_and_what_is_written_by_hand(benchmark):
    run_all, results = benchmark("run_all"), (FOLDER / "RESULTS.md").read_text()
    for table in run_all.tables():
        assert table in results, f"python benchmarks/run_all.py writes another table '{table.splitlines()[0]}'"
    rows = [row[1] for row in run_all.ROW.finditer(results)]
    assert rows == [name for name in run_all.SCRIPTS if name in rows]
    others = set(re.findall(r"^## (.*)", results, re.MULTILINE)) - set(run_all.TABLES)
    assert all(title.endswith(" (written by hand)") for title in others)


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the script itself can be run")
def test_the_gpus_benchmark_runs_up_to_the_first_call_of_cuda(benchmark, monkeypatch, capsys):
    monkeypatch.setenv("GPU_STEPS_SMALL", "1")
    monkeypatch.delenv("GPU_STEPS_PEAK", raising=False)
    gpu_steps = importlib.reload(benchmark("gpu_steps"))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for section in (gpu_steps.trainer, gpu_steps.recorded, gpu_steps.streams, gpu_steps.sound):
            section()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ROW ")]
    assert [row.split('"')[1].split(",")[0] for row in rows] == ["Trainer", "recorded", "recorded", "recorded", "sound"]
    assert "computed differ by 0.0e+00" in rows[-1]
    assert sum("steps cannot be recorded" in str(one.message) for one in said) == 3, "one a run that would record"
