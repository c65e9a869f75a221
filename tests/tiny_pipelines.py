"""Tiny random models of other families, as diffusers folders made by diffusers itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SYLLABLES = [a + b for a in "abcdefghijklmnopqrstuvwxyz" for b in "aeiou"]


def make_sd3(folder: Path) -> Path:
    """An SD 3 folder: two CLIP encoders, T5 left out, as people leave it out."""
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    _seed()
    config = CLIPTextConfig(
        vocab_size=200, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, projection_dim=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    pipeline = StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=16, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8,
            num_attention_heads=2, caption_projection_dim=16, joint_attention_dim=32,
            pooled_projection_dim=32, out_channels=4,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(AutoencoderKL, shift_factor=0.1),
        text_encoder=CLIPTextModelWithProjection(config), tokenizer=_clip_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(config), tokenizer_2=_clip_tokenizer(),
        text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip
    return _saved(pipeline, folder)


def make_flux(folder: Path) -> Path:
    """A FLUX folder: a CLIP and a T5 encoder, packed latents."""
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        FluxPipeline,
        FluxTransformer2DModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    _seed()
    config = CLIPTextConfig(
        vocab_size=200, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, projection_dim=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    encoder, tokenizer = _t5()
    pipeline = FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=16, pooled_projection_dim=16,
            axes_dims_rope=(4, 4, 8), guidance_embeds=True,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(AutoencoderKL, shift_factor=0.1),
        text_encoder=CLIPTextModel(config), tokenizer=_clip_tokenizer(),
        text_encoder_2=encoder, tokenizer_2=tokenizer,
    )  # fmt: skip
    return _saved(pipeline, folder)


def make_pixart(folder: Path) -> Path:
    """A PixArt-Σ folder: a T5 encoder, and the older kind of callback."""
    from diffusers import (
        AutoencoderKL,
        DPMSolverMultistepScheduler,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
    )

    _seed()
    encoder, tokenizer = _t5()
    pipeline = PixArtSigmaPipeline(
        transformer=PixArtTransformer2DModel(
            sample_size=8, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=2,
            caption_channels=16, in_channels=4, cross_attention_dim=16, out_channels=8,
            use_additional_conditions=False,
        ),
        scheduler=DPMSolverMultistepScheduler(),
        vae=_vae(AutoencoderKL), text_encoder=encoder, tokenizer=tokenizer,
    )  # fmt: skip
    return _saved(pipeline, folder)


def make_qwen_image(folder: Path) -> Path:
    """A Qwen-Image folder: a language model reads the prompt, latents have a time axis."""
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

    _seed()
    vocabulary = {letter: i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyzĠ.,:<|>_")}
    small = {"hidden_size": 16, "intermediate_size": 16}
    text = {
        **small, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
        "rope_theta": 1e6, "vocab_size": 100,
    }  # fmt: skip
    seeing = {**small, "depth": 1, "num_heads": 2, "out_hidden_size": 16}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=seeing)
    pipeline = QwenImagePipeline(
        transformer=QwenImageTransformer2DModel(
            patch_size=2, in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=16, axes_dims_rope=(8, 4, 4),
        ),
        vae=AutoencoderKLQwenImage(
            base_dim=8, z_dim=4, dim_mult=[1, 2, 4], num_res_blocks=1,
            temperal_downsample=[False, True], latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
        ),
        text_encoder=Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=Qwen2Tokenizer(vocab=vocabulary, merges=[], unk_token="_"),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip
    return _saved(pipeline, folder)


MAKERS: dict[str, Callable[[Path], Path]] = {
    "sd3": make_sd3, "flux": make_flux, "pixart": make_pixart, "qwen-image": make_qwen_image,
}  # fmt: skip


def _seed() -> None:
    torch.manual_seed(0)


def _vae(vae_class: Any, **more: Any) -> Any:
    return vae_class(
        block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=32, **more,
    )  # fmt: skip


def _t5() -> tuple[Any, Any]:
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    config = T5Config(
        vocab_size=400, d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2, pad_token_id=0
    )
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(letters, -3.0) for letters in (*SYLLABLES, *"abcdefghijklmnopqrstuvwxyz")]
    return T5EncoderModel(config), T5Tokenizer(vocab=pieces, extra_ids=0)


def _clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    for piece in (*letters, *(f"{letter}</w>" for letter in letters)):
        vocabulary[piece] = len(vocabulary)
    merges: list[tuple[str, str]] = []
    for pair in SYLLABLES[:80]:
        merges.append((pair[0], pair[1]))
        vocabulary[pair] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def _saved(pipeline: Any, folder: Path) -> Path:
    for network in pipeline.components.values():
        if isinstance(network, torch.nn.Module):
            for parameter in network.parameters():  # some begin at 0 and would do nothing
                if parameter.abs().max() == 0:
                    torch.nn.init.normal_(parameter, std=0.05)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
