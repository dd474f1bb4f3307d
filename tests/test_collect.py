"""Items out, answers in: CSV and Label Studio, faulty files, and the panel that saves every click."""

import contextlib
import csv
import json
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_data import save

from synthgap.core.errors import SynthgapError
from synthgap.data.real import load_real
from synthgap.subjectivity import collect
from synthgap.subjectivity.label_studio import labelling_configuration
from synthgap.subjectivity.panel import panel, unanswered
from synthgap.subjectivity.ranking import read_pairs
from synthgap.tables import write_csv
from synthgap.tasks import load_profile, load_task

PROFILE = load_profile("smoke")
TASK = load_task("humor")
LABELS = list(TASK.labels)
SIZES = {"train": 12, "validation": 2, "test": 4}  # texts of a label


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def filled(path, answers: dict[str, str], target):
    """The exported CSV with some columns filled in."""
    rows = [row | answers for row in rows_of(path)]
    pd.DataFrame(rows).to_csv(target, index=False)
    return target


# ------------------------------------------------------------------------------------------------------------- export


def test_items_are_test_texts_without_their_labels(tmp_path):
    table, tasks, configuration = collect.export("humor", PROFILE, tmp_path, 10)
    test = load_real(TASK, PROFILE).split("test").set_index("id")["text"]
    rows = rows_of(table)
    assert len(rows) == len({row["item_id"] for row in rows}) == 10
    for row, task in zip(rows, json.loads(tasks.read_text()), strict=True):
        assert task["data"] == {"item_id": row["item_id"], "task": "humor", "text": test[row["item_id"]]}
        assert row["label"] == row["annotator"] == ""
        assert row["choices"] == " | ".join(LABELS)
    choices = ElementTree.parse(configuration).findall(".//Choice")  # noqa: S314  our own file
    assert [choice.get("value") for choice in choices] == LABELS
    assert [path.read_bytes() for path in collect.export("humor", PROFILE, tmp_path / "again", 10)] == [
        path.read_bytes() for path in (table, tasks, configuration)
    ]


def test_pairs_are_every_two_tasks(tmp_path):
    table, tasks, _ = collect.export("pairs", PROFILE, tmp_path)
    assert len(rows_of(table)) == len(json.loads(tasks.read_text())) == 6
    assert all(row["task_a"] < row["task_b"] for row in rows_of(table))


def test_what_cannot_be_exported_says_why(tmp_path):
    with pytest.raises(SynthgapError, match="100 items asked for, and the test split has 24"):
        collect.export("humor", PROFILE, tmp_path, 100)
    with pytest.raises(SynthgapError, match="one task, so there are no pairs"):
        collect.export("pairs", PROFILE.changed({"tasks": ["humor"]}), tmp_path)
    with pytest.raises(SynthgapError, match="--items is for the texts of a task"):
        collect.export("pairs", PROFILE, tmp_path, 3)
    assert list(tmp_path.iterdir()) == []


def test_questions_and_labels_are_escaped_in_label_studios_configuration():
    text = labelling_configuration('Is "a < b"?', ['<b>"&'])
    choice = ElementTree.fromstring(text).find(".//Choice")  # noqa: S314  our own text
    assert choice is not None
    assert choice.get("value") == '<b>"&'


def test_a_text_that_a_spreadsheet_would_compute_comes_back_as_it_was(tmp_path):
    path = tmp_path / "x.csv"
    write_csv(path, pd.DataFrame([{"item_id": "=1+1", "task": "humor", "annotator": "ann", "label": LABELS[0]}]))
    assert "'=1+1" in path.read_text()
    _, rows, faults = collect.read_answers(path)
    assert rows[0]["item_id"] == "=1+1"
    assert faults == []


# ------------------------------------------------------------------------------------------------------------- import


HEAD = "item_id,task,annotator,label\n"


def choice(question: str, *answers: str) -> dict:
    return {"from_name": question, "to_name": "text", "type": "choices", "value": {"choices": answers or (LABELS[0],)}}


def studio(annotation: dict, **data) -> str:
    """An export of one item of Label Studio (JSON), sound but for what is given."""
    sound = {"completed_by": "ann", "result": [choice("answer")]}
    return json.dumps([{"data": {"item_id": "i1", "task": "humor"} | data, "annotations": [sound | annotation]}])


def test_csv_there_and_back(tmp_path):
    table = collect.export("humor", PROFILE, tmp_path, 5)[0]
    assert "nothing" not in collect.import_file(
        filled(table, {"annotator": "ann", "label": LABELS[0]}, tmp_path / "ann.csv"), PROFILE, tmp_path
    )
    stored = collect.stored_answers(collect.answers_file(tmp_path, "annotations"))
    assert {row["label"] for row in stored} == {LABELS[0]}
    again = collect.import_file(tmp_path / "ann.csv", PROFILE, tmp_path)
    assert "0 new annotations, 5 already known, 0 left out" in again
    assert collect.stored_answers(collect.answers_file(tmp_path, "annotations")) == stored


def label_studio(tasks: list[dict], answer: str, person: object = 7) -> list[dict]:
    """An export as Label Studio writes it (JSON)."""
    return [
        {
            "id": number,
            "data": task["data"],
            "annotations": [
                {
                    "id": 10 + number,
                    "completed_by": person,
                    "was_cancelled": False,
                    "result": [
                        {"from_name": "answer", "to_name": "text", "type": "choices", "value": {"choices": [answer]}}
                    ],
                }
            ],
            "predictions": [],
        }
        for number, task in enumerate(tasks)
    ]


@pytest.mark.parametrize(("person", "name"), [(7, "7"), ({"id": 3, "email": "ann@example.org"}, "ann@example.org")])
def test_label_studio_there_and_back(tmp_path, person, name):
    tasks = json.loads(collect.export("humor", PROFILE, tmp_path, 5)[1].read_text())
    path = tmp_path / "project.json"
    path.write_text(json.dumps(label_studio(tasks, LABELS[1], person)))
    collect.import_file(path, PROFILE, tmp_path)
    stored = collect.stored_answers(collect.answers_file(tmp_path, "annotations"))
    assert [row["item_id"] for row in stored] == [task["data"]["item_id"] for task in tasks]
    assert {(row["annotator"], row["label"], row["task"]) for row in stored} == {(name, LABELS[1], "humor")}


def test_pairs_from_label_studio_become_comparisons(tmp_path):
    tasks = json.loads(collect.export("pairs", PROFILE, tmp_path)[1].read_text())
    path = tmp_path / "project.json"
    path.write_text(json.dumps(label_studio(tasks, "the second")))
    assert "6 new pairs" in collect.import_file(path, PROFILE, tmp_path)
    pairs = collect.collected_pairs(tmp_path)
    assert pairs is not None
    assert (pairs["more_objective"] == pairs["task_b"]).all()
    assert read_pairs(pairs, PROFILE.tasks, "human: x").answers.sum() == 6


@pytest.mark.fault("Files of others", "judgements that are malformed", "every row is named, and nothing is stored")
def test_every_malformed_row_is_named_and_nothing_is_stored(tmp_path):
    path = tmp_path / "ann.csv"
    good = f"i1,humor,ann,{LABELS[0]}\n"
    path.write_text(
        "item_id,task,annotator,label\n"
        + good
        + f"i2,humor,ann,funny\ni3,humour,ann,{LABELS[0]}\n,humor,ann,{LABELS[0]}\ni4,humor,,{LABELS[0]}\n"
        + f"i1,humor,ann,{LABELS[1]}\ni5,humor\ni6,humor,bob,\n"
    )
    with pytest.raises(SynthgapError) as error:
        collect.import_file(path, PROFILE, tmp_path)
    text = str(error.value)
    assert "7 malformed rows, and nothing was stored" in text
    for part in (
        "row 3: label 'funny' is unknown to task 'humor'",
        "row 4: task 'humour' is unknown",
        "row 5: 'item_id' is empty",
        "row 6: 'annotator' is empty",
        f"row 7: 'ann' answered '{LABELS[1]}' here and '{LABELS[0]}' before",
        "row 8: it has not 4 cells",
        "row 9: 'label' is empty",
    ):
        assert part in text
    assert not collect.answers_file(tmp_path, "annotations").exists()
    done = collect.import_file(path, PROFILE, tmp_path, skip_malformed=True)
    assert "1 new annotations, 0 already known, 7 left out" in done
    assert len(collect.stored_answers(collect.answers_file(tmp_path, "annotations"))) == 1


def test_an_answer_that_contradicts_a_stored_one_is_left_out_and_said(tmp_path):
    path = tmp_path / "a.csv"
    for label in LABELS:
        path.write_text(f"item_id,task,annotator,label\ni1,humor,ann,{label}\n")
        done = collect.import_file(path, PROFILE, tmp_path)
    assert "0 new annotations, 0 already known, 1 left out" in done
    assert f"'ann' answered '{LABELS[1]}' here and '{LABELS[0]}' before" in done


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("judge,task_a,task_b,more_objective\nj,humor,humor,humor\n", "row 2: task 'humor' is paired with itself"),
        ("judge,task_a,task_b,more_objective\nj,humor,imdb,ag_news\n", "row 2: 'ag_news' is neither"),
        (
            "judge,task_a,task_b,more_objective\nj,humor,imdb,imdb\nj,imdb,humor,humor\n",
            "row 3: 'j' answered 'humor' here and 'imdb' before",
        ),
    ],
)
def test_faulty_pairs_are_named(tmp_path, rows, fault):
    path = tmp_path / "pairs.csv"
    path.write_text(rows)
    with pytest.raises(SynthgapError, match=fault):
        collect.import_file(path, PROFILE, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"data": {"item_id": "i"', "torn or no JSON"),
        ('{"a": 1}', "must be a list of tasks"),
        ("a,b\n1,2\n", "needs the columns item_id, task, annotator, label or judge, task_a"),
        ("", "it has none"),
        ("item_id,task,annotator,label\n", "holds no answers yet"),
        ("item_id,task,annotator,label\ni1,humor,,\n", "holds no answers yet"),
        ('[{"data": {}}]', "task 1|row 1: no 'data' or no 'annotations'"),
        ('[{"data": {}, "annotations": [{"result": []}]}]', "row 1: an annotation without 'completed_by' or 'choices'"),
        ('[{"data": {}, "annotations": [{"completed_by": 1, "result": []}]}]', "row 1: it has 0 choices, not one"),
        ('[{"data": {}, "annotations": ["x"]}]', "row 1: an annotation without"),
        ("[" * 100_000, "torn or no JSON"),
        (studio({"completed_by": None}), "row 1: nobody is named in 'completed_by'"),
        (studio({"completed_by": ["ann"]}), "row 1: nobody is named in 'completed_by'"),
        (studio({"completed_by": {"id": None}}), "row 1: nobody is named in 'completed_by'"),
        (studio({}, item_id=None), "row 1: 'item_id' is empty"),
        (studio({}, item_id="a\ud83d"), "row 1: 'item_id' holds half a character"),
        (studio({"completed_by": "ann\udc00"}), "row 1: 'annotator' holds half a character"),
        (studio({}, item_id="a\0"), r"row 1: 'item_id' holds a sign that cannot be seen .U\+0000"),
        (studio({"completed_by": "a\rb"}), r"row 1: 'annotator' holds a sign that cannot be seen .U\+000D"),
        (studio({}, task_a="humor", task_b="imdb"), "has the columns of annotations and of pairs"),
        (studio({"result": [choice("topic"), choice("tone")]}), "row 1: it answers several questions"),
        (studio({"result": [choice("topic", LABELS[0], LABELS[1])]}), "row 1: it has 2 choices, not one"),
        (f'{HEAD}"a\rb",humor,ann,{LABELS[0]}\n', r"row 2: 'item_id' holds a sign that cannot be seen .U\+000D"),
        (f'{HEAD}i1,humor,"ann\x9b1",{LABELS[0]}\n', r"row 2: 'annotator' holds a sign that cannot be seen .U\+009B"),
        (f"{HEAD}{'a' * 2000}\0,humor,ann,{LABELS[0]}\n", "holds a zero byte in line 2"),
        (f"{HEAD}\0,humor,ann,{LABELS[0]}\n".encode("utf-16"), r"row 2: 'item_id' holds a sign .* .U\+0000"),
        (
            f'{HEAD}\ni1,"humor\n",ann,{LABELS[0]}\n\ni2,humor,"ann,a\ni3,humor,bob,b\n',
            "line 6 has a quote out of place",
        ),
        (
            f'{HEAD}i2,humor,ann,"{LABELS[0]}\ni3,humor,bob,"{LABELS[0]}"\n',
            "line 2 has a quote out of place",
        ),
        (f'{HEAD}i1,humor,"ann\n\n",{LABELS[0]}\ni2,humor\n', "row 5: it has not 4 cells but 2"),
        ("item_id,task,annotator,label,label\ni1,humor,ann,a,b\n", "column 'label' more than once; rename or remove"),
        ("item_id,task,annotator,label,judge,task_a,task_b,more_objective\n", "columns of annotations and of pairs"),
        (f"item_id,task,annotator,label\ni1,humor,ann,{LABELS[0]}\n".encode("utf-16-le"), "UTF-16 without its mark"),
        (
            f"item_id,task,annotator,label\ni1,humor,änn,{LABELS[0]}\n".encode("cp1252"),
            "reads '.*änn.* in cp1252",
        ),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, text, message):
    path = tmp_path / "export"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SynthgapError, match=message):
        collect.import_file(path, PROFILE, tmp_path)


@pytest.mark.fault(
    "Files of others",
    "Label Studio: no person, a second question, deep nesting, half surrogates; CSV cells of any length",
    "the answers to the exported question are read",
)
@pytest.mark.parametrize(
    "content",
    [
        f"item_id;task;annotator;label\ni1;humor;ann;{LABELS[0]}\n",
        f"item_id\ttask\tannotator\tlabel\ni1\thumor\tann\t{LABELS[0]}\n",
        f"item_id,task,annotator,label,text\ni1,humor,ann,{LABELS[0]},{'long ' * 40_000}\n",
        f"\ufeffitem_id,task,annotator,label\r\ni1,humor,ann,{LABELS[0]}\r\n",
        f"item_id,task,annotator,label\ni1,humor,ann,{LABELS[0]}\n".encode("utf-16"),
        studio({"result": [choice("topic", "politics"), choice("answer")]}),
        studio({"result": [choice("mine")]}),
        studio({}, note=None, nested={"a": [1, {"b": 2}]}),
        studio({}, fault="x", judge="x", task_a="x", annotator="x", label="x", more_objective="x"),
        f"item_id,task,annotator,label,fault,task_a,judge,,\n\ni1,humor,ann,{LABELS[0]},x,x,x,,\ni2,humor,,,x,x,x,,\n,,,,,,,,\n",
        f"item_id,task,annotator,label\r   \r i1 , humor , ann , {LABELS[0]} \r",
    ],
)
def test_what_tools_write_is_read(tmp_path, content):
    path = tmp_path / "answers"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    kind, rows, faults = collect.read_answers(path)
    assert (kind, faults) == ("annotations", [])
    assert rows == [{"item_id": "i1", "task": "humor", "annotator": "ann", "label": LABELS[0]}]


# ---------------------------------------------------------------------------------------------------- what they are for


def test_an_import_says_how_many_judgements_table_2_will_use(tmp_path):
    items = [item["item_id"] for item in collect.items_for(TASK, PROFILE, 3)]
    path = tmp_path / "answers.csv"

    def imported(person, item_ids, profile=PROFILE):
        rows = [{"item_id": item, "task": "humor", "annotator": person, "label": LABELS[0]} for item in item_ids]
        pd.DataFrame(rows).to_csv(path, index=False)
        return collect.import_file(path, profile, tmp_path).splitlines()[-1]

    use = "table_2 of 04_subjectivity will use {} of {} judgements of humor"
    first = imported("ann", ["999"])
    assert first.strip().startswith(use.format(0, 1) + " (no item is in the test split as profile 'smoke' reads it")
    alone = imported("ann", items)
    assert alone.strip().startswith(use.format(0, 4))
    assert "items that are not in the test split: 1; items with one annotation: 3" in alone
    assert imported("bob", items[:2]).strip().startswith(use.format(4, 6))
    other = PROFILE.changed({"tasks": ["imdb"]})
    assert imported("bob", items[:2], other).strip() == use.format(0, 6) + " (profile 'smoke' has no such task)"


@pytest.mark.fault(
    "Data of your own", "ids that are numbers", "they are text everywhere, and judgements find their items"
)
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_integer_ids_come_back_as_the_items_that_they_are(tmp_path, monkeypatch, suffix):
    places = [(split, label, n) for split, size in SIZES.items() for label in LABELS for n in range(size)]
    rows = [
        {"id": n, "text": f"text {n}", "label": label, "split": split} for n, (split, label, _) in enumerate(places)
    ]
    save(pd.DataFrame(rows), tmp_path / f"humor{suffix}")
    monkeypatch.setenv("SYNTHGAP_DATA", str(tmp_path))
    profile = PROFILE.changed({"data.source": "folder", "tasks": ["humor"], "data.test_texts_per_label": None})
    table, tasks, _ = collect.export("humor", profile, tmp_path / "out", 4)
    for person in ("ann", "bob"):
        pd.read_csv(table).assign(annotator=person, label=LABELS[0]).to_csv(tmp_path / "answers.csv", index=False)
        done = collect.import_file(tmp_path / "answers.csv", profile, tmp_path)
    assert "will use 8 of 8 judgements of humor" in done
    exported = json.loads(tasks.read_text())
    for task in exported:
        number = int(task["data"]["item_id"])
        task["data"]["item_id"] = number if number % 2 else float(number)
    (tmp_path / "project.json").write_text(json.dumps(label_studio(exported, LABELS[0], 7)))
    assert "will use 12 of 12 judgements of humor" in collect.import_file(tmp_path / "project.json", profile, tmp_path)


def test_an_import_of_pairs_says_how_many_the_ranking_will_use(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("judge,task_a,task_b,more_objective\nj,humor,imdb,imdb\nj,humor,ag_news,humor\n")
    done = collect.import_file(path, PROFILE.changed({"tasks": ["humor", "ag_news"]}), tmp_path)
    assert "task_ranking of 04_subjectivity will use 1 of 2 judgements of pairs of tasks" in done
    assert "(with a task that profile 'smoke' does not have: 1)" in done


def test_exported_texts_are_their_owners_alone(tmp_path):
    for path in collect.export("humor", PROFILE, tmp_path, 3)[:2]:
        assert path.stat().st_mode & 0o777 == 0o600


def test_cancelled_annotations_are_passed_over(tmp_path):
    tasks = json.loads(collect.export("humor", PROFILE, tmp_path, 2)[1].read_text())
    exported = label_studio(tasks, LABELS[0])
    exported[0]["annotations"][0] = {"completed_by": 7, "was_cancelled": True, "result": []}
    path = tmp_path / "project.json"
    path.write_text(json.dumps(exported))
    assert "1 new annotations" in collect.import_file(path, PROFILE, tmp_path)


@given(st.lists(st.tuples(st.text(), st.text(), st.sampled_from(LABELS))))
def test_a_file_adds_its_sound_rows_once_and_they_are_stored_as_they_are(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("again")
    store, given_file = folder / "annotations.csv", folder / "answers.csv"
    table = pd.DataFrame(
        [(item, "humor", person, label) for item, person, label in rows], columns=HEAD.strip().split(",")
    )
    given_file.write_bytes(table.to_csv(index=False, lineterminator="\n").encode("utf-8", "surrogatepass"))
    with contextlib.suppress(SynthgapError):
        kind, sound, _ = collect.read_answers(given_file)
        different = len({tuple(row.values()) for row in sound})
        assert collect.add_answers(store, kind, sound) == (different, len(sound) - different, [])
        assert {tuple(row.values()) for row in collect.stored_answers(store)} == {tuple(row.values()) for row in sound}
        assert collect.add_answers(store, kind, sound) == (0, len(sound), [])


def test_rows_that_somebody_repeated_in_the_store_hide_no_new_ones(tmp_path):
    path, store = tmp_path / "a.csv", collect.answers_file(tmp_path, "annotations")
    row = f"i1,humor,ann,{LABELS[0]}\n"
    store.parent.mkdir()
    store.write_text(HEAD + row * 3)
    path.write_text(f"{HEAD}i2,humor,ann,{LABELS[0]}\n")
    assert "1 new annotations, 0 already known" in collect.import_file(path, PROFILE, tmp_path)
    assert [one["item_id"] for one in collect.stored_answers(store)] == ["i1", "i2"]


@pytest.mark.parametrize("stored", ["", "a,b\n1,2\n", "item_id,task,annotator,label,note\n", '"item_id'])
def test_a_store_that_was_changed_is_left_as_it_is(tmp_path, stored):
    path, store = tmp_path / "a.csv", collect.answers_file(tmp_path, "annotations")
    path.write_text(f"{HEAD}i1,humor,ann,{LABELS[0]}\n")
    store.parent.mkdir()
    store.write_text(stored)
    with pytest.raises(SynthgapError, match=r"annotations\.csv"):
        collect.import_file(path, PROFILE, tmp_path)
    assert store.read_text() == stored


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_with_a_sentence(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "x.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(SynthgapError):
        kind, rows, faults = collect.read_answers(path)
        assert kind in {"annotations", "pairs"}
        assert all(isinstance(fault, str) for fault in faults)
        assert all(all(row.values()) for row in rows)


# -------------------------------------------------------------------------------------------------------- command line


def test_the_command_line_exports_and_imports(command, tmp_path):
    done = command("annotate", "export", "humor", "--profile", "smoke", "--items", "4", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    table = tmp_path / "smoke" / "annotations" / "export" / "humor.csv"
    assert str(table) in done.stdout
    path = filled(table, {"annotator": "ann", "label": LABELS[0]}, tmp_path / "ann.csv")
    done = command("annotate", "import", str(path), "--profile", "smoke", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "4 new annotations" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["annotate", "export", "humour"], "did you mean 'humor'"),
        (["annotate", "export", "humor", "--items", "0"], "0 items asked for"),
        (["annotate", "export", "humor", "--profile", "nope"], "profile 'nope' is unknown"),
        (["annotate", "import", "absent.csv"], "'absent.csv' does not exist"),
        (["annotate", "import", "docs"], "'docs' is no file"),
        (["annotate"], "STEP"),
    ],
)
def test_the_command_line_refuses_nonsense_with_a_sentence(command, arguments, message, tmp_path):
    done = command(*arguments, *(["--output", str(tmp_path)] if len(arguments) > 1 else []))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


# -------------------------------------------------------------------------------------------------------------- panel


def parts(shown):
    question, (name, start), view, buttons, message = (
        shown.children[0],
        shown.children[1].children,
        shown.children[2],
        shown.children[3].children,
        shown.children[4],
    )
    return question, name, start, view, buttons, message


def test_the_panel_shows_no_text_before_start_and_saves_every_click(tmp_path):
    texts = {item["text"] for item in collect.items_for(TASK, PROFILE, 3)}
    shown = panel(TASK, PROFILE, tmp_path, 3)
    _, name, start, view, buttons, message = parts(shown)
    assert view.value == ""
    start.click()
    assert view.value == ""
    assert "Give a name first" in message.value
    name.value = "ann <b>"
    start.click()
    assert "0 of 3 items answered by ann &lt;b&gt;" in message.value
    buttons[0].click()
    buttons[1].click()
    stored = collect.stored_answers(collect.answers_file(tmp_path, "annotations"))
    assert [row["label"] for row in stored] == LABELS[:2]
    assert {row["annotator"] for row in stored} == {"ann <b>"}
    again = parts(panel(TASK, PROFILE, tmp_path, 3))  # after a restart of the kernel
    again[1].value = "ann <b>"
    again[2].click()
    assert "2 of 3 items answered" in again[5].value
    again[4][0].click()
    assert "All items are answered" in again[3].value
    assert len(collect.stored_answers(collect.answers_file(tmp_path, "annotations"))) == 3
    assert len(texts) == 3


def test_another_person_starts_from_the_beginning(tmp_path):
    items = collect.items_for(TASK, PROFILE, 3)
    answers = [{"item_id": items[0]["item_id"], "task": "humor", "annotator": "ann", "label": LABELS[0]}]
    assert len(unanswered(items, answers, "ann")) == 2
    assert len(unanswered(items, answers, "bob")) == 3
