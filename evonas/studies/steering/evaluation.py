"""Measures how close an intervention brings one set of samples to another."""

from collections.abc import Iterable, Mapping

from torch import nn

from evonas.studies.steering.intervention import Intervention
from evonas.studies.steering.pooling import Pooling
from evonas.studies.steering.recording import frozen, record
from evonas.studies.steering.sites import Batch
from evonas.studies.steering.wasserstein import squared_wasserstein


def distances(
    intervention: Intervention,
    model: nn.Module,
    source: Iterable[Batch],
    target: Iterable[Batch],
    *,
    strength: float = 1.0,
    pool: str = "mean",
    skip_first: bool = True,
) -> Mapping[str, float]:
    """How far the steered source is from the target: the mean over neurons of W_2^2, by name of the site.

    With samples that were not fitted on, it tells whether the maps hold beyond those. Targets pass through the
    untouched model.

    Raises:
        InputError: as for ``fit`` and ``Intervention.on``.
    """
    pooling, sites = Pooling(pool, skip_first), intervention.sites
    with frozen(model):
        with intervention.on(model, 0.0):  # checks the sites
            goals = record(model, sites, target, pooling, "target")
        with intervention.on(model, strength):
            moved = record(model, sites, source, pooling, "source")
    pairs = zip(sites, moved, goals, strict=True)
    return {site.name: squared_wasserstein(samples, goal).mean().item() for site, samples, goal in pairs}
