"""The Settings tab: every declared option in a plain widget, by group, with a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import ParamsError
from webui.options import OPTIONS, Option
from webui.ui.texts import label, language_of, say
from webui.ui.wiring import Values, show_warning, tell, wire

if TYPE_CHECKING:
    from webui.studio import Studio

MODEL_PLACES = "model_folders_elsewhere"
IN_THE_TOP_ROW = ("sd_model_checkpoint", "sd_vae", "CLIP_stop_at_last_layers")

GROUPS: dict[str, tuple[str, ...]] = {
    "group_saving": (
        "samples_save", "samples_format", "samples_filename_pattern", "save_images_add_number",
        "save_images_replace_action", "grid_save", "grid_format", "grid_extended_filename",
        "grid_only_if_multiple", "grid_prevent_empty_spots", "return_grid", "n_rows",
        "jpeg_quality", "webp_lossless", "export_for_4chan", "img_downscale_threshold",
        "target_side_length", "save_txt",
    ),
    "group_paths": (
        "save_to_dirs", "grid_save_to_dirs", "directories_filename_pattern",
        "directories_max_prompt_words", "outdir_", MODEL_PLACES,
    ),
    "group_preview": ("live_previews_", "show_progress_"),
    "group_infotext": (
        "enable_pnginfo", "add_", "disable_weights_auto_swap", "infotext_", "auto_backcompat",
        "send_", "lora_add_", "textual_inversion_add_",
    ),
    "group_prompt": (
        "emphasis", "comma_padding_backtrack", "enable_prompt_comments", "dynamic_prompts",
        "prompt_completion", "keyedit_",
        "pad_cond_", "tiling", "extra_networks_", "lora_preferred_name", "sd_lora",
        "sd_hypernetwork", "sdxl_",
    ),
    "group_sampler": (
        "randn_source", "eta_", "s_", "sigma_", "rho", "beta_dist_", "always_discard_", "uni_pc_",
        "sd_noise_schedule", "skip_early_cond", "sgm_noise_multiplier", "enable_quantization",
        "no_dpmpp_sde_batch_determinism",
    ),
    "group_compat": ("use_",),
    "group_img2img": (
        "img2img_", "initial_noise_multiplier", "inpainting_mask_weight", "upscaler_for_img2img",
    ),
    "group_upscale": (
        "hires_fix_", "face_restoration", "code_former_weight", "ESRGAN_", "upscaling_",
    ),
    "group_api": ("api_",),
    "group_system": (
        "quicksettings_list", "forever_", "worker_idle_minutes", "training_states_kept",
        "ended_jobs_kept", "thumbnail_cache_mb",
        "sd_checkpoints_", "sd_checkpoint_cache", "sd_vae_checkpoint_cache", "fp8_storage",
        "cache_fp16_weight",
    ),
}  # fmt: skip
"""Group to keys; an entry that ends in "_" takes every key beginning with it."""


@dataclass(frozen=True)
class SettingsTab:
    """The tab's components; ``widgets`` by option key."""

    apply: gr.Button
    widgets: dict[str, Any]


def group_of(key: str) -> str:
    """The group an option is shown in: exact names win over beginnings."""
    for group, names in GROUPS.items():
        if key in names:
            return group
    for group, names in GROUPS.items():
        if any(name.endswith("_") and key.startswith(name) for name in names):
            return group
    return "group_system"


def draw(studio: Studio) -> SettingsTab:
    """Search, Apply, and one accordion for each group (page.js filters by what is typed)."""
    widgets: dict[str, Any] = {}
    with gr.Column(elem_classes="dq-page dq-settings"):
        with gr.Row(elem_classes="dq-tight dq-settingshead"):
            gr.Textbox(
                label=label("settings_search"), elem_id="dq-settings-search", scale=4, max_lines=1
            )
            apply = gr.Button(
                label("settings_apply"), variant="primary", scale=1, min_width=140,
                elem_id="dq-settings-apply",
            )  # fmt: skip
        for group in GROUPS:
            options = [option for option in shown() if group_of(option.key) == group]
            if not options:
                continue
            with (
                gr.Accordion(label(group), open=True, elem_classes="dq-group"),
                gr.Row(elem_classes="dq-options"),
            ):
                for option in options:
                    widgets[option.key] = _widget(option, studio.options[option.key])
    return SettingsTab(apply, widgets)


def _widget(option: Option, value: Any) -> Any:
    common: dict[str, Any] = {
        "label": option.label,
        "info": _key_and_range(option),
        "elem_id": f"dq-option-{option.key}",
        "elem_classes": "dq-option",
        "min_width": 240,
    }
    if isinstance(option.default, bool):
        return gr.Checkbox(bool(value), **common)
    if option.choices:
        is_list = isinstance(option.default, list)
        return gr.Dropdown(
            list(option.choices), value=value, multiselect=is_list, allow_custom_value=not is_list,
            **common,
        )  # fmt: skip
    if isinstance(option.default, (int, float)):
        precision = 0 if isinstance(option.default, int) else None
        limits = {"minimum": option.minimum, "maximum": option.maximum}
        return gr.Number(value, precision=precision, **limits, **common)
    return gr.Textbox(_as_text(option, value), max_lines=1, **common)


def _key_and_range(option: Option) -> str:
    if option.minimum is None or option.maximum is None:
        return option.key
    return f"{option.key}, {option.minimum:g} – {option.maximum:g}"


def _as_text(option: Option, value: Any) -> str:
    if isinstance(option.default, list):
        return ", ".join(str(item) for item in value or [])
    return "" if value is None else str(value)


def connect(parts: SettingsTab, studio: Studio) -> None:
    """Apply checks everything first, then changes and saves what differs."""

    def apply(values: Values, request: gr.Request) -> None:
        language = language_of(request)
        wanted = {o.key: read_value(o, values[parts.widgets[o.key]], language) for o in shown()}
        changed = {key: value for key, value in wanted.items() if value != studio.options[key]}
        for key, value in changed.items():
            studio.options.set(key, value)
        if not changed:
            return tell("settings_same", request)
        studio.options.save()
        for problem in studio.refresh_models() if MODEL_PLACES in changed else ():
            show_warning(problem)
        return tell("settings_applied", request, count=len(changed))

    wire(parts.apply.click, apply, list(parts.widgets.values()), [])


def shown() -> list[Option]:
    """The options this tab holds: those that do something."""
    return [o for o in OPTIONS if o.is_live and o.key not in IN_THE_TOP_ROW]


def present(parts: SettingsTab, studio: Studio, values: Values) -> dict[Any, Any]:
    """The widgets that show another value than their option has; the others are left alone, for
    somebody may be typing in one already."""
    changes = {}
    for option in shown():
        widget, value = parts.widgets[option.key], studio.options[option.key]
        is_text = not (isinstance(option.default, (bool, int, float)) or option.choices)
        text = _as_text(option, value) if is_text else value
        if values[widget] != text:
            changes[widget] = gr.update(value=text)
    return changes


def read_value(option: Option, value: Any, language: str) -> Any:
    """What a widget holds, as the option's own type.

    Raises:
        ParamsError: It is none of the choices, or no number.
    """
    default = option.default
    if isinstance(default, bool):
        return bool(value)
    if option.choices:
        chosen = list(value or []) if isinstance(default, list) else [value]
        if not set(chosen) <= set(option.choices):
            choices = ", ".join(map(str, option.choices))
            raise ParamsError(
                say("settings_wrong_choice", language, label=option.label, value=value,
                    choices=choices),
                field=option.key,
            )  # fmt: skip
        return chosen if isinstance(default, list) else value
    if isinstance(default, (int, float)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ParamsError(
                say("settings_wrong_number", language, label=option.label, value=value),
                field=option.key,
            )
        return type(default)(value)
    text = value or ""
    if isinstance(default, list):
        return [part.strip() for part in text.split(",") if part.strip()]
    return None if default is None and not text else text
