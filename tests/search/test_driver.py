"""Whole searches of seconds with every objective switched on.

Oracle: a search that is only told what the archive recorded, in its order, must ask for the recorded candidates; so a
stopped and resumed run is what an uninterrupted one would have been with the same measurements.
"""

from pathlib import Path

import pytest

from evonas import config
from evonas.config import SearchConfig
from evonas.errors import InputError
from evonas.evaluate.execution import make_executor
from evonas.evaluate.objectives import OBJECTIVES
from evonas.record.archive import Archive
from evonas.record.outcome import Candidate, Evaluation
from evonas.search.driver import Ending, drive, make_search

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
EVERY = [
    *(f"objectives.{name}=true" for name in OBJECTIVES),
    *("protocols.quality.min_accuracy=0.0", "evolution.initial_random=2", "evolution.random_injection=0.1"),
    *("evolution.window=4", "evolution.tournament=1.0", "training.steps=4"),
]


def run(path: Path, settings: SearchConfig) -> None:
    with Archive.open(path) as archive, make_executor(settings) as executor:
        assert drive(settings, archive, executor, []) is Ending.BUDGET


def replayed(settings: SearchConfig, records: list[tuple[Candidate, Evaluation]], first: Evaluation) -> list[Candidate]:
    search, asked = make_search(settings, first), list[Candidate]()
    while search.told < len(records):
        while search.may_ask and search.asked < len(records):
            asked.append(search.ask())
        search.tell(search.told, records[search.told][1])
    return asked


@pytest.mark.parametrize("algorithm", ["tournament", "nsga2"])
def test_a_search_with_every_objective_runs_resumes_and_goes_by_its_records(algorithm: str, tmp_path: Path) -> None:
    path = tmp_path / "archive.sqlite"
    Archive.create(path).close()
    overrides = [*EVERY, f"evolution.algorithm={algorithm}"]
    run(path, config.load(TINY, [*overrides, "budget.evaluations=6"]))
    with Archive.open(path) as archive:
        before = list(archive.records(screened_out=True))
    assert len(before) == 6
    settings = config.load(TINY, [*overrides, "budget.evaluations=12"])
    run(path, settings)
    with Archive.open(path) as archive:
        records, (reference,) = list(archive.records(screened_out=True)), archive.baselines().values()
    assert records[:6] == before
    assert list(reference.extras) == list(OBJECTIVES)
    for _, evaluation in records:
        assert list(evaluation.extras) == (list(OBJECTIVES) if evaluation.objectives else [])
    assert any(candidate.proposal.parent is not None for candidate, _ in records)
    assert replayed(settings, records, reference) == [candidate for candidate, _ in records]


def test_a_task_with_the_name_of_an_objective_is_refused() -> None:
    overrides = ["tasks.0.name=latency", "objectives.latency=true"]
    with pytest.raises(
        InputError, match=r"^tasks\.name: 'latency' is an objective already; give the task another name"
    ):
        make_search(config.load(TINY, overrides))
    make_search(config.load(TINY, overrides[:1]))
