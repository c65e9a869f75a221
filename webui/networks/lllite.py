"""ControlLLLite: small networks that stand before single layers of a U-Net and know a map.

Each changes what its layer reads, ``x + strength · up(mid(map, down(x)))``; the map comes in
through a few convolutions of its own that bring it to the layer's cells. Nothing of the U-Net is
changed: taking them off is removing the hooks.

Source:
    kohya-ss, sd-scripts: docs/train_lllite_README.md; structure and names of tensors as its
    ``networks/control_net_lllite.py`` writes them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from webui.networks.lora.names import original_unet_names, plain

PREFIX: Final = "lllite_unet_"
"""Before the name of a layer, dots as underscores, in the original naming."""
READING: Final = "conditioning1"
Shape = tuple[int, ...]


class LiteError(ValueError):
    """Tensors that make up no such network, or none for this U-Net; says why."""


class LiteLayer(nn.Module):
    """What stands before one layer; its tensors have the names of the file.

    Args:
        shapes: Of its tensors: ``conditioning1.0.weight``, ``down.0.weight`` …
    Raises:
        LiteError: They do not belong together.
    """

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        super().__init__()
        kernels = [_shape(shapes, f"{READING}.{place}.weight") for place in _places(shapes)]
        down, mid, up = (_shape(shapes, f"{part}.0.weight") for part in ("down", "mid", "up"))
        known, width = kernels[-1][0], down[1]
        follows = all(after[1] == before[0] for before, after in pairwise(kernels))
        ends = (mid[1], up[1], up[0]) == (down[0] + known, mid[0], width)
        is_square = all(len(kernel) == 4 and kernel[2] == kernel[3] > 0 for kernel in kernels)
        if not (follows and ends and is_square and kernels[0][1] == 3):
            raise LiteError("the layers of its networks do not follow on each other")
        self.conditioning1 = nn.Sequential(*_reading(kernels))
        self.down = nn.Sequential(_layer(down), nn.ReLU())
        self.mid = nn.Sequential(_layer(mid), nn.ReLU())
        self.up = nn.Sequential(_layer(up))
        self._is_kernel = len(down) == 4

    def forward(self, inputs: Tensor, seen: Tensor, cells: tuple[int, int]) -> Tensor:
        """What is added to what the layer reads.

        Args:
            inputs: (N, tokens, C), or (N, C, h, w) before a convolution.
            seen: (N, E, h', w') of ``conditioning1``.
            cells: Rows and columns of the latents.
        """
        if self._is_kernel:
            seen = _at(seen, (inputs.shape[2], inputs.shape[3]))
            return self.up(self.mid(torch.cat([seen, self.down(inputs)], dim=1)))
        seen = _at(seen, cells_of(inputs.shape[1], cells)).flatten(2).transpose(1, 2)
        return self.up(self.mid(torch.cat([seen, self.down(inputs)], dim=2)))


class LiteNetwork(nn.Module):
    """A ControlLLLite.

    Args:
        shapes: Of all tensors, by their names in the file.
    Raises:
        LiteError: They make up none.
    """

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        super().__init__()
        grouped: dict[str, dict[str, Shape]] = {}
        for name, shape in shapes.items():
            layer, _, rest = name.partition(".")
            if not layer.startswith(PREFIX):
                raise LiteError(f"{name!r} belongs to no layer")
            grouped.setdefault(layer, {})[rest] = shape
        self.layers = nn.ModuleDict({name: LiteLayer(own) for name, own in grouped.items()})

    def seen(self, hint: Tensor) -> dict[str, Tensor]:
        """What each layer is told of a map.

        Args:
            hint: (N, 3, H, W) of 0–1.
        """
        values = hint * 2 - 1
        return {name: layer.get_submodule(READING)(values) for name, layer in self.layers.items()}


@dataclass(frozen=True)
class Worn:
    """A ControlLLLite at work.

    Attributes:
        places: See ``places_in``. seen: See ``LiteNetwork.seen``.
        strengths: By its layers' names; (N,) each, one for each sample.
    """

    network: LiteNetwork
    places: Mapping[str, str]
    seen: Mapping[str, Tensor]
    strengths: Mapping[str, Tensor]


def places_in(unet: nn.Module, network: LiteNetwork) -> dict[str, str]:
    """Which layer of a U-Net each of a network's stands before.

    Returns:
        Name of the network's layer → path of the U-Net's.
    Raises:
        LiteError: The U-Net has no such layer, or one of another width.
    """
    paths = [name for name, _ in unet.named_modules()]
    original = original_unet_names(paths)
    table = {PREFIX + plain(original.get(path, path)): path for path in paths}
    for name, layer in network.layers.items():
        width = _width(unet.get_submodule(table[name])) if name in table else 0
        if width != _width(layer.get_submodule("down.0")):
            raise LiteError(f"the U-Net has no layer {name.removeprefix(PREFIX)} of its width")
    return {name: table[name] for name in network.layers}


@contextmanager
def worn_by(
    unet: nn.Module, worn: Sequence[Worn], cells: tuple[int, int]
) -> Generator[None, None, None]:
    """Have layers of a U-Net read through ControlLLLites; what several add is added up.

    Args:
        cells: Rows and columns of the latents.
    """
    standing: dict[str, _Before] = {}
    for one in worn:
        for name, layer in one.network.layers.items():
            before = standing.setdefault(one.places[name], _Before(cells))
            before.parts.append((layer, one.seen[name], one.strengths[name]))
    hooks: list[Any] = []
    try:
        for path, before in standing.items():
            hooks.append(unet.get_submodule(path).register_forward_pre_hook(before))
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Before:
    """What stands before one layer of the U-Net: of each ControlLLLite what it adds."""

    def __init__(self, cells: tuple[int, int]) -> None:
        self._cells = cells
        self.parts: list[tuple[Any, Tensor, Tensor]] = []

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        inputs = args[0]
        more = torch.zeros_like(inputs)
        for layer, seen, strength in self.parts:
            share = strength.to(inputs).view(-1, *(1,) * (inputs.ndim - 1))
            more += layer(inputs, seen, self._cells) * share
        return (inputs + more, *args[1:])


def cells_of(count: int, cells: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of so many tokens: those of the latents, halved as often as it takes.

    Raises:
        LiteError: No halving gives so many.
    """
    rows, columns = cells
    while rows * columns > count:
        rows, columns = (rows + 1) // 2, (columns + 1) // 2
    if rows * columns != count:
        raise LiteError(f"{count} cells are no level of {cells[1]}×{cells[0]}")
    return rows, columns


def _at(seen: Tensor, cells: tuple[int, int]) -> Tensor:
    if (seen.shape[2], seen.shape[3]) == cells:
        return seen
    return interpolate(seen, cells, mode="nearest-exact")


def _width(layer: nn.Module) -> int:
    """Numbers that a layer reads of each cell; 0 for others than matrices and convolutions."""
    return getattr(layer, "in_channels", 0) or getattr(layer, "in_features", 0)


def _reading(kernels: Sequence[Shape]) -> Iterator[nn.Module]:
    """Convolutions that take the map in pieces as large as they are, ReLU between them."""
    for number, (after, before, side, _) in enumerate(kernels):
        if number:
            yield nn.ReLU()
        yield nn.Conv2d(before, after, side, stride=side)


def _layer(shape: Shape) -> nn.Module:
    if len(shape) == 4:
        return nn.Conv2d(shape[1], shape[0], 1)
    return nn.Linear(shape[1], shape[0])


def _places(shapes: Mapping[str, Shape]) -> list[int]:
    found = [place for place in range(0, 8, 2) if f"{READING}.{place}.weight" in shapes]
    return found or [0]


def _shape(shapes: Mapping[str, Shape], name: str) -> Shape:
    shape = shapes.get(name, ())
    if len(shape) not in (2, 4):
        raise LiteError(f"{name!r} is missing or of another shape")
    return shape
