"""The maps of control units: networks that make them, and how they reach whoever waits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from webui.checkpoints.map_networks import missing_map_networks
from webui.map_networks.open import OpenNetwork, map_maker, open_map_network
from webui.map_networks.skeletons import Skeletons
from webui.params import MakeMap
from webui.pictures import encode, load_upright
from webui.preprocessors.maps import MapNetwork, Pixels
from webui.preprocessors.names import POSE
from webui.preprocessors.pose_drawing import as_json
from webui.preprocessors.units import UnitMap, draw_map
from webui.restoration.networks import Shelf


class Sender(Protocol):
    """To the supervisor."""

    def send(self, message: dict[str, Any], /) -> None: ...


class JobMaps:
    """Makes and sends maps.

    Args:
        shelf: Keeps networks.
        say_loading: Told the job's number before a network of it is read.
    """

    def __init__(
        self,
        shelf: Shelf,
        device: torch.device,
        sender: Sender,
        say_loading: Callable[[int], None],
    ) -> None:
        self._shelf, self._device = shelf, device
        self._sender, self._say_loading = sender, say_loading

    def maker(self, job: int, name: str, files: Mapping[str, str]) -> MapNetwork:
        """What makes a preprocessor's maps; says so to whoever waits when a network of it must be
        read first.

        Args:
            files: The job message's ``map_networks``: network → path.
        Raises:
            CheckpointError: A network is not there, or cannot be used.
        """

        def network(wanted: str) -> OpenNetwork:
            if wanted not in files:
                raise missing_map_networks(name, [wanted])

            def read() -> OpenNetwork:
                self._say_loading(job)
                return open_map_network(wanted, Path(files[wanted]), self._device)

            return self._shelf.get(("map", wanted, files[wanted]), read)

        return map_maker(name, network)

    def send(self, job: int, number: int, made: UnitMap, text: Mapping[str, str] = {}) -> None:
        """Hand a unit's map to whoever waits for the job, with texts inside."""
        data = encode(made.picture(), format="png", text=text)
        self._sender.send({"type": "control-map", "job": job, "unit": number, "image": data})

    def make(self, params: MakeMap, message: dict[str, Any]) -> dict[str, Any]:
        """One map alone, for people who look before they paint."""
        unit, pictures = params.unit, message["inputs"]
        assert unit.image is not None, "MakeMap sees to it"
        text: dict[str, str] = {}

        def network(name: str) -> MapNetwork:
            made = self.maker(message["job"], name, message["map_networks"])
            return partial(_telling, made, text) if isinstance(made, Skeletons) else made

        size = params.map_width, params.map_height
        image = load_upright(Path(pictures[unit.image]))
        mask = load_upright(Path(pictures[unit.mask])) if unit.mask else None
        made = draw_map(unit, image, mask, size, 0, network)
        found = made.placed(*size) if all(size) else UnitMap(made.pixels)
        self.send(message["job"], 0, found, text)
        return {}


def _telling(skeletons: Skeletons, text: dict[str, str], picture: Pixels) -> Pixels:
    """A map of skeletons; whose they are is told in ``text``."""
    people = skeletons.people(picture)
    text[POSE] = json.dumps(as_json(people, picture.shape[1], picture.shape[0]))
    return skeletons.drawn(people, picture)
