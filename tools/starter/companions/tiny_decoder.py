"""A preview decoder in TAESD's key layout: ``python -m tools.starter.companions.tiny_decoder``.

Latents (VAE-scaled) → picture in 0–1. Structure and names are those of taesd_decoder files (Ollin
Boer Bohan, MIT licence): a clamp, blocks of three convolutions, three doublings. It is 16 channels
wide instead of 64; a loader takes the width from the weights.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Final

from webui.torch_setup import prepare_torch

prepare_torch()

import torch  # noqa: E402
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from tools.starter.companions.files import write_companion  # noqa: E402
from tools.starter.companions.fit import fit  # noqa: E402
from tools.starter.concepts import read_concepts  # noqa: E402
from tools.starter.drawings import IconPackage, Sprites  # noqa: E402
from tools.starter.muon import Muon  # noqa: E402
from tools.starter.networks import LATENT_SCALE  # noqa: E402
from tools.starter.prepare import encoded  # noqa: E402
from tools.starter.train_vae import HELD_SEED, Pictures, psnr  # noqa: E402
from webui.checkpoints.load import load_checkpoint  # noqa: E402

WIDTH: Final = 16


class Clamp(nn.Module):
    """Softly limits latents to ±3."""

    def forward(self, latents: Tensor) -> Tensor:
        return torch.tanh(latents / 3) * 3


class Block(nn.Module):
    """Three convolutions beside a straight way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip
        self.fuse = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        return self.fuse(self.conv(features) + features)


def build_tiny_decoder(width: int = WIDTH) -> nn.Sequential:
    """Layers in the order whose numbers are the keys of taesd_decoder files."""
    layers: list[nn.Module] = [Clamp(), nn.Conv2d(4, width, 3, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [Block(width), Block(width), Block(width), nn.Upsample(scale_factor=2)]
        layers.append(nn.Conv2d(width, width, 3, padding=1, bias=False))
    layers += [Block(width), nn.Conv2d(width, 3, 3, padding=1)]
    return nn.Sequential(*layers)


def train_tiny_decoder(
    vae: AutoencoderKL, sprites: Sprites, *, steps: int, batch: int = 8, rate: float = 5e-3
) -> nn.Sequential:
    """Learn to decode what the VAE encodes, from renders."""
    decoder = build_tiny_decoder().to(memory_format=torch.channels_last)
    optimizer = Muon(decoder.parameters(), rate, weight_decay=0)
    pictures = Pictures(sprites, seed=31)

    def loss_of() -> Tensor:
        pixels = pictures.draw(batch)
        found = decoder(encoded(vae, pixels)) * 2 - 1
        return (found - pixels).abs().mean() + 2 * (found - pixels).square().mean()

    fit(optimizer, loss_of, steps=steps, warm_steps=50, most_norm=1.0)
    return decoder.eval()


@torch.no_grad()
def measure(decoder: nn.Sequential, vae: AutoencoderKL, sprites: Sprites) -> dict[str, float]:
    """Decibels against the true pictures and against the full decoder; seconds of both."""
    pixels = Pictures(sprites, HELD_SEED).draw(32)
    latents = encoded(vae, pixels)
    started = time.perf_counter()
    full = torch.cat([vae.decode(part / LATENT_SCALE).sample for part in latents.split(1)])
    between = time.perf_counter()
    tiny = torch.cat([decoder(part) * 2 - 1 for part in latents.split(1)])
    ended = time.perf_counter()
    return {
        "tiny_db": psnr(tiny, pixels),
        "full_db": psnr(full, pixels),
        "tiny_against_full_db": psnr(tiny, full.clamp(-1, 1)),
        "full_ms": (between - started) / len(pixels) * 1000,
        "tiny_ms": (ended - between) / len(pixels) * 1000,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("file", type=Path, help="taesd_decoder file to write (.safetensors)")
    parser.add_argument("--modules", type=Path, required=True, help="node_modules folder")
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(1)
    sprites = Sprites.rendered(read_concepts(), IconPackage(arguments.modules))
    vae = load_checkpoint(arguments.checkpoint, for_painting=False).vae.eval()
    vae.requires_grad_(False)
    decoder = train_tiny_decoder(vae, sprites, steps=arguments.steps)
    figures = measure(decoder, vae, sprites)
    print(figures)
    write_companion(
        arguments.file, decoder.state_dict(), figures=str(figures),
        what="Preview decoder (TAESD layout) for starter-emoji, VAE-scaled latents to 0..1",
    )  # fmt: skip


if __name__ == "__main__":
    main()
