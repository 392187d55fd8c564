"""Oracles: logits of the whole text in one pass, of masked models, counts of the steps, and a clock set by hand."""

import copy
from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest
import torch
from sparsity_models import make_llama
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.sparsity import sparsify
from evonas.studies.sparsity import decoding
from evonas.studies.sparsity.decoding import Decoder, DecodeRate, compiled, decode_rates, decoded_logits


def test_steps_decode_the_given_text_with_a_cache(llama: nn.Module, ids: Tensor) -> None:
    seen: list[Tensor] = []

    def step(tokens: Tensor, **named: Any) -> None:
        assert tokens.shape == (1, 1)
        seen.append(llama(tokens, **named).logits[0, -1])

    rates = decode_rates({"dense": Decoder(llama, step)}, ids[0], prompt=10, rounds=2)
    assert len(seen) == 3 * 14  # a round to warm up
    whole = llama(ids[:1]).logits[0, 10:]
    for number in range(3):
        assert torch.allclose(torch.stack(seen[14 * number : 14 * (number + 1)]), whole, atol=1e-4)
    assert rates["dense"].ratios == (1.0, 1.0)
    assert rates["dense"].tokens_per_second > 0


def test_rates_are_medians_of_the_clock_and_the_first_decoder_is_the_reference(
    llama: nn.Module, ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0

    def taking(*seconds: float) -> Callable[..., None]:
        steps = cycle(seconds)

        def step(**_: Any) -> None:
            nonlocal clock
            clock += next(steps)

        return lambda _tokens, **named: step(**named)

    monkeypatch.setattr(decoding, "_now", lambda _device: clock)
    decoders = {"dense": Decoder(llama, taking(0.5)), "slow": Decoder(llama, taking(2.0, 2.0, 99.0, 2.0))}
    rates = decode_rates(decoders, ids[0][:14], prompt=10, rounds=2)  # four steps a round
    assert rates["dense"] == DecodeRate(2.0, (1.0, 1.0))
    assert rates["slow"] == DecodeRate(0.5, (0.25, 0.25))  # one step in four was interrupted
    assert rates["slow"].ratio == 0.25


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "teal", "allocation": "fisher"},
        {"method": "wina", "transform": True, "allocation": "uniform"},
        {"method": "r-sparse", "allocation": "uniform"},
        {"method": "cats"},
        {"method": "wina", "selection": "threshold", "allocation": "uniform"},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def test_sparse_products_eager_and_compiled_say_what_masked_ones_say(ids: Tensor, settings: dict[str, Any]) -> None:
    torch.compiler.reset()
    for blocks, decoder in ((2, Decoder), (1, compiled)):  # compiling takes its time for every block
        plain = make_llama(num_hidden_layers=blocks)
        other = copy.deepcopy(plain)
        with sparsify(plain, sparsity=0.5, calibration=[ids], **settings):
            masked = decoded_logits(Decoder(plain), ids[0, :10], prompt=4)
        report = sparsify(other, sparsity=0.5, calibration=[ids], sparse_when=lambda *_: True, **settings)
        assert all(layer.kernel == "sparse" for layer in report.layers)
        assert torch.allclose(decoded_logits(decoder(other), ids[0, :10], prompt=4), masked, atol=1e-5)


def test_a_prompt_must_leave_something_and_a_model_must_have_a_cache(
    llama: nn.Module, mlp: nn.Module, ids: Tensor
) -> None:
    for prompt in (0, 24):
        with pytest.raises(InputError, match=r"prompt: \d+ of 24 tokens; accepted: 1 to 23"):
            decode_rates({"dense": Decoder(llama)}, ids[0], prompt=prompt)
    with pytest.raises(InputError, match="plain: Sequential keeps no keys and values"):
        decode_rates({"plain": Decoder(mlp)}, ids[0], prompt=3)
