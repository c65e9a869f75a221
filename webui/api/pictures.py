"""Pictures as clients send and get them: base64 text in, base64 files out."""

from __future__ import annotations

import base64
import binascii
import io

from PIL import Image

from webui.api.errors import ApiError
from webui.errors import PictureError
from webui.studio import Studio

ADVICE = "Send the base64 text of a PNG, JPEG, WebP, GIF, BMP or AVIF file."
_PILLOW_FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "avif": "AVIF"}


def decode_picture(text: str, field: str = "") -> bytes:
    """The file inside a raw base64 text or a ``data:image/`` URI.

    Args:
        field: What the client called it.
    Raises:
        ApiError: Not decodable, or an address (pictures are not fetched).
    """
    text = text.strip()
    if text.lower().startswith(("http://", "https://")):
        raise ApiError(
            422, "Requests not allowed: pictures are not fetched by address. Send them as base64."
        )
    if text.startswith("data:image/"):
        text = text.partition(";")[2].partition(",")[2]
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError) as err:
        reason = f"{field}: this is no base64 text. {ADVICE}" if field else ""
        raise invalid_picture(reason) from err


def invalid_picture(reason: str = "") -> ApiError:
    """The answer to a picture that cannot be read."""
    return ApiError(422, f"Invalid encoded image. {reason or ADVICE}")


def keep_picture(studio: Studio, text: str, field: str) -> str:
    """Keep a picture that a client sent as an input of jobs.

    Args:
        text: As for ``decode_picture``.
        field: What the client called it.
    Returns:
        Its key among the studio's inputs.
    Raises:
        ApiError: 422 in A1111's words, no picture, a damaged or a much too large one.
        LibraryError: It cannot be written.
    """
    data = decode_picture(text, field)
    try:
        return studio.inputs.keep(data)
    except PictureError as err:
        raise invalid_picture(f"{field}: {err}") from err


def convert_preview(preview: bytes, found: str, wanted: str) -> tuple[bytes, str]:
    """A preview in the format a client expects; unchanged when the format is unknown to Pillow.

    Args:
        preview: A whole picture file.
        found, wanted: Format names such as ``png`` and ``jpeg``.
    Returns:
        The file and its format name.
    """
    target = _PILLOW_FORMATS.get(wanted.lower())
    if target is None or target == _PILLOW_FORMATS.get(found.lower()):
        return preview, found
    out = io.BytesIO()
    options = {"compress_level": 1} if target == "PNG" else {"quality": 80}
    with Image.open(io.BytesIO(preview)) as image:
        image.convert("RGB").save(out, target, **options)
    return out.getvalue(), wanted.lower()
