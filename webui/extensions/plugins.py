"""The extensions that are loaded in one process, and how they are asked.

pluggy checks what they join and with which arguments; the calls are made here, one by one, so that
each has a fence of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pluggy

from webui.errors import ExtensionError
from webui.extensions.fence import PASSES, REFUSALS, Fence
from webui.extensions.note import label
from webui.hookspecs import MOMENTS, PROJECT, Hooks, Process

Value = TypeVar("Value")
Own = Mapping[str, Mapping[str, Any]]
"""Arguments that differ from extension to extension; those that are not in it are not asked."""
Fits = Callable[[Any, Any], str]
"""(before, answer) to what is wrong with the answer, '' when it can take the place."""


@dataclass(frozen=True)
class _Joined:
    """One extension's function for one moment."""

    plugin: str
    moment: str
    function: Callable[..., Any]
    takes: tuple[str, ...]
    seconds: float
    note: bytes
    passes: tuple[type[BaseException], ...]
    order: tuple[bool, bool, str]


class Plugins:
    """What is loaded.

    Args:
        process: Whose moments are asked; hooks of the other process are left alone.
        fence: Around every call.
    """

    def __init__(self, process: Process, fence: Fence) -> None:
        self.fence = fence
        self._process = process
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._table: dict[str, tuple[_Joined, ...]] = {}
        self._names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are loaded."""
        return self._names

    def add(self, name: str, plugin: object) -> None:
        """Take an extension in; on an error nothing is changed.

        Args:
            plugin: A module or an object whose functions are marked ``@hook``.
        Raises:
            ExtensionError: It joins a moment that does not exist, with wrong arguments, or none.
        """
        if name in self._names:
            raise ExtensionError(f"An extension called {name} is loaded already.", plugin=name)
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
            joined = list(self._joined(name))
        except (pluggy.PluginValidationError, ExtensionError) as err:
            self._manager.unregister(name=name)
            raise ExtensionError(
                f"The hooks of the extension {name} do not fit: {err}",
                "docs/extensions.md lists every moment and its arguments.",
                plugin=name,
            ) from err
        self._names = (*self._names, name)
        self._put(joined)

    def remove(self, name: str) -> None:
        """Let go of an extension; nothing happens when it is not loaded."""
        if name in self._names:
            self._manager.unregister(name=name)
            self._names = tuple(other for other in self._names if other != name)
            self._table = {
                moment: tuple(one for one in joined if one.plugin != name)
                for moment, joined in self._table.items()
            }

    def _joined(self, name: str) -> Iterator[_Joined]:
        plugin = self._manager.get_plugin(name)
        callers = self._manager.get_hookcallers(plugin) or []
        if not callers:
            raise ExtensionError("no function is marked @hook", plugin=name)
        for caller in callers:
            moment = MOMENTS[caller.name]
            for found in caller.get_hookimpls():
                if found.plugin_name != name:
                    continue
                if found.hookwrapper or found.wrapper:
                    raise ExtensionError(f"{caller.name} is a wrapper, which none may be")
                if moment.process == self._process:
                    yield _Joined(
                        name, caller.name, found.function, tuple(found.argnames), moment.seconds,
                        label(name, caller.name, moment.seconds),
                        REFUSALS if moment.may_refuse else PASSES,
                        (not found.tryfirst, found.trylast, name),
                    )  # fmt: skip

    def _put(self, joined: list[_Joined]) -> None:
        table = dict(self._table)
        for one in joined:
            both = (*table.get(one.moment, ()), one)
            table[one.moment] = tuple(sorted(both, key=lambda other: other.order))
        self._table = table

    def joins(self, moment: str, among: Collection[str] | None = None) -> bool:
        """True when anybody would be asked."""
        return any(among is None or one.plugin in among for one in self._table.get(moment, ()))

    def knows(self, name: str, moments: Collection[str]) -> bool:
        """True when an extension joins one of these moments, of whichever process."""
        callers = self._manager.get_hookcallers(self._manager.get_plugin(name)) or []
        return any(caller.name in moments for caller in callers)

    def tell(self, moment: str, own: Own | None = None, **shared: Any) -> None:
        """A moment whose answers are ignored.

        Args:
            own: None = everybody is asked.
        """
        for one in self._table.get(moment, ()):
            if own is None or one.plugin in own:
                self._call(one, shared, own)

    def list(
        self, moment: str, own: Own | None = None, items: Any = object, /, **shared: Any
    ) -> list[tuple[str, Any]]:
        """A moment that answers with lists: extension and item, for all items.

        Args:
            items: Their type, or types; others count as a failure.
        """
        found: list[tuple[str, Any]] = []
        for one in self._table.get(moment, ()):
            if own is None or one.plugin in own:
                answer = self._call(one, shared, own)
                if answer is not None and not isinstance(answer, (list, tuple)):
                    told = f"it answered with {type(answer).__name__}; a list is needed"
                    self.fence.record(one.plugin, moment, told)
                    continue
                for item in answer or ():
                    if isinstance(item, items):
                        found.append((one.plugin, item))
                    else:
                        told = f"it answered with a list that holds a {type(item).__name__}"
                        self.fence.record(one.plugin, moment, told)
        return found

    def change(
        self, moment: str, value: Value, own: Own | None = None, fits: Fits | None = None,
        **shared: Any,
    ) -> Value:  # fmt: skip
        """A moment whose answers take the place of its first argument, one after the other.

        Args:
            value: The first argument.
            fits: Asked of every answer; one that does not fit counts as a failure.
        """
        for one in self._table.get(moment, ()):
            if own is not None and one.plugin not in own:
                continue
            answer = self._call(one, {_FIRST[moment]: value, **shared}, own)
            if answer is None:
                continue
            wrong = _same_type(value, answer) if fits is None else fits(value, answer)
            if wrong:
                self.fence.record(one.plugin, moment, wrong)
            else:
                value = answer
        return value

    def _call(self, one: _Joined, shared: Mapping[str, Any], own: Own | None) -> Any:
        if self.fence.left_out(one.plugin):
            return None
        given = {**shared, **own[one.plugin]} if own is not None else shared
        call = partial(one.function, **{name: given[name] for name in one.takes})
        return self.fence.call_labelled(
            one.plugin, one.moment, one.note, one.seconds, call, one.passes
        )


def _first_argument(moment: str) -> str:
    code = vars(Hooks)[moment].__code__
    return code.co_varnames[1] if code.co_argcount > 1 else ""


_FIRST = {name: _first_argument(name) for name in MOMENTS}


def _same_type(before: Any, answer: Any) -> str:
    if isinstance(answer, type(before)):
        return ""
    return f"it answered with {type(answer).__name__}; {type(before).__name__} is needed"
