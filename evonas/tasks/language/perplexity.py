"""Perplexity of a causal language model: of one long text, in windows, or of many short ones."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.errors import InputError
from evonas.surgery.calls import call, inference, output_of

ModelBatch = Tensor | Mapping[str, Any]

UNSCORED = -100  # the label of a token that does not count, as in transformers


@dataclass(frozen=True, slots=True)
class Window:
    """The tokens that one batch scored: how many, and the sum of their negative log-likelihoods in nats."""

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
        """The perplexity; infinite where it exceeds the floating-point numbers."""
        return float(torch.tensor(self.nll, dtype=torch.float64).exp())


def perplexity(model: nn.Module, batches: Iterable[ModelBatch]) -> Perplexity:
    r"""$\exp(-\frac1T \sum_t \log p(x_t \mid x_{<t}))$ over the tokens that follow one of their text.

    Each batch is one window of the result.

    Args:
        model: from ids [b, t] to logits [b, t, v], or an output that has them; run in evaluation mode, on the device of
            its first parameter.
        batches: token ids [b, t], or mappings with ``input_ids`` [b, t]. Padding, where ``attention_mask`` is 0, is not
            scored, nor is the token after it. ``labels`` of -100 leave more tokens out, as in transformers; the model
            does not see them. ``sliding`` cuts a long text into such batches.

    Raises:
        InputError: no token follows another, or a batch without token ids.
    """
    with inference(model):
        windows = tuple(_score(model, batch) for batch in batches)
    found = Perplexity(windows)
    if not found.tokens:
        raise InputError("batches", "no token follows another", accepted="samples of 2 tokens or more")
    return found


def sliding(
    tokens: Tensor, *, window: int = 1024, stride: int | None = None, bos: int | None = None
) -> list[dict[str, Tensor]]:
    """A text as batches for ``perplexity`` that score each token once, given up to ``window`` - 1 tokens before it.

    Windows begin every ``stride`` tokens; each scores what the ones before it have not. So a token has at least
    ``window - stride`` tokens of context, once there are as many. The first token of the text is scored only after a
    ``bos``.

    Args:
        tokens: the text, [t] int64.
        window: tokens the model sees at once, ``bos`` not counted.
        stride: tokens between windows; None takes half a window.
        bos: an id that is put before every window and not scored.

    Raises:
        InputError: a stride that is not positive or skips tokens, or fewer than two tokens.

    Shapes: tokens [t] -> batches of ``input_ids`` and ``labels`` [1, up to window + 1].
    """
    stride = max(1, window // 2) if stride is None else stride
    largest = window if bos is not None else window - 1
    if not 1 <= stride <= largest:
        remedy = "a window scores its first token only after a bos" if stride == window else ""
        raise InputError("stride", f"{stride}, with windows of {window}", accepted=f"1 to {largest}", remedy=remedy)
    if tokens.ndim != 1 or len(tokens) < 2:
        raise InputError("tokens", f"of shape {list(tokens.shape)}", accepted="a text [t] of two tokens or more")
    prefix = tokens.new_tensor([] if bos is None else [bos])
    scored, batches = 0, list[dict[str, Tensor]]()
    for begin in range(0, len(tokens), stride):
        ids = torch.cat([prefix, tokens[begin : begin + window]])
        labels = ids.clone()
        labels[: len(prefix) + scored - begin] = UNSCORED
        batches.append({"input_ids": ids[None], "labels": labels[None]})
        scored = min(begin + window, len(tokens))
        if scored == len(tokens):
            break
    return batches


def _score(model: nn.Module, batch: ModelBatch) -> Window:
    inputs = dict(batch) if isinstance(batch, Mapping) else {"input_ids": batch}
    ids = inputs.get("input_ids")
    if not isinstance(ids, Tensor) or ids.ndim != 2:
        raise InputError("batch", "holds no token ids", accepted="a tensor [b, t], or a mapping with 'input_ids'")
    device = next((parameter.device for parameter in model.parameters()), ids.device)
    inputs = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in inputs.items()}
    labels = inputs.pop("labels", inputs["input_ids"])[:, 1:]
    scored = labels != UNSCORED
    if "attention_mask" in inputs:
        mask = inputs["attention_mask"].bool()
        scored &= mask[:, 1:] & mask[:, :-1]
    logits = output_of(call(model, inputs if len(inputs) > 1 else inputs["input_ids"]))
    nll = functional.cross_entropy(logits[:, :-1][scored].float(), labels[scored], reduction="none")
    return Window(len(nll), nll.double().sum().item())
