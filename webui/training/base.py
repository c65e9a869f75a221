"""The model that is trained upon: its networks, frozen, and what the loop asks of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from webui.checkpoints.families.model import TextPart
from webui.checkpoints.load import LoadedModel
from webui.training.batch import Batch
from webui.training.network import TEXT, UNET, Target

LATENT_CELL = 8
"""Pixels of a latent's side."""


@dataclass
class TextEncoder:
    """One text encoder and what its family says of it."""

    facts: TextPart
    network: nn.Module


@dataclass
class Base:
    """A frozen model, its parts where training needs them.

    Attributes:
        load_unet: Gives the U-Net. It is asked for as late as can be, so that it never lies in
            memory together with networks that are only needed for caches.
        vae: None once nobody needs it any more.
        alphas_cumprod: (1000,) float32 on the CPU.
        dtype: Of U-Net and text encoders.
    """

    family: str
    load_unet: Callable[[], Any]
    texts: list[TextEncoder]
    vae: Any
    alphas_cumprod: Tensor
    scaling_factor: float
    device: torch.device
    dtype: torch.dtype
    path: Path

    @cached_property
    def unet(self) -> Any:
        """The U-Net, from the first time it is asked for."""
        return self.load_unet()

    @classmethod
    def of(cls, model: LoadedModel) -> Base:
        """The parts of a loaded model, which must have been loaded ``for_painting=False``."""
        pairs = zip(model.family.texts, model.text_encoders, strict=True)
        return cls(
            family=model.spec.family,
            load_unet=lambda: model.unet,
            texts=[TextEncoder(facts, network) for facts, network in pairs],
            vae=model.vae,
            alphas_cumprod=model.alphas_cumprod,
            scaling_factor=model.scaling_factor,
            device=model.device,
            dtype=model.dtype,
            path=model.path,
        )

    @property
    def networks(self) -> list[nn.Module]:
        """Those that work in every step."""
        return [self.unet, *(text.network for text in self.texts)]

    def targets(self, *, has_unet: bool, has_text: bool) -> list[Target]:
        """Networks whose layers are trained, in the order of kohya's files."""
        is_sdxl = self.family == "sdxl"
        found: list[Target] = []
        if has_text:
            for text in self.texts:
                number = text.facts.lora_number if is_sdxl else ""
                found.append(Target(TEXT, f"lora_te{number}", text.network))
        if has_unet:
            found.append(Target(UNET, "lora_unet", self.unet, has_original_names=is_sdxl))
        return found

    def recompute(self, *, has_text: bool) -> None:
        """Trade time for memory: inner values are calculated again on the way back."""
        self.unet.enable_gradient_checkpointing()
        self.unet.train()
        if has_text:
            for text in self.texts:
                network: Any = text.network
                network.gradient_checkpointing_enable(
                    gradient_checkpointing_kwargs={"use_reentrant": False}
                )
                network.train()

    def encode(self, images: Tensor, seeds: Sequence[int]) -> Tensor:
        """See ``batch.Encode``."""
        mean_and_deviation = self._moments(images, self.vae.dtype)
        if not torch.isfinite(mean_and_deviation[0]).all():  # half precision is too small for it
            mean_and_deviation = self._moments(images, torch.float32)
        means, deviations = mean_and_deviation
        noise = torch.stack(
            [
                torch.randn(means.shape[1:], generator=torch.Generator().manual_seed(seed))
                for seed in seeds
            ]
        )
        return means + deviations * noise

    @torch.no_grad()
    def _moments(self, images: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        if self.vae.dtype != dtype:
            self.vae.to(dtype)
        found = self.vae.encode(images.to(self.device, dtype)).latent_dist
        return found.mean.float().cpu(), found.std.float().cpu()

    def extra_conditioning(self, pooled: Tensor | None, batch: Batch) -> dict[str, Tensor] | None:
        """What SDXL is told besides words: sizes and crop of every picture."""
        if pooled is None:
            return None
        width, height = batch.size
        numbers = [
            (original[1], original[0], top, left, height, width)
            for original, (left, top) in zip(batch.original_sizes, batch.crops, strict=True)
        ]
        times = torch.tensor(numbers, dtype=pooled.dtype, device=pooled.device)  # (B, 6)
        return {"text_embeds": pooled, "time_ids": times}
