"""Rankings that are read as they are looked at. Oracle: the whole record, sorted by hand."""

from pathlib import Path

import pytest
from archives import searched

from evonas.runs.folder import RunFolder
from evonas.search import ranking as module
from evonas.search.archive import Archive
from evonas.search.ranking import ranking, relatives, shrinkage_of, undominated


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return searched(tmp_path_factory.mktemp("ranking") / "run", 12)


def expected(run: RunFolder) -> list[tuple[int, str]]:
    """Candidate and text of the scored layers, best first."""
    with Archive.open(run.archive_file, read_only=True) as archive:
        scored = [(c, e) for c, e in archive.records() if e.mean is not None]
    scored.sort(key=lambda found: -(found[1].mean or 0.0))
    return [(candidate.index, candidate.genome.active().to_text()) for candidate, _ in scored]


@pytest.mark.parametrize("portion", [1, 4, 500])
def test_entries_are_those_of_the_record_in_whatever_portions_they_are_read(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    monkeypatch.setattr(module, "PORTION", portion)
    found, wanted = ranking(run), expected(run)
    assert 0 < len(found) == len(wanted) < 12
    assert [(entry.candidate, entry.genome.to_text()) for entry in found] == wanted
    assert [(entry.rank, entry.name) for entry in found] == [(n, f"#{n}") for n in range(1, len(wanted) + 1)]
    assert len(found._known) <= portion
    assert [entry.candidate for entry in found[1:6:2]] == [index for index, _ in wanted[1:6:2]]
    assert (found[-1].candidate, found[0].candidate) == (wanted[-1][0], wanted[0][0])
    assert found == tuple(found)
    assert found != found[1:]
    assert ranking(run, 3) == found[:3]
    with pytest.raises(IndexError):
        found[len(found)]


def test_relatives_are_looked_for_among_the_best(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ranking(run)
    assert sum(1 + len(group.others) for group in relatives(found)) == len(found)
    monkeypatch.setattr(module, "RELATED", 4)
    assert sum(1 + len(group.others) for group in relatives(found)) == 4
    assert shrinkage_of(found) is None


def test_the_front_is_what_nobody_dominates(run: RunFolder) -> None:
    found = ranking(run)

    def dominates(a: int, b: int) -> bool:
        scores = [(found[a].evaluation.objectives[task], found[b].evaluation.objectives[task]) for task in "ab"]
        return all(x >= y for x, y in scores) and any(x > y for x, y in scores)

    places = range(len(found))
    wanted = [b for b in places if not any(dominates(a, b) for a in places)]
    assert [entry.rank - 1 for entry in undominated(found)] == wanted


def test_a_ranking_stays_what_it_was_when_the_run_goes_on(run: RunFolder, tmp_path: Path) -> None:
    copy = searched(tmp_path / "copy", 6)
    before = ranking(copy)
    candidates = [entry.candidate for entry in before]
    searched(copy.path, 12)
    assert [entry.candidate for entry in before] == candidates
    assert len(ranking(copy)) > len(before)
    assert ranking(copy) == ranking(run)
