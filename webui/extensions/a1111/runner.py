"""The scripts of one painting tab: their fields' places in the list of arguments, their moments.

Source:
    A1111 1.10's ``ScriptRunner``: argument 0 is the number of the selected script, counted from
    1; the values of all scripts' fields follow, in the order in which they were drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webui.errors import ExtensionError
from webui.extensions.a1111.fences import Fence
from webui.extensions.a1111.script import AlwaysVisible, Script, ScriptClass

A1111 = "a1111"
"""Under which requests carry scripts' arguments, and messages their folders."""


@dataclass(frozen=True)
class ScriptArguments:
    """What one job says to scripts, as it travels with the job; plain JSON.

    Attributes:
        selected: Title of the script that does the job; empty = none.
        arguments: Values of each script, by its title in lower case.
    """

    selected: str = ""
    arguments: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        return {
            "selected": self.selected,
            "arguments": {title: list(values) for title, values in self.arguments.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ScriptArguments:
        """What ``to_json`` wrote; missing parts are empty."""
        return cls(str(data.get("selected") or ""), dict(data.get("arguments") or {}))


class ScriptRunner:
    """The scripts of one tab.

    Args:
        classes: What was found in script files, in order.
        is_img2img: Which tab.
    """

    def __init__(
        self, fence: Fence, classes: Iterable[ScriptClass] = (), *, is_img2img: bool = False
    ) -> None:
        self._fence = fence
        self.is_img2img = is_img2img
        self.scripts: list[Script] = []
        self.alwayson_scripts: list[Script] = []
        self.selectable_scripts: list[Script] = []
        self.titles: list[str] = []
        self.inputs: list[Any] = [None]
        self.infotext_fields: list[Any] = []
        self.paste_field_names: list[str] = []
        for found in classes:
            self._add(found)

    def _add(self, found: ScriptClass) -> None:
        done, script = self._fence.call(found.owner, "__init__", found.made)
        if not done:
            return
        script.extension, script.filename = found.owner, str(found.file)
        script.is_txt2img, script.is_img2img = not self.is_img2img, self.is_img2img
        script.tabname = "img2img" if self.is_img2img else "txt2img"
        done, shown = self._fence.call(found.owner, "show", script.show, self.is_img2img)
        if not done or shown is False or shown is None:
            return
        done, title = self._fence.call(found.owner, "title", script.title)
        if not done:
            return
        script.name = str(title).lower()
        if any(other.name == script.name for other in self.scripts):
            self._fence.report(found.owner, "title", ValueError(f"«{title}» is taken already"))
            return
        self.scripts.append(script)
        script.alwayson = shown is AlwaysVisible
        if script.alwayson:
            self.alwayson_scripts.append(script)
        else:
            self.selectable_scripts.append(script)
            self.titles.append(str(title))

    @property
    def all_in_order(self) -> list[Script]:
        """Those that are always on, then those in the menu: the order of their arguments."""
        return [*self.alwayson_scripts, *self.selectable_scripts]

    def script(self, title: str) -> Script | None:
        """A script by its title, capitals aside."""
        wanted = title.lower()
        return next((script for script in self.scripts if script.name == wanted), None)

    def find(self, title: str, *, is_alwayson: bool) -> Script:
        """As ``script``.

        Raises:
            ExtensionError: There is none of that kind.
        """
        script = self.script(title)
        if script is None or script.alwayson is not is_alwayson:
            raise ExtensionError(
                f"No script called {title!r} is loaded for {self._tab}.",
                "Put the extension back that brings it, or choose another script.",
            )
        return script

    @property
    def _tab(self) -> str:
        return "img2img" if self.is_img2img else "txt2img"

    def keep_controls(self, script: Script, controls: Sequence[Any], usual: Sequence[Any]) -> None:
        """A script's fields were drawn: they are the next ones in the list.

        Args:
            usual: What stands in them at first.
        """
        script.args_from = len(self.inputs)
        self.inputs += controls
        script.args_to = len(self.inputs)
        script.controls, script.usual = list(controls), tuple(usual)

    def forget_controls(self) -> None:
        """The fields will be drawn anew."""
        self.inputs[:] = [None]
        self.infotext_fields.clear()
        self.paste_field_names.clear()

    @property
    def recipe_keys(self) -> set[str]:
        """Keys of recipes that scripts bring into their fields."""
        keys = {target for _, target, *_ in self.infotext_fields if isinstance(target, str)}
        return keys | set(self.paste_field_names)

    def list_of(self, job: ScriptArguments) -> list[Any]:
        """The list of all arguments for a job; every script gets its share of it.

        A script that the job does not name has none.
        """
        titles = [script.name for script in self.selectable_scripts]
        chosen = job.selected.lower()
        listed: list[Any] = [titles.index(chosen) + 1 if chosen in titles else 0]
        for script in self.all_in_order:
            values = job.arguments.get(script.name or "", ())
            script.args_from = len(listed)
            listed += values
            script.args_to = len(listed)
        return listed

    def arguments_of(self, script: Script, p: Any) -> list[Any]:
        """A script's share of a job's arguments."""
        return list(p.script_args[script.args_from or 0 : script.args_to or 0])

    def run(self, p: Any, *args: Any) -> Any:
        """Have the selected script do the job.

        Returns:
            Its ``Processed``; None when none is selected, or it leaves the job to be painted as
            usual.
        Raises:
            Exception: Whatever the script raises: there is nothing else to paint.
        """
        number = int(args[0]) if args and args[0] else 0
        if not 0 < number <= len(self.selectable_scripts):
            return None
        script = self.selectable_scripts[number - 1]
        return script.run(p, *args[script.args_from or 0 : script.args_to or 0])

    def call(self, method: str, p: Any, *before: Any, **kwargs: Any) -> None:
        """Call a method of all scripts that are always on and have one of their own.

        Args:
            before: What stands between ``p`` and the script's arguments.
        """
        for script in self.alwayson_scripts:
            deed = getattr(script, method, None)
            if deed is None or getattr(type(script), method, None) is getattr(Script, method, None):
                continue
            args = self.arguments_of(script, p)
            self._fence.call(script.extension, method, deed, p, *before, *args, **kwargs)

    def has(self, *methods: str) -> bool:
        """True when some script that is always on has one of these methods."""
        return any(
            getattr(type(script), method, None) is not getattr(Script, method)
            for script in self.alwayson_scripts
            for method in methods
        )

    # The names that extensions call

    def setup_scrips(self, p: Any, *, is_ui: bool = True) -> None:
        """A1111's own spelling."""
        self.call("setup", p)

    def before_process(self, p: Any) -> None:
        self.call("before_process", p)

    def process(self, p: Any) -> None:
        self.call("process", p)

    def before_process_batch(self, p: Any, **kwargs: Any) -> None:
        self.call("before_process_batch", p, **kwargs)

    def process_batch(self, p: Any, **kwargs: Any) -> None:
        self.call("process_batch", p, **kwargs)

    def postprocess(self, p: Any, processed: Any) -> None:
        self.call("postprocess", p, processed)

    def postprocess_batch(self, p: Any, images: Any, **kwargs: Any) -> None:
        self.call("postprocess_batch", p, images=images, **kwargs)

    def postprocess_image(self, p: Any, pp: Any) -> None:
        self.call("postprocess_image", p, pp)
