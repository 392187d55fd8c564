"""Oracles: the evaluation in this process, which worker processes must repeat number for number; and accidents made on
purpose: a worker that is killed, one that hangs, one that runs out of memory.

The accidents happen in workers that run ``evaluate_by_command`` of this module in place of a training.
"""

import ctypes
import multiprocessing
import os
import platform
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from evonas import config
from evonas.config import SearchConfig
from evonas.errors import InputError
from evonas.evaluate import execution
from evonas.evaluate.evaluator import Evaluator, evaluator_from_config
from evonas.evaluate.execution import InProcess, Job, LocalPool, keep_memory, make_executor
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.record.outcome import Evaluation, Rejection

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
TIMEOUT = 3.0
S0, B0, EXPLOSIVE = CATALOGUE["evonorm-s0"], CATALOGUE["evonorm-b0"], Genome.from_text("square(x)")
SUBMITTED = ((S0, True), (EXPLOSIVE, True), (B0, False), (EXPLOSIVE, False))

HANG, DIE, STARVE, MISTAKE, REPLY = (Genome.from_text(f"{op}(x)") for op in ("neg", "abs", "exp", "tanh", "sigmoid"))
_folder = Path()  # of a worker: where it says that it has begun


def remember_folder(settings: SearchConfig) -> None:
    global _folder
    _folder = Path(settings.data.path)


def evaluate_by_command(job: Job) -> Evaluation:
    genome = job.genome
    if genome in (HANG, DIE):
        note = _folder / genome.key
        note.with_suffix(".new").write_text(str(os.getpid()))
        note.with_suffix(".new").rename(note)
        time.sleep(600)
    if genome == STARVE:
        raise MemoryError
    if genome == MISTAKE:
        raise InputError("data.path", "was deleted", remedy="put it back")
    return Evaluation(genome.key, job.seed or 1, objectives={"gated": float(job.gated)})


def workers() -> list[Any]:
    return [child for child in multiprocessing.active_children() if child.name == "pebble_pool_worker"]


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "nothing happened for a minute"
        time.sleep(0.01)


def timeless(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, seconds=0.0)


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")
    return evaluator_from_config(config.load(TINY))


@pytest.fixture(scope="module")
def here(evaluator: Evaluator) -> list[Evaluation]:
    """The evaluations of ``SUBMITTED`` in this process."""
    with InProcess(evaluator, threads=1) as executor:
        return [executor.submit(genome, gated=gated)() for genome, gated in SUBMITTED]


@pytest.fixture(scope="module")
def accidents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Evaluation | Exception]:
    """What each accident ended in; they all happen in one pool of two workers."""
    folder = tmp_path_factory.mktemp("began")
    overrides = ["execution.workers=2", f"execution.timeout_seconds={TIMEOUT}", f"data.path={str(folder)!r}"]
    found: dict[str, Evaluation | Exception] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "_start_worker", remember_folder)
        patch.setattr(execution, "_evaluate_in_worker", evaluate_by_command)
        with LocalPool(config.load(TINY, overrides)) as pool:
            pending = {genome.key: pool.submit(genome, gated=False) for genome in (DIE, HANG, STARVE, MISTAKE, REPLY)}
            for genome, number in ((DIE, signal.SIGKILL), (HANG, signal.SIGINT)):
                wait_for((folder / genome.key).exists)
                os.kill(int((folder / genome.key).read_text()), number)
            for key, wait in pending.items():
                try:
                    found[key] = wait()
                except InputError as error:
                    found[key] = error
            (folder / HANG.key).unlink()
            for child in workers():
                child.kill()  # while nothing is evaluated
            found["after idle workers died"] = pool.submit(REPLY)()
            pool.submit(HANG)
            wait_for((folder / HANG.key).exists)
            assert workers()
    return found


def test_workers_repeat_the_evaluations_of_this_process_number_for_number(here: list[Evaluation]) -> None:
    with make_executor(config.load(TINY, ["execution.workers=2"])) as executor:
        assert isinstance(executor, LocalPool)
        pending = [executor.submit(genome, gated=gated) for genome, gated in SUBMITTED]
        found = [wait() for wait in reversed(pending)][::-1]
        again, reseeded = executor.submit(S0)(), executor.submit(S0, seed=7)()
    assert list(map(timeless, found)) == list(map(timeless, here))
    assert timeless(reseeded) == timeless(evaluator_from_config(config.load(TINY, ["seed=7"]))(S0))
    assert timeless(again) == timeless(here[0])
    assert [bool(evaluation.objectives) for evaluation in here] == [True, False, True, False]
    assert all(evaluation.seconds > 0 for evaluation in found)


def test_a_killed_worker_costs_its_candidate(accidents: dict[str, Evaluation | Exception]) -> None:
    expected = Rejection("execution", "worker died", detail=f"exit code {-signal.SIGKILL}")
    assert accidents[DIE.key] == Evaluation(DIE.key, 1, rejection=expected)


def test_an_evaluation_that_hangs_is_ended_by_its_time_and_not_by_ctrl_c(
    accidents: dict[str, Evaluation | Exception],
) -> None:
    expected = Rejection("execution", "took too long", measured=TIMEOUT, limit=TIMEOUT)
    assert accidents[HANG.key] == Evaluation(HANG.key, 1, rejection=expected)


def test_a_layer_that_needs_too_much_memory_is_rejected(accidents: dict[str, Evaluation | Exception]) -> None:
    assert accidents[STARVE.key] == Evaluation(STARVE.key, 1, rejection=Rejection("execution", "out of memory"))


def test_a_mistake_of_people_reaches_them_from_a_worker(accidents: dict[str, Evaluation | Exception]) -> None:
    error = accidents[MISTAKE.key]
    assert isinstance(error, InputError)
    assert str(error) == "data.path: was deleted; put it back"
    assert error.remedy == "put it back"


def test_the_pool_goes_on_after_accidents(accidents: dict[str, Evaluation | Exception]) -> None:
    assert accidents[REPLY.key] == Evaluation(REPLY.key, 1, objectives={"gated": 0.0})


def test_workers_that_die_idle_are_replaced(accidents: dict[str, Evaluation | Exception]) -> None:
    assert accidents["after idle workers died"] == Evaluation(REPLY.key, 1, objectives={"gated": 1.0})


def die(_: SearchConfig) -> None:
    os._exit(1)


def test_workers_that_cannot_start_end_the_run_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_start_worker", die)
    with LocalPool(config.load(TINY, ["execution.workers=2"])) as pool:
        pending = pool.submit(S0)
        with pytest.raises(InputError, match=r"^execution\.workers: workers died 4 times"):
            pending()


@pytest.mark.usefixtures("accidents")
def test_a_closed_pool_leaves_no_workers_behind() -> None:
    assert workers() == []


def test_a_pool_that_was_never_used_closes() -> None:
    with LocalPool(config.load(TINY, ["execution.workers=2"])):
        assert workers() == []


class Recorder:
    """Stands in for an evaluator; notes what it is called with, and under how many threads."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[Genome, bool, int]] = []
        self.error = error

    def __call__(self, genome: Genome, *, gated: bool, hurdles: tuple[Any, ...], seed: int | None) -> Evaluation:
        assert (hurdles, seed) == ((), None)
        self.calls.append((genome, gated, torch.get_num_threads()))
        if self.error is not None:
            raise self.error
        return Evaluation(genome.key, 1, objectives={"made": 0.5})


def in_process(evaluator: Any, threads: int) -> InProcess:
    return InProcess(evaluator, threads)


def test_this_process_evaluates_when_a_result_is_waited_for() -> None:
    recorder = Recorder()
    with in_process(recorder, 1) as executor:
        first, second = executor.submit(S0), executor.submit(B0, gated=False)
        assert recorder.calls == []
        assert second() == Evaluation(B0.key, 1, objectives={"made": 0.5})
        assert recorder.calls == [(B0, False, 1)]
        first()
        assert recorder.calls[1:] == [(S0, True, 1)]


@pytest.mark.parametrize("error", [None, KeyError("made")])
def test_the_number_of_threads_holds_for_the_evaluation_alone(error: Exception | None) -> None:
    before, recorder = torch.get_num_threads(), Recorder(error)
    pending = in_process(recorder, before + 1).submit(S0)
    if error is None:
        pending()
    else:
        with pytest.raises(KeyError):  # nobody contains it
            pending()
    assert recorder.calls == [(S0, True, before + 1)]
    assert torch.get_num_threads() == before


def test_keeping_memory_changes_no_number(evaluator: Evaluator, here: list[Evaluation]) -> None:
    for _ in range(2):
        keep_memory()
        assert timeless(evaluator(S0)) == timeless(here[0])


class Libc:
    """Stands in for glibc's ``mallopt``, which says 0 to what it does not take."""

    def __init__(self, largest_mmap_threshold: int) -> None:
        self.largest, self.taken = largest_mmap_threshold, dict[int, int]()

    def mallopt(self, option: int, value: int) -> int:
        if option == -3 and value > self.largest:
            return 0
        self.taken[option] = value
        return 1


@pytest.mark.parametrize("largest", [1 << 25, 1 << 40])
def test_old_and_new_glibc_keep_what_they_can(monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    libc = Libc(largest)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.31"))
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: libc)
    keep_memory()
    # without the second, the first alone would fix glibc's adaptive threshold at its low start
    assert libc.taken == {-1: 1 << 30, -3: min(largest, 1 << 30)}


@pytest.mark.parametrize(("system", "libc"), [("Darwin", ""), ("Windows", ""), ("Linux", "")])
def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch, system: str, libc: str) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    monkeypatch.setattr(ctypes, "CDLL", partial(pytest.fail, "asked for a C library"))
    keep_memory()


def test_one_worker_is_this_process() -> None:
    pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")
    assert isinstance(make_executor(config.load(TINY, ["execution.workers=1"])), InProcess)


@pytest.mark.parametrize("count", [1, 2])
def test_missing_data_are_told_before_any_worker_starts(count: int) -> None:
    overrides = ["data.name=npz", "data.path=none.npz", f"execution.workers={count}"]
    with pytest.raises(InputError, match=r"^data\.path: no such file: none\.npz"):
        make_executor(config.load(TINY, overrides))
    assert workers() == []
