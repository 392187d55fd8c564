"""Malformed inputs out of sound ones: by their bytes, by the structure of their data, or by a grammar of tokens.

Everything is drawn from a generator that is given, so that a case is the same whenever and wherever it is made.
"""

import json
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import tomli_w

Cases = Callable[[random.Random], bytes]

_DIGITS, _DEEP = "@digits@", "@deep@"  # stand for what json cannot write
STRINGS = (
    "",
    " ",
    "\0",
    "\ud800",
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\u202egnp.exe",
    "[/x]",
    "[bold]",
    "[link=http://x]",
    "<script>alert(1)</script>",
    "](javascript:x)",
    "$\\frac$",
    "a|b`c",
    "two\nlines",
    "../../etc/passwd",
    "/dev/zero",
    "/etc/passwd",
    ".:x",
    "os:system",
    "'''\"\"\"",
    "é\u0663\u00b2",
    "a" * 300,
    "a." * 300,
    "x" * 20_000,
)
NUMBERS = (
    0,
    -1,
    1,
    2**31,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63),
    10**30,
    1e308,
    1e-320,
    0.1,
    math.nan,
    math.inf,
    -math.inf,
)
VALUES: tuple[Any, ...] = (*STRINGS, *NUMBERS, True, False, None, [], {}, [[]], [None], {"": 1}, _DIGITS, _DEEP)


def by_bytes(samples: Sequence[bytes]) -> Cases:
    """Bytes of samples flipped, taken out, put in, repeated, cut off and spliced."""

    def draw(rng: random.Random) -> bytes:
        content = bytearray(rng.choice(samples))
        for _ in range(rng.choice((1, 1, 2, 4, 16))):
            size = max(len(content), 1)
            start = rng.randrange(size)
            end = min(start + int(rng.paretovariate(0.6)), size)
            match rng.randrange(7):
                case 0 if content:
                    content[start] ^= 1 << rng.randrange(8)
                case 1:
                    content[start:start] = rng.randbytes(rng.choice((1, 2, 4, 8, 64)))
                case 2:
                    del content[start:end]
                case 3:
                    content[start:start] = content[start:end] * rng.choice((1, 2, 16))
                case 4:
                    del content[start:]
                case 5:
                    content[start:end] = rng.choice((b"\xff", b"\0", b"\x7f", b"\x80")) * min(end - start, 64)
                case 6:
                    other = rng.choice(samples)
                    content[start:] = other[rng.randrange(max(len(other), 1)) :]
        return bytes(content[: 2**21])

    return draw


def by_tokens(tokens: Sequence[str], longest: int = 30) -> Cases:
    """Texts of tokens, now and then with one of the hostile strings, or with very many of a token."""

    def draw(rng: random.Random) -> bytes:
        parts = [rng.choice(tokens) for _ in range(rng.randrange(1, longest))]
        if rng.random() < 0.2:
            parts.insert(rng.randrange(len(parts)), rng.choice(STRINGS))
        if rng.random() < 0.03:
            parts.insert(rng.randrange(len(parts)), rng.choice(tokens) * rng.choice((100, 3000, 20_000)))
        return "".join(parts).encode("utf-8", "surrogatepass")

    return draw


def by_words(samples: Sequence[str], tokens: Sequence[str]) -> Cases:
    """Texts of samples with some words and signs changed for others of their kind, doubled or taken out."""
    cut = [re.findall(r"\w+|\W", sample) for sample in samples]

    def draw(rng: random.Random) -> bytes:
        parts = list(rng.choice(cut))
        for _ in range(rng.choice((1, 1, 2, 3))):
            place = rng.randrange(len(parts))
            parts[place] = rng.choice((rng.choice(parts), rng.choice(tokens), "", parts[place] * 2))
        return "".join(parts).encode("utf-8", "surrogatepass")

    return draw


def by_structure(samples: Sequence[Any], write: Callable[[Any], str]) -> Cases:
    """Data of samples with values, keys and whole parts changed, then written.

    Args:
        samples: values that JSON can hold.
        write: makes a text of one.
    """
    texts = [json.dumps(sample) for sample in samples]

    def draw(rng: random.Random) -> bytes:
        data = json.loads(rng.choice(texts))
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            data = _changed(data, rng)
        text = write(data)
        text = text.replace(f'"{_DIGITS}"', "9" * 5000).replace(f'"{_DEEP}"', "[" * 3000 + "]" * 3000)
        return text.encode("utf-8", "surrogatepass")

    return draw


def _changed(data: Any, rng: random.Random) -> Any:
    """The data with one change somewhere below."""
    if not isinstance(data, dict | list) or not data or rng.random() < 0.05:
        return deepcopy(rng.choice(VALUES))
    key: Any = rng.choice([*data]) if isinstance(data, dict) else rng.randrange(len(data))
    match rng.randrange(12):
        case 0:
            del data[key]
        case 1 if isinstance(data, dict):
            data[rng.choice(STRINGS)] = deepcopy(data[key])
        case 1:
            data.extend(deepcopy(data) * rng.choice((1, 3)))
        case 2:
            data[key] = [data[key]]
        case 3:
            data[key] = {"a": data[key]}
        case 4 | 5 | 6:
            data[key] = deepcopy(rng.choice(VALUES))
        case _:
            data[key] = _changed(data[key], rng)
    return data


def toml_of(data: Any) -> str:
    """Data as TOML, as far as TOML has it."""
    whole = data if isinstance(data, Mapping) else {"value": data}
    return tomli_w.dumps(_without_nothing(whole))


def _without_nothing(data: Any) -> Any:
    if isinstance(data, dict):
        return {_text(key): _without_nothing(value) for key, value in data.items() if value is not None}
    if isinstance(data, list):
        return [_without_nothing(value) for value in data if value is not None]
    return _text(data) if isinstance(data, str) else data


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def mixed(*cases: Cases) -> Cases:
    """Cases of all of several kinds."""

    def draw(rng: random.Random) -> bytes:
        return rng.choice(cases)(rng)

    return draw
