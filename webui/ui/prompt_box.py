"""Prompt, negative prompt, their token counters, and the styles beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import WebUIError
from webui.prompts.styles import Style, apply_styles
from webui.ui.cards import esc
from webui.ui.tab_ids import elem_id
from webui.ui.texts import label, language_of, say
from webui.ui.wiring import Values, tell, wire

if TYPE_CHECKING:
    from webui.studio import Studio


@dataclass(frozen=True)
class PromptBox:
    """The components; the style editor is a small panel that opens below."""

    prompt: gr.Textbox
    prompt_tokens: gr.HTML
    negative_prompt: gr.Textbox
    negative_tokens: gr.HTML


@dataclass(frozen=True)
class StyleRow:
    """Choosing, applying, saving and deleting styles.

    Attributes:
        back: Brings back the style that was deleted last, which ``gone`` holds.
    """

    styles: gr.Dropdown
    apply: gr.Button
    edit: gr.Button
    editor: gr.Column
    is_open: gr.State
    name: gr.Dropdown
    save: gr.Button
    delete: gr.Button
    back: gr.Button
    gone: gr.State


def draw_prompts(tab: str) -> PromptBox:
    """Both text boxes with their counters."""
    with gr.Group(elem_classes="dq-prompts"):
        prompt_tokens = gr.HTML(counter(0, 75), elem_classes="dq-counter")
        prompt = gr.Textbox(
            label=label("prompt"),
            placeholder=label("prompt_hint"),
            lines=4,
            max_lines=14,
            elem_id=elem_id(tab, "prompt"),
        )
    with gr.Group(elem_classes="dq-prompts"):
        negative_tokens = gr.HTML(counter(0, 75), elem_classes="dq-counter")
        negative = gr.Textbox(
            label=label("negative_prompt"),
            placeholder=label("negative_hint"),
            lines=2,
            max_lines=10,
            elem_id=elem_id(tab, "negative"),
        )
    return PromptBox(prompt, prompt_tokens, negative, negative_tokens)


def draw_styles(names: list[str], tab: str) -> StyleRow:
    """The styles menu and its editor."""
    with gr.Row(elem_classes="dq-tight"):
        styles = gr.Dropdown(
            names, value=[], multiselect=True, label=label("styles"),
            elem_id=elem_id(tab, "styles"), scale=8,
            allow_custom_value=True,
        )  # fmt: skip
        apply = icon_button("dq-style-apply", tab)
        edit = icon_button("dq-style-edit", tab)
    with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as editor:
        name = gr.Dropdown(
            names, value=None, label=label("style_name"), allow_custom_value=True,
            elem_id=elem_id(tab, "style-name"),
        )  # fmt: skip
        with gr.Row():
            save = gr.Button(label("style_save"), size="sm", elem_id=elem_id(tab, "style-save"))
            delete = gr.Button(
                label("style_delete"),
                size="sm",
                variant="stop",
                elem_id=elem_id(tab, "style-delete"),
            )
    back = gr.Button(visible=False, size="sm", elem_id=elem_id(tab, "style-back"))
    is_open, gone = gr.State(False), gr.State(None)
    return StyleRow(styles, apply, edit, editor, is_open, name, save, delete, back, gone)


def connect(box: PromptBox, clear: gr.Button) -> None:
    """The button that empties both boxes."""

    def empty(_values: Values) -> dict:
        return {box.prompt: "", box.negative_prompt: ""}

    wire(clear.click, empty, [], [box.prompt, box.negative_prompt], for_guests=True)


def connect_styles(row: StyleRow, box: PromptBox, studio: Studio) -> None:
    """Open the editor, write styles into the prompts, save and delete them."""

    def toggle_editor(values: Values) -> dict:
        names = list(studio.styles.by_name())
        chosen = (values[row.styles] or [None])[-1]
        is_open = not values[row.is_open]
        return {
            row.is_open: is_open,
            row.editor: gr.update(visible=is_open),
            row.name: gr.update(choices=names, value=chosen),
        }

    def write_into_prompt(values: Values) -> dict:
        known = studio.styles.by_name()
        chosen = [known[name] for name in values[row.styles] or [] if name in known]
        return {
            box.prompt: apply_styles(values[box.prompt], [s.prompt for s in chosen]),
            box.negative_prompt: apply_styles(
                values[box.negative_prompt], [s.negative_prompt for s in chosen]
            ),
            row.styles: [],
        }

    def save(values: Values, request: gr.Request) -> dict:
        name = (values[row.name] or "").strip()
        if not name:
            raise WebUIError(say("style_unnamed", language_of(request)))
        studio.styles.save(Style(name, values[box.prompt], values[box.negative_prompt]))
        tell("style_saved", request, name=name)
        return _style_choices(row, studio)

    def delete(values: Values, request: gr.Request) -> dict:
        name = (values[row.name] or "").strip()
        if not name:
            raise WebUIError(say("style_unnamed", language_of(request)))
        style = studio.styles.by_name().get(name)
        if style is None or not studio.styles.delete(name):
            raise WebUIError(say("style_missing", language_of(request), name=name))
        tell("style_deleted", request, name=name)
        text = say("style_back", language_of(request), name=name)
        back = gr.update(value=text, visible=True)
        return {**_style_choices(row, studio), row.gone: style, row.back: back}

    def bring_back(values: Values) -> dict:
        studio.styles.save(values[row.gone])
        return {**_style_choices(row, studio), row.back: gr.update(visible=False)}

    texts = [box.prompt, box.negative_prompt]
    wire(
        row.edit.click, toggle_editor, [row.styles, row.is_open],
        [row.editor, row.name, row.is_open],
    )  # fmt: skip
    wire(
        row.apply.click,
        write_into_prompt,
        [*texts, row.styles],
        [*texts, row.styles],
        for_guests=True,
    )
    changed = [row.styles, row.name, row.editor, row.is_open]
    wire(row.save.click, save, [row.name, *texts], changed)
    wire(row.delete.click, delete, [row.name], [*changed, row.back, row.gone])
    wire(row.back.click, bring_back, [row.gone], [*changed, row.back])


def _style_choices(row: StyleRow, studio: Studio) -> dict:
    names = list(studio.styles.by_name())
    return {
        row.styles: gr.update(choices=names),
        row.name: gr.update(choices=names, value=None),
        row.editor: gr.update(visible=False),
        row.is_open: False,
    }


def icon_button(name: str, tab: str = "txt2img", **options: Any) -> gr.Button:
    """A small square button. style.css draws its sign and page.js names it for screen readers,
    both by its class ``name``, which begins with ``dq-``."""
    return gr.Button(
        "", size="sm", min_width=38, scale=0, elem_id=elem_id(tab, name.removeprefix("dq-")),
        elem_classes=["dq-icon", "dq-sign", name], **options,
    )  # fmt: skip


def counter(tokens: int, capacity: int) -> str:
    """``12/75`` over the corner of a prompt box; a press shows the tokens (assets/words.js)."""
    return f'<button type="button" class="dq-tokens">{esc(tokens)}/{esc(capacity)}</button>'
