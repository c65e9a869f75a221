"""The Batch sub-tab: uploads or folders, masks, and what to take from each picture's recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.ui import cards
from webui.ui.batch import (
    PNG_INFO_FIELDS,
    folders_are_allowed,
    keep_uploads,
    read_uploads,
    write_uploads,
)
from webui.ui.img2img_form import FOLDER, UPLOAD
from webui.ui.painting_tab import FieldMaker
from webui.ui.texts import label, language_of, say
from webui.ui.wiring import Values, show_warnings, wire

if TYPE_CHECKING:
    from webui.studio import Studio
    from webui.ui.img2img_form import Img2ImgForm


@dataclass(frozen=True)
class BatchPanel:
    """What is not a field of the form."""

    drop: gr.File
    listed: gr.HTML
    clear: gr.Button
    uploads: gr.Column
    folders: gr.Column
    recipes: gr.Column


def draw(studio: Studio, fields: FieldMaker) -> tuple[BatchPanel, dict[str, Any]]:
    """The panel and its fields."""
    source = fields.radio(
        "batch_source",
        [(label("batch_upload"), UPLOAD), (label("batch_directory"), FOLDER)],
        elem_classes="dq-radio",
    )
    with gr.Column(min_width=0) as uploads:
        drop = gr.File(
            file_count="multiple", file_types=["image"], label=label("batch_drop"), height=130,
            elem_id=fields.id("batch_drop"),
        )  # fmt: skip
        listed = gr.HTML("", elem_id=fields.id("batch_listed"))
        clear = gr.Button(
            label("batch_clear"), size="sm", visible=False, elem_id=fields.id("batch_clear")
        )
    files = gr.Textbox("[]", visible="hidden", elem_id=fields.id("batch_files"))
    with gr.Column(visible=False, min_width=0) as folders:
        if not folders_are_allowed(studio.settings):
            gr.HTML(f'<div class="dq-note">{_both("batch_refused")}</div>')
        input_dir = fields.text("batch_input_dir", placeholder=label("batch_folder_hint"))
        output_dir = fields.text("batch_output_dir", placeholder=label("batch_output_hint"))
        mask_dir = fields.text("batch_mask_dir", placeholder=label("batch_mask_hint"))
    has_info = fields.check("has_png_info")
    with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as recipes:
        info_fields = gr.CheckboxGroup(
            [(label(_INFO_TEXTS[name]), name) for name in PNG_INFO_FIELDS],
            value=fields.defaults["png_info_fields"], label=label("png_info_fields"),
            elem_id=fields.id("png_info_fields"), elem_classes="dq-radio",
        )  # fmt: skip
        info_dir = fields.text("png_info_dir", placeholder=label("png_info_dir_hint"))
    panel = BatchPanel(drop, listed, clear, uploads, folders, recipes)
    return panel, {
        "batch_source": source, "batch_files": files, "batch_input_dir": input_dir,
        "batch_output_dir": output_dir, "batch_mask_dir": mask_dir, "has_png_info": has_info,
        "png_info_fields": info_fields, "png_info_dir": info_dir,
    }  # fmt: skip


_INFO_TEXTS = {
    "Prompt": "prompt", "Negative prompt": "negative_prompt", "Seed": "seed",
    "CFG scale": "cfg_scale", "Sampler": "sampler", "Steps": "steps", "Size": "size_rule",
}  # fmt: skip


def _both(key: str) -> str:
    """A text for HTML that is drawn once for all browsers."""
    return cards.esc(f"{say(key, 'en')} {say(key, 'zh')}")


def connect(panel: BatchPanel, form: Img2ImgForm, studio: Studio) -> None:
    """Uploads join the list at once, so that a draft keeps them; panels follow their switches."""

    def take(values: Values) -> dict:
        paths = [Path(name) for name in values[panel.drop] or []]
        kept, bad = keep_uploads(studio, paths)
        show_warnings(bad)
        listed = read_uploads(values[form.batch_files])
        known = {(file.key, file.stem) for file in listed}
        listed += [file for file in kept if (file.key, file.stem) not in known]
        return {panel.drop: None, form.batch_files: write_uploads(listed)}

    def clear(_values: Values) -> dict:
        return {form.batch_files: "[]"}

    def show_list(values: Values, request: gr.Request) -> dict:
        text = values[form.batch_files]
        return {
            panel.listed: render(text, language_of(request)),
            panel.clear: gr.update(visible=bool(read_uploads(text))),
        }

    def show_panels(values: Values) -> dict:
        is_folder = values[form.batch_source] == FOLDER
        return {
            panel.uploads: gr.update(visible=not is_folder),
            panel.folders: gr.update(visible=is_folder),
            panel.recipes: gr.update(visible=values[form.has_png_info]),
        }

    wire(
        panel.drop.upload,
        take,
        [panel.drop, form.batch_files],
        [panel.drop, form.batch_files],
        for_guests=True,
    )
    wire(panel.clear.click, clear, [], [form.batch_files], for_guests=True)
    listed = [panel.listed, panel.clear]
    wire(
        form.batch_files.change,
        show_list,
        [form.batch_files],
        listed,
        is_quiet=True,
        for_guests=True,
    )
    panels = [panel.uploads, panel.folders, panel.recipes]
    for trigger in (form.batch_source.change, form.has_png_info.change):
        wire(
            trigger,
            show_panels,
            [form.batch_source, form.has_png_info],
            panels,
            is_quiet=True,
            for_guests=True,
        )


def render(text: str, language: str) -> str:
    """The uploaded files, small, with their number."""
    files = read_uploads(text)
    if not files:
        return ""
    thumbs = "".join(
        f'<span class="dq-thumb" title="{cards.esc(file.stem)}">'
        f'<img src="ui/input/{cards.esc(file.key)}?small=1" alt="{cards.esc(file.stem)}" '
        'loading="lazy"></span>'
        for file in files
    )
    several = len(files) > 1
    count = cards.esc(say("n_pictures", language, count=len(files))) if several else ""
    return f'<div class="dq-strip dq-inputs"><span class="dq-soft">{count}</span>{thumbs}</div>'
