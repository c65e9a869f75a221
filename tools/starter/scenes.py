"""A scene: what stands where, before which background; sampled, held out, drawn."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tools.starter.concepts import COLOURS, HUES, SCENES, Concept
from tools.starter.drawings import Sprites
from tools.starter.pools import LAST_SHARES, LAYOUTS

SIZE: Final = 128
"""Side of a picture in pixels; a profile with larger pictures draws them scaled."""

HELD_OUT_SHARE: Final = 10
"""One of so many (subject, background) pairs never occurs in training."""

BACKGROUND_KINDS: Final = {"colour": 0.62, "gradient": 0.10, "scene": 0.16, "unnamed": 0.12}
"""Shares of training pictures; 'unnamed' is a colour that the caption does not mention."""

_STARS = (
    (12, 12), (44, 6), (76, 14), (112, 8), (6, 52), (122, 46),
    (8, 92), (118, 84), (28, 118), (64, 122), (104, 116),
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A thing in the picture; ``hue`` '' = its own colour, else a key of HUES."""

    concept: Concept
    hue: str = ""


@dataclass(frozen=True)
class Background:
    """Behind everything.

    Attributes:
        kind: ``colour``, ``gradient`` or ``scene``.
        names: One colour, two colours (top, bottom), or one scene.
        is_named: The caption mentions it.
    """

    kind: str
    names: tuple[str, ...]
    is_named: bool = True


@dataclass(frozen=True)
class Scene:
    """All that a caption may say.

    Attributes:
        subjects: One, or two for the layout ``pair`` (left, right).
        layout: One of ``LAYOUTS``.
    """

    subjects: tuple[Subject, ...]
    layout: str
    background: Background

    @property
    def is_held_out(self) -> bool:
        """It shows a (subject, background) pair that training must never meet."""
        return any(
            is_held_out(subject.concept.name, name)
            for subject in self.subjects
            for name in self.background.names
        )


def is_held_out(name: str, background: str) -> bool:
    """True for a tenth of the pairs, the same tenth on every machine."""
    digest = hashlib.md5(f"{name}/{background}".encode(), usedforsecurity=False).hexdigest()
    return int(digest, 16) % HELD_OUT_SHARE == 0


def sample_scene(
    concepts: Sequence[Concept], rng: random.Random, shares: Sequence[float] = LAST_SHARES
) -> Scene:
    """A scene of the training set: held-out pairs are drawn again.

    Args:
        concepts: At least two. shares: Of the layouts.
    """
    while True:
        layout = rng.choices(LAYOUTS, shares)[0]
        subjects = tuple(_subject(concepts, rng) for _ in range(2 if layout == "pair" else 1))
        scene = Scene(subjects, layout, _background(rng))
        is_twice = layout == "pair" and subjects[0].concept == subjects[1].concept
        if not is_twice and not scene.is_held_out:
            return scene


def _subject(concepts: Sequence[Concept], rng: random.Random) -> Subject:
    concept = rng.choice(concepts)
    has_hue = concept.is_recolourable and rng.random() < 0.5
    return Subject(concept, rng.choice(list(HUES)) if has_hue else "")


def _background(rng: random.Random) -> Background:
    (kind,) = rng.choices(list(BACKGROUND_KINDS), list(BACKGROUND_KINDS.values()))
    if kind == "gradient":
        return Background(kind, tuple(rng.sample(list(COLOURS), 2)))
    if kind == "scene":
        return Background(kind, (rng.choice(list(SCENES)),))
    colour = rng.choice(list(COLOURS))
    if kind == "unnamed":
        return Background("colour", (colour if rng.random() < 0.5 else "white",), is_named=False)
    return Background("colour", (colour,))


def draw(scene: Scene, sprites: Sprites, rng: random.Random) -> np.ndarray:
    """Paint a scene: small chance differences in shade and place.

    Returns:
        (SIZE, SIZE, 3) float32 sRGB in 0–1.
    """
    picture = _painted(scene.background, rng)
    for subject, size, left, top in _places(scene, rng):
        _paste(picture, sprites.get(subject.concept.name, subject.hue, size), left, top)
    return picture.clip(0, 1)


def _places(scene: Scene, rng: random.Random) -> list[tuple[Subject, int, int, int]]:
    """Subject, sprite size, left, top. Steps of 8 pixels: one latent."""

    def shift(step: int = 8) -> int:
        return rng.choice((-step, 0, 0, 0, 0, step))

    first, last = scene.subjects[0], scene.subjects[-1]
    sides = {"left": 4, "right": 68, "top": 4, "bottom": 68}
    match scene.layout:
        case "one":
            return [(first, 96, 16 + shift(), 16 + shift())]
        case "big":
            return [(first, 112, 8, 8)]
        case "small":
            return [(first, 40, 44 + shift(16), 44 + shift(16))]
        case "left" | "right":
            return [(first, 56, sides[scene.layout], 36 + shift())]
        case "top" | "bottom":
            return [(first, 56, 36 + shift(), sides[scene.layout])]
        case "two" | "pair":
            top = 36 + shift()
            return [(first, 56, 4, top), (last, 56, 68, top)]
        case "three":
            top = 44 + shift()
            return [(first, 40, 1 + 43 * place, top) for place in range(3)]
    raise ValueError(f"no layout {scene.layout!r}")


def _paste(picture: np.ndarray, pixels: np.ndarray, left: int, top: int) -> None:
    side = len(pixels)
    under = picture[top : top + side, left : left + side]
    under[:] = under * (1 - pixels[..., 3:]) + pixels[..., :3]


def _painted(background: Background, rng: random.Random) -> np.ndarray:
    if background.kind == "scene":
        return _scenery(background.names[0], rng)
    shades = [_shade(COLOURS[name], rng, 10) for name in background.names]
    if len(shades) == 1:
        return _filled(shades[0])
    return _fading(shades[0], shades[1])


def _shade(colour: tuple[int, int, int], rng: random.Random, spread: float = 6) -> np.ndarray:
    return np.array(
        [min(255, max(0, value + rng.uniform(-spread, spread))) / 255 for value in colour],
        np.float32,
    )


def _filled(colour: np.ndarray) -> np.ndarray:
    return np.ones((SIZE, SIZE, 3), np.float32) * colour


def _fading(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    down = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None]
    return np.broadcast_to(top * (1 - down) + bottom * down, (SIZE, SIZE, 3)).copy()


def _scenery(name: str, rng: random.Random) -> np.ndarray:
    def shade(*colour: int) -> np.ndarray:
        return _shade((colour[0], colour[1], colour[2]), rng)

    match name:
        case "meadow":
            picture = _filled(shade(150, 212, 250))
            picture[81:] = shade(110, 190, 80)
        case "beach":
            picture = _filled(shade(150, 212, 250))
            picture[57:], picture[81:] = shade(50, 150, 210), shade(245, 218, 150)
        case "snow":
            picture = _filled(shade(175, 205, 235))
            picture[81:] = shade(245, 248, 252)
        case "night":
            picture = _filled(shade(22, 26, 66))
            for left, top in _STARS:
                picture[top : top + 3, left : left + 3] = (1, 0.95, 0.7)
        case "sunset":
            picture = _fading(shade(250, 120, 70), shade(255, 215, 110))
            picture[97:] = shade(95, 55, 85)
        case "sea":
            picture = _fading(shade(70, 190, 225), shade(15, 60, 140))
        case "desert":
            picture = _filled(shade(250, 225, 170))
            picture[81:] = shade(225, 165, 85)
        case "mountains":
            picture = _mountains(shade(165, 215, 245), shade(110, 125, 150), shade(95, 165, 90))
        case _:
            raise ValueError(f"no scene {name!r}")
    return picture


def _mountains(sky: np.ndarray, rock: np.ndarray, grass: np.ndarray) -> np.ndarray:
    picture = _filled(sky)
    across, down = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    left = 34 * np.maximum(1 - np.abs(across - 28) / 40, 0)
    right = 44 * np.maximum(1 - np.abs(across - 100) / 48, 0)
    picture[down > 70 - left - right] = rock
    picture[97:] = grass
    return picture
