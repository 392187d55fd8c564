"""Oracles: the evaluator itself under the same seed, for numbers; a count of what is submitted, for what is not trained
again.
"""

import signal
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from evonas import config
from evonas.compare.trials import Results, by_task, fresh_seeds, run_trials, trial_settings
from evonas.config import SearchConfig, TaskConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.runs.interrupt import RunInterruptedError
from evonas.runs.progress import Tally
from evonas.search.archive import Archive
from evonas.search.evaluator import evaluator_from_config
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.trial_store import Trials

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

TINY = config.load(Path(__file__).parents[2] / "search_spaces" / "tiny.toml")
S0, BN, EXPLOSIVE = CATALOGUE["evonorm-s0"], CATALOGUE["bn-relu"], Genome.from_text("square(x)")
TASKS = ("preact_resnet", "mobilenet_v2")

Answer = Callable[[str, Genome, int], Evaluation]


class Made:
    """Stands in for an executor; notes what is submitted, and answers without training."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.submitted: list[tuple[str, str, int]] = []
        self._task = ""

    def __call__(self, settings: SearchConfig) -> Self:
        (task,) = settings.tasks
        self._task = task.architecture
        return self

    def submit(self, genome: Genome, *, gated: bool = True, seed: int | None = None) -> Callable[[], Evaluation]:
        assert not gated
        assert seed is not None
        self.submitted.append((self._task, genome.key, seed))
        task, number = self._task, seed
        return lambda: self.answer(task, genome, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def scored(task: str, genome: Genome, seed: int) -> Evaluation:
    return Evaluation(genome.key, seed, 6, objectives={task: seed / 10})


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    return Archive.create(tmp_path / "archive.sqlite").trials


def run(trials: Trials, made: Made, *, seeds: tuple[int, ...] = (2, 3), settings: SearchConfig = TINY) -> Results:
    return run_trials(by_task(settings), [S0, BN], seeds, trials, lambda _: None, executor=made)


def test_trials_are_the_evaluators_numbers_task_by_task(trials: Trials) -> None:
    found = run_trials(by_task(TINY), [S0, EXPLOSIVE], [2, 3], trials, lambda _: None)
    evaluate = evaluator_from_config(TINY)
    for seed in (2, 3):
        together = evaluate(S0, gated=False, seed=seed).objectives
        assert {task: found[S0.key][task, seed].objectives[task] for task in TASKS} == together
    failures = [trial.rejection for trial in found[EXPLOSIVE.key].values()]
    assert [f and (f.stage, f.reason, f.task) for f in failures] == [
        ("training", "diverged", t) for t in TASKS for _ in "ab"
    ]


def test_what_is_recorded_is_not_trained_again(trials: Trials) -> None:
    first, second = Made(scored), Made(scored)
    results = run(trials, first)
    assert len(first.submitted) == len(set(first.submitted)) == 2 * 2 * 2
    assert run(trials, second) == results
    assert second.submitted == []


def test_another_seed_trains_that_seed_alone_and_other_settings_train_all(trials: Trials) -> None:
    run(trials, Made(scored))
    more, longer = Made(scored), Made(scored)
    run(trials, more, seeds=(2, 3, 4))
    assert more.submitted == [(task, key, 4) for task in TASKS for key in (S0.key, BN.key)]
    training = TINY.training.model_copy(update={"steps": 7})
    run(trials, longer, settings=TINY.model_copy(update={"training": training}))
    assert len(longer.submitted) == 8


def test_layers_given_twice_are_trained_once(trials: Trials) -> None:
    made = Made(scored)
    assert list(run_trials(by_task(TINY), [S0, BN, S0], [2], trials, lambda _: None, executor=made)) == [S0.key, BN.key]
    assert len(made.submitted) == 2 * 2


@pytest.mark.parametrize(("stage", "again"), [("execution", 1), ("training", 0)])
def test_a_trial_that_ended_outside_training_is_tried_again(trials: Trials, stage: str, again: int) -> None:
    def fails(task: str, genome: Genome, seed: int) -> Evaluation:
        if (task, genome, seed) == (TASKS[0], BN, 3):
            return Evaluation(genome.key, seed, rejection=Rejection(stage, "for a reason", task))
        return scored(task, genome, seed)

    run(trials, Made(fails))
    second = Made(scored)
    results = run(trials, second)
    assert second.submitted == [(TASKS[0], BN.key, 3)] * again
    assert bool(results[BN.key][TASKS[0], 3].objectives) == bool(again)


def test_an_interrupted_run_keeps_what_was_finished_and_goes_on(trials: Trials) -> None:
    tallies: list[Tally] = []

    def stops(task: str, genome: Genome, seed: int) -> Evaluation:
        if (task, genome, seed) == (TASKS[1], S0, 3):
            signal.raise_signal(signal.SIGINT)
        return scored(task, genome, seed)

    with pytest.raises(RunInterruptedError):
        run_trials(by_task(TINY), [S0, BN], [2, 3], trials, tallies.append, executor=Made(stops))
    assert tallies == [Tally(n, 8, n) for n in range(7)]
    again = Made(scored)
    run(trials, again)
    assert again.submitted == [(TASKS[1], S0.key, 3), (TASKS[1], BN.key, 3)]


def test_a_task_that_cannot_be_built_is_told_before_anything_is_trained(trials: Trials) -> None:
    made = Made(scored)
    wrong = TINY.model_copy(update={"tasks": (*TINY.tasks, TaskConfig(architecture="densenet", head=5))})
    with pytest.raises(InputError, match="densenet has no last 1x1 convolution"):
        run(trials, made, settings=wrong)
    twins = TINY.model_copy(update={"tasks": (TINY.tasks[0], TINY.tasks[0])})
    with pytest.raises(InputError, match="two tasks are called"):
        run(trials, made, settings=twins)
    assert made.submitted == []


def test_settings_hold_what_a_trial_depends_on_and_nothing_else() -> None:
    one = by_task(TINY)["preact_resnet"]
    same = one.model_copy(update={"name": "other", "seed": 9, "rerank": TINY.rerank.model_copy(update={"top": 2})})
    assert trial_settings(same) == trial_settings(one)
    tested = one.model_copy(update={"data": TINY.data.model_copy(update={"score_on": "test"})})
    wider = one.model_copy(update={"tasks": (one.tasks[0].model_copy(update={"width": 0.5}),)})
    assert len({trial_settings(one), trial_settings(tested), trial_settings(wider)}) == 3


def test_fresh_seeds_are_not_the_searchs() -> None:
    assert fresh_seeds(TINY, 3) == (2, 3, 4)
