"""Whole searches of seconds in which the best layers are measured again.

Oracles: the archive of an uninterrupted run of one worker; the evaluator of a round's settings, asked alone; a search
that is only told what the archive recorded, in its order, must ask for the same.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from archives import same_content
from killing import Killed, killed_after

from evonas import config
from evonas.config import SearchConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.search.archive import Archive
from evonas.search.cached import CachedExecutor, with_cache
from evonas.search.driver import Ending, drive
from evonas.search.evaluator import evaluator_from_config
from evonas.search.execution import make_executor
from evonas.search.making import make_search
from evonas.search.outcome import Candidate, Remeasurement

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

TINY = Path(__file__).parents[3] / "search_spaces" / "tiny.toml"
SMALL = 'tasks=[{architecture="preact_resnet", width=0.03125, depth=[1], unstrided=1}]'
RACING = [
    *("protocols.quality.min_accuracy=0.0", "training.learning_rate=0.02", "racing.every=3", "racing.elites=0.5"),
    f"racing.rounds=[{{steps=4}}, {{steps=8, learning_rate=0.05, {SMALL}}}]",
    "budget.evaluations=15",
]
KINDS = {
    "pareto": [],
    "average": ["evolution.winner=average"],
    "nsga2": ["evolution.algorithm=nsga2", "objectives.parameters=true"],
    "rungs": ["rungs.steps=[3]", "rungs.reduction=1.5", "training.steps=8"],
}


def settings(*changes: str) -> SearchConfig:
    return config.load_search(TINY, [*RACING, *changes])


def search(path: Path, *changes: str) -> Ending:
    wanted = settings(*changes)
    with (Archive.open if path.exists() else Archive.create)(path) as archive, make_executor(wanted) as executor:
        return drive(wanted, archive, executor, [])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("racing")

    def made(kind: str) -> Path:
        path = folder / f"{kind}.sqlite"
        if not path.exists():
            assert search(path, *KINDS[kind]) is Ending.BUDGET
        return path

    return made


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_write_the_same_archive_as_one(kind: str, finished: Callable[[str], Path], tmp_path: Path) -> None:
    search(tmp_path / "two.sqlite", *KINDS[kind], "execution.workers=2")
    assert same_content(finished(kind), tmp_path / "two.sqlite")


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_race_resumes_to_the_archive_of_an_uninterrupted_one(
    kind: str, finished: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "killed.sqlite"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Archive, "record_measurement", killed_after(3, Archive.record_measurement))
        with pytest.raises(Killed):
            search(path, *KINDS[kind])
    with Archive.open(path, read_only=True) as archive:
        assert len(archive.measurements()) == 3
        assert archive.told() < 15
    assert search(path, *KINDS[kind]) is Ending.BUDGET
    assert same_content(finished(kind), path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_that_is_told_the_records_asks_for_what_was_asked(kind: str, finished: Callable[[str], Path]) -> None:
    with Archive.open(finished(kind), read_only=True) as archive:
        told, reference = list(archive.in_order(screened_out=True, counted=False)), archive.baselines()["gn-relu"]
    replayed, asked = make_search(settings(*KINDS[kind]), reference), list[Candidate | Remeasurement]()
    for what, evaluation in told:
        while replayed.may_ask and len(asked) < len(told):
            asked.append(replayed.ask())
        replayed.tell(what.index if isinstance(what, Candidate) else what, evaluation)
    assert asked == [what for what, _ in told]
    assert sum(isinstance(what, Candidate) for what in asked) == 15
    assert sum(isinstance(what, Remeasurement) for what in asked) >= 4


def test_measurements_are_ungated_trainings_under_the_settings_of_their_round(
    finished: Callable[[str], Path],
) -> None:
    wanted = settings()
    with Archive.open(finished("pareto"), read_only=True) as archive:
        found, genomes = archive.measurements(), {c.index: c.genome for c, _ in archive.records()}
    assert {measurement.round for measurement, _ in found} >= {1, 2}
    seeds = {measurement.round: evaluation.seed for measurement, evaluation in found}
    assert len({wanted.seed, *seeds.values()}) == 1 + len(seeds)
    for round_ in (1, 2):
        measured = [pair for pair in found if pair[0].round == round_]
        assert measured[0][0].candidate is None  # the reference comes first
        evaluator = evaluator_from_config(wanted.in_round(round_))
        for measurement, evaluation in measured:
            genome = CATALOGUE["gn-relu"] if measurement.candidate is None else genomes[measurement.candidate]
            assert measurement.genome == genome
            again = evaluator(genome, gated=False)
            assert replace(evaluation, seconds=0.0) == replace(again, seconds=0.0)
    assert wanted.in_round(2).training.steps == 8
    assert wanted.in_round(2).training.learning_rate == wanted.in_round(3).training.learning_rate == 0.05
    assert [len(wanted.in_round(number).tasks) for number in (1, 2, 3)] == [2, 1, 1]


def test_measurements_come_at_every_third_place_and_count_as_no_candidates(finished: Callable[[str], Path]) -> None:
    with Archive.open(finished("pareto"), read_only=True) as archive:
        positions = [measurement.position for measurement, _ in archive.measurements()]
        assert [candidate.index for candidate, _ in archive.records()] == list(range(15)) == list(range(archive.told()))
    assert all((position + 1) % 3 == 0 for position in positions)
    assert positions == list(range(positions[0], positions[-1] + 1, 3))


TRANSFORMER = [
    *('space={layout="btd"}', 'tasks=[{transformer="16x1", context=16}]', 'baselines=["rmsnorm"]'),
    *("training={steps=4, batch_size=4, optimizer='adamw', learning_rate=0.003}", "protocols.quality.min_accuracy=0.0"),
    *("racing.every=2", "racing.elites=0.5", 'racing.rounds=[{steps=6, tasks=[{transformer="32x1", context=16}]}]'),
    *("evolution.initial_random=2", "budget.evaluations=8"),
]


def test_layers_of_transformers_race_too(tmp_path: Path) -> None:
    path, wanted = tmp_path / "archive.sqlite", config.load_search(TINY, TRANSFORMER)
    with Archive.create(path) as archive, make_executor(wanted) as executor:
        assert drive(wanted, archive, executor, []) is Ending.BUDGET
        found = archive.measurements()
    assert len(found) >= 2
    assert {task for _, evaluation in found for task in evaluation.objectives} == {"transformer-32x1"}


def test_measurements_are_taken_over_from_a_cache(finished: Callable[[str], Path], tmp_path: Path) -> None:
    wanted, hits = settings(f"execution.cache={tmp_path / 'cache.sqlite'}"), []
    for name in ("first", "second"):
        with Archive.create(tmp_path / name) as archive:
            executor = with_cache(make_executor(wanted), wanted)
            assert isinstance(executor, CachedExecutor)
            with executor:
                drive(wanted, archive, executor, [])
            hits.append(executor.hits)
        assert same_content(finished("pareto"), tmp_path / name)
    with Archive.open(tmp_path / "second", read_only=True) as archive:
        assert hits == [0, archive.told() + len(archive.measurements()) + len(archive.baselines())]
        assert {evaluation.seconds for _, evaluation in archive.measurements()} == {0.0}


def test_a_round_that_cannot_be_trained_is_refused_before_anything_is() -> None:
    missing = 'racing.rounds=[{tasks=[{task="no.such:place"}]}]'
    with pytest.raises(InputError, match="no"):
        make_executor(settings(missing))
    twice = 'racing.rounds=[{tasks=[{architecture="densenet"}, {architecture="densenet"}]}]'
    with pytest.raises(InputError, match=r"racing.rounds.0.tasks: two tasks are called 'densenet'"):
        settings(twice)
