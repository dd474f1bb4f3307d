"""The command line: `synthgap run`, `plan`, `status`, `report`, `annotate`, `responses`, `publish` and `readme`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from synthgap.config import Profile

STOPPED = 130  # the status after a Ctrl-C
KEPT = "what is finished is kept: run the same command again to go on"


def parser() -> argparse.ArgumentParser:
    main_parser = argparse.ArgumentParser(
        prog="synthgap", description="Can text written by an LLM replace real training data?"
    )
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a profile's notebooks; what is still valid is passed over")
    run.add_argument("profile", metavar="PROFILE", help="a name in configs/ or the path of a profile")
    run.add_argument("stages", nargs="*", metavar="STAGE", help="e.g. 02_training, training or 02; default: all")
    run.add_argument("--force", action="store_true", help="execute notebooks though they are valid; runs are kept")
    run.add_argument("--engine", choices=("local", "dask"), help="where fine-tuning runs (default: this machine)")
    run.add_argument("--workers", metavar="N", help="runs at a time (default: one or more a GPU, or one a core)")
    run.add_argument("--address", metavar="URL", help="of the Dask scheduler, e.g. tcp://10.0.0.1:8786")
    plan = commands.add_parser("plan", help="estimate what a live LLM and fine-tuning will take, from a pilot")
    plan.add_argument("profile", metavar="PROFILE", help="a name in configs/ or the path of a profile")
    status = commands.add_parser("status", help="say what of a profile is done and what is missing")
    status.add_argument("profile", metavar="PROFILE", help="a name in configs/ or the path of a profile")
    report = commands.add_parser("report", help="write outputs/<profile>/report.html anew from what was run")
    report.add_argument("profile", metavar="PROFILE", help="a name in configs/ or the path of a profile")
    publish = commands.add_parser("publish", help="write the synthetic texts as a data set with its card")
    publish.add_argument("profile", metavar="PROFILE", help="a name in configs/ or the path of a profile")
    publish.add_argument("--to", metavar="DIR", help="where to (default: outputs/<profile>/dataset/)")
    publish.add_argument("--licence", default="unknown", metavar="NAME", help="the card's licence, as the Hub names it")
    publish.add_argument("--push", metavar="OWNER/NAME", help="upload it to the Hugging Face Hub")
    for command in (run, plan, status, report, publish, *_annotate(commands), *_responses(commands)):
        command.add_argument("--data", metavar="DIR", help="folder of the real sets (source 'folder'; default: data/)")
        command.add_argument("--output", metavar="DIR", help="where results go (default: outputs/)")
        command.add_argument(
            "--set",
            dest="sets",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="e.g. training.seeds=[0]; repeatable",
        )
    commands.add_parser("readme", help="write the README's results anew from outputs/recorded")
    return main_parser


def _annotate(commands: Any) -> list[argparse.ArgumentParser]:
    annotate = commands.add_parser("annotate", help="let people judge texts or tasks: items out, answers in")
    steps = annotate.add_subparsers(dest="step", required=True, metavar="STEP")
    export = steps.add_parser("export", help="write items as CSV and for Label Studio")
    export.add_argument("what", metavar="TASK", help="a task's name, or 'pairs' to compare tasks with each other")
    export.add_argument("--items", type=int, metavar="N", help="how many test texts (default: 80, or all if fewer)")
    export.add_argument("--to", metavar="DIR", help="where to (default: outputs/<profile>/annotations/export/)")
    read = steps.add_parser("import", help="read answers from CSV or Label Studio's JSON export")
    read.add_argument("file", metavar="FILE")
    read.add_argument("--skip-malformed", action="store_true", help="store the well-formed rows of a faulty file")
    for step in (export, read):
        step.add_argument("--profile", default="demo", metavar="PROFILE", help="whose texts (default: demo)")
    return [export, read]


def _responses(commands: Any) -> list[argparse.ArgumentParser]:
    responses = commands.add_parser("responses", help="a live LLM's answers: out as a recording, back into the log")
    steps = responses.add_subparsers(dest="step", required=True, metavar="STEP")
    export = steps.add_parser("export", help="write the answers that were used as JSON Lines")
    export.add_argument("--to", metavar="DIR", help="where to (default: outputs/<profile>/recording/)")
    read = steps.add_parser("import", help="read exported answers: what is there is not asked for again")
    read.add_argument("files", nargs="+", metavar="FILE")
    for step in (export, read):
        step.add_argument("--profile", required=True, metavar="PROFILE", help="whose answers")
    return [export, read]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 for success, 1 for a failed notebook, 2 for a user's error, 130 for Ctrl-C."""
    from synthgap.errors import SynthgapError

    keep_ctrl_c()
    try:
        given = parser().parse_args(arguments)
        return _carry_out(given)
    except SynthgapError as error:
        print(f"synthgap: {error}", file=sys.stderr)
        return 1 if type(error).__name__ == "StageFailed" else 2
    except OSError as error:
        print(f"synthgap: {error.filename or 'a file'}: {_reason(error)}; {KEPT}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to be stopped
        print(f"\nsynthgap: stopped; {KEPT}", file=sys.stderr)
        return STOPPED


def keep_ctrl_c() -> None:
    """Deliver a Ctrl-C again that fell into a callback, where Python would print it and go on."""
    original, main_thread = sys.unraisablehook, threading.get_ident()

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            threading.Timer(0.05, signal.pthread_kill, (main_thread, signal.SIGINT)).start()
        else:
            original(unraisable)

    sys.unraisablehook = hook


def _reason(error: OSError) -> str:
    from synthgap.files import OUT_OF_SPACE

    return "the disk is full" if error.errno in OUT_OF_SPACE else str(error.strerror or error)


def _carry_out(given: argparse.Namespace) -> int:
    from synthgap import runner
    from synthgap.config import load_profile, parse_overrides
    from synthgap.errors import SynthgapError

    if given.command == "readme":
        from synthgap.readme import write_readme

        write_readme()
        return 0
    profile = load_profile(given.profile, parse_overrides(given.sets))
    if given.data and profile.data.source != "folder":
        raise SynthgapError(
            f"--data names a folder, and profile '{profile.name}' takes its real texts from '{profile.data.source}'; "
            "leave --data out, or add --set data.source=folder"
        )
    for variable, folder in (("SYNTHGAP_DATA", given.data), ("SYNTHGAP_OUTPUTS", given.output)):
        if folder:
            os.environ[variable] = str(Path(folder).absolute())
    if given.command == "status":
        runner.status(given.profile, given.sets)
        return 0
    if given.command == "plan":
        print(runner.plan(profile, tables=True))
        return 0
    if given.command == "report":
        from synthgap.report import write_report

        print(runner.shown_path(write_report(profile)))
        return 0
    if given.command == "annotate":
        return _carry_out_annotate(given, profile)
    if given.command == "publish":
        return _carry_out_publish(given, profile)
    if given.command == "responses":
        return _carry_out_responses(given, profile)
    for name in ("engine", "workers", "address"):
        if value := getattr(given, name):
            os.environ[f"SYNTHGAP_{name.upper()}"] = value
    runner.run(given.profile, given.stages, given.sets, given.force)
    return 0


def _carry_out_annotate(given: argparse.Namespace, profile: Profile) -> int:
    from synthgap import annotate
    from synthgap.runner import shown_path
    from synthgap.stages import outputs_folder

    folder = outputs_folder(profile)
    if given.step == "import":
        print(annotate.import_file(Path(given.file), folder, given.skip_malformed))
        return 0
    target = Path(given.to) if given.to else folder / "annotations" / "export"
    for path in annotate.export(given.what, profile, target, given.items):
        print(shown_path(path))
    return 0


def _carry_out_publish(given: argparse.Namespace, profile: Profile) -> int:
    from synthgap.publish import publish, push
    from synthgap.runner import shown_path
    from synthgap.stages import outputs_folder

    folder = Path(given.to) if given.to else outputs_folder(profile) / "dataset"
    for path in publish(profile, folder, given.licence):
        print(shown_path(path))
    if given.push:
        print(push(folder, given.push))
    return 0


def _carry_out_responses(given: argparse.Namespace, profile: Profile) -> int:
    from synthgap.responses import ResponseLog, export_recording, import_recording, log_file
    from synthgap.runner import shown_path
    from synthgap.stages import outputs_folder

    folder = outputs_folder(profile)
    with ResponseLog(log_file(folder)) as log:
        if given.step == "import":
            new, known = import_recording(log, [Path(name) for name in given.files])
            print(f"{new} new answers, {known} already known")
            return 0
        for path in export_recording(log, Path(given.to) if given.to else folder / "recording"):
            print(shown_path(path))
    return 0


def command() -> NoReturn:
    """`main` as a process; after a Ctrl-C it ends at once: a second one during Python's own end changed the status."""
    status = main()
    if status == STOPPED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    command()
