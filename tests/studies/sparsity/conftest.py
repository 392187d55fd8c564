"""Fixtures of all tests of sparsity."""

from pathlib import Path

import pytest
import torch
from sparsity_models import VOCABULARY, make_llama, make_mlp, save_llama
from torch import Tensor, nn


@pytest.fixture
def llama() -> nn.Module:
    return make_llama()


@pytest.fixture
def mlp() -> nn.Module:
    return make_mlp()


@pytest.fixture
def ids() -> Tensor:
    """Token ids [2, 24]."""
    return torch.randint(VOCABULARY, (2, 24), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def g() -> torch.Generator:
    return torch.Generator().manual_seed(2)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny language model with a tokenizer of bytes; 64 positions."""
    return save_llama(tmp_path_factory.mktemp("models") / "tiny")
