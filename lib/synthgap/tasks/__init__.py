"""Tasks and profiles, as YAML files say them.

`schema` is what a task is (labels, prompts, the question to annotators, where its real texts are), `prompts` what a
corpus's prompts may say otherwise, `registry` finds and reads the files of tasks, prompts and profiles, `new_task`
writes a task to begin with. The YAML files of the paper's ten tasks
lie here, and all others in the project's tasks/. A change of what a task may say goes into `schema`. May import `core`
only.
"""

from synthgap.tasks.registry import (
    known_tasks,
    load_profile,
    load_prompt,
    load_task,
    package_tasks,
    paper_order,
    paper_tasks,
    read_profile,
    read_task,
    tasks_in_paper_order,
)
from synthgap.tasks.schema import (
    SPLITS,
    AgreementColumn,
    AnnotatedTexts,
    FileSource,
    FurtherTest,
    HubSource,
    Prompts,
    Task,
)

__all__ = [
    "SPLITS",
    "AgreementColumn",
    "AnnotatedTexts",
    "FileSource",
    "FurtherTest",
    "HubSource",
    "Prompts",
    "Task",
    "known_tasks",
    "load_profile",
    "load_prompt",
    "load_task",
    "package_tasks",
    "paper_order",
    "paper_tasks",
    "read_profile",
    "read_task",
    "tasks_in_paper_order",
]
