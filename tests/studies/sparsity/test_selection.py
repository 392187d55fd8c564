"""Oracles: counts and places written out by hand."""

import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.sparsity.scores import Magnitude
from evonas.studies.sparsity.selection import Prefill, Selector


@pytest.mark.parametrize(
    ("prefill", "dense"),
    [
        (Prefill(), {1: 0, 2: 0, 100: 0}),
        (Prefill(0.99), {1: 0, 2: 1, 100: 1, 200: 2}),  # WINA's code: the last int(0.99 * t) are sparse
        (Prefill(0.5), {1: 0, 2: 1, 7: 4, 100: 50}),  # TEAL's: the last t // 2
        (Prefill(0.0), {1: 0, 9: 9}),
        (Prefill(first=4), {1: 0, 3: 3, 9: 4}),
        (Prefill(0.5, first=4), {6: 4, 10: 5}),
    ],
)
def test_how_many_positions_of_a_prompt_stay_dense(prefill: Prefill, dense: dict[int, int]) -> None:
    assert {positions: prefill.dense(positions) for positions in dense} == dense


@pytest.mark.parametrize(
    ("share", "first", "where"), [(1.1, 0, "prefill.share"), (-0.1, 0, "share"), (1.0, -1, "first")]
)
def test_a_policy_that_makes_no_sense_is_refused(share: float, first: int, where: str) -> None:
    with pytest.raises(InputError, match=where):
        Prefill(share, first)


def test_each_token_keeps_its_own_largest(g: torch.Generator) -> None:
    x = torch.randn(2, 5, 8, generator=g)
    selected = Selector(Magnitude(), keep=3).masked(x)
    assert ((selected.values != 0).sum(-1) == 3).all()
    smallest_kept = torch.where(selected.values != 0, x.abs(), torch.inf).amin(-1)
    assert (smallest_kept >= torch.where(selected.values == 0, x.abs(), 0).amax(-1)).all()
    assert selected.dropped == 2 * 5 * 5


def test_dense_positions_keep_everything_and_are_not_counted_as_dropped(g: torch.Generator) -> None:
    x = torch.randn(2, 5, 8, generator=g)
    for selector in (Selector(Magnitude(), keep=3, prefill=Prefill(first=2)), Selector(Magnitude(), threshold=0.7)):
        selected = selector.masked(x)
        assert int(selected.dropped) == int((selected.values == 0).sum())
    selected = Selector(Magnitude(), keep=3, prefill=Prefill(first=2)).masked(x)
    assert torch.equal(selected.values[:, :2], x[:, :2])


def test_maps_of_pixels_have_no_positions_to_spare(g: torch.Generator) -> None:
    x = torch.randn(1, 4, 4, 8, generator=g)
    selected = Selector(Magnitude(), keep=3, prefill=Prefill(0.0)).masked(x)
    assert ((selected.values != 0).sum(-1) == 3).all()


def test_one_token_gives_indices_and_values_of_what_the_mask_keeps(g: torch.Generator) -> None:
    x = torch.randn(1, 1, 8, generator=g)
    for selector in (Selector(Magnitude(), keep=3), Selector(Magnitude(), threshold=0.5)):
        kept, masked = selector.kept(x), selector.masked(x)
        spread = torch.zeros(8).index_put((kept.indices,), kept.values)  # type: ignore[arg-type]
        assert torch.equal(spread, masked.values.flatten())
        assert int(kept.dropped) == int(masked.dropped)


@pytest.mark.parametrize("rule", [{"keep": 2}, {"threshold": 1.0}])
def test_what_is_not_a_number_is_kept_and_seen(rule: dict[str, int]) -> None:
    x = torch.tensor([[0.1, torch.nan, 5.0, 0.2]])
    assert torch.isnan(Selector(Magnitude(), **rule).masked(x).values).any()
    assert torch.isnan(Selector(Magnitude(), **rule).kept(x).values).any()


def test_infinities_that_are_dropped_leave_zeros_and_not_nan() -> None:
    x = torch.tensor([[torch.inf, 1.0]])
    selector = Selector(Magnitude(torch.tensor([0.0, 1.0])), threshold=0.5)
    assert selector.masked(x).values.isnan().sum() == 0


def test_layers_that_share_a_selector_and_an_input_select_once(g: torch.Generator) -> None:
    class Counting(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Counting.calls += 1
            return x.abs()

    selector, x = Selector(Counting(), keep=2), torch.randn(1, 4, generator=g)
    selector.kept(x)
    selector.kept(x)
    assert Counting.calls == 1
