"""Train the autoencoder, or only its decoder: ``python -m tools.starter.train_vae RUN``.

From nothing: whole pictures and crops, then the latents are whitened and brought to standard
deviation 1 (after the scale) by folding an affine map into the two outer convolutions.
With ``--checkpoint``: the decoder alone is sharpened; latents, and so every U-Net, stay.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from webui.torch_setup import prepare_torch

prepare_torch()

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: E402
from torch import Tensor  # noqa: E402

from tools.starter.concepts import read_concepts  # noqa: E402
from tools.starter.drawings import IconPackage, Sprites  # noqa: E402
from tools.starter.muon import Muon  # noqa: E402
from tools.starter.networks import (  # noqa: E402
    LATENT_SCALE,
    PROFILES,
    build_vae,
    from_checkpoint,
)
from tools.starter.prepare import as_pixels  # noqa: E402
from tools.starter.scenes import draw, sample_scene  # noqa: E402

logger = logging.getLogger(__name__)

HELD_SEED: Final = 12_345
LATENT_NOISE: Final = 0.03
"""Noise on the latents in training, as a share of their spread: sampled latents are not exact."""

_FOLDED_SPREAD = 0.02
"""Constant standard deviation of the posterior after folding, as a share of the latents' own."""


@dataclass(frozen=True)
class VaePlan:
    """What one training of the autoencoder does.

    Attributes:
        minutes: Of training. batch: Whole pictures of a step.
        crop_share: First part of the time, on crops of 64 pixels, four for a picture.
        is_decoder_only: The encoder stays as it is.
    """

    minutes: float = 12.0
    batch: int = 4
    rate: float = 6e-4
    warm_steps: int = 50
    crop_share: float = 0.6
    is_decoder_only: bool = False
    seed: int = 1


class Pictures:
    """Endless training pictures."""

    def __init__(self, sprites: Sprites, seed: int) -> None:
        self._sprites, self._rng = sprites, random.Random(seed)

    def draw(self, count: int) -> Tensor:
        """(count, 3, 128, 128) in [-1, 1]."""
        scenes = [sample_scene(self._sprites.concepts, self._rng) for _ in range(count)]
        return as_pixels([draw(scene, self._sprites, self._rng) for scene in scenes])

    def crops(self, count: int) -> Tensor:
        """(count, 3, 64, 64): of every picture the busier of two places, on the latents' grid."""
        return torch.cat([self._busy(picture) for picture in self.draw(count)])

    def _busy(self, picture: Tensor) -> Tensor:
        def cut() -> Tensor:
            top, left = (8 * self._rng.randrange(9) for _ in range(2))
            return picture[None, :, top : top + 64, left : left + 64]

        return max(cut(), cut(), key=lambda crop: float(crop.std((2, 3)).sum()))


def edges(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Differences to the left and to the upper neighbour."""
    inner = pixels[:, :, 1:, 1:]
    return inner - pixels[:, :, :-1, 1:], inner - pixels[:, :, 1:, :-1]


def picture_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Absolute, squared and edge error together; squared error alone leaves edges soft."""
    difference = found - wanted
    sharp = sum(
        ((a - b).abs().mean() for a, b in zip(edges(found), edges(wanted), strict=True)),
        torch.zeros(()),
    )
    return difference.abs().mean() + 2 * difference.square().mean() + 0.5 * sharp


@torch.no_grad()
def psnr(found: Tensor, wanted: Tensor) -> float:
    """Mean over pictures of the peak signal-to-noise ratio in decibels.

    Args:
        found, wanted: (B, 3, H, W) in [-1, 1]; found is clipped.
    """
    errors = ((found.clamp(-1, 1) - wanted) / 2).square().mean((1, 2, 3))
    return float((-10 * errors.clamp(min=1e-10).log10()).mean())


@torch.no_grad()
def rebuilt(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Pictures through encoder and decoder, eight at a time."""
    parts = [vae.decode(vae.encode(p).latent_dist.mode()).sample for p in pixels.split(8)]
    return torch.cat(parts)


def train(vae: AutoencoderKL, sprites: Sprites, plan: VaePlan, file: Path) -> float:
    """Train and write the weights to ``file`` now and then, whole at the end.

    Returns:
        PSNR in dB on 32 held-out drawings.
    """
    vae.to(memory_format=torch.channels_last).train().requires_grad_(True)
    if plan.is_decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    params = [p for p in vae.parameters() if p.requires_grad]
    optimizer = Muon(params, plan.rate, weight_decay=1e-3)
    pictures, held = Pictures(sprites, plan.seed), Pictures(sprites, HELD_SEED).draw(32)
    generator = torch.Generator().manual_seed(plan.seed)
    started = logged = time.time()
    step = 0
    logger.info("before: %.2f dB", psnr(rebuilt(vae, held), held))
    while (done := (time.time() - started) / (60 * plan.minutes)) < 1:
        is_crop = done < plan.crop_share
        pixels = pictures.crops(4 * plan.batch) if is_crop else pictures.draw(plan.batch)
        for group in optimizer.param_groups:
            rise = min(1.0, (step + 1) / plan.warm_steps)
            group["lr"] = plan.rate * rise * (0.5 + 0.5 * math.cos(math.pi * done))
        loss = _loss(vae, pixels, plan, generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        step += 1
        if time.time() - logged > 60:
            logged = time.time()
            logger.info(
                "%.0f %%, step %d, %.2f dB", 100 * done, step, psnr(rebuilt(vae, held), held)
            )
            torch.save(vae.state_dict(), file)
    if not plan.is_decoder_only:
        fold(vae, Pictures(sprites, plan.seed + 1).draw(256))
    torch.save(vae.state_dict(), file)
    quality = psnr(rebuilt(vae, held), held)
    logger.info("after %d steps: %.2f dB", step, quality)
    return quality


def _loss(vae: AutoencoderKL, pixels: Tensor, plan: VaePlan, generator: torch.Generator) -> Tensor:
    with torch.set_grad_enabled(not plan.is_decoder_only):
        latents = vae.encode(pixels).latent_dist.mode()
    spread = 1 / LATENT_SCALE if plan.is_decoder_only else 1.0
    noise = torch.randn(latents.shape, generator=generator) * LATENT_NOISE * spread
    loss = picture_loss(vae.decode(latents + noise).sample, pixels)
    if plan.is_decoder_only:
        return loss
    colours = F.avg_pool2d(
        pixels, 8
    )  # three channels begin as the mean colour: 17 dB four times sooner
    pull = (latents[:, :3] - 1.5 * colours).square().mean()
    return loss + 1e-3 * latents.square().mean() + 0.05 * pull


@torch.no_grad()
def fold(vae: AutoencoderKL, pixels: Tensor) -> None:
    """Whiten the latents to standard deviation 1/0.18215 and undo it before the decoder, in place.

    The map is ZCA, the whitening nearest to the old axes; it lives in quant_conv and
    post_quant_conv, so what the decoder sees does not change.

    Args:
        pixels: Pictures to measure on.
    """
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in pixels.split(8)])
    channels = latents.shape[1]
    values = latents.permute(0, 2, 3, 1).reshape(-1, channels).double()
    mean = values.mean(0)
    covariance = (values - mean).T @ (values - mean) / len(values)
    lengths, axes = torch.linalg.eigh(covariance)
    whiten = (axes * lengths.rsqrt()) @ axes.T / LATENT_SCALE
    into, out = vae.quant_conv, vae.post_quant_conv
    weight, bias = into.weight.double()[:, :, 0, 0], into.bias.double()
    weight[:channels] = whiten @ weight[:channels]
    bias[:channels] = whiten @ (bias[:channels] - mean)
    weight[channels:], bias[channels:] = 0, 2 * math.log(_FOLDED_SPREAD / LATENT_SCALE)
    back = out.weight.double()[:, :, 0, 0]
    out.bias.copy_(out.bias.double() + back @ mean)
    out.weight.copy_((back @ torch.linalg.inv(whiten))[:, :, None, None])
    into.weight.copy_(weight[:, :, None, None])
    into.bias.copy_(bias)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument("--modules", type=Path, required=True, help="node_modules folder")
    parser.add_argument("--checkpoint", type=Path, help="sharpen only the decoder of this file")
    parser.add_argument("--go-on", action="store_true", help="begin with RUN/vae.pt")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="cpu")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--rate", type=float, default=VaePlan.rate)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(VaePlan.seed)
    sprites = Sprites.rendered(read_concepts(), IconPackage(arguments.modules))
    plan = VaePlan(arguments.minutes, rate=arguments.rate)
    vae = build_vae(PROFILES[arguments.profile])
    if arguments.checkpoint:
        plan = VaePlan(arguments.minutes, rate=arguments.rate, is_decoder_only=True)
        loaded = from_checkpoint(arguments.checkpoint).vae
        if loaded is None:
            parser.error(f"{arguments.checkpoint} holds no VAE")
        vae = loaded
    arguments.run.mkdir(parents=True, exist_ok=True)
    file = arguments.run / "vae.pt"
    if arguments.go_on:
        vae.load_state_dict(torch.load(file, weights_only=True))
    train(vae, sprites, plan, file)


if __name__ == "__main__":
    main()
