"""The network as samplers see it: guidance, prompt schedules, and the way out when interrupted.

Source:
    Classifier-free guidance: Ho and Salimans 2022, arXiv 2207.12598.
    Network preconditioning in sigma units: Karras et al. 2022, arXiv 2206.00364, table 1.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.errors import ParamsError
from webui.pipelines.conditioning import Conditioning, Interrupted
from webui.pipelines.control import PassControl
from webui.pipelines.encoding import Encoding, joined, same_length
from webui.pipelines.latent_blend import Blend
from webui.pipelines.moments import QUIET, Call, Moments
from webui.pipelines.network_call import NetworkCall, call_network
from webui.pipelines.picture_channels import PictureChannels
from webui.pipelines.placement import on_device
from webui.pipelines.takeover import Takeover
from webui.samplers.schedules import NoiseTable


@dataclass(frozen=True)
class Guidance:
    """How strongly the prompt pulls, and when it is left out to save time.

    Attributes:
        cfg_scale: Guidance strength, 1 = off.
        s_min_uncond: Below this sigma the negative prompt is skipped (every second call, or
            all calls with ``s_min_uncond_all``).
        skip_early_share: Share of the first calls that run without the negative prompt, 0–1.
        total_calls: Network calls of the whole run, for ``skip_early_share``.
        image_cfg_scale: How strongly the input picture pulls, for InstructPix2Pix checkpoints;
            1 = off.
    """

    cfg_scale: float
    s_min_uncond: float = 0.0
    s_min_uncond_all: bool = False
    skip_early_share: float = 0.0
    total_calls: int = 1
    pad_conds: bool = False
    pad_conds_v0: bool = False
    image_cfg_scale: float = 1.0


@dataclass(frozen=True)
class Asked:
    """One estimate that is wanted of the network.

    Attributes:
        encoding: The text it is told.
        is_prompt: That is no negative one.
        sees_picture: It is shown the input picture, if there is one.
    """

    encoding: Encoding
    is_prompt: bool = True
    sees_picture: bool = True


class CfgDenoiser:
    """Estimates clean latents with a U-Net under classifier-free guidance.

    Args:
        model: The loaded model.
        table: Noise levels the model was trained with.
        guidance: Strength and shortcuts.
        should_stop: Asked before every network call.
        empty_prompt: Encoding of the empty prompt, one chunk, for ``pad_conds``.
        call: How the U-Net is called (in tiles, in smaller groups …).
        takeover: Another checkpoint that paints the rest; None = none does.
        blend: What of the original stays at every step; None = nothing.
        channels: What inpainting and InstructPix2Pix checkpoints are shown beside the noise; None
            for checkpoints that take no more.
        control: ControlNets beside the U-Net, which ``call`` then asks; None = none.
        moments: Where extensions join.
    """

    def __init__(
        self,
        model: LoadedModel,
        table: NoiseTable,
        guidance: Guidance,
        should_stop: Callable[[], bool],
        empty_prompt: Encoding | None = None,
        call: NetworkCall = call_network,
        takeover: Takeover | None = None,
        blend: Blend | None = None,
        channels: PictureChannels | None = None,
        control: PassControl | None = None,
        moments: Moments = QUIET,
    ) -> None:
        self._model = model
        self._table = table
        self._guidance = guidance
        self._should_stop = should_stop
        self._empty_prompt = empty_prompt
        self._call = call
        self._takeover = takeover
        self._blend = blend
        self._channels = channels
        self._control = control
        self._moments = moments
        self._own_cond: Conditioning | None = None
        self._turn = ExitStack()
        self._calls = 0
        self._last: Tensor | None = None

    @contextmanager
    def at_work(self) -> Generator[None, None, None]:
        """Keep the network that paints on its device, not only for the length of one call."""
        self._turn.enter_context(on_device(self._model.unet, self._model.device))
        try:
            yield
        finally:
            self._turn.close()

    def __call__(self, latents: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """Estimate the clean latents, guidance included.

        Args:
            latents: (B, 4, H/8, W/8) with noise of spread ``sigma``.
            sigma: (B,) noise level of each.
            cond: Encoded prompts.
        Returns:
            ``denoised``, same shape and dtype.
        Raises:
            Interrupted: The person asked to stop.
        """
        return self.guided(latents, sigma, cond)[0]

    def guided(self, latents: Tensor, sigma: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
        """As ``__call__``, with the unconditional estimate beside the guided one."""
        if self._blend is None:
            return self._guided(latents, sigma, cond)
        denoised, uncond = self._guided(self._blend.shown(latents, sigma), sigma, cond)
        mixed = self._blend.estimated(denoised, sigma)
        self._last = denoised = self._moments.blended(self._blend, denoised, mixed, sigma)
        return denoised, uncond

    def _guided(self, latents: Tensor, sigma: Tensor, cond: Conditioning) -> tuple[Tensor, Tensor]:
        self._stop_if_asked()
        call = Call(self._calls, self._guidance.total_calls, sigma)
        self._calls += 1
        cond = self._hand_over_when_due(call.number, sigma, cond)
        if self._control is not None:
            self._control.begin(call.number / max(call.total, 1))
        latents = self._moments.before_step(latents, call)
        denoised, uncond = self._under_guidance(latents, call, cond)
        self._last = denoised = self._moments.after_guidance(denoised, call)
        return denoised, uncond

    def _under_guidance(
        self, latents: Tensor, call: Call, cond: Conditioning
    ) -> tuple[Tensor, Tensor]:
        """The guided estimate and the unconditional one."""
        sigma = call.sigma
        weights = [weight for weight, _ in cond.positive]
        encodings = [part.at(call.number) for _, part in cond.positive]
        negative = cond.negative.at(call.number)
        if self._is_edited_by_picture:
            return self._guided_by_picture(latents, call, encodings, negative)
        asked = [Asked(one) for one in encodings]
        if self._skips_uncond(call.number, sigma):
            estimates = self._estimate(latents, sigma, asked)
            estimates, _ = self._moments.after_model(estimates, None, call)
            denoised = _weighted_mean(weights, estimates)
            return denoised, denoised
        asked.append(Asked(negative, is_prompt=False))
        *found, uncond = self._estimate(latents, sigma, asked)
        conds, told_uncond = self._moments.after_model(tuple(found), uncond, call)
        uncond = uncond if told_uncond is None else told_uncond
        denoised = uncond
        for weight, estimate in zip(weights, conds, strict=True):
            denoised = denoised + (weight * self._guidance.cfg_scale) * (estimate - uncond)
        return denoised, uncond

    @property
    def _is_edited_by_picture(self) -> bool:
        return self._guidance.image_cfg_scale != 1.0 and self._model.spec.purpose == "edit"

    def _guided_by_picture(
        self, latents: Tensor, call: Call, encodings: list[Encoding], negative: Encoding
    ) -> tuple[Tensor, Tensor]:
        """Guidance by prompt and picture: three estimates, the last one shown neither.

        Source:
            Brooks et al. 2023, arXiv 2211.09800, eq. 3.
        """
        if len(encodings) > 1:
            raise ParamsError(
                "AND was used with an InstructPix2Pix checkpoint, which has no room for it.",
                "Take AND out of the prompt, or set Image CFG scale to 1.",
                field="prompt",
            )
        guidance = self._guidance
        asked = [Asked(encodings[0]), Asked(negative, is_prompt=False)]
        asked.append(replace(asked[-1], sees_picture=False))
        told, shown, neither = self._estimate(latents, call.sigma, asked)
        (told, shown), blind = self._moments.after_model((told, shown), neither, call)
        neither = neither if blind is None else blind
        denoised = neither + guidance.cfg_scale * (told - shown)
        denoised = denoised + guidance.image_cfg_scale * (shown - neither)
        return denoised, neither

    def _stop_if_asked(self) -> None:
        if self._should_stop():
            raise Interrupted(self._last)

    def _hand_over_when_due(self, call: int, sigma: Tensor, cond: Conditioning) -> Conditioning:
        """The prompts for this call; before it, the successor is brought in if it is time."""
        takeover, total = self._takeover, self._guidance.total_calls
        if takeover is not None and takeover.is_due(call, total, sigma, self._table):
            self._takeover = None
            self._turn.close()
            del self._model  # so that it can be let go of before the next one is loaded
            try:
                new = takeover.bring(cond)
            except Interrupted as stop:
                raise Interrupted(self._last) from stop
            self._model, self._table = new.model, new.table
            self._own_cond, self._empty_prompt = new.cond, new.empty_prompt
            self._turn.enter_context(on_device(new.model.unet, new.model.device))
        return self._own_cond or cond

    def _skips_uncond(self, call: int, sigma: Tensor) -> bool:
        guidance = self._guidance
        share = call / max(guidance.total_calls, 1)
        if guidance.skip_early_share > 0 and share <= guidance.skip_early_share:
            return True
        if guidance.s_min_uncond > 0 and float(sigma.max()) < guidance.s_min_uncond:
            return guidance.s_min_uncond_all or call % 2 == 1
        return guidance.cfg_scale == 1.0

    def _estimate(self, latents: Tensor, sigma: Tensor, asked: list[Asked]) -> tuple[Tensor, ...]:
        """One clean estimate for each, in one network call where lengths allow it."""
        padded = self._padded([one.encoding for one in asked])
        asked = [replace(one, encoding=e) for one, e in zip(asked, padded, strict=True)]
        if same_length(padded):
            return self._run(latents, sigma, asked)
        by_length: dict[int, list[int]] = {}
        for index, encoding in enumerate(padded):
            by_length.setdefault(encoding.tokens, []).append(index)
        found: dict[int, Tensor] = {}
        for indices in by_length.values():
            estimates = self._run(latents, sigma, [asked[i] for i in indices])
            found.update(zip(indices, estimates, strict=True))
        return tuple(found[i] for i in range(len(asked)))

    def _padded(self, encodings: list[Encoding]) -> list[Encoding]:
        if same_length(encodings):
            return encodings
        if self._guidance.pad_conds_v0:
            return _pad_v0(encodings)
        if self._guidance.pad_conds and self._empty_prompt is not None:
            empty, longest = self._empty_prompt, max(e.tokens for e in encodings)

            def padded(one: Encoding) -> Encoding:
                states = empty.for_batch(len(one)).states
                more = [states] * ((longest - one.tokens) // empty.tokens)
                return one.with_states(torch.cat([one.states, *more], dim=1))

            return [padded(one) for one in encodings]
        return encodings

    def _run(self, latents: Tensor, sigma: Tensor, asked: list[Asked]) -> tuple[Tensor, ...]:
        count, batch = len(asked), latents.shape[0]
        context = joined([one.encoding.for_batch(batch) for one in asked])  # N·B
        noisy = latents.repeat(count, 1, 1, 1)  # (N·B, 4, h, w)
        levels = sigma.repeat(count)
        scale = (levels**2 + 1).rsqrt().view(-1, 1, 1, 1)
        model = self._model
        output = self._call(
            model,
            self._with_channels(noisy * scale, latents, asked).to(model.dtype),
            self._table.sigma_to_t(levels).to(torch.float32),
            context,
            self._stop_if_asked,
        ).to(noisy.dtype)  # (N·B, 4, h, w)
        spread = levels.view(-1, 1, 1, 1)
        if model.prediction_type == "v_prediction":
            denoised = noisy * scale**2 - output * (spread * scale)
        else:
            denoised = noisy - output * spread
        if self._control is not None:
            denoised = self._control.corrected(denoised, [one.is_prompt for one in asked])
        return denoised.chunk(count)

    def _with_channels(self, scaled: Tensor, latents: Tensor, asked: list[Asked]) -> Tensor:
        """The network's input: scaled latents (N·B, 4, h, w), then what else goes in."""
        parts = [scaled]
        shown = self._channels.of(self._model, latents) if self._channels else None
        if shown is not None:
            nothing = torch.zeros_like(shown)
            parts.append(torch.cat([shown if one.sees_picture else nothing for one in asked]))
        if self._control is not None:
            maps = self._control.channels(latents, [one.is_prompt for one in asked])
            parts += [] if maps is None else [maps]
        return torch.cat(parts, dim=1) if len(parts) > 1 else scaled


def _weighted_mean(weights: list[float], estimates: tuple[Tensor, ...]) -> Tensor:
    total = sum(weights)
    if len(estimates) == 1 or total == 0:
        return estimates[0]
    parts = [(w / total) * e for w, e in zip(weights, estimates, strict=True)]
    return torch.stack(parts).sum(dim=0)


def _pad_v0(encodings: list[Encoding]) -> list[Encoding]:
    """The older padding: the last of ``encodings`` (the negative) follows the first in length."""
    length = encodings[0].tokens
    *conds, uncond = encodings
    states = uncond.states
    if uncond.tokens < length:
        filler = states[:, -1:].expand(-1, length - uncond.tokens, -1)
        states = torch.cat([states, filler], dim=1)
    return [*conds, uncond.with_states(states[:, :length])]
