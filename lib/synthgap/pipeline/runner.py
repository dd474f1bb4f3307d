"""Execute the notebooks headlessly: check first, believe only the notebook's own success marker, keep a manifest."""

import ast
import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError, refuse, unknown
from synthgap.core.paths import command, outputs_folder
from synthgap.generation.live_generation import is_live
from synthgap.pipeline import validity
from synthgap.pipeline.check import check_llms, read_texts
from synthgap.pipeline.code_digest import read_cells
from synthgap.pipeline.manifest import read_manifest, record
from synthgap.tables import OWN_FILES
from synthgap.training.workers import Workers
from synthgap.your_task.files import read_own


def run(profile: Profile, parameters: Mapping[str, Any], stages: Sequence[str] = (), force: bool = False) -> None:
    """Run the stages of a profile, or all of them, and write its report; what is still valid is passed over.

    Args:
        parameters: of the notebooks, from which they load the same profile.
        force: execute valid stages too.

    Raises:
        SynthgapError: something is wrong before the start; nothing was run.
        StageFailed: a notebook failed; those before it stand.
    """
    run_stages(profile, parameters, chosen_stages(stages) if stages else validity.stages_of(profile), force)
    report = outputs_folder(profile) / "report.html"
    if not report.is_file():
        from synthgap.pipeline.report import write_report  # imported late: it draws

        write_report(profile)
    print(f"results: {shown_path(report)}")


def chosen_stages(names: Sequence[str]) -> list[str]:
    """The stages that are named, in their order; all where none is."""
    named = {validity.stage_name(name) for name in names}
    return [stage for stage in validity.STAGES if stage in named] or list(validity.STAGES)


def run_stages(profile: Profile, parameters: Mapping[str, Any], stages: Sequence[str], force: bool = False) -> None:
    """Run stages in their order; see `run`."""
    print(f"{profile.folder_name}: results go into {shown_path(outputs_folder(profile))}", flush=True)
    fingerprints = check_before_start(profile, stages, parameters)
    for number, stage in enumerate(stages, start=1):
        title, state = f"[{number}/{len(stages)}] {stage}", validity.stage_state(stage, profile)
        if validity.cannot_run(stage, profile):
            print(f"{title}: kept: it needs the real texts, which are out of reach", flush=True)
        elif state == "done" and not force:
            print(f"{title}: done already, nothing changed", flush=True)
        else:
            print(f"{title}: running ({'forced' if state == 'done' else state})", flush=True)
            if stage == "01_generation" and is_live(profile):
                from synthgap.pipeline.plan import plan_generation

                print(plan_generation(profile), flush=True)
            seconds = run_stage(stage, profile, parameters, fingerprints)
            print(f"{title}: finished in {seconds:.0f} s", flush=True)
            (outputs_folder(profile) / "report.html").unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------- before the start


def check_before_start(profile: Profile, stages: Sequence[str], parameters: Mapping[str, Any]) -> dict[str, str]:
    """Find whatever can be found wrong before the first notebook starts.

    Returns:
        {task: fingerprint of its real texts}; empty where these are not read here: they are out of reach, or on the
        hub, from which they are not fetched before they are needed.
    """
    for stage in stages:
        check_parameters(validity.notebook_file(stage), parameters)
    _check_earlier_stages(profile, stages)
    read_manifest(profile)
    Workers.from_environment()
    if OWN_FILES in stages and profile.own_files:
        read_own(profile.own_files)
    if _runs_without_texts(profile, stages):
        _check_kept_stages(profile, stages)
        return {}
    faults: list[str] = []
    if "01_generation" in stages:
        check_llms(profile, faults)
    real = {} if profile.data.source == "hub" else read_texts(profile, faults)
    if (more := len(dict.fromkeys(faults)) - 1) > 0:
        faults = [f"{fault} (and {more} more: {command('check', profile)} names them)" for fault in faults[:1]]
    refuse(faults)
    return {name: data.fingerprint for name, data in real.items()}


def _runs_without_texts(profile: Profile, stages: Sequence[str]) -> bool:
    """Whether the real texts are out of reach because nobody asked for them, or no stage needs them."""
    if os.environ.get("SYNTHGAP_NO_DATA"):
        return True
    asked_for = "SYNTHGAP_DATA" in os.environ or any(validity.STAGES[stage].texts == "needed" for stage in stages)
    return not asked_for and not validity.texts_in_reach(profile)


def _check_earlier_stages(profile: Profile, stages: Sequence[str]) -> None:
    last = next((stage for stage in reversed(stages) if validity.STAGES[stage].products), stages[0])
    needed = validity.stages_before(last) if validity.STAGES[last].products else []  # 11 runs alone
    for stage in (name for name in needed if name not in stages):
        if (state := validity.stage_state(stage, profile)) != "done":
            raise SynthgapError(
                f"stage {last} reads what {stage} writes, and that has to run first ({state}); "
                f"try: {command('run', profile, *needed[needed.index(stage) :], last)}"
            )


def _check_kept_stages(profile: Profile, stages: Sequence[str]) -> None:
    for stage in stages:
        if validity.cannot_run(stage, profile) and (state := validity.stage_state(stage, profile)) != "done":
            raise SynthgapError(
                f"stage {stage} has to run ({state}) and needs the real texts, which are out of reach; leave out "
                "--no-data, or name their folder with --data"
            )


def check_parameters(notebook: Path, given: Mapping[str, Any]) -> None:
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
    if not path.is_file():
        raise SynthgapError(f"notebook '{path.name}' is missing from notebooks/")
    tagged = [cell for cell in read_cells(path) if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise SynthgapError(f"notebook '{path.name}' needs exactly one cell tagged 'parameters', and has {len(tagged)}")
    values = {}
    for node in ast.parse("".join(tagged[0]["source"])).body:
        try:
            values[node.target.id] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
        except (AttributeError, ValueError) as error:
            raise SynthgapError(
                f"notebook '{path.name}': its cell tagged 'parameters' may hold only 'name: type = literal' "
                f"(line {node.lineno})"
            ) from error
    return values


# ---------------------------------------------------------------------------------------------------------- one stage


def run_stage(stage: str, profile: Profile, parameters: Mapping[str, Any], fingerprints: dict[str, str]) -> float:
    """Execute one notebook into the profile's notebooks/ and record it in the manifest; gives the seconds taken.

    Raises:
        StageFailed: it did not run to its end, or not on what was there when it began.
    """
    # jsonschema would read a grammar for a second, to check addresses that no notebook has
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    from synthgap.pipeline.notebooks import StageFailed, execute, keep_copy

    expected = validity.determined_by(stage, profile)
    before = _written(stage, profile)
    executed = outputs_folder(profile) / "notebooks" / f"{stage}.ipynb"
    failed = executed.with_suffix(".failed.ipynb")
    started = time.time()
    try:
        execute(validity.notebook_file(stage), parameters)
        if _written(stage, profile) == before:
            raise StageFailed(f"{stage} ended without its success marker: its kernel died, or its last cell is missing")
        if (validity.read_marker(stage, profile) or {}).get("determined_by") != expected:
            validity.marker_file(profile, stage).unlink(missing_ok=True)  # it names inputs that were not read
            raise StageFailed(f"an input of {stage} changed while it ran; the same command runs it again")
    except BaseException:
        with contextlib.suppress(SynthgapError, OSError):  # the notebook's own error is the one to tell
            keep_copy(profile, failed)
            record(stage, profile, fingerprints, started, success=False)
        raise
    try:
        keep_copy(profile, executed)
        failed.unlink(missing_ok=True)
        record(stage, profile, fingerprints, started, success=True)
    except BaseException:  # such as a full disk: else it would count as done, without its notebook
        validity.marker_file(profile, stage).unlink(missing_ok=True)
        raise
    return time.time() - started


def _written(stage: str, profile: Profile) -> int:
    """When the profile's own success marker was written, in nanoseconds; 0 where there is none."""
    path = validity.marker_file(profile, stage)
    return path.stat().st_mtime_ns if path.is_file() else 0


def shown_path(path: Path) -> Path:
    """A path as it is printed: from here, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
