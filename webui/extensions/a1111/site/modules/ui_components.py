"""A1111's own kinds of fields, made of Gradio's."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.context import get_blocks_context

from .older_gradio import adapted, looks_like

__all__ = [
    "DropdownEditable", "DropdownMulti", "FormColorPicker", "FormComponent", "FormGroup",
    "FormHTML", "FormRow", "InputAccordion", "ResizeHandleRow", "ToolButton",
]  # fmt: skip


class FormComponent:
    """What these have in common."""

    def get_expected_parent(self) -> Any:
        return gr.Row


def _kind(name: str, made: type[Any], **usual: Any) -> Any:
    """A class of that name that is drawn as another, with other usual arguments."""
    parent = adapted(made)
    kind: Any = type(parent)

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        parent.__init__(self, *args, **{**usual, **kwargs})

    looks_like(begin, made)
    return kind(name, (parent, FormComponent), {"__init__": begin, "__module__": __name__})


ToolButton = _kind("ToolButton", gr.Button, elem_classes=["tool"], min_width=40, scale=0)
ResizeHandleRow = _kind("ResizeHandleRow", gr.Row, elem_classes=["resize-handle-row"])
FormRow = _kind("FormRow", gr.Row)
FormColumn = _kind("FormColumn", gr.Column)
FormGroup = _kind("FormGroup", gr.Group)
FormHTML = _kind("FormHTML", gr.HTML)
FormColorPicker = _kind("FormColorPicker", gr.ColorPicker)
DropdownMulti = _kind("DropdownMulti", gr.Dropdown, multiselect=True)
DropdownEditable = _kind("DropdownEditable", gr.Dropdown, allow_custom_value=True)


class InputAccordion(adapted(gr.Checkbox)):  # type: ignore[misc]
    """A switch with a panel that is open while it is on.

    As a context it is the panel; as a field it is the switch.
    """

    def __init__(self, value: bool = False, setup: bool = False, **kwargs: Any) -> None:
        wanted = {name: kwargs[name] for name in ("label", "elem_id", "visible") if name in kwargs}
        super().__init__(bool(value), **wanted)
        self.accordion_id = f"{kwargs.get('elem_id') or self._id}-panel"
        if get_blocks_context() is None:  # Gradio makes it once more, to answer with its value
            return
        self.panel = gr.Column(visible=bool(value), elem_classes="dq-panel", min_width=0)
        self.change(lambda on: gr.update(visible=bool(on)), self, self.panel, queue=False,
                    show_progress="hidden", api_visibility="private")  # fmt: skip

    def get_block_name(self) -> str:
        return "checkbox"

    def extra(self) -> Any:
        """A place beside the switch."""
        return gr.Column(elem_classes="input-accordion-extra", min_width=0)

    def __enter__(self) -> InputAccordion:
        self.panel.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.panel.__exit__(*error)


looks_like(InputAccordion.__init__, gr.Checkbox)
