"""How much an input counts: the methods, each a score of the inputs of a layer y = W x.

x_i is an input, W[:, i] its column of weights. Inputs with the smallest scores are dropped, token by token, and their
columns need not be read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.training.topk import column_norms


class Magnitude(nn.Module):
    """|x_i| c_i, or |x_i| where no c is given. Shapes: x [..., n] -> the same, c [n]."""

    scale: Tensor | None

    def __init__(self, scale: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        return x.abs() if self.scale is None else x.abs() * self.scale


class Noise(nn.Module):
    """Uniform numbers; call k of a layer draws them from its name and k. Shapes: x [..., n] -> the same."""

    def __init__(self, seed: int, name: str) -> None:
        super().__init__()
        self.seed, self.name, self.calls = seed, name, 0

    def forward(self, x: Tensor) -> Tensor:
        """Scores, which do not depend on x."""
        generator = torch.Generator(x.device).manual_seed(derive_seed(self.seed, "noise", self.name, self.calls))
        self.calls += 1
        return torch.rand(x.shape, generator=generator, device=x.device)


class ActivationMagnitudes(nn.Module):
    """|h_i|, h what an activation module gave last; ``see`` is a forward hook of that module.

    Each h is used once. Shapes: x [..., n] -> that of h, which is the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: Tensor | None = None

    def see(self, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        """Remember an activation."""
        self._seen = output

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        seen, self._seen = self._seen, None
        assert seen is not None, "the activation has not run"
        assert seen.shape == x.shape
        return seen.abs()


@dataclass(frozen=True, slots=True)
class ScoreContext:
    """The layer for which a score is made.

    Attributes:
        name: of the layer.
        matrix: W [m, n] as the layer multiplies with it, thus after the transform.
        basis: c [n] where the transform chose this layer or scores it jointly with others; None elsewhere.
        transformed: the layer's inputs are rotated, or its model's others are.
        seed: for random numbers.
    """

    name: str
    matrix: Tensor
    basis: Tensor | None
    transformed: bool
    seed: int


@dataclass(frozen=True, slots=True)
class ScoreMethod:
    """One way to choose inputs.

    Attributes:
        name: what ``sparsify`` calls it.
        formula: the score of input i.
        source: where it was published.
        score: makes the module that scores the inputs of a layer.
        transforms: may be combined with the orthogonalizing transform.
        low_rank: what is dropped is replaced by a product of low rank.
        gated: only for the last layer of an MLP, scored by its activation.
    """

    name: str
    formula: str
    source: str
    score: Callable[[ScoreContext], nn.Module]
    transforms: bool = False
    low_rank: bool = False
    gated: bool = False


def _wina(scored: ScoreContext) -> nn.Module:
    """Without the transform the paper's formula, with the norms of every layer's own columns.

    The released code has them for key and gate projections only, and 1 elsewhere.
    """
    if scored.transformed:
        return Magnitude(scored.basis)
    return Magnitude(column_norms(scored.matrix))


SCORE_METHODS = {
    method.name: method
    for method in (
        ScoreMethod(
            "teal",
            "|x_i|",
            "Liu et al. 2024, Training-Free Activation Sparsity in Large Language Models, arXiv 2408.14690",
            lambda _: Magnitude(),
            transforms=True,
        ),
        ScoreMethod(
            "wina",
            "|x_i| ||W[:, i]||; with the transform |x_i| where the columns are not those it made orthogonal",
            "Chen et al. 2025, WINA: Weight Informed Neuron Activation, arXiv 2505.19427",
            _wina,
            transforms=True,
        ),
        ScoreMethod(
            "cats",
            "|SiLU(W_gate x)_i|, for the up and down projections of a gated MLP",
            "Lee et al. 2024, CATS: Contextually-Aware Thresholding for Sparsity, arXiv 2404.08763",
            lambda _: ActivationMagnitudes(),
            gated=True,
        ),
        ScoreMethod(
            "r-sparse",
            "|x_i| ||W[:, i]||, and a product of low rank for what is dropped",
            "Zhang et al. 2025, R-Sparse: Rank-Aware Activation Sparsity, arXiv 2504.19449",
            lambda scored: Magnitude(column_norms(scored.matrix)),
            low_rank=True,
        ),
        ScoreMethod(
            "random",
            "a uniform number",
            "the floor that every method must beat",
            lambda scored: Noise(scored.seed, scored.name),
            transforms=True,
        ),
    )
}


def method_named(name: str) -> ScoreMethod:
    """The method of that name.

    Raises:
        InputError: there is none.
    """
    if name not in SCORE_METHODS:
        close = get_close_matches(name, SCORE_METHODS, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else ""
        raise InputError("method", repr(name), accepted=", ".join(SCORE_METHODS), remedy=remedy)
    return SCORE_METHODS[name]
