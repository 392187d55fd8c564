"""What ``sparsify`` gives: what each layer drops, and the way back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from torch import nn
from torch.utils.hooks import RemovableHandle

from evonas.studies.sparsity.allocation import ErrorCurves, put
from evonas.studies.sparsity.layer import DropCounter, SparseLinear
from evonas.studies.sparsity.selection import Prefill
from evonas.studies.sparsity.sites import LinearSite


@dataclass(frozen=True, slots=True)
class LayerSparsity:
    """One layer: the sparsity it was to have, and the one it had.

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
class SparsifySettings:
    """How a model was made sparse; with the achieved sparsities, what is to be told with any figure."""

    method: str
    sparsity: float
    selection: str
    allocation: str
    transform: bool
    prefill: Prefill


class SparsityReport:
    """A model that was made sparse in place; ``restore`` makes it what it was, to the last bit.

    Used as a context it restores when the context ends. While it lasts, parameters and their names are those of the
    dense model, but where a transform gave a layer a weight in another basis.

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
        *,
        hooks: Sequence[RemovableHandle] = (),
        partners: Mapping[str, str] | None = None,
        costs: ErrorCurves | None = None,
    ) -> None:
        self.model, self.settings, self.partners, self.costs = model, settings, dict(partners or {}), costs
        self._requested, self._placed, self._hooks = dict(requested), dict(placed), hooks
        self._by_rows = [layer for layer in placed.values() if layer.sparse and layer.weight.is_contiguous()]
        self._active = True
        try:
            for layer in self._by_rows:
                layer.to_columns()
            for site, layer in placed.items():
                put(model, site, layer)
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
    def achieved(self) -> float | None:
        """The mean of what the layers dropped, weighted by their weights; None where one has seen nothing."""
        return weighted_mean(self.layers, [layer.achieved for layer in self.layers])

    @property
    def decode(self) -> float | None:
        """The same of inputs with a single position."""
        return weighted_mean(self.layers, [layer.decode for layer in self.layers])

    def reset(self) -> None:
        """Count anew what is dropped."""
        for layer in self._placed.values():
            layer.tally = DropCounter()

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
