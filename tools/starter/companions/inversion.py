"""A textual inversion for the starter: ``python -m tools.starter.companions.inversion``.

Finds two token vectors that mean one background, so that ``a cat, candy-sky`` paints a cat before
it. Written as A1111 does: one tensor ``emb_params`` (vectors, width).
"""

from __future__ import annotations

import argparse
import logging
import random
from dataclasses import replace
from pathlib import Path
from typing import Final

from webui.torch_setup import prepare_torch

prepare_torch()

import torch  # noqa: E402
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: E402
from torch import Tensor  # noqa: E402

from tools.starter.captions import caption  # noqa: E402
from tools.starter.companions.files import write_companion  # noqa: E402
from tools.starter.companions.fit import fit  # noqa: E402
from tools.starter.concepts import read_concepts  # noqa: E402
from tools.starter.drawings import IconPackage, Sprites  # noqa: E402
from tools.starter.networks import Starter, from_checkpoint  # noqa: E402
from tools.starter.objective import Objective  # noqa: E402
from tools.starter.pools import padded  # noqa: E402
from tools.starter.prepare import as_pixels, encoded  # noqa: E402
from tools.starter.scenes import Background, Scene, draw, sample_scene  # noqa: E402
from webui.prompts.tokenizer import ClipTokenizer  # noqa: E402

VECTORS: Final = 2
SKY: Final = Background("gradient", ("pink", "light blue"), is_named=False)
"""Pink above, light blue below; captions do not name it, so the vectors must."""


def with_vectors(vectors: Tensor, embedded: Tensor, places: list[int]) -> Tensor:
    """Token vectors with the learned ones put in.

    Args:
        vectors: (B, L, width); unchanged. embedded: (n, width). places: First of the n places, for
            each row.
    """
    rows = []
    for row, place in zip(vectors, places, strict=True):
        rows.append(torch.cat([row[:place], embedded, row[place + len(embedded) :]]))
    return torch.stack(rows)


def train_inversion(
    networks: Starter, vae: AutoencoderKL, sprites: Sprites, *, steps: int,
    batch: int = 8, rate: float = 2e-2, seed: int = 9,
) -> Tensor:  # fmt: skip
    """Find the vectors; everything else stays as it is.

    Returns:
        (VECTORS, width) float32.
    """
    networks.unet.requires_grad_(False)
    networks.text.requires_grad_(False)
    tokenizer, objective, rng = ClipTokenizer.load(), Objective(), random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    start = networks.text.vectors(torch.tensor([tokenizer.encode("gradient background")]))
    embedded = start[0, :VECTORS].clone().requires_grad_(True)
    optimizer = torch.optim.AdamW([embedded], rate, weight_decay=0)

    def loss_of() -> Tensor:
        scenes = [_scene(sprites, rng) for _ in range(batch)]
        latents = encoded(vae, as_pixels([draw(s, sprites, rng) for s in scenes]))
        captions = [tokenizer.encode(caption(s, rng) + ",") for s in scenes]
        blanks = [[*c, *[tokenizer.comma] * VECTORS] for c in captions]
        vectors = networks.text.vectors(padded(blanks))
        context = networks.text.encode(
            with_vectors(vectors, embedded, [1 + len(c) for c in captions])
        )
        return objective(networks.unet, latents, context, generator)

    fit(optimizer, loss_of, steps=steps, log_steps=25)
    return embedded.detach()


def _scene(sprites: Sprites, rng: random.Random) -> Scene:
    while True:
        scene = replace(sample_scene(sprites.concepts, rng), background=SKY)
        if not scene.is_held_out:
            return scene


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "file", type=Path, help="embedding to write (.safetensors); its name counts"
    )
    parser.add_argument("--modules", type=Path, required=True, help="node_modules folder")
    parser.add_argument("--steps", type=int, default=120)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    sprites = Sprites.rendered(read_concepts(), IconPackage(arguments.modules))
    networks = from_checkpoint(arguments.checkpoint)
    if networks.vae is None:
        parser.error(f"{arguments.checkpoint} holds no VAE")
    vectors = train_inversion(networks, networks.vae.eval(), sprites, steps=arguments.steps)
    write_companion(
        arguments.file, {"emb_params": vectors},
        what="Textual inversion for starter-emoji: a pink and light blue sky",
    )  # fmt: skip


if __name__ == "__main__":
    main()
