"""Oracle: the outcomes themselves, read back by a second opening; and files of other kinds, which stay as they are."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from evonas.errors import InputError
from evonas.runs.store import Key, Outcome, Store
from evonas.search.archive import Archive

DONE, FAILED = Outcome({"loss": 1.5, "curve": [3.0, 1.5]}, "", 2.0), Outcome(None, "worker died", 0.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


def test_outcomes_are_read_back_from_another_opening(path: Path) -> None:
    with Store.open(path) as store:
        store.record(Key("1"), FAILED)
        store.record(Key("2"), FAILED)
        store.record(Key("1"), DONE)
    with Store.open(path) as store:
        assert (store.find(Key("1")), store.find(Key("2")), store.find(Key("3"))) == (DONE, FAILED, None)
        assert store.count() == 2


def test_what_was_made_from_something_else_is_another_result(path: Path) -> None:
    old, new = Key("1", {"data": "a", "torch": "2"}), Key("1", {"torch": "2", "data": "b"})
    with Store.open(path) as store:
        store.record(old, DONE)
        assert store.find(Key("1", {"torch": "2", "data": "a"})) == DONE
        assert store.find(new) is None
        assert store.find_with_other_sources(new) == (DONE, {"data": "a", "torch": "2"})
        assert store.find_with_other_sources(old) is None
        assert store.find_with_other_sources(Key("2", new.sources)) is None
        store.record(new, FAILED)
        assert store.find_with_other_sources(old) is None  # failures are no results
        assert store.count() == 2


def test_a_family_is_found_together_in_the_order_of_recording(path: Path) -> None:
    with Store.open(path) as store:
        for spec, family in (("b", "x"), ("a", "x"), ("c", "y"), ("d", "")):
            store.record(Key(spec, family=family), DONE)
        assert store.family("x") == [("b", DONE), ("a", DONE)]
        assert store.family("z") == []


def test_what_json_has_no_name_for_is_refused_and_nothing_is_written(path: Path) -> None:
    with Store.open(path) as store:
        with pytest.raises(ValueError, match="not JSON compliant"):
            store.record(Key("1"), Outcome({"loss": float("nan")}))
        assert store.count() == 0


@pytest.mark.parametrize(("value", "failure"), [(None, ""), ({}, "worker died")])
def test_an_outcome_is_a_value_or_a_failure(value: dict[str, float] | None, failure: str) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Outcome(value, failure)


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    archive, text = tmp_path / "archive.sqlite", tmp_path / "notes.txt"
    Archive.create(archive).close()
    text.write_text("not a database, but long enough to look like a file of something " * 20)
    for file in (archive, text):
        before = file.read_bytes()
        with pytest.raises(InputError, match="cannot be used for results") as caught:
            Store.open(file)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert file.read_bytes() == before
    with pytest.raises(InputError, match="mkdir -p"):
        Store.open(tmp_path / "nowhere" / "results.sqlite")
    with pytest.raises(InputError, match="cannot be used for results"):
        Store.open(tmp_path)


def test_results_of_another_format_are_refused(path: Path) -> None:
    Store.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE format SET name = 'evonas results 99'")
    connection.close()
    with pytest.raises(InputError, match="holds 'evonas results 99'; accepted: 'evonas results 2'"):
        Store.open(path)


def test_a_file_that_fails_later_says_so_in_one_line(path: Path) -> None:
    with Store.open(path) as store:
        store._db.execute("DROP TABLE results")
        for use in (lambda: store.find(Key("1")), lambda: store.record(Key("1"), DONE), lambda: store.family("x")):
            with pytest.raises(InputError, match=r"cannot be used for results \(no such table"):
                use()


def test_several_processes_may_open_a_new_file_and_write_at_once(path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from evonas.runs.store import Key, Outcome, Store\n"
        "sys.stdin.readline()\n"  # all start together
        "with Store.open(Path(sys.argv[1])) as store:\n"
        "    for i in range(40):\n"
        "        store.record(Key(f'{sys.argv[2]}-{i}', family='shared'), Outcome({'i': i}))\n"
        "        store.record(Key('one'), Outcome({'i': i}))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path), str(n)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for n in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    with Store.open(path) as store:
        assert len(store.family("shared")) == 3 * 40
        assert store.find(Key("one")) == Outcome({"i": 39})


@pytest.mark.parametrize("value", ["{", "[1]", "3", "9" * 5000, "[" * 100_000, '{"a": '])
def test_a_damaged_result_is_one_line(value: str, path: Path) -> None:
    with Store.open(path) as store:
        store.record(Key("1", {"data": "a"}, "family"), DONE)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE results SET value = ?", (value,))
    with Store.open(path) as store:
        for read in (
            lambda: store.find(Key("1", {"data": "a"}, "family")),
            lambda: store.find_with_other_sources(Key("1", {"data": "b"})),
            lambda: store.family("family"),
        ):
            with pytest.raises(InputError, match=r"results.sqlite: holds a damaged result \(.*\); choose a new file"):
                read()


def test_a_file_whose_format_is_missing_is_one_line(path: Path) -> None:
    Store.open(path).close()
    with sqlite3.connect(path) as other:
        other.execute("DELETE FROM format")
    with pytest.raises(InputError, match="cannot be used for results"):
        Store.open(path)
