"""Oracles: arithmetic done here, which workers must repeat; a counter on disk, which says what was done twice; and
accidents made on purpose.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evonas.config import ExecutionConfig
from evonas.config.section import Section
from evonas.errors import InputError
from evonas.runs.interrupt import RunInterruptedError
from evonas.runs.jobs import Jobs, run_jobs, spec_text
from evonas.runs.progress import JobProgress
from evonas.runs.store import Outcome, Store


class Power(Section):
    """A power of a number, by the power below it."""

    number: int
    folder: str
    exponent: int = 2
    accident: str = ""


class Other(Section):
    number: int
    folder: str


def power(number: int, folder: Path, exponent: int = 2, accident: str = "") -> Power:
    return Power(number=number, folder=str(folder), exponent=exponent, accident=accident)


def below(spec: Power) -> tuple[Power, ...]:
    return (spec.model_copy(update={"exponent": spec.exponent - 1}),) if spec.exponent > 1 else ()


def work(spec: Power, needed: Mapping[Power, Any]) -> dict[str, Any]:
    with (Path(spec.folder) / "done").open("a") as file:
        file.write(f"{spec.number}^{spec.exponent}\n")
    if spec.accident == "die":
        os._exit(3)
    if spec.accident == "divide":
        return {"never": 1 / 0}
    if spec.accident == "own":
        raise KeyError("a task of the user's")
    if spec.accident == "mistake":
        raise InputError("sizes.heads", "3", accepted="a divisor of 8")
    if spec.accident == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
    smaller = [value["power"] for value in needed.values()] or [spec.number ** (spec.exponent - 1)]
    return {"power": smaller[0] * spec.number}


def when(spec: Power, _needed: Mapping[Power, Any]) -> dict[str, Any]:
    """Takes a moment, and says from when to when by a clock that all processes share."""
    start = time.monotonic()
    time.sleep(0.05)
    return {"start": start, "end": time.monotonic(), "timed": spec.accident == "timed"}


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store.open(tmp_path / "results.sqlite") as opened:
        yield opened


def run(store: Store, specs: Sequence[Power], *, workers: int = 0, **jobs: Any) -> dict[Power, Outcome]:
    return run_jobs(Jobs(specs, work, **jobs), store, ExecutionConfig(workers=workers), lambda _: None)


def timeless(found: Mapping[Power, Outcome]) -> list[tuple[Any, str]]:
    return [(outcome.value, outcome.failure) for outcome in found.values()]


def counted(progress: JobProgress) -> tuple[int, int, int]:
    return progress.finished, progress.total, progress.done


def done(folder: Path) -> list[str]:
    return sorted((folder / "done").read_text().split())


def test_each_job_is_done_once_and_recorded(tmp_path: Path, store: Store) -> None:
    specs, seen = [power(n, tmp_path) for n in (3, 1, 2, 3)], list[JobProgress]()
    execution = ExecutionConfig()
    found = run_jobs(Jobs(specs, work), store, execution, seen.append)
    assert timeless(found) == [({"power": 9}, ""), ({"power": 1}, ""), ({"power": 4}, "")]
    assert list(map(counted, seen)) == [(n, 3, n) for n in range(4)]
    again = run_jobs(Jobs([*specs, power(5, tmp_path)], work), store, execution, seen.append)
    assert list(map(counted, seen[4:])) == [(3, 4, 0), (4, 4, 1)]
    assert timeless(again)[3] == ({"power": 25}, "")
    assert done(tmp_path) == ["1^2", "2^2", "3^2", "5^2"]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_job_needs_is_done_first_once_and_kept(tmp_path: Path, store: Store, workers: int) -> None:
    specs = [power(2, tmp_path, 4), power(2, tmp_path, 3), power(3, tmp_path, 2)]
    found = run(store, specs, workers=workers, needs=below)
    assert [found[spec].value for spec in specs] == [{"power": 16}, {"power": 8}, {"power": 9}]
    assert done(tmp_path) == ["2^1", "2^2", "2^3", "2^4", "3^1", "3^2"]
    assert list(map(spec_text, found))[:2] == list(map(spec_text, [power(2, tmp_path, 1), power(3, tmp_path, 1)]))
    run(store, [power(2, tmp_path, 5)], workers=workers, needs=below)
    assert done(tmp_path)[-3:] == ["2^5", "3^1", "3^2"]


def test_what_needs_a_failed_job_fails_with_it_and_is_tried_again_with_it(tmp_path: Path, store: Store) -> None:
    broken = power(2, tmp_path, 1, "divide")
    specs = [power(2, tmp_path, 3, "divide"), power(3, tmp_path, 2)]
    for tried in (1, 2):
        found = run(store, specs, needs=below)
        assert [found[spec].failure for spec in (broken, specs[0], specs[1])] == ["division by zero"] * 2 + [""]
        assert done(tmp_path).count("2^1") == tried
        assert "2^3" not in done(tmp_path)


def test_jobs_that_fail_because_one_that_they_need_failed_are_reported_as_finished(
    tmp_path: Path, store: Store
) -> None:
    """Counted by hand: the first power fails, and with it, without being done, the three above it."""
    seen: list[JobProgress] = []
    jobs = Jobs([power(2, tmp_path, 4, "divide")], work, needs=below)
    run_jobs(jobs, store, ExecutionConfig(), seen.append)
    assert list(map(counted, seen)) == [(0, 4, 0), (1, 4, 1), (2, 4, 1), (3, 4, 1), (4, 4, 1)]


def test_progress_says_what_is_done_next_and_how_long_jobs_of_its_kind_took(tmp_path: Path, store: Store) -> None:
    seen: list[JobProgress] = []
    specs = [power(n, tmp_path, exponent) for exponent in (1, 2) for n in (2, 3)]
    jobs = Jobs(specs, work, needs=below, doing=lambda spec: f"power {spec.exponent}")
    found = run_jobs(jobs, store, ExecutionConfig(), seen.append)
    assert [each.doing for each in seen] == ["power 1", "power 1", "", "power 2", "power 2", ""]
    first, _, third, _ = (outcome.seconds for outcome in found.values())
    assert [each.left for each in seen] == [None, first, None, None, third, 0]
    assert [each.at_least for each in seen] == [False, True, False, False, False, False]
    more, later = [*specs, power(5, tmp_path)], list[JobProgress]()
    run_jobs(Jobs(more, work, needs=below, doing=jobs.doing), store, ExecutionConfig(), later.append)
    recorded = list(found.values())
    means = [(recorded[n].seconds + recorded[n + 1].seconds) / 2 for n in (0, 2)]
    assert (later[0].left, later[0].at_least) == (pytest.approx(sum(means)), False)


def test_jobs_of_several_workers_are_named_together(tmp_path: Path, store: Store) -> None:
    seen: list[JobProgress] = []
    specs = [power(n, tmp_path) for n in range(3)] + [power(9, tmp_path, accident="timed")]
    jobs = Jobs(specs, work, timed=lambda spec: spec.accident == "timed", doing=lambda spec: spec.accident or "plain")
    run_jobs(jobs, store, ExecutionConfig(workers=2), seen.append)
    assert [each.doing for each in seen] == ["2 x plain", "2 x plain", "plain", "", "timed", ""]


@pytest.mark.parametrize(
    ("accident", "failure"), [("divide", "division by zero"), ("own", 'KeyError: "a task of the user\'s"')]
)
def test_errors_fail_their_job_and_are_tried_again(tmp_path: Path, store: Store, accident: str, failure: str) -> None:
    specs = [power(1, tmp_path, 2, accident), power(2, tmp_path)]
    for _ in range(2):
        assert timeless(run(store, specs)) == [(None, failure), ({"power": 4}, "")]
    assert done(tmp_path) == ["1^2", "1^2", "2^2"]


def test_what_a_job_does_to_its_process_fails_it_and_no_other_where_jobs_have_processes_of_their_own(
    tmp_path: Path, store: Store
) -> None:
    accidents = ("die", "own", "")
    jobs = Jobs([power(number, tmp_path, 2, accident) for number, accident in enumerate(accidents)], work)
    found = run_jobs(jobs, store, ExecutionConfig(workers=1), lambda _: None)
    failures = ["worker died: exit code 3", 'KeyError: "a task of the user\'s"', ""]
    assert [outcome.failure for outcome in found.values()] == failures
    assert timeless(found)[-1] == ({"power": 4}, "")


def test_a_mistake_of_people_ends_the_run_in_words(tmp_path: Path, store: Store) -> None:
    with pytest.raises(InputError, match=r"^sizes\.heads: 3; accepted: a divisor of 8"):
        run(store, [power(1, tmp_path), power(2, tmp_path, 2, "mistake")])
    assert store.count() == 1


def test_an_interrupted_run_keeps_what_was_done(tmp_path: Path, store: Store) -> None:
    with pytest.raises(RunInterruptedError):
        run(store, [power(1, tmp_path), power(2, tmp_path, 2, "interrupt"), power(3, tmp_path)])
    assert store.count() == 1


def test_what_measures_time_comes_last_and_has_the_machine_to_itself(tmp_path: Path, store: Store) -> None:
    specs = [power(n, tmp_path, accident="timed" if n % 2 else "") for n in range(6)]
    jobs = Jobs(specs, when, timed=lambda spec: spec.accident == "timed")
    found = run_jobs(jobs, store, ExecutionConfig(workers=2), lambda _: None)
    assert [spec.number for spec in found] == [0, 2, 4, 1, 3, 5]
    spans = [outcome.value for outcome in found.values() if outcome.value is not None]
    for timed in (span for span in spans if span["timed"]):
        others = [span for span in spans if span is not timed]
        assert all(other["end"] <= timed["start"] or timed["end"] <= other["start"] for other in others)


@pytest.mark.parametrize("sources", [{"images": "new"}, {}])
def test_results_of_other_data_are_refused_unless_asked_to_be_kept(
    tmp_path: Path, store: Store, sources: dict[str, str]
) -> None:
    """H1: a result is known by what it was made from."""
    spec = power(3, tmp_path)
    run(store, [spec], data=lambda _: {"images": "old"})
    jobs, execution = Jobs([spec], work, data=lambda _: sources), ExecutionConfig()
    with pytest.raises(InputError, match=r"a result was made from something else: images \(old, now (new|none)\)") as e:
        run_jobs(jobs, store, execution, lambda _: None)
    assert "--force" in str(e.value)
    kept = run_jobs(jobs, store, execution, lambda _: None, keep_changed=True)
    assert timeless(kept) == [({"power": 9}, "")]
    assert done(tmp_path) == ["3^2"]


def test_other_versions_and_other_code_are_other_sources(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(store, [power(n, tmp_path) for n in (1, 2)])
    monkeypatch.setattr("evonas.runs.provenance.versions", lambda: {"torch": "1.0"})
    monkeypatch.setattr("evonas.runs.provenance.code_digest", lambda *_: "0" * 64)
    with pytest.raises(
        InputError, match=r"2 results were made from something else: .*code \(\w{8}, now 00000000\).*torch"
    ) as error:
        run(store, [power(n, tmp_path) for n in (1, 2)])
    assert "now 1.0" in str(error.value)


def test_specs_of_two_kinds_with_the_same_keys_are_two_jobs() -> None:
    first, second = Other(number=1, folder="x"), Power(number=1, folder="x")
    assert first.identity() == second.identity()
    assert spec_text(first) != spec_text(second)
