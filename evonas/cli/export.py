"""``evonas export``: a layer, or a network with a layer in it, as a file."""

import keyword
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from evonas.errors import InputError

SUFFIXES = ".py, .onnx or .pt2"


def export(
    layer: Annotated[
        str | None,
        typer.Argument(metavar="LAYER", help="A catalogue name, a formula, a text form, RUN#rank, or a .json file."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help=f"Where to; its suffix says what: {SUFFIXES}.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="bchw|btd",
            help="Axes of the inputs: images or tokens. Default: those of the layer's moments, run or publication.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Name of the class in a .py file. Default: the layer's, or Layer_<key>."),
    ] = None,
    features: Annotated[
        int, typer.Option(min=1, help="Channels or features of the inputs, in a .onnx or .pt2 file of one layer.")
    ] = 64,
    model: Annotated[
        str | None,
        typer.Option(metavar="timm:NAME", help="Export this network with LAYER in it, or torchvision:NAME."),
    ] = None,
    in_model: Annotated[
        str | None, typer.Option("--layer", metavar="LAYER", help="With --model: LAYER as an option.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights of the network with the layer in it, .safetensors.")
    ] = None,
    classes: Annotated[int, typer.Option(min=1, help="Classes of the network.")] = 1000,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the network's images. Default: as it was published.")
    ] = None,
) -> None:
    """A layer as a Python file that needs torch alone; or a layer, or a network, for other runtimes.

    Example: [bold]evonas export runs/first#1 -o my_layer.py --name MyLayer[/bold]

    A formula without moments may stand for a layer of images or of tokens:
    [bold]evonas export 'tanh(x)' --layout btd -o tanh.py[/bold]

    A network for onnxruntime, with the weights that it was trained to:
    [bold]evonas export evonorm-s0 --model timm:resnet18 --weights net.safetensors -o net.onnx[/bold]
    """
    if output is None:
        raise InputError("--output", "not given", accepted=f"a file that ends in {SUFFIXES}")
    if layer is not None and in_model is not None:
        raise InputError("--layer", "given beside LAYER", remedy="give it once")
    layer = layer or in_model
    if layer is None and model is None:
        raise InputError("LAYER", "not given", accepted="a layer as `evonas show` takes it, or --model NAME")
    if model is not None:
        _export_network(layer or "", output, model, weights, classes, size)
    elif output.suffix in (".onnx", ".pt2"):
        _export_program(layer or "", output, layout, features)
    else:
        _export_python(layer or "", output, layout, name)


def _export_python(layer: str, output: Path, layout: str | None, name: str | None) -> None:
    from evonas.cli import terminal
    from evonas.layer.export import class_name_of
    from evonas.search import named

    if output.suffix not in ("", ".py"):
        raise InputError("--output", str(output), accepted=f"a file that ends in {SUFFIXES}")
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise InputError("--name", repr(name), accepted="a name for a Python class, such as MyLayer")
    found = named.find_layer(layer)
    wanted = replace(found, layout=layout or found.layout, name=found.name if name is None else name)
    try:
        path = named.export_layer(wanted, output)
    except InputError as error:
        raise _of_option(error, "layout", "--layout") from None
    written = class_name_of(wanted.genome, wanted.name, wanted.layout)
    terminal.console().print(f"wrote {path} with the class {written}", soft_wrap=True)


def _export_program(layer: str, output: Path, layout: str | None, features: int) -> None:
    from evonas.interface.programs import export_layer

    try:
        program = export_layer(layer, output, num_features=features, layout=layout)
    except InputError as error:
        raise _of_option(error, "layout", "--layout") from None
    _say(program.files, program.nodes, f"inputs have {features} channels or features, all other sizes are free")


def _export_network(layer: str, output: Path, model: str, weights: Path | None, classes: int, size: int | None) -> None:
    from evonas.cli import terminal
    from evonas.interface.programs import Network, export_network
    from evonas.surgery.sites import SurgeryWarning

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", SurgeryWarning)
        try:
            program = export_network(Network(model, layer, weights, classes, size), output)
        except InputError as error:
            raise _of_option(error, "tasks.architecture", "--model") from None
    for warning in said:
        if issubclass(warning.category, SurgeryWarning):
            terminal.console(stderr=True).print(f"note: {warning.message}", soft_wrap=True)
    if weights is None:
        note = "note: the weights are fresh; --weights FILE.safetensors takes trained ones"
        terminal.console(stderr=True).print(note, soft_wrap=True)
    _say(program.files, program.nodes, "batches of any size")


def _of_option(error: InputError, where: str, option: str) -> InputError:
    """An error of an argument, named as the option that was typed."""
    named = error.where == where
    return InputError(option, error.found, accepted=error.accepted, remedy=error.remedy) if named else error


def _say(files: tuple[Path, ...], nodes: int, inputs: str) -> None:
    from evonas.cli import terminal

    names = " and ".join(map(str, files))
    terminal.console().print(f"wrote {names}: {nodes} operations; {inputs}", soft_wrap=True)
