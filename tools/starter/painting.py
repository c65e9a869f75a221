"""Paint many different prompts in one batch; the product paints one prompt at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from tools.starter.networks import END, LATENT_SCALE, START
from webui.checkpoints.load import LoadedModel
from webui.prompts.tokenizer import ClipTokenizer
from webui.samplers.noise import ImageNoise
from webui.samplers.run import sample
from webui.samplers.schedules import NoiseTable

STEPS: Final = 20
CFG_SCALE: Final = 5.0
BATCH: Final = 16


class Painter:
    """Paints with the settings that the evaluation states: DPM++ 2M, Karras, 20 steps, CFG 5.

    Args:
        model: A loaded starter.
        size: Side of the pictures in pixels.
    """

    def __init__(self, model: LoadedModel, size: int = 128, cfg_scale: float = CFG_SCALE) -> None:
        self.model, self.size, self.cfg_scale = model, size, cfg_scale
        self._tokenizer = ClipTokenizer.load()
        self._table = NoiseTable(model.alphas_cumprod)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Prompts → (B, 77, width)."""
        rows = [[START, *self._tokenizer.encode(prompt)[:75], END] for prompt in prompts]
        tokens = torch.tensor([row + [END] * (77 - len(row)) for row in rows])
        return self.model.text_encoder(tokens).last_hidden_state

    @torch.no_grad()
    def latents(
        self, prompts: Sequence[str], seeds: Sequence[int], cond: Tensor | None = None
    ) -> Tensor:
        """Clean latents (B, 4, h, w), VAE-scaled; ``cond`` replaces the encoded prompts."""
        cond = self.encode(prompts) if cond is None else cond
        both = torch.cat([self.encode([""]).expand(len(cond), -1, -1), cond])
        noise = ImageNoise((4, self.size // 8, self.size // 8), seeds)
        return sample(
            "DPM++ 2M", self._denoised, noise.first(), both, table=self._table, steps=STEPS,
            noise=noise, schedule_label="Karras",
        )  # fmt: skip

    def _denoised(self, latents: Tensor, sigma: Tensor, cond: Any) -> Tensor:
        level = sigma[:, None, None, None]
        scaled = (latents / (1 + level**2).sqrt()).repeat(2, 1, 1, 1)
        timestep = self._table.sigma_to_t(sigma).repeat(2)
        without, with_ = self.model.unet(scaled, timestep, cond).sample.chunk(2)
        return latents - level * (without + self.cfg_scale * (with_ - without))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1]."""
        return self.model.vae.decode(latents / LATENT_SCALE).sample.clamp(-1, 1)

    def paint(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Pictures of prompts, one seed each; (B, 3, H, W) in [-1, 1]."""
        pictures = []
        for start in range(0, len(prompts), BATCH):
            some = slice(start, start + BATCH)
            pictures.append(self.decode(self.latents(prompts[some], seeds[some])))
        return torch.cat(pictures)


def as_image(pixels: Tensor) -> Image.Image:
    """One picture (3, H, W) in [-1, 1] as 8-bit RGB."""
    array = ((pixels + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(array)


def sheet(pictures: Tensor, columns: int) -> Image.Image:
    """Pictures side by side in rows, in reading order."""
    side = pictures.shape[-1]
    rows = -(-len(pictures) // columns)
    whole = Image.new("RGB", (columns * side, rows * side), "white")
    for place, picture in enumerate(pictures):
        whole.paste(as_image(picture), (place % columns * side, place // columns * side))
    return whole
