"""Execute the notebooks headlessly: check first, believe only the notebook's own success marker, keep a manifest."""

from __future__ import annotations

import ast
import base64
import contextlib
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from synthgap.config import LLMSettings, Profile, load_profile, parse_overrides, root
from synthgap.engine import Engine
from synthgap.errors import SynthgapError, unknown
from synthgap.files import read_json, write_text
from synthgap.manifest import record
from synthgap.report import write_report
from synthgap.stages import (
    STAGES,
    marker_file,
    notebook_file,
    outputs_folder,
    stage_key,
    stage_name,
    stage_state,
)

KERNEL = "python3"
# SynthgapError and its kinds, by name: that is all that a failed cell tells
SAID_IN_A_SENTENCE = {"SynthgapError", "StageFailed", "GridFailed", "WriteFailed", "RequestFailed", "BudgetReached"}
PROGRESS_BAR = re.compile(r"\d+%\|")


class StageFailed(SynthgapError):
    """A notebook that did not run to its end."""


def run(profile_name: str, stages: Sequence[str], sets: Sequence[str] = (), force: bool = False) -> None:
    """Run the stages of a profile, or all of them; what is still valid is passed over unless `force`.

    Raises:
        SynthgapError: something is wrong before the start; nothing was run.
        StageFailed: a notebook failed; those before it stand.
    """
    overrides = parse_overrides(list(sets))
    profile = load_profile(profile_name, overrides)
    chosen = [stage for stage in STAGES if stage in {stage_name(name) for name in stages}] or list(STAGES)
    parameters = {"profile": profile_name, "overrides": overrides}
    fingerprints = check_before_start(profile, chosen, parameters)
    report = outputs_folder(profile) / "report.html"
    for number, stage in enumerate(chosen, start=1):
        state = stage_state(stage, profile)
        place = f"[{number}/{len(chosen)}] {stage}"
        if state == "done" and not force:
            print(f"{place}: done already, nothing changed", flush=True)
            continue
        print(f"{place}: running ({'forced' if state == 'done' else state})", flush=True)
        if stage == STAGES[0] and not isinstance(profile.llm, LLMSettings):
            print(plan(profile), flush=True)
        seconds = run_stage(stage, profile, parameters, fingerprints)
        print(f"{place}: finished in {seconds:.0f} s", flush=True)
        report.unlink(missing_ok=True)
    if not report.is_file():
        write_report(profile)
    print(f"results: {shown_path(report)}")


def check_before_start(profile: Profile, stages: Sequence[str], parameters: dict[str, Any]) -> dict[str, str]:
    """Find whatever can be found wrong before the first notebook starts.

    Returns:
        {task: fingerprint of its real texts}; empty for the hub, whose texts are not fetched before they are needed.
    """
    for stage in stages:
        check_parameters(notebook_file(stage), parameters)
    needed = STAGES[: STAGES.index(stages[-1])]
    for stage in (name for name in needed if name not in stages):
        if (state := stage_state(stage, profile)) != "done":
            raise SynthgapError(
                f"stage {stages[-1]} reads what {stage} writes, and that has to run first ({state}); "
                f"try: synthgap run {profile.name} {' '.join([*STAGES[STAGES.index(stage) : len(needed)], stages[-1]])}"
            )
    Engine.from_environment()
    if STAGES[0] in stages:
        check_llm(profile)
    return {} if profile.data.source == "hub" else check_data(profile)


def check_llm(profile: Profile) -> None:
    """Refuse a recording that is too short, or a live LLM that nobody may ask (no key, no budget, no such model).

    A live LLM whose answers are in the response log already is checked only once an answer is missing there.
    """
    from synthgap.comparison import check_compared
    from synthgap.generation import texts_wanted, turns_needed
    from synthgap.llm import connect
    from synthgap.responses import ResponseLog, log_file
    from synthgap.tasks import load_task

    for name in profile.generation.compare_with:
        check_compared(outputs_folder(profile).parent, name)
    if not isinstance(profile.llm, LLMSettings):
        from synthgap.live import check_before_asking

        if not ResponseLog.holds_answers(log_file(outputs_folder(profile))):
            check_before_asking(profile.llm)
        return
    llm = connect(profile.llm)
    for task in map(load_task, profile.tasks):
        for setting in profile.generation.settings:
            for label in task.labels:
                llm.check_turns(task.name, setting, label, turns_needed(task, texts_wanted(task, profile.generation)))


def plan(profile: Profile, tables: bool = False) -> str:
    """What generation will take, as text; asks a live LLM for a pilot of a few answers.

    Args:
        tables: whether to tell it for each task and setting too, and what training will take, by a pilot here.
    """
    from synthgap.data import load_real
    from synthgap.growth import plan_training
    from synthgap.planning import make_plan
    from synthgap.responses import log_file
    from synthgap.tables import rounded
    from synthgap.tasks import load_task

    real = {task.name: load_real(task, profile) for task in map(load_task, profile.tasks)}
    folder = outputs_folder(profile)
    found = make_plan(profile, real, log_file(folder))
    if not tables:
        return str(found)
    training = plan_training(profile, real, folder / "synthetic", folder / "runs")
    texts, runs = (rounded(found.table, 4), rounded(training.table, 2))
    lines = [texts.to_string(index=False), str(found)]
    return "\n".join([*lines, *([runs.to_string(index=False)] if len(runs) else []), str(training)])


def check_data(profile: Profile) -> dict[str, str]:
    """Load every task's real texts, refusing bad ones; {task: fingerprint}."""
    from synthgap.data import load_real
    from synthgap.tasks import load_task

    fingerprints = {}
    for task in map(load_task, profile.tasks):
        data = load_real(task, profile)
        if "few_shot" in profile.generation.settings:
            for label in task.labels:
                data.few_shot_pool(label)
        fingerprints[task.name] = data.fingerprint
    return fingerprints


def check_parameters(notebook: Path, given: dict[str, Any]) -> None:
    """Refuse a notebook without exactly one cell tagged `parameters`, and parameters which that cell lacks."""
    known = notebook_parameters(notebook)
    for name in given:
        if name not in known:
            raise unknown(f"parameter of {notebook.name}", name, known)


def notebook_parameters(path: Path) -> dict[str, Any]:
    """{name: default} of the notebook's cell tagged `parameters`.

    Raises:
        SynthgapError: no notebook, not exactly one such cell, or something in it that is no literal.
    """
    import nbformat

    if not path.is_file():
        raise SynthgapError(f"notebook '{path.name}' is missing from notebooks/")
    cells = nbformat.read(path, as_version=4).cells
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise SynthgapError(f"notebook '{path.name}' needs exactly one cell tagged 'parameters', and has {len(tagged)}")
    values = {}
    for node in ast.parse(tagged[0].source).body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        try:
            values[target.id] = ast.literal_eval(node.value)  # type: ignore[union-attr]
        except (AttributeError, ValueError) as error:
            raise SynthgapError(
                f"notebook '{path.name}': its cell tagged 'parameters' may hold only 'name: type = literal' "
                f"(line {node.lineno})"
            ) from error
    return values


def run_stage(stage: str, profile: Profile, parameters: dict[str, Any], fingerprints: dict[str, str]) -> float:
    """Execute one notebook into outputs/<profile>/notebooks/ and record it in the manifest; seconds taken."""
    expected = stage_key(stage, profile)
    before = _marker_state(stage, profile)
    executed = outputs_folder(profile) / "notebooks" / f"{stage}.ipynb"
    failed = executed.with_suffix(".failed.ipynb")
    started = time.time()
    with tempfile.TemporaryDirectory() as folder:  # of this process alone: another may run the same profile
        running = Path(folder) / executed.name
        try:
            _execute(notebook_file(stage), running, parameters)
            now = _marker_state(stage, profile)
            if now == before or now[1] != expected:
                raise StageFailed(
                    f"{stage} ended without its success marker: its kernel died, or an input changed meanwhile"
                )
        except BaseException:
            with contextlib.suppress(SynthgapError, OSError):  # the notebook's own error is the one to tell
                _keep(running, failed)
                record(stage, profile, fingerprints, started, success=False)
            raise
        _keep(running, executed)
    failed.unlink(missing_ok=True)
    record(stage, profile, fingerprints, started, success=True)
    return time.time() - started


def _marker_state(stage: str, profile: Profile) -> tuple[int, str | None]:
    """When the success marker was written, in nanoseconds, and its key; (0, None) where there is none."""
    path = marker_file(profile, stage)
    found = read_json(path)
    return (path.stat().st_mtime_ns, found.get("key")) if isinstance(found, dict) else (0, None)


def _execute(notebook: Path, output: Path, parameters: dict[str, Any]) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    try:
        with _quiet_papermill():
            papermill.execute_notebook(
                notebook,
                output,
                parameters=parameters,
                kernel_name=KERNEL,
                cwd=root(),
                progress_bar=False,
                stderr_file=sys.stderr,
                extra_arguments=["--log-level=CRITICAL"],
            )
    except PapermillExecutionError as error:
        raise StageFailed(_cell_error(notebook.stem, error)) from None
    except DeadKernelError:
        raise StageFailed(
            f"{notebook.stem}: its kernel died (out of memory, or killed); what it finished is kept: run again to go on"
        ) from None


@contextlib.contextmanager
def _quiet_papermill() -> Iterator[None]:
    import logging
    import warnings

    for name, level in (("papermill", logging.ERROR), ("traitlets", logging.ERROR), ("asyncio", logging.CRITICAL)):
        logging.getLogger(name).setLevel(level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _cell_error(stage: str, error: Any) -> str:
    """The failing cell's error: one sentence for a user's error, the traceback for any other."""
    where = f"{stage} failed in cell {error.exec_count}"
    if error.ename in SAID_IN_A_SENTENCE:
        return f"{where}: {error.evalue}"
    if error.ename == "KeyboardInterrupt":
        return f"{where}: interrupted; what it finished is kept: run again to go on"
    return f"{where}: {error.ename}: {error.evalue}\n" + "\n".join(error.traceback)


def _keep(running: Path, target: Path) -> None:
    """Write the executed copy to its place, without progress bars, timings and paths; pictures made small."""
    import nbformat

    from synthgap.figures import smaller_png

    try:
        notebook = nbformat.read(running, as_version=4)
    except (OSError, ValueError):  # never begun, or torn while it was written
        return
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if not (output.output_type == "stream" and output.name == "stderr" and _is_progress(output.text))
            ]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    picture = smaller_png(base64.b64decode(output.data["image/png"]))
                    output.data["image/png"] = base64.b64encode(picture).decode()
    write_text(target, nbformat.writes(notebook) + "\n")


def _is_progress(text: str) -> bool:
    return not text.strip() or PROGRESS_BAR.search(text) is not None


# ------------------------------------------------------------------------------------------------------------ status


def status(profile_name: str, sets: Sequence[str] = ()) -> bool:
    """Print what of a profile is done and what is missing; whether all of it is done."""
    profile = load_profile(profile_name, parse_overrides(list(sets)))
    print(f"{profile.name}: {profile.title}")
    states = {stage: stage_state(stage, profile) for stage in STAGES}
    for stage, state in states.items():
        print(f"  {stage:<16} {state if state == 'done' else 'to run: ' + state}")
    training = profile.training
    seeds = sum(len(training.seeds_of(name)) for name in training.classifiers)
    trained = len(list((outputs_folder(profile) / "runs").glob("*.json")))
    print(f"  runs: {len(profile.tasks) * len(training.regimes) * seeds} in the grid, {trained} on disk")
    missing = [stage for stage, state in states.items() if state != "done"]
    if missing:
        print(f"  next: synthgap run {profile_name}" + (" --data DIR" if profile.data.source == "folder" else ""))
    else:
        print(f"  results: {shown_path(outputs_folder(profile) / 'report.html')}")
    return not missing


def shown_path(path: Path) -> Path:
    """A path as it is printed: from here, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
