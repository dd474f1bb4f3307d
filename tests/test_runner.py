"""The command line and the runner, with wrong input, failing notebooks, dying kernels and an impatient user."""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import nbformat
import pandas as pd
import pytest
import yaml
from conftest import ROOT, synthgap
from made_project import edit_notebook, execute
from workers import lines_in, write_lines_in

from synthgap.__main__ import parser
from synthgap.core.files import read_json
from synthgap.pipeline import commands
from synthgap.pipeline.validity import STAGES, stage_name
from synthgap.tasks import load_profile, load_task
from synthgap.training.embeddings import cache_folder
from synthgap.training.store import LINES

ONE_TASK = ("--set", "tasks=[sms_spam]", "--name", "one")  # so its folder is smoke-one
TLS = [part for name in ("ca", "cert", "key") for part in (f"--tls-{name}", f"nowhere/{name}.pem")]
FIRST = ("01", "02", "03")  # the stages that most of these tests need


def one_sentence(done: subprocess.CompletedProcess, *words: str, code: int = 2) -> None:
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("synthgap: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def runs_in(folder) -> dict[str, dict]:
    """{name: what a run says of itself, its time included}: of packed runs and of those that are not packed yet."""
    lines = lines_in(folder).splitlines() if (folder / LINES).is_file() else []
    loose = [path.read_text() for path in (folder / "loose").glob("*.json")]
    return {run["run"]: run for run in map(json.loads, [*lines, *loose])}


def edited(home, stage: str, source: str, place: int) -> None:
    """Put a code cell into a notebook of the copied project."""
    path = home / "notebooks" / f"{stage}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(place, nbformat.v4.new_code_cell(source))
    nbformat.write(notebook, path)


# -------------------------------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "demoo"], ["profile 'demoo' is unknown", "did you mean 'demo'"]),
        (["run", "demo", "04_magic"], ["stage '04_magic' is unknown", "01_generation"]),
        (["run", "demo", "--set", "training.sedes=[1]"], ["training.sedes", "seeds"]),
        (["run", "demo", "--set", "tasks=[ag_nws]"], ["task 'ag_nws' is unknown", "ag_news"]),
        (["run", "demo", "--set", "training.classifiers={svm: {kind: svm}}"], ["svm", "'tfidf', 'probe', 'finetune'"]),
        (["run", "demo", "--set", "nonsense"], ["--set takes key=value"]),
        (
            ["run", "demo", "--set", "corpora.mine={llm: gpt, setting: zero_shot}"],
            ["llm of corpus mine 'gpt'", "claude"],
        ),
        (["run", "demo", "--name", "../elsewhere"], ["'variant'", "../elsewhere"]),
        (["run", "recorded", "--data", ".", "--no-data"], ["--data", "--no-data", "leave one of them out"]),
        (["run", "smoke", "--no-data"], ["stage 01_generation has to run (not finished)", "leave out --no-data"]),
        (["run", "smoke", "--workers", "0"], ["--workers must be 1 or more"]),
        (["run", "smoke", "--tls-ca", "x.pem"], ["TLS takes --tls-ca, --tls-cert, --tls-key", "begins with tls://"]),
        (["run", "smoke", "--address", "tls://x:1"], ["TLS takes --tls-ca, --tls-cert, --tls-key"]),
        (["run", "smoke", "--address", "tls://x:1", *TLS], ["nowhere/ca.pem' is not there"]),
        (["run", "recorded", "--data", "no_such_folder"], ["no_such_folder' does not exist", "--data"]),
        (
            ["run", "smoke", "03_evaluation"],
            ["stage 03_evaluation reads what 01_generation writes", "run smoke 01_gen"],
        ),
        (
            ["run", "smoke", "01", "03"],
            ["stage 03_evaluation reads what 02_training writes", "run smoke 02_training 03_e"],
        ),
        (["run", "demo", "--data", "."], ["profile 'demo' takes its real texts from 'bundled'", "data.source=folder"]),
        (["status", "nothing"], ["profile 'nothing' is unknown"]),
        (["verify", "smoke"], ["profile 'smoke' has no results of stage 03_evaluation yet", "synthgap run smoke"]),
        (["verify", "smoke", "02"], ["stage 02_training needs the real texts"]),
        (["run", "smoke", "--set", "training.seeds=[0]", "--name", ""], ["argument --name: it is empty", "run --help"]),
        (["run", "smoke", " "], ["argument STAGE: it is empty"]),
        (["responses", "import", "", "--profile", "smoke"], ["argument FILE: it is empty"]),
        (["run"], ["are required: PROFILE; see synthgap run --help"]),
        (["run", "smoke", "--what"], ["unrecognized arguments: --what"]),
        (["figure", "maps", "--profile", "smoke"], ["figure of profile smoke 'maps' is unknown", "known: none"]),
    ],
)
def test_a_users_error_is_one_sentence(command, tmp_path, arguments, words):
    one_sentence(command(*arguments, "--output", str(tmp_path)), *words)
    assert list(tmp_path.iterdir()) == []


def options_of(parser, *words):
    """Every command's options that take a value, as (the command's words, option)."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, further in action.choices.items():
                yield from options_of(further, *words, word)
        elif action.option_strings and action.nargs != 0:
            yield words, action.option_strings[0]


@pytest.mark.fault(
    "The command line", "an empty name, path or value (`--name ''`)", "it is refused, and the option is named"
)
def test_no_option_takes_an_empty_string(command):
    options = list(options_of(parser()))
    assert len(options) > 40
    for words, option in options:
        one_sentence(command(*words, option, ""), f"argument {option}: ", f"see synthgap {' '.join(words)} --help")


@pytest.mark.fault("The command line", "`synthgap status | head`", "it ends quietly")
def test_a_reader_that_has_enough_ends_it_quietly():
    reads, writes = os.pipe()
    os.close(reads)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "synthgap", "status", "demo"]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, cwd=ROOT, env=environment)
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.fault(
    "The command line", "ANSI escapes in a profile's title, a file's name, an exception", "none reaches the terminal"
)
def test_nothing_from_outside_steers_the_terminal_or_repeats_the_key(command, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "gsk_0123456789abcdef")
    monkeypatch.setenv("SYNTHGAP_OUTPUTS", str(tmp_path))
    path = tmp_path / "mine.yaml"
    sets = ("--set", "llms.mine={backend: openai, model: m, base_url: 'https://gateway.test/s3cr3t/v1'}")
    profile = yaml.safe_load((ROOT / "configs" / "smoke.yaml").read_text())
    path.write_text(yaml.safe_dump(profile | {"title": "\x1b]0;x\x07\x1b[31mred gsk_0123456789abcdef \x9b2J"}))
    done = command("status", str(path), *sets)
    assert done.returncode == 0, done.stderr
    assert "red [hidden] " in done.stdout
    done = command("responses", "import", "a\x1b[2J gsk_0123456789abcdef", "--profile", str(path), *sets)
    assert "'a [hidden]' cannot be read" in done.stderr
    monkeypatch.setattr(commands, "carry_out", lambda *_: int("gsk_0123456789abcdef at https://gateway.test/s3cr3t/v1"))
    done = command("status", str(path), *sets)
    assert done.returncode == 1
    assert "ValueError: invalid literal for int() with base 10: '[hidden] at https://gateway.test'" in done.stderr
    for text in (done.stdout, done.stderr):
        assert not {"\x1b", "\x9b", "\x07"} & set(text)


def test_the_command_line_explains_itself():
    done = synthgap("--help")
    assert done.returncode == 0
    for command in ("run", "plan", "status", "report", "figure", "verify", "annotate", "responses", "publish"):
        assert re.search(rf"^ +{command}\b", done.stdout, re.MULTILINE)
    assert synthgap("walk").returncode == 2


def test_bad_data_stops_the_run_before_the_first_notebook(command, tmp_path, texts):
    texts.assign(label="eggs").to_csv(tmp_path / "sms_spam.csv", index=False)
    done = command(
        "run",
        "smoke",
        "--data",
        str(tmp_path),
        "--output",
        str(tmp_path / "out"),
        *ONE_TASK,
        "--set",
        "data.source=folder",
    )
    one_sentence(done, "sms_spam.csv", "label 'eggs' is unknown")
    assert not (tmp_path / "out").exists()


def test_too_few_texts_for_the_pool_stop_the_run_before_the_first_notebook(command, tmp_path, texts):
    few = texts[~texts["id"].str.match(r"train-ham-\d\d?") | texts["id"].str.endswith("1")]
    few.to_csv(tmp_path / "sms_spam.csv", index=False)
    done = command("run", "smoke", "--data", str(tmp_path), *ONE_TASK, "--set", "data.source=folder")
    one_sentence(done, "label 'ham' has 2 train texts, too few", "few-shot")


def test_more_turns_than_recorded_stop_the_run_before_the_first_notebook(command, tmp_path):
    done = command("run", "smoke", "--output", str(tmp_path), *ONE_TASK, "--set", "generation.texts_per_label=500")
    one_sentence(done, "holds 20 turns, and turn 50 was asked for", "generation.texts_per_label")
    one_sentence(command("run", "paper", "--output", str(tmp_path)), "and turn 300 was asked for")
    assert list(tmp_path.iterdir()) == []


def test_a_users_error_within_a_notebook_is_one_sentence_too(command, made):
    reads = "from pathlib import Path\nfrom synthgap.data import real\nreal.read_file(Path('no_such.csv'))"
    edited(made, "01_generation", reads, 3)
    done = command("run", "made", *FIRST)
    one_sentence(done, "01_generation failed in cell", "data file 'no_such.csv' cannot be read", code=1)
    failed = (made / "outputs/made/notebooks/01_generation.failed.ipynb").read_text()
    assert "synthgap: data file 'no_such.csv' cannot be read" in failed
    assert "Traceback" not in failed


@pytest.mark.fault(
    "Runs", "a full disk", "one sentence; the same command goes on when there is room", costs="the cell that ran"
)
def test_a_full_disk_is_one_sentence(command, in_process, tmp_path):
    """The limit on a file's size stands for a full disk: the same failing write, in kernel and runner."""
    run = ["run", "smoke", "01", "--output", str(tmp_path), *ONE_TASK]
    limited = f"ulimit -f 20; exec {shlex.join([sys.executable, '-m', 'synthgap', *run])}"
    done = subprocess.run(["bash", "-c", limited], cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.tmp"))
    assert command(*run).returncode == 0


@pytest.mark.parametrize(
    ("name", "stage"), [("01", "01_generation"), ("training", "02_training"), ("03_evaluation", "03_evaluation")]
)
def test_stages_go_by_number_by_name_or_by_both(name, stage):
    assert stage_name(name) == stage


# --------------------------------------------------------------------------------------- failing notebooks


def test_a_failing_cell_stops_the_run_with_its_error(command, made):
    edited(made, "02_training", "1 / 0  # the culprit", 3)
    done = command("run", "made", *FIRST)
    assert done.returncode == 1
    assert "02_training failed in cell" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "the culprit" in done.stderr
    out = made / "outputs" / "made"
    assert (out / "notebooks" / "01_generation.ipynb").is_file()
    assert (out / "notebooks" / "02_training.failed.ipynb").is_file()
    assert not (out / "notebooks" / "02_training.ipynb").exists()
    assert not (out / "notebooks" / "03_evaluation.ipynb").exists()
    notebooks = read_json(out / "manifest.json")["notebooks"]
    assert {name: entry["success"] for name, entry in notebooks.items()} == {
        "01_generation": True,
        "02_training": False,
    }
    state = command("status", "made").stdout
    assert "01_generation    done" in state
    assert "02_training      to run: not finished" in state


def test_the_run_goes_on_where_it_failed(command, in_process, home, tmp_path):
    run = ("run", "smoke", "01", "02", "--output", str(tmp_path / "out"), *ONE_TASK)
    original = (home / "notebooks" / "02_training.ipynb").read_text()
    edited(home, "02_training", "raise RuntimeError('later')", -1)
    assert command(*run).returncode == 1
    trained = runs_in(tmp_path / "out/smoke-one/runs")
    assert len(trained) >= 12  # six of the grid, six of the learning curve, and mixes
    (home / "notebooks" / "02_training.ipynb").write_text(original)
    done = command(*run)
    assert done.returncode == 0, done.stderr
    assert "01_generation: done already" in done.stdout
    assert runs_in(tmp_path / "out/smoke-one/runs") == trained
    assert not (tmp_path / "out/smoke-one/notebooks/02_training.failed.ipynb").exists()


@pytest.mark.fault("Runs", "a kernel that dies", "one sentence, and the stage runs again", costs="the stage's time")
@pytest.mark.parametrize(
    "last_words",
    ["import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "import os; os._exit(0)"],
    ids=["killed", "exited"],
)
def test_a_dying_kernel_is_a_failure(command, made, last_words):
    edited(made, "01_generation", last_words, 3)
    done = command("run", "made", "01")
    assert done.returncode == 1
    assert "its kernel died" in done.stderr
    assert "Traceback" not in done.stderr
    assert read_json(made / "outputs/made/manifest.json")["notebooks"]["01_generation"]["success"] is False


def test_a_notebook_that_does_not_write_its_marker_is_a_failure(command, made):
    path = made / "notebooks" / "01_generation.ipynb"
    notebook = nbformat.read(path, as_version=4)
    del notebook.cells[-1]
    nbformat.write(notebook, path)
    done = command("run", "made", "01")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("synthgap: 01_generation ended without its success marker")


@pytest.mark.fault(
    "Runs",
    "an input that changes while a stage runs",
    "one sentence, and the stage runs again",
    costs="the stage's time",
)
def test_what_changes_while_a_stage_runs_is_not_taken_for_what_it_read(command, made):
    path = made / "notebooks" / "01_generation.ipynb"
    change = f"from pathlib import Path\npath = Path({str(path)!r})\n"
    edited(made, "01_generation", change + "path.write_text(path.read_text().replace('before', 'later'))", 3)
    done = command("run", "made", "01")
    assert done.returncode == 1
    assert "an input of 01_generation changed while it ran" in done.stderr
    again = command("run", "made", "01")
    assert again.returncode == 0, again.stderr
    assert "01_generation: running" in again.stdout


def test_unknown_notebook_parameters_are_refused_before_the_start(command, home, tmp_path):
    path = home / "notebooks" / "03_evaluation.ipynb"
    path.write_text(path.read_text().replace("overrides: dict", "overides: dict"))
    done = command("run", "smoke", *FIRST, "--output", str(tmp_path / "out"))
    one_sentence(done, "parameter of 03_evaluation.ipynb 'overrides' is unknown (did you mean 'overides'?)")
    assert not (tmp_path / "out").exists()


# -------------------------------------------------------------------------------------- changes, interrupts


def test_what_changed_is_run_again_and_only_what_follows_from_it(command, in_process, smoke, tmp_path):
    shutil.copytree(smoke, tmp_path / "smoke")
    (tmp_path / "smoke/tables/gaps.csv").unlink()
    done = command("run", "smoke", *FIRST, "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done already") == 2
    assert "03_evaluation: running ('tables/gaps.csv' is missing)" in done.stdout
    assert (tmp_path / "smoke/tables/gaps.csv").read_bytes() == (smoke / "tables/gaps.csv").read_bytes()
    (tmp_path / "smoke/tables/table_1.csv").write_text("changed by hand")
    state = command("status", "smoke", "--output", str(tmp_path)).stdout
    assert "03_evaluation    to run: 'tables/table_1.csv' is not as it was written" in state
    state = command("status", "smoke", "--output", str(tmp_path), "--set", "evaluation.seed=1").stdout
    assert state.count("changed since it ran: profile") == 7
    assert len(re.findall("0[12]_.*done", state)) == 2


@pytest.mark.slow
def test_what_follows_a_changed_stage_is_run_again(command, in_process, smoke, tmp_path):
    shutil.copytree(smoke, tmp_path / "smoke")
    runs = tmp_path / "smoke/runs"
    write_lines_in(runs, "".join(lines_in(runs).splitlines(keepends=True)[1:]))
    left = runs_in(tmp_path / "smoke/runs")
    done = command("run", "smoke", *FIRST, "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "01_generation: done already" in done.stdout
    assert "02_training: running ('runs/runs.jsonl.gz' is not as it was written)" in done.stdout
    assert "03_evaluation: running (changed since it ran: earlier stages)" in done.stdout
    trained = runs_in(tmp_path / "smoke/runs")
    assert set(trained) == set(runs_in(smoke / "runs"))
    assert {name: trained[name] for name in left} == left


@pytest.mark.slow
def test_one_task_and_two_corpora_run_to_the_end(command, in_process, tmp_path):
    """Nothing to compare tasks with, no few-shot texts: every notebook still runs."""
    corpus = "corpora={zero_shot: {llm: claude, setting: zero_shot}}"
    parts = ("training.augmentation.corpus=zero_shot", "training.decision.corpora=[zero_shot]")
    changes = ("tasks=[humor]", corpus, "comparisons={}", *parts)
    sets = [word for change in changes for word in ("--set", change)]
    done = command("run", "smoke", "--output", str(tmp_path), *sets, "--name", "two")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (
        "Nobody compared tasks of this profile with each other"
        in (tmp_path / "smoke-two/notebooks/04_subjectivity.ipynb").read_text()
    )
    assert len(pd.read_csv(tmp_path / "smoke-two/tables/task_ranking.csv")) == 0
    table = pd.read_csv(tmp_path / "smoke-two/tables/table_2.csv")
    assert table["level"].isna().all()
    assert table["note"].str.contains("not ranked").all()
    assert set(pd.read_csv(tmp_path / "smoke-two/tables/diversity.csv")["corpus"]) == {"real", "zero_shot"}
    assert (tmp_path / "smoke-two/report.html").is_file()


@pytest.mark.slow
def test_collected_answers_make_the_subjectivity_stage_run_again_and_no_earlier_one(
    command, in_process, smoke, tmp_path
):
    shutil.copytree(smoke, tmp_path / "smoke")
    answers = tmp_path / "answers.csv"
    task = "sms_spam"
    items = pd.read_parquet(tmp_path / f"smoke/runs/{task}.parquet").query("items == 'test'")["id"].head(8)
    label = next(iter(load_task(task).labels))
    rows = [(item, task, who, label) for item in items for who in ("ann", "bob")]
    pd.DataFrame(rows, columns=["item_id", "task", "annotator", "label"]).to_csv(answers, index=False)
    done = command("annotate", "import", str(answers), "--profile", "smoke", "--output", str(tmp_path))
    assert "16 new annotations" in done.stdout, done.stderr
    done = command("run", "smoke", "01", "02", "03", "04", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("done already") == 3
    table = pd.read_csv(tmp_path / "smoke/tables/table_2.csv")
    collected = table[table["source"].str.startswith("human")].iloc[0]
    assert (collected["task"], collected["items"], collected["agreement"]) == (task, 8, 1.0)
    assert "undefined: every annotation is the same label" in collected["note"]
    assert (tmp_path / "smoke/figures/accuracy_by_agreement_human.png").is_file()


@pytest.mark.slow
def test_two_runs_of_one_profile_do_not_harm_each_other(tmp_path):
    command = [sys.executable, "-m", "synthgap", "run", "smoke", *FIRST, "--output", str(tmp_path), *ONE_TASK]
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        _, stderr = process.communicate(timeout=200)
        assert process.returncode == 0, stderr
    state = synthgap("status", "smoke", "--output", str(tmp_path), *ONE_TASK).stdout
    assert len(re.findall(r"0\d_\w+ +done", state)) == 3, state
    assert not list((tmp_path / "smoke-one/notebooks").glob("*.failed.ipynb"))


def test_force_executes_again_but_trains_nothing_again(command, in_process, smoke, tmp_path):
    shutil.copytree(smoke, tmp_path / "smoke")
    before = runs_in(tmp_path / "smoke/runs")
    done = command("run", "smoke", "02", "--force", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "02_training: running (forced)" in done.stdout
    assert runs_in(tmp_path / "smoke/runs") == before


# ------------------------------------------------------------------------- variants, no data, verify: made-up notebooks


def test_a_run_names_its_folder_first_and_a_variant_reuses_what_its_base_has(command, in_process, finished):
    """Of the made-up project all but 03 is finished here, without the runner."""
    done = command("run", "made", "01", "02", "03", "--set", "evaluation.resamples=200")
    assert done.returncode == 0, done.stderr
    folder = load_profile("made", {"evaluation.resamples": 200}).folder_name
    first, *others = done.stdout.splitlines()
    assert first == f"{folder}: results go into {finished}/outputs/{folder}"
    assert [line.split(": ")[1].split(" (")[0] for line in others[:3]] == [
        *["done already, nothing changed"] * 2,
        "running",
    ]
    assert (finished / "outputs" / folder / "report.html").is_file()
    assert not (finished / "outputs" / folder / "runs").exists()
    assert not (finished / "outputs" / "made" / "report.html").exists()
    manifest = read_json(finished / "outputs" / folder / "manifest.json")
    assert manifest["profile"]["evaluation"]["resamples"] == 200
    again = command("run", "made", "01", "02", "03", "--set", "evaluation.resamples=200")
    assert again.stdout.count("done already") == 3


def test_a_profile_of_ones_own_is_found_from_anywhere(command, made, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    shutil.copy(made / "configs" / "made.yaml", tmp_path / "mine" / "own.yaml")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "home").symlink_to(made)
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.setenv("SYNTHGAP_HOME", "../links/home")
    done = command("run", "own.yaml", "01")
    assert done.returncode == 0, done.stderr
    assert "../mine/own.yaml" in (made / "outputs/made/notebooks/01_generation.ipynb").read_text()


GIVEN = ("../my profiles/own.yaml", "--output", "out of here", "--name", "few", "--set", "training.seeds=[0, 1]")


@pytest.mark.fault(
    "The command line",
    "a profile given by a path from any folder, with options",
    "hints name path and options, and can be pasted",
)
@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        (["status"], ["run"]),
        (["report"], ["run"]),
        (["publish"], ["run", "01"]),
        (["run", "03"], ["run", "01_generation", "02_training", "03_evaluation"]),
    ],
)
def test_what_is_hinted_at_can_be_pasted_as_it_is(command, made, tmp_path, monkeypatch, asked, hint):
    for name in ("my profiles", "here"):
        (tmp_path / name).mkdir()
    shutil.copy(made / "configs" / "made.yaml", tmp_path / "my profiles" / "own.yaml")
    monkeypatch.chdir(tmp_path / "here")
    done = command(asked[0], GIVEN[0], *asked[1:], *GIVEN[1:])
    found = re.search(r"(?:next|run|try): synthgap (.*)", done.stdout + done.stderr)
    assert shlex.split(found[1]) == [hint[0], GIVEN[0], *hint[1:], *GIVEN[1:]]
    again = command("status", GIVEN[0], *shlex.split(found[1])[1 + len(hint) :])
    assert again.stdout.startswith("made-few: ")


def test_a_hint_names_the_data_folder_where_it_is_known(command, made, tmp_path, texts):
    config = made / "configs" / "made.yaml"
    config.write_text(config.read_text().replace("bundled", "folder"))
    assert "  next: synthgap run made --data DIR\n" in command("status", "made").stdout
    assert (
        f"  next: synthgap run made --data '{tmp_path}/d e'"
        in command("status", "made", "--data", f"{tmp_path}/d e").stdout
    )


def test_without_data_what_needs_them_is_kept_and_the_rest_runs(command, in_process, finished):
    edit_notebook("04_subjectivity", "[3, 5]", "1 / 0")
    done = command("run", "made", "01", "02", "04", "--no-data")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": kept: it needs the real texts, which are out of reach") == 2
    assert "04_subjectivity: running (changed since it ran: notebook)" in done.stdout
    assert pd.read_csv(finished / "outputs/made/tables/table_2.csv")["words"].tolist() == [3, 5]
    one_sentence(
        command("run", "made", "02", "--no-data", "--set", "training.seeds=[7]"), "changed since it ran: profile"
    )


def test_where_the_data_folder_is_missing_later_stages_run_by_themselves_and_earlier_ones_do_not(
    command, in_process, made, texts
):
    config = made / "configs" / "made.yaml"
    config.write_text(config.read_text().replace("bundled", "folder"))
    (made / "data").mkdir()
    for task in ("sms_spam", "humor"):
        labels = dict(zip(("ham", "spam"), load_task(task).labels, strict=True))
        texts.assign(label=texts["label"].map(labels)).to_csv(made / "data" / f"{task}.csv", index=False)
    for stage in STAGES:
        execute(stage)
    shutil.move(made / "data", made / "elsewhere")
    done = command("run", "made", "03", "04", "--force")
    assert done.returncode == 0, done.stderr
    one_sentence(command("run", "made"), "data' does not exist", "--data")
    one_sentence(command("run", "made", "03", "--data", str(made / "nowhere")), "nowhere' does not exist", "--data")
    done = command("run", "made", "--data", str(made / "elsewhere"))
    assert done.returncode == 0, done.stderr
    assert [line.split(": ", 1)[1] for line in done.stdout.splitlines() if "running" in line] == [
        "running (changed since it ran: data)"
    ], "04 was shown without its data"


def test_verify_says_whether_the_tables_come_out_again(command, in_process, finished):
    (finished / "outputs/made/report.html").write_text("the committed one")
    before = {path: path.stat().st_mtime_ns for path in (finished / "outputs/made").rglob("*")}
    done = command("verify", "made", "03", "05")
    assert done.returncode == 0, done.stderr
    assert "all 3 tables of 03_evaluation, 05_diversity equal the committed ones" in done.stdout
    assert f"report: {finished}/outputs/made/report.html" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in (finished / "outputs/made").rglob("*")} == before
    again = command("verify", "made", "03", "05")
    assert again.stdout.count("regenerated before, nothing changed since") == 2
    assert "all 3 tables" in again.stdout
    table = finished / "outputs/made/tables/gaps.csv"
    table.write_text(table.read_text().replace("0.157", "0.158"))
    done = command("verify", "made", "03")
    assert done.returncode == 1
    assert "1 of 2 tables differ from the committed ones: gaps (column gap: 1 of 4 cells" in done.stderr
    assert "in row 2: 0.157 instead of 0.158" in done.stderr
    assert f"report: {finished}/outputs/made/report.html" in done.stdout


# ------------------------------------------------------------------------------------------------------------- Ctrl-C


def test_ctrl_c_within_a_callback_is_not_lost():
    code = (
        "import signal, sys, time, weakref; from synthgap import __main__ as cli\n"
        "class Thing: pass\n"
        "def carry_out(_):\n"
        "    thing = Thing(); ref = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))\n"
        "    del thing; time.sleep(20)\n"
        "cli._carry_out = carry_out; sys.exit(cli.main(['status', 'demo']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=15)
    assert done.returncode == 130, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("synthgap: stopped")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("pause", [1.5, *(pytest.param(pause, marks=pytest.mark.slow) for pause in (4, 7))])
def test_ctrl_c_is_one_sentence_and_loses_nothing(command, in_process, tmp_path, pause):
    process = subprocess.Popen(
        [sys.executable, "-m", "synthgap", "run", "smoke", "--output", str(tmp_path), *ONE_TASK],
        cwd=ROOT,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(pause)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "stopped; what is finished is kept" in stderr
    assert "Traceback" not in stderr
    for path in tmp_path.rglob("*.json"):
        assert read_json(path) is not None
    done = command("run", "smoke", *FIRST, "--output", str(tmp_path), *ONE_TASK)
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------------------- nothing is trusted

TELLING = """import os
from pathlib import Path
from synthgap.core.paths import root
(root() / "temporary").write_text(f"{os.listdir(os.environ['TMPDIR'])} {os.environ['TORCHINDUCTOR_CACHE_DIR']}")
print(os.environ["TEST_KEY"], stage.profile.llms["mine"].base_url)
raise ValueError(f"{os.environ['TEST_KEY']}! {stage.profile.llms['mine'].base_url}")"""


@pytest.mark.fault(
    "Runs",
    "a cell that prints the key and fails; a foreign kernelspec python3; a failed run",
    "no file holds the key, this Python is started, and TMPDIR is empty",
)
def test_a_run_keeps_keys_out_of_its_notebook_starts_this_python_and_leaves_nothing_behind(
    command, made, tmp_path, monkeypatch
):
    monkeypatch.setenv("TEST_KEY", "gsk_0123456789abcdef")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)  # torch sets it where another test loaded it
    (tmp_path / "tmp").mkdir()
    foreign = {"argv": ["touch", str(tmp_path / "foreign")], "display_name": "x", "language": "python"}
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps(foreign))
    edit_notebook("01_generation", "from synthgap.generation import conversations", TELLING)
    url = "https://gateway.test/s3cr3t/v1?code=hunter2hunter2"
    mine = f"llms.mine={{backend: openai, model: m, base_url: '{url}', key_variable: TEST_KEY}}"
    done = command("run", "made", "01", "--set", mine, "--name", "told")
    assert done.returncode == 1
    assert "ValueError: [hidden]! https://gateway.test" in done.stderr
    assert not (tmp_path / "foreign").exists()
    assert (made / "temporary").read_text() == f"[] {cache_folder() / 'torch'}"
    assert list((tmp_path / "tmp").iterdir()) == []
    folder = made / "outputs" / "made-told"
    assert "[hidden] https://gateway.test" in (folder / "notebooks" / "01_generation.failed.ipynb").read_text()
    told = [done.stdout, done.stderr, *(path.read_text() for path in folder.rglob("*") if path.is_file())]
    for text in told:
        assert not any(secret in text for secret in ("gsk_0123456789abcdef", "s3cr3t", "hunter2hunter2"))
    assert '"base_url": "https://gateway.test"' in (folder / "manifest.json").read_text()


@pytest.mark.fault("Runs", "a manifest that was edited", "one sentence, before anything runs")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], ["all of it"]),
        ({"profile": "made"}, ["(profile)"]),
        ({"notebooks": {"01_generation": "finished"}}, ["(notebooks.01_generation)"]),
        ({"notebooks": {"01_generation": {"success": True, "start": [], "seconds": 1}}}, ["01_generation.start)"]),
        ({"machine": []}, ["(machine)"]),
    ],
)
def test_a_manifest_that_was_edited_is_one_sentence_before_anything_runs(command, made, content, words):
    sound = {
        "profile": {},
        "data_fingerprints": {},
        "real_texts": "x",
        "versions": {},
        "machine": {},
        "notebooks": {},
    }
    path = made / "outputs" / "made" / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(sound | content if isinstance(content, dict) else content))
    for asked in (("run", "made", "01"), ("report", "made")):
        one_sentence(command(*asked), "'made/manifest.json' is not as it was written", "remove it", *words)
    assert [path.name for path in path.parent.iterdir()] == ["manifest.json"]
