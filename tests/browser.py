"""A real browser, without a window: what a page holds after its scripts ran. Debian's Chromium, if it is installed."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from evonas.report.page.page import digest

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="apt-get install chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--virtual-time-budget=8000")
REPORT = """
const written = (value) => (typeof value === "number" && !Number.isFinite(value) ? String(value) : value);
const report = (found) => {
  const node = document.createElement("pre");
  node.id = "found";
  node.textContent = JSON.stringify(found, (_, value) => written(value));
  document.body.append(node);
};
"""


def dumped(file: Path, fragment: str = "", *flags: str) -> str:
    """The elements of a page, as text, after its scripts ran.

    Args:
        file: the page.
        fragment: what follows the # of its address.
        flags: more of the browser's.
    """
    profile = f"--user-data-dir={file.parent / 'profile'}"
    address = file.resolve().as_uri() + (f"#{fragment}" if fragment else "")
    command = ["chromium", *FLAGS, profile, *flags, "--dump-dom", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def found_by(script: str, page: str, file: Path, fragment: str = "") -> Any:
    """What a script finds in a page: what it hands to ``report``; its digest is added to what may run there.

    Args:
        script: run after all scripts of the page.
        page: text of the page.
        file: where its copy with the script goes.
        fragment: what follows the # of its address.
    """
    added = REPORT + script
    copy = page.replace("script-src ", f"script-src {digest(added)} ", 1)
    file.write_text(copy.replace("</body>", f"<script>{added}</script></body>", 1), encoding="utf-8")
    return found_in(dumped(file, fragment))


def found_in(page: str) -> Any:
    """What ``report`` was given; numbers that JSON lacks are texts."""
    match = re.search(r'<pre id="found">(.*?)</pre>', page, re.S)
    assert match, "the script did not come to its end"
    return json.loads(html.unescape(match[1]))
