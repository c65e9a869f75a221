"""A preview decoder in TAESD's key layout: ``python -m tools.starter.companions.tiny_decoder``.

Latents (VAE-scaled) → picture in 0–1. Structure and names are those of taesd_decoder files (Ollin
Boer Bohan, MIT licence), as live previews know them (``webui/networks/preview_decoders.py``). It is
16 channels wide instead of 64; a loader takes the width from the weights.
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
from torch import Tensor  # noqa: E402

from tools.starter.companions.files import write_companion  # noqa: E402
from tools.starter.companions.fit import fit  # noqa: E402
from tools.starter.concepts import read_concepts  # noqa: E402
from tools.starter.drawings import IconPackage, Sprites  # noqa: E402
from tools.starter.muon import Muon  # noqa: E402
from tools.starter.networks import LATENT_SCALE  # noqa: E402
from tools.starter.prepare import encoded  # noqa: E402
from tools.starter.train_vae import HELD_SEED, Pictures, psnr  # noqa: E402
from webui.checkpoints.load import load_checkpoint  # noqa: E402
from webui.networks.preview_decoders import TaesdDecoder  # noqa: E402

WIDTH: Final = 16


def taesd_tensors(decoder: TaesdDecoder) -> dict[str, Tensor]:
    """What a taesd_decoder file holds: keys are places in a sequence."""
    return {name.removeprefix("layers."): t for name, t in decoder.state_dict().items()}


def train_tiny_decoder(
    vae: AutoencoderKL, sprites: Sprites, *, steps: int, batch: int = 8, rate: float = 5e-3
) -> TaesdDecoder:
    """Learn to decode what the VAE encodes, from renders."""
    decoder = TaesdDecoder(width=WIDTH).to(memory_format=torch.channels_last)
    optimizer = Muon(decoder.parameters(), rate, weight_decay=0)
    pictures = Pictures(sprites, seed=31)

    def loss_of() -> Tensor:
        pixels = pictures.draw(batch)
        found = decoder(encoded(vae, pixels))
        return (found - pixels).abs().mean() + 2 * (found - pixels).square().mean()

    fit(optimizer, loss_of, steps=steps, warm_steps=50, most_norm=1.0)
    return decoder.eval()


@torch.no_grad()
def measure(decoder: TaesdDecoder, vae: AutoencoderKL, sprites: Sprites) -> dict[str, float]:
    """Decibels against the true pictures and against the full decoder; seconds of both."""
    pixels = Pictures(sprites, HELD_SEED).draw(32)
    latents = encoded(vae, pixels)
    started = time.perf_counter()
    full = torch.cat([vae.decode(part / LATENT_SCALE).sample for part in latents.split(1)])
    between = time.perf_counter()
    tiny = torch.cat([decoder(part) for part in latents.split(1)])
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
        arguments.file, taesd_tensors(decoder), figures=str(figures),
        what="Preview decoder (TAESD layout) for starter-emoji, VAE-scaled latents to 0..1",
    )  # fmt: skip


if __name__ == "__main__":
    main()
