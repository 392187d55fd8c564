"""One measurement each: a training, a mask, a steering, a hypernetwork; and what is recorded of it."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.compare.components.material import Material, concept_and_cost, drawn, loss, material_of, require_concept
from evonas.compare.components.networks import Subject, Trained, WithLogits, pretrained, task_of, train, trained_network
from evonas.compare.components.settings import ComponentName, ConceptConfig, HypernetConfig, MasksConfig
from evonas.config.section import Section, Seed
from evonas.errors import InputError
from evonas.graph.genome import Genome
from evonas.layer.lower import NormActLayer
from evonas.report.statistics import finite
from evonas.seeding import derive_seed
from evonas.studies.hypernet.network import HyperNetwork
from evonas.studies.sparsity.sites import is_linear, linear_sites
from evonas.studies.sparsity.sparsify import sparsify
from evonas.studies.steering.fit import POST_NORMS, fit
from evonas.surgery.calls import call, inference, output_of
from evonas.tasks.sources import digests_of, text_digest
from evonas.tasks.task import placed
from evonas.training.modes import seeded

FIXED = 8  # batches on which the loss of a hypernetwork is taken
CALIBRATION_BATCH = 32


class Masked(Section):
    """A network without a share of the inputs of its linear layers."""

    subject: Subject
    trained: Trained | None
    component: ComponentName
    masks: MasksConfig
    concept: ConceptConfig
    seed: Seed


class Steered(Section):
    """A network that LinEAS leads away from a concept."""

    subject: Subject
    trained: Trained | None
    concept: ConceptConfig
    seed: Seed


class Predicted(Section):
    """A hypernetwork that predicts all parameters of a network."""

    subject: Subject
    hypernetwork: HypernetConfig
    parametrization: str
    learning_rate: float
    seed: Seed


Job = Trained | Masked | Steered | Predicted


def do_job(folder: Path, job: Job, _needed: Mapping[Job, Any]) -> dict[str, Any]:
    """One measurement, as it is recorded."""
    match job:
        case Trained():
            material = material_of(job.subject, ConceptConfig(), job.seed)
            before, after = train(job, folder)
            return {"before": loss(before, material), "after": None if after is None else loss(after, material)}
        case Masked():
            return _mask(job, folder)
        case Steered():
            return _steer(job, folder)
        case Predicted():
            with seeded(derive_seed(job.seed, "hypernetwork")):
                return _predict(job)


def read_by(job: Job) -> Mapping[str, str]:
    """Digests of what a job reads beside its settings."""
    subject = job.subject
    if subject.network.task is None:
        model = pretrained(subject.network.pretrained, subject.device).identity
        return {"model": model, "text": text_digest(subject.text)}
    return digests_of(subject.network.task, subject.data, subject.text)


def needed_by(job: Job) -> list[Job]:
    """The training of the network that is masked or steered."""
    return [job.trained] if isinstance(job, Masked | Steered) and job.trained is not None else []


def _ready(job: Masked | Steered, folder: Path) -> nn.Module:
    """The network, which says that its output are logits."""
    if job.trained is not None:
        return WithLogits(trained_network(job.trained, folder)).eval()
    return pretrained(job.subject.network.pretrained, job.subject.device).model


def _mask(job: Masked, folder: Path) -> dict[str, Any]:
    network, material = _ready(job, folder), material_of(job.subject, job.concept, job.seed)
    plain = loss(network, material)
    head = _output_layer(network, material)
    splits = job.component.endswith("split")
    batches = None
    if splits:
        every = torch.ones(len(material.train.inputs), dtype=torch.bool)
        chosen = drawn(material.train, every, job.masks.calibration, derive_seed(job.seed, "calibration"))
        batches = list(chosen.split(CALIBRATION_BATCH))
    report = sparsify(
        network,
        method=job.component.partition(",")[0],
        sparsity=job.masks.sparsity,
        allocation="fisher" if splits else "uniform",
        exclude=(head,) if head else (),
        calibration=batches,
    )
    try:
        return {"plain": plain, "with": loss(network, material), "layers": len(report.layers)}
    finally:
        report.restore()


def _output_layer(network: nn.Module, material: Material) -> str:
    """The name of the layer that gives the logits, which stays dense; empty where it is none that could be masked."""
    with inference(network):
        logits = output_of(call(network, material.scoring.inputs[:2]))
    found = [name for name, part in network.named_modules() if is_linear(part)]
    last = (
        [site.name for site in linear_sites(network, exclude=()) if site.outputs == logits.shape[-1]] if found else []
    )
    return last[-1] if last else ""


def _steer(job: Steered, folder: Path) -> dict[str, Any]:
    network, material = _ready(job, folder), material_of(job.subject, job.concept, job.seed)
    require_concept(material)
    samples, train_ = job.concept.samples, material.train
    source = drawn(train_, train_.source, samples, derive_seed(job.seed, "source"))
    target = drawn(train_, train_.target, samples, derive_seed(job.seed, "target"))
    with torch.enable_grad():
        maps = fit(
            network,
            [source],
            [target],
            sites=_sites(network, job.subject),
            steps=job.concept.steps,
            lr=job.concept.learning_rate,
        )
    curve = [[0.0, *concept_and_cost(network, material)]]
    for strength in sorted(set(job.concept.strengths)):
        with maps.on(network, strength):
            curve.append([strength, *concept_and_cost(network, material)])
    return {"curve": [[finite(value) for value in point] for point in curve], "sites": len(maps.sites)}


def _sites(network: nn.Module, subject: Subject) -> list[str]:
    """Every layer of ours, or the norms after attention of a pretrained model."""
    if subject.network.task is None:
        return [POST_NORMS]
    return [name for name, part in network.named_modules() if isinstance(part, NormActLayer)]


def _predict(job: Predicted) -> dict[str, Any]:
    """The loss on batches that are the same for all seeds, at the start and after every ``check_every`` steps."""
    settings, spec = job.hypernetwork, Trained(subject=job.subject, seed=job.seed)
    task = task_of(spec)
    task = task.resized(settings.batch_size) if task.resized else task
    network = placed(task, task.build(job.seed), Genome.from_text(job.subject.genome), job.subject.lowering)
    model = HyperNetwork(
        network,
        1,
        parametrization=job.parametrization,
        hidden=settings.hidden,
        seed=derive_seed(job.seed, "heads"),
    ).train()
    device = next(network.parameters()).device
    fixed = _gammas(derive_seed(0, "fixed gammas"), device)
    held = [(next(fixed), batch) for batch, _ in zip(task.batches(derive_seed(0, "fixed")), range(FIXED), strict=False)]
    optimizer = torch.optim.Adam(model.parameters(), job.learning_rate, fused=True)
    smoothed = partial(_smoothed, model, settings.smoothing)
    curve: list[list[float | None]] = [[0, _mean_loss(model, smoothed, held)]]
    gammas, batches = _gammas(derive_seed(job.seed, "gammas"), device), task.batches(job.seed)
    for step in range(1, settings.steps + 1):
        value = smoothed(next(gammas), next(batches))
        if not math.isfinite(value.item()):
            curve.append([step, None])
            break
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % settings.check_every == 0 or step == settings.steps:
            curve.append([step, _mean_loss(model, smoothed, held)])
    return {"curve": curve}


def _gammas(seed: int, device: torch.device) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.rand(1, generator=generator).to(device)


def _smoothed(model: HyperNetwork, most: float, gamma: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Cross entropy with a label smoothing of gamma times ``most``, of the network that is predicted for gamma."""
    logits: Tensor = model(gamma, batch[0])
    return functional.cross_entropy(logits.flatten(0, -2), batch[1].flatten(), label_smoothing=most * float(gamma))


@torch.no_grad()
def _mean_loss(model: HyperNetwork, smoothed: Any, held: list[tuple[Tensor, Any]]) -> float | None:
    model.eval()
    found = sum(float(smoothed(gamma, batch)) for gamma, batch in held) / len(held)
    model.train()
    return finite(found)


def require_known(subject: Subject) -> None:
    """Refuse what can be seen to be wrong before anything is trained.

    Raises:
        InputError: data or models that cannot be read, or a layer that cannot stand in the network.
    """
    if subject.network.task is None:
        pretrained(subject.network.pretrained, subject.device)
        return
    task = task_of(Trained(subject=subject, seed=1))
    try:
        placed(task, task.build(1), Genome.from_text(subject.genome), subject.lowering)
    except InputError as error:
        raise error.at(f"{subject.network.label}") from None
