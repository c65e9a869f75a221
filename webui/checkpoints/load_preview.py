"""Load the small networks that show unfinished pictures (models/VAE-approx)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from webui.checkpoints.headers import read_header
from webui.checkpoints.weights import open_weights
from webui.errors import CheckpointError
from webui.networks.preview_decoders import build_decoder, decoder_layout


@dataclass(frozen=True)
class DecoderFiles:
    """Files that may be preview decoders."""

    paths: tuple[Path, ...]

    def names(self, layout: str) -> list[str]:
        """Those of one layout (``preview_decoders.TAESD`` or ``APPROX_NN``); unreadable ones are
        of none."""
        found: list[str] = []
        for path in self.paths:
            try:
                if decoder_layout(read_header(path).tensors) == layout:
                    found.append(str(path))
            except CheckpointError:
                continue
        return found

    def load(self, name: str, device: torch.device | str, dtype: torch.dtype) -> nn.Module:
        """See ``load_preview_decoder``."""
        return load_preview_decoder(Path(name), device=device, dtype=dtype)


def load_preview_decoder(
    path: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> nn.Module:
    """A preview decoder of either layout: VAE-scaled latents to pixels about [-1, 1].

    Raises:
        CheckpointError: Unreadable, damaged, or something else.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
    """
    with open_weights(path) as opened:
        weights = {
            name: opened.read(name).to(device=device, dtype=dtype) for name in opened.header.tensors
        }
    try:
        return build_decoder(weights)
    except ValueError as err:
        raise CheckpointError(
            f"{path} is no preview decoder: {err}.",
            "Get taesd_decoder (for SDXL taesdxl_decoder), .pth or .safetensors, again.",
            path=str(path),
        ) from err
