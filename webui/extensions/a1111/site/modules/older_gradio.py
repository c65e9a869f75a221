"""Gradio as extensions for its versions 3 and 4 know it, laid over the present one.

Only modules in A1111 folders get this; see ``webui.extensions.a1111.importing``.
"""

from __future__ import annotations

import functools
import inspect
import types
from abc import ABCMeta
from collections.abc import Callable
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
    "_js": "js",
}
"""Arguments by their older names; '' = there is none any more."""
EVENT_WORDS = frozenset(
    {
        "fn", "inputs", "outputs", "api_name", "scroll_to_output", "show_progress", "queue",
        "batch", "max_batch_size", "preprocess", "postprocess", "cancels", "trigger_mode", "js",
        "concurrency_limit", "concurrency_id",
    }
)  # fmt: skip
"""What an event may be connected with; older words that mean nothing any more are left out."""
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
        **{str(event): older_event(getattr(made, event)) for event in getattr(made, "EVENTS", ())},
    }  # fmt: skip
    own = Meta(made.__name__, (made,), parts)
    return own


def older_event(listener: Callable[..., Any]) -> Callable[..., Any]:
    """An event's method that takes ``_js`` and its like. Nothing of it is offered to API clients:
    the program's own API is apart."""

    @functools.wraps(listener)
    def listen(*args: Any, **kwargs: Any) -> Any:
        if "_js" in kwargs:
            kwargs["js"] = kwargs.pop("_js")
        known = {name: value for name, value in kwargs.items() if name in EVENT_WORDS}
        if isinstance(known.get("show_progress"), bool):
            known["show_progress"] = "full" if known["show_progress"] else "hidden"
        if not isinstance(known.get("api_name"), str):
            known.pop("api_name", None)
        done = listener(*args, **known, api_visibility="private")
        for name in ("then", "success"):
            setattr(done, name, older_event(getattr(done, name)))
        return done

    return listen


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
        if name == "type" and value == "file":
            value = "filepath"
        if name in known and value is not inspect.Parameter.empty:
            found[name] = value
    return found


def _arguments(made: type[Any]) -> frozenset[str]:
    return frozenset(inspect.signature(made.__init__).parameters) - {"self"}


def _block_name(made: type[Any]) -> str:
    base = made.__mro__[1] if hasattr(made, "is_template") else made
    return base.__name__.lower()
