"""What is scored and what calibrates: windows of texts that have no passage in common.

A text is ``topics`` (Python's help), ``austen`` (six novels; ``austen:PATH`` says where), or the path of a file. Of the
first two the last part is scored and the rest calibrates; a file is scored, or calibrates, as a whole.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from evonas.config import TextConfig
from evonas.errors import InputError
from evonas.tasks.language.text import read_text, windows

PASSAGE = 64  # tokens in a row that a calibration window may not share with what is scored
CANDIDATES = 8  # calibration windows to choose from, for each that is wanted

Encode = Callable[[str], Tensor]


@dataclass(frozen=True, slots=True)
class TextWindows:
    """Windows of a text, spread evenly over it; none overlaps another.

    Attributes:
        name: of the text.
        rows: token ids [n, context] int64.
    """

    name: str
    rows: Tensor

    @property
    def digest(self) -> str:
        """A digest of the windows, by which results are recorded."""
        shape = "x".join(map(str, self.rows.shape))
        return f"{shape} sha256 {hashlib.sha256(self.rows.numpy().tobytes()).hexdigest()[:16]}"


def text_name(text: str) -> str:
    """What a text is called: ``topics``, ``austen``, or the name of its file."""
    name = _config(text).name
    return Path(text).name if name == "file" else name


def scored_windows(text: str, encode: Encode, context: int, tokens: int) -> TextWindows:
    """The windows of a text that are scored: as many as hold ``tokens``, one at least, or what there is.

    Raises:
        InputError: the text cannot be read or has no window.
    """
    name, encoded = text_name(text), encode(_part(text, 1))
    return TextWindows(name, _cut(name, encoded, context, tokens // context))


def calibration_windows(
    text: str, encode: Encode, context: int, tokens: int, scored: Sequence[TextWindows]
) -> TextWindows:
    """The windows that calibrate; none shares ``PASSAGE`` tokens in a row with one that is scored.

    Raises:
        InputError: the text cannot be read, or has no such window.
    """
    name, encoded = text_name(text), encode(_part(text, 0))
    length = min(PASSAGE, context)
    passages = {passage for each in scored for row in each.rows for passage in _passages(row, length)}
    count = max(1, tokens // context)
    found = _cut(name, encoded, context, CANDIDATES * count)
    apart = [row for row in found if passages.isdisjoint(_passages(row, length))]
    if not apart:
        remedy = "calibrate on another text"
        raise InputError(f"calibration {name}", "all of it is among what is scored", remedy=remedy)
    count = min(count, len(apart))
    return TextWindows(name, torch.stack([apart[number * len(apart) // count] for number in range(count)]))


def _config(text: str) -> TextConfig:
    name, _, path = text.partition(":")
    if name == "austen":
        return TextConfig(name="austen", path=path)
    return TextConfig() if text == "topics" else TextConfig(name="file", path=text)


def _part(text: str, number: int) -> str:
    """The first or the second part of a text; a file is not divided."""
    config = _config(text)
    try:
        parts = read_text(config)
    except InputError as error:
        raise InputError(f"text {text}", error.found, accepted=error.accepted, remedy=error.remedy) from None
    return "".join(parts) if config.name == "file" else parts[number]


def _cut(name: str, encoded: Tensor, context: int, count: int) -> Tensor:
    if len(encoded) <= context:
        remedy = "give a longer text, or a smaller context"
        raise InputError(f"text {name}", f"{len(encoded)} tokens, and windows of {context}", remedy=remedy)
    return windows(encoded, context, max(1, count))[0]


def _passages(row: Tensor, length: int) -> set[int]:
    """Hashes of all passages of ``length`` tokens."""
    size, raw = row.itemsize, row.numpy().tobytes()
    return {hash(raw[size * start : size * (start + length)]) for start in range(len(row) - length + 1)}
