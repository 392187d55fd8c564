"""Files and texts of others. Oracles: files of every kind that is none, and JSON and TOML that Python itself reads."""

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evonas.errors import InputError
from evonas.reading import decoded, parse_json, parse_toml, read_given, read_regular, require_plain, whole_number

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)  # halves of characters as well


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as error:
        call()
    message = str(error.value)
    assert message.isprintable()
    return message


def test_pipes_devices_and_folders_are_no_files_and_keep_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null")):
        assert error_of(lambda path=path: read_given(path)) == f"{path}: is not a regular file"
    assert "is a folder" in error_of(lambda: read_given(tmp_path, accepted="a file"))
    assert "no such file; accepted: a file" in error_of(lambda: read_given(tmp_path / "no", accepted="a file"))
    assert "File name too long" in error_of(lambda: read_given(tmp_path / ("a" * 300)))
    assert "NUL" in error_of(lambda: read_given(tmp_path / "a\0b"))
    assert "Not a directory" in error_of(lambda: read_given("/dev/null/a"))


def test_a_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", largest=5) == read_regular(tmp_path / "file") == b"12345"
    assert "is larger than 4 bytes" in error_of(lambda: read_given(tmp_path / "file", largest=4))
    assert read_regular(Path("/proc/self/status")).startswith(b"Name:")  # its size is said to be 0
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "link") == b"12345"
    with pytest.raises(OSError, match="symbolic links"):
        read_regular(tmp_path / "link", follow=False)


def test_what_is_no_text_is_said_with_its_place() -> None:
    assert "is not UTF-8 (invalid start byte at byte 2)" in error_of(lambda: decoded(b"ab\xff", "file"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "is not JSON"),
        ("9" * 5000, "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 40 + "]" * 40, "is nested too deep; accepted: up to 32 levels"),
        ('{"a": [1, NaN]}', "a.1: nan; accepted: a finite number"),
        ('{"a": 1e999}', "a: inf"),
        ('{"a": 9223372036854775808}', "a: is a number of 64 bits; accepted: whole numbers from -2^63 to 2^63 - 1"),
        ('{"a": "\\ud800"}', "a: holds a NUL or half a character: '\\ud800'"),
        ('{"a\\u0000": 1}', "a key: holds a NUL"),
    ],
)
def test_json_that_cannot_be_held_is_refused_with_its_key(text: str, words: str) -> None:
    assert words in error_of(lambda: parse_json(text, "file.json"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 100_000, "is not TOML"),
        ("a = " + "9" * 5000, "is not TOML"),
        (".".join("a" * 100_000) + " = 1", "accepted: keys of less than 500 parts"),
        (" . ".join(['"a b"'] * 600) + " = 1", "accepted: keys of less than 500 parts"),
        ("= 3", "is not TOML"),
    ],
)
def test_toml_that_cannot_be_held_is_refused(text: str, words: str) -> None:
    assert words in error_of(lambda: parse_toml(text, "file.toml"))


def test_deep_keys_and_sentences_with_dots_are_toml() -> None:
    text = f"{'.'.join('a' * 30)} = 'one. two. {'three. ' * 50}... 1.2.3'\n# {'.'.join('b' * 10)} ......\n"
    assert parse_toml(text, "") == tomllib.loads(text)


@given(ANY_TEXT)
def test_any_text_is_json_or_one_line(text: str) -> None:
    message = ""
    try:
        assert parse_json(text, "file") == json.loads(text)
    except InputError as error:
        message = str(error)
    assert message.isprintable()


@given(ANY_TEXT)
def test_any_text_is_toml_or_one_line(text: str) -> None:
    message = ""
    try:
        assert parse_toml(text, "file") == tomllib.loads(text)
    except InputError as error:
        message = str(error)
    assert message.isprintable()


@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.text("a é\n\U0001f600"))
def test_sound_values_are_let_through(number: int, real: float, text: str) -> None:
    require_plain({text: [number, {"a": real}], "b": [text, None, True]}, "file")


@given(st.integers(0, 2**70), st.sampled_from([2**63 - 1, 10, 2**64]))
def test_whole_numbers_are_read_up_to_the_largest(number: int, largest: int) -> None:
    expected = number if number <= largest else None
    assert whole_number(str(number), largest) == whole_number(f"000{number}", largest) == expected


def test_what_is_no_whole_number_is_none() -> None:
    assert [whole_number(text) for text in ("", "-1", "1.0", "²", "1e3", "9" * 5000, "0x1", " 1")] == [None] * 8
