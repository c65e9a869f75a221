"""The device and number types; torch is loaded when somebody asks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from webui.extensions.a1111.host import current


def get_optimal_device_name() -> str:
    """``cuda`` or ``cpu``: where the model process works."""
    return str(current().facts.get("device", "cpu"))


def get_optimal_device() -> Any:
    """As a torch device."""
    import torch

    return torch.device(get_optimal_device_name())


def get_device_for(task: str) -> Any:
    """All tasks work on the same device."""
    return get_optimal_device()


def torch_gc() -> None:
    """Give cached memory of the device back."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def autocast(disable: bool = False) -> AbstractContextManager[Any]:
    """Number types are chosen for each model; nothing is cast meanwhile."""
    return nullcontext()


def without_autocast(disable: bool = False) -> AbstractContextManager[Any]:
    """See ``autocast``."""
    return nullcontext()


def randn(seed: int, shape: Any, generator: Any = None) -> Any:
    """Unit noise of a seed, float32."""
    import torch

    source = torch.Generator("cpu").manual_seed(int(seed))
    return torch.randn(tuple(shape), generator=source).to(get_optimal_device())


def randn_local(seed: int, shape: Any) -> Any:
    """See ``randn``."""
    return randn(seed, shape)


def randn_like(x: Any) -> Any:
    """Unit noise like a tensor."""
    import torch

    return torch.randn_like(x)


def has_mps() -> bool:
    return get_optimal_device_name() == "mps"


class NansException(Exception):
    """Numbers went out of range."""


def test_for_nans(x: Any, where: str) -> None:
    """Refuse a tensor of nothing but NaN.

    Raises:
        NansException: It is one.
    """
    import torch

    if bool(torch.isnan(x).all()):
        raise NansException(f"A tensor with all NaNs was produced in {where}.")


def __getattr__(name: str) -> Any:
    if name in (
        "device",
        "device_interrogate",
        "device_gfpgan",
        "device_esrgan",
        "device_codeformer",
    ):
        return get_optimal_device()
    if name == "cpu":
        import torch

        return torch.device("cpu")
    if name in ("dtype", "dtype_unet", "dtype_vae", "dtype_inference"):
        import torch

        return getattr(torch, str(current().facts.get("dtype", "float32")).removeprefix("torch."))
    if name in ("fp8", "unet_needs_upcast", "force_fp16"):
        return False
    raise AttributeError(f"module 'modules.devices' has no attribute {name!r}")
