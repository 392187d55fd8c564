"""Oracle: attention written out pixel by pixel."""

import torch
from torch import Tensor, nn

from evonas.tasks.synthesis.attention import SelfAttention


def attention(channels: int = 16) -> SelfAttention:
    torch.manual_seed(0)
    return SelfAttention(channels).eval()


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_the_gain_starts_at_zero_so_that_the_map_is_unchanged() -> None:
    x, module = images(2, 16, 4, 4), attention()
    assert torch.equal(module(x), x)
    module(x).square().sum().backward()
    assert module.gain.grad.abs() > 0  # it can leave 0


def test_each_pixel_adds_what_it_attends_to() -> None:
    x, module = images(2, 16, 4, 6), attention()
    with torch.no_grad():
        module.gain.fill_(0.7)
        q, k, v = (part.weight.flatten(1) for part in (module.query, module.key, module.value))
        pooled = [nn.functional.max_pool2d(torch.einsum("oc,bchw->bohw", w, x), 2).flatten(2) for w in (k, v)]
        queries = torch.einsum("oc,bchw->bohw", q, x).flatten(2)
        expected = x.clone()
        for sample in range(2):
            for pixel in range(24):
                scores = torch.stack([queries[sample, :, pixel] @ key for key in pooled[0][sample].T])
                mixed = pooled[1][sample] @ scores.softmax(0)
                added = module.output.weight.flatten(1) @ mixed
                expected[sample, :, pixel // 6, pixel % 6] += 0.7 * added
        torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)


def test_few_channels_still_have_a_query() -> None:
    x, module = images(1, 4, 2, 2), attention(4)
    with torch.no_grad():
        module.gain.fill_(1.0)
    assert module(x).shape == x.shape
    assert not torch.equal(module(x), x)
