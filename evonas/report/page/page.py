"""The shell of a page: one HTML file that holds its styles, its scripts and its data, and asks for nothing else.

Data are JSON in a script element that no browser runs, and reach what is shown as text alone. The content security
policy of a page names the digests of its scripts, so that no other script can run, and forbids every connection.
"""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from evonas.extras import require_package

_ESCAPED = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_POLICY = (
    "default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>
{styles}</style>
</head>
<body>
<noscript>This page computes what it shows, which needs JavaScript.</noscript>
<main id="page"></main>
<script id="data" type="application/json">{data}</script>
{scripts}
</body>
</html>
"""


def html_page(title: str, data: Any, scripts: Sequence[str], styles: str) -> str:
    """The text of a page.

    Args:
        title: what the browser calls it.
        data: whatever JSON can hold; the scripts find it in the element ``data``.
        scripts: the texts of scripts, run in this order at the end of the page.
        styles: the text of a style sheet.
    """
    safe = [script_text(script) for script in scripts]
    return _PAGE.format(
        policy=_POLICY.format(digests=" ".join(map(digest, safe)) or "'none'"),
        title=html.escape(title),
        styles=styles,
        data=json_text(data),
        scripts="\n".join(f"<script>{script}</script>" for script in safe),
    )


def json_text(data: Any) -> str:
    """Data as JSON of plain ASCII, without a character that could end or open an element; nan and inf are refused."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).translate(_ESCAPED)


def script_text(script: str) -> str:
    """A script that does not end its own element: within strings and patterns both forms mean the same."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def digest(script: str) -> str:
    """How a content security policy names a script that may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def static(name: str) -> str:
    """The text of a style sheet or a script beside this module."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def charting_library() -> str:
    """The script of plotly.js, which the package plotly holds.

    Raises:
        InputError: that package is not installed.
    """
    require_package("plotly", "evonas report")
    return files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
