"""What the documents say against what is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "RESULTS.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = {
    "layer.py",
    "my_layer.py",
    "my_package/tasks.py",
    "my_extension.py",
    "test_my_extension.py",
    "proposer.py",
}  # files of a user


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_module_that_a_document_names_is_there(document: Path) -> None:
    named = set(re.findall(r"[\w./-]+\.py\b", document.read_text())) - EXAMPLES
    missing = [name for name in named if not any((folder / name).is_file() for folder in (ROOT, ROOT / "evonas"))]
    assert missing == []
