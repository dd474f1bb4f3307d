"""What each command of the command line does; `__main__` reads the command line itself.

What draws, or computes much, is imported late, so that the others need not wait for it.
"""

import argparse
import contextlib
import os
import re
import textwrap
from itertools import product
from pathlib import Path

from filelock import Timeout

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError, unknown
from synthgap.core.files import write_text
from synthgap.core.paths import base_folder, command, outputs_folder
from synthgap.generation.labelling import label_profile
from synthgap.llm.backends import connect
from synthgap.llm.recorded import export_recording, import_recording
from synthgap.llm.response_log import ResponseLog, log_file
from synthgap.pipeline import runner
from synthgap.pipeline.check import check
from synthgap.pipeline.publish import publish, push
from synthgap.pipeline.runner import shown_path
from synthgap.pipeline.stages import saved_table
from synthgap.pipeline.validity import finished_in, stage_state, stages_of, texts_in_reach, with_what_is_there
from synthgap.pipeline.verify import verify
from synthgap.training.store import finished_runs, lock
from synthgap.your_task.arguments import labelled_file
from synthgap.your_task.unlabelled import label_file

SIZE = re.compile(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)")


def carry_out(given: argparse.Namespace, profile: Profile) -> None:
    """Do what the command line says, with the profile that it names."""
    commands = {
        "run": _run,
        "check": _check,
        "plan": _plan,
        "status": _status,
        "report": _report,
        "compare": _compare,
        "figure": _figure,
        "verify": lambda given, profile: verify(profile, given.profile, given.stages, given.force),
        "annotate": _annotate,
        "label": _label,
        "publish": _publish,
        "responses": _responses,
    }
    commands[given.command](given, with_what_is_there(profile))


def _check(_: argparse.Namespace, profile: Profile) -> None:
    for line in check(profile):
        print(line, flush=True)


def _run(given: argparse.Namespace, profile: Profile) -> None:
    runner.run(profile, {"profile": given.profile, "overrides": given.overrides}, given.stages, given.force)


def _compare(given: argparse.Namespace, profile: Profile) -> None:
    """Run notebook 11 on own files, of which nothing leaves the folder that git ignores, and print the verdict."""
    folder = outputs_folder(profile)
    write_text(folder / ".gitignore", "*\n")
    os.environ["SYNTHGAP_CACHE"] = str(folder / "cache")  # embeddings of their texts, too
    with contextlib.ExitStack() as until_done:
        try:
            until_done.enter_context(lock(folder, "compare").acquire(timeout=0))
        except Timeout:
            raise SynthgapError(
                f"another compare writes into {shown_path(folder)}; wait for its end, or choose another --name"
            ) from None
        if given.unlabelled and profile.own_files:
            print(label_file(profile, profile.own_files, Path(given.unlabelled), labelled_file(profile.name, given)))
        _run(argparse.Namespace(stages=[], force=False, **vars(given)), profile)
        for row in saved_table("verdict", profile).itertuples():
            by = f" ({row.classifier})" if row.classifier in profile.training.classifiers else ""
            print("\n" + textwrap.fill(f"{row.verdict}{by}"))


def _status(given: argparse.Namespace, profile: Profile) -> None:
    """Print what of a profile is done and what is missing."""
    print(f"{profile.folder_name}: {profile.title}")
    states = {stage: stage_state(stage, profile) for stage in stages_of(profile)}
    for stage, state in states.items():
        print(f"  {stage:<16} {state if state == 'done' else 'to run: ' + state}")
    trained = len(finished_runs(finished_in("02_training", profile) / "runs"))
    print(f"  runs: {_planned_runs(profile)} in the grid, {trained} on disk")
    if all(state == "done" for state in states.values()):
        print(f"  results: {shown_path(outputs_folder(profile) / 'report.html')}")
    else:
        unknown_folder = profile.data.source == "folder" and not given.data and not texts_in_reach(profile)
        print(f"  next: {command('run', profile)}" + (" --data DIR" if unknown_folder else ""))


def _planned_runs(profile: Profile) -> int:
    """Runs of the grid, if every recording and every corpus has texts."""
    training, runs = profile.training, 0
    for comparison in profile.comparisons.values():
        for task, corpus in product(profile.tasks_of(comparison), comparison.members):
            recordings = profile.recordings(corpus)
            classifiers = training.classifiers_of(task, comparison)
            runs += sum(len(training.seeds_of(name, recordings, comparison)) * recordings for name in classifiers)
    return runs


def _plan(_: argparse.Namespace, profile: Profile) -> None:
    from synthgap.pipeline.plan import plan

    print(plan(profile))


def _report(_: argparse.Namespace, profile: Profile) -> None:
    from synthgap.pipeline.report import write_report

    print(shown_path(write_report(profile)))


def _figure(given: argparse.Namespace, profile: Profile) -> None:
    from synthgap.figures import FORMS
    from synthgap.pipeline.drawings import write_figure

    ending = Path(given.to or "").suffix[1:].lower()
    form = given.format or ending or "pdf"
    if form not in FORMS:
        raise unknown("format of figures", form, FORMS)
    if ending not in {"", form}:
        raise SynthgapError(f"--to ends in .{ending} and --format says {form}; leave one of them out")
    target = Path(given.to or f"{given.figure}.{form}").absolute()
    print(shown_path(write_figure(given.figure, profile, target, form, _size(given.size) if given.size else None)))


def _size(text: str) -> tuple[float, float]:
    """Width and height in inches."""
    numbers = SIZE.fullmatch(text)
    size = (float(numbers[1]), float(numbers[2])) if numbers else (0, 0)
    if not all(1 <= length <= 100 for length in size):
        raise SynthgapError(f"--size takes width x height in inches, for example 3.3x2.5, from 1 to 100, not '{text}'")
    return size


def _annotate(given: argparse.Namespace, profile: Profile) -> None:
    from synthgap.subjectivity import collect

    folder = base_folder(profile)
    if given.step == "import":
        print(collect.import_file(Path(given.file), profile, folder, given.skip_malformed))
        return
    target = Path(given.to) if given.to else folder / "annotations" / "export"
    for path in collect.export(given.what, profile, target, given.items):
        print(shown_path(path))


def _label(given: argparse.Namespace, profile: Profile) -> None:
    folder = base_folder(profile)
    print(label_profile(profile, folder, log_file(folder), given.llm, given.items))


def _publish(given: argparse.Namespace, profile: Profile) -> None:
    folder = Path(given.to) if given.to else outputs_folder(profile) / "dataset"
    for path in publish(profile, folder, given.licence):
        print(shown_path(path))
    if given.push:
        print(push(folder, given.push))


def _responses(given: argparse.Namespace, profile: Profile) -> None:
    folder = base_folder(profile)
    with ResponseLog(log_file(folder)) as log:
        if given.step == "import":
            new, known = import_recording(log, [Path(name) for name in given.files])
            print(f"{new} new answers, {known} already known")
            return
        if given.llm and given.llm not in profile.llms:
            raise unknown("LLM", given.llm, profile.llms)
        model = connect(profile.llms[given.llm]).model if given.llm else None
        for path in export_recording(log, Path(given.to) if given.to else folder / "recording", model):
            print(shown_path(path))
