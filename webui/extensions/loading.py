"""Import one part of an extension: fresh each time, with room for relative imports."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from webui.errors import ExtensionError
from webui.extensions.folders import PACKAGES, Extension

Part = Literal["web", "model"]
PACKAGE = "danqing_extensions"
HEAVY = ("torch", "torchvision", "diffusers", "transformers")
"""What the web process never loads: it has to be there in a second or two."""


def import_part(extension: Extension, part: Part) -> ModuleType:
    """Run a part's file and give its module, named ``danqing_extensions.<extension>.<part>``.

    What was imported of the extension before is forgotten first. Other files of its folder are
    reached by relative imports (``from .maths import mean``).

    Raises:
        ExtensionError: It has no such part.
        BaseException: Whatever its file raises.
    """
    file = extension.web if part == "web" else extension.model
    if file is None:
        raise ExtensionError(
            f"The extension {extension.name} has no {part} part.", plugin=extension.name
        )
    package = f"{PACKAGE}.{extension.name}"
    forget(extension.name)
    _make_package(package, extension.path)
    add_packages(extension.path)
    name = f"{package}.{part}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None, "a file that ends in .py"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _without(HEAVY if part == "web" else ()):
            spec.loader.exec_module(module)
    except BaseException:
        forget(extension.name)
        raise
    return module


def forget(name: str) -> None:
    """Forget all modules of an extension, so that the next import reads its files anew."""
    package = f"{PACKAGE}.{name}"
    for known in [m for m in sys.modules if m == package or m.startswith(f"{package}.")]:
        del sys.modules[known]


def add_packages(folder: Path) -> None:
    """Let an extension find the packages of its own folder: after everything else, so that they
    never stand in for what the program has."""
    path = str(folder / PACKAGES)
    if os.path.isdir(path) and path not in sys.path:
        sys.path.append(path)
        importlib.invalidate_caches()


def _make_package(package: str, path: Path) -> None:
    for name, folder in ((PACKAGE, None), (package, path if path.is_dir() else None)):
        if name not in sys.modules:
            module = ModuleType(name)
            module.__path__ = [str(folder)] if folder else []
            sys.modules[name] = module


class _Refuser:
    """An import finder that refuses some packages."""

    def __init__(self, refused: Sequence[str]) -> None:
        self._refused = refused

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] in self._refused:
            raise ImportError(
                f"{name} was imported in the web process, which has to start quickly. Put what "
                "needs it into model.py, or import it inside the function that needs it."
            )
        return None


@contextmanager
def _without(refused: Sequence[str]) -> Iterator[None]:
    """While it lasts, these packages cannot be imported unless they are loaded already."""
    if not refused:
        yield
        return
    refuser: Any = _Refuser(refused)
    sys.meta_path.insert(0, refuser)
    try:
        yield
    finally:
        sys.meta_path.remove(refuser)
