"""What a result was made from: digests of code and data, and the versions of the packages that compute.

Two results may be compared, or one stand in for the other, only where these agree.
"""

import ast
import hashlib
import platform
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from evonas.extensions import EXTENSIONS, source_files

if TYPE_CHECKING:
    import torch

COMPUTING = (  # packages whose version can change a number
    "evonas",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "scikit-learn",
    "networkx",
    "deap",
    "transformers",
    "diffusers",
    "accelerate",
    "tokenizers",
    "gguf",
    "safetensors",
    "torchmetrics",
    "faster-coco-eval",
    "scikit-image",
    "pillow",
    "triton",
)
FOUNDATION = ("config", "graph", "layer", "surgery", "tasks", "training", "registry.py", "extensions.py", "seeding.py")

_ROOT = Path(__file__).parents[1]
_DESCRIBED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def code_digest(*parts: str) -> str:
    """A SHA-256 of this package's code that computes; comments, docstrings and layout do not change it.

    Read once per process: code that is edited under a running process is not what it runs.

    Args:
        parts: folders or files below ``evonas/``, such as ``"search"`` or ``"studies/stability"``, on which a result
            depends beside ``FOUNDATION``, on which every result does.

    Raises:
        FileNotFoundError: there is no such part.
    """
    files = {file for part in (*FOUNDATION, *parts) for file in _source_files(_ROOT / part)}
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(_ROOT).as_posix()} {source_digest(file)}\n".encode())
    return digest.hexdigest()


def source_digest(file: Path) -> str:
    """A SHA-256 of what one Python file says to the interpreter, without comments, docstrings and layout.

    A string by itself is a docstring: that of a module, class or function, or below the field that it describes.
    """
    tree = ast.parse(file.read_bytes(), filename=str(file))
    for node in ast.walk(tree):
        if isinstance(node, _DESCRIBED):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def extension_digests() -> dict[str, str]:
    """A SHA-256 of the code of each loaded extension, by its name."""
    return {
        name: hashlib.sha256("\n".join(map(source_digest, source_files(name))).encode()).hexdigest()
        for name in sorted(EXTENSIONS)
    }


def digest_of_arrays(arrays: Iterable[np.ndarray[Any, Any]]) -> str:
    """A SHA-256 of the shapes, types and values of arrays, in their order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype.str}\n".encode() + array.tobytes())
    return digest.hexdigest()


def made_from(*parts: str, device: "torch.device") -> dict[str, str]:
    """What any result of some parts of the package is made from, by name; data come to that.

    Args:
        parts: see ``code_digest``.
        device: where it was computed.
    """
    own = {f"extension {name}": digest for name, digest in extension_digests().items()}
    return {"code": code_digest(*parts), "device": device.type, **own, **versions()}


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """In words, by name, how what a result was made from differs from what is there now."""
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    return {name: f"{_shown(then.get(name))}, now {_shown(now.get(name))}" for name in names}


def listed_differences(changed: Mapping[str, str]) -> str:
    """What ``differences`` has found, in a line."""
    return ", ".join(f"{name} ({change})" for name, change in sorted(changed.items()))


def _shown(value: str | None) -> str:
    return "none" if value is None else value if len(value) < 32 else value[:8]  # digests are long


@cache
def versions(packages: Sequence[str] = COMPUTING) -> Mapping[str, str]:
    """The version of Python and of each package, without importing any; ``not installed`` where it is not there."""
    return MappingProxyType({"python": platform.python_version()} | {name: _version(name) for name in packages})


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _source_files(part: Path) -> list[Path]:
    if part.is_file():
        return [part]
    if not part.is_dir():
        raise FileNotFoundError(part)
    return list(part.rglob("*.py"))
