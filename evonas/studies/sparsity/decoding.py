"""How fast models decode, side by side."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.extras import import_package
from evonas.surgery.calls import accepts, inference, output_of


@dataclass(frozen=True, slots=True)
class Decoder:
    """A causal language model of transformers, and what runs one step of it, such as its compiled form.

    Attributes:
        model: runs the prompt, and the steps where there is no ``step``.
        step: called as the model is.
    """

    model: nn.Module
    step: Callable[..., Any] | None = None


def compiled(model: nn.Module) -> Decoder:
    """A decoder whose steps are compiled, for one shape, as that of a cache is."""
    return Decoder(model, torch.compile(model, dynamic=False))


@dataclass(frozen=True, slots=True)
class DecodeRate:
    """Tokens a second, the median over all steps; and how many times as fast as the first decoder, by round."""

    tokens_per_second: float
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median over rounds."""
        return statistics.median(self.ratios)


def decode_rates(
    decoders: Mapping[str, Decoder], tokens: Tensor, *, prompt: int, rounds: int = 5
) -> dict[str, DecodeRate]:
    """Decode the same text with all decoders, at batch 1, one token a step with cached keys and values.

    The tokens are those of the text, whatever the models would have said, so that all do the same work. Decoders take
    turns, and who begins changes from round to round; the first round warms up and does not count, nor do prompts.
    Quote the ratios: the rates are those of this machine at this moment.

    Args:
        decoders: by name; the first is what the others are compared with.
        tokens: the text [t] int64, on the models' device.
        prompt: tokens that are read at once, before decoding begins.
        rounds: rounds that count.

    Raises:
        InputError: a prompt that leaves nothing to decode, or a model without a cache of keys and values.
    """
    runs = {name: _Run(name, decoder, tokens, prompt) for name, decoder in decoders.items()}
    seconds: dict[str, list[list[float]]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds + 1):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            taken = [spent for spent, _ in runs[name]()]
            if number:
                seconds[name].append(taken)
    first = [statistics.median(steps) for steps in seconds[names[0]]]
    return {
        name: DecodeRate(
            1 / statistics.median(step for steps in taken for step in steps),
            tuple(base / statistics.median(steps) for base, steps in zip(first, taken, strict=True)),
        )
        for name, taken in seconds.items()
    }


def decoded_logits(decoder: Decoder, tokens: Tensor, *, prompt: int) -> Tensor:
    """The logits of the model at each step of decoding a text, as ``decode_rates`` runs it.

    Shapes: tokens [t] -> [t - prompt, vocabulary].

    Raises:
        InputError: as ``decode_rates``.
    """
    return torch.stack([output_of(output)[0, -1] for _, output in _Run("decoder", decoder, tokens, prompt)()])


class _Run:
    """One decoder and its cache, which keeps its place in memory from round to round."""

    def __init__(self, name: str, decoder: Decoder, tokens: Tensor, prompt: int) -> None:
        if not 1 <= prompt < len(tokens):
            raise InputError("prompt", f"{prompt} of {len(tokens)} tokens", accepted=f"1 to {len(tokens) - 1}")
        if not accepts(decoder.model, "use_cache"):
            found = f"{type(decoder.model).__name__} keeps no keys and values"
            raise InputError(name, found, accepted="a causal language model of transformers")
        self.model = decoder.model
        self.step = decoder.model if decoder.step is None else decoder.step  # compiled modules have no truth value
        self.tokens, self.prompt = tokens, prompt
        transformers = import_package("transformers", name)
        self.cache = transformers.StaticCache(config=decoder.model.config, max_cache_len=len(tokens))
        self.argument = "cache" if accepts(decoder.model, "cache") else "past_key_values"

    def __call__(self) -> Iterator[tuple[float, Any]]:
        """Seconds and output of each step."""
        self.cache.reset()
        options = {self.argument: self.cache, "use_cache": True}
        with inference(self.model):
            self.model(self.tokens[None, : self.prompt], **options)
            for token in self.tokens[self.prompt :]:
                started = _now(self.tokens.device)
                output = self.step(token.view(1, 1), **options)
                spent = _now(self.tokens.device) - started
                yield spent, output


def _now(device: torch.device) -> float:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
