"""Layers in transformers. Oracle: the models as transformers builds them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import evonas
from evonas.errors import InputError
from evonas.interface.norms import is_token_norm

transformers = pytest.importorskip("transformers", reason="pip install 'evonas[lm]'")
TOKENS = torch.arange(12).reshape(2, 6)
SIZES = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "vocab_size": 32, "intermediate_size": 24}
KINDS: dict[str, tuple[str, dict[str, Any], str, int]] = {  # configuration, sizes, its norms, their number
    "llama": ("LlamaConfig", {**SIZES, "num_key_value_heads": 1}, "rmsnorm", 5),
    "qwen3, norms in attention too": ("Qwen3Config", {**SIZES, "num_key_value_heads": 1, "head_dim": 8}, "rmsnorm", 9),
    "gemma, scales less 1": ("GemmaConfig", {**SIZES, "num_key_value_heads": 1, "head_dim": 8}, "rmsnorm", 5),
    "gpt2": ("GPT2Config", {"n_embd": 16, "n_head": 2, "n_layer": 2, "vocab_size": 32}, "layernorm", 5),
}


def model_of(kind: str) -> nn.Module:
    torch.manual_seed(1)
    name, sizes, _, _ = KINDS[kind]
    model: nn.Module = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**sizes))
    with torch.no_grad():
        for module in model.modules():
            if is_token_norm(module):
                for parameter in module.parameters():
                    parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(TOKENS).logits
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_norm_in_its_own_place_changes_nothing(kind: str) -> None:
    _, _, norm, count = KINDS[kind]
    model = model_of(kind)
    before = logits(model)
    made = evonas.replace_norms(model, norm)
    assert type(made) is type(model)
    assert sum(isinstance(module, evonas.NormActLayer) for module in made.modules()) == count
    assert torch.allclose(logits(made), before, rtol=1e-4, atol=1e-5)
    assert torch.equal(logits(model), before)


def test_another_layer_does_and_a_pattern_says_where() -> None:
    model = model_of("llama")
    made = evonas.replace_norms(model, "dyt", names="**.input_layernorm")
    layers = [name for name, module in made.named_modules() if isinstance(module, evonas.NormActLayer)]
    assert layers == ["model.layers.0.input_layernorm", "model.layers.1.input_layernorm"]
    assert not torch.allclose(logits(made), logits(model), rtol=1e-2)
    made.train()(TOKENS, labels=TOKENS).loss.backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_what_was_saved_is_loaded_with_every_bit(kind: str, tmp_path: Path) -> None:
    made = evonas.replace_norms(model_of(kind), "derf").eval()
    evonas.save_model(made, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "config.json",
        "layers.json",
        "model.safetensors",
    ]
    torch.manual_seed(9)
    fresh = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(tmp_path / "out"))
    found = evonas.load_model(fresh, tmp_path / "out").eval()
    assert torch.equal(logits(found), logits(made))


def test_a_network_of_images_is_saved_too(tmp_path: Path) -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))

    made = evonas.replace_modules(network(), {"1": lambda _: evonas.create_layer("evonorm-b0", 8, eps=1e-3)})
    made(torch.randn(4, 3, 9, 9))
    evonas.save_model(made, tmp_path)
    found, x = evonas.load_model(network(), tmp_path).eval(), torch.randn(2, 3, 9, 9)
    assert torch.equal(found(x), made.eval()(x))


def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it has no norm of tokens; accepted: a model with modules whose class"):
        evonas.replace_norms(nn.Linear(3, 3), "rmsnorm")
    with pytest.raises(InputError, match="layout"):
        evonas.replace_norms(model_of("llama"), "evonorm-b0")
    with pytest.raises(InputError, match="no layer of evonas is in it"):
        evonas.save_model(nn.Linear(3, 3), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(InputError, match=r"layers\.json: no such file"):
        evonas.load_model(model_of("llama"), tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.update(format="another"), "is not what evonas.save_model writes"),
        (lambda data: data.update(layers=[1]), "is not what evonas.save_model writes"),
        (lambda data: data["layers"].update({"nowhere": {}}), "the model has no module nowhere"),
        (lambda data: data["layers"]["model.norm"].pop("eps"), "holds a layer that cannot be made"),
        (lambda data: data["layers"]["model.norm"].update(layer="import os"), "holds a layer that cannot be made"),
        (lambda data: data["layers"]["model.norm"].update(features=8), r"model\.safetensors: does not fit the model"),
    ],
)
def test_a_folder_of_a_stranger_is_refused_in_one_line(change: Any, words: str, tmp_path: Path) -> None:
    evonas.save_model(evonas.replace_norms(model_of("llama"), "rmsnorm"), tmp_path)
    data = json.loads((tmp_path / "layers.json").read_text())
    change(data)
    (tmp_path / "layers.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=words) as caught:
        evonas.load_model(model_of("llama"), tmp_path)
    assert "\n" not in str(caught.value)
