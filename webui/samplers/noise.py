"""Where noise comes from: one generator per image, so that a picture never depends on its batch.

Source:
    Which number is drawn when: AUTOMATIC1111 1.10.1, so that its seeds make its pictures.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from webui.errors import ParamsError
from webui.samplers.brownian import BrownianNoise
from webui.samplers.options import RandnSource
from webui.samplers.philox import PhiloxGenerator

__all__ = ["ImageNoise", "NumberSource", "make_source", "slerp"]

Shape = tuple[int, ...]

SOURCES: tuple[RandnSource, ...] = ("GPU", "CPU", "NV")

LOWEST_SEED, HIGHEST_SEED = -(2**63), 2**64 - 1
"""What torch generators accept; outside they raise."""

NEARLY_PARALLEL = 0.9995
"""Mean cosine above which slerp falls back to a straight line."""


class NumberSource(Protocol):
    """A stream of unit normal numbers that depends on its seed alone."""

    def draw(self, shape: Shape) -> Tensor:
        """Draw the next float32 tensor of this shape."""
        ...


class TorchGenerator:
    """Normal numbers of torch's own generator on one device (CPU: Mersenne Twister)."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        self._generator = torch.Generator(device).manual_seed(seed)

    def draw(self, shape: Shape) -> Tensor:
        return torch.randn(shape, device=self._device, generator=self._generator)


def make_source(source: str, seed: int, device: torch.device) -> NumberSource:
    """A fresh stream for one seed.

    Args:
        source: ``CPU``, ``GPU`` (the generator of ``device``; Apple's falls back to the CPU) or
            ``NV`` (an NVIDIA card's numbers on any machine).
        seed: -2^63 to 2^64 - 1.
        device: Where the run happens.

    Raises:
        ParamsError: The seed is out of range, or there is no such source.
    """
    if source not in SOURCES:
        raise ParamsError(
            f"No noise source is called {source!r}.",
            f"Set randn_source to one of: {', '.join(SOURCES)}.",
            field="randn_source",
        )
    if not LOWEST_SEED <= seed <= HIGHEST_SEED:
        raise ParamsError(
            f"A seed of {seed} is too large for a random generator.",
            "Use a whole number between 0 and 4294967295, or -1 for a random one.",
            field="seed",
        )
    if source == "NV":
        return PhiloxGenerator(seed)
    on_device = source == "GPU" and device.type != "mps"
    return TorchGenerator(seed, device if on_device else torch.device("cpu"))


def slerp(weight: float, low: Tensor, high: Tensor) -> Tensor:
    """Blend two noises of one image along the sphere, so that the blend is noise too.

    Lengths and angles are taken along the rows of each channel and column. Trap: for nearly
    parallel noises the straight-line fallback swaps the weights; old pictures depend on it.

    Args:
        weight: 0 = ``low``, 1 = ``high``.
        low: (C, H, W).
        high: (C, H, W).

    Returns:
        (C, H, W), inputs unchanged.
    """
    low_unit = low / torch.linalg.vector_norm(low, dim=1, keepdim=True)
    high_unit = high / torch.linalg.vector_norm(high, dim=1, keepdim=True)
    cosine = (low_unit * high_unit).sum(1)  # (C, W)
    if cosine.mean() > NEARLY_PARALLEL:
        return low * weight + high * (1 - weight)
    angle = torch.acos(cosine).unsqueeze(1)  # (C, 1, W)
    whole = torch.sin(angle)
    from_low = torch.sin((1 - weight) * angle) / whole
    return from_low * low + torch.sin(weight * angle) / whole * high


class ImageNoise:
    """All noise of one batch: one stream per image.

    Take ``first()`` once at the start of each pass; after it, calling the object draws the noise
    of the steps. A second pass (hires fix) takes a new object for its new shape.

    Args:
        shape: (C, H/8, W/8) of one image's latents.
        seeds: One per image.
        subseeds: Variation seeds, one per image; None = no variation.
        subseed_strength: Share of the variation, 0 to 1.
        seed_resize_from_width: Pixels the seed was first used at; 0 = as now.
        seed_resize_from_height: Pixels the seed was first used at; 0 = as now.
        eta_noise_seed_delta: "ENSD": later noise comes from seed + this; 0 = from the seed's
            stream, going on.
        source: ``CPU``, ``GPU`` or ``NV``.
        device: Where noise is wanted.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        seeds: Sequence[int],
        *,
        subseeds: Sequence[int] | None = None,
        subseed_strength: float = 0.0,
        seed_resize_from_width: int = 0,
        seed_resize_from_height: int = 0,
        eta_noise_seed_delta: int = 0,
        source: str = "CPU",
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape = shape
        self.seeds = list(seeds)
        self.source = source
        self.device = torch.device(device)
        self._variations = list(subseeds) if subseeds and subseed_strength else None
        self._subseed_strength = subseed_strength
        self._seed_shape = _seed_shape(shape, seed_resize_from_width, seed_resize_from_height)
        self._eta_noise_seed_delta = eta_noise_seed_delta
        self._streams = [self._stream(seed) for seed in self.seeds]

    def __len__(self) -> int:
        return len(self.seeds)

    def first(self) -> Tensor:
        """Draw the noise a picture starts from: variation, seed resize and ENSD applied.

        Returns:
            (B, C, H/8, W/8) float32 on ``device``.
        """
        noises = [self._first_of(i) for i in range(len(self.seeds))]
        if self._eta_noise_seed_delta:
            self._streams = [self._stream(s + self._eta_noise_seed_delta) for s in self.seeds]
        return torch.stack(noises).to(self.device)

    def like(self, latents: Tensor) -> Tensor:
        """Draw the next noise of every image.

        Args:
            latents: (B, C, H, W), only looked at for shape, dtype and device.

        Returns:
            Unit noise of the same shape, dtype and device.

        Raises:
            ParamsError: There is not one seed per image.
        """
        self._check_one_seed_each(latents)
        shape = tuple(latents.shape[1:])
        noises = torch.stack([stream.draw(shape) for stream in self._streams])
        return noises.to(latents.device, latents.dtype)

    def __call__(self, latents: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """``like``, in the form samplers ask for; the noise levels do not matter here."""
        return self.like(latents)

    def each(self) -> list[ImageNoise]:
        """Noise of every image apart, for rules that step each image at its own pace.

        The streams are shared with this object, not copied.
        """
        return [self._only(i) for i in range(len(self.seeds))]

    def brownian(
        self, latents: Tensor, sigma_min: float, sigma_max: float, *, one_path: bool = False
    ) -> BrownianNoise:
        """Noise of Brownian paths over a range of noise levels, one path per image.

        Args:
            latents: (B, C, H, W), only looked at for its shape.
            sigma_min: Smallest positive sigma of the full schedule.
            sigma_max: Largest sigma of the full schedule.
            one_path: One path for the whole batch, from the first seed.

        Raises:
            ParamsError: There is not one seed per image.
        """
        self._check_one_seed_each(latents)
        shape = tuple(latents.shape if one_path else latents.shape[1:])
        seeds = self.seeds[:1] if one_path else self.seeds
        return BrownianNoise(
            shape, seeds, sigma_min, sigma_max, lambda seed: self._stream(seed).draw(shape)
        )

    def _first_of(self, index: int) -> Tensor:
        resized = self._seed_shape != self.shape
        own, seed = self._streams[index], self.seeds[index]
        noise = (self._stream(seed) if resized else own).draw(self._seed_shape)
        if self._variations is not None:
            subseed = self._variations[index] if index < len(self._variations) else 0
            variation = self._stream(subseed).draw(self._seed_shape)
            noise = slerp(self._subseed_strength, noise, variation)
        return _paste_centred(noise, own.draw(self.shape)) if resized else noise

    def _only(self, index: int) -> ImageNoise:
        one = copy.copy(self)
        one.seeds = [self.seeds[index]]
        one._streams = [self._streams[index]]
        return one

    def _stream(self, seed: int) -> NumberSource:
        return make_source(self.source, seed, self.device)

    def _check_one_seed_each(self, latents: Tensor) -> None:
        if latents.shape[0] != len(self.seeds):
            raise ParamsError(
                f"A batch of {latents.shape[0]} images came with {len(self.seeds)} seeds.",
                "Give one seed for each image.",
                field="seeds",
            )


def _seed_shape(shape: tuple[int, int, int], width: int, height: int) -> tuple[int, int, int]:
    if width <= 0 or height <= 0:
        return shape
    return shape[0], height // 8, width // 8


def _paste_centred(noise: Tensor, canvas: Tensor) -> Tensor:
    """Lay a noise of another size over the middle of ``canvas`` (changed in place)."""
    from_rows, to_rows = _overlap(noise.shape[1], canvas.shape[1])
    from_columns, to_columns = _overlap(noise.shape[2], canvas.shape[2])
    canvas[:, to_rows, to_columns] = noise[:, from_rows, from_columns]
    return canvas


def _overlap(source: int, target: int) -> tuple[slice, slice]:
    """Where two centred lengths lie over each other: (in the source, in the target)."""
    offset = (target - source) // 2
    if offset >= 0:
        return slice(0, source), slice(offset, offset + source)
    length = source + 2 * offset
    return slice(-offset, -offset + length), slice(0, length)
