"""A task of one's own: a commented file to begin with."""

from collections import Counter
from pathlib import Path

import yaml

from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_text
from synthgap.core.paths import tasks_folder
from synthgap.core.yaml_files import load_yaml
from synthgap.tasks.registry import NAME, build_task, package_tasks

TEMPLATE = """\
# {title}: what the LLM is asked for, and what people are asked. Only `name` and `labels` have to be here: a line that
# is commented out says what holds without it.
name: {name}   # as this file is called
# title: {title}   # in tables and figures
# kind: texts   # what the prompts call them, for example: emails, product reviews, questions to a lawyer
# question: {question}   # to annotators

labels:   # name in the data: the phrase that the prompts use; the more exactly it says what is meant, the better
{labels}
# texts_per_turn: {texts_per_turn}   # that one request asks for; 5 or fewer where texts are long
# texts_per_label: {texts_per_label}   # where the profile does not say (generation.texts_per_label)

prompts:   # {{n}} texts a turn, {{label}} the label's phrase, {{kind}} as above, {{examples}} one real text a line
  context: {context}
  # Say how long real ones are ("Each is 10 to 30 words long."): it does more than anything else.
  # generate: {generate}
  # format: {format}
  # diversity: {diversity}   # what every request after the first begins with
  # few_shot: {few_shot}

# completion:   # what an LLM goes on from where a corpus has protocol: completion, one text a request
  # zero_shot: {completion_zero_shot}   # a quotation mark at its end ends the text, too
  # few_shot: {completion_few_shot}

few_shot:
  max_words: 120   # a longer example is cut; without this line it is shown whole, and paid for in every turn
  # examples_per_turn: {examples_per_turn}   # a label needs as many train texts
  # pool_share: {pool_share}   # of the label's train texts, that examples are drawn from; never fewer than 10 texts

# remove: "#(spam|ham)"   # a regular expression; what it finds is taken out of real texts, such as tags with the label
# caveat: ...   # what readers of its scores must know of its real texts
"""


def new_task(name: str, labels: str, about: str | None = None) -> Path:
    """Write a commented file for a task, tasks/<name>.yaml; one that is there is left as it is.

    Args:
        labels: set apart by commas.
        about: a sentence on its texts, which the prompts begin with.

    Raises:
        SynthgapError: the name or the labels cannot be those of a task, or there is such a file.
    """
    path, names = tasks_folder() / f"{name}.yaml", [label.strip() for label in labels.split(",")]
    _check(name, names)
    sentence = " ".join((about or "").split())
    if sentence and sentence[-1] not in ".!?":
        sentence += "."
    if path.exists() or path.is_symlink():
        raise SynthgapError(f"'{path}' is there already and stays as it is; edit it, or call the new task otherwise")
    text = _template(name, names, sentence)
    build_task(load_yaml(text), path.name)
    return write_text(path, text)


def _check(name: str, labels: list[str]) -> None:
    if not NAME.fullmatch(name) or len(name) > 60:
        raise SynthgapError(
            f"'{name}' cannot be a task's name, which is made of at most 60 small letters, digits and _, and "
            "begins with no _; for example: support_tickets"
        )
    if name in package_tasks():
        raise SynthgapError(f"task '{name}' is one of the package's; give yours a name of its own")
    if "" in labels:
        raise SynthgapError("one of the labels is empty; set labels apart by single commas: --labels good,bad")
    if twice := [label for label, times in Counter(labels).items() if times > 1]:
        raise SynthgapError(f"the label '{twice[0]}' stands there twice; each is named once: --labels good,bad")
    if len(labels) < 2:
        raise SynthgapError("a task needs two labels at least, set apart by commas: --labels good,bad")


def _template(name: str, labels: list[str], about: str) -> str:
    task = build_task({"name": name, "labels": labels}, name)  # which has every default
    context = f"{about.replace('{', '{{').replace('}', '}}')} {task.prompts.context}".strip()
    words = {"title": task.title, "question": task.question, **task.prompts.model_dump(), "context": context}
    words |= {f"completion_{setting}": prompt for setting, prompt in task.completion.model_dump().items()}
    scalars = {key: _scalar(value) for key, value in words.items()} | {"name": _scalar(name)}
    shown = yaml.safe_dump(task.labels, sort_keys=False, allow_unicode=True, width=10**6)
    numbers = task.model_dump(include={"texts_per_turn", "texts_per_label"}) | task.few_shot.model_dump()
    return TEMPLATE.format(labels="".join(f"  {line}\n" for line in shown.splitlines()), **scalars, **numbers)


def _scalar(text: str) -> str:
    """A word or a sentence as YAML on one line."""
    quoted = '"' if " " in text else None
    return yaml.safe_dump(text, default_style=quoted, allow_unicode=True, width=10**6).removesuffix("...\n").strip()
