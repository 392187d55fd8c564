"""The shell of pages. Oracles: the HTML parser of Python, JSON, and digests computed by hand."""

import base64
import hashlib
import json
from html.parser import HTMLParser

import pytest

from evonas.interface.run_page import SCRIPTS
from evonas.report.page.page import charting_library, html_page, static

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> & \u2028 \u2029"


class Elements(HTMLParser):
    """The elements of a page, in their order: tag, attributes, text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)


def test_hostile_data_stay_in_their_element_and_come_back_as_they_were() -> None:
    page = html_page(HOSTILE, {"name": HOSTILE}, ["let one = 1;"], "p { margin: 0 }")
    scripts = [(attributes, text) for tag, attributes, text in Elements(page).found if tag == "script"]
    assert len(scripts) == 2
    assert scripts[0][0] == {"id": "data", "type": "application/json"}
    assert json.loads(scripts[0][1]) == {"name": HOSTILE}
    assert not {"img"} & {tag for tag, *_ in Elements(page).found}


def test_only_the_scripts_of_the_page_may_run_and_nothing_may_connect() -> None:
    page = html_page("title", {}, ["let one = 1;", 'let two = "</script>";'], "")
    scripts = [text.strip() for tag, attributes, text in Elements(page).found if tag == "script" and not attributes]
    assert scripts[1] == 'let two = "<\\/script>";'
    (policy,) = [a["content"] or "" for tag, a, _ in Elements(page).found if "http-equiv" in a]
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert allowed["script-src"] == " ".join(f"'sha256-{one}'" for one in digests)
    assert allowed["default-src"] == "'none'"
    assert "http" not in policy


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        html_page("title", {"score": float("nan")}, [], "")


def test_no_script_makes_elements_from_text() -> None:
    reading = ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function")
    texts = {name: static(name) for name in SCRIPTS}
    assert {name: word for name, text in texts.items() for word in reading if word in text} == {}
    assert "Plotly" in charting_library()
