"""Tasks and profiles, as YAML files say them.

`schema` is what a task is (labels, prompts, the question to annotators, where its real texts are), `registry` finds
and reads the files of tasks and profiles. One YAML file per task lies here. A change of what a task may say goes into
`schema`; a new task is a new YAML file. May import `core` only.
"""

from synthgap.tasks.registry import known_tasks, load_profile, load_task, paper_order, read_task, tasks_in_paper_order
from synthgap.tasks.schema import SPLITS, AgreementColumn, AnnotatedTexts, HubSource, Prompts, Task

__all__ = [
    "SPLITS",
    "AgreementColumn",
    "AnnotatedTexts",
    "HubSource",
    "Prompts",
    "Task",
    "known_tasks",
    "load_profile",
    "load_task",
    "paper_order",
    "read_task",
    "tasks_in_paper_order",
]
