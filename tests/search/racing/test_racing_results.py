"""What is made of measurements: records, rankings, and what people are shown of them.

Scores are made up: a layer's level is known, so are its luck in the search and what a round adds. Oracles: the beliefs
of a race that is told the same by hand; sorting by what is printed.
"""

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from archives import same_content
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import evonas as package
from evonas import config
from evonas.compare import rerank
from evonas.config import EvolutionConfig, SearchConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.interface.state import state_of
from evonas.report.board import TensorBoard
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.dashboard import SearchBoard
from evonas.search.driver import Ending, Watcher, drive
from evonas.search.execution import EvaluationJob, Known
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.making import make_search
from evonas.search.named import find_layer
from evonas.search.outcome import Candidate, Evaluation, Rejection, Remeasurement
from evonas.search.population import Population
from evonas.search.racing.race import Race
from evonas.search.ranking import ranking, relatives, shrinkage_of
from evonas.search.start import create_run

TINY = Path(__file__).parents[3] / "search_spaces" / "tiny.toml"
KEPT = Path(__file__).parents[3] / "runs" / "kept" / "cifar-s-warm"
REFERENCE = CATALOGUE["gn-relu"].key


@dataclass
class MadeUp:
    """An executor whose layers have a level and, in the search, luck; measurements of every second layer fail."""

    failing: bool = False
    jobs: list[EvaluationJob] = field(default_factory=list)
    eager: bool = False

    def doing(self) -> list[str]:
        return []

    def submit(self, job: EvaluationJob) -> Known:
        self.jobs.append(job)
        key = job.genome.key
        level, luck = int(key[:4], 16) / 65536, int(key[4:8], 16) / 65536 - 0.5
        if self.failing and job.conditions and int(key[8:12], 16) % 2 == 0:
            rejection = Rejection("training", "diverged", "a")
            return Known(Evaluation(key, job.seed or 1, rejection=rejection))
        score = 0.2 + 0.5 * level + (0.1 if job.conditions else 0.2 * luck)
        return Known(Evaluation(key, job.seed or 1, 4, 0.5, {"a": score, "b": score + 0.1}))


def settings(*changes: str) -> SearchConfig:
    made = ["racing.every=3", "racing.elites=0.4", "budget.evaluations=60", "evolution.window=20", *changes]
    return config.load_search(TINY, made)


def search(
    folder: Path, *changes: str, executor: MadeUp | None = None, watchers: list[Watcher] | None = None
) -> RunFolder:
    wanted = settings(*changes)
    run = RunFolder(folder) if folder.exists() else create_run(folder, wanted)
    with Archive.open(run.archive_file) as archive:
        ending = drive(wanted, archive, executor or MadeUp(), watchers or [])  # type: ignore[arg-type]
    assert ending is Ending.BUDGET
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return search(tmp_path_factory.mktemp("results") / "raced")


def records(run: RunFolder) -> Iterator[tuple[Candidate | Remeasurement, Evaluation]]:
    with Archive.open(run.archive_file, read_only=True) as archive:
        yield from archive.in_order(screened_out=True)


def told(run: RunFolder) -> Race:
    """A race that is told, by hand, what the archive holds."""
    with Archive.open(run.archive_file, read_only=True) as archive:
        race = Race(reference=archive.baselines()["gn-relu"].mean)
    for what, evaluation in records(run):
        if isinstance(what, Candidate):
            assert evaluation.mean is not None
            race.found(what.index, what.genome.family, evaluation.mean)
        else:
            race.ask(what.round, what.candidate)
            race.tell(what.round, what.candidate, evaluation.mean)
    return race


def test_layers_are_ranked_by_posterior_mean(run: RunFolder) -> None:
    entries, race = ranking(run), told(run)
    beliefs = race.beliefs()
    assert len(entries) == 60
    assert [entry.posterior for entry in entries] == [beliefs[entry.candidate or 0] for entry in entries]
    means = [entry.score for entry in entries]
    assert means == sorted(means, key=lambda mean: -(mean or 0))
    assert [entry.evaluation.mean for entry in entries] != sorted(
        (entry.evaluation.mean for entry in entries), key=lambda mean: -(mean or 0)
    )
    assert sum(entry.posterior.measurements > 1 for entry in entries if entry.posterior) >= 5
    assert [entry.rank for entry in ranking(run, 3)] == [1, 2, 3]
    found = find_layer(f"{run.path}#1")
    assert found.genome == entries[0].genome
    assert f"posterior mean {entries[0].posterior}" in found.provenance


def test_the_shrinkage_is_that_of_the_best_ten(run: RunFolder, evonas: Callable[..., Any]) -> None:
    entries = ranking(run)
    heads = [group.best for group in relatives(entries)]
    fall = shrinkage_of(entries)
    assert fall is not None
    found = [entry.evaluation.mean or 0.0 for entry in heads[:10]]
    after = [entry.score or 0.0 for entry in heads[:10]]
    assert fall.points == pytest.approx((sum(found) - sum(after)) / 10)
    places = sorted(heads, key=lambda entry: -(entry.evaluation.mean or 0.0))
    assert fall.places == pytest.approx(sum(abs(places.index(entry) - i) for i, entry in enumerate(heads[:10])) / 10)
    assert fall.points > 0  # they were the luckiest
    status, out, err = evonas("top", run.path)
    assert status == 0, err
    assert str(fall) in out
    assert "posterior mean" in out
    assert shrinkage_of([]) is None


def test_a_reranking_takes_the_best_of_each_family_by_what_is_believed(run: RunFolder) -> None:
    heads = [group.best.candidate for group in relatives(ranking(run))]
    assert [entry.candidate for entry in rerank._candidates(run, None)] == heads
    with Archive.open(run.archive_file, read_only=True) as archive:
        known = archive.baselines()["gn-relu"].objectives
    by_margin = rerank._candidates(run, "gn-relu")
    margins = [
        (entry.score or 0.0)
        - (entry.evaluation.mean or 0.0)
        + min(score - known[task] for task, score in entry.evaluation.objectives.items())
        for entry in by_margin
    ]
    assert margins == sorted(margins, reverse=True)
    assert sorted(entry.candidate or 0 for entry in by_margin) == sorted(index or 0 for index in heads)


def test_the_state_of_a_search_has_the_parents_it_would_choose_from(run: RunFolder) -> None:
    state, levels = state_of(run), told(run).levels()
    layers = state["window"]["layers"]
    assert layers
    assert [layer["mean"] for layer in layers] == [levels[layer["candidate"]] for layer in layers]
    assert state["top"][0]["posterior"]["mean"] == ranking(run)[0].score


def test_json_and_tables_hold_scores_when_found_and_what_is_believed(
    run: RunFolder, evonas: Callable[..., Any]
) -> None:
    status, out, err = evonas("top", run.path, "--json", "-n", "2")
    assert status == 0, err
    first, _, baseline = json.loads(out)
    entry = ranking(run)[0]
    assert entry.posterior is not None
    assert first["mean"] == entry.evaluation.mean
    assert first["posterior"] == {
        "mean": entry.posterior.mean,
        "sd": entry.posterior.sd,
        "measurements": entry.posterior.measurements,
        "failed": False,
    }
    assert baseline["posterior"] is None
    opened = package.open_run(run.path)
    row = opened.rows()[entry.candidate or 0]
    assert (row["posterior_mean"], row["measurements"]) == (entry.posterior.mean, entry.posterior.measurements)
    assert str(entry.posterior) in repr(opened)
    assert str(entry.posterior) in opened._repr_html_()
    frame = opened.to_frame()
    assert list(frame["posterior_mean"]) == [row["posterior_mean"] for row in opened.rows()]


def test_measurements_that_fail_are_results_and_their_layers_come_last(tmp_path: Path) -> None:
    run = search(tmp_path / "run", executor=MadeUp(failing=True))
    failed = {what.candidate for what, e in records(run) if isinstance(what, Remeasurement) and e.rejection} - {None}
    assert failed
    entries = ranking(run)
    ending = [entry.candidate for entry in entries if entry.posterior and entry.posterior.failed]
    assert failed <= {*ending}
    assert [entry.candidate for entry in entries][-len(ending) :] == ending
    (level,) = {entry.score for entry in entries if entry.candidate in ending}
    assert level == min(entry.score or 0.0 for entry in entries)
    with Archive.open(run.archive_file, read_only=True) as archive:
        assert ("training", "diverged") not in archive.rejection_counts()  # of candidates, of which none failed
        assert archive.told() == 60


@pytest.mark.parametrize(
    "changes",
    [{"winner": "average"}, {"winner": "pareto"}, {"algorithm": "nsga2"}],
    ids=lambda changes: "-".join(changes.values()),
)
def test_parents_are_chosen_by_posterior_mean(changes: dict[str, Any]) -> None:
    """Layer 0 scored least of all, on both tasks; it is believed to be the best."""
    population = Population(EvolutionConfig(tournament=1.0, window=4, **changes))
    levels = {0: 0.9, 1: 0.5, 2: 0.4, 3: 0.3}
    for index in levels:
        scores = {"a": 0.1 + index / 10, "b": 0.2 + index / 10}
        population.admit(Individual.of(index, CATALOGUE["bn-relu"], scores, FULL_TRAINING), lambda: levels)
    rng, wins = random.Random(1), list[int]()
    for known in (levels, {index: index / 10 for index in levels}):
        population.results_changed()
        winners = Counter(population.parent(rng, dict(known).copy).index for _ in range(400))
        wins.append(winners.most_common(1)[0][0])
    assert wins == [0, 3]
    first = next(member for member in population.members if member.index == 0)
    assert first.objectives == {"a": 0.1, "b": 0.2}  # what was measured stays


def test_a_race_changes_who_becomes_a_parent_but_not_the_front(tmp_path: Path) -> None:
    changes = ["evolution.winner=average", "evolution.tournament=1.0", "evolution.random_injection=0.0"]
    raced, plain = (search(tmp_path / f"{every}", *changes, f"racing.every={every}") for every in (3, 0))
    parents = [
        [what.proposal.parent for what, _ in records(run) if isinstance(what, Candidate)] for run in (raced, plain)
    ]
    assert parents[0] != parents[1]
    made = make_search(settings(*changes), None)
    told = list(records(raced))
    for what, evaluation in told:
        made.ask(what)
        made.tell(what.index if isinstance(what, Candidate) else what, evaluation)
    scores = [(what.index, e.objectives) for what, e in told if isinstance(what, Candidate) and e.objectives]
    best = [
        index
        for index, mine in scores
        if not any(other != mine and all(other[task] >= mine[task] for task in mine) for _, other in scores)
    ]
    assert [member.index for member in made.front] == best


def test_jobs_of_measurements_are_of_their_round(tmp_path: Path) -> None:
    executor = MadeUp()
    search(tmp_path / "run", "racing.rounds=[{steps=4}, {steps=8}]", executor=executor)
    wanted = settings("racing.rounds=[{steps=4}, {steps=8}]")
    again = [job for job in executor.jobs if job.conditions]
    assert {job.conditions for job in again} == {1, 2}
    assert all(not job.gated and not job.hurdles for job in again)
    for job in again:
        number = int(job.label.rpartition(" ")[2])
        assert (job.conditions, job.seed) == (min(number, 2), wanted.in_round(number).seed)
    references = [job.label for job in again if job.genome.key == REFERENCE]
    assert references == [f"reference in round {number}" for number in range(1, len(references) + 1)]


def test_what_is_recorded_of_a_measurement_comes_back(tmp_path: Path) -> None:
    genome, path = CATALOGUE["evonorm-s0"], tmp_path / "archive.sqlite"
    one = Remeasurement(5, 2, 1, genome), Evaluation(genome.key, 9, 4, 2.5, {"a": 0.5}, traces={"a": ((1, 2.0),)})
    two = Remeasurement(7, 1, None, genome), Evaluation(genome.key, 9, 3, 1.5, rejection=Rejection("training", "x"))
    with Archive.create(path) as archive:
        assert archive.measurements() == archive.race() == []
        empty = archive.content()
        archive.record_measurement(*one, '{"seed": 9}')
        archive.record_measurement(*two, '{"seed": 9}')
        assert archive.measurements() == [one, two]
        assert archive.race() == [(2, 1, one[1]), (1, None, two[1])]
        assert archive.evaluation_seconds() == 4.0
        assert archive.told() == archive.reused() == 0
        assert archive.rejection_counts().total() == 0
        assert archive.content()["measurements"] != empty["measurements"]


def test_a_kept_archive_without_measurements_goes_on_as_before(tmp_path: Path) -> None:
    shutil.copytree(KEPT, tmp_path / "old")
    run = RunFolder(tmp_path / "old")
    before = [(entry.candidate, entry.evaluation) for entry in ranking(run)]
    means = [evaluation.mean or 0.0 for _, evaluation in before]
    assert means == sorted(means, reverse=True)
    assert all(entry.posterior is None for entry in ranking(run))
    with Archive.open(run.archive_file) as archive:
        content = archive.content()
        assert content["measurements"] == archive.measurements() == []
        wanted = run.config().model_copy(update={"budget": config.BudgetConfig(evaluations=archive.told())})
        seen = Seen()
        executor: Any = MadeUp()
        assert drive(wanted, archive, executor, [seen]) is Ending.BUDGET
        assert executor.jobs == []
        assert archive.content() == content
    assert seen.order == [f"told {index}" for index in range(216)]
    assert [(entry.candidate, entry.evaluation) for entry in ranking(run)] == before


@dataclass
class Seen:
    """A watcher."""

    order: list[str] = field(default_factory=list)

    def baseline(self, *_: object) -> None:
        return None

    def told(self, candidate: Candidate, *_: object, **__: object) -> None:
        self.order.append(f"told {candidate.index}")

    def measured(self, measurement: Remeasurement, *_: object, **__: object) -> None:
        self.order.append(measurement.label)


def test_tensorboard_shows_how_far_the_best_fall(tmp_path: Path) -> None:
    wanted = settings()
    board = SearchBoard(TensorBoard(tmp_path / "tb"), wanted)
    run = search(tmp_path / "run", watchers=[board])
    board.close()
    shown = EventAccumulator(str(tmp_path / "tb"), size_guidance={"images": 0})
    shown.Reload()
    falls = [point.value for point in shown.Scalars("racing/shrinkage")]
    measured = [what for what, _ in records(run) if isinstance(what, Remeasurement)]
    assert len(falls) == len(measured)
    assert shown.Images("racing/found_against_posterior")
    assert shown.Scalars("racing/best_posterior_mean")[-1].value == pytest.approx(ranking(run)[0].score, abs=0.05)
    assert shown.Scalars("core-seconds/measured again")[-1].value == pytest.approx(0.5 * len(measured), abs=1)


def test_a_race_that_went_on_in_pieces_is_that_of_one_session(run: RunFolder, tmp_path: Path) -> None:
    for evaluations in (7, 20, 33, 60):
        search(tmp_path / "pieces", f"budget.evaluations={evaluations}")
    assert same_content(run.archive_file, tmp_path / "pieces" / "archive.sqlite")
