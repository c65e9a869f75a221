from __future__ import annotations

import pytest

from webui.samplers.steps import HiresTarget, hires_target, image_seeds, img2img_steps


@pytest.mark.parametrize(
    ("steps", "strength", "fix", "forced", "expected"),
    [
        (20, 0.75, False, None, (20, 15)),
        (20, 1.0, False, None, (20, 19)),
        (20, 0.0, False, None, (20, 0)),
        (20, 0.5, True, None, (40, 19)),
        (20, 0.7, False, 20, (28, 19)),
        (20, 0.3, False, 10, (33, 9)),
        (20, 0.0, False, 10, (0, 9)),
        (20, 1.0, True, None, (20, 19)),
    ],
)
def test_img2img_steps_cuts_or_stretches_the_schedule(
    steps: int, strength: float, fix: bool, forced: int | None, expected: tuple[int, int]
) -> None:
    assert img2img_steps(steps, strength, fix, forced) == expected


def test_image_seeds_when_no_variation_count_up() -> None:
    assert image_seeds(100, 7, 0.0, 3) == ([100, 101, 102], [7, 8, 9])


def test_image_seeds_when_variation_keep_the_seed() -> None:
    assert image_seeds(100, 7, 0.3, 3) == ([100, 100, 100], [7, 8, 9])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((512, 768, 1.5, 0, 0), HiresTarget((768, 1152), (0, 0), (96, 144))),
        ((500, 500, 1.37, 0, 0), HiresTarget((685, 685), (0, 0), (85, 85))),
        ((512, 768, 2, 0, 1024), HiresTarget((682, 1024), (0, 0), (85, 128))),
        ((512, 512, 2, 1024, 0), HiresTarget((1024, 1024), (0, 0), (128, 128))),
        ((768, 512, 2, 1024, 1024), HiresTarget((1536, 1024), (64, 0), (128, 128))),
        ((512, 768, 2, 1024, 1024), HiresTarget((1024, 1536), (0, 64), (128, 128))),
    ],
)
def test_hires_target_covers_what_was_asked(
    asked: tuple[int, int, float, int, int], expected: HiresTarget
) -> None:
    assert hires_target(*asked) == expected
