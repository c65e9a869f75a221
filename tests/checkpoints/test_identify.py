"""What a file is, told from stripped checkpoints: names, shapes, dtypes, no tensors."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from tests.checkpoints.model_files import STARTER
from tests.checkpoints.stripped import (
    SD1_TEXT,
    SD1_UNET,
    SD1_VAE,
    as_header,
    read_stripped,
    sd1_shapes,
)
from webui.checkpoints.headers import Header, TensorInfo, read_header
from webui.checkpoints.identify import identify, identify_vae, misplaced
from webui.checkpoints.records import Record
from webui.checkpoints.rules import RULES, describe
from webui.checkpoints.specs import TextSpec, UNetSpec, VaeSpec
from webui.errors import UnknownArchitectureError


def test_sd1_of_full_size_has_every_number_right() -> None:
    spec = identify(read_stripped("sd1"))
    assert (spec.unet, spec.vae, spec.texts) == (SD1_UNET, SD1_VAE, (SD1_TEXT,))
    assert (spec.family, spec.purpose, spec.dtype) == ("sd1", "paint", "F16")
    assert spec.prediction_type == "epsilon"
    assert spec.missing == ()


def test_starter_has_the_shape_its_recipe_states() -> None:
    spec = identify(read_header(STARTER))
    assert spec.unet == UNetSpec(
        4, 4, (64, 128, 160, 64), 1, (True, True, True, False), 128, heads=8, groups=16
    )
    assert spec.vae == VaeSpec((32, 32, 64, 128), 1, groups=8)
    assert spec.texts == (TextSpec(128, 4, 2, 512),)


def test_starter_without_its_metadata_is_the_same_by_rule() -> None:
    header = read_header(STARTER)
    assert header.metadata
    plain = Header(header.path, header.format, header.tensors)
    assert identify(plain) == identify(header)


def test_stated_configuration_wins_over_the_rule() -> None:
    stated = {"starter_config": json.dumps({"unet": {"norm_num_groups": 4, "num_heads": 4}})}
    spec = identify(as_header("a", sd1_shapes(), stated))
    assert (spec.unet.groups, spec.unet.heads) == (4, 4)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"unet": 3}', '{"unet": {"num_heads": "8"}}',
             '{"unet": {"num_heads": -1, "norm_num_groups": 1e99}}'],
)  # fmt: skip
def test_damaged_stated_configuration_is_ignored(text: str) -> None:
    assert identify(as_header("a", sd1_shapes(), {"starter_config": text})).unet == SD1_UNET


@pytest.mark.parametrize(
    ("name", "purpose", "channels"), [("sd1-inpaint", "inpaint", 9), ("sd1-edit", "edit", 8)]
)
def test_more_input_channels_show_the_purpose(name: str, purpose: str, channels: int) -> None:
    spec = identify(read_stripped(name))
    assert (spec.purpose, spec.in_channels) == (purpose, channels)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("sd1-inpaint", "an SD 1.x inpainting checkpoint"),
        ("sd1-edit", "an SD 1.x InstructPix2Pix checkpoint"),
        ("sd1-no-vae", "an SD 1.x checkpoint"),
    ],
)
def test_the_purpose_of_a_checkpoint_is_said_in_words(name: str, title: str) -> None:
    assert describe(read_stripped(name)).title == title


@pytest.mark.parametrize(
    ("name", "edits"), [("sd1-edit", True), ("sd1-inpaint", False), ("sd1-no-vae", False)]
)
def test_the_words_tell_whether_a_checkpoint_edits_pictures(name: str, edits: bool) -> None:
    words = describe(read_stripped(name)).title
    record = Record("checkpoint", name, Path(name), 1, 1, contents=words)
    assert record.edits_pictures is edits


@pytest.mark.parametrize(
    ("name", "missing"), [("sd1-no-vae", ("vae",)), ("sd1-no-text", ("text_encoder",))]
)
def test_missing_parts_are_listed(name: str, missing: tuple[str, ...]) -> None:
    assert identify(read_stripped(name)).missing == missing


@pytest.mark.parametrize(
    ("name", "sentence", "hint"),
    [
        ("vae", "is a VAE, not a checkpoint", "Move it to models/VAE"),
        ("lora", "is a LoRA, not a checkpoint", "Move it to models/Lora"),
    ],
)
def test_other_models_are_refused_by_name(name: str, sentence: str, hint: str) -> None:
    with pytest.raises(UnknownArchitectureError, match=sentence) as caught:
        identify(read_stripped(name))
    assert hint in caught.value.hint
    assert sentence in misplaced("checkpoint", read_stripped(name))


OTHERS = {
    "sd3": ["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",
            "model.diffusion_model.x_embedder.proj.weight"],
    "flux": ["double_blocks.0.img_attn.qkv.weight", "single_blocks.0.linear1.weight",
             "img_in.weight"],
    "lumina": ["model.diffusion_model.cap_embedder.1.weight", "x_embedder.weight"],
    "controlnet": ["control_model.input_blocks.0.0.weight"],
    "embedding": ["emb_params"],
    "upscaler": ["conv_first.weight", "body.0.rdb1.conv1.weight"],
    "face": ["stylegan_decoder.style_conv1.weight"],
    "clip-vision": ["vision_model.embeddings.class_embedding"],
    "hypernetwork": ["768.0.linear.0.weight", "768.1.linear.0.weight"],
    "unknown": ["something.else", "entirely"],
}  # fmt: skip


@pytest.mark.parametrize("wanted", OTHERS)
def test_key_names_show_other_kinds_of_file(wanted: str) -> None:
    header = as_header("x", dict.fromkeys(OTHERS[wanted], ("F16", (4, 4))))
    finding = describe(header)
    assert wanted in (finding.family, finding.kind)
    with pytest.raises(UnknownArchitectureError):
        identify(header)


def test_unknown_file_names_the_closest_model() -> None:
    names = ["first_stage_model.x", "cond_stage_model.y", "model.z"]
    with pytest.raises(UnknownArchitectureError) as caught:
        identify(as_header("x", dict.fromkeys(names, ("F16", (1,)))))
    assert caught.value.closest[0] == "an SD 1.x checkpoint"


def test_lora_family_comes_from_metadata_then_from_widths() -> None:
    lora = read_stripped("lora")
    assert describe(lora).family == "sd1"
    stated = Header(lora.path, lora.format, lora.tensors, {"ss_base_model_version": "sdxl_v1"})
    assert describe(stated).family == "sdxl"


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (("unet.x.attn2.to_k.lora_A.weight", "unet.x.attn2.to_k.lora_B.weight"), "sdxl"),
        (("unet.x.attn2.to_k.lora.down.weight", "unet.x.attn2.to_k.lora.up.weight"), "sdxl"),
        (("lora_unet_x_attn2_to_k.hada_w1_b", "lora_unet_x_attn2_to_k.hada_w1_a"), "sdxl"),
        (("text_encoder.q_proj.lora_linear_layer.down.weight",), ""),
        (("lora_unet_x.weight", "lora_unet_x.on_input"), ""),
        (("lora_unet_x.a1.weight", "lora_unet_x.b1.weight"), ""),
        (("lora_te_x.w_norm",), ""),
    ],
)
def test_lora_of_any_format_and_naming_is_one_and_shows_its_family(
    names: tuple[str, ...], family: str
) -> None:
    found = describe(as_header("x", dict.fromkeys(names, ("F16", (4, 2048)))))

    assert (found.kind, found.family) == ("lora", family)


def test_v_prediction_shows_in_marker_metadata_or_yaml(tmp_path: Path) -> None:
    shapes = sd1_shapes()
    marked = as_header("a", {**shapes, "v_pred": ("F32", ()), "ztsnr": ("F32", ())})
    assert identify(marked).prediction_type == "v_prediction"
    assert identify(marked).zero_terminal_snr
    stated = as_header("a", shapes, {"modelspec.prediction_type": "v"})
    assert identify(stated).prediction_type == "v_prediction"
    plain = as_header("a", shapes)
    beside = Header(tmp_path / "a.safetensors", "safetensors", plain.tensors)
    assert identify(beside).prediction_type == "epsilon"
    (tmp_path / "a.yaml").write_text('model:\n  params:\n    parameterization: "v"\n')
    assert identify(beside).prediction_type == "v_prediction"


def test_parts_that_do_not_fit_are_refused() -> None:
    shapes = sd1_shapes(text=TextSpec(512, 12, 8, 2048))
    with pytest.raises(UnknownArchitectureError, match=r"512 wide.*listens to 768"):
        identify(as_header("mixed", shapes))


def test_odd_channel_count_is_refused() -> None:
    unet = UNetSpec(5, 4, SD1_UNET.channels, 2, SD1_UNET.depths, 768, 8, 32)
    with pytest.raises(UnknownArchitectureError, match="5 channels"):
        identify(as_header("depth", sd1_shapes(unet)))


def test_incomplete_unet_is_refused_not_crashed_on() -> None:
    shapes = sd1_shapes()
    for name in list(shapes):
        if "input_blocks.4." in name:
            del shapes[name]
    with pytest.raises(UnknownArchitectureError):
        identify(as_header("holes", shapes))


def test_vae_file_with_either_naming_has_the_same_shape() -> None:
    assert identify_vae(read_stripped("vae")) == SD1_VAE
    from webui.checkpoints.load_parts import build_vae

    tensors = build_vae(SD1_VAE).state_dict()
    header = as_header("d", {name: ("F16", tuple(t.shape)) for name, t in tensors.items()})
    assert identify_vae(header) == SD1_VAE


def test_vae_of_a_newer_model_is_refused_by_its_channels() -> None:
    tensors = dict(read_stripped("vae").tensors)
    tensors["decoder.conv_in.weight"] = TensorInfo("F16", (512, 16, 3, 3))
    with pytest.raises(UnknownArchitectureError, match="16-channel"):
        identify_vae(Header(Path("flux-vae"), "safetensors", tensors))


def test_lora_is_no_vae() -> None:
    with pytest.raises(UnknownArchitectureError, match="is a LoRA, not a VAE"):
        identify_vae(read_stripped("lora"))


def test_every_rule_has_kind_and_title() -> None:
    assert all(rule.kind and rule.title for rule in RULES)
    assert len({rule.title for rule in RULES}) >= len(RULES) - 2


@pytest.mark.parametrize("cut", range(0, 1100, 37))
def test_no_stripped_file_with_missing_tensors_crashes(cut: int) -> None:
    shapes = sd1_shapes()
    for name in sorted(shapes)[cut : cut + 37]:
        del shapes[name]
    header = as_header("holes", shapes)
    describe(header)
    with contextlib.suppress(UnknownArchitectureError):
        identify(header)


@pytest.mark.parametrize(
    ("widths", "family"),
    [
        ((768, 320, 640, 1280), "sd1"),
        ((1024, 320, 640, 1280), "sd2"),
        ((2048, 640, 1280), "sdxl"),
        ((768, 1024, 320, 640, 1280), ""),
        ((320, 640, 1280), ""),
        ((128, 160), ""),
    ],
)
def test_hypernetwork_tells_its_family_by_the_texts_it_changes(
    widths: tuple[int, ...], family: str
) -> None:
    shapes = {
        f"{width}.{which}.linear.0.weight": ("F32", (width * 2, width))
        for width in widths
        for which in (0, 1)
    }
    found = describe(as_header("oil", shapes))
    assert (found.kind, found.family) == ("hypernetwork", family)
