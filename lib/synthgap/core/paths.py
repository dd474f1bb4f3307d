"""Where things are: the project, its data and outputs, and what the package brings along."""

import os
import shlex
from pathlib import Path

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError

PACKAGE = Path(__file__).resolve().parents[1]


class NoProject(SynthgapError):
    """There is no project here."""


def root() -> Path:
    """The folder of the project: SYNTHGAP_HOME, or the nearest one above with configs/ and notebooks/."""
    if home := os.environ.get("SYNTHGAP_HOME"):
        return Path(home).absolute()
    here = Path.cwd()
    for folder in (here, *here.parents, *PACKAGE.parents):
        if (folder / "configs").is_dir() and (folder / "notebooks").is_dir():
            return folder
    raise NoProject(
        f"no synthgap project at or above '{here}': go to its folder, or name it in the variable SYNTHGAP_HOME"
    )


def bundled(*parts: str) -> Path:
    """A file or folder of the package's bundled data."""
    return PACKAGE.joinpath("bundled", *parts)


def data_folder() -> Path:
    """The folder of the source `folder`: SYNTHGAP_DATA (set by --data), or data/ in the project."""
    return Path(os.environ.get("SYNTHGAP_DATA") or root() / "data")


def cache_folder() -> Path:
    """SYNTHGAP_CACHE, or synthgap/ in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SYNTHGAP_CACHE") or Path(base) / "synthgap")


def tasks_folder() -> Path:
    """The folder of own tasks: SYNTHGAP_TASKS (set by --tasks), or tasks/ in the project."""
    return Path(os.environ.get("SYNTHGAP_TASKS") or root() / "tasks")


def outputs_folder(profile: Profile) -> Path:
    """outputs/<profile>, or outputs/<profile>-<variant>; below SYNTHGAP_OUTPUTS (set by --output) or in the project."""
    return outputs() / profile.folder_name


def base_folder(profile: Profile) -> Path:
    """outputs/<profile>, whose answers and runs its variants share."""
    return outputs() / profile.name


def outputs() -> Path:
    """Where the results of all profiles are."""
    return Path(os.environ.get("SYNTHGAP_OUTPUTS") or root() / "outputs")


def known_profiles() -> list[str]:
    return sorted(path.stem for path in (root() / "configs").glob("*.yaml"))


def command(verb: str, profile: Profile, *words: str) -> str:
    """A command line on a profile that can be pasted: with the name or path, and the options, of the one under way."""
    name, *options = shlex.split(os.environ.get("SYNTHGAP_GIVEN", "")) or [profile.name]
    return shlex.join(["synthgap", verb, name, *words, *options])
