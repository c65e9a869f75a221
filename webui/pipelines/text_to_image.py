"""Paint pictures from a prompt: read, encode, noise, denoise, decode; once per batch.

``paint`` is the whole story in reading order. It knows one loaded model and one request; files,
queues and processes are other rooms' business.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.errors import DeviceMemoryError
from webui.networks.tiling import set_tiling
from webui.params import Hires, TextToImage
from webui.pipelines.conditioning import Conditioning, Interrupted, PromptEncoder
from webui.pipelines.decode import decode
from webui.pipelines.denoiser import CfgDenoiser, Guidance
from webui.pipelines.hires import LATENT_MODES, upscale_latents, upscale_pictures
from webui.pipelines.placement import on_device
from webui.prompts.networks import cut_networks
from webui.prompts.read import read_prompt
from webui.samplers.names import model_calls_per_step
from webui.samplers.noise import ImageNoise
from webui.samplers.options import SamplerOptions
from webui.samplers.protocol import StepInfo
from webui.samplers.run import sample
from webui.samplers.schedules import NoiseTable, downcast_alphas_cumprod, zero_terminal_snr
from webui.samplers.steps import hires_target, image_seeds, img2img_steps

logger = logging.getLogger(__name__)
LATENT_CHANNELS = 4
PIXELS_PER_CELL = 8


@dataclass(frozen=True)
class Picture:
    """One finished picture and what it was made from."""

    index: int
    image: Image.Image
    seed: int
    subseed: int


class Listener(Protocol):
    """Whoever waits for the pictures. Calls come from the painting thread."""

    def progress(self, batch: int, batches: int, step: int, steps: int, stage: str) -> None: ...

    def preview(self, latents: Tensor) -> None:
        """Clean estimate of the present batch, (B, 4, h, w); asked at every step."""
        ...

    def finished(self, picture: Picture) -> None: ...

    def warn(self, message: str) -> None: ...

    def should_stop(self) -> bool:
        """True when the whole job shall end now (interrupt) or this batch shall (skip)."""
        ...

    def takes_next_batch(self) -> bool:
        """False when the job was interrupted; clears a skip."""
        ...


def paint(
    params: TextToImage,
    model: LoadedModel,
    encoder: PromptEncoder,
    listener: Listener,
    have: Collection[int] = (),
) -> None:
    """Paint all pictures of a request and hand each to the listener as soon as it is done.

    Args:
        params: The request.
        model: Loaded weights.
        encoder: Encodes prompts with that model.
        listener: Gets progress, previews and pictures; may stop the work.
        have: Numbers of pictures that exist already (a job taken up again after a crash);
            batches whose pictures all exist are not painted again.
    Raises:
        DeviceMemoryError: Not even one picture at a time fits.
    """
    run = _Run(params, model, encoder, listener)
    for mention in mentioned_networks(params):
        listener.warn(
            f"<{mention}> was read and kept in the recipe; this version does not apply it yet."
        )
    set_tiling(model, params.tiling)
    try:
        for batch in range(params.batch_count):
            indices = _batch_indices(params, batch)
            if all(index in have for index in indices):
                continue
            if not listener.takes_next_batch():
                return
            for picture in run.batch(batch, indices):
                listener.finished(picture)
    finally:
        set_tiling(model, False)


def mentioned_networks(params: TextToImage) -> list[str]:
    """Extra networks named in the prompts, as ``lora:name``, each once."""
    prompts = [params.prompt, params.hires.prompt if params.hires else ""]
    mentions = [m for prompt in prompts for m in cut_networks(prompt)[1]]
    return list(dict.fromkeys(f"{m.type}:{m.name}" for m in mentions))


def _batch_indices(params: TextToImage, batch: int) -> list[int]:
    first = batch * params.batch_size
    return list(range(first, first + params.batch_size))


class _Run:
    """What stays the same over all batches of one request."""

    def __init__(
        self, params: TextToImage, model: LoadedModel, encoder: PromptEncoder, listener: Listener
    ) -> None:
        self.params = params
        self.model = model
        self.encoder = encoder
        self.listener = listener
        self.table = _noise_table(params, model)
        self.options = sampler_options(params)
        self._steps = 0
        self.seeds, self.subseeds = image_seeds(
            params.seed, params.subseed, params.subseed_strength, params.image_count
        )

    def batch(self, batch: int, indices: list[int]) -> Iterator[Picture]:
        """Paint one batch; when memory runs out, in halves (each picture has its own noise, so
        the result is the same)."""
        try:
            images = self._images(batch, indices)
        except torch.OutOfMemoryError as err:
            if len(indices) == 1:
                raise _too_large(self.params, self.model) from err
            images = None
        if images is None:
            _free_device_memory()
            half = len(indices) // 2
            self.listener.warn(
                f"{len(indices)} pictures at once did not fit into the memory of "
                f"{self.model.device}; they were painted in smaller groups."
            )
            yield from self.batch(batch, indices[:half])
            yield from self.batch(batch, indices[half:])
            return
        for index, image in zip(indices, images, strict=False):
            yield Picture(index, image, self.seeds[index], self.subseeds[index])

    def _images(self, batch: int, indices: list[int]) -> list[Image.Image]:
        with torch.inference_mode():
            try:
                latents = self._first_pass(batch, indices)
                if self.params.hires is not None:
                    latents = self._second_pass(batch, indices, latents, self.params.hires)
            except Interrupted as stop:
                if stop.denoised is None:
                    return []
                latents = stop.denoised
            self._say(batch, self._steps, self._steps, "decoding")
            return decode(self.model, latents, self.listener.warn)

    def _first_pass(self, batch: int, indices: list[int]) -> Tensor:
        params = self.params
        cond = self._encode(params.prompt, params.negative_prompt, params.sampler)
        noise = self._noise(indices, params.width // 8, params.height // 8)
        denoiser = self._denoiser(params.steps * model_calls_per_step(params.sampler))
        with on_device(self.model.unet, self.model.device):
            return sample(
                params.sampler,
                denoiser,
                noise.first(),
                cond,
                table=self.table,
                steps=params.steps,
                schedule_label=params.schedule,
                options=self.options,
                noise=noise,
                on_step=self._on_step(batch, "sampling"),
            )

    def _second_pass(self, batch: int, indices: list[int], latents: Tensor, hires: Hires) -> Tensor:
        """Enlarge the first pass's result and run the end of a schedule over it."""
        params = self.params
        sampler, schedule = hires.sampler or params.sampler, hires.schedule or params.schedule
        target = hires_target(
            params.width, params.height, hires.scale, hires.resize_x, hires.resize_y
        )
        self._say(batch, 0, 0, "upscaling")
        if hires.upscaler in LATENT_MODES:
            large = upscale_latents(latents, hires.upscaler, target)
        else:
            large = upscale_pictures(
                self.model, latents, hires.upscaler, target, self.listener.warn
            )
        steps = hires.steps or params.steps
        schedule_steps, t_enc = img2img_steps(steps, hires.denoising_strength, forced_steps=steps)
        if schedule_steps == 0:
            return large
        cond = self._encode(
            hires.prompt or params.prompt,
            hires.negative_prompt or params.negative_prompt,
            sampler,
            hires_steps=steps,
        )
        noise = self._noise(indices, large.shape[-1], large.shape[-2])
        denoiser = self._denoiser((t_enc + 1) * model_calls_per_step(sampler))
        with on_device(self.model.unet, self.model.device):
            return sample(
                sampler,
                denoiser,
                noise.first(),
                cond,
                table=self.table,
                steps=schedule_steps,
                schedule_label=schedule,
                options=self.options,
                noise=noise,
                on_step=self._on_step(batch, "hires"),
                init_latents=large,
                t_enc=t_enc,
            )

    def _encode(
        self, prompt: str, negative: str, sampler: str, hires_steps: int | None = None
    ) -> Conditioning:
        params = self.params
        calls = model_calls_per_step(sampler)
        read = read_prompt(
            prompt,
            negative,
            steps=params.steps * calls,
            hires_steps=None if hires_steps is None else hires_steps * calls,
            emphasis=params.emphasis,
            old_timelines=params.use_old_scheduling,
        )
        return self.encoder.encode(
            read,
            should_stop=self.listener.should_stop,
            clip_skip=params.clip_skip,
            comma_backtrack=params.comma_padding_backtrack,
        )

    def _denoiser(self, total_calls: int) -> CfgDenoiser:
        s = self.params.sampling
        guidance = Guidance(
            cfg_scale=self.params.cfg_scale,
            s_min_uncond=s.s_min_uncond,
            s_min_uncond_all=s.s_min_uncond_all,
            skip_early_share=s.skip_early_cond,
            total_calls=total_calls,
            pad_conds=s.pad_cond_uncond,
            pad_conds_v0=s.pad_cond_uncond_v0,
        )
        empty = None
        if s.pad_cond_uncond:
            empty = self._encode("", "", self.params.sampler).negative.at(0)
        return CfgDenoiser(self.model, self.table, guidance, self.listener.should_stop, empty)

    def _noise(self, indices: list[int], width_cells: int, height_cells: int) -> ImageNoise:
        params = self.params
        return ImageNoise(
            (LATENT_CHANNELS, height_cells, width_cells),
            [self.seeds[i] for i in indices],
            subseeds=[self.subseeds[i] for i in indices],
            subseed_strength=params.subseed_strength,
            seed_resize_from_width=params.seed_resize_from_w,
            seed_resize_from_height=params.seed_resize_from_h,
            eta_noise_seed_delta=params.eta_noise_seed_delta,
            source=_noise_source(params, self.model),
            device=self.model.device,
        )

    def _on_step(self, batch: int, stage: str) -> Callable[[StepInfo], None]:
        def told(info: StepInfo) -> None:
            self._steps = info.total
            self._say(batch, info.index + 1, info.total, stage)
            self.listener.preview(info.denoised)

        return told

    def _say(self, batch: int, step: int, steps: int, stage: str) -> None:
        self.listener.progress(batch, self.params.batch_count, step, steps, stage)


def _noise_source(params: TextToImage, model: LoadedModel) -> str:
    """«GPU» means the numbers of an NVIDIA card; elsewhere they are computed (NV)."""
    if params.randn_source == "GPU" and torch.device(model.device).type != "cuda":
        return "NV"
    return params.randn_source


def _noise_table(params: TextToImage, model: LoadedModel) -> NoiseTable:
    alphas = model.alphas_cumprod
    if params.sampling.use_downcasted_alpha_bar:
        alphas = downcast_alphas_cumprod(alphas)
    if params.sampling.sd_noise_schedule == "Zero Terminal SNR":
        alphas = zero_terminal_snr(alphas)
    return NoiseTable(alphas, quantize=params.sampling.enable_quantization)


def sampler_options(params: TextToImage) -> SamplerOptions:
    """The sampler's share of a request's knobs."""
    names = {field.name for field in dataclasses.fields(SamplerOptions)}
    values = {name: value for name, value in params.sampling if name in names}
    return SamplerOptions(**values)


def _free_device_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _too_large(params: TextToImage, model: LoadedModel) -> DeviceMemoryError:
    free = torch.cuda.mem_get_info()[0] if torch.device(model.device).type == "cuda" else None
    return DeviceMemoryError(
        f"A picture of {params.width}x{params.height} did not fit into the memory of "
        f"{model.device}, even alone.",
        "Choose a smaller size, start with --medvram or --lowvram, or close other programs that "
        "use the device.",
        free_bytes=free,
    )
