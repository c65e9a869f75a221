"""The top row: checkpoint, VAE and clip skip. What it shows is what the next job uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.i18n import I18nData

from webui.errors import CheckpointNotFoundError
from webui.ui.painting_form import NO_SCRIPT, FilesThere, PaintingForm
from webui.ui.prompt_box import icon_button
from webui.ui.texts import label, language_of, named
from webui.ui.wiring import Values, show_error, show_warning, wire

if TYPE_CHECKING:
    from webui.studio import Studio

NO_FILE = ("Automatic", "None")
"""Menu entries of the VAE list that stand for no particular file."""


@dataclass(frozen=True)
class Quicksettings:
    """The components of the top row."""

    checkpoint: gr.Dropdown
    refresh: gr.Button
    vae: gr.Dropdown
    clip_skip: gr.Slider

    def components(self) -> list:
        """Those that hold a value."""
        return [self.checkpoint, self.vae, self.clip_skip]


def draw(studio: Studio) -> Quicksettings:
    """The row, with the choices of this moment; ``present`` brings it up to date on each load."""
    with gr.Row(elem_classes="dq-quick"):
        checkpoint = gr.Dropdown(
            checkpoint_titles(studio), value=chosen_title(studio), label=checkpoint_label(studio),
            elem_id="dq-checkpoint", scale=5, min_width=220,
        )  # fmt: skip
        refresh = icon_button("dq-refresh")
        vae = gr.Dropdown(
            named(vae_names(studio)), value=chosen_vae(studio), label=label("vae"),
            elem_id="dq-vae", scale=3, min_width=120,
        )  # fmt: skip
        clip_skip = gr.Slider(
            1, 12, value=studio.options["CLIP_stop_at_last_layers"], step=1,
            label=label("clip_skip"), elem_id="dq-clip-skip", scale=3, min_width=150, buttons=[],
        )  # fmt: skip
    return Quicksettings(checkpoint, refresh, vae, clip_skip)


def connect(parts: Quicksettings, studio: Studio, forms: Sequence[PaintingForm] = ()) -> None:
    """Changes of the row become options; the button looks for new files.

    Args:
        forms: The tabs' fields; their menus of files follow, too.

    The checkpoint's own event is wired by painting_tab: the painting tabs follow its size.
    """

    def choose_vae(values: Values) -> dict:
        name = values[parts.vae] or ""
        try:
            if name not in NO_FILE:
                studio.catalog.find_vae(name)
        except CheckpointNotFoundError as err:
            show_error(err)
            return {parts.vae: gr.update(value=chosen_vae(studio))}
        studio.options.set("sd_vae", name)
        studio.options.save()
        return {parts.vae: gr.skip()}

    def choose_clip_skip(values: Values) -> None:
        studio.options.set("CLIP_stop_at_last_layers", int(values[parts.clip_skip]))
        studio.options.save()

    def refresh(_values: Values, request: gr.Request) -> dict:
        for problem in studio.refresh_models():
            show_warning(problem)
        return {**present(parts, studio), **present_menus(forms, studio, language_of(request))}

    wire(parts.vae.input, choose_vae, [parts.vae], [parts.vae])
    wire(parts.clip_skip.release, choose_clip_skip, [parts.clip_skip])
    menus = present_menus(forms, studio)
    wire(parts.refresh.click, refresh, [], [*parts.components(), *menus])


def present(parts: Quicksettings, studio: Studio) -> dict:
    """The row as it should stand now."""
    return {
        **present_checkpoint(parts, studio),
        parts.vae: gr.update(choices=named(vae_names(studio)), value=chosen_vae(studio)),
        parts.clip_skip: gr.update(value=studio.options["CLIP_stop_at_last_layers"]),
    }


def present_checkpoint(parts: Quicksettings, studio: Studio) -> dict:
    """The menu of checkpoints as it should stand now."""
    choices, value = checkpoint_titles(studio), chosen_title(studio)
    shown = gr.update(choices=choices, value=value, label=checkpoint_label(studio))
    return {parts.checkpoint: shown}


def present_menus(
    forms: Sequence[PaintingForm], studio: Studio, language: str = ""
) -> dict[gr.Dropdown, Any]:
    """Menus of files and scripts as they should stand now; what is chosen in them stays.

    Args:
        language: As of ``FilesThere``.
    """
    there = files_there(studio, language)
    return {
        menu: gr.update(choices=choices)
        for form in forms
        for menu, choices in form.file_menus(there).items()
    }


def with_known_script(
    form: PaintingForm, values: Mapping[str, Any], studio: Studio
) -> dict[str, Any]:
    """Values of a form; a script that its menu does not offer now is none: its extension has gone,
    or is not for guests."""
    if "script" not in values:
        return dict(values)
    offered = [value for _, value in form.file_menus(files_there(studio))[form.script]]
    known = values["script"] if values["script"] in offered else NO_SCRIPT
    return {**values, "script": known}


def files_there(studio: Studio, language: str = "") -> FilesThere:
    """What the menus of files and scripts list at this moment."""
    return FilesThere(
        checkpoint_titles(studio), studio.weights.upscaler_names(), studio.plots.plans.all(),
        language,
    )  # fmt: skip


def read(parts: Quicksettings, values: Values) -> dict[str, Any]:
    """What the row shows, by option key; an empty checkpoint leaves the choice open."""
    shown = {"sd_vae": values[parts.vae], "CLIP_stop_at_last_layers": int(values[parts.clip_skip])}
    if values[parts.checkpoint]:
        shown["sd_model_checkpoint"] = values[parts.checkpoint]
    return shown


def checkpoint_titles(studio: Studio) -> list[str]:
    """Every usable checkpoint."""
    return [record.title for record in studio.catalog.checkpoints() if not record.problem]


def checkpoint_label(studio: Studio) -> I18nData:
    """What stands over the menu of checkpoints: it says so where the one that is chosen has basic
    support."""
    record = studio.current_checkpoint()
    is_basic = record is not None and studio.catalog.inspected(record).has_basic_support
    return label("checkpoint_basic" if is_basic else "checkpoint")


def edits_pictures(studio: Studio) -> bool:
    """True when the checkpoint to paint with is an InstructPix2Pix one."""
    record = studio.current_checkpoint()
    return record is not None and studio.catalog.inspected(record).edits_pictures


def chosen_title(studio: Studio) -> str | None:
    """The checkpoint to paint with, or None when there is none."""
    record = studio.current_checkpoint()
    return record.title if record else None


def chosen_vae(studio: Studio) -> str:
    """The VAE the options choose, as its menu entry; "Automatic" when it is no longer there."""
    wanted = studio.options["sd_vae"]
    try:
        return wanted if wanted in NO_FILE else studio.catalog.find_vae(wanted).name
    except CheckpointNotFoundError:
        return NO_FILE[0]


def vae_names(studio: Studio) -> list[str]:
    """What can be chosen as VAE."""
    return [*NO_FILE, *(record.name for record in studio.catalog.vaes())]
