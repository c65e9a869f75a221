"""Choose the device and the number formats a model runs in."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from webui.errors import SettingsError

DEVICE_KINDS = ("cuda", "xpu", "mps", "cpu")
"""In the order they are tried when none is asked for."""


@dataclass(frozen=True)
class PrecisionPlan:
    """Number formats of a loaded model.

    Attributes:
        dtype: U-Net and text encoder.
        vae_dtype: VAE; SD 1.x's overflows in float16 on some pictures, so it can differ.
        compute_dtype: What the U-Net should calculate in; differs from dtype only for
            ``upcast_sampling``.
    """

    dtype: torch.dtype
    vae_dtype: torch.dtype
    compute_dtype: torch.dtype


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


def choose_precision(
    device: torch.device,
    *,
    no_half: bool = False,
    no_half_vae: bool = False,
    bf16: bool = False,
    upcast: bool = False,
) -> PrecisionPlan:
    """Number formats for a device.

    float16 on GPUs that calculate it well, else float32. bfloat16 when asked for and supported.

    Args:
        no_half: float32 everywhere.
        no_half_vae: float32 for the VAE.
        bf16: bfloat16 instead of float16.
        upcast: Keep weights in half but calculate the U-Net in float32.
    """
    half = torch.float16
    if bf16 and supports_bfloat16(device):
        half = torch.bfloat16
    is_cpu_bf16 = device.type == "cpu" and half is torch.bfloat16
    use_half = not no_half and (device.type in ("cuda", "xpu") or is_cpu_bf16)
    if device.type == "cuda" and half is torch.float16 and _has_broken_half(device):
        use_half = False
    dtype = half if use_half else torch.float32
    vae_dtype = torch.float32 if no_half_vae or not use_half else half
    compute = torch.float32 if upcast else dtype
    return PrecisionPlan(dtype, vae_dtype, compute)


def supports_bfloat16(device: torch.device) -> bool:
    """True where bfloat16 calculations run natively, or on the CPU at least correctly."""
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        return bool(torch.version.hip) or major >= 8
    return device.type in ("cpu", "xpu")


def _has_broken_half(device: torch.device) -> bool:
    """GeForce 16 cards return NaN from float16 convolutions (cuDNN), a fault known since 2022."""
    name = torch.cuda.get_device_name(device)
    return any(f"GTX {n}" in name for n in ("1630", "1650", "1660"))
