"""Settings as A1111's scripts declare and read them: ``shared.opts``, ``OptionInfo``.

Values lie in our own options, so that they are saved in config.json under the same keys.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol


class OptionValues(Protocol):
    """Where values lie; ``webui.options.Options`` in the web process."""

    def __getitem__(self, key: str) -> Any: ...

    def as_dict(self) -> dict[str, Any]: ...


class OptionInfo:
    """What a setting is called, looks like and begins with.

    Args:
        component: A class or function that makes its field; None = by the default's type.
        component_args: Arguments of the field, or a function that returns them.
        onchange: Called after the setting was changed.
        section: Id and title of the part of the settings page it stands in.
    """

    def __init__(
        self,
        default: Any = None,
        label: str = "",
        component: Any = None,
        component_args: Any = None,
        onchange: Callable[[], Any] | None = None,
        section: Any = None,
        refresh: Callable[[], Any] | None = None,
        comment_before: str = "",
        comment_after: str = "",
        infotext: str | None = None,
        restrict_api: bool = False,
        category_id: str | None = None,
    ) -> None:
        self.default = default
        self.label = label
        self.component = component
        self.component_args = component_args
        self.onchange = onchange
        self.section = section
        self.refresh = refresh
        self.comment_before = comment_before
        self.comment_after = comment_after
        self.infotext = infotext
        self.restrict_api = restrict_api
        self.category_id = category_id
        self.do_not_save = False

    def info(self, text: str) -> OptionInfo:
        self.comment_after += f" ({text})"
        return self

    def html(self, text: str) -> OptionInfo:
        self.comment_after += text
        return self

    def link(self, label: str, url: str) -> OptionInfo:
        self.comment_before += f" [{label}: {url}]"
        return self

    def js(self, label: str, js_func: str) -> OptionInfo:
        """Kept for its chain; the settings page here has no such buttons."""
        return self

    def needs_restart(self) -> OptionInfo:
        self.comment_after += " (requires restart)"
        return self

    def needs_reload_ui(self) -> OptionInfo:
        self.comment_after += " (requires Reload UI)"
        return self


class OptionHTML(OptionInfo):
    """A line of text between settings; never saved."""

    def __init__(self, text: str) -> None:
        super().__init__(str(text).strip(), label="", component=None)
        self.do_not_save = True


def options_section(section: Any, options: Mapping[str, OptionInfo]) -> dict[str, OptionInfo]:
    """The same options, all of one section (id, title[, category])."""
    for option in options.values():
        option.section = section[:2]
        option.category_id = section[2] if len(section) > 2 else None
    return dict(options)


class _Data(dict[str, Any]):
    """``opts.data``: values by key. What is written into it holds as if it were set, and nobody is
    told."""

    def __init__(self, values: Mapping[str, Any], put: Callable[[str, Any], None]) -> None:
        super().__init__(values)
        self._put = put

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self._put(key, value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value


class ScriptOptions:
    """``shared.opts``: settings as attributes.

    Args:
        values: Where values lie.
        keep: Keeps a changed value; the model process cannot, and passes None.
        call: Calls a function of a script that waits for a change.
    """

    def __init__(
        self,
        values: OptionValues,
        keep: Callable[[str, Any], None] | None = None,
        call: Callable[[Callable[[], Any]], object] = lambda deed: deed(),
    ) -> None:
        put = super().__setattr__
        put("_values", values)
        put("_keep", keep)
        put("_call", call)
        put("_changed", {})
        put("_over", [])
        put("data_labels", {})
        put("_onchange", {})
        put("_seen", {})
        put("restricted_opts", set())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for place in (*reversed(self._over), self._changed, self._values):
            try:
                return place[name]
            except KeyError:
                continue
        if name in self.data_labels:
            return self.data_labels[name].default
        raise AttributeError(f"There is no setting named {name!r} in shared.opts")

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "data_labels":
            super().__setattr__(name, value)
            return
        self.set(name, value)

    def __contains__(self, name: str) -> bool:
        return name in self.data

    @property
    def data(self) -> dict[str, Any]:
        """Every value by its key, settings of extensions included."""
        added = {k: i.default for k, i in self.data_labels.items() if not i.do_not_save}
        values = {**added, **self._values.as_dict(), **self._changed}
        for over in self._over:
            values.update(over)
        return _Data(values, self._changed.__setitem__)

    @property
    def changed_in_job(self) -> dict[str, Any]:
        """What scripts have changed since ``begin_job``, by key."""
        return self._changed

    @contextmanager
    def overridden(self, values: Mapping[str, Any]) -> Generator[None, None, None]:
        """While it lasts, these count more than all others."""
        self._over.append(dict(values))
        try:
            yield
        finally:
            self._over.pop()

    def get_default(self, key: str) -> Any:
        """What an extension's setting begins with; None for others."""
        info = self.data_labels.get(key)
        return None if info is None else info.default

    def add_option(self, key: str, info: OptionInfo) -> None:
        """Declare a setting."""
        self.data_labels[key] = info
        if info.restrict_api:
            self.restricted_opts.add(key)

    def set(self, key: str, value: Any, is_api: bool = False, run_callbacks: bool = True) -> bool:
        """Change a setting; False where it is the same already or may not be changed."""
        if is_api and key in self.restricted_opts:
            return False
        try:
            is_same = getattr(self, key) == value
        except AttributeError:
            is_same = False
        if is_same:
            return False
        if not run_callbacks and key in self._seen:
            self._seen[key] = value
        if self._keep is None:
            self._changed[key] = value
        else:
            self._changed.pop(key, None)
            self._keep(key, value)
        self.look()
        return True

    def look(self) -> None:
        """Call who waits for settings that are others than at the last look."""
        declared = [key for key, info in self.data_labels.items() if info.onchange is not None]
        wanted = dict.fromkeys(
            (*declared, *(key for key, deeds in self._onchange.items() if deeds))
        )
        data = self.data if wanted else {}
        changed = [key for key in wanted if key in self._seen and self._seen[key] != data.get(key)]
        self._seen.clear()
        self._seen.update({key: data.get(key) for key in wanted})
        for key in changed:
            info = self.data_labels.get(key)
            first = [info.onchange] if info is not None and info.onchange is not None else []
            for deed in (*first, *self._onchange.get(key, ())):
                self._call(deed)

    def onchange(self, key: str, func: Callable[[], Any], call: bool = True) -> None:
        """Have a function called after a setting was changed, and now."""
        self._onchange.setdefault(key, []).append(func)
        self.look()
        if call:
            func()

    def let_go(self, is_theirs: Callable[[Callable[[], Any]], bool]) -> None:
        """Forget functions that wait for changes: those of an extension that goes."""
        for key, deeds in self._onchange.items():
            self._onchange[key] = [deed for deed in deeds if not is_theirs(deed)]

    def save(self, filename: str | None = None) -> None:
        """Values are saved as they are changed."""

    def dumpjson(self) -> str:
        """All values as JSON."""
        return json.dumps(self.data, default=str)

    def begin_job(self, values: OptionValues) -> None:
        """Read values from here from now on; changes that the last job made are forgotten. Who
        waits for a setting is told where it is another one than it was."""
        object.__setattr__(self, "_values", values)
        self._changed.clear()
        self.look()
