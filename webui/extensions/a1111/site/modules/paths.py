"""Folders, as older extensions ask for them."""

from __future__ import annotations

from .paths_internal import (
    cwd,
    data_path,
    extensions_builtin_dir,
    extensions_dir,
    models_path,
    modules_path,
    script_path,
    sd_configs_path,
)

__all__ = [
    "cwd", "data_path", "extensions_builtin_dir", "extensions_dir", "models_path",
    "modules_path", "paths", "script_path", "sd_configs_path", "sd_path",
]  # fmt: skip

sd_path = script_path
paths: dict[str, str] = {"Stable Diffusion": script_path}
