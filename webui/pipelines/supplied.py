"""Supplies with more pictures, which no file holds: canvases, masks, results of a pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from webui.checkpoints.control_specs import GuideSpec
from webui.checkpoints.load import LoadedModel
from webui.checkpoints.load_controlnet import LoadedGuide
from webui.params import FaceRestoration
from webui.pipelines.conditioning import PromptEncoder
from webui.pipelines.networks import JobNetworks
from webui.pipelines.supplies import FaceMender, Supplies
from webui.pipelines.upscaling import Upscaler
from webui.preprocessors.maps import MapNetwork
from webui.preprocessors.units import UnitMap


class WithPictures:
    """The supplies of a job, and pictures by keys of their own; see ``supplies.Supplies``.

    Args:
        supplies: Where everything else comes from.
        pictures: RGB pictures by key; looked up when asked for, so it may grow.
    """

    def __init__(self, supplies: Supplies, pictures: Mapping[str, Image.Image]) -> None:
        self._supplies = supplies
        self._pictures = pictures

    def model(self, checkpoint: str) -> LoadedModel:
        """See ``Supplies``."""
        return self._supplies.model(checkpoint)

    def encoder(self, model: LoadedModel) -> PromptEncoder:
        """See ``Supplies``."""
        return self._supplies.encoder(model)

    def input(self, key: str) -> Image.Image:
        """See ``Supplies``."""
        found = self._pictures.get(key)
        return self._supplies.input(key) if found is None else found

    def describe(self, image: Image.Image) -> str:
        """See ``Supplies``."""
        return self._supplies.describe(image)

    def upscaler(self, name: str) -> Upscaler:
        """See ``Supplies``."""
        return self._supplies.upscaler(name)

    def control_spec(self, name: str) -> GuideSpec:
        """See ``Supplies``."""
        return self._supplies.control_spec(name)

    def controlnet(self, name: str, base: Path, *, waits: bool) -> LoadedGuide:
        """See ``Supplies``."""
        return self._supplies.controlnet(name, base, waits=waits)

    def map_network(self, name: str) -> MapNetwork:
        """See ``Supplies``."""
        return self._supplies.map_network(name)

    def map_made(self, number: int, made: UnitMap) -> None:
        """See ``Supplies``."""
        self._supplies.map_made(number, made)

    def face_mender(self, wish: FaceRestoration) -> FaceMender:
        """See ``Supplies``."""
        return self._supplies.face_mender(wish)

    @property
    def networks(self) -> JobNetworks:
        """See ``Supplies``."""
        return self._supplies.networks
