"""What a painting asks of the job it belongs to, and whom it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image
from torch import Tensor

from webui.checkpoints.control_specs import GuideSpec
from webui.checkpoints.load import LoadedModel
from webui.checkpoints.load_controlnet import LoadedGuide
from webui.params import FaceRestoration
from webui.pipelines.conditioning import PromptEncoder
from webui.pipelines.networks import JobNetworks
from webui.pipelines.upscaling import Upscaler
from webui.preprocessors.maps import MapNetwork
from webui.preprocessors.units import UnitMap


@dataclass(frozen=True)
class Picture:
    """One finished picture and what it was made from.

    Attributes:
        prompt: Where it is another than the request tells for this picture.
    """

    index: int
    image: Image.Image
    seed: int
    subseed: int
    prompt: str | None = None


class Listener(Protocol):
    """Whoever waits for the pictures. Calls come from the painting thread."""

    def progress(self, batch: int, batches: int, step: int, steps: int, stage: str) -> None: ...

    def preview(self, latents: Tensor) -> None:
        """Clean estimate of the present batch, (B, 4, h, w); asked at every step."""
        ...

    def finished(self, picture: Picture) -> None: ...

    def warn(self, message: str) -> None: ...

    def should_stop(self) -> bool:
        """True when the whole job shall end now (interrupt) or this batch shall (skip)."""
        ...

    def takes_next_batch(self) -> bool:
        """False when the job was interrupted; clears a skip."""
        ...


class FaceMender(Protocol):
    """Makes the faces of a painted picture clear."""

    def mend(self, image: Image.Image, should_stop: Callable[[], bool]) -> Image.Image:
        """The picture, RGB, with clear faces; itself when it has none.

        Raises:
            Interrupted: ``should_stop`` said so.
        """
        ...


class Supplies(Protocol):
    """Where a run gets what it works with. Ask again for each use: memory may be short, and what
    is not asked for may be let go."""

    def model(self, checkpoint: str) -> LoadedModel:
        """The loaded checkpoint of that catalog name.

        Raises:
            CheckpointError, DeviceMemoryError: It cannot be loaded.
        """
        ...

    def encoder(self, model: LoadedModel) -> PromptEncoder:
        """What encodes prompts with that model; remembers recent ones."""
        ...

    def input(self, key: str) -> Image.Image:
        """An input picture of the request, upright, 8-bit RGB or RGBA."""
        ...

    def describe(self, image: Image.Image) -> str:
        """What a picture shows, as it can stand in a prompt, by the describer that was looked up
        for the job; '' when none was.

        Raises:
            CheckpointError: It cannot be used.
        """
        ...

    def upscaler(self, name: str) -> Upscaler:
        """The picture upscaler of that name.

        Raises:
            ParamsError: There is none of that name.
        """
        ...

    def control_spec(self, name: str) -> GuideSpec:
        """See ``control.ControlSupplies``."""
        ...

    def controlnet(self, name: str, base: Path, *, waits: bool) -> LoadedGuide:
        """See ``control.ControlSupplies``."""
        ...

    def map_network(self, name: str) -> MapNetwork:
        """See ``control.ControlSupplies``."""
        ...

    def map_made(self, number: int, made: UnitMap) -> None:
        """See ``control.ControlSupplies``."""
        ...

    def face_mender(self, wish: FaceRestoration) -> FaceMender:
        """What makes faces clear.

        Raises:
            CheckpointError: Its weights are not there or cannot be used.
        """
        ...

    @property
    def networks(self) -> JobNetworks:
        """Puts on models what prompts ask for; whoever owns the job takes it off again."""
        ...
