"""Oracles: each token scored by a forward pass of its own on its context, log-likelihoods summed by hand, and the size
of the vocabulary for a model that knows nothing."""

import itertools
import math

import pytest
import torch
from sparsity_models import VOCABULARY, make_llama
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.tasks.language.perplexity import perplexity, sliding


class Output:
    """What a model puts out that names its logits."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Bigrams(nn.Module):
    """The next token's logits by the present one."""

    def __init__(self, wrapped: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 7)
        self.drop, self.wrapped = nn.Dropout(0.9), wrapped

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor | Output:
        assert attention_mask is None or attention_mask.shape == input_ids.shape
        logits = self.drop(self.table(input_ids))
        return Output(logits) if self.wrapped else logits


IDS = torch.tensor([[1, 4, 2, 6], [5, 0, 0, 3]])


@pytest.fixture
def llama() -> nn.Module:
    return make_llama()


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(VOCABULARY, (2, 24), generator=torch.Generator().manual_seed(1))


def of_rows(model: Bigrams, rows: list[list[int]]) -> float:
    logs = model.table.weight.log_softmax(1)
    terms = [logs[a, b].item() for row in rows for a, b in itertools.pairwise(row)]
    return math.exp(-sum(terms) / len(terms))


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
    found = perplexity(llama, sliding(tokens, window=window, stride=stride, bos=bos))
    assert found.tokens == 23 - (bos is None)
    assert found.value == pytest.approx(by_hand(llama, tokens, window, stride or window // 2, bos), rel=1e-4)
    assert sum(part.nll for part in found.windows) == pytest.approx(found.nll * found.tokens)


def test_it_is_the_mean_over_tokens_whatever_the_batches_and_the_mode() -> None:
    model = Bigrams().train()
    assert perplexity(model, [IDS]).value == pytest.approx(of_rows(model, IDS.tolist()), rel=1e-5)
    assert model.training
    assert model.drop.training
    halves = perplexity(model, [IDS[:1], IDS[1:, :2]])
    assert halves.value == pytest.approx(of_rows(model, [[1, 4, 2, 6], [5, 0]]), rel=1e-5)
    assert [window.tokens for window in halves.windows] == [3, 1]
    text = perplexity(model, sliding(IDS.flatten(), window=3))
    assert text.value == pytest.approx(of_rows(model, [IDS.flatten().tolist()]), rel=1e-5)
    with torch.no_grad():
        model.table.weight.zero_()
    assert perplexity(model, [IDS]).value == pytest.approx(7, rel=1e-5)


def test_padding_on_either_side_and_unscored_labels_do_not_count() -> None:
    model = Bigrams(wrapped=True)
    batch = {"input_ids": IDS, "attention_mask": torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])}
    assert perplexity(model, [batch]).value == pytest.approx(of_rows(model, [[2, 6], [5, 0, 0]]), rel=1e-5)
    batch["labels"] = torch.tensor([[1, 4, 2, 6], [5, 0, -100, 3]])
    assert perplexity(model, [batch]).value == pytest.approx(of_rows(model, [[2, 6], [5, 0]]), rel=1e-5)


def test_without_tokens_there_is_no_perplexity() -> None:
    for batches in ([], [IDS[:, :1]]):
        with pytest.raises(InputError, match=r"^batches: no token follows another"):
            perplexity(Bigrams(), batches)
    with pytest.raises(InputError, match=r"^batch: holds no token ids"):
        perplexity(Bigrams(), [{"pixels": IDS}])


def test_a_model_that_is_certain_of_the_wrong_token_has_an_infinite_one() -> None:
    model = Bigrams()
    with torch.no_grad():
        model.table.weight.zero_()[:, 1] = 1e4
    assert perplexity(model, [IDS]).value == math.inf


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 8, "stride": 8}, "stride: 8, with windows of 8; accepted: 1 to 7; a window scores its first token"),
        ({"window": 8, "stride": 0}, "stride: 0"),
        ({"window": 8, "stride": 9, "bos": 1}, "accepted: 1 to 8"),
    ],
)
def test_a_stride_that_skips_tokens_is_refused(ids: Tensor, options: dict[str, int], said: str) -> None:
    with pytest.raises(InputError) as caught:
        sliding(ids[0], **options)  # type: ignore[arg-type]
    assert said in str(caught.value)


@pytest.mark.parametrize("shape", [(1,), (2, 5), (0,)])
def test_a_text_is_a_row_of_two_tokens_or_more(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="tokens: of shape"):
        sliding(torch.zeros(shape, dtype=torch.int64))
