"""What a picture file says of itself: its size and how it was made. Reads heads, not pixels."""

from __future__ import annotations

import os
import re
import struct
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from webui import recipes
from webui.errors import LibraryError
from webui.infotext import Infotext
from webui.pictures import PARAMETERS, open_image

FORMATS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "AVIF": "avif", "GIF": "gif"}
MARK_BYTES = 16
_END_BYTES = 65_536
MAX_TEXT_BYTES = 4_000_000
"""Longest text of a PNG that is read; ComfyUI's graphs have some hundred thousand bytes."""
_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_ALPHA_TYPES = (4, 6)
_SECOND_PASS = ("Hires upscale", "Hires resize-1", "First pass size-1")
"""What txt2img writes of its larger pass, now and before 2023."""
_LORA = re.compile(r"<(?:lora|lyco):([^:>]+)")


@dataclass(frozen=True)
class Recipe:
    """How a picture was made, as far as its file tells.

    Attributes:
        infotext: The whole text; '' when the file has none that is understood.
        model, sampler, seed: As written there; '' when it does not say.
        loras: Names, each once.
        kind: txt2img, img2img, inpaint or upscale; '' when it does not say.
    """

    infotext: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    model: str = ""
    sampler: str = ""
    seed: str = ""
    steps: int | None = None
    loras: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Read:
    """A picture file, read.

    Attributes:
        mark: Stands for the content, wherever the file lies (``mark_of``).
        format: png, jpg, webp, avif or gif. width, height: In pixels.
    """

    mark: str
    format: str
    width: int
    height: int
    recipe: Recipe


def mark_of(file: BinaryIO, size: int) -> str:
    """What stands for a file's content: a hash of its length, beginning and end.

    A compressed picture that differs anywhere differs in its length or its last 64 KiB, and its
    recipe with the seed stands in its first; so a picture of 2 MB costs 128 KiB of reading.
    """
    made = blake2b(struct.pack("<Q", size), digest_size=MARK_BYTES)
    file.seek(0)
    made.update(file.read(_END_BYTES))
    if size > _END_BYTES:
        file.seek(max(_END_BYTES, size - _END_BYTES))
        made.update(file.read(_END_BYTES))
    return made.hexdigest()


def mark_of_file(path: Path) -> str:
    """As ``mark_of``.

    Raises:
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        return mark_of(file, os.fstat(file.fileno()).st_size)


def read_picture(path: Path) -> Read:
    """A picture file's mark, format, size and recipe.

    Raises:
        LibraryError: No picture, or a damaged one. OSError: It cannot be read.
    """
    mark = mark_of_file(path)
    if path.suffix.lower() == ".png":
        head = _png_head(path)
        if head is not None:
            (width, height), recipe = head, read_recipe(path)
            return Read(mark, "png", width, height, recipe)
    with open_image(path) as image:
        found = FORMATS.get(image.format or "")
        if found is None:
            raise LibraryError(f"{path} is a picture of a kind that is not shown here.")
        return Read(mark, found, image.width, image.height, read_recipe(path))


def read_recipe(path: Path) -> Recipe:
    """What a picture's file says of its making, whichever program wrote it.

    Of a PNG only the heads of its parts are read; every pixel only where a text may be hidden
    there: in an alpha channel, or by NovelAI.

    Raises:
        LibraryError: No picture. OSError: It cannot be read.
    """
    texts, has_alpha = _png_texts(path) if path.suffix.lower() == ".png" else (None, False)
    if texts is None or texts.get("Software") == "NovelAI" or (has_alpha and not texts):
        found = recipes.read_picture(path)
    else:
        found = recipes.read_items(dict(texts), texts.get(PARAMETERS)) if texts else None
    return recipe_of(found.text, found.infotext) if found else Recipe()


def recipe_of(text: str, infotext: Infotext) -> Recipe:
    """A recipe as it is kept: the text, and what is searched in it."""
    params = infotext.params
    return Recipe(
        infotext=text,
        prompt=infotext.prompt,
        negative_prompt=infotext.negative_prompt,
        model=params.get("Model", ""),
        sampler=params.get("Sampler", ""),
        seed=params.get("Seed", ""),
        steps=_whole(params.get("Steps", "")),
        loras=tuple(dict.fromkeys(name.strip() for name in _LORA.findall(infotext.prompt))),
        kind=_kind(params),
    )


def _kind(params: dict[str, str]) -> str:
    if any(key.startswith(("Mask ", "Masked ", "Inpaint ", "Outpaint ")) for key in params):
        return "inpaint"
    if any(key.startswith(("Postprocess ", "SD upscale ")) for key in params):
        return "upscale"
    if "Denoising strength" in params and not any(key in params for key in _SECOND_PASS):
        return "img2img"
    return "txt2img" if "Steps" in params else ""


# PNG without a decoder: Pillow finds texts behind the pixels only by decoding all of them.


def _png_head(path: Path) -> tuple[int, int] | None:
    """Width and height; None when it is no PNG."""
    with open(path, "rb") as file:
        head = file.read(26)
    if len(head) < 26 or head[:8] != _PNG or head[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", head[16:24])
    return (width, height) if width and height else None


def _png_texts(path: Path) -> tuple[dict[str, str] | None, bool]:
    """Text chunks wherever they stand, and whether there is an alpha channel; None = no PNG."""
    texts: dict[str, str] = {}
    with open(path, "rb") as file:
        if file.read(8) != _PNG:
            return None, False
        has_alpha = False
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"IHDR":
                data = file.read(length)
                has_alpha = len(data) > 9 and data[9] in _ALPHA_TYPES
                file.seek(4, os.SEEK_CUR)
            elif kind in _TEXTS and length <= MAX_TEXT_BYTES:
                texts.update(_text_chunk(kind, file.read(length)))
                file.seek(4, os.SEEK_CUR)
            elif kind == b"IEND":
                break
            else:
                file.seek(length + 4, os.SEEK_CUR)
    return texts, has_alpha


def _text_chunk(kind: bytes, data: bytes) -> dict[str, str]:
    """Key and text of a tEXt, zTXt or iTXt chunk; {} for a damaged one (PNG 1.2, sec. 4.2.3)."""
    key, _, rest = data.partition(b"\0")
    name = key.decode("latin-1")
    try:
        if kind == b"tEXt":
            return {name: rest.decode("latin-1")}
        if kind == b"zTXt":
            return {name: _inflated(rest[1:]).decode("latin-1")}
        is_packed, (_, _, text) = rest[:1] == b"\1", _split3(rest[2:])
        return {name: (_inflated(text) if is_packed else text).decode("utf-8", "replace")}
    except (zlib.error, ValueError):
        return {}


def _split3(data: bytes) -> tuple[bytes, bytes, bytes]:
    language, _, rest = data.partition(b"\0")
    translated, _, text = rest.partition(b"\0")
    return language, translated, text


def _inflated(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, MAX_TEXT_BYTES)


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
