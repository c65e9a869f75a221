"""How code of A1111 folders is imported: its scripts, its own packages, and what it finds.

The ``modules`` package lies in ``site/``, which is on ``sys.path`` only while such folders are
loaded. Modules in their folders see Gradio through a shim for the older versions they were
written for (``modules/older_gradio.py``); nobody else does.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from webui.extensions.loading import add_packages

SITE = Path(__file__).resolve().parent / "site"
OURS = ("modules", "launch")
"""Top names of what lies in ``site/``."""


class ExtensionLoader(importlib.machinery.SourceFileLoader):
    """Runs a module with an ``import`` that hands out Gradio's shim."""

    def exec_module(self, module: types.ModuleType) -> None:
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": import_for_older}
        super().exec_module(module)


def import_for_older(
    name: str,
    globals: Any = None,
    locals: Any = None,
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> Any:
    """``__import__`` for modules of A1111 folders."""
    found = builtins.__import__(name, globals, locals, fromlist, level)
    if level == 0 and name.split(".")[0] == "gradio":
        return importlib.import_module("modules.older_gradio").shim(found)
    return found


class ExtensionFinder(importlib.abc.MetaPathFinder):
    """Finds modules that lie in A1111 folders and has them run by ``ExtensionLoader``.

    Args:
        roots: The folders; may grow.
    """

    def __init__(self, roots: list[Path]) -> None:
        self.roots = roots

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """See ``importlib.abc.MetaPathFinder``."""
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        if not self.holds(Path(spec.origin)):
            return None
        spec.loader = ExtensionLoader(fullname, spec.origin)
        return spec

    def holds(self, file: Path) -> bool:
        """True for a file in one of the folders."""
        return any(file.is_relative_to(root) for root in self.roots)


class Imports:
    """What ``sys`` knows of A1111 folders while they are loaded; ``close`` takes it back."""

    def __init__(self) -> None:
        self.finder = ExtensionFinder([])
        self._kept: dict[str, types.ModuleType] = {}
        self._present: list[Path] = []

    def open(self) -> None:
        """Make ``modules`` importable."""
        self._kept = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_ours(name)}
        sys.path.insert(0, str(SITE))
        sys.meta_path.insert(0, self.finder)
        importlib.invalidate_caches()

    def close(self) -> None:
        """Leave ``sys`` as ``open`` found it, without what came from A1111 folders."""
        sys.path.remove(str(SITE))
        sys.meta_path.remove(self.finder)
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if _is_ours(name) or (file and self.finder.holds(Path(file))):
                sys.modules.pop(name, None)
        sys.modules.update(self._kept)

    def forget(self, folder: Path) -> None:
        """Drop modules of one folder, so that they are read again."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(folder):
                sys.modules.pop(name, None)

    @property
    def present(self) -> Path | None:
        """The folder whose code is being loaded."""
        return self._present[-1] if self._present else None

    @contextmanager
    def within(self, folder: Path) -> Generator[None, None, None]:
        """Its folder first on ``sys.path``, and what ``scripts.basedir()`` answers."""
        if folder not in self.finder.roots:
            self.finder.roots.append(folder)
        add_packages(folder)
        before = list(sys.path)
        sys.path.insert(0, str(folder))
        self._present.append(folder)
        try:
            yield
        finally:
            self._present.pop()
            sys.path[:] = [p for p in sys.path if p != str(folder) or p in before]

    def module(self, file: Path, folder: Path) -> types.ModuleType:
        """Run a file as a module of its own; it is in ``sys.modules`` under a name of its own only
        (dataclasses and pickles look there).

        Raises:
            BaseException: Whatever the file raises.
        """
        if not self.finder.holds(file):
            self.finder.roots.append(folder)
        name = f"a1111_scripts.{folder.name}.{file.stem}"
        loader = ExtensionLoader(name, str(file))
        spec = importlib.util.spec_from_file_location(name, file, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module


def _is_ours(name: str) -> bool:
    return name.split(".")[0] in OURS


class Guarded(types.ModuleType):
    """A module whose functions and classes stay what they are.

    Scripts that put others in their place count on the inside of A1111's samplers and U-Net; with
    ours, pictures would come out that nobody asked for.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if callable(self.__dict__.get(name)) and not name.startswith("__"):
            raise PatchRefused(
                f"It replaces {self.__name__}.{name}, a part of A1111's inside that works "
                "otherwise here"
            )
        super().__setattr__(name, value)


class PatchRefused(ImportError):
    """An extension wants to change, or needs, the inside of A1111; that cannot work here."""


def guard(name: str) -> None:
    """Let nobody replace the functions and classes of a module; called at its end."""
    sys.modules[name].__class__ = Guarded
