"""Pretrained language models: from the hub, a folder or a GGUF file, through transformers.

Nothing that is loaded can run code: weights are safetensors or GGUF, never pickles, and classes are transformers' own.
"""

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError, first_line
from evonas.extras import import_package, install_line

GGUF = b"GGUF"  # how such a file begins
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
KEPT = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")  # what a folder's model and tokenizer depend on
_ACCEPTED = "a folder with config.json and .safetensors, a .gguf file, or an id of the hub such as owner/name"
_SHOWN = 3  # names in an error message


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A causal language model with its tokenizer.

    Attributes:
        name: for people.
        identity: what results depend on: a digest of the files, or the hub's revision.
        model: of transformers, in evaluation mode, without gradients.
        tokenizer: of transformers.
    """

    name: str
    identity: str
    model: nn.Module
    tokenizer: Any

    @property
    def bos(self) -> int | None:
        """The id that begins a text; None where the tokenizer has none."""
        found = self.tokenizer.bos_token_id
        return None if found is None else int(found)

    @property
    def positions(self) -> int | None:
        """How many tokens the model can see; None where its configuration does not say."""
        config: Any = self.model.config
        return getattr(config.get_text_config(), "max_position_embeddings", None)

    def encode(self, text: str) -> Tensor:
        """Token ids [n] int64; nothing is put before or after them."""
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return torch.tensor(ids, dtype=torch.int64)


def load_language_model(
    source: str, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> LanguageModel:
    """Load a model and its tokenizer.

    Args:
        source: a folder, a GGUF file (its weights are de-quantized), or an id of the hub, ``hf:`` before it or not.
        dtype: of the weights.
        device: where they go.

    Raises:
        InputError: no such folder or file, one that holds no model, weights that are pickles or are missing, or
            transformers is not installed.
    """
    source = source.removeprefix("hf:")
    place, options = _place(source)
    library, path = import_package("transformers", source), Path(source)
    try:
        with quietly(library, source):
            tokenizer = library.AutoTokenizer.from_pretrained(place, trust_remote_code=False, **options)
            model, loading = library.AutoModelForCausalLM.from_pretrained(
                place, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **options
            )
    except Exception as error:  # whatever reading files that others made may raise, out of many packages
        remedy = install_line("transformers") if isinstance(error, ImportError) else ""
        raise InputError(source, f"cannot be loaded ({first_line(error)})", accepted=_ACCEPTED, remedy=remedy) from None
    if missing := sorted(loading["missing_keys"]):
        more = ", ..." if len(missing) > _SHOWN else ""
        raise InputError(source, f"lacks the weights {', '.join(missing[:_SHOWN])}{more}", accepted=_ACCEPTED)
    model = model.eval().requires_grad_(False).to(device)
    if not path.exists():
        revision = getattr(model.config, "_commit_hash", None) or "unknown revision"
        return LanguageModel(source, f"{source} at {revision}", model, tokenizer)
    path = path.resolve()
    files = (file for pattern in KEPT for file in path.glob(pattern)) if path.is_dir() else (path,)
    return LanguageModel(path.name.removesuffix(".gguf"), f"sha256 {_digest(files)}", model, tokenizer)


def _place(source: str) -> tuple[str, dict[str, str]]:
    """What transformers is to read, and its further options."""
    path = Path(source)
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(GGUF)) != GGUF:
                raise InputError(source, "is no GGUF file", accepted=_ACCEPTED)
        return str(path.parent), {"gguf_file": path.name}
    if path.is_dir():
        if not (path / "config.json").is_file() or not any(path.glob("*.safetensors")):
            held = sorted(file.name for file in (*path.glob("*.gguf"), *path.glob("*.bin"), *path.glob("*.pt")))
            found = "holds no config.json with .safetensors" + (f", but {', '.join(held[:_SHOWN])}" if held else "")
            remedy = "give the .gguf file itself" if any(name.endswith(".gguf") for name in held) else ""
            raise InputError(source, found, accepted=_ACCEPTED, remedy=remedy)
        return str(path), {}
    if not HUB_ID.fullmatch(source) or source.endswith(".gguf") or source.startswith("."):
        raise InputError(source, "no such folder or file", accepted=_ACCEPTED)
    return source, {}


@contextmanager
def quietly(library: Any, source: str) -> Iterator[None]:
    """Load a model within it without notes and bars; errors are raised all the same.

    A download still shows how far it is. Where the logger ``evonas`` lets messages for debugging through, as with
    ``evonas --verbose``, everything is shown.

    Args:
        library: transformers.
        source: what is loaded: a path, or an id of the hub.
    """
    if logging.getLogger("evonas").isEnabledFor(logging.DEBUG):
        yield
        return
    hub: Any = import_module("huggingface_hub.utils")  # which transformers needs
    notes, local = library.utils.logging, Path(source).exists()
    level, bars, downloads = (
        notes.get_verbosity(),
        notes.is_progress_bar_enabled(),
        not hub.are_progress_bars_disabled(),
    )
    notes.set_verbosity_error()
    notes.disable_progress_bar()  # those of downloads too
    if downloads and not local:
        hub.enable_progress_bars()
    try:
        # the bar of de-quantizing cannot be turned off
        with redirect_stderr(StringIO()) if local else nullcontext():
            yield
    finally:
        notes.set_verbosity(level)
        if bars:
            notes.enable_progress_bar()
        (hub.enable_progress_bars if downloads else hub.disable_progress_bars)()


def _digest(files: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            whole.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:16]
