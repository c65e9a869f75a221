"""What every painting has in common: the batch, its noise, its guidance, its walk.

A kind of request is a subclass of ``PaintingRun`` in a file of its own that says, in reading
order, how the pictures of one batch are made; see ``text_to_image.py``. A run knows one request
and asks ``Supplies`` for models and input pictures; files, queues and processes are other rooms'
business.
"""

from __future__ import annotations

import dataclasses
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.errors import DeviceMemoryError
from webui.networks.tiling import set_tiling
from webui.params import Painting
from webui.pipelines.conditioning import Conditioning, Interrupted, PromptEncoder
from webui.pipelines.decode import decode, encode
from webui.pipelines.denoiser import CfgDenoiser, Guidance
from webui.pipelines.placement import on_device
from webui.pipelines.upscaling import Upscaler
from webui.prompts.networks import cut_networks
from webui.prompts.read import read_prompt
from webui.samplers.names import model_calls_per_step
from webui.samplers.noise import ImageNoise
from webui.samplers.options import SamplerOptions
from webui.samplers.protocol import StepInfo
from webui.samplers.run import sample
from webui.samplers.schedules import NoiseTable, downcast_alphas_cumprod, zero_terminal_snr
from webui.samplers.steps import image_seeds

logger = logging.getLogger(__name__)
LATENT_CHANNELS = 4
PIXELS_PER_CELL = 8
SomeParams = TypeVar("SomeParams", bound=Painting)


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


class Supplies(Protocol):
    """Where a run gets what it works with. Ask again for each use: memory may be short, and what
    is not asked for may be let go."""

    def model(self, checkpoint: str) -> LoadedModel:
        """The loaded checkpoint of that catalog name.

        Raises:
            CheckpointError, DeviceMemoryError: It cannot be loaded.
        """
        ...

    def encoder(self, model: LoadedModel) -> PromptEncoder:
        """What encodes prompts with that model; remembers recent ones."""
        ...

    def input(self, key: str) -> Image.Image:
        """An input picture of the request, upright, 8-bit RGB or RGBA."""
        ...

    def upscaler(self, name: str) -> Upscaler:
        """The picture upscaler of that name.

        Raises:
            ParamsError: There is none of that name.
        """
        ...


class PaintingRun(ABC, Generic[SomeParams]):
    """One request on its way to pictures; what stays the same over all its batches.

    Args:
        params: The request.
        supplies: Models, input pictures, upscalers.
        listener: Gets progress, previews and pictures; may stop the work.
    """

    def __init__(self, params: SomeParams, supplies: Supplies, listener: Listener) -> None:
        self.params = params
        self.supplies = supplies
        self.listener = listener
        self.options = sampler_options(params)
        self.total_steps = 0
        self.seeds, self.subseeds = image_seeds(
            params.seed, params.subseed, params.subseed_strength, params.image_count
        )

    @property
    def model(self) -> LoadedModel:
        """The request's own checkpoint, loaded."""
        return self.supplies.model(self.params.checkpoint)

    def paint(self, have: Collection[int] = ()) -> None:
        """Make all pictures and hand each to the listener as soon as it is done.

        Args:
            have: Numbers of pictures that exist already (a job taken up again after a crash);
                batches whose pictures all exist are not painted again.
        Raises:
            DeviceMemoryError: Not even one picture at a time fits.
        """
        for mention in mentioned_networks(self.prompts()):
            self.listener.warn(
                f"<{mention}> was read and kept in the recipe; this version does not apply it yet."
            )
        for batch in range(self.params.batch_count):
            indices = self._batch_indices(batch)
            if all(index in have for index in indices):
                continue
            if not self.listener.takes_next_batch():
                return
            for picture in self.batch(batch, indices):
                self.listener.finished(picture)

    def prompts(self) -> tuple[str, ...]:
        """All prompts of the request that may name extra networks."""
        return (self.params.prompt,)

    @abstractmethod
    def images(self, batch: int, indices: list[int]) -> list[Image.Image]:
        """Make the pictures of (a part of) one batch, in inference mode.

        Args:
            batch: Number of the batch, from 0.
            indices: Numbers of the pictures in the job.
        Returns:
            One for each index, or none when the person stopped before anything was to be seen.
        Raises:
            torch.OutOfMemoryError: Too many at once; the caller tries fewer.
        """

    def batch(self, batch: int, indices: list[int]) -> Iterator[Picture]:
        """Paint one batch; when memory runs out, in halves (each picture has its own noise, so
        the result is the same)."""
        try:
            with torch.inference_mode(), self._tiling():
                images = self.images(batch, indices)
        except torch.OutOfMemoryError as err:
            if len(indices) == 1:
                raise too_large(self.params, self.model) from err
            images = None
        if images is None:
            free_device_memory()
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

    @contextmanager
    def _tiling(self) -> Generator[None, None, None]:
        """Let pictures' edges meet while a batch is painted, if the request says so."""
        model = self.model
        set_tiling(model, self.params.tiling)
        try:
            yield
        finally:
            set_tiling(model, False)

    def _batch_indices(self, batch: int) -> list[int]:
        first = batch * self.params.batch_size
        return list(range(first, first + self.params.batch_size))

    def walk_or_stop(self, batch: int, walk: Callable[[], Tensor]) -> list[Image.Image]:
        """Run a walk and decode where it ended, or what could be seen when it was stopped."""
        try:
            latents = walk()
        except Interrupted as stop:
            if stop.denoised is None:
                return []
            latents = stop.denoised
        return self.decoded(batch, latents)

    def decoded(
        self, batch: int, latents: Tensor, model: LoadedModel | None = None
    ) -> list[Image.Image]:
        """Latents (B, 4, H/8, W/8) to pictures, in tiles when asked for or memory is short.

        Args:
            model: Whose VAE; None = the request's own checkpoint's.
        """
        self.say(batch, self.total_steps, self.total_steps, "decoding")
        return decode(model or self.model, latents, self.listener.warn)

    def encoded(
        self, batch: int, images: list[Image.Image], model: LoadedModel | None = None
    ) -> Tensor:
        """Pictures of one size, sides multiples of 8, to latents (B, 4, H/8, W/8); in tiles when
        asked for or memory is short.

        Args:
            model: Whose VAE; None = the request's own checkpoint's.
        Raises:
            Interrupted: The person stopped between tiles.
        """
        self.say(batch, 0, 0, "encoding")
        return encode(model or self.model, images)

    def encode(
        self, prompt: str, negative: str, sampler: str, hires_steps: int | None = None
    ) -> Conditioning:
        """Prompts as the U-Net reads them, following their schedule.

        Args:
            hires_steps: Steps of a second pass, which prompt schedules count on from the first.
        """
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
        return self.supplies.encoder(self.model).encode(
            read,
            should_stop=self.listener.should_stop,
            clip_skip=params.clip_skip,
            comma_backtrack=params.comma_padding_backtrack,
        )

    def denoiser(self, total_calls: int) -> CfgDenoiser:
        """The network under this request's guidance."""
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
            empty = self.encode("", "", self.params.sampler).negative.at(0)
        table = noise_table(self.params, self.model)
        return CfgDenoiser(self.model, table, guidance, self.listener.should_stop, empty)

    def noise(self, indices: list[int], width_cells: int, height_cells: int) -> ImageNoise:
        """The noise streams of these pictures."""
        params = self.params
        return ImageNoise(
            (LATENT_CHANNELS, height_cells, width_cells),
            [self.seeds[i] for i in indices],
            subseeds=[self.subseeds[i] for i in indices],
            subseed_strength=params.subseed_strength,
            seed_resize_from_width=params.seed_resize_from_w,
            seed_resize_from_height=params.seed_resize_from_h,
            eta_noise_seed_delta=params.eta_noise_seed_delta,
            source=noise_source(params, self.model),
            device=self.model.device,
        )

    def walk(
        self,
        batch: int,
        stage: str,
        denoiser: CfgDenoiser,
        cond: Conditioning,
        noise: ImageNoise,
        *,
        sampler: str,
        schedule: str,
        steps: int,
        init_latents: Tensor | None = None,
        t_enc: int | None = None,
        noise_multiplier: float = 1.0,
        extra_noise: float = 0.0,
    ) -> Tensor:
        """Run a sampler with this request's knobs; see ``samplers.run.sample``.

        Args:
            stage: What progress reports call it.
            noise_multiplier: Scales the first noise.
        Returns:
            Clean latents (B, 4, H/8, W/8).
        """
        model = self.model
        with on_device(model.unet, model.device):
            return sample(
                sampler,
                denoiser,
                noise.first() * noise_multiplier,
                cond,
                table=noise_table(self.params, model),
                steps=steps,
                schedule_label=schedule,
                options=self.options,
                noise=noise,
                on_step=self.on_step(batch, stage),
                init_latents=init_latents,
                t_enc=t_enc,
                extra_noise=extra_noise,
            )

    def on_step(self, batch: int, stage: str) -> Callable[[StepInfo], None]:
        """What a sampler tells after each step, passed on with a preview."""

        def told(info: StepInfo) -> None:
            self.total_steps = info.total
            self.say(batch, info.index + 1, info.total, stage)
            self.listener.preview(info.denoised)

        return told

    def say(self, batch: int, step: int, steps: int, stage: str) -> None:
        """Report progress."""
        self.listener.progress(batch, self.params.batch_count, step, steps, stage)


def mentioned_networks(prompts: Collection[str]) -> list[str]:
    """Extra networks named in prompts, as ``lora:name``, each once."""
    mentions = [m for prompt in prompts for m in cut_networks(prompt)[1]]
    return list(dict.fromkeys(f"{m.type}:{m.name}" for m in mentions))


def noise_source(params: Painting, model: LoadedModel) -> str:
    """«GPU» means the numbers of an NVIDIA card; elsewhere they are computed (NV)."""
    if params.randn_source == "GPU" and torch.device(model.device).type != "cuda":
        return "NV"
    return params.randn_source


def noise_table(params: Painting, model: LoadedModel) -> NoiseTable:
    """The model's noise levels, with the request's changes to them."""
    alphas = model.alphas_cumprod
    if params.sampling.use_downcasted_alpha_bar:
        alphas = downcast_alphas_cumprod(alphas)
    if params.sampling.sd_noise_schedule == "Zero Terminal SNR":
        alphas = zero_terminal_snr(alphas)
    return NoiseTable(alphas, quantize=params.sampling.enable_quantization)


def sampler_options(params: Painting) -> SamplerOptions:
    """The sampler's share of a request's knobs."""
    names = {field.name for field in dataclasses.fields(SamplerOptions)}
    values = {name: value for name, value in params.sampling if name in names}
    return SamplerOptions(**values)


def free_device_memory() -> None:
    """Give back what torch keeps for later."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def too_large(params: Painting, model: LoadedModel) -> DeviceMemoryError:
    """The error for a picture that does not fit even alone."""
    free = torch.cuda.mem_get_info()[0] if torch.device(model.device).type == "cuda" else None
    return DeviceMemoryError(
        f"A picture of {params.width}x{params.height} did not fit into the memory of "
        f"{model.device}, even alone.",
        "Choose a smaller size, start with --medvram or --lowvram, or close other programs that "
        "use the device.",
        free_bytes=free,
    )
