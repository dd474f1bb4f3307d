"""The README's results, made from the files of outputs/recorded so that no number in it is typed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from synthgap.config import Profile, root
from synthgap.errors import SynthgapError
from synthgap.files import read_json, write_text
from synthgap.report import alt_text
from synthgap.tables import REGIME_TITLES, seeds_shown, values_shown

if TYPE_CHECKING:
    import pandas as pd

SHOWN_FIGURES = ("accuracy_by_agreement_human", "diversity")
FURTHER_TABLES = ("worth", "agreement_models", "foresight", "diversity_over_tasks", "contamination")
BLOCK = re.compile(r"(?<=<!-- results: made by `make readme` -->\n).*?(?=<!-- end of results -->)", re.DOTALL)


def results_block(folder: Path) -> str:
    """What was found in sentences, Table 1 of every classifier in macro-F1, Table 2 of people, and three figures.

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
    figures = "\n\n".join(
        f"![{alt_text(name)}](outputs/{folder.name}/figures/{name}.png)" for name in ("gap_by_task", *SHOWN_FIGURES)
    )
    found = [f"- {sentence}" for sentence in (*sentences(folder / "tables"), *further_sentences(folder / "tables"))]
    shown = [path.read_text(encoding="utf-8") for path in (*tables, folder / "tables" / "table_2_human.md")]
    return "\n".join(["", lead, "", *found, "", *shown, figures, "", ""])


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
        median = f"{rows['gap'].median():+.1f}".replace("-", "−")
        found.append(
            f"{classifier}, {REGIME_TITLES[str(regime)].lower()}: worse than real on {(sure < 0).sum()} of {len(rows)} "
            f"tasks and better on {(sure > 0).sum()} (Holm-corrected p < 0.05), median gap {median} points; Spearman's "
            f"rho with the paper's order of subjectivity (unverified) {_interval(rho, low, high)}, "
            f"p = {p:.3f}."
        )
    return found


def further_sentences(folder: Path) -> list[str]:
    """What 04 and 05 found: disagreement among people, foresight, diversity, contamination; from their CSV files."""
    import pandas as pd

    read = {name: pd.read_csv(folder / f"{name}.csv") for name in FURTHER_TABLES}
    return [
        *_on_worth(read["worth"]),
        *_on_disagreement(read["agreement_models"]),
        *_on_foresight(read["foresight"]),
        *_on_diversity(read["diversity_over_tasks"]),
        _on_contamination(read["contamination"]),
    ]


def _on_worth(worth: pd.DataFrame) -> list[str]:
    """A sentence a classifier and regime, at the size in the middle of each task's learning curve."""
    from synthgap.curves import at_middle_size

    found = []
    for (classifier, regime), rows in at_middle_size(worth).groupby(["classifier", "regime"], sort=False):
        sizes, seeds = values_shown(rows["texts_per_label"]), seeds_shown(rows)
        median, below = rows["worth"].median(), int((rows["worth"] == 0).sum())
        sure = int((rows["high"] < 1).sum())
        value = f"about {median:.2f}"
        if median in {0, float("inf")}:  # on most tasks only a bound is known
            value = f"less than {rows['least'].max():.2f}" if median == 0 else f"more than {rows['most'].min():.2f}"
        found.append(
            f"{classifier}, {REGIME_TITLES[str(regime)].lower()}: at {sizes} texts a label one synthetic text is worth "
            f"{value} real ones (median of {len(rows)} tasks, seeds: {seeds}); the interval lies below 1 on "
            f"{sure} of them, and on {below} the score is below that of the smallest real set."
        )
    return found


def _on_disagreement(models: pd.DataFrame) -> list[str]:
    human = models[models["source"].str.startswith("human") & models["odds_ratio"].notna()]
    found = []
    for classifier, rows in human.groupby("classifier", sort=False):
        sure = rows[rows["p_holm"] < 0.05]
        more, less = (
            part.groupby("term").size() for part in (sure[sure["odds_ratio"] > 1], sure[sure["odds_ratio"] < 1])
        )
        synthetic = [
            f"{REGIME_TITLES[regime].lower()} suffers more from disagreement than real does in "
            f"{more.get(f'{regime} x agreement', 0)} and less in {less.get(f'{regime} x agreement', 0)}"
            for regime in ("zero_shot", "few_shot")
        ]
        found.append(
            f"{classifier}, {rows['source'].nunique()} sources of human agreement (Holm-corrected p < 0.05): texts "
            f"that people agree on are easier for the classifier trained on real texts in {more.get('agreement', 0)} "
            f"and harder in {less.get('agreement', 0)}; {'; '.join(synthetic)}."
        )
    return found


def _on_foresight(foresight: pd.DataFrame) -> list[str]:
    return [
        f"Agreement as the LLM estimated it, against people's bands ({row.n} items of {row.task}): Spearman's rho "
        f"{_interval(row.rho, row.low, row.high)}. One task; the estimates' level was given to the LLM as a range."
        for row in foresight.itertuples()
    ]


def _on_diversity(over_tasks: pd.DataFrame) -> list[str]:
    found = []
    for row in over_tasks[over_tasks["metric"].isin(["remote_clique", "chamfer"])].itertuples():
        title = {"remote_clique": "Remote-Clique", "chamfer": "Chamfer"}[row.metric]
        found.append(
            f"Diversity, {REGIME_TITLES[row.regime].lower()} less real, {title}: "
            f"{_interval(row.difference, row.low, row.high, 3)} over {row.tasks} tasks, lower than real in "
            f"{row.lower_in} of them."
        )
    return found


def _on_contamination(summary: pd.DataFrame) -> str:
    return (
        f"Near-duplicates between {summary['synthetic_texts'].sum():,} synthetic texts and the real test splits: "
        f"{summary['pairs'].sum()} pairs."
    )


def _interval(value: float, low: float, high: float, digits: int = 2) -> str:
    numbers = [f"{number:+.{digits}f}".replace("-", "−") for number in (value, low, high)]
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"


def write_readme() -> Path:
    """Put the results between the README's two markers."""
    readme = root() / "README.md"
    text = readme.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        raise SynthgapError("README.md lacks the two markers that the results stand between")
    return write_text(readme, BLOCK.sub(lambda _: results_block(root() / "outputs" / "recorded"), text))
