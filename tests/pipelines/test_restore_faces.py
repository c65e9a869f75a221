"""Where in a painting faces are restored: once, on what was painted, before it is pasted back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.pipelines.conftest import Ear, Shelf
from webui.params import FaceRestoration, build
from webui.pipelines.painting import FACES_LEFT
from webui.pipelines.recipe import ModelFacts, write_recipe
from webui.pipelines.runs import run_class
from webui.progress import Interrupted

WISH = {"model": "GFPGAN", "weight": 0.5}
SMALL = {"width": 64, "height": 64, "steps": 2, "prompt": "a red apple", "seed": 1}
KEY, MASK = "a" * 64, "b" * 64


class Mended(Shelf):
    """Supplies whose face mender turns every picture into its negative, and remembers sizes."""

    sizes: list[tuple[int, int]]
    wishes: list[FaceRestoration]
    left = 99

    def face_mender(self, wish: FaceRestoration) -> Mended:
        self.wishes = [*getattr(self, "wishes", []), wish]
        self.sizes = getattr(self, "sizes", [])
        return self

    def mend(self, image: Image.Image, should_stop: Callable[[], bool]) -> Image.Image:
        if len(self.sizes) >= self.left:
            raise Interrupted
        self.sizes.append(image.size)
        return ImageOps.invert(image)


@pytest.fixture
def paint(starter: Any, encoder: Any) -> Any:
    def run(kind: str, left: int = 99, **values: Any) -> tuple[list[np.ndarray], Mended, Ear]:
        inputs = values.pop("inputs", {})
        supplies, ear = Mended(starter, encoder, inputs), Ear()
        supplies.left = left
        params = build(kind, {**SMALL, **values})
        run_class(params)(params, supplies, ear).paint()
        return [np.asarray(p.image.convert("RGB")) for p in ear.pictures], supplies, ear

    return run


def test_faces_when_wished_are_mended_in_every_picture(paint: Any) -> None:
    plain, _, _ = paint("txt2img", batch_size=2)
    mended, supplies, ear = paint("txt2img", batch_size=2, restore_faces=WISH)

    assert all((a == 255 - b).all() for a, b in zip(mended, plain, strict=True))
    assert supplies.wishes == [FaceRestoration(**WISH)]
    assert "faces" in {stage for _, _, stage in ear.steps}


def test_faces_when_there_are_two_passes_are_mended_after_the_second_alone(paint: Any) -> None:
    hires = {"scale": 2, "upscaler": "Lanczos", "denoising_strength": 0.5}

    _, supplies, _ = paint("txt2img", hires=hires, restore_faces=WISH)

    assert supplies.sizes == [(128, 128)]


def test_faces_when_inpainting_stay_inside_the_mask(paint: Any) -> None:
    picture = Image.linear_gradient("L").resize((96, 96)).convert("RGB")
    mask = Image.new("L", (96, 96))
    mask.paste(255, (30, 30, 60, 60))
    inpaint = {"mask": MASK, "only_masked": True, "blur_x": 0, "blur_y": 0, "padding": 4}

    (image,), supplies, _ = paint(
        "img2img", init_images=[KEY], inpaint=inpaint, restore_faces=WISH,
        inputs={KEY: picture, MASK: mask},
    )  # fmt: skip

    before = np.asarray(picture)
    assert supplies.sizes == [(64, 64)]  # the painted region, not the whole
    assert (image[:29] == before[:29]).all() and (image[62:] == before[62:]).all()
    assert (image[35:55, 35:55] != before[35:55, 35:55]).any()


def test_faces_when_stopped_in_between_leave_the_rest_as_painted(paint: Any) -> None:
    plain, _, _ = paint("txt2img", batch_size=2)
    images, _, ear = paint("txt2img", left=1, batch_size=2, restore_faces=WISH)

    assert (images[0] == 255 - plain[0]).all() and (images[1] == plain[1]).all()
    assert ear.warnings == [FACES_LEFT]


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (None, []),
        ({"model": "CodeFormer"}, ["Face restoration: CodeFormer"]),
        (
            {"model": "CodeFormer", "weight": 0.2},
            ["Face restoration: CodeFormer", "Face restoration weight: 0.2"],
        ),
        ({"model": "GFPGAN", "weight": 0.2}, ["Face restoration: GFPGAN"]),
    ],
)
def test_recipe_tells_of_the_restorer_where_a1111_does(wish: Any, told: list[str]) -> None:
    params: Any = build("txt2img", {**SMALL, "restore_faces": wish})

    recipe = write_recipe(params, ModelFacts("m"), index=0, seed=1, subseed=0, show={})

    found = [pair for pair in recipe.split(", ") if pair.startswith("Face")]
    assert found == told
    if told:
        assert f"Seed: 1, {told[0]}, Size: 64x64" in recipe
