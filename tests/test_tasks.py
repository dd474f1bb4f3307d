import pytest
import yaml
from conftest import ROOT

from synthgap.core.errors import SynthgapError
from synthgap.tasks import Task, load_profile, load_task, paper_tasks, read_task
from synthgap.tasks.registry import task_file

REFERENCE = yaml.safe_load((ROOT / "tests" / "reference_tasks.yaml").read_text())


def rendered(entry: dict, label: str, turn: int, examples: list[str] | None) -> str:
    """The request as the reference describes it, put together here and not by the package."""

    def fill(text: str, **values: object) -> str:
        for name, value in values.items():
            text = text.replace("{" + name + "}", str(value))
        return text

    phrase = entry["labels"][label]
    request = f"{fill(entry['generate'], n=entry['n'], label=phrase)} {fill(REFERENCE['format'], n=entry['n'])}"
    if examples is not None:
        lines = "\n".join("- " + example for example in examples)
        request = f"{fill(REFERENCE['few_shot'], kind=entry['kind'], label=phrase, examples=lines)} {request}"
    return f"{REFERENCE['diversity']} {request}" if turn else request


@pytest.mark.parametrize("entry", REFERENCE["tasks"], ids=lambda entry: entry["name"])
def test_requests_are_those_of_the_reference(entry):
    task = load_task(entry["name"])
    assert task.title == entry["title"]
    assert task.prompts.context == entry["context"]
    assert task.labels == entry["labels"]
    assert (task.texts_per_turn, task.texts_per_label) == (entry["n"], entry["per_label"])
    assert task.few_shot.pool_share == REFERENCE["few_shot_pool"]
    for label in entry["labels"]:
        for turn in (0, 1, 5):
            for examples in (None, ["one", "two {braces} and 100 %"]):
                assert task.request(label, turn, examples) == rendered(entry, label, turn, examples)


def test_there_are_the_ten_tasks_of_the_paper():
    assert sorted(entry["name"] for entry in REFERENCE["tasks"]) == list(paper_tasks())
    assert sorted(load_task(name).paper_order for name in paper_tasks()) == list(range(1, 11))


def test_every_task_has_what_the_later_stages_need():
    for name in paper_tasks():
        task = load_task(name)
        assert task.question.endswith("?")
        assert task.hub is not None
        assert set(task.hub.label_values) == set(task.labels)


def test_an_unknown_task_is_named_with_the_known_ones():
    with pytest.raises(SynthgapError, match="task 'gone' is unknown"):
        load_profile("smoke", {"training.classifiers.tfidf.tasks": ["gone"]})
    with pytest.raises(SynthgapError, match=r"task 'ag_nws' is unknown \(did you mean 'ag_news'\?\); known: ag_news"):
        load_task("ag_nws")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prompts": {"generate": "Write {n} {topic}."}}, "topic"),
        ({"labels": {"spam": "spam"}}, "labels"),
        ({"labels": {True: "yes", False: "no"}}, "quotes"),
        ({"colour": "red"}, "colour"),
        ({"few_shot": {"pool_share": 2}}, "few_shot.pool_share"),
    ],
)
def test_a_faulty_task_file_is_refused(tmp_path, change, named):
    values = yaml.safe_load(task_file("sms_spam").read_text())
    for key, value in change.items():
        values[key] = {**values[key], **value} if key in {"prompts", "few_shot"} else value
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(SynthgapError) as error:
        read_task(path)
    assert named in str(error.value)


def test_examples_are_shown_on_one_line_and_cut():
    task: Task = load_task("imdb")
    assert task.shown_example("a\n b  " + "c " * 500) == " ".join(["a", "b", *["c"] * 118])
    assert load_task("humor").shown_example("a\n" * 300) == " ".join(["a"] * 300)


@pytest.mark.parametrize(("train", "pool"), [(6000, 600), (99, 10), (36, 10), (5, 5), (104, 10), (110, 11)])
def test_the_pool_is_a_tenth_and_at_least_ten(train, pool):
    assert load_task("relation").pool_size(train) == pool
