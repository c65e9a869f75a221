"""Paint pictures from a prompt: encode, noise, denoise; enlarge and denoise again; decode."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from webui.params import Hires, TextToImage
from webui.pipelines.conditioning import Interrupted
from webui.pipelines.hires import LATENT_MODES, cut_to_target, upscale_latents, upscale_pictures
from webui.pipelines.painting import PIXELS_PER_CELL, PaintingRun, PassTexts
from webui.samplers.names import model_calls_per_step
from webui.samplers.steps import HiresTarget, hires_target, img2img_steps


class TextToImageRun(PaintingRun[TextToImage]):
    """One txt2img request, with hires fix when it asks for it."""

    def images(self, batch: int, indices: list[int]) -> list[Image.Image]:
        """See ``PaintingRun``."""
        return [self._control.with_rest_kept(one) for one in self._images(batch, indices)]

    def _images(self, batch: int, indices: list[int]) -> list[Image.Image]:
        hires = self.params.hires
        if hires is None:
            return self.walk_or_stop(batch, lambda: self._first_pass(batch, indices))
        if self.params.first_pass_image is None:
            return self.walk_or_stop(batch, lambda: self._both_passes(batch, indices, hires))
        finished = [self._finished_picture()] * len(indices)
        images = self.walk_or_stop(
            batch, lambda: self._second_pass(batch, indices, finished, hires)
        )
        return images or finished

    def _finished_picture(self) -> Image.Image:
        """The picture that stands for the first pass, of that pass's size."""
        params = self.params
        assert params.first_pass_image is not None
        image = self.supplies.input(params.first_pass_image).convert("RGB")
        size = (params.width, params.height)
        return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)

    def _both_passes(self, batch: int, indices: list[int], hires: Hires) -> Tensor:
        """The second pass's latents, or the first's when the person stopped in between."""
        first = self._first_pass(batch, indices)
        checkpoint = self.checkpoint
        try:
            return self._second_pass(batch, indices, first, hires)
        except Interrupted as stop:
            if stop.denoised is not None:
                raise
            self.checkpoint = checkpoint  # whose VAE reads them
            raise Interrupted(first) from stop

    def _first_pass(self, batch: int, indices: list[int]) -> Tensor:
        params = self.params
        cond = self.encode(self._first_texts)
        return self.walk(
            batch,
            "sampling",
            self.denoiser(
                params.steps * model_calls_per_step(params.sampler),
                has_refiner=params.hires is None or self._refines("first pass"),
                which="only" if params.hires is None else "first",
            ),
            cond,
            self.noise(indices, params.width // PIXELS_PER_CELL, params.height // PIXELS_PER_CELL),
            sampler=params.sampler,
            schedule=params.schedule,
            steps=params.steps,
        )

    def _refines(self, which: str) -> bool:
        """Whether the refiner acts in this pass of two."""
        refiner = self.params.refiner
        return refiner is not None and refiner.hires_pass in (which, "both passes")

    def _second_pass(
        self, batch: int, indices: list[int], first: Tensor | list[Image.Image], hires: Hires
    ) -> Tensor:
        """Enlarge the first pass's result and run the end of a schedule over it.

        Args:
            first: Latents, or the finished pictures that stand for them.
        Raises:
            Interrupted: With the last estimate; without one when there was none yet.
        """
        params = self.params
        sampler, schedule = hires.sampler or params.sampler, hires.schedule or params.schedule
        large = self._enlarged(batch, first, hires)
        steps = hires.steps or params.steps
        schedule_steps, t_enc = img2img_steps(steps, hires.denoising_strength, forced_steps=steps)
        if schedule_steps == 0:
            return large
        cond = self.encode(self._second_texts)
        return self.walk(
            batch,
            "hires",
            self.denoiser(
                (t_enc + 1) * model_calls_per_step(sampler),
                cfg_scale=hires.cfg_scale,
                has_refiner=self._refines("second pass"),
                which="second",
            ),
            cond,
            self.noise(indices, large.shape[-1], large.shape[-2]),
            sampler=sampler,
            schedule=schedule,
            steps=schedule_steps,
            init_latents=large,
            t_enc=t_enc,
            extra_noise=hires.extra_noise or 0.0,
        )

    def passes(self, params: TextToImage) -> tuple[PassTexts, ...]:
        """See ``PaintingRun``."""
        first = self._first_texts(params)
        return (first,) if params.hires is None else (first, self._second_texts(params))

    def _first_texts(self, params: TextToImage) -> PassTexts:
        return PassTexts(params.prompt, params.negative_prompt, params.sampler)

    def _second_texts(self, params: TextToImage) -> PassTexts:
        hires = params.hires
        assert hires is not None
        return PassTexts(
            hires.prompt or params.prompt,
            hires.negative_prompt or params.negative_prompt,
            hires.sampler or params.sampler,
            hires_steps=hires.steps or params.steps,
            size=self._hires_target(hires).upscale_to,
        )

    def _hires_target(self, hires: Hires) -> HiresTarget:
        params = self.params
        return hires_target(
            params.width, params.height, hires.scale, hires.resize_x, hires.resize_y
        )

    def _enlarged(self, batch: int, first: Tensor | list[Image.Image], hires: Hires) -> Tensor:
        """(B, 4, H/8, W/8) the second pass begins with; its checkpoint is then the one in use."""
        target = self._hires_target(hires)
        if self.listener.should_stop():
            raise Interrupted(None)
        if hires.upscaler not in LATENT_MODES:
            pictures = first if isinstance(first, list) else self.decoded(batch, first)
            return self._enlarged_pictures(batch, pictures, target, hires)
        self.checkpoint = hires.checkpoint or self.params.checkpoint
        latents = self.encoded(batch, first) if isinstance(first, list) else first
        self.say(batch, 0, 0, "upscaling")
        return upscale_latents(latents, hires.upscaler, target)

    def _enlarged_pictures(
        self, batch: int, pictures: list[Image.Image], target: HiresTarget, hires: Hires
    ) -> Tensor:
        self.say(batch, 0, 0, "upscaling")
        large = upscale_pictures(
            pictures,
            self.supplies.upscaler(hires.upscaler),
            target,
            should_stop=self.listener.should_stop,
            on_tile=lambda done, total: self.say(batch, done, total, "upscaling"),
        )
        self.checkpoint = hires.checkpoint or self.params.checkpoint
        return cut_to_target(self.encoded(batch, large), target)
