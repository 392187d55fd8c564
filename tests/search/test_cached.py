"""Reused evaluations against training again: every evaluation under every pair of hurdles, bit by bit.

Small made-up trainings for the brute force, ``search_spaces/tiny.toml`` for what a search does with a cache.
"""

import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import evonas
from evonas import config
from evonas.config import LayerConfig, ProtocolsConfig, QualityConfig, SearchConfig, StabilityConfig, TrainingConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.runs import provenance
from evonas.search import evaluator as module
from evonas.search.archive import Archive
from evonas.search.ascent import Ascent
from evonas.search.cache import EvaluationCache
from evonas.search.cached import CachedExecutor, context_of, cut, with_cache
from evonas.search.driver import drive
from evonas.search.evaluator import Evaluator
from evonas.search.execution import EvaluationJob, InProcess, Pending, make_executor
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.protocols import fingerprint
from evonas.search.rungs import Hurdle, scores_at
from evonas.tasks.task import Task

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
S0 = CATALOGUE["evonorm-s0"]
RUNGS = (2, 5)


def network(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def numbered(seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator, step = torch.Generator().manual_seed(seed), 0
    while True:
        step += 1
        yield torch.full((4,), step), torch.randn((4, 3, 4, 4), generator=generator)


def pseudorandom_score(model: nn.Module) -> float:
    """Between 0.5 and 1, a function of the weights, so of layer, step and task."""
    return 0.5 + float(next(model.parameters()).detach().double().abs().sum()) * 1e4 % 1 / 2


def made(gate: int, low: str = "", bad_from: int = 99, steps: int = 8, adversary: int = 0) -> Evaluator:
    """Two tasks; ``low`` is below the gate's minimum, and the second one's loss leaves the numbers at ``bad_from``."""

    def task(name: str, bad: int) -> Task:
        def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            value = model(batch[1]).square().mean() * (1.5 if name == "b" else 1.0)
            return value * math.nan if int(batch[0][0]) >= bad else value

        def score(model: nn.Module) -> float:
            return pseudorandom_score(model) / (10 if name == low else 1)

        return Task(name, network, numbered, loss, score)

    protocols = ProtocolsConfig(
        quality=QualityConfig(steps=gate, min_accuracy=0.3), stability=StabilityConfig(steps=adversary)
    )
    training = TrainingConfig(steps=steps, learning_rate=0.01)
    return Evaluator((task("a", 99), task("b", bad_from)), training, protocols, LayerConfig(), 3, RUNGS)


def timeless(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, seconds=0.0)


def all_hurdles(whole: Evaluation) -> list[tuple[Hurdle, ...]]:
    """At each rung: one without limits, one that this layer just passes, and some that it just fails."""
    references, choices = {"a": 0.9, "b": 0.7}, []
    for steps in RUNGS:
        scores = scores_at(whole, steps)
        bare = Hurdle(steps, references)
        own = bare.relative(scores) if len(scores) == 2 else 0.8
        floors = {"a": 0.8, "b": 0.8} | bare.ratios(scores)
        high = {task: math.nextafter(ratio, 9.0) for task, ratio in floors.items()}
        limits = [
            (own, floors),
            (math.nextafter(own, 9.0), floors),
            (own, floors | {"a": high["a"]}),
            (9.0, {"b": high["b"]}),
        ]
        choices.append([bare, *(Hurdle(steps, references, *limit) for limit in limits)])
    return [(), *product(*choices)]


@pytest.mark.parametrize("gate", [1, 3, 8, *(pytest.param(gate, marks=pytest.mark.slow) for gate in (2, 5))])
@pytest.mark.parametrize(
    "trouble",
    [{}, {"low": "a"}, {"low": "b"}, *({"bad_from": step} for step in (1, 3, 5, 7)), {"adversary": 1}],
    ids=str,
)
def test_a_cut_evaluation_is_the_one_that_training_again_gives(
    gate: int, trouble: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ascend_gradient_norm", lambda *_, **__: Ascent((1.0, 9e9), exceeded=True))
    evaluate = made(gate, **trouble)
    hurdles = all_hurdles(evaluate(S0, gated=False))
    fresh = [evaluate(S0, hurdles=chosen) for chosen in hurdles]
    told = 0
    for first, (chosen, again) in product(fresh, zip(hurdles, fresh, strict=True)):
        found = cut(first, chosen, gate)
        if found is None:  # it was stopped at a rung, and would now go on: nothing recorded tells how
            assert first.rejection is not None
            assert first.rejection.stage == "rungs"
            goes_on = again.rejection is None or again.rejection.stage != "rungs"
            ungated = (first.rejection.reason, first.rejection.task) == (f"behind at step {gate}", "b")
            assert again.steps > first.steps or (again.steps == first.steps and (goes_on or ungated))
        else:
            told += 1
            assert timeless(found) == timeless(again)
            assert list(found.rungs) == list(again.rungs)
    assert told >= len(fresh)  # each tells itself, at least
    assert cut(fresh[0], (), gate) == fresh[0]


def test_the_brute_force_meets_every_kind_of_end() -> None:
    ends = set()
    troubles: list[tuple[int, dict[str, Any]]] = [
        (1, {}),
        (1, {"low": "b"}),
        (6, {"bad_from": 3}),
        (1, {"bad_from": 8}),
    ]
    for gate, trouble in troubles:
        evaluate = made(gate, **trouble)
        for chosen in all_hurdles(evaluate(S0, gated=False)):
            rejection = evaluate(S0, hurdles=chosen).rejection
            ends.add((rejection.stage, rejection.reason, rejection.task) if rejection else ())
    behind = {("rungs", f"behind at step {steps}", task) for steps in RUNGS for task in ("", "a", "b")}
    by_itself = {("quality", "accuracy too low", "b"), ("quality", "diverged", "b"), ("training", "diverged", "b")}
    assert ends == {(), *by_itself, *behind}


@pytest.mark.slow
@pytest.mark.parametrize("gate", [1, 3])
@pytest.mark.parametrize("trouble", [{}, {"low": "b"}, {"bad_from": 5}], ids=str)
def test_of_several_learning_rates_what_the_cache_tells_is_what_training_again_gives(
    gate: int, trouble: dict[str, Any]
) -> None:
    one = made(gate, **trouble)
    training = one.training.model_copy(update={"learning_rates": (0.01, 0.3, 0.05)})
    evaluate = replace(one, training=training, rate_marks=(*RUNGS, gate))
    hurdles = all_hurdles(evaluate(S0, gated=False))
    fresh = [evaluate(S0, hurdles=chosen) for chosen in hurdles]
    for first, own in zip(fresh, hurdles, strict=True):
        told = cut(first, own, gate, several=True)
        assert told is not None
        assert timeless(told) == timeless(first)
    known = 0
    for first, (chosen, again) in product(fresh, zip(hurdles, fresh, strict=True)):
        found = cut(first, chosen, gate, several=True)
        if found is None:  # it was trained longer than it would be now, or not as long
            stopped = [each.rejection and each.rejection.stage for each in (first, again)]
            assert "rungs" in stopped
        else:
            known += 1
            assert timeless(found) == timeless(again)
    assert known > len(fresh)


@pytest.mark.parametrize("floors", [{}, {"a": 9.0}, {"b": 9.0}], ids=str)
@pytest.mark.parametrize("steps", [40, 100])
def test_traces_are_cut_where_training_again_would_have_ended(steps: int, floors: dict[str, float]) -> None:
    """Task b stays at the mark before where a falls short: at the rung, or at the gate if that lies between."""
    for gate, before in ((3, 10), (20, 20)):
        evaluate = replace(made(gate, steps=steps), rungs=(10, 33))
        whole = evaluate(S0)
        stopping = (Hurdle(10, {"a": 1.0, "b": 1.0}), Hurdle(33, {"a": 1.0, "b": 1.0}, 9.0, floors))
        found = cut(whole, stopping, gate)
        assert found is not None
        assert timeless(found) == timeless(evaluate(S0, hurdles=stopping))
        reached = {"a": 33, "b": before if "a" in floors else 33}
        for task, last in reached.items():
            assert {step for step, _ in found.traces[task]} == set(range(steps // 20, last + 1, steps // 20))
        assert found.steps == sum(reached.values())


# what a search does with a cache, on real tiny trainings

CHANGES = [
    "rungs.steps=[2, 4]",
    "rungs.reduction=1.5",
    "training.learning_rate=0.02",
    "protocols.quality.min_accuracy=0.0",
    "budget.evaluations=10",
]


class Counting:
    """Notes what it passes on to the executor of a configuration."""

    def __init__(self, settings: SearchConfig) -> None:
        self.inner, self.asked = make_executor(settings), list[str]()
        self.eager, self.doing = self.inner.eager, self.inner.doing

    def submit(self, job: EvaluationJob) -> Pending:
        self.asked.append(job.genome.key)
        return self.inner.submit(job)

    def __enter__(self) -> "Counting":
        self.inner.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.inner.__exit__(kind, error, trace)


def settings_with(cache: Path | str, *changes: str) -> SearchConfig:
    return config.load_search(TINY, [*CHANGES, f"execution.cache={cache}", *changes])


def searched(folder: Path, cache: Path | str, *changes: str) -> tuple[Archive, list[str], int]:
    """The archive of a search, the keys it trained, and how many evaluations it took over."""
    settings = settings_with(cache, *changes)
    counting = Counting(settings)
    executor: Any = with_cache(counting, settings)  # type: ignore[arg-type]
    archive = Archive.create(folder / f"{len(list(folder.iterdir()))}.sqlite")
    with executor:
        drive(settings, archive, executor, [])
    return archive, counting.asked, getattr(executor, "hits", 0)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Archive]:
    """A cache that one search has filled, and the search's archive."""
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    folder = tmp_path_factory.mktemp("warm")
    archive, asked, hits = searched(folder, folder / "cache.db")
    assert (len(asked), hits) == (11, 0)
    return folder / "cache.db", archive


def test_with_a_warm_cache_a_search_trains_nothing_and_writes_the_same_archive(
    warm: tuple[Path, Archive], tmp_path: Path
) -> None:
    path, first = warm
    again, asked, hits = searched(tmp_path, path)
    assert (asked, hits) == ([], 11)
    assert again.content() == first.content()
    assert again.reused() == 10
    assert first.reused() == 0


def test_a_search_with_other_hurdles_trains_what_the_cache_does_not_tell_and_writes_what_it_would_without(
    warm: tuple[Path, Archive], tmp_path: Path
) -> None:
    path, first = warm
    for changes in (["rungs.reduction=4.0"], ["rungs.reduction=1.1", "evolution.random_injection=1.0"]):
        plain, trained, _ = searched(tmp_path, "", *changes)
        cached, asked, hits = searched(tmp_path, path, *changes)
        assert cached.content() == plain.content()
        assert plain.content() != first.content()
        assert 0 < hits < len(trained)
        assert len(asked) + hits == len(trained)
        assert cached.reused() == hits - 1  # the baseline is no candidate
        _, asked, hits = searched(tmp_path, path, *changes)
        assert (asked, hits) == ([], len(trained))  # longer evaluations have taken the place of shorter ones


@pytest.mark.slow
def test_a_search_with_several_learning_rates_writes_what_it_would_without_a_cache(tmp_path: Path) -> None:
    rates = ["training.learning_rates=[0.02, 0.2, 0.1]", "budget.evaluations=6"]
    cache = tmp_path / "cache.db"
    plain, trained, _ = searched(tmp_path, "", *rates)
    cold, asked, hits = searched(tmp_path, cache, *rates)
    assert (asked, hits) == (trained, 0)
    warm, asked, hits = searched(tmp_path, cache, *rates, "execution.workers=2")
    assert (asked, hits) == ([], len(trained))
    assert plain.content() == cold.content() == warm.content()
    assert {rate for _, _, rate in plain.content()["rates"]} <= {0.02, 0.2, 0.1}
    scored = [evaluation for _, evaluation in plain.records() if evaluation.objectives]
    assert scored
    assert all(found.rates.keys() == found.objectives.keys() for found in scored)
    strict = [*rates, "rungs.reduction=4.0"]
    assert searched(tmp_path, cache, *strict)[0].content() == searched(tmp_path, "", *strict)[0].content()


def test_a_layer_written_differently_inherits_the_scores_of_its_function(
    tmp_path: Path,
) -> None:
    swish, same = (
        Genome.from_text(t) for t in ("a = sigmoid(x); mul(x, a)", "a = neg(x); b = neg(a); c = sigmoid(b); mul(b, c)")
    )
    assert swish.key != same.key
    settings = settings_with(tmp_path / "cache.db")
    counting = Counting(settings)
    with CachedExecutor(counting, EvaluationCache(tmp_path / "cache.db"), settings) as executor:  # type: ignore[arg-type]
        first = executor.submit(EvaluationJob(swish))()
        second = executor.submit(EvaluationJob(same))()
        assert second == replace(first, key=same.key, seconds=0.0)
        assert second.reused
        assert not first.reused
        ungated = executor.submit(EvaluationJob(swish, gated=False))()
        assert not ungated.reused
        assert counting.asked == [swish.key, swish.key]
        assert executor.hits == 1


def test_evaluations_under_another_seed_are_passed_on_and_not_kept(tmp_path: Path) -> None:
    settings, asked = settings_with(tmp_path / "cache.db"), list[EvaluationJob]()

    class Noting(Counting):
        def submit(self, job: EvaluationJob) -> Pending:
            asked.append(job)
            return super().submit(job)

    hurdles = (Hurdle(2, {"preact_resnet": 1.0, "mobilenet_v2": 1.0}),)
    with CachedExecutor(Noting(settings), EvaluationCache(tmp_path / "cache.db"), settings) as executor:  # type: ignore[arg-type]
        jobs = [EvaluationJob(S0, hurdles=hurdles, seed=seed) for seed in (7, 7, 1)]
        other = [executor.submit(job)() for job in jobs]
        assert [evaluation.seed for evaluation in other] == [7, 7, 1]
        assert timeless(other[0]) == timeless(other[1])
        assert not any(evaluation.reused for evaluation in other)
        assert asked == jobs
        own = executor.submit(EvaluationJob(S0))()
        assert (own.seed, own.reused, executor.hits, len(asked)) == (1, False, 0, 4)
        again = executor.submit(EvaluationJob(S0, seed=7))()  # nor does what is kept answer for them
        assert (again.seed, again.reused, len(asked)) == (7, False, 5)
        assert executor.submit(EvaluationJob(S0))() == replace(own, seconds=0.0)


@pytest.mark.parametrize("stage", ["execution", "resource"])
def test_failed_workers_are_never_kept(stage: str, tmp_path: Path) -> None:
    settings = settings_with(tmp_path / "cache.db")

    def broken(genome: Genome, **_: Any) -> Evaluation:
        return Evaluation(genome.key, 1, seconds=1.0, rejection=Rejection(stage, "for a reason"))

    inner = InProcess(broken, 1)  # type: ignore[arg-type]
    with CachedExecutor(inner, EvaluationCache(tmp_path / "cache.db"), settings) as executor:
        for _ in range(2):
            assert executor.submit(EvaluationJob(S0))().rejection == Rejection(stage, "for a reason")
        assert executor.hits == 0


def test_there_is_no_cache_by_default_nor_where_repeats_are_wanted(tmp_path: Path) -> None:
    inner = InProcess(made(3), 1)
    assert with_cache(inner, config.load_search(TINY)) is inner
    off = settings_with(tmp_path / "cache.db", 'protocols.screens=["structure", "numerics"]')
    assert with_cache(inner, off) is inner
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        "seed=2",
        "layer.groups=4",
        "data.train=200",
        "data.flip=true",
        "training.steps=7",
        "training.learning_rate=0.2",
        "tasks.0.width=0.0625",
        "tasks.1.name=other",
        "protocols.quality.steps=2",
        "protocols.stability.steps=5",
        "rungs.steps=[2]",
        "execution.threads=2",
    ],
)
def test_what_decides_an_evaluation_is_part_of_the_context(change: str) -> None:
    assert context_of(config.load_search(TINY, [change])) != context_of(config.load_search(TINY))


@pytest.mark.parametrize(
    "change",
    [
        "name=other",
        "baselines=[]",
        "space.intermediate_nodes=9",
        "evolution.window=3",
        'evolution.initial=["evonorm-s0"]',
        "budget.evaluations=99",
        "execution.workers=2",
        "execution.timeout_seconds=7.0",
        "execution.cache=file.db",
        "protocols.numerics.scales=[2.0]",
        "rungs.reduction=3.0",
        "rungs.window=3",
    ],
)
def test_what_decides_only_which_layers_are_trained_is_not(change: str) -> None:
    assert context_of(config.load_search(TINY, [change])) == context_of(config.load_search(TINY))


def test_the_images_count_and_not_where_they_lie(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 8, 8), np.uint8)
    labels = np.arange(400) % 10
    for name, other in (("a", 0), ("b", 0), ("c", 1)):
        changed = images.copy()
        changed[0, 0, 0] += other
        np.savez(tmp_path / f"{name}.npz", x_train=changed, y_train=labels, x_test=images, y_test=labels)
    a, b, c = (context_of(config.load_search(TINY, ["data.name=npz", f"data.path={tmp_path / n}.npz"])) for n in "abc")
    assert a == b != c


def test_the_code_counts_and_what_is_written_about_it_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, copy = config.load_search(TINY), tmp_path / "evonas"
    shutil.copytree(Path(evonas.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "_ROOT", copy)
    found = []
    for file, text in (("", ""), ("training/fit.py", "# faster\n"), ("config/task.py", "LIBRARIES = ()\n")):
        if file:
            (copy / file).write_text((copy / file).read_text() + text)
        provenance.code_digest.cache_clear()
        found.append(context_of(settings))
    provenance.code_digest.cache_clear()
    assert found[0] == found[1] != found[2]


def test_the_two_layers_of_one_function_above_have_one_fingerprint_and_others_do_not() -> None:
    texts = ("a = sigmoid(x); mul(x, a)", "a = neg(x); b = neg(a); c = sigmoid(b); mul(b, c)", "sigmoid(x)")
    first, second, third = (fingerprint(Genome.from_text(text), LayerConfig()) for text in texts)
    assert first == second != third
