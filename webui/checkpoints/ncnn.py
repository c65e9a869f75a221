"""Weights in ncnn's two files (a .param text, a .bin of numbers) under torch's names; no torch.

Only what Real-ESRGAN's networks are made of is read: convolutions and PReLUs. Anything else with
weights, and any number left over, is an error: a wrong guess would make a wrong picture.

Source:
    ncnn's wiki, "param and model file structure"; layouts of SRVGGNetCompact and RRDBNet from
    the key names of the official .pth files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from webui.errors import CheckpointError

MAGIC: Final = "7767517"
HALF_TAG: Final = 0x01306B47
"""Before weights stored as float16; 0 stands before float32."""
_NUM_OUTPUT, _KERNEL_WIDTH, _HAS_BIAS, _WEIGHT_COUNT, _KERNEL_HEIGHT = "0", "1", "5", "6", "11"
_WITHOUT_WEIGHTS: Final = frozenset(
    {"Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle", "ReLU"}
)

Array = NDArray[Any]


@dataclass(frozen=True)
class NcnnLayer:
    """One layer with weights, in the order of the file.

    Attributes:
        kind: ``Convolution`` or ``PReLU``.
        weight: (out, in, k, k) float16 or float32; PReLU (channels,) float32.
        bias: (out,) float32, or None.
    """

    kind: str
    weight: Array
    bias: Array | None = None


class _Numbers:
    """Reads the .bin from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def floats(self, count: int) -> Array:
        return self._take(count, np.dtype("<f4"))

    def tagged(self, count: int) -> Array:
        """Weights behind their tag; float16 ones are padded to four bytes."""
        (tag,) = struct.unpack("<I", self._bytes(4))
        if tag == 0:
            return self._take(count, np.dtype("<f4"))
        if tag != HALF_TAG:
            raise _damaged(f"weights tagged {tag:#x}, which is neither float16 nor float32")
        weights = self._take(count, np.dtype("<f2"))
        self._bytes(-2 * count % 4)
        return weights

    def end(self) -> None:
        if self._place != len(self._data):
            raise _damaged(f"{len(self._data) - self._place} bytes that no layer asks for")

    def _take(self, count: int, dtype: np.dtype[Any]) -> Array:
        return np.frombuffer(self._bytes(count * dtype.itemsize), dtype).copy()

    def _bytes(self, count: int) -> bytes:
        part = self._data[self._place : self._place + count]
        if len(part) != count:
            raise _damaged("fewer numbers than its layers need")
        self._place += count
        return part


def read_ncnn(param: str, weights: bytes) -> list[NcnnLayer]:
    """Every layer with weights.

    Args:
        param: Text of the .param file. weights: Content of the .bin file.
    Raises:
        CheckpointError: Not ncnn, layers that are not known here, or numbers missing or left over.
    """
    lines = param.splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise _damaged("no ncnn header")
    numbers = _Numbers(weights)
    layers = [layer for line in lines[2:] if line.strip() for layer in _layer(line, numbers)]
    numbers.end()
    return layers


def _layer(line: str, numbers: _Numbers) -> Iterator[NcnnLayer]:
    words = line.split()
    kind, inputs, outputs = words[0], int(words[2]), int(words[3])
    options = dict(word.split("=", 1) for word in words[4 + inputs + outputs :])
    if kind == "Convolution":
        out, width = int(options[_NUM_OUTPUT]), int(options[_KERNEL_WIDTH])
        height = int(options.get(_KERNEL_HEIGHT, width))
        weight = numbers.tagged(int(options[_WEIGHT_COUNT]))
        bias = numbers.floats(out) if int(options.get(_HAS_BIAS, 0)) else None
        yield NcnnLayer(kind, weight.reshape(out, -1, height, width), bias)
    elif kind == "PReLU":
        yield NcnnLayer(kind, numbers.floats(int(options[_NUM_OUTPUT])))
    elif kind not in _WITHOUT_WEIGHTS:
        raise _damaged(f"a layer {kind!r}, which is not known here")


def torch_names(layers: list[NcnnLayer]) -> dict[str, Array]:
    """The tensors under the names of the official .pth files.

    Args:
        layers: Of SRVGGNetCompact (convolutions and PReLUs in turn) or RRDBNet (convolutions only:
            first, 15 for each block, body, two for enlarging, high resolution, last).
    Raises:
        CheckpointError: The layers make up neither.
    """
    names = _compact_names(layers) if layers and layers[1:2] and layers[1].kind == "PReLU" else None
    names = names or _rrdb_names(layers)
    tensors: dict[str, Array] = {}
    for name, layer in zip(names, layers, strict=True):
        tensors[f"{name}.weight"] = layer.weight
        if layer.bias is not None:
            tensors[f"{name}.bias"] = layer.bias
    return tensors


def _compact_names(layers: list[NcnnLayer]) -> list[str]:
    kinds = [layer.kind for layer in layers]
    if kinds != ["Convolution", "PReLU"] * (len(kinds) // 2) + ["Convolution"]:
        raise _damaged("layers in an order that SRVGGNetCompact does not have")
    return [f"body.{number}" for number in range(len(layers))]


def _rrdb_names(layers: list[NcnnLayer]) -> list[str]:
    blocks, rest = divmod(len(layers) - 6, 15)
    if blocks < 1 or rest or any(layer.kind != "Convolution" for layer in layers):
        raise _damaged(f"{len(layers)} layers, which make up no RRDBNet")
    inner = [
        f"body.{block}.rdb{dense}.conv{conv}"
        for block in range(blocks)
        for dense in (1, 2, 3)
        for conv in (1, 2, 3, 4, 5)
    ]
    return ["conv_first", *inner, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]


def _damaged(what: str) -> CheckpointError:
    return CheckpointError(
        f"Weights in ncnn's format were wanted, but the files have {what}.", "Fetch them again."
    )
