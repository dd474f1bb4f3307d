"""A notebook executed by papermill, and what is kept of it; imported late, as it takes a second."""

import base64
import contextlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.paths import jupyter_runtime_dir
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import papermill_io
from traitlets import default

from synthgap.core.config import Profile
from synthgap.core.errors import SynthgapError
from synthgap.core.files import write_text
from synthgap.core.paths import cache_folder, root
from synthgap.figures import smaller_png
from synthgap.llm.keys import hide_keys
from synthgap.pipeline.validity import stages_of

KERNEL = "python3"  # Jupyter's name for the Python that asks
MEMORY = "memory:"  # how the names of copies begin that are in no file, so that a kill leaves none behind
LINK = re.compile(r"(?<=\]\()(?!https?:|#)[^)#\s]+")  # the file that a link in Markdown leads to
PROGRESS_BAR = re.compile(r"\d+%\||\d+\w+ \[\d\d:\d\d, ")  # of tqdm; the second where there is nothing to do


class StageFailed(SynthgapError):
    """A notebook that did not run to its end."""

    status = 1


class OwnKernel(AsyncKernelManager):
    """A kernel of this Python, whatever kernels of its name lie on Jupyter's paths; it makes no temporary file."""

    @default("kernel_spec_manager")
    def _without_paths(self) -> KernelSpecManager:
        return KernelSpecManager(parent=self, kernel_dirs=[])

    @default("connection_file")
    def _where_jupyter_keeps_them(self) -> str:
        folder = Path(jupyter_runtime_dir())
        folder.mkdir(0o700, parents=True, exist_ok=True)
        return str(folder / f"kernel-synthgap-{os.getpid()}.json")


class Copies(dict[str, str]):
    """The copies of notebooks that run, as papermill writes them: {name: JSON}."""

    def write(self, text: str, path: str) -> None:
        self[path] = text

    def pretty_path(self, path: str) -> str:
        return path


COPIES = Copies()
papermill_io.register(MEMORY, COPIES)


def execute(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Run a notebook in a kernel of its own, see `keep_copy`; StageFailed where a cell failed, or the kernel died."""
    COPIES.clear()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "torch"))  # else a folder in TMPDIR
    # NumPy's: beside a busy process, threads wait for each other. Small products keep to their thread where they are
    # computed, too (threadpool_limits): kernels of JupyterLab and workers do not have this variable
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        with _quiet_papermill():
            papermill.execute_notebook(
                notebook,
                f"{MEMORY}{notebook.name}",
                parameters=dict(parameters),
                kernel_name=KERNEL,
                kernel_manager_class=OwnKernel,
                cwd=root(),
                progress_bar=False,
                stdout_file=sys.stderr,  # progress, which is no result
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
    for name, level in (("papermill", logging.ERROR), ("traitlets", logging.ERROR), ("asyncio", logging.CRITICAL)):
        logging.getLogger(name).setLevel(level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _cell_error(stage: str, error: Any) -> str:
    """The failing cell's error: one sentence for a user's error, the traceback for any other."""
    where = f"{stage} failed in cell {error.exec_count}"
    if error.traceback == SynthgapError(error.evalue)._render_traceback_():
        return f"{where}: {error.evalue}"
    if error.ename == "KeyboardInterrupt":
        return f"{where}: interrupted; what it finished is kept: run again to go on"
    return f"{where}: {error.ename}: {error.evalue}\n" + "\n".join(error.traceback)


def keep_copy(profile: Profile, target: Path) -> None:
    """Write the executed copy, without keys, progress bars, timings and paths; pictures made small, links from there.

    It is its owner's alone where the profile shows real texts.
    """
    if not (copy := next(iter(COPIES.values()), None)):
        return  # never begun
    notebook = nbformat.reads(copy, as_version=4)
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(lambda link: _from_copy(link[0], profile, target), cell.source)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _without_progress(output)]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    picture = smaller_png(base64.b64decode(output.data["image/png"]))
                    output.data["image/png"] = base64.b64encode(picture).decode()
    text = hide_keys(nbformat.writes(notebook) + "\n", profile.llms.values())
    write_text(target, text, private=profile.show_real_texts)


def _from_copy(link: str, profile: Profile, target: Path) -> str:
    """A link of a notebook as its executed copy has it: to the copy beside, where there is to be one, else the file.

    A copy outside of the project keeps its links, as others would name folders of this machine.
    """
    if Path(link).stem in stages_of(profile) or not target.is_relative_to(root()):
        return link
    return Path(os.path.relpath(root() / "notebooks" / link, target.parent)).as_posix()


def _without_progress(output: Any) -> bool:
    """Take the progress bars out of what a cell printed; gives whether anything of the output is left."""
    if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
        return PROGRESS_BAR.search(output.data.get("text/plain", "")) is None
    if output.output_type != "stream":
        return True
    lines = re.split(r"[\r\n]+", output.text)
    output.text = "\n".join(line for line in lines if not PROGRESS_BAR.search(line)).strip()
    return bool(output.text)
