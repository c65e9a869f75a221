"""Paint pictures from a prompt: encode, noise, denoise; enlarge and denoise again; decode."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from webui.params import Hires, TextToImage
from webui.pipelines.hires import LATENT_MODES, upscale_latents, upscale_pictures
from webui.pipelines.painting import PaintingRun
from webui.samplers.names import model_calls_per_step
from webui.samplers.steps import hires_target, img2img_steps


class TextToImageRun(PaintingRun[TextToImage]):
    """One txt2img request, with hires fix when it asks for it."""

    def prompts(self) -> tuple[str, ...]:
        """See ``PaintingRun``."""
        hires = self.params.hires
        return (self.params.prompt, hires.prompt) if hires else (self.params.prompt,)

    def images(self, batch: int, indices: list[int]) -> list[Image.Image]:
        """See ``PaintingRun``."""

        def walk() -> Tensor:
            latents = self._first_pass(batch, indices)
            if self.params.hires is not None:
                latents = self._second_pass(batch, indices, latents, self.params.hires)
            return latents

        return self.walk_or_stop(batch, walk)

    def _first_pass(self, batch: int, indices: list[int]) -> Tensor:
        params = self.params
        cond = self.encode(params.prompt, params.negative_prompt, params.sampler)
        return self.walk(
            batch,
            "sampling",
            self.denoiser(params.steps * model_calls_per_step(params.sampler)),
            cond,
            self.noise(indices, params.width // 8, params.height // 8),
            sampler=params.sampler,
            schedule=params.schedule,
            steps=params.steps,
        )

    def _second_pass(self, batch: int, indices: list[int], latents: Tensor, hires: Hires) -> Tensor:
        """Enlarge the first pass's result and run the end of a schedule over it."""
        params = self.params
        sampler, schedule = hires.sampler or params.sampler, hires.schedule or params.schedule
        target = hires_target(
            params.width, params.height, hires.scale, hires.resize_x, hires.resize_y
        )
        self.say(batch, 0, 0, "upscaling")
        if hires.upscaler in LATENT_MODES:
            large = upscale_latents(latents, hires.upscaler, target)
        else:
            upscaler = self.supplies.upscaler(hires.upscaler)
            large = upscale_pictures(self.model, latents, upscaler, target, self.listener)
        steps = hires.steps or params.steps
        schedule_steps, t_enc = img2img_steps(steps, hires.denoising_strength, forced_steps=steps)
        if schedule_steps == 0:
            return large
        cond = self.encode(
            hires.prompt or params.prompt,
            hires.negative_prompt or params.negative_prompt,
            sampler,
            hires_steps=steps,
        )
        return self.walk(
            batch,
            "hires",
            self.denoiser((t_enc + 1) * model_calls_per_step(sampler)),
            cond,
            self.noise(indices, large.shape[-1], large.shape[-2]),
            sampler=sampler,
            schedule=schedule,
            steps=schedule_steps,
            init_latents=large,
            t_enc=t_enc,
        )
