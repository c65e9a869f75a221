"""What one painting job works with: models, networks of its prompts, input pictures, upscalers."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from webui.checkpoints.control_specs import GuideSpec
from webui.checkpoints.hypernetwork_file import read_hypernetwork
from webui.checkpoints.load import LoadedModel
from webui.checkpoints.load_controlnet import LoadedGuide
from webui.errors import CheckpointError, LibraryError
from webui.params import FaceRestoration
from webui.pictures import load_upright
from webui.pipelines.conditioning import PromptEncoder
from webui.pipelines.hypernetworks import JobHypernetworks
from webui.pipelines.loras import JobLoras
from webui.pipelines.networks import JobNetworks
from webui.pipelines.supplies import FaceMender
from webui.pipelines.upscaling import PLAIN, Upscaler
from webui.preprocessors.maps import MapNetwork
from webui.preprocessors.units import UnitMap

if TYPE_CHECKING:
    from webui.model_process.painter import Painter


class JobSupplies:
    """Models, input pictures and upscalers of one job; see ``pipelines.supplies.Supplies``.

    Attributes:
        pictures: Input pictures that are no files, by key.
        loras, hypernetworks: The files that came with the job. put_on: The LoRAs in its models.
    """

    def __init__(self, painter: Painter, message: dict[str, Any], checkpoint: str) -> None:
        self._painter = painter
        self._job = message["job"]
        self._files: dict[str, Mapping[str, Any]] = {}
        self.use({checkpoint: message, **message.get("others", {})})
        self._latest: weakref.ref[LoadedModel] | None = None
        self._message = message
        self._inputs = message.get("inputs", {})
        self.pictures: dict[str, Image.Image] = {}
        self._controlnets = message.get("controlnets", {})
        self._map_networks = message.get("map_networks", {})
        self._wants_maps = message.get("wants_maps", False)
        self._weights = painter.weights(message)
        self.embeddings = painter.embeddings(message)
        choices: Mapping[str, Any] = message.get("choices", {})  # what scripts may put into prompts
        self.loras = NetworkFiles("LoRA", {**choices.get("loras", {}), **message.get("loras", {})})
        self.hypernetworks = NetworkFiles("hypernetwork", message.get("hypernetworks", {}))
        self.put_on = JobLoras(
            lambda name: painter.models.lora(self.loras.path(name)),
            self._warn,
            painter.models.make_room,
        )
        self.networks = JobNetworks(
            [
                self.put_on,
                JobHypernetworks(
                    lambda name: read_hypernetwork(self.hypernetworks.path(name)), self._warn
                ),
            ],
            self._warn,
        )

    def _warn(self, text: str) -> None:
        self._painter.sender.send({"type": "warning", "job": self._job, "message": text})

    def use(self, files: Mapping[str, Mapping[str, Any]]) -> None:
        """From now on these are the files of the checkpoints that are asked for by name; see
        ``loaded_models.Files``."""
        self._files.update(files)

    def model(self, checkpoint: str) -> LoadedModel:
        if checkpoint not in self._files:
            raise CheckpointError(
                f"The job needs {checkpoint!r}, whose file was not looked up for it.",
                "Ask for the picture again.",
            )
        model = self._painter.model(self._job, self._files[checkpoint])
        self._latest = weakref.ref(model)
        return model

    @property
    def latest(self) -> LoadedModel | None:
        """The model that was asked for last, while it is in memory; nothing is loaded."""
        return self._latest() if self._latest else None

    def encoder(self, model: LoadedModel) -> PromptEncoder:
        encoder = self._painter.encoder(model)
        encoder.embeddings = self.embeddings
        return encoder

    def input(self, key: str) -> Image.Image:
        if key in self.pictures:
            return self.pictures[key]
        if key not in self._inputs:
            raise LibraryError("The input picture of this job is missing.", "Choose it again.")
        return load_upright(self._inputs[key])

    def control_spec(self, name: str) -> GuideSpec:
        return self._painter.models.control_spec(self._controlnet_file(name))

    def controlnet(self, name: str, base: Path, *, waits: bool) -> LoadedGuide:
        path = self._controlnet_file(name)
        return self._painter.controlnet(self._job, path, base, waits=waits)

    def _controlnet_file(self, name: str) -> Path:
        if name not in self._controlnets:
            raise CheckpointError(
                f"The job needs {name!r}, whose file was not looked up for it.",
                "Ask for the picture again.",
            )
        return Path(self._controlnets[name]["path"])

    def map_network(self, name: str) -> MapNetwork:
        return self._painter.maps.maker(self._job, name, self._map_networks)

    def map_made(self, number: int, made: UnitMap) -> None:
        if self._wants_maps:
            self._painter.maps.send(self._job, number, made)

    def describe(self, image: Image.Image) -> str:
        return self._painter.describe(self._message, image)

    def upscaler(self, name: str) -> Upscaler:
        if name in PLAIN:
            return PLAIN[name]
        offered = self._weights.offered.get(name)
        return offered or self._weights.network_upscaler(name)

    def face_mender(self, wish: FaceRestoration) -> FaceMender:
        extensions = self._painter.extensions
        offered = extensions.face_restorers.get(wish.model) if extensions else None
        return offered.weighted(wish.weight) if offered else self._weights.painted_faces(wish)


class NetworkFiles:
    """The files of one kind of network that prompts name; see ``lora_files``.

    Args:
        what: What people call the kind. facts: By name, as they came with the job.
    """

    def __init__(self, what: str, facts: dict[str, dict[str, Any]]) -> None:
        self._what = what
        self._facts = facts

    def path(self, name: str) -> Path:
        """The file of a name in a prompt.

        Raises:
            CheckpointError: There is none; says why.
        """
        facts = self._facts.get(name)
        if facts is None or "problem" in facts:
            told = f"No {self._what} named {name!r} was looked up for this job."
            facts = facts or {"problem": told}
            raise CheckpointError(facts["problem"], facts.get("hint", "Ask for it again."))
        return Path(facts["path"])

    def hashes(self, named: Collection[str]) -> str:
        """``name: hash, …`` of those that are there and named, as recipes tell it."""
        known = {name: facts.get("hash") for name, facts in self._facts.items() if name in named}
        cut = str.maketrans("", "", ":,")
        return ", ".join(f"{name.translate(cut)}: {h}" for name, h in known.items() if h)
