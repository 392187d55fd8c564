"""What every test runs under: one thread, no network, no display, the same random examples every time."""

import os
import random
import sys
from collections.abc import Callable, Iterator

import hypothesis
import pytest
import torch
from command import status_of

from evonas.extensions import EXTENSIONS
from evonas.graph.primitive import INDEX_SETS, PRIMITIVES, primitive_of
from evonas.search.objectives import OBJECTIVES
from evonas.search.protocols import PROTOCOLS
from evonas.studies.steering.methods import METHODS

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
torch.set_num_threads(1)
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
hypothesis.settings.load_profile("repeatable")


Outcome = tuple[int, str, str]


@pytest.fixture
def evonas(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command line in this process: (exit status, output, errors)."""

    def call(*arguments: object) -> Outcome:
        status = status_of(*arguments)
        out, err = capfd.readouterr()
        return status, out, err

    return call


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    registries = (PRIMITIVES, INDEX_SETS, OBJECTIVES, PROTOCOLS, METHODS, EXTENSIONS)
    before = [dict(registry._records) for registry in registries]
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in EXTENSIONS:
        sys.modules.pop(name, None)  # it would not register again
    for registry, records in zip(registries, before, strict=True):
        registry._records.clear()
        registry._records.update(records)
    primitive_of.cache_clear()


@pytest.fixture
def rng() -> random.Random:
    """A generator with a fixed seed."""
    return random.Random(0)
