"""ControlNets: told by names and shapes, and loaded to what diffusers calculates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoints.small_families import folder, make, single_file
from tests.checkpoints.stripped import (
    SD1_UNET,
    SD2_UNET,
    SDXL_UNET,
    Shapes,
    as_header,
)
from tests.control_files import controlnet_for, original_state, over_unet, write
from webui.checkpoints.control_specs import ControlSpec, read_controlnet
from webui.checkpoints.load import load_part
from webui.checkpoints.load_controlnet import (
    LoadedControlNet,
    controlnet_bytes,
    load_controlnet,
)
from webui.checkpoints.specs import UNetSpec
from webui.errors import CheckpointError, UnknownArchitectureError
from webui.networks.packing import unpack_weights


def full_size(unet: UNetSpec) -> Any:
    """A ControlNet for a U-Net of that shape, without memory."""
    from diffusers.models.controlnets.controlnet import ControlNetModel

    config = unet.config()
    for name in ("sample_size", "out_channels", "up_block_types"):
        del config[name]
    with torch.device("meta"):
        return ControlNetModel(**config)


def shapes(state: Any) -> Shapes:
    return {name: ("F16", tuple(tensor.shape)) for name, tensor in state.items()}


@pytest.mark.parametrize("form", ["control_model.", "", "diffusers"])
@pytest.mark.parametrize(
    ("family", "unet"), [("sd1", SD1_UNET), ("sd2", SD2_UNET), ("sdxl", SDXL_UNET)]
)
def test_controlnet_when_only_its_shapes_are_known_then_all_of_it_is_read(
    family: str, unet: UNetSpec, form: str
) -> None:
    control = full_size(unet)
    if form == "diffusers":
        named = shapes(control.state_dict())
    else:
        named = shapes({form + name: t for name, t in original_state(control).items()})
    spec = read_controlnet(as_header("control_v11p_any_canny", named))
    assert spec.family == family and not spec.misfit(unet, family)
    assert spec.unet == unet
    assert spec.hint_channels == (16, 32, 96, 256)


def test_controlnet_when_it_is_the_small_sdxl_one_then_it_has_no_text() -> None:
    plain = ("DownBlock2D",) * 3
    from diffusers.models.controlnets.controlnet import ControlNetModel

    with torch.device("meta"):
        small = ControlNetModel(
            down_block_types=plain, mid_block_type="UNetMidBlock2D",
            block_out_channels=(320, 640, 1280), addition_embed_type="text_time",
            addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        )  # fmt: skip
    spec = read_controlnet(as_header("diffusers_xl_canny_small", shapes(small.state_dict())))
    assert (spec.family, spec.unet.context_dim, spec.unet.middle_depth) == ("sdxl", 0, 0)
    assert spec.misfit(SDXL_UNET, "sdxl") == ""
    with torch.device("meta"):
        built = ControlNetModel(**spec.config())
    assert shapes(built.state_dict()) == shapes(small.state_dict())


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        ("lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.down.0.weight", "LLLite"),
        ("lora_controlnet", "Control-LoRA"),
        ("task_embedding", "Union"),
        ("adapter.body.0.in_conv.weight", "T2I-Adapter"),
        ("body.0.in_conv.weight", "T2I-Adapter"),
        ("style_embedding", "T2I-Adapter"),
        ("controlnet_x_embedder.weight", "newer model"),
    ],
)
def test_controlnet_when_it_is_of_another_kind_then_it_is_refused_by_name(
    tensor: str, what: str
) -> None:
    named = {tensor: ("F16", (8, 8)), "adapter.conv_in.weight": ("F16", (8, 8))}
    with pytest.raises(UnknownArchitectureError, match=what):
        read_controlnet(as_header("other", named))


def test_controlnet_when_a_convolution_is_a_lone_number_then_it_is_refused() -> None:
    named = shapes(full_size(SD1_UNET).state_dict())
    named["controlnet_cond_embedding.blocks.1.weight"] = ("F16", ())
    with pytest.raises(UnknownArchitectureError, match="no convolution"):
        read_controlnet(as_header("odd", named))


def test_controlnet_when_it_is_of_another_family_then_says_for_which() -> None:
    spec = read_controlnet(as_header("xl", shapes(full_size(SDXL_UNET).state_dict())))
    assert "SDXL" in spec.misfit(SD1_UNET, "sd1")
    narrow = read_controlnet(as_header("sd", shapes(full_size(SD1_UNET).state_dict())))
    assert "widths" in narrow.misfit(UNetSpec(4, 4, (32, 64), 2, (1, 1), 64, 8, 8), "sd1")


@pytest.fixture(scope="module")
def starter_unet(starter_checkpoint: Path) -> Any:
    return load_part(starter_checkpoint, "unet")


@pytest.mark.parametrize("family", ["starter", "sd2", "sdxl"])
def test_controlnet_when_loaded_then_calculates_as_diffusers(
    family: str, starter_unet: Any, tmp_path: Path
) -> None:
    unet = starter_unet if family == "starter" else make(family).unet
    control = controlnet_for(unet)
    if family == "sd2":  # diffusers' own file in its own folder
        control.save_pretrained(tmp_path)
        path = tmp_path / "diffusion_pytorch_model.safetensors"
    else:
        path = write(control, tmp_path / "control.safetensors")
    loaded = load_controlnet(path)
    width = control.config["cross_attention_dim"]
    inputs = torch.randn(2, 4, 8, 8), torch.tensor([3.0, 700.0]), torch.randn(2, 77, width)
    hint = torch.rand(2, 3, 64, 64)
    more = {}
    if family == "sdxl":
        more = {"added_cond_kwargs": {"text_embeds": torch.randn(2, 96),
                                      "time_ids": torch.rand(2, 6) * 64}}  # fmt: skip
    with torch.inference_mode():
        down, middle = loaded.network(*inputs, hint, return_dict=False, **more)
        right, right_middle = control(*inputs, hint, return_dict=False, **more)
    for ours, theirs in zip([*down, middle], [*right, right_middle], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert float(right_middle.abs().max()) > 0.01
    assert controlnet_bytes(path, torch.float32) == sum(
        4 * weight.numel() for weight in control.state_dict().values()
    )


def test_controlnet_when_its_file_is_cut_short_then_says_what_lacks(
    starter_unet: Any, tmp_path: Path
) -> None:
    control = controlnet_for(starter_unet)
    path = tmp_path / "control.safetensors"
    from safetensors.torch import save_file

    state = original_state(control)
    del state["zero_convs.3.0.weight"]
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    with pytest.raises(CheckpointError, match=r"lacks 1 of the tensors"):
        load_controlnet(path)


@pytest.mark.parametrize(("family", "form"), [("sdxl", "lora"), ("sd2", "difference")])
def test_controlnet_when_stored_as_what_it_has_more_then_is_added_to_the_checkpoint(
    family: str, form: str, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    small = make(family)
    control = controlnet_for(small.unet)
    state = over_unet(small.unet, control, form)
    path = tmp_path / "control.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    if form == "lora":
        base = folder(small, tmp_path / "folder")
    else:
        base = single_file(small, tmp_path / "base.safetensors")
    loaded = load_controlnet(path, base=base)
    assert isinstance(loaded, LoadedControlNet)
    assert loaded.spec.over == form and loaded.spec.family == family
    assert path.stat().st_size < controlnet_bytes(path, torch.float32) or form == "difference"
    unpack_weights(loaded.network)
    found = loaded.network.state_dict()
    for name, tensor in control.state_dict().items():
        assert torch.allclose(found[name], tensor, atol=1e-6), name
    with pytest.raises(UnknownArchitectureError):
        load_controlnet(path, base=path)


def test_controlnet_when_made_for_another_checkpoint_then_is_not_added_to_it(
    starter_unet: Any, starter_checkpoint: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    small = make("sdxl")
    state = over_unet(small.unet, controlnet_for(small.unet), "difference")
    path = tmp_path / "control.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    with pytest.raises(CheckpointError, match="cannot be added to"):
        load_controlnet(path, base=starter_checkpoint)
    spec = read_controlnet(as_header("xl", shapes(state)))
    assert isinstance(spec, ControlSpec)
    deeper = replace(spec.unet, depths=(0, 4), middle_depth=4)
    assert "depths" in spec.misfit(deeper, "sdxl") and not spec.misfit(spec.unet, "sdxl")
