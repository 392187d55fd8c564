"""Oracle: attention logits of the clipped model, from all products at once."""

import copy

import pytest
import torch
from torch import Tensor

from evonas.studies.stability.qk_clip import QkClip
from evonas.tasks.language.model import Transformer, build_transformer
from evonas.tasks.language.settings import ModelConfig

CONFIG = ModelConfig(vocabulary=7, width=12, depth=2, head_size=4, context=40, qk_layernorm=False)
TOKENS = torch.randint(7, (3, 40), generator=torch.Generator().manual_seed(0))


def largest(model: Transformer) -> Tensor:
    """[blocks, heads]."""
    found = []

    def note(_module: object, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
        logits = inputs[0] @ inputs[1].mT / 2
        found.append(logits.masked_fill(torch.ones(40, 40).triu(1).bool(), -torch.inf).amax((0, 2, 3)))

    handles = [block.attention.attend.register_forward_pre_hook(note) for block in model.blocks]
    with torch.no_grad():
        model(TOKENS)
    for handle in handles:
        handle.remove()
    return torch.stack(found)


def model() -> Transformer:
    made = build_transformer(CONFIG, seed=1)
    with torch.no_grad():
        for block in made.blocks:
            block.attention.query.weight[4:8] *= 20  # the middle head of three
    return made


def test_heads_above_the_limit_are_brought_to_it_and_others_are_left_alone() -> None:
    clipped, untouched = model(), model()
    before = largest(clipped)
    limit = 12.0
    assert (before > limit).tolist() == [[False, True, False]] * 2
    with QkClip(clipped, limit) as clip:
        clipped(TOKENS)
        clip.after_step()
    assert largest(clipped)[0].tolist() == pytest.approx([before[0, 0].item(), limit, before[0, 2].item()], rel=1e-5)
    for name, parameter in clipped.named_parameters():
        original = untouched.get_parameter(name)
        if name.endswith(("query.weight", "key.weight")):
            assert torch.equal(parameter[:4], original[:4])
            assert torch.equal(parameter[8:], original[8:])
            ratio = parameter[4:8] / original[4:8]
            number = int(name.split(".")[1])
            assert ratio.flatten().tolist() == pytest.approx([(limit / before[number, 1].item()) ** 0.5] * 48, rel=1e-5)
        else:
            assert torch.equal(parameter, original), name


def test_negative_logits_are_left_alone() -> None:
    negative = build_transformer(CONFIG, seed=1)
    with torch.no_grad():
        negative.embedding.weight.copy_(negative.embedding.weight[:1].expand(7, -1))  # one token over and over
        for block in negative.blocks:
            block.attention.key.weight.copy_(-block.attention.query.weight)
            block.attention.attend.scale = 1e-3
            block.attention.rotary.cos.fill_(1.0)
            block.attention.rotary.sin.fill_(0.0)
    before = copy.deepcopy(negative)
    with QkClip(negative, 1e-9) as clip:
        negative(TOKENS)
        clip.after_step()
    assert (largest(before) < 0).all()
    assert all(torch.equal(a, b) for a, b in zip(negative.parameters(), before.parameters(), strict=True))


def test_hooks_are_gone_afterwards_even_after_an_error() -> None:
    hooked = model()
    attends = [block.attention.attend for block in hooked.blocks]

    def fail() -> None:
        with QkClip(hooked, 1.0):
            assert all(len(attend._forward_pre_hooks) == 1 for attend in attends)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert not any(attend._forward_pre_hooks for attend in attends)


def test_what_the_model_computes_in_the_step_is_unchanged() -> None:
    watched = model()
    plain = watched(TOKENS)
    with QkClip(watched, 1.0):
        assert torch.equal(watched(TOKENS), plain)
