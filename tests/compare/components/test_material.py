"""What networks are measured on. Oracles: made-up texts and networks of which every figure can be counted by hand."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from evonas.compare.components.material import (
    Material,
    Samples,
    concept_and_cost,
    drawn,
    loss,
    material_of,
    require_concept,
)
from evonas.compare.components.networks import Subject
from evonas.compare.components.settings import ConceptConfig, NetworkConfig
from evonas.config import DataConfig, LayerConfig, TaskConfig, TextConfig
from evonas.errors import InputError


class Constant(nn.Module):
    """Gives the same logits for every sample, or position."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, inputs: Tensor) -> Tensor:
        shape = inputs.shape if inputs.ndim == 2 else inputs.shape[:1]
        return self.logits.expand(*shape, -1)


def subject(**parts: object) -> Subject:
    shared = {"data": DataConfig(), "text": TextConfig(), "lowering": LayerConfig(), "device": "cpu"}
    return Subject(**shared | parts)  # type: ignore[arg-type]


def images(labels: list[int]) -> Samples:
    wanted = torch.tensor(labels)
    return Samples(torch.zeros(len(labels), 3, 2, 2), wanted, wanted == 2, wanted != 2)


def test_losses_and_scores_of_images_are_those_of_the_logits() -> None:
    network = Constant([math.log(0.5), math.log(0.2), math.log(0.3)])
    material = Material(images([0]), images([0, 0, 1, 2]), torch.tensor([2]), images=True)
    assert loss(network, material) == pytest.approx(0.5)  # the classes 1 and 2 are wrong
    score, cost = concept_and_cost(network, material)
    assert score == pytest.approx(0.3)
    assert cost == pytest.approx(-(2 * math.log(0.5) + math.log(0.2)) / 3, rel=1e-6)


def test_losses_and_scores_of_texts_are_means_over_positions() -> None:
    network = Constant([math.log(0.1), math.log(0.6), math.log(0.3)])
    targets = torch.tensor([[0, 0], [1, 1], [2, 1]])
    part = Samples(
        torch.zeros(3, 2, dtype=torch.int64), targets, torch.tensor([True, False, False]), torch.arange(3) > 0
    )
    material = Material(part, part, torch.tensor([0, 2]), images=False)
    logs = [math.log(0.1)] * 2 + [math.log(0.6)] * 2 + [math.log(0.3), math.log(0.6)]
    assert loss(network, material) == pytest.approx(-sum(logs) / 6, rel=1e-6)
    score, cost = concept_and_cost(network, material)
    assert score == pytest.approx(0.4)
    assert cost == pytest.approx(-sum(logs[2:]) / 4, rel=1e-6)


def test_windows_with_most_of_the_character_have_the_concept_and_those_with_least_have_not(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(("a" * 8 + "a" * 4 + '"' * 4 + '"' * 8) * 40)
    of_text = TextConfig(name="file", path=str(text), validation=0.5)
    transformer = TaskConfig(transformer="16x1", context=8)
    found = material_of(subject(network=NetworkConfig(task=transformer), text=of_text), ConceptConfig(), seed=1)
    shares = (found.scoring.targets == ord('"')).double().mean(1)
    assert shares[found.scoring.source].min() > 0.6
    assert shares[found.scoring.target].max() < 0.1
    assert int(found.scoring.source.sum()) == int(found.scoring.target.sum()) == len(shares) // 3
    assert not (found.scoring.source & found.scoring.target).any()
    assert torch.equal(found.scoring.inputs[:, 1:], found.scoring.targets[:, :-1])
    other = material_of(subject(network=NetworkConfig(task=transformer), text=of_text), ConceptConfig(), seed=2)
    assert not torch.equal(other.scoring.inputs, found.scoring.inputs)


def test_of_images_the_concept_is_a_class() -> None:
    network = NetworkConfig(task=TaskConfig(architecture="all_cnn"))
    found = material_of(subject(network=network), ConceptConfig(image_class=7), seed=1)
    assert torch.equal(found.train.source, found.train.targets == 7)
    assert torch.equal(found.train.target, ~found.train.source)
    chosen = drawn(found.train, found.train.source, 5, seed=3)
    assert all(any(torch.equal(one, other) for other in found.train.inputs[found.train.source]) for one in chosen)
    assert len({one.numpy().tobytes() for one in chosen}) == 5


@pytest.mark.parametrize(
    ("concept", "text", "said"),
    [
        ({"image_class": 10}, {}, "concept.image_class: 10; accepted: 0 to 9"),
        ({"character": "\u00e6"}, {}, "concept.character"),
        ({}, {"tokens": "bpe"}, "text.tokens: pieces of words"),
    ],
)
def test_what_cannot_be_a_concept_is_refused(concept: dict[str, object], text: dict[str, object], said: str) -> None:
    kind = (
        TaskConfig(architecture="all_cnn") if "image_class" in concept else TaskConfig(transformer="16x1", context=16)
    )
    wanted = subject(network=NetworkConfig(task=kind), text=TextConfig(**text))  # type: ignore[arg-type]
    with pytest.raises(InputError) as error:
        require_concept(material_of(wanted, ConceptConfig(**concept), seed=1))  # type: ignore[arg-type]
    assert said in str(error.value)
