"""Tables that users add to. Oracles: the order of registration, and the records themselves."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from evonas.errors import InputError
from evonas.registry import Registry, UnknownNameError


@dataclass(frozen=True)
class Colour:
    name: str
    mix: Callable[[int], int] | None = None
    shade: int = 0


def refuse_grey(colour: Colour) -> None:
    if colour.name == "grey":
        raise InputError("colour 'grey'", "is none")


@pytest.fixture
def table() -> Registry[Colour]:
    return Registry("colour", (Colour("red"), Colour("blue")), refuse_grey)


def adder(number: int) -> Callable[[int], int]:
    return lambda x: x + number


def test_a_table_reads_as_a_mapping_in_the_order_of_registration(table: Registry[Colour]) -> None:
    green = table.register(Colour("green"))
    assert list(table) == ["red", "blue", "green"]
    assert (len(table), table["green"], "green" in table, table.get("pink")) == (3, green, True, None)
    assert table.builtin == ("red", "blue")
    with pytest.raises(KeyError):
        table["pink"]
    with pytest.raises(TypeError):
        table["red"] = green  # type: ignore[index]


def test_an_equal_record_may_come_again_and_another_one_may_not(table: Registry[Colour]) -> None:
    first = table.register(Colour("green", adder(1)))
    assert table.register(Colour("green", adder(1))) is first  # the same code, made once more
    assert table.register(Colour("red")) is table["red"]
    for other in (Colour("green", adder(2)), Colour("green", lambda x: x + 1), Colour("green", adder(1), 3)):
        with pytest.raises(InputError, match=r"colour 'green': another colour has this name already; give it a name"):
            table.register(other)
    with pytest.raises(InputError, match="'red'"):
        table.register(Colour("red", shade=1))
    assert table["green"] is first


def test_what_is_refused_is_not_there(table: Registry[Colour]) -> None:
    with pytest.raises(InputError, match="'grey': is none"):
        table.register(Colour("grey"))
    assert "grey" not in table


def test_an_unknown_name_has_a_near_one_or_the_way_to_load_an_extension(table: Registry[Colour]) -> None:
    assert table.find("red", "paint.colour") is table["red"]
    with pytest.raises(UnknownNameError, match=r"paint\.colour: unknown colour 'bleu'; accepted: red, blue; did you"):
        table.find("bleu", "paint.colour")
    with pytest.raises(UnknownNameError, match=r"unknown colour 'violet'; .*extensions = \[\"MODULE\"\]"):
        table.find("violet", "paint.colour")
