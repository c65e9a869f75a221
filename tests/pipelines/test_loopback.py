"""Loopback: strengths, seeds, chains, stopping and taking up again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pipelines.conftest import Ear
from webui.params import Loopback
from webui.pipelines.loopback import loop_strength

KEY = "a" * 64
MASK = "c" * 64
OLD = Image.new("RGB", (64, 64), (30, 160, 60))


def loopback(painted: Callable[..., Any], ear: Ear | None = None, **more: Any) -> Ear:
    loops = {"loops": 3, "final_denoising_strength": 0.3, "curve": "Linear"}
    values = {
        "init_images": (KEY,), "denoising_strength": 0.6, "loopback": loops, "seed": 11, **more,
    }  # fmt: skip
    return painted(ear, kind="img2img", inputs=values.pop("inputs", {KEY: OLD}), **values)


def pixels(image: Image.Image) -> Any:
    return np.asarray(image, dtype=np.int16)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ("Linear", [0.8, 0.6, 0.4]),
        ("Aggressive", [0.8, 0.5171573, 0.4]),
        ("Lazy", [0.8, 0.6828427, 0.4]),
    ],
)
def test_strength_when_it_follows_a_curve_goes_from_first_to_final(
    curve: Any, expected: list[float]
) -> None:
    settings = Loopback(loops=3, final_denoising_strength=0.4, curve=curve)

    assert [loop_strength(settings, 0.8, i) for i in range(3)] == pytest.approx(expected)


def test_strength_when_there_is_one_loop_is_the_requests_own() -> None:
    assert loop_strength(Loopback(loops=1, final_denoising_strength=0.1), 0.7, 0) == 0.7


def test_loops_when_painted_are_handed_out_with_rising_numbers_and_seeds(
    painted: Callable[..., Any],
) -> None:
    ear = loopback(painted, batch_count=2)

    assert [p.index for p in ear.pictures] == list(range(6))
    assert [p.seed for p in ear.pictures] == [11, 12, 13, 14, 15, 16]
    assert {batch for batch, *_ in ear.steps} == set(range(6))


def test_loop_when_painted_begins_with_the_result_of_the_one_before(
    painted: Callable[..., Any],
) -> None:
    first, second, third = (p.image for p in loopback(painted).pictures)

    by_hand = painted(
        kind="img2img", inputs={KEY: first}, init_images=(KEY,), denoising_strength=0.45, seed=12
    )
    assert by_hand.pictures[0].image.tobytes() == second.tobytes()
    by_hand = painted(
        kind="img2img", inputs={KEY: second}, init_images=(KEY,), denoising_strength=0.3, seed=13
    )
    assert by_hand.pictures[0].image.tobytes() == third.tobytes()


def test_chain_when_the_next_begins_starts_from_the_input_again(
    painted: Callable[..., Any],
) -> None:
    fourth = loopback(painted, batch_count=2).pictures[3]

    alone = painted(
        kind="img2img", inputs={KEY: OLD}, init_images=(KEY,), denoising_strength=0.6, seed=14
    )
    assert alone.pictures[0].image.tobytes() == fourth.image.tobytes()


def test_batch_when_looped_has_a_chain_for_each_picture(painted: Callable[..., Any]) -> None:
    ear = loopback(painted, batch_size=2)

    assert [p.seed for p in ear.pictures] == [11, 12, 13, 14, 15, 16]
    alone = painted(
        kind="img2img", inputs={KEY: ear.pictures[1].image}, init_images=(KEY,),
        denoising_strength=0.45, seed=14,
    )  # fmt: skip
    difference = pixels(alone.pictures[0].image) - pixels(ear.pictures[3].image)
    assert np.abs(difference).max() <= 2


def test_masked_loop_when_repeated_keeps_what_is_not_masked(painted: Callable[..., Any]) -> None:
    mask = Image.new("RGB", (64, 64))
    mask.paste((255, 255, 255), (32, 0, 64, 64))
    inpaint = {"mask": MASK, "blur_x": 0, "blur_y": 0, "content": "latent noise"}
    ear = loopback(painted, inpaint=inpaint, inputs={KEY: OLD, MASK: mask})

    for picture in ear.pictures:
        assert (pixels(picture.image)[:, :32] == pixels(OLD)[:, :32]).all()
    by_hand = painted(
        kind="img2img", inputs={KEY: ear.pictures[0].image, MASK: mask}, init_images=(KEY,),
        denoising_strength=0.45, seed=12, inpaint={**inpaint, "content": "original"},
    )  # fmt: skip
    assert by_hand.pictures[0].image.tobytes() == ear.pictures[1].image.tobytes()


@pytest.mark.parametrize("have", [(0,), (0, 1), (1,), (0, 1, 2), (0, 1, 2, 3, 4)])
def test_chain_when_taken_up_again_gives_what_is_missing_as_it_was(
    painted: Callable[..., Any], have: tuple[int, ...]
) -> None:
    whole = {p.index: p.image.tobytes() for p in loopback(painted, batch_count=2).pictures}

    rest = loopback(painted, batch_count=2, have=have).pictures

    assert [p.index for p in rest] == [i for i in range(6) if i not in have]
    assert all(p.image.tobytes() == whole[p.index] for p in rest)


def test_chain_when_complete_is_not_painted_again(painted: Callable[..., Any]) -> None:
    ear = loopback(painted, batch_count=2, have=(0, 1, 2))

    assert {batch for batch, *_ in ear.steps} == {3, 4, 5}


def test_loops_when_interrupted_keep_what_is_finished_and_begin_no_more(
    painted: Callable[..., Any],
) -> None:
    whole = loopback(painted).pictures
    ear = Ear(stop_after=lambda ear: any(batch == 1 for batch, *_ in ear.steps))

    loopback(painted, ear, batch_count=3)

    assert ear.pictures[0].image.tobytes() == whole[0].image.tobytes()
    assert len(ear.pictures) <= 2 and max(batch for batch, *_ in ear.steps) == 1


def test_loop_when_skipped_ends_its_chain_alone(painted: Callable[..., Any]) -> None:
    """A skip is over when the next round is asked for; the chain is ended all the same."""

    class Skipping(Ear):
        def should_stop(self) -> bool:
            return self.batches_begun == 1 and len(self.steps) >= 2

    ear = Skipping(is_skip=True)
    loopback(painted, ear, batch_count=2)

    assert [p.index for p in ear.pictures if p.index > 0] == [3, 4, 5]
    assert {batch for batch, *_ in ear.steps} == {0, 3, 4, 5}


def test_interrogation_when_asked_for_adds_what_each_round_begins_with(
    painted: Callable[..., Any],
) -> None:
    def describe(image: Image.Image) -> str:
        """A word for each picture: told apart by a pixel."""
        return {OLD.getpixel((0, 0)): "moss"}.get(image.getpixel((0, 0)), "a \\(result\\)")

    loops = {"loops": 2, "final_denoising_strength": 0.3, "interrogation": "DeepBooru"}
    more = {"loopback": loops, "prompt": "a red apple", "batch_size": 2}
    ear = loopback(painted, describe=describe, **more)

    assert [p.prompt for p in ear.pictures] == [
        *["a red apple, moss"] * 2, *["a red apple, a \\(result\\)"] * 2,
    ]  # fmt: skip
    first = loopback(
        painted, loopback={"loops": 1}, prompt="a red apple, moss", batch_size=2
    ).pictures
    assert np.array_equal(pixels(first[1].image), pixels(ear.pictures[1].image))
    assert first[1].prompt is None
    rest = loopback(painted, describe=describe, have=(0, 1), **more).pictures
    assert [(p.index, p.prompt) for p in rest] == [
        (2, ear.pictures[2].prompt),
        (3, ear.pictures[3].prompt),
    ]


def test_prompts_when_each_picture_has_its_own_are_painted_in_every_round(
    painted: Callable[..., Any],
) -> None:
    texts = ["a red apple", "a blue boat"] * 3

    both = loopback(painted, batch_size=2, drawn={"prompts": texts})
    reds = loopback(painted, batch_size=2, prompt=texts[0])
    boats = loopback(painted, batch_size=2, prompt=texts[1])

    for index, picture in enumerate(both.pictures):
        expected = (reds, boats)[index % 2].pictures[index]
        assert np.array_equal(pixels(picture.image), pixels(expected.image))
