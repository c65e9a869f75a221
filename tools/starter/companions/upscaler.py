"""A 2× upscaler for flat art: ``python -m tools.starter.companions.upscaler FILE``.

The structure is SRVGGNetCompact (Real-ESRGAN, BSD-3), small; spandrel and every program built on it
recognise it by its keys. Trained on renders and their halves; measured against Lanczos.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Final

from webui.torch_setup import prepare_torch

prepare_torch()

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from PIL import Image  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from tools.starter.companions.files import write_companion  # noqa: E402
from tools.starter.companions.fit import fit  # noqa: E402
from tools.starter.concepts import read_concepts  # noqa: E402
from tools.starter.drawings import IconPackage, Sprites  # noqa: E402
from tools.starter.muon import Muon  # noqa: E402
from tools.starter.painting import as_image  # noqa: E402
from tools.starter.train_vae import HELD_SEED, Pictures, edges, psnr  # noqa: E402

FEATURES, CONVOLUTIONS, SCALE = 24, 8, 2
NEEDED_GAIN_DB: Final = 0.5
"""Less gain over Lanczos than this is not worth a file."""


class CompactUpscaler(nn.Module):
    """Convolutions with PReLU at the small size, pixel shuffle, plus the enlarged input.

    Source: SRVGGNetCompact in Wang et al. 2021 (Real-ESRGAN); same order, so same keys.
    """

    def __init__(self, features: int = FEATURES, convolutions: int = CONVOLUTIONS) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        layers.append(nn.Conv2d(features, 3 * SCALE**2, 3, padding=1))
        self.body = nn.ModuleList(layers)
        self.upsampler = nn.PixelShuffle(SCALE)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in 0–1 → (B, 3, 2H, 2W)."""
        features = pixels
        for layer in self.body:
            features = layer(features)
        return self.upsampler(features) + F.interpolate(pixels, scale_factor=SCALE)


def halved(pixels: Tensor) -> Tensor:
    """Half the size, antialiased, rounded to 8 bits as a file would be; 0–1."""
    small = F.interpolate(pixels, scale_factor=0.5, mode="bicubic", antialias=True)
    return (small.clamp(0, 1) * 255).round() / 255


def train_upscaler(sprites: Sprites, *, steps: int, batch: int = 12) -> CompactUpscaler:
    """Learn to undo ``halved`` on renders."""
    upscaler = CompactUpscaler()
    optimizer = Muon(upscaler.parameters(), 3e-3, weight_decay=0)
    pictures = Pictures(sprites, seed=57)

    def loss_of() -> Tensor:
        pixels = (pictures.crops(batch) + 1) / 2
        found = upscaler(halved(pixels))
        sharp = torch.stack(
            [(a - b).abs().mean() for a, b in zip(edges(found), edges(pixels), strict=True)]
        )
        loss = (found - pixels).abs().mean() + 5 * (found - pixels).square().mean()
        return loss + 0.2 * sharp.sum()

    fit(optimizer, loss_of, steps=steps, warm_steps=50, most_norm=1.0)
    return upscaler.eval()


@torch.no_grad()
def measure(upscaler: CompactUpscaler, sprites: Sprites) -> dict[str, float]:
    """Decibels on 32 held-out pictures, of the upscaler and of Lanczos, from the same halves."""
    pixels = Pictures(sprites, HELD_SEED).draw(32)
    small = halved((pixels + 1) / 2)
    found = upscaler(small).clamp(0, 1) * 2 - 1
    return {"upscaler_db": psnr(found, pixels), "lanczos_db": psnr(lanczos(small), pixels)}


def lanczos(small: Tensor) -> Tensor:
    """Pillow's Lanczos at twice the size; 0–1 in, [-1, 1] out."""
    enlarged = []
    for picture in small:
        image = as_image(picture * 2 - 1)
        size = (image.width * SCALE, image.height * SCALE)
        data = bytearray(image.resize(size, Image.Resampling.LANCZOS).tobytes())
        pixels = torch.frombuffer(data, dtype=torch.uint8).view(size[1], size[0], 3)
        enlarged.append(pixels.permute(2, 0, 1).float() / 127.5 - 1)
    return torch.stack(enlarged)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="to write (.safetensors)")
    parser.add_argument("--modules", type=Path, required=True, help="node_modules folder")
    parser.add_argument("--steps", type=int, default=800)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(1)
    sprites = Sprites.rendered(read_concepts(), IconPackage(arguments.modules))
    upscaler = train_upscaler(sprites, steps=arguments.steps)
    figures = measure(upscaler, sprites)
    print(figures)
    if figures["upscaler_db"] < figures["lanczos_db"] + NEEDED_GAIN_DB:
        parser.exit(1, "Not better than Lanczos; nothing was written.\n")
    write_companion(
        arguments.file, upscaler.state_dict(), figures=str(figures),
        what="2x upscaler for flat art (SRVGGNetCompact, 24 features, 8 convolutions)",
    )  # fmt: skip


if __name__ == "__main__":
    main()
