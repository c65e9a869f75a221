"""Counts the numbers that training a LoRA keeps for the way back, on full-size U-Nets.

``python tools/training_memory.py`` prints them for each pixel of the latents of one picture. The
networks lie on the meta device, which has shapes and no memory. ``webui/training/estimates.py`` has
the results.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from webui.torch_setup import prepare_torch

SD1 = {"cross_attention_dim": 768, "attention_head_dim": 8}
SDXL = {
    "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20),
    "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "use_linear_projection": True, "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip


class _Attention(torch.autograd.Function):
    """Keeps what memory-saving attention keeps: its three inputs and the result."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, result)
        return result


def kept_numbers(config: dict[str, Any], side: int, rank: int, *, recomputes: bool) -> float:
    """Numbers kept for each latent pixel.

    Args:
        side: Of the picture, in pixels.
    """
    from diffusers import UNet2DConditionModel

    from webui.training.adapters import Adapter

    with torch.device("meta"):
        unet: Any = UNet2DConditionModel(**config)
        unet.to(torch.float16).requires_grad_(False)
        if recomputes:
            unet.enable_gradient_checkpointing()
            unet.train()
        adapters = [
            Adapter(layer, rank, rank)
            for name, layer in unet.named_modules()
            if "attentions" in name and _is_matrix(layer)
        ]
        for adapter in adapters:
            adapter.put_on()
        kept: dict[int, Tensor] = {}

        def keep(tensor: Tensor) -> Tensor:
            kept.setdefault(tensor.untyped_storage()._cdata, tensor)
            return tensor

        half: dict[str, Any] = {"dtype": torch.float16}
        latents = torch.empty(1, 4, side // 8, side // 8, **half)
        words = torch.empty(1, 77, config["cross_attention_dim"], **half)
        added = {"text_embeds": torch.empty(1, 1280, **half), "time_ids": torch.empty(1, 6, **half)}
        more = {"added_cond_kwargs": added} if "addition_embed_type" in config else {}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            unet(latents, torch.ones(1), words, **more)
    parameters = {p.untyped_storage()._cdata for m in (unet, *adapters) for p in m.parameters()}
    used = (t.untyped_storage().nbytes() for s, t in kept.items() if s not in parameters)
    return sum(used) / 2 / (side // 8) ** 2


def _is_matrix(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == (1, 1)
    return isinstance(layer, nn.Linear)


def main() -> None:
    """Print the table."""
    prepare_torch()
    attention = _Attention.apply
    nn.functional.scaled_dot_product_attention = lambda q, k, v, *_, **__: attention(q, k, v)
    for name, config, side in (("SD 1.x", SD1, 512), ("SDXL", SDXL, 1024)):
        for recomputes in (False, True):
            low, high = (kept_numbers(config, side, r, recomputes=recomputes) for r in (32, 128))
            way = "recomputed" if recomputes else "kept"
            slope = (high - low) / 96
            print(f"{name} {way}: {low - 32 * slope:,.0f} + {slope:,.0f} for each rank")


if __name__ == "__main__":
    main()
