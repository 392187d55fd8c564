"""Copies of archives. Oracles: the archive that was copied, and the search that nothing happened to."""

import threading
from pathlib import Path

import pytest
from archives import changed, copied, files_of, same_content, searched
from told import SCORED, candidate

from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.archive.checking import check
from evonas.search.archive.copying import Salvaged, back_up, salvage
from evonas.search.budget import seconds_of_sessions

RACED = ("racing.every=4", "racing.elites=0.5")
BASELINES = ("bn-relu", "gn-relu", "evonorm-s0")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return searched(tmp_path_factory.mktemp("copies") / "run", 12, *RACED)


def test_copies_made_while_a_driver_writes_are_beginnings_of_the_final_archive(tmp_path: Path) -> None:
    """Each copy is made between two records, and one while another thread goes on recording."""
    path, copies = tmp_path / "archive.sqlite", []
    with Archive.create(path) as archive:
        for index in range(30):
            archive.record(candidate(index), SCORED)
            if index % 10 == 5:
                copies.append(tmp_path / f"copy{index}.sqlite")
                back_up(path, copies[-1])
    begun = threading.Event()

    def go_on() -> None:
        with Archive.open(path) as archive:
            for index in range(30, 60):
                archive.record(candidate(index), SCORED)
                begun.set()

    driver = threading.Thread(target=go_on)
    driver.start()
    begun.wait()
    copies.append(tmp_path / "meanwhile.sqlite")
    back_up(path, copies[-1])
    driver.join()
    with Archive.open(path, read_only=True) as archive:
        final = list(archive.records(screened_out=True))
    told = []
    for copy in copies:
        assert files_of(copy) == [copy.name]
        assert check(copy).faults == ()
        with Archive.open(copy, read_only=True) as archive:
            records = list(archive.records(screened_out=True))
        assert records == final[: len(records)]
        told.append(len(records))
    assert told[:3] == [6, 16, 26]
    assert 31 <= told[3] <= 60


def test_a_copy_is_not_made_over_a_file(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    for copy in (back_up, salvage):
        with pytest.raises(FileExistsError):
            copy(run.archive_file, tmp_path / "there")
    assert (tmp_path / "there").read_text() == "mine"


def test_of_a_whole_archive_everything_is_saved(run: RunFolder, tmp_path: Path) -> None:
    saved = salvage(run.archive_file, tmp_path / "saved.sqlite")
    assert (saved.candidates, saved.recorded, saved.reason) == (12, 12, "")
    assert same_content(run.archive_file, tmp_path / "saved.sqlite")
    assert check(tmp_path / "saved.sqlite").faults == ()
    with Archive.open(run.archive_file, read_only=True) as old, Archive.open(tmp_path / "saved.sqlite") as new:
        assert new.told_times() == old.told_times()
        assert new.events()[:-1] == old.events()
        assert seconds_of_sessions(new) == seconds_of_sessions(old)


@pytest.mark.parametrize(
    ("statement", "candidates", "reason"),
    [
        ("UPDATE candidates SET genome = 'x' WHERE id = 7", 7, "candidate 7: layer text"),
        ("UPDATE evaluations SET traces = '[' WHERE subject = '7'", 7, "candidate 7: "),
        ("DELETE FROM timings WHERE subject = '7'", 7, "candidate 7: no evaluation of 7"),
        ("DELETE FROM rejections WHERE subject = '7/0'", 7, "candidate 7: its rows do not belong together"),
        ("UPDATE candidates SET key = 'k' WHERE id = 7", 7, "candidate 7: its rows do not belong together"),
        ("DELETE FROM candidates WHERE id = 7", 7, "candidate 7 is missing"),
        ("UPDATE evaluations SET key = 'k' WHERE subject = 'measurement:7'", 7, "the measurement at place 7"),
        ("DROP TABLE evaluations", 0, "candidate 0: no such table"),
        ("DELETE FROM events", 12, ""),
    ],
)
def test_the_beginning_that_is_whole_is_saved_and_goes_on_as_if_nothing_had_happened(
    run: RunFolder, tmp_path: Path, statement: str, candidates: int, reason: str
) -> None:
    damaged = copied(run, tmp_path / "damaged")
    changed(damaged, statement)
    saved = copied(run, tmp_path / "saved")
    saved.archive_file.unlink()
    found = salvage(damaged.archive_file, saved.archive_file)
    assert found.candidates == candidates
    assert found.reason.startswith(reason)
    assert bool(found.reason) == bool(reason)
    assert check(saved.archive_file).faults == ()
    searched(saved.path, 12, *RACED)
    assert same_content(saved.archive_file, run.archive_file)


def test_no_candidate_is_saved_without_the_baseline_that_candidates_go_by(run: RunFolder, tmp_path: Path) -> None:
    damaged, saved = copied(run, tmp_path / "damaged"), tmp_path / "saved.sqlite"
    with Archive.open(run.archive_file, read_only=True) as archive:
        first, *others = archive.baselines()
    changed(damaged, f"UPDATE evaluations SET traces = '[' WHERE subject = 'baseline:{first}'")
    found = salvage(damaged.archive_file, saved, needs=[first])
    assert found == Salvaged(tuple(others), 0, 0, 12, f"the baseline {first} that candidates go by is not whole")


def test_what_damaged_pages_leave_is_saved(run: RunFolder, tmp_path: Path) -> None:
    """Whatever page is overwritten, what is saved is a beginning of what was recorded, or nothing can be read."""
    content, candidates = run.archive_file.read_bytes(), list[int]()
    with Archive.open(run.archive_file, read_only=True) as archive:
        whole = list(archive.records(screened_out=True))
    damaged = copied(run, tmp_path / "damaged")
    for first in range(4096 * 2, len(content), 4096 * 7):
        damaged.archive_file.write_bytes(content[:first] + b"\xff" * 4096 + content[first + 4096 :])
        saved = tmp_path / f"{first}.sqlite"
        found = salvage(damaged.archive_file, saved)
        with Archive.open(saved, read_only=True) as archive:
            assert list(archive.records(screened_out=True)) == whole[: found.candidates]
        candidates.append(found.candidates)
    assert len(set(candidates)) > 2
