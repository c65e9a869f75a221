"""Brings one of everything that can be brought."""

from __future__ import annotations

from PIL import Image

from webui.hookspecs import FaceRestorer, Sampler, Schedule, Tagger, Upscaler, hook
from webui.samplers.euler import euler


@hook
def samplers() -> list[Sampler]:
    return [Sampler("Little Euler", euler)]


@hook
def schedules() -> list[Schedule]:
    return [
        Schedule(
            "Straight line", lambda n, low, high: [high - (high - low) * i / n for i in range(n)]
        )
    ]


@hook
def upscalers() -> list[Upscaler]:
    return [Upscaler("Little larger", lambda image, width, height: image.resize((width, height)))]


@hook
def face_restorers() -> list[FaceRestorer]:
    return [FaceRestorer("Little faces", lambda image, weight: Image.new("RGB", image.size, "red"))]


@hook
def taggers() -> list[Tagger]:
    return [Tagger("Little tagger", lambda image, threshold: f"{image.width} wide (a bracket)")]
