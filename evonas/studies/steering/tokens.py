"""Texts as batches of token ids."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from evonas.tasks.language.pretrained import LanguageModel

Item = TypeVar("Item")


def encode(
    tokenizer: Any, texts: Sequence[str], limit: int, *, first: int | None = None, special: bool = False
) -> list[list[int]]:
    """Token ids of each text, the first ``limit`` at most.

    Args:
        tokenizer: of transformers.
        texts: what to encode.
        limit: of tokens.
        first: an id put before each text; it counts.
        special: whether the tokenizer puts its own special tokens around, which tokenizers and versions of transformers
            do differently.
    """
    before = [] if first is None else [first]
    rows = []
    for text in texts:
        bounds = {"truncation": True, "max_length": limit} if special else {}
        ids = tokenizer(text, add_special_tokens=special, verbose=False, **bounds)
        rows.append((before + list(ids["input_ids"]))[:limit] or [0])
    return rows


def padded(rows: Sequence[Sequence[int]], pad: int, device: torch.device, *, left: bool) -> dict[str, Tensor]:
    """``input_ids`` and ``attention_mask`` [b, t]; padding comes before the text where it is to be continued."""
    texts = [torch.tensor(row, dtype=torch.int64) for row in rows]
    side = "left" if left else "right"
    ids = pad_sequence(texts, batch_first=True, padding_value=pad, padding_side=side)
    mask = pad_sequence([torch.ones_like(text) for text in texts], batch_first=True, padding_side=side)
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def batched(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Cut into runs of ``size``; the last may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def pad_token(language: LanguageModel) -> int:
    """An id to pad with."""
    tokenizer = language.tokenizer
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id)
    return next((int(token) for token in known if token is not None), 0)


def sentence_batches(
    language: LanguageModel, texts: Sequence[str], limit: int, size: int, device: torch.device
) -> list[dict[str, Tensor]]:
    """Batches of ``size`` texts, of ``limit`` tokens at most.

    Padding comes last: positions then are those of the text, whatever the model makes of a mask.
    """
    rows = encode(language.tokenizer, texts, limit, first=language.bos)
    return [padded(part, pad_token(language), device, left=False) for part in batched(rows, size)]
