"""What a check finds. Oracle: what was done to a record that is whole."""

from pathlib import Path

import pytest
from archives import changed, copied, make_earlier, searched

from evonas.runs.folder import RunFolder
from evonas.search.archive.checking import MOST, Checked, check

RACED = ("racing.every=4", "racing.elites=0.5")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return searched(tmp_path_factory.mktemp("check") / "run", 12, *RACED)


def counted(found: Checked) -> tuple[int | None, ...]:
    return found.candidates, found.baselines, found.measurements, found.screened_out


def test_a_whole_record_is_whole_and_counted(run: RunFolder, tmp_path: Path) -> None:
    found = check(run.archive_file)
    assert found.faults == ()
    assert found.candidates == 12
    assert all(count for count in counted(found))
    old = copied(run, tmp_path / "old")
    make_earlier(old.archive_file)
    assert check(old.archive_file) == found


@pytest.mark.parametrize(
    ("statement", "faults"),
    [
        ("UPDATE candidates SET genome = 'nonsense' WHERE id = 3", ["candidate 3: layer text, statement 'nonsense'"]),
        ("UPDATE candidates SET key = 'k' WHERE id = 3", ["candidate 3: its layer has the key", "of"]),
        ("UPDATE evaluations SET key = 'k' WHERE subject = '3'", ["candidate 3: its evaluation is of k"]),
        ("UPDATE evaluations SET traces = '[' WHERE subject = '3'", ["candidate 3: JSONDecodeError"]),
        ("UPDATE evaluations SET objectives = NULL WHERE subject = 'baseline:gn-relu'", ["baseline gn-relu: ValueErr"]),
        (
            "DELETE FROM evaluations WHERE subject = '3'",
            ["candidate 3: LookupError: no evaluation of 3", "timings: rows"],
        ),
        ("DELETE FROM timings WHERE subject = '3'", ["candidate 3: LookupError: no evaluation of 3"]),
        ("UPDATE candidates SET id = 99 WHERE id = 11", ["order: candidate 11 is followed by 99", "candidate 99: Loo"]),
        ("UPDATE candidates SET parent = 11 WHERE id = 3", ["candidate 3: its parent is 11"]),
        (
            "UPDATE measurements SET position = 77 WHERE rowid = (SELECT min(position) FROM measurements)",
            ["order: a meas"],
        ),
        ("UPDATE screened_out SET genome = 'x' WHERE candidate = 3 AND attempt = 0", ["proposal 3/0: layer text"]),
        ("DELETE FROM rejections WHERE subject = '3/0'", ["screened_out: rows that belong to nothing: 3/0"]),
        (
            "DELETE FROM screened_out WHERE candidate = 3 AND attempt = 0",
            ["rejections: rows that belong to nothing: 3/0"],
        ),
        ("INSERT INTO rungs VALUES ('99', 'a', 1, 0.5)", ["rungs: rows that belong to nothing: 99"]),
        ("INSERT INTO rates VALUES ('3x', 'a', 0.5)", ["rates: rows that belong to nothing: 3x"]),
        ("INSERT INTO predictions VALUES (99, 1.0, 1.0, 1.0)", ["predictions: rows that belong to nothing: 99"]),
        ("INSERT INTO screened_counts VALUES (99, 'a', 'b', 1)", ["screened_counts: rows that belong to nothing: 99"]),
        ("INSERT INTO origins VALUES ('99', '', 'me', '')", ["origins: rows that belong to nothing: 99"]),
        ("INSERT INTO timings VALUES ('measurement:99', 0.0, 0.0, '')", ["timings: rows that belong to nothing: meas"]),
        (
            "DROP TABLE rejections",
            ["candidate 0: no such table: rejections", "proposals that were screened out: no such"],
        ),
    ],
)
def test_each_kind_of_damage_is_named(run: RunFolder, tmp_path: Path, statement: str, faults: list[str]) -> None:
    other = copied(run, tmp_path / "other")
    changed(other, statement)
    found = check(other.archive_file).faults
    for fault in faults:
        assert any(line.startswith(fault) for line in found) or any(fault in line for line in found), found
    assert all(line.isprintable() for line in found)


def test_one_fault_hides_no_other_and_there_are_not_too_many(run: RunFolder, tmp_path: Path) -> None:
    other = copied(run, tmp_path / "other")
    changed(other, "UPDATE candidates SET genome = 'x' WHERE id IN (2, 7)", "DELETE FROM timings WHERE subject = '9'")
    found = [line.partition(":")[0] for line in check(other.archive_file).faults]
    assert found == ["candidate 2", "candidate 7", "candidate 9"]
    changed(other, "UPDATE screened_out SET genome = 'x'")
    many = check(other.archive_file)
    assert many.screened_out is not None
    assert many.screened_out >= MOST
    assert (len(many.faults), many.faults[-1]) == (MOST + 1, "and more")


def test_damaged_pages_are_told(run: RunFolder, tmp_path: Path) -> None:
    other = copied(run, tmp_path / "other")
    content = bytearray(other.archive_file.read_bytes())
    for first in range(4096 * 3, len(content), 4096 * 4):
        content[first : first + 8] = b"\xff" * 8
    other.archive_file.write_bytes(content)
    found = check(other.archive_file).faults
    assert any(line.startswith("pages:") for line in found)
    assert all(line.isprintable() for line in found)
