"""Write the README's tables anew from outputs/recorded: `make readme`."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "outputs" / "recorded" / "tables"
BETWEEN = re.compile(
    r"(?<=<!-- table: made by `make readme` from outputs/recorded -->\n).*?(?=<!-- end of table -->)", re.S
)

readme = ROOT / "README.md"
parts = [(TABLES / f"{name}.md").read_text(encoding="utf-8") for name in ("claims", "table_1_finetune_macro_f1")]
tables = ["\n\n".join(part.split("\n\n")[:2]) for part in parts]
text = BETWEEN.sub(lambda _: "\n" + "\n\n".join(tables) + "\n\n", readme.read_text(encoding="utf-8"))
readme.write_text(text, encoding="utf-8")
