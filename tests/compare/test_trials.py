"""Oracles: the evaluator itself under the same seed, for numbers; a count of what is submitted, for what is not trained
again.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evonas import config
from evonas.compare.comparison import Contender, compare
from evonas.compare.trials import CellSpec, CostSpec, TrialResults, TrialSpec, by_task, fresh_seeds, run_cells
from evonas.config import DataConfig, SearchConfig, TaskConfig, TextConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.runs.interrupt import RunInterruptedError
from evonas.runs.jobs import spec_text
from evonas.runs.progress import JobProgress
from evonas.runs.store import Store
from evonas.search.evaluator import Evaluator, evaluator_from_config
from evonas.search.outcome import Evaluation, Rejection
from evonas.tasks.sources import images_digest

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

TINY = config.load_search(Path(__file__).parents[2] / "search_spaces" / "tiny.toml")
S0, BN, EXPLOSIVE = CATALOGUE["evonorm-s0"], CATALOGUE["bn-relu"], Genome.from_text("square(x)")
TASKS = ("preact_resnet", "mobilenet_v2")

Answer = Callable[[str, Genome, int], Evaluation]


class Made:
    """Stands in for the evaluators; notes what is asked for, and answers without training."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.trained: list[tuple[str, str, int]] = []

    def of(self, spec: CellSpec) -> Callable[..., Evaluation]:
        """The evaluator of a task."""

        def evaluate(genome: Genome, *, gated: bool, seed: int, findings: bool) -> Evaluation:
            assert findings
            assert not gated
            self.trained.append((spec.task.architecture, genome.key, seed))
            return self.answer(spec.task.architecture, genome, seed)

        return evaluate


def scored(task: str, genome: Genome, seed: int) -> Evaluation:
    return Evaluation(genome.key, seed, 6, objectives={task: seed / 10})


Run = Callable[..., TrialResults]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.sqlite") as opened:
        yield opened


@pytest.fixture
def run(store: Store, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Trials of two layers, by evaluators that are made up."""

    def trained(
        made: Made,
        *,
        seeds: tuple[int, ...] = (2, 3),
        settings: SearchConfig = TINY,
        layers: Sequence[Genome] = (S0, BN),
    ) -> TrialResults:
        monkeypatch.setattr(CellSpec, "evaluator", lambda spec: made.of(spec))
        return run_cells(by_task(settings), layers, seeds, store, lambda _: None).trials

    return trained


def test_trials_are_the_evaluators_numbers_task_by_task(store: Store) -> None:
    found = run_cells(by_task(TINY), [S0, EXPLOSIVE], [2, 3], store, lambda _: None).trials
    evaluate = evaluator_from_config(TINY)
    for seed in (2, 3):
        together = evaluate(S0, gated=False, seed=seed).objectives
        assert {task: found[S0.key][task, seed].objectives[task] for task in TASKS} == together
    failures = [trial.rejection for trial in found[EXPLOSIVE.key].values()]
    assert [f and (f.stage, f.reason, f.task) for f in failures] == [
        ("training", "diverged", t) for t in TASKS for _ in "ab"
    ]


def test_with_several_rates_a_trial_is_the_evaluators_at_its_best_rate(store: Store) -> None:
    """No quality gate stands in a trial, so the rates are halved at a quarter and a half of the steps."""
    training = TINY.training.model_copy(update={"learning_rates": (0.03, 0.1, 0.3)})
    settings = TINY.model_copy(update={"training": training})
    first, again = (run_cells(by_task(settings), [S0], [2], store, lambda _: None).trials[S0.key] for _ in "ab")
    alone = replace(evaluator_from_config(settings), rate_marks=())(S0, gated=False, seed=2)
    assert {task: first[task, 2].objectives[task] for task in TASKS} == alone.objectives
    assert {task: first[task, 2].rates[task] for task in TASKS} == alone.rates
    assert sum(first[task, 2].steps for task in TASKS) == alone.steps == 2 * (3 * 1 + 2 * 2 + 1 * 3)
    assert again == first
    (standing,) = compare([Contender("s0", S0)], TASKS, [2], {S0.key: first}).standings
    assert standing.as_json()["rates"] == {task: {2: alone.rates[task]} for task in TASKS}


def test_what_is_recorded_is_not_trained_again(run: Run) -> None:
    first, second = Made(scored), Made(scored)
    results = run(first)
    assert len(first.trained) == len(set(first.trained)) == 2 * 2 * 2
    assert run(second) == results
    assert second.trained == []


def test_another_seed_trains_that_seed_alone_and_other_settings_train_all(run: Run) -> None:
    run(Made(scored))
    more, longer = Made(scored), Made(scored)
    run(more, seeds=(2, 3, 4))
    assert more.trained == [(task, key, 4) for task in TASKS for key in (S0.key, BN.key)]
    training = TINY.training.model_copy(update={"steps": 7})
    run(longer, settings=TINY.model_copy(update={"training": training}))
    assert len(longer.trained) == 8


def test_layers_given_twice_are_trained_once(run: Run) -> None:
    made = Made(scored)
    assert list(run(made, seeds=(2,), layers=[S0, BN, S0])) == [S0.key, BN.key]
    assert len(made.trained) == 2 * 2


@pytest.mark.parametrize(("stage", "again"), [("execution", 1), ("resource", 1), ("training", 0)])
def test_a_trial_that_ended_outside_training_is_tried_again(run: Run, stage: str, again: int) -> None:
    def fails(task: str, genome: Genome, seed: int) -> Evaluation:
        if (task, genome, seed) == (TASKS[0], BN, 3):
            return Evaluation(genome.key, seed, rejection=Rejection(stage, "for a reason", task))
        return scored(task, genome, seed)

    run(Made(fails))
    second = Made(scored)
    results = run(second)
    assert second.trained == [(TASKS[0], BN.key, 3)] * again
    assert bool(results[BN.key][TASKS[0], 3].objectives) == bool(again)


def test_an_interrupted_run_keeps_what_was_finished_and_goes_on(run: Run, store: Store) -> None:

    def stops(task: str, genome: Genome, seed: int) -> Evaluation:
        if (task, genome, seed) == (TASKS[1], S0, 3):
            signal.raise_signal(signal.SIGINT)
        return scored(task, genome, seed)

    with pytest.raises(RunInterruptedError):
        run(Made(stops))
    assert store.count() == 6
    again = Made(scored)
    run(again)
    assert again.trained == [(TASKS[1], S0.key, 3), (TASKS[1], BN.key, 3)]


def test_a_task_that_cannot_be_built_is_told_before_anything_is_trained(run: Run) -> None:
    made = Made(scored)
    wrong = TINY.model_copy(update={"tasks": (*TINY.tasks, TaskConfig(architecture="densenet", head=5))})
    with pytest.raises(InputError, match="densenet has no last 1x1 convolution"):
        run(made, settings=wrong)
    twins = TINY.model_copy(update={"tasks": (TINY.tasks[0], TINY.tasks[0])})
    with pytest.raises(InputError, match="two tasks are called"):
        run(made, settings=twins)
    assert made.trained == []


def test_a_layer_that_a_network_has_no_place_for_is_told_before_anything_is_trained(run: Run, store: Store) -> None:
    made = Made(scored)
    with pytest.raises(InputError, match=r"on preact_resnet: .*layout"):
        run(made, layers=[S0, CATALOGUE["layernorm"]])
    assert (made.trained, store.count()) == ([], 0)


def test_no_network_is_built_where_all_is_recorded_and_only_those_of_what_is_missing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: a count of what is built."""
    built: list[str] = []

    def counted(column: SearchConfig) -> Evaluator:
        built.extend(task.label for task in column.tasks)
        return evaluator_from_config(column)

    monkeypatch.setattr("evonas.compare.trials.evaluator_from_config", counted)
    run(Made(scored))
    assert built == list(TASKS)
    built.clear()
    run(Made(scored))
    assert built == []
    wider = TINY.tasks[1].model_copy(update={"width": 0.75})
    run(Made(scored), settings=TINY.model_copy(update={"tasks": (TINY.tasks[0], wider)}))
    assert built == [TASKS[1]]


def test_progress_names_trainings_and_costs_for_what_they_are(store: Store) -> None:
    seen: list[JobProgress] = []
    one = TINY.model_copy(update={"tasks": TINY.tasks[:1]})
    run_cells(by_task(one), [S0], [2], store, seen.append, costs=True)
    words = [each.doing for each in seen]
    assert words == ["training on preact_resnet", "", "measuring costs on preact_resnet", ""]


def test_a_spec_holds_what_a_trial_depends_on_and_nothing_else() -> None:
    one = by_task(TINY)["preact_resnet"]

    def spec(settings: SearchConfig, genome: Genome = S0, seed: int = 2) -> str:
        return spec_text(TrialSpec.of(settings, genome, seed))

    rerank = TINY.rerank.model_copy(update={"top": 2})
    same = one.model_copy(update={"name": "other", "seed": 9, "rerank": rerank, "text": TextConfig(tokens="bpe")})
    assert spec(same) == spec(one)
    tested = one.model_copy(update={"data": TINY.data.model_copy(update={"score_on": "test"})})
    wider = one.model_copy(update={"tasks": (one.tasks[0].model_copy(update={"width": 0.5}),)})
    others = [spec(tested), spec(wider), spec(one, BN), spec(one, S0, 3), spec_text(CostSpec.of(one, S0, 2))]
    assert len({spec(one), *others}) == 6


def test_two_texts_of_one_layer_are_one_trial() -> None:
    first, second = (Genome.from_text(f"a = sigmoid(x); {both}") for both in ("add(x, a)", "add(a, x)"))
    assert first.to_text() != second.to_text()
    one = by_task(TINY)["preact_resnet"]
    assert spec_text(TrialSpec.of(one, first, 1)) == spec_text(TrialSpec.of(one, second, 1))


def test_other_images_in_the_same_file_are_refused(tmp_path: Path, run: Run, store: Store) -> None:
    """H1 of the faults: what is recorded is known by the images, not by where they lie."""
    file, rng = tmp_path / "images.npz", np.random.default_rng(0)

    def write(labels: int) -> None:
        numbers = np.arange(200) % labels
        images = rng.integers(0, 255, (200, 8, 8, 1), dtype=np.uint8)
        np.savez(file, x_train=images, y_train=numbers, x_test=images[:20], y_test=numbers[:20])
        images_digest.cache_clear()  # a new process

    write(4)
    settings = TINY.model_copy(update={"data": DataConfig(name="npz", path=str(file))})
    first = run(Made(scored), settings=settings)
    write(5)
    with pytest.raises(InputError, match=r"8 results were made from something else: images \(\w{8}, now \w{8}\)"):
        run(Made(scored), settings=settings)
    kept = run_cells(by_task(settings), [S0, BN], [2, 3], store, lambda _: None, keep_changed=True).trials
    assert kept == first


def test_fresh_seeds_are_not_the_searchs() -> None:
    assert fresh_seeds(TINY, 3) == (2, 3, 4)
