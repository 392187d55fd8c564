"""Oracle: patterns written down by hand. That one call computes the same is tested in ``test_lower`` and elsewhere."""

import pytest

from evonas.graph.genome import Genome
from evonas.layer.fuse import standardized


def found(text: str) -> dict[str, str]:
    """The names of what is standardized, by the name of the node that does it."""
    genome = Genome.from_text(text)
    *statements, _ = text.split("; ")
    names = ["x", "zero", "v0", "v1", *(statement.partition(" = ")[0] for statement in statements), "y"]
    return {names[position]: names[source] for position, source in standardized(genome).items()}


@pytest.mark.parametrize("axes", ["ghw", "chw", "hw", "d", "td", "t", "gtd"])
@pytest.mark.parametrize("centred", ["c = add(x, b)", "c = add(b, x)"])
def test_each_index_set_that_torch_has_a_call_for_is_found(axes: str, centred: str) -> None:
    text = f"a = mean[{axes}](x); b = neg(a); {centred}; d = std[{axes}](x); e = div(c, d); tanh(e)"
    assert found(text) == {"e": "x"}


def test_any_map_may_be_standardized_also_where_its_expression_is_repeated() -> None:
    text = "p = tanh(x); a = mean[hw](p); b = neg(a); q = tanh(x); c = add(q, b); d = std[hw](q); div(c, d)"
    assert found(text) == {"y": "q"}


@pytest.mark.parametrize(
    "text",
    [
        "a = mean[bhw](x); b = neg(a); c = add(x, b); d = std[bhw](x); div(c, d)",  # running values are kept
        "a = mean[gd](x); b = neg(a); c = add(x, b); d = std[gd](x); div(c, d)",  # torch has no call for it
        "a = mean[hw](x); b = neg(a); c = add(x, b); d = std[chw](x); div(c, d)",  # two index sets
        "a = mean[hw](x); b = neg(a); c = add(x, b); e = abs(x); d = std[hw](e); div(c, d)",  # std of another value
        "a = mean[hw](x); b = neg(a); e = abs(x); c = add(e, b); d = std[hw](x); div(c, d)",  # another value is shifted
        "e = abs(x); a = mean[hw](e); b = neg(a); c = add(x, b); d = std[hw](x); div(c, d)",  # by another mean
        "a = mean[hw](x); c = add(x, a); d = std[hw](x); div(c, d)",  # the mean is added
        "a = mean[hw](x); b = neg(a); c = add(x, b); d = rms[hw](x); div(c, d)",  # not centred below
        "a = mean[chw](v1); b = neg(a); c = add(v1, b); d = std[chw](v1); e = div(c, d); mul(x, e)",  # not a map
    ],
)
def test_nothing_else_is_taken_for_it(text: str) -> None:
    assert found(text) == {}
