"""Settings a person changes while the program runs, under A1111's names; kept in config.json.

An option fills in what a request leaves open. It is read once, when the request is made into
params; finished params never look here again.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.errors import SettingsError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        key: A1111's name.
        minimum, maximum: What a numeric option may be, both included; None = no limit. A1111's
            sliders where they have sense, wider where larger values can be painted with.
        infotext: Recipe key that stands for this option when a recipe is pasted.
        is_live: False for A1111 options of parts this version does not have: kept for API
            clients and config.json, not shown in the page.
        api_restricted: Requests may not change it.
    """

    key: str
    default: Any
    label: str
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    api_restricted: bool = False
    infotext: str = ""
    is_live: bool = True


OPTIONS: tuple[Option, ...] = (
    Option("sd_model_checkpoint", None, "Stable Diffusion checkpoint", infotext="Model hash"),
    Option("sd_vae", "Automatic", "SD VAE", infotext="VAE"),
    Option(
        "sd_vae_overrides_per_model_preferences",
        True,
        "The chosen VAE wins over what is noted for a checkpoint",
    ),
    Option(
        "sd_checkpoints_limit",
        0,
        "Checkpoints kept in memory at most, 0 = as many as fit",
        minimum=0,
        maximum=100,
    ),
    Option(
        "sd_checkpoints_keep_in_cpu",
        True,
        "Only the checkpoint in use stays on the device, others wait in main memory",
    ),
    Option(
        "sd_checkpoint_cache",
        0,
        "Further checkpoints kept in memory where their number is limited",
        minimum=0,
        maximum=100,
    ),
    Option(
        "sd_vae_checkpoint_cache",
        0,
        "VAEs kept in memory at most, 0 = as many as fit",
        minimum=0,
        maximum=100,
    ),
    Option(
        "fp8_storage",
        "Disable",
        "FP8 weight: less memory, pictures differ a little",
        ("Disable", "Enable for SDXL", "Enable"),
        infotext="FP8 weight",
    ),
    Option(
        "cache_fp16_weight",
        False,
        "Cache FP16 weight for LoRA",
        infotext="Cache FP16 weight for LoRA",
    ),
    Option("CLIP_stop_at_last_layers", 1, "Clip skip", infotext="Clip skip", minimum=1, maximum=12),
    Option(
        "randn_source", "NV", "Random number generator source", ("GPU", "CPU", "NV"), infotext="RNG"
    ),
    Option("eta_noise_seed_delta", 0, "Eta noise seed delta", infotext="ENSD"),
    Option(
        "emphasis",
        "Original",
        "Emphasis mode",
        ("None", "Ignore", "Original", "No norm"),
        infotext="Emphasis",
    ),
    Option("comma_padding_backtrack", 20, "Prompt word wrap length limit", minimum=0, maximum=74),
    Option("enable_prompt_comments", True, "Enable comments in prompts"),
    Option(
        "dynamic_prompts",
        True,
        "Wildcards and choices in prompts: __name__, {a|b}",
        infotext="Dynamic prompts",
    ),
    Option("translate_chinese_prompts", True, "Translate Chinese prompts into English"),
    Option("prompt_completion", True, "Suggest tags, embeddings, Loras and wildcards while typing"),
    Option(
        "keyedit_precision_attention",
        0.1,
        "Step of (word:1.1) with Ctrl+up/down",
        minimum=0.01,
        maximum=0.2,
    ),
    Option(
        "keyedit_precision_extra",
        0.05,
        "Step of <lora:name:0.9> with Ctrl+up/down",
        minimum=0.01,
        maximum=0.2,
    ),
    Option("keyedit_delimiters", r".,\/!?%^*;:{}=`~() ", "Word delimiters for Ctrl+up/down"),
    Option(
        "keyedit_delimiters_whitespace",
        ["Tab", "Carriage Return", "Line Feed"],
        "Ctrl+up/down whitespace delimiters",
        ("Tab", "Carriage Return", "Line Feed"),
    ),
    Option("keyedit_move", True, "Alt+left/right moves prompt elements"),
    Option(
        "use_old_scheduling",
        False,
        "Use previous prompt editing timelines",
        infotext="Old prompt editing timelines",
    ),
    Option("pad_cond_uncond", False, "Pad prompt/negative prompt", infotext="Pad conds"),
    Option("pad_cond_uncond_v0", False, "Pad prompt/negative prompt (v0)", infotext="Pad conds v0"),
    Option("tiling", False, "Tiling"),
    Option(
        "eta_ancestral", 1.0, "Eta for k-diffusion samplers", infotext="Eta", minimum=0, maximum=1
    ),
    Option("eta_ddim", 0.0, "Eta for DDIM", infotext="Eta DDIM", minimum=0, maximum=1),
    Option("s_churn", 0.0, "Sigma churn", infotext="Sigma churn", minimum=0, maximum=100),
    Option("s_tmin", 0.0, "Sigma tmin", infotext="Sigma tmin", minimum=0, maximum=10),
    Option("s_tmax", 0.0, "Sigma tmax", infotext="Sigma tmax", minimum=0, maximum=999),
    Option("s_noise", 1.0, "Sigma noise", infotext="Sigma noise", minimum=0, maximum=2),
    Option(
        "s_min_uncond",
        0.0,
        "Negative guidance minimum sigma",
        infotext="NGMS",
        minimum=0,
        maximum=15,
    ),
    Option(
        "s_min_uncond_all",
        False,
        "Negative guidance minimum sigma: all steps",
        infotext="NGMS all steps",
    ),
    Option(
        "skip_early_cond",
        0.0,
        "Ignore negative prompt during early sampling",
        infotext="Skip Early CFG",
        minimum=0,
        maximum=1,
    ),
    Option("sigma_min", 0.0, "Sigma min", infotext="Schedule min sigma", minimum=0),
    Option("sigma_max", 0.0, "Sigma max", infotext="Schedule max sigma", minimum=0),
    Option("rho", 0.0, "Rho", infotext="Schedule rho", minimum=0),
    Option(
        "beta_dist_alpha",
        0.6,
        "Beta schedule alpha",
        infotext="Beta schedule alpha",
        minimum=0.01,
        maximum=100,
    ),
    Option(
        "beta_dist_beta",
        0.6,
        "Beta schedule beta",
        infotext="Beta schedule beta",
        minimum=0.01,
        maximum=100,
    ),
    Option(
        "always_discard_next_to_last_sigma",
        False,
        "Always discard next-to-last sigma",
        infotext="Discard penultimate sigma",
    ),
    Option("sgm_noise_multiplier", False, "SGM noise multiplier", infotext="SGM noise multiplier"),
    Option("use_old_karras_scheduler_sigmas", False, "Use old karras scheduler sigmas"),
    Option("enable_quantization", False, "Quantize timesteps of k-diffusion samplers"),
    Option("no_dpmpp_sde_batch_determinism", False, "DPM++ SDE: no determinism across batches"),
    Option(
        "uni_pc_variant",
        "bh1",
        "UniPC variant",
        ("bh1", "bh2", "vary_coeff"),
        infotext="UniPC variant",
    ),
    Option(
        "uni_pc_skip_type",
        "time_uniform",
        "UniPC skip type",
        ("time_uniform", "time_quadratic", "logSNR"),
        infotext="UniPC skip type",
    ),
    Option("uni_pc_order", 3, "UniPC order", infotext="UniPC order", minimum=1, maximum=50),
    Option(
        "uni_pc_lower_order_final",
        True,
        "UniPC lower order final",
        infotext="UniPC lower order final",
    ),
    Option(
        "use_downcasted_alpha_bar",
        False,
        "Downcast model alphas_cumprod to fp16",
        infotext="Downcast alphas_cumprod",
    ),
    Option(
        "sd_noise_schedule",
        "Default",
        "Noise schedule",
        ("Default", "Zero Terminal SNR"),
        infotext="Noise Schedule",
    ),
    Option("img2img_fix_steps", False, "With img2img, do exactly the number of steps"),
    Option(
        "img2img_color_correction",
        False,
        "Apply color correction to img2img results",
        infotext="Color correction",
    ),
    Option("img2img_background_color", "#ffffff", "Fill transparent parts of the input image"),
    Option(
        "img2img_extra_noise",
        0.0,
        "Extra noise multiplier for img2img and hires fix",
        infotext="Extra noise",
        minimum=0,
        maximum=1,
    ),
    Option(
        "initial_noise_multiplier",
        1.0,
        "Noise multiplier for img2img",
        infotext="Noise multiplier",
        minimum=0,
        maximum=1.5,
    ),
    Option(
        "inpainting_mask_weight",
        1.0,
        "Inpainting conditioning mask strength",
        infotext="Conditional mask weight",
        minimum=0,
        maximum=1,
    ),
    Option("overlay_inpaint", True, "Overlay original for inpaint"),
    Option("upscaler_for_img2img", None, "Upscaler for img2img", infotext="Upscaler"),
    Option(
        "hires_fix_refiner_pass",
        "second pass",
        "Hires fix: which pass to enable refiner for",
        ("first pass", "second pass", "both passes"),
        infotext="Hires refiner",
    ),
    Option(
        "refiner_switch_by_sample_steps",
        False,
        "Switch to refiner by sampling steps instead of model timesteps",
        infotext="Refiner switch by sampling steps",
    ),
    Option("tiled_vae", False, "Always encode and decode in tiles"),
    Option("face_restoration", False, "Restore faces"),
    Option(
        "face_restoration_model",
        "CodeFormer",
        "Face restoration model",
        ("CodeFormer", "GFPGAN", "RestoreFormer"),
        infotext="Face restoration",
    ),
    Option(
        "code_former_weight",
        0.5,
        "CodeFormer weight",
        infotext="Face restoration weight",
        minimum=0,
        maximum=1,
    ),
    Option("ESRGAN_tile", 192, "Tile size for upscalers", minimum=0),
    Option("ESRGAN_tile_overlap", 32, "Tile overlap for upscalers", minimum=0),
    Option(
        "upscaling_max_images_in_cache",
        5,
        "Upscaled images kept",
        is_live=False,
        minimum=0,
        maximum=10,
    ),
    Option(
        "postprocessing_enable_in_main_ui",
        [],
        "Steps of extensions that painted pictures go through, too",
    ),
    Option("postprocessing_disable_in_extras", [], "Steps of extensions that Restore leaves out"),
    Option("postprocessing_operation_order", [], "Order of the steps of extensions"),
    Option("sdxl_crop_top", 0, "SDXL crop top", minimum=0, maximum=8192),
    Option("sdxl_crop_left", 0, "SDXL crop left", minimum=0, maximum=8192),
    Option("sdxl_clip_l_skip", False, "Clip skip acts on SDXL's first text encoder"),
    Option(
        "sdxl_refiner_low_aesthetic_score",
        2.5,
        "SDXL refiner: aesthetic score of the negative prompt",
    ),
    Option("sdxl_refiner_high_aesthetic_score", 6.0, "SDXL refiner: aesthetic score of the prompt"),
    Option(
        "extra_networks_default_multiplier",
        1.0,
        "Default multiplier for extra networks",
    ),
    Option(
        "lora_preferred_name",
        "Alias from file",
        "When adding to prompt, refer to Lora by",
        ("Alias from file", "Filename"),
    ),
    Option("sd_lora", "None", "Add network to prompt"),
    Option("sd_hypernetwork", "None", "Add hypernetwork to prompt"),
    Option("lora_add_hashes_to_infotext", True, "Add Lora hashes to infotext"),
    Option("textual_inversion_add_hashes_to_infotext", True, "Add TI hashes to infotext"),
    Option("samples_save", True, "Always save all generated images"),
    Option(
        "samples_format", "png", "File format for images", ("png", "jpg", "jpeg", "webp", "avif")
    ),
    Option("samples_filename_pattern", "", "Images filename pattern"),
    Option("save_images_add_number", True, "Add number to filename when saving"),
    Option(
        "save_images_replace_action",
        "Replace",
        "Saving an image to an existing file",
        is_live=False,
    ),
    Option("grid_save", True, "Always save all generated image grids"),
    Option("grid_format", "png", "File format for grids", is_live=False),
    Option("grid_extended_filename", False, "Add extended info to the grid's file name"),
    Option("grid_only_if_multiple", True, "Do not save grids consisting of one picture"),
    Option("grid_prevent_empty_spots", False, "Prevent empty spots in grid"),
    Option("return_grid", True, "Show grid in results"),
    Option("control_net_no_detectmap", False, "Do not append detectmap to output"),
    Option("n_rows", -1, "Grid row count", minimum=-1, maximum=100),
    Option("enable_pnginfo", True, "Write infotext to metadata of the picture"),
    Option("save_txt", False, "Create a text file with the infotext next to every picture"),
    Option("jpeg_quality", 80, "Quality for saved jpeg and avif images", minimum=1, maximum=100),
    Option("webp_lossless", False, "Use lossless compression for webp images"),
    Option("export_for_4chan", True, "Save a downscaled copy of very large pictures"),
    Option("img_downscale_threshold", 4.0, "File size limit for the above, MB", minimum=0),
    Option("target_side_length", 4000, "Width/height limit for the above, pixels", minimum=0),
    Option("save_to_dirs", True, "Save images to a subdirectory"),
    Option("grid_save_to_dirs", True, "Save grids to a subdirectory", is_live=False),
    Option("directories_filename_pattern", "[date]", "Directory name pattern"),
    Option("directories_max_prompt_words", 8, "Max prompt words for [prompt_words]", minimum=0),
    Option("outdir_samples", "", "Output directory for images"),
    Option("outdir_txt2img_samples", "outputs/txt2img-images", "Output directory for txt2img"),
    Option(
        "outdir_img2img_samples",
        "outputs/img2img-images",
        "Output directory for img2img",
        is_live=False,
    ),
    Option(
        "outdir_extras_samples",
        "outputs/extras-images",
        "Output directory for extras",
        is_live=False,
    ),
    Option("outdir_grids", "", "Output directory for grids"),
    Option("outdir_txt2img_grids", "outputs/txt2img-grids", "Output directory for txt2img grids"),
    Option(
        "outdir_img2img_grids",
        "outputs/img2img-grids",
        "Output directory for img2img grids",
        is_live=False,
    ),
    Option(
        "model_folders_elsewhere",
        [],
        "Models of A1111, ComfyUI or lora-scripts: their folders, or an extra_model_paths.yaml",
        api_restricted=True,
    ),
    Option("outdir_save", "log/images", "Directory for the Save button"),
    Option(
        "outdir_init_images",
        "outputs/init-images",
        "Directory for img2img input images",
        is_live=False,
    ),
    Option("live_previews_enable", True, "Show live previews of the created image"),
    Option("live_previews_image_format", "jpeg", "Live preview format", ("png", "jpeg", "webp")),
    Option(
        "show_progress_every_n_steps",
        1,
        "Show a new preview every N steps, -1 = per batch",
        minimum=-1,
    ),
    Option(
        "show_progress_type",
        "Approx cheap",
        "Live preview method",
        ("Full", "Approx NN", "Approx cheap", "TAESD"),
    ),
    Option("show_progress_grid", True, "Show previews of all images of a batch as a grid"),
    Option("disable_weights_auto_swap", True, "Ignore the checkpoint of a pasted infotext"),
    Option(
        "infotext_styles",
        "Apply if any",
        "Styles found in a pasted infotext",
        ("Ignore", "Apply", "Discard", "Apply if any"),
    ),
    Option("infotext_skip_pasting", [], "Infotext keys that are not pasted"),
    Option("auto_backcompat", True, "Old infotexts switch on old behaviour"),
    Option("add_model_name_to_info", True, "Add the model's name to the infotext"),
    Option("add_model_hash_to_info", True, "Add the model's hash to the infotext"),
    Option("add_vae_name_to_info", True, "Add the VAE's name to the infotext"),
    Option("add_vae_hash_to_info", True, "Add the VAE's hash to the infotext"),
    Option("add_version_to_infotext", True, "Add the program version to the infotext"),
    Option("add_user_name_to_info", False, "Add the user name to the infotext"),
    Option("send_seed", True, "Send the seed when sending a picture to another tab", is_live=False),
    Option("send_size", True, "Send the size when sending a picture to another tab", is_live=False),
    Option(
        "quicksettings_list",
        ["sd_model_checkpoint", "sd_vae", "CLIP_stop_at_last_layers"],
        "Quicksettings list",
        is_live=False,
    ),
    Option(
        "api_enable_requests",
        True,
        "The API may fetch pictures by URL",
        api_restricted=True,
        is_live=False,
    ),
    Option(
        "api_forbid_local_requests",
        True,
        "… but not from local hosts",
        api_restricted=True,
        is_live=False,
    ),
    Option("api_useragent", "", "User agent for such requests", api_restricted=True, is_live=False),
    Option("forever_rounds", 0, "Generate forever ends after N rounds, 0 = never", minimum=0),
    Option("forever_minutes", 0, "Generate forever ends after N minutes, 0 = never", minimum=0),
    Option("forever_until_starred", False, "Generate forever ends when a picture gets a star"),
    Option(
        "forever_disk_reserve_gb",
        2.0,
        "Generate forever ends when fewer gigabytes are free on the disk",
        minimum=0,
    ),
    Option(
        "worker_idle_minutes",
        0,
        "Free the painting process after N idle minutes, 0 = never",
        minimum=0,
    ),
    Option(
        "training_states_kept",
        3,
        "States kept of trainings that were stopped or failed; older ones are removed",
        minimum=0,
        maximum=1000,
    ),
    Option(
        "ended_jobs_kept",
        2000,
        "Ended jobs without pictures that are remembered, 0 = all",
        minimum=0,
    ),
    Option(
        "thumbnail_cache_mb",
        2000,
        "Megabytes of small copies kept for the gallery, 0 = no limit",
        minimum=0,
    ),
    Option(
        "guest_waiting_jobs", 8, "Jobs of one guest that may wait", minimum=1, api_restricted=True
    ),
    Option("guest_pictures", 8, "Pictures of one job of a guest", minimum=1, api_restricted=True),
    Option(
        "guest_megapixels",
        2.4,
        "Megapixels of one picture of a guest",
        minimum=0.01,
        api_restricted=True,
    ),
    Option(
        "guest_steps",
        60,
        "Steps of one picture of a guest, both passes together",
        minimum=1,
        api_restricted=True,
    ),
    Option(
        "disabled_extensions",
        [],
        "Extensions that are switched off",
        api_restricted=True,
        is_live=False,
    ),
    Option(
        "disable_all_extensions",
        "none",
        "Switch off extensions: none, extra (all but built-in ones), all",
        ("none", "extra", "all"),
        api_restricted=True,
        is_live=False,
    ),
    Option(
        "extensions_index",
        "https://raw.githubusercontent.com/AUTOMATIC1111/stable-diffusion-webui-extensions/"
        "master/index.json",
        "Where the list of available extensions lies",
        api_restricted=True,
        is_live=False,
    ),
    Option(
        "extension_settings",
        {},
        "What was chosen in the settings of extensions",
        api_restricted=True,
        is_live=False,
    ),
)
OPTION_BY_KEY: dict[str, Option] = {option.key: option for option in OPTIONS}
OPTION_DEFAULTS: dict[str, Any] = {option.key: option.default for option in OPTIONS}
OPTION_OF_INFOTEXT_KEY: dict[str, str] = {
    **{option.infotext: option.key for option in OPTIONS if option.infotext},
    "SGM noise multplier": "sgm_noise_multiplier",
    "Beta scheduler alpha": "beta_dist_alpha",
    "Beta scheduler beta": "beta_dist_beta",
}
"""Recipe keys and the options they stand for, old spellings too."""


class Options:
    """The present value of every option; thread-safe; saved as one JSON file.

    Args:
        path: config.json. A file that cannot be read is moved aside as ``config.json.broken``
            and the defaults are used, so that a damaged file never stops the program.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._values: dict[str, Any] = {}
        self._listeners: list[Callable[[str], None]] = []
        self.load()

    def load(self) -> None:
        """Read the file again."""
        with self._lock:
            try:
                values = json.loads(self._path.read_text(encoding="utf-8-sig"))
                if not isinstance(values, dict):
                    raise ValueError("not a JSON object")
            except FileNotFoundError:
                values = {}
            except (OSError, ValueError) as err:
                logger.warning("%s cannot be read (%s); using defaults.", self._path, err)
                self._move_aside()
                values = {}
            self._values = values

    def _move_aside(self) -> None:
        try:
            os.replace(self._path, self._path.with_suffix(".json.broken"))
        except OSError:
            logger.warning("%s could not be moved aside.", self._path)

    def __getitem__(self, key: str) -> Any:
        """The value of an option.

        Raises:
            KeyError: No option has that key.
        """
        with self._lock:
            if key in self._values:
                return self._values[key]
        return OPTION_BY_KEY[key].default

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in OPTION_BY_KEY or key in self._values

    def as_dict(self) -> dict[str, Any]:
        """Every known option with its present value, and unknown keys left in the file."""
        with self._lock:
            return {**OPTION_DEFAULTS, **self._values}

    def with_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        """All values with a request's ``override_settings`` on top; nothing is stored.

        Raises:
            KeyError: An override names no option.
        """
        for key in overrides:
            if key not in self:
                raise KeyError(key)
        allowed = {k: v for k, v in overrides.items() if not is_api_restricted(k)}
        return {**self.as_dict(), **allowed}

    def listen(self, told: Callable[[str], None]) -> None:
        """Have a function called with the key of every option that becomes another one."""
        self._listeners.append(told)

    def set(self, key: str, value: Any) -> None:
        """Change one option in memory; call ``save`` to keep it.

        Raises:
            KeyError: No option has that key.
        """
        if key not in self:
            raise KeyError(key)
        with self._lock:
            is_other = self[key] != value
            self._values[key] = value
        for told in self._listeners if is_other else ():
            told(key)

    def save(self) -> None:
        """Write the file whole or not at all.

        Raises:
            SettingsError: The folder cannot be written.
        """
        with self._lock:
            text = json.dumps(self._values, indent=4, ensure_ascii=False)
            temporary = self._path.with_suffix(".json.tmp")
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_text(text, encoding="utf-8")
                os.replace(temporary, self._path)
            except OSError as err:
                raise SettingsError(
                    f"The settings could not be saved to {self._path}: {err.strerror or err}.",
                    "Free some disk space or make the folder writable; until then the change "
                    "lasts only while the program runs.",
                ) from err


def is_api_restricted(key: str) -> bool:
    """True for options that requests may not change."""
    option = OPTION_BY_KEY.get(key)
    return option is not None and option.api_restricted


def is_of_folders(key: str) -> bool:
    """True for options that name folders and files, which ``--hide-ui-dir-config`` hides."""
    return key.startswith("outdir_") or key.endswith("filename_pattern")
