"""How much a painting request asks of a machine, counted before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from webui.params import ControlUnit, ImageToImage, Painting, TextToImage
from webui.samplers.names import SAMPLERS_BY_NAME, model_calls_per_step
from webui.services.plots.plots import painted_size


@dataclass(frozen=True)
class Pass:
    """One run over a schedule.

    Attributes:
        calls: Of the network. width, height: Painted at, in pixels. pictures: At once.
        guided: 2 where the negative prompt is looked at, too, else 1.
    """

    calls: float
    width: int
    height: int
    pictures: int
    guided: int

    @property
    def megapixels(self) -> float:
        """Of everything that goes through the network in one call."""
        return self.width * self.height * self.pictures * self.guided / 1e6


FEATURES = 6
CONTROL_SHARE = 0.45
"""What a ControlNet takes of a U-Net's time: it is the U-Net's way down and its middle."""


@dataclass(frozen=True)
class Work:
    """What a request asks for, as numbers that time grows with.

    Attributes:
        rounds: Batches. calls: Of the network.
        network: Megapixels through the network, over all calls.
        attention: The same times the megapixels of one picture: self-attention's growth.
        pixels: Megapixels that are decoded, encoded and written.
        largest: Megapixels of the largest batch.
    """

    rounds: float
    calls: float
    network: float
    attention: float
    pixels: float
    largest: float

    def features(self) -> tuple[float, ...]:
        """For a linear model of seconds; the first is a job's own share."""
        return (1.0, self.rounds, self.calls, self.network, self.attention, self.pixels)


def work_of(params: Painting) -> Work:
    """Count the work of a request."""
    rounds, passes = params.batch_count, list(_passes(params))
    networks = rounds * (1 + CONTROL_SHARE * sum(map(_acting, params.control)))
    width, height = painted_size(params)
    decoded = sum(one.width * one.height * one.pictures for one in passes) / 1e6
    return Work(
        rounds=rounds,
        calls=rounds * sum(one.calls for one in passes),
        network=networks * sum(one.calls * one.megapixels for one in passes),
        attention=networks
        * sum(one.calls * one.megapixels * one.width * one.height / 1e6 for one in passes),
        pixels=rounds * max(decoded, width * height * params.batch_size / 1e6),
        largest=max(one.width * one.height * one.pictures for one in passes) / 1e6,
    )


def _acting(unit: ControlUnit) -> float:
    """In which share of the steps a unit acts."""
    return unit.guidance_end - unit.guidance_start if unit.weight > 0 else 0.0


def _passes(params: Painting) -> Iterator[Pass]:
    """The passes of one round."""
    per_step = model_calls_per_step(params.sampler) if params.sampler in SAMPLERS_BY_NAME else 1
    guided = 2 if params.cfg_scale > 1 else 1
    width, height, pictures = params.width, params.height, params.batch_size
    if isinstance(params, TextToImage):
        if params.first_pass_image is None:
            yield Pass(params.steps * per_step, width, height, pictures, guided)
        if params.hires is not None:
            steps = (params.hires.steps or params.steps) * params.hires.denoising_strength
            large = painted_size(params)
            yield Pass(max(1.0, steps) * per_step, *large, pictures, guided)
    elif isinstance(params, ImageToImage):
        yield from _repaintings(params, per_step, guided)


def _repaintings(params: ImageToImage, per_step: int, guided: int) -> Iterator[Pass]:
    share = 1.0 if params.fix_steps else params.denoising_strength
    one = Pass(
        max(1.0, params.steps * share) * per_step, params.width, params.height,
        params.batch_size, guided,
    )  # fmt: skip
    times = params.loopback.loops if params.loopback else 1
    if params.sd_upscale is not None:
        times = max(1, round(params.sd_upscale.scale**2))
    for _ in range(times):
        yield one
