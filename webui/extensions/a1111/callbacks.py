"""Functions that scripts register for moments of the program, and how they are called.

Source:
    A1111 1.10's ``script_callbacks``: names, arguments and order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from webui.extensions.a1111.fences import Fence
from webui.extensions.a1111.folder import A1111Folder, in_order

CATEGORIES = (
    "app_started", "before_reload", "model_loaded", "ui_tabs", "ui_train_tabs", "ui_settings",
    "before_image_saved", "image_saved", "extra_noise", "cfg_denoiser", "cfg_denoised",
    "cfg_after_cfg", "before_component", "after_component", "image_grid", "infotext_pasted",
    "script_unloaded", "before_ui", "list_optimizers", "list_unets", "before_token_counter",
)  # fmt: skip
NEVER_CALLED = frozenset({"ui_train_tabs", "list_optimizers", "list_unets"})
"""Moments that do not exist here; to wait for one of them is told among a folder's notes."""
REVERSED = frozenset({"script_unloaded", "before_ui"})
"""Called in the reverse of the order in which they were registered."""


@dataclass(frozen=True)
class Callback:
    """A registered function.

    Attributes:
        name: ``<extension>/<file.py>/<category>[/<name>][-n]``, as metadata and options say it.
        owner: The extension's canonical name.
        file: The script that registered it.
    """

    deed: Callable[..., Any]
    name: str
    owner: str
    file: str


@dataclass
class Callbacks:
    """All functions by category.

    Attributes:
        fence: Calls them.
        folders: Of the extensions, by canonical name, for the order their metadata asks for.
        first: Names of callbacks of a category that people want before all others.
    """

    fence: Fence
    folders: dict[str, A1111Folder] = field(default_factory=dict[str, A1111Folder])
    first: Callable[[str], Iterable[str]] = lambda category: ()
    _by_category: dict[str, list[Callback]] = field(default_factory=dict[str, list[Callback]])
    _sorted: dict[str, list[Callback]] = field(default_factory=dict[str, list[Callback]])

    def add(
        self, category: str, deed: Callable[..., Any], owner: str, file: str, name: str | None
    ) -> None:
        """Register a function."""
        listed = self._by_category.setdefault(category, [])
        full = f"{owner}/{file}/{category}" + (f"/{name}" if name else "")
        count = sum(one.name.rpartition("-")[0] == full or one.name == full for one in listed)
        listed.append(Callback(deed, f"{full}-{count + 1}" if count else full, owner, file))
        self._sorted.pop(category, None)

    def has(self, category: str) -> bool:
        """True when somebody waits for this moment."""
        return bool(self._by_category.get(category))

    def of(self, category: str) -> list[Callback]:
        """The functions of a category in the order in which they are called."""
        if category not in self._sorted:
            listed = self._in_order(category, self._by_category.get(category, []))
            self._sorted[category] = listed[::-1] if category in REVERSED else listed
        return list(self._sorted[category])

    def _in_order(self, category: str, listed: list[Callback]) -> list[Callback]:
        """By metadata's ``[callbacks/…]`` sections, then those that people want first."""
        by_name = {one.name: one for one in listed}
        before: dict[str, list[Callback]] = {one.name: [] for one in listed}
        for one in listed:
            folder = self.folders.get(one.owner)
            if folder is None:
                continue
            section = f"callbacks/{one.name}"
            for word in folder.metadata.words("after", section):
                before[one.name] += [by_name[word]] if word in by_name else []
            for word in folder.metadata.words("before", section):
                if word in before:
                    before[word].append(one)
        ordered = in_order(listed, lambda one: before[one.name])
        wanted = list(self.first(category))
        return sorted(ordered, key=lambda o: wanted.index(o.name) if o.name in wanted else 1 << 30)

    def call(self, category: str, *args: Any, **kwargs: Any) -> list[Any]:
        """Call all functions of a category; a failure is reported and the others are called.

        Returns:
            What those that did not fail returned.
        """
        return [value for _, value in self.called(category, *args, **kwargs)]

    def called(self, category: str, *args: Any, **kwargs: Any) -> Iterator[tuple[Callback, Any]]:
        """As ``call``, one at a time, with who returned it."""
        for one in self.of(category) if self.has(category) else ():
            done, value = self.fence.call(one.owner, f"on_{category}", one.deed, *args, **kwargs)
            if done:
                yield one, value

    def remove(self, deed: Callable[..., Any]) -> None:
        """Take a function out of all categories."""
        self._keep(lambda one: one.deed is not deed)

    def remove_of_file(self, owner: str, file: str) -> None:
        """Take out what one script registered."""
        self._keep(lambda one: (one.owner, one.file) != (owner, file))

    def remove_of(self, owner: str) -> None:
        """Take out what one extension registered."""
        self._keep(lambda one: one.owner != owner)

    def clear(self) -> None:
        """Take out everything."""
        self._keep(lambda one: False)

    def _keep(self, wanted: Callable[[Callback], bool]) -> None:
        for category, listed in self._by_category.items():
            self._by_category[category] = [one for one in listed if wanted(one)]
        self._sorted.clear()
