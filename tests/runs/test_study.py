"""Oracles: arithmetic done here, which workers must repeat; a counter on disk, which says what was done twice; and
accidents made on purpose.
"""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from evonas.config import ExecutionConfig
from evonas.config.section import Section
from evonas.errors import InputError
from evonas.runs.interrupt import RunInterruptedError
from evonas.runs.progress import Tally
from evonas.runs.store import Outcome, Results
from evonas.runs.study import run_study, spec_text


class Piece(Section):
    number: int
    folder: str
    kind: str = "square"


def piece(number: int, folder: Path, kind: str = "square") -> Piece:
    return Piece(number=number, folder=str(folder), kind=kind)


def work(piece: Piece) -> dict[str, Any]:
    with (Path(piece.folder) / "done").open("a") as file:
        file.write(f"{piece.number}\n")
    if piece.kind == "die":
        os._exit(3)
    if piece.kind == "divide":
        return {"never": 1 / 0}
    if piece.kind == "mistake":
        raise InputError("sizes.heads", "3", accepted="a divisor of 8")
    if piece.kind == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
    return {"square": piece.number**2}


def timeless(found: dict[Piece, Outcome]) -> list[tuple[Any, str]]:
    return [(outcome.value, outcome.failure) for outcome in found.values()]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_piece_is_done_once_and_recorded(tmp_path: Path, workers: int) -> None:
    pieces, seen = [piece(n, tmp_path) for n in (3, 1, 2, 3)], list[Tally]()
    execution = ExecutionConfig(workers=workers)
    with Results.open(tmp_path / "study.sqlite") as results:
        found = run_study(pieces, work, results, execution, seen.append)
        assert timeless(found) == [({"square": 9}, ""), ({"square": 1}, ""), ({"square": 4}, "")]
        assert seen == [Tally(n, 3, n) for n in range(4)]
        assert results.find(spec_text(pieces[1])) == found[pieces[1]]
        again = run_study([*pieces, piece(5, tmp_path)], work, results, execution, seen.append)
    assert timeless(again)[3] == ({"square": 25}, "")
    assert sorted((tmp_path / "done").read_text().split()) == ["1", "2", "3", "5"]


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_arithmetic_fail_their_piece_and_are_tried_again(tmp_path: Path, workers: int) -> None:
    pieces, execution = (
        [piece(1, tmp_path, "divide"), piece(2, tmp_path)],
        ExecutionConfig(workers=workers),
    )
    with Results.open(tmp_path / "study.sqlite") as results:
        for _ in range(2):
            found = run_study(pieces, work, results, execution, lambda _: None)
            assert timeless(found) == [(None, "division by zero"), ({"square": 4}, "")]
    assert sorted((tmp_path / "done").read_text().split()) == ["1", "1", "2"]


def test_a_dead_worker_fails_its_piece(tmp_path: Path) -> None:
    pieces = [piece(1, tmp_path, "die"), piece(2, tmp_path)]
    with Results.open(tmp_path / "study.sqlite") as results:
        found = run_study(pieces, work, results, ExecutionConfig(workers=2), lambda _: None)
    assert timeless(found) == [(None, "worker died: exit code 3"), ({"square": 4}, "")]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_of_people_ends_the_study_in_words(tmp_path: Path, workers: int) -> None:
    pieces = [piece(1, tmp_path), piece(2, tmp_path, "mistake")]
    with Results.open(tmp_path / "study.sqlite") as results:
        with pytest.raises(InputError, match=r"^sizes\.heads: 3; accepted: a divisor of 8"):
            run_study(pieces, work, results, ExecutionConfig(workers=workers), lambda _: None)
        assert results.count() == 1


def test_an_interrupted_study_keeps_what_was_done(tmp_path: Path) -> None:
    pieces = [
        piece(1, tmp_path),
        piece(2, tmp_path, "interrupt"),
        piece(3, tmp_path),
    ]
    with Results.open(tmp_path / "study.sqlite") as results:
        with pytest.raises(RunInterruptedError):
            run_study(pieces, work, results, ExecutionConfig(workers=1), lambda _: None)
        assert results.count() == 1
