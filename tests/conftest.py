"""What every test runs under: one thread, no network, no display, the same random examples every time."""

import os
import random

import hypothesis
import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
torch.set_num_threads(1)
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture
def rng() -> random.Random:
    """A generator with a fixed seed."""
    return random.Random(0)
