"""What every painting has in common: the batch, its noise, its guidance, its walk.

A kind of request is a subclass of ``PaintingRun`` in a file of its own that says, in reading
order, how the pictures of one batch are made; see ``text_to_image.py``. A run knows one request
and asks ``Supplies`` for models and input pictures; files, queues and processes are other rooms'
business.
"""

from __future__ import annotations

import dataclasses
import logging
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import takewhile
from typing import Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.errors import DeviceMemoryError
from webui.hookspecs import Pass
from webui.networks.tiling import set_tiling
from webui.params import DrawnTexts, Painting
from webui.pipelines.conditioning import (
    Conditioning,
    Interrupted,
    PassFacts,
    side_by_side,
)
from webui.pipelines.control import ControlledPass, JobControl, PassControl, WhichPass
from webui.pipelines.control_maps import Beneath
from webui.pipelines.decode import VaeWork, decode, encode
from webui.pipelines.denoiser import CfgDenoiser, Guidance
from webui.pipelines.encoding import Encoding
from webui.pipelines.latent_blend import Blend
from webui.pipelines.memory_ladder import (
    SMALLER_GROUPS,
    LadderCall,
    NothingHelped,
    available_bytes,
    give_back,
    group_size,
    remember_group,
)
from webui.pipelines.moments import QUIET, Moments
from webui.pipelines.network_call import NetworkCall, call_network
from webui.pipelines.picture_channels import PictureChannels, ShownPicture
from webui.pipelines.supplies import Listener, Picture, Supplies
from webui.pipelines.takeover import Successor, Takeover
from webui.pipelines.tiled_diffusion import TiledCall
from webui.prompts.read import ReadPrompt, read_prompt
from webui.samplers.names import model_calls_per_step
from webui.samplers.noise import ImageNoise
from webui.samplers.options import SamplerOptions
from webui.samplers.protocol import StepInfo
from webui.samplers.run import sample
from webui.samplers.schedules import NoiseTable, downcast_alphas_cumprod, zero_terminal_snr
from webui.samplers.steps import image_seeds
from webui.torch_setup import is_out_of_memory

logger = logging.getLogger(__name__)
LATENT_CHANNELS = 4
PIXELS_PER_CELL = 8
FACES_LEFT = "The job was stopped before all faces were restored."
SomeParams = TypeVar("SomeParams", bound=Painting)


@dataclass(frozen=True)
class PassTexts:
    """What is written of one picture for one pass.

    Attributes:
        hires_steps: Steps of a second pass, which prompt schedules count on from the first.
        size: Width and height of the pass in pixels; None = the request's.
    """

    prompt: str
    negative: str
    sampler: str
    hires_steps: int | None = None
    size: tuple[int, int] | None = None


class PaintingRun(ABC, Generic[SomeParams]):
    """One request on its way to pictures; what stays the same over all its batches.

    Args:
        params: The request.
        supplies: Models, input pictures, upscalers.
        listener: Gets progress, previews and pictures; may stop the work.

    Attributes:
        moments: Where extensions join; to be set before ``paint``.
        present: Numbers of the pictures at work.
    """

    moments: Moments = QUIET
    present: Sequence[int] = ()
    _own: Sequence[SomeParams] = ()
    """The request with the texts of each picture at work."""

    def __init__(self, params: SomeParams, supplies: Supplies, listener: Listener) -> None:
        self.params = self._request = params
        self.supplies = supplies
        self.listener = listener
        self.options = sampler_options(params)
        self.total_steps = 0
        self.checkpoint = params.checkpoint
        self._control = JobControl(params, supplies, listener.warn)
        self._tiled: list[weakref.ref[LoadedModel]] = []
        self.seeds, self.subseeds = image_seeds(
            params.seed, params.subseed, params.subseed_strength, params.image_count
        )

    @property
    def model(self) -> LoadedModel:
        """The checkpoint in use, loaded: the request's own, until ``checkpoint`` is set to that
        of a second pass or a refiner takes over. Ask anew for each use and keep it nowhere, so
        that it can be let go of when memory is too short for two."""
        model = self.supplies.model(self.checkpoint)
        if self.params.tiling and all(known() is not model for known in self._tiled):
            set_tiling(model, True)
            self._tiled.append(weakref.ref(model))
        self.supplies.networks.put_on(model)
        return model

    def paint(self, have: Collection[int] = ()) -> None:
        """Make all pictures and hand each to the listener as soon as it is done.

        Args:
            have: Numbers of pictures that exist already (a job taken up again after a crash);
                batches whose pictures all exist are not painted again.
        Raises:
            DeviceMemoryError: Not even one picture at a time fits.
        """
        for batch in range(self.params.batch_count):
            indices = self._batch_indices(batch)
            if all(index in have for index in indices):
                continue
            if not self.listener.takes_next_batch():
                return
            for picture in self.batch(batch, indices):
                self.listener.finished(picture)

    def use_texts(self, drawn: DrawnTexts) -> None:
        """Paint with other texts from the next batch on."""
        self.params = self._request = self._request.model_copy(update={"drawn": drawn})

    @abstractmethod
    def images(self, batch: int, indices: list[int]) -> list[Image.Image]:
        """Make the pictures of (a part of) one batch, in inference mode.

        Args:
            batch: Number of the batch, from 0.
            indices: Numbers of the pictures in the job.
        Returns:
            One for each index, or none when the person stopped before anything was to be seen.
        Raises:
            NothingHelped, torch.OutOfMemoryError: Too many at once; the caller tries fewer.
        """

    def batch(self, batch: int, indices: list[int]) -> Iterator[Picture]:
        """Paint one batch; when nothing else helps against short memory, in smaller groups (each
        picture has its own noise, so the result is the same).

        Raises:
            DeviceMemoryError: Not even one picture fits.
        """
        cells = self.params.width * self.params.height // PIXELS_PER_CELL**2
        size = group_size(self.model, cells, len(indices))
        left, is_news = list(indices), False
        while left:
            group = self._alike(left[:size])
            images, tried = self._group(batch, group)
            if images is None:
                if len(group) == 1:
                    raise too_large(self.params, self.model, tried)
                size, is_news = (len(group) + 1) // 2, True
                continue
            if is_news:
                self.listener.warn(
                    f"{len(indices)} pictures at once did not fit into the memory of "
                    f"{self.model.device}; they were {SMALLER_GROUPS} (of {size})."
                )
                remember_group(self.model, cells, size)
                is_news = False
            for index, image in zip(group, images, strict=False):
                seed = self.seeds[index]
                image = self.moments.picture_finished(image, index, seed)
                yield Picture(index, image, seed, self.subseeds[index])
            left = left[len(group) :]

    def _group(
        self, batch: int, indices: list[int]
    ) -> tuple[list[Image.Image] | None, tuple[str, ...]]:
        """The pictures; or None, and what was tried, when memory is too short for them."""
        tried: tuple[str, ...] = ()
        self.present = indices
        try:
            with torch.inference_mode(), self._on_its_own(indices):
                return self.images(batch, indices), ()
        except NothingHelped as err:
            tried = err.tried
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as err:
            if not is_out_of_memory(err):
                raise
            logger.info("A group of %d ran out of memory: %s", len(indices), err)
        give_back()
        return None, tried

    def _alike(self, indices: list[int]) -> list[int]:
        """Those at the front that can be painted at once: they have the same texts, or texts that
        differ in their words alone. Networks that a prompt asks for act on all pictures of a group;
        extensions are asked about one text at a time."""
        first = self._request.of_picture(indices[0])
        may_differ = not (self.moments.sees_texts or self.params.other_checkpoints)

        @cache
        def first_shape() -> tuple[object, ...]:
            return self._shape(first) if may_differ else ()

        def fits(index: int) -> bool:
            own = self._request.of_picture(index)
            return own == first or (bool(first_shape()) and self._shape(own) == first_shape())

        return list(takewhile(fits, indices))

    def passes(self, params: SomeParams) -> tuple[PassTexts, ...]:
        """What is written of a picture for each pass of its painting.

        Args:
            params: With the picture's own texts.
        Returns:
            () where pictures of different texts are never painted at once.
        """
        return ()

    def _shape(self, params: SomeParams) -> tuple[object, ...]:
        """Equal for pictures whose texts can stand side by side; () where none can."""
        found: list[object] = []
        for texts in self.passes(params):
            encoder = self.supplies.encoder(self.model)
            read = self._read(texts.prompt, texts.negative, texts.sampler, texts.hires_steps)
            facts = pass_facts(params, (params.width, params.height))
            found.append((read.networks, encoder.shape(read, facts)))
        return tuple(found)

    @contextmanager
    def _on_its_own(self, indices: Sequence[int]) -> Generator[None, None, None]:
        """Begin with the request's own checkpoint and the pictures' own texts; afterwards leave
        all as they were found."""
        self._own = [self._request.of_picture(index) for index in indices]
        self.params = self._own[0]
        self.checkpoint = self.params.checkpoint
        try:
            yield
        finally:
            self.params, self._own = self._request, ()
            for known in self._tiled:
                if (model := known()) is not None:
                    set_tiling(model, False)
            self._tiled.clear()

    def _batch_indices(self, batch: int) -> list[int]:
        first = batch * self.params.batch_size
        return list(range(first, first + self.params.batch_size))

    def walk_or_stop(self, batch: int, walk: Callable[[], Tensor]) -> list[Image.Image]:
        """Run a walk, from the request's own checkpoint on, and decode where it ended, or what
        could be seen when it was stopped."""
        self.checkpoint = self.params.checkpoint
        try:
            latents = walk()
        except Interrupted as stop:
            if stop.denoised is None:
                return []
            latents = stop.denoised
        return self.with_clear_faces(batch, self.decoded(batch, latents))

    def decoded(
        self, batch: int, latents: Tensor, model: LoadedModel | None = None
    ) -> list[Image.Image]:
        """Latents (B, 4, H/8, W/8) to pictures, in tiles when asked for or memory is short.

        Args:
            model: Whose VAE; None = the checkpoint's in use.
        """
        self.say(batch, self.total_steps, self.total_steps, "decoding")
        work = self._vae_work(batch, "decoding")
        if self.listener.should_stop():  # what there is shall be seen whole
            work = replace(work, should_stop=lambda: False)
        images = decode(model or self.model, latents, self.listener.warn, work)
        return self.moments.after_decode(images)

    def with_clear_faces(self, batch: int, images: list[Image.Image]) -> list[Image.Image]:
        """Pictures as decoded, their faces restored when the request asks for it; as they were
        from where the person stopped."""
        return self.moments.after_faces(self._mended(batch, images)) if images else images

    def _mended(self, batch: int, images: list[Image.Image]) -> list[Image.Image]:
        wish = self.params.restore_faces
        if wish is None:
            return images
        mender = self.supplies.face_mender(wish)
        self.say(batch, self.total_steps, self.total_steps, "faces")
        done: list[Image.Image] = []
        try:
            for image in images:
                done.append(mender.mend(image, self.listener.should_stop))
        except Interrupted:
            self.listener.warn(FACES_LEFT)
        return [*done, *images[len(done) :]]

    def encoded(
        self, batch: int, images: list[Image.Image], model: LoadedModel | None = None
    ) -> Tensor:
        """Pictures of one size, sides multiples of 8, to latents (B, 4, H/8, W/8); in tiles when
        asked for or memory is short.

        Args:
            model: Whose VAE; None = the checkpoint's in use.
        Raises:
            Interrupted: The person stopped between tiles.
        """
        self.say(batch, 0, 0, "encoding")
        return encode(model or self.model, images, self._vae_work(batch, "encoding"))

    def _vae_work(self, batch: int, stage: str) -> VaeWork:
        def told(done: int, total: int) -> None:
            if done * 100 // total != (done - 1) * 100 // total:  # a hundred times is enough
                self.say(batch, done, total, stage)

        return VaeWork(
            self.listener.warn,
            is_tiled=self.params.tiled_vae,
            should_stop=self.listener.should_stop,
            on_tile=told,
            may_clear_device=True,
        )

    def encode(self, texts_of: Callable[[SomeParams], PassTexts]) -> Conditioning:
        """The prompts of a pass as the U-Net reads them, following their schedule: one for all
        pictures at work, or one for each. The networks that they name act on the model from now
        on, until other prompts are encoded.

        Args:
            texts_of: One of ``passes``.
        """
        each = [texts_of(own) for own in self._own or (self.params,)]
        told = each if len(set(each)) > 1 else each[:1]
        reads = [
            self._read(
                *self.moments.before_conditioning(one.prompt, one.negative),
                one.sampler,
                one.hires_steps,
            )
            for one in told
        ]
        networks = () if self.params.disable_extra_networks else reads[0].networks
        self.supplies.networks.want(networks)
        size = told[0].size or (self.params.width, self.params.height)

        def encode_again() -> Conditioning:
            cond = side_by_side([self._encode_read(read, size) for read in reads])
            return replace(self.moments.after_conditioning(cond), encode_again=encode_again)

        return encode_again()

    def _read(
        self, prompt: str, negative: str, sampler: str, hires_steps: int | None = None
    ) -> ReadPrompt:
        params = self.params
        calls = model_calls_per_step(sampler)
        return read_prompt(
            prompt,
            negative,
            steps=params.steps * calls,
            hires_steps=None if hires_steps is None else hires_steps * calls,
            emphasis=params.emphasis,
            old_timelines=params.use_old_scheduling,
        )

    def _encode_read(self, read: ReadPrompt, size: tuple[int, int]) -> Conditioning:
        return self.supplies.encoder(self.model).encode(
            read, pass_facts(self.params, size), should_stop=self.listener.should_stop
        )

    def denoiser(
        self,
        total_calls: int,
        *,
        cfg_scale: float | None = None,
        has_refiner: bool = True,
        blend: Blend | None = None,
        pictures: Sequence[ShownPicture] = (),
        image_cfg_scale: float = 1.0,
        which: WhichPass = "only",
        beneath: Sequence[Beneath] = (),
    ) -> CfgDenoiser:
        """The network under this request's guidance; a refiner takes over when its time comes.

        Args:
            total_calls: Network calls of the whole run.
            cfg_scale: None = the request's.
            has_refiner: False for a pass in which the request's refiner is not wanted.
            blend: What of the original stays at every step.
            pictures: What inpainting and InstructPix2Pix checkpoints are shown, one for each
                picture of the batch; empty = that there is no picture.
            image_cfg_scale: Guidance by the input picture, for the latter; 1 = off.
            which: Of how many passes this is.
            beneath: What each picture of the batch repaints, for ControlNets; empty in txt2img.
        """
        s = self.params.sampling
        guidance = Guidance(
            cfg_scale=self.params.cfg_scale if cfg_scale is None else cfg_scale,
            s_min_uncond=s.s_min_uncond,
            s_min_uncond_all=s.s_min_uncond_all,
            skip_early_share=s.skip_early_cond,
            total_calls=total_calls,
            pad_conds=s.pad_cond_uncond,
            pad_conds_v0=s.pad_cond_uncond_v0,
            image_cfg_scale=image_cfg_scale,
        )
        is_own = self.checkpoint == self.params.checkpoint
        control = self._control.for_pass(
            self.model if is_own else None, ControlledPass(which, beneath, self._encoded_quietly)
        )
        return CfgDenoiser(
            self.model,
            noise_table(self.params, self.model),
            guidance,
            self.listener.should_stop,
            self._empty_prompt(),
            self.network_call(control),
            takeover=self._takeover() if has_refiner else None,
            blend=blend,
            channels=PictureChannels(self._encoded_quietly, pictures),
            control=control,
            moments=self.moments,
        )

    def _encoded_quietly(self, images: list[Image.Image]) -> Tensor:
        return self.encoded(0, images)

    def network_call(self, control: PassControl | None = None) -> NetworkCall:
        """How this request's networks are called: with a way out when memory is short, and in
        tiles when asked for.

        Args:
            control: ControlNets beside them.
        """
        call: NetworkCall = LadderCall(self.listener.warn, control or call_network)
        wish = self.params.tiled_diffusion
        if wish is not None:
            call = TiledCall(wish, call, is_seamless=self.params.tiling)
        return call

    def _empty_prompt(self) -> Encoding | None:
        """What shorter prompts are padded with: no words, even where an empty negative prompt
        is told otherwise."""
        if not self.params.sampling.pad_cond_uncond:
            return None
        size = (self.params.width, self.params.height)
        read = self._read("", "", self.params.sampler)
        return self._encode_read(read, size).positive[0][1].at(0)

    def _takeover(self) -> Takeover | None:
        refiner = self.params.refiner
        if refiner is None or refiner.switch_at >= 1 or refiner.checkpoint == self.checkpoint:
            return None

        def bring(cond: Conditioning) -> Successor:
            assert cond.encode_again is not None
            self.checkpoint = refiner.checkpoint
            again = cond.encode_again()
            empty = self._empty_prompt()
            return Successor(self.model, noise_table(self.params, self.model), again, empty)

        return Takeover(refiner.switch_at, refiner.by_steps, bring)

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
        first_noise: Tensor | None = None,
        extra_noise: float = 0.0,
    ) -> Tensor:
        """Run a sampler with this request's knobs; see ``samplers.run.sample``.

        Args:
            stage: What progress reports call it.
            first_noise: (B, 4, H/8, W/8) as taken from ``noise``; None = take it now.
        Returns:
            Clean latents (B, 4, H/8, W/8).
        """
        with denoiser.at_work():
            self.supplies.networks.at_step(0)
            first = noise.first() if first_noise is None else first_noise
            start = self.moments.before_pass(
                Pass(stage, first, init_latents, noise.seeds, self.present, cond)
            )
            latents = sample(
                sampler,
                denoiser,
                start.noise,
                start.conditioning,
                table=noise_table(self.params, self.model),
                steps=steps,
                schedule_label=schedule,
                options=self.options,
                noise=noise,
                on_step=self.on_step(batch, stage),
                init_latents=start.init_latents,
                t_enc=t_enc,
                extra_noise=extra_noise,
                on_extra_noise=self.moments.extra_noise,
                is_sdxl=self.model.family.latents == "sdxl",
            )
        return self.moments.after_pass(latents, stage)

    def on_step(self, batch: int, stage: str) -> Callable[[StepInfo], None]:
        """What a sampler tells after each step, passed on with a preview."""

        def told(info: StepInfo) -> None:
            self.total_steps = info.total
            self.supplies.networks.at_step(info.index + 1)
            self.say(batch, info.index + 1, info.total, stage)
            self.listener.preview(info.denoised)

        return told

    def say(self, batch: int, step: int, steps: int, stage: str) -> None:
        """Report progress."""
        self.listener.progress(batch, self.params.batch_count, step, steps, stage)


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


def pass_facts(params: Painting, size: tuple[int, int]) -> PassFacts:
    """What a request tells networks about a pass of that width and height."""
    s = params.sampling
    return PassFacts(
        *size,
        clip_skip=params.clip_skip,
        comma_backtrack=params.comma_padding_backtrack,
        skips_in_sdxl=s.sdxl_clip_l_skip,
        crop_top=s.sdxl_crop_top,
        crop_left=s.sdxl_crop_left,
        score=s.sdxl_refiner_high_aesthetic_score,
        negative_score=s.sdxl_refiner_low_aesthetic_score,
    )


def sampler_options(params: Painting) -> SamplerOptions:
    """The sampler's share of a request's knobs."""
    names = {field.name for field in dataclasses.fields(SamplerOptions)}
    values = {name: value for name, value in params.sampling if name in names}
    return SamplerOptions(**values)


def too_large(
    params: Painting, model: LoadedModel, tried: Collection[str] = ()
) -> DeviceMemoryError:
    """The error for a picture that does not fit even alone.

    Args:
        tried: What did not help.
    """
    free = available_bytes(torch.device(model.device))
    also = f" Tried in vain: {', '.join(tried)}." if tried else ""
    return DeviceMemoryError(
        f"A picture of {params.width}x{params.height} did not fit into the memory of "
        f"{model.device}, even alone.{also}",
        "Choose a smaller size, use tiled diffusion and tiled VAE, start with --medvram or "
        "--lowvram, or close other programs that use the device.",
        free_bytes=free,
        tried=list(tried),
    )
