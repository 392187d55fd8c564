"""How checks say what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

from evonas.errors import first_line


@contextmanager
def saying(sentence: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes an ``AssertionError`` that begins with this sentence."""
    try:
        yield
    except Exception as error:  # of whatever the checked function does
        raise AssertionError(f"{sentence}: {type(error).__name__}, {first_line(error)}") from error


def require(condition: object, sentence: str) -> None:
    """Raise ``AssertionError`` with the sentence where the condition does not hold; also under ``python -O``."""
    if not condition:
        raise AssertionError(sentence)
