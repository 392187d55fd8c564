"""The networks of the columns: trained here with a layer under a seed and kept in the study's folder, or pretrained."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional

from evonas.compare.components.settings import NetworkConfig
from evonas.config import DataConfig, LayerConfig, SearchConfig, TextConfig
from evonas.config.section import Section, Seed
from evonas.errors import InputError, first_line
from evonas.files import write_whole
from evonas.graph.genome import Genome
from evonas.runs.jobs import spec_text
from evonas.search.training import Training
from evonas.seeding import derive_seed
from evonas.tasks.from_config import tasks_from_config
from evonas.tasks.language.loss import z_loss_cross_entropy
from evonas.tasks.language.model import build_transformer
from evonas.tasks.language.pretrained import LanguageModel, load_language_model
from evonas.tasks.language.settings import ModelConfig, sized
from evonas.tasks.language.text import load_text
from evonas.tasks.task import Task
from evonas.training.device import find_device
from evonas.training.fit import StopReason

NETWORKS = "networks"  # the folder of trained networks in that of the study


class Subject(Section):
    """A network with a layer: what all its trainings depend on. A pretrained one has no layer of ours."""

    network: NetworkConfig
    data: DataConfig
    text: TextConfig
    lowering: LayerConfig
    genome: str = ""
    device: str

    @property
    def reads_text(self) -> bool:
        """Whether it is a language model."""
        return self.network.task is None or self.network.task.kind == "language"


class Trained(Section):
    """A training of a subject under a seed, at a multiple of its learning rate, with or without two components."""

    subject: Subject
    seed: Seed
    factor: float = 1.0
    z_loss: float = 0.0
    qk_layernorm: bool = True


class WithLogits(nn.Module):
    """A network that names its output as models of transformers do, so that it is known to be a distribution."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Mapping[str, Tensor]:
        """The logits by their name."""
        return {"logits": self.network(inputs)}


def task_of(spec: Trained) -> Task:
    """The network, its data and its loss, with what the training switches on or off."""
    task, config, subject = _task(spec.subject), spec.subject.network.task, spec.subject
    assert config is not None
    if not spec.qk_layernorm:
        text = load_text(subject.text)
        plain = sized(config.transformer, vocabulary=text.vocabulary, context=config.context, qk_layernorm=False)
        task = replace(task, build=partial(_transformer, plain, find_device(subject.device)))
    if spec.z_loss:
        task = replace(task, loss=partial(_z_loss, spec.z_loss))
    return task


@lru_cache(maxsize=4)
def _task(subject: Subject) -> Task:
    assert subject.network.task is not None
    parts = {"data": subject.data, "text": subject.text, "training": subject.network.training}
    settings = SearchConfig(name="components", tasks=(subject.network.task,), **parts)  # type: ignore[arg-type]
    (task,) = tasks_from_config(settings, find_device(subject.device))
    return task


def _transformer(config: ModelConfig, device: torch.device, seed: int) -> nn.Module:
    return build_transformer(config, derive_seed(seed, "weights")).to(device)


def _z_loss(weight: float, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    logits: Tensor = model(batch[0])
    if logits.ndim > 2:
        return z_loss_cross_entropy(logits, batch[1], weight)
    return functional.cross_entropy(logits, batch[1]) + weight * logits.logsumexp(-1).square().mean()


def train(spec: Trained, folder: Path) -> tuple[nn.Module, nn.Module | None]:
    """The fresh network and the trained one, None where the training left the finite numbers.

    A training at the network's own learning rate is kept in the folder.
    """
    fresh, training = _training(spec).network, _training(spec)
    training.advance(training.settings.steps)
    if training.stop is not StopReason.COMPLETED:
        return fresh, None
    if spec.factor == 1:
        write_whole(_place(spec, folder), lambda path: save_model(training.network, str(path)))
    return fresh, training.network


def trained_network(spec: Trained, folder: Path) -> nn.Module:
    """The trained network, from the folder, in evaluation mode; trained again where it is not there.

    Raises:
        ArithmeticError: the training diverges.
        InputError: the file holds something else.
    """
    place = _place(spec, folder)
    if not place.is_file():
        _, found = train(spec, folder)
        if found is None:
            raise ArithmeticError("the training of the network diverged")
        return found.eval()
    network = _training(spec).network
    try:
        load_model(network, place)
    except (SafetensorError, RuntimeError) as error:
        what = f"does not hold this network ({first_line(error)})"
        raise InputError(str(place), what, remedy="delete it") from None
    return network.eval()


@lru_cache(maxsize=1)
def pretrained(source: str, device: str) -> LanguageModel:
    """The model and its tokenizer, loaded once in a process."""
    return load_language_model(source, device=find_device(device))


def _training(spec: Trained) -> Training:
    settings, subject = spec.subject.network.training, spec.subject
    at_rate = settings.at_rate(settings.learning_rate * spec.factor)
    return Training(task_of(spec), Genome.from_text(subject.genome), at_rate, subject.lowering, spec.seed)


def _place(spec: Trained, folder: Path) -> Path:
    digest = hashlib.sha256(spec_text(spec).encode()).hexdigest()[:16]
    return folder / NETWORKS / f"{digest}.safetensors"
