"""Fixtures of all tests of sparsity."""

import pytest
import torch
from sparsity_models import VOCABULARY, make_llama, make_mlp
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
