"""Whole-number rules around a sampling run: step counts, seeds of a batch, sizes of a second pass.

No torch. Every rule rounds exactly as A1111 does, so that old pictures can be made again.
"""

from __future__ import annotations

from dataclasses import dataclass


def img2img_steps(
    steps: int,
    denoising_strength: float,
    fix_steps: bool = False,
    forced_steps: int | None = None,
) -> tuple[int, int]:
    """How long the schedule is and how much of it is run when starting from a picture.

    Normally ``steps`` is the whole schedule and the strength cuts it. With ``fix_steps`` or
    ``forced_steps`` the schedule is stretched so that exactly that many steps are run.

    Args:
        steps: Steps asked for, >= 1.
        denoising_strength: 0 to 1.
        fix_steps: Run exactly ``steps`` (option ``img2img_fix_steps``).
        forced_steps: Run exactly this many (second pass of hires fix); wins over ``steps``.

    Returns:
        (schedule steps, t_enc); ``t_enc + 1`` steps are run. A forced run at strength 0 has an
        empty schedule: nothing is run and the latents stay as they are.
    """
    strength = min(denoising_strength, 0.999)
    if forced_steps is None and not fix_steps:
        return steps, int(strength * steps)
    wanted = forced_steps or steps
    schedule_steps = int(wanted / strength) if denoising_strength > 0 else 0
    return schedule_steps, wanted - 1


def image_seeds(
    seed: int, subseed: int, subseed_strength: float, count: int
) -> tuple[list[int], list[int]]:
    """Seeds and variation seeds of ``count`` images of one job.

    With a variation strength every image keeps the same seed and only the variation seed counts
    up; without one both count up.

    Args:
        seed: Seed of the first image, already chosen (not -1).
        subseed: Variation seed of the first image, already chosen (not -1).
        subseed_strength: 0 = no variation.
        count: Images of the job: batch size times batch count.

    Returns:
        (seeds, subseeds), each ``count`` long.
    """
    seeds = [seed if subseed_strength != 0 else seed + i for i in range(count)]
    return seeds, [subseed + i for i in range(count)]


@dataclass(frozen=True)
class HiresTarget:
    """Sizes of the second pass of hires fix.

    Attributes:
        upscale_to: (width, height) in pixels that the first picture is enlarged to.
        truncate_latent: (columns, rows) of latent cells that are then cut off around.
        final_latent: (columns, rows) of the latents that the second pass paints.
    """

    upscale_to: tuple[int, int]
    truncate_latent: tuple[int, int]
    final_latent: tuple[int, int]


def hires_target(
    width: int, height: int, hr_scale: float, hr_resize_x: int = 0, hr_resize_y: int = 0
) -> HiresTarget:
    """Work out how large the second pass of hires fix is.

    Args:
        width: First pass width in pixels.
        height: First pass height in pixels.
        hr_scale: Factor, used when neither resize value is set.
        hr_resize_x: Wanted width; alone it keeps the aspect ratio. 0 = not set.
        hr_resize_y: Wanted height; alone it keeps the aspect ratio. 0 = not set.

    Returns:
        The sizes. With both values set the picture covers the wanted size and is then cut.
    """
    if hr_resize_x == 0 and hr_resize_y == 0:
        target, cut = (int(width * hr_scale), int(height * hr_scale)), (0, 0)
    elif hr_resize_y == 0:
        target, cut = (hr_resize_x, hr_resize_x * height // width), (0, 0)
    elif hr_resize_x == 0:
        target, cut = (hr_resize_y * width // height, hr_resize_y), (0, 0)
    else:
        target = _covering_size(width, height, hr_resize_x, hr_resize_y)
        cut = (target[0] - hr_resize_x) // 8, (target[1] - hr_resize_y) // 8
    final = target[0] // 8 - cut[0], target[1] // 8 - cut[1]
    return HiresTarget(upscale_to=target, truncate_latent=cut, final_latent=final)


def _covering_size(width: int, height: int, cover_x: int, cover_y: int) -> tuple[int, int]:
    if width / height < cover_x / cover_y:
        return cover_x, cover_x * height // width
    return cover_y * width // height, cover_y
