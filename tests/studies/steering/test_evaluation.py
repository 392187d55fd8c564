"""Oracles: log-likelihoods summed token by token, the vocabulary for a model that knows nothing, distances by hand."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.steering import Intervention, fit
from evonas.studies.steering.evaluation import Point, distances, perplexity, strength_curve
from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.sites import find_sites
from evonas.studies.steering.wasserstein import squared_wasserstein


class Bigrams(nn.Module):
    """The next token's logits by the present one."""

    def __init__(self, wrapped: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 7)
        self.drop, self.wrapped = nn.Dropout(0.9), wrapped

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor | object:
        assert attention_mask is None or attention_mask.shape == input_ids.shape
        logits = self.drop(self.table(input_ids))
        return type("Output", (), {"logits": logits}) if self.wrapped else logits


IDS = torch.tensor([[1, 4, 2, 6], [5, 0, 0, 3]])


def by_hand(model: Bigrams, rows: list[list[int]]) -> float:
    logs = model.table.weight.log_softmax(1)
    terms = [logs[a, b].item() for row in rows for a, b in itertools.pairwise(row)]
    return float(torch.tensor(-sum(terms) / len(terms)).exp())


def test_perplexity_is_the_mean_over_tokens_whatever_the_batches_and_the_mode() -> None:
    model = Bigrams().train()
    assert perplexity(model, [IDS]) == pytest.approx(by_hand(model, IDS.tolist()), rel=1e-5)
    assert model.training
    assert perplexity(model, [IDS[:1], IDS[1:, :2]]) == pytest.approx(by_hand(model, [[1, 4, 2, 6], [5, 0]]), rel=1e-5)
    with torch.no_grad():
        model.table.weight.zero_()
    assert perplexity(model, [IDS]) == pytest.approx(7, rel=1e-5)


def test_padding_on_either_side_does_not_count() -> None:
    model = Bigrams(wrapped=True)
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])
    found = perplexity(model, [{"input_ids": IDS, "attention_mask": mask}])
    assert found == pytest.approx(by_hand(model, [[2, 6], [5, 0, 0]]), rel=1e-5)


def test_without_tokens_there_is_no_perplexity() -> None:
    for batches in ([], [IDS[:, :1]]):
        with pytest.raises(InputError, match=r"^batches: no token follows another"):
            perplexity(Bigrams(), batches)
    with pytest.raises(InputError, match=r"^batch: holds no token ids"):
        perplexity(Bigrams(), [{"pixels": IDS}])


def test_a_curve_has_the_untouched_model_at_0_and_is_priced() -> None:
    model = nn.Sequential(nn.Identity())
    x = torch.ones(4, 2)
    shift = AffineMap(torch.ones(2), torch.tensor([3.0, 0.0]))
    intervention = Intervention(find_sites(model, ["0"], x), (shift,), "by hand", "Sequential")
    points = strength_curve(
        intervention, model, [0, 0.5, 2], lambda m: m(x)[0, 0].item(), price=lambda m: (m(x) - x).norm().item()
    )
    assert points == (Point(0, 1, 0), Point(0.5, 2.5, 3), Point(2, 7, 12))


def test_distances_are_those_between_pooled_activations() -> None:
    model = nn.Sequential(nn.Tanh(), nn.Linear(3, 2)).train()
    generator = torch.Generator().manual_seed(0)
    source, target = (torch.randn(n, 3, generator=generator) + k for k, n in enumerate((8, 12)))
    intervention = fit(model, [source], [target], sites="0", method="linear-act", bounded=False)
    found = distances(intervention, model, [source[:5], source[5:]], [target], strength=0.5)
    moved = 0.5 * intervention.maps[0](source.tanh()) + 0.5 * source.tanh()
    assert found == {"0": pytest.approx(squared_wasserstein(moved, target.tanh()).mean().item(), rel=1e-5)}
    plain, full = (distances(intervention, model, [source], [target], strength=s)["0"] for s in (0.0, 1.0))
    assert full < found["0"] < plain
    assert model.training
