"""What lowered layers are compared with.

``interpret`` evaluates a genome in numpy, float64, on full [b, c, h, w] arrays, straight from the primitives'
references: no shared torch code, no reduced shapes, no common subexpressions, no peepholes.
"""

import numpy as np

from evonas.graph.genome import Genome
from evonas.graph.primitive import INITIAL_NODES, constant, reference
from evonas.graph.references import Array


def interpret(genome: Genome, x: Array, parameters: dict[str, Array], *, groups: int, eps: float = 1e-5) -> Array:
    """The output of a genome's layer in training; ``parameters`` v0, v1, weight and bias are [c]."""
    full = {name: np.broadcast_to(value[None, :, None, None], x.shape) for name, value in parameters.items()}
    initial = {"x": x, "zero": np.zeros_like(x), **full}
    values: dict[int, Array] = {}
    with np.errstate(all="ignore"):
        for position in genome.active_positions:
            node = genome.nodes[position]
            operands = [values[i] for i in node.inputs]
            if node.op in INITIAL_NODES:
                values[position] = initial[node.op]
            elif (number := constant(node.op)) is not None:
                values[position] = np.full_like(x, number)
            else:
                values[position] = reference(node.op, operands, node.axes, groups, eps)
        return values[len(genome.nodes) - 1] * full["weight"] + full["bias"]


def random_parameters(channels: int, seed: int) -> dict[str, Array]:
    """Values that no two channels and no two parameters share."""
    draw = np.random.default_rng(seed)
    start = {"v0": 0.0, "v1": 1.0, "weight": 1.0, "bias": 0.0}
    return {name: value + 0.3 * draw.standard_normal(channels) for name, value in start.items()}
