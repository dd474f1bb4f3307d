"""Shared by all tests: where things are, small data, and one run of the profile smoke for the whole session."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest
from faults import FAULTS, fault, write_faults
from filelock import FileLock
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = Path(os.environ.get("SYNTHGAP_TEST_DATA", ROOT.parent / "shared" / "data"))
needs_real_data = pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real data sets are not on this machine")


settings.register_profile(  # a busy machine is no failure
    "synthgap", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("synthgap")
gc.disable()  # until all tests are collected
os.environ["HF_HUB_OFFLINE"] = "1"  # the hub's client reads it when it is imported; else it tries for a minute
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it starts in the background
sys.modules.setdefault("rfc3987_syntax", None)  # as in pipeline/runner.py; jsonschema reads its grammar for a second
os.environ["OMP_NUM_THREADS"] = "1"  # the tests' models are tiny: threads would only wait for each other


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-faults", action="store_true", help="write docs/faults.md, if every test passes")


@pytest.hookimpl(tryfirst=True)  # before slow tests are left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[FAULTS] = list(dict.fromkeys(fault(mark) for item in items for mark in item.iter_markers("fault")))


def pytest_collection_finish() -> None:
    """What is imported is no garbage: to walk it again and again took a quarter of the tests' time."""
    gc.freeze()
    gc.unfreeze = gc.freeze  # else a live run would thaw all of it
    gc.enable()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    ran = exitstatus == pytest.ExitCode.OK and not session.config.getoption("collectonly")
    if session.config.getoption("--write-faults") and ran:
        write_faults(session.config.stash[FAULTS])


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of the tests share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, shared_folder: Path) -> None:
    """No test reads or writes the user's cache, tasks, data or outputs."""
    os.environ["SYNTHGAP_CACHE"] = str(shared_folder / "cache")
    os.environ["SYNTHGAP_HOME"] = str(ROOT)
    os.environ["HF_HOME"] = str(tmp_path_factory.mktemp("hf"))
    os.environ["SYNTHGAP_TASKS"] = str(tmp_path_factory.mktemp("tasks"))
    for name in ("DATA", "OUTPUTS", "NO_DATA"):
        os.environ.pop(f"SYNTHGAP_{name}", None)


def synthgap(
    *arguments: str, program: Sequence[str] = ("-m", "synthgap"), **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line in this process, which saves the time that its start takes; see `synthgap`."""
    from synthgap.__main__ import main

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        printed, told = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ),
            mock.patch.object(sys, "unraisablehook"),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(told),
        ):
            try:
                status = main(arguments)
            except SystemExit as error:  # of argparse
                status = int(error.code or 0)
        return subprocess.CompletedProcess(arguments, status, printed.getvalue(), told.getvalue())

    return run


@pytest.fixture
def laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of notebooks and report are laid out, and their files stay empty; those of `smoke` are whole."""
    from in_process import empty_files

    monkeypatch.setattr("synthgap.pipeline.stages.save_figure", empty_files)
    monkeypatch.setattr("synthgap.pipeline.report.as_bytes", lambda figure, form: b"<svg/>")


@pytest.fixture
def in_process(laid_out: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks are executed in this process, which saves their kernels' starts and imports; see in_process.py.

    The report has its figures' places, and none is drawn again for it.
    """
    from in_process import execute

    from synthgap.figures import CaptionedFigure

    monkeypatch.setattr("synthgap.pipeline.report.draw", lambda *given, **options: CaptionedFigure())
    monkeypatch.setattr("synthgap.pipeline.notebooks.execute", execute)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of an encoder that trains in a second; see small_encoder.py."""
    from small_encoder import save_tiny_bert

    return save_tiny_bert(tmp_path_factory.mktemp("tiny_bert"))


@pytest.fixture(scope="session")
def smoke(shared_folder: Path) -> Path:
    """outputs/smoke of one run of all notebooks, which all processes of the tests share; not to be changed.

    One stands for all in being executed in a kernel; see in_process.py.
    """
    finished = shared_folder / "smoke_finished"
    with FileLock(shared_folder / "smoke.lock"):
        if not finished.is_file():
            program = [str(ROOT / "tests" / "in_process.py")]
            done = synthgap("run", "smoke", "--output", str(shared_folder / "outputs"), program=program)
            assert done.returncode == 0, done.stderr[-3000:]
            finished.touch()
    return shared_folder / "outputs" / "smoke"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder of its own, to be changed at will: configs and notebooks are copies."""
    for name in ("configs", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / "home" / name)
    monkeypatch.setenv("SYNTHGAP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own with small notebooks, whose results go into its outputs/; see made_project.py."""
    from made_project import make_project

    for name in ("DATA", "OUTPUTS", "NO_DATA"):
        monkeypatch.delenv(f"SYNTHGAP_{name}", raising=False)
    monkeypatch.setenv("SYNTHGAP_HOME", str(tmp_path / "made"))
    return make_project(tmp_path / "made")


@pytest.fixture(scope="session")
def all_finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as of `made`, all of whose stages are finished; not to be changed."""
    from made_project import CODE, execute, make_project

    folder = make_project(tmp_path_factory.mktemp("finished") / "made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHGAP_HOME", str(folder))
        for stage in CODE:
            execute(stage)
    return folder


@pytest.fixture
def finished(all_finished: Path, made: Path) -> Path:
    """A copy of the finished project, to be changed at will, in the place of `made`."""
    return Path(shutil.copytree(all_finished, made, dirs_exist_ok=True))


@pytest.fixture
def endpoint(request: pytest.FixtureRequest):
    """An endpoint that behaves as the script in the parameter says; see llm_server.py."""
    from endpoints import Endpoint

    found = Endpoint(request.param)
    yield found
    found.end()


@pytest.fixture
def texts() -> pd.DataFrame:
    """Sound data of the task sms_spam: 12 train, 2 validation and 4 test texts a label."""
    rows = [
        {"id": f"{split}-{label}-{n}", "text": f"{split} text {n} of {label}", "label": label, "split": split}
        for split, size in (("train", 12), ("validation", 2), ("test", 4))
        for label in ("ham", "spam")
        for n in range(size)
    ]
    return pd.DataFrame(rows)
