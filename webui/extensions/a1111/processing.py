"""``p``: a painting job as scripts see and change it, and what they get back.

Source:
    Field names, their defaults and the constructor's keywords: A1111 1.10's ``processing``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webui.errors import ExtensionError

opt_C, opt_f = 4, 8
"""Channels of latents, and pixels of their cells: names that scripts import."""


@dataclass(repr=False)
class StableDiffusionProcessing:
    """What all painting jobs have in common.

    Attributes:
        scripts: The ``ScriptRunner`` whose scripts act, None = none do.
        script_args: Arguments of all scripts, one after the other.
        extra_generation_params: What the recipe says besides: texts, lists with a text for each
            picture, or functions that return one.
        all_prompts, all_negative_prompts, all_seeds, all_subseeds: Of each picture; there from
            ``process`` on.
        prompts, negative_prompts, seeds, subseeds: Of the present batch.
        overrides_here: Fields of our own requests that A1111 has no names for.
    """

    sd_model: Any = None
    outpath_samples: str | None = None
    outpath_grids: str | None = None
    prompt: Any = ""
    prompt_for_display: str | None = None
    negative_prompt: Any = ""
    styles: list[str] | None = None
    seed: int = -1
    subseed: int = -1
    subseed_strength: float = 0
    seed_resize_from_h: int = -1
    seed_resize_from_w: int = -1
    seed_enable_extras: bool = True
    sampler_name: str | None = None
    scheduler: str | None = None
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    restore_faces: bool | None = None
    tiling: bool | None = None
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    extra_generation_params: dict[str, Any] | None = None
    overlay_images: list[Any] | None = None
    eta: float | None = None
    do_not_reload_embeddings: bool = False
    denoising_strength: float | None = None
    ddim_discretize: str | None = None
    s_min_uncond: float | None = None
    s_churn: float | None = None
    s_tmax: float | None = None
    s_tmin: float | None = None
    s_noise: float | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool = True
    sampler_index: int | None = None
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = None
    token_merging_ratio: float = 0
    token_merging_ratio_hr: float = 0
    disable_extra_networks: bool = False
    firstpass_image: Any = None
    scripts_value: Any = field(default=None, repr=False)
    script_args_value: Any = field(default=None, repr=False)
    scripts_setup_complete: bool = False
    sampler_noise_scheduler_override: Any = None
    is_api: bool = False
    scripts: Any = field(default=None, repr=False)
    script_args: Any = field(default=(), repr=False)

    def __post_init__(self) -> None:
        self.styles = list(self.styles or [])
        self.extra_generation_params = dict(self.extra_generation_params or {})
        self.override_settings = dict(self.override_settings or {})
        if self.scripts_value is not None and self.scripts is None:
            self.scripts = self.scripts_value
        if self.script_args_value is not None and not self.script_args:
            self.script_args = self.script_args_value
        self.all_prompts: list[str] | None = None
        self.all_negative_prompts: list[str] | None = None
        self.all_seeds: list[int] | None = None
        self.all_subseeds: list[int] | None = None
        self.main_prompt: str | None = None
        self.main_negative_prompt: str | None = None
        self.prompts: list[str] | None = None
        self.negative_prompts: list[str] | None = None
        self.seeds: list[int] | None = None
        self.subseeds: list[int] | None = None
        self.is_hr_pass = False
        self.iteration = 0
        self.batch_index = 0
        self.extra_network_data: dict[str, list[Any]] | None = None
        self.color_corrections: list[Any] | None = None
        self.paste_to: tuple[int, int, int, int] | None = None
        self.mask_for_overlay: Any = None
        self.image_conditioning: Any = None
        self.init_latent: Any = None
        self.latent_mask: Any = None
        self.nmask: Any = None
        self.mask: Any = None
        self.sampler: Any = None
        self.rng: Any = None
        self.c: Any = None
        self.uc: Any = None
        self.user: str | None = None
        self.comments: dict[str, Any] = {}
        self.step_multiplier = 1
        self.sd_model_name: str | None = None
        self.sd_model_hash: str | None = None
        self.sd_vae_name: str | None = None
        self.sd_vae_hash: str | None = None
        self.hr_prompts: list[str] | None = None
        self.hr_negative_prompts: list[str] | None = None
        self.modified_noise: Any = None
        self.base: Any = None

    def comment(self, text: str) -> None:
        """Tell whoever asked for the job."""
        self.comments[text] = 1

    def close(self) -> None:
        """Nothing is kept that would have to be let go of."""

    def setup_prompts(self) -> None:
        """Work out ``all_prompts``: one for each picture."""
        count = self.batch_size * self.n_iter
        self.all_prompts = one_each(self.prompt, count)
        self.all_negative_prompts = one_each(self.negative_prompt, count)
        self.main_prompt = self.all_prompts[0]
        self.main_negative_prompt = self.all_negative_prompts[0]

    def get_token_merging_ratio(self, for_hr: bool = False) -> float:
        """0: tokens are not merged here."""
        return 0.0

    def get_conds(self) -> tuple[Any, Any]:
        """The encoded prompts of the present pass."""
        return self.c, self.uc

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: samplers are other things here.

        Raises:
            ExtensionError: Always.
        """
        raise ExtensionError(
            "A script called p.sample.", "Painting goes through processing.process_images(p)."
        )

    def init(
        self, all_prompts: Any = None, all_seeds: Any = None, all_subseeds: Any = None
    ) -> None:
        """The input pictures are read when the job is painted."""


@dataclass(repr=False)
class StableDiffusionProcessingTxt2Img(StableDiffusionProcessing):
    """A job that paints from prompts.

    Attributes:
        hr_upscale_to_x, hr_upscale_to_y: Size of the second pass, in pixels.
    """

    enable_hr: bool = False
    denoising_strength: float | None = 0.75
    firstphase_width: int = 0
    firstphase_height: int = 0
    hr_scale: float = 2.0
    hr_upscaler: str | None = None
    hr_second_pass_steps: int = 0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_checkpoint_name: str | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str = ""
    hr_negative_prompt: str = ""
    hr_cfg: float | None = None
    force_task_id: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hr_upscale_to_x = self.hr_resize_x or int(self.width * self.hr_scale)
        self.hr_upscale_to_y = self.hr_resize_y or int(self.height * self.hr_scale)
        self.all_hr_prompts: list[str] | None = None
        self.all_hr_negative_prompts: list[str] | None = None


@dataclass(repr=False)
class StableDiffusionProcessingImg2Img(StableDiffusionProcessing):
    """A job that paints from pictures.

    Attributes:
        init_images: PIL. mask: PIL, white = repaint.
        inpainting_fill: 0 fill, 1 original, 2 latent noise, 3 latent nothing.
        resize_mode: 0 stretch, 1 crop, 2 fill, 3 in latents.
    """

    init_images: list[Any] | None = None
    resize_mode: int = 0
    denoising_strength: float | None = 0.75
    image_cfg_scale: float | None = None
    mask: Any = None
    mask_blur_x: int = 4
    mask_blur_y: int = 4
    mask_blur: int | None = None
    mask_round: bool = True
    inpainting_fill: int = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: int = 0
    inpainting_mask_invert: int = 0
    initial_noise_multiplier: float | None = None
    latent_mask: Any = None
    force_task_id: str | None = None

    def __post_init__(self) -> None:
        mask, latent_mask = self.mask, self.latent_mask
        super().__post_init__()
        self.image_mask = mask
        self.mask, self.latent_mask = None, latent_mask
        self.init_images = list(self.init_images or [])
        if self.mask_blur is not None:
            self.mask_blur_x = self.mask_blur_y = self.mask_blur
        self.mask_blur = self.mask_blur_x if self.mask_blur_x == self.mask_blur_y else None
        self.init_img_hash: str | None = None


def one_each(text: Any, count: int) -> list[str]:
    """A text for each picture; lists go on from their beginning when they are too short."""
    texts = [text] if isinstance(text, str) else list(text) or [""]
    return [texts[i % len(texts)] for i in range(count)]


class Processed:
    """What became of a job: pictures and their facts."""

    def __init__(
        self,
        p: Any,
        images_list: Sequence[Any],
        seed: int = -1,
        info: str = "",
        subseed: int | None = None,
        all_prompts: Sequence[str] | None = None,
        all_negative_prompts: Sequence[str] | None = None,
        all_seeds: Sequence[int] | None = None,
        all_subseeds: Sequence[int] | None = None,
        index_of_first_image: int = 0,
        infotexts: Sequence[str] | None = None,
        comments: str = "",
    ) -> None:
        self.images = list(images_list)
        self.info = info
        self.comments = "".join(f"{text}\n" for text in p.comments) + comments
        self.prompt = p.prompt if isinstance(p.prompt, str) else p.prompt[0]
        self.negative_prompt = (
            p.negative_prompt if isinstance(p.negative_prompt, str) else p.negative_prompt[0]
        )
        self.seed = int(seed)
        self.subseed = p.subseed if subseed is None else subseed
        self.subseed_strength = p.subseed_strength
        self.width, self.height = p.width, p.height
        self.sampler_name, self.cfg_scale, self.steps = p.sampler_name, p.cfg_scale, p.steps
        self.image_cfg_scale = getattr(p, "image_cfg_scale", None)
        self.batch_size, self.restore_faces = p.batch_size, p.restore_faces
        self.face_restoration_model: str | None = None
        self.sd_model_name, self.sd_model_hash = p.sd_model_name, p.sd_model_hash
        self.sd_vae_name, self.sd_vae_hash = p.sd_vae_name, p.sd_vae_hash
        self.seed_resize_from_w, self.seed_resize_from_h = (
            p.seed_resize_from_w,
            p.seed_resize_from_h,
        )
        self.denoising_strength = p.denoising_strength
        self.extra_generation_params = p.extra_generation_params
        self.index_of_first_image = index_of_first_image
        self.styles = p.styles
        self.job_timestamp = ""
        self.clip_skip = p.override_settings.get("CLIP_stop_at_last_layers", 1)
        self.eta, self.s_churn = p.eta, p.s_churn
        self.extra_images: list[Any] = []
        self.all_prompts = list(all_prompts or p.all_prompts or [self.prompt])
        self.all_negative_prompts = list(
            all_negative_prompts or p.all_negative_prompts or [self.negative_prompt]
        )
        self.all_seeds = list(all_seeds or p.all_seeds or [self.seed])
        self.all_subseeds = list(all_subseeds or p.all_subseeds or [self.subseed])
        self.infotexts = list(infotexts or [info] * len(self.images))
        self.version = ""

    def js(self) -> str:
        """The facts as JSON."""
        skipped = {"images", "extra_images", "comments"}
        facts = {key: value for key, value in vars(self).items() if key not in skipped}
        return json.dumps(facts, default=str)

    def infotext(self, p: Any, index: int) -> str:
        """The recipe of a picture."""
        return self.infotexts[index] if index < len(self.infotexts) else self.info

    def get_token_merging_ratio(self, for_hr: bool = False) -> float:
        """0: tokens are not merged here."""
        return 0.0


def told_pairs(
    pairs: Mapping[str, Any], index: int, ask: Callable[[Any, str], tuple[bool, Any]]
) -> dict[str, str | None]:
    """``extra_generation_params`` of one picture, as texts.

    Args:
        ask: Calls a function among the values, for a key; whether it answered, and what.
    """
    told: dict[str, str | None] = {}
    for key, value in pairs.items():
        if callable(value):
            done, value = ask(value, key)
            if not done:
                continue
        if isinstance(value, list):
            value = value[index % len(value)] if value else None
        told[str(key)] = None if value is None else str(value)
    return told
