"""What a LoRA file holds: kohya's names and shapes at full size, metadata, hashes."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from tests.training.small_training import options_of
from webui.params.training import TrainingOptions
from webui.training.adapters import Dropouts
from webui.training.lora_file import model_hashes, write_lora
from webui.training.metadata import Hashes, RunFacts, file_metadata
from webui.training.network import TEXT, UNET, LoraNetwork, Target, wanted_layers
from webui.training.network_args import BlockPlan, NetworkArgs, read_network_args
from webui.training.steps import training_length

SDXL_UNET: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


@pytest.fixture(scope="module")
def wanted(project: Path) -> dict[str, Any]:
    """The vectors: for each part rows of name, kind, inputs, outputs, kernel."""
    return json.loads(gzip.decompress((project / "tests/data/lora-keys.json.gz").read_bytes()))


def text(width: int, layers: int, heads: int) -> CLIPTextModel:
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=heads,
    )  # fmt: skip
    return CLIPTextModel(config)


@functools.cache
def targets(family: str) -> list[Target]:
    """The networks of a family in full size, without memory."""
    with torch.device("meta"):
        if family == "sdxl":
            return [
                Target(TEXT, "lora_te1", text(768, 12, 12)),
                Target(TEXT, "lora_te2", text(1280, 32, 20)),
                Target(UNET, "lora_unet", UNet2DConditionModel(**SDXL_UNET), True),
            ]
        unet = UNet2DConditionModel(cross_attention_dim=768)
        return [Target(TEXT, "lora_te", text(768, 12, 12)), Target(UNET, "lora_unet", unet)]


@pytest.mark.parametrize(("family", "plain", "with_convolutions"), [
    ("sd15", 264, 350), ("sdxl", 264 + 722, 264 + 788),
])  # fmt: skip
def test_names_when_full_size_then_exactly_those_of_the_vectors(
    wanted: dict[str, Any], family: str, plain: int, with_convolutions: int
) -> None:
    networks = targets("sdxl" if family == "sdxl" else "sd1")
    rows = {name: row for part in wanted[family].values() for name, *row in part}
    for conv_dim, count in ((None, plain), (3, with_convolutions)):
        layers = wanted_layers(networks, NetworkArgs(dim=2, alpha=1.0, conv_dim=conv_dim))
        names = {one.name for one in layers}
        assert len(layers) == count
        assert names == rows.keys() if conv_dim else names < rows.keys()
        with torch.device("meta"):
            network = LoraNetwork(layers, Dropouts())
        tensors = network.tensors()
        for name in names:
            kind, inputs, outputs, kernel = rows[name]
            rank = conv_dim if kernel > 1 else 2
            ends = (kernel,) * 2 if "conv" in kind else ()
            down = tensors[f"{name}.lora_down.weight"]
            up = tensors[f"{name}.lora_up.weight"]
            assert tuple(down.shape) == (rank, inputs, *ends), name
            assert tuple(up.shape) == (outputs, rank, *(1 for _ in ends)), name
        assert len(tensors) == 3 * count
        assert all(name.count(".") - name.endswith(".weight") == 1 for name in tensors)


@pytest.mark.parametrize(
    ("preset", "text", "unet"),
    [
        ("full", 72, 278 + 4), ("full-lin", 72, 192 + 22 + 14 + 2), ("attn-mlp", 72, 192),
        ("attn-only", 48, 128), ("unet-only", 0, 278 + 4), ("unet-transformer-only", 0, 192),
        ("unet-convblock-only", 0, 86), ("ia3", 36, 80),
    ],
)  # fmt: skip
def test_layers_when_a_preset_of_lycoris_is_chosen_then_those_of_its_documents(
    preset: str, text: int, unet: int
) -> None:
    options = TrainingOptions(network_module="lycoris.kohya", network_args=(f"preset={preset}",))
    found = [one.name for one in wanted_layers(targets("sd1"), read_network_args(options))]
    assert len([name for name in found if name.startswith("lora_te_")]) == text
    assert len([name for name in found if name.startswith("lora_unet_")]) == unet
    assert ("lora_unet_conv_in" in found) == (unet == 282)


def test_blocks_when_ranks_differ_then_each_block_has_its_own() -> None:
    dims = ",".join(str(i) for i in range(25))
    options = options_of(network_args=(f"block_dims={dims}", "up_lr_weight=zeros+0.5"))
    args = read_network_args(options)
    layers = {one.name: one for one in wanted_layers(targets("sd1"), args, BlockPlan(args, "sd1"))}
    ranks = {
        "lora_unet_down_blocks_0_attentions_0_proj_in": 1,
        "lora_unet_mid_block_attentions_0_proj_in": 12,
        "lora_unet_up_blocks_3_attentions_2_proj_in": 24,
        "lora_te_text_model_encoder_layers_0_mlp_fc1": 2,
    }
    assert {name: layers[name].rank for name in ranks} == ranks


def test_hashes_when_counted_then_those_of_the_vector() -> None:
    tensors = {"a.alpha": torch.tensor(16.0)}
    found = model_hashes(tensors, {"ss_seed": "1", "other": "x"})
    assert found == {
        "sshs_model_hash": "140efb356462f70dd1c7f1dfb10bcc07d0f14d439043fb9e9d50f4d7be71ea96",
        "sshs_legacy_hash": "e3b0c442",
    }


def test_legacy_hash_when_the_file_is_large_then_of_64_kib_at_one_mib() -> None:
    tensors = {"a.alpha": torch.arange(300_000, dtype=torch.float32)}
    told = {"ss_seed": "1"}
    data = safetensors.torch.save(tensors, told)
    expected = hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]
    assert model_hashes(tensors, told)["sshs_legacy_hash"] == expected


def facts(**changed: Any) -> RunFacts:
    options = options_of(resolution=(512, 768), clip_skip=2, **changed)
    return RunFacts(
        options, "sd1", training_length(options, 33), 33, 1, {"ss_tag_frequency": "{}"},
        "torch.optim.adamw.AdamW(weight_decay=0.01)", Hashes("base.safetensors", "1a2b3c4d", "f"),
        None, "7", 1700000000.0,
    )  # fmt: skip


def test_metadata_when_told_then_all_keys_of_the_reference_are_there(project: Path) -> None:
    told = file_metadata(facts(network_args=("conv_dim=8",)), epoch=1, step=33, now=1.7e9)
    for key, value in {
        "ss_resolution": "(512, 768)", "ss_network_args": '{"conv_dim": "8"}', "ss_epoch": "1",
        "ss_max_train_steps": "66", "ss_sd_model_hash": "1a2b3c4d", "ss_seed": "5",
        "ss_base_model_version": "sd_v1", "ss_text_encoder_lr": "None", "ss_unet_lr": "0.001",
        "ss_enable_bucket": "False", "ss_scale_weight_norms": "None",
        "modelspec.architecture": "stable-diffusion-v1/lora", "modelspec.resolution": "512x768",
        "modelspec.encoder_layer": "2", "modelspec.date": "2023-11-14T22:13:20",
    }.items():  # fmt: skip
        assert told[key] == value, key
    assert all(isinstance(value, str) for value in told.values())
    assert "/" not in told["ss_sd_model_name"]


def test_metadata_when_unwanted_then_only_what_readers_need() -> None:
    told = file_metadata(facts(no_metadata=True), epoch=1, step=1, now=1.7e9)
    assert {key for key in told if key.startswith("ss_")} == {
        "ss_v2", "ss_base_model_version", "ss_network_module", "ss_network_dim",
        "ss_network_alpha",
    }  # fmt: skip


def test_metadata_when_times_are_unwanted_then_two_equal_trainings_tell_the_same() -> None:
    def told(now: float, **changed: Any) -> dict[str, str]:
        changed = {"output_name": "", **changed}
        return file_metadata(facts(**changed), epoch=1, step=1, now=now)

    assert told(1.7e9, no_times=True) == told(1.8e9, no_times=True)
    assert told(1.7e9) != told(1.8e9)


def test_file_when_written_twice_then_the_same_bytes_that_others_read(tmp_path: Path) -> None:
    tensors = {"b.alpha": torch.tensor(2.0), "a.up": torch.rand(3, 2), "a.down": torch.rand(2, 3)}
    metadata = {f"ss_{number}": str(number) for number in range(50)}
    files = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
    for file in files:
        write_lora(file, tensors, metadata, None)
    assert files[0].read_bytes() == files[1].read_bytes()
    with safetensors.safe_open(files[0], "pt") as found:
        assert metadata.items() <= found.metadata().items()
        assert all(torch.equal(found.get_tensor(name), tensors[name]) for name in tensors)


def test_file_when_a_pickle_is_asked_for_then_a_plain_dict(tmp_path: Path) -> None:
    write_lora(tmp_path / "a.pt", {"a.alpha": torch.tensor(2.0)}, {}, "bf16")
    found = torch.load(tmp_path / "a.pt", weights_only=True)
    assert found["a.alpha"].dtype == torch.bfloat16
