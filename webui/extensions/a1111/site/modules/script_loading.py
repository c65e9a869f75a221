"""Loading a file as a module."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from webui.extensions.a1111.host import current

loaded_scripts: dict[str, ModuleType] = {}


def load_module(path: str) -> ModuleType:
    """A file of an extension as a module of its own."""
    file = Path(path)
    host = current()
    owner = host.folders.get(host.caller()[0])
    module = host.imports.module(file, owner.folder.path if owner else file.parent)
    loaded_scripts[path] = module
    return module


def preload_extensions(extensions_dir: str, parser: Any, extension_list: Any = None) -> None:
    """The program has done so already."""
