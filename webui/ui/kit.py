"""The row below Generate: presets, speed, undo and redo.

Gradio gets one empty element for each painting tab. The script (assets/kit.js) draws the row and
asks for the list of presets when it is opened; whatever changes the form comes here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import CheckpointNotFoundError, WebUIError
from webui.roles import is_guest
from webui.services.forms.speeds import speeds_of, values_for
from webui.services.forms.start_values import keep_start_values
from webui.services.lora_files import lora_names
from webui.ui import quicksettings
from webui.ui.quicksettings import Quicksettings
from webui.ui.session import client_name, user_of
from webui.ui.start_fields import fitting
from webui.ui.tab_ids import elem_id
from webui.ui.texts import language_of, say, value_name
from webui.ui.wiring import Values, draws_for_guests, show_error, tell, wire_then_press

if TYPE_CHECKING:
    from webui.studio import Studio
    from webui.ui.painting_tab import PaintingTab

MOUNT_JS = "window.danqingKit(element, (data) => trigger('act', data));"
GUEST_ACTS = ("speed", "undo", "redo")
"""What changes nothing but the form."""
LEFT_WHEN_EMPTY = ("prompt", "negative_prompt")
"""Texts that a preset does not take away."""

Act = Callable[[dict[str, Any], Values, gr.Request], dict[Any, Any]]


def draw(tab: str) -> gr.HTML:
    """The element of one painting tab; its ``act`` event says what was pressed. Presets are the
    owner's."""
    presets = "" if draws_for_guests() else ' data-presets="1"'
    return gr.HTML(
        f'<div class="dq-kit" data-tab="{tab}"{presets}></div>', js_on_load=MOUNT_JS,
        elem_id=elem_id(tab, "kit"), elem_classes="dq-kits",
    )  # fmt: skip


def _called(name: Any, studio: Studio, request: gr.Request) -> str:
    """What a preset is called: one that comes along has a name in every language."""
    is_own = (str(name), True) in studio.presets.names()
    return str(name) if is_own else value_name(name, language_of(request))


def connect(
    parts: PaintingTab, studio: Studio, browser: gr.BrowserState, quick: Quicksettings
) -> None:
    """Wire one tab's row."""
    form, tab = parts.form, parts.tab

    def use_preset(data: dict[str, Any], values: Values, request: gr.Request) -> dict:
        preset = studio.presets.get(str(data["name"]))
        tell("kit_applied", request, name=_called(data["name"], studio, request))
        return put(preset)

    def save_preset(data: dict[str, Any], values: Values, request: gr.Request) -> dict:
        studio.presets.save(str(data["name"]), _whole(values))
        tell("kit_saved", request, name=data["name"])
        return {}

    def keep_start(_data: dict[str, Any], values: Values, request: gr.Request) -> dict:
        keep_start_values(studio.settings.folders.data, tab, form.read(values))
        tell("kit_start_kept", request)
        return {}

    def keep_checkpoint(data: dict[str, Any], values: Values, request: gr.Request) -> dict:
        record = studio.current_checkpoint()
        if record is None:
            raise WebUIError(say("kit_no_checkpoint", language_of(request)))
        is_kept = bool(data.get("keeps", True))
        studio.presets.keep_for_checkpoint(record.name, _whole(values) if is_kept else None)
        said = "kit_checkpoint_kept" if is_kept else "kit_checkpoint_forgotten"
        tell(said, request, name=record.stem)
        return {}

    def use_speed(data: dict[str, Any], values: Values, request: gr.Request) -> dict:
        record = studio.current_checkpoint()
        loras = lora_names([values[form.prompt] or ""])
        changes, found = values_for(str(data["speed"]), record.name if record else "", loras)
        if found:
            tell("kit_distilled", request, name=found, steps=changes["steps"])
        return form.write(changes)

    def step(data: dict[str, Any], values: Values, request: gr.Request) -> dict:
        by = 1 if data["act"] == "redo" else -1
        changed = studio.form_history.step(client_name(values[browser], request), tab, by)
        if changed is None:
            tell("kit_nothing_more", request)
            return {}
        return form.write(changed)

    def _whole(values: Values) -> dict[str, Any]:
        return {**form.read(values), **quicksettings.read(quick, values)}

    def put(values: Mapping[str, Any]) -> dict[Any, Any]:
        kept = {k: v for k, v in values.items() if v or k not in LEFT_WHEN_EMPTY}
        changes = form.write(fitting(parts, studio, kept))
        if form.overrides in changes:
            chips = [chip for chip in kept["overrides"] if isinstance(chip, str)]
            changes[form.overrides] = gr.update(value=chips, choices=chips, visible=bool(chips))
        return {**changes, **put_top_row(kept, studio, quick)}

    acts: dict[str, Act] = {
        "preset": use_preset, "save": save_preset, "start": keep_start,
        "checkpoint": keep_checkpoint, "speed": use_speed, "undo": step, "redo": step,
    }  # fmt: skip

    def act(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        data: dict[str, Any] = event._data
        if data["act"] not in GUEST_ACTS and is_guest(user_of(request)):
            raise WebUIError(say("owner_only", language_of(request)))
        client, now = client_name(values[browser], request), form.read(values)
        studio.form_history.keep(client, tab, now, now)
        changes = acts[data["act"]](data, values, request)
        changed = {n: changes[c]["value"] for n, c in form.by_name().items() if c in changes}
        studio.form_history.keep(client, tab, now, {**now, **changed})
        return changes or {parts.auto_size: gr.skip()}

    fields = form.components()
    takes = [*fields, *quick.components(), browser]
    gives = [*fields, *quick.components(), parts.auto_size]
    wire_then_press(parts.buttons.autosave, parts.kit.act, act, takes, gives, for_guests=True)


def speeds_told(studio: Studio, form: Mapping[str, Any]) -> str:
    """For the row's script: the speeds that a form's values are; nothing of it is seen."""
    record = studio.current_checkpoint()
    speeds = speeds_of(form, record.name if record else "", lora_names([form["prompt"] or ""]))
    return f'<i data-speeds="{" ".join(speeds)}" hidden></i>'


def put_top_row(values: Mapping[str, Any], studio: Studio, quick: Quicksettings) -> dict[Any, Any]:
    """Choose checkpoint, VAE and clip skip as a preset says; what is not there is told of."""
    changes: dict[Any, Any] = {}
    title = values.get("sd_model_checkpoint")
    if title:
        try:
            studio.choose_checkpoint(str(title))
        except CheckpointNotFoundError as err:
            show_error(err)
        changes |= quicksettings.present_checkpoint(quick, studio)
    return {**changes, **put_vae_and_clip_skip(values, studio, quick)}


def put_vae_and_clip_skip(
    values: Mapping[str, Any], studio: Studio, quick: Quicksettings
) -> dict[Any, Any]:
    """The part of the top row that is also kept for checkpoints."""
    changes: dict[Any, Any] = {}
    vae, clip_skip = values.get("sd_vae"), values.get("CLIP_stop_at_last_layers")
    if vae in quicksettings.vae_names(studio):
        studio.options.set("sd_vae", vae)
        changes[quick.vae] = gr.update(value=vae)
    if isinstance(clip_skip, int) and 1 <= clip_skip <= 12:
        studio.options.set("CLIP_stop_at_last_layers", clip_skip)
        changes[quick.clip_skip] = gr.update(value=clip_skip)
    if changes:
        studio.options.save()
    return changes


def of_checkpoint(
    tabs: Sequence[PaintingTab], studio: Studio, quick: Quicksettings, request: gr.Request
) -> dict[Any, Any]:
    """What people keep for the checkpoint that was just chosen, put into every tab."""
    record = studio.current_checkpoint()
    kept = studio.presets.of_checkpoint(record.name) if record else {}
    if not record or not kept:
        return {}
    tell("kit_checkpoint_applied", request, name=record.stem)
    changes = put_vae_and_clip_skip(kept, studio, quick)
    for parts in tabs:
        changes |= parts.form.write(fitting(parts, studio, kept))
    return changes


def checkpoint_fields(tabs: Sequence[PaintingTab], quick: Quicksettings) -> list[Any]:
    """What ``of_checkpoint`` may change, besides the size."""
    fields = [quick.vae, quick.clip_skip]
    for parts in tabs:
        form = parts.form
        fields += [form.sampler, form.schedule, form.steps, form.cfg_scale]
    return fields
