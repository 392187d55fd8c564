"""Texts to train on: tokens, split by position, and batches of them.

The default needs nothing but Python: the help topics of the standard library, as bytes. They change with the version of
Python, so compare losses under one version only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evonas.config import TextConfig
from evonas.errors import InputError
from evonas.extras import import_package
from evonas.reading import read_regular
from evonas.tasks.language.austen import read_austen

BYTES = 256


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens [n] int64 to train on, and those that validate, of a vocabulary of so many."""

    name: str
    train: Tensor
    validation: Tensor
    vocabulary: int


def load_text(config: TextConfig) -> Text:
    """Read a text, split it, and turn both parts into tokens; BPE is learned from the training part alone.

    Raises:
        InputError: a file that is missing or (for BPE) not UTF-8, nothing to train on or to validate with, or no
            package for BPE.
    """
    train, validation = _split(config)
    for part, raw in (("train on", train), ("validate with", validation)):
        if not raw:
            found = f"nothing to {part}: {len(train)} and {len(validation)} bytes"
            raise InputError(f"text: {config.path or config.name}", found, remedy="give a longer text")
    name = Path(config.path).name if config.name == "file" else config.name
    if config.tokens == "bytes":
        return Text(name, _of_bytes(train), _of_bytes(validation), BYTES)
    tokenizer = _byte_pairs(_decoded(train, config), config.vocabulary)
    first, last = (torch.tensor(tokenizer.encode(_decoded(raw, config)).ids) for raw in (train, validation))
    return Text(name, first, last, tokenizer.get_vocab_size())


def read_text(config: TextConfig) -> tuple[str, str]:
    """The part to train on and the part that validates, as text; ``tokens`` and ``vocabulary`` do not matter.

    Raises:
        InputError: a file that is missing or not UTF-8.
    """
    train, validation = (_decoded(part, config) for part in _split(config))
    return train, validation


def token_batches(tokens: Tensor, context: int, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets [batch_size, context] without end, from places drawn uniformly; targets are one token later.

    Raises:
        InputError: the context is longer than the text.
    """
    places = _require_room(tokens, context)
    generator = torch.Generator().manual_seed(seed)
    return _batches(tokens, context, batch_size, places, generator)  # so that errors come now, not at the first batch


def windows(tokens: Tensor, context: int, count: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets [n, context]: up to ``count`` windows spread evenly over the text, none overlapping another.

    Raises:
        InputError: the context is longer than the text.
    """
    _require_room(tokens, context)
    available = (len(tokens) - 1) // context
    count = min(count, available)
    starts = torch.arange(count) * available // count * context
    return _cut(tokens, starts, context)


def _batches(
    tokens: Tensor, context: int, batch_size: int, places: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield _cut(tokens, torch.randint(places, (batch_size,), generator=generator), context)


def _cut(tokens: Tensor, starts: Tensor, context: int) -> tuple[Tensor, Tensor]:
    cut = tokens[(starts[:, None] + torch.arange(context + 1)).to(tokens.device)]
    return cut[:, :-1], cut[:, 1:]


def _require_room(tokens: Tensor, context: int) -> int:
    places = len(tokens) - context  # each needs a token after its last one
    if places < 1:
        found = f"{context}, and a text of {len(tokens)} tokens"
        raise InputError("model.context", found, accepted="less than the text", remedy="give a longer text")
    return places


def _split(config: TextConfig) -> tuple[bytes, bytes]:
    if config.name == "austen" and not config.validation:
        *books, last = read_austen(config.path or None)
        return "\n".join(books).encode(), last.encode()
    raw = _raw(config)
    cut = len(raw) - round(len(raw) * (config.validation or 0.1))
    while 0 < cut < len(raw) and raw[cut] & 0xC0 == 0x80:  # not within a character of UTF-8
        cut += 1
    return raw[:cut], raw[cut:]


def _raw(config: TextConfig) -> bytes:
    if config.name == "austen":
        return "\n".join(read_austen(config.path or None)).encode()
    if config.name == "topics":
        if config.path:
            remedy = "text.name = 'file' reads a file"
            raise InputError("text.path", config.path, accepted="no path: topics come with Python", remedy=remedy)
        return "\n".join(topics[key] for key in sorted(topics)).encode()
    if not config.path:
        raise InputError("text.path", "is empty", accepted="the path of a text")
    try:
        return read_regular(Path(config.path))
    except FileNotFoundError:
        raise InputError("text.path", f"no such file: {config.path!r}", remedy="give the path of a text") from None
    except OSError as error:
        raise InputError("text.path", f"{config.path!r} cannot be read ({error.strerror})") from None
    except InputError as error:
        raise InputError("text.path", f"{config.path!r} {error.found}") from None


def _of_bytes(raw: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(raw, np.uint8).astype(np.int64))


def _decoded(raw: bytes, config: TextConfig) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        remedy = "text.tokens = 'bytes' reads any file" if config.tokens == "bpe" else ""
        raise InputError(f"text.path: {config.path}", f"is not UTF-8 ({error.reason})", remedy=remedy) from None


def _byte_pairs(text: str, vocabulary: int) -> Any:
    """A byte-level BPE tokenizer of up to ``vocabulary`` tokens."""
    tokenizers = import_package("tokenizers", "text.tokens: bpe")
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator([text], trainer)
    return bpe
