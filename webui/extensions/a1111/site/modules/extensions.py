"""The extensions that are loaded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from webui.extensions.a1111.host import current


def active() -> list[Any]:
    """Those that are switched on."""
    return [
        SimpleNamespace(
            name=loaded.folder.name, path=str(loaded.folder.path), enabled=True,
            canonical_name=loaded.folder.canonical_name, is_builtin=False,
        )
        for loaded in current().folders.values()
    ]  # fmt: skip


def list_extensions() -> None:
    """The program looks by itself."""


def __getattr__(name: str) -> Any:
    if name == "extensions":
        return active()
    if name == "loaded_extensions":
        return {one.canonical_name: one for one in active()}
    if name in ("extensions_dir", "extensions_builtin_dir"):
        from . import paths_internal

        return getattr(paths_internal, name)
    raise AttributeError(f"module 'modules.extensions' has no attribute {name!r}")
