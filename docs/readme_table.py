"""Write anew what the README says was found, and its table, from outputs/recorded: `make readme`."""

import re
from pathlib import Path

import pandas as pd

from synthgap.tables import unescape_csv

ROOT = Path(__file__).resolve().parents[1]
CLASSIFIER = "finetune"
TABLES = ROOT / "outputs" / "recorded" / "tables"
BETWEEN = re.compile(
    r"(?<=<!-- table: made by `make readme` from outputs/recorded -->\n).*?(?=<!-- end of table -->)", re.S
)

readme = ROOT / "README.md"
caption, rows, *_ = (TABLES / f"table_1_{CLASSIFIER}_macro_f1.md").read_text(encoding="utf-8").split("\n\n")
claims = pd.read_csv(TABLES / "claims.csv").query("classifier == @CLASSIFIER")
found = "\n".join(f"- *{row.question}* {unescape_csv(row.answer)}" for row in claims.itertuples())
parts = ["", f"Found over all tasks, {CLASSIFIER}:", found, caption, rows, ""]
text = BETWEEN.sub(lambda _: "\n\n".join(parts).removeprefix("\n"), readme.read_text(encoding="utf-8"))
readme.write_text(text, encoding="utf-8")
