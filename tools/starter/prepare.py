"""Draw scenes, encode them, tokenise their captions: ``python -m tools.starter.prepare RUN``.

Writes RUN/pool/shard_*.npz and RUN/held.npz. Shards that are there already are kept, so a stopped
run goes on; a training that runs at the same time takes up each new shard.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Sequence
from pathlib import Path

from webui.torch_setup import prepare_torch

prepare_torch()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: E402

from tools.starter.captions import caption  # noqa: E402
from tools.starter.concepts import Concept, read_concepts  # noqa: E402
from tools.starter.drawings import IconPackage, Sprites  # noqa: E402
from tools.starter.networks import LATENT_SCALE, from_checkpoint  # noqa: E402
from tools.starter.pools import CAPTIONS, LAYOUTS, MOST_TOKENS, Shard  # noqa: E402
from tools.starter.scenes import Scene, draw, sample_scene  # noqa: E402
from webui.prompts.tokenizer import ClipTokenizer  # noqa: E402

logger = logging.getLogger(__name__)

HELD_SEED = 99_001


def as_pixels(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """Pictures (H, W, 3) in 0–1 → (B, 3, H, W) float32 in [-1, 1], channels last in memory."""
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return (stacked * 2 - 1).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def encoded(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Latents, VAE-scaled, of pictures (B, 3, H, W) in [-1, 1]."""
    return vae.encode(pixels).latent_dist.mode() * LATENT_SCALE


def make_shard(
    scenes: Sequence[Scene], sprites: Sprites, vae: AutoencoderKL, tokenizer: ClipTokenizer,
    rng: random.Random, size: int = 128,
) -> Shard:  # fmt: skip
    """Draw and encode scenes, and write ``CAPTIONS`` captions for each.

    Args:
        size: Side of the pictures in pixels; other than 128, they are scaled.
    """
    latents = []
    for start in range(0, len(scenes), 16):
        pixels = as_pixels([draw(s, sprites, rng) for s in scenes[start : start + 16]])
        if size != pixels.shape[-1]:
            pixels = torch.nn.functional.interpolate(pixels, (size, size), mode="bicubic")
        latents.append(encoded(vae, pixels).half().numpy())
    tokens = np.full((len(scenes), CAPTIONS, MOST_TOKENS), -1, np.int32)
    for place, scene in enumerate(scenes):
        for wording in range(CAPTIONS):
            numbers = tokenizer.encode(caption(scene, rng))[:MOST_TOKENS]
            tokens[place, wording, : len(numbers)] = numbers
    layouts = np.array([LAYOUTS.index(scene.layout) for scene in scenes], np.uint8)
    return Shard(np.concatenate(latents), tokens, layouts)


def prepare(
    folder: Path, concepts: Sequence[Concept], sprites: Sprites, vae: AutoencoderKL,
    *, shards: int, pictures: int, size: int = 128,
) -> None:  # fmt: skip
    """Write the held-out pictures and the training shards that are missing.

    Args:
        folder: Of the run. shards: How many. pictures: In each.
    """
    tokenizer = ClipTokenizer.load()
    files = {folder / "held.npz": HELD_SEED}
    files |= {folder / "pool" / f"shard_{n:03d}.npz": n for n in range(shards)}
    (folder / "pool").mkdir(parents=True, exist_ok=True)
    for file, seed in files.items():
        if file.exists():
            continue
        rng = random.Random(seed)
        count = min(pictures, 512) if seed == HELD_SEED else pictures
        scenes = [sample_scene(concepts, rng) for _ in range(count)]
        make_shard(scenes, sprites, vae, tokenizer, rng, size).save(file)
        logger.info("%s: %d pictures", file.name, count)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument("--modules", type=Path, required=True, help="node_modules folder")
    parser.add_argument("--checkpoint", type=Path, required=True, help="file whose VAE encodes")
    parser.add_argument("--concepts", choices=("core", "all"), default="core")
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--pictures", type=int, default=1500, help="in each shard")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    sprites = Sprites.rendered(read_concepts(arguments.concepts), IconPackage(arguments.modules))
    vae = from_checkpoint(arguments.checkpoint).vae
    if vae is None:
        parser.error(f"{arguments.checkpoint} holds no VAE")
    prepare(
        arguments.run, sprites.concepts, sprites, vae.eval(),
        shards=arguments.shards, pictures=arguments.pictures, size=arguments.size,
    )  # fmt: skip


if __name__ == "__main__":
    main()
