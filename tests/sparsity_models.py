"""Tiny models with random weights, in which every gain differs from 1."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

VOCABULARY = 50


def transformers() -> Any:
    return pytest.importorskip("transformers", reason="pip install 'evonas[lm]'")


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """A model in evaluation, of torch's global generator at a fixed seed, with gains around 1."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make().eval()
        for name, parameter in model.named_parameters():
            if "norm" in name or ".ln_" in name:
                nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0, std=0.3)
            elif parameter.ndim > 1:
                nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return model.requires_grad_(False)


def make_llama(**changes: Any) -> nn.Module:
    library = transformers()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": VOCABULARY}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    return seeded(lambda: library.LlamaForCausalLM(library.LlamaConfig(**{**sizes, **heads, **changes})))


def make_phi3() -> nn.Module:
    library = transformers()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": VOCABULARY}
    heads = {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }
    return seeded(lambda: library.Phi3ForCausalLM(library.Phi3Config(**sizes, **heads)))


def make_gpt2() -> nn.Module:
    library = transformers()
    config = library.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=VOCABULARY)
    return seeded(lambda: library.GPT2LMHeadModel(config))


def make_mlp() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 5)))


def save_llama(folder: Path, **changes: Any) -> Path:
    """A llama and a tokenizer of bytes with a first token, as transformers saves them."""
    library, bpe = transformers(), pytest.importorskip("tokenizers", reason="pip install 'evonas[lm]'")
    alphabet = sorted(bpe.pre_tokenizers.ByteLevel.alphabet())
    found = bpe.Tokenizer(bpe.models.BPE({token: number for number, token in enumerate(["<s>", *alphabet])}, []))
    found.pre_tokenizer = bpe.pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = bpe.decoders.ByteLevel()
    make_llama(vocab_size=1 + len(alphabet), **changes).save_pretrained(folder)
    library.PreTrainedTokenizerFast(tokenizer_object=found, bos_token="<s>").save_pretrained(folder)
    return folder
