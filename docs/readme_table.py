"""Write the README's table anew from outputs/recorded: `make readme`."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "outputs" / "recorded" / "tables" / "table_1_finetune_macro_f1.md"
BETWEEN = re.compile(
    r"(?<=<!-- table: made by `make readme` from outputs/recorded -->\n).*?(?=<!-- end of table -->)", re.S
)

readme = ROOT / "README.md"
caption, rows, *_ = TABLE.read_text(encoding="utf-8").split("\n\n")
text = BETWEEN.sub(lambda _: f"\n{caption}\n\n{rows}\n\n", readme.read_text(encoding="utf-8"))
readme.write_text(text, encoding="utf-8")
