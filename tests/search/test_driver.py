"""Whole searches of seconds on real tiny trainings, with every objective switched on, and with rungs.

Oracles: a search that is only told what the archive recorded, in its order, must ask for the recorded candidates; the
archive of an uninterrupted run of one worker; successive halving made anew of the recorded scores.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from archives import same_content
from killing import Killed, killed_after

from evonas import config
from evonas.config import SearchConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.search import compiling
from evonas.search.archive import Archive
from evonas.search.driver import Ending, drive
from evonas.search.execution import EvaluationJob, Known, make_executor
from evonas.search.making import make_search, require_searchable
from evonas.search.objectives import OBJECTIVES
from evonas.search.outcome import Candidate, Evaluation, Rejection
from evonas.search.rungs import Hurdle, Ladder

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

ROOT = Path(__file__).parents[2]
TINY = ROOT / "search_spaces" / "tiny.toml"
EXTRAS = [name for name in OBJECTIVES if name != "activation_sparsity"]  # all that networks on images have
EVERY = [
    *(f"objectives.{name}=true" for name in EXTRAS),
    *("protocols.quality.min_accuracy=0.0", "evolution.initial_random=2", "evolution.random_injection=0.1"),
    *("evolution.window=4", "evolution.tournament=1.0", "training.steps=4"),
]


LEARNS = ["protocols.quality.min_accuracy=0.0", "protocols.quality.steps=2", "training.steps=4"]


def run(path: Path, settings: SearchConfig) -> Ending:
    with (Archive.open if path.exists() else Archive.create)(path) as archive, make_executor(settings) as executor:
        return drive(settings, archive, executor, [])


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
    overrides = [*EVERY, f"evolution.algorithm={algorithm}"]
    assert run(path, config.load_search(TINY, [*overrides, "budget.evaluations=4"])) is Ending.BUDGET
    with Archive.open(path) as archive:
        before = list(archive.records(screened_out=True))
    assert len(before) == 4
    settings = config.load_search(TINY, [*overrides, "budget.evaluations=8"])
    assert run(path, settings) is Ending.BUDGET
    with Archive.open(path) as archive:
        records, (reference,) = list(archive.records(screened_out=True)), archive.baselines().values()
    assert records[:4] == before
    assert list(reference.extras) == EXTRAS
    for _, evaluation in records:
        assert list(evaluation.extras) == (EXTRAS if evaluation.objectives else [])
    assert any(candidate.proposal.parent is not None for candidate, _ in records)
    assert replayed(settings, records, reference) == [candidate for candidate, _ in records]


def test_under_the_defaults_a_slow_machine_searches_as_a_fast_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured time never counts: not even where compiling would pay for every candidate."""
    archives = []
    for name, saved in (("fast", 0.0), ("slow", 1e9)):
        monkeypatch.setattr(compiling, "SAVED_SHARE", saved)
        run(tmp_path / name, config.load_search(TINY, [*LEARNS, "budget.evaluations=6"]))
        with Archive.open(tmp_path / name) as archive:
            archives.append((archive.content(), [evaluation.compiled for _, evaluation in archive.records()]))
    assert archives[0] == archives[1]
    assert archives[0][1] == [""] * 6


RUNGS = [
    "rungs.steps=[3, 6]",
    "rungs.reduction=1.5",
    "evolution.random_injection=0.1",
    "training.steps=10",
    "training.learning_rate=0.02",
    "protocols.quality.min_accuracy=0.0",
    'evolution.initial=["frn-tlu", "evonorm-s0"]',
    "budget.evaluations=15",
]


def search(path: Path, *changes: str) -> Ending:
    return run(path, config.load_search(TINY, [*RUNGS, *changes]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("driver") / "one.sqlite"
    assert search(path) is Ending.BUDGET
    return path


def test_some_layers_are_stopped_at_rungs_and_some_are_not(finished: Path) -> None:
    with Archive.open(finished, read_only=True) as archive:
        records = list(archive.records())
        baseline = archive.baselines()["gn-relu"]
    ends = Counter(e.rejection.reason if e.rejection else "" for _, e in records)
    assert {"", "behind at step 3", "behind at step 6"} <= set(ends)
    tasks = {e.rejection.task for _, e in records if e.rejection and e.rejection.stage == "rungs"}
    assert tasks & set(baseline.objectives)
    assert {task: [steps for steps, _ in points] for task, points in baseline.rungs.items()} == {
        task: [3, 6] for task in baseline.objectives
    }
    assert [c.genome.key for c, _ in records[:2]] == [CATALOGUE[n].key for n in ("frn-tlu", "evonorm-s0")]


def verdicts(evaluation: Evaluation, hurdles: tuple[Hurdle, ...], tasks: list[str]) -> list[Rejection | None]:
    """What the hurdles say of the recorded scores, in the order in which they come up, as far as there are scores."""
    found: list[Rejection | None] = []
    for hurdle in hurdles:
        scores = {
            task: dict(points)[hurdle.steps]
            for task, points in evaluation.rungs.items()
            if hurdle.steps in dict(points)
        }
        assert list(scores) == tasks[: len(scores)]
        found += [hurdle.stopped_on(task, score) for task, score in scores.items()]
        if found and found[-1]:
            return found
        if len(scores) < len(tasks):
            return found
        found.append(hurdle.stopped(scores))
    return found


def test_the_recorded_evaluations_are_what_successive_halving_makes_of_the_recorded_scores(finished: Path) -> None:
    settings = config.load_search(TINY, RUNGS)
    with Archive.open(finished, read_only=True) as archive:
        told, reference = [e for _, e in archive.records()], archive.baselines()["gn-relu"]
    checked = 0
    for index, evaluation in enumerate(told):
        ladder = Ladder(settings.rungs, reference)
        for earlier in told[: max(0, index - settings.evolution.look_ahead + 1)]:
            ladder.tell(earlier)
        said = verdicts(evaluation, ladder.hurdles(), list(reference.objectives))
        assert not any(said[:-1])
        if evaluation.rejection is None:
            assert said == [None] * 6  # two tasks and the threshold, at two rungs
        elif evaluation.rejection.stage == "rungs":
            assert said[-1] == evaluation.rejection
            checked += 1
        else:
            assert not any(said)
    assert checked >= 4


def test_two_workers_write_the_same_archive_as_one(finished: Path, tmp_path: Path) -> None:
    search(tmp_path / "two.sqlite", "execution.workers=2")
    assert same_content(finished, tmp_path / "two.sqlite")


def test_a_killed_search_with_rungs_resumes_to_the_archive_of_an_uninterrupted_one(
    finished: Path, tmp_path: Path
) -> None:
    """A search ends after five candidates, with more of them asked for."""
    path = tmp_path / "killed.sqlite"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Archive, "record", killed_after(5, Archive.record))
        with pytest.raises(Killed):
            search(path)
    with Archive.open(path, read_only=True) as archive:
        assert archive.told() == 5
    assert search(path) is Ending.BUDGET
    assert same_content(finished, path)


class Failing:
    """An executor whose first baseline cannot be trained, at first."""

    def __init__(self, *good: str) -> None:
        self.good = {CATALOGUE[name].key for name in good}
        self.gated: list[bool] = []
        self.references: list[float] = []
        self.labels: list[str] = []

    eager = False

    def doing(self) -> list[str]:
        return []

    def submit(self, job: EvaluationJob) -> Known:
        self.labels.append(job.label)
        self.gated.append(job.gated)
        self.references += [h.references["t"] for h in job.hurdles]
        good = Evaluation(job.genome.key, 1, objectives={"t": 0.5}, rungs={"t": ((4, 0.25),)})
        bad = replace(good, objectives={}, rungs={}, rejection=Rejection("training", "diverged"))
        return Known(good if job.gated or job.genome.key in self.good else bad)


def _small(*baselines: str) -> SearchConfig:
    names = ", ".join(f'"{name}"' for name in baselines)
    return config.load_search(TINY, ["rungs.steps=[4]", f"baselines=[{names}]", "budget.evaluations=6"])


def test_the_rungs_go_by_the_first_baseline_that_could_be_trained(tmp_path: Path) -> None:
    executor = Failing("gn-relu")
    with Archive.create(tmp_path / "a.sqlite") as archive:
        assert drive(_small("bn-relu", "gn-relu"), archive, executor, []) is Ending.BUDGET  # type: ignore[arg-type]
    assert executor.gated == [False, False] + [True] * 6
    assert executor.references == [0.25] * 6
    assert executor.labels[:3] == ["baseline bn-relu", "baseline gn-relu", "candidate 0"]


def test_without_such_a_baseline_rungs_are_refused_in_one_line(tmp_path: Path) -> None:
    with (
        Archive.create(tmp_path / "a.sqlite") as archive,
        pytest.raises(InputError, match="baselines: none could be trained to the end") as caught,
    ):
        drive(_small("bn-relu", "gn-relu"), archive, Failing(), [])  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (['evolution.initial=["evonorm-s9"]'], "evolution.initial: 'evonorm-s9'; accepted: a formula"),
        (['evolution.initial=["evonorm-b0"]'], "evolution.initial 'evonorm-b0': genome: node 4: index set bhw"),
        (['evolution.initial=["cosh(x)"]'], "evolution.initial: formula 'cosh(x)', character 1: unknown"),
        (['evolution.initial=["sigmoid(x)"]', "space.primitives=['neg', 'add']"], "primitive sigmoid is not in"),
        (["space.primitives=['neg', 'ad']"], "'ad'"),
        (["space.index_sets=['wh']"], "'wh'"),
        (["baselines=['bn-rely']"], "baselines: unknown layer 'bn-rely'"),
        (["data.score_on=test"], "data.score_on: 'test'; accepted: 'validation': a search sees no test image"),
    ],
)
def test_what_only_a_search_knows_to_be_wrong_is_refused_before_anything_is_trained(
    changes: list[str], words: str, tmp_path: Path
) -> None:
    settings, executor = config.load_search(TINY, changes), Failing()
    with pytest.raises(InputError) as caught:
        require_searchable(settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    with Archive.create(tmp_path / "a.sqlite") as archive, pytest.raises(InputError) as again:
        drive(settings, archive, executor, [])  # type: ignore[arg-type]
    assert str(again.value) == str(caught.value)
    assert executor.gated == []
