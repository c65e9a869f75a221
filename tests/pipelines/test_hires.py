"""The second pass of hires fix: its own settings, a finished picture as its first, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pipelines.conftest import Ear
from tests.pipelines.two_models import Two, TwoModels
from webui.errors import ParamsError
from webui.params import Hires, build
from webui.pipelines.conditioning import Interrupted

KEY = "a" * 64


class InTiles:
    """An upscaler of four tiles that can be stopped between them."""

    name = "Tiles"

    def enlarge(
        self,
        image: Image.Image,
        width: int,
        height: int,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_tile: Callable[[int, int], None] = lambda done, total: None,
    ) -> Image.Image:
        for tile in range(4):
            if should_stop():
                raise Interrupted(None)
            on_tile(tile + 1, 4)
        return image.resize((width, height))


class Tiled(TwoModels):
    """Every upscaler works in tiles."""

    def upscaler(self, name: str) -> Any:
        return InTiles()


def hires(**values: Any) -> Hires:
    return Hires(**{"denoising_strength": 0.6, "steps": 3, "scale": 1.5, **values})


def steps_of(ear: Ear, stage: str) -> list[int]:
    return [step for _, step, told in ear.steps if told == stage]


@pytest.mark.parametrize(
    "changed",
    [{"cfg_scale": 2.0}, {"extra_noise": 0.3}, {"checkpoint": "other"}, {"sampler": "Euler"}],
    ids=str,
)
def test_second_pass_when_it_has_a_setting_of_its_own_differs(
    two: Two, changed: dict[str, Any]
) -> None:
    assert not np.array_equal(two(hires=hires(**changed)).array, two(hires=hires()).array)


@pytest.mark.parametrize("same", [{"cfg_scale": 7.0}, {"extra_noise": 0.0}], ids=str)
def test_second_pass_when_its_setting_is_the_first_passes_is_the_same(
    two: Two, same: dict[str, Any]
) -> None:
    assert np.array_equal(two(hires=hires(**same)).array, two(hires=hires()).array)


def test_checkpoint_of_the_second_pass_when_set_reads_and_paints_and_the_next_batch_begins_anew(
    two: Two,
) -> None:
    painted = two(hires=hires(checkpoint="other"), batch_count=2)

    assert painted.shelf.order == ["first", "other", "first", "other"]
    assert np.array_equal(painted.array[1], two(hires=hires(checkpoint="other"), seed=2).array[0])


@pytest.mark.parametrize("checkpoint", [None, "other"])
def test_finished_picture_when_given_stands_for_the_first_pass(
    two: Two, checkpoint: str | None
) -> None:
    wanted = hires(upscaler="Lanczos", checkpoint=checkpoint)
    (first,) = two().ear.pictures

    again = two(hires=wanted, first_pass_image=KEY, inputs={KEY: first.image})

    assert np.array_equal(again.array, two(hires=wanted).array)
    assert steps_of(again.ear, "sampling") == [] and steps_of(again.ear, "hires") == [1, 2, 3]


@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos"])
@pytest.mark.parametrize("size", [(64, 64), (61, 67)])
def test_finished_picture_when_it_is_of_any_kind_and_size_is_enlarged(
    two: Two, upscaler: str, size: tuple[int, int]
) -> None:
    picture = Image.new("RGBA", size, (200, 30, 30, 255))

    ear = two(
        hires=hires(upscaler=upscaler, denoising_strength=0), first_pass_image=KEY,
        inputs={KEY: picture}, batch_size=2,
    ).ear  # fmt: skip

    assert [p.image.size for p in ear.pictures] == [(96, 96)] * 2
    red, green, _ = np.asarray(ear.pictures[1].image, dtype=float).mean(axis=(0, 1))
    assert red > 150 and green < 80


def test_finished_picture_when_there_is_no_second_pass_is_refused() -> None:
    with pytest.raises(ParamsError, match="Hires"):
        build("txt2img", {"first_pass_image": KEY})


def test_upscaler_when_it_works_in_tiles_tells_of_each_over_the_whole_batch(two: Two) -> None:
    ear = two(hires=hires(upscaler="Tiles"), shelf_class=Tiled, batch_size=2).ear

    assert steps_of(ear, "upscaling") == [0, *range(1, 9)]


def test_interrupt_when_enlarging_keeps_the_first_passes_picture(two: Two) -> None:
    stops = Ear(stop_after=lambda e: 2 in steps_of(e, "upscaling"))
    stopped = two(stops, hires=hires(upscaler="Tiles"), shelf_class=Tiled)

    assert steps_of(stopped.ear, "upscaling") == [0, 1, 2]
    assert np.array_equal(stopped.array, two().array)


def test_interrupt_when_enlarging_a_finished_picture_keeps_it(two: Two) -> None:
    picture = Image.new("RGB", (64, 64), "teal")
    stopped = two(
        Ear(stop_after=lambda e: 2 in steps_of(e, "upscaling")), hires=hires(upscaler="Tiles"),
        shelf_class=Tiled, first_pass_image=KEY, inputs={KEY: picture},
    )  # fmt: skip

    assert np.array_equal(stopped.array[0], np.asarray(picture))


def test_interrupt_when_the_second_passes_checkpoint_reads_prompts_keeps_the_first_passes_picture(
    two: Two,
) -> None:
    """The first checkpoint's VAE reads what its U-Net painted."""
    stops = Ear(stop_after=lambda e: bool(steps_of(e, "upscaling")))
    prompt = "never read before 4711"
    stopped = two(stops, hires=hires(checkpoint="other", prompt=prompt))

    assert stopped.shelf.order == ["first", "other", "first"]
    assert np.array_equal(stopped.array, two().array)


def test_interrupt_when_painting_the_second_pass_keeps_its_last_estimate(two: Two) -> None:
    stopped = two(Ear(stop_after=lambda e: 1 in steps_of(e, "hires")), hires=hires(steps=8))

    assert steps_of(stopped.ear, "hires") == [1]
    assert stopped.ear.pictures[0].image.size == (96, 96)


def test_interrupt_when_painting_the_first_pass_leaves_the_second_out(two: Two) -> None:
    stopped = two(Ear(stop_after=lambda e: 2 in steps_of(e, "sampling")), hires=hires())

    assert steps_of(stopped.ear, "upscaling") == [] and steps_of(stopped.ear, "hires") == []
    assert stopped.ear.pictures[0].image.size == (64, 64)
