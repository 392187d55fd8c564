"""What every test runs under: one thread, no network, no display, the same random examples every time."""

import os
import random
import sys
from collections.abc import Callable

import hypothesis
import pytest
import torch

from evonas import cli

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
torch.set_num_threads(1)
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
hypothesis.settings.load_profile("repeatable")


Outcome = tuple[int, str, str]


@pytest.fixture
def evonas(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command line in this process: (exit status, output, errors)."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["evonas", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capfd.readouterr()
        return status, out, err

    return call


@pytest.fixture
def rng() -> random.Random:
    """A generator with a fixed seed."""
    return random.Random(0)
