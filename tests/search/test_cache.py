"""The cache against what was put into it; that several processes may share one is tested of its store."""

import sqlite3
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
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
    assert cache.find("context0", S0, "different") == []
    cache.close()


def test_layers_of_one_function_are_found_together_the_own_first(path: Path) -> None:
    cache = EvaluationCache(path)
    other = replace(WHOLE, key=S1.key, steps=60)
    cache.store("c", "print", other, stopped=False)
    assert cache.find("c", S0, "print") == [replace(other, key=S0.key)]
    cache.store("c", "print", WHOLE, stopped=False)
    assert cache.find("c", S0, "print") == [WHOLE, replace(other, key=S0.key)]
    assert cache.find("c", S1, "print") == [other, replace(WHOLE, key=S1.key)]
    cache.close()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_longest_evaluation_of_a_layer_comes_first_whatever_the_order(path: Path, order: tuple[int, ...]) -> None:
    """At equal steps one that could go no further is longer than one that was only stopped there."""
    unstable = replace(STOPPED, rejection=Rejection("stability", "gradient norm too high"))
    evaluations = [WHOLE, unstable, STOPPED]
    cache = EvaluationCache(path)
    for number in order:
        for _ in range(2):  # as two runs may
            cache.store("c", "print", evaluations[number], stopped=number == 2)
    assert cache.find("c", S0, "print") == evaluations
    cache.close()


def test_a_file_that_is_something_else_is_refused_by_the_name_of_its_key(tmp_path: Path) -> None:
    archive = tmp_path / "archive.sqlite"
    Archive.create(archive).close()
    for file in (archive, tmp_path, tmp_path / "nowhere" / "cache.db"):
        with pytest.raises(InputError, match=r"^execution\.cache: .*cannot be used for results"):
            EvaluationCache(file)


@pytest.mark.parametrize(
    "value",
    [
        "{}",
        '{"evaluation": null, "stopped": false}',
        '{"evaluation": {"key": 3}, "stopped": false}',
        '{"evaluation": {"key": "a", "objectives": {"t": "much"}}, "stopped": false}',
        '{"evaluation": {"key": "a", "objectives": {"t": 1e999}}, "stopped": false}',
        '{"evaluation": {"key": "a", "objectives": {}}, "stopped": false}',
        '{"evaluation": {"key": "a", "objectives": {"t": 0.5}, "rungs": {"t": [[1]]}}, "stopped": false}',
        '{"evaluation": {"key": "a", "objectives": {"t": 0.5}, "rejection": {"stage": 1}}, "stopped": false}',
        "{",
        "[]",
    ],
)
def test_a_damaged_row_is_as_if_it_were_not_there(value: str, path: Path) -> None:
    cache = EvaluationCache(path)
    cache.store("c", "print", WHOLE, stopped=False)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE results SET value = ?", (value,))
    assert cache.find("c", S0, "print") == []
    cache.store("c", "print", WHOLE, stopped=False)  # it is trained, and kept again
    assert cache.find("c", S0, "print") == [WHOLE]
    cache.close()
