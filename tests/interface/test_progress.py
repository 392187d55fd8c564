"""What a search shows while it runs, against what it was told of; on a terminal that keeps everything, or a file."""

import io

import pytest
from rich.console import Console

from evonas.config import BudgetConfig
from evonas.graph.genome import Genome
from evonas.interface import progress as module
from evonas.interface.progress import SearchProgress
from evonas.search.budget import Clock
from evonas.search.outcome import Candidate, Evaluation, Proposal, Rejection

TANH, SIGMOID = Genome.from_text("tanh(x)"), Genome.from_text("sigmoid(x)")
OUT = (Proposal(SIGMOID, None, "random"), Rejection("structure", "output does not depend on the input"))


def evaluated(progress: SearchProgress) -> None:
    """A baseline, a scored candidate after two proposals that were screened out, and one that was rejected."""
    progress.count(Clock(BudgetConfig(minutes=10), used=120.0, now=lambda: 0.0), 2)
    progress.baseline("bn-relu", Evaluation("bn", 1, seconds=30.0, objectives={"net": 0.75}))
    best = Evaluation(TANH.key, 1, seconds=5.0, objectives={"net": 0.5})
    progress.told(Candidate(0, Proposal(TANH, None, "random"), "", (OUT, OUT)), best, recorded=True)
    low = Rejection("quality", "accuracy too low", "net", 0.1, 0.2)
    rejected = Evaluation(SIGMOID.key, 1, seconds=1.0, rejection=low)
    progress.told(Candidate(1, Proposal(SIGMOID, 0, "mutation"), ""), rejected, recorded=False)
    progress.doing(["candidate 2: net, step 3 of 9", "drawing candidate 3: 40 proposals screened out"])


SHOWN = ("2 evaluated, 1 scored", "2m00s used", "8m00s left", "72 core-seconds of training", "0.5000")
SHOWN += ("candidate 2: net, step 3 of 9", "drawing candidate 3: 40 proposals screened out")
SHOWN += ("structure 2", "quality: accuracy too low 1", "0.7500")


def test_a_terminal_shows_what_is_done_what_was_found_and_what_it_cost() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=140, legacy_windows=False, _environ={"TERM": "xterm"})
    with SearchProgress(console) as progress:
        progress.say("loading data")
        assert "loading data" in stream.getvalue()
        evaluated(progress)
        stream.truncate(0)
        console.print(progress._panel())
        panel = stream.getvalue()
        assert all(text in panel for text in SHOWN), panel
        assert "tanh(x)" in panel
    assert "\x1b[?25h" in stream.getvalue()  # the cursor is shown again


def test_a_file_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLAIN_EVERY", 0.0)
    stream = io.StringIO()
    with SearchProgress(Console(file=stream, width=80)) as progress:
        progress.say("loading data")
        assert stream.getvalue() == "loading data\n"
        evaluated(progress)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["loading data", "baseline bn-relu: 0.7500"]
    assert all(text in " ".join(lines) for text in SHOWN), lines
    assert len(lines) == 4  # one while it works and one at the end, however long they are
    assert "now" not in lines[3]


def test_lines_are_not_printed_all_the_time() -> None:
    stream = io.StringIO()
    with SearchProgress(Console(file=stream)) as progress:
        evaluated(progress)
        for _ in range(100):
            progress.doing(["candidate 2"])
        assert stream.getvalue() == "baseline bn-relu: 0.7500\n"


def test_nothing_is_shown_where_nothing_is_wanted(capfd: pytest.CaptureFixture[str]) -> None:
    with SearchProgress(None) as progress:
        progress.say("loading data")
        evaluated(progress)
        progress.note("a line")
    assert capfd.readouterr() == ("", "")


def test_square_brackets_are_shown_as_they_are() -> None:
    stream, genome = io.StringIO(), Genome.from_text("a = std[hw](x); div(x, a)")
    with SearchProgress(Console(file=stream, force_terminal=True, width=140)) as progress:
        evaluated(progress)
        better = Evaluation(genome.key, 1, objectives={"net": 0.9})
        progress.told(Candidate(2, Proposal(genome, None, "random"), ""), better, recorded=False)
        Console(file=stream, width=140).print(progress._panel())
    assert "std[hw]" in stream.getvalue()
