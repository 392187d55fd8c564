"""How `make docs` builds the pages and the API reference: Sphinx reads the Markdown as it lies in the repository.

The folder of sources is the root of the repository, so that relative links between pages, records and code hold.
"""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import evonas

ROOT = Path(__file__).parents[1]

project = "evonas"
author = copyright = "the evonas authors"  # noqa: A001 - names of Sphinx's
release = evonas.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/**",
    "evonas/studies/*/README.md",
    "runs/README.md",
    "runs/kept/**/*.md",
    "tests/README.md",
]
html_theme = "furo"
html_title = "evonas"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_custom_sections = ["Shapes", "Source", "Sources"]

LINK = re.compile(r"\]\(([^)\s:#]+)\)")
MOMENT = re.compile(r"\b(mean|rms|std)\[(\w+)\]\(")
MATH = re.compile(r"(?<![\\$\w])\$([^$\n]+)\$")


def read_markdown(app: Sphinx, name: str, source: list[str]) -> None:
    """A link to a folder leads to the README in it, as it does where Markdown is shown in a repository.

    Records of runs and the lab notebook are reached by links and are in no table of contents. Their formulas stand
    between words, where ``std[ghw](x)`` would be a link.
    """
    here = (ROOT / name).parent

    def changed(found: re.Match[str]) -> str:
        return f"]({found[1]}/README.md)" if (here / found[1] / "README.md").is_file() else found[0]

    source[0] = LINK.sub(changed, source[0])
    if name.startswith("runs/kept/") or name == "LOG":
        source[0] = "---\norphan: true\n---\n" + MOMENT.sub(r"\1\[\2](", source[0])


def write_math(app: Sphinx, kind: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    r"""Formulas between dollars in docstrings are those of reStructuredText: ``:math:`x` ``."""
    lines[:] = [MATH.sub(r":math:`\1`", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read_markdown)
    app.connect("autodoc-process-docstring", write_math)
