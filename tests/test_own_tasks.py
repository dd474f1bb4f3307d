"""Tasks of one's own, outside the package: their files, what a profile lacks, and a whole one as its page shows it."""

import re
import runpy
import shlex
import subprocess
import sys
from itertools import product

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from llm_server import texts_for

from synthgap.core.errors import SynthgapError, noting, refuse
from synthgap.core.paths import bundled
from synthgap.pipeline.check import check
from synthgap.pipeline.plan import plan
from synthgap.pipeline.stages import open_stage
from synthgap.pipeline.validity import STAGES, determined_by, with_what_is_there
from synthgap.tables import read_shown
from synthgap.tasks import (
    Task,
    known_tasks,
    load_profile,
    load_task,
    package_tasks,
    paper_tasks,
    read_profile,
    read_task,
)
from synthgap.tasks.schema import Prompts

PAGE = (ROOT / "docs" / "own_task.md").read_text(encoding="utf-8")
MINE = {"name": "mine", "labels": ["bad", "good"]}
PROFILE = {
    "name": "own",
    "title": "a task of one's own",
    "tasks": ["mine"],
    "data": {"source": "folder"},
    "training": {"seeds": [0], "classifiers": {"tfidf": {"kind": "tfidf"}}},
}


@pytest.fixture
def project(home, monkeypatch):
    """A project of its own, whose folders are looked into and not those that the environment names."""
    for name in ("TASKS", "DATA", "OUTPUTS", "NO_DATA"):
        monkeypatch.delenv(f"SYNTHGAP_{name}", raising=False)
    for name in ("OPENAI_API_KEY", "SOME_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(home)
    return home


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def write_texts(path, labels=("bad", "good"), sizes=(12, 2, 4)):
    """Sound real texts of a task."""
    rows = [
        {"id": f"{split}-{label}-{n}", "text": f"{split} {n} of {label}", "label": label, "split": split}
        for (split, size), label in product(zip(("train", "validation", "test"), sizes, strict=True), labels)
        for n in range(size)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


# ---------------------------------------------------------------------------------------------------------- the files


def test_a_name_and_labels_suffice_and_every_prompt_has_a_default(project):
    write(project / "tasks" / "mine.yaml", {"name": "mine", "labels": ["on_hold", "good"]})
    task = load_task("mine")
    assert task.labels == {"on_hold": "on hold", "good": "good"}
    assert (task.title, task.kind, task.texts_per_turn, task.texts_per_label) == ("Mine", "texts", 10, 200)
    assert task.question.endswith("?")
    assert task.context == "You write texts, as many different people would write them."
    asked = task.request("on_hold", 1, ["an example"])
    for part in (
        task.prompts.diversity,
        "- an example",
        "(on hold)",
        "Write 10 texts",
        "label: on hold",
        "10 numbered",
    ):
        assert part in asked
    assert not re.search("[{}]", asked + task.context)


def test_the_defaults_are_those_that_the_papers_tasks_share():
    for task in map(load_task, paper_tasks()):
        for prompt in ("format", "diversity", "few_shot"):
            assert getattr(task.prompts, prompt) == getattr(Prompts(), prompt)


def test_some_prompts_may_be_ones_own_and_name_the_kind_of_text(project):
    prompts = {"context": "You send {kind}.", "generate": "Write {n} {kind}: {label}. {{so}}"}
    write(project / "tasks" / "mine.yaml", MINE | {"kind": "emails", "prompts": prompts, "few_shot": {"max_words": 2}})
    task = load_task("mine")
    assert task.context == "You send emails."
    assert task.request("bad", 0).startswith("Write 10 emails: bad. {so} Answer with 10 numbered lines")
    assert (task.shown_example("a b c"), task.few_shot.examples_per_turn) == ("a b", 10)


BAD_FILES = {
    "unknown key": (MINE | {"promts": {}}, ["'promts' is unknown", "did you mean 'prompts'"]),
    "labels that YAML reads as bools": ("name: mine\nlabels: [yes, no]", ["label True", "quotes"]),
    "one that it reads as a number": ("name: mine\nlabels: {1: bad, 2: good}", ["label 1", "quotes"]),
    "a label twice in a list": (MINE | {"labels": ["a", "b", "a"]}, ["'a' stands there twice"]),
    "a label twice": ("name: mine\nlabels:\n  a: one\n  b: two\n  a: three", ["'a' stands there twice", "line 5"]),
    "one label": (MINE | {"labels": ["a"]}, ["two labels at least"]),
    "no labels": ({"name": "mine"}, ["'labels'", "required"]),
    "spaces around a label": (MINE | {"labels": ["a ", "b"]}, ["'a '", "spaces"]),
    "a label of two lines": (MINE | {"labels": ["a\nb", "b"]}, ["line break"]),
    "labels that are a word": (MINE | {"labels": "a,b"}, ["'labels'", "dictionary"]),
    "unknown placeholder": (
        MINE | {"prompts": {"generate": "{n} {topic}"}},
        ["prompts.generate", "'topic'", "label, n"],
    ),
    "a placeholder without a name": (MINE | {"prompts": {"context": "{}"}}, ["prompts.context", "doubled"]),
    "a brace alone": (MINE | {"prompts": {"format": "{n lines"}}, ["prompts.format", "doubled"]),
    "an attribute": (MINE | {"prompts": {"generate": "{n.real}"}}, ["prompts.generate", "'n.real'"]),
    "another name": (MINE | {"name": "yours"}, ["mine.yaml", "'yours'"]),
    "a place in the paper": (MINE | {"paper_order": 1}, ["paper_order", "leave it out"]),
    "no regular expression": (MINE | {"remove": "("}, ["'remove'", "no regular expression"]),
    "a list": ("- a\n- b", ["keys and values"]),
    "an empty file": ("", ["keys and values"]),
    "no YAML": ("a: [", ["no valid YAML"]),
    "several faults": (MINE | {"x": 1, "kind": "", "prompts": {"y": "z"}}, ["'x'", "'kind'", "'prompts.y'"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_faulty_file_is_refused_in_words_that_name_it(project, case):
    values, named = BAD_FILES[case]
    write(project / "tasks" / "mine.yaml", values)
    with pytest.raises(SynthgapError) as error:
        load_task("mine")
    for part in ("mine.yaml", *named):
        assert part in str(error.value)
    write(project / "configs" / "own.yaml", PROFILE)
    with pytest.raises(SynthgapError) as error:
        load_profile("own")
    assert "mine.yaml" in str(error.value)
    assert load_profile("demo").name == "demo"


def test_a_file_that_is_no_text_is_refused(project):
    (project / "tasks").mkdir()
    (project / "tasks" / "mine.yaml").write_bytes(b"\x89PNG\x00\xff")
    with pytest.raises(SynthgapError, match=r"'mine\.yaml' is no valid YAML"):
        load_task("mine")


def test_what_is_no_yaml_file_is_no_task_and_is_named_where_it_was_meant(project):
    for name in ("mine.yml", "notes.txt", "README.md", ".hidden.yaml", "Not A Name.yaml"):
        write(project / "tasks" / name, MINE)
    (project / "tasks" / "folder.yaml").mkdir()
    assert known_tasks() == tuple(sorted(package_tasks()))
    for name, file in {"mine": "mine.yml", "notes": "notes.txt"}.items():
        with pytest.raises(
            SynthgapError, match=rf"task '{name}' is unknown.*<task>\.yaml in tasks/.*'{file}' is no such file"
        ):
            load_task(name)


def test_the_papers_names_are_taken(project):
    write(project / "tasks" / "humor.yaml", MINE | {"name": "humor"})
    with pytest.raises(SynthgapError, match=r"'humor' is one of the paper's ten, and .*humor\.yaml' has its name"):
        load_task("humor")
    assert load_task("imdb").name == "imdb"


def test_a_changed_file_is_read_again(project):
    path = write(project / "tasks" / "mine.yaml", MINE)
    assert load_task("mine").kind == "texts"
    write(path, MINE | {"kind": "quite different ones"})
    assert load_task("mine").kind == "quite different ones"
    path.unlink()
    with pytest.raises(SynthgapError, match="'mine' is unknown"):
        load_task("mine")


def test_outside_of_a_project_the_papers_tasks_are_known(project, tmp_path):
    code = "from synthgap.core import paths; paths.PACKAGE = paths.Path('/'); import synthgap.tasks as t; "
    code += "print(len(t.known_tasks()), t.load_task('humor').name)"
    environment = {"PYTHONPATH": str(ROOT / "lib"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd="/", env=environment, capture_output=True, check=False)
    assert done.stdout.split() == [b"11", b"humor"], done.stderr


# ----------------------------------------------------------------------------------------------------- no disturbance


def test_a_task_disturbs_no_other_profile_and_outdates_its_own_alone(project):
    write(project / "tasks" / "mine.yaml", MINE)
    write(project / "configs" / "own.yaml", PROFILE)
    write_texts(project / "data" / "mine.csv")
    smoke, own = load_profile("smoke"), load_profile("own")
    before = {stage: (determined_by(stage, smoke), determined_by(stage, own)) for stage in STAGES}
    write(project / "tasks" / "mine.yaml", MINE | {"prompts": {"context": "You write otherwise."}})
    write(project / "tasks" / "broken.yaml", "a: [")
    for stage, (of_smoke, of_own) in before.items():
        assert determined_by(stage, load_profile("smoke")) == of_smoke
        now = determined_by(stage, load_profile("own"))
        assert [name for name in now if now[name] != of_own[name]] == ["tasks"]


# ------------------------------------------------------------------------------------------------------------ task new


def test_task_new_writes_a_commented_file_that_loads_and_says_what_is_next(project, command):
    about = 'Customers write {here}: "to" us\non #2'
    done = command("task", "new", "mine", "--labels", "bad, on hold,yes,Ärger", "--about", about)
    assert (done.returncode, done.stderr) == (0, "")
    for part in ("tasks/mine.yaml", "mine.csv", "id, text, label, split", "synthgap check PROFILE", "docs/own_task.md"):
        assert part in done.stdout
    path = project / "tasks" / "mine.yaml"
    task = load_task("mine")
    assert list(task.labels) == ["bad", "on hold", "yes", "Ärger"]
    assert (
        task.context
        == 'Customers write {here}: "to" us on #2. You write texts, as many different people would write them.'
    )
    assert sorted(path.parent.iterdir()) == [path]
    assert path.read_text(encoding="utf-8").count("#") > 10


def test_what_its_comments_say_holds_without_them(project, command):
    command("task", "new", "mine", "--labels", "bad,good")
    path = project / "tasks" / "mine.yaml"
    shown = load_task("mine")
    text = re.sub(r"(?m)^( *)# ([a-z_]+: )", r"\1\2", path.read_text())
    assert {*yaml.safe_load(text)} == {*Task.model_fields} - {
        *("paper_order", "hub", "source", "agreement", "annotated", "judged", "further_tests", "variant")
    }
    assert {*yaml.safe_load(text)["prompts"]} == {*Prompts.model_fields}
    path.write_text(text)
    uncommented = read_task(path)
    assert uncommented.model_copy(update={"remove": None, "caveat": None}) == shown
    write(path, MINE)
    assert load_task("mine") == shown.model_copy(update={"few_shot": load_task("mine").few_shot})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["Mine", "--labels", "a,b"], ["'Mine'", "small letters"]),
        (["../mine", "--labels", "a,b"], ["'../mine'", "small letters"]),
        (["_mine", "--labels", "a,b"], ["'_mine'", "begins with no _"]),
        (["a" * 61, "--labels", "a,b"], ["at most 60"]),
        (["mine\n", "--labels", "a,b"], ["small letters"]),
        (["", "--labels", "a,b"], ["empty"]),
        (["humor", "--labels", "a,b"], ["'humor'", "package's"]),
        (["mine", "--labels", "a"], ["two labels at least"]),
        (["mine", "--labels", "a,"], ["one of the labels is empty"]),
        (["mine", "--labels", " "], ["empty"]),
        (["mine", "--labels", "a,b, a"], ["'a' stands there twice"]),
        (["mine"], ["--labels", "synthgap task new --help"]),
        (["there", "--labels", "a,b"], ["there.yaml", "stays as it is"]),
    ],
)
def test_task_new_refuses_in_a_sentence_and_overwrites_nothing(project, command, arguments, named):
    there = write(project / "tasks" / "there.yaml", "mine alone")
    done = command("task", "new", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("synthgap: ")
    assert done.stderr.count("\n") == 1 or "\n" in arguments[0]
    for part in named:
        assert part in done.stderr
    assert [*there.parent.iterdir()] == [there]
    assert there.read_text() == "mine alone"


# --------------------------------------------------------------------------------------------------------------- check


def test_another_folder_of_tasks_is_named_once_and_repeated_in_hints(project, command):
    folder = str(project / "some tasks")
    assert command("task", "new", "mine", "--labels", "bad,good", "--tasks", folder).stdout.count("--tasks") == 1
    write(project / "configs" / "own.yaml", PROFILE)
    write_texts(project / "data" / "mine.csv")
    missed = command("check", "own")
    assert (missed.returncode, "task 'mine' is unknown" in missed.stderr) == (2, True)
    done = command("check", "own", "--tasks", "some tasks")
    assert (done.returncode, done.stderr) == (0, "")
    first, at, *warnings, last = done.stdout.splitlines()
    assert first == "own: all is there (mine: 36 real texts; no corpora but real)"
    assert at == "looking for faults in texts of task 'mine' (1 of 1)"
    assert last == "next: synthgap run own --tasks 'some tasks'"
    assert all(line.startswith("warning: ") for line in warnings)
    nowhere = command("check", "own", "--tasks", "nowhere")
    assert (nowhere.returncode, "nowhere' does not exist" in nowhere.stderr) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        *("run", "plan", "status", "report", "publish", "verify", "check", "figure gap_by_task --profile"),
        *("annotate export mine --profile", "responses export --profile"),
    ],
)
def test_every_command_on_a_profile_takes_a_folder_of_tasks(project, command, words):
    write(project / "configs" / "own.yaml", PROFILE | {"tasks": ["nowhere"]})
    write(project / "elsewhere" / "mine.yaml", MINE)
    done = command(*words.split(), "own", "--tasks", "elsewhere")
    assert done.returncode == 2
    assert re.search(r"'nowhere' is unknown; known: .*, mine, ", done.stderr)


def faulty(project):
    """A profile that lacks whatever a profile can lack."""
    write(project / "tasks" / "mine.yaml", MINE)
    write(project / "tasks" / "broken.yaml", {"name": "broken", "labels": ["a"]})
    write(project / "data" / "mine.csv", "id,text,label,split\n1,,good,train\n2,a,nice,train\n3,b,bad,dev\n")
    write(project / "data" / "sms_spam.csv", "id,text,label,split\n1,a,ham,train\n2,b,ham,test\n")
    write(project / "data" / "theirs.csv", "txt,label\na,good\n")
    write(project / "data" / "half.csv", "text,label\na,good\n")
    write(project / "recordings" / "short" / "recording.yaml", "model: someone")
    answer = '{"label": "good", "turn": 0, "response": "1. a"}\n'
    write(project / "recordings" / "short" / "zero_shot" / "mine.jsonl", answer)
    live = {"backend": "openai", "model": "m", "base_url": "https://llm.example/v1"}
    recorded = {"backend": "recorded"}
    corpora = {
        "short": {"llm": "short", "setting": "zero_shot", "repeats": [1, 2]},
        "shown": {"llm": "gone", "setting": "few_shot"},
        "theirs": {"file": "theirs.csv"},
        "half": {"file": "half.csv"},
        "none": {"file": "none.csv"},
        "live": {"llm": "live", "setting": "zero_shot"},
        "other": {"llm": "other", "setting": "zero_shot"},
    }
    values = PROFILE | {
        "tasks": ["mine", "broken", "missing", "sms_spam", "imdb"],
        "llms": {
            "short": recorded | {"recording": "recordings/short"},
            "gone": recorded | {"recording": "recordings/gone"},
            "live": live,
            "other": live | {"key_variable": "SOME_KEY", "input_price": 1, "output_price": 1, "budget": 1},
        },
        "corpora": corpora,
        "comparisons": {"main": {"corpora": [*corpora], "tasks": ["mine"]}, "more": {"corpora": [], "tasks": ["gone"]}},
        "generation": {"texts_per_label": 20},
    }
    write(project / "configs" / "own.yaml", values)


MISSING = [
    "task file 'broken.yaml': 'labels': a task needs two labels",
    "task 'missing' is unknown",
    "task 'gone' is unknown",
    "(mine.csv): empty texts; remove them (first: line 2",
    "(mine.csv): label 'nice' is unknown to the task; known: bad, good",
    "(mine.csv): 'dev' is an unknown split",
    "(sms_spam.csv): label 'spam' has no row in the split 'train'",
    "(sms_spam.csv): label 'ham' has no row in the split 'validation'",
    "(sms_spam.csv): label 'spam' has no row in the split 'validation'",
    "(sms_spam.csv): label 'spam' has no row in the split 'test'",
    "task 'imdb': no data file",
    "'theirs.csv' has no column 'text'; it has txt, label",
    "'half.csv' has no text of the label 'bad'",
    "'none.csv' is neither in the data folder",
    "label 'good' in 'short' holds 1 turns, and turn 2 was asked for",
    "label 'bad' in 'short' holds 0 turns",
    "recording 2 of task 'mine', setting 'zero_shot' in 'short' holds 0 turns",
    "the recording 'recordings/gone' is neither one of the package",
    "no key for https://llm.example: set the variable OPENAI_API_KEY",
    "https://llm.example may cost money",
    "set the variable SOME_KEY",
]


def test_check_names_everything_at_once_and_each_fault_once(project, command):
    faulty(project)
    done = command("check", "own")
    assert (done.returncode, done.stdout) == (2, "")
    for fault in MISSING:
        assert done.stderr.count(fault) == 1, fault
    assert done.stderr.startswith(f"synthgap: {len(MISSING)} things are missing or wrong:\n- ")
    assert done.stderr.count("\n- ") == len(MISSING)


def test_run_names_the_first_and_where_the_others_are_named(project, command):
    faulty(project)
    changes = ("--set", "tasks=[mine]", "--set", "comparisons.more={corpora: []}")
    done = command("run", "own", *changes)
    assert (done.returncode, list((project / "outputs").rglob("*.json"))) == (2, [])
    hint = re.search(r"\(and (\d+) more: synthgap (check .*) names them\)\n$", done.stderr)
    checked = command(*shlex.split(hint[2]))
    assert (done.stderr.count("\n"), checked.stderr.count("\n- ")) == (1, int(hint[1]) + 1)


def test_corpora_whose_folder_is_lacking_are_left_out_with_a_notice(project):
    """With their pools and comparisons; but not the main comparison's, and not where real texts are out of reach."""
    write(project / "tasks" / "mine.yaml", MINE)
    write_texts(project / "data" / "mine.csv")
    write_texts(project / "data" / "there.csv")
    corpora = {name: {"file": f"found/{name}.csv"} for name in ("one", "two")}
    corpora |= {"there": {"file": "there.csv"}, "pool": {"pool": ["one", "there"]}}
    comparisons = {"main": ["there"], "mixed": ["there", "two"], "lost": ["one", "pool"]}
    compared = {name: {"corpora": members} for name, members in comparisons.items()}
    write(project / "configs" / "own.yaml", PROFILE | {"corpora": corpora, "comparisons": compared})
    named = load_profile("own")
    found = with_what_is_there(named)
    assert (found.left_out, list(found.corpora)) == (("one", "two", "pool"), ["there"])
    assert {name: one.corpora for name, one in found.comparisons.items()} == {"main": ("there",), "mixed": ("there",)}
    stage = open_stage("01", "own")
    for said in ("\n".join(check(found)), plan(found), stage.notice().data):
        assert "3 corpora (one, two, pool)" in said
    assert stage.profile == found
    for kept in (named.changed({"comparisons.main.corpora": ["one"]}), named.changed({"tasks": ["sms_spam"]})):
        assert with_what_is_there(kept) == kept
    (project / "data" / "found").mkdir()
    assert with_what_is_there(named) == named, "a file that is missing in a folder that is there is an error"


@pytest.mark.parametrize("address", ["", "tcp://127.0.0.1:1"])
def test_check_names_packages_that_are_not_installed(project, monkeypatch, address):
    write(project / "tasks" / "mine.yaml", MINE)
    write(project / "configs" / "own.yaml", PROFILE)
    write_texts(project / "data" / "mine.csv")
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setenv("SYNTHGAP_ADDRESS", address)
    faults = []
    with noting(faults):
        check(read_profile("own"))
    assert faults == (
        ["the package 'distributed' is not installed; install it (pip install distributed)"] * bool(address)
    )


def test_check_finds_all_of_the_papers_profiles_there(project, command):
    done = command("check", "smoke")
    assert (done.returncode, done.stderr) == (0, "")
    assert "ag_news, sms_spam, tweet_irony, humor: " in done.stdout


@pytest.mark.parametrize(
    ("source", "sentence"),
    [("bundled", "stand-in for the paper's tasks alone"), ("hub", "names no set on the hub")],
)
def test_an_own_task_has_its_texts_in_a_folder(project, command, source, sentence):
    write(project / "tasks" / "mine.yaml", MINE)
    write(project / "configs" / "own.yaml", PROFILE | {"data": {"source": source}})
    done = command("check", "own")
    assert (done.returncode, done.stderr.count("task 'mine'")) == (2, 1)
    assert sentence in done.stderr
    assert str(bundled()) not in done.stderr


def test_few_examples_are_missed_for_each_label(project, command):
    write(project / "tasks" / "mine.yaml", MINE)
    corpora = {"shown": {"llm": "claude", "setting": "few_shot"}}
    llms = {"claude": {"backend": "recorded", "recording": "claude"}}
    write(project / "configs" / "own.yaml", PROFILE | {"llms": llms, "corpora": corpora})
    write_texts(project / "data" / "mine.csv", sizes=(9, 2, 2))
    told = command("check", "own").stderr
    for label in MINE["labels"]:
        assert f"label '{label}' has 9 train texts, too few for the 10 few-shot examples" in told
    assert told.count("setting 'few_shot' in 'claude' holds 0 turns") == 1


def test_refusing_says_one_thing_as_itself_and_several_as_a_list():
    refuse([])
    with pytest.raises(SynthgapError, match=r"^a is wrong$"):
        refuse(["a is wrong", "a is wrong"])
    faults = []
    with noting(faults):
        refuse(["a is wrong", "b is wrong"])
    with noting(faults):
        raise SynthgapError("c is wrong")
    with pytest.raises(
        SynthgapError, match=r"^3 things are missing or wrong:\n- a is wrong\n- b is wrong\n- c is wrong$"
    ):
        refuse(faults)


# ------------------------------------------------------------------------------------------------------------ the page


def blocks():
    """(language, text) of the page's code blocks, in their order."""
    return re.findall(r"(?ms)^```(\w+)\n(.*?)^```", PAGE)


@pytest.mark.parametrize("endpoint", ["good"], indirect=True)
def test_the_page_leads_from_a_csv_to_table_1(project, command, in_process, endpoint):
    """Every file and command of the page, in its order, with a server of ours in place of the LLM's address."""
    labels = ("billing", "delivery", "praise")
    tickets = [
        {"text": line.partition(". ")[2], "label": label}
        for label in labels
        for line in texts_for(label, 60).splitlines()
    ]
    pd.DataFrame(tickets).to_csv(project / "tickets.csv", index=False)
    address, ran = "http://localhost:8000/v1", []
    assert address in PAGE
    for language, text in blocks():
        if language in {"yaml", "python"}:
            write(project / re.match(r"# (\S+)\n", text)[1], text.replace(address, endpoint.url))
            continue
        assert language == "console"
        for line in text.splitlines():
            ran.append(run(command, line))
    assert [done.returncode for done in ran] == [0] * len(ran), [done.stderr for done in ran]
    check_page(project, ran, endpoint, labels)


def run(command, line):
    program, *arguments = re.findall(r'"[^"]*"|\S+', line)
    arguments = [word.strip('"') for word in arguments]
    if program == "python":
        runpy.run_path(*arguments)
        return subprocess.CompletedProcess(arguments, 0, "", "")
    assert program == "synthgap"
    return command(*arguments)


def check_page(project, ran, endpoint, labels):
    """What the page promises is there."""
    texts = pd.read_csv(project / "data" / "support.csv")
    assert {*texts.groupby(["split", "label"]).size().index} == set(product(("train", "validation", "test"), labels))
    tables = [
        pd.read_csv(project / "outputs" / name / "tables" / "table_1.csv") for name in ("support", "support_recorded")
    ]
    for table in tables:
        assert {*zip(table["task"], table["corpus"], strict=True)} == {
            ("support", name) for name in ("real", "zero_shot", "few_shot")
        }
    scores = [table.set_index("corpus")[["macro_f1", "accuracy"]] for table in tables]
    pd.testing.assert_frame_equal(*scores)
    shown = read_shown(project / "outputs" / "support" / "tables", "03_evaluation")["table_1_tfidf_macro_f1"]
    assert "Support messages" in shown
    asked = sum(endpoint.counts()["answered"].values())
    recorded = list((project / "recordings" / "support").glob("*/support.jsonl"))
    assert sum(len(path.read_text().splitlines()) for path in recorded) == asked
    assert len(recorded) == 2
    checks = [line for done in ran for line in done.stdout.splitlines() if "all is there" in line]
    assert [line.split(":")[0] for line in checks] == ["support", "support_recorded"]
