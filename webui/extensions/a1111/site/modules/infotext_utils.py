"""Recipes: read, written, and brought into fields."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from typing import Any

from webui.extensions.a1111.host import current
from webui.infotext import parse_infotext
from webui.infotext import quote as quote_value

registered_param_bindings: list[Any] = []
paste_fields: dict[str, dict[str, Any]] = {}


class PasteField(tuple[Any, ...]):
    """A field, and the recipe's key that fills it (or a function of the whole recipe)."""

    def __new__(cls, component: Any, target: Any, *, api: str | None = None) -> PasteField:
        return super().__new__(cls, (component, target))

    def __init__(self, component: Any, target: Any, *, api: str | None = None) -> None:
        self.component = component
        self.api = api
        self.label = target if isinstance(target, str) else None
        self.function = target if callable(target) else None


@dataclass
class ParamBinding:
    """Which button fills which tab."""

    paste_button: Any
    tabname: str
    source_text_component: Any = None
    source_image_component: Any = None
    source_tabname: str | None = None
    override_settings_component: Any = None
    paste_field_names: Any = None


def quote(text: Any) -> str:
    """A value as a recipe says it."""
    return quote_value(text)


def unquote(text: str) -> Any:
    """A value out of a recipe."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_generation_parameters(x: str, skip_fields: Any = None) -> dict[str, Any]:
    """A recipe's prompt, negative prompt and pairs; extensions may change what was read."""
    read = parse_infotext(x)
    found: dict[str, Any] = {
        "Prompt": read.prompt,
        "Negative prompt": read.negative_prompt,
        **read.params,
    }
    for key in skip_fields or ():
        found.pop(key, None)
    current().callbacks.call("infotext_pasted", x, found)
    return found


def add_paste_fields(
    tabname: str, init_img: Any, fields: Any, override_settings_component: Any = None
) -> None:
    """Which fields of a tab recipes fill."""
    paste_fields[tabname] = {
        "init_img": init_img, "fields": fields,
        "override_settings_component": override_settings_component,
    }  # fmt: skip


def register_paste_params_button(binding: ParamBinding) -> None:
    """Keep who wants to send a recipe where; ``connect_paste_params_buttons`` wires it."""
    registered_param_bindings.append(binding)


def connect_paste_params_buttons() -> None:
    """Wire the buttons whose tab's fields are known."""
    for binding in registered_param_bindings:
        fields = paste_fields.get(binding.tabname, {}).get("fields")
        if fields and binding.source_text_component is not None:
            connect_paste(binding.paste_button, fields, binding.source_text_component)
    registered_param_bindings.clear()


def connect_paste(button: Any, fields: Any, input_comp: Any, *args: Any, **kwargs: Any) -> None:
    """A button that brings a recipe into fields."""
    import gradio as gr

    def paste(text: str) -> list[Any]:
        read = parse_generation_parameters(text)
        changes = [value_for(field[1], read) for field in fields]
        return [gr.update() if value is None else gr.update(value=value) for value in changes]

    button.click(paste, [input_comp], [field[0] for field in fields], api_visibility="private")


def value_for(target: Any, read: dict[str, Any]) -> Any:
    """What a recipe says for a key or a function of it; None = nothing."""
    return target(read) if callable(target) else read.get(target)


def create_buttons(tabs_list: list[str]) -> dict[str, Any]:
    """A button for each tab that pictures can be sent to."""
    import gradio as gr

    return {tab: gr.Button(f"Send to {tab}", elem_id=f"{tab}_tab") for tab in tabs_list}


def bind_buttons(buttons: dict[str, Any], send_image: Any, send_generate_info: Any) -> None:
    """Keep what the buttons send."""
    for tab, button in buttons.items():
        source = send_generate_info if not isinstance(send_generate_info, str) else None
        register_paste_params_button(ParamBinding(button, tab, source, send_image))


def image_from_url_text(filedata: Any) -> Any:
    """The picture that a gallery or a file names."""
    from PIL import Image

    if filedata is None:
        return None
    if isinstance(filedata, list):
        return image_from_url_text(filedata[0]) if filedata else None
    if isinstance(filedata, tuple):
        return image_from_url_text(filedata[0])
    if isinstance(filedata, dict) and (filedata.get("is_file") or filedata.get("path")):
        return Image.open(filedata.get("path") or filedata["name"].partition("?")[0])
    if isinstance(filedata, str) and filedata.startswith("data:image/"):
        return Image.open(io.BytesIO(base64.b64decode(filedata.partition(",")[2])))
    return Image.open(filedata) if isinstance(filedata, str) else filedata
