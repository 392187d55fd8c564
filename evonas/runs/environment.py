"""Where numbers come from: hardware, versions, and the state of the code, as ``environment.json`` records them."""

import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from evonas.runs.provenance import COMPUTING, versions

BESIDE = ("pebble", "pydantic", "matplotlib", "tensorboard")  # that run the work and show it
NONE, UNKNOWN = "none", "unknown"
PATIENCE = 20.0  # seconds for another program to answer

_PACKAGE = Path(__file__).parents[1]


def environment() -> dict[str, str]:
    """Versions, hardware, state of the code and command; nothing heavy is imported for it, and nothing can fail."""
    return {
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpus": str(os.cpu_count()),
        **_gpu(),
        **_checkout(_PACKAGE),
        **versions((*COMPUTING, *BESIDE)),
        "command": shlex.join(sys.argv),
    }


def _cpu() -> str:
    """Model of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine() or UNKNOWN


def _gpu() -> dict[str, str]:
    """Names of the GPUs with their driver, and the version of CUDA that torch was built with."""
    listed = _answer("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    return {"gpu": "; ".join((listed or "").splitlines()) or NONE, "cuda": _cuda()}


def _cuda() -> str:
    spec = find_spec("torch")  # which does not import it
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8") if spec and spec.origin else ""
    except OSError:
        text = ""
    found = re.search(r"^cuda\b.*= '([\d.]+)'", text, re.MULTILINE)
    return found[1] if found else NONE


def _checkout(package: Path) -> dict[str, str]:
    """The git revision of the package's checkout, and whether the package differs from it; nothing if it is none."""
    root = package.parent
    if not (root / ".git").exists():
        return {}
    git = ("git", "--no-optional-locks", "-C", str(root))
    revision = _answer(*git, "rev-parse", "HEAD")
    changes = _answer(*git, "status", "--porcelain", "--", package.name)
    changed = UNKNOWN if changes is None else "yes" if changes else "no"
    return {"revision": revision or UNKNOWN, "uncommitted changes": changed}


def _answer(*command: str) -> str | None:
    """What a program prints; None if it is not there, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
