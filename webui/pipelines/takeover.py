"""When a second checkpoint goes on with the painting of another: a "refiner", hires fix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.params import Painting, TextToImage
from webui.pipelines.conditioning import Conditioning
from webui.pipelines.encoding import Encoding
from webui.pipelines.hires import LATENT_MODES
from webui.samplers.schedules import TRAINING_STEPS, NoiseTable


@dataclass(frozen=True)
class Successor:
    """What a denoiser goes on with after a takeover.

    Attributes:
        cond: The same prompts, encoded by the successor's own text encoder.
        empty_prompt: Encoding of the empty prompt, for ``pad_conds``; None without.
    """

    model: LoadedModel
    table: NoiseTable
    cond: Conditioning
    empty_prompt: Encoding | None = None


@dataclass(frozen=True)
class Takeover:
    """Another checkpoint that paints the rest of a run.

    Attributes:
        switch_at: Share of the run that is done when it takes over, 0–1.
        by_steps: Count network calls instead of asking which noise level is reached.
        bring: Given the present prompts, loads the successor. Whoever calls it lets go of the
            present model first, so that memory for one of them is enough.
    """

    switch_at: float
    by_steps: bool
    bring: Callable[[Conditioning], Successor]

    def is_due(self, call: int, total_calls: int, sigma: Tensor, table: NoiseTable) -> bool:
        """Whether the share is reached.

        Args:
            call: Number of the network call that is about to be made, from 0.
            total_calls: Of the whole run.
            sigma: (B,) noise level of that call; the highest counts.
            table: Of the model that paints now.
        Source:
            The rule of A1111 1.10: 999 minus the nearest training step, in thousandths.
        """
        if self.by_steps:
            return call / max(total_calls, 1) >= self.switch_at
        levels = table.sigmas.to(sigma)
        timestep = int((levels - sigma.max()).abs().argmin())
        return (TRAINING_STEPS - 1 - timestep) / TRAINING_STEPS >= self.switch_at


def continued_latents(params: Painting) -> list[tuple[str, str]]:
    """Pairs of catalog names of which the second checkpoint goes on with the first one's latents:
    both must work on the same kind. In between, pictures may be enlarged as pictures."""
    first = second = params.checkpoint
    pairs: list[tuple[str, str]] = []
    hires = params.hires if isinstance(params, TextToImage) else None
    if hires is not None and hires.checkpoint:
        second = hires.checkpoint
        if hires.upscaler in LATENT_MODES:
            pairs.append((first, second))
    if refiner := params.refiner:
        acts_first = hires is None or refiner.hires_pass != "second pass"
        acts_second = hires is not None and refiner.hires_pass != "first pass"
        bases = dict.fromkeys(([first] if acts_first else []) + ([second] if acts_second else []))
        pairs += [(base, refiner.checkpoint) for base in bases]
    return pairs
