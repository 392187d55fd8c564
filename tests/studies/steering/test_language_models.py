"""Models of transformers, tiny and random. Oracles: the untouched model, the model without padding, what their source
code adds to what.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from evonas.errors import InputError
from evonas.steering import Intervention, fit
from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.pooling import Pooling
from evonas.studies.steering.recording import record
from evonas.studies.steering.sites import find_sites
from evonas.tasks.language.perplexity import perplexity

transformers = pytest.importorskip("transformers", reason="pip install 'evonas[lm]'")

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
CAUSAL = {**SIZES, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 19, "pad_token_id": 0}


def model_of(kind: str) -> Any:
    torch.manual_seed(0)
    match kind:
        case "llama":
            made = transformers.LlamaForCausalLM(transformers.LlamaConfig(**CAUSAL))
        case "gemma2":
            made = transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**CAUSAL))
        case "gpt2":
            config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=19, n_positions=32)
            made = transformers.GPT2LMHeadModel(config)
        case _:
            made = transformers.BertModel(transformers.BertConfig(**SIZES, vocab_size=19))
    return made.eval()


ROWS = [[3, 4, 5, 6], [7, 8, 9], [10, 11, 12, 13, 14]]
OTHERS = [[15, 16, 17], [18, 1, 2, 3], [2, 2, 5, 6]]


def padded(rows: list[list[int]], width: int = 5, left: bool = True) -> dict[str, Tensor]:
    ids, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.long)
    for k, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(len(row))
        ids[k, place], mask[k, place] = torch.tensor(row), 1
    return {"input_ids": ids, "attention_mask": mask}


def test_generation_is_steered_inside_and_untouched_at_0_and_outside() -> None:
    model = model_of("llama")
    modes = {"max_new_tokens": 4, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    plain = model.generate(**padded(ROWS), **modes)
    intervention = fit(model, [padded(ROWS)], [padded(OTHERS)], steps=3)
    assert [site.name for site in intervention.sites] == [f"model.layers.{k}.post_attention_layernorm" for k in (0, 1)]
    with intervention.on(model, strength=0):
        still = model.generate(**padded(ROWS), **modes)
    with intervention.on(model, strength=1.0):
        moved = model.generate(**padded(ROWS), **modes)
    after = model.generate(**padded(ROWS), **modes)
    for k in range(4):
        assert torch.equal(plain.logits[k], still.logits[k])
        assert torch.equal(plain.logits[k], after.logits[k])
    assert not torch.allclose(plain.logits[0], moved.logits[0], atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_pooled_activations_do_not_see_padding(kind: str) -> None:
    model = model_of(kind)
    sites = find_sites(model, ["**.*post*layernorm"], padded(ROWS))
    alone = [record(model, sites, [torch.tensor([row]), torch.tensor([row])], Pooling(), "source") for row in ROWS]
    for width, left in ((5, True), (8, True), (5, False), (8, False)):
        found = record(model, sites, [padded(ROWS, width, left)], Pooling(), "source")
        for k in range(len(sites)):
            torch.testing.assert_close(found[k], torch.stack([one[k][0] for one in alone]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "patterns", "writers", "others"),
    [
        ("llama", ["**.*layernorm"], [], ["input_layernorm", "post_attention_layernorm"]),
        ("llama", ["**.*_proj"], ["o_proj", "down_proj"], ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"]),
        ("llama", ["model.layers.*", "**.self_attn", "**.mlp"], ["0", "1", "self_attn", "mlp"], []),
        (
            "gemma2",
            ["**.*layernorm"],
            ["post_attention_layernorm", "post_feedforward_layernorm"],
            ["input_layernorm", "pre_feedforward_layernorm"],
        ),
        ("gemma2", ["**.*_proj"], [], ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
        ("gpt2", ["**.mlp.*", "**.ln_*"], ["c_proj", "dropout"], ["c_fc", "act", "ln_1", "ln_2", "ln_f"]),
        ("bert", ["**.output.LayerNorm", "**.output.dense"], ["LayerNorm", "dense"], []),
    ],
)
def test_it_is_known_which_modules_write_the_residual_stream(
    kind: str, patterns: list[str], writers: list[str], others: list[str]
) -> None:
    model = model_of(kind)
    sites = find_sites(model, patterns, padded(ROWS))
    end = "encoder.layer.1.output.LayerNorm"  # nothing more is added to it
    found = {site.name.split(".")[-1]: site.writes_residual for site in sites if site.name != end}
    assert found == dict.fromkeys(writers, True) | dict.fromkeys(others, False)


@pytest.mark.parametrize(
    ("kind", "sites", "shift", "add_bias"),
    [
        ("llama", "**.o_proj", True, True),
        ("llama", "**.post_attention_layernorm", False, False),
        ("gemma2", "**.post_*_layernorm", False, False),
        ("gpt2", "**.ln_2", True, False),
        ("gpt2", "**.c_proj", True, False),
        ("bert", "**.output.LayerNorm", True, False),
    ],
)
def test_folded_models_compute_what_hooked_ones_do(kind: str, sites: str, shift: bool, add_bias: bool) -> None:
    model, batch = model_of(kind), padded(ROWS, left=False)
    found = find_sites(model, [sites], batch)
    maps = tuple(AffineMap(torch.linspace(0.5, 2, 16), shift * torch.linspace(-1, 1, 16)) for _ in found)
    intervention = Intervention(found, maps, "by hand", type(model).__name__)
    with torch.no_grad():
        plain = model(**batch)[0]
        with intervention.on(model, 0.8):
            hooked = model(**batch)[0]
        intervention.fold_into(model, 0.8, add_bias=add_bias)
        torch.testing.assert_close(model(**batch)[0], hooked, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(plain, hooked, atol=1e-3)


def test_maps_that_shift_cannot_be_folded_into_a_norm_without_bias() -> None:
    model = model_of("llama")
    intervention = fit(model, [padded(ROWS)], [padded(OTHERS)], method="caa")
    with pytest.raises(InputError, match=r"layers.0.*: the map cannot be folded exactly: a LlamaRMSNorm adds no bias"):
        intervention.fold_into(model)


def test_half_precision_models_are_steered_and_maps_are_single() -> None:
    model = model_of("llama").bfloat16()
    intervention = fit(model, [padded(ROWS)], [padded(OTHERS)], steps=3)
    assert {affine.weight.dtype for affine in intervention.maps} == {torch.float32}
    with intervention.on(model):
        assert model(**padded(ROWS)).logits.dtype == torch.bfloat16


def test_encoders_are_steered() -> None:
    model = model_of("bert")
    intervention = fit(model, [padded(ROWS)], [padded(OTHERS)], sites="**.output.LayerNorm", steps=20, lr=0.05)
    assert intervention.losses[-1] < intervention.losses[0]
    assert len(intervention.sites) == 4


def test_perplexity_does_not_see_padding() -> None:
    model = model_of("llama")
    alone = perplexity(model, [torch.tensor([row]) for row in ROWS]).value
    for width, left in ((5, True), (9, False)):
        assert perplexity(model, [padded(ROWS, width, left)]).value == pytest.approx(alone, rel=1e-4)


def test_a_model_without_such_norms_names_what_it_has() -> None:
    with pytest.raises(InputError, match=r"pattern '\*\*.\*post\*layernorm': matches none .* this GPT2LMHeadModel"):
        fit(model_of("gpt2"), [padded(ROWS)], [padded(OTHERS)])


def test_an_intervention_of_another_family_is_refused() -> None:
    intervention = fit(model_of("llama"), [padded(ROWS)], [padded(OTHERS)], method="caa")
    with (
        pytest.raises(InputError, match=r"no such module in this BertModel; .* made for a LlamaForCausalLM$"),
        intervention.on(model_of("bert")),
    ):
        pass
