"""A concept of the user's, in two files of sentences: maps of a language model from one to the other."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evonas.errors import InputError
from evonas.studies.steering.fit import POST_NORMS, fit
from evonas.studies.steering.intervention import Intervention
from evonas.studies.steering.methods import LINEAS
from evonas.studies.steering.sentences import LEAST_WORDS, SentencesConfig, pool
from evonas.studies.steering.tokens import sentence_batches
from evonas.tasks.language.pretrained import load_language_model

LONGEST, BATCH = 128, 32  # tokens of a sentence, sentences of a step
ENOUGH, HELD_OUT = 16, 0.25  # from so many sentences on, a share of them says when LinEAS has learned enough
# 30 steps of Adam come as far as hundreds of the published descent: runs/kept/steering-smollm2
SETTINGS: dict[str, dict[str, Any]] = {LINEAS: {"optimizer": "adam", "lr": 0.01, "steps": 30}}


def fit_concept(
    model: str,
    source: str | Path,
    target: str | Path,
    *,
    method: str = LINEAS,
    sites: Sequence[str] = (),
    device: torch.device | str = "cpu",
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Intervention:
    """Fit maps that make a language model say what is like the target's sentences where it would say the source's.

    Sentences of less than three words, and those that come twice, are left out; all others are used, and each is cut
    after 128 tokens.

    Args:
        model: an id of the hub, a folder or a GGUF file.
        source: a file of sentences to steer from: .txt with one a line, or .csv, .tsv or .jsonl with a column ``text``.
        target: the same, of sentences to steer to.
        method: as of ``fit``; LinEAS takes up to 30 steps of Adam, and of 16 sentences or more it holds a quarter out.
        sites: patterns of the modules to steer; by default the norms after attention.
        device: where the model goes.
        on_step: as of ``fit``.

    Raises:
        InputError: a file that cannot be read or has too few sentences, or as ``load_language_model`` and ``fit``.
    """
    texts = [_sentences(what, str(file)) for what, file in (("source", source), ("target", target))]
    language = load_language_model(model, device=device)
    batches = [sentence_batches(language, found, LONGEST, BATCH, torch.device(device)) for found in texts]
    how: dict[str, Any] = dict(SETTINGS.get(method, {}))
    if method == LINEAS and min(map(len, texts)) >= ENOUGH:
        how["held_out"] = HELD_OUT
    return fit(language.model, *batches, method=method, sites=tuple(sites) or POST_NORMS, on_step=on_step, **how)


def _sentences(what: str, file: str) -> tuple[str, ...]:
    found = pool(SentencesConfig(name="file", path=file))
    if len(found) < 2:
        usable = f"{len(found)} sentences of {LEAST_WORDS} words or more"
        raise InputError(f"{what} {file}", usable, accepted="2 or more, each on a line; 32 or more are better")
    return found
