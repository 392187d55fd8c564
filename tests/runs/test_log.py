"""The log of a run's folder. Oracle: what was said while the folder was held, in order."""

import logging
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from evonas.errors import InputError
from evonas.runs.log import LOG, last_ending, log_settings, logged

STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (\w+) (.*)")


def entries(folder: Path) -> list[tuple[str, str]]:
    """Level and text of every line that begins an entry."""
    found = map(STAMP.fullmatch, (folder / LOG).read_text().splitlines())
    return [(match[1], match[2]) for match in found if match]


def test_sessions_follow_each_other_with_their_command_settings_warnings_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: shown.append(str(message)))
    with logged(tmp_path):
        log_settings('name = "tiny"\n[run]\nsteps = 3\n')
        logging.getLogger("evonas.somewhere").info("baseline gn-relu: 0.5")
        logging.getLogger("evonas.somewhere").debug("candidate 3")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("thin ice", UserWarning, stacklevel=1)
    with pytest.raises(InputError), logged(tmp_path):
        raise InputError("data.path", "no such file")
    assert shown == ["thin ice"]
    levels, texts = zip(*entries(tmp_path), strict=True)
    assert texts[0].startswith("started: ")
    assert sys.orig_argv[-1] in texts[0]
    assert texts[1:5] == ("settings:", "baseline gn-relu: 0.5", "UserWarning: thin ice", "ended")
    assert texts[5].startswith("started: ")
    assert texts[6:] == ("ended by InputError: data.path: no such file",)
    assert levels == ("INFO", "INFO", "INFO", "WARNING", "INFO", "INFO", "WARNING")
    assert '\n    name = "tiny"\n    [run]\n    steps = 3\n' in (tmp_path / LOG).read_text()


def test_logging_is_afterwards_as_it_was(tmp_path: Path) -> None:
    logger, show = logging.getLogger("evonas"), warnings.showwarning
    before = logger.level, list(logger.handlers)
    with logged(tmp_path):
        assert logger.isEnabledFor(logging.INFO)
    assert (logger.level, list(logger.handlers)) == before
    assert warnings.showwarning is show


def test_a_log_says_how_the_last_session_ended(tmp_path: Path) -> None:
    assert last_ending(tmp_path) is None
    with logged(tmp_path):
        assert last_ending(tmp_path) == ""
        logging.getLogger("evonas").info("started: after 3 candidates")  # what an archive says
        assert last_ending(tmp_path) == ""
    assert last_ending(tmp_path) == "ended"
    killed = "import sys, os, signal; from pathlib import Path; from evonas.runs.log import logged\n"
    killed += "with logged(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
    assert last_ending(tmp_path) == ""
    with pytest.raises(KeyboardInterrupt), logged(tmp_path):
        raise KeyboardInterrupt
    assert "KeyboardInterrupt" in (last_ending(tmp_path) or "")
