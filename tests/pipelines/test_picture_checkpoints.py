"""Checkpoints that are shown more than noise: inpainting (9 channels), InstructPix2Pix (8)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from tests.pipelines.conftest import Ear, Shelf
from webui.checkpoints.load import load_checkpoint
from webui.errors import ParamsError
from webui.params import build
from webui.pipelines.conditioning import PromptEncoder
from webui.pipelines.decode import encode
from webui.pipelines.image_to_image import ImageToImageRun
from webui.pipelines.text_to_image import TextToImageRun
from webui.prompts.tokenizer import ClipTokenizer

PICTURE, MASK = (hashlib.sha256(name).hexdigest() for name in (b"picture", b"mask"))
FIRST_LAYER = "model.diffusion_model.input_blocks.0.0.weight"
Paint = Callable[..., Ear]


def widened(starter: Path, channels: int, spread: float, target: Path) -> Path:
    """The starter with more input channels, whose weights have this spread."""
    with safe_open(str(starter), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    first = tensors[FIRST_LAYER]
    more = torch.randn(
        (first.shape[0], channels - 4, *first.shape[2:]), generator=torch.manual_seed(1)
    )
    tensors[FIRST_LAYER] = torch.cat([first, (more * spread).to(first.dtype)], dim=1).contiguous()
    save_file(tensors, str(target), metadata=metadata)
    return target


@pytest.fixture(scope="module")
def models(starter_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("widened")

    def model(channels: int, spread: float) -> Any:
        target = folder / f"{channels}-{spread}.safetensors"
        return load_checkpoint(widened(starter_checkpoint, channels, spread, target))

    return {
        (channels, spread): model(channels, spread) for channels in (8, 9) for spread in (0, 0.05)
    }


def paint(loaded: Any, tokenizer: ClipTokenizer, kind: str = "img2img", **values: Any) -> Ear:
    ear = Ear()
    inputs = {PICTURE: picture(), MASK: box_mask()}
    small: dict[str, Any] = {"width": 64, "height": 64, "steps": 3, "prompt": "a red apple"}
    if kind == "img2img":
        small |= {"init_images": [PICTURE], "denoising_strength": 0.9}
    params: Any = build(kind, {**small, **values})
    run = ImageToImageRun if kind == "img2img" else TextToImageRun
    run(params, Shelf(loaded, PromptEncoder(loaded, tokenizer), inputs), ear).paint()
    return ear


def picture() -> Image.Image:
    y, x = np.mgrid[0:64, 0:64]
    return Image.fromarray(np.stack([x * 3, y * 3, 255 - x * 2], axis=-1).astype(np.uint8))


def box_mask() -> Image.Image:
    mask = Image.new("RGB", (64, 64))
    mask.paste((255, 255, 255), (16, 16, 48, 40))
    return mask


def pixels(ear: Ear) -> Any:
    return np.asarray(ear.pictures[0].image, dtype=np.float32)


def seen_by(loaded: Any) -> tuple[list[torch.Tensor], Any]:
    """Every input the U-Net gets from now on, and the handle that ends it."""
    seen: list[torch.Tensor] = []
    handle = loaded.unet.conv_in.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].float().clone())
    )
    return seen, handle


INPAINT = {"mask": MASK, "blur_x": 0, "blur_y": 0}


@pytest.mark.parametrize("channels", [8, 9])
@pytest.mark.parametrize(
    "values",
    [
        {"kind": "txt2img"},
        {"kind": "img2img"},
        {"inpaint": INPAINT},
        {"inpaint": INPAINT, "batch_size": 2, "sampler": "DDIM"},
        {"kind": "txt2img", "hires": {"scale": 1.5, "upscaler": "Latent"}},
    ],
    ids=["txt2img", "img2img", "inpaint", "batch", "hires"],
)
def test_checkpoint_when_its_further_channels_weigh_nothing_then_paints_as_without_them(
    starter: Any, models: Any, tokenizer: ClipTokenizer, channels: int, values: Any
) -> None:
    plain = paint(starter, tokenizer, **values)
    wide = paint(models[channels, 0], tokenizer, **values)
    assert np.abs(pixels(plain) - pixels(wide)).max() <= 1


def test_inpainting_checkpoint_when_it_inpaints_then_sees_mask_and_unmasked_picture(
    models: Any, tokenizer: ClipTokenizer
) -> None:
    model = models[9, 0.05]
    seen, handle = seen_by(model)
    paint(model, tokenizer, inpaint=INPAINT)
    handle.remove()
    mask = torch.zeros(8, 8)
    mask[2:5, 2:6] = 1
    hidden = picture()
    hidden.paste((128, 128, 128), (16, 16, 48, 40))
    shown = encode(model, [hidden])[0]
    for inputs in seen:
        assert inputs.shape[1] == 9
        for one in inputs:
            assert torch.equal(one[4], mask)
            assert torch.allclose(one[5:], shown, atol=1e-3)


def test_inpainting_checkpoint_when_the_mask_weighs_nothing_then_sees_the_whole_picture(
    models: Any, tokenizer: ClipTokenizer
) -> None:
    model = models[9, 0.05]
    seen, handle = seen_by(model)
    paint(model, tokenizer, inpaint={**INPAINT, "conditioning_weight": 0.0})
    handle.remove()
    assert torch.allclose(seen[0][0, 5:], encode(model, [picture()])[0], atol=1e-3)


@pytest.mark.parametrize("kind", ["txt2img", "img2img"])
def test_inpainting_checkpoint_when_nothing_is_masked_then_sees_a_full_mask_and_grey(
    models: Any, tokenizer: ClipTokenizer, kind: str
) -> None:
    model = models[9, 0.05]
    seen, handle = seen_by(model)
    paint(model, tokenizer, kind=kind)
    handle.remove()
    grey = encode(model, [Image.new("RGB", (64, 64), (128, 128, 128))])[0]
    assert bool((seen[0][:, 4] == 1).all())
    assert torch.allclose(seen[0][0, 5:], grey, atol=1e-3)


def test_instruct_checkpoint_when_it_edits_then_sees_the_picture_but_not_in_the_last_estimate(
    models: Any, tokenizer: ClipTokenizer
) -> None:
    model = models[8, 0.05]
    seen, handle = seen_by(model)
    paint(model, tokenizer, sampler="Euler", prompt="make it red")
    handle.remove()
    shown = encode(model, [picture()])[0] / model.scaling_factor
    told, only_shown, neither = seen[0]
    for one in (told, only_shown):
        assert torch.allclose(one[4:], shown, atol=1e-3)
    assert not neither[4:].any()
    assert torch.equal(told[:4], neither[:4])


def test_instruct_checkpoint_when_the_image_scale_rises_then_the_picture_changes(
    models: Any, tokenizer: ClipTokenizer
) -> None:
    results = [
        pixels(paint(models[8, 0.05], tokenizer, image_cfg_scale=scale))
        for scale in (1.0, 1.5, 6.0, None)
    ]
    assert np.abs(results[0] - results[2]).mean() > 1
    assert np.abs(results[1] - results[2]).mean() > 1
    assert (results[1] == results[3]).all()  # 1.5 is what is meant by None


def test_instruct_checkpoint_when_asked_for_and_then_says_what_to_do(
    models: Any, tokenizer: ClipTokenizer
) -> None:
    with pytest.raises(ParamsError, match="AND"):
        paint(models[8, 0], tokenizer, prompt="a cat AND a dog")
    assert paint(models[8, 0], tokenizer, prompt="a cat AND a dog", image_cfg_scale=1.0).pictures
