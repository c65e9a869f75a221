"""The VAEs."""

from __future__ import annotations

import os
from typing import Any

from webui.extensions.a1111.host import current


def refresh_vae_list() -> None:
    """The program looks by itself."""


def reload_vae_weights(
    sd_model: Any = None, vae_file: Any = "unspecified", vae_source: Any = None
) -> Any:
    """A job takes the VAE that ``shared.opts.sd_vae`` names when it paints."""
    return sd_model


def clear_loaded_vae() -> None:
    """Memory is looked after by the program."""


def get_filename(filepath: str) -> str:
    """A path's last part."""
    return os.path.basename(filepath)


def get_loaded_vae_name() -> str | None:
    """Name of the VAE that was chosen; None = by the checkpoint."""
    chosen = current().options.data.get("sd_vae")
    return None if chosen in (None, "", "None", "Automatic") else str(chosen)


def __getattr__(name: str) -> Any:
    if name == "vae_dict":
        return {vae: vae for vae in current().names.vaes()}
    if name in ("loaded_vae_file", "base_vae", "checkpoint_info"):
        return None
    raise AttributeError(f"module 'modules.sd_vae' has no attribute {name!r}")
