"""Makes the linear layers of a model drop inputs, and returns a report that can undo it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from evonas.errors import InputError
from evonas.studies.sparsity.allocation import (
    BEST,
    EVOLUTION,
    LEVELS,
    TWICE,
    UNIFORM,
    Curve,
    ErrorCurves,
    block_curves,
    greedy,
)
from evonas.studies.sparsity.build import Builder
from evonas.studies.sparsity.calibration import normalized_groups, reached, require_reached, score_samples
from evonas.studies.sparsity.evolution import evolved, exchanged
from evonas.studies.sparsity.fisher import fisher_curves
from evonas.studies.sparsity.gates import gated_layers
from evonas.studies.sparsity.layer import SparseLinear
from evonas.studies.sparsity.parts import LayerParts
from evonas.studies.sparsity.report import SparsityReport
from evonas.studies.sparsity.rotation import rotate
from evonas.studies.sparsity.scores import SCORE_METHODS, ActivationMagnitudes, ScoreMethod, method_named
from evonas.studies.sparsity.selection import Prefill
from evonas.studies.sparsity.sites import EXCLUDED, LinearSite, linear_sites
from evonas.studies.sparsity.writing import SparsifySettings

SELECTIONS = ("topk", "threshold")
MEASURED = {  # allocations that go by what dropping costs
    "greedy": block_curves,
    BEST: fisher_curves,
    TWICE: fisher_curves,
    EVOLUTION: fisher_curves,
}
ALLOCATIONS = (UNIFORM, *MEASURED)

Pays = Callable[[int, int, float], bool]


def sparsify(
    model: nn.Module,
    *,
    method: str = "wina",
    sparsity: float | Mapping[str, float] = 0.5,
    selection: str = "topk",
    allocation: str | None = None,
    costs: ErrorCurves | None = None,
    transform: bool = False,
    include: str | Sequence[str] = "**",
    exclude: str | Sequence[str] = EXCLUDED,
    calibration: Iterable[Any] | None = None,
    prefill: Prefill | None = None,
    sparse_when: Pays | None = None,
    seed: int = 0,
    thresholds: Mapping[str, float] | None = None,
    parts: LayerParts | None = None,
) -> SparsityReport:
    """Make layers y = W x of ``model`` drop, for each token, the inputs that score lowest: y = W (g * x).

    Nothing is trained. The model is changed in place, and only once everything has been checked and measured.
    A layer at sparsity 0 is left alone.

    Args:
        model: transformers' causal language models, or any model of linear layers and 1x1 convolutions.
        method: ``wina``, ``teal``, ``cats``, ``r-sparse`` or ``random``; see ``scores.SCORE_METHODS``.
        sparsity: share of inputs to drop, the mean over layers weighted by their weights; or, by layer name, the share
            of each, and layers without one stay dense.
        selection: ``topk`` keeps K = floor(n (1 - s)) inputs of each token; ``threshold`` keeps those that score above
            a quantile of the calibration scores, and so more of some tokens than of others.
        allocation: ``uniform`` gives all layers the same sparsity. ``greedy`` gives all blocks the same, and each
            splits it among its layers by what dropping costs at the block's output. ``fisher`` splits it among all
            layers of the model by what dropping costs at the model's output, see ``fisher``, and loses least: without
            one it is taken where there is a calibration and one sparsity for all, and ``uniform`` elsewhere and for
            ``cats``. ``fisher-twice`` then measures once more what dropping costs, and thresholds, on the model that is
            sparse by that split. ``evolution`` begins with that split and searches a better one over blocks, trying
            about a hundred on the calibration; see ``evonas.studies.sparsity.evolution``.
        costs: what an allocation goes by, as ``SparsityReport.costs`` gave it under the same settings; without it they
            are measured: ``greedy`` takes about eight forward passes of a block for each of its layers and batches,
            ``fisher`` about ten of the model.
        transform: multiply in a basis in which the columns of key and gate weights are orthogonal; see ``rotation``.
            Of a key with fewer outputs than inputs, as under grouped-query attention, the null space gets the basis
            nearest to axes of coordinates. The layers that read a normalization then need one more product with an
            n x n matrix.
        include: patterns of layer names, ``*`` within a part, ``**`` for any number of parts.
        exclude: the same; these stay dense.
        calibration: batches (see ``calls.call``), a thousand tokens or two; needed for all but ``topk`` with
            ``uniform`` and no transform.
        prefill: which positions of longer inputs stay dense; None none.
        sparse_when: from inputs, outputs and sparsity of a layer to whether a sparse product is faster than a dense
            one, as ``speed_table.SpeedTable.pays``. Layers for which it is use that kernel at batch 1 and keep their
            weight by columns; the others stay dense, as nothing would be won. None masks all layers, which is slower
            than dense and the same on every machine: for measuring quality.
        seed: of ``random``.
        thresholds: with ``selection="threshold"``, by layer name, the score up to which inputs are dropped, as
            ``SparsityReport.save`` keeps it; without it thresholds are read from the calibration.
        parts: rotations and low-rank terms, as ``SparsityReport.save`` keeps them; without it they are computed.

    Raises:
        InputError: an unknown name, a sparsity outside [0, 1), a layer that is not supported, calibration that is
            missing, a method without what it needs, or a model that is sparse already. The model is then unchanged.
    """
    rule, prefill = method_named(method), prefill or Prefill()
    batches = list(calibration) if calibration is not None else []
    if allocation is None:
        if costs is not None:
            raise InputError("costs", "given without an allocation", remedy="say of which they are")
        split = batches and sparsity and not (rule.gated or isinstance(sparsity, Mapping))
        allocation = BEST if split else UNIFORM
    _check(model, rule, sparsity, selection, allocation, transform)
    sites = linear_sites(model, include, exclude)
    activations, partners = dict[LinearSite, nn.Module](), dict[str, str]()
    if rule.gated:
        activations, partners = gated_layers(model, sites)
        sites = tuple(activations)
    measured = selection if thresholds is None else "topk"
    tried = allocation in (TWICE, EVOLUTION)
    _need(batches, measured, allocation if costs is None or tried else UNIFORM, transform and parts is None)
    if parts is None:
        parts = LayerParts(rotate(normalized_groups(model, sites, batches[0])) if transform else {}, {})
    build = Builder(rule, sites, parts.turned, prefill, seed, parts.factors)
    hooks = {site: _see(activation, build.scores[site]) for site, activation in activations.items()}
    try:
        if thresholds is not None:
            build.samples = {name: torch.tensor([threshold]) for name, threshold in thresholds.items()}
        elif selection == "threshold":
            scores = [(site, partial(build.sample_score, site)) for site in sites]
            build.samples = score_samples(model, scores, batches)
        if isinstance(sparsity, Mapping):
            shares = _named(sparsity, sites)
            _require_thresholds(thresholds, shares)
        elif allocation == UNIFORM or sparsity == 0:
            shares = dict.fromkeys(sites, sparsity)
        else:
            costs = _costs(sites, costs) if costs is not None else _measured(model, sites, allocation, build, batches)
            shares = _split(sites, costs, sparsity)
            if allocation == TWICE:
                shares = _again(model, shares, sparsity, build, batches, thresholds=measured == "threshold")
            elif allocation == EVOLUTION:
                shares = evolved(model, sites, _flat(costs), shares, build, batches, seed=seed)
        placed = _placed(model, shares, build, sparse_when)
    except BaseException:
        _remove(hooks.values())
        raise
    _remove(hook for site, hook in hooks.items() if site not in placed)
    total = sum(site.inputs * site.outputs for site in sites)
    mean = sum(share * site.inputs * site.outputs for site, share in shares.items()) / total
    settings = SparsifySettings(method, mean, selection, allocation, transform, prefill, seed)
    return SparsityReport(
        model, settings, shares, placed, build, hooks=tuple(hooks.values()), partners=partners, costs=costs
    )


def _check(
    model: nn.Module,
    method: ScoreMethod,
    sparsity: float | Mapping[str, float],
    selection: str,
    allocation: str,
    transform: bool,
) -> None:
    if any(isinstance(part, SparseLinear) for part in model.modules()):
        raise InputError(type(model).__name__, "is sparse already", remedy="call restore() of its report first")
    for where, name, accepted in (("selection", selection, SELECTIONS), ("allocation", allocation, ALLOCATIONS)):
        if name not in accepted:
            raise InputError(where, repr(name), accepted=", ".join(accepted))
    named = isinstance(sparsity, Mapping)
    for name, share in sparsity.items() if isinstance(sparsity, Mapping) else (("sparsity", sparsity),):
        if not 0 <= share < 1:
            raise InputError(name, str(share), accepted="0 or more and less than 1")
    if allocation != UNIFORM and (named or sparsity > LEVELS[-1]):  # type: ignore[operator]  # a number if not named
        found = "by layer" if named else str(sparsity)
        raise InputError("sparsity", f"{found}, with allocation {allocation}", accepted=f"a number up to {LEVELS[-1]}")
    if allocation in (BEST, TWICE, EVOLUTION) and method.gated:  # its scores are made while the model runs
        raise InputError("allocation", f"method {method.name} has no {allocation}", accepted="uniform, greedy")
    if transform and not method.transforms:
        able = ", ".join(other.name for other in SCORE_METHODS.values() if other.transforms)
        raise InputError("transform", f"method {method.name} has none", accepted=able)


def _need(batches: Sequence[Any], selection: str, allocation: str, transform: bool) -> None:
    wanted = {"selection threshold": selection == "threshold", f"allocation {allocation}": allocation != UNIFORM}
    wanted["transform"] = transform
    for purpose, needed in wanted.items():
        if needed and not batches:
            raise InputError("calibration", f"no batches, and {purpose} needs them", remedy="give a few inputs")


def _see(activation: nn.Module, score: nn.Module) -> RemovableHandle:
    assert isinstance(score, ActivationMagnitudes)
    return activation.register_forward_hook(score.see)


def _remove(hooks: Iterable[RemovableHandle]) -> None:
    for hook in hooks:
        hook.remove()


def _named(sparsity: Mapping[str, float], sites: Sequence[LinearSite]) -> dict[LinearSite, float]:
    names = {site.name for site in sites}
    for name in sparsity:
        if name not in names:
            raise InputError(f"sparsity {name}", "is none of the layers", accepted=f"names such as {sites[0].name}")
    return {site: sparsity.get(site.name, 0.0) for site in sites}


def _require_thresholds(thresholds: Mapping[str, float] | None, shares: Mapping[LinearSite, float]) -> None:
    for site, share in shares.items():
        if thresholds is not None and share and site.name not in thresholds:
            raise InputError("thresholds", f"lack {site.name}", accepted="one for each layer that drops inputs")


def _costs(sites: Sequence[LinearSite], costs: ErrorCurves) -> ErrorCurves:
    names, known = {site.name for site in sites}, {name for curves in costs.values() for name in curves}
    if names != known:
        different = min(names ^ known)
        found = f"have {different}, which is none of the layers" if different in known else f"lack {different}"
        raise InputError("costs", found, accepted="those of the same layers")
    return costs


def _measured(
    model: nn.Module, sites: Sequence[LinearSite], allocation: str, build: Builder, batches: Sequence[Any]
) -> ErrorCurves:
    with reached(sites) as seen:
        costs = MEASURED[allocation](model, sites, build, batches)
    for site in sites:
        require_reached(site.name, seen)  # else dropping all of it would seem to cost nothing
    return costs


def _split(sites: Sequence[LinearSite], costs: ErrorCurves, sparsity: float) -> dict[LinearSite, float]:
    sizes = {site.name: site.inputs * site.outputs for site in sites}
    shares: dict[str, float] = {}
    for curves in costs.values():
        shares |= greedy(curves, sizes, sparsity)
    return {site: shares[site.name] for site in sites}


def _flat(costs: ErrorCurves) -> dict[str, Curve]:
    return {name: curve for curves in costs.values() for name, curve in curves.items()}


def _again(
    model: nn.Module,
    shares: Mapping[LinearSite, float],
    sparsity: float,
    build: Builder,
    batches: Sequence[Any],
    *,
    thresholds: bool,
) -> dict[LinearSite, float]:
    """The split by what dropping costs in the model that is sparse by another one, with thresholds of that model."""
    sites = list(shares)
    placed = {site: build(site, share) for site, share in shares.items() if share}
    with exchanged(model, placed):
        samples = build.samples
        if thresholds:
            scores = [(site, partial(build.sample_score, site)) for site in sites]
            samples = score_samples(model, scores, batches, placed)
        build.samples = samples
        costs = fisher_curves(model, sites, build, batches, placed)
    return _split(sites, costs, sparsity)


def _placed(
    model: nn.Module, shares: Mapping[LinearSite, float], build: Builder, sparse_when: Pays | None
) -> dict[LinearSite, SparseLinear]:
    holders = Counter(id(p) for part in model.modules() for p in part.parameters(recurse=False))
    placed = {}
    for site, share in shares.items():
        if not share:
            continue
        if sparse_when is None:
            placed[site] = build(site, share)
            continue
        own = site.name in build.turned or holders[id(site.weight)] == 1  # else others would read a weight by columns
        if site.stride is None and own and sparse_when(site.inputs, site.outputs, share):
            placed[site] = build(site, share, sparse=True)
    return placed
