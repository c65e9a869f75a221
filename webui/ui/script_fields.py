"""Fields of A1111 scripts on the painting tabs: drawn by the scripts, read by us.

They stand on the page as it was built; a folder that is dropped in later has its fields after the
next start. Guests see none of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from webui.extensions.a1111.runner import ScriptRunner
from webui.services.extensions.scripts import A1111
from webui.services.resolve import AnyRequest
from webui.ui.form_ids import A1111_IDS
from webui.ui.wiring import Values, draws_for_guests, wire

if TYPE_CHECKING:
    from webui.library.inputs import Inputs
    from webui.studio import Studio
    from webui.ui.painting_form import PaintingForm

PICTURE = "picture"
"""Under which an argument that is a picture names its key."""


@dataclass(frozen=True)
class ScriptFields:
    """What scripts drew on a tab.

    Attributes:
        runner: The tab's scripts; None where nothing was drawn.
        panels: Of the scripts of the menu, by title.
    """

    runner: ScriptRunner | None = None
    panels: dict[str, gr.Column] = field(default_factory=dict[str, gr.Column])

    @property
    def components(self) -> list[Any]:
        """The fields that scripts read."""
        scripts = self.runner.all_in_order if self.runner else []
        return list(dict.fromkeys(c for script in scripts for c in script.controls or ()))


def draw(studio: Studio, tab: str, menu: gr.Dropdown) -> ScriptFields:
    """Have all scripts draw their fields here; those of the menu are added to it."""
    scripts = studio.extensions.scripts
    runner = scripts.runner(tab) if scripts else None
    if scripts is None or runner is None or scripts.host is None or draws_for_guests():
        return ScriptFields()
    panels = scripts.drawing().draw_scripts(scripts.host, runner)
    menu.choices += [(title, title) for title in panels]
    scripts.drew(tab)
    return ScriptFields(runner, panels)


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
