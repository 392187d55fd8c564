"""Oracles: a watcher that fails when it is told to, and a search whose board is deleted under it."""

import shutil
from pathlib import Path

import pytest

import evonas
from evonas.graph.catalogue import CATALOGUE
from evonas.search.optional import Closable, OptionalWatcher
from evonas.search.outcome import Candidate, Evaluation, Remeasurement

FOUND = Evaluation(CATALOGUE["bn-relu"].key, objectives={"made": 0.5})


class Fails:
    """Fails at the second baseline."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def baseline(self, name: str, _: Evaluation) -> None:
        if self.seen:
            raise OSError(28, "No space left on device")
        self.seen.append(name)

    def told(self, _: Candidate, __: Evaluation, *, recorded: bool) -> None:
        raise AssertionError(recorded)

    def measured(self, _: Remeasurement, __: Evaluation, *, recorded: bool) -> None:
        raise AssertionError(recorded)

    def close(self) -> None:
        raise AssertionError


def test_a_watcher_that_cannot_write_says_it_once_and_falls_silent() -> None:
    watcher, said = Fails(), list[str]()
    optional = OptionalWatcher(lambda: watcher, said.append)
    for name in ("first", "second", "third"):
        optional.baseline(name, FOUND)
    optional.close()
    assert watcher.seen == ["first"]
    assert said == ["cannot be written any more, and the search goes on without it (No space left on device)"]


def test_a_watcher_that_cannot_begin_is_none() -> None:
    def make() -> Closable:
        raise PermissionError(13, "Permission denied")

    said = list[str]()
    optional = OptionalWatcher(make, said.append)
    optional.baseline("first", FOUND)
    optional.close()
    assert len(said) == 1


def test_other_errors_are_not_hidden() -> None:
    optional = OptionalWatcher(Fails, [].append)
    with pytest.raises(AssertionError):
        optional.close()


def test_a_search_goes_on_without_its_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")
    from evonas.search.dashboard import SearchBoard

    told = SearchBoard.told

    def deleted(board: SearchBoard, candidate: Candidate, evaluation: Evaluation, *, recorded: bool) -> None:
        if candidate.index == 1:
            shutil.rmtree(tmp_path / "run" / "tb")
        told(board, candidate, evaluation, recorded=recorded)

    monkeypatch.setattr(SearchBoard, "told", deleted)
    found = evonas.run_search("tiny", run=tmp_path / "run", budget=4, progress=False)
    assert found.ending == "the budget is used up"
    assert len(found.rows()) == 4
