"""A tiny pipeline of diffusers with random weights. Oracles: what the pipeline itself computes in its single step; the
untouched pipeline; the norms its network holds.
"""

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from evonas.errors import InputError
from evonas.steering import fit
from evonas.studies.steering.diffusion import denoiser_inputs, denoiser_of

diffusers = pytest.importorskip("diffusers", reason="pip install 'evonas[diffusion]'")

CALL = {"num_inference_steps": 1, "guidance_scale": 0.0, "timesteps": [399], "height": 16, "width": 16}
CATS, PLAIN = ["a cat", "cat on a sofa", "my cat", "old cat"], ["a sofa", "an old tree", "the sea"]


@pytest.fixture(scope="module")
def pipeline() -> Any:
    import tokenizers
    import transformers

    torch.manual_seed(0)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<s>", *alphabet])}
    bytes_ = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    bytes_.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytes_, bos_token="<s>", pad_token="<s>", model_max_length=12
    )
    text = transformers.CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
    )
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parts it thinks old
        made = diffusers.StableDiffusionPipeline(
            vae=vae,
            text_encoder=transformers.CLIPTextModel(text),
            tokenizer=tokenizer,
            unet=unet,
            scheduler=diffusers.LCMScheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    made.set_progress_bar_config(disable=True)
    return made


def image(pipeline: Any, prompt: str = "a cat") -> torch.Tensor:
    made = pipeline(prompt, generator=torch.Generator().manual_seed(1), output_type="pt", **CALL).images
    assert isinstance(made, torch.Tensor)
    return made


def test_the_inputs_are_those_of_the_single_step(pipeline: Any) -> None:
    outputs: list[torch.Tensor] = []
    handle = pipeline.unet.register_forward_hook(lambda _module, _inputs, output: outputs.append(output[0]))
    batches = denoiser_inputs(pipeline, CATS, seed=5, batch_size=3, **CALL)
    handle.remove()
    assert [len(batch["sample"]) for batch in batches] == [3, 1]
    assert [int(batch["timestep"]) for batch in batches] == [399, 399]
    for batch, output in zip(batches, outputs, strict=True):
        with torch.no_grad():
            assert torch.equal(pipeline.unet(**batch)[0], output)
    again = denoiser_inputs(pipeline, CATS, seed=5, batch_size=3, **CALL)
    assert torch.equal(batches[0]["sample"], again[0]["sample"])
    assert not torch.equal(batches[0]["sample"], denoiser_inputs(pipeline, CATS, seed=6, **CALL)[0]["sample"][:3])


def test_norms_of_the_unet_are_steered_and_left_as_they_were(pipeline: Any) -> None:
    plain = image(pipeline)
    source, target = (denoiser_inputs(pipeline, prompts, **CALL) for prompts in (CATS, PLAIN))
    unet = denoiser_of(pipeline)
    found = fit(unet, source, target, sites="**.*norm*", skip_first=False, steps=12, optimizer="adam", lr=1e-2)
    norms = {name for name, m in unet.named_modules() if isinstance(m, nn.GroupNorm | nn.LayerNorm)}
    assert {site.name for site in found.sites} == norms
    assert {site.kind: site.axis for site in found.sites} == {"GroupNorm": 1, "LayerNorm": -1}
    assert found.losses[-1] < 0.9 * found.losses[0]
    with found.on(unet, 0.0):
        assert torch.equal(image(pipeline), plain)
    with found.on(unet, 1.0):
        assert not torch.allclose(image(pipeline), plain, atol=1e-4)
    assert torch.equal(image(pipeline), plain)


@pytest.mark.parametrize("method", ["mean-act", "linear-act"])
def test_baselines_fit_it_too(pipeline: Any, method: str) -> None:
    source, target = (denoiser_inputs(pipeline, prompts, **CALL) for prompts in (CATS, PLAIN))
    found = fit(pipeline.unet, source, target, sites="**.*norm*", skip_first=False, method=method)
    assert 0 < found.share <= 1


def test_what_cannot_be_fitted(pipeline: Any) -> None:
    with pytest.raises(InputError, match=r"^prompts: none"):
        denoiser_inputs(pipeline, [], **CALL)
    with pytest.raises(InputError, match=r"^batch: 4 latents for 2 prompts; accepted: one each; turn guidance off"):
        denoiser_inputs(pipeline, CATS[:2], **{**CALL, "guidance_scale": 7.5})
    with pytest.raises(InputError, match=r"^Sequential: has no denoiser; accepted: unet or transformer$"):
        denoiser_of(nn.Sequential())


def test_the_network_of_sdxl_takes_its_further_conditions() -> None:
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=16 + 6 * 4,
        use_linear_projection=True,
    )

    def batch() -> dict[str, Any]:
        more = {"text_embeds": torch.randn(3, 16), "time_ids": torch.randn(3, 6)}
        text = torch.randn(3, 5, 16)
        sample, time = torch.randn(3, 4, 8, 8), torch.tensor(399)
        return {"sample": sample, "timestep": time, "encoder_hidden_states": text, "added_cond_kwargs": more}

    found = fit(unet, [batch()], [batch()], sites="**.*norm*", skip_first=False, steps=3, optimizer="adam", lr=1e-2)
    assert len(found.losses) == 3
    assert found.share > 0
