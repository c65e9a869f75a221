"""Which family a stripped checkpoint is of, and which of its variants, for every oddity known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints.stripped import (
    BIG_G,
    REFINER_UNET,
    SD1_TEXT,
    SD1_UNET,
    SD1_VAE,
    SD2_TEXT,
    SD2_UNET,
    SDXL_UNET,
    Shapes,
    as_header,
    clip_shapes,
    lora_shapes,
    read_stripped,
)
from webui.checkpoints.families import FAMILIES
from webui.checkpoints.families.model import Frame
from webui.checkpoints.folders import folder_pipeline, identify_folder, stated_size
from webui.checkpoints.headers import Header
from webui.checkpoints.identify import identify
from webui.checkpoints.keys import FIRST_LAYER
from webui.checkpoints.load_parts import build_text, single_file_sources
from webui.checkpoints.rules import describe
from webui.checkpoints.specs import ArchSpec
from webui.errors import CheckpointError, UnknownArchitectureError

V, EPSILON, ASK = "v_prediction", "epsilon", "ask"
Change = Callable[[Shapes], Shapes]


def shapes_of(name: str) -> Shapes:
    return {key: (t.dtype, t.shape) for key, t in read_stripped(name).tensors.items()}


def channels(count: int) -> Change:
    def change(shapes: Shapes) -> Shapes:
        dtype, shape = shapes[FIRST_LAYER]
        return shapes | {FIRST_LAYER: (dtype, (shape[0], count, *shape[2:]))}

    return change


def marked(*names: str) -> Change:
    return lambda shapes: shapes | dict.fromkeys(names, ("F32", ()))


def without(*parts: str) -> Change:
    return lambda shapes: {
        name: value for name, value in shapes.items() if not any(p in name for p in parts)
    }


def renamed(old: str, new: str) -> Change:
    return lambda shapes: {name.replace(old, new): value for name, value in shapes.items()}


def stored_as(dtype: str) -> Change:
    return lambda shapes: {name: (dtype, shape) for name, (_, shape) in shapes.items()}


def with_averages(shapes: Shapes) -> Shapes:
    """What training leaves behind: averaged weights under names without dots, and counters."""
    unet = {n: v for n, v in shapes.items() if n.startswith("model.diffusion_model.")}
    averages = {"model_ema." + n.removeprefix("model.").replace(".", ""): v
                for n, v in unet.items()}  # fmt: skip
    return shapes | averages | {"model_ema.decay": ("F32", ()), "global_step": ("I64", ())}


def as_is(shapes: Shapes) -> Shapes:
    return shapes


@pytest.mark.parametrize(
    ("name", "change", "title", "wanted"),
    [
        ("sd1", as_is, "an SD 1.x checkpoint", ("sd1", "paint", EPSILON, False)),
        ("sd1", channels(9), "an SD 1.x inpainting checkpoint", ("sd1", "inpaint", EPSILON, False)),
        ("sd1", marked("v_pred"), "an SD 1.x checkpoint", ("sd1", "paint", V, False)),
        ("sd2", as_is, "an SD 2.x checkpoint", ("sd2", "paint", ASK, False)),
        ("sd2", marked("v_pred"), "an SD 2.x checkpoint", ("sd2", "paint", V, False)),
        ("sd2", channels(9), "an SD 2.x inpainting checkpoint", ("sd2", "inpaint", EPSILON, False)),
        ("sd2", channels(8), "an SD 2.x InstructPix2Pix checkpoint",
         ("sd2", "edit", EPSILON, False)),
        ("sd2", renamed("cond_stage_model.model.", "conditioner.embedders.0.model."),
         "an SD 2.x checkpoint", ("sd2", "paint", ASK, False)),
        ("sdxl", as_is, "an SDXL checkpoint", ("sdxl", "paint", EPSILON, False)),
        ("sdxl", marked("v_pred"), "an SDXL checkpoint", ("sdxl", "paint", V, False)),
        ("sdxl", marked("v_pred", "ztsnr"), "an SDXL checkpoint", ("sdxl", "paint", V, True)),
        ("sdxl", channels(9), "an SDXL inpainting checkpoint",
         ("sdxl", "inpaint", EPSILON, False)),
        ("sdxl", channels(8), "an SDXL InstructPix2Pix checkpoint",
         ("sdxl", "edit", EPSILON, False)),
        ("sdxl-refiner", as_is, "an SDXL refiner checkpoint",
         ("sdxl-refiner", "paint", EPSILON, False)),
        ("sdxl-refiner", without("conditioner."), "an SDXL refiner checkpoint",
         ("sdxl-refiner", "paint", EPSILON, False)),
    ],
)  # fmt: skip
def test_family_purpose_and_prediction_show_in_names_and_shapes(
    name: str, change: Change, title: str, wanted: tuple[Any, ...]
) -> None:
    header = as_header(name, change(shapes_of(name)))
    spec = identify(header)
    found = (spec.family, spec.purpose, spec.prediction_type, spec.zero_terminal_snr)
    assert found == wanted
    assert (describe(header).title, describe(header).family) == (title, spec.family)


@pytest.mark.parametrize(
    ("name", "unet", "texts"),
    [
        ("sd1", SD1_UNET, (SD1_TEXT,)),
        ("sd2", SD2_UNET, (SD2_TEXT,)),
        ("sdxl", SDXL_UNET, (SD1_TEXT, BIG_G)),
        ("sdxl-refiner", REFINER_UNET, (BIG_G,)),
    ],
)
@pytest.mark.parametrize(
    "oddity",
    [
        as_is,
        with_averages,
        marked("betas", "alphas_cumprod", "cond_stage_model.logit_scale", "x.y"),
        renamed("position_ids", "position_ids_of_a_merger"),
        without("position_ids", "logit_scale"),
    ],
)
def test_every_number_of_a_family_is_right_whatever_lies_beside_it(
    name: str, unet: Any, texts: Any, oddity: Change
) -> None:
    spec = identify(as_header(name, oddity(shapes_of(name))))
    assert (spec.unet, spec.texts) == (unet, texts)
    assert spec.vae is not None
    assert spec.vae.scaling_factor == FAMILIES[name].scaling_factor
    assert spec.vae.channels == SD1_VAE.channels


@pytest.mark.parametrize("text", ["text_model.", ""])
def test_sd2_under_transformers_names_is_not_taken_for_sd1(text: str) -> None:
    """As people put single files together from diffusers' folders; its last layer is cut there."""
    shapes = without("cond_stage_model.")(shapes_of("sd2"))
    names = clip_shapes("cond_stage_model.transformer.", SD2_TEXT)
    header = as_header("sd2", shapes | renamed("text_model.", text)(names))
    spec = identify(header)
    assert (spec.family, spec.unet, spec.texts) == ("sd2", SD2_UNET, (SD2_TEXT,))
    assert describe(header).family == "sd2"
    found = single_file_sources(header, spec)["text_encoder"]
    wanted = build_text(SD2_TEXT).state_dict()
    assert {n: s.shape(header.tensors[s.name]) for n, s in found.items()} == {
        n.removeprefix("text_model."): tuple(tensor.shape) for n, tensor in wanted.items()
    }


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"])
def test_number_format_changes_nothing_else(name: str, dtype: str) -> None:
    spec = identify(as_header(name, stored_as(dtype)(shapes_of(name))))
    assert spec.dtype == dtype
    assert vars(spec) | {"dtype": ""} == vars(identify(read_stripped(name))) | {"dtype": ""}


@pytest.mark.parametrize("name", FAMILIES)
def test_missing_parts_are_listed_for_every_family(name: str) -> None:
    shapes = shapes_of(name)
    texts = ("cond_stage_model.", "conditioner.embedders.")
    assert identify(as_header(name, without("first_stage_model")(shapes))).missing == ("vae",)
    assert identify(as_header(name, without(*texts)(shapes))).missing == ("text_encoder",)


def test_sdxl_with_one_of_its_text_encoders_lacks_its_text_encoder() -> None:
    shapes = without("conditioner.embedders.0")(shapes_of("sdxl"))
    assert identify(as_header("half", shapes)).missing == ("text_encoder",)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("sd2", channels(5), "an SD 2.x depth checkpoint"),
        ("sd2", channels(7), "an SD 2.x upscaling checkpoint"),
        ("sd2", marked("model.diffusion_model.label_emb.0.0.weight"),
         "an SD 2.x unCLIP checkpoint"),
        ("sdxl", marked("edm_mean", "edm_std"), "a Playground v2.5 checkpoint"),
        ("sdxl", marked("edm_vpred.sigma_max"), "a CosXL checkpoint"),
        ("sdxl", without("middle_block.1."), "a thinned-out SDXL checkpoint"),
        ("sdxl", marked("encoder_hid_proj.weight"), "a Kolors checkpoint"),
        ("sd1", marked("cond_stage_model.roberta.x"), "an AltDiffusion checkpoint"),
    ],
)  # fmt: skip
def test_relatives_that_cannot_be_painted_with_are_named(
    name: str, change: Change, words: str
) -> None:
    with pytest.raises(UnknownArchitectureError, match=r"SD 1\.x, SD 2\.x and SDXL") as caught:
        identify(as_header(name, change(shapes_of(name))))
    assert words in caught.value.message and "Choose" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("sdxl", without("output_blocks.0.1.transformer_blocks.9"), "thinned out"),
        ("sdxl", without("input_blocks.8.1.transformer_blocks.9",
                         "input_blocks.7.1.transformer_blocks.9"), "thinned out"),
        ("sdxl", without("label_emb."), "makes? a vector of 2816 and its U-Net takes 0"),
        ("sdxl", without("text_projection"), "text_projection"),
        ("sd2", without("transformer.resblocks."), "no layers"),
    ],
)  # fmt: skip
def test_parts_that_make_up_no_model_are_said(name: str, change: Change, words: str) -> None:
    with pytest.raises(UnknownArchitectureError, match=words):
        identify(as_header(name, change(shapes_of(name))))


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        ({"modelspec.prediction_type": "v"}, V),
        ({"modelspec.prediction_type": "epsilon"}, EPSILON),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, V),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v/lora"}, V),
        ({"modelspec.architecture": "stable-diffusion-v2-512"}, ASK),
    ],
)
def test_what_a_file_says_of_its_prediction_is_believed(
    metadata: Mapping[str, str], wanted: str
) -> None:
    assert identify(as_header("a", shapes_of("sd2"), metadata)).prediction_type == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('parameterization: "v"', V),
        ("target: sgm.modules.diffusionmodules.denoiser_scaling.VScaling", V),
        ("target: sgm.modules.diffusionmodules.denoiser_scaling.EpsScaling", EPSILON),
        ("target: ldm.models", EPSILON),
    ],
)
def test_a_yaml_beside_the_file_is_read_as_data(tmp_path: Path, text: str, wanted: str) -> None:
    (tmp_path / "a.yaml").write_text(f"model:\n  params:\n    {text}\n")
    tensors = read_stripped("sd2").tensors
    header = Header(tmp_path / "a.safetensors", "safetensors", tensors)
    assert identify(header).prediction_type == wanted


def test_sizes_are_told_height_first_and_scores_where_they_belong() -> None:
    frame = Frame(832, 1216, crop_top=3, crop_left=5, aesthetic_score=2.5)
    assert FAMILIES["sdxl"].numbers(frame) == (1216, 832, 3, 5, 1216, 832)
    assert FAMILIES["sdxl-refiner"].numbers(frame) == (1216, 832, 3, 5, 2.5)
    assert FAMILIES["sd1"].numbers(frame) == FAMILIES["sd2"].numbers(frame) == ()


# Diffusers folders, by their configuration files alone


def folder(path: Path, pipeline: str, spec: ArchSpec, schedule: Mapping[str, Any]) -> Path:
    """Configuration files as diffusers and transformers write them."""
    from webui.checkpoints.load_parts import empty_parts

    for part, module in empty_parts(spec).items():
        module: Any = module
        if part.startswith("text"):
            module.config.save_pretrained(path / part)
        else:
            module.save_config(path / part)
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule))
    (path / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    return path


@pytest.mark.parametrize(
    ("name", "pipeline", "schedule", "wanted"),
    [
        ("sd1", "StableDiffusionPipeline", {}, (EPSILON, False)),
        ("sd2", "StableDiffusionPipeline", {"prediction_type": V}, (V, False)),
        ("sdxl", "StableDiffusionXLPipeline",
         {"prediction_type": V, "rescale_betas_zero_snr": True}, (V, True)),
        ("sdxl-refiner", "StableDiffusionXLImg2ImgPipeline", {}, (EPSILON, False)),
    ],
)  # fmt: skip
def test_folder_has_the_shape_of_the_single_file(
    tmp_path: Path, name: str, pipeline: str, schedule: Any, wanted: tuple[str, bool]
) -> None:
    single = identify(read_stripped(name))
    path = folder(tmp_path, pipeline, single, schedule)
    found = identify_folder(path)
    same = ("family", "purpose", "unet", "vae", "texts")
    assert [getattr(found, key) for key in same] == [getattr(single, key) for key in same]
    assert (found.layout, found.prediction_type, found.zero_terminal_snr) == ("diffusers", *wanted)
    assert folder_pipeline(path) == pipeline


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("unet", {"block_out_channels": []}),
        ("unet", {"attention_head_dim": 0, "num_attention_heads": 0}),
        ("unet", {"attention_head_dim": [8, 8], "num_attention_heads": None}),
        ("unet", {"norm_num_groups": 0}),
        ("unet", {"down_block_types": [1, 2, 3, 4]}),
        ("unet", {"transformer_layers_per_block": []}),
        ("unet", {"cross_attention_dim": float("inf")}),
        ("unet", {"time_cond_proj_dim": 256}),
        ("vae", {"block_out_channels": []}),
        ("text_encoder", {"hidden_size": "wide"}),
    ],
)
def test_folder_with_senseless_numbers_is_refused_in_words(
    tmp_path: Path, part: str, values: Mapping[str, Any]
) -> None:
    path = folder(tmp_path, "StableDiffusionPipeline", identify(read_stripped("sd1")), {})
    file = path / part / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    with pytest.raises(UnknownArchitectureError, match="does not describe a model"):
        identify_folder(path)


@pytest.mark.parametrize(
    ("network", "config", "vae", "wanted"),
    [
        ("transformer", {"sample_size": 128}, {"block_out_channels": [1, 2, 3, 4]}, 1024),
        ("transformer", {"sample_size": 16}, {"encoder_block_out_channels": [1] * 6}, 512),
        ("unet", {"sample_size": 96}, {}, 768),
        ("transformer", {}, {"sample_size": 1024, "block_out_channels": [1, 2, 3, 4]}, 1024),
        ("transformer", {"sample_size": [60, 90]}, {}, 0),
        ("prior", {}, {}, 0),
    ],
)
def test_folder_says_how_large_its_pictures_are(
    tmp_path: Path, network: str, config: Any, vae: Any, wanted: int
) -> None:
    for part, values in ((network, config), ("vae", vae)):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(values))
    assert stated_size(tmp_path) == wanted


def test_folder_with_another_prediction_is_refused(tmp_path: Path) -> None:
    spec = identify(read_stripped("sd1"))
    path = folder(tmp_path, "StableDiffusionPipeline", spec, {"prediction_type": "sample"})
    with pytest.raises(UnknownArchitectureError, match="predicts 'sample'"):
        identify_folder(path)


def test_folder_of_another_pipeline_says_which(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "ZImagePipeline"}')
    assert folder_pipeline(tmp_path) == "ZImagePipeline"
    with pytest.raises(UnknownArchitectureError, match="ZImagePipeline"):
        identify_folder(tmp_path)
    (tmp_path / "model_index.json").write_text("[]")
    with pytest.raises(CheckpointError, match="not a JSON object"):
        folder_pipeline(tmp_path)


def test_lora_for_sdxl_is_not_taken_for_sdxl() -> None:
    assert describe(as_header("x", lora_shapes(2048))).kind == "lora"
