"""A lowered layer whose affine is given from outside, sample by sample."""

import torch
from torch import Tensor, nn

from evonas.graph.genome import Genome
from evonas.layer.lower import Recipe, argument_names, body_of
from evonas.layer.plan import fit_groups, plan_of

TRAILING = {"weight": "gain", "bias": "bias"}
OF_NORM = {"v1": "gain", "v0": "bias"}


class ConditionalLayer(nn.Module):
    """A lowered layer that is called with the gain and the bias of every sample.

    They take the place of the layer's affine: body(x) * gain + bias. Where the layer has the affine of a normalization
    in front of its activation (``affine_of_norm``), they take the place of that one, and no other affine follows: with
    ``bn-relu`` the result is max(norm(x) * gain + bias, 0), the conditional batch normalization of BigGAN. All other
    parameters of the layer stay as they are, one value per channel.

    Attributes:
        genome: what was lowered.
        given: the name of the argument that each of the given parameters takes its values from.
        v0: per-channel parameter of the genome, initially 0; None where the layer does not use it, or it is given.
        v1: per-channel parameter of the genome, initially 1; None where the layer does not use it, or it is given.
        body: the fx graph of everything.

    Shapes: x [b, c, h, w], gain and bias [b, c] -> [b, c, h, w].
    """

    v0: nn.Parameter | None
    v1: nn.Parameter | None

    def __init__(
        self,
        recipe: Recipe,
        num_features: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.genome, self.num_features = recipe.genome, num_features
        self.groups = fit_groups(recipe.groups, num_features)
        own = affine_of_norm(recipe.genome)
        self.given = OF_NORM if own else TRAILING
        plan = plan_of(recipe.genome, "bchw", affine=not own)
        self.body = body_of(plan, recipe, num_features, device, dtype)
        self.argument_names = argument_names(self.body)
        for name, value in (("v0", 0.0), ("v1", 1.0)):
            used = name in self.argument_names and name not in self.given
            made = nn.Parameter(torch.full((num_features,), value, device=device, dtype=dtype)) if used else None
            self.register_parameter(name, made)

    def forward(self, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """Apply the layer with the affine of each sample."""
        arguments = {"gain": gain, "bias": bias}
        values = (arguments[self.given[n]] if n in self.given else getattr(self, n) for n in self.argument_names)
        output: Tensor = self.body(x, *values)
        return output

    def extra_repr(self) -> str:
        """What ``print(layer)`` shows."""
        places = ", ".join(f"{name} = {source}" for name, source in self.given.items())
        return f"{self.num_features}, {self.genome.formula()}, {places}, groups={self.groups}"


def affine_of_norm(genome: Genome) -> bool:
    """Whether v1 and v0 are the affine of a normalization that an activation follows.

    That is a part z * v1 + v0 of the layer. There, z varies over the whole map and was computed with a moment; v1, v0
    and the product occur nowhere else; and no moment is taken of anything that is computed from this part. In bn-relu
    z is (x - mean) / std.
    """
    import networkx as nx  # takes long

    graph = genome.graph
    ops = dict(graph.nodes(data="op"))
    places = {op: place for place, op in ops.items() if op in ("v0", "v1")}
    if len(places) < 2:
        return False
    (product, *others), (total, *more) = (list(graph.out_edges(places[name])) for name in ("v1", "v0"))
    scaled, shifted = product[1], total[1]
    if others or more or (ops[scaled], ops[shifted]) != ("mul", "add"):
        return False
    if list(graph.predecessors(shifted)).count(scaled) != 1 or graph.out_degree(scaled) != 1:
        return False
    normalized = nx.ancestors(graph, scaled)
    after = nx.descendants(graph, shifted)

    def moments(among: set[int]) -> bool:
        return any(graph.nodes[place]["axes"] for place in among)

    return moments(normalized) and not moments(after) and genome.active().varies[scaled] == frozenset("bchw")
