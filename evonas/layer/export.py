"""Write a genome as a stand-alone Python file that needs torch alone.

Functions are copied as they are written, from evonas and from users' modules, and calls come from the plan that
``lower`` follows, so that exported code cannot drift from lowered layers.
"""

import importlib.metadata
import keyword
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evonas.errors import InputError, shown
from evonas.files import write_named
from evonas.graph.catalogue import genome_of
from evonas.graph.genome import Genome
from evonas.graph.primitive import INDEX_SETS
from evonas.layer.copied import Copied, copied, torch_name
from evonas.layer.ops import BatchMoment
from evonas.layer.plan import (
    BatchCall,
    Call,
    Expression,
    Parameter,
    Plan,
    Setting,
    Step,
    Variable,
    affine_alone,
    fit_groups,
    layout_of,
    plan_of,
)

LINE = 120


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the inputs of a layout are called in exported files."""

    features: str
    shape: str
    example: str


_SHAPES = {
    "bchw": _Shape("channels", "x [b, c, h, w]", "8, 64, 32, 32"),
    "btd": _Shape("features", "tokens [..., t, d]", "8, 128, 64"),
}
_TIMMS = "timm.layers.create_norm_act"  # where timm knows its layers that normalize and activate
_PARAMETER = "nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))"
_INFIX = {
    torch.add: "{} + {}",
    torch.mul: "{} * {}",
    torch.div: "{} / {}",
    torch.neg: "-{}",
}


def export(
    genome: Genome | str,
    path: str | Path,
    *,
    name: str = "",
    layout: str | None = None,
    groups: int = 32,
    eps: float = 1e-5,
    momentum: float = 0.1,
    provenance: str = "",
) -> Path:
    """Write ``source_of(genome, ...)`` to ``path``, whole or not at all; missing parent folders are made.

    Raises:
        InputError: the path does not end in ``.py``, is a folder or cannot be written; as ``source_of``.
    """
    path = Path(path)
    if path.suffix != ".py":
        raise InputError(str(path), f"ends in {path.suffix!r}", accepted="a path that ends in .py")
    text = source_of(genome, name=name, layout=layout, groups=groups, eps=eps, momentum=momentum, provenance=provenance)
    write_named(path, text)
    return path


def source_of(
    genome: Genome | str,
    *,
    name: str = "",
    layout: str | None = None,
    groups: int = 32,
    eps: float = 1e-5,
    momentum: float = 0.1,
    provenance: str = "",
) -> str:
    """The text of a module with one class that computes what ``lower(genome, ...)`` does.

    The class takes ``(num_features, *, groups, eps, momentum, act, device, dtype)`` and what timm gives its layers that
    normalize and activate. Its state dict is that of the lowered layer with ``body.`` removed from the keys of running
    values.

    Args:
        genome: the layer, or its catalogue name, formula or text form.
        name: becomes the class's, ``evonorm-s0`` -> ``EvonormS0``; empty: ``Layer_`` and the content key.
        layout: axes of the input, as for ``lower``.
        groups: default of the class's ``groups``.
        eps: default of the class's ``eps``.
        momentum: default of the class's ``momentum``.
        provenance: where the layer comes from, for the file's docstring: a run, a rank, measured objectives.

    Raises:
        InputError: no such layer, ``groups`` below 1, a layout that ``lower`` refuses, or a function of a user's
            primitive that needs more than torch.
    """
    if int(groups) < 1:
        raise InputError("groups", str(groups), accepted="1 or more")
    for setting, value in (("eps", eps), ("momentum", momentum)):
        if not math.isfinite(value):
            raise InputError(setting, str(value), accepted="a finite number")
    genome = genome_of(genome)
    layout = layout_of(genome, layout)
    plan, bare = plan_of(genome, layout), affine_alone(layout)
    helpers = _copied(plan)
    class_name = _class_name(name, genome, helpers.names)
    parts = [
        _file_docstring(genome, class_name, name, layout, provenance) + "\n\n" + _header(helpers, layout),
        *helpers.sources.values(),
        "\n".join(
            [
                f"class {class_name}(nn.Module):",
                *_indented(1, _class_docstring(plan, layout)),
                "",
                *_indented(1, _init(plan, int(groups), float(eps), float(momentum))),
                "",
                *_indented(1, _reset(plan)),
                "",
                *_indented(1, _forward(plan, bare)),
            ]
        ),
    ]
    if layout == "bchw":
        known = f'getattr(sys.modules.get("{_TIMMS}"), "_NORM_ACT_TYPES", set())'
        parts.append(f"# timm, where it has been imported, takes the class as a norm_layer\n{known}.add({class_name})")
    return "\n\n\n".join(parts) + "\n"


def class_name_of(genome: Genome | str, name: str = "", layout: str | None = None) -> str:
    """What ``source_of`` calls the class of a layer.

    Raises:
        InputError: as ``source_of``.
    """
    genome = genome_of(genome)
    return _class_name(name, genome, _copied(plan_of(genome, layout_of(genome, layout))).names)


def _header(helpers: Copied, layout: str) -> str:
    """Imports, and numbers of users' modules."""
    lines = sorted(helpers.imports.values())
    standard = (["import sys"] if layout == "bchw" else []) + [line for line in lines if "torch" not in line]
    others = ["import torch", *(line for line in lines if "torch" in line), "from torch import Tensor, nn"]
    return "\n\n".join("\n".join(block) for block in (standard, others, helpers.numbers.values()) if block)


def _class_name(name: str, genome: Genome, others: set[str]) -> str:
    camel = "".join(word[0].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", name))
    if not camel:
        return f"Layer_{genome.key[:8]}"
    taken = camel in (*others, BatchMoment.__name__) or keyword.iskeyword(camel)
    return f"Layer{camel}" if taken or camel[0].isdigit() else camel


def _file_docstring(genome: Genome, class_name: str, name: str, layout: str, provenance: str) -> str:
    used = dict.fromkeys(node.axes for node in genome.active().nodes if node.axes)
    name, provenance = shown(name), shown(provenance)  # the file is UTF-8, without characters that nobody sees
    title = f"{class_name}, a normalization-activation layer written by evonas {_version()}"
    blocks = [
        _wrap(f"{title}; it was named {name!r}." if name else f"{title}."),
        _wrap(f"y = {genome.formula()}, then y * weight + bias per channel.", "Formula:    ")
        + [line for axes in used for line in _wrap(f"{axes} is {INDEX_SETS[axes].meaning}.", " " * 12)]
        + _wrap_statements(genome.active().to_text(), "Text:       ")
        + _wrap(genome.key, "Key:        ")
        + (_wrap(provenance, "Provenance: ") if provenance else []),
        _wrap("The state of a layer lowered by evonas loads after key.removeprefix('body.') on every key."),
        ["Example:", f"    layer = {class_name}(64)", f"    y = layer(torch.randn({_SHAPES[layout].example}))"],
    ]
    if layout == "bchw":
        blocks.append(_for_builders())
    text = "\n\n".join("\n".join(block) for block in blocks)
    return '"""' + text.replace("\\", "\\\\").replace('"""', r"\"\"\"") + '\n"""'


def _for_builders() -> list[str]:
    """How builders of networks take the class."""
    return [
        *_wrap(
            "The class is a norm_layer for torchvision and for timm. Import timm before this file: networks that build "
            "normalization and activation in one, such as EfficientNet and RegNet, take only classes that are in a "
            "table of timm, and the last line of this file adds the class to it. Networks that build the two "
            "separately, such as ResNet, keep their own activation behind the layer; those of timm leave it out with "
            "act_layer=torch.nn.Identity."
        )
    ]


def _version() -> str:
    try:
        return importlib.metadata.version("evonas")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"  # a source tree on the path lowers and exports all the same


def _wrap(text: str, label: str = "") -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        LINE,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _wrap_statements(text: str, label: str) -> list[str]:
    """Wrap between statements only: what is printed reads back."""
    glue = "\N{NO-BREAK SPACE}"
    joined = "; ".join(statement.replace(" ", glue) for statement in text.split("; "))
    indent = " " * len(label)
    lines = textwrap.wrap(joined, LINE, initial_indent=label, subsequent_indent=indent, break_long_words=False)
    return [line.replace(glue, " ") for line in lines]


def _copied(plan: Plan) -> Copied:
    calls = [call for value in (*(step.value for step in plan.steps), plan.output) for call in _calls(value)]
    wanted: list[Callable[..., Any]] = [
        call.function for call in calls if isinstance(call, Call) and not isinstance(call.function, str)
    ]
    wanted += [fit_groups] if _uses_groups(plan) else []
    wanted += [BatchMoment] if any(isinstance(call, BatchCall) for call in calls) else []
    result, taken = copied(wanted), {plan.argument, "self", *(step.name for step in plan.steps)}
    if clash := sorted(taken & result.names):
        raise InputError("export", f"a function is called {clash[0]!r}, as a value of the layer", remedy="rename it")
    return result


def _calls(value: Expression) -> Iterator[Call | BatchCall]:
    if isinstance(value, Call | BatchCall):
        yield value
    if isinstance(value, Call):
        for argument in value.arguments:
            yield from _calls(argument)


def _uses_groups(plan: Plan) -> bool:
    calls = [call for step in plan.steps for call in _calls(step.value)]
    return any(isinstance(call, Call) and Setting.GROUPS in call.arguments for call in calls)


def _class_docstring(plan: Plan, layout: str) -> list[str]:
    groups, momentum = (
        "no effect: the layer has no group moments",
        "no effect: the layer has no running values",
    )
    if _uses_groups(plan):
        groups = f"groups of {_SHAPES[layout].features} that moments are taken of, lowered until they divide them"
    if _batch_calls(plan):
        momentum = "weight of the newest batch in running values"
    state = "parameters and running values" if _batch_calls(plan) else "parameters"
    return [
        '"""The layer described at the top of this file.',
        "",
        "Args:",
        f"    num_features: {_SHAPES[layout].features} of the input.",
        f"    groups: {groups}.",
        "    eps: guard inside roots, divisions and logarithms.",
        f"    momentum: {momentum}.",
        "    act: False gives the affine alone, for places where no activation follows a normalization.",
        "    apply_act: the name that timm has for act.",
        "    act_kwargs: of timm, for activations that are modules; not used here.",
        "    inplace: as act_kwargs.",
        f"    device: of {state}, as of torch's own norms.",
        f"    dtype: of {state}.",
        "",
        f"Shapes: {_SHAPES[layout].shape} -> the same.",
        '"""',
    ]


def _init(plan: Plan, groups: int, eps: float, momentum: float) -> list[str]:
    settings = {"num_features": "num_features", "eps": "eps", "act": "act and apply_act"}
    if _uses_groups(plan):
        settings["groups"] = "fit_groups(groups, num_features)"
    return [
        "def __init__(",
        *_indented(1, ["self,", "num_features: int,", "*,", f"groups: int = {groups!r},"]),
        *_indented(1, [f"eps: float = {eps!r},", f"momentum: float = {momentum!r},", "act: bool = True,"]),
        *_indented(1, ["apply_act: bool = True,", "act_kwargs: object = None,", "inplace: bool = False,"]),
        *_indented(1, ["device: torch.device | str | None = None,", "dtype: torch.dtype | None = None,"]),
        ") -> None:",
        "    super().__init__()",
        *_indented(1, (f"self.{key} = {value}" for key, value in settings.items())),
        f"    self.weight = {_PARAMETER}",
        f"    self.bias = {_PARAMETER}",
        *_indented(1, _active_state(plan)),
        "    self.reset_parameters()",
    ]


def _active_state(plan: Plan) -> list[str]:
    """What only exists with ``act``, as in a lowered layer."""
    state = [f"self.{name} = {_PARAMETER}" for name in _own_parameters(plan)]
    for call in _batch_calls(plan):
        channels = "num_features" if call.per_channel else "1"
        arguments = f'"{call.moment}", {channels}, eps, momentum, device, dtype'
        state.append(f"self.{call.module} = BatchMoment({arguments})")
    return ["if self.act:", *_indented(1, state)] if state else []


def _reset(plan: Plan) -> list[str]:
    active = [f"nn.init.{'zeros' if name == 'v0' else 'ones'}_(self.{name})" for name in _own_parameters(plan)]
    return [
        "def reset_parameters(self) -> None:",
        '    """Set the parameters to their initial values."""',
        "    nn.init.ones_(self.weight)",
        "    nn.init.zeros_(self.bias)",
        *(["    if self.act:", *_indented(2, active)] if active else []),
    ]


def _own_parameters(plan: Plan) -> list[str]:
    used = {step.name for step in plan.steps}
    return [name for name in ("v0", "v1") if name in used]


def _batch_calls(plan: Plan) -> list[BatchCall]:
    return [step.value for step in plan.steps if isinstance(step.value, BatchCall)]


def _forward(plan: Plan, bare: Plan) -> list[str]:
    return [
        f"def forward(self, {plan.argument}: Tensor) -> Tensor:",
        '    """Apply the layer."""',
        "    if not self.act:",
        *_indented(2, _lines(bare)),
        *_indented(1, _lines(plan)),
    ]


def _lines(plan: Plan) -> list[str]:
    return [*(_statement(step) for step in plan.steps), f"return {_source(plan.output)}"]


def _statement(step: Step) -> str:
    statement = f"{step.name} = {_source(step.value)}"
    shape = ", ".join(axis if axis in step.varies else "1" for axis in "bchw")
    remark = "" if step.varies == frozenset("bchw") else f"  # [{shape}]"
    return statement + remark if 12 + len(statement) + len(remark) <= LINE else statement


def _source(value: Expression) -> str:
    match value:
        case Variable(name):
            return name
        case Parameter(name) | Setting(value=name):
            return f"self.{name}"
        case BatchCall():
            return f"self.{value.module}({_source(value.operand)})"
        case Call(function, arguments):
            inner = (_source(argument) for argument in arguments)
            infix = function in _INFIX  # then operands bind tighter
            return _call_source(
                function,
                [f"({text})" if infix and _is_infix(arg) else text for arg, text in zip(arguments, inner, strict=True)],
            )
        case axes:
            return repr(axes)


def _is_infix(value: Expression) -> bool:
    return isinstance(value, Call) and value.function in _INFIX


def _call_source(function: Callable[..., Any] | str, arguments: list[str]) -> str:
    if isinstance(function, str):
        return f"{arguments[0]}.{function}({', '.join(arguments[1:])})"
    if function in _INFIX:
        return _INFIX[function].format(*arguments)
    return f"{torch_name(function) or function.__name__}({', '.join(arguments)})"


def _indented(levels: int, lines: Iterable[str]) -> list[str]:
    return [" " * 4 * levels + line if line else "" for line in lines]
