"""How fast a device calculates, measured on a piece of a U-Net: for machines that have done nothing
yet."""

from __future__ import annotations

import time
from typing import Any, Final

import torch
from diffusers.models.unets.unet_2d_blocks import CrossAttnDownBlock2D
from torch.utils.flop_counter import FlopCounterMode

from webui.networks.packing import pack_weights

SIDE: Final = 16
"""Of the piece's input: what the second level of SD 1.x sees of a picture of 256 pixels."""
TIMES: Final = 3
"""The shortest counts: others want the processor, too."""
TEXT_WIDTH: Final = 768
TIME_WIDTH: Final = 1280


def device_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second while a U-Net is evaluated; half a second on a slow core.

    The piece is the second level of SD 1.x with random weights (44 MB in float32): its
    convolutions, matrix products and attention are those of a whole network.
    """
    with torch.device("meta"):
        piece: Any = CrossAttnDownBlock2D(
            in_channels=320,
            out_channels=640,
            temb_channels=TIME_WIDTH,
            num_layers=2,
            num_attention_heads=8,
            cross_attention_dim=TEXT_WIDTH,
        )
    piece.eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counted:
        piece(*_inputs(device="meta"))
    piece.to_empty(device=device).to(dtype)
    for weight in piece.parameters():
        weight.fill_(0.01)  # which number costs no time, but those too small to be normal do
    pack_weights(piece)
    inputs = _inputs(device=device, dtype=dtype)
    with torch.inference_mode():
        piece(*inputs)  # packs weights, or chooses kernels
        seconds = min(_seconds(piece, inputs, device) for _ in range(TIMES))
    return counted.get_total_flops() / seconds


def _inputs(**place: Any) -> tuple[torch.Tensor, ...]:
    """Features, the moment, the text."""
    shapes = ((1, 320, SIDE, SIDE), (1, TIME_WIDTH), (1, 77, TEXT_WIDTH))
    return tuple(torch.ones(shape, **place) for shape in shapes)


def _seconds(piece: Any, inputs: tuple[torch.Tensor, ...], device: torch.device) -> float:
    _wait_for(device)
    begun = time.perf_counter()
    piece(*inputs)
    _wait_for(device)
    return time.perf_counter() - begun


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
