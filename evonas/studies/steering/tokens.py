"""Texts as batches of token ids."""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

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
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros(len(rows), width, dtype=torch.int64)
    for number, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(len(row))
        ids[number, place], mask[number, place] = torch.tensor(row), 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def batched(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Cut into runs of ``size``; the last may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]
