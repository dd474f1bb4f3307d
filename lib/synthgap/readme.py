"""The README's results, made from the files of outputs/recorded so that no number in it is typed."""

from __future__ import annotations

import re
from pathlib import Path

from synthgap.config import Profile, root
from synthgap.errors import SynthgapError
from synthgap.files import read_json, write_text
from synthgap.tables import REGIME_TITLES

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
    found = [f"- {sentence}" for sentence in sentences(folder / "tables")]
    shown = [path.read_text(encoding="utf-8") for path in tables]
    return "\n".join(["", lead, "", *found, "", *shown, figure, "", ""])


def sentences(folder: Path) -> list[str]:
    """What the gaps in macro-F1 say, a sentence a classifier and regime, from gaps.csv and gap_by_subjectivity.csv."""
    import pandas as pd

    gaps = pd.read_csv(folder / "gaps.csv")
    gaps = gaps[(gaps["metric"] == "macro_f1") & (gaps["baseline"] == "real")]
    correlations = pd.read_csv(folder / "gap_by_subjectivity.csv").set_index(["classifier", "regime"])
    found = []
    for (classifier, regime), rows in gaps.groupby(["classifier", "regime"], sort=False):
        sure = rows[rows["p_holm"] < 0.05]["gap"]
        rho, low, high, p = correlations.loc[(classifier, regime), ["rho", "low", "high", "p"]]
        numbers = [f"{value:+.2f}".replace("-", "−") for value in (rho, low, high)]
        median = f"{rows['gap'].median():+.1f}".replace("-", "−")
        found.append(
            f"{classifier}, {REGIME_TITLES[str(regime)].lower()}: worse than real on {(sure < 0).sum()} of {len(rows)} "
            f"tasks and better on {(sure > 0).sum()} (Holm-corrected p < 0.05), median gap {median} points; Spearman's "
            f"rho with the paper's order of subjectivity (unverified) {numbers[0]} [{numbers[1]}, {numbers[2]}], "
            f"p = {p:.3f}."
        )
    return found


def write_readme() -> Path:
    """Put the results between the README's two markers."""
    readme = root() / "README.md"
    text = readme.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        raise SynthgapError("README.md lacks the two markers that the results stand between")
    return write_text(readme, BLOCK.sub(lambda _: results_block(root() / "outputs" / "recorded"), text))
