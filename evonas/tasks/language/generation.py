"""Text from a causal language model, token by token."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.surgery.calls import accepts, inference, output_of
from evonas.tasks.language.pretrained import LanguageModel


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        tokens: the largest number of new ones.
        temperature: 0 takes the likeliest; higher ones draw less and less likely tokens.
        seed: of what is drawn.

    Raises:
        InputError: one of them is out of range.
    """

    tokens: int = 64
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise InputError("tokens", str(self.tokens), accepted="1 or more")
        if not 0 <= self.temperature < math.inf:
            raise InputError("temperature", str(self.temperature), accepted="0 or a finite number above")


@dataclass(frozen=True, slots=True)
class Speaker:
    """A model that continues a prompt.

    Attributes:
        name: for people.
        model: of transformers.
        within: a context in which each step runs, such as steering.
    """

    name: str
    model: nn.Module
    within: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True, slots=True)
class Said:
    """What a speaker has said so far.

    Attributes:
        ids: of the new tokens.
        seconds: that each token took after the first, for which the prompt was read.
        ended: the model has ended the text.
    """

    ids: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()
    ended: bool = False

    @property
    def tokens_per_second(self) -> float | None:
        """By the median time of a token; None where none was timed."""
        return 1 / statistics.median(self.seconds) if self.seconds else None


def prompt_ids(language: LanguageModel, prompt: str, tokens: int) -> Tensor:
    """Token ids [n] of a prompt, after the token that begins a text if the tokenizer has one.

    Raises:
        InputError: it has no tokens, or the model cannot see it and as many ``tokens`` after it.
    """
    ids = language.encode(prompt)
    if language.bos is not None:
        ids = torch.cat([ids.new_tensor([language.bos]), ids])
    if not len(ids):
        raise InputError("prompt", "is empty", remedy="give some words to begin with")
    if language.positions is not None and len(ids) + tokens > language.positions:
        found = f"{len(ids)} tokens, and {tokens} new ones"
        raise InputError("prompt", found, accepted=f"{language.positions} together, which is what {language.name} sees")
    return ids


def take_turns(speakers: Sequence[Speaker], ids: Tensor, sampling: Sampling) -> Iterator[dict[str, Said]]:
    """What all speakers have said, after each has said one token more; they take turns, so that all run alike.

    All draw the same random numbers: models that agree say the same. The text of each ends with a token that ends it,
    or after as many as are wanted.

    Args:
        speakers: with names of their own.
        ids: the prompt [n] int64.
        sampling: how tokens are chosen.

    Raises:
        InputError: a model that keeps no keys and values, or whose output is not finite.
    """
    streams = {speaker: _stream(speaker, ids, sampling) for speaker in speakers}
    found = {speaker.name: Said() for speaker in speakers}
    while streams:
        for speaker, stream in list(streams.items()):
            with speaker.within():
                said = next(stream, None)
            if said is None:
                del streams[speaker]
            else:
                found[speaker.name] = said
        if streams:
            yield dict(found)


def _stream(speaker: Speaker, ids: Tensor, sampling: Sampling) -> Iterator[Said]:
    model, ends = speaker.model, _ends(speaker.model)
    if not accepts(model, "use_cache"):
        found = f"{type(model).__name__} keeps no keys and values"
        raise InputError(speaker.name, found, accepted="a causal language model of transformers")
    argument = "cache" if accepts(model, "cache") else "past_key_values"
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(derive_seed(sampling.seed, "generated tokens"))
    said, fed = Said(), ids[None].to(device)
    cache: dict[str, Any] = {}
    while not said.ended and len(said.ids) < sampling.tokens:
        started = _now(device)
        with inference(model):
            result: Any = model(fed, use_cache=True, **cache)
        token = _chosen(output_of(result)[0, -1], sampling.temperature, generator, speaker.name)
        spent = _now(device) - started
        cache = {argument: result[argument]}
        said = Said((*said.ids, token), (*said.seconds, spent) if said.ids else (), token in ends)
        yield said
        fed = torch.tensor([[token]], device=device)


def _chosen(logits: Tensor, temperature: float, generator: torch.Generator, name: str) -> int:
    logits = logits.float()
    if not logits.isfinite().all():
        raise InputError(name, "its output is not finite", remedy="lower the strength, or take weights in float32")
    if not temperature:
        return int(logits.argmax())
    return int(torch.multinomial((logits / temperature).softmax(-1).cpu(), 1, generator=generator))


def _ends(model: Any) -> frozenset[int]:
    """The tokens that end a text."""
    found = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return frozenset() if found is None else frozenset([found] if isinstance(found, int) else found)


def _now(device: torch.device) -> float:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
