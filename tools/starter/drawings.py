"""Vector drawings of an npm icon package, rendered once at the sizes that scenes need.

Needs resvg-py (requirements/starter.txt) and ``npm install @iconify-json/fluent-emoji-flat``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from tools.starter.concepts import HUES, Concept

PACKAGE: Final = "fluent-emoji-flat"
SPRITE_SIZES: Final = (112, 96, 56, 40)
"""Longest side in pixels of a 128-pixel picture: big, one, one of two, one of three or small."""

_RENDERED = 512
_VISIBLE_ALPHA = 8


class IconPackage:
    """The drawings of one package in iconify's JSON layout.

    Args:
        modules: A node_modules folder that holds ``@iconify-json/<package>``.
    """

    def __init__(self, modules: Path, package: str = PACKAGE) -> None:
        file = modules / "@iconify-json" / package / "icons.json"
        self._facts: dict[str, Any] = json.loads(file.read_text("utf-8"))

    def __contains__(self, name: str) -> bool:
        return name in self._facts["icons"] or name in self._facts.get("aliases", {})

    def names(self) -> list[str]:
        """All drawings, without aliases."""
        return list(self._facts["icons"])

    def svg(self, name: str) -> str:
        """The drawing as an SVG document of 512 × 512."""
        alias = self._facts.get("aliases", {}).get(name)
        icon = self._facts["icons"][alias["parent"] if alias else name]
        width = icon.get("width", self._facts.get("width", 16))
        height = icon.get("height", self._facts.get("height", 16))
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {width} {height}" width="{_RENDERED}" height="{_RENDERED}">'
            f"{icon['body']}</svg>"
        )


def render(svg: str) -> Image.Image:
    """Draw an SVG document; RGBA, cut to what is visible."""
    import resvg_py

    data = resvg_py.svg_to_bytes(svg_string=svg, width=_RENDERED, height=_RENDERED)
    image = Image.open(io.BytesIO(bytes(data))).convert("RGBA")
    visible = image.getchannel("A").point(lambda alpha: 255 if alpha > _VISIBLE_ALPHA else 0)
    return image.crop(visible.getbbox())


def sprite(image: Image.Image, size: int) -> np.ndarray:
    """A drawing scaled to fit a square.

    Args:
        image: RGBA. size: Side of the square in pixels.
    Returns:
        (size, size, 4) float32 in 0–1, colours premultiplied with alpha, centred.
    """
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    pixels = np.asarray(image, np.float32) / 255
    pixels = np.concatenate([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]], -1)
    how = Image.Resampling.BOX if width < image.width else Image.Resampling.BICUBIC
    scaled = [
        np.asarray(Image.fromarray(pixels[..., c]).resize((width, height), how)) for c in range(4)
    ]
    square = np.zeros((size, size, 4), np.float32)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = np.stack(scaled, -1)
    return square.clip(0, 1)


def recoloured(pixels: np.ndarray, hue: float) -> np.ndarray:
    """Turn the main colour of a sprite to another hue, small differences kept by half.

    Args:
        pixels: (h, w, 4) premultiplied, 0–1; unchanged. hue: 0–1.
    """
    alpha = pixels[..., 3:]
    colours = np.where(alpha > 1e-3, pixels[..., :3] / np.maximum(alpha, 1e-3), 0).clip(0, 1)
    hsv = to_hsv(colours)
    weights = (hsv[..., 1] > 0.3) * (hsv[..., 2] > 0.25) * alpha[..., 0]
    counts = np.histogram(hsv[..., 0], 36, (0, 1), weights=weights)[0]
    main = ((counts + np.roll(counts, 1) + np.roll(counts, -1)).argmax() + 0.5) / 36
    away = (hsv[..., 0] - main + 0.5) % 1 - 0.5
    hsv[..., 0] = np.where(np.abs(away) < 0.14, (hue + away * 0.5) % 1, hsv[..., 0])
    return np.concatenate([to_rgb(hsv) * alpha, alpha], -1)


def to_hsv(rgb: np.ndarray) -> np.ndarray:
    """(…, 3) RGB in 0–1 → hue, saturation, value in 0–1."""
    high, low = rgb.max(-1), rgb.min(-1)
    spread = high - low
    safe = np.where(spread < 1e-6, 1, spread)
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    hue = np.where(
        high == red, ((green - blue) / safe) % 6,
        np.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )  # fmt: skip
    hue = np.where(spread < 1e-6, 0, hue / 6)
    return np.stack([hue, np.where(high > 0, spread / np.maximum(high, 1e-6), 0), high], -1)


def to_rgb(hsv: np.ndarray) -> np.ndarray:
    """The way back from ``to_hsv``."""
    hue, saturation, value = hsv[..., 0] * 6, hsv[..., 1], hsv[..., 2]

    def channel(offset: int) -> np.ndarray:
        place = (offset + hue) % 6
        return value - value * saturation * np.clip(np.minimum(place, 4 - place), 0, 1)

    return np.stack([channel(5), channel(3), channel(1)], -1)


class Sprites:
    """Sprites of all concepts, sizes and colours.

    Attributes:
        concepts: What can be drawn, in a fixed order.
    """

    def __init__(self, concepts: list[Concept], pixels: dict[tuple[str, str, int], np.ndarray]):
        self.concepts = concepts
        self._pixels = pixels

    def get(self, name: str, hue: str, size: int) -> np.ndarray:
        """(size, size, 4) float32 premultiplied; ``hue`` '' is the drawing's own colour."""
        return self._pixels[name, hue, size].astype(np.float32) / 255

    @classmethod
    def rendered(cls, concepts: Iterable[Concept], icons: IconPackage) -> Sprites:
        """Render what the package holds; about 20 ms for each concept."""
        found = [concept for concept in concepts if concept.name in icons]
        return cls.of_images(found, {c.name: render(icons.svg(c.name)) for c in found})

    @classmethod
    def of_images(cls, concepts: list[Concept], images: dict[str, Image.Image]) -> Sprites:
        """Sprites of drawings that are RGBA pictures already."""
        pixels = {}
        for concept in concepts:
            for size in SPRITE_SIZES:
                plain = sprite(images[concept.name], size)
                pixels[concept.name, "", size] = _to_bytes(plain)
                if concept.is_recolourable:
                    for hue, value in HUES.items():
                        pixels[concept.name, hue, size] = _to_bytes(recoloured(plain, value))
        return cls(concepts, pixels)


def _to_bytes(pixels: np.ndarray) -> np.ndarray:
    return (pixels * 255).round().astype(np.uint8)
