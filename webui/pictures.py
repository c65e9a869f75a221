"""Picture files with their infotext inside: writing, and reading what any program stored.

PNG keeps it in the text chunk ``parameters``; JPEG, WebP and AVIF in the EXIF UserComment; GIF in
its comment. Some programs hide it in the lowest bits of the pixels; that is read, never written.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from webui.errors import LibraryError, PictureError
from webui.infotext import novelai_infotext

logger = logging.getLogger(__name__)

PictureFormat = Literal["png", "jpg", "webp", "avif"]
Source = str | Path | bytes | Image.Image

PARAMETERS = "parameters"
"""Text chunk and item that hold the infotext."""
MAX_PIXELS = 178_956_970
"""Larger pictures are refused before they are decoded (13,377 x 13,377; Pillow's own limit)."""
MAX_HIDDEN_BYTES = 8_000_000
"""Longest text looked for in pixels; a false signature could announce any length."""

READ_FORMATS = (
    "PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM", "TGA", "ICO",
    "QOI",
)  # fmt: skip
"""Of what Pillow can read, formats of pictures alone: EPS, for one, is a program that it hands to
Ghostscript, and many old ones have readers that nobody looks after."""
_PILLOW_NAMES = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "avif": "AVIF"}
_EXIF_IFD = ExifTags.IFD.Exif
_USER_COMMENT = ExifTags.Base.UserComment
_NAMED_TEXTS = (ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model)
"""Where ComfyUI's WebP files hold ``workflow:…`` and ``prompt:…``."""
_UNICODE = b"UNICODE\0"
_ASCII = b"ASCII\0\0\0"
_JIS = b"JIS\0\0\0\0\0"
_WORTHLESS = {
    "jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "exif", "loop", "background",
    "timestamp", "duration", "progressive", "progression", "icc_profile", "chromaticity",
    "photoshop",
    "transparency",  # ours: palette bytes, no text
}  # fmt: skip
_SIGNATURES = {
    b"stealth_pnginfo": ("alpha", False),
    b"stealth_pngcomp": ("alpha", True),
    b"stealth_rgbinfo": ("rgb", False),
    b"stealth_rgbcomp": ("rgb", True),
}
_SIGNATURE_BYTES = 15
_ORDERS = ("be", "le")
_BYTE_ORDER_SAMPLE = 2000  # characters
# Letters and punctuation of Europe; CJK punctuation, kana, Chinese; Korean; full-width forms.
_LETTER = re.compile(r"[\u00a0-\u04ff\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff00-\uffef]")
_MAX_JPEG_EXIF_BYTES = 65_533  # a JPEG segment's length field has 16 bits and counts itself

# What Pillow's readers and writers raise on files and pictures they cannot take.
_DAMAGED = (
    OSError, ValueError, SyntaxError, RuntimeError, TypeError, LookupError, ArithmeticError,
    EOFError, struct.error, zlib.error,
)  # fmt: skip


# Writing


def encode(
    image: Image.Image,
    *,
    format: PictureFormat = "png",
    infotext: str | None = None,
    text: Mapping[str, str] | None = None,
    quality: int = 80,
    lossless: bool = False,
) -> bytes:
    """A picture file with its infotext inside.

    Args:
        image: Any mode; converted where the format cannot hold it (JPEG: white behind alpha).
        format: ``png``, ``jpg``, ``webp`` or ``avif``.
        infotext: Stored where the format keeps it; None or "" stores none.
        text: Further PNG text chunks, for example those of the source picture. A ``parameters``
            entry gives way to ``infotext``. Other formats have no place for them.
        quality: 1–100, for jpg, webp and avif.
        lossless: Exact pixels in webp (and the best avif can do).
    Raises:
        LibraryError: The format is unknown, or cannot hold a picture of this size.
    """
    if format not in _PILLOW_NAMES:
        raise LibraryError(
            f"No picture format named {format!r}.", f"Use one of {', '.join(_PILLOW_NAMES)}."
        )
    out = io.BytesIO()
    try:
        if format == "png":
            image = image if image.mode in _PNG_MODES else image.convert("RGB")
            image.save(out, "PNG", pnginfo=_text_chunks(infotext, text or {}))
        else:
            image, options = _for_lossy(image, format, quality, lossless)
            if infotext:
                options |= _exif_option(infotext, format)
            image.save(out, _PILLOW_NAMES[format], **options)
    except _DAMAGED as err:
        width, height = image.size
        raise LibraryError(
            f"A picture of {width}x{height} was to be written as {format}: {err}.",
            "Choose another format in the settings, or a smaller size.",
        ) from err
    return out.getvalue()


_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")


def _text_chunks(infotext: str | None, text: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    chunks = {key: str(value) for key, value in text.items() if _is_keyword(key)}
    if infotext:
        chunks = {PARAMETERS: infotext, **{k: v for k, v in chunks.items() if k != PARAMETERS}}
    info = PngImagePlugin.PngInfo()
    for key, value in chunks.items():
        value = _storable(value)
        if _is_latin1(value):
            info.add_text(key, value)
        else:
            info.add_itxt(key, value)
    return info


def _is_keyword(key: str) -> bool:
    """What PNG allows as a keyword: 1–79 printable Latin-1 characters."""
    return 1 <= len(key) <= 79 and _is_latin1(key) and key.isprintable()


def _is_latin1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _storable(text: str) -> str:
    """The text without NUL and halves of surrogate pairs, which no file format can hold."""
    text = text.replace("\0", "\ufffd")
    return text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")


def _for_lossy(
    image: Image.Image, format: str, quality: int, lossless: bool
) -> tuple[Image.Image, dict[str, Any]]:
    has_alpha = image.has_transparency_data
    if format == "jpg":
        return _flattened(image) if has_alpha else image.convert("RGB"), {"quality": quality}
    image = image.convert("RGBA" if has_alpha else "RGB")
    if format == "webp":
        return image, {"quality": quality, "lossless": lossless, "exact": lossless}
    return image, {"quality": 100, "subsampling": "4:4:4"} if lossless else {"quality": quality}


def _flattened(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    sheet = Image.new("RGB", image.size, "white")
    sheet.paste(image, mask=image.getchannel("A"))
    return sheet


def _exif_option(infotext: str, format: str) -> dict[str, Any]:
    exif = Image.Exif()
    comment = _UNICODE + _storable(infotext).encode("utf-16-be")
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = comment
    data = exif.tobytes()
    if format == "jpg" and len(data) > _MAX_JPEG_EXIF_BYTES:
        logger.warning("The recipe is too long for a JPEG file; the picture is written without.")
        return {}
    return {"exif": data}


# Reading


def open_image(source: str | Path | bytes) -> Image.Image:
    """Open a picture file, checked for size, nothing decoded yet.

    Raises:
        PictureError: No picture, or larger than ``MAX_PIXELS``.
    """
    path = "" if isinstance(source, bytes) else str(source)
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        image = Image.open(file, formats=READ_FORMATS)
    except Image.DecompressionBombError as err:
        raise _too_large(path) from err
    except _DAMAGED as err:
        raise PictureError(
            f"A picture was wanted, but {path} cannot be read as one."
            if path
            else "A picture was wanted, but the data cannot be read as one.",
            "Use a PNG, JPEG, WebP, AVIF or GIF file.",
            path=path,
        ) from err
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise _too_large(path)
    return image


def load_upright(
    source: str | Path | bytes, *, least: tuple[int, int] | None = None
) -> Image.Image:
    """Read a picture as people see it, whatever way its file stores it.

    The first frame of an animation; turned as its EXIF says; CMYK, grey, palette and 16-bit
    pictures as 8-bit RGB, or RGBA when something in it is transparent.

    Args:
        least: Width and height in pixels that are enough: a JPEG may be decoded to an 8th of its
            size, which is quicker and takes less memory.
    Raises:
        PictureError: No picture, a damaged or truncated one, or larger than ``MAX_PIXELS``.
    """
    image = open_image(source)
    try:
        image.seek(0)
        if least is not None:
            image.draft(None, (max(least), max(least)))  # which side is which is not known yet
        image.load()
        image = ImageOps.exif_transpose(image)
        return eight_bit(image)
    except Image.DecompressionBombError as err:
        raise _too_large("" if isinstance(source, bytes) else str(source)) from err
    except _DAMAGED as err:
        raise PictureError(
            f"The picture is damaged or cut off: {err}.",
            "Open it in another program and save it again, or use another copy.",
            path="" if isinstance(source, bytes) else str(source),
        ) from err


def eight_bit(image: Image.Image) -> Image.Image:
    """8-bit RGB, or RGBA when something is transparent, out of any kind of picture."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _deep_grey_to_eight(image)
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    if not has_alpha:
        return image.convert("RGB")
    image = image.convert("RGBA")
    lowest = image.getchannel("A").getextrema()[0]
    return image.convert("RGB") if lowest == 255 else image


def _deep_grey_to_eight(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits; Pillow's own conversion would cut everything above 255 to white."""
    image = image if image.mode == "F" else image.convert("I")
    highest = cast(float, image.getextrema()[1])
    factor = 255.0 if highest <= 1 and image.mode == "F" else 1 / 257 if highest > 255 else 1.0
    return image.point(lambda value: value * factor + 0.5).convert("L")


def read_infotext(source: Source) -> tuple[str | None, dict[str, str]]:
    """What a picture says about its making.

    Args:
        source: A path, the bytes of a file, or an opened picture (left open).
    Returns:
        The infotext, None when there is none, and what else is stored, by name.
    Raises:
        PictureError: No picture, or larger than ``MAX_PIXELS``.
    """
    if isinstance(source, Image.Image):
        return _read(source)
    with open_image(source) as image:
        return _read(image)


def _read(image: Image.Image) -> tuple[str | None, dict[str, str]]:
    items = {str(key): value for key, value in image.info.items()}
    if PARAMETERS not in items:
        items |= _trailing_text(image)
    infotext = _as_text(items.pop(PARAMETERS, None))
    comment, named = _exif_texts(image)
    items = {**named, **items}
    if comment:
        items["exif comment"] = comment
        infotext = comment
    elif image.format == "GIF" and "comment" in items:
        infotext = _as_text(items["comment"])
    if items.get("Software") == "NovelAI":
        infotext = _novelai(items, image) or infotext
    if not infotext:
        infotext, hidden = _hidden(image)
        items.update(hidden)
    kept = {key: _as_text(v) for key, v in items.items() if key.lower() not in _WORTHLESS}
    return infotext or None, {key: value for key, value in kept.items() if value is not None}


def _trailing_text(image: Image.Image) -> dict[str, Any]:
    """Text chunks behind the pixels of a PNG; they are found by decoding only."""
    text: dict[str, Any] = {}
    if isinstance(image, PngImagePlugin.PngImageFile):
        try:
            text = dict(image.text)
        except _DAMAGED as err:
            logger.info("Text behind the pixels was not read: %s", err)
    return text


def _as_text(value: Any) -> str | None:
    """An item as text; None for what is neither text nor a number."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "ignore")
    return str(value) if isinstance(value, (str, int, float)) else None


def _exif_texts(image: Image.Image) -> tuple[str, dict[str, str]]:
    """The UserComment, and what stands in plain fields as ``prompt:…`` or ``workflow:…``."""
    found: dict[str, str] = {}
    try:
        exif = image.getexif()
        for tag in _NAMED_TEXTS:
            name, mark, text = str(exif.get(tag, "")).partition(":")
            if mark and name.lower() in ("prompt", "workflow"):
                found[name.lower()] = text
        value = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    except _DAMAGED as err:
        logger.info("EXIF data was not read: %s", err)
        return "", found
    if isinstance(value, str):
        return value.strip("\0 "), found
    return decode_user_comment(value) if isinstance(value, bytes) else "", found


def decode_user_comment(value: bytes) -> str:
    """The text of an EXIF UserComment: 8 bytes naming the encoding, then the text.

    UTF-16 may come in either byte order, with or without a mark; unknown prefixes are taken as
    UTF-8 text from the first byte on. Undecodable bytes are dropped.
    """
    if value.startswith(_UNICODE):
        return _decode_utf16(value[len(_UNICODE) :])
    if value.startswith(_ASCII):
        return value[len(_ASCII) :].decode("ascii", "ignore").strip("\0")
    if value.startswith(b"JIS\0"):
        return value[len(_JIS) :].decode("shift_jis", "ignore").strip("\0")
    return value.decode("utf-8", "ignore").strip("\0")


def _decode_utf16(data: bytes) -> str:
    if data.startswith((b"\xfe\xff", b"\xff\xfe")):
        order = "be" if data.startswith(b"\xfe") else "le"
        data = data[2:]
    else:
        order = _byte_order(data)
    return data.decode(f"utf-16-{order}", "ignore").strip("\0")


def _byte_order(data: bytes) -> str:
    """The order in which the text looks like writing; in doubt big-endian, as A1111 writes.

    Latin text in the wrong order looks Chinese, so a Latin character counts for more.
    """
    sample = data[: 2 * _BYTE_ORDER_SAMPLE]
    likeness = {order: _likeness(sample.decode(f"utf-16-{order}", "ignore")) for order in _ORDERS}
    return max(_ORDERS, key=lambda order: likeness[order])


def _likeness(text: str) -> int:
    latin = sum(" " <= char <= "~" or char == "\n" for char in text)
    return 2 * latin + sum(bool(_LETTER.match(char)) for char in text)


def _novelai(items: dict[str, Any], image: Image.Image) -> str | None:
    description, comment = items.get("Description"), items.get("Comment")
    if not isinstance(description, str) or not isinstance(comment, str):
        return None
    return novelai_infotext(description, comment, image.width, image.height)


def _too_large(path: str) -> PictureError:
    return PictureError(
        f"A picture of at most {MAX_PIXELS:,} pixels was wanted, {path} has more."
        if path
        else f"A picture of at most {MAX_PIXELS:,} pixels was wanted, this one has more.",
        "Make it smaller first.",
        path=path,
    )


# Text hidden in pixels


def _hidden(image: Image.Image) -> tuple[str | None, dict[str, Any]]:
    """Text in the lowest bits of alpha or of red, green and blue.

    Returns:
        The infotext, and further items when the text is NovelAI's JSON of all its chunks.
    """
    if image.format not in ("PNG", "WEBP", None) or image.mode not in ("RGB", "RGBA"):
        return None, {}
    kinds = ("alpha", "rgb") if image.mode == "RGBA" else ("rgb",)
    try:
        found = next(filter(None, (_hidden_text(image, kind) for kind in kinds)), None)
    except _DAMAGED as err:
        logger.info("Pixels were not searched for a hidden text: %s", err)
        return None, {}
    return _sort_hidden(found, image) if found else (None, {})


def _sort_hidden(text: str, image: Image.Image) -> tuple[str | None, dict[str, Any]]:
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        return text, {}
    if not isinstance(loaded, dict) or "Comment" not in loaded:
        return text, {}
    items = cast("dict[str, Any]", loaded)
    comment = items["Comment"]
    if not isinstance(comment, str):
        items["Comment"] = json.dumps(comment, ensure_ascii=False)
    return _novelai(items, image), items


def _hidden_text(image: Image.Image, kind: str) -> str | None:
    bits = _LowestBits(image, kind)
    signature = bits.read(_SIGNATURE_BYTES)
    if _SIGNATURES.get(signature, ("", False))[0] != kind:
        return None
    length_bytes = int.from_bytes(bits.read(4), "big") // 8
    data = bits.read(min(length_bytes, MAX_HIDDEN_BYTES))
    try:
        if _SIGNATURES[signature][1]:
            data = _gunzip(data)
        return data.decode("utf-8")
    except _DAMAGED as err:
        logger.info("A hidden text was announced, but is damaged: %s", err)
        return None


def _gunzip(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(MAX_HIDDEN_BYTES)


class _LowestBits:
    """The lowest bit of each sample, column by column (x outer, y inner), as a byte stream."""

    def __init__(self, image: Image.Image, kind: str) -> None:
        self._image, self._kind = image, kind
        self._samples_per_column = image.height * (1 if kind == "alpha" else 3)
        self._position = 0

    def read(self, count: int) -> bytes:
        """The next bytes, highest bit first; fewer at the end of the picture."""
        end = min(self._position + 8 * count, self._samples_per_column * self._image.width)
        samples = self._samples(self._position, end)
        self._position = end
        bits = "".join("1" if sample & 1 else "0" for sample in samples)
        whole = len(bits) // 8
        return int(bits[: whole * 8], 2).to_bytes(whole, "big") if whole else b""

    def _samples(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        first, last = start // self._samples_per_column, (end - 1) // self._samples_per_column
        columns = self._image.crop((first, 0, last + 1, self._image.height))
        columns = columns.getchannel("A") if self._kind == "alpha" else columns.convert("RGB")
        # Turned over its diagonal a picture has its columns as rows: plain byte order.
        data = columns.transpose(Image.Transpose.TRANSPOSE).tobytes()
        offset = first * self._samples_per_column
        return data[start - offset : end - offset]
