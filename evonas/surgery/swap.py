"""Exchanges layers by exchanging modules, so that a network keeps its class, its methods and its own ``forward``.

A norm and its activation are exchanged so where the norm is called once, and the activation only after norms that are
replaced too: the layer takes the norm's place, and ``nn.Identity`` the activation's. Where an activation also follows
something else, or is a function, the calls of the block that makes them are exchanged, and the block alone becomes an
``fx.GraphModule``. The copy is traced, and has to make the calls that it would make if all had been exchanged by calls.
"""

import copy
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import fx, nn

from evonas.errors import InputError
from evonas.layer.lower import NormActLayer
from evonas.surgery.sites import Exchange, NormActSite, by_calls, exchange_of
from evonas.surgery.tracing import ByMode, mode_free_graph


def by_modules(model: nn.Module, exchange: Exchange) -> nn.Module | None:
    """A copy of a model with an exchange made module by module; None where that would not compute the same.

    Args:
        model: the network that the exchange was made of.
        exchange: its layers become parts of the copy.
    """
    nodes = {node.name: node for node in exchange.graph.nodes}
    called = Counter(str(node.target) for node in nodes.values() if node.op == "call_module")
    if any(called[site.norm] > 1 for site in exchange.made):
        return None
    blocks = _blocks(exchange, nodes, called)
    if "" in blocks:
        return None
    swapped = copy.deepcopy(model)
    names = _names(swapped)
    for site, module in exchange.made.items():
        if not any(_within(site.norm, block) for block in blocks):
            if len(site.nodes) > 1:
                act = str(nodes[site.nodes[-1]].target)
                _put(swapped, names[act], nn.Identity().train(swapped.get_submodule(act).training))
            _put(swapped, names[site.norm], module)
    try:
        for block in blocks:
            _put(swapped, names[block], _block(swapped.get_submodule(block), block, exchange.made))
        probe = copy.deepcopy(swapped)
        graph = mode_free_graph(probe, leaves=[site.norm for site in exchange.made])
    except InputError:  # a block alone may be untraceable, and a model may hold modules where they are no parts of it
        return None
    skipped = [nodes[name] for site in exchange.made for name in site.nodes[1:]]
    first: dict[nn.Module, str] = {}  # a module made for several sites is traced by the name of the first
    named = {site.norm: first.setdefault(module, site.norm) for site, module in exchange.made.items()}
    same = _calls(graph, probe, (), named) == _calls(exchange.graph, exchange.model, skipped, named)
    # tracing calls modules by name, and does not show a layer in the place of a norm that was to stay
    placed = {name for name, part in swapped.named_modules(remove_duplicate=False) if part in first}
    theirs = {name for site in exchange.made for name in names[site.norm]}
    return swapped if same and placed <= theirs else None


def _blocks(exchange: Exchange, nodes: Mapping[str, fx.Node], called: Counter[str]) -> list[str]:
    """The outermost of the modules whose calls have to be exchanged; the model itself is ''."""
    follows = Counter(str(nodes[site.nodes[-1]].target) for site in exchange.made if len(site.nodes) > 1)
    found = set()
    for site, module in exchange.made.items():
        last = nodes[site.nodes[-1]]
        target = str(last.target)
        shared = len(site.nodes) > 1 and (last.op != "call_module" or called[target] > follows[target])
        if shared or _may_be_written(last, module):
            callers = [_caller(nodes[name]) for name in site.nodes]
            found.add(callers[0] if len(set(callers)) == 1 else "")
    return [block for block in found if not any(_within(block, other) for other in found - {block})]


def _caller(node: fx.Node) -> str:
    """The module in whose ``forward`` a call is."""
    stack = [name for name, _ in node.meta.get("nn_module_stack", {}).values()]
    return "".join(stack[:-1][-1:] if node.op == "call_module" else stack[-1:])


def _within(name: str, block: str) -> bool:
    return not block or name == block or name.startswith(f"{block}.")


def _may_be_written(output: fx.Node, module: nn.Module) -> bool:
    """Whether ``x += y`` may write over what a layer gave and may still need.

    Tracing does not tell it from ``x + y``. What ``lower`` makes ends in an affine that does not need its result.
    """
    arithmetic = any(getattr(user.target, "__module__", "") == "_operator" for user in output.users)
    return arithmetic and not isinstance(module, NormActLayer)


def _names(model: nn.Module) -> dict[str, list[str]]:
    """All names of each module, by the first of them, which tracing calls it by."""
    first: dict[nn.Module, str] = {}
    names: dict[str, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(first.setdefault(module, name), []).append(name)
    return names


def _put(model: nn.Module, names: Sequence[str], module: nn.Module) -> None:
    for name in names:
        model.set_submodule(name, module)


def _block(block: nn.Module, name: str, made: Mapping[NormActSite, nn.Module]) -> nn.Module:
    """A copy of a block with the modules that are made for its sites, exchanged call by call."""
    inside = {site.norm.removeprefix(f"{name}."): made[site] for site in made if _within(site.norm, name)}
    return by_calls(exchange_of(block, lambda site: inside.get(site.norm), None))


def _calls(
    graph: fx.Graph, model: nn.Module, skipped: Collection[fx.Node], named: Mapping[str, str]
) -> Sequence[tuple[Any, ...]]:
    """What a graph does, node by node, whatever its nodes are called; ``nn.Identity`` and the skipped do nothing.

    ``named`` holds other names of targets.
    """
    modules = dict(model.named_modules())
    values: dict[fx.Node, str] = {}  # how the result of each node is referred to
    calls: list[tuple[Any, ...]] = []
    for node in graph.nodes:
        part = modules.get(str(node.target)) if node.op == "call_module" else None
        if node in skipped or isinstance(part, nn.Identity):
            values[node] = values[node.all_input_nodes[0]]
            continue
        target = named.get(str(node.target), node.target)
        if isinstance(part, ByMode):  # its name has no meaning
            target = (part.in_training, part.in_evaluation)
        arguments = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
        values[node] = f"%{len(calls)}"
        calls.append((node.op, target, repr(arguments)))
    return calls


def lost_methods(model: nn.Module) -> list[str]:
    """The public methods of a model's class that an ``fx.GraphModule`` of it lacks."""
    kind, kept = type(model), {*dir(fx.GraphModule), "forward"}
    return [name for name in dir(kind) if name[0] != "_" and name not in kept and callable(getattr(kind, name, None))]
