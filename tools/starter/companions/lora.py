"""A LoRA that teaches the starter one new drawing: ``python -m tools.starter.companions.lora``.

Keys are kohya's (``lora_unet_…``, ``lora_te_…`` with lora_down, lora_up, alpha), so every program
that reads SD 1.x LoRA files reads this one.
"""

from __future__ import annotations

import argparse
import logging
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from webui.torch_setup import prepare_torch

prepare_torch()

import torch  # noqa: E402
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from tools.starter.captions import caption  # noqa: E402
from tools.starter.companions.files import write_companion  # noqa: E402
from tools.starter.companions.fit import fit  # noqa: E402
from tools.starter.concepts import Concept, read_concepts  # noqa: E402
from tools.starter.drawings import IconPackage, Sprites  # noqa: E402
from tools.starter.networks import Starter, from_checkpoint  # noqa: E402
from tools.starter.objective import Objective  # noqa: E402
from tools.starter.pools import padded  # noqa: E402
from tools.starter.prepare import as_pixels, encoded  # noqa: E402
from tools.starter.scenes import draw, sample_scene  # noqa: E402
from webui.prompts.tokenizer import ClipTokenizer  # noqa: E402

NEW_DRAWING: Final = "hedgehog"
RANK, ALPHA = 8, 8.0
NEW_SHARE: Final = 0.65
"""Of the training pictures; the others show what the starter knows, so that it does not forget."""

_UNET_PARTS = ("attentions",)
_TEXT_PARTS = ("self_attn", "mlp")


class Adapter(nn.Module):
    """A low-rank change beside a frozen layer, which it replaces in its parent.

    Args:
        layer: A matrix or a 1×1 convolution.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, alpha: float) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        if isinstance(layer, nn.Conv2d):
            self.down: nn.Module = nn.Conv2d(layer.in_channels, rank, 1, bias=False)
            self.up: nn.Module = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        else:
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.up.weight)
        self.scale = alpha / rank

    def forward(self, values: Tensor) -> Tensor:
        return self.layer(values) + self.up(self.down(values)) * self.scale


def kohya_name(prefix: str, path: str) -> str:
    """A module's name in a LoRA file: ``lora_unet_down_blocks_0_attentions_0_proj_in``."""
    return f"{prefix}_{path.replace('.', '_')}"


def insert_adapters(networks: Starter, rank: int = RANK) -> dict[str, Adapter]:
    """Put adapters into U-Net and text encoder, in place.

    Returns:
        File name of each → adapter.
    """
    networks.unet.requires_grad_(False)
    networks.text.requires_grad_(False)
    found = {}
    for prefix, root, parts in (
        ("lora_unet", networks.unet, _UNET_PARTS),
        ("lora_te_text_model", networks.text.clip, _TEXT_PARTS),
    ):
        for path, layer in list(_adaptable(root, parts)):
            adapter = Adapter(layer, rank, ALPHA)
            parent, _, leaf = path.rpartition(".")
            setattr(root.get_submodule(parent), leaf, adapter)
            found[kohya_name(prefix, path)] = adapter
    return found


def _adaptable(
    root: nn.Module, parts: Sequence[str]
) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    for path, module in root.named_modules():
        is_small = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
        if any(part in path.split(".") for part in parts) and (
            isinstance(module, nn.Linear) or is_small
        ):
            yield path, module  # type: ignore[misc]


def lora_tensors(adapters: dict[str, Adapter]) -> dict[str, Tensor]:
    """What a LoRA file holds, fp16."""
    tensors = {}
    for name, adapter in adapters.items():
        tensors[f"{name}.lora_down.weight"] = adapter.down.weight.detach().half().contiguous()
        tensors[f"{name}.lora_up.weight"] = adapter.up.weight.detach().half().contiguous()
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA).half()
    return tensors


def apply_lora(networks: Starter, tensors: dict[str, Tensor], weight: float = 1.0) -> int:
    """Add a file's changes to the plain layers of the networks, in place; how many were changed."""
    roots = (("lora_unet", networks.unet), ("lora_te_text_model", networks.text.clip))
    changed = 0
    for prefix, root in roots:
        for path, module in root.named_modules():
            name = kohya_name(prefix, path)
            if f"{name}.lora_down.weight" not in tensors:
                continue
            down = tensors[f"{name}.lora_down.weight"].float()
            up = tensors[f"{name}.lora_up.weight"].float()
            scale = weight * float(tensors[f"{name}.alpha"]) / down.shape[0]
            change = (up.flatten(1) @ down.flatten(1)) * scale
            layer: Any = module
            layer.weight.data += change.reshape(layer.weight.shape)
            changed += 1
    return changed


def train_lora(
    networks: Starter, vae: AutoencoderKL, sprites: Sprites, new: Concept, *, steps: int,
    batch: int = 8, rate: float = 2e-3, seed: int = 3,
) -> dict[str, Adapter]:  # fmt: skip
    """Teach one drawing.

    Args:
        sprites: Of the new drawing and of some that the starter knows.
    """
    torch.manual_seed(seed)
    adapters = insert_adapters(networks)
    params = [p for a in adapters.values() for p in (a.down.weight, a.up.weight)]
    optimizer = torch.optim.AdamW(params, rate, weight_decay=1e-2)
    rng, tokenizer, objective = random.Random(seed), ClipTokenizer.load(), Objective()
    generator = torch.Generator().manual_seed(seed)
    known = [concept for concept in sprites.concepts if concept != new]

    def loss_of() -> Tensor:
        scenes = []
        while len(scenes) < batch:
            scene = sample_scene([new, rng.choice(known)], rng)
            is_new = any(subject.concept == new for subject in scene.subjects)
            if is_new == (rng.random() < NEW_SHARE):
                scenes.append(scene)
        latents = encoded(vae, as_pixels([draw(s, sprites, rng) for s in scenes]))
        tokens = padded([tokenizer.encode(caption(s, rng)) for s in scenes])
        return objective(networks.unet, latents, networks.text(tokens), generator)

    fit(optimizer, loss_of, steps=steps, warm_steps=20, most_norm=1.0, log_steps=50)
    return adapters


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("file", type=Path, help="LoRA file to write (.safetensors)")
    parser.add_argument("--modules", type=Path, required=True, help="node_modules folder")
    parser.add_argument("--drawing", default=NEW_DRAWING, help="name in concepts.txt, not starred")
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    concepts = [c for c in read_concepts("all") if c.is_core or c.name == arguments.drawing]
    sprites = Sprites.rendered(concepts, IconPackage(arguments.modules))
    new = next(c for c in concepts if c.name == arguments.drawing)
    networks = from_checkpoint(arguments.checkpoint)
    vae = networks.vae
    if vae is None:
        parser.error(f"{arguments.checkpoint} holds no VAE")
    adapters = train_lora(networks, vae.eval(), sprites, new, steps=arguments.steps)
    write_companion(
        arguments.file, lora_tensors(adapters), what=f"Teaches starter-emoji: a {new.word}",
        ss_base_model_version="sd_v1", ss_network_module="networks.lora",
        ss_network_dim=str(RANK), ss_network_alpha=str(ALPHA),
        ss_output_name=arguments.file.stem, ss_sd_model_name=arguments.checkpoint.name,
    )  # fmt: skip


if __name__ == "__main__":
    main()
