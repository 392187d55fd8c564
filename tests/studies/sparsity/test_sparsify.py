"""Oracles: the dense model, to the last bit; masks and forward passes written out by hand; messages of errors."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sparsity_models import make_gpt2, make_llama, make_mlp, make_phi3
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.sparsity import Prefill, SparsityReport, SparsityWarning, sparsify
from evonas.studies.sparsity.decoding import Decoder, decode_rates
from evonas.studies.sparsity.layer import SparseLinear
from evonas.studies.sparsity.scores import SCORE_METHODS


def always(_inputs: int, _outputs: int, _sparsity: float) -> bool:
    return True


def never(_inputs: int, _outputs: int, _sparsity: float) -> bool:
    return False


class State:
    """Everything about a model that must be as it was."""

    def __init__(self, model: nn.Module, ids: Tensor) -> None:
        self.model, self.ids = model, ids
        self.modules, self.parameters = dict(model.named_modules()), dict(model.named_parameters())
        self.numbers = copy.deepcopy(self.parameters)
        self.logits = model(ids).logits

    def assert_same(self) -> None:
        assert dict(self.model.named_modules()) == self.modules
        assert {name: id(p) for name, p in self.model.named_parameters()} == {
            n: id(p) for n, p in self.parameters.items()
        }
        for name, parameter in self.parameters.items():
            assert torch.equal(parameter, self.numbers[name])
            assert parameter.stride() == self.numbers[name].stride()
        assert not any(module._forward_pre_hooks or module._forward_hooks for module in self.modules.values())
        assert torch.equal(self.model(self.ids).logits, self.logits)


@pytest.mark.parametrize(
    "options",
    [{}, {"transform": True}, {"allocation": "greedy"}, {"allocation": "fisher"}, {"selection": "threshold"}],
)
def test_at_sparsity_0_the_model_is_the_dense_one_to_the_last_bit(
    options: dict[str, Any], llama: nn.Module, ids: Tensor
) -> None:
    dense = llama(ids).logits
    with sparsify(llama, sparsity=0.0, sparse_when=always, calibration=[ids], **options) as report:
        assert torch.equal(llama(ids).logits, dense)
        assert report.achieved == 0
        assert {layer.kernel for layer in report.layers} == {"dense"}


OPTIONS: list[dict[str, Any]] = [
    {},
    {"selection": "threshold"},
    {"allocation": "greedy"},
    {"allocation": "fisher"},
    {"sparse_when": always},
    {"transform": True},
]


@pytest.mark.parametrize("make", [make_llama, make_phi3, make_gpt2])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        (name, way)
        for name, method in SCORE_METHODS.items()
        for way in OPTIONS
        if (method.transforms or "transform" not in way) and not (method.gated and way == {"allocation": "fisher"})
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else getattr(value, "__name__", str(value)),
)
def test_restoring_gives_the_same_model_to_the_last_bit(
    make: Callable[[], nn.Module], method: str, options: dict[str, Any], ids: Tensor
) -> None:
    state = State(make(), ids)
    report = sparsify(state.model, method=method, calibration=[ids], **options)
    assert any(isinstance(module, SparseLinear) for module in state.model.modules())
    assert not torch.equal(state.model(ids).logits, state.logits)
    report.restore()
    state.assert_same()
    report.restore()
    state.assert_same()


def test_a_context_restores_after_an_error(llama: nn.Module, ids: Tensor) -> None:
    state = State(llama, ids)
    with pytest.raises(RuntimeError), sparsify(llama):
        raise RuntimeError
    state.assert_same()


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a sparsity of 1": ({"sparsity": 1.0}, "sparsity: 1.0; accepted: 0 or more and less than 1"),
    "a negative sparsity": ({"sparsity": -0.1}, "sparsity: -0.1"),
    "no number": ({"sparsity": float("nan")}, "sparsity: nan"),
    "an unknown method": ({"method": "wanda"}, "method: 'wanda'; accepted: teal, wina, cats, r-sparse, random"),
    "an unknown selection": ({"selection": "best"}, "selection: 'best'; accepted: topk, threshold"),
    "an unknown allocation": ({"allocation": "fair"}, "allocation: 'fair'; accepted: uniform, greedy, fisher"),
    "no calibration for thresholds": ({"selection": "threshold"}, "calibration: no batches, and selection threshold"),
    "no calibration for a split": (
        {"allocation": "greedy"},
        "calibration: no batches, and allocation greedy needs them",
    ),
    "no calibration for a split of the model": (
        {"allocation": "fisher"},
        "calibration: no batches, and allocation fisher needs them",
    ),
    "a split that a method has not": (
        {"method": "cats", "allocation": "fisher"},
        "allocation: method cats has no fisher; accepted: uniform, greedy",
    ),
    "costs of nothing": ({"costs": {}}, "costs: given without an allocation; say of which they are"),
    "no calibration for a basis": ({"transform": True}, "calibration: no batches, and transform needs them"),
    "an empty calibration": ({"transform": True, "calibration": []}, "calibration: no batches"),
    "a transform that a method has not": ({"method": "cats", "transform": True}, "transform: method cats has none"),
    "more than a split can reach": ({"allocation": "greedy", "sparsity": 0.97}, "accepted: a number up to 0.95"),
    "a name that is no layer": (
        {"sparsity": {"model.layers.0.mlp.up": 0.5}},
        "sparsity model.layers.0.mlp.up: is none",
    ),
    "a layer's sparsity of 1": ({"sparsity": {"model.layers.0.mlp.up_proj": 1.0}}, "mlp.up_proj: 1.0; accepted"),
    "a split twice": ({"sparsity": {}, "allocation": "greedy"}, "sparsity: by layer, with allocation greedy"),
    "an unsupported module": ({"include": "model.norm"}, "model.norm: is a LlamaRMSNorm; accepted: torch.nn.Linear"),
    "an unmatched pattern": ({"include": "**.w1"}, "pattern '**.w1': matches none"),
    "an MLP that is not there": ({"method": "cats", "include": "**.q_proj"}, "method cats: no layer named down_proj"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line_and_leaves_the_model_alone(name: str, llama: nn.Module, ids: Tensor) -> None:
    options, said = BAD[name]
    state = State(llama, ids)
    with pytest.raises(InputError) as caught:
        sparsify(llama, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    state.assert_same()


def test_the_best_allocation_is_taken_where_there_is_a_calibration(llama: nn.Module, ids: Tensor) -> None:
    def taken(**options: Any) -> str:
        with sparsify(llama, **options) as report:
            return report.settings.allocation

    assert taken(calibration=[ids]) == taken(calibration=[ids], method="teal", transform=True) == "fisher"
    assert taken() == taken(calibration=[]) == taken(calibration=[ids], method="cats") == "uniform"
    assert taken(calibration=[ids], sparsity={"model.layers.0.mlp.up_proj": 0.5}) == "uniform"
    assert taken(calibration=[ids], allocation="uniform") == "uniform"


@pytest.mark.parametrize("allocation", ["greedy", "fisher"])
def test_a_split_refuses_a_layer_that_its_calibration_does_not_reach(allocation: str) -> None:
    class Experts(nn.Module):
        """An expert for positive inputs and one for all others."""

        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.experts[0 if x.min() > 0 else 1](x)
            return y

    model, x = Experts(), torch.rand(4, 8, generator=torch.Generator().manual_seed(0)) + 0.1
    with pytest.raises(InputError, match=r"experts.1.0: was not reached by the calibration batches; calibrate on more"):
        sparsify(model, allocation=allocation, calibration=[x])
    with sparsify(model, allocation=allocation, calibration=[x, -x]) as report:
        assert report.settings.sparsity == pytest.approx(0.5)


def test_a_calibration_that_fails_leaves_the_model_alone(llama: nn.Module, ids: Tensor) -> None:
    state = State(llama, ids)
    for options in ({"method": "cats", "selection": "threshold"}, {"allocation": "greedy"}, {"transform": True}):
        with pytest.raises(IndexError):
            sparsify(llama, calibration=[ids + 1000], **options)  # type: ignore[arg-type]
        state.assert_same()


def test_a_sparse_model_is_not_made_sparse_twice(llama: nn.Module) -> None:
    with sparsify(llama), pytest.raises(InputError, match=r"is sparse already; call restore\(\)"):
        sparsify(llama)
    sparsify(llama).restore()


def test_layers_outside_the_patterns_stay(llama: nn.Module) -> None:
    with sparsify(llama, include="model.layers.1.**", exclude=["**.down_proj", "lm_head"]) as report:
        assert {type(module) for module in llama.model.layers[0].mlp.children()} >= {nn.Linear}
        assert type(llama.model.layers[1].mlp.down_proj) is type(llama.lm_head) is nn.Linear
        assert len(report.layers) == 6


def test_sparsities_can_be_given_by_layer(llama: nn.Module, ids: Tensor) -> None:
    given = {"model.layers.0.mlp.up_proj": 0.75, "model.layers.1.self_attn.q_proj": 0.25}
    with sparsify(llama, method="teal", sparsity=given) as report:
        llama(ids)
        assert {layer.name: layer.achieved for layer in report.layers if layer.achieved} == given


def by_hand(model: nn.Module, ids: Tensor, masks: dict[str, Callable[[Tensor], Tensor]]) -> Tensor:
    """Logits of the dense model whose inputs are masked by hooks."""
    found = [(masks.get(name.rpartition(".")[2]), module) for name, module in model.named_modules()]
    handles = [
        module.register_forward_pre_hook(lambda _m, inputs, mask=mask: (mask(inputs[0]),))
        for mask, module in found
        if mask is not None
    ]
    logits = model(ids).logits
    for handle in handles:
        handle.remove()
    return logits


def largest(x: Tensor, scores: Tensor, keep: int) -> Tensor:
    order = scores.argsort(dim=-1, descending=True)[..., :keep]
    return torch.zeros_like(x).scatter(-1, order, x.gather(-1, order))


def test_teal_is_a_model_whose_small_inputs_are_zero(llama: nn.Module, ids: Tensor) -> None:
    kinds = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    expected = by_hand(llama, ids, dict.fromkeys(kinds, lambda x: largest(x, x.abs(), x.shape[-1] // 2)))
    with sparsify(llama, method="teal"):
        assert torch.allclose(llama(ids).logits, expected, atol=1e-5)


def test_cats_drops_what_the_activation_of_the_gate_leaves_small(llama: nn.Module, ids: Tensor) -> None:
    seen: list[Tensor] = []
    handles = [layer.mlp.act_fn.register_forward_hook(lambda _m, _i, h: seen.append(h)) for layer in llama.model.layers]
    expected = by_hand(llama, ids, {"down_proj": lambda x: largest(x, seen[-1].abs(), 24)})
    for handle in handles:
        handle.remove()
    with sparsify(llama, method="cats") as report:
        assert torch.allclose(llama(ids).logits, expected, atol=1e-5)
        assert [layer.kind for layer in report.layers] == ["down_proj", "down_proj"]
        assert report.partners["model.layers.0.mlp.down_proj"] == "model.layers.0.mlp.up_proj"


def test_the_first_positions_stay_dense_if_wanted(llama: nn.Module, ids: Tensor) -> None:
    dense = llama(ids).logits
    with sparsify(llama, method="teal", prefill=Prefill(first=5)) as report:
        sparse = llama(ids).logits
        assert torch.allclose(sparse[:, :5], dense[:, :5], atol=1e-5)
        assert not torch.allclose(sparse[:, 5], dense[:, 5], atol=1e-3)
        assert report.achieved == pytest.approx(0.5 * 19 / 24, abs=0.01)


def decoded(model: nn.Module, tokens: Tensor, prompt: int) -> Tensor:
    """Logits of each decoded token, one at a time with a cache."""
    logits: list[Tensor] = []

    def step(*arguments: Any, **named: Any) -> None:
        logits.append(model(*arguments, **named).logits[0, -1])

    decode_rates({"model": Decoder(model, step)}, tokens, prompt=prompt, rounds=1)
    return torch.stack(logits[len(logits) // 2 :])


@pytest.mark.parametrize("make", [make_llama, make_phi3, make_gpt2])
@pytest.mark.parametrize(
    "options",
    [
        {"method": "teal"},
        {"method": "teal", "selection": "threshold"},
        {"method": "wina"},
        {"method": "wina", "transform": True},
        {"method": "wina", "transform": True, "selection": "threshold"},
        {"method": "cats"},
        {"method": "r-sparse"},
    ],
    ids=str,
)
def test_decoding_by_the_kernel_gives_what_masks_give(
    make: Callable[[], nn.Module], options: dict[str, Any], ids: Tensor
) -> None:
    model, tokens = make(), ids[0]
    with sparsify(model, allocation="uniform", calibration=[ids], **options) as masked:
        expected = decoded(model, tokens, 8)
        assert {layer.kernel for layer in masked.layers} == {"masked"}
        achieved = masked.decode
    with sparsify(model, allocation="uniform", calibration=[ids], sparse_when=always, **options) as report:
        assert {layer.kernel for layer in report.layers} == {"sparse"}
        assert torch.allclose(decoded(model, tokens, 8), expected, atol=2e-4)
        assert report.decode == pytest.approx(achieved, abs=1e-3)
        report.reset()
        assert report.decode is None


def test_where_a_sparse_product_does_not_pay_layers_stay_dense(llama: nn.Module, ids: Tensor) -> None:
    dense = llama(ids).logits
    with sparsify(llama, sparse_when=never) as report:
        assert torch.equal(llama(ids).logits, dense)
        assert report.achieved == 0
        assert all(layer.requested == 0.5 for layer in report.layers)
    with sparsify(llama, sparse_when=lambda inputs, outputs, _: (inputs, outputs) == (32, 48)) as report:
        assert {layer.kind for layer in report.layers if layer.kernel == "sparse"} == {"gate_proj", "up_proj"}


def test_a_head_that_is_tied_stays_dense_where_its_weight_would_be_turned_over(ids: Tensor) -> None:
    model = make_llama(tie_word_embeddings=True)
    with sparsify(model, sparse_when=always, exclude=()) as report:
        assert {layer.name for layer in report.layers if layer.kernel == "dense"} == {"lm_head"}
        assert model.model.embed_tokens.weight.is_contiguous()
        model(ids)


def test_query_key_and_value_select_once_where_the_method_allows(llama: nn.Module) -> None:
    attention, mlp = llama.model.layers[0].self_attn, llama.model.layers[0].mlp
    with sparsify(llama, method="teal"):
        assert attention.q_proj.selector is attention.k_proj.selector is attention.v_proj.selector
        assert mlp.gate_proj.selector is mlp.up_proj.selector
        assert mlp.up_proj.selector is not mlp.down_proj.selector
    with sparsify(llama, method="wina"):
        assert attention.q_proj.selector is not attention.k_proj.selector  # columns differ


def test_a_shared_module_stays_shared() -> None:
    layer = nn.Linear(6, 6)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    with sparsify(net):
        assert isinstance(net[0], SparseLinear)
        assert net[0] is net[2]
    assert net[0] is net[2] is layer


def test_a_convolutional_network_works(g: torch.Generator) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 1, stride=2), nn.BatchNorm2d(16)).eval()
    x = torch.randn(2, 3, 9, 9, generator=g)
    dense = net(x)
    with sparsify(net, method="wina", sparsity=0.25, allocation="greedy", calibration=[x]) as report:
        assert [layer.name for layer in report.layers] == ["2"]
        assert net(x).shape == dense.shape
        assert report.achieved == pytest.approx(0.25)
    assert torch.equal(net(x), dense)


def test_a_sparse_model_can_be_copied_and_trained_on(llama: nn.Module, ids: Tensor) -> None:
    with sparsify(llama, method="cats"):
        logits = llama(ids).logits
        other = copy.deepcopy(llama)
    assert torch.equal(other(ids).logits, logits)
    other.requires_grad_()(ids).logits.sum().backward()
    assert other.model.layers[0].mlp.down_proj.weight.grad is not None


def test_names_of_parameters_stay(llama: nn.Module) -> None:
    names = set(llama.state_dict())
    with sparsify(llama, method="r-sparse"), pytest.warns(SparsityWarning):
        assert set(llama.state_dict()) == names


def test_random_is_the_floor(mlp: nn.Module, g: torch.Generator) -> None:
    x = torch.randn(500, 12, generator=g)
    dense, errors = mlp(x), {}
    for method in ("teal", "wina", "r-sparse", "random"):
        with sparsify(mlp, method=method, sparsity=0.4):
            errors[method] = (mlp(x) - dense).norm().item()
    assert max(errors["teal"], errors["wina"]) < 0.9 * errors["random"]


def test_runs_of_the_random_method_repeat_by_seed() -> None:
    def run(seed: int) -> Tensor:
        model = make_mlp()
        sparsify(model, method="random", seed=seed)
        return model(torch.ones(4, 12))

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_the_report_says_what_it_is_of(llama: nn.Module, ids: Tensor) -> None:
    report = sparsify(llama, sparsity=0.5)
    count = len(report.layers)
    assert (
        repr(report)
        == f"SparsityReport({report.settings.method} at 50%, {count} of {count} layers sparse, no inputs seen yet)"
    )
    llama(ids)
    assert f"{report.achieved:.1%} of inputs dropped)" in repr(report)
    report.restore()
    assert repr(report).endswith(", restored)")


def test_the_report_knows_nothing_before_the_model_has_run(llama: nn.Module) -> None:
    with sparsify(llama) as report:
        assert isinstance(report, SparsityReport)
        assert report.achieved is None
        assert report.decode is None


def test_costs_that_were_measured_once_serve_at_other_sparsities(llama: nn.Module, ids: Tensor) -> None:
    with sparsify(llama, allocation="greedy", sparsity=0.3, calibration=[ids]) as report:
        costs = report.costs
    assert costs is not None
    with sparsify(llama, allocation="greedy", sparsity=0.6, calibration=[ids]) as report:
        measured = [layer.requested for layer in report.layers]
    with sparsify(llama, allocation="greedy", sparsity=0.6, costs=costs) as report:  # no calibration
        assert [layer.requested for layer in report.layers] == measured
    with pytest.raises(InputError, match=r"costs: have model\.layers\.0\.mlp\.up_proj, which is none of the layers"):
        sparsify(llama, allocation="greedy", costs=costs, exclude=("lm_head", "model.layers.0.mlp.up_proj"))
    with pytest.raises(InputError, match="costs: lack lm_head; accepted: those of the same layers"):
        sparsify(llama, allocation="greedy", costs=costs, exclude="model.embed_tokens")
