"""What all studies have in common. Oracle: a study made here, whose results another program has changed."""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evonas.config import ExecutionConfig
from evonas.config.section import Section
from evonas.errors import InputError
from evonas.report.save import Report
from evonas.runs.jobs import Jobs
from evonas.runs.store import Outcome, Store
from evonas.studies.study import Study, run_study


class Spec(Section):
    """A job."""

    number: int


def work(spec: Spec, _needed: Mapping[Spec, Any]) -> dict[str, Any]:
    return {"double": 2 * spec.number}


def report(outcomes: Mapping[Spec, Outcome]) -> Report:
    doubles = [outcome.value["double"] + 0 for outcome in outcomes.values() if outcome.value is not None]
    return Report("doubles", (), {"sum": sum(doubles)})


STUDY = Study("doubles", ExecutionConfig(workers=0), Jobs([Spec(number=1), Spec(number=2)], work, ("runs",)), report)


def test_recorded_results_that_are_none_of_the_study_are_one_line(tmp_path: Path) -> None:
    with Store.open(tmp_path / "results.sqlite") as store:
        assert run_study(STUDY, store, lambda _: None).data == {"sum": 6}
        for value in ({"other": 1}, {"double": "much"}, {"double": None}):
            with sqlite3.connect(tmp_path / "results.sqlite") as other:
                other.execute("UPDATE results SET value = ?", (json.dumps(value),))
            with pytest.raises(InputError, match=r"results.sqlite: holds results that cannot be reported"):
                run_study(STUDY, store, lambda _: None)
