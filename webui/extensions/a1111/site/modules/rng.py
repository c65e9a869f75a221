"""Noise."""

from __future__ import annotations

from typing import Any

from .devices import randn, randn_like, randn_local

__all__ = ["create_generator", "randn", "randn_like", "randn_local", "slerp"]


def create_generator(seed: int) -> Any:
    """A source of numbers."""
    import torch

    return torch.Generator("cpu").manual_seed(int(seed))


def slerp(val: float, low: Any, high: Any) -> Any:
    """Between two noises along the arc that joins them (Shoemake 1985)."""
    import torch

    a = low / torch.norm(low, dim=1, keepdim=True)
    b = high / torch.norm(high, dim=1, keepdim=True)
    dot = (a * b).sum(1).clamp(-1, 1)
    if float(dot.mean()) > 0.9995:
        return low * val + high * (1 - val)
    angle = torch.acos(dot)
    first = (torch.sin((1.0 - val) * angle) / torch.sin(angle)).unsqueeze(1) * low
    return first + (torch.sin(val * angle) / torch.sin(angle)).unsqueeze(1) * high
