"""Loading: exactly what diffusers and transformers make of the same files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers.models.clip.modeling_clip import CLIPTextModel

from tests.checkpoints.model_files import STARTER, write_safetensors
from webui.checkpoints.headers import read_header
from webui.checkpoints.identify import identify
from webui.checkpoints.load import (
    LoadedModel,
    alphas_cumprod,
    estimate_bytes,
    load_checkpoint,
)
from webui.checkpoints.load_parts import build_text, build_unet, build_vae, load_vae
from webui.checkpoints.specs import ArchSpec
from webui.errors import CheckpointError, UnknownArchitectureError, UnsafeCheckpointError

CLIP = "cond_stage_model.transformer."


def config_folder(spec: ArchSpec, folder: Path) -> Path:
    """The configuration folder that diffusers wants, from our reading of the file."""
    assert spec.vae is not None
    for part, module in (("unet", build_unet(spec.unet)), ("vae", build_vae(spec.vae))):
        module.save_config(folder / part)
    build_text(spec.texts[0]).config.save_pretrained(folder / "text_encoder")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder


def diffusers_folder(path: Path, folder: Path) -> Path:
    """The same model as a diffusers folder, written by diffusers' own single-file loader."""
    spec = identify(read_header(path))
    config = config_folder(spec, folder / "config")
    target = folder / "model"
    for part, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        kind.from_single_file(
            str(path), config=str(config), subfolder=part, local_files_only=True,
            torch_dtype=torch.float32,
        ).save_pretrained(target / part)  # fmt: skip
    text = {
        name.removeprefix(CLIP): tensor.float()
        for name, tensor in load_file(path).items()
        if name.startswith(CLIP) and "position_ids" not in name
    }
    (target / "text_encoder").mkdir(parents=True)
    save_file(text, target / "text_encoder" / "model.safetensors", metadata={"format": "pt"})
    shutil.copy(config / "text_encoder" / "config.json", target / "text_encoder")
    shutil.copy(config / "model_index.json", target)
    return target


@pytest.fixture(scope="module", params=["starter", "small"])
def both(
    request: pytest.FixtureRequest, small_checkpoint: Path, tmp_path_factory: Any
) -> tuple[Path, Path]:
    """A single file and diffusers' reading of it."""
    path = STARTER if request.param == "starter" else small_checkpoint
    return path, diffusers_folder(path, tmp_path_factory.mktemp("reference"))


def random_inputs(model: LoadedModel) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, model.spec.in_channels, 8, 8, generator=generator)
    tokens = torch.randint(0, 49000, (2, 77), generator=generator)
    return latents, torch.tensor([900.0, 3.0]), tokens


def run(unet: Any, vae: Any, text: Any, inputs: Any) -> list[torch.Tensor]:
    latents, timesteps, tokens = inputs
    with torch.inference_mode():
        states = text(tokens).last_hidden_state
        noise = unet(latents, timesteps, encoder_hidden_states=states).sample
        pixels = vae.decode(latents).sample
        return [states, noise, pixels, vae.encode(pixels).latent_dist.mean]


def test_loaded_model_equals_diffusers_and_transformers(both: tuple[Path, Path]) -> None:
    path, folder = both
    model = load_checkpoint(path, for_painting=False)
    reference = {
        "unet": UNet2DConditionModel.from_pretrained(folder / "unet").eval(),
        "vae": AutoencoderKL.from_pretrained(folder / "vae").eval(),
        "text_encoder": CLIPTextModel.from_pretrained(folder / "text_encoder").eval(),
    }
    for part, other in reference.items():
        found, wanted = getattr(model, part).state_dict(), other.state_dict()
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    inputs = random_inputs(model)
    outputs = zip(
        run(model.unet, model.vae, model.text_encoder, inputs),
        run(*reference.values(), inputs),
        strict=True,
    )
    for one, other in outputs:  # 1e-6: a sum's order depends on where in memory a weight begins
        assert (one - other).abs().max() <= 1e-6 * other.abs().max()


def test_layout_for_speed_changes_results_by_rounding_only(both: tuple[Path, Path]) -> None:
    plain, fast = (load_checkpoint(both[0], for_painting=p) for p in (False, True))
    inputs = random_inputs(plain)
    wanted = run(plain.unet, plain.vae, plain.text_encoder, inputs)
    found = run(fast.unet, fast.vae, fast.text_encoder, inputs)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_diffusers_folder_equals_single_file(both: tuple[Path, Path]) -> None:
    path, folder = both
    one, other = load_checkpoint(path), load_checkpoint(folder)
    assert other.spec.layout == "diffusers"
    assert (one.spec.unet, one.spec.vae, one.spec.texts) == (
        other.spec.unet, other.spec.vae, other.spec.texts,
    )  # fmt: skip
    inputs = random_inputs(one)
    for a, b in zip(
        run(one.unet, one.vae, one.text_encoder, inputs),
        run(other.unet, other.vae, other.text_encoder, inputs),
        strict=True,
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("zipped", [True, False])
def test_ckpt_with_training_leftovers_equals_safetensors(
    zipped: bool, small_state: dict[str, Any], small_checkpoint: Path, tmp_path: Path
) -> None:
    extras = {"model_ema.decay": torch.ones(()), "betas": torch.ones(1000), "x.y": torch.ones(3)}
    content = {
        "state_dict": {**small_state, **extras},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(4)}}}],
        "epoch": 7,
    }
    path = tmp_path / "small.ckpt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    one, other = load_checkpoint(small_checkpoint), load_checkpoint(path)
    assert other.stray == one.stray + len(extras)
    for part in ("unet", "vae", "text_encoder"):
        a, b = getattr(one, part).state_dict(), getattr(other, part).state_dict()
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_model_with_every_layer_of_full_size_equals_diffusers(tmp_path: Path) -> None:
    """All of SD 1.x's layers, a fifth as wide: names and shapes of its full width are compared in
    test_load_families.py."""
    from tests.checkpoints.stripped import SD1_TEXT, SD1_UNET, SD1_VAE, sd1_shapes

    shapes = sd1_shapes(
        replace(SD1_UNET, channels=(64, 128, 256, 256)),
        replace(SD1_VAE, channels=(32, 64, 128, 128)),
        replace(SD1_TEXT, layers=2),
    )
    generator = torch.Generator().manual_seed(3)
    state = {
        name: torch.arange(77)[None] if kind == "I64" else
        torch.randn(shape, generator=generator).half()
        for name, (kind, shape) in shapes.items()
    }  # fmt: skip
    path = tmp_path / "whole.safetensors"
    save_file(state, path)
    model = load_checkpoint(path, dtype=torch.float16, for_painting=False)
    config = config_folder(model.spec, tmp_path / "config")
    for part, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
        wanted = kind.from_single_file(
            str(path), config=str(config), subfolder=part, local_files_only=True,
            torch_dtype=torch.float16,
        ).state_dict()  # fmt: skip
        found = getattr(model, part).state_dict()
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_weights_have_the_wanted_dtypes_and_ask_for_no_gradient() -> None:
    model = load_checkpoint(STARTER, dtype=torch.bfloat16, vae_dtype=torch.float32)
    assert {p.dtype for p in model.unet.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in model.text_encoder.parameters()} == {torch.bfloat16}
    assert model.vae.dtype == torch.float32
    assert not any(p.requires_grad for p in model.unet.parameters())
    assert not model.unet.training


def test_memory_estimate_from_the_header_is_exact() -> None:
    for dtype in (torch.float32, torch.float16):
        model = load_checkpoint(STARTER, dtype=dtype)
        positions = 77 * 8  # the constant that is made, not stored
        assert estimate_bytes(STARTER, dtype) == model.nbytes - positions


def test_memory_is_counted_the_same_before_and_after_packing() -> None:
    model = load_checkpoint(STARTER)
    before = model.nbytes
    run(model.unet, model.vae, model.text_encoder, random_inputs(model))
    assert model.nbytes == before


@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
def test_file_may_be_overwritten_and_deleted_after_loading(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    if ending == ".ckpt":
        torch.save(load_file(STARTER), path)
    else:
        shutil.copy(STARTER, path)
    model = load_checkpoint(path, dtype=torch.float16)  # as stored: nothing needs converting
    before = {n: t.clone() for n, t in model.unet.state_dict().items()}
    with open(path, "r+b") as file:  # in place, so that a mapping would show it
        size = file.seek(0, 2)
        file.seek(size // 2)
        file.write(b"\xff" * (size // 2))
    path.unlink()
    after = model.unet.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_noise_schedule_is_stable_diffusions() -> None:
    found = alphas_cumprod()
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    wanted = [1.0]
    for beta in betas.tolist():
        wanted.append(wanted[-1] * (1 - beta))
    assert torch.allclose(found.double(), torch.tensor(wanted[1:]).double(), rtol=1e-6)
    assert found[0] == pytest.approx(0.99915) and found[-1] == pytest.approx(0.0046600, rel=1e-4)


def test_zero_terminal_schedule_keeps_its_start_and_ends_in_noise() -> None:
    plain, zero = alphas_cumprod(), alphas_cumprod(is_zero_terminal=True)
    assert 0 < zero[-1] < 1e-7  # 0 itself would be an endless noise level
    assert zero[0] == pytest.approx(float(plain[0]))
    assert (zero[1:] < zero[:-1]).all()


# Other VAEs


@pytest.mark.parametrize("prefix", ["", "first_stage_model.", "vae."])
def test_vae_file_with_original_names_replaces_the_own_one(prefix: str, tmp_path: Path) -> None:
    tensors = {
        prefix + name.removeprefix("first_stage_model."): tensor.clone()
        for name, tensor in load_file(STARTER).items()
        if name.startswith("first_stage_model.")
    }
    tensors[f"{prefix}decoder.conv_out.bias"] += 1
    path = write_safetensors(tmp_path / "brighter.vae.safetensors", tensors)
    own, other = load_checkpoint(STARTER), load_checkpoint(STARTER, vae_path=path)
    assert other.vae_path == path
    latents = torch.randn(1, 4, 8, 8)
    with torch.inference_mode():
        difference = other.vae.decode(latents).sample - own.vae.decode(latents).sample
    assert torch.allclose(difference, torch.ones(()), atol=2e-3)  # stored in float16


@pytest.mark.parametrize("old_names", [False, True])
def test_vae_file_with_diffusers_names_is_the_same_vae(old_names: bool, tmp_path: Path) -> None:
    own = load_checkpoint(STARTER, for_painting=False)
    state = dict(own.vae.state_dict())
    if old_names:
        table = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
        for new, old in table.items():
            for name in [n for n in state if f"attentions.0.{new}." in n]:
                state[name.replace(new, old)] = state.pop(name)
    path = write_safetensors(tmp_path / "vae.safetensors", state)
    found = load_vae(path).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in own.vae.state_dict().items())


def test_separate_vae_keeps_the_checkpoints_scale(tmp_path: Path) -> None:
    own = load_checkpoint(STARTER, for_painting=False)
    path = write_safetensors(
        tmp_path / "v.safetensors",
        own.vae.state_dict(),
        {"starter_config": json.dumps({"vae": {"scaling_factor": 0.5}})},
    )
    other = load_checkpoint(STARTER, vae_path=path)
    assert other.vae.config["scaling_factor"] == 0.5
    assert other.scaling_factor == own.scaling_factor != 0.5


# What cannot be loaded


def without(state: dict[str, Any], *parts: str) -> dict[str, Any]:
    return {n: t.clone() for n, t in state.items() if not any(p in n for p in parts)}


def test_missing_tensors_are_counted_and_named(small_state: dict[str, Any], tmp_path: Path) -> None:
    state = without(small_state, "input_blocks.4.1.proj_in", "middle_block.0.emb_layers")
    path = write_safetensors(tmp_path / "holes.safetensors", state)
    with pytest.raises(CheckpointError, match="lacks 4 of the tensors") as caught:
        load_checkpoint(path)
    assert "down_blocks.1.attentions.0.proj_in.weight" in caught.value.missing


def test_tensor_of_wrong_shape_is_named(small_state: dict[str, Any], tmp_path: Path) -> None:
    state = without(small_state)
    state["model.diffusion_model.time_embed.0.weight"] = torch.zeros(3, 5)
    path = write_safetensors(tmp_path / "odd.safetensors", state)
    with pytest.raises(CheckpointError, match=r"time_embed.0.weight.*\[3, 5\]"):
        load_checkpoint(path)


def test_missing_vae_is_asked_for(small_state: dict[str, Any], tmp_path: Path) -> None:
    path = write_safetensors(
        tmp_path / "no-vae.safetensors", without(small_state, "first_stage_model")
    )
    with pytest.raises(CheckpointError, match="holds no VAE") as caught:
        load_checkpoint(path)
    assert "models/VAE" in caught.value.hint


def test_vae_of_other_size_can_serve_a_checkpoint_without_one(
    small_state: dict[str, Any], small_checkpoint: Path, tmp_path: Path
) -> None:
    path = write_safetensors(
        tmp_path / "no-vae.safetensors", without(small_state, "first_stage_model")
    )
    vae = write_safetensors(
        tmp_path / "vae.safetensors",
        {n: t.clone() for n, t in small_state.items() if n.startswith("first_stage_model")},
    )
    found = load_checkpoint(path, vae_path=vae).vae.state_dict()
    wanted = load_checkpoint(small_checkpoint).vae.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_missing_text_encoder_is_said(small_state: dict[str, Any], tmp_path: Path) -> None:
    state = without(small_state, "cond_stage_model.transformer")
    state["cond_stage_model.transformer.odd"] = torch.ones(1)
    path = write_safetensors(tmp_path / "mute.safetensors", state)
    with pytest.raises(CheckpointError, match="holds no text encoder"):
        load_checkpoint(path)


def test_lora_chosen_as_checkpoint_is_named(tmp_path: Path) -> None:
    path = write_safetensors(
        tmp_path / "style.safetensors", {"lora_unet_x.lora_down.weight": torch.ones(4, 8)}
    )
    with pytest.raises(UnknownArchitectureError, match="is a LoRA"):
        load_checkpoint(path)


def test_malicious_checkpoint_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("gotcha",)

    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {"a": torch.ones(1)}, "b": Evil()}, path)
    with pytest.raises(UnsafeCheckpointError, match="print"):
        load_checkpoint(path)


def test_folder_of_another_pipeline_is_named(tmp_path: Path) -> None:
    index = {"_class_name": "FluxPipeline"}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UnknownArchitectureError, match="FluxPipeline"):
        load_checkpoint(tmp_path)


def test_folder_without_weights_is_said(small_checkpoint: Path, tmp_path: Path) -> None:
    config_folder(identify(read_header(small_checkpoint)), tmp_path)
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_checkpoint(tmp_path)


def test_text_encoder_names_without_text_model_are_read(
    small_state: dict[str, Any], small_checkpoint: Path, tmp_path: Path
) -> None:
    state = {n.replace("transformer.text_model.", "transformer."): t.clone()
             for n, t in small_state.items()}  # fmt: skip
    path = write_safetensors(tmp_path / "flat.safetensors", state)
    found = load_checkpoint(path).text_encoder.state_dict()
    wanted = load_checkpoint(small_checkpoint).text_encoder.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("channels", [8, 9])
def test_models_with_more_input_channels_load(
    channels: int, small_state: dict[str, Any], tmp_path: Path
) -> None:
    state = without(small_state)
    name = "model.diffusion_model.input_blocks.0.0.weight"
    state[name] = torch.randn(state[name].shape[0], channels, 3, 3)
    model = load_checkpoint(write_safetensors(tmp_path / "more.safetensors", state))
    assert model.spec.in_channels == model.unet.config["in_channels"] == channels
