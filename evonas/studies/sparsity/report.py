"""The report that ``sparsify`` returns: what each layer drops, how to save that, and how to undo it."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import nn
from torch.utils.hooks import RemovableHandle

from evonas.report.table import grouped
from evonas.studies.sparsity.allocation import ErrorCurves, put
from evonas.studies.sparsity.build import Builder
from evonas.studies.sparsity.layer import DropCounter, SparseLinear
from evonas.studies.sparsity.sites import LinearSite
from evonas.studies.sparsity.writing import SparsifySettings, SparsityWarning, write_sparse


@dataclass(frozen=True, slots=True)
class LayerSparsity:
    """One layer: the sparsity that was requested, and the one that was achieved.

    Attributes:
        name: qualified name.
        kind: its last part.
        inputs: the number n of input features.
        outputs: the number m of output features.
        requested: share of inputs to drop, as allocated.
        achieved: share dropped at all positions so far, dense ones of the prefill among them; None before any.
        decode: the same of inputs with a single position.
        kernel: ``sparse`` reads the kept columns alone at batch 1; ``masked`` multiplies with zeros; ``dense`` was left
            as it is.
        rank: of what stands in for the dropped inputs; 0 without.
    """

    name: str
    kind: str
    inputs: int
    outputs: int
    requested: float
    achieved: float | None
    decode: float | None
    kernel: str
    rank: int = 0

    @property
    def weights(self) -> int:
        """The number n m of its weights."""
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class Split:
    """The share of each layer, by name, and the scores up to which they drop inputs; None where they keep the best."""

    shares: Mapping[str, float]
    thresholds: Mapping[str, float] | None


class SparsityReport:
    """A model that was made sparse in place; ``restore`` makes it what it was, to the last bit.

    Used as a context it restores when the context ends. While it lasts, parameters and their names are those of the
    dense model, but where a transform gave a layer a weight in another basis. A state dict of the model, and so what
    ``save_pretrained`` writes, holds the weights of the dense model in any case, and a ``SparsityWarning`` says so:
    ``save`` keeps how the model was made sparse, and ``evonas.sparsity.load`` makes the dense model sparse again.

    Attributes:
        model: the model.
        settings: how it was made sparse.
        partners: by name of a layer, one whose outputs are dropped with this one's inputs, as CATS does; the product
            itself is computed in full.
        costs: what an allocation went by, fit for another call with the same settings; None without.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: SparsifySettings,
        requested: Mapping[LinearSite, float],
        placed: Mapping[LinearSite, SparseLinear],
        build: Builder,
        *,
        hooks: Sequence[RemovableHandle] = (),
        partners: Mapping[str, str] | None = None,
        costs: ErrorCurves | None = None,
    ) -> None:
        self.model, self.settings, self.partners, self.costs = model, settings, dict(partners or {}), costs
        self._requested, self._placed, self._hooks = dict(requested), dict(placed), tuple(hooks)
        self._build = build
        self._by_rows = [layer for layer in placed.values() if layer.sparse and layer.weight.is_contiguous()]
        self._active = True
        try:
            for layer in self._by_rows:
                layer.to_columns()
            for site, layer in placed.items():
                put(model, site, layer)
            self._hooks = (
                *self._hooks,
                model.register_state_dict_pre_hook(_warn_of_dense_weights),
                model.register_state_dict_post_hook(DenseWeights(placed)),
            )
        except BaseException:  # out of memory, or an interrupt
            self.restore()
            raise

    def __repr__(self) -> str:
        sparse = sum(layer.kernel != "dense" for layer in self.layers)
        asked = f"{self.settings.method} at {self.settings.sparsity:.0%}"
        dropped = "no inputs seen yet" if self.achieved is None else f"{self.achieved:.1%} of inputs dropped"
        state = "" if self._active else ", restored"
        return f"SparsityReport({asked}, {sparse} of {len(self._requested)} layers sparse, {dropped}{state})"

    @property
    def layers(self) -> tuple[LayerSparsity, ...]:
        """All layers that the patterns name, in the model's order."""
        return tuple(_of(site, share, self._placed.get(site)) for site, share in self._requested.items())

    @property
    def split(self) -> Split:
        """What each layer drops, fit for ``sparsify`` again."""
        shares = {site.name: share for site, share in self._requested.items()}
        found = {site.name: self._build.threshold(site, share) for site, share in self._requested.items() if share}
        thresholds = {name: score for name, score in found.items() if score is not None}
        return Split(shares, thresholds if self.settings.selection == "threshold" else None)

    @property
    def achieved(self) -> float | None:
        """The mean of what the layers dropped, weighted by their weights; None where one has seen nothing."""
        return weighted_mean(self.layers, [layer.achieved for layer in self.layers])

    @property
    def decode(self) -> float | None:
        """The achieved mean over inputs with a single position, as in decoding."""
        return weighted_mean(self.layers, [layer.decode for layer in self.layers])

    def reset(self) -> None:
        """Set the counts of dropped inputs to 0."""
        for layer in self._placed.values():
            layer.tally = DropCounter()

    def save(
        self,
        place: str | Path,
        *,
        base: str | Path = "",
        include_model: bool = False,
        tokenizer: Any = None,
    ) -> None:
        """Write how the model was made sparse; ``evonas.sparsity.load`` reads it. All of it is there, or nothing.

        A folder holds all that a model of transformers needs to be sparse again. A file whose name ends with ``.json``
        holds the settings alone, to make another model with the same layers sparse by.

        Args:
            place: the folder, or a ``.json`` file. An older folder of this kind is replaced.
            base: where the dense model is: an id of the hub, a folder or a GGUF file. By default what the model of
                transformers says of itself.
            include_model: also write the dense model, into ``model/`` of the folder, instead of saying where it is.
            tokenizer: of transformers; is written beside an included model.

        Raises:
            InputError: a folder that holds something else, or a model to be included that transformers cannot write.
        """
        write_sparse(
            Path(place),
            self.model,
            self.settings,
            self._requested,
            self._build,
            base=str(base),
            include_model=include_model,
            tokenizer=tokenizer,
        )

    def restore(self) -> None:
        """Put the old layers back; a second call does nothing."""
        if not self._active:
            return
        self._active = False
        for hook in self._hooks:
            hook.remove()
        for layer in self._by_rows:
            layer.to_rows()
        for site in self._placed:
            put(self.model, site, site.module)

    def __str__(self) -> str:
        kinds = grouped(self.layers, lambda layer: (layer.kind, layer.inputs, layer.outputs, layer.kernel))
        lines = [
            f"  {kind:{max(len(name) for name, *_ in kinds)}}  {len(own)} of {inputs} x {outputs}, "
            f"{_percent(weighted_mean(own, [layer.requested for layer in own]))} to drop, "
            f"{_percent(weighted_mean(own, [layer.achieved for layer in own]))} dropped so far, {kernel}"
            for (kind, inputs, outputs, kernel), own in kinds.items()
        ]
        return "\n".join([self._summary(), *lines])

    def _summary(self) -> str:
        settings = self.settings
        basis = ", transformed" if settings.transform else ""
        state = f"{_percent(self.achieved)} dropped so far" if self._active else "restored"
        return (
            f"{settings.method} on a {type(self.model).__name__}, {_percent(settings.sparsity)} of the inputs of "
            f"{len(self._requested)} layers to drop ({settings.selection}, {settings.allocation}{basis}), {state}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()


def weighted_mean(layers: Sequence[LayerSparsity], shares: Sequence[float | None]) -> float | None:
    """The mean of shares, weighted by the layers' weights; None where one is missing."""
    known = [share for share in shares if share is not None]
    if len(known) < len(shares):
        return None
    total = sum(layer.weights for layer in layers)
    return sum(layer.weights * share for layer, share in zip(layers, known, strict=True)) / total


class DenseWeights:
    """Puts the weights of the dense model into a state dict, where a transform gave a layer others.

    A class, so that models with it can be copied and pickled.
    """

    def __init__(self, placed: Mapping[LinearSite, SparseLinear]) -> None:
        self._weights = {
            f"{name}.weight": site.weight
            for site, layer in placed.items()
            if layer.weight is not site.weight
            for name in site.names
        }

    def __call__(self, _model: nn.Module, state: dict[str, Any], prefix: str, _metadata: object) -> None:
        """See ``nn.Module.register_state_dict_post_hook``."""
        for name, weight in self._weights.items():
            if prefix + name in state:
                state[prefix + name] = weight.detach()


def _warn_of_dense_weights(_model: nn.Module, _prefix: str, _keep: bool) -> None:
    said = (
        "this state dict holds the weights of the dense model alone. Keep its sparsity with report.save(FILE); after "
        "loading the weights, evonas.sparsity.load(model, FILE) makes the model sparse again."
    )
    warnings.warn(said, SparsityWarning, stacklevel=4)


def _percent(share: float | None) -> str:
    return "nothing" if share is None else f"{100 * share:.1f} %"


def _of(site: LinearSite, requested: float, layer: SparseLinear | None) -> LayerSparsity:
    achieved: float | None = 0.0
    decode: float | None = 0.0
    kernel, rank = "dense", 0
    if layer is not None:
        tally = layer.tally
        achieved = float(tally.dropped) / tally.seen if tally.seen else None
        decode = float(tally.decode_dropped) / tally.decode_seen if tally.decode_seen else None
        kernel = "sparse" if layer.sparse else "masked"
        rank = layer.low_rank.rank if layer.low_rank is not None else 0
    return LayerSparsity(site.name, site.kind, site.inputs, site.outputs, requested, achieved, decode, kernel, rank)
