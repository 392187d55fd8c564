"""Archives that are generated. Oracles: the check of archives, a board and a search that take them."""

import runpy
import sys
from typing import Any

import pytest
from command import SCRIPTS

from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.archive.checking import check

SCRIPT: dict[str, Any] = runpy.run_path(str(SCRIPTS / "archive_scale.py"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    found: RunFolder = SCRIPT["generate"](tmp_path_factory.mktemp("scale") / "40", 40, 3)
    return found


def test_a_generated_archive_is_whole(run: RunFolder) -> None:
    found = check(run.archive_file)
    assert found.faults == ()
    assert (found.candidates, found.baselines, found.screened_out) == (40, 3, 120)
    with Archive.open(run.archive_file, read_only=True) as archive:
        stages = {stage for stage, _ in archive.rejection_counts()}
    assert stages == {"structure", "equivalence", "propagation", "quality"}


@pytest.mark.parametrize("name", SCRIPT["MEASURES"])
def test_everything_can_be_measured(run: RunFolder, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)  # which commands are typed into
    found = SCRIPT["measured"](name, run)
    assert found["seconds"] >= 0
    assert found["megabytes"] >= 0
    assert check(run.archive_file).faults == ()
