"""The hypernetwork: any torch model, with parameters that are predicted from an input."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Self, TypedDict, Unpack

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.studies.hypernet.body import make_body
from evonas.studies.hypernet.calling import InDims, call_with
from evonas.studies.hypernet.heads import Heads, fan_out_stds, matched_stds
from evonas.studies.hypernet.inputs import ONLY, UNIT, Gamma, InputRange, Inputs, cos_sin
from evonas.studies.hypernet.targets import predicted_parameters

CALIBRATION = 1024  # gammas over which the size of the hidden output is measured
CORRECTION = 0.1
RANDOMNESS = ("different", "same")


@dataclass(frozen=True, slots=True)
class Parametrization:
    """The two parts of magnitude-invariant parametrization: whether gamma is encoded, whether theta0 is added."""

    encoded: bool
    additive: bool


PARAMETRIZATIONS: Mapping[str, Parametrization] = MappingProxyType(
    {
        "mip": Parametrization(encoded=True, additive=True),
        "default": Parametrization(encoded=False, additive=False),
        "encoding-only": Parametrization(encoded=True, additive=False),
        "additive-only": Parametrization(encoded=False, additive=True),
    }
)


class Options(TypedDict, total=False):
    """The keyword arguments of ``HyperNetwork``."""

    parametrization: str
    hidden: Sequence[int]
    activation: str
    norm: str | None
    predict: str | Sequence[str]
    ranges: InputRange | Mapping[str, InputRange]
    correction: float | None
    head_gain: float | None
    randomness: str
    seed: int


class HyperNetwork(nn.Module):
    """A copy of a network, chosen parameters of which are predicted from gamma.

    theta_k(gamma) = base_k + W_k h(E(z)) for each predicted tensor k, where z is gamma mapped from its ranges to
    [0, 1]^d, h are the hidden layers and W_k is a linear head. base_k is learned, and it is the primary network's own
    parameter.

    =================  ==============================  =========================================
    parametrization    E(z)                            base_k starts at
    =================  ==============================  =========================================
    ``mip``            [cos(pi/2 z), sin(pi/2 z)]      theta0_k, what the given network has there
    ``default``        z                               0: the bias of the last layer of h
    ``encoding-only``  [cos(pi/2 z), sin(pi/2 z)]      0
    ``additive-only``  z                               theta0_k
    =================  ==============================  =========================================

    With ``default`` and an activation that is linear on both sides of 0, ||theta(gamma)|| is proportional to ||z|| at
    the start; with ``mip`` it stays near ||theta0||.

    theta0 are the network's own values for tensors of any name and shape: norm scales start at 1, and a trained
    network is kept. Parameters that are not predicted stay ordinary parameters of ``primary``. Heads are drawn such
    that the root of the mean of ||W_k h||^2, over gamma uniform in its ranges, is ``correction`` ||theta0_k||: what
    starts at 0 gets heads of 0, which learn from the first step on. The heads are as large as the predicted parameters
    times the last width of ``hidden``.

    Attributes:
        primary: the network; its predicted parameters are the base_k.
        body: the hidden layers h.
        heads: the heads W_k.
        inputs: names, sizes and ranges of gamma's parts.

    Args:
        primary: the network; it is left untouched and shares nothing with this one.
        inputs: the number of gamma's coordinates, or of each named input's.
        parametrization: see above.
        hidden: widths of the hidden layers.
        activation: ``relu``, ``leaky_relu``, ``tanh``, ``gelu`` or ``silu``.
        norm: of the hidden layers: None, ``"layer"`` (after the activation) or ``"weight"``. A layer norm makes a
            ``default`` network of one coordinate independent of gamma at the start.
        predict: patterns of the names of parameters, see ``evonas.replace_modules``; ``**`` predicts all.
        ranges: (lo, hi) of gamma, for all inputs or by name.
        correction: see above; None is 0.1 if theta0 is added and 1 otherwise, where it gives predicted tensors the
            size that the network's own initialization has.
        head_gain: fan-out heads instead, N(0, gain^2 / N_k), for which ||W_k h|| is about gain ||h||, whatever the
            size of theta0_k: sqrt 2 in the authors' library, 1 in their research code.
        randomness: whether dropout draws ``different`` or the ``same`` masks for the gammas of one call.
        seed: of ``body`` and ``heads``.

    Raises:
        InputError: an argument that is not as above.

    Source: "Magnitude Invariant Parametrizations Improve Hypernetwork Learning", arXiv 2304.07645, for the
    parametrization and the fan-out heads; ``correction`` is not from there.
    """

    def __init__(
        self,
        primary: nn.Module,
        inputs: int | Mapping[str, int],
        *,
        parametrization: str = "mip",
        hidden: Sequence[int] = (16, 128),
        activation: str = "relu",
        norm: str | None = None,
        predict: str | Sequence[str] = "**",
        ranges: InputRange | Mapping[str, InputRange] = UNIT,
        correction: float | None = None,
        head_gain: float | None = None,
        randomness: str = "different",
        seed: int = 0,
    ) -> None:
        super().__init__()
        if parametrization not in PARAMETRIZATIONS:
            raise InputError("parametrization", repr(parametrization), accepted=", ".join(PARAMETRIZATIONS))
        if randomness not in RANDOMNESS:
            raise InputError("randomness", repr(randomness), accepted=", ".join(RANDOMNESS))
        if correction is not None and head_gain is not None:
            raise InputError("correction, head_gain", "both are given", remedy="each fixes the heads: give one")
        for name, number in (("correction", correction), ("head_gain", head_gain)):
            if number is not None and not (math.isfinite(number) and number >= 0):
                raise InputError(name, str(number), accepted="a finite number, 0 or more")
        self.parametrization, self.randomness = parametrization, randomness
        self._form = PARAMETRIZATIONS[parametrization]
        self.inputs = Inputs.of(inputs, ranges)
        size = self.inputs.size * (2 if self._form.encoded else 1)
        self.body = make_body(size, hidden, activation=activation, norm=norm, seed=derive_seed(seed, "body"))

        self.primary = copy.deepcopy(primary)
        predicted = predicted_parameters(self.primary, predict)
        self.heads = Heads({name: p.shape for name, p in predicted.items()}, hidden[-1] if hidden else size)
        sizes = {name: p.numel() for name, p in predicted.items()}
        if head_gain is not None:
            stds = fan_out_stds(sizes, head_gain)
        else:
            ratio = correction if correction is not None else CORRECTION if self._form.additive else 1.0
            norms = {name: ratio * p.detach().float().norm().item() for name, p in predicted.items()}
            stds = matched_stds(norms, sizes, self._hidden_rms(derive_seed(seed, "calibration")))
        self.heads.draw(stds, derive_seed(seed, "heads"))

        example = next(iter(predicted.values()))
        for part in (self.body, self.heads):
            part.to(example.device, example.dtype)
        if not self._form.additive:
            with torch.no_grad():
                for parameter in predicted.values():
                    parameter.zero_()

    @classmethod
    def from_pretrained(cls, model: nn.Module, inputs: int | Mapping[str, int], **options: Unpack[Options]) -> Self:
        """A hypernetwork that starts at a trained network: the correction is 0 for every gamma, unless given.

        Args:
            model: the network; its weights are theta0.
            inputs: as for the class.
            options: as for the class.

        Raises:
            InputError: a parametrization that adds no theta0, or what the class raises.
        """
        form = options.get("parametrization", "mip")
        if form in PARAMETRIZATIONS and not PARAMETRIZATIONS[form].additive:
            accepted = ", ".join(name for name, p in PARAMETRIZATIONS.items() if p.additive)
            raise InputError("parametrization", f"{form!r} does not keep the trained weights", accepted=accepted)
        if options.get("head_gain") is None and options.get("correction") is None:
            options["correction"] = 0.0
        return cls(model, inputs, **options)

    @property
    def base(self) -> dict[str, nn.Parameter]:
        """What gamma does not change in the predicted tensors, by name: theta0, if the parametrization adds it."""
        # get_parameter takes twice as long
        return {name: attrgetter(name)(self.primary) for name in self.heads.shapes}

    def predict(self, gamma: Gamma) -> dict[str, Tensor]:
        """The predicted tensors theta(gamma), by their names in the primary network.

        They are computed in the parameters' own precision, under autocast too.

        Args:
            gamma: [d] or [n, d], within the ranges; or vectors of the inputs by name, each [size] or [n, size].

        Shapes: -> the shape of each tensor, behind n where there are n gammas.

        Raises:
            InputError: gamma has other names or shapes, is not finite or outside of its range.
        """
        unit = self.inputs.unit(gamma, like=self.heads.weight)
        with torch.autocast(unit.device.type, enabled=False):
            corrections = self.heads(self.body(self._encoded(unit)))
            return {name: base + corrections[name].to(base.dtype) for name, base in self.base.items()}

    def forward(
        self,
        gamma: Gamma,
        *inputs: Any,
        in_dims: InDims = None,
        **kwargs: Any,
    ) -> Any:
        """``call_primary(predict(gamma), *inputs, **kwargs)``."""
        return self.call_primary(self.predict(gamma), *inputs, in_dims=in_dims, **kwargs)

    def call_primary(
        self,
        theta: Mapping[str, Tensor],
        *inputs: Any,
        in_dims: InDims = None,
        **kwargs: Any,
    ) -> Any:
        """The primary network's output with the given parameters, for all gammas at once (``torch.func.vmap``).

        In training, layers with running statistics normalize by the batch of each gamma by itself. A call for n gammas
        counts as one step of these statistics: each moves to the mean of what it would become for one of them alone.
        In evaluation all gammas share them; ``evonas.recalibrate(model.materialize(gamma), batches)`` gives a gamma
        its own. Other modules that write to buffers cannot be called for several gammas, and torch says so; what vmap
        cannot run, such as ``nn.LSTM``, can be called for one gamma after the other.

        Args:
            theta: from ``predict``, for one gamma or several.
            inputs: given to the network.
            in_dims: of ``inputs``, as for ``torch.func.vmap``: None for what all gammas share, 0 for tensors with a
                leading n, one entry for each gamma; a tuple tells it for each input.
            kwargs: given to the network, shared by all gammas.

        Returns:
            What the network returns; for several gammas, its tensors have a leading n.

        Raises:
            InputError: theta has other names, or an input has no entry for each gamma.
        """
        if differing := sorted(theta.keys() ^ self.heads.shapes.keys()):
            found = f"{differing[0]!r} is {'not predicted' if differing[0] in theta else 'missing'}"
            raise InputError("theta", found, accepted="the tensors that predict gives")
        return call_with(
            self.primary, theta, self._count(theta), inputs, kwargs, in_dims=in_dims, randomness=self.randomness
        )

    @torch.no_grad()
    def materialize(self, gamma: Gamma) -> nn.Module:
        """A plain network with the parameters theta(gamma), which shares nothing with this one.

        Raises:
            InputError: several gammas, or as for ``predict``.
        """
        theta = self.predict(gamma)
        if (count := self._count(theta)) is not None:
            raise InputError(ONLY, f"{count} of them", accepted="one", remedy="call it once for each gamma")
        model = copy.deepcopy(self.primary)
        for name, value in theta.items():
            model.get_parameter(name).copy_(value)
        return model

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"{self.parametrization}, inputs={dict(self.inputs.sizes)}"

    def _encoded(self, unit: Tensor) -> Tensor:
        return cos_sin(unit) if self._form.encoded else unit

    @torch.no_grad()
    def _hidden_rms(self, seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        unit = torch.rand((CALIBRATION, self.inputs.size), generator=generator)
        return float(self.body(self._encoded(unit)).square().sum(-1).mean().sqrt())

    def _count(self, theta: Mapping[str, Tensor]) -> int | None:
        """For how many gammas the tensors are; None for a single one."""
        counts = {len(t) if t.ndim > len(self.heads.shapes[name]) else None for name, t in theta.items()}
        if len(counts) > 1:
            found = "tensors for several gammas beside others"
            raise InputError("theta", found, accepted="what one call of predict gives")
        return next(iter(counts), None)
