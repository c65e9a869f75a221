"""Pictures as arrays: (H, W, 3 or 4), RGB or RGBA, 8 or 16 bits a channel.

Pillow has no colour pictures of 16 bits, so those are read and written here.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from webui.errors import LibraryError
from webui.pictures import PARAMETERS, load_upright, open_image

Pixels: TypeAlias = NDArray[Any]
"""(H, W, 3) RGB or (H, W, 4) RGBA, uint8 or uint16, C order."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS_PER_SAMPLE = 258  # TIFF tag


def highest(pixels: Pixels) -> int:
    """The value of white: 255 or 65535."""
    return int(np.iinfo(pixels.dtype).max)


def from_image(image: Image.Image) -> Pixels:
    """The pixels of a picture, 8 bits; RGBA only when the picture has an alpha channel."""
    mode = "RGBA" if image.mode in ("RGBA", "LA", "PA") else "RGB"
    return np.array(image if image.mode == mode else image.convert(mode))


def to_image(pixels: Pixels) -> Image.Image:
    """A Pillow picture of 8 bits; 16-bit values are rounded."""
    return Image.fromarray(to_eight(pixels))


def to_eight(pixels: Pixels) -> Pixels:
    """The same with 8 bits a channel, rounded to nearest."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def read_pixels(source: str | Path | bytes) -> Pixels:
    """Read a picture upright, with all its bits.

    Raises:
        LibraryError: As ``pictures.load_upright``.
    """
    with open_image(source) as image:
        deep, turn = _is_deep(image), image.getexif().get(ExifTags.Base.Orientation, 1)
    if not deep:
        return from_image(load_upright(source))
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        return from_image(load_upright(source))
    return _turned(_as_rgb(pixels), int(turn))


def _is_deep(image: Image.Image) -> bool:
    if image.format == "PNG":
        return any("16" in str(tile[3]) for tile in getattr(image, "tile", ())) or (
            image.mode.startswith("I")
        )
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
        return 16 in (bits if isinstance(bits, tuple) else (bits,))
    return False


def _as_rgb(pixels: Pixels) -> Pixels:
    """OpenCV's order of channels, blue first, as ours; grey as three channels."""
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.shape[2] == 4:
        return np.ascontiguousarray(pixels[:, :, [2, 1, 0, 3]])
    return np.ascontiguousarray(pixels[:, :, 2::-1])


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """As EXIF's orientation 1–8 says."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarter_turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns))


def encode_deep(pixels: Pixels, infotext: str | None) -> bytes:
    """A PNG file of 16 bits with the recipe inside.

    Raises:
        LibraryError: The picture could not be encoded.
    """
    order = [2, 1, 0, 3][: pixels.shape[2]]
    done, data = cv2.imencode(".png", pixels[:, :, order])
    if not done:
        raise LibraryError("A 16-bit PNG was wanted, but it could not be written.")
    file = data.tobytes()
    if infotext is None:
        return file
    after_header = len(_PNG_SIGNATURE) + 25  # signature, then the IHDR chunk
    return file[:after_header] + _text_chunk(infotext) + file[after_header:]


def _text_chunk(infotext: str) -> bytes:
    """An iTXt chunk, uncompressed UTF-8. Source: PNG specification, section 11.3.4.5."""
    body = PARAMETERS.encode("latin-1") + b"\0\0\0\0\0" + infotext.encode("utf-8", "replace")
    checksum = zlib.crc32(b"iTXt" + body)
    return struct.pack(">I", len(body)) + b"iTXt" + body + struct.pack(">I", checksum)


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """Lanczos to exactly width × height, at the same depth."""
    if (pixels.shape[1], pixels.shape[0]) == (width, height):
        return pixels
    if pixels.dtype == np.uint8:
        return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
    result = np.empty((height, width, pixels.shape[2]), pixels.dtype)
    for channel in range(pixels.shape[2]):
        plane = Image.fromarray(pixels[:, :, channel].astype(np.float32))
        plane = plane.resize((width, height), Image.Resampling.LANCZOS)
        result[:, :, channel] = np.clip(np.rint(np.asarray(plane)), 0, highest(pixels))
    return result


def blended(first: Pixels, second: Pixels, share: float) -> Pixels:
    """first·(1−share) + second·share, rounded, in bands so that memory stays small.

    Args:
        first, second: The same shape and dtype. share: 0–1.
    """
    if share <= 0:
        return first
    if share >= 1:
        return second
    result = np.empty_like(first)
    for top in range(0, first.shape[0], 512):
        band = slice(top, top + 512)
        mixed = first[band].astype(np.float32) * (1 - share)
        mixed += second[band].astype(np.float32) * share
        result[band] = np.rint(mixed).astype(first.dtype)
    return result


def is_grey(pixels: Pixels) -> bool:
    """True for black-and-white and for evenly toned photographs: no place has a colour of its own.

    Compares each pixel with the picture's mean tone (means of R−G and of B−G): an evenly toned
    print has the same cast everywhere. Within 4/255 (JPEG's colour noise) for 99 of 100 pixels.
    """
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / 250_000) ** 0.5))
    small = pixels[::step, ::step, :3].astype(np.float32) * (255.0 / highest(pixels))
    red, blue = small[..., 0] - small[..., 1], small[..., 2] - small[..., 1]
    apart = np.maximum(np.abs(red - red.mean()), np.abs(blue - blue.mean()))
    return bool(np.quantile(apart, 0.99) <= 4.0)


def is_neutral(pixels: Pixels) -> bool:
    """True for black-and-white pictures without a tone: red, green and blue agree within 4/255
    for 99 of 100 pixels."""
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / 250_000) ** 0.5))
    small = pixels[::step, ::step, :3].astype(np.float32) * (255.0 / highest(pixels))
    return bool(np.quantile(small.max(2) - small.min(2), 0.99) <= 4.0)


def as_grey(pixels: Pixels) -> Pixels:
    """Every pixel's own brightness (Rec. 601 luma) in all three channels; alpha kept."""
    luma = pixels[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    result = pixels.copy()
    result[..., :3] = np.rint(luma)[..., None].astype(pixels.dtype)
    return result
