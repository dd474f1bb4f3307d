"""The command line: `synthgap run PROFILE [STAGE ...]`, `synthgap status PROFILE`, `synthgap readme`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

KEPT = "what is finished is kept: run the same command again to go on"


def parser() -> argparse.ArgumentParser:
    main_parser = argparse.ArgumentParser(
        prog="synthgap", description="Can text written by an LLM replace real training data?"
    )
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a profile's notebooks; what is still valid is passed over")
    run.add_argument("profile", metavar="PROFILE", help="a name in configs/ or the path of a profile")
    run.add_argument(
        "stages", nargs="*", metavar="STAGE", help="01_generation, 02_training, 03_evaluation; default: all"
    )
    run.add_argument("--force", action="store_true", help="execute notebooks though they are valid; runs are kept")
    status = commands.add_parser("status", help="say what of a profile is done and what is missing")
    status.add_argument("profile", metavar="PROFILE", help="a name in configs/ or the path of a profile")
    for command in (run, status):
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
        return 130


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
    runner.run(given.profile, given.stages, given.sets, given.force)
    return 0


if __name__ == "__main__":
    sys.exit(main())
