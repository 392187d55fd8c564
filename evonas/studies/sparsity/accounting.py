"""What one decoded token costs: multiply-accumulates and bytes, from the shapes of the weights that are there.

Counted are all linear layers (the head and every layer that stays dense among them), rotations, low-rank terms, and
attention over a context. Not counted: embedding look-ups, normalizations, activations, biases, the selection itself.
Papers call these multiply-accumulates FLOPs; one is two floating-point operations.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from evonas.errors import InputError
from evonas.studies.sparsity.int8 import Int8Linear
from evonas.studies.sparsity.layer import SparseLinear
from evonas.studies.sparsity.report import SparsityReport
from evonas.studies.sparsity.sites import is_linear, site_at

ATTENTION, ROTATION, LOW_RANK = "attention", "rotation", "low rank"


@dataclass(frozen=True, slots=True)
class LayerCost:
    """The costs of one layer, or of all layers of a kind, when dense and as it is now.

    Attributes:
        name: of the layer, or of the kind.
        kind: the last part of a layer's name; ``attention``, ``rotation`` or ``low rank``.
        dense_macs: multiply-accumulates of the dense model.
        macs: those that are left.
        dense_bytes: weights, or keys and values, that the dense model reads.
        bytes: those that are left.
    """

    name: str
    kind: str
    dense_macs: float
    macs: float
    dense_bytes: float
    bytes: float

    def __add__(self, other: "LayerCost") -> "LayerCost":
        return LayerCost(
            self.name,
            self.kind,
            self.dense_macs + other.dense_macs,
            self.macs + other.macs,
            self.dense_bytes + other.dense_bytes,
            self.bytes + other.bytes,
        )

    @property
    def sparsity(self) -> float | None:
        """The share of multiply-accumulates that is saved; None for what the dense model does not have."""
        return 1 - self.macs / self.dense_macs if self.dense_macs else None

    @property
    def bound(self) -> float:
        """How many times as fast decoding can be if reading memory is all that takes time."""
        return self.dense_bytes / self.bytes


def decode_costs(
    model: nn.Module, report: SparsityReport | None = None, *, context: int = 0, as_run: bool = False
) -> tuple[LayerCost, ...]:
    """Costs of one token, layer by layer.

    Of a sparse layer the share counts that it dropped while decoding; before that, what it dropped elsewhere, or what
    it is to drop.

    Args:
        model: the model, sparse or not.
        report: its report, for layers that drop outputs.
        context: positions attended to. A sliding window is not known of here.
        as_run: count only what the kernels in place save. Without it every sparse layer counts as if it had one, which
            is what papers report.

    Raises:
        InputError: a context for a model whose configuration does not tell its attention's shape, or a layer whose
            sparsity is not known yet.
    """
    costs: list[LayerCost] = []
    rotations: dict[nn.Module, str] = {}
    by_rows = _dropped_outputs(model, report) if report is not None and not as_run else {}
    for name, module in model.named_modules(remove_duplicate=False):
        kind = name.rpartition(".")[2]
        if isinstance(module, SparseLinear):
            share = _share(name, module) if module.sparse or not as_run else 0.0
            size = module.weight.itemsize
            costs.append(
                _weights(name, kind, module.inputs * module.outputs, share, size if module.int8 is None else 1)
            )
            if module.rotation is not None:
                rotations.setdefault(module.rotation, f"{name}.rotation")
            if module.low_rank is not None:
                extra = module.low_rank.rank * (module.inputs + module.outputs)
                costs.append(LayerCost(f"{name}.low_rank", LOW_RANK, 0, extra, 0, extra * size))
        elif isinstance(module, Int8Linear):
            costs.append(_weights(name, kind, module.weight.numel(), by_rows.get(name, 0.0), 1))
        elif is_linear(module):
            site = site_at(name, module)
            share = by_rows.get(name, 0.0)
            costs.append(_weights(name, kind, site.inputs * site.outputs, share, site.weight.itemsize))
    for rotation, name in rotations.items():
        matrix = rotation.get_buffer("matrix")
        costs.append(LayerCost(name, ROTATION, 0, matrix.numel(), 0, matrix.numel() * matrix.itemsize))
    if context:
        costs.append(_attention(model, context))
    return tuple(costs)


def total(costs: Iterable[LayerCost]) -> LayerCost:
    """The sum of all costs."""
    return sum(costs, LayerCost("total", "total", 0, 0, 0, 0))


def _weights(name: str, kind: str, count: int, share: float, size: int) -> LayerCost:
    return LayerCost(name, kind, count, (1 - share) * count, size * count, (1 - share) * size * count)


def _share(name: str, layer: SparseLinear) -> float:
    share = layer.dropped_share
    if share is None:
        raise InputError(name, "its threshold has not met an input yet", remedy="run the model first")
    return share


def _dropped_outputs(model: nn.Module, report: SparsityReport) -> dict[str, float]:
    """By name of a layer, the share of its outputs that the next one drops."""
    layers = {name: model.get_submodule(name) for name in report.partners}
    return {
        report.partners[name]: _share(name, down) for name, down in layers.items() if isinstance(down, SparseLinear)
    }


def _attention(model: nn.Module, context: int) -> LayerCost:
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    layers, heads, width = (
        getattr(config, key, None) for key in ("num_hidden_layers", "num_attention_heads", "hidden_size")
    )
    if not (layers and heads and width):
        found = f"{context}, and {type(model).__name__} has no configuration that tells its attention's shape"
        raise InputError("context", found, accepted="0")
    size = getattr(config, "head_dim", None) or width // heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    macs = 2 * layers * heads * size * context
    read = 2 * layers * shared * size * context * next(model.parameters()).itemsize
    return LayerCost(ATTENTION, ATTENTION, macs, macs, read, read)
