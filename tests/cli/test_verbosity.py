"""``--quiet``, ``--verbose`` and the log of a run, on a search of two candidates."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
SHORT = ("--budget", 2, "--set", "training.steps=2", "--set", "protocols.quality.steps=1")
SHORT += ("--set", "protocols.quality.min_accuracy=0.0", "--set", "evolution.look_ahead=1")
Outcome = tuple[int, str, str]


@pytest.mark.parametrize("how", ["", "--quiet", "--verbose"])
def test_how_much_is_said_beside_the_results(how: str, tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    run = tmp_path / "run"
    status, out, err = evonas(*filter(None, [how]), "search", TINY, "--run", run, *SHORT)
    assert status == 0, err
    assert "stopped: the budget is used up" in out
    assert ("baseline gn-relu: " in err) == (how != "--quiet")
    assert ("DEBUG candidate 1, " in err) == (how == "--verbose")
    assert how != "--quiet" or not err
    log = (run / "log.txt").read_text()
    words = ("started: ", "INFO baseline gn-relu: ", "INFO stopped: the budget is used up", "INFO ended")
    assert sorted(words, key=log.index) == list(words)
    assert ("candidate 1, " in log) == (how == "--verbose")
    logger = logging.getLogger("evonas")
    assert not any(handler for handler in logger.handlers if not isinstance(handler, logging.NullHandler))
    assert logger.level == logging.NOTSET


def test_errors_are_said_also_when_quiet(evonas: Callable[..., Outcome]) -> None:
    status, _, err = evonas("--quiet", "show", "nothing.json")
    assert (status, "nothing.json: no such file" in err) == (2, True)


def test_quiet_and_verbose_exclude_each_other(evonas: Callable[..., Outcome]) -> None:
    status, _, err = evonas("-q", "-v", "show", "bn-relu")
    assert (status, "--verbose" in err) == (2, True)
