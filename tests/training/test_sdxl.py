"""SDXL in small: two text encoders, sizes told, kohya's original names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from tests.training.small_training import FewPictures, Notes, options_of
from webui.checkpoints.families import FAMILIES
from webui.checkpoints.headers import read_header
from webui.checkpoints.load import alphas_cumprod
from webui.checkpoints.lora_file import read_lora
from webui.networks.lora.matching import match_layers, text_layers, unet_layers
from webui.prompts.tokenizer import ClipTokenizer
from webui.training.base import Base, TextEncoder
from webui.training.batch import Batch
from webui.training.metadata import Hashes
from webui.training.texts import CaptionEncoder
from webui.training.trainer import Trainer


def text(width: int, kind: Any = CLIPTextModel, pad: int = 49407) -> Any:
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, projection_dim=width,
        num_attention_heads=2, eos_token_id=49407, pad_token_id=pad,
    )  # fmt: skip
    return kind(config)


@pytest.fixture(scope="module")
def base() -> Base:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16, 16), layers_per_block=2, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2), attention_head_dim=(1, 2, 2),
        cross_attention_dim=24, use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=16 + 6 * 8,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 4, 4), norm_num_groups=2, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    networks = (text(8), text(16, CLIPTextModelWithProjection, 0))
    texts = [
        TextEncoder(facts, network.eval().requires_grad_(False))
        for facts, network in zip(FAMILIES["sdxl"].texts, networks, strict=True)
    ]
    return Base(
        "sdxl", lambda: unet.eval().requires_grad_(False), texts, vae.eval(), alphas_cumprod(),
        0.13025, torch.device("cpu"), torch.float32, Path("small-xl"),
    )  # fmt: skip


def test_words_when_encoded_for_sdxl_then_two_states_side_by_side_and_a_pooled_vector(
    base: Base,
) -> None:
    told = CaptionEncoder(base.texts, ClipTokenizer.load(), length=150).encode(["a cat", ""])
    assert told.states.shape == (2, 152, 24)
    assert told.pooled is not None and told.pooled.shape == (2, 16)
    network: Any = base.texts[1].network
    ids = torch.tensor([[49406, 320, 2368, 49407, *[0] * 73]])
    output = network(input_ids=ids, output_hidden_states=True)
    short = CaptionEncoder(base.texts, ClipTokenizer.load()).encode(["a cat"])
    assert torch.allclose(short.states[..., 8:], output.hidden_states[-2], atol=1e-6)
    assert short.pooled is not None
    assert torch.allclose(short.pooled, output.text_embeds, atol=1e-6)


def test_sizes_when_told_then_height_before_width(base: Base) -> None:
    batch = Batch(("a",), (1.0,), (832, 1216), ((600, 900),), ((3, 5),))
    told = base.extra_conditioning(torch.zeros(1, 16), batch)
    assert told is not None and told["time_ids"].tolist() == [[900, 600, 5, 3, 1216, 832]]


def test_training_when_sdxl_then_the_file_has_original_names_and_fits(
    base: Base, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    options = options_of(
        network_train_unet_only=False, text_encoder_lr=1e-3, max_train_epochs=1,
        network_args=("conv_dim=2",), cache_latents=True,
    )  # fmt: skip
    notes = Notes()
    outcome = Trainer(
        options, base, FewPictures(count=2), notes, folder=tmp_path,
        autosave=tmp_path / "autosave", checkpoint=Hashes("xl", "", ""),
    ).run()  # fmt: skip
    path = outcome.files[-1]
    tensors = safetensors.torch.load_file(path)
    assert "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_up.weight" in tensors
    assert "lora_unet_output_blocks_2_2_conv.lora_down.weight" in tensors
    for part in ("lora_unet", "lora_te1", "lora_te2"):
        ups = [t for n, t in tensors.items() if n.startswith(f"{part}_") and "lora_up" in n]
        assert any(up.any() for up in ups), f"{part} has learnt"
    tables = {
        "unet": unet_layers(base.unet),
        "one": text_layers(base.texts[0].network, 1),
        "two": text_layers(base.texts[1].network, 2),
    }
    match = match_layers(read_lora(path), tables)
    assert not match.strangers and not match.unfit and match.applied == len(tensors) // 3
    told = read_header(path).metadata
    assert told["ss_base_model_version"] == "sdxl_base_v1-0"
    assert told["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
