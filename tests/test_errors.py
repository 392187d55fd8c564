"""What is shown of errors."""

import pytest

from evonas.errors import first_line


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (RuntimeError("out of memory"), "out of memory"),
        (RuntimeError("\n  shapes differ: 3, 4 \nstack of calls"), "shapes differ: 3, 4"),
        (MemoryError(), "MemoryError"),
        (ValueError(" \n "), "ValueError"),
    ],
)
def test_the_first_line_with_text_or_the_type_of_an_error_is_shown(error: Exception, shown: str) -> None:
    assert first_line(error) == shown
