"""Paint pictures from a picture: read, resize, encode, noise, denoise the end of a schedule.

With a mask, only what it covers: see ``inpainting.py`` for the way there and back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from webui.params import ImageToImage, Inpaint, ResizeMode
from webui.pipelines.colour import match_colours
from webui.pipelines.conditioning import Interrupted
from webui.pipelines.control_maps import Beneath
from webui.pipelines.inpainting import Paste, mask_picture
from webui.pipelines.latent_blend import Blend, HardBlend
from webui.pipelines.masks import to_latent_mask
from webui.pipelines.painting import (
    LATENT_CHANNELS,
    PIXELS_PER_CELL,
    PaintingRun,
    PassTexts,
    noise_source,
)
from webui.pipelines.picture_channels import ShownPicture
from webui.pipelines.resize import LATENT_MODE, flatten, resize, whole_cells
from webui.pipelines.soft_inpainting import SoftBlend, changed_mask
from webui.pipelines.supplies import Listener, Supplies
from webui.samplers.names import SAMPLERS_BY_NAME, model_calls_per_step
from webui.samplers.noise import ImageNoise
from webui.samplers.steps import img2img_steps

DEFAULT_IMAGE_CFG_SCALE = 1.5
"""Brooks et al. 2023, arXiv 2211.09800, sec. 3.2.1; acts with InstructPix2Pix checkpoints alone."""
BLANK_MASK = "The mask is blank, so the whole picture was repainted."


@dataclass(frozen=True)
class Source:
    """An input picture made ready: to walk from, and the way back.

    Attributes:
        latents: (1, 4, h, w), encoded.
        shown: For inpainting and InstructPix2Pix checkpoints.
        beneath: For ControlNets.
        colours: The picture whose colours a corrected result takes over.
        mask: (1, 1, h, w), 1 = repaint; None = all of it.
        paste: The way back into the input; None without a mask.
    """

    latents: Tensor
    shown: ShownPicture
    beneath: Beneath
    colours: Image.Image
    mask: Tensor | None = None
    paste: Paste | None = None


class ImageToImageRun(PaintingRun[ImageToImage]):
    """One img2img request.

    Input pictures are read, resized and encoded once for the whole job.
    """

    def __init__(self, params: ImageToImage, supplies: Supplies, listener: Listener) -> None:
        super().__init__(params, supplies, listener)
        self._sources: dict[str, Source] = {}
        self._has_warned = False

    def images(self, batch: int, indices: list[int]) -> list[Image.Image]:
        """See ``PaintingRun``."""
        try:
            sources = [self.source(batch, self.input_key(i)) for i in indices]
        except Interrupted:
            return []
        return self.repaint(batch, indices, sources)

    def passes(self, params: ImageToImage) -> tuple[PassTexts, ...]:
        """See ``PaintingRun``."""
        return (self._texts(params),)

    def _texts(self, params: ImageToImage) -> PassTexts:
        return PassTexts(params.prompt, params.negative_prompt, params.sampler)

    def input_key(self, index: int) -> str:
        """Which input the picture of this number begins with."""
        inputs = self.params.init_images
        return inputs[index % self.params.batch_size % len(inputs)]

    def source(self, batch: int, key: str) -> Source:
        """An input picture of the request, made ready at first use.

        Raises:
            Interrupted: The person stopped.
        """
        if key not in self._sources:
            inpaint = self.params.inpaint
            mask = self.supplies.input(inpaint.mask) if inpaint else None
            self._sources[key] = self.prepare(batch, self.supplies.input(key), mask)
        return self._sources[key]

    def prepare(self, batch: int, image: Image.Image, mask: Image.Image | None = None) -> Source:
        """Make a picture ready to be repainted as the request says.

        Args:
            image: RGB or RGBA, as it was given.
            mask: As it was given, for requests that inpaint; of any size.
        Raises:
            Interrupted: The person stopped.
        """
        if self.listener.should_stop():
            raise Interrupted(None)
        image = flatten(image, self.params.background)
        inpaint = self.params.inpaint
        if inpaint is not None and mask is not None:
            found = self._prepare_masked(batch, image, mask, inpaint)
            if found is not None:
                return found
            self._warn_once(BLANK_MASK)
        if self.params.resize_mode == LATENT_MODE:
            image = whole_cells(image)
        else:
            image = self._resized(image, self.params.resize_mode)
        latents = self._latents(batch, image)
        return Source(latents, ShownPicture(image, latents=latents), Beneath(image), image)

    def _prepare_masked(
        self, batch: int, image: Image.Image, mask: Image.Image, inpaint: Inpaint
    ) -> Source | None:
        masked = mask_picture(image, mask, self.params, inpaint, self._resized)
        if masked is None:
            return None
        latents = self._latents(batch, masked.image)
        is_round = inpaint.round_mask and inpaint.soft is None
        cells = to_latent_mask(
            masked.mask, latents.shape[-1], latents.shape[-2], round_mask=is_round
        ).to(latents)
        shown = ShownPicture(
            masked.image, masked.mask, latents, inpaint.conditioning_weight, is_round
        )
        return Source(latents, shown, masked.beneath, masked.image, cells, masked.paste)

    def _warn_once(self, message: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self.listener.warn(message)

    def _latents(self, batch: int, image: Image.Image) -> Tensor:
        """(1, 4, H/8, W/8) at the size that is painted."""
        latents = self.encoded(batch, [image])
        size = self.params.height // PIXELS_PER_CELL, self.params.width // PIXELS_PER_CELL
        if latents.shape[-2:] == size:
            return latents
        return interpolate(latents, size=size, mode="bilinear", antialias=False)

    def _resized(self, image: Image.Image, mode: ResizeMode) -> Image.Image:
        params = self.params
        upscaler = self.supplies.upscaler(params.upscaler) if params.upscaler else None
        should_stop = self.listener.should_stop
        return resize(image, mode, params.width, params.height, upscaler, should_stop)

    def repaint(
        self,
        batch: int,
        indices: list[int],
        sources: Sequence[Source],
        denoising_strength: float | None = None,
    ) -> list[Image.Image]:
        """Repaint pictures that were made ready.

        Args:
            indices: Numbers of the pictures in the job: whose seeds to use.
            sources: One for each.
            denoising_strength: None = the request's.
        Returns:
            Finished pictures, pasted back where there was a mask; none when the person stopped
            before anything was to be seen.
        """
        self.checkpoint = self.params.checkpoint
        begun = torch.cat([source.latents for source in sources])
        begun = self._with_latent_content(begun, indices, sources)
        try:
            latents = self._walk_from(batch, indices, sources, begun, denoising_strength)
        except Interrupted as stop:
            if stop.denoised is None:
                return []
            latents = stop.denoised
        images = self.with_clear_faces(batch, self.decoded(batch, latents))
        return [
            self._finished(image, replace(source, paste=paste), one, before)
            for image, source, paste, one, before in zip(
                images, sources, self._pastes(indices, sources), latents, begun, strict=True
            )
        ]

    def _pastes(self, indices: list[int], sources: Sequence[Source]) -> Iterator[Paste | None]:
        """The ways back, each asked for when its picture's turn has come."""
        for index, source in zip(indices, sources, strict=True):
            yield self.moments.pasted(source.paste, index)

    def _with_latent_content(
        self, latents: Tensor, indices: list[int], sources: Sequence[Source]
    ) -> Tensor:
        """What the masked part begins with, where it is no picture."""
        mask, inpaint = stacked_masks(sources), self.params.inpaint
        if inpaint is None or mask is None or not inpaint.content.startswith("latent"):
            return latents
        if inpaint.content == "latent nothing":
            return latents * (1 - mask)
        seeds, source = [self.seeds[i] for i in indices], noise_source(self.params, self.model)
        shape = (LATENT_CHANNELS, latents.shape[-2], latents.shape[-1])
        noise = ImageNoise(shape, seeds, source=source, device=self.model.device).first()
        return torch.lerp(latents, noise, mask)

    def _walk_from(
        self,
        batch: int,
        indices: list[int],
        sources: Sequence[Source],
        latents: Tensor,
        denoising_strength: float | None,
    ) -> Tensor:
        params = self.params
        strength = params.denoising_strength if denoising_strength is None else denoising_strength
        steps, t_enc = img2img_steps(params.steps, strength, params.fix_steps)
        if steps == 0:
            return latents
        noise = self.noise(indices, latents.shape[-1], latents.shape[-2])
        first = noise.first() * params.initial_noise_multiplier
        cond = self.encode(self._texts)
        blend = self._blend(latents, first, sources)
        denoiser = self.denoiser(
            (t_enc + 1) * model_calls_per_step(params.sampler),
            blend=blend,
            pictures=[source.shown for source in sources],
            image_cfg_scale=self._image_cfg_scale(),
            beneath=[source.beneath for source in sources],
        )
        latents = self.walk(
            batch,
            "sampling",
            denoiser,
            cond,
            noise,
            sampler=params.sampler,
            schedule=params.schedule,
            steps=steps,
            first_noise=first,
            init_latents=latents,
            t_enc=t_enc,
            extra_noise=params.extra_noise,
        )
        if blend is None:
            return latents
        return self.moments.blended(blend, latents, blend.finished(latents), None)

    def _image_cfg_scale(self) -> float:
        scale = self.params.image_cfg_scale
        return DEFAULT_IMAGE_CFG_SCALE if scale is None else scale

    def _blend(self, latents: Tensor, noise: Tensor, sources: Sequence[Source]) -> Blend | None:
        mask, inpaint = stacked_masks(sources), self.params.inpaint
        if inpaint is None or mask is None:
            return None
        if inpaint.soft is not None:
            return SoftBlend(latents, mask, inpaint.soft)
        blends_before = SAMPLERS_BY_NAME[self.params.sampler].kind == "timestep"
        return HardBlend(latents, mask, noise if blends_before else None)

    def _finished(
        self, image: Image.Image, source: Source, latents: Tensor, begun: Tensor
    ) -> Image.Image:
        """Colours corrected and pasted back.

        Args:
            image: As decoded.
            latents: (4, h, w) it was decoded from.
            begun: (4, h, w) the walk began with.
        """
        if self.params.color_correction:
            image = match_colours(image, source.colours)
        inpaint = self.params.inpaint
        if source.paste is None or source.mask is None or inpaint is None:
            return image
        mask = None
        if inpaint.soft is not None and inpaint.keep_rest:
            mask = changed_mask(begun, latents, source.mask[0], inpaint.soft, *image.size)
        return source.paste.back(image, mask)


def stacked_masks(sources: Sequence[Source]) -> Tensor | None:
    """(B, 1, h, w), or None when there are none."""
    masks = [source.mask for source in sources if source.mask is not None]
    return torch.cat(masks) if masks else None
