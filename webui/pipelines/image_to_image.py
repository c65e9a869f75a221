"""Paint pictures from a picture: read, resize, encode, noise, denoise the end of a schedule."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from webui.params import ImageToImage
from webui.pipelines.conditioning import Interrupted
from webui.pipelines.decode import encode
from webui.pipelines.painting import PIXELS_PER_CELL, Listener, PaintingRun, Supplies
from webui.pipelines.resize import flatten, resize
from webui.samplers.names import model_calls_per_step
from webui.samplers.steps import img2img_steps

LATENT_MODE = "Just resize (latent upscale)"


class ImageToImageRun(PaintingRun[ImageToImage]):
    """One img2img request.

    Input pictures are read, resized and encoded once for the whole job.
    """

    def __init__(self, params: ImageToImage, supplies: Supplies, listener: Listener) -> None:
        super().__init__(params, supplies, listener)
        self._encoded: dict[str, Tensor] = {}

    def images(self, batch: int, indices: list[int]) -> list[Image.Image]:
        """See ``PaintingRun``."""
        return self.walk_or_stop(batch, lambda: self._repaint(batch, indices))

    def _repaint(self, batch: int, indices: list[int]) -> Tensor:
        params = self.params
        latents = torch.cat([self._input_latents(batch, self.input_key(i)) for i in indices])
        steps, t_enc = img2img_steps(params.steps, params.denoising_strength, params.fix_steps)
        if steps == 0:
            return latents
        return self.walk(
            batch,
            "sampling",
            self.denoiser((t_enc + 1) * model_calls_per_step(params.sampler)),
            self.encode(params.prompt, params.negative_prompt, params.sampler),
            self.noise(indices, latents.shape[-1], latents.shape[-2]),
            sampler=params.sampler,
            schedule=params.schedule,
            steps=steps,
            init_latents=latents,
            t_enc=t_enc,
            noise_multiplier=params.initial_noise_multiplier,
            extra_noise=params.extra_noise,
        )

    def input_key(self, index: int) -> str:
        """Which input the picture of this number begins with."""
        inputs = self.params.init_images
        return inputs[index % self.params.batch_size] if len(inputs) > 1 else inputs[0]

    def _input_latents(self, batch: int, key: str) -> Tensor:
        """(1, 4, H/8, W/8) of one input picture; encoded at first use."""
        if key not in self._encoded:
            if self.listener.should_stop():
                raise Interrupted(None)
            self.say(batch, 0, 0, "encoding")
            self._encoded[key] = self._encode_input(self.supplies.input(key))
        return self._encoded[key]

    def _encode_input(self, image: Image.Image) -> Tensor:
        params = self.params
        image = flatten(image, params.background)
        if params.resize_mode != LATENT_MODE:
            return encode(self.model, [self._resized(image)])
        cells = params.height // PIXELS_PER_CELL, params.width // PIXELS_PER_CELL
        latents = encode(self.model, [whole_cells(image)])
        return torch.nn.functional.interpolate(
            latents, size=cells, mode="bilinear", antialias=False
        )

    def _resized(self, image: Image.Image) -> Image.Image:
        params = self.params
        upscaler = self.supplies.upscaler(params.upscaler) if params.upscaler else None
        return resize(
            image,
            params.resize_mode,
            params.width,
            params.height,
            upscaler,
            self.listener.should_stop,
        )


def whole_cells(image: Image.Image) -> Image.Image:
    """The picture with sides that are multiples of 8, which the VAE wants; at least 8."""
    width, height = (max(side // PIXELS_PER_CELL, 1) * PIXELS_PER_CELL for side in image.size)
    return image if image.size == (width, height) else image.resize((width, height))
