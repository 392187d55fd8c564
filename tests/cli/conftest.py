"""A finished run that the tests of the command line look at, copy and compare with; none of them changes it."""

from pathlib import Path

import pytest
from command import status_of

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run with one worker, seed 1, never interrupted."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    assert status_of("search", TINY, "--run", run, "--set", "protocols.quality.min_accuracy=0.0") == 0
    return run
