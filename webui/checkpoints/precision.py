"""Choose the device and the number formats a model runs in."""

from __future__ import annotations

import torch

from webui.errors import SettingsError

DEVICE_KINDS = ("cuda", "xpu", "mps", "cpu")
"""In the order they are tried when none is asked for."""


def choose_device(wanted: str = "", device_id: int | None = None) -> torch.device:
    """The device to run on.

    Args:
        wanted: ``cuda``, ``xpu``, ``mps``, ``cpu``, with or without ``:index``; empty = the best.
        device_id: Index of the GPU, ≥ 0; None = the first, or the one in ``wanted``.
    Raises:
        SettingsError: That device is not there.
    """
    kind, _, index = wanted.partition(":")
    kind = "cuda" if kind == "gpu" else kind
    if kind and kind not in DEVICE_KINDS:
        raise SettingsError(
            f"The device {wanted!r} is not known.", f"Choose one of {', '.join(DEVICE_KINDS)}."
        )
    if not kind:
        kind = next(k for k in DEVICE_KINDS if device_count(k))
    count = device_count(kind)
    if not count:
        present = ", ".join(k for k in DEVICE_KINDS if device_count(k))
        raise SettingsError(
            f"The device {kind!r} was asked for, but torch {torch.__version__} sees none.",
            f"Available here: {present}. For a GPU, its driver and a torch built for it are "
            "needed.",
        )
    if kind in ("cpu", "mps"):
        return torch.device(kind)
    number = int(index) if index.isdigit() else (device_id or 0)
    if number >= count:
        raise SettingsError(
            f"GPU number {number} was asked for, but there are {count}, counted from 0.",
            f"Choose --device-id 0 to {count - 1}.",
        )
    return torch.device(kind, number)


def device_count(kind: str) -> int:
    """How many devices of a kind torch can use here."""
    if kind == "cpu":
        return 1
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    xpu = getattr(torch, "xpu", None)
    return xpu.device_count() if xpu is not None and xpu.is_available() else 0


def choose_dtypes(
    device: torch.device,
    *,
    no_half: bool = False,
    no_half_vae: bool = False,
    bf16: bool = False,
) -> tuple[torch.dtype, torch.dtype]:
    """Number formats for a device: float16 on GPUs that calculate it well, else float32.

    Args:
        no_half: float32 everywhere.
        no_half_vae: float32 for the VAE (SD 1.x's overflows in float16 on some pictures).
        bf16: bfloat16 where the device supports it, the CPU included.
    Returns:
        For U-Net and text encoder; for the VAE.
    """
    dtype = torch.float32
    if bf16 and supports_bfloat16(device):
        dtype = torch.bfloat16
    elif device.type != "cpu" and has_quick_half(device):
        dtype = torch.float16
    if no_half:
        dtype = torch.float32
    return dtype, torch.float32 if no_half_vae else dtype


def supports_bfloat16(device: torch.device) -> bool:
    """True where bfloat16 calculations run natively, or on the CPU at least correctly."""
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        return bool(torch.version.hip) or major >= 8
    return device.type in ("cpu", "xpu")


def has_quick_half(device: torch.device) -> bool:
    """True where half precision saves time and is right: on GPUs that calculate float16 well, and
    on CPUs with instructions for bfloat16 (AVX-512 BF16, AMX)."""
    if device.type != "cpu":
        return device.type in ("cuda", "xpu") and not _has_broken_half(device)
    # torch has no public name for these questions
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in asked)


def _has_broken_half(device: torch.device) -> bool:
    """GeForce 16 cards return NaN from float16 convolutions (cuDNN), a fault known since 2022."""
    if device.type != "cuda":
        return False
    name = torch.cuda.get_device_name(device)
    return any(f"GTX {n}" in name for n in ("1630", "1650", "1660"))
