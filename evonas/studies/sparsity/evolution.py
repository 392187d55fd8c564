r"""A split of a sparsity among blocks, by evolution; within a block by what dropping costs the model.

A candidate is the mean share of each block. It is tried: all layers drop their shares on a few batches, and the
divergence of the model's output from that of the dense model is its loss. Curves that are measured layer by layer know
nothing of how errors add up. Each candidate moves some sparsity from one block to another, and the best of a few takes
the place of its parent if it is better.

Source: the search over blocks with a finer split within is that of WiSparse (Chen et al. 2026, arXiv 2602.14452), of
which no code is published; the operator, the start at the Fisher split and the numbers are chosen here.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from evonas.seeding import derive_seed
from evonas.studies.sparsity.allocation import LEVELS, Curve, Make, blocks_of, greedy, put
from evonas.studies.sparsity.sites import LinearSite
from evonas.surgery.calls import call, inference, is_distribution, output_of

GENERATIONS, OFFSPRING = 12, 8
SMALLEST, LARGEST = 0.01, 0.1  # what is taken from a block, of its share
POSITIONS = 1024  # of the batches, on which candidates are tried

Shares = dict[LinearSite, float]


def evolved(
    model: nn.Module,
    sites: Sequence[LinearSite],
    curves: Mapping[str, Curve],
    start: Mapping[LinearSite, float],
    make: Make,
    batches: Sequence[Any],
    *,
    seed: int,
) -> Shares:
    """The shares of the best candidate; their mean over weights is that of ``start``.

    Args:
        model: the dense model; layers are exchanged while candidates are tried, and put back.
        sites: its layers.
        curves: by layer, what dropping costs; splits the share of a block among its layers.
        start: shares of a first candidate.
        make: from a layer and a sparsity to what stands in its place.
        batches: what candidates are tried on, ``POSITIONS`` positions of them, or one batch.
        seed: of what is drawn.
    """
    rng = random.Random(derive_seed(seed, "evolution"))
    blocks = {name: held for name, held in blocks_of(sites).items() if held}
    sizes = {name: sum(site.inputs * site.outputs for site in held) for name, held in blocks.items()}
    best = {
        name: sum(start[site] * site.inputs * site.outputs for site in held) / sizes[name]
        for name, held in blocks.items()
    }
    if len(blocks) < 2:
        return dict(start)
    with inference(model):
        judge = _Judge(model, batches)
        shares: Shares = dict(start)
        least = judge(shares, make)
        for _ in range(GENERATIONS):
            parent = best
            for _ in range(OFFSPRING):
                child = _moved(parent, sizes, rng)
                tried = _within(blocks, curves, child)
                loss = judge(tried, make)
                if loss < least:
                    best, shares, least = child, tried, loss
    return shares


def _moved(parent: Mapping[str, float], sizes: Mapping[str, int], rng: random.Random) -> dict[str, float]:
    """Some sparsity goes from one block to another; as much of it as both bear."""
    giver, taker = rng.sample(sorted(parent), 2)
    amount = rng.uniform(SMALLEST, LARGEST) * sizes[giver]
    amount = min(amount, parent[giver] * sizes[giver], (LEVELS[-1] - parent[taker]) * sizes[taker])
    changed = {giver: parent[giver] - amount / sizes[giver], taker: parent[taker] + amount / sizes[taker]}
    return {**parent, **changed}


def _within(
    blocks: Mapping[str, Sequence[LinearSite]], curves: Mapping[str, Curve], means: Mapping[str, float]
) -> Shares:
    """The shares of all layers, split within each block."""
    shares: Shares = {}
    for name, held in blocks.items():
        sizes = {site.name: site.inputs * site.outputs for site in held}
        found = greedy({site.name: curves[site.name] for site in held}, sizes, means[name])
        shares |= {site: found[site.name] for site in held}
    return shares


class _Judge:
    """How far the output of the sparse model is from that of the dense one."""

    def __init__(self, model: nn.Module, batches: Sequence[Any]) -> None:
        self.model, self.batches, self.outputs = model, list[Any](), list[tuple[Tensor, bool]]()
        positions = 0
        for batch in batches:
            if positions >= POSITIONS:
                break
            result = call(model, batch)
            output = output_of(result)
            self.batches.append(batch)
            self.outputs.append((output.float(), is_distribution(result)))
            positions += output.flatten(0, -2).shape[0]

    def __call__(self, shares: Mapping[LinearSite, float], make: Make) -> float:
        """Mean divergence in nats of distributions, else the mean squared error, relative to the outputs' square."""
        total, count = 0.0, 0.0
        with exchanged(self.model, {site: make(site, share) for site, share in shares.items() if share}):
            for batch, (dense, distribution) in zip(self.batches, self.outputs, strict=True):
                sparse = output_of(call(self.model, batch)).float()
                if distribution:
                    wanted, found = dense.log_softmax(-1), sparse.log_softmax(-1)
                    total += functional.kl_div(found, wanted, reduction="sum", log_target=True).item()
                    count += dense.numel() / dense.shape[-1]
                else:
                    total += (sparse - dense).square().sum().item()
                    count += dense.square().sum().item() or 1.0
        return total / count


@contextmanager
def exchanged(model: nn.Module, layers: Mapping[LinearSite, nn.Module]) -> Iterator[None]:
    """Other layers stand in the places of these while the context lasts."""
    try:
        for site, layer in layers.items():
            put(model, site, layer)
        yield
    finally:
        for site in layers:
            put(model, site, site.module)
