"""Seamless pictures: convolutions that wrap around the edges instead of padding with zeros."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from torch import nn

_KEPT: Final = "_padding_mode_before_tiling"


class PaintingNetworks(Protocol):
    """A loaded model: its U-Net and VAE."""

    @property
    def unet(self) -> nn.Module: ...
    @property
    def vae(self) -> nn.Module: ...


def set_tiling(model: PaintingNetworks, on: bool) -> None:
    """Switch wrap-around padding of every padded convolution on or off; off restores exactly.

    Args:
        model: Changed in place. Calling it twice with the same value changes nothing.
    """
    for network in (model.unet, model.vae):
        _set_wrapping(network, on)


def _set_wrapping(network: nn.Module, on: bool) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and _is_padded(layer):
            _wrap(layer) if on else _unwrap(layer)


@contextmanager
def wrapping_as(network: nn.Module, other: nn.Module) -> Generator[None, None, None]:
    """Let a network's convolutions wrap around inside the block if those of another do now."""
    wraps = any(hasattr(layer, _KEPT) for layer in other.modules())
    if wraps:
        _set_wrapping(network, True)
    try:
        yield
    finally:
        if wraps:
            _set_wrapping(network, False)


@contextmanager
def wrapping_suspended(network: nn.Module) -> Generator[None, None, None]:
    """Let a network's convolutions pad as usual inside the block, tiling on or off."""
    wrapped = [layer for layer in network.modules() if hasattr(layer, _KEPT)]
    for layer in wrapped:
        _unwrap(layer)
    try:
        yield
    finally:
        for layer in wrapped:
            _wrap(layer)


def _is_padded(layer: nn.Conv2d) -> bool:
    return layer.padding not in (0, (0, 0), "valid")


def _wrap(layer: Any) -> None:
    if not hasattr(layer, _KEPT):
        setattr(layer, _KEPT, layer.padding_mode)
        layer.padding_mode = "circular"


def _unwrap(layer: Any) -> None:
    if hasattr(layer, _KEPT):
        layer.padding_mode = getattr(layer, _KEPT)
        delattr(layer, _KEPT)
