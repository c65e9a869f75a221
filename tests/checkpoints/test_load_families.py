"""SD 2.x, SDXL and its refiner, loaded: exactly the weights that diffusers and transformers had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)

from tests.checkpoints.small_families import folder, make, original_state, single_file
from tests.checkpoints.stripped import read_stripped
from webui.checkpoints.identify import identify
from webui.checkpoints.load import asked_prediction, estimate_bytes, load_checkpoint
from webui.checkpoints.load_parts import Place, build_unet, build_vae, single_file_sources
from webui.errors import CheckpointError

FAMILIES = ("sd2", "sdxl", "sdxl-refiner")
CPU = torch.device("cpu")


def assert_same(found: Any, wanted: Any) -> None:
    """Two modules have the same weights under the same names."""
    found, wanted = found.state_dict(), wanted.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_single_file_and_folder_hold_the_weights_they_were_written_from(
    family: str, tmp_path: Path
) -> None:
    small = make(family)
    for path in (
        single_file(small, tmp_path / "small.safetensors"),
        folder(small, tmp_path / "small"),
    ):
        model = load_checkpoint(path, for_painting=False)
        assert model.spec.family == family
        assert_same(model.unet, small.unet)
        assert_same(model.vae, small.vae)
        assert list(model.parts) == [*small.texts, "unet", "vae"]
        for text, wanted in zip(model.text_encoders, small.texts.values(), strict=True):
            assert_same(text, wanted)
        assert model.scaling_factor == small.vae.config["scaling_factor"]
        positions = 77 * 8 * len(small.texts)  # the constants that are made, not stored
        assert estimate_bytes(path, torch.float32) == model.nbytes - positions


@pytest.mark.parametrize("family", FAMILIES)
def test_the_original_names_are_those_that_diffusers_reads(family: str) -> None:
    """The files of these tests are judged by diffusers' own reader, so that the table of names
    in them is not only its own mirror."""
    small = make(family)
    state = original_state(small)
    unet = convert_ldm_unet_checkpoint(dict(state), dict(small.unet.config))
    wanted = small.unet.state_dict()
    assert unet.keys() == wanted.keys()
    assert all(torch.equal(unet[name], wanted[name]) for name in wanted)
    name = list(small.texts)[-1]
    prefix = {"sd2": "cond_stage_model.model.", "sdxl": "conditioner.embedders.1.model.",
              "sdxl-refiner": "conditioner.embedders.0.model."}[family]  # fmt: skip
    text = convert_open_clip_checkpoint(small.texts[name], dict(state), prefix=prefix)
    text = {n.removeprefix("text_model."): t for n, t in text.items()}
    flat = {n.removeprefix("text_model."): t for n, t in small.texts[name].state_dict().items()}
    assert all(torch.equal(text[n], flat[n]) for n in flat)


@pytest.mark.parametrize("family", ["sd1", *FAMILIES])
def test_names_of_full_size_are_those_that_diffusers_reads(family: str) -> None:
    """Tensors without data go through diffusers' reader; each must come out where ours puts it."""
    header = read_stripped(family)
    spec = identify(header)
    assert spec.vae is not None
    state: dict[str, Any] = {
        name: torch.empty(info.shape, device="meta") for name, info in header.tensors.items()
    }
    ours = single_file_sources(header, spec)
    theirs = {
        "unet": convert_ldm_unet_checkpoint(dict(state), dict(build_unet(spec.unet).config)),
        "vae": convert_ldm_vae_checkpoint(dict(state), dict(build_vae(spec.vae).config)),
    }
    for part, converted in theirs.items():
        assert ours[part].keys() == converted.keys()
        moved = [n for n, s in ours[part].items() if converted[n] is not state[s.name]]
        # diffusers makes matrices of the 1×1 convolutions in the VAE's attention
        assert part == "vae" or not moved
        assert all(".attentions.0.to_" in n and n.endswith("weight") for n in moved)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_files_in_other_number_formats_are_read_as_the_numbers_they_hold(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    from tests.checkpoints.model_files import write_safetensors

    small = make("sdxl")
    state = {n: t.to(dtype) for n, t in original_state(small).items()}
    model = load_checkpoint(write_safetensors(tmp_path / "a.safetensors", state))
    assert model.unet.dtype == torch.float32
    wanted = small.unet.conv_in.weight.to(dtype).float()
    assert torch.equal(model.unet.conv_in.weight, wanted)


def test_what_belongs_to_no_part_is_counted_and_left(tmp_path: Path) -> None:
    small = make("sdxl")
    more = {"v_pred": torch.ones(()), "ztsnr": torch.ones(()), "model_ema.x": torch.ones(3)}
    model = load_checkpoint(single_file(small, tmp_path / "a.safetensors", more))
    plain = load_checkpoint(single_file(small, tmp_path / "b.safetensors"))
    assert plain.stray == 2  # positions, and OpenCLIP's scale for pictures
    assert model.stray == plain.stray + 3
    assert (plain.prediction_type, model.prediction_type) == ("epsilon", "v_prediction")
    assert 0 < model.alphas_cumprod[-1] < 1e-7 < plain.alphas_cumprod[-1]


def test_folder_says_its_prediction(tmp_path: Path) -> None:
    schedule = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    model = load_checkpoint(folder(make("sd2"), tmp_path / "v", schedule))
    assert model.prediction_type == "v_prediction" and model.alphas_cumprod[-1] < 1e-7


@pytest.mark.parametrize(("offset", "wanted"), [(0.0, "epsilon"), (-1.6, "v_prediction")])
def test_a_network_is_asked_for_its_prediction_when_its_file_says_nothing(
    offset: float, wanted: str, tmp_path: Path
) -> None:
    """What a network answers at the last timestep is set by its last bias here."""
    small = make("sd2")
    small.unet.conv_out.weight.zero_()
    small.unet.conv_out.bias.fill_(0.5 + offset)
    assert asked_prediction(small.unet, Place(CPU, torch.float32)) == wanted
    path = single_file(small, tmp_path / "a.safetensors")
    assert load_checkpoint(path).prediction_type == wanted


def test_missing_vae_is_asked_for_and_keeps_the_familys_scale(tmp_path: Path) -> None:
    from tests.checkpoints.model_files import write_safetensors

    state = original_state(make("sdxl"))
    vae = {n: t for n, t in state.items() if n.startswith("first_stage_model")}
    rest = write_safetensors(
        tmp_path / "a.safetensors", {n: t for n, t in state.items() if n not in vae}
    )
    with pytest.raises(CheckpointError, match="holds no VAE"):
        load_checkpoint(rest)
    model = load_checkpoint(rest, vae_path=write_safetensors(tmp_path / "v.safetensors", vae))
    assert model.scaling_factor == 0.13025


@pytest.mark.parametrize("channels", [8, 9])
def test_variants_that_see_more_than_noise_load(channels: int, tmp_path: Path) -> None:
    small = make("sdxl", channels)
    model = load_checkpoint(single_file(small, tmp_path / "a.safetensors"))
    assert model.unet.config["in_channels"] == channels
    assert model.spec.purpose == {8: "edit", 9: "inpaint"}[channels]
