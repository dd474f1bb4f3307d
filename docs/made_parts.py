"""Write anew what README and docs/teaching.md take from outputs/recorded and from the notebooks: `make readme`."""

import json
import re
from pathlib import Path

import pandas as pd

from synthgap.tables import format_p, signed, signed_interval
from synthgap.tasks import load_task

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "outputs" / "recorded" / "tables"
OF = {"classifier": "finetune", "metric": "macro_f1", "corpus": "zero_shot", "baseline": "real", "real_labels": 10}
MADE = re.compile(r"(<!-- made by `make readme` from [^>]+ -->\n).*(?=<!-- end -->)", re.S)
EXERCISE = re.compile(r"^\*\*Exercise (\d+)\.\*\* ([^?\n]+\?|[^\n]+)", re.M)


def rows(table: str, **wanted: str) -> pd.DataFrame:
    """The rows of a saved table that are of OF, but for what is wanted otherwise; "" takes all."""
    frame = pd.read_csv(TABLES / f"{table}.csv")
    for column, value in {**OF, **wanted}.items():
        if column in frame and value != "":
            frame = frame[frame[column] == value]
    return frame


def change(row: pd.Series, value: str = "gap", new: str = "new_") -> str:
    """A difference in points with its interval, which no line breaks."""
    interval = signed_interval(row[f"{new}low"], row[f"{new}high"]).replace(" ", "\N{NO-BREAK SPACE}")
    return f"{signed(row[value])} {interval}"


def found() -> str:
    """Three sentences, each with its interval."""
    zero_shot, few_shot = (change(rows("gaps_over_tasks", corpus=one).iloc[0]) for one in ("zero_shot", "few_shot"))
    order = rows("gap_by_subjectivity").iloc[0]
    rho = f"{signed(order['rho'], 2)} {signed_interval(order['low'], order['high'], 2)}"
    verdict = "the loss follows it" if order["p_holm"] < 0.05 else f"{order['n']} tasks cannot tell whether it matters"
    added = rows("strategies_over_tasks", strategy="real + zero_shot").iloc[0]
    return (
        "- **In place of real texts**: trained on zero-shot texts instead of as many real ones, a classifier's score "
        f"changes by {zero_shot} points on average over the tasks; trained on few-shot texts, by {few_shot}.\n"
        "- **By subjectivity**: the correlation of that change with the paper's order of tasks, from the least to the "
        f"most subjective, is {rho} ({format_p(order['p_holm'])} after Holm's correction): {verdict}.\n"
        f"- **Beside real texts**: with {added['real_labels']} real labels of each class, zero-shot texts "
        f"beside them change the score by {change(added, 'gain', '')} points."
    )


def table_1() -> str:
    """Table 1 in small: what real texts give, and what synthetic ones change."""
    real = rows("table_1", corpus="real").set_index("task")["macro_f1"]
    shown = pd.DataFrame({"Real": real.map("{:.1f}".format)})
    for corpus, title in {"zero_shot": "Zero-shot − real", "few_shot": "Few-shot − real"}.items():
        gaps = rows("gaps", corpus=corpus).set_index("task")
        told = gaps["new_p_holm"] < 0.05
        shown[title] = [f"**{change(row)}**" if told[task] else change(row) for task, row in gaps.iterrows()]
    shown.index = pd.Index([load_task(task).title for task in real.index], name="Task")
    return shown.to_markdown(colalign=("left", "right", "right", "right"), disable_numparse=True)


def exercises() -> str:
    """The exercises of each notebook, up to their first question mark."""
    lines = ["| notebook | exercise |", "|---|---|"]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for number, asked in EXERCISE.findall("\n".join("".join(cell["source"]) for cell in cells)):
            lines.append(f"| [{path.stem[:2]}](../notebooks/{path.name}), {number} | {asked.replace('|', '&#124;')} |")
    return "\n".join(lines)


def made() -> dict[Path, str]:
    """Pages that have a made part, with it."""
    return {ROOT / "README.md": f"{found()}\n\n{table_1()}", ROOT / "docs" / "teaching.md": exercises()}


if __name__ == "__main__":
    for page, part in made().items():
        text = MADE.sub(lambda found, part=part: f"{found[1]}\n{part}\n\n", page.read_text(encoding="utf-8"))
        page.write_text(text, encoding="utf-8")
