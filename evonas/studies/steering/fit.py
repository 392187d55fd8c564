"""Learns an intervention from samples that have a property and samples that should be imitated."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.steering import lineas
from evonas.studies.steering.held_out import HeldOutSettings, train_held_out
from evonas.studies.steering.intervention import Intervention
from evonas.studies.steering.methods import LINEAS, METHODS, PROMPT, SteeringMap
from evonas.studies.steering.pooling import Pooling
from evonas.studies.steering.recording import frozen, record, samples_of
from evonas.studies.steering.sites import Batch, SteeringSite, find_sites, steered

POST_NORMS = "**.*post*layernorm"

CLUSTERS = 4  # for some dozens of samples; the paper has ten or more, of hundreds

Estimator = Callable[[Tensor, Tensor], SteeringMap]


def fit(
    model: nn.Module,
    source: Iterable[Batch],
    target: Iterable[Batch],
    *,
    sites: str | Sequence[str] = POST_NORMS,
    method: str = "lineas",
    pool: str = "mean",
    skip_first: bool = True,
    steps: int = 1000,
    lr: float = 0.1,
    sparsity: float = 0.0,
    reduction: str = "mean",
    optimizer: str = "sgd",
    neurons: float = 1.0,
    sequential: bool = True,
    bounded: bool = True,
    held_out: float = 0.0,
    folds: int = 0,
    shrink: bool = False,
    clusters: int = CLUSTERS,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Intervention:
    r"""Learn maps $T(z) = w z + b$ at the sites of a frozen model that move source samples towards target samples.

    ==============  =================================================  ==========================================
    method          w, b                                               estimated
    ==============  =================================================  ==========================================
    ``lineas``      least sum of 1-D squared Wasserstein distances     by descent, all sites together
    ``linear-act``  best affine map between quantiles, site by site    in closed form, with earlier maps at work
    ``mean-act``    1, difference of means                             in closed form, with earlier maps at work
    ``caa``         1, difference of means                             in closed form, all on the untouched model
    ``iti-c``       1, one standard deviation along the normal of a    in closed form, all on the untouched model
                    logistic regression
    ``chars``       none: shifts of clusters, mixed by how near a      from clusters and their transport, with earlier
                    token lies to each                                 maps at work
    ==============  =================================================  ==========================================

    Methods of users are registered with ``evonas.steering.register_method``; they have the settings of ``mean-act``.

    CAA and ITI were published with ``pool="last"``. Targets always pass through the untouched model; the released code
    of AcT steers them with the earlier maps too, which gives other maps from the second site on. The model's modes and
    flags are restored. The result is a function of model and batches: nothing is drawn. AurA and the transport between
    Gaussians of the AcT paper are not among the methods.

    Args:
        model: any module; it is called as ``model(**batch)``, or ``model(tensor)``.
        source: batches on the model's device, each a mapping of its inputs, or a tensor; read once. Of token inputs,
            ``attention_mask`` [b, t] is 0 at padding, on either side.
        target: the same; they need not be paired, nor as many.
        sites: patterns of module names, as of ``evonas.replace_modules``. The default is the paper's for language
            models: norms after attention and MLP in Gemma, but norms before the MLP in Llama and Qwen; print the
            intervention to see which of them write the residual stream.
        method: one of the table.
        pool: how tokens become one vector for fitting: ``mean``, ``last``, ``max`` or ``min``. Maps of images are
            pooled over space. The maps themselves act on every token and position, on each pixel as w z + b.
        skip_first: leave the first token out of pooling; see ``Pooling``.
        steps: of ``lineas``.
        lr: of ``lineas``; see ``evonas.studies.steering.lineas.LinEASSettings``.
        sparsity: gamma of ``lineas``, a sparse group lasso towards the identity.
        reduction: of the loss of ``lineas``, ``mean`` or ``sum``; see ``transport_loss``.
        optimizer: of ``lineas``, ``sgd`` or ``adam``.
        neurons: of ``lineas``, the share of all neurons that may be steered: those for which the loss is steepest at
            the start. Unlike a sparsity it does not shrink the maps of those it keeps.
        sequential: of ``linear-act``, ``mean-act`` and users' methods that say so; False estimates all on the untouched
            model.
        bounded: of ``linear-act``; leave values alone that lie outside of what the source's pooled activations
            reached. Of tokens each has to lie inside, of a map over space its pooled value, which then moves as a
            whole. That is meant for removing a property; use False for inducing one.
        held_out: of ``lineas``, the share of source and target samples that the training does not see. The maps are
            those of the step after which their loss was least.
        folds: of ``lineas``, in place of ``held_out``: each sample is held out once, in so many trainings, and the
            number of steps with the least mean loss is then taken with all samples.
        shrink: of ``lineas`` with one of the two: the held-out samples also say for each neuron how far it moves, from
            not at all to as it was fitted.
        clusters: of ``chars``, of the source and of the target.
        on_step: of ``lineas``, called after each step with its number (from 0) and its loss.

    Raises:
        InputError: a pattern that matches nothing, sites or batches that cannot be used, fewer than two samples,
            activations that are not finite, settings out of range, or a training that diverged.

    Source: Rodriguez et al., *LinEAS*, 2025, arXiv 2503.10679; AcT, 2024, arXiv 2410.23054; CAA, Rimsky et al. 2023,
    arXiv 2312.06681; ITI, Li et al. 2023, arXiv 2306.03341; CHaRS, Abdullaev et al. 2026, arXiv 2603.02237.
    """
    how = METHODS.find(method, "method")
    if sparsity and method != LINEAS:
        raise InputError("sparsity", f"{sparsity} with method {method!r}", accepted="0, or method 'lineas'")
    if neurons != 1 and method != LINEAS:
        raise InputError("neurons", f"{neurons} with method {method!r}", accepted="1, or method 'lineas'")
    if method == PROMPT:
        remedy = "begin the prompt with the instruction, or compare it with maps in a study"
        raise InputError("method", f"{PROMPT!r} has no maps to fit", remedy=remedy)
    settings = lineas.LinEASSettings(steps, lr, sparsity, reduction, optimizer, neurons)
    held = HeldOutSettings(held_out, folds, shrink)
    if held.used and method != LINEAS:
        where, given = ("folds", str(folds)) if folds else ("held_out", str(held_out))
        raise InputError(where, f"{given} with method {method!r}", accepted="0, or method 'lineas'")
    if clusters < 1:
        raise InputError("clusters", str(clusters), accepted="1 or more")
    pooling = Pooling(pool, skip_first)
    patterns = [sites] if isinstance(sites, str) else list(sites)
    if not patterns:
        raise InputError("sites", "no pattern", accepted=f"patterns such as {POST_NORMS!r}")
    sources, targets = _batches("source", source), _batches("target", target)
    with frozen(model):
        found = find_sites(model, patterns, targets[0])
        goals = record(model, found, targets, pooling, "target")
        start = record(model, found, sources, pooling, "source")  # whatever the method: it checks the samples
        maps: list[SteeringMap]
        losses: tuple[float, ...] = ()
        unseen: tuple[float, ...] = ()
        if how.estimate is None:
            _require_sortable(sources)
            how_to = (model, found, sources, goals, pooling, settings)
            trained = train_held_out(*how_to, held, on_step) if held.used else lineas.train_maps(*how_to, on_step)
            maps, losses, unseen = list(trained.maps), trained.losses, trained.held
        else:
            settings_of: dict[str, Any] = {"bounded": bounded, "pool": pool} if how.configured else {}
            settings_of |= {"clusters": clusters} if how.clustered else {}
            estimate = partial(how.estimate, **settings_of)
            if how.sequential and sequential:
                maps = _one_after_another(model, found, sources, goals, pooling, estimate)
            else:
                maps = list(map(estimate, start, goals))
    return Intervention(found, tuple(maps), method, type(model).__name__, losses, unseen)


def _batches(what: str, batches: Iterable[Batch]) -> list[Batch]:
    if isinstance(batches, Tensor | Mapping):
        raise InputError(what, "a single batch", accepted="an iterable of batches", remedy="put it into a list")
    listed = list(batches)
    if not listed:
        raise InputError(what, "no batch", accepted="2 samples or more")
    return listed


def _one_after_another(
    model: nn.Module,
    sites: Sequence[SteeringSite],
    source: Sequence[Batch],
    goals: Sequence[Tensor],
    pooling: Pooling,
    estimate: Estimator,
) -> list[SteeringMap]:
    """Each map from source activations that the maps before it have moved."""
    maps: list[SteeringMap] = []
    for number, (site, goal) in enumerate(zip(sites, goals, strict=True)):
        with steered(model, sites[:number], maps):
            (moved,) = record(model, [site], source, pooling, "source")
        maps.append(estimate(moved, goal))
    return maps


def _require_sortable(source: Sequence[Batch]) -> None:
    """Each batch is compared with the target alone."""
    for number, batch in enumerate(source):
        if samples_of(batch) < 2:
            raise InputError(f"source, batch {number}", "1 sample", accepted="2 or more", remedy="make batches larger")
