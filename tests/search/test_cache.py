"""The cache against what was put into it, and against several processes that write at once."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.search.archive import Archive
from evonas.search.cache import EvaluationCache
from evonas.search.outcome import Evaluation, Rejection

S0, S1 = CATALOGUE["evonorm-s0"], CATALOGUE["evonorm-s1"]
RUNGS = {"b": ((2, 0.1 + 0.2), (4, 1 / 3)), "a": ((2, 0.25), (4, 1e-17))}
TRACES = {"b": ((1, 2.25), (2, 1 / 7)), "a": ()}
WHOLE = Evaluation(S0.key, 1, 12, 2.5, {"b": 0.1, "a": 0.7}, None, TRACES, RUNGS)
STOPPED = Evaluation(
    S0.key, 1, 8, 1.5, rejection=Rejection("rungs", "behind at step 4", "", 0.1, 1 / 3, "x"), traces=TRACES, rungs=RUNGS
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


def test_what_is_stored_comes_back_bit_by_bit_in_a_later_session(path: Path) -> None:
    for number, evaluation in enumerate((WHOLE, STOPPED)):
        cache = EvaluationCache(path)
        cache.store(f"context{number}", "print", evaluation, stopped=evaluation is STOPPED)
        cache.close()
    cache = EvaluationCache(path)
    for number, evaluation in enumerate((WHOLE, STOPPED)):
        (found,) = cache.find(f"context{number}", S0, "print")
        assert found == evaluation
        assert [list(d) for d in (found.rungs, found.traces, found.objectives)] == [
            list(d) for d in (evaluation.rungs, evaluation.traces, evaluation.objectives)
        ]
    assert cache.find("another", S0, "print") == []
    cache.close()


def test_a_layer_is_found_by_key_and_by_fingerprint_its_own_first(path: Path) -> None:
    cache = EvaluationCache(path)
    other = replace(WHOLE, key=S1.key, steps=6)
    cache.store("c", "print", other, stopped=False)
    assert cache.find("c", S0, "print") == [replace(other, key=S0.key)]
    assert cache.find("c", S0, "different") == []
    cache.store("c", "print", WHOLE, stopped=False)
    assert cache.find("c", S0, "print") == [WHOLE, replace(other, key=S0.key)]
    assert cache.find("c", S0, "different") == [WHOLE]
    assert cache.find("c", S1, "print") == [other, replace(WHOLE, key=S1.key)]
    cache.close()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2), (2, 0, 1), (0, 2, 1)])
def test_a_longer_evaluation_takes_the_place_of_a_shorter_one_and_never_the_other_way(
    path: Path, order: tuple[int, ...]
) -> None:
    """At equal steps one that could go no further is longer than one that was only stopped there."""
    unstable = replace(STOPPED, rejection=Rejection("stability", "gradient norm too high"))
    evaluations = [STOPPED, unstable, WHOLE]
    cache = EvaluationCache(path)
    for count, number in enumerate(order, 1):
        cache.store("c", "print", evaluations[number], stopped=number == 0)
        assert cache.find("c", S0, "print") == [evaluations[max(order[:count])]]
    cache.close()


def test_several_processes_may_open_a_new_file_and_write_at_once(path: Path) -> None:
    script = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[3])\n"
        "from tests.record.test_cache import EvaluationCache, S0, WHOLE\n"
        "sys.stdin.readline()\n"  # all start together
        "cache = EvaluationCache(Path(sys.argv[1]))\n"
        "for i in range(60):\n"
        "    cache.store('c', 'shared', replace(WHOLE, key=f'{sys.argv[2]}-{i}'), stopped=False)\n"
        "    cache.store('c', 'one', replace(WHOLE, steps=i * 3 + int(sys.argv[2])), stopped=False)\n"
        "    assert cache.find('c', S0, 'shared')\n"
        "cache.close()\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    root = str(Path(__file__).parents[2])
    processes = [
        subprocess.Popen([*command, str(n), root], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    cache = EvaluationCache(path)
    everything = cache.find("c", Genome.from_text("neg(x)"), "shared")
    assert len(everything) == 3 * 60
    assert [e.steps for e in cache.find("c", S0, "one")] == [59 * 3 + 2]
    cache.close()


def test_a_file_that_is_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    archive, text = tmp_path / "archive.sqlite", tmp_path / "notes.txt"
    Archive.create(archive).close()
    text.write_text("not a database, but long enough to look like a file of something " * 20)
    for file in (archive, text):
        before = file.read_bytes()
        with pytest.raises(InputError) as caught:
            EvaluationCache(file)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert file.read_bytes() == before
    with pytest.raises(InputError, match="no such folder; mkdir -p"):
        EvaluationCache(tmp_path / "nowhere" / "cache.db")
    with pytest.raises(InputError, match="cannot be used as a cache"):
        EvaluationCache(tmp_path)


def test_a_cache_of_another_format_is_refused(path: Path) -> None:
    EvaluationCache(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(InputError, match="another format"):
        EvaluationCache(path)


def test_a_cache_that_fails_later_says_how_to_go_on_without(path: Path) -> None:
    cache = EvaluationCache(path)
    cache._db.execute("DROP TABLE evaluations")
    for use in (lambda: cache.find("c", S0, "p"), lambda: cache.store("c", "p", WHOLE, stopped=False)):
        with pytest.raises(InputError, match="resume without it: --cache ''"):
            use()
    cache.close()
