"""The command line; `synthgap --help` lists its commands."""

import argparse
import contextlib
import functools
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from synthgap.core.errors import SynthgapError
from synthgap.core.terminal import Terminal

STOPPED = 130  # the status after a Ctrl-C
TLS = {"tls_ca": "the authority's certificate", "tls_cert": "your certificate", "tls_key": "its key"}
PLACES = ("output", "data", "tasks")  # folders that may be named
NOBODY_READS = 141  # the status after a pipe was closed, as of `synthgap status | head`
KEPT = "what is finished is kept: run the same command again to go on"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence, and that takes no empty string for a name, a path or a value."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", None, _filled)

    def error(self, message: str) -> NoReturn:
        raise SynthgapError(f"{message}; see {self.prog} --help")


def _filled(text: str) -> str:
    if text.strip():
        return text
    raise argparse.ArgumentTypeError("it is empty; give a value, or leave it out")


def parser() -> Parser:
    main_parser = Parser(prog="synthgap", description="Can text written by an LLM replace real training data?")
    commands = _words(main_parser, "command")
    profile = _options("profile", metavar="PROFILE", help="a name in configs/ or the path of a profile")
    common = [profile, _places(), _changes()]
    run = commands.add_parser("run", parents=common, help="run a profile's notebooks; what is still valid is kept")
    run.add_argument(
        "stages", nargs="*", default=[], metavar="STAGE", help="e.g. 02_training, training or 02; default: all"
    )
    run.add_argument("--force", action="store_true", help="execute notebooks though they are valid; runs are kept")
    run.add_argument("--no-data", action="store_true", help="show what was measured on the real texts before")
    run.add_argument("--workers", metavar="N", help="runs at a time (default: one or more a GPU, or one a core)")
    run.add_argument(
        "--address", metavar="URL", help="train on a Dask cluster; its scheduler, e.g. tcp://10.0.0.1:8786"
    )
    for name, what in TLS.items():
        run.add_argument(f"--{name.replace('_', '-')}", metavar="FILE", help=f"of a cluster with TLS: {what}")
    commands.add_parser(
        "check", parents=common, help="name everything at once that a profile lacks: tasks, texts, LLMs"
    )
    commands.add_parser("plan", parents=common, help="estimate what a live LLM and fine-tuning will take, by a pilot")
    commands.add_parser("status", parents=common, help="say what of a profile is done and what is missing")
    commands.add_parser("report", parents=common, help="write outputs/<profile>/report.html anew from what was run")
    verify = commands.add_parser(
        "verify", parents=[profile, _places()], help="regenerate committed results without data, and compare the tables"
    )
    verify.add_argument("stages", nargs="*", default=[], metavar="STAGE", help="default: all that need no real texts")
    verify.add_argument("--force", action="store_true", help="regenerate them though nothing changed since")
    publish = commands.add_parser("publish", parents=common, help="write the generated texts as a data set with a card")
    publish.add_argument("--to", metavar="DIR", help="where to (default: outputs/<profile>/dataset/)")
    publish.add_argument("--licence", default="unknown", metavar="NAME", help="the card's licence, as the Hub names it")
    publish.add_argument("--push", metavar="OWNER/NAME", help="upload it to the Hugging Face Hub")
    _add_compare(commands)
    _add_figure(commands)
    _add_annotate(commands)
    _add_responses(commands)
    label = commands.add_parser("label", parents=common, help="let a live LLM label real texts, for a labelled corpus")
    label.add_argument("--llm", metavar="NAME", help="who labels, where the profile has several live LLMs")
    label.add_argument(
        "--items", type=int, default=200, metavar="N", help="texts a task of each split, train and test (default: 200)"
    )
    _add_task(commands)
    return main_parser


def _words(of: Parser, name: str) -> Any:
    """What a parser's commands, or a command's steps, are added to."""
    words = of.add_subparsers(dest=name, required=True, metavar=name.upper())
    words.type = str  # what stands behind a command is checked by its own parser
    return words


def _options(*names: str, **about: Any) -> Parser:
    """A parser of one argument, to be a part of others."""
    part = Parser(add_help=False)
    part.add_argument(*names, **about)
    return part


def _places() -> Parser:
    places = _options("--output", metavar="DIR", help="where results go (default: outputs/)")
    places.add_argument("--tasks", metavar="DIR", help="folder of your own tasks (default: tasks/)")
    return places


def _changes() -> Parser:
    changes = _options("--data", metavar="DIR", help="folder of the real sets (source 'folder'; default: data/)")
    changes.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="e.g. training.seeds=[0]; repeatable",
    )
    changes.add_argument(
        "--name", dest="variant", metavar="NAME", help="of what --set changes: outputs/<profile>-NAME/"
    )
    return changes


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare", parents=[_places()], help="say whether an LLM's texts in a file are good enough for your classifier"
    )
    compare.add_argument("--real", metavar="FILE", help="real texts: CSV, TSV, JSON Lines or Parquet; may be left out")
    compare.add_argument(
        "--synthetic",
        action="append",
        default=[],
        metavar="[NAME=]FILE[,FILE...]",
        help="an LLM's texts, repeatable; several files of a name were written by one recipe",
    )
    compare.add_argument(
        "--unlabelled", metavar="FILE", help="real texts that --llm labels first, and are compared, too"
    )
    compare.add_argument(
        "--llm", metavar="LLM", help="who labels: settings as in a profile, '{model: NAME, base_url: URL}'"
    )
    compare.add_argument("--test", metavar="FILE", help="real texts to test on (default: a part of --real)")
    for column in ("text", "label"):
        compare.add_argument(
            f"--{column}-column",
            default=column,
            metavar="NAME",
            help=f"default: {column}; A,B: what a file has of these",
        )
    compare.add_argument("--margin", type=float, default=2.0, metavar="POINTS", help="of macro-F1, as good as (2)")
    compare.add_argument("--finetune", action="store_true", help="fine-tune MiniLM, too; takes much longer")
    compare.add_argument("--name", dest="variant", metavar="NAME", help="of the results: outputs/NAME/ (your_task)")


def _add_figure(commands: Any) -> None:
    profile = _options("--profile", default="recorded", metavar="PROFILE", help="whose figure (default: recorded)")
    figure = commands.add_parser(
        "figure", parents=[profile, _places(), _changes()], help="write one figure, drawn from a profile's saved tables"
    )
    figure.add_argument("figure", metavar="NAME", help="for example gap_by_task")
    figure.add_argument("--size", metavar="WxH", help="in inches, e.g. 3.3x2.5 (default: as in the notebook)")
    figure.add_argument("--format", metavar="NAME", help="pdf, png or svg (default: as --to ends, else pdf)")
    figure.add_argument("--to", metavar="FILE", help="where to (default: NAME.<format> in this folder)")


def _add_annotate(commands: Any) -> None:
    annotate = commands.add_parser("annotate", help="let people judge texts or tasks: items out, answers in")
    steps = _words(annotate, "step")
    profile = _options("--profile", default="demo", metavar="PROFILE", help="whose texts (default: demo)")
    common = [profile, _places(), _changes()]
    export = steps.add_parser("export", parents=common, help="write items as CSV and for Label Studio")
    export.add_argument("what", metavar="TASK", help="a task's name, or 'pairs' to compare tasks with each other")
    export.add_argument("--items", type=int, metavar="N", help="how many test texts (default: 80, or all if fewer)")
    export.add_argument("--to", metavar="DIR", help="where to (default: outputs/<profile>/annotations/export/)")
    read = steps.add_parser("import", parents=common, help="read answers from CSV or Label Studio's JSON export")
    read.add_argument("file", metavar="FILE")
    read.add_argument("--skip-malformed", action="store_true", help="store the well-formed rows of a faulty file")


def _add_responses(commands: Any) -> None:
    responses = commands.add_parser("responses", help="a live LLM's answers: out as a recording, back into the log")
    steps = _words(responses, "step")
    profile = _options("--profile", required=True, metavar="PROFILE", help="whose answers")
    common = [profile, _places(), _changes()]
    export = steps.add_parser("export", parents=common, help="write the answers that were used as JSON Lines")
    export.add_argument("--to", metavar="DIR", help="where to (default: outputs/<profile>/recording/)")
    export.add_argument("--llm", metavar="NAME", help="whose answers, where several LLMs of the profile share the log")
    read = steps.add_parser(
        "import", parents=common, help="read exported answers, so that they are not asked for again"
    )
    read.add_argument("files", nargs="+", metavar="FILE")


def _add_task(commands: Any) -> None:
    steps = _words(commands.add_parser("task", help="a task of your own: begin its file"), "step")
    new = steps.add_parser("new", help="write a commented file for a task; nothing is overwritten")
    new.add_argument("name", metavar="NAME", help="small letters, digits and _")
    new.add_argument("--labels", required=True, metavar="A,B", help="as your data call them, set apart by commas")
    new.add_argument("--about", metavar="SENTENCE", help="on the texts, which the prompts begin with")
    new.add_argument("--tasks", metavar="DIR", help="where to (default: tasks/)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 for success, 1 for what failed, 2 for a user's error, or STOPPED or NOBODY_READS."""
    keep_ctrl_c()
    with contextlib.redirect_stdout(Terminal(sys.stdout)), contextlib.redirect_stderr(Terminal(sys.stderr)):
        try:
            try:
                _carry_out(parser().parse_args(arguments))
            finally:
                sys.stdout.flush()  # here, where a closed pipe is no error
            return 0
        except SynthgapError as error:
            print(f"synthgap: {error}", file=sys.stderr)
            return error.status
        except BrokenPipeError:
            with contextlib.suppress(OSError):  # what is still to be written goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return NOBODY_READS
        except OSError as error:
            print(f"synthgap: {error.filename or 'a file'}: {_reason(error)}; {KEPT}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to be stopped
            print(f"\nsynthgap: stopped; {KEPT}", file=sys.stderr)
            return STOPPED
        except Exception:  # printed here, where keys are hidden
            traceback.print_exc()
            return 1


def keep_ctrl_c() -> None:
    """Deliver a Ctrl-C again that fell into a callback, where Python would print it and go on."""
    original, main_thread = sys.unraisablehook, threading.get_ident()

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            threading.Timer(0.05, signal.pthread_kill, (main_thread, signal.SIGINT)).start()
        else:
            original(unraisable)

    sys.unraisablehook = hook


def _reason(error: OSError) -> str:
    from synthgap.core.files import OUT_OF_SPACE

    return "the disk is full" if error.errno in OUT_OF_SPACE else str(error.strerror or error)


def _carry_out(given: argparse.Namespace) -> None:
    """Load the profile, which costs little and finds most errors, and only then what the command needs."""
    no_data = getattr(given, "no_data", given.command == "verify")
    _set_environment(given, no_data)
    if given.command == "task":
        return _begin_task(given)
    from synthgap.core.config import parse_overrides
    from synthgap.core.paths import bundled, root
    from synthgap.llm.keys import hide_keys
    from synthgap.tasks import load_profile, read_profile

    overrides = parse_overrides(getattr(given, "sets", []))
    if given.command == "compare":
        from synthgap.your_task.arguments import overrides_of

        given.profile, overrides = str(bundled("your_task", "profile.yaml")), overrides_of(given)
    elif variant := getattr(given, "variant", None):
        overrides["variant"] = variant
    profile = (read_profile if given.command == "check" else load_profile)(given.profile, overrides)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Terminal):
            stream.hide = functools.partial(hide_keys, llms=tuple(profile.llms.values()))
    data = getattr(given, "data", None)
    if data and no_data:
        raise SynthgapError("--data names the real texts, and --no-data does without them; leave one of them out")
    if data and profile.data.source != "folder":
        raise SynthgapError(
            f"--data names a folder, and profile '{profile.name}' takes its real texts from '{profile.data.source}'; "
            "leave --data out, or add --set data.source=folder"
        )
    if given.profile.endswith((".yaml", ".yml")):  # as notebooks find it, which run in the project's folder
        given.profile = os.path.relpath(os.path.realpath(given.profile), os.path.realpath(root()))

    from synthgap.pipeline.commands import carry_out

    given.overrides = overrides
    carry_out(given, profile)


def _begin_task(given: argparse.Namespace) -> None:
    from synthgap.tasks.new_task import new_task

    path = new_task(given.name, given.labels, given.about)
    where = f" --tasks {shlex.quote(given.tasks)}" if given.tasks else ""
    print(f"{os.path.relpath(path)} is written. Next (docs/own_task.md shows it all):")
    print("1. read it, and say in its prompts how long the texts are")
    print(f"2. put the real texts into {given.name}.csv in the data folder: columns id, text, label, split")
    print(f"3. name the task in a profile of configs/, and see what it lacks: synthgap check PROFILE{where}")


def _set_environment(given: argparse.Namespace, no_data: bool) -> None:
    """Write what notebooks, workers and hints need of the command line into the environment, where they read it."""
    from synthgap.core.paths import root

    options = {name: str(getattr(given, name, None) or "") for name in (*PLACES, "workers", "address", *TLS)}
    paths = {name: str(Path(options[name]).absolute()) for name in (*PLACES, *TLS) if options[name]}
    named = [
        *((f"--{name}", options[name]) for name in PLACES),
        ("--name", getattr(given, "variant", None) or ""),
    ]
    named += [("--set", pair) for pair in getattr(given, "sets", [])]
    values = {name.upper(): value for name, value in {**options, **paths}.items()}
    values |= {"OUTPUTS": values.pop("OUTPUT"), "NO_DATA": "1" if no_data else "", "HOME": str(root())}
    if profile := getattr(given, "profile", None):
        values["GIVEN"] = shlex.join([profile, *(word for one in named if one[1] for word in one)])
    for name, value in values.items():
        if value:
            os.environ[f"SYNTHGAP_{name}"] = value


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
