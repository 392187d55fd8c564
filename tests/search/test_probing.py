"""Proposals that are probed ahead. Oracle: the search that probes each in its turn."""

from pathlib import Path
from typing import Any

import pytest

from evonas import config
from evonas.graph.catalogue import CATALOGUE
from evonas.search.archive import Archive
from evonas.search.driver import drive
from evonas.search.execution import InProcess
from evonas.search.foresight import Foresight
from evonas.search.outcome import Evaluation
from evonas.search.probing import Probes
from evonas.search.protocols import Screens

SPACES = Path(__file__).parents[2] / "search_spaces"
LAYERS = [CATALOGUE[name] for name in ("evonorm-s0", "bn-relu", "evonorm-b0")]


def judged(genome: Any, *, seed: int | None, **_: Any) -> Evaluation:
    """A made-up score."""
    return Evaluation(genome.key, seed or 1, objectives={"made": int(genome.key[:4], 16) / 2**16})


def archive_of(path: Path, *overrides: str) -> dict[str, list[tuple[Any, ...]]]:
    settings = config.load_search(
        SPACES / "evonorm_s.toml",
        [
            "budget.evaluations=14",
            "evolution.initial_random=4",
            "evolution.look_ahead=3",
            "evolution.window=4",
            *overrides,
        ],
    )
    with Archive.create(path) as archive:
        drive(settings, archive, InProcess(judged, 1), [])  # type: ignore[arg-type]
        return archive.content()


@pytest.mark.parametrize("guided", [False, True])
def test_a_search_that_looks_ahead_is_the_same(guided: bool, tmp_path: Path) -> None:
    more = ['evolution.guide="surrogate"', "evolution.pool=12"] if guided else []
    alone = archive_of(tmp_path / "alone.sqlite", *more)
    assert archive_of(tmp_path / "ahead.sqlite", "execution.screeners=1", *more) == alone


class Noted:
    """Notes what it is asked to look at."""

    width = 2

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def ahead(self, genomes: Any) -> None:
        self.asked.append(list(genomes))


def test_it_looks_twice_as_far_each_time_that_it_did_not_suffice() -> None:
    noted, reaches = Noted(), list[int]()

    def upcoming(count: int) -> list[Any]:
        reaches.append(count)
        return list(range(min(count, 7)))

    foresight = Foresight(noted, upcoming)
    for _ in range(7):
        foresight.before_probe()
    assert reaches == [2, 4, 8]
    assert noted.asked == [[0, 1], [2, 3], [4, 5, 6]]
    Foresight(None, upcoming).before_probe()
    assert len(reaches) == 3


def test_probes_agree_with_the_screens_and_outlive_their_processes() -> None:
    settings = config.load_search(SPACES / "evonorm_s.toml", ["execution.screeners=1"])
    here = Screens(settings.protocols, settings.layer).probe
    with Probes(settings) as probes:
        probes.ahead(LAYERS[:2])
        assert [probes(layer) for layer in LAYERS] == [here(layer) for layer in LAYERS]
        probes.ahead(LAYERS)
        assert probes._pool is not None
        for process in list(probes._pool._processes.values()):
            process.kill()
        assert [probes(layer) for layer in LAYERS] == [here(layer) for layer in LAYERS]
