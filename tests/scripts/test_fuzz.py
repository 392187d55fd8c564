"""The fuzzing script. Oracles: parsers made here that accept, refuse, fail and hang; and those of evonas, briefly."""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from command import SCRIPTS

from evonas.errors import InputError


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    """The script as a module."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        import fuzz

        yield fuzz
    finally:
        sys.path.remove(str(SCRIPTS))


def draw(rng: random.Random) -> bytes:
    return bytes(rng.choices(b"abcdefgh", k=40))


def judged(content: bytes, folder: Path) -> None:
    """A parser that goes wrong where an input has certain letters."""
    (folder / "left").touch()
    if b"g" in content[:4]:
        raise InputError("here", "has a g")
    if b"h" in content:
        raise KeyError("has an h")


def endless(_content: bytes, _folder: Path) -> None:
    while True:
        pass


def test_cases_are_counted_by_how_they_end_and_failures_are_made_small(
    fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = fuzz.Parser(draw, judged)
    monkeypatch.setattr(fuzz, "_PARSERS", {"made up": made})
    (tally,) = fuzz.run(["made up"], 60, 3, 1).values()
    cases = [draw(random.Random(f"3/made up/{number}")) for number in range(60)]
    refused = sum(b"g" in case[:4] for case in cases)
    failed = sum(b"h" in case and b"g" not in case[:4] for case in cases)
    assert (tally.accepted, tally.refused, tally.failed, tally.hung) == (60 - refused - failed, refused, failed, 0)
    ((kind, (smallest, words)),) = tally.failures.items()
    assert smallest == b"h"
    assert kind.startswith("KeyError")
    assert "has an h" in words
    fuzz.write_failures(tmp_path, {"made up": tally})
    assert [file.read_bytes() for file in tmp_path.glob("*.case")] == [b"h"]


def test_a_hang_is_ended_and_counted(fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "SECONDS", 0.05)
    monkeypatch.setattr(fuzz, "_PARSERS", {"endless": fuzz.Parser(draw, endless)})
    (tally,) = fuzz.run(["endless"], 2, 1, 1).values()
    assert (tally.hung, tally.failed) == (2, 0)


@pytest.mark.parametrize(("where", "found"), [("a\nb", "ok"), ("a", "\x1b[31m")])
def test_error_messages_of_evonas_are_one_line_of_letters(where: str, found: str, fuzz: ModuleType) -> None:
    def refuse(_content: bytes, _folder: Path) -> None:
        raise InputError(where, found)

    assert fuzz.outcome_of(fuzz.Parser(draw, refuse), b"")[0] == "refused"


def test_a_message_that_is_no_line_is_a_failure(fuzz: ModuleType) -> None:
    class OddError(InputError):
        def __str__(self) -> str:
            return "two\nlines"

    def refuse(_content: bytes, _folder: Path) -> None:
        raise OddError("a", "b")

    assert fuzz.outcome_of(fuzz.Parser(draw, refuse), b"")[0] == "failed"


def test_every_parser_stands_some_cases(
    fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "--cases", "12", *files])
    with pytest.raises(SystemExit) as ended:
        fuzz.main()
    printed = capsys.readouterr().out
    assert ended.value.code == 0, printed
    numbers = json.loads((tmp_path / "a.json").read_text())
    assert [*numbers["parsers"]] == [*fuzz.parsers()]
    assert all(each["accepted"] + each["refused"] == 12 for each in numbers["parsers"].values())
    assert not (tmp_path / "out").exists()
