"""ControlNets beside the U-Net: equal to diffusers', as strong and as long as they should be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops
from torch import Tensor

from tests.checkpoints.small_families import make, single_file
from tests.control_files import controlnet_for, write
from tests.pipelines.conftest import Ear, Shelf, networks
from webui.checkpoints.load import load_checkpoint, load_part
from webui.checkpoints.load_controlnet import load_controlnet
from webui.errors import UnknownArchitectureError
from webui.params import ControlUnit, build
from webui.pipelines.conditioning import Conditioning, PromptEncoder, ScheduledCond
from webui.pipelines.control import (
    ControlledPass,
    JobControl,
    PassControl,
    WhichPass,
)
from webui.pipelines.control_guides import layer_scales
from webui.pipelines.control_maps import Beneath, ControlMaps
from webui.pipelines.denoiser import CfgDenoiser, Guidance
from webui.pipelines.encoding import Encoding
from webui.pipelines.memory_ladder import LadderCall
from webui.pipelines.painting import noise_table
from webui.pipelines.runs import run_class

A, B, MASK = (hashlib.sha256(name).hexdigest() for name in (b"a", b"b", b"mask"))


def sketch(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    values = np.random.default_rng(seed).random((8, 8, 3)) * 255
    return Image.fromarray(values.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def box() -> Image.Image:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 40))
    return mask.convert("RGB")


INPUTS = {A: sketch(1), B: sketch(2), MASK: box()}


@pytest.fixture(scope="module")
def unet(starter_checkpoint: Path) -> Any:
    return load_part(starter_checkpoint, "unet")


@pytest.fixture(scope="module")
def nets(unet: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two ControlNets for the starter: as diffusers made them (``…!``), and as we load them."""
    folder = tmp_path_factory.mktemp("control")
    found = {}
    for name, seed in (("one", 5), ("two", 6)):
        made = controlnet_for(unet, seed)
        found[f"{name}!"] = made
        found[name] = load_controlnet(write(made, folder / f"{name}.safetensors"))
    return found


def wish(*units: dict[str, Any], kind: str = "txt2img", **values: Any) -> Any:
    control = [{"model": "one", "image": A, "resize_mode": "Just Resize", **unit} for unit in units]
    small = {"width": 64, "height": 64, "steps": 4, "prompt": "a red apple", "seed": 1}
    return build(kind, {**small, "control": control, **values})


@pytest.fixture
def paint(starter: Any, encoder: PromptEncoder, nets: dict[str, Any]) -> Callable[..., Ear]:
    def run(params: Any) -> Ear:
        ear = Ear()
        shelf = Shelf(starter, encoder, INPUTS, networks=networks(ear.warn), controlnets=nets)
        run_class(params)(params, shelf, ear).paint()
        return ear

    return run


def only(ear: Ear) -> Image.Image:
    (picture,) = ear.pictures
    return picture.image


def hint(key: str, size: int = 64) -> Tensor:
    picture = INPUTS[key].resize((size, size))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


# Against diffusers


def controlled(
    model: Any, nets: dict[str, Any], params: Any, which: WhichPass = "only"
) -> PassControl:
    shelf = Shelf(model, None, INPUTS, controlnets=nets)  # type: ignore[arg-type]
    passed = ControlledPass(which, (), lambda images: torch.zeros(len(images), 4, 8, 8))
    control = JobControl(params, shelf, pytest.fail).for_pass(model, passed)
    assert control is not None
    return control


def guess(
    model: Any, control: PassControl | None, latents: Tensor, cond: Encoding, negative: Encoding
) -> Tensor:
    """The clean estimate at sigma 5, guidance 6."""
    plan = Conditioning(((1.0, ScheduledCond(((99, cond),))),), ScheduledCond(((99, negative),)))
    call = LadderCall(pytest.fail, control) if control is not None else LadderCall(pytest.fail)
    denoiser = CfgDenoiser(
        model, noise_table(build("txt2img", {}), model), Guidance(6.0, total_calls=10),
        lambda: False, call=call, control=control,
    )  # fmt: skip
    with torch.inference_mode():
        return denoiser(latents, torch.full((len(latents),), 5.0), plan)


def by_diffusers(
    model: Any, unet: Any, added: Callable[..., Any], latents: Tensor, texts: list[Encoding]
) -> Tensor:
    """The same estimate from diffusers' networks: ``added`` is asked for both halves."""
    table = noise_table(build("txt2img", {}), model)
    sigma = torch.full((1,), 5.0)
    timestep = table.sigma_to_t(sigma).float()
    states = torch.cat([one.states.expand(len(latents), -1, -1) for one in texts])
    more = {}
    if texts[0].vector is not None:
        vectors = [one.vector.expand(len(latents), -1) for one in texts]  # type: ignore[union-attr]
        numbers = [one.numbers.expand(len(latents), -1) for one in texts]  # type: ignore[union-attr]
        more = {"added_cond_kwargs": {"text_embeds": torch.cat(vectors),
                                      "time_ids": torch.cat(numbers)}}  # fmt: skip
    inputs = torch.cat([latents, latents]) / (26**0.5)
    with torch.inference_mode():
        down, middle = added(inputs, timestep, states, **more)
        found = unet(
            inputs, timestep, encoder_hidden_states=states, down_block_additional_residuals=down,
            mid_block_additional_residual=middle, **more,
        ).sample  # fmt: skip
    cond, negative = found.chunk(2)
    return latents - 5.0 * (negative + 6.0 * (cond - negative))


def texts_for(width: int, vector: int = 0) -> list[Encoding]:
    generator = torch.Generator().manual_seed(3)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return [
        Encoding(
            random(1, 77, width),
            random(1, vector) if vector else None,
            torch.tensor([[64.0, 64, 0, 0, 64, 64]]) if vector else None,
        )
        for _ in range(2)
    ]


def test_estimate_when_two_units_act_then_equals_diffusers_multi_controlnet(
    starter: Any, unet: Any, nets: dict[str, Any]
) -> None:
    from diffusers.models.controlnets.multicontrolnet import MultiControlNetModel

    params = wish({"weight": 0.7}, {"model": "two", "image": B, "weight": 1.3})
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1)) * 5
    texts = texts_for(unet.config["cross_attention_dim"])
    both = MultiControlNetModel([nets["one!"], nets["two!"]])

    def added(*args: Any) -> Any:
        hints = [hint(A).expand(4, -1, -1, -1), hint(B).expand(4, -1, -1, -1)]
        return both(*args, hints, [0.7, 1.3], return_dict=False)

    ours = guess(starter, controlled(starter, nets, params), latents, *texts)
    theirs = by_diffusers(starter, unet, added, latents, texts)
    assert float((ours - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())
    assert float((ours - guess(starter, None, latents, *texts)).abs().max()) > 0.05


def test_estimate_when_controlnet_matters_more_then_softened_and_on_the_prompt_alone(
    starter: Any, unet: Any, nets: dict[str, Any]
) -> None:
    params = wish({"control_mode": "ControlNet is more important", "weight": 0.9})
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)) * 5
    texts = texts_for(unet.config["cross_attention_dim"])

    def added(inputs: Tensor, timestep: Tensor, states: Tensor) -> Any:
        down, middle = nets["one!"](
            inputs, timestep, states, hint(A).expand(2, -1, -1, -1), return_dict=False
        )
        scales = [0.9 * 0.825 ** (12 - i) for i in range(len(down) + 1)]
        parts = [part * scale for part, scale in zip([*down, middle], scales, strict=True)]
        for part in parts:
            part[1] = 0
        return parts[:-1], parts[-1]

    ours = guess(starter, controlled(starter, nets, params), latents, *texts)
    theirs = by_diffusers(starter, unet, added, latents, texts)
    assert float((ours - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


def test_estimate_when_sdxl_then_equals_diffusers(tmp_path: Path) -> None:
    small = make("sdxl")
    model = load_checkpoint(single_file(small, tmp_path / "xl.safetensors"))
    made = controlnet_for(small.unet)
    net = load_controlnet(write(made, tmp_path / "control.safetensors", prefix=""))
    params = wish({"weight": 1.2})
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)) * 5
    texts = texts_for(192, 96)

    def added(*args: Any, **more: Any) -> Any:
        return made(*args, hint(A).expand(2, -1, -1, -1), 1.2, return_dict=False, **more)

    ours = guess(model, controlled(model, {"one": net}, params), latents, *texts)
    theirs = by_diffusers(model, small.unet, added, latents, texts)
    assert float((ours - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


def test_picture_when_painted_then_equals_the_pipeline_of_diffusers(
    starter: Any, unet: Any, nets: dict[str, Any], paint: Any, encoder: PromptEncoder,
    starter_checkpoint: Path,
) -> None:  # fmt: skip
    from diffusers import EulerDiscreteScheduler, StableDiffusionControlNetPipeline

    from webui.prompts.read import read_prompt
    from webui.samplers.noise import ImageNoise

    params = wish({"weight": 0.8}, sampler="Euler", cfg_scale=5.0)
    ours = only(paint(params))
    pipeline = StableDiffusionControlNetPipeline(
        vae=load_part(starter_checkpoint, "vae"), unet=unet, controlnet=nets["one!"],
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
        ),
        text_encoder=None, tokenizer=None, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    from webui.pipelines.conditioning import PassFacts

    cond = encoder.encode(read_prompt("a red apple", "", steps=4), PassFacts(64, 64))
    noise = ImageNoise((4, 8, 8), [1], source="NV", device=torch.device("cpu")).first()
    theirs = pipeline(
        image=INPUTS[A], prompt_embeds=cond.positive[0][1].at(0).states,
        negative_prompt_embeds=cond.negative.at(0).states, latents=noise, guidance_scale=5.0,
        num_inference_steps=4, controlnet_conditioning_scale=0.8, width=64, height=64,
    ).images[0]  # fmt: skip
    assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() <= 1
    plain = only(paint(wish(sampler="Euler", cfg_scale=5.0)))
    assert np.abs(np.asarray(ours, int) - np.asarray(plain, int)).max() > 20
    assert ImageChops.difference(ours, only(paint(params))).getbbox() is None


# Strength and time


def calls_of(net: Any) -> list[int]:
    """Grows with each call of a ControlNet: how many samples it was asked for."""
    seen: list[int] = []
    net.network.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    return seen


def test_unit_when_its_weight_is_zero_then_the_picture_is_as_without(
    nets: dict[str, Any], paint: Any
) -> None:
    seen = calls_of(nets["one"])
    assert only(paint(wish({"weight": 0}))).tobytes() == only(paint(wish())).tobytes()
    assert not seen


def test_unit_when_outside_its_steps_then_it_costs_nothing(
    nets: dict[str, Any], paint: Any
) -> None:
    seen = calls_of(nets["one"])
    paint(wish({"guidance_start": 0.5}, sampler="Euler"))  # steps 0, ¼ are before it
    assert seen == [2, 2]
    seen.clear()
    paint(
        wish({"guidance_end": 0.2, "control_mode": "ControlNet is more important"}, sampler="Euler")
    )
    assert seen == [1]


@pytest.mark.parametrize(
    ("when", "calls"), [("Both", 8), ("Low res only", 4), ("High res only", 4)]
)
def test_unit_when_hires_fix_then_acts_in_the_passes_it_should(
    when: str, calls: int, nets: dict[str, Any], paint: Any
) -> None:
    seen = calls_of(nets["one"])
    hires = {"scale": 1.5, "denoising_strength": 0.75, "upscaler": "Latent", "steps": 4}
    ear = paint(wish({"hr_option": when}, sampler="Euler", hires=hires))
    assert len(seen) == calls and only(ear).size == (96, 96)


def test_scales_when_soft_then_fall_outwards_from_the_middle() -> None:
    assert layer_scales(2.0, 3, is_soft=False) == [2.0, 2.0, 2.0]
    assert layer_scales(1.0, 13, is_soft=True) == [0.825 ** (12 - i) for i in range(13)]
    sdxl = layer_scales(1.0, 10, is_soft=True)  # numbers of Forge's table
    assert sdxl[0] == pytest.approx(0.09941396206337118)
    assert sdxl[-1] == pytest.approx(0.561515625)


def test_units_when_one_adds_nothing_then_the_others_stay(
    starter: Any, unet: Any, nets: dict[str, Any]
) -> None:
    """The second acts on the prompt alone; the negative one is estimated by itself."""
    texts = texts_for(unet.config["cross_attention_dim"])
    both = wish({}, {"model": "two", "control_mode": "ControlNet is more important"})
    alone = wish({})
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    found = []
    for params in (both, alone):
        control = controlled(starter, nets, params)
        control.begin(0.0)
        more = control.channels(latents, [False])
        assert more is not None
        inputs = torch.cat([latents, more], dim=1)
        with torch.inference_mode():
            found.append(control(starter, inputs, torch.tensor([500.0]), texts[1], lambda: None))
    assert torch.equal(*found)


# Tiles, groups, checkpoints


def test_estimate_when_memory_lets_one_sample_through_at_a_time_then_the_same(
    starter: Any, unet: Any, nets: dict[str, Any]
) -> None:
    control = controlled(starter, nets, wish({"control_mode": "ControlNet is more important"}))
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    texts = texts_for(unet.config["cross_attention_dim"])
    whole = guess(starter, control, latents, *texts)
    attempts = []

    def narrow(self: Any, model: Any, inputs: Tensor, *args: Any) -> Tensor:
        attempts.append(len(inputs))
        if len(inputs) > 1:
            raise MemoryError
        return PassControl.__call__(self, model, inputs, *args)

    class Narrow(PassControl):
        __call__ = narrow  # type: ignore[assignment]

    control.__class__ = Narrow
    warned: list[str] = []
    plan = Conditioning(((1.0, ScheduledCond(((9, texts[0]),))),), ScheduledCond(((9, texts[1]),)))
    denoiser = CfgDenoiser(
        starter, noise_table(build("txt2img", {}), starter), Guidance(6.0, total_calls=10),
        lambda: False, call=LadderCall(warned.append, control), control=control,
    )  # fmt: skip
    try:
        with torch.inference_mode():
            single = denoiser(latents, torch.full((2,), 5.0), plan)
    finally:
        starter.extras.pop("memory_ladder", None)
    assert attempts == [4, 1, 1, 1, 1] and warned
    assert torch.allclose(single, whole, atol=1e-4)


def test_picture_when_painted_in_tiles_then_each_sees_its_part_of_the_map(
    nets: dict[str, Any], paint: Any
) -> None:
    """A map that is white on the right half alone changes nothing left of where tiles meet."""
    half = Image.new("RGB", (128, 64))
    half.paste((255, 255, 255), (96, 0, 128, 64))
    tiles = {"tile_width": 64, "tile_height": 64, "overlap": 0, "method": "MultiDiffusion"}
    shapes: list[Tensor] = []
    handle = nets["one"].network.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(kwargs["controlnet_cond"][0, 0]),
        with_kwargs=True,
    )
    INPUTS[B], before = half, INPUTS[B]
    try:
        paint(wish({"image": B}, width=128, tiled_diffusion=tiles, steps=1))
    finally:
        INPUTS[B] = before
        handle.remove()
    assert {tuple(one.shape) for one in shapes} == {(64, 64)}
    assert {round(float(one.mean()), 2) for one in shapes} == {0.0, 0.5}


def test_unit_when_it_is_for_other_checkpoints_then_the_job_says_so(
    starter: Any, nets: dict[str, Any], paint: Any
) -> None:
    foreign = replace(nets["one"], spec=replace(nets["one"].spec, family="sdxl"))
    nets["foreign"] = foreign
    with pytest.raises(UnknownArchitectureError, match=r"foreign cannot guide .*for SDXL"):
        paint(wish({"model": "foreign"}))


# Maps in img2img


def test_map_when_inpainting_then_what_is_repainted_is_hidden(
    nets: dict[str, Any], paint: Any
) -> None:
    seen: list[Tensor] = []
    handle = nets["one"].network.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["controlnet_cond"][0]), with_kwargs=True
    )
    try:
        paint(
            wish(
                {"image": None, "module": "inpaint_global_harmonious"},
                kind="img2img",
                init_images=[A],
                inpaint={"mask": MASK, "blur_x": 0, "blur_y": 0, "content": "fill"},
                steps=2,
            )
        )
    finally:
        handle.remove()
    map_ = seen[0]
    assert float(map_[:, 16:40, 16:48].max()) == -1.0  # the box
    kept = hint(A)[0]
    assert torch.allclose(map_[:, :16], kept[:, :16], atol=1e-3)


def test_map_when_only_the_masked_part_is_painted_then_own_pictures_are_cut_alike() -> None:
    large = sketch(4, (128, 128))
    beneath = Beneath(sketch(5), None, (128, 128), (32, 0, 96, 64))
    unit = ControlUnit(model="one", image=A, resize_mode="Just Resize")
    cut = beneath.framed(large, unit)
    assert cut.size == (64, 64)
    assert ImageChops.difference(cut, large.crop((32, 0, 96, 64))).getbbox() is None


def seen_maps(nets: dict[str, Any], deed: Callable[[], Any]) -> list[Tensor]:
    """The first map of each batch that a ControlNet was shown meanwhile."""
    seen: list[Tensor] = []
    handle = nets["one"].network.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["controlnet_cond"][0]), with_kwargs=True
    )
    try:
        deed()
    finally:
        handle.remove()
    return seen


def test_map_when_its_picture_has_another_shape_then_the_mask_lies_where_it_is_painted(
    nets: dict[str, Any], paint: Any
) -> None:
    """The picture is twice as high and loses a quarter above and below; the mask does not."""
    INPUTS[B], before = sketch(2, (64, 128)), INPUTS[B]
    asked = wish(
        {"image": B, "module": "inpaint_global_harmonious", "resize_mode": "Crop and Resize"},
        kind="img2img", init_images=[A], steps=2,
        inpaint={"mask": MASK, "blur_x": 0, "blur_y": 0, "content": "fill"},
    )  # fmt: skip
    try:
        map_ = seen_maps(nets, lambda: paint(asked))[0]
    finally:
        INPUTS[B] = before
    hidden = (map_ == -1.0).all(dim=0)
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[16:40, 16:48] = True
    assert torch.equal(hidden, inside)


def test_mask_when_drawn_on_a_canvas_and_only_a_part_is_painted_then_counts_by_its_alpha() -> None:
    drawn = Image.new("RGBA", (128, 128), (255, 255, 255, 0))
    drawn.paste((0, 0, 0, 255), (40, 8, 56, 24))
    large = sketch(4, (128, 128))
    beneath = Beneath(sketch(5), None, (128, 128), (32, 0, 96, 64))
    params = wish({"mask": MASK, "module": "inpaint_global_harmonious"}, kind="img2img",
                  init_images=[A])  # fmt: skip
    maps = ControlMaps(params, {A: large, MASK: drawn}.__getitem__, pytest.fail)
    hidden = maps.of(0, (64, 64), beneath).hidden
    wanted = np.zeros((64, 64), bool)
    wanted[8:24, 8:24] = True
    assert hidden is not None and (hidden == wanted).all()


def test_map_when_hires_fix_then_its_network_is_run_once_and_it_is_told_once(
    starter: Any, encoder: PromptEncoder, nets: dict[str, Any]
) -> None:
    ear, asked = Ear(), []

    def network(picture: Any) -> Any:
        asked.append(picture.shape)
        return picture

    shelf = Shelf(starter, encoder, INPUTS, networks=networks(ear.warn), controlnets=nets,
                  map_networks={"depth_midas": network})  # fmt: skip
    hires = {"scale": 1.5, "denoising_strength": 0.75, "upscaler": "Latent", "steps": 2}
    unit = {"module": "depth_midas", "processor_res": 64}
    params = wish(unit, sampler="Euler", steps=2, hires=hires, batch_count=2)
    run_class(params)(params, shelf, ear).paint()
    assert asked == [(64, 64, 3)]
    assert shelf.maps[0].pixels.shape == (64, 64, 3)


def test_unit_when_it_has_no_picture_in_img2img_then_follows_the_one_that_is_repainted(
    paint: Any,
) -> None:
    img2img = {"kind": "img2img", "init_images": [A], "denoising_strength": 0.6}
    follows = only(paint(wish({"image": None}, **img2img)))
    assert follows.tobytes() == only(paint(wish({"image": A}, **img2img))).tobytes()
    assert follows.tobytes() != only(paint(wish(**img2img))).tobytes()


def test_colours_when_fixed_then_the_broad_ones_are_the_picture_s(
    starter: Any, nets: dict[str, Any]
) -> None:
    control = controlled(starter, nets, wish({"module": "tile_colorfix", "threshold_a": 3}))
    control._pass = replace(
        control._pass, encode=lambda images: torch.full((len(images), 4, 8, 8), 2.0)
    )
    control.begin(0.0)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    fixed = control.corrected(latents, [True, False])
    assert abs(float(fixed.mean()) - 2.0) < 0.2
    assert torch.allclose(fixed - fixed.mean(), latents - latents.mean(), atol=1.5)


def test_picture_when_only_the_mask_is_painted_then_the_rest_is_the_picture_s(
    nets: dict[str, Any], paint: Any
) -> None:
    unit = {"module": "inpaint_only", "mask": MASK}
    found = np.asarray(only(paint(wish(unit))), int)
    own, inside = np.asarray(INPUTS[A], int), np.zeros((64, 64), bool)
    inside[16:40, 16:48] = True
    near = np.zeros((64, 64), bool)
    near[10:46, 10:54] = True
    assert (found[~near] == own[~near]).all()
    assert np.abs(found[inside] - own[inside]).mean() > 10
    free = np.asarray(only(paint(wish({**unit, "module": "inpaint_global_harmonious"}))), int)
    assert (free[~near] != own[~near]).any()
