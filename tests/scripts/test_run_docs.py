"""``scripts/run_docs.py`` on a document written here; the oracle is what its blocks say. Then the real documents."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import run_docs

DOCUMENT = """# Title

```sh
echo one > made.txt
```

```python
# mine.py
VALUE = 2
```

```python
import mine
assert mine.VALUE + int(open("made.txt").read() == "one\\n") == 3
```

<!-- needs: a download -->
```sh
exit 1
```

<!-- needs: 5 minutes -->
```sh
exit 2
```

```python
mine.MISSING
```

```toml
a = 1
a = 2
```

```text
not run
```
"""


def outcomes(folder: Path, *, long: bool) -> list[tuple[str, str]]:
    session = run_docs.Session(run_docs.ROOT / "README.md", folder, long=long)
    try:
        return [(o.state, o.why) for o in map(session.run, run_docs.blocks(DOCUMENT))]
    finally:
        session.close()


def test_blocks_run_in_order_in_one_folder_and_say_what_failed(tmp_path: Path) -> None:
    found = outcomes(tmp_path, long=False)
    assert [state for state, _ in found] == [*["passed"] * 3, "skipped", "skipped", "failed", "failed", "skipped"]
    assert found[3][1] == "needs a download"
    assert "AttributeError" in found[5][1]
    assert "overwrite" in found[6][1]


def test_blocks_that_need_minutes_run_when_asked_for(tmp_path: Path) -> None:
    found = outcomes(tmp_path, long=True)
    assert [state for state, _ in found[3:5]] == ["skipped", "failed"]
    assert found[4][1].startswith("exit status 2")


@pytest.mark.parametrize("document", run_docs.documents(), ids=lambda path: str(path.relative_to(run_docs.ROOT)))
def test_every_fence_of_the_documents_is_found(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert 2 * len(list(run_docs.blocks(text))) == sum(line.lstrip().startswith("```") for line in text.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("document", run_docs.documents(), ids=lambda path: str(path.relative_to(run_docs.ROOT)))
def test_every_block_of_the_documents_runs(document: Path) -> None:
    failed = [o for o in run_docs.run_document(document, long=False) if o.state == "failed"]
    assert not failed, "\n".join(f"{o.document}:{o.block.line} {o.why}" for o in failed)
