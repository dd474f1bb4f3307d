"""When a finished stage holds, and what makes it run again: on made-up notebooks, in this process."""

import ast
import shutil

import pandas as pd
import pytest
import yaml
from made_project import CODE, edit_notebook, execute

from synthgap.core.errors import SynthgapError
from synthgap.core.files import read_json
from synthgap.core.paths import PACKAGE, bundled
from synthgap.pipeline import code_digest, validity
from synthgap.pipeline.code_digest import imported_modules, read_code
from synthgap.pipeline.stages import open_stage, saved_table
from synthgap.pipeline.validity import (
    STAGES,
    cannot_run,
    is_marker,
    marker_file,
    notebook_file,
    stage_name,
    stage_state,
)
from synthgap.tasks import load_profile, load_task

DONE = dict.fromkeys(STAGES, "done")
FEWER = {"evaluation.resamples": 200}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package's code, to be changed at will, whose meaning counts."""
    copy = tmp_path / "synthgap"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("bundled", "__pycache__"))
    monkeypatch.setattr(code_digest, "PACKAGE", copy)
    return copy


def states(overrides=None):
    profile = load_profile("made", overrides)
    return {stage: stage_state(stage, profile) for stage in STAGES}


def changed(*stages: str, what: str):
    return DONE | dict.fromkeys(map(stage_name, stages), f"changed since it ran: {what}")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def edit_profile(home, **sections):
    path = home / "configs" / "made.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **sections}, sort_keys=False))


def test_finished_stages_are_done_and_others_are_not(made):
    assert states() == dict.fromkeys(STAGES, "not finished")
    execute("01_generation")
    assert states()["01_generation"] == "done"
    for stage in list(STAGES)[1:]:
        execute(stage)
    assert states() == DONE


# --------------------------------------------------------------------------------------------------------------- code


def test_docstrings_comments_and_formatting_of_imported_modules_do_not_matter(finished, package):
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text())
        if ast.get_docstring(tree):
            tree.body[0].value.value = "Said otherwise."
        path.write_text(f"# a comment\n{ast.unparse(tree)}\n")
    assert states() == DONE


def test_code_of_an_imported_module_matters_and_of_others_not(finished, package):
    with (package / "evaluation" / "scores.py").open("a") as module:
        module.write("\nNEW = 1\n")
    assert states() == changed("03", what="code")
    (package / "evaluation" / "new.py").write_text("NEW = 1\n")
    assert states() == changed("03", what="code")
    with (package / "core" / "files.py").open("a") as module:
        module.write("\nNEW = 1\n")
    assert states() == changed(*STAGES, what="code")


def test_a_new_version_and_the_rules_of_validity_change_no_result(finished, package):
    edit(package / "__init__.py", "__version__ = ", "__version__ = 'new' + ")
    with (package / "pipeline" / "validity.py").open("a") as module:
        module.write("\nNEW = 1\n")
    assert states() == DONE


def test_modules_are_found_over_any_number_of_imports(made):
    modules = imported_modules(notebook_file("03_evaluation"))
    assert {"synthgap.evaluation.scores", "synthgap.core.config", "synthgap.tasks.schema"} <= set(modules)
    assert not [name for name in modules if name.startswith(("synthgap.subjectivity", "synthgap.pipeline.runner"))]
    assert all(path.is_file() for path in modules.values())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('def f(x):\n    """A."""\n    return x', "def f( x ): return x  # c", True),
        ('"""A module."""\nx = (1,\n     2)', "x = (1, 2)", True),
        ('class A:\n    """Only this."""', 'class A:\n    """Only that."""', True),
        ("x = 'a'", 'x = "a"', True),
        ("x = 1", "x = 2", False),
        ("x = 1", "x = 1.0", False),
        ("x = None", "x = ()", False),
        ("def f(x): return x", "def f(x, y=None): return x", False),
        ("f'{x}'", "f'{x!r}'", False),
        ("x = 'text'", "x = 'other'", False),
        ("%magic", "%magic  ", False),
    ],
)
def test_meaning(one, other, same):
    assert (read_code(one).meaning == read_code(other).meaning) == same


def test_words_and_comments_of_a_notebook_do_not_matter_and_its_code_does(finished):
    edit_notebook("03_evaluation", "# 03_evaluation", "# Another title")
    edit_notebook("03_evaluation", "import pandas as pd", "import pandas as pd  # a comment")
    edit_notebook("03_evaluation", "# a name in configs/", "# another comment")
    assert states() == DONE
    edit_notebook("03_evaluation", "0.157", "0.158")
    assert states() == changed("03", what="notebook")


def test_a_notebook_that_is_no_python_is_outdated_and_no_traceback(finished):
    edit_notebook("03_evaluation", "import pandas as pd", "import pandas as pd\n%time x = 1")
    assert states()["03_evaluation"].startswith("changed since it ran: notebook")


# ------------------------------------------------------------------------------------------------ profile, tasks, data


def test_sections_that_a_stage_does_not_read_do_not_matter(finished):
    edit_profile(finished, title="another title", diversity={"neighbours": 7})
    assert states() == changed("05", "09", what="profile")
    edit_profile(finished, training={"seeds": [0], "classifiers": {"tfidf": {"kind": "tfidf"}}}, diversity={})
    assert states() == changed("02", "07", "08", "09", "10", what="profile")


def test_a_key_that_says_its_default_does_not_matter_and_the_order_of_corpora_does(finished):
    edit_profile(finished, evaluation={"resamples": 100, "seed": 0})
    assert states() == DONE
    corpora = yaml.safe_load((finished / "configs" / "made.yaml").read_text())["corpora"]
    edit_profile(finished, corpora=dict(reversed(corpora.items())))
    assert [stage for stage, state in states().items() if "profile" not in state] == ["11_your_task"]


def test_tasks_of_the_profile_matter_and_others_do_not(finished, monkeypatch):
    other = {name: load_task(name).model_copy(update={"question": "What else?"}) for name in ("imdb", "humor")}
    monkeypatch.setattr(validity, "load_task", lambda name: other[name] if name == "imdb" else load_task(name))
    assert states() == DONE
    monkeypatch.setattr(validity, "load_task", lambda name: other.get(name) or load_task(name))
    assert states() == changed(*STAGES, what="tasks")


def test_recordings_that_the_profile_names_matter_and_others_do_not(made):
    mine = made / "mine"
    for setting in ("zero_shot", "few_shot"):
        (mine / setting).mkdir(parents=True)
        for task in ("sms_spam", "humor"):
            shutil.copy(bundled("recordings", "claude", setting, f"{task}.jsonl"), mine / setting)
    edit_profile(made, llms={"claude": {"backend": "recorded", "recording": "mine"}})
    for stage in STAGES:
        execute(stage)
    assert states() == DONE
    shutil.copy(bundled("recordings", "claude", "zero_shot", "imdb.jsonl"), mine / "zero_shot")
    (mine / "personas").mkdir()
    shutil.copy(mine / "zero_shot" / "humor.jsonl", mine / "personas")
    shutil.copytree(mine, made / "another")
    assert states() == DONE
    with (mine / "few_shot" / "humor.jsonl").open("a") as answers:
        answers.write("\n")
    assert states() == changed("01", "07", "09", "10", what="recordings")


def test_two_recordings_with_files_of_one_name_are_two(made):
    for name in ("mine", "yours"):
        (made / name / "zero_shot").mkdir(parents=True)
        for task in ("sms_spam", "humor"):
            shutil.copy(bundled("recordings", "claude", "zero_shot", f"{task}.jsonl"), made / name / "zero_shot")
    llms = {name: {"backend": "recorded", "recording": name} for name in ("mine", "yours")}
    edit_profile(made, llms=llms, corpora={name: {"llm": name, "setting": "zero_shot"} for name in llms})
    execute("01_generation")
    for name in llms:
        assert states()["01_generation"] == "done"
        path = made / name / "zero_shot" / "humor.jsonl"
        text = path.read_text()
        path.write_text(text + "\n")
        assert states()["01_generation"] == "changed since it ran: recordings"
        path.write_text(text)


def test_who_wrote_the_texts_is_said_in_every_result(made):
    shutil.copytree(bundled("recordings", "claude"), made / "mine")
    edit_profile(made, llms={"claude": {"backend": "recorded", "recording": "mine"}})
    for stage in STAGES:
        execute(stage)
    (made / "mine" / "recording.yaml").write_text("model: another\n")
    assert states() == changed(*STAGES, what="evidence")


def test_of_judgements_those_on_the_profiles_tasks_matter(tmp_path):
    pairs = pd.DataFrame(
        {"judge": ["a", "b"], "task_a": ["humor", "imdb"], "task_b": ["sms_spam", "humor"], "n": [1, 2]}
    )
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    assert validity._rows_on(["humor", "sms_spam"], tmp_path / "pairs.csv") == [["a", "humor", "sms_spam", "1"]]


def folder_of_texts(home, texts):
    (home / "data").mkdir()
    for task in ("sms_spam", "humor"):
        labels = dict(zip(("ham", "spam"), load_task(task).labels, strict=True))
        texts.assign(label=texts["label"].map(labels)).to_csv(home / "data" / f"{task}.csv", index=False)
    edit_profile(home, data={"source": "folder"})


def test_other_real_texts_matter_to_the_stages_that_read_them(made, texts):
    folder_of_texts(made, texts)
    for stage in STAGES:
        execute(stage)
    assert states() == DONE
    edit(made / "data" / "humor.csv", "test text 0", "another text")
    assert states() == changed("01", "02", "04", "05", "07", "08", "09", "10", what="data")


def test_collected_answers_matter_to_04_alone(finished):
    answers = finished / "outputs" / "made" / "annotations" / "annotations.csv"
    answers.parent.mkdir()
    answers.write_text("item_id,task,annotator,label\n")
    (answers.parent / "export").mkdir()
    (answers.parent / "export" / "humor.csv").write_text("item_id\n")
    assert states() == changed("04", what="answers")


# -------------------------------------------------------------------------------------------------- products, variants


def test_products_that_are_changed_by_hand_or_gone_are_noticed(finished):
    folder = finished / "outputs" / "made"
    (folder / "tables" / "gaps.csv").write_text("task,gap\n")
    (folder / "runs" / "made.txt").unlink()
    found = states()
    assert found == DONE | {
        "02_training": "'runs/made.txt' is missing",
        "03_evaluation": "'tables/gaps.csv' is not as it was written",
    }
    execute("02_training")
    execute("03_evaluation")
    assert states() == DONE


def test_a_torn_marker_is_none(finished):
    marker = finished / "outputs" / "made" / "stages" / "03_evaluation.json"
    marker.write_text(marker.read_text()[:50])
    assert states() == changed("05", what="earlier stages") | {"03_evaluation": "not finished"}


def test_what_follows_from_other_products_is_outdated(finished):
    edit_notebook("02_training", ", seeds", ", the seeds")
    assert states() == changed("02", what="notebook")
    execute("02_training")
    assert states() == changed("03", "04", "05", "06", "07", "08", "09", "10", what="earlier stages")
    execute("03_evaluation")
    assert states() == changed("04", "05", "06", "07", "08", "09", "10", what="earlier stages")


def test_a_variant_of_evaluation_rests_on_its_bases_texts_and_runs(finished):
    found = states(FEWER)
    assert found == changed("03", "04", "05", "06", "08", "09", "10", what="profile")
    before = {path: path.stat().st_mtime_ns for path in (finished / "outputs" / "made").rglob("*")}
    execute("03_evaluation", FEWER)
    profile = load_profile("made", FEWER)
    folder = finished / "outputs" / profile.folder_name
    assert profile.folder_name.startswith("made-")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        *("tables/gaps.csv", "tables/03_evaluation.md", "tables/03_evaluation.tex"),
        *("tables/gap_by_subjectivity.csv", "stages/03_evaluation.json"),
    }
    after = {"03_evaluation": "done", "05_diversity": "changed since it ran: profile, earlier stages"}
    assert states(FEWER) == found | after
    assert set(saved_table("gaps", profile)["resamples"]) == {200}
    assert set(saved_table("gaps", load_profile("made"))["resamples"]) == {100}
    assert {path: path.stat().st_mtime_ns for path in (finished / "outputs" / "made").rglob("*")} == before
    assert states() == DONE
    execute("05_diversity", FEWER)
    assert set(saved_table("diversity", profile)["resamples"]) == {200}


def test_a_variant_has_the_name_that_it_is_given(finished):
    named = {**FEWER, "variant": "fewer"}
    execute("03_evaluation", named)
    assert (finished / "outputs" / "made-fewer" / "tables" / "gaps.csv").is_file()
    assert states(named)["03_evaluation"] == "done"


def test_a_variant_that_asks_for_other_texts_has_texts_and_runs_of_its_own(finished):
    more = {"generation.texts_per_label": 40}
    assert states(more) == changed("01", what="profile")
    execute("01_generation", more)
    assert states(more) == changed("02", "05", "07", "08", "09", "10", what="earlier stages") | {
        "01_generation": "done"
    }
    execute("02_training", more)
    profile = load_profile("made", more)
    assert "40 texts" in (finished / "outputs" / profile.folder_name / "runs" / "made.txt").read_text()
    assert "20 texts" in (finished / "outputs" / "made" / "runs" / "made.txt").read_text()
    assert states() == DONE


# -------------------------------------------------------------------------------------------------------- no real texts


def test_without_texts_what_needs_them_is_kept_and_the_rest_can_run(finished, package, monkeypatch):
    monkeypatch.setenv("SYNTHGAP_NO_DATA", "1")
    assert states() == DONE
    profile = load_profile("made")
    assert [stage for stage in STAGES if cannot_run(stage, profile)] == ["01_generation", "02_training"]
    with (package / "core" / "files.py").open("a") as module:
        module.write("\nNEW = 1\n")
    assert states() == changed("03", "04", "05", "06", "07", "08", "09", "10", "11", what="code")
    edit_notebook("04_subjectivity", "[3, 5]", "1 / 0")
    for stage in list(STAGES)[2:]:
        execute(stage)
    assert states() == DONE
    assert saved_table("table_2", profile)["words"].tolist() == [3, 5]
    (finished / "outputs" / "made" / "runs" / "made.txt").write_text("changed by hand")
    assert states()["02_training"] == "'runs/made.txt' is not as it was written"


def test_without_texts_other_settings_of_what_needs_them_are_no_kept_results(finished, monkeypatch):
    monkeypatch.setenv("SYNTHGAP_NO_DATA", "1")
    assert states({"training.seeds": [5]})["02_training"] == "changed since it ran: profile"
    assert states(FEWER)["02_training"] == "done"


def test_with_texts_again_what_was_shown_without_them_runs_again(finished, monkeypatch):
    monkeypatch.setenv("SYNTHGAP_NO_DATA", "1")
    execute("04_subjectivity")
    monkeypatch.delenv("SYNTHGAP_NO_DATA")
    assert states() == changed("04", what="data")


def test_what_was_measured_is_shown_in_a_variant_without_texts(finished, monkeypatch):
    monkeypatch.setenv("SYNTHGAP_NO_DATA", "1")
    execute("04_subjectivity", {"variant": "check"})
    marker = read_json(finished / "outputs" / "made-check" / "stages" / "04_subjectivity.json")
    assert "measured/words.parquet" in marker["products"]


def test_what_was_measured_with_other_settings_or_never_is_refused_without_texts(finished, monkeypatch):
    monkeypatch.setenv("SYNTHGAP_NO_DATA", "1")
    with pytest.raises(SynthgapError, match=r"04_subjectivity needs the real texts for 'words'.*--data"):
        execute("04_subjectivity", FEWER)
    shutil.rmtree(finished / "outputs" / "made" / "measured")
    with pytest.raises(SynthgapError, match="was not measured on them before"):
        execute("04_subjectivity")


def test_texts_are_out_of_reach_where_a_file_is_missing(made, texts):
    assert validity.texts_in_reach(load_profile("made"))
    edit_profile(made, data={"source": "folder"})
    assert not validity.texts_in_reach(load_profile("made"))
    folder_of_texts(made, texts)
    assert validity.texts_in_reach(load_profile("made"))
    (made / "data" / "humor.csv").unlink()
    assert not validity.texts_in_reach(load_profile("made"))


# ----------------------------------------------------------------------------------------------------- what stages read


def test_a_stage_reads_only_those_tables_of_others_that_it_says_it_reads(finished):
    assert len(open_stage("05", "made").table("gaps")) == 4
    for stage, name in (("06", "gaps"), ("03", "gaps"), ("05", "table_2"), ("04", "mixes")):
        with pytest.raises(SynthgapError, match=f"has not saved table '{name}'"):
            open_stage(stage, "made").table(name)


def test_a_stage_ends_with_all_of_its_products(finished):
    stage = open_stage("03", "made")
    stage.wrote([stage.folder / "tables" / "never.csv"])
    with pytest.raises(SynthgapError, match=r"product 'never\.csv' was not written"):
        stage.finish()


@pytest.mark.fault(
    "Runs",
    "an input that changes while a notebook is run by hand",
    "its last cell says so, and the stage counts as not finished",
    costs="the stage's time",
)
def test_a_notebook_whose_inputs_change_while_it_runs_is_not_finished(made):
    execute("01_generation")
    stage = open_stage("02_training", "made")
    path = made / "configs" / "made.yaml"
    path.write_text(path.read_text().replace("texts_per_label: 20", "texts_per_label: 30"))
    execute("01_generation")
    with pytest.raises(SynthgapError, match=r"02_training: earlier stages changed since this notebook began; run it"):
        stage.finish()
    assert validity.read_marker("02_training", stage.profile) is None


def test_a_stage_that_runs_again_leaves_no_table_of_before(finished):
    stage = open_stage("03", "made")
    stage.save_table("of_before", pd.DataFrame({"a": [1]}))
    stage.finish()
    other = open_stage("03", "made")
    other.save_table("of_now", pd.DataFrame({"a": [1]}))
    other.finish()
    assert (other.folder / "tables" / "of_now.csv").is_file()
    assert not (other.folder / "tables" / "of_before.csv").exists()


def test_the_made_up_notebooks_are_those_of_all_stages():
    assert list(CODE) == list(STAGES)


SOUND = {"determined_by": {"code": "x"}, "products": {"tables/a.csv": "x"}}


@pytest.mark.parametrize(
    ("marker", "sound"),
    [
        (SOUND, True),
        ([SOUND], False),
        (None, False),
        ({}, False),
        (SOUND | {"products": ["a"]}, False),
        (SOUND | {"determined_by": {"code": 1}}, False),
        (SOUND | {"products": {"tables/a.csv": ["x"]}}, False),
        (SOUND | {"products": {"../../secret": "x"}}, False),
        (SOUND | {"products": {"tables/../../a.csv": "x"}}, False),
        (SOUND | {"products": {"/etc/hostname": "x"}}, False),
    ],
)
def test_a_marker_names_digests_of_files_below_its_folder(marker, sound):
    assert is_marker(marker) == sound


@pytest.mark.fault("Runs", "a stage's marker that was edited", "the stage runs again", costs="its time")
def test_a_marker_that_was_edited_is_none_and_its_stage_runs_again(finished):
    edit(marker_file(load_profile("made"), "03_evaluation"), '"tables/gaps.csv"', '"../tables/gaps.csv"')
    assert states()["03_evaluation"] == "not finished"
    with pytest.raises(SynthgapError, match="no finished stage"):
        saved_table("gaps", load_profile("made"))
