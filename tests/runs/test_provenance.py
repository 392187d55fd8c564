"""Digests of code and data against edits that do, and that do not, change what is computed.

The oracle for code is the interpreter: two texts have one digest if and only if, docstrings aside, they compile to the
same instructions.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evonas
from evonas.runs import provenance
from evonas.runs.provenance import FOUNDATION, code_digest, digest_of_arrays, source_digest, versions

ROOT = Path(evonas.__file__).parent
CODE = '''"""What it is."""

FACTOR = 2


class Scale:
    """A scale."""

    unit: int = 1
    """What it is measured in."""

    def of(self, x: float) -> float:
        """Twice."""
        return FACTOR * x  # the paper's factor


def name() -> str:
    return "text that is no docstring"
'''


def written(folder: Path, text: str) -> Path:
    file = folder / "module.py"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""What it is."""', '"""Something else."""'),
        ('"""What it is."""\n', ""),
        ('        """Twice."""\n', ""),
        ('"""A scale."""', "'''A ladder.'''"),
        ('    """What it is measured in."""\n', ""),
        ("What it is measured in.", "Of what."),
        ("  # the paper's factor", ""),
        ("FACTOR * x", "(FACTOR  *  x)"),
        ("\n\n\ndef", "\n\n\n\n# a heading\ndef"),
    ],
)
def test_docstrings_comments_and_layout_do_not_change_a_digest(tmp_path: Path, old: str, new: str) -> None:
    assert old in CODE
    before = source_digest(written(tmp_path, CODE))
    assert source_digest(written(tmp_path, CODE.replace(old, new))) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("FACTOR = 2", "FACTOR = 3"),
        ("FACTOR = 2", "FACTOR = 2.0"),
        ("FACTOR * x", "x * FACTOR"),
        ("unit: int = 1", "unit: int = 2"),
        ("that is no docstring", "that is read"),
        ("class Scale:", "class Scale(object):"),
        ('    """A scale."""\n', "    unit = 1\n"),
    ],
)
def test_whatever_the_interpreter_would_see_changes_a_digest(tmp_path: Path, old: str, new: str) -> None:
    assert old in CODE
    before = source_digest(written(tmp_path, CODE))
    assert source_digest(written(tmp_path, CODE.replace(old, new))) != before


def test_a_function_of_a_docstring_alone_has_a_digest(tmp_path: Path) -> None:
    file = written(tmp_path, 'def hold() -> None:\n    """Nothing."""\n')
    assert len(source_digest(file)) == 64


@pytest.mark.parametrize("edited", ["config/search.py", "seeding.py", "training/fit.py", "search/rungs.py"])
def test_every_file_that_computes_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str) -> None:
    copy = tmp_path / "evonas"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "_ROOT", copy)
    code_digest.cache_clear()
    before = code_digest("search")
    assert code_digest("search") == before
    with (copy / edited).open("a") as file:
        file.write("\nADDED = 1\n")
    code_digest.cache_clear()
    assert code_digest("search") != before
    code_digest.cache_clear()


def test_the_digest_of_a_study_does_not_hang_on_the_others() -> None:
    assert len({code_digest(), code_digest("search"), code_digest("studies/stability")}) == 3
    assert all((ROOT / part).exists() for part in FOUNDATION)


def test_a_part_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match="reserch"):
        code_digest("reserch")


def test_another_process_gives_the_same_digest() -> None:
    program = "from evonas.runs.provenance import code_digest; print(code_digest('search'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == code_digest("search")


def test_arrays_are_known_by_shape_type_values_and_order() -> None:
    first, second = np.arange(6, dtype=np.float32), np.arange(6, dtype=np.int32)
    found = [
        digest_of_arrays(arrays)
        for arrays in (
            [first, second],
            [second, first],
            [first],
            [first.reshape(2, 3)],
            [first.view(np.int32)],
            [first + 1],
            [],
        )
    ]
    assert len(set(found)) == len(found)
    assert digest_of_arrays([np.arange(12, dtype=np.float32)[::2]]) == digest_of_arrays([2 * first])


def test_versions_are_those_of_the_modules_and_import_none_of_them() -> None:
    import numpy
    import torch

    found = versions()
    assert found["numpy"] == numpy.__version__
    assert found["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert versions(("no-such-package",))["no-such-package"] == "not installed"
    program = (
        "import sys; from evonas.runs.provenance import COMPUTING, versions\n"
        "before = set(sys.modules); versions(); print(set(COMPUTING) & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
