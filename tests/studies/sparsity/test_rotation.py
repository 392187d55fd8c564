"""Oracles: the dense model, whose logits the transformed one must give; the published form, in which the residual
stream itself is rotated; and linear algebra in double precision.
"""

import copy
from collections.abc import Callable

import pytest
import torch
from sparsity_models import make_gpt2, make_llama, make_phi3, seeded
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.sparsity import sparsify
from evonas.studies.sparsity.calibration import Group, normalized_groups
from evonas.studies.sparsity.layer import SparseLinear
from evonas.studies.sparsity.rotation import chosen, nearest_to_axes, right_singular_vectors, rotate
from evonas.studies.sparsity.sites import linear_sites
from evonas.tasks.language.model import Transformer
from evonas.tasks.language.settings import ModelConfig

NOTHING = 1e-12  # a sparsity that drops nothing: all layers are in their new basis, and keep all inputs


def proxy(norm: str) -> nn.Module:
    config = ModelConfig(vocabulary=50, width=32, depth=2, head_size=8, context=64, norm=norm)
    return seeded(lambda: Transformer(config))


def logits(model: nn.Module, ids: Tensor) -> Tensor:
    output = model(ids)
    return output if isinstance(output, Tensor) else output.logits


@pytest.mark.parametrize("shape", [(5, 8), (8, 8), (20, 8), (1, 8)])
def test_all_right_singular_vectors_are_found_and_make_the_columns_orthogonal(
    shape: tuple[int, int], g: torch.Generator
) -> None:
    matrix = torch.randn(shape, generator=g).double()
    vectors = right_singular_vectors(matrix)
    assert torch.allclose(vectors.T @ vectors, torch.eye(8, dtype=torch.float64), atol=1e-12)
    gram = (matrix @ vectors).T @ (matrix @ vectors)
    assert torch.allclose(gram, torch.diag(gram.diagonal()), atol=1e-10)
    singular = torch.zeros(8, dtype=torch.float64)
    singular[: min(shape)] = torch.linalg.svdvals(matrix)
    assert torch.allclose(gram.diagonal().clamp(min=0).sqrt(), singular, atol=1e-6)


def test_the_basis_nearest_to_axes_is_a_function_of_the_subspace_and_no_orthonormal_one_is_nearer(
    g: torch.Generator,
) -> None:
    span = torch.linalg.qr(torch.randn(8, 5, generator=g).double()).Q
    basis = nearest_to_axes(span)
    assert torch.allclose(basis @ basis.T, span @ span.T)
    assert torch.allclose(basis.T @ basis, torch.eye(5, dtype=torch.float64))
    turns = [torch.linalg.qr(torch.randn(5, 5, generator=g).double()).Q for _ in range(50)]
    assert all(torch.allclose(nearest_to_axes(span @ turn), basis) for turn in turns)
    axes = torch.eye(8, dtype=torch.float64)[:, basis.abs().argmax(0)]
    assert axes.sum() == 5
    distance = (basis - axes).norm()
    assert all((basis @ turn - axes).norm() > distance for turn in turns)
    assert torch.equal(
        nearest_to_axes(torch.eye(8, dtype=torch.float64)[:, 2:4]).abs().sum(1).nonzero()[:, 0], torch.tensor([2, 3])
    )


def test_turning_the_null_space_of_the_keys_at_random_changes_no_mask(
    llama: nn.Module, ids: Tensor, g: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys have 16 outputs of 32 inputs: half of their singular vectors could be any others of the null space."""
    decompose, turned = torch.linalg.svd, list[int]()

    def at_random(matrix: Tensor, full_matrices: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        left, values, right = decompose(matrix, full_matrices=full_matrices)
        rows = len(right) - len(values)
        if rows:
            turned.append(rows)
            right[-rows:] = torch.linalg.qr(torch.randn(rows, rows, generator=g).double()).Q @ right[-rows:]
        return left, values, right

    def sparse_logits() -> Tensor:
        with sparsify(llama, sparsity=0.5, transform=True, allocation="uniform", calibration=[ids]):
            return logits(llama, ids)

    llama.double()
    dense, expected = logits(llama, ids), sparse_logits()
    assert (expected - dense).abs().max() > 0.01 * dense.abs().max()
    monkeypatch.setattr(torch.linalg, "svd", at_random)
    assert torch.allclose(sparse_logits(), expected, atol=1e-9)
    assert turned == [16, 16]


MODELS: dict[str, Callable[[], nn.Module]] = {
    "llama": make_llama,
    "llama, tied": lambda: make_llama(tie_word_embeddings=True),
    "phi3": make_phi3,
    "gpt2": make_gpt2,  # LayerNorm with a shift, tied
    "proxy": lambda: proxy("rmsnorm"),
    "proxy, layernorm": lambda: proxy("layernorm"),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_transformed_dense_model_gives_the_same_logits(name: str, ids: Tensor) -> None:
    model = MODELS[name]()
    dense, weights = logits(model, ids), copy.deepcopy(model.state_dict())
    exclude = ("head",) if name.startswith("proxy") else ("lm_head",)
    with sparsify(
        model, sparsity=NOTHING, transform=True, allocation="uniform", calibration=[ids[:1]], exclude=exclude
    ):
        turned = [layer for layer in model.modules() if isinstance(layer, SparseLinear) and layer.rotation is not None]
        assert len(turned) >= 4
        assert len({layer.rotation for layer in turned}) == 4  # two a block
        assert not any(torch.equal(layer.weight, site) for layer in turned for site in weights.values())
        assert torch.allclose(logits(model, ids), dense, atol=1e-4 * dense.abs().max().item())
    assert torch.equal(logits(model, ids), dense)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_inputs_are_those_of_the_published_form_with_a_rotated_residual_stream(llama: nn.Module, ids: Tensor) -> None:
    block = llama.model.layers[0]
    gain, key = block.input_layernorm.weight.double(), block.self_attn.k_proj.weight.double()
    vectors = right_singular_vectors(key * gain)
    h = llama.model.embed_tokens(ids).double() @ vectors  # the stream, rotated before the norm
    expected = h / (h.square().mean(-1, keepdim=True) + block.input_layernorm.variance_epsilon).sqrt()
    seen: list[Tensor] = []
    with sparsify(llama, sparsity=NOTHING, transform=True, allocation="uniform", calibration=[ids]):
        layer = llama.model.layers[0].self_attn.q_proj
        layer.selector.score.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
        llama(ids)
    assert torch.allclose(seen[0].double(), expected, atol=1e-4)


def test_key_and_gate_are_chosen_and_the_other_layers_are_not_weighed(llama: nn.Module, ids: Tensor) -> None:
    sites = linear_sites(llama)
    groups = normalized_groups(llama, sites, ids)
    assert [[site.kind for site in group.sites] for group in groups] == [
        ["q_proj", "k_proj", "v_proj"],
        ["gate_proj", "up_proj"],
    ] * 2
    turned = rotate(groups)
    weighed = {name.rpartition(".")[2] for name, layer in turned.items() if layer.basis is not None}
    assert weighed == {"k_proj", "gate_proj"}
    for name, layer in turned.items():
        if layer.basis is not None:
            assert torch.allclose(layer.matrix.norm(dim=0), layer.basis, atol=1e-5), name


def test_layers_of_unknown_names_are_made_orthogonal_together() -> None:
    net = nn.ModuleDict({"left": nn.Linear(8, 5), "right": nn.Linear(8, 6)}).double()
    sites = linear_sites(net)
    assert chosen(sites) == sites
    turned = rotate([Group(sites, None)])
    stacked = torch.cat([layer.matrix for layer in turned.values()])
    gram = stacked.T @ stacked
    assert torch.allclose(gram, torch.diag(gram.diagonal()), atol=1e-10)
    for layer in turned.values():
        assert torch.allclose(layer.basis, gram.diagonal().sqrt())  # type: ignore[arg-type]


def test_a_key_with_fewer_outputs_than_inputs_is_exact_up_to_its_rank(llama: nn.Module, ids: Tensor) -> None:
    outputs: dict[str, Tensor] = {}
    key = "model.layers.0.self_attn.k_proj"

    def record(name: str) -> None:
        handle = llama.get_submodule(key).register_forward_hook(lambda _m, _i, y: outputs.__setitem__(name, y))
        llama(ids)
        handle.remove()

    record("dense")
    for sparsity in (0.5, 0.6):  # 16 of 32 columns have norm 0
        with sparsify(
            llama, sparsity=sparsity, transform=True, include="**.k_proj", allocation="uniform", calibration=[ids]
        ):
            record(str(sparsity))
    size = outputs["dense"].abs().max()
    assert (outputs["0.5"] - outputs["dense"]).abs().max() < 1e-4 * size
    assert (outputs["0.6"] - outputs["dense"]).abs().max() > 1e-3 * size


def test_gains_of_zero_are_left_where_they_are(llama: nn.Module, ids: Tensor) -> None:
    llama.model.layers[0].input_layernorm.weight[:3] = torch.tensor([0.0, 1e-12, -1e-20])
    dense = logits(llama, ids)
    with sparsify(llama, sparsity=NOTHING, transform=True, allocation="uniform", calibration=[ids]):
        assert torch.allclose(logits(llama, ids), dense, atol=1e-4 * dense.abs().max().item())


def test_the_transform_lowers_the_error_of_the_chosen_layer(llama: nn.Module, ids: Tensor) -> None:
    gate, outputs = "model.layers.0.mlp.gate_proj", dict[str, Tensor]()

    def record(name: str) -> None:
        handle = llama.get_submodule(gate).register_forward_hook(lambda _m, _i, y: outputs.__setitem__(name, y))
        llama(ids)
        handle.remove()

    record("dense")
    for method, transform in (("random", False), ("wina", True), ("random", True)):
        with sparsify(llama, method=method, transform=transform, include=gate, allocation="uniform", calibration=[ids]):
            record(f"{method} {transform}")
    errors = {name: (y - outputs["dense"]).norm() for name, y in outputs.items()}
    assert errors["wina True"] < 0.7 * min(errors["random False"], errors["random True"])


def test_without_normalized_inputs_there_is_nothing_to_transform(mlp: nn.Module, g: torch.Generator) -> None:
    with pytest.raises(InputError, match="transform: none of the layers reads the output of a normalization"):
        sparsify(mlp, transform=True, calibration=[torch.randn(2, 12, generator=g)])
    assert not any(isinstance(layer, SparseLinear) for layer in mlp)
