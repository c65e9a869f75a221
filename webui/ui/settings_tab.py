"""The Settings tab: every declared option by group, drawn by the browser's own script.

Gradio gets one empty element. The script (assets/settings.js) asks for the settings
(settings_routes.py) whenever the tab is opened.
"""

from __future__ import annotations

import gradio as gr

from webui.options import OPTIONS, Option, is_of_folders
from webui.services.forms.settings_changes import NOT_IN_THE_HISTORY

MOUNT_JS = "window.danqingSettings(element);"
MODEL_PLACES = "model_folders_elsewhere"
IN_THE_TOP_ROW = NOT_IN_THE_HISTORY

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
        "translate_chinese_prompts",
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
        "postprocessing_",
    ),
    "group_api": ("api_",),
    "group_system": (
        "quicksettings_list", "forever_", "worker_idle_minutes", "training_states_kept",
        "ended_jobs_kept", "thumbnail_cache_mb", "guest_",
        "sd_checkpoints_", "sd_checkpoint_cache", "sd_vae_checkpoint_cache", "fp8_storage",
        "cache_fp16_weight",
    ),
}  # fmt: skip
"""Group to keys; an entry that ends in "_" takes every key beginning with it."""


def group_of(key: str) -> str:
    """The group an option is shown in: exact names win over beginnings."""
    for group, names in GROUPS.items():
        if key in names:
            return group
    for group, names in GROUPS.items():
        if any(name.endswith("_") and key.startswith(name) for name in names):
            return group
    return "group_system"


def draw() -> gr.HTML:
    """The tab's one element; the script draws it from what ``settings_routes`` tells."""
    return gr.HTML(
        '<div class="dq-set"></div>', js_on_load=MOUNT_JS, elem_id="dq-settings",
        elem_classes="dq-page",
    )  # fmt: skip


def shown(*, hides_folders: bool = False) -> list[Option]:
    """The options this tab holds: those that do something.

    Args:
        hides_folders: Without those that name folders (``--hide-ui-dir-config``).
    """
    found = [o for o in OPTIONS if o.is_live and o.key not in IN_THE_TOP_ROW]
    return [o for o in found if not (hides_folders and is_of_folders(o.key))]
