"""Oracle: the outcomes themselves, read back by a second opening; and files of other kinds, which stay as they are."""

import sqlite3
from pathlib import Path

import pytest

from evonas.errors import InputError
from evonas.runs.store import Outcome, Results
from evonas.search.archive import Archive

DONE, FAILED = Outcome({"loss": 1.5, "curve": [3.0, 1.5]}, "", 2.0), Outcome(None, "worker died", 0.5)


def test_outcomes_are_read_back_from_another_opening(tmp_path: Path) -> None:
    with Results.open(tmp_path / "study.sqlite") as results:
        results.record('{"a": 1}', FAILED)
        results.record('{"a": 2}', FAILED)
        results.record('{"a": 1}', DONE)
    with Results.open(tmp_path / "study.sqlite") as results:
        assert (results.find('{"a": 1}'), results.find('{"a": 2}'), results.find('{"a": 3}')) == (DONE, FAILED, None)
        assert results.count() == 2


def test_what_json_has_no_name_for_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with Results.open(tmp_path / "study.sqlite") as results:
        with pytest.raises(ValueError, match="not JSON compliant"):
            results.record("{}", Outcome({"loss": float("nan")}))
        assert results.count() == 0


@pytest.mark.parametrize(("value", "failure"), [(None, ""), ({}, "worker died")])
def test_an_outcome_is_a_value_or_a_failure(value: dict[str, float] | None, failure: str) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Outcome(value, failure)


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    text, archive = tmp_path / "text", tmp_path / "archive.sqlite"
    text.write_text("not a database, but long enough to be looked at as one" * 100)
    Archive.create(archive).close()
    before = text.read_bytes()
    with pytest.raises(InputError, match="does not hold results of a study"):
        Results.open(text)
    with pytest.raises(InputError, match="does not hold results of a study; accepted"):
        Results.open(archive)
    assert text.read_bytes() == before
    with sqlite3.connect(archive) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'results'").fetchone() == (0,)
