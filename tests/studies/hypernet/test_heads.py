"""Oracles: a linear map for each tensor; the normal distribution; torch's own rules for loading state dicts."""

import pytest
import torch

from evonas.errors import InputError
from evonas.studies.hypernet.heads import Heads, fan_out_stds, matched_stds

SHAPES = {"conv.weight": (40, 3, 5, 5), "norm.weight": (40,), "scale": ()}
SIZES = {"conv.weight": 3000, "norm.weight": 40, "scale": 1}


def drawn(shapes: dict = SHAPES, std: float = 0.5, seed: int = 0) -> Heads:
    heads = Heads(shapes, 16)
    heads.draw(dict.fromkeys(shapes, std), seed)
    return heads


@pytest.mark.parametrize("leading", [(), (4,)])
def test_each_tensor_has_a_linear_map(leading: tuple[int, ...]) -> None:
    heads, hidden = drawn(), torch.randn(*leading, 16)
    state, out = heads.state_dict(), heads(hidden)
    assert list(out) == list(SHAPES)
    for name, shape in SHAPES.items():
        assert out[name].shape == (*leading, *shape)
        torch.testing.assert_close(out[name].reshape(*leading, -1), hidden @ state[name].T)


def test_draws_have_their_standard_deviation_and_depend_on_seed_and_name_alone() -> None:
    heads = Heads(SHAPES, 16)
    heads.draw({"conv.weight": 0.5, "norm.weight": 0.0, "scale": 3.0}, 7)
    assert heads.heads()["conv.weight"].std().item() == pytest.approx(0.5, rel=0.02)
    assert not heads.heads()["norm.weight"].any()
    alone = Heads({"conv.weight": SHAPES["conv.weight"]}, 16)
    alone.draw({"conv.weight": 0.5}, 7)
    assert torch.equal(alone.weight, heads.heads()["conv.weight"])
    assert not torch.equal(drawn(seed=1).weight, drawn(seed=2).weight)
    one, other = drawn({"a": (5,), "b": (5,)}).heads().values()
    assert not torch.equal(one, other)


def test_matched_heads_have_the_wanted_norm() -> None:
    norms = {"conv.weight": 3.0, "norm.weight": 0.2, "scale": 0.0}
    hidden = torch.randn(50, 16)
    stds = matched_stds(norms, SIZES, float(hidden.square().sum(-1).mean().sqrt()))
    squares = dict.fromkeys(SHAPES, 0.0)
    for seed in range(30):
        heads = Heads(SHAPES, 16)
        heads.draw(stds, seed)
        for name, value in heads(hidden).items():
            squares[name] += value.detach().square().sum().item() / 50 / 30
    assert squares["conv.weight"] ** 0.5 == pytest.approx(3.0, rel=0.02)
    assert squares["norm.weight"] ** 0.5 == pytest.approx(0.2, rel=0.05)
    assert squares["scale"] == 0.0


def test_fan_out_heads_do_not_depend_on_the_size() -> None:
    assert fan_out_stds({"a": 100, "b": 4}, 2.0) == {"a": 0.2, "b": 1.0}


def test_dead_hidden_layers_are_an_error() -> None:
    with pytest.raises(InputError, match="hidden: gives 0 for all inputs"):
        matched_stds({"scale": 1.0}, SIZES, 0.0)


def test_a_state_dict_names_the_tensors_and_is_read_back() -> None:
    heads = drawn(seed=1)
    state = heads.state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {n: (SIZES[n], 16) for n in SHAPES}
    assert not any(value.requires_grad for value in state.values())
    other = drawn(seed=2)
    other.load_state_dict(state)
    assert torch.equal(other.weight, heads.weight)
    assert isinstance(other.weight, torch.nn.Parameter)
    assert all(value.requires_grad for value in heads.state_dict(keep_vars=True).values())


def test_a_state_dict_for_other_tensors_is_refused_by_name() -> None:
    heads, before = drawn(), drawn().weight.clone()
    state = heads.state_dict()
    renamed = {("shift" if name == "scale" else name): value for name, value in state.items()}
    with pytest.raises(RuntimeError, match=r'(?s)Missing key.*"scale".*Unexpected key.*"shift"'):
        heads.load_state_dict(renamed)
    with pytest.raises(RuntimeError, match=r"norm.weight: \[39, 16\] in the state dict, \[40, 16\] here"):
        heads.load_state_dict({**state, "norm.weight": torch.zeros(39, 16)})
    assert torch.equal(heads.weight, before)


def test_parts_of_a_state_dict_can_be_loaded() -> None:
    heads, source = drawn(seed=1), drawn(seed=2)
    kept = heads.heads()["scale"].clone()
    result = heads.load_state_dict({"norm.weight": source.heads()["norm.weight"], "x": kept}, strict=False)
    assert torch.equal(heads.heads()["norm.weight"], source.heads()["norm.weight"])
    assert torch.equal(heads.heads()["scale"], kept)
    assert set(result.missing_keys) == {"conv.weight", "scale"}
