"""Oracle: every token scored by a forward pass of its own on the context that the definition gives it."""

import math

import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.sparsity.perplexity import perplexity


def by_hand(model: nn.Module, tokens: Tensor, window: int, stride: int, bos: int | None) -> float:
    """exp of the mean over tokens; the first window that reaches a token scores it."""
    total, count = 0.0, 0
    for place in range(0 if bos is not None else 1, len(tokens)):
        begin = 0
        while begin + window <= place:
            begin += stride
        context = tokens[begin:place].tolist()
        ids = torch.tensor([[bos, *context] if bos is not None else context])
        total -= model(ids).logits[0, -1].log_softmax(-1)[tokens[place]].item()
        count += 1
    return math.exp(total / count)


@pytest.mark.parametrize(
    ("window", "stride", "bos"), [(8, 4, None), (8, 7, None), (8, 8, 3), (5, 2, 3), (100, 50, None), (8, None, None)]
)
def test_every_token_is_scored_once_in_its_context(
    llama: nn.Module, ids: Tensor, window: int, stride: int | None, bos: int | None
) -> None:
    tokens = ids.flatten()[:23]
    found = perplexity(llama, tokens, window=window, stride=stride, bos=bos)
    assert found.tokens == 23 - (bos is None)
    assert found.value == pytest.approx(by_hand(llama, tokens, window, stride or window // 2, bos), rel=1e-4)
    assert sum(part.nll for part in found.windows) == pytest.approx(found.nll * found.tokens)


def test_plain_models_and_modes(g: torch.Generator) -> None:
    class Bigram(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.drop = nn.Embedding(9, 9), nn.Dropout(0.9)

        def forward(self, ids: Tensor) -> Tensor:
            return self.drop(self.table(ids))

    model, tokens = Bigram().train(), torch.randint(9, (40,), generator=g)
    expected = nn.functional.cross_entropy(model.table(tokens[:-1]), tokens[1:]).item()
    assert perplexity(model, tokens, window=6).nll == pytest.approx(expected, rel=1e-5)
    assert model.training
    assert model.drop.training


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 8, "stride": 8}, "stride: 8, with windows of 8; accepted: 1 to 7; a window scores its first token"),
        ({"window": 8, "stride": 0}, "stride: 0"),
        ({"window": 8, "stride": 9, "bos": 1}, "accepted: 1 to 8"),
    ],
)
def test_a_stride_that_skips_tokens_is_refused(
    llama: nn.Module, ids: Tensor, options: dict[str, int], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        perplexity(llama, ids[0], **options)  # type: ignore[arg-type]
    assert said in str(caught.value)


@pytest.mark.parametrize("shape", [(1,), (2, 5), (0,)])
def test_a_text_is_a_row_of_two_tokens_or_more(llama: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="tokens: of shape"):
        perplexity(llama, torch.zeros(shape, dtype=torch.int64))
