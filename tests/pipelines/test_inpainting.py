"""Inpainting: what is masked changes, what is not stays bit for bit, and what is put below."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pipelines.conftest import Ear
from webui.pipelines.masks import blur_reach
from webui.samplers.names import SAMPLERS

Painted = Callable[..., Ear]
PICTURE, MASK = (hashlib.sha256(name).hexdigest() for name in (b"picture", b"mask"))
Array = np.ndarray[Any, Any]


def array(image: Image.Image) -> Array:
    return np.asarray(image.convert("RGB"), dtype=np.int16)


def textured(width: int, height: int) -> Image.Image:
    """A picture in which every pixel differs from its neighbours."""
    numbers = np.random.default_rng(3)
    y, x = np.mgrid[0:height, 0:width]
    soft = np.stack([40 + x * 150 / width, 60 + y * 120 / height, 120 + 0 * x], axis=-1)
    return Image.fromarray((soft + numbers.integers(0, 30, soft.shape)).astype(np.uint8))


def box_mask(width: int, height: int, box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", (width, height))
    mask.paste(255, box)
    return mask.convert("RGB")


def inpaint(painted: Painted, picture: Image.Image, mask: Image.Image, **values: Any) -> Ear:
    """``part`` holds the values of the inpainting part."""
    part = values.pop("part", {})
    return painted(
        kind="img2img",
        inputs={PICTURE: picture, MASK: mask},
        init_images=[PICTURE],
        inpaint={"mask": MASK, **part},
        **{"denoising_strength": 0.8, **values},
    )


def changed(before: Image.Image, after: Image.Image) -> Array:
    """(H, W) where pixels differ."""
    return np.asarray((array(before) != array(after)).any(axis=-1))


@pytest.mark.parametrize("only_masked", [False, True])
@pytest.mark.parametrize("blur", [(0, 0), (3, 3), (6, 1)])
def test_inpaint_when_a_box_is_masked_then_pixels_beyond_the_blur_stay_bit_for_bit(
    painted: Painted, only_masked: bool, blur: tuple[int, int]
) -> None:
    picture, box = textured(96, 96), (40, 32, 64, 56)
    part = {"blur_x": blur[0], "blur_y": blur[1], "only_masked": only_masked, "padding": 8}
    ear = inpaint(painted, picture, box_mask(96, 96, box), part=part, width=96, height=96)
    result = ear.pictures[0].image
    assert result.size == picture.size
    different = changed(picture, result)
    reach_x, reach_y = blur_reach(blur[0]), blur_reach(blur[1])
    allowed = np.zeros_like(different)
    allowed[box[1] - reach_y : box[3] + reach_y, box[0] - reach_x : box[2] + reach_x] = True
    assert not (different & ~allowed).any()
    inside = different[box[1] : box[3], box[0] : box[2]]
    assert inside.mean() > 0.9


def test_inpaint_when_inverted_then_the_box_stays(painted: Painted) -> None:
    picture, box = textured(64, 64), (16, 16, 48, 48)
    part = {"is_inverted": True, "blur_x": 0, "blur_y": 0}
    result = inpaint(painted, picture, box_mask(64, 64, box), part=part).pictures[0].image
    different = changed(picture, result)
    assert not different[16:48, 16:48].any()
    assert different[:, :12].mean() > 0.9


def test_inpaint_when_only_the_mask_is_painted_then_the_result_has_the_inputs_size(
    painted: Painted,
) -> None:
    picture = textured(150, 70)
    mask = box_mask(150, 70, (100, 20, 130, 50))
    part = {"only_masked": True, "padding": 4, "blur_x": 2, "blur_y": 2}
    result = inpaint(painted, picture, mask, part=part, width=64, height=64).pictures[0].image
    assert result.size == (150, 70)
    different = changed(picture, result)
    assert different[20:50, 100:130].mean() > 0.9
    assert not different[:, :90].any()


@pytest.mark.parametrize("content", ["fill", "original", "latent noise", "latent nothing"])
def test_inpaint_when_content_is_chosen_then_it_is_painted_and_the_rest_kept(
    painted: Painted, content: str
) -> None:
    picture = textured(64, 64)
    mask = box_mask(64, 64, (24, 24, 48, 48))
    part = {"content": content, "blur_x": 0, "blur_y": 0}
    result = inpaint(painted, picture, mask, part=part).pictures[0].image
    different = changed(picture, result)
    assert different[24:48, 24:48].mean() > 0.9
    assert different.sum() <= 24 * 24


def test_inpaint_when_contents_differ_then_the_results_do(painted: Painted) -> None:
    picture, mask = textured(64, 64), box_mask(64, 64, (24, 24, 48, 48))
    picture.paste((250, 240, 20), (24, 24, 48, 48))
    results = [
        array(
            inpaint(painted, picture, mask, part={"content": content}, denoising_strength=0.4)
            .pictures[0]
            .image
        )
        for content in ("fill", "original", "latent noise", "latent nothing")
    ]
    for i, one in enumerate(results):
        for other in results[i + 1 :]:
            assert np.abs(one - other)[28:44, 28:44].mean() > 1


@pytest.mark.parametrize("only_masked", [False, True])
def test_inpaint_when_the_mask_is_blank_then_all_is_repainted_with_a_warning(
    painted: Painted, only_masked: bool
) -> None:
    picture = textured(64, 64)
    blank = Image.new("RGB", (64, 64))
    ear = inpaint(painted, picture, blank, part={"only_masked": only_masked}, batch_count=2)
    assert changed(picture, ear.pictures[0].image).mean() > 0.9
    assert [w for w in ear.warnings if "blank" in w] == [ear.warnings[0]]
    plain = painted(
        kind="img2img",
        inputs={PICTURE: picture},
        init_images=[PICTURE],
        denoising_strength=0.8,
    )
    assert (array(plain.pictures[0].image) == array(ear.pictures[0].image)).all()


def test_inpaint_when_the_mask_has_another_size_then_it_is_stretched_over_the_picture(
    painted: Painted,
) -> None:
    picture = textured(96, 64)
    small = box_mask(24, 16, (6, 4, 12, 8))  # a quarter of each side: 24…48, 16…32
    part = {"blur_x": 0, "blur_y": 0}
    result = inpaint(painted, picture, small, part=part, width=96, height=64).pictures[0].image
    different = changed(picture, result)
    assert different[18:30, 26:46].mean() > 0.9
    assert not different[:, 54:].any()
    assert not different[38:].any()


def test_inpaint_when_a_mask_has_transparency_then_its_alpha_counts(painted: Painted) -> None:
    picture = textured(64, 64)
    drawn = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    drawn.paste((0, 0, 0, 200), (32, 0, 64, 64))
    drawn.paste((0, 0, 0, 90), (0, 0, 16, 64))  # too faint
    part = {"blur_x": 0, "blur_y": 0}
    result = inpaint(painted, picture, drawn, part=part).pictures[0].image
    different = changed(picture, result)
    assert different[:, 32:].mean() > 0.9
    assert not different[:, :32].any()


@pytest.mark.parametrize("sampler", [info.name for info in SAMPLERS])
def test_inpaint_when_any_sampler_paints_then_the_rest_is_kept(
    painted: Painted, sampler: str
) -> None:
    picture, mask = textured(64, 64), box_mask(64, 64, (32, 0, 64, 64))
    part = {"blur_x": 0, "blur_y": 0}
    ear = inpaint(painted, picture, mask, part=part, sampler=sampler, steps=5)
    different = changed(picture, ear.pictures[0].image)
    assert different[:, 32:].mean() > 0.9
    assert not different[:, :32].any()


def test_inpaint_when_the_seed_is_the_same_then_the_picture_is(painted: Painted) -> None:
    picture, mask = textured(64, 64), box_mask(64, 64, (16, 16, 48, 48))
    one, other = (inpaint(painted, picture, mask).pictures[0].image for _ in range(2))
    assert (array(one) == array(other)).all()


def test_inpaint_when_interrupted_then_what_is_seen_is_pasted_back(painted: Painted) -> None:
    picture, mask = textured(64, 64), box_mask(64, 64, (32, 0, 64, 64))
    ear = Ear(stop_after=lambda ear: any(step[2] == "sampling" for step in ear.steps))
    painted(
        ear,
        kind="img2img",
        inputs={PICTURE: picture, MASK: mask},
        init_images=[PICTURE],
        inpaint={"mask": MASK, "blur_x": 0, "blur_y": 0},
        steps=8,
    )
    different = changed(picture, ear.pictures[0].image)
    assert not different[:, :32].any()
    assert different[:, 32:].any()


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_soft_inpainting_when_a_mask_fades_then_the_change_does(
    painted: Painted, sampler: str
) -> None:
    picture = textured(192, 128)
    ramp = np.tile(np.linspace(-120, 300, 192).clip(0, 255), (128, 1)).astype(np.uint8)
    part = {"soft": {}, "blur_x": 0, "blur_y": 0}
    ear = inpaint(
        painted,
        picture,
        Image.fromarray(ramp).convert("RGB"),
        part=part,
        width=192,
        height=128,
        steps=8,
        sampler=sampler,
    )
    difference = np.abs(array(picture) - array(ear.pictures[0].image)).mean(axis=(0, 2))
    assert not difference[:48].any()  # the mask is black there
    assert difference[160:].mean() > 2 * difference[56:80].mean() > 0  # dark grey there


def test_soft_inpainting_when_the_mask_is_hard_then_what_is_unmasked_is_kept(
    painted: Painted,
) -> None:
    picture, mask = textured(64, 64), box_mask(64, 64, (32, 0, 64, 64))
    part = {"soft": {}, "blur_x": 0, "blur_y": 0}
    different = changed(picture, inpaint(painted, picture, mask, part=part).pictures[0].image)
    assert not different[:, :32].any()
    assert different[:, 48:].mean() > 0.9


def test_color_correction_when_asked_for_then_colours_are_nearer_to_the_input(
    painted: Painted,
) -> None:
    picture = Image.new("RGB", (64, 64), (90, 120, 160))
    results = [
        painted(
            kind="img2img",
            inputs={PICTURE: picture},
            init_images=[PICTURE],
            denoising_strength=0.9,
            color_correction=corrected,
            prompt="a red apple",
        )
        .pictures[0]
        .image
        for corrected in (False, True)
    ]
    reds = [float((array(r)[..., 0] - array(r)[..., 2]).mean()) for r in results]
    assert reds[1] < reds[0] - 10
    assert abs(reds[1] - (90 - 160)) < 30
