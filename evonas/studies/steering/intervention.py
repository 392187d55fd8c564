"""An intervention: learned maps at the sites of a model, to be switched on at any strength."""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.steering import saving
from evonas.studies.steering.folding import folded_weights, set_weights
from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.methods import SteeringMap
from evonas.studies.steering.sites import SteeringSite, require_sites, steered


@dataclass(frozen=True, slots=True, eq=False)
class Intervention:
    """Maps at sites; ``print`` shows them, and which write the residual stream.

    Attributes:
        sites: where, in the order in which the model calls them.
        maps: what, one per site.
        method: how they were fitted.
        model: class name of the model for which they were.
        losses: of the training, if there was one.
        held: the loss of samples that were held out of it, before the first step and after each, if there were any.

    Example:
        ``with intervention.on(model, strength=0.7): model.generate(...)``
    """

    sites: tuple[SteeringSite, ...]
    maps: tuple[SteeringMap, ...]
    method: str
    model: str
    losses: tuple[float, ...] = ()
    held: tuple[float, ...] = ()

    @contextmanager
    def on(self, model: nn.Module, strength: float = 1.0) -> Iterator[nn.Module]:
        r"""Within it the model computes $\lambda T(z) + (1 - \lambda) z$ at each site, for every token and position.

        Strength 0 adds nothing to the model. Interventions within one another act in turn. The maps compute in
        float32 or better, and outputs keep their dtype.

        Args:
            model: the one it was fitted on, or another with the same sites.
            strength: 1 as it was fitted; any finite number.

        Raises:
            InputError: a site is missing or of another size, or a strength that is not finite.
        """
        modules = require_sites(model, self.sites, self.model)
        active = self.at(strength).maps
        maps = [affine.to(_device(module, model)) for affine, module in zip(active, modules, strict=True)]
        with steered(model, self.sites, maps) if strength else nullcontext():
            yield model

    def apply(self, model: nn.Module, strength: float = 1.0) -> "Applied":
        """Steer the model from here on, as ``on`` does within a context, until ``remove()`` of what is given back.

        Args:
            model: as for ``on``.
            strength: as for ``on``.

        Raises:
            InputError: as for ``on``.
        """
        stack = ExitStack()
        stack.enter_context(self.on(model, strength))
        return Applied(stack)

    def at(self, strength: float) -> Self:
        """The intervention whose full strength is this one's ``strength``."""
        if not math.isfinite(strength):
            raise InputError("strength", str(strength), accepted="a finite number; 0 is off, 1 as it was fitted")
        return replace(self, maps=tuple(affine.at(strength) for affine in self.maps))

    def inverse(self) -> Self:
        """Each map undone: what removed a property then induces it.

        The maps are inverted one by one; in a model, where each acts on what earlier ones have moved, the inverse
        inside the other gives the untouched model back.

        Raises:
            InputError: a map has bounds, or a scale too near to 0.
        """
        maps: list[SteeringMap] = []
        for site, affine in zip(self.sites, self.maps, strict=True):
            with _named(site):
                maps.append(affine.inverse())
        return replace(self, maps=tuple(maps), losses=(), held=())

    def then(self, other: Self) -> Self:
        """This intervention and then another one in one, at their full strengths; sites of either are kept.

        The two were fitted each on its own; order matters.

        Raises:
            InputError: sites of one name and different sizes, or maps with bounds at one site.
        """
        theirs = dict(zip((site.name for site in other.sites), zip(other.sites, other.maps, strict=True), strict=True))
        maps: list[SteeringMap] = []
        for site, affine in zip(self.sites, self.maps, strict=True):
            if site.name in theirs:
                second, following = theirs.pop(site.name)
                if (second.features, second.axis) != (site.features, site.axis):
                    found = f"{second.features} neurons along axis {second.axis} in the second intervention"
                    raise InputError(site.name, found, accepted=f"{site.features} along axis {site.axis}")
                with _named(site):
                    affine = _then(affine, following)
            maps.append(affine)
        added_sites, added_maps = zip(*theirs.values(), strict=True) if theirs else ((), ())
        method = f"{self.method}, then {other.method}"
        return replace(
            self, sites=self.sites + added_sites, maps=(*maps, *added_maps), method=method, losses=(), held=()
        )

    def fold_into(self, model: nn.Module, strength: float = 1.0, *, add_bias: bool = False) -> None:
        """Write the maps into the weights of the modules at the sites, in place: all of them, or none.

        Exact up to rounding of the weights, where the output is affine in weights of its own: linear layers,
        convolutions, norms with a gain and, if the map shifts, a bias. Sites whose map is the identity are passed over.

        Args:
            model: as for ``on``.
            strength: at which it is folded, for good.
            add_bias: whether linear layers and norms without bias may get one; a checkpoint then loads only into a
                model that has it too.

        Raises:
            InputError: as for ``on``, and where folding is not exact, saying why.
        """
        modules = require_sites(model, self.sites, self.model)
        new = []
        for site, affine, module in zip(self.sites, self.at(strength).maps, modules, strict=True):
            if not affine.is_identity:
                new.append((module, folded_weights(model, site, affine, add_bias=add_bias)))
        for module, weights in new:
            set_weights(module, weights)

    def save(self, folder: str | Path) -> None:
        """Write the intervention to a folder, as JSON and safetensors."""
        affine = {name: each for name, each in self.by_name.items() if isinstance(each, AffineMap)}
        pools = {name: each.pool for name, each in affine.items() if each.is_bounded and each.pool != "mean"}
        header = saving.Header(
            method=self.method, model=self.model, sites=self.sites, losses=self.losses, held=self.held, pools=pools
        )
        saving.write_intervention(Path(folder), header, self.by_name)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what ``save`` wrote; maps are on the CPU, and follow the model when switched on.

        Raises:
            InputError: a file is missing or broken.
        """
        header, maps = saving.read_intervention(Path(folder))
        return cls(header.sites, maps, header.method, header.model, header.losses, header.held)

    @property
    def by_name(self) -> Mapping[str, SteeringMap]:
        """The maps by name of their site."""
        return dict(zip((site.name for site in self.sites), self.maps, strict=True))

    @property
    def support(self) -> Mapping[str, Tensor]:
        """Which neurons are steered noticeably, by name of the site: indices, ascending."""
        return {name: affine.support.nonzero().flatten() for name, affine in self.by_name.items()}

    @property
    def share(self) -> float:
        """Share of all neurons that are steered noticeably."""
        return sum(map(len, self.support.values())) / sum(site.features for site in self.sites)

    def __str__(self) -> str:
        steered_neurons, neurons = sum(map(len, self.support.values())), sum(site.features for site in self.sites)
        lines = [f"{self.method} for a {self.model}: {steered_neurons} of {neurons} neurons at {len(self.sites)} sites"]
        width = max(len(site.name) for site in self.sites)
        for site in self.sites:
            place = "writes the residual stream" if site.writes_residual else "feeds a branch"
            counts = f"{len(self.support[site.name])} of {site.features}"
            lines.append(f"  {site.name:{width}}  {site.kind}, {counts}, {place}")
        return "\n".join(lines)


def load(folder: str | Path) -> Intervention:
    """The intervention of a folder that ``Intervention.save`` or ``evonas steer`` wrote; see ``Intervention.load``."""
    return Intervention.load(folder)


@dataclass(frozen=True, slots=True)
class Applied:
    """An intervention that is at work in a model."""

    _hooks: ExitStack

    def remove(self) -> None:
        """Give the untouched model back; a second call does nothing."""
        self._hooks.close()


def _then(first: SteeringMap, second: SteeringMap) -> AffineMap:
    if isinstance(first, AffineMap) and isinstance(second, AffineMap):
        return first.then(second)
    found = "one that depends on its input and another map are no single map"
    raise InputError("map", found, remedy="switch one on within the other")


@contextmanager
def _named(site: SteeringSite) -> Iterator[None]:
    """Errors that are raised within it name the site."""
    try:
        yield
    except InputError as error:
        raise error.at(site.name) from None


def _device(module: nn.Module, model: nn.Module) -> torch.device:
    tensors = (t for owner in (module, model) for t in (*owner.parameters(), *owner.buffers()))
    return next((t.device for t in tensors), torch.device("cpu"))
