"""Replacement by name. Oracles: hand-written matches, ``nn.RMSNorm`` against transformers' own, the original model."""

import pytest
import torch
from torch import nn

from evonas.errors import InputError
from evonas.surgery.modules import matching, replace_modules

NAMES = ["stem", "layers", "layers.0", "layers.0.norm1", "layers.0.mlp.norm2", "layers.10.norm1", "norm"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("norm", ["norm"]),
        ("layers.*.norm1", ["layers.0.norm1", "layers.10.norm1"]),
        ("layers.1*.norm1", ["layers.10.norm1"]),
        ("*norm*", ["norm"]),
        ("**.norm?", []),
        ("**.norm*", ["layers.0.norm1", "layers.0.mlp.norm2", "layers.10.norm1", "norm"]),
        ("layers.**.norm2", ["layers.0.mlp.norm2"]),
        ("layers.**", ["layers", "layers.0", "layers.0.norm1", "layers.0.mlp.norm2", "layers.10.norm1"]),
        ("layers.0.norm", []),
        ("layers(0|1)", []),
    ],
)
def test_patterns_match_parts_of_names(pattern: str, found: list[str]) -> None:
    assert matching(pattern, NAMES) == found


class Blocks(nn.Module):
    """Two blocks that share one norm, and a last one whose forward branches on values: fx cannot trace it."""

    def __init__(self) -> None:
        super().__init__()
        shared = nn.LayerNorm(4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), shared) for _ in range(2))
        self.head = nn.ModuleDict({"norm": nn.LayerNorm(4), "drop": nn.Dropout(0.5)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + block(x)
        if x.sum() > 0:
            x = -x
        return self.head["drop"](self.head["norm"](x))


def test_the_copy_has_the_new_modules_and_the_original_is_untouched() -> None:
    model = Blocks().double().eval()
    copy = replace_modules(model, {"head.norm": lambda old: nn.RMSNorm(old.normalized_shape)})
    assert isinstance(model.head["norm"], nn.LayerNorm)
    assert isinstance(copy, Blocks)
    assert isinstance(copy.head["norm"], nn.RMSNorm)
    assert copy.head["norm"].weight.dtype == torch.float64
    assert not copy.head["norm"].training
    x = torch.randn(3, 4, dtype=torch.float64)
    assert torch.isfinite(copy(x)).all()


def test_a_module_under_several_names_is_made_once_and_stays_shared() -> None:
    made = []
    copy = replace_modules(Blocks(), {"blocks.*.1": lambda _: made.append(nn.RMSNorm(4)) or made[-1]})
    assert len(made) == 1
    assert copy.blocks[0][1] is copy.blocks[1][1] is made[0]


def test_replacing_a_module_by_itself_changes_no_bit() -> None:
    model = Blocks().eval()
    x = torch.randn(3, 4)
    assert torch.equal(replace_modules(model, {"**.norm": lambda old: old, "blocks.*.*": lambda _: None})(x), model(x))


def test_the_first_pattern_counts_and_none_keeps() -> None:
    copy = replace_modules(Blocks(), {"head.norm": lambda _: None, "head.*": lambda _: nn.Identity()})
    assert isinstance(copy.head["norm"], nn.LayerNorm)
    assert isinstance(copy.head["drop"], nn.Identity)


@pytest.mark.parametrize(
    ("factories", "named"),
    [
        ({"layers.*.norm": lambda _: None}, ["'layers.*.norm'", "matches none of the", "Blocks", "head.norm", "'**'"]),
        ({"head": lambda _: nn.Identity(), "head.norm": lambda _: nn.Identity()}, ["head.norm", "within head"]),
        ({"head.norm": lambda _: 3}, ["head.norm", "int", "torch.nn.Module"]),
    ],
)
def test_mistakes_are_named_in_one_line(factories: dict, named: list[str]) -> None:
    with pytest.raises(InputError) as error:
        replace_modules(Blocks(), factories)
    assert all(word in str(error.value) for word in named), error.value
    assert len(str(error.value).splitlines()) == 1


def test_the_norms_of_a_language_model_are_exchanged_for_those_of_torch() -> None:
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    settings = transformers.LlamaConfig(vocab_size=11, num_key_value_heads=2, **sizes)
    model = transformers.LlamaForCausalLM(settings).eval()

    def make(norm: nn.Module) -> nn.Module:
        new = nn.RMSNorm(norm.weight.numel(), eps=norm.variance_epsilon)
        new.load_state_dict(norm.state_dict())
        return new

    exchanged = replace_modules(model, {"model.layers.*.*_layernorm": make, "model.norm": make})
    assert sum(type(part) is nn.RMSNorm for part in exchanged.modules()) == 5
    tokens = torch.arange(10)[None]
    torch.testing.assert_close(exchanged(tokens).logits, model(tokens).logits)
