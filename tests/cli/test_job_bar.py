"""What people see of the progress of jobs.

Oracle: the numbers and words of the progress that is given, and the clock, which is set by hand.
"""

import io
import logging
from collections.abc import Callable

import pytest
from rich.console import Console

from evonas.cli import job_bar
from evonas.cli.job_bar import JobBar
from evonas.runs.progress import JobProgress

TRAINING = JobProgress(0, 30, 0, "training the networks")
FITTING = JobProgress(1, 30, 1, "2 x fitting", 200.0, True)
MEASURING = JobProgress(10, 30, 10, "measuring", 65.0)
ENDED = JobProgress(30, 30, 30, "", 0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the time in seconds."""
    now = [0.0]
    monkeypatch.setattr(job_bar.time, "monotonic", lambda: now[0])

    def set_to(seconds: float) -> None:
        now[0] = seconds

    return set_to


def test_lines_say_what_begins_and_now_and_then_how_far_it_is(
    clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    out = io.StringIO()
    with caplog.at_level(logging.INFO, "evonas"), JobBar(Console(file=out, width=140)) as bar:
        for seconds, progress in ((0, TRAINING), (1, FITTING), (2, FITTING), (3, MEASURING), (5, FITTING)):
            clock(seconds)
            bar(progress)
        clock(13.5)
        bar(MEASURING)
        bar(MEASURING)
        bar(ENDED)
    expected = [
        "0 of 30 runs: training the networks",
        "1 of 30 runs, at least 3m20s left: 2 x fitting",
        "10 of 30 runs, 1m05s left: measuring",
        "10 of 30 runs, 1m05s left: measuring",  # ten seconds later
        "30 of 30 runs",
    ]
    assert out.getvalue().splitlines() == expected
    assert [record.getMessage() for record in caplog.records] == expected


def test_a_terminal_shows_a_bar_whose_time_counts_down(clock: Callable[[float], None]) -> None:
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True, legacy_windows=False)
    bar = JobBar(console, "trials")

    def shown() -> str:
        out.truncate(0)
        console.print(bar._bar.get_renderable())
        return " ".join(out.getvalue().split())

    bar(TRAINING)
    assert "trials" in shown()
    assert "training the networks" in shown()
    assert "left" not in shown()
    bar(FITTING)
    assert "1/30" in shown()
    assert "at least 3m20s left" in shown()
    clock(50)
    bar(MEASURING)
    clock(100)
    assert " 15s left" in shown()
    clock(1000)
    assert " 0s left" in shown()  # it never says that time has run out below 0
