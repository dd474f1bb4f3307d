"""Whether the committed results of a profile come out again: stages regenerated without data, tables compared."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.paths import base_folder, command
from synthgap.pipeline.runner import chosen_stages, run_stages, shown_path
from synthgap.pipeline.validity import STAGES, finished_in, marker_file, products_of, stage_state, stages_of

VARIANT = "check"
DIGITS = 6  # with which tables are written
NOTHING = 1e-12  # numbers closer to each other than this are equal


class TablesDiffer(SynthgapError):
    """Regenerated tables that are not the committed ones."""

    status = 1


def verify(committed: Profile, name: str, stages: Sequence[str] = (), force: bool = False) -> None:
    """Regenerate stages into outputs/<profile>-check/, and say whether their tables are the committed ones.

    Args:
        name: by which notebooks load the profile.
        stages: by default all that can run without the real texts.
        force: regenerate them though nothing has changed since they were.

    Raises:
        SynthgapError: a stage cannot run without the real texts, or has no results that could be compared.
        TablesDiffer: saying which tables are not the same.
    """
    profile = committed.changed({"variant": VARIANT})
    chosen = (
        chosen_stages(stages) if stages else [stage for stage in stages_of(profile) if STAGES[stage].texts != "needed"]
    )
    for stage in chosen:
        if STAGES[stage].texts == "needed":
            raise SynthgapError(f"stage {stage} needs the real texts, and only what follows it is verified")
        if not products_of(stage, committed):
            way_out = command("run", committed)
            raise SynthgapError(f"profile '{committed.name}' has no results of stage {stage} yet; run: {way_out}")
    outdated = [stage for stage in chosen if force or not _is_regenerated(stage, profile, committed)]
    for stage in chosen:
        if stage not in outdated:
            print(f"{stage}: regenerated before, nothing changed since", flush=True)
    if outdated:
        run_stages(profile, {"profile": name, "overrides": {"variant": VARIANT}}, outdated, force=True)
    saved = {stage: (_saved_tables(stage, profile), _saved_tables(stage, committed)) for stage in chosen}
    names = [(stage, name) for stage, both in saved.items() for name in sorted({*both[0], *both[1]})]
    differences = {name: difference(*(tables.get(name) for tables in saved[stage])) for stage, name in names}
    differing = [f"{name} ({how})" for name, how in differences.items() if how]
    print(f"report: {shown_path(base_folder(profile) / 'report.html')}")
    if differing:
        raise TablesDiffer(
            f"{len(differing)} of {len(names)} tables differ from the committed ones: {'; '.join(differing)}"
        )
    print(f"all {len(names)} tables of {', '.join(chosen)} equal the committed ones")


def _is_regenerated(stage: str, profile: Profile, committed: Profile) -> bool:
    """Whether a stage was regenerated since its committed results were written, and still holds."""
    own, theirs = marker_file(profile, stage), marker_file(committed, stage)
    newer = own.is_file() and own.stat().st_mtime_ns > theirs.stat().st_mtime_ns
    return newer and stage_state(stage, profile) == "done"


def _saved_tables(stage: str, profile: Profile) -> dict[str, pd.DataFrame]:
    """{name: table} of what a finished stage saved."""
    folder = finished_in(stage, profile)
    paths = [folder / name for name in products_of(stage, profile) if name.startswith("tables/")]
    return {path.stem: pd.read_csv(path) for path in paths if path.suffix == ".csv"}


def difference(table: pd.DataFrame | None, committed: pd.DataFrame | None) -> str:
    """How a table differs from the committed one, in words; "" where it does not.

    Numbers are the same where they are in the six digits that are written, but for a unit of the last one.
    """
    if table is None or committed is None:
        return "not written any more" if table is None else "not committed"
    if list(table) != list(committed):
        return f"columns {', '.join(table)} instead of {', '.join(committed)}"
    if len(table) != len(committed):
        return f"{len(table)} rows instead of {len(committed)}"
    for column in table:
        differing = np.flatnonzero(~_same(table[column], committed[column]))
        if differing.size:
            row = differing[0]
            return (
                f"column {column}: {differing.size} of {len(table)} cells, the first in row {row + 1}: "
                f"{table[column].iloc[row]} instead of {committed[column].iloc[row]}"
            )
    return ""


def _same(values: pd.Series, committed: pd.Series) -> np.ndarray:
    if not (pd.api.types.is_numeric_dtype(values) and pd.api.types.is_numeric_dtype(committed)):
        return (values.astype(object).map(str) == committed.astype(object).map(str)).to_numpy()
    ours, theirs = values.to_numpy(float), committed.to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = 10 ** (np.floor(np.log10(np.maximum(abs(ours), abs(theirs)))) - (DIGITS - 1))
        close = (abs(ours - theirs) <= np.maximum(1.01 * unit, NOTHING)) & np.isfinite(ours - theirs)
    return (ours == theirs) | (np.isnan(ours) & np.isnan(theirs)) | close
