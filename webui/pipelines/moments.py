"""Where extensions may join a painting: handed down as progress is.

A run asks ``Moments`` at each turn and goes on with the answer. Nobody joins here; the model
process gives a run an object that asks the extensions of its job. What each moment hands over, and
what may be answered, stands in ``webui.hookspecs`` under the same names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image
from torch import Tensor

from webui.hookspecs import Pass

if TYPE_CHECKING:
    from webui.pipelines.conditioning import Conditioning
    from webui.pipelines.inpainting import Paste
    from webui.pipelines.latent_blend import Blend


@dataclass(frozen=True)
class Call:
    """One network call.

    Attributes:
        number: 0-based in this pass. total: Calls of the pass, foretold.
        sigma: (B,) noise level of each picture, > 0; on the device.
    """

    number: int
    total: int
    sigma: Tensor


class Moments:
    """Nobody joins: everything stays as it is."""

    @property
    def sees_texts(self) -> bool:
        """Whether whoever joins is told of texts or of what they became: of one at a time, then."""
        return False

    def before_conditioning(self, prompt: str, negative_prompt: str) -> tuple[str, str]:
        return prompt, negative_prompt

    def after_conditioning(self, conditioning: Conditioning) -> Conditioning:
        return conditioning

    def before_pass(self, start: Pass) -> Pass:
        return start

    def extra_noise(self, noise: Tensor, latents: Tensor, noised: Tensor) -> tuple[Tensor, Tensor]:
        """More noise than the usual is put on a picture; see ``samplers.protocol.OnExtraNoise``."""
        return noise, noised

    def before_step(self, latents: Tensor, call: Call) -> Tensor:
        return latents

    def after_model(
        self, conds: tuple[Tensor, ...], uncond: Tensor | None, call: Call
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        return conds, uncond

    def after_guidance(self, denoised: Tensor, call: Call) -> Tensor:
        return denoised

    def after_pass(self, latents: Tensor, stage: str) -> Tensor:
        return latents

    def after_decode(self, images: list[Image.Image]) -> list[Image.Image]:
        return images

    def after_faces(self, images: list[Image.Image]) -> list[Image.Image]:
        """Faces are restored where that was asked for; masks are not pasted back yet."""
        return images

    def blended(self, blend: Blend, latents: Tensor, mixed: Tensor, sigma: Tensor | None) -> Tensor:
        """What is kept of the original was laid over the latents (B, 4, h, w) that the network
        estimated, or, without ``sigma``, over those that the walk came to.

        Returns:
            ``mixed``, or what shall take its place.
        """
        return mixed

    def pasted(self, paste: Paste | None, index: int) -> Paste | None:
        """A picture (its number in the job) goes back into the one that it was painted from.

        Returns:
            ``paste``, or what shall take its place; None = it does not go back.
        """
        return paste

    def picture_finished(self, image: Image.Image, index: int, seed: int) -> Image.Image:
        return image


QUIET = Moments()
