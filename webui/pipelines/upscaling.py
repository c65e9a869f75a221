"""Enlarging pictures: the protocol that every upscaler follows, and the plain ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from PIL import Image


class Upscaler(Protocol):
    """Makes a picture larger."""

    @property
    def name(self) -> str:
        """As people choose it."""
        ...

    def enlarge(
        self,
        image: Image.Image,
        width: int,
        height: int,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_tile: Callable[[int, int], None] = lambda done, total: None,
    ) -> Image.Image:
        """Enlarge a picture to exactly width × height pixels.

        Args:
            image: RGB; left unchanged.
            should_stop: Asked between tiles.
            on_tile: Told (done, total) after each tile.
        Raises:
            Interrupted: ``should_stop`` said so.
        """
        ...


class WholeUpscaler(ABC):
    """Enlarges a picture in one piece.

    Args:
        name: As people choose it.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """See ``Upscaler``."""
        return self._name

    def enlarge(
        self,
        image: Image.Image,
        width: int,
        height: int,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_tile: Callable[[int, int], None] = lambda done, total: None,
    ) -> Image.Image:
        """See ``Upscaler``."""
        large = self.enlarged(image, width, height)
        on_tile(1, 1)
        return large

    @abstractmethod
    def enlarged(self, image: Image.Image, width: int, height: int) -> Image.Image:
        """The picture in exactly that size."""


class PlainUpscaler(WholeUpscaler):
    """Interpolation, no network."""

    def __init__(self, name: str, resampling: Image.Resampling) -> None:
        super().__init__(name)
        self._resampling = resampling

    def enlarged(self, image: Image.Image, width: int, height: int) -> Image.Image:
        return image.resize((width, height), self._resampling)


PLAIN: dict[str, Upscaler] = {
    "None": PlainUpscaler("None", Image.Resampling.LANCZOS),
    "Lanczos": PlainUpscaler("Lanczos", Image.Resampling.LANCZOS),
    "Nearest": PlainUpscaler("Nearest", Image.Resampling.NEAREST),
}
"""A1111's names; "None" still has to reach the size asked for."""
