"""The README's results, made from the files of outputs/recorded so that no number in it is typed."""

from __future__ import annotations

import re
from pathlib import Path

from synthgap.config import Profile, root
from synthgap.errors import SynthgapError
from synthgap.files import read_json, write_text

BLOCK = re.compile(r"(?<=<!-- results: made by `make readme` -->\n).*?(?=<!-- end of results -->)", re.DOTALL)


def results_block(folder: Path) -> str:
    """Table 1 of every classifier in macro-F1 and the gap figure, as Markdown with their notes.

    Raises:
        SynthgapError: the folder has no tables yet.
    """
    tables = sorted((folder / "tables").glob("table_1_*_macro_f1.md"))
    manifest = read_json(folder / "manifest.json")
    if not tables or not manifest:
        raise SynthgapError("outputs/recorded has no tables yet; run: synthgap run recorded --data DIR")
    title = Profile.model_validate(manifest["profile"]).title
    lead = (
        f"From `outputs/{folder.name}/` ({title}): a small-scale rerun with another LLM and smaller encoders than the "
        "paper's, with few texts a label. It is no check of the paper's figures."
    )
    alt = "Gap in macro-F1 between synthetic and real training texts, by task"
    figure = f"![{alt}](outputs/{folder.name}/figures/gap_by_task.png)"
    return "\n".join(["", lead, "", *(path.read_text(encoding="utf-8") for path in tables), figure, "", ""])


def write_readme() -> Path:
    """Put the results between the README's two markers."""
    readme = root() / "README.md"
    text = readme.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        raise SynthgapError("README.md lacks the two markers that the results stand between")
    return write_text(readme, BLOCK.sub(lambda _: results_block(root() / "outputs" / "recorded"), text))
