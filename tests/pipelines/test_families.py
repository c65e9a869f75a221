"""SD 2.x, SDXL and its refiner paint as diffusers' and transformers' networks calculate, with
A1111's reading of prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from tests.checkpoints.small_families import Small, make, single_file
from tests.pipelines.conftest import Ear, networks
from tests.pipelines.test_embeddings import entry
from webui.checkpoints.load import load_checkpoint
from webui.checkpoints.load_embedding import EmbeddingReader
from webui.networks.lora.files import read_layers
from webui.params import Hires, Refiner, Sampling, build
from webui.pipelines.conditioning import PassFacts, PromptEncoder
from webui.pipelines.denoiser import CfgDenoiser, Guidance
from webui.pipelines.embeddings import EmbeddingShelf, JobEmbeddings
from webui.pipelines.encoding import Encoding
from webui.pipelines.painting import noise_table
from webui.pipelines.runs import run_class
from webui.prompts.read import read_prompt
from webui.prompts.tokenizer import ClipTokenizer

FAMILIES = ("sd2", "sdxl", "sdxl-refiner")
TWO = ("a red apple", "a blue boat")
PICTURE, MASK = (hashlib.sha256(name).hexdigest() for name in (b"picture", b"mask"))
START, END = 49406, 49407
SIZE = PassFacts(96, 64, crop_top=3, crop_left=5)
TOLD = {
    "sdxl": ([64, 96, 3, 5, 64, 96],) * 2,
    "sdxl-refiner": ([64, 96, 3, 5, 6.0], [64, 96, 3, 5, 2.5]),
}
"""Numbers for the prompt and for the negative one, in that pass."""


@dataclass
class Both:
    """A model loaded by us, and the networks it was written from."""

    ours: Any
    small: Small


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Both]:
    folder = tmp_path_factory.mktemp("families")
    smalls = {family: make(family) for family in FAMILIES}
    return {
        family: Both(load_checkpoint(single_file(small, folder / f"{family}.safetensors")), small)
        for family, small in smalls.items()
    }


def encoded(
    model: Any, tokenizer: ClipTokenizer, prompt: str, negative: str = "", **facts: Any
) -> Any:
    read = read_prompt(prompt, negative, steps=10)
    return PromptEncoder(model, tokenizer).encode(read, replace(SIZE, **facts))


def plain(small: Small, *chunks: list[int], layer: int = 2) -> Encoding:
    """What transformers' own models say of chunks of words, read as the papers' code reads them."""
    states: list[Tensor] = []
    vector = None
    for name, text in small.texts.items():
        pad = END if (small.family, name) == ("sdxl", "text_encoder") else 0
        rows = [[START, *words, END, *[pad] * (75 - len(words))] for words in chunks]
        output = text(torch.tensor(rows), output_hidden_states=True)
        if small.family == "sd2":
            found = output.last_hidden_state
        else:
            found = output.hidden_states[-layer if name == "text_encoder" else -2]
            vector = output.text_embeds[:1] if "text_embeds" in output else None
        states.append(found.reshape(1, 77 * len(chunks), -1))
    return Encoding(torch.cat(states, dim=2), vector)


def assert_close(found: Tensor, wanted: Tensor) -> None:
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= 1e-4 * float(wanted.abs().max())


# Prompts


@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_of_two_chunks_is_told_as_transformers_encodes_it(
    family: str, both: dict[str, Both], tokenizer: ClipTokenizer
) -> None:
    model = both[family]
    cond = encoded(model.ours, tokenizer, "a red apple BREAK in fog", "blurry")
    words = [tokenizer.encode(text) for text in ("a red apple", "in fog")]
    found, wanted = cond.positive[0][1].at(0), plain(model.small, *words)
    assert_close(found.states, wanted.states)
    negative, wanted_negative = cond.negative.at(0), plain(model.small, tokenizer.encode("blurry"))
    assert_close(negative.states, wanted_negative.states)
    if family == "sd2":
        assert found.vector is found.numbers is None
        return
    assert_close(found.vector, wanted.vector)  # of the first chunk
    assert found.numbers.dtype == torch.float32
    assert found.numbers.tolist() == [pytest.approx(TOLD[family][0])]
    assert negative.numbers.tolist() == [pytest.approx(TOLD[family][1])]


def test_emphasis_restores_the_mean_of_each_text_encoder_and_leaves_the_pooled_vector(
    both: dict[str, Both], tokenizer: ClipTokenizer
) -> None:
    model = both["sdxl"]
    apple = tokenizer.encode("apple")
    found = encoded(model.ours, tokenizer, "(apple:1.7)").positive[0][1].at(0)
    base = plain(model.small, apple)
    weights = torch.ones(1, 77, 1)
    weights[:, 1 : 1 + len(apple)] = 1.7
    parts = []
    for states in base.states.split((64, 128), dim=2):
        weighted = states * weights
        parts.append(weighted * (states.mean() / weighted.mean()))
    assert_close(found.states, torch.cat(parts, dim=2))
    assert_close(found.vector, base.vector)


@pytest.mark.parametrize("family", FAMILIES)
def test_empty_negative_prompt_is_zeros_where_the_family_wants_it(
    family: str, both: dict[str, Both], tokenizer: ClipTokenizer
) -> None:
    cond = encoded(both[family].ours, tokenizer, "")
    negative, positive = cond.negative.at(0), cond.positive[0][1].at(0)
    assert bool(positive.states.any())
    assert bool(negative.states.any()) is (family == "sd2")
    if family != "sd2":
        assert not negative.vector.any() and positive.vector.any()
        assert negative.numbers.any()
    assert encoded(both[family].ours, tokenizer, "", "x").negative.at(0).states.any()


def test_clip_skip_acts_on_sdxls_first_text_encoder_where_it_is_asked_to(
    both: dict[str, Both], tokenizer: ClipTokenizer
) -> None:
    model = both["sdxl"]
    words = tokenizer.encode("apple")
    for more, layer in (({"clip_skip": 3}, 2), ({"clip_skip": 3, "skips_in_sdxl": True}, 3)):
        found = encoded(model.ours, tokenizer, "apple", **more).positive[0][1].at(0)
        assert_close(found.states, plain(model.small, words, layer=layer).states)


def test_clip_skip_beyond_the_layers_is_no_matter_where_it_is_not_followed(
    both: dict[str, Both], tokenizer: ClipTokenizer
) -> None:
    encoded(both["sd2"].ours, tokenizer, "apple", clip_skip=12)


def test_embedding_with_vectors_for_both_text_encoders_stands_for_its_word_in_both(
    both: dict[str, Both], tokenizer: ClipTokenizer, tmp_path: Path
) -> None:
    model = both["sdxl"]
    (fox,) = tokenizer.encode("fox")
    tables = [t.get_input_embeddings().weight[[fox, fox]] for t in model.small.texts.values()]
    path = tmp_path / "zzqj.safetensors"
    save_file(dict(zip(("clip_l", "clip_g"), tables, strict=True)), str(path))
    encoder = PromptEncoder(model.ours, tokenizer)
    shelf = EmbeddingShelf(tokenizer, EmbeddingReader())
    shelf.put([entry(path, vectors=2, width=64 + 128)])
    encoder.embeddings = JobEmbeddings(shelf, pytest.fail)
    found = encoder.encode(read_prompt("a zzqj", "", steps=1), SIZE).positive[0][1].at(0)
    wanted = encoded(model.ours, tokenizer, "a fox fox").positive[0][1].at(0)
    assert_close(found.states, wanted.states)
    assert_close(found.vector, wanted.vector)


# The network


def denoised(model: Any, cond: Any, latents: Tensor, sigma: Tensor, scale: float) -> Tensor:
    table = noise_table(build("txt2img", {}), model)
    with torch.inference_mode():
        return CfgDenoiser(model, table, Guidance(scale), lambda: False)(latents, sigma, cond)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("family", FAMILIES)
def test_guided_estimate_is_the_formula_over_diffusers_network(
    family: str, prediction: str, both: dict[str, Both], tokenizer: ClipTokenizer
) -> None:
    model, timestep = both[family], 700
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, 8, 12, generator=generator) * 3
    alpha = float(model.ours.alphas_cumprod[timestep])
    sigma = ((1 - alpha) / alpha) ** 0.5
    cond = encoded(model.ours, tokenizer, "a red apple", "blurry")
    ours = replace(model.ours, prediction_type=prediction)
    found = denoised(ours, cond, latents, torch.full((2,), sigma), 5.0)

    estimates = []
    for text, told in zip(("a red apple", "blurry"), TOLD.get(family, ((), ())), strict=True):
        one = plain(model.small, tokenizer.encode(text))
        more = {}
        if one.vector is not None:
            numbers = torch.tensor([told, told])
            more = {"text_embeds": one.vector.expand(2, -1), "time_ids": numbers}
        output = model.small.unet(
            latents * alpha**0.5, torch.tensor([timestep] * 2),
            encoder_hidden_states=one.states.expand(2, -1, -1), added_cond_kwargs=more,
        ).sample  # fmt: skip
        if prediction == "epsilon":
            estimates.append(latents - sigma * output)
        else:  # of the noised latents √ᾱ·x, v is √ᾱ·ε − √(1−ᾱ)·x₀
            estimates.append(alpha**0.5 * (latents * alpha**0.5) - (1 - alpha) ** 0.5 * output)
    prompt, negative = estimates
    assert_close(found, negative + 5 * (prompt - negative))


# Whole pictures


@dataclass
class Supplies:
    """Loaded models by name; the first one's under every other name."""

    models: dict[str, Any]
    encoders: dict[int, PromptEncoder]
    inputs: dict[str, Image.Image]
    networks: Any
    map_network: Any = None
    map_made: Any = None

    def model(self, checkpoint: str) -> Any:
        return self.models.get(checkpoint) or next(iter(self.models.values()))

    def encoder(self, model: Any) -> PromptEncoder:
        return self.encoders[id(model)]

    def input(self, key: str) -> Image.Image:
        return self.inputs[key]


def paint(
    models: dict[str, Any], tokenizer: ClipTokenizer, kind: str = "txt2img", lora: Any = None,
    **values: Any,
) -> Ear:  # fmt: skip
    ear = Ear()
    inputs = {PICTURE: Image.new("RGB", (64, 64), "teal"), MASK: Image.new("RGB", (64, 64))}
    inputs[MASK].paste((255, 255, 255), (16, 16, 48, 40))
    small = {"width": 64, "height": 64, "steps": 3, "prompt": "a red apple", "seed": 1}
    params = build(kind, {**small, **values})
    encoders = {id(m): PromptEncoder(m, tokenizer) for m in models.values()}
    worn = networks(ear.warn, lambda name: lora)
    supplies: Any = Supplies(models, encoders, inputs, worn)
    try:
        run_class(params)(params, supplies, ear).paint()
    finally:
        worn.take_off()
    return ear


@contextmanager
def told(*models: Any) -> Iterator[list[tuple[int, list[float]]]]:
    """Which model's U-Net is told which numbers at each call, of the prompt."""
    calls: list[tuple[int, list[float]]] = []

    def listen(number: int) -> Any:
        def hook(_module: Any, _inputs: Any, more: dict[str, Any]) -> None:
            calls.append((number, more["added_cond_kwargs"]["time_ids"][0].tolist()))

        return hook

    handles = [
        m.unet.register_forward_pre_hook(listen(i), with_kwargs=True) for i, m in enumerate(models)
    ]
    yield calls
    for handle in handles:
        handle.remove()


def test_sdxl_with_refiner_and_hires_tells_each_network_the_size_of_its_pass(
    both: dict[str, Both], tokenizer: ClipTokenizer
) -> None:
    base, refiner = both["sdxl"].ours, both["sdxl-refiner"].ours
    with told(base, refiner) as calls:
        ear = paint(
            {"base": base, "refiner": refiner},
            tokenizer,
            sampler="Euler",
            prompt="a [red:blue:0.5] apple AND (fog:1.2)",
            negative_prompt="blurry",
            refiner=Refiner(checkpoint="refiner", switch_at=0.5, by_steps=True),
            hires=Hires(scale=1.5, steps=2, denoising_strength=0.9),
            sampling=Sampling(sdxl_crop_left=7, sdxl_refiner_high_aesthetic_score=9.0),
        )
    first, second = [64.0, 64, 0, 7, 64, 64], [96.0, 96, 0, 7, 96, 96]
    refined = [96.0, 96, 0, 7, 9]
    assert calls == [(0, first)] * 3 + [(0, second), (1, refined)]
    assert ear.pictures[0].image.size == (96, 96) and not ear.warnings


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "values",
    [
        {"kind": "txt2img", "batch_size": 2, "sampler": "DDIM", "drawn": {"prompts": TWO}},
        {"kind": "img2img", "init_images": [PICTURE], "denoising_strength": 0.6,
         "tiled_vae": True},
        {"kind": "img2img", "init_images": [PICTURE], "inpaint": {"mask": MASK},
         "tiled_diffusion": {"tile_width": 64, "tile_height": 64, "overlap": 16},
         "width": 96},
    ],
    ids=["batch", "img2img", "inpaint in tiles"],
)  # fmt: skip
def test_every_family_paints_in_every_way(
    family: str, values: dict[str, Any], both: dict[str, Both], tokenizer: ClipTokenizer
) -> None:
    ear = paint({"only": both[family].ours}, tokenizer, **values)
    assert len(ear.pictures) == values.get("batch_size", 1) and not ear.warnings
    assert all(np.asarray(p.image).std() > 0 for p in ear.pictures)
    assert ear.previews


@pytest.mark.parametrize("channels", [8, 9])
def test_sdxls_variants_that_see_a_picture_paint(
    channels: int, tokenizer: ClipTokenizer, tmp_path: Path
) -> None:
    path = single_file(make("sdxl", channels), tmp_path / "a.safetensors")
    model = load_checkpoint(path)
    more = {"inpaint": {"mask": MASK}} if channels == 9 else {"image_cfg_scale": 1.5}
    ear = paint({"it": model}, tokenizer, "img2img", init_images=[PICTURE], **more)
    assert len(ear.pictures) == 1


def test_zero_terminal_v_model_paints_finite_pictures(
    both: dict[str, Both], tokenizer: ClipTokenizer, tmp_path: Path
) -> None:
    marks = {"v_pred": torch.ones(()), "ztsnr": torch.ones(())}
    path = single_file(both["sdxl"].small, tmp_path / "v.safetensors", marks)
    ear = paint({"it": load_checkpoint(path)}, tokenizer, sampler="Euler a", schedule="Karras")
    assert np.asarray(ear.pictures[0].image).std() > 0 and not ear.warnings


# LoRAs


@pytest.mark.parametrize(
    ("unet_name", "unet_path"),
    [
        ("lora_unet_input_blocks_3_1_transformer_blocks_1_attn2_to_k",
         "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k"),
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_1_attn2_to_k",
         "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k"),
        ("lora_unet_label_emb_0_0", "add_embedding.linear_1"),
    ],
)  # fmt: skip
def test_lora_for_sdxl_changes_u_net_and_both_text_encoders_by_plain_products(
    unet_name: str, unet_path: str, both: dict[str, Both], tokenizer: ClipTokenizer
) -> None:
    model = both["sdxl"].ours
    unet, first, second = model.unet, *model.text_encoders
    layers = {
        unet_name: unet.get_submodule(unet_path),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1": first.encoder.layers[0].mlp.fc1,
        "lora_te2_text_model_encoder_layers_1_self_attn_q_proj":
            second.text_model.encoder.layers[1].self_attn.q_proj,
    }  # fmt: skip
    before = {name: layer.weight.clone() for name, layer in layers.items()}
    tensors: dict[str, Tensor] = {}
    for name, weight in before.items():
        tensors[f"{name}.lora_down.weight"] = torch.randn(4, weight.shape[1])
        tensors[f"{name}.lora_up.weight"] = torch.randn(weight.shape[0], 4)
        tensors[f"{name}.alpha"] = torch.tensor(2.0)
    lora = read_layers(tensors, key="it", name="it", family="sdxl")
    worn: dict[str, Tensor] = {}

    def look(*_: Any) -> None:
        worn.update({name: layer.weight.clone() for name, layer in layers.items()})

    handle = unet.register_forward_pre_hook(look)
    ear = paint({"it": model}, tokenizer, lora=lora, prompt="a cat <lora:it:0.5>", steps=1)
    handle.remove()
    assert not ear.warnings
    for name, weight in before.items():
        up, down = (tensors[f"{name}.lora_{side}.weight"] for side in ("up", "down"))
        assert_close(worn[name], weight + 0.5 * 2 / 4 * up @ down)
        assert torch.equal(layers[name].weight, weight)
