"""Perplexity of a causal language model on a text of token ids."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.errors import InputError
from evonas.studies.sparsity.calls import call, inference, output_of


@dataclass(frozen=True, slots=True)
class Window:
    """The tokens that one window scored: how many, and the sum of their negative log-likelihoods in nats."""

    tokens: int
    nll: float


@dataclass(frozen=True, slots=True)
class Perplexity:
    """exp of the mean negative log-likelihood of a token, with the sums of each window, from which to take a spread."""

    windows: tuple[Window, ...]

    @property
    def tokens(self) -> int:
        """How many tokens were scored."""
        return sum(window.tokens for window in self.windows)

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood of a token, in nats."""
        return math.fsum(window.nll for window in self.windows) / self.tokens

    @property
    def value(self) -> float:
        """The perplexity."""
        return math.exp(self.nll)


def perplexity(
    model: nn.Module, tokens: Tensor, *, window: int = 1024, stride: int | None = None, bos: int | None = None
) -> Perplexity:
    """Score each token once, given up to ``window`` - 1 tokens before it.

    Windows begin every ``stride`` tokens; each scores what the ones before it have not. So a token has at least
    ``window - stride`` tokens of context, once there are as many. The first token of the text is scored only after a
    ``bos``.

    Args:
        model: from ids [b, t] to logits [b, t, v], or an output that has them; on the device of its first parameter.
        tokens: the text, [t] int64.
        window: tokens the model sees at once, ``bos`` not counted.
        stride: tokens between windows; None takes half a window.
        bos: an id that is put before every window and not scored.

    Raises:
        InputError: a stride that is not positive or skips tokens, or fewer than two tokens.

    Shapes: tokens [t].
    """
    stride = max(1, window // 2) if stride is None else stride
    largest = window if bos is not None else window - 1
    if not 1 <= stride <= largest:
        remedy = "a window scores its first token only after a bos" if stride == window else ""
        raise InputError("stride", f"{stride}, with windows of {window}", accepted=f"1 to {largest}", remedy=remedy)
    if tokens.ndim != 1 or len(tokens) < 2:
        raise InputError("tokens", f"of shape {list(tokens.shape)}", accepted="a text [t] of two tokens or more")
    tokens = tokens.to(next(model.parameters()).device)
    scored, windows = 0 if bos is not None else 1, list[Window]()
    with inference(model):
        for begin in range(0, len(tokens), stride):
            end = min(begin + window, len(tokens))
            windows.append(_score(model, tokens[begin:end], scored - begin, bos))
            scored = end
            if end == len(tokens):
                break
    return Perplexity(tuple(windows))


def _score(model: nn.Module, tokens: Tensor, first: int, bos: int | None) -> Window:
    """Score the tokens from number ``first`` on."""
    prefix = tokens.new_full((0 if bos is None else 1,), bos or 0)
    ids = torch.cat([prefix, tokens])
    logits = output_of(call(model, ids[None]))[0]
    predicted = logits[first + len(prefix) - 1 : -1].float()
    nll = functional.cross_entropy(predicted, tokens[first:], reduction="none")
    return Window(len(nll), nll.double().sum().item())
