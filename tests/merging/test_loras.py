"""LoRAs out of checkpoints, into checkpoints, and into each other."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.checkpoints.stripped import BIG_G, SD1_TEXT, SD1_UNET, SDXL_UNET
from tests.merging.conftest import model_file
from webui.checkpoints.identify import identify_file
from webui.checkpoints.load import load_checkpoint
from webui.checkpoints.load_parts import build_text, build_unet
from webui.checkpoints.lora_file import read_lora
from webui.errors import CheckpointError
from webui.merging.extract import extract_lora
from webui.merging.loras import bake_loras, merge_loras
from webui.networks.lora.applying import NetworkChange, set_changes
from webui.networks.lora.kohya import (
    has_original_names,
    kohya_name,
    text_prefix,
    text_targets,
    unet_targets,
)
from webui.networks.lora.matching import match_layers, text_layers, unet_layers
from webui.params import BakeLoras, ExtractLora, MergeLoras
from webui.progress import Silent

STARTER_LORA = Path(__file__).parents[2] / "models" / "Lora" / "starter-hedgehog.safetensors"
QUIET = Silent()


def told(message: str) -> None:
    pytest.fail(message)


def baked(checkpoint: Path, folder: Path, loras: Mapping[Path, float], **wishes: Any) -> Path:
    params = BakeLoras(
        checkpoint_name="x", loras=[{"name": p.stem, "weight": w} for p, w in loras.items()],
        **wishes,
    )  # fmt: skip
    files = [model_file(path) for path in loras]
    return bake_loras(params, model_file(checkpoint), files, folder, QUIET, told)


def extracted(tuned: Path, original: Path, folder: Path, **wishes: Any) -> Path:
    params = ExtractLora(model_tuned="a", model_org="b", **wishes)
    return extract_lora(params, model_file(tuned), model_file(original), folder, QUIET)


def merged(folder: Path, loras: Mapping[Path, float], **wishes: Any) -> Path:
    params = MergeLoras(loras=[{"name": p.stem, "weight": w} for p, w in loras.items()], **wishes)
    return merge_loras(params, [model_file(path) for path in loras], folder, QUIET)


def deltas(path: Path, checkpoint: Path) -> dict[str, torch.Tensor]:
    """What our networks room makes of a LoRA on a checkpoint: path → change of the weight."""
    model = load_checkpoint(checkpoint, for_painting=False)
    tables = {"unet": unet_layers(model.unet), "text": text_layers(_text(model))}
    match = match_layers(read_lora(path), tables)
    assert not match.strangers and not match.unfit
    found = {}
    for part, layers in match.layers.items():
        for name, change in layers.items():
            assert change.weight is not None
            shape = tables[part].shapes[name]
            found[f"{part}.{name}"] = change.weight.delta(torch.zeros(shape))
    return found


def _text(model: Any) -> torch.nn.Module:
    return model.parts["text_encoder"] if hasattr(model, "parts") else model.text_encoder


@pytest.fixture(scope="module")
def tuned(starter_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter with its LoRA inside, in float32."""
    folder = tmp_path_factory.mktemp("tuned")
    return baked(starter_checkpoint, folder, {STARTER_LORA: 0.8}, precision="fp32")


def test_baked_checkpoint_calculates_as_the_lora_put_on(
    tuned: Path, starter_checkpoint: Path
) -> None:
    assert tuned.name == "starter-emoji + 0.8(starter-hedgehog).safetensors"
    inside = load_checkpoint(tuned, for_painting=False)
    outside = load_checkpoint(starter_checkpoint, for_painting=False)
    plain = load_checkpoint(starter_checkpoint, for_painting=False)
    lora = read_lora(STARTER_LORA)
    tables = {"unet": unet_layers(outside.unet), "text": text_layers(_text(outside))}
    match = match_layers(lora, tables)
    for part, network in (("unet", outside.unet), ("text", _text(outside))):
        set_changes(network, [NetworkChange("key", match.layers[part], 0.8)])
    latents, text = torch.randn(1, 4, 8, 8), torch.randn(1, 7, inside.spec.unet.context_dim)
    with torch.inference_mode():
        ours, theirs, without = (
            m.unet(latents, 500, encoder_hidden_states=text).sample
            for m in (inside, outside, plain)
        )
        tokens = torch.tensor([[49406, 320, 49407]])
        ours_text, theirs_text = (_text(m)(tokens).last_hidden_state for m in (inside, outside))
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.allclose(ours_text, theirs_text, atol=1e-5)
    assert not torch.allclose(ours, without, atol=1e-2), "the LoRA does something"


def test_extracted_lora_gives_the_difference_back(
    tuned: Path, starter_checkpoint: Path, tmp_path: Path
) -> None:
    wishes = {"dim": 32, "clamp_quantile": 1.0, "precision": "fp32", "min_diff": 0.0}
    path = extracted(tuned, starter_checkpoint, tmp_path, **wishes)
    assert path.name == "starter-emoji + 0.8(starter-hedgehog)-lora.safetensors"
    wanted, found = deltas(STARTER_LORA, starter_checkpoint), deltas(path, starter_checkpoint)
    assert set(found) >= set(wanted)
    for name, delta in wanted.items():
        error = (found[name] - 0.8 * delta).norm() / (0.8 * delta).norm()
        assert error < 1e-3, (name, float(error))


def test_extracted_lora_of_low_rank_is_the_best_there_is(
    tuned: Path, starter_checkpoint: Path, tmp_path: Path
) -> None:
    path = extracted(tuned, starter_checkpoint, tmp_path, dim=2, clamp_quantile=1.0)
    wanted, found = deltas(STARTER_LORA, starter_checkpoint), deltas(path, starter_checkpoint)
    name = max(wanted, key=lambda n: wanted[n].norm())
    change = 0.8 * wanted[name].flatten(1)
    lengths = torch.linalg.svdvals(change)
    best = lengths[2:].norm()
    error = (found[name].flatten(1) - change).norm()
    assert best > 0 and error <= best * 1.01 + 1e-3 * change.norm()


def test_extracted_lora_is_described_as_kohya_does(
    tuned: Path, starter_checkpoint: Path, tmp_path: Path
) -> None:
    path = extracted(tuned, starter_checkpoint, tmp_path, dim=4, conv_dim=2, custom_name="mine")
    with safe_open(path, "pt") as file:
        said, names = file.metadata(), set(file.keys())
    assert said["ss_network_module"] == "networks.lora" and said["ss_v2"] == "False"
    assert said["ss_base_model_version"] == "sd_v1"
    assert (said["ss_network_dim"], said["ss_network_alpha"]) == ("4", "4.0")
    assert json.loads(said["ss_network_args"]) == {"conv_dim": "2", "conv_alpha": "2.0"}
    assert said["modelspec.title"] == "mine"
    assert said["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert len(said["sshs_model_hash"]) == 64 and len(said["sshs_legacy_hash"]) == 8
    tensors = load_file(path)
    base = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    assert f"{base}.lora_down.weight" in names
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    assert float(tensors[f"{base}.alpha"]) == tensors[f"{base}.lora_down.weight"].shape[0]


def test_checkpoints_that_do_not_differ_are_told(starter_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="do not differ"):
        extracted(starter_checkpoint, starter_checkpoint, tmp_path)


def test_text_encoder_that_differs_by_rounding_is_left_out(
    tuned: Path, starter_checkpoint: Path, tmp_path: Path
) -> None:
    few = extracted(tuned, starter_checkpoint, tmp_path, dim=1, min_diff=1.0)
    with safe_open(few, "pt") as file:
        assert not [name for name in file.keys() if name.startswith("lora_te")]  # noqa: SIM118


def small_lora(path: Path, seed: int, rank: int, style: str = "kohya", alpha: float = 2) -> Path:
    """A LoRA of two layers, as kohya or diffusers write it."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    if style == "kohya":
        a, b = "lora_unet_down_blocks_0_attentions_0_proj_in", (
            "lora_te_text_model_encoder_layers_0_mlp_fc1"
        )  # fmt: skip
        up, down = ".lora_up.weight", ".lora_down.weight"
    else:
        a, b = "unet.down_blocks.0.attentions.0.proj_in", (
            "text_encoder.text_model.encoder.layers.0.mlp.fc1"
        )  # fmt: skip
        up, down = ".lora_B.weight", ".lora_A.weight"
    tensors = {
        a + up: drawn(64, rank, 1, 1), a + down: drawn(rank, 64, 1, 1),
        b + up: drawn(512, rank), b + down: drawn(rank, 128),
    }  # fmt: skip
    if style == "kohya":
        tensors |= {f"{a}.alpha": torch.tensor(alpha), f"{b}.alpha": torch.tensor(alpha)}
    save_file(tensors, path, {"ss_base_model_version": "sd_v1"})
    return path


def changes(path: Path) -> dict[str, torch.Tensor]:
    """Layer under kohya's name → its change as a matrix."""
    found = {}
    for name, change in read_lora(path).layers.items():
        shapes = {"proj_in": (64, 64), "mlp_fc1": (512, 128)}
        shape = next(s for end, s in shapes.items() if name.endswith(end))
        assert change.weight is not None
        found[kohya_name(name, "sd1")] = change.weight.delta(torch.zeros(shape))
    return found


@pytest.mark.parametrize("style", ["kohya", "diffusers"])
def test_loras_side_by_side_do_exactly_what_they_do_together(style: str, tmp_path: Path) -> None:
    a = small_lora(tmp_path / "a.safetensors", 1, 4)
    b = small_lora(tmp_path / "b.safetensors", 2, 3, style)
    path = merged(tmp_path / "out", {a: 0.7, b: -0.5}, precision="fp32")
    assert path.name == "0.7(a) + -0.5(b).safetensors"
    one, two, both = changes(a), changes(b), changes(path)
    assert set(both) == set(one)
    for name, change in both.items():
        assert torch.allclose(change, 0.7 * one[name] - 0.5 * two[name], atol=1e-4), name
    with safe_open(path, "pt") as file:
        assert file.metadata()["ss_network_dim"] == "7"


def test_lora_of_little_weight_keeps_its_digits_in_float16(tmp_path: Path) -> None:
    a = small_lora(tmp_path / "a.safetensors", 1, 4, alpha=0.001)
    one, found = changes(a), changes(merged(tmp_path / "out", {a: -0.01}))
    for name, change in found.items():
        wanted = -0.01 * one[name]
        assert (change - wanted).norm() < 1e-3 * wanted.norm(), name


def test_loras_of_one_rank_are_the_best_of_that_rank(tmp_path: Path) -> None:
    a = small_lora(tmp_path / "a.safetensors", 1, 4)
    b = small_lora(tmp_path / "b.safetensors", 2, 3)
    path = merged(tmp_path / "out", {a: 1, b: 1}, precision="fp32", dim=3)
    one, two, both = changes(a), changes(b), changes(path)
    for name, change in both.items():
        whole = one[name] + two[name]
        best = torch.linalg.svdvals(whole)[3:].norm()
        assert (change - whole).norm() <= best * 1.001


def test_loras_that_are_no_plain_products_are_named(tmp_path: Path) -> None:
    a = small_lora(tmp_path / "a.safetensors", 1, 4)
    b = tmp_path / "b.safetensors"
    layer = "lora_unet_down_blocks_0_attentions_0_proj_in"
    save_file({f"{layer}.diff": torch.ones(64, 64)}, b)
    with pytest.raises(CheckpointError, match="b has layers that are no plain LoRA: lora_unet"):
        merged(tmp_path / "out", {a: 1, b: 1})


def test_loras_of_other_families_are_refused(tmp_path: Path, starter_checkpoint: Path) -> None:
    a = small_lora(tmp_path / "a.safetensors", 1, 4)
    xl = tmp_path / "xl.safetensors"
    layer = "lora_unet_output_blocks_0_1_transformer_blocks_9_attn2_to_k"
    tensors = {f"{layer}.lora_up.weight": torch.ones(8, 2)}
    save_file({**tensors, f"{layer}.lora_down.weight": torch.ones(2, 2048)}, xl)
    with pytest.raises(CheckpointError, match=r"a is for SD 1.x, .* is for SDXL"):
        merged(tmp_path / "out", {a: 1, xl: 1})
    with pytest.raises(CheckpointError, match="changes no layer of starter-emoji"):
        baked(starter_checkpoint, tmp_path, {xl: 1.0})


def test_damaged_loras_are_named(tmp_path: Path, starter_checkpoint: Path) -> None:
    a = small_lora(tmp_path / "a.safetensors", 1, 4)
    layer = "lora_unet_down_blocks_0_attentions_0_proj_in"
    broken = tmp_path / "broken.safetensors"
    for value, told in (
        (torch.ones(64, 3, 1, 1), "do not go together"),
        (torch.full((64, 4, 1, 1), torch.nan), "NaN"),
    ):
        save_file({**load_file(a), f"{layer}.lora_up.weight": value}, broken)
        with pytest.raises(
            CheckpointError, match=f"broken.* {layer}.*{told}|broken.*{told}.*{layer}"
        ):
            merged(tmp_path / "out", {a: 1, broken: 1}, dim=2)
    huge = tmp_path / "huge.safetensors"
    save_file({n: t * 1e20 if t.ndim else t for n, t in load_file(a).items()}, huge)
    with pytest.raises(CheckpointError, match=r"With the LoRAs .* numbers that are not finite"):
        baked(starter_checkpoint, tmp_path / "out", {huge: 1.0}, precision="fp32")
    assert not list((tmp_path / "out").glob("*"))


def test_checkpoint_that_lacks_a_layer_is_told(
    tuned: Path, starter_checkpoint: Path, tmp_path: Path
) -> None:
    state = load_file(starter_checkpoint)
    name = next(n for n in state if n.endswith("transformer_blocks.0.attn1.to_q.weight"))
    part = tmp_path / "part.safetensors"
    save_file({n: t for n, t in state.items() if n != name}, part)
    with pytest.raises(CheckpointError, match=r"part.safetensors is incomplete: .*attn1\.to_q"):
        baked(part, tmp_path, {STARTER_LORA: 1.0})
    with pytest.raises(CheckpointError, match=r"part.safetensors is incomplete: .*attn1\.to_q"):
        extracted(tuned, part, tmp_path)
    state[name] = torch.full_like(state[name], torch.inf)
    save_file(state, part)
    with pytest.raises(CheckpointError, match=r"attn1.to_q of part.safetensors .* not finite"):
        extracted(part, starter_checkpoint, tmp_path)


def test_targets_are_kohyas(project: Path) -> None:
    keys = json.loads(gzip.decompress((project / "tests/data/lora-keys.json.gz").read_bytes()))

    def names(found: Any) -> set[str]:
        return {target.name for target in found}

    for family, file, unet in (("sd1", "sd15", SD1_UNET), ("sdxl", "sdxl", SDXL_UNET)):
        wanted = {name for name, *_ in keys[file]["unet"]}
        network, named = build_unet(unet), has_original_names(family)
        assert names(unet_targets(network, original_names=named, has_convolutions=True)) == wanted
        few = names(unet_targets(network, original_names=named, has_convolutions=False))
        assert len(few) == {"sd1": 192, "sdxl": 722}[family] and few < wanted
    texts = names(text_targets(build_text(SD1_TEXT), text_prefix("sd1", 1)))
    assert texts == {name for name, *_ in keys["sd15"]["text_encoder"]}
    both = names(text_targets(build_text(SD1_TEXT), text_prefix("sdxl", 1)))
    both |= names(text_targets(build_text(BIG_G), text_prefix("sdxl", 2)))
    assert both == {name for name, *_ in keys["sdxl"]["text_encoder"]}


def test_sdxls_joined_tensors_are_changed_where_the_lora_says(
    small_xl: Path, tmp_path: Path
) -> None:
    assert identify_file(small_xl).family == "sdxl"
    layers = {
        "lora_te2_text_model_encoder_layers_1_self_attn_k_proj": (64, 64),
        "lora_unet_input_blocks_4_1_proj_in": (64, 64),
    }
    tensors = {}
    for name, (rows, columns) in layers.items():
        tensors[f"{name}.lora_up.weight"] = torch.randn(rows, 2)
        tensors[f"{name}.lora_down.weight"] = torch.randn(2, columns)
    lora = tmp_path / "xl-lora.safetensors"
    save_file(tensors, lora)
    path = baked(small_xl, tmp_path, {lora: 0.5}, custom_name="with")
    before, after = load_file(small_xl), load_file(path)
    joined = "conditioner.embedders.1.model.transformer.resblocks.1.attn.in_proj_weight"
    projection = "model.diffusion_model.input_blocks.4.1.proj_in.weight"
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {joined, projection}
    up, down = (
        tensors[f"lora_te2_text_model_encoder_layers_1_self_attn_k_proj.lora_{end}.weight"]
        for end in ("up", "down")
    )
    difference = after[joined] - before[joined]
    assert torch.allclose(difference[64:128], 0.5 * up @ down, atol=1e-5)
    assert not difference[:64].any() and not difference[128:].any()
    back = extracted(path, small_xl, tmp_path, dim=2, clamp_quantile=1.0, precision="fp32")
    found = read_lora(back).layers
    assert set(found) == set(layers)
    for name, change in found.items():
        up, down = (tensors[f"{name}.lora_{end}.weight"] for end in ("up", "down"))
        assert change.weight is not None
        assert torch.allclose(change.weight.delta(torch.zeros(64, 64)), 0.5 * up @ down, atol=1e-4)
