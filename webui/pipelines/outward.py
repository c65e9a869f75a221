"""What the new part of a grown picture begins with, made from the picture's own pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import fft, ndimage

Pixels = NDArray[np.float32]
BLUR_PER_PIXEL = 0.35
"""Gaussian sigma that detail has lost at one pixel's distance; chosen by eye."""
FIRST_BLUR = 0.7
GRAIN_OCTAVES = 3
GRAIN_SHARE = 0.7
"""How much of the picture's grain goes on; less than all, as what is painted brings its own."""
GRAIN_BLOCK = 16
"""Side in pixels of the squares whose texture is measured."""
QUARTILE_TO_SPREAD = 3.138
"""From the lower quartile of a Gaussian's absolute values to its standard deviation."""
NOISE_SEED = 0
"""As in A1111's mk2, the beginning is the same for every seed."""


def continue_outwards(
    old: Image.Image, size: tuple[int, int], at: tuple[int, int], seed: int = NOISE_SEED
) -> Image.Image:
    """Carry colours and texture over the edges of a picture.

    The outermost pixels are drawn outwards and lose detail with their distance; then comes a
    little grain, octave by octave as strong as the picture's own at the nearest place of its
    edge. A flat picture has none, and stays flat.

    Args:
        old: RGB.
        size: Width and height of the canvas.
        at: Where the old picture's left upper corner lies on it.
        seed: Of the grain.
    Returns:
        RGB of ``size``; the old picture's pixels are unchanged.
    """
    pixels = np.asarray(old.convert("RGB"))
    left, up = at
    distance = distance_outwards(size, (left, up, left + old.width, up + old.height))
    canvas = _blurred_by_distance(_drawn(pixels, size, at), distance)
    canvas += GRAIN_SHARE * _grain(pixels, size, at, seed) * (distance > 0)[..., None]
    canvas = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    canvas[up : up + old.height, left : left + old.width] = pixels
    return Image.fromarray(canvas)


def distance_outwards(size: tuple[int, int], box: tuple[int, int, int, int]) -> Pixels:
    """(H, W): how many pixels each pixel lies outside the box; 0 inside."""
    left, up, right, down = box
    x = np.arange(size[0], dtype=np.float32)
    y = np.arange(size[1], dtype=np.float32)
    dx = np.maximum(np.maximum(left - x, x - (right - 1)), 0)
    dy = np.maximum(np.maximum(up - y, y - (down - 1)), 0)
    return np.hypot(dx[None, :], dy[:, None]).astype(np.float32)


def _blurred_by_distance(drawn: NDArray[np.uint8], distance: Pixels) -> Pixels:
    """Each pixel from a copy whose blur suits its distance, between the two nearest copies."""
    image = Image.fromarray(drawn)
    sigma = np.maximum(distance * BLUR_PER_PIXEL, 1e-6)
    level = np.maximum(np.log2(sigma / FIRST_BLUR) + 1, 0)  # 0 = sharp, then doubling
    result = np.zeros(drawn.shape, np.float32)
    for k in range(math.ceil(float(level.max())) + 1):
        weight = np.maximum(1 - np.abs(level - k), 0)[..., None]
        copy = (
            image if k == 0 else image.filter(ImageFilter.GaussianBlur(FIRST_BLUR * 2 ** (k - 1)))
        )
        result += weight * np.asarray(copy, np.float32)
    return result


def _grain(
    pixels: NDArray[np.uint8], size: tuple[int, int], at: tuple[int, int], seed: int
) -> Pixels:
    """(H, W, 3) noise with the spread the picture has at the nearest place of its edge, octave by
    octave."""
    picture = pixels.astype(np.float32)
    noise = np.random.default_rng(seed).standard_normal((size[1], size[0], 1), np.float32)
    result = np.zeros((size[1], size[0], 3), np.float32)
    for octave in range(GRAIN_OCTAVES):
        sigma = FIRST_BLUR * 2**octave
        smooth_picture, smooth_noise = _blurred(picture, sigma), _blurred(noise, sigma)
        spread = _local_spread(picture - smooth_picture)
        if spread.any():
            detail = noise - smooth_noise
            spread = np.asarray(_drawn(spread, size, at), np.float32)
            result += detail / max(float(detail.std()), 1e-6) * spread
        picture, noise = smooth_picture, smooth_noise
    return result


def _drawn(values: NDArray[Any], size: tuple[int, int], at: tuple[int, int]) -> NDArray[Any]:
    """(h, w, C) on a canvas of ``size``, its outermost values drawn outwards."""
    (left, up), (height, width) = at, values.shape[:2]
    around = ((up, size[1] - up - height), (left, size[0] - left - width), (0, 0))
    return np.pad(values, around, mode="edge")


def _blurred(values: Pixels, sigma: float) -> Pixels:
    """Gaussian blur of (H, W, C) floats; edges are continued."""
    blurred: Any = ndimage.gaussian_filter(values, (sigma, sigma, 0), mode="nearest")
    return blurred


def _local_spread(detail: Pixels) -> Pixels:
    """(h, w, 3) robust standard deviation of (h, w, 3) detail around each pixel. Outlines, which
    fill only a part of a block, do not count."""
    height, width = detail.shape[:2]
    rows, columns = -(-height // GRAIN_BLOCK), -(-width // GRAIN_BLOCK)
    more = ((0, rows * GRAIN_BLOCK - height), (0, columns * GRAIN_BLOCK - width), (0, 0))
    blocks = np.pad(np.abs(detail), more, mode="symmetric")
    blocks = blocks.reshape(rows, GRAIN_BLOCK, columns, GRAIN_BLOCK, 3)
    spread = np.quantile(blocks, 0.25, axis=(1, 3)) * QUARTILE_TO_SPREAD  # (rows, columns, 3)
    spread = spread.astype(np.float32)
    channels = [
        Image.fromarray(spread[..., c]).resize((width, height), Image.Resampling.BILINEAR)
        for c in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def matched_noise(
    old: Image.Image,
    size: tuple[int, int],
    at: tuple[int, int],
    is_new: Pixels,
    *,
    falloff: float = 1.0,
    color_variation: float = 0.05,
) -> Image.Image:
    """Noise with the spectrum and the colours of the picture.

    Args:
        old, size, at: As for ``continue_outwards``.
        is_new: (H, W) 0 … 1, how much of each pixel becomes noise.
        falloff: Exponent of the picture's spectrum; lower = more detail.
        color_variation: 0 = grey noise (before it takes the picture's colours), 1 = coloured.
    Returns:
        RGB of ``size``.
    Source:
        The method of A1111's "Outpainting mk2" (from parlance-zz's g-diffuser-bot): random phases
        and power of noise times the picture's amplitude spectrum to the power ``falloff`` under
        the picture's phases; then the histogram of the picture.
    """
    source = np.zeros((size[1], size[0], 3))
    source[at[1] : at[1] + old.height, at[0] : at[0] + old.width] = np.asarray(old) / 255.0
    share = is_new[..., None].astype(np.float64)
    shown = source * (1 - share)
    shown = shown / max(float(shown.max()), 1e-6) + source.mean() * share
    spectrum: Any = fft.rfft2(shown, axes=(0, 1))
    amplitude = np.abs(spectrum)
    phase = spectrum / np.maximum(amplitude, 1e-12)

    noise = np.random.default_rng(NOISE_SEED).random(shown.shape)
    noise = color_variation * noise + (1 - color_variation) * noise.mean(axis=2, keepdims=True)
    noise_spectrum: Any = fft.rfft2(noise, axes=(0, 1))
    power = np.abs(noise_spectrum * _low_pass(size)[..., None]) ** 2
    shaped: Any = fft.irfft2(power * amplitude**falloff * phase, size[::-1], axes=(0, 1))

    is_noise = is_new > 1e-6
    known = source[is_new < 1e-3] if (is_new < 1e-3).any() else source.reshape(-1, 3)
    result = source.copy()
    for channel in range(3):
        result[is_noise, channel] = _with_histogram(shaped[is_noise, channel], known[:, channel])
    result = source * (1 - share) + result * share
    return Image.fromarray(np.clip(np.rint(result * 255), 0, 255).astype(np.uint8))


def _low_pass(size: tuple[int, int]) -> NDArray[np.float64]:
    """(H, W // 2 + 1) weight of each frequency of the noise, 1 / ((x² + 1)(y² + 1))."""
    width, height = size
    x = 2 * np.fft.rfftfreq(width) * width / min(size)
    y = 2 * np.fft.fftfreq(height) * height / min(size)
    return 1 / ((x[None, :] ** 2 + 1) * (y[:, None] ** 2 + 1))


def _with_histogram(
    values: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The values in their order, spread as ``wanted`` is."""
    ranks = np.empty(values.size)
    ranks[np.argsort(values)] = (np.arange(values.size) + 0.5) / values.size
    places = (np.arange(wanted.size) + 0.5) / wanted.size
    return np.interp(ranks, places, np.sort(wanted))
