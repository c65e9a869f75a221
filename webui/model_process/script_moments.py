"""The moments of one painting, told to A1111 scripts: their names, their shapes of things.

Source:
    The order of calls and what each is handed: A1111 1.10's documentation for developers.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageChops
from torch import Tensor

from webui.extensions.a1111.postprocessing import PostprocessedImage, told_of_steps
from webui.extensions.a1111.processing import told_pairs
from webui.extensions.a1111.runner import ScriptRunner
from webui.extensions.a1111.script import (
    MaskBlendArgs,
    PostprocessBatchListArgs,
    PostprocessImageArgs,
    PostProcessMaskOverlayArgs,
    PostSampleArgs,
)
from webui.hookspecs import Pass
from webui.params import DrawnTexts, Painting
from webui.pipelines.moments import QUIET, Call, Moments
from webui.samplers.names import model_calls_per_step

if TYPE_CHECKING:
    from webui.extensions.a1111.host import Host
    from webui.model_process.extensions import JobExtensions
    from webui.pipelines.conditioning import Conditioning
    from webui.pipelines.inpainting import Paste
    from webui.pipelines.latent_blend import Blend
    from webui.pipelines.painting import PaintingRun

HIRES = "hires"


class ScriptMoments(Moments):
    """What scripts that are always on make of one painting.

    Args:
        p: The painting as scripts see it. runner: Its scripts.
        inner: Our own extensions of the job; they are asked first.
    """

    def __init__(
        self, host: Host, p: Any, runner: ScriptRunner, inner: JobExtensions | None
    ) -> None:
        self._host = host
        self.p = p
        self._runner = runner
        self._joined = inner
        self._inner: Moments = QUIET if inner is None else inner
        self._conditioning: Conditioning | None = None
        self._group: Sequence[int] = ()
        self._is_second = False
        self._pasted: set[int] = set()
        self.steps: Callable[[Image.Image], list[PostprocessedImage]] | None = None
        """Steps of Extras that painted pictures go through, too."""
        self._told_by_steps: dict[int, dict[str, str]] = {}
        self.more: list[tuple[Image.Image, int]] = []
        """Pictures that scripts added, with the number of the one that each goes with."""
        self.run: PaintingRun[Any]

    @property
    def _params(self) -> Painting:
        return self.run.params

    # Batches

    def batch_begins(self, number: int) -> None:
        """A batch is about to be painted; scripts may change its prompts."""
        p, size = self.p, self._params.batch_size
        part = slice(number * size, (number + 1) * size)
        p.iteration = number
        p.prompts, p.negative_prompts = (
            list(p.all_prompts[part]),
            list(p.all_negative_prompts[part]),
        )
        p.seeds, p.subseeds = list(p.all_seeds[part]), list(p.all_subseeds[part])
        if not self._runner.has("before_process_batch"):
            return
        before = list(p.prompts), list(p.negative_prompts)
        self._call_of_batch("before_process_batch", **self._batch())
        if (p.prompts, p.negative_prompts) == before:
            return
        texts, negatives = list(p.all_prompts), list(p.all_negative_prompts)
        texts[part], negatives[part] = p.prompts, p.negative_prompts
        drawn = self.run.params.drawn or DrawnTexts()
        update = {"prompts": tuple(texts), "negative_prompts": tuple(negatives)}
        self.run.use_texts(drawn.model_copy(update=update))

    def _call_of_batch(self, method: str, **kwargs: Any) -> None:
        """As ``_call``; a batch keeps as many prompts as it has pictures."""
        p = self.p
        before = {name: list(getattr(p, name)) for name in ("prompts", "negative_prompts")}
        self._call(method, **kwargs)
        for name, texts in before.items():
            if not _are_texts(getattr(p, name), len(texts)):
                setattr(p, name, texts)

    def _batch(self) -> dict[str, Any]:
        p = self.p
        facts = {"prompts": p.prompts, "seeds": p.seeds, "subseeds": p.subseeds}
        return {"batch_number": p.iteration, **facts}

    def _call(self, method: str, *before: Any, **kwargs: Any) -> None:
        self._runner.call(method, self.p, *before, **kwargs)

    # A group's passes

    @property
    def sees_texts(self) -> bool:
        """See ``Moments``."""
        return True

    def before_conditioning(self, prompt: str, negative_prompt: str) -> tuple[str, str]:
        prompt, negative_prompt = self._inner.before_conditioning(prompt, negative_prompt)
        if self.run.present is not self._group:
            self._group, self._is_second = self.run.present, False
        self.p.is_hr_pass = self._is_second
        if self._is_second:
            self._call("before_hr")
        networks = importlib.import_module("modules.extra_networks")
        _, data = networks.parse_prompts([prompt])
        self.p.extra_network_data = data
        networks.activate(self.p, data)
        first = self._group[0] % self._params.batch_size if self._group else 0
        before = self.p.prompts[first], self.p.negative_prompts[first]
        self._call_of_batch(
            "after_extra_networks_activate", **self._batch(), extra_network_data=data
        )
        if not self._is_second:
            self._call_of_batch("process_batch", **self._batch())
        now = self.p.prompts[first], self.p.negative_prompts[first]
        return (prompt, negative_prompt) if now == before else now

    def after_conditioning(self, conditioning: Conditioning) -> Conditioning:
        self._conditioning = self._inner.after_conditioning(conditioning)
        self.p.c, self.p.uc = self._conditioning.positive, self._conditioning.negative
        return self._conditioning

    def before_pass(self, start: Pass) -> Pass:
        start = self._inner.before_pass(start)
        self._is_second = start.stage == HIRES
        p = self.p
        p.modified_noise = None
        p.init_latent = start.init_latents
        x = start.noise if start.init_latents is None else start.init_latents
        self._call(
            "process_before_every_sampling", x=x, noise=start.noise, c=p.c, uc=p.uc
        )  # fmt: skip
        noise = p.modified_noise
        return start if noise is None else replace(start, noise=noise.to(start.noise))

    def extra_noise(self, noise: Tensor, latents: Tensor, noised: Tensor) -> tuple[Tensor, Tensor]:
        noise, noised = self._inner.extra_noise(noise, latents, noised)
        if not self._host.callbacks.has("extra_noise"):
            return noise, noised
        told = _classes().ExtraNoiseParams(noise, latents, noised)
        self._host.callbacks.call("extra_noise", told)
        return _like(noise, told.noise), _like(noised, told.xi)

    def before_step(self, latents: Tensor, call: Call) -> Tensor:
        latents = self._inner.before_step(latents, call)
        if not self._host.callbacks.has("cfg_denoiser"):
            return latents
        calls = model_calls_per_step(self._params.sampler)
        step, total = call.number // calls, max(1, call.total // calls)
        cond = self._conditioning
        self._host.state.sampling_step, self._host.state.sampling_steps = step, total
        told = _classes().CFGDenoiserParams(
            latents, None, call.sigma, step, total,
            cond.positive[0][1].at(call.number).states if cond else None,
            cond.negative.at(call.number).states if cond else None,
        )  # fmt: skip
        self._host.callbacks.call("cfg_denoiser", told)
        return _like(latents, told.x)

    def after_model(
        self, conds: tuple[Tensor, ...], uncond: Tensor | None, call: Call
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        conds, uncond = self._inner.after_model(conds, uncond, call)
        if not self._host.callbacks.has("cfg_denoised"):
            return conds, uncond
        parts = [*conds, *([] if uncond is None else [uncond])]
        joined = torch.cat(parts)
        told = _classes().CFGDenoisedParams(joined, call.number, call.total)
        self._host.callbacks.call("cfg_denoised", told)
        changed = _like(joined, told.x).split(conds[0].shape[0])
        return tuple(changed[: len(conds)]), None if uncond is None else changed[-1]

    def after_guidance(self, denoised: Tensor, call: Call) -> Tensor:
        denoised = self._inner.after_guidance(denoised, call)
        if not self._host.callbacks.has("cfg_after_cfg"):
            return denoised
        told = _classes().AfterCFGCallbackParams(denoised, call.number, call.total)
        self._host.callbacks.call("cfg_after_cfg", told)
        return _like(denoised, told.x)

    def blended(self, blend: Blend, latents: Tensor, mixed: Tensor, sigma: Tensor | None) -> Tensor:
        mixed = self._inner.blended(blend, latents, mixed, sigma)
        if not self._runner.has("on_mask_blend"):
            return mixed
        mask = getattr(blend, "mask", None)
        keeps = None if mask is None else 1 - mask
        original = getattr(blend, "original", None)
        told = MaskBlendArgs(
            latents, mask, original, keeps, mixed, None if sigma is None else self.run, sigma
        )
        self._call("on_mask_blend", told)
        return _like(mixed, told.blended_latent)

    def after_pass(self, latents: Tensor, stage: str) -> Tensor:
        latents = self._inner.after_pass(latents, stage)
        if self._has_second and stage != HIRES:
            self._is_second = True
            return latents
        told = PostSampleArgs(latents)
        self._call("post_sample", told)
        return _like(latents, told.samples)

    @property
    def _has_second(self) -> bool:
        params = self._params
        return bool(getattr(params, "hires", None)) and not getattr(
            params, "first_pass_image", None
        )

    # Pictures

    def after_decode(self, images: list[Image.Image]) -> list[Image.Image]:
        images = self._inner.after_decode(images)
        is_between = self._has_second and not self._is_second
        if is_between or not self._runner.has("postprocess_batch", "postprocess_batch_list"):
            return images
        pixels = _pixels(images)
        number = self.p.iteration
        self._call("postprocess_batch", images=pixels, batch_number=number)
        told = PostprocessBatchListArgs(list(pixels))
        self._call("postprocess_batch_list", told, batch_number=number)
        return self._as_many(images, [_picture(one) for one in told.images])

    def _as_many(self, before: list[Image.Image], found: list[Image.Image]) -> list[Image.Image]:
        """As many pictures as there were; more of them are kept for the end of the job."""
        last = self._group[-1] if self._group else 0
        self.more += [(one, last) for one in found[len(before) :]]
        return [*found[: len(before)], *before[len(found) :]]

    def after_faces(self, images: list[Image.Image]) -> list[Image.Image]:
        images = self._inner.after_faces(images)
        if self.steps is None and not self._runner.has("postprocess_image"):
            return images
        done: list[Image.Image] = []
        for image, index in zip(images, self._group or range(len(images)), strict=False):
            self.p.batch_index = index % self._params.batch_size
            told = PostprocessImageArgs(image, index)
            self._call("postprocess_image", told)
            done.append(self._through_steps(_rgb(told.image, image), index))
        return done

    def _through_steps(self, image: Image.Image, index: int) -> Image.Image:
        if self.steps is None:
            return image
        first, *more = self.steps(image)
        self._told_by_steps[index] = told_of_steps(first)
        self.more += [(one.image, index) for one in more]
        return _rgb(first.image, image)

    def pasted(self, paste: Paste | None, index: int) -> Paste | None:
        paste = self._inner.pasted(paste, index)
        self._pasted.add(index)
        self.p.batch_index = index % self._params.batch_size
        self.p.mask_for_overlay = None if paste is None else paste.mask
        if not self._runner.has("postprocess_maskoverlay"):
            return paste
        overlay = None if paste is None else _overlay(paste)
        told = PostProcessMaskOverlayArgs(index, self.p.mask_for_overlay, overlay)
        self._call("postprocess_maskoverlay", told)
        return None if paste is None else _paste_of(told.overlay_image, paste)

    def picture_finished(self, image: Image.Image, index: int, seed: int) -> Image.Image:
        if index not in self._pasted:  # it was not painted from a picture
            self.pasted(None, index)
        image = self._inner.picture_finished(image, index, seed)
        self.p.batch_index = index % self._params.batch_size
        told = PostprocessImageArgs(image, index)
        self._call("postprocess_image_after_composite", told)
        return _rgb(told.image, image)

    def infotext(self, index: int) -> dict[str, Any]:
        """What our own extensions and scripts add to a picture's recipe."""
        p, own = self.p, {} if self._joined is None else self._joined.infotext(index)
        facts = {
            "p": p, "index": index, "iteration": p.iteration, "all_seeds": p.all_seeds,
            "all_prompts": p.all_prompts, "seed": p.all_seeds[index % len(p.all_seeds)],
            "position_in_batch": index % self._params.batch_size, "use_main_prompt": False,
        }  # fmt: skip

        def ask(deed: Any, key: str) -> tuple[bool, Any]:
            owner, moment = self._host.owner_of(deed), f"extra_generation_params {key}"
            return self._host.fence.call(owner, moment, deed, **facts)

        told = told_pairs(p.extra_generation_params, index, ask)
        return {**own, **told, **self._told_by_steps.get(index, {})}


def _overlay(paste: Paste) -> Image.Image:
    """What A1111 lays over a painted picture: the original, transparent where it was painted."""
    overlay = paste.original.convert("RGBA")
    overlay.putalpha(ImageChops.invert(paste.mask))
    return overlay


def _paste_of(overlay: Any, before: Paste) -> Paste | None:
    """The same the other way round; the one before where a script made something else of it."""
    if overlay is None:
        return None
    if not isinstance(overlay, Image.Image) or overlay.size != before.original.size:
        return before
    whole = overlay.convert("RGBA")
    mask = ImageChops.invert(whole.getchannel("A"))
    return replace(before, original=whole.convert("RGB"), mask=mask)


def _are_texts(found: Any, count: int) -> bool:
    is_list = isinstance(found, list) and len(found) == count
    return is_list and all(isinstance(text, str) for text in found)


def _classes() -> Any:
    return importlib.import_module("modules.script_callbacks")


def _like(before: Tensor, after: Any) -> Tensor:
    """What a script answered, where it has the same shape; what there was where it has not."""
    fits = isinstance(after, Tensor) and after.shape == before.shape
    return after.to(before) if fits else before


def _pixels(images: Sequence[Image.Image]) -> Tensor:
    """(N, 3, H, W) float32 in 0…1."""
    arrays = [np.asarray(image.convert("RGB"), dtype=np.float32) / 255 for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def _picture(pixels: Tensor) -> Image.Image:
    """A picture of (3, H, W) in 0…1."""
    array = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(array, "RGB")


def _rgb(found: Any, before: Image.Image) -> Image.Image:
    return found.convert("RGB") if isinstance(found, Image.Image) else before
