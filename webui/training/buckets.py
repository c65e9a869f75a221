"""Aspect-ratio buckets: which size each picture is trained at, and how many steps that makes.

Plain arithmetic, no torch: the page asks it before a model is read. All sizes are (width, height).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from webui.errors import ParamsError
from webui.params.training_data import Bucketing

Size = tuple[int, int]
SIDE_STEP = {"sd1": 64, "sd2": 64, "sdxl": 32}
"""Sides of buckets are multiples of it: eight pixels a latent, and the U-Net halves three times
(SDXL's twice)."""
FAMILY_NAMES = {"sd1": "SD1.5", "sd2": "SD2", "sdxl": "SDXL"}


@dataclass(frozen=True)
class Fit:
    """What becomes of one picture: resized, then cut to its bucket.

    Attributes:
        crop: Left and top pixel of a centred cut.
        ratio_error: The bucket's width/height less the picture's.
    """

    bucket: Size
    resized: Size
    crop: tuple[int, int]
    ratio_error: float


def area(rule: Bucketing) -> int:
    """Most pixels of a bucket that is made for the resolution."""
    return rule.resolution[0] * rule.resolution[1]


def adjusted(rule: Bucketing) -> tuple[Bucketing, list[str]]:
    """Limits made multiples of the step, with a sentence for each that was not."""
    step, said = rule.bucket_reso_steps, []
    low = rule.min_bucket_reso // step * step
    high = math.ceil(rule.max_bucket_reso / step) * step
    pairs = (("min_bucket_reso", rule.min_bucket_reso, low),
             ("max_bucket_reso", rule.max_bucket_reso, high))  # fmt: skip
    for name, before, after in pairs:
        if before != after:
            said.append(f"{name}: {before} is no multiple of {step}; {after} is used.")
    return rule.model_copy(update={"min_bucket_reso": low, "max_bucket_reso": high}), said


def check(rule: Bucketing, family: str = "sd1") -> tuple[Bucketing, list[str]]:
    """The rule as it is used, and sentences about what was adjusted.

    Args:
        family: ``sd1``, ``sd2`` or ``sdxl``.
    Raises:
        ParamsError: Sizes that do not go together (``field``).
    """
    unit = SIDE_STEP[family]
    width, height = rule.resolution
    if min(width, height) < 8:
        raise _not_a_size(f"{width},{height}", unit)
    if not rule.enable_bucket:
        if width % unit or height % unit:
            raise _not_a_size(f"{width},{height}", unit)
        return rule, []
    if rule.bucket_reso_steps < 1 or rule.bucket_reso_steps % unit:
        other = "" if family == "sdxl" else f" (SDXL: {SIDE_STEP['sdxl']})"
        raise ParamsError(
            f"bucket_reso_steps: {rule.bucket_reso_steps} does not fit {FAMILY_NAMES[family]}; "
            f"use a multiple of {unit}{other}.",
            field="bucket_reso_steps",
        )
    used, said = adjusted(rule)
    if used.min_bucket_reso > min(width, height):
        raise ParamsError(
            f"min_bucket_reso {rule.min_bucket_reso} must not exceed the smaller side of "
            f"resolution ({min(width, height)}).",
            field="min_bucket_reso",
        )
    if used.max_bucket_reso < max(width, height):
        raise ParamsError(
            f"max_bucket_reso {rule.max_bucket_reso} must not be less than the larger side "
            f"({max(width, height)}).",
            field="max_bucket_reso",
        )
    return used, said


def _not_a_size(value: str, unit: int) -> ParamsError:
    return ParamsError(
        f'resolution: "{value}" is not a size. Write one number (512) or width,height (512,768), '
        f"each a multiple of {unit}.",
        field="resolution",
    )


def shapes(rule: Bucketing) -> tuple[Size, ...]:
    """The sizes that pictures may be trained at, by width, then height.

    Empty with ``bucket_no_upscale``, where pictures make them; ``rule`` as ``check`` gave it.
    """
    if not rule.enable_bucket:
        return (rule.resolution,)
    if rule.bucket_no_upscale:
        return ()
    limits = rule.min_bucket_reso, rule.max_bucket_reso
    return _shapes(area(rule), *limits, rule.bucket_reso_steps)


@lru_cache(maxsize=64)
def _shapes(pixels: int, low: int, high: int, step: int) -> tuple[Size, ...]:
    square = math.isqrt(pixels) // step * step
    found = {(square, square)}
    for width in range(low, high + 1, step):
        height = min(high, pixels // width // step * step) if width else 0
        if height >= low:
            found |= {(width, height), (height, width)}
    return tuple(sorted(found))


def fit(picture: Size, rule: Bucketing) -> Fit:
    """Where a picture goes.

    Args:
        picture: Its size, upright.
        rule: As ``check`` gave it.
    Returns:
        A bucket with a side of 0 when the picture is smaller than a step (``bucket_no_upscale``).
    """
    if rule.enable_bucket and rule.bucket_no_upscale:
        return _fit_without_enlarging(picture, rule)
    bucket = _nearest(picture, shapes(rule))
    ratio, wanted = picture[0] / picture[1], bucket[0] / bucket[1]
    scale = bucket[1] / picture[1] if ratio > wanted else bucket[0] / picture[0]
    return _made(picture, bucket, (_rounded(picture[0] * scale), _rounded(picture[1] * scale)))


def _nearest(picture: Size, sizes: tuple[Size, ...]) -> Size:
    at = bisect.bisect_left(sizes, picture)
    if at < len(sizes) and sizes[at] == picture:
        return picture
    ratio = picture[0] / picture[1]
    return min(sizes, key=lambda size: abs(size[0] / size[1] - ratio))


def _fit_without_enlarging(picture: Size, rule: Bucketing) -> Fit:
    width, height = picture
    step = rule.bucket_reso_steps
    resized = picture
    if width * height > area(rule):
        ratio = width / height
        by_width = math.sqrt(area(rule) * ratio)
        by_height = area(rule) / by_width
        wide = _snapped(by_width, step)
        high = _snapped(by_height, step)
        one = wide, _snapped(wide / ratio, step)
        two = _snapped(high * ratio, step), high
        if _distance(one, ratio) < _distance(two, ratio):
            resized = wide, _rounded(wide / ratio)
        else:
            resized = _rounded(high * ratio), high
    bucket = resized[0] // step * step, resized[1] // step * step
    return _made(picture, bucket, resized)


def _distance(size: Size, ratio: float) -> float:
    return abs(size[0] / size[1] - ratio) if size[1] else math.inf


def _made(picture: Size, bucket: Size, resized: Size) -> Fit:
    crop = (resized[0] - bucket[0]) // 2, (resized[1] - bucket[1]) // 2
    wanted = bucket[0] / bucket[1] if bucket[1] else 0.0
    return Fit(bucket, resized, crop, wanted - picture[0] / picture[1])


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)


def _snapped(value: float, step: int) -> int:
    return _rounded(value) // step * step


def way_of_resizing(picture: Size, resized: Size) -> str:
    """``none``, ``area`` where both sides shrink or stay, else ``lanczos``."""
    if picture == resized:
        return "none"
    shrinks = picture[0] >= resized[0] and picture[1] >= resized[1]
    return "area" if shrinks else "lanczos"


def size_conditioning(picture: Size, bucket: Size) -> tuple[float, float, float, float]:
    """SDXL's left, top, right, bottom of the picture laid into its bucket, in pixels.

    It describes a letterbox, not the pixels that are cut.
    """
    ratio, wanted = picture[0] / picture[1], bucket[0] / bucket[1]
    if wanted > ratio:
        width, height = bucket[1] * ratio, float(bucket[1])
    else:
        width, height = float(bucket[0]), bucket[0] / ratio
    left, top = (bucket[0] - width) // 2, (bucket[1] - height) // 2
    return left, top, left + width, top + height


def count_batches(samples: Mapping[Size, int], batch_size: int) -> int:
    """Batches of an epoch: no batch mixes buckets, the last of each may be short.

    Args:
        samples: Pictures with repeats in each bucket.
    """
    return sum(math.ceil(count / batch_size) for count in samples.values())
