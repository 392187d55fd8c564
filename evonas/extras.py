"""Packages that only some parts of evonas need, and the extra of evonas that installs each."""

import importlib
import importlib.util
from types import ModuleType

from evonas.errors import InputError

EXTRAS = {
    "timm": "vision",
    "torchvision": "vision",
    "faster_coco_eval": "detection",
    "skimage": "detection",
    "torchmetrics": "detection",
    "accelerate": "lm",
    "gguf": "lm",
    "tokenizers": "lm",
    "transformers": "lm",
    "diffusers": "diffusion",
    "plotly": "report",
    "ray": "ray",
    "trackio": "trackio",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
}


def install_line(package: str) -> str:
    """The command that installs a package with all else that the same parts of evonas need."""
    return f"pip install 'evonas[{EXTRAS[package]}]'"


def require_package(package: str, where: str) -> None:
    """Make sure that a package is installed, without importing it.

    Args:
        package: a key of ``EXTRAS``.
        where: what needs it; is put into the error.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise _missing(package, where)


def import_package(package: str, where: str) -> ModuleType:
    """Import a package, or a module of it, that may not be installed.

    Args:
        package: with dots; its first part is a key of ``EXTRAS``.
        where: what needs it; is put into the error.

    Raises:
        InputError: it, or a package of an extra that it needs itself, is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        missing = (error.name or package).partition(".")[0]
        if missing not in EXTRAS:
            raise
        raise _missing(missing, where) from None


def _missing(package: str, where: str) -> InputError:
    return InputError(where, f"needs {package}, which is not installed", remedy=install_line(package))
