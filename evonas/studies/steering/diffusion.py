"""Text-to-image pipelines of diffusers: what their denoiser is called with, so that it can be fitted and steered."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.studies.steering.tokens import batched

DENOISERS = ("unet", "transformer")


def denoiser_of(pipeline: Any) -> nn.Module:
    """The network of a pipeline that is called once a step: its ``unet``, or its ``transformer``.

    Raises:
        InputError: it has neither.
    """
    for name in DENOISERS:
        found = getattr(pipeline, name, None)
        if isinstance(found, nn.Module):
            return found
    raise InputError(type(pipeline).__name__, "has no denoiser", accepted=" or ".join(DENOISERS))


def denoiser_inputs(
    pipeline: Any, prompts: Sequence[str], *, seed: int = 0, batch_size: int = 4, **call: Any
) -> list[Mapping[str, Any]]:
    """The inputs of the first step, batch by batch: latents, time and what the prompts were turned into.

    They are batches for ``evonas.steering.fit`` on ``denoiser_of(pipeline)``, with ``skip_first=False``: its tokens are
    places of an image. Of a single-step pipeline the first step is all there is.

    Args:
        pipeline: of diffusers; it is run as it is, up to its latents.
        prompts: what to make images of.
        seed: of the noise.
        batch_size: prompts at once.
        call: what else the pipeline is called with, such as ``num_inference_steps``. Guidance that doubles the batch,
            ``guidance_scale`` above 1, would make samples of empty prompts too.

    Raises:
        InputError: no prompts, a pipeline without a denoiser, or one whose batch is not that of the prompts.

    Source: Rodriguez et al. 2025, section 4, on DMD2.

    Example:
        >>> call = {"num_inference_steps": 1, "guidance_scale": 0.0, "timesteps": [399]}
        >>> with_cats, plain = (denoiser_inputs(pipeline, prompts, **call) for prompts in (cats, others))
        >>> maps = fit(pipeline.unet, with_cats, plain, sites="**.*norm*", skip_first=False, optimizer="adam", lr=1e-3)
        >>> with maps.on(pipeline.unet, strength=0.8):
        ...     pipeline("a cat on a sofa", **call)
    """
    if not prompts:
        raise InputError("prompts", "none", accepted="one or more")
    denoiser = denoiser_of(pipeline)
    signature = inspect.signature(denoiser.forward)
    found: list[Mapping[str, Any]] = []
    for number, part in enumerate(batched(prompts, batch_size)):
        calls: list[Mapping[str, Any]] = []

        def note(
            _module: nn.Module, args: Any, kwargs: Any, calls: list[Mapping[str, Any]] = calls
        ) -> None:  # inputs of later steps depend on the first
            calls.append(signature.bind(*args, **kwargs).arguments)

        generator = torch.Generator().manual_seed(derive_seed(seed, "latents", number))
        with denoiser.register_forward_pre_hook(note, with_kwargs=True):
            pipeline(list(part), generator=generator, output_type="latent", **call)
        if not calls:
            raise InputError(type(pipeline).__name__, "did not call its denoiser", remedy="give it a step or more")
        rows = len(next(iter(calls[0].values())))
        if rows != len(part):
            remedy = "turn guidance off: guidance_scale=0.0"
            raise InputError("batch", f"{rows} latents for {len(part)} prompts", accepted="one each", remedy=remedy)
        found.append(calls[0])
    return found
