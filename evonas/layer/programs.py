"""Layers and networks as programs that other runtimes read: ONNX files, and torch's exported programs (``.pt2``)."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError, first_line
from evonas.extras import import_package
from evonas.files import write_whole

INPUT, OUTPUT = "x", "y"
_LOUD = ("torch.onnx", "onnxscript", "torch.export", "onnx_ir")  # loggers of what is of no use to whoever exports


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was written.

    Attributes:
        files: it lies in, the one that is named first; a large ONNX model has its weights in a second one.
        nodes: operations of its graph.
    """

    files: tuple[Path, ...]
    nodes: int


def save_onnx(module: nn.Module, example: Tensor, path: Path, axes: Mapping[int, str]) -> Program:
    """Write a module in evaluation mode as an ONNX file, whole or not at all.

    Args:
        module: with one tensor as input and one as output; its mode is left as it was.
        example: an input. No size of it along ``axes`` may be 1: torch would take it for a constant.
        path: ends in ``.onnx``.
        axes: of the input that may have any size, with the names that the file gives them.

    Raises:
        InputError: a package of the extra ``onnx`` is missing, or the module cannot be exported.
    """
    script = import_package("onnxscript", "onnx")
    with _evaluating(module), _quiet(), _explained(path):
        sizes = {axis: torch.export.Dim(name) for axis, name in axes.items()}
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=(sizes,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            custom_translation_table=_translations(script.opset18),
            verbose=False,
        )
    assert program is not None, "torch gives a program where no file is named"
    try:
        write_whole(path, lambda unfinished: program.save(str(unfinished), external_data=False))
        written: tuple[Path, ...] = (path,)
    except ValueError:  # more than the 2 GiB that one file may have
        program.save(str(path), external_data=True)
        written = (path, path.with_name(f"{path.name}.data"))
    return Program(written, len(program.model.graph))


def _translations(opset: Any) -> dict[Callable[..., Any], Callable[..., Any]]:
    """What torch's exporter does not know: the sign in guarded quotients, where 0 counts as positive."""

    def signbit(x: Any) -> Any:
        return opset.Less(x, opset.CastLike(opset.Constant(value_float=0.0), x))

    return {torch.ops.prims.signbit.default: signbit}


def save_program(
    module: nn.Module, example: Tensor, path: Path, axes: Sequence[int], *, training: bool = False
) -> Program:
    """Write a module as an exported program of torch, which ``torch.export.load(path).module()`` reads.

    Args:
        module: see ``save_onnx``.
        example: see ``save_onnx``.
        path: ends in ``.pt2``.
        axes: of the input that may have any size.
        training: whether the program computes as in training, so that it can be trained on; batch moments are those of
            the batch then.

    Raises:
        InputError: the module cannot be exported.
    """
    with _evaluating(module, training=training), _quiet(), _explained(path):
        dynamic = (dict.fromkeys(axes, torch.export.Dim.DYNAMIC),)
        program = torch.export.export(module, (example,), dynamic_shapes=dynamic)
        if training:
            program = program.run_decompositions({})  # without it, running values make a file that cannot be read
        write_whole(path, lambda unfinished: _save(program, unfinished))
    return Program((path,), len(program.graph.nodes))


def _save(program: "torch.export.ExportedProgram", unfinished: Path) -> None:
    content = io.BytesIO()  # torch refuses names that do not end in .pt2
    torch.export.save(program, content)
    unfinished.write_bytes(content.getvalue())


@contextlib.contextmanager
def _evaluating(module: nn.Module, *, training: bool = False) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    module.train(training)
    try:
        with torch.no_grad() if not training else contextlib.nullcontext():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's reports and warnings from people: what they need is in the error."""
    levels = {name: logging.getLogger(name).level for name in _LOUD}
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (InputError, OSError):
        raise
    except Exception as error:  # torch's exporters raise errors of many kinds of their own
        cause = error.__cause__ or error
        found = f"cannot be exported ({type(cause).__name__}: {first_line(cause)})"
        raise InputError(str(path), found, remedy="export the layer as .py, which torch alone can run") from None
