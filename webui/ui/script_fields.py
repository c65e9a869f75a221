"""Fields of A1111 scripts on the painting tabs: drawn by the scripts, read by us.

They stand on the page as it was built. Drafts, presets and undo know those of plain values under
names of their own, and recipes fill those that scripts name for it. Guests see none of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from webui.extensions.a1111.fences import Fence
from webui.extensions.a1111.runner import A1111, ScriptRunner
from webui.extensions.a1111.script import Script
from webui.services.resolve import AnyRequest
from webui.ui.form_ids import A1111_IDS
from webui.ui.wiring import Values, draws_for_guests, wire

if TYPE_CHECKING:
    from webui.library.inputs import Inputs
    from webui.studio import Studio
    from webui.ui.painting_form import PaintingForm

PICTURE = "picture"
"""Under which an argument that is a picture names its key."""
KEPT = (
    gr.Checkbox, gr.CheckboxGroup, gr.ColorPicker, gr.Dropdown, gr.Number, gr.Radio, gr.Slider,
    gr.Textbox,
)  # fmt: skip
"""Fields whose values are plain, so that drafts keep them."""


@dataclass(frozen=True)
class ScriptFields:
    """What scripts drew on a tab.

    Attributes:
        runner: The tab's scripts; None where nothing was drawn.
        panels: Of the scripts of the menu, by title.
        fence: Around what scripts are asked.
    """

    runner: ScriptRunner | None = None
    panels: dict[str, gr.Column] = field(default_factory=dict[str, gr.Column])
    fence: Fence | None = None

    @property
    def components(self) -> list[Any]:
        """The fields that scripts read."""
        return list(dict.fromkeys(part for _, _, part in self._parts()))

    def _parts(self) -> Iterator[tuple[Script, int, Any]]:
        for script in self.runner.all_in_order if self.runner else ():
            for place, part in enumerate(script.controls or ()):
                yield script, place, part

    @cached_property
    def _kept(self) -> dict[str, tuple[Any, Any]]:
        """Fields of plain values, and what stands in them at first, under names that change with
        the script's title and the field's place and label."""
        return {
            f"script {script.name} {place} {part.label or ''}": (part, script.usual[place])
            for script, place, part in self._parts()
            if isinstance(part, KEPT) and getattr(part, "type", "") != "password"
        }

    def by_name(self) -> dict[str, Any]:
        """Fields that drafts keep, by their names."""
        return {name: part for name, (part, _) in self._kept.items()}

    def usual(self) -> dict[str, Any]:
        """What stands in them on a fresh page."""
        return {name: _shown(part, value) for name, (part, value) in self._kept.items()}

    def read(self, values: Values) -> dict[str, Any]:
        """What stands in them, out of what Gradio handed to a handler."""
        named = self.by_name().items()
        return {name: _shown(part, values[part]) for name, part in named if part in values}

    def write(self, values: Mapping[str, Any]) -> dict[Any, Any]:
        """Changes that put values into them; what does not fit is left out."""
        changes: dict[Any, Any] = {}
        for name, part in self.by_name().items():
            value = _taken(part, values.get(name))
            if value is not None:
                changes[part] = gr.update(value=value)
        return changes

    def pasted(self, pairs: Mapping[str, str]) -> dict[str, Any]:
        """What a recipe says of them, by name: ``infotext_fields`` of the scripts."""
        names = {part: name for name, part in self.by_name().items()}
        found: dict[str, Any] = {}
        for script in self.runner.scripts if self.runner else ():
            for part, target, *_ in script.infotext_fields or ():
                value = self._said(script, target, pairs) if part in names else None
                if value is not None:
                    found[names[part]] = value
        return found

    def _said(self, script: Script, target: Any, pairs: Mapping[str, str]) -> Any:
        if not callable(target):
            return pairs.get(str(target))
        assert self.fence is not None, "there is a runner"
        value = self.fence.call(script.extension, "infotext_fields", target, dict(pairs))[1]
        return value.get("value") if isinstance(value, dict) else value


def draw(studio: Studio, tab: str, menu: gr.Dropdown) -> ScriptFields:
    """Have all scripts draw their fields here; those of the menu are added to it."""
    scripts = studio.extensions.scripts
    runner = scripts.runner(tab) if scripts else None
    if scripts is None or runner is None or scripts.host is None or draws_for_guests():
        return ScriptFields()
    panels = scripts.drawing().draw_scripts(scripts.host, runner)
    menu.choices += [(title, title) for title in panels]
    scripts.drew(tab)
    return ScriptFields(runner, panels, scripts.host.fence)


def tell_of_form(studio: Studio, drawn: ScriptFields, tab: str, form: PaintingForm) -> None:
    """Tell scripts of the form's fields, under A1111's ids."""
    scripts = studio.extensions.scripts
    if drawn.runner is None or scripts is None or scripts.host is None:
        return
    for name, component in form.by_name().items():
        if name in A1111_IDS:
            elem_id = f"{tab}_{A1111_IDS[name]}"
            scripts.drawing().component_drawn(scripts.host, drawn.runner, component, elem_id)


def connect(drawn: ScriptFields, menu: gr.Dropdown) -> None:
    """The chosen script's panel is in sight."""
    if not drawn.panels:
        return

    def show(values: Values) -> dict:
        chosen = values[menu]
        return {panel: gr.update(visible=t == chosen) for t, panel in drawn.panels.items()}

    wire(menu.change, show, [menu], drawn.panels.values(), is_quiet=True)


def asked(drawn: ScriptFields, request: AnyRequest, values: Values, inputs: Inputs) -> AnyRequest:
    """The request with what stands in scripts' fields.

    Raises:
        LibraryError: A picture in a field cannot be kept.
    """
    runner = drawn.runner
    if runner is None:
        return request
    menu = str(values.get(A1111) or "")
    selected = menu if menu in drawn.panels else ""
    pictures: dict[str, str] = {}

    def plain(value: Any) -> Any:
        image = _picture(value)
        if image is None and isinstance(value, dict):
            return {str(name): plain(one) for name, one in value.items()}
        if image is None and isinstance(value, list | tuple):
            return [plain(one) for one in value]
        if image is None:
            return value if _is_json(value) else None
        key = inputs.keep_image(image)
        pictures[f"{PICTURE}_{len(pictures)}"] = key
        return {PICTURE: key, "is_array": not isinstance(value, Image.Image)}

    arguments = {
        script.name: [plain(values.get(one)) for one in script.controls or ()]
        for script in runner.all_in_order
        if script.alwayson or (selected and script.name == selected.lower())
    }
    said = {"selected": selected, "arguments": json.dumps(arguments, ensure_ascii=False)}
    extensions = {**request.extensions, A1111: {**said, **pictures}}
    return request.model_copy(update={"extensions": extensions})


def _choices(part: Any) -> list[Any]:
    return [choice[1] for choice in getattr(part, "choices", None) or ()]


def _shown(part: Any, value: Any) -> Any:
    """A field's value as it is shown; a script may read its number instead."""
    choices = _choices(part)
    is_number = getattr(part, "type", "") == "index" and isinstance(value, int)
    return choices[value] if is_number and value in range(len(choices)) else value


def _taken(part: Any, value: Any) -> Any:
    """A value, or a recipe's text, as a field takes it; None where it does not."""
    if value is None:
        return None
    if isinstance(part, gr.Checkbox):
        return {"true": True, "false": False}.get(str(value).strip().lower())
    if isinstance(part, gr.Slider | gr.Number):
        return _number(part, value)
    if isinstance(part, gr.CheckboxGroup) or getattr(part, "multiselect", False):
        wanted = value if isinstance(value, list) else str(value).split(",")
        wanted = [str(one).strip() for one in wanted]
        return [choice for choice in _choices(part) if str(choice) in wanted]
    if isinstance(part, gr.Radio | gr.Dropdown):
        usual = str(value) if getattr(part, "allow_custom_value", False) else None
        return next((choice for choice in _choices(part) if str(choice) == str(value)), usual)
    return str(value)


def _number(part: Any, value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    low = -math.inf if part.minimum is None else part.minimum
    high = math.inf if part.maximum is None else part.maximum
    if not math.isfinite(number) or not low <= number <= high:
        return None
    return int(number) if number.is_integer() else number


def _picture(value: Any) -> Image.Image | None:
    if isinstance(value, Image.Image):
        return value
    is_array = hasattr(value, "__array_interface__") and getattr(value, "ndim", 0) in (2, 3)
    return Image.fromarray(value) if is_array else None


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
