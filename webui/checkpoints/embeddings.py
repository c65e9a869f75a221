"""What a textual inversion file says of itself: its word, how many vectors, how wide; no torch.

Weights files (.pt and .bin read restrictedly, .safetensors) are not read beyond their description;
pictures carry their vectors as JSON, in a text chunk or in the low bits of columns added at both
sides of the picture.

Source: formats.md, section 3.8; the picture layout as A1111 and its trainers have written it since
2022: each byte of a zlib stream is split, low halves left and high halves right of the picture,
behind a black column each, masked by a linear congruential sequence.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from webui.checkpoints.foreign_text import storable
from webui.checkpoints.headers import TensorInfo, file_format, read_safetensors_header
from webui.checkpoints.pickles import read_pickle
from webui.checkpoints.scan import EMBEDDING_PICTURES, printable
from webui.errors import CheckpointError

logger = logging.getLogger(__name__)

TEXT_CHUNK: Final = "sd-ti-embedding"
MAX_JSON_BYTES: Final = 64 << 20
"""75 vectors of width 2048 written as decimal numbers are about 3 MB."""
FAMILIES: Final = {768: "SD 1.x", 1024: "SD 2.x", 1280: "the SDXL refiner", 2048: "SDXL"}
"""Whose text encoder reads vectors of that width; SDXL's two are counted together."""
FAMILY_CODES: Final = {768: "sd1", 1024: "sd2", 1280: "sdxl-refiner", 2048: "sdxl"}
"""The same as families are called in records."""


@dataclass(frozen=True)
class EmbeddingFacts:
    """One textual inversion.

    Attributes:
        name: The word that stands for it: the file's stem, for pictures the name inside.
        vectors: Token places it fills, >= 1.
        width: Numbers in a vector; of SDXL's two encoders together.
        step: Training steps, where stated.
        sd_checkpoint, sd_checkpoint_name: What it was trained with, where stated.
    """

    name: str
    vectors: int
    width: int
    step: int | None = None
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None

    @property
    def family(self) -> str:
        """In words, whose it is."""
        return FAMILIES.get(self.width, f"a text encoder of width {self.width}")


def is_picture(path: Path) -> bool:
    """By its ending: an embedding stored in a picture."""
    return path.suffix.lower() in EMBEDDING_PICTURES


def read_embedding_facts(path: Path) -> EmbeddingFacts:
    """Look into an embedding file.

    Raises:
        CheckpointError: It cannot be read, or holds something else.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
    """
    if is_picture(path):
        content = read_picture(path)
        arrays = picture_arrays(path, content)
        shapes = {name: array.shape for name, array in arrays.items()}
        name = content.get("name")
        word = storable(name) if isinstance(name, str) and name.strip() else printable(path.stem)
        return _facts(word, shapes, content)
    if file_format(path) == "safetensors":
        tensors: Mapping[str, TensorInfo] = read_safetensors_header(path).tensors
        content = {}
    else:
        pickled = read_pickle(path)
        tensors = {name: tensor.info for name, tensor in pickled.tensors.items()}
        content = pickled.content if isinstance(pickled.content, dict) else {}
    places = embedding_tensors(path, tensors)
    shapes = {part: tensors[name].shape for part, name in places.items()}
    return _facts(printable(path.stem), _checked(path, shapes), content)


def _facts(
    name: str, shapes: Mapping[str, tuple[int, ...]], content: Mapping[str, Any]
) -> EmbeddingFacts:
    two_dimensional = [shape if len(shape) == 2 else (1, *shape) for shape in shapes.values()]
    step = content.get("step")
    return EmbeddingFacts(
        name=name,
        vectors=two_dimensional[0][0],
        width=sum(shape[1] for shape in two_dimensional),
        step=step if isinstance(step, int) else None,
        sd_checkpoint=_text(content.get("sd_checkpoint")),
        sd_checkpoint_name=_text(content.get("sd_checkpoint_name")),
    )


def _text(value: Any) -> str | None:
    return storable(value) if isinstance(value, str) else None


def embedding_tensors(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Which tensors of a file are its vectors.

    Returns:
        Text encoder («clip_l», «clip_g»; '' where there is one only) → tensor name.
    Raises:
        CheckpointError: None is, or it cannot be told which.
    """
    names = list(names)
    inverted = [n for n in names if n == "string_to_param" or n.startswith("string_to_param.")]
    if len(inverted) == 1:
        return {"": inverted[0]}
    if "clip_l" in names and "clip_g" in names:
        return {"clip_l": "clip_l", "clip_g": "clip_g"}
    if "emb_params" in names:
        return {"": "emb_params"}
    if len(names) == 1 and not inverted:
        return {"": names[0]}
    count = len(inverted) or len(names)
    raise CheckpointError(
        f"{path} is no embedding of one word: it holds {count} tensors.",
        "Split it into files of one word each, or move it to the folder it belongs in.",
        path=str(path),
    )


def _checked(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, tuple[int, ...]]:
    """The shapes, provided that they can be vectors of one word."""
    for shape in shapes.values():
        if len(shape) not in (1, 2) or min(shape) < 1:
            raise _no_vectors(path, f"its tensor has the shape {tuple(shape)}")
    if len({shape[0] if len(shape) == 2 else 1 for shape in shapes.values()}) != 1:
        raise _no_vectors(path, "its two text encoders have different numbers of vectors")
    return shapes


def _no_vectors(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is no embedding: {why}.",
        "Move it to the folder it belongs in, or download it again.",
        path=str(path),
    )


# Pictures


def read_picture(path: Path) -> dict[str, Any]:
    """The JSON content of a picture with an embedding inside.

    Raises:
        CheckpointError: The picture cannot be read, or there is none inside.
    """
    try:
        with Image.open(path) as image:
            text = getattr(image, "text", {}).get(TEXT_CHUNK) or image.info.get(TEXT_CHUNK)
            raw = base64.b64decode(text) if text else _from_pixels(_rgb(image))
        content = json.loads(raw)
    except (
        OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, binascii.Error,
        zlib.error, RecursionError, SyntaxError,
    ) as err:  # fmt: skip
        raise _no_vectors(path, f"the picture holds none ({err})") from err
    if not isinstance(content, dict):
        raise _no_vectors(path, "what the picture holds is not a description of one")
    return content


def picture_arrays(path: Path, content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The vectors in a picture's JSON, (n, width) or (width,) float32, by text encoder.

    Raises:
        CheckpointError: They are missing or not numbers.
    """
    found = content.get("string_to_param", content)
    tensors = {
        f"string_to_param.{name}" if found is not content else name: value["TORCHTENSOR"]
        for name, value in (found.items() if isinstance(found, dict) else ())
        if isinstance(value, dict) and "TORCHTENSOR" in value
    }
    places = embedding_tensors(path, tensors)
    try:
        arrays = {part: np.array(tensors[name], dtype=np.float32) for part, name in places.items()}
    except (TypeError, ValueError) as err:
        raise _no_vectors(path, f"its vectors are not numbers ({err})") from err
    _checked(path, {part: array.shape for part, array in arrays.items()})
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise _no_vectors(path, "its vectors hold numbers that are not finite")
    return arrays


def _rgb(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def _from_pixels(pixels: np.ndarray) -> bytes:
    """JSON out of the columns beside the picture.

    Args:
        pixels: (H, W, 3) uint8.
    Raises:
        ValueError, zlib.error: There are none.
    """
    low_bits = _without_black_edge(pixels) & 0x0F
    black = np.flatnonzero(low_bits.sum(axis=(0, 2), dtype=np.int64) == 0)
    if len(black) < 2:
        raise ValueError("no black columns beside the picture")
    low, high = low_bits[:, : black[0]], low_bits[:, black[-1] + 1 :]
    if low.shape != high.shape or not low.size:
        raise ValueError("the columns at both sides are not of one width")
    stream = (_unmasked(high) << 4) | _unmasked(low)
    unpacker = zlib.decompressobj()  # what follows the end of the stream fills the column up
    raw = unpacker.decompress(stream.tobytes(), MAX_JSON_BYTES)
    if not unpacker.eof:
        raise ValueError("its data is cut short or too large")
    return raw


def _without_black_edge(pixels: np.ndarray) -> np.ndarray:
    """The rectangle that holds every pixel none of whose channels is 0."""
    bright = pixels.min(axis=2) > 0  # (H, W)
    columns, rows = np.flatnonzero(bright.max(axis=0)), np.flatnonzero(bright.max(axis=1))
    if not len(columns):
        raise ValueError("the picture is black")
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _unmasked(block: np.ndarray) -> np.ndarray:
    """Undo the mask over a block; doing it twice gives the block again."""
    return block ^ (_mask(block.size) & 0x0F).reshape(block.shape)


def _mask(count: int) -> np.ndarray:
    """The first numbers of x ← 1664525·x + 1013904223 mod 2³² from 0, each mod 255."""
    values = np.empty(count, dtype=np.uint8)
    state = 0
    for index in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        values[index] = state % 255
    return values
