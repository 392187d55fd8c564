"""What comes with evonas, by kind: a row for each thing, its name first and then what it is."""

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

from evonas.config.presets import KINDS, SEARCH, presets

Row = dict[str, str]

_INPUTS = {"bchw": "images", "btd": "tokens", None: "images or tokens"}


def layers() -> list[Row]:
    """The layers of the catalogue, with formula and source."""
    from evonas.graph.catalogue import CATALOGUE, KNOWN, known_layout

    return [
        {
            "name": name,
            "formula": genome.formula(),
            "inputs": _INPUTS[known_layout(genome)],
            "source": KNOWN[name].source.partition(";")[0],
        }
        for name, genome in CATALOGUE.items()
    ]


def searches() -> list[Row]:
    """The search files."""
    return [{"name": preset.name, "what it is": preset.description} for preset in presets(SEARCH.name)]


def studies() -> list[Row]:
    """The files of studies and of comparisons, with the command that runs each."""
    kinds = (kind for kind in KINDS if kind != SEARCH.name)
    return [
        {
            "name": preset.name,
            "kind": preset.kind,
            "what it is": preset.description,
            "command": preset.command,
        }
        for preset in presets(*kinds)
    ]


def architectures() -> list[Row]:
    """The networks that tasks name, and where others come from."""
    from evonas.config import DETECTORS, GENERATORS, LIBRARIES
    from evonas.extras import install_line
    from evonas.tasks.architectures import ARCHITECTURES, PACKAGES

    found = []
    for name, make in ARCHITECTURES.items():
        said = (sys.modules[make.__module__].__doc__ or "").replace("``", "").partition("\n\nSource: ")
        first, source = (" ".join(text.split()) for text in (said[0], said[2]))
        installed = install_line(PACKAGES[name]) if name in PACKAGES else ""  # all_cnn needs torch alone
        found.append({"name": name, "what it is": first, "source": source, "installed by": installed})
    for names, what, source in (
        (DETECTORS, "Mask R-CNN, which finds objects and their masks", "He et al. 2017, Mask R-CNN"),
        (GENERATORS, "BigGAN, which makes images of a class", "Brock et al. 2019, Large Scale GAN Training"),
    ):
        installed = install_line("torchmetrics")
        found += [{"name": n, "what it is": what, "source": source, "installed by": installed} for n in names]
    for library in LIBRARIES:
        what = f"Any network of {library} by its name there, as it is."
        found.append(
            {"name": f"{library}:NAME", "what it is": what, "source": "", "installed by": install_line(library)}
        )
    return found


def primitives() -> list[Row]:
    """What layers are made of, as it is written in the text form: operations, statistics and their axes."""
    from evonas.graph.primitive import INDEX_SETS, PRIMITIVES

    found = []
    for name, primitive in PRIMITIVES.items():
        operands = f"({', '.join('xy'[: primitive.arity])})" if primitive.arity else ""
        moment = primitive.kind == "moment"
        kind = {"initial": "input", "moment": "statistic"}.get(primitive.kind, "operation")
        written = f"{name}{'[axes]' if moment else ''}{operands}"
        row = {"name": name, "written": written, "kind": kind, "meaning": primitive.meaning}
        found.append({**row, "source": primitive.source})
    for name, axes in INDEX_SETS.items():
        meaning = f"statistics {axes.meaning}, of {_INPUTS[axes.layout]}"
        found.append({"name": name, "written": f"[{name}]", "kind": "axes", "meaning": meaning, "source": ""})
    return found


def objectives() -> list[Row]:
    """What a search can go by beside the accuracies: the keys of ``[objectives]`` and what is better."""
    from evonas.search.objectives import OBJECTIVES

    return [
        {"name": o.name, "better": o.direction.partition(" ")[0], "meaning": o.meaning} for o in OBJECTIVES.values()
    ]


SHIPPED: Mapping[str, Callable[[], list[Row]]] = MappingProxyType(
    {
        "layers": layers,
        "searches": searches,
        "studies": studies,
        "architectures": architectures,
        "primitives": primitives,
        "objectives": objectives,
    }
)
