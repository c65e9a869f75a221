"""Pictures in requests."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from webui.pictures import encode, read_infotext


def decode_base64_to_image(encoding: str) -> Any:
    """A picture out of a request.

    Raises:
        ValueError: It is none. Addresses are not fetched.
    """
    text = (
        encoding.partition(";")[2].partition(",")[2]
        if encoding.startswith("data:image/")
        else encoding
    )
    try:
        image = Image.open(io.BytesIO(base64.b64decode(text)))
        image.load()
    except (OSError, ValueError) as err:
        raise ValueError(f"Invalid encoded image: {err}") from err
    return image


def encode_pil_to_base64(image: Any) -> bytes:
    """A picture for a reply: PNG with its recipe."""
    if isinstance(image, str):
        return image.encode()
    return base64.b64encode(encode(image, infotext=read_infotext(image)[0]))


def verify_url(url: str) -> bool:
    """False: extensions fetch nothing through this."""
    return False
