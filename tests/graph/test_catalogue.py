"""Finding a layer by what a file calls it."""

from collections.abc import Callable

import pytest

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE, catalogued, catalogued_or_text
from evonas.graph.genome import Genome


def test_names_and_text_forms() -> None:
    assert catalogued("dyt", "layer") is CATALOGUE["dyt"] is catalogued_or_text("dyt", "layer")
    assert catalogued_or_text("tanh(x)", "layer") == Genome.from_text("tanh(x)")


@pytest.mark.parametrize(
    ("find", "text", "message"),
    [
        (catalogued, "evonorm-s9", "run.layer: unknown layer 'evonorm-s9'; accepted: bn-relu, "),
        (catalogued, "tanh(x)", "run.layer: unknown layer 'tanh(x)'; accepted: bn-relu, "),
        (catalogued_or_text, "evonorm-s9", "run.layer: 'evonorm-s9'; accepted: a text form such as 'sigmoid(x)', or "),
        (catalogued_or_text, "tan(x)", "run.layer 'tan(x)': "),
    ],
)
def test_what_is_neither_is_refused_where_it_stands(
    find: Callable[[str, str], Genome], text: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        find(text, "run.layer")
    assert str(caught.value).startswith(message)
