"""Gradio as extensions for its versions 3 and 4 know it, laid over the present one.

Only modules in A1111 folders get this; see ``webui.extensions.a1111.importing``.
"""

from __future__ import annotations

import inspect
import types
from abc import ABCMeta
from functools import cache
from typing import Any

import gradio as gr
from gradio.blocks import Block

RENAMED = {"Box": "Group", "Variable": "State", "Carousel": "Gallery", "StatusTracker": "HTML"}
"""Classes by their older names."""
ANOTHER_WORD = {
    "source": "sources",
    "plain": "",
    "mirror_webcam": "",
    "tool": "",
    "brush_radius": "",
    "default": "value",
    "optional": "",
}
"""Arguments by their older names; '' = there is none any more."""
_SHIMS: dict[int, types.ModuleType] = {}


def shim(module: types.ModuleType) -> types.ModuleType:
    """A module of Gradio's, with what older extensions expect of it."""
    if id(module) not in _SHIMS:
        _SHIMS[id(module)] = _Shim(module)
    return _SHIMS[id(module)]


class _Shim(types.ModuleType):
    """Looks like a module of Gradio's."""

    def __init__(self, module: types.ModuleType) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.__dict__["_real"] = module
        self.__dict__["__path__"] = getattr(module, "__path__", [])

    def __getattr__(self, name: str) -> Any:
        real = self.__dict__["_real"]
        if name in ("inputs", "outputs", "components") and not hasattr(real, name):
            return self
        found = getattr(real, RENAMED.get(name, name), None)
        if found is None:
            if hasattr(real, name):
                return None
            raise AttributeError(f"Gradio {gr.__version__} has no {name!r} any more")
        if inspect.ismodule(found) and found.__name__.startswith("gradio"):
            return shim(found)
        if inspect.isclass(found) and issubclass(found, Block) and found is not gr.Blocks:
            return adapted(found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Gradio is shared by the whole page; gradio.{name} stays as it is")

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["_real"])


@cache
def adapted(made: type[Any]) -> type[Any]:
    """A class of Gradio's that forgives arguments it does not know any more and has ``style``."""
    known = _arguments(made)

    class Meta(type(made)):
        """Objects of the present class count as ours, too."""

        def __new__(mcls, name: str, bases: Any, parts: dict[str, Any]) -> Any:
            return ABCMeta.__new__(mcls, name, bases, parts)  # Gradio's writes .pyi files

        def __instancecheck__(cls, other: Any) -> bool:
            return isinstance(other, made) if cls is own else type.__instancecheck__(cls, other)

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        made.__init__(self, *args, **fitting(kwargs, known))

    looks_like(begin, made)

    def style(self: Any, **kwargs: Any) -> Any:
        for name in ("container", "height", "columns", "scale", "min_width"):
            value = kwargs.get(name, kwargs.get("grid") if name == "columns" else None)
            if value is not None and hasattr(self, name):
                setattr(self, name, value)
        return self

    def update(**kwargs: Any) -> Any:
        return gr.update(**fitting(kwargs, known))

    def name_of_block(self: Any) -> str:
        return _block_name(made)

    parts: dict[str, Any] = {
        "__init__": begin, "style": style, "update": staticmethod(update),
        "get_block_name": name_of_block, "__module__": made.__module__,
        "__doc__": made.__doc__,
    }  # fmt: skip
    own = Meta(made.__name__, (made,), parts)
    return own


def looks_like(begin: Any, made: type[Any]) -> None:
    """Give a constructor the signature of the present one: Gradio tells the page of a field what
    stands there."""
    begin.__signature__ = inspect.signature(made.__init__)


def fitting(kwargs: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Arguments as the present version takes them; those it has no use for are left out."""
    found: dict[str, Any] = {}
    for name, value in kwargs.items():
        name = ANOTHER_WORD.get(name, name)
        if name == "sources" and isinstance(value, str):
            value = {"canvas": None}.get(value, ["clipboard" if value == "paste" else value])
        if name in known and value is not inspect.Parameter.empty:
            found[name] = value
    return found


def _arguments(made: type[Any]) -> frozenset[str]:
    names: set[str] = {"value", "choices", "label", "visible", "interactive"}
    for base in made.__mro__:
        if "__init__" in vars(base):
            signature = inspect.signature(base.__init__)
            names |= set(signature.parameters)
            if base is made:
                names = set(signature.parameters) - {"self"}
                break
    return frozenset(names)


def _block_name(made: type[Any]) -> str:
    base = made.__mro__[1] if hasattr(made, "is_template") else made
    return base.__name__.lower()
