"""Write anew what the README says was found, and its table, from outputs/recorded: `make readme`."""

import re
from pathlib import Path

import pandas as pd

from synthgap.tables import unescape_csv

ROOT = Path(__file__).resolve().parents[1]
CLASSIFIER = "finetune"
FURTHER = {"answers_09_prompts": "Nuance or the source?", "answers_08_llms": "Does it last?"}  # table: question
TABLES = ROOT / "outputs" / "recorded" / "tables"
BETWEEN = re.compile(
    r"(?<=<!-- table: made by `make readme` from outputs/recorded -->\n).*?(?=<!-- end of table -->)", re.S
)

readme = ROOT / "README.md"
caption, rows, *_ = (TABLES / f"table_1_{CLASSIFIER}_macro_f1.md").read_text(encoding="utf-8").split("\n\n")
claims = pd.read_csv(TABLES / "claims.csv").query("classifier == @CLASSIFIER")
found = "\n".join(f"- *{row.question}* {unescape_csv(row.answer)}" for row in claims.itertuples())
answers = [pd.read_csv(TABLES / f"{table}.csv").query("question == @asked") for table, asked in FURTHER.items()]
further = "\n".join(f"- *{row.question}* {unescape_csv(row.answer)}" for row in pd.concat(answers).itertuples())
beyond = "Beyond the paper, of the probe (the report begins with these and further ones):"
parts = ["", f"Found over all tasks, {CLASSIFIER}:", found, beyond, further, caption, rows, ""]
text = BETWEEN.sub(lambda _: "\n\n".join(parts).removeprefix("\n"), readme.read_text(encoding="utf-8"))
readme.write_text(text, encoding="utf-8")
