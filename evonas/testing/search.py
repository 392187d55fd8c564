"""Checks of what a search calls: objectives, protocols and tasks."""

import math
import random

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from evonas.config import LayerConfig, ProtocolsConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.search.objectives import MeasurementContext, Objective, register_objective
from evonas.search.outcome import Rejection
from evonas.search.protocols import Protocol, register_protocol
from evonas.tasks.task import Task, placed, score_of
from evonas.testing.sentences import require, saying

LAYERS = ("bn-relu", "gn-relu", "evonorm-s0")


def check_objective(objective: Objective) -> None:
    """Check that an objective can be registered and gives a number for known layers; it is registered by this.

    The layers are those of the catalogue for maps, with trainings that are made up: they end as they began.

    Raises:
        AssertionError: with a sentence that says what is wrong.
    """
    with saying(f"The objective {objective.name!r} cannot be registered"):
        register_objective(objective)
    for name in LAYERS:
        subject = MeasurementContext(
            CATALOGUE[name],
            LayerConfig(),
            "bchw",
            torch.device("cpu"),
            trains=lambda factor: factor <= 4,
            losses=lambda factor: (2.3, 1.0 + abs(math.log(factor))),
            sparse_metric=lambda sparsity: 0.9 * (1 - sparsity),
            shifted_metric=lambda: 0.6,
            small_batch_metric=lambda: 0.4,
        )
        with saying(f"The objective {objective.name!r} fails on {name}"):
            value = objective.measure(subject)
        number = isinstance(value, float | int) and math.isfinite(value)
        require(number, f"The objective {objective.name!r} gives {value!r} for {name}, which is no finite number.")


def check_protocol(protocol: Protocol, genomes: int = 100) -> None:
    """Check that a protocol judges random and known layers as a pure function; it is registered by this.

    Args:
        protocol: the record.
        genomes: how many random layers.

    Raises:
        AssertionError: with a sentence that says what is wrong.
    """
    name, rng, space = protocol.name, random.Random(0), SearchSpace()
    with saying(f"The protocol {name!r} cannot be registered"):
        register_protocol(protocol)
    settings = (ProtocolsConfig(), LayerConfig()) if protocol.configured else ()
    passed, before = 0, (random.getstate(), torch.get_rng_state())
    for genome in [*CATALOGUE.values(), *(space.sample(rng) for _ in range(genomes))]:
        with saying(f"The protocol {name!r} fails on {genome.to_text()!r}"):
            found, again = protocol.reject(genome, *settings), protocol.reject(Genome(genome.nodes), *settings)
        require(found == again, f"The protocol {name!r} says two things of {genome.to_text()!r}: {found}, {again}.")
        require(found is None or isinstance(found, Rejection), f"The protocol {name!r} gives {found!r}, no Rejection.")
        stage = found.stage if found else name
        require(stage == name, f"The protocol {name!r} gives a rejection of stage {stage!r}, which is not its name.")
        passed += found is None
    require(passed, f"The protocol {name!r} rejects every layer, the catalogue's among them.")
    same = random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])
    require(same, f"The protocol {name!r} draws from a global random generator.")


def check_task(task: Task, layer: str = "gn-relu") -> None:
    """Check that a task gives the same networks and batches for a seed, and that layers can be trained on it.

    Args:
        task: what a task function gives.
        layer: of the catalogue, for maps; tasks with ``norms`` are tried with ``rmsnorm``.

    Raises:
        AssertionError: with a sentence that says what is wrong.
    """
    name = task.name
    with saying(f"The task {name!r} cannot build its network"):
        one, two = task.build(1), task.build(1)
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    require(all(map(torch.equal, *zip(*pairs, strict=True))), f"The task {name!r} builds two networks from one seed.")
    first, again, other = (_tensors(task, seed) for seed in (1, 1, 2))
    require(_equal(first, again), f"The task {name!r} gives two streams of batches for one seed.")
    require(not _equal(first, other), f"The task {name!r} gives the same batches whatever the seed.")
    genome = CATALOGUE["rmsnorm" if task.norms else layer]
    with saying(f"The network of the task {name!r} takes no layers"):
        model = placed(task, task.build(1), genome, LayerConfig()).train()
    with saying(f"The task {name!r} cannot be trained"):
        loss = task.loss(model, next(task.batches(1)))
        loss.backward()
    require(loss.ndim == 0 and math.isfinite(loss.item()), f"The loss of the task {name!r} is no finite number.")
    trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
    require(trained, f"The loss of the task {name!r} has no gradient.")
    with saying(f"The task {name!r} cannot be scored"):
        scores = [score_of(task.metric(model.eval())) for _ in range(2)]
    require(math.isfinite(scores[0]), f"The metric of the task {name!r} is {scores[0]!r}, no finite number.")
    require(scores[0] == scores[1], f"The metric of the task {name!r} gives {scores} for one network.")


def _tensors(task: Task, seed: int) -> list[Tensor]:
    batches = task.batches(seed)
    leaves = tree_leaves([next(batches) for _ in range(2)])
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))
