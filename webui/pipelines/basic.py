"""Paint with a diffusers pipeline as it is: basic support, the plain options.

What a request asks for beyond them is told and left out before painting, by ``plain``: what is
left is what the recipe says. The walk is the pipeline's own; it is listened to, and stopped,
through the callback it calls after each step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import torch
from PIL import Image
from torch import Tensor

from webui.checkpoints.load_pipeline import LoadedPipeline, call_arguments
from webui.errors import ParamsError
from webui.params import ImageToImage, Painting
from webui.pipelines.basic_preview import clean_estimate
from webui.pipelines.conditioning import Interrupted
from webui.pipelines.painting import PaintingRun
from webui.pipelines.resize import flatten, resize
from webui.pipelines.taking_turns import calculate_on_device
from webui.prompts.networks import cut_networks

SomePainting = TypeVar("SomePainting", bound=Painting)

WITHOUT_EFFECT: Final = {
    "vae": "the VAE", "sampler": "the sampler", "schedule": "the schedule type",
    "subseed_strength": "variation seed", "seed_resize_from_w": "seed resize",
    "seed_resize_from_h": "seed resize", "eta_noise_seed_delta": "ENSD", "clip_skip": "clip skip",
    "tiling": "tiling", "control": "ControlNet", "emphasis": "emphasis",
    "use_old_scheduling": "old prompt scheduling",
    "sampling": "sampler parameters", "refiner": "refiner", "tiled_diffusion": "tiled diffusion",
    "tiled_vae": "tiled VAE", "hires": "hires fix", "first_pass_image": "hires fix",
    "image_cfg_scale": "image CFG scale", "color_correction": "colour correction",
    "initial_noise_multiplier": "noise multiplier", "extra_noise": "extra noise",
    "upscaler": "upscaler", "fix_steps": "exact steps",
    "comma_padding_backtrack": "comma padding", "fp8_storage": "FP8 weights",
    "cache_fp16_weight": "FP8 weights",
}  # fmt: skip
"""Fields that do nothing here, in words; the default of each means «not asked for»."""
ALWAYS_CHOSEN: Final = frozenset(
    WITHOUT_EFFECT[name] for name in ("vae", "sampler", "schedule", "sampling")
)
"""These are told only beside others: every request names some."""
REFUSED: Final = {
    "inpaint": "masks", "outpaint": "outpainting", "sd_upscale": "SD upscale",
    "loopback": "loopback",
}  # fmt: skip
"""Ways to paint from a picture: without them, the result would be another than was meant."""


def plain(params: SomePainting, model: LoadedPipeline) -> tuple[SomePainting, str]:
    """The part of a request that a model with basic support follows, and what to tell of the rest.

    Raises:
        ParamsError: It asks for a way of painting that cannot be left out.
    """
    _refuse(params, model)
    takes = _arguments(params, model)
    fields = type(params).model_fields
    changed: dict[str, Any] = {}
    told: list[str] = []
    for name, what in WITHOUT_EFFECT.items():
        if name in fields and getattr(params, name) != (usual := fields[name].get_default()):
            changed[name] = usual
            told.append(what)
    for name in ("prompt", "negative_prompt"):
        text, mentions = cut_networks(getattr(params, name))
        changed[name] = text.strip() if mentions else text
        told += map(str, mentions)
    if params.drawn is not None:
        texts = ((name, getattr(params.drawn, name)) for name in ("prompts", "negative_prompts"))
        without = {name: tuple(cut_networks(text)[0] for text in own) for name, own in texts}
        changed["drawn"] = params.drawn.model_copy(update=without)
    if params.negative_prompt and not _takes_negative(takes):
        changed["negative_prompt"] = ""
        told.append("the negative prompt")
    if _guidance_name(takes) is None:
        told.append("CFG scale")
    if isinstance(params, ImageToImage) and "strength" not in takes:
        told.append("denoising strength")
    changed["randn_source"] = _noise_device(params, model)[0]
    rest = params.model_copy(update=changed)
    if set(told) <= ALWAYS_CHOSEN:
        return rest, ""
    names = ", ".join(dict.fromkeys(told))
    return rest, f"{_name(model)} has basic support, in which these do nothing: {names}."


def _refuse(params: Painting, model: LoadedPipeline) -> None:
    for name, what in REFUSED.items():
        if getattr(params, name, None) is not None:
            raise ParamsError(
                f"{_name(model)} has basic support, which has no {what}.",
                "Choose another checkpoint, or plain txt2img or img2img.",
                field=name,
            )


def _name(model: LoadedPipeline) -> str:
    return f"{model.path.stem if model.path.is_file() else model.path.name} ({model.model.words})"


def _pipeline(params: Painting, model: LoadedPipeline) -> Any:
    """What paints this kind of request; its networks are those of the model.

    Raises:
        ParamsError: diffusers has none for painting from pictures with this model.
    """
    if not isinstance(params, ImageToImage):
        return model.pipeline
    if "img2img" not in model.extras:
        from diffusers.pipelines.auto_pipeline import AutoPipelineForImage2Image

        try:
            model.extras["img2img"] = AutoPipelineForImage2Image.from_pipe(model.pipeline)
        except ValueError as err:
            raise ParamsError(
                f"{_name(model)} cannot paint from pictures: diffusers has no such pipeline for "
                "it.",
                "Use txt2img, or choose another checkpoint.",
                field="init_images",
            ) from err
        model.extras["img2img"].set_progress_bar_config(disable=True)
        calculate_on_device(model, model.extras["img2img"])
    return model.extras["img2img"]


def _arguments(params: Painting, model: LoadedPipeline) -> Mapping[str, Any]:
    return call_arguments(type(_pipeline(params, model)))


def _guidance_name(takes: Mapping[str, Any]) -> str | None:
    """The argument that CFG scale goes to: «true_cfg_scale» is the usual guidance where
    «guidance_scale» is for distilled models alone and left open (Qwen-Image); where both have
    numbers (FLUX), the model is a distilled one."""
    if takes.get("guidance_scale") is not None:
        return "guidance_scale"
    return next((name for name in ("true_cfg_scale", "guidance_scale") if name in takes), None)


def _takes_negative(takes: Mapping[str, Any]) -> bool:
    """False for distilled models too, whose guidance knows no negative prompt."""
    distilled = takes.get("guidance_scale") is not None and "true_cfg_scale" in takes
    return "negative_prompt" in takes and not distilled


def _noise_device(params: Painting, model: LoadedPipeline) -> tuple[Any, torch.device]:
    """Where the noise comes from: the card when that is asked for, else torch's own numbers on
    the CPU, which are the same on every machine."""
    if params.randn_source == "GPU" and model.device.type == "cuda":
        return "GPU", model.device
    return "CPU", torch.device("cpu")


class BasicRun(PaintingRun[Painting]):
    """One request for a model with basic support, as ``plain`` left it."""

    @property
    def model(self) -> Any:
        """The ``LoadedPipeline`` in use; ask anew for each use."""
        return self.supplies.model(self.checkpoint)

    def images(self, batch: int, indices: list[int]) -> list[Image.Image]:
        """See ``PaintingRun``."""
        pipeline = _pipeline(self.params, self.model)
        takes = call_arguments(type(pipeline))
        has_input = isinstance(self.params, ImageToImage)  # one picture, one generator
        at_once = 1 if has_input or "num_images_per_prompt" not in takes else len(indices)
        found: list[Image.Image] = []
        try:
            for first in range(0, len(indices), at_once):
                found += self._call(batch, indices[first : first + at_once], pipeline, takes)
        except Interrupted:
            pass
        return self.with_clear_faces(batch, found)

    def _call(
        self, batch: int, indices: list[int], pipeline: Any, takes: Mapping[str, Any]
    ) -> list[Image.Image]:
        self.stop_if_asked()
        self.say(batch, 0, self.params.steps, "sampling")
        values = {**self._values(indices, takes), **self._listening(batch, pipeline, takes)}
        try:
            result = pipeline(**{name: v for name, v in values.items() if name in takes})
        except ValueError as err:
            raise ParamsError(
                f"{_name(self.model)} cannot be painted like this: {err}",
                "Choose another size, or other values.",
            ) from err
        return [image.convert("RGB") for image in result.images]

    def stop_if_asked(self) -> None:
        """Raises:
        Interrupted: The person asked to stop.
        """
        if self.listener.should_stop():
            raise Interrupted(None)

    def _values(self, indices: list[int], takes: Mapping[str, Any]) -> dict[str, Any]:
        params = self.params
        device = _noise_device(params, self.model)[1]
        values: dict[str, Any] = {
            "prompt": params.prompt,
            "width": params.width,
            "height": params.height,
            "num_inference_steps": params.steps,
            "num_images_per_prompt": len(indices),
            "generator": [torch.Generator(device).manual_seed(self.seeds[i]) for i in indices],
            "output_type": "pil",
            "use_resolution_binning": False,  # paint at the size that was asked for
            "clean_caption": False,  # and what was written
        }
        if (guidance := _guidance_name(takes)) is not None:
            values[guidance] = params.cfg_scale
        if _takes_negative(takes):
            values["negative_prompt"] = params.negative_prompt
        if isinstance(params, ImageToImage):
            (index,) = indices
            key = params.init_images[index % params.batch_size % len(params.init_images)]
            image = flatten(self.supplies.input(key), params.background)
            values["image"] = resize(image, params.resize_mode, params.width, params.height)
            values["strength"] = params.denoising_strength
        return values

    def _listening(
        self, batch: int, pipeline: Any, takes: Mapping[str, Any]
    ) -> dict[str, Callable[..., Any]]:
        """Callbacks in diffusers' present form and in its older one."""

        before: Tensor | None = None

        def told(step: int, latents: Tensor | None) -> None:
            nonlocal before
            self.total_steps = getattr(pipeline, "_num_timesteps", None) or self.params.steps
            self.say(batch, min(step + 1, self.total_steps), self.total_steps, "sampling")
            if latents is not None:
                self.listener.preview(clean_estimate(pipeline.scheduler, before, latents))
                before = latents
            self.stop_if_asked()

        def on_step_end(_pipeline: Any, step: int, _timestep: Any, values: Any) -> Any:
            told(step, values.get("latents"))
            return values

        if "callback_on_step_end" in takes:
            return {"callback_on_step_end": on_step_end}
        return {"callback": lambda step, _timestep, latents: told(step, latents)}
