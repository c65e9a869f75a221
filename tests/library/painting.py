"""Small pictures to save."""

from __future__ import annotations

from PIL import Image

from webui.library.library import PictureFacts
from webui.params import Output
from webui.pictures import encode

FLAT = Output(directory_pattern="", filename_pattern="[seed]")


def painted(
    colour: str = "red", picture_format: str = "png", size: tuple[int, int] = (16, 8)
) -> bytes:
    """An encoded picture of one colour."""
    return encode(Image.new("RGB", size, colour), format=picture_format)  # type: ignore[arg-type]


def facts(seed: int = 41, **more: object) -> PictureFacts:
    values = {"seed": seed, "prompt": "a cat", "infotext": f"a cat\nSteps: 1, Seed: {seed}", **more}
    return PictureFacts(**values)  # type: ignore[arg-type]
