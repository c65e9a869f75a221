"""The VAEs."""

from __future__ import annotations

from typing import Any

from webui.extensions.a1111.host import current


def refresh_vae_list() -> None:
    """The program looks by itself."""


def __getattr__(name: str) -> Any:
    if name == "vae_dict":
        return {vae: vae for vae in current().names.vaes()}
    if name in ("loaded_vae_file", "base_vae", "checkpoint_info"):
        return None
    raise AttributeError(f"module 'modules.sd_vae' has no attribute {name!r}")
