"""A job of its own, and a step of the Extras tab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageOps

from webui.hookspecs import Job, hook


@hook
def run_job(kind: str, job: Job) -> list[Mapping[str, Any]]:
    if kind == "fail":
        raise ValueError("on purpose")
    job.progress(1, 2)
    return [{"kind": kind, "upto": job.values["upto"]}]


@hook
def extras_picture(image: Image.Image) -> Image.Image:
    return ImageOps.invert(image)
