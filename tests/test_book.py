"""The book is built without a warning, and a page of it fetches nothing from the network."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT

pytest.importorskip("myst_nb", reason="the extra `book` is not installed: `make book` does it")


@pytest.mark.slow
def test_the_book_has_every_page_and_is_read_without_a_network(tmp_path):
    book = tmp_path / "html"
    build = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--conf-dir", "docs"]
    done = subprocess.run([*build, ".", book], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    for page in pages:
        text = (book / page.relative_to(ROOT)).with_suffix(".html").read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=\"(?:https?:)?//[^\"]*", text)
        assert not fetched, page.name
    for styles in (book / "_static").rglob("*.css"):
        assert not re.search(r"(url\(|@import )\W*(https?:)?//\w", styles.read_text(encoding="utf-8")), styles.name
