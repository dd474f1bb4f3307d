"""The book, for Sphinx (`make book`): README, the notebooks as they were executed, docs/, and what these link to."""

import importlib.util
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax" / "tex-svg.js"
EXECUTED = {  # profile: what a reader has to know of its notebooks
    "recorded": "",
    "demo": "*Executed with the profile `demo`: real texts are a stand-in, and numbers are evidence of nothing.*",
    "": "*Not executed: the results here do not have this notebook.*",
}
FROM_COPY = re.compile(r"(?<=\]\()\.\./\.\./\.\./(notebooks/)?")  # with what links of executed copies begin
CONTENTS = {
    "Notebooks": ["/notebooks/*"],
    "Use it": ["docs/own_data", "docs/own_task", "docs/profiles", "docs/live_llms", "docs/teaching"],
    "Understand it": ["docs/reading_results", "docs/statistics", "docs/answers"],
    "Speed": ["docs/training_time", "docs/fine_tuning", "docs/clusters", "benchmarks/RESULTS"],
    "Look it up": ["docs/faults", "docs/odd_answers", "/lib/synthgap/bundled/**", "CONTRIBUTING", "CHANGELOG"],
}

project = html_title = "synthgap"
author = "the synthgap developers"
extensions = ["myst_nb", "sphinx.ext.mathjax"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "notebooks/*.ipynb", "benchmarks/*.md", "lib/synthgap/bundled/**/*.md"]
nitpicky = True

myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "off"
nb_render_markdown_format = "gfm"
nb_code_prompt_show, nb_code_prompt_hide = "Show the solution", "Hide the solution"

# Nothing is fetched when a page is read: MathJax is a file of the site, and there are no widgets.
nb_ipywidgets_js = {}
mathjax_path = MATHJAX.name
html_static_path = [str(MATHJAX), "book.css"]
html_css_files = ["book.css"]

html_theme = "sphinx_book_theme"
html_theme_options = {"home_page_in_toc": True, "use_download_button": False, "navbar_persistent": []}
html_context = {"default_mode": "auto"}
html_copy_source = html_show_copyright = False


def read(app, docname: str, source: list[str]) -> None:
    """Put the table of contents below README, and a notebook's executed copy in its place."""
    if docname == root_doc:
        source[0] += "".join(
            f"\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n" + "\n".join(pages) + "\n```\n"
            for caption, pages in CONTENTS.items()
        )
    if docname.startswith("notebooks/"):
        copies = {profile: ROOT / "outputs" / profile / f"{docname}.ipynb" for profile in EXECUTED}
        profile = next(name for name, path in copies.items() if not name or path.exists())
        notebook = json.loads(copies[profile].read_text(encoding="utf-8") if profile else source[0])
        for cell in notebook["cells"]:
            cell["source"] = FROM_COPY.sub(lambda found: "" if found[1] else "../", "".join(cell["source"]))
        if EXECUTED[profile]:
            notebook["cells"].insert(
                1, {"cell_type": "markdown", "id": "executed", "metadata": {}, "source": EXECUTED[profile]}
            )
        source[0] = json.dumps(notebook)


def open_in_place(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Let links to files, such as report.html, show them in place of saving them."""
    context["body"] = context.get("body", "").replace(' download=""', "")


def setup(app) -> None:
    app.connect("source-read", read)
    app.connect("html-page-context", open_in_place)
