"""From which sparsity on a sparse product is the faster one, by size of layer: measured, once for a machine."""

import hashlib
import json
import math
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.files import write_text
from evonas.limits import LARGEST_RECORD
from evonas.reading import parse_json, read_given
from evonas.studies.sparsity.int8 import Int8Linear
from evonas.studies.sparsity.kernels import Int8Columns
from evonas.studies.sparsity.layer import SparseLinear
from evonas.studies.sparsity.scores import Magnitude
from evonas.studies.sparsity.selection import Selector
from evonas.studies.sparsity.sites import site_at
from evonas.training.timing import relative_time
from evonas.training.topk import kept_count

_TIMED_SPARSITIES = (0.0, 0.25, 0.5, 0.65, 0.8, 0.9)
COLD = (
    64 * 2**20
)  # bytes of weights that take turns, so that they come from memory, as in a model, and not from a cache
COPIES = 200  # of one layer at most
GAIN = 0.95  # a sparse product must take less than this of the dense one's time

LayerSize = tuple[int, int]  # inputs, outputs


@dataclass(frozen=True, slots=True)
class SpeedTable:
    """Time of a sparse layer over that of the dense one, at batch 1, by shape and sparsity, selection included.

    Attributes:
        machine: what it was measured on.
        ratios: by (inputs, outputs), one ratio for each of ``LEVELS``.
    """

    machine: dict[str, str]
    ratios: dict[LayerSize, tuple[float, ...]]

    def pays(self, inputs: int, outputs: int, sparsity: float) -> bool:
        """Whether the sparse product is faster; a shape that was not measured stays dense."""
        ratios = self.ratios.get((inputs, outputs))
        return ratios is not None and float(np.interp(sparsity, _TIMED_SPARSITIES, ratios)) < GAIN


def measure_speeds(
    shapes: Iterable[LayerSize],
    *,
    folder: Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    cold: int = COLD,
    int8: bool = False,
) -> SpeedTable:
    """Measure the shapes; some seconds each.

    Args:
        shapes: (inputs, outputs) of layers, as ``{(s.inputs, s.outputs) for s in linear_sites(model)}``.
        folder: where tables are kept, one file for each machine, device, type and number of threads; shapes that are
            there are not measured again. None keeps none.
        device: where.
        dtype: of weights and inputs.
        cold: bytes of weights that take turns.
        int8: of dense and of sparse layers whose weights are rounded to 8 bits.

    Raises:
        InputError: a kept table that cannot be read.
    """
    device = torch.device(device)
    machine = machine_facts(device, dtype)
    machine |= {"dtype": "int8"} if int8 else {}
    path = folder and folder / f"sparse-{hashlib.sha256(repr(sorted(machine.items())).encode()).hexdigest()[:12]}.json"
    ratios = _read(path) if path and path.exists() else {}
    wanted = dict.fromkeys(shapes)
    missing = [shape for shape in wanted if shape not in ratios]
    for shape in missing:
        ratios[shape] = _measure(shape, device, dtype, cold, int8)
    if path and missing:
        rows = [{"inputs": shape[0], "outputs": shape[1], "ratios": values} for shape, values in ratios.items()]
        write_text(path, json.dumps({"machine": machine, "levels": _TIMED_SPARSITIES, "rows": rows}, indent=1) + "\n")
    return SpeedTable(machine, ratios)


def _measure(shape: LayerSize, device: torch.device, dtype: torch.dtype, cold: int, int8: bool) -> tuple[float, ...]:
    inputs, outputs = shape
    size = 1 if int8 else dtype.itemsize
    count = max(1, min(COPIES, math.ceil(cold / (inputs * outputs * size))))
    dense: list[nn.Module] = [
        nn.utils.skip_init(nn.Linear, inputs, outputs, bias=False, device=device, dtype=dtype) for _ in range(count)
    ]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(inputs, generator=generator).to(device, dtype)
    with torch.no_grad():
        columns = [
            nn.utils.skip_init(nn.Linear, inputs, outputs, bias=False, device=device, dtype=dtype) for _ in dense
        ]
        for layer in (*dense, *columns):
            layer.get_parameter("weight").fill_(1 / inputs)
    sparse = [SparseLinear(site_at("", layer), Selector(Magnitude()), sparse=True) for layer in columns]
    for layer in sparse:
        layer.to_columns()
    if int8:
        for number, layer in enumerate(sparse):
            dense[number], layer.int8 = Int8Linear(site_at("", dense[number])), Int8Columns(layer.matrix.t())

    def run(layers: list[nn.Module], x: Tensor) -> None:
        with torch.no_grad():
            for layer in layers:
                layer(x)

    ratios = []
    for level in _TIMED_SPARSITIES:
        for layer in sparse:
            layer.selector = Selector(Magnitude(), keep=kept_count(inputs, level))
        ratios.append(relative_time(lambda: run([*sparse], x), lambda: run(dense, x), device, wall=True))
    return tuple(ratios)


def machine_facts(device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    """What speeds depend on apart from the model: hardware, threads, type of numbers, version of torch."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "processor": platform.processor() or platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "device": gpu or device.type,
        "dtype": str(dtype).removeprefix("torch."),
        "torch": torch.__version__,
    }


def _read(path: Path) -> dict[LayerSize, tuple[float, ...]]:
    try:
        table = parse_json(read_given(path, largest=LARGEST_RECORD), str(path))
        if tuple(table["levels"]) != _TIMED_SPARSITIES:
            return {}  # of an older version
        return {(row["inputs"], row["outputs"]): tuple(map(float, row["ratios"])) for row in table["rows"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(str(path), "is not a table of sizes", remedy="delete it, and it is measured again") from error
