"""Supplies of two models: the starter, and "other", the starter bent a little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.pipelines.conftest import Ear, Shelf
from webui.checkpoints.load import lay_out_for_speed, load_checkpoint
from webui.params import build
from webui.pipelines.conditioning import PromptEncoder
from webui.pipelines.runs import run_class

Two = Callable[..., "Painted"]


def bent(checkpoint: Path) -> Any:
    """A checkpoint with every matrix of U-Net, text encoder and VAE bent a little."""
    model = load_checkpoint(checkpoint, for_painting=False)
    generator = torch.Generator().manual_seed(0)
    for network in (model.unet, model.text_encoder, model.vae):
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.data *= 1 + 0.15 * torch.randn(weight.shape, generator=generator)
    lay_out_for_speed(model)
    return model


@dataclass
class TwoModels(Shelf):
    """The starter under every name but "other"; notes what was asked for."""

    other: Any = None
    asked: list[str] = field(default_factory=list)
    encoders: dict[int, PromptEncoder] = field(default_factory=dict)

    def model(self, checkpoint: str) -> Any:
        self.asked.append(checkpoint)
        return self.other if checkpoint == "other" else self.loaded

    def encoder(self, model: Any) -> PromptEncoder:
        return self.encoders[id(model)]

    @property
    def order(self) -> list[str]:
        """The names in the order in which they came into use."""
        return [n for i, n in enumerate(self.asked) if i == 0 or self.asked[i - 1] != n]


@dataclass
class Painted:
    """What a run left behind."""

    ear: Ear
    shelf: TwoModels

    @property
    def array(self) -> np.ndarray:
        """(pictures, H, W, 3)."""
        return np.stack([np.asarray(p.image, dtype=int) for p in self.ear.pictures])


def painter_of_two(starter: Any, other: Any, tokenizer: Any) -> Two:
    """Paints with both models at hand: small, few steps, unless said otherwise."""
    encoders = {id(m): PromptEncoder(m, tokenizer) for m in (starter, other)}

    def run(
        ear: Ear | None = None,
        kind: str = "txt2img",
        inputs: Any = None,
        shelf_class: type[TwoModels] = TwoModels,
        **values: Any,
    ) -> Painted:
        small = {
            "width": 64, "height": 64, "steps": 6, "prompt": "a red apple", "seed": 1,
            "checkpoint": "first", "sampler": "Euler a",
        }  # fmt: skip
        shelf = shelf_class(starter, encoders[id(starter)], inputs or {}, other, [], encoders)
        ear = ear or Ear()
        params = build(kind, {**small, **values})
        run_class(params)(params, shelf, ear).paint()
        return Painted(ear, shelf)

    return run
